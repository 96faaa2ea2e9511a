//! Waiting for something to become true: try, pause briefly, try again, and say what was missing in the end.

use std::fmt::{Debug, Display};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two tries: short enough that no test feels it, long enough to leave the processor to
/// what is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// What was waited for did not come about.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("gave up waiting for {what} after {after:?} and {tries} tries{last}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub after: Duration,
    /// How often it was tried.
    pub tries: u64,
    /// What the last try said, as `": ..."`, or nothing.
    pub last: String,
}

/// The same sentence, because tests print errors in this form when they unwrap.
impl Debug for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, f)
    }
}

/// The first `Some` that `probe` gives within `within`. It is always tried at least once.
///
/// # Errors
/// It gave none.
pub async fn eventually<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> Result<T, TimedOut>
where
    F: Future<Output = Option<T>>,
{
    eventually_ok(what, within, || {
        let found = probe();
        async move { found.await.ok_or("") }
    })
    .await
}

/// The first `Ok` that `probe` gives within `within`; its last error is part of the failure's text.
///
/// # Errors
/// It gave none.
pub async fn eventually_ok<T, E, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> Result<T, TimedOut>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let begin = Instant::now();
    let (mut tries, mut last) = (0, String::new());
    loop {
        tries += 1;
        // A try that hangs must not outlive the deadline either.
        match timeout_at(begin + within, probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(e)) => last = e.to_string(),
            Err(_) => last = format!("try {tries} did not end; before it: {last:?}"),
        }
        if begin.elapsed() >= within {
            let last = if last.is_empty() { last } else { format!(": {last}") };
            return Err(TimedOut { what: what.to_owned(), after: begin.elapsed(), tries, last });
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_success_ends_the_wait() {
        let mut left = 3;
        let got = eventually("a countdown", Duration::from_secs(1), || {
            left -= 1;
            let done = left == 0;
            async move { done.then_some("done") }
        });
        assert_eq!(got.await.unwrap(), "done");
    }

    #[tokio::test(start_paused = true)]
    async fn failure_says_what_was_missing() {
        let error = eventually_ok("the moon", Duration::from_millis(20), || async { Err::<(), _>("still new") });
        let text = error.await.unwrap_err().to_string();
        assert!(text.contains("the moon") && text.contains("still new"), "{text}");
        let error = eventually("rain", Duration::from_millis(20), std::future::pending::<Option<()>>);
        let text = error.await.unwrap_err().to_string();
        assert!(text.contains("try 1 did not end"), "{text}");
    }
}
