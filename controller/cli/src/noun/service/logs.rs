//! `chandler service logs`: the newest part of a log, and what is added to it.

use std::time::Duration;

use chandler_api::service::{Log, LogQuery, ServiceState};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{log_text, raw};

/// Time between two looks while following.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(session: &Session, service: &str, stderr: bool, follow: bool) -> Result<(), Failure> {
    let client = session.client()?;
    let stream = Some(if stderr { "stderr" } else { "stdout" }.to_owned());
    let mut log = client.service_logs(service, &LogQuery { stream: stream.clone(), offset: None }).await?;
    if !follow {
        return session.out.object(&log, || log_text(log.text.trim_end_matches('\n')));
    }
    // Ends by Ctrl-C, or when the service or the controller is gone.
    loop {
        if session.out.is_json() {
            if !log.text.is_empty() {
                session.out.json_line(&log)?;
            }
        } else {
            raw(log_text(&log.text).as_bytes())?;
        }
        let (offset, caught_up) = next(&log);
        if caught_up && has_ended(session, service).await? {
            // What was written between the last look and the end.
            let rest = client.service_logs(service, &LogQuery { stream, offset: Some(offset) }).await?;
            return if session.out.is_json() {
                session.out.json_line(&rest)
            } else {
                raw(log_text(&rest.text).as_bytes())
            };
        }
        if caught_up {
            tokio::time::sleep(LOOK).await;
        }
        let host = std::mem::take(&mut log.host);
        log = client.service_logs(service, &LogQuery { stream: stream.clone(), offset: Some(offset) }).await?;
        // A log that was collected after its item ended is on no host, and counts on.
        if log.host.is_empty() {
            continue;
        }
        if log.host != host {
            session.out.talk(&format!("-- now on {}", log.host));
        }
        if log.host != host || log.end < offset {
            // Another copy has another log, which counts from its own start.
            log = client.service_logs(service, &LogQuery { stream: stream.clone(), offset: Some(0) }).await?;
        }
    }
}

/// Whether nothing more can come: a task item has ended, or the service is gone.
async fn has_ended(session: &Session, service: &str) -> Result<bool, Failure> {
    let known = session.client()?.service(service).await?;
    Ok(known.state == ServiceState::Terminated || known.exit.is_some())
}

/// Where the next part starts, and whether this was all there is. A byte that is not UTF-8 becomes longer in the
/// text, so that the end bounds the sum.
fn next(log: &Log) -> (u64, bool) {
    let offset = log.offset.saturating_add(log.text.len() as u64).min(log.end);
    (offset, log.text.is_empty() || offset == log.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_starts_where_this_ended() {
        let log = |offset, end, text: &str| Log { host: String::new(), offset, end, text: text.to_owned() };
        assert_eq!(next(&log(10, 15, "hello")), (15, true));
        assert_eq!(next(&log(10, 99, "hello")), (15, false));
        assert_eq!(next(&log(10, 12, "\u{fffd}\u{fffd}")), (12, true));
        assert_eq!(next(&log(10, 99, "")), (10, true));
    }
}
