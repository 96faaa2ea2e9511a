//! How a command fails: what is told to people, and the exit status.

use std::fmt::Write as _;

use chandler_api::client::ClientError;
use chandler_api::problem::{BAD_REQUEST, CODES, Problem, WAIT_TIMED_OUT, code};
use chandler_api::quote::Alternative;
use chandler_protocol::text::{TEXT_MAX, clean};

use crate::show::Out;

/// Exit statuses with their meaning, for help and the manual.
pub const EXITS: &[(u8, &str)] = &[
    (0, "done, also an empty list"),
    (1, "failed"),
    (2, "usage"),
    (3, "asked, and the answer is \"unhealthy\""),
    (4, "sign in, or your role may not do this"),
    (5, "not found"),
    (6, "conflict, or changed since it was read"),
    (7, "cannot be placed, SLA infeasible"),
    (8, "the wait timed out, the work goes on"),
    (9, "controller unreachable"),
    (130, "Ctrl-C"),
];
/// Most alternatives that are shown.
const ALTERNATIVES_MAX: usize = 8;
/// Longest line of alternatives; more go on lines of their own.
const LINE_MAX: usize = 100;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An error with a code.
    Problem {
        /// What the controller said, or would have.
        problem: Box<Problem>,
        /// The command to which a changed term is added to try again.
        again: Option<Again>,
    },
    /// The command line asks for what cannot be.
    Usage(String),
    /// The work ended badly; or an answer is "no".
    Ended {
        /// Exit status.
        exit: u8,
        /// What happened.
        what: String,
        /// The command to type next.
        next: String,
    },
    /// Ctrl-C.
    Interrupted(String),
    /// Nobody reads standard output any more.
    Closed,
}

/// A command that can be given again with a changed term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// One that takes `--set TERM=VALUE`.
    Set(String),
    /// `sla amend`, which has a flag a term.
    Amend(String),
}

impl Failure {
    /// Something on this machine went wrong.
    pub(crate) fn local(what: impl Into<String>) -> Self {
        Self::Ended { exit: 1, what: what.into(), next: String::new() }
    }

    /// A file that cannot be understood.
    pub(crate) fn document(detail: impl Into<String>) -> Self {
        Problem::new(BAD_REQUEST, detail).into()
    }

    /// The wait is over, the work is not.
    pub(crate) fn timed_out(detail: impl Into<String>) -> Self {
        Problem::new(WAIT_TIMED_OUT, detail).into()
    }

    /// The same, with the command to change.
    pub(crate) fn or_again(self, again: Again) -> Self {
        match self {
            Self::Problem { problem, .. } => Self::Problem { problem, again: Some(again) },
            other => other,
        }
    }

    /// The exit status.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Problem { problem, .. } => code(&problem.code).map_or(1, |c| c.exit),
            Self::Usage(_) => 2,
            Self::Ended { exit, .. } => *exit,
            Self::Interrupted(_) => 130,
            Self::Closed => 0,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem { problem: Box::new(problem), again: None }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Local(what) => Self::local(what),
            other => other.into_problem().into(),
        }
    }
}

/// Tells people, and programs that asked for JSON, and gives the exit status.
pub(crate) fn report(failure: &Failure, out: &Out) -> u8 {
    if matches!(failure, Failure::Closed) {
        return failure.exit();
    }
    out.error(&text(failure));
    if let (true, Failure::Problem { problem, .. }) = (out.is_json(), failure) {
        out.error_object(problem.as_ref());
    }
    failure.exit()
}

/// What is told to people. The first word is coloured by [`Out::error`].
pub fn text(failure: &Failure) -> String {
    match failure {
        Failure::Problem { problem, again } => problem_text(problem, again.as_ref()),
        Failure::Usage(what) => format!("error: {}\n  more: chandler --help", paragraph(what)),
        Failure::Ended { what, next, .. } => {
            let next = if next.is_empty() { String::new() } else { format!("\n  next: {next}") };
            format!("error: {}{next}", paragraph(what))
        }
        Failure::Interrupted(what) => paragraph(what),
        Failure::Closed => String::new(),
    }
}

