//! The command line as a whole: every command has help with an example, completions, and a manual page.

use clap::Command;

/// Every command with its path, `chandler` first.
fn each(command: &Command, path: &str, visit: &mut dyn FnMut(&str, &Command)) {
    let path = format!("{path}{}", command.get_name());
    visit(&path, command);
    for sub in command.get_subcommands() {
        each(sub, &format!("{path} "), visit);
    }
}

#[test]
fn clap_finds_no_contradiction() {
    chandler::command().debug_assert();
}

#[test]
fn every_help_has_an_example_that_parses() {
    let mut seen = 0;
    each(&chandler::command(), "", &mut |path, command| {
        let help = command.clone().render_long_help().to_string();
        let examples = help.split("Examples:").nth(1).unwrap_or_else(|| panic!("{path} --help has no examples"));
        let line = examples.lines().map(str::trim).find(|l| l.contains("chandler ")).unwrap_or_default();
        assert!(
            line.contains(path) || command.has_subcommands(),
            "the example of {path} is of another command: {line}"
        );
        seen += 1;
    });
    assert!(seen >= 59, "only {seen} commands were looked at");
}

/// Splits a line as a shell would, as far as the examples need it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

#[test]
fn the_examples_are_commands_that_exist() {
    let mut examples = Vec::new();
    each(&chandler::command(), "", &mut |_, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n", "");
        let part = help.split("Examples:").nth(1).unwrap_or_default().to_owned();
        let lines = part.lines().map(str::trim).filter(|l| l.starts_with("chandler ")).map(str::to_owned);
        examples.extend(lines);
    });
    for example in examples {
        let typed = example.split([';', '|', '>', '<', '&']).next().unwrap_or_default();
        let args = words(typed);
        // What the demo takes is parsed by the demo.
        if ["demo", "controller", "agent"].contains(&args[1].as_str()) {
            continue;
        }
        if let Err(error) = chandler::command().try_get_matches_from(&args) {
            panic!("{example}\n{error}");
        }
    }
}

#[test]
fn the_root_help_tells_the_exit_statuses() {
    let help = chandler::command().render_long_help().to_string();
    for (exit, meaning) in chandler::problem::EXITS {
        assert!(help.lines().any(|l| l.trim() == format!("{exit:<4} {meaning}")), "{exit} is not in the help");
    }
}
