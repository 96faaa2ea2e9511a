//! Asks before something is destroyed. Without a terminal nobody can be asked, and a flag must say yes.

use std::io::{IsTerminal, Write};

use crate::problem::Failure;
use crate::session::Session;

/// Longest answer that is read.
const ANSWER_MAX: u64 = 4 << 10;

/// Says what will happen and asks; `flag` is the value of `--yes`.
pub(crate) async fn yes(session: &Session, what: &str, question: &str, flag: bool) -> Result<(), Failure> {
    let agrees = |answer: &str| matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    ask(session, what, &format!("{question} [y/N] "), flag, agrees).await
}

/// Says what will happen and wants the thing's name typed.
pub(crate) async fn name(session: &Session, what: &str, name: &str, verb: &str, flag: bool) -> Result<(), Failure> {
    let expected = name.to_owned();
    ask(session, what, &format!("Type {name} to {verb}: "), flag, move |answer| answer.trim() == expected).await
}

async fn ask(
    session: &Session,
    what: &str,
    question: &str,
    flag: bool,
    agrees: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    if flag {
        return Ok(());
    }
    session.out.talk(what);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Usage("this cannot be undone and nobody can be asked here: give --yes".to_owned()));
    }
    let _ = write!(std::io::stderr(), "{}", chandler_protocol::text::clean(question, 512));
    let answer = line().await?;
    if agrees(&answer) { Ok(()) } else { Err(Failure::local("nothing was done")) }
}

/// A line from the terminal, read in a thread of its own so that Ctrl-C is heard meanwhile.
pub(crate) async fn line() -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        let mut input = std::io::Read::take(std::io::stdin().lock(), ANSWER_MAX);
        std::io::BufRead::read_line(&mut input, &mut text).map(|_| text)
    });
    read.await
        .map_err(|e| e.to_string())
        .and_then(|r| r.map_err(|e| e.to_string()))
        .map_err(|e| Failure::local(format!("cannot read the answer: {e}")))
}