fn problem_text(problem: &Problem, again: Option<&Again>) -> String {
    let known = code(&problem.code);
    let mut text = format!("error[{}]: {}", clean(&problem.code, 16), clean(&problem.title, TEXT_MAX));
    let infeasible = known.is_some_and(|c| c.exit == 7);
    if !problem.detail.is_empty() {
        let label = if infeasible { "" } else { "cause: " };
        let _ = write!(text, "\n  {label}{}", paragraph(&problem.detail));
    }
    for field in &problem.errors {
        // A single field is usually all that the detail says.
        if !problem.detail.contains(&field.detail) {
            let _ = write!(text, "\n  {}: {}", clean(&field.pointer, TEXT_MAX), clean(&field.detail, TEXT_MAX));
        }
    }
    text.push_str(&nearest(&problem.nearest, again));
    if let Some(known) = known {
        if !infeasible || problem.nearest.is_empty() {
            let _ = write!(text, "\n  fix:   {}", known.help);
        }
        let _ = write!(text, "\n  more:  chandler help {}", known.code);
    }
    if !problem.request_id.is_empty() && known.is_none_or(|c| c.status >= 500) {
        let _ = write!(text, "\n  request {}", clean(&problem.request_id, 64));
    }
    text
}

/// The nearest that can be met, and how to ask for the first of them.
pub(crate) fn nearest(alternatives: &[Alternative], again: Option<&Again>) -> String {
    let Some(first) = alternatives.first() else { return String::new() };
    let lettered: Vec<String> = ('A'..='Z')
        .zip(alternatives.iter().take(ALTERNATIVES_MAX))
        .map(|(letter, a)| format!("{letter} {}", brief(a)))
        .collect();
    let line = lettered.join(" | ");
    let mut text = if line.chars().count() <= LINE_MAX {
        format!("\n  change one:  {line}")
    } else {
        format!("\n  change one:\n    {}", lettered.join("\n    "))
    };
    if let Some(command) = again.and_then(|again| command(again, first)) {
        let _ = write!(text, "\n  try: {command}");
    }
    text
}

/// A changed term in few words: `p95 9 ms at 7.90 EUR/month on h-4f2a`.
pub(crate) fn brief(alternative: &Alternative) -> String {
    let name = match alternative.term.as_str() {
        "sla.interactivity.p95" => "p95",
        term => term.strip_prefix("sla.").unwrap_or(term).split('.').next().unwrap_or(term),
    };
    let value = unquoted(&alternative.value);
    let mut text = format!("{name} {value}");
    // A changed cost is its own price.
    if name != "cost" {
        let _ = write!(text, " at {}/month", alternative.predicted.monthly_cost);
    }
    if !alternative.host.is_empty() {
        let _ = write!(text, " on {}", alternative.host);
    }
    clean(&text, TEXT_MAX)
}

fn command(again: &Again, alternative: &Alternative) -> Option<String> {
    let value = unquoted(&alternative.value);
    match again {
        // Two terms that must change together are joined by " + ", and so are their values.
        Again::Set(command) => {
            let pairs = alternative.term.split(" + ").zip(value.split(" + "));
            let sets = pairs.map(|(term, value)| format!(" --set {}={}", shell(term), shell(unquoted(value))));
            Some(format!("{command}{}", sets.collect::<String>()))
        }
        Again::Amend(command) => {
            let flag = match alternative.term.as_str() {
                "sla.cost.max" => "--cost",
                "sla.interactivity.p95" => "--interactivity",
                "sla.availability.min" => "--availability",
                "sla.residency" => "--residency",
                _ => return None,
            };
            let value: String =
                value.chars().filter(|c| !matches!(c, '[' | ']' | '"' | ' ') || flag != "--residency").collect();
            Some(format!("{command} {flag} {}", shell(&value)))
        }
    }
}

/// A value as in an order file, without the quotes around a text.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).filter(|v| !v.contains('"')).unwrap_or(value)
}

/// A text that a shell takes as it is: what comes from elsewhere must be safe to copy and paste.
pub(crate) fn shell(text: &str) -> String {
    let text = clean(text, TEXT_MAX);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ',' | '@' | ':' | '+');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else if text.chars().all(|c| plain(c) || matches!(c, ' ' | '%')) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Text of several lines, each cleaned.
fn paragraph(text: &str) -> String {
    text.lines().map(|line| clean(line, 4 * TEXT_MAX)).collect::<Vec<_>>().join("\n  ")
}

/// The page of one code.
pub(crate) fn page(text: &str) -> Option<String> {
    let code = code(text)?;
    let status = code.status;
    Some(format!("{}: {}\n\n{}\n\nHTTP status {status}, exit status {}", code.code, code.title, code.help, code.exit))
}

/// Every code with its title.
pub(crate) fn pages() -> Vec<(&'static str, &'static str)> {
    CODES.iter().map(|c| (c.code, c.title)).collect()
}

#[cfg(test)]
mod tests {
    use chandler_api::problem::{self, INFEASIBLE, NOT_FOUND, UNREACHABLE};
    use chandler_api::sla::Predicted;
    use chandler_api::value::Money;
    use chandler_protocol::{MicroMoney, Ppm};

    use super::*;

    fn alternative(term: &str, value: &str, cost: i64) -> Alternative {
        Alternative {
            term: term.to_owned(),
            value: value.to_owned(),
            host: "h-4f2a".to_owned(),
            site: "bern-1".to_owned(),
            predicted: Predicted {
                monthly_cost: Money::new(MicroMoney(cost), "EUR"),
                p95_micros: None,
                availability_ppm: Ppm::ONE,
            },
            text: String::new(),
        }
    }

    #[test]
    fn exit_statuses_are_those_of_the_table() {
        let by_code = [
            ("E0100", 1),
            ("E0107", 9),
            ("E0110", 1),
            ("E0120", 4),
            ("E0121", 4),
            ("E0130", 5),
            ("E0140", 6),
            ("E0141", 6),
            ("E0301", 7),
            ("E0302", 7),
            ("E0501", 8),
        ];
        for (text, exit) in by_code {
            let failure: Failure = Problem::new(*code(text).unwrap(), "x").into();
            assert_eq!(failure.exit(), exit, "{text}");
        }
        assert_eq!(Failure::Usage(String::new()).exit(), 2);
        assert_eq!(Failure::Interrupted(String::new()).exit(), 130);
        assert_eq!(Failure::from(Problem { code: "E9999".to_owned(), ..Problem::default() }).exit(), 1);
        for code in CODES {
            assert!(EXITS.iter().any(|(exit, _)| *exit == code.exit), "{} has an exit that no table tells", code.code);
        }
    }

    #[test]
    fn an_error_has_code_cause_fix_and_page() {
        let problem = Problem::new(UNREACHABLE, "127.0.0.1:7480 refused the connection (3 tries, 2.1 s)");
        assert_eq!(
            text(&problem.into()),
            "error[E0107]: cannot reach the controller\n  \
             cause: 127.0.0.1:7480 refused the connection (3 tries, 2.1 s)\n  \
             fix:   Start the controller, or set CHANDLER_URL or --url to where it listens.\n  \
             more:  chandler help E0107"
        );
    }

    #[test]
    fn an_infeasible_sla_shows_the_nearest_and_how_to_take_it() {
        let mut problem = Problem::new(INFEASIBLE, "CH: 12 hosts; p95 <= 5 ms: 9; both: 2; of those <= 8 EUR/month: 0");
        problem.nearest = vec![
            alternative("sla.cost.max", "\"11.20 EUR/month\"", 11_200_000),
            alternative("sla.interactivity.p95", "9 ms", 7_900_000),
            alternative("sla.residency", "[\"CH\", \"DE\"]", 6_400_000),
        ];
        let again = Again::Set("chandler order submit -f notes.toml".to_owned());
        let shown = text(&Failure::from(problem.clone()).or_again(again));
        assert!(shown.contains("\n  CH: 12 hosts; p95"), "{shown}");
        assert!(shown.contains("A cost 11.20 EUR/month on h-4f2a"), "{shown}");
        assert!(shown.contains("B p95 9 ms at 7.90 EUR/month on h-4f2a"), "{shown}");
        let line = "\n  try: chandler order submit -f notes.toml --set sla.cost.max=\"11.20 EUR/month\"";
        assert!(shown.contains(line), "{shown}");
        problem.nearest.reverse();
        let shown = text(&Failure::from(problem).or_again(Again::Amend("chandler sla amend notes".to_owned())));
        assert!(shown.contains("\n  try: chandler sla amend notes --residency CH,DE"), "{shown}");
    }

    #[test]
    fn hostile_texts_cannot_steer_the_terminal_or_the_shell() {
        let shown = text(&Problem::new(NOT_FOUND, "\x1b]0;x\x07no\u{202e}thing").into());
        assert!(!shown.chars().any(|c| c == '\x1b' || c == '\x07' || c == '\u{202e}'), "{shown:?}");
        assert_eq!(shell("a; rm -rf $HOME"), "'a; rm -rf $HOME'");
        assert_eq!(shell("a'b"), "'a'\\''b'");
        assert_eq!(shell("`id`"), "'`id`'");
        assert_eq!(shell("50 ms"), "\"50 ms\"");
    }

    #[test]
    fn every_code_has_a_page() {
        for code in problem::CODES {
            assert!(page(code.code).unwrap().contains(code.help));
        }
        assert_eq!(page("E9999"), None);
    }
}
