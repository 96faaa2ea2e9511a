//! Draining a host or a site: said the same way for both.

use std::future::Future;
use std::time::Duration;

use chandler_api::client::ClientError;
use chandler_api::drain::{DrainItem, DrainReport, Draining, Going};
use chandler_protocol::Micros;
use chandler_protocol::text::clean;
use clap::Args;
use tokio::time::Instant;

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, count, moment};
use crate::word;

/// Time between two looks at a drain that is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Why a host or a site shall be left, and whether that is waited for.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Wait until nothing runs there any more, or only what cannot go
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait; the work goes on after it
    #[arg(long, value_name = "TIME", default_value = "30 min")]
    pub(crate) timeout: Micros,
}

/// Since when, by whom and why.
pub(crate) fn since(drain: &Draining) -> String {
    let reason = if drain.reason.is_empty() { String::new() } else { format!(": {}", drain.reason) };
    format!("since {} by {}{reason}", moment(drain.since), drain.by)
}

/// A report for people.
pub(crate) fn text(report: &DrainReport) -> String {
    let mut facts = Facts::default();
    match &report.draining {
        None => facts.add(&report.name, "is not drained"),
        Some(d) => {
            let state = if report.done { "drained" } else { "draining" };
            facts.add(&report.name, format!("{state} {}", since(d)))
        }
    };
    for item in &report.services {
        facts.add(&word::of(&item.going), line(item));
    }
    if report.kept > 0 {
        facts.add(
            "kept",
            format!("the state of {} for a while, so that it can be moved back", count(report.kept as usize, "copy")),
        );
    }
    facts.to_string()
}

fn line(item: &DrainItem) -> String {
    let name = if item.service.is_empty() { item.service_id.to_string() } else { item.service.clone() };
    let to = item.to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
    let by = item.r#move.map(|id| format!(" ({id})")).unwrap_or_default();
    let why = if item.why.is_empty() { String::new() } else { format!(": {}", item.why) };
    format!("{name} on {}{to}{by}{why}", item.host)
}

/// Shows a drain that was just asked for, after waiting if that was asked for too.
pub(crate) async fn finish<F, Fut>(
    session: &Session,
    noun: &str,
    first: DrainReport,
    args: &DrainArgs,
    look: F,
) -> Result<(), Failure>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<DrainReport, ClientError>>,
{
    let name = first.name.clone();
    let again = format!("chandler {noun} drain {} --wait", crate::problem::shell(&name));
    if !args.wait {
        session.out.object(&first, || text(&first))?;
        if !first.done {
            session.out.talk(&format!("Next: {again}"));
        }
        return Ok(());
    }
    session.out.talk(&format!("{name} is draining (Ctrl-C detaches, the drain goes on)"));
    session.detaches(format!("detached; {name} is drained further. Next: {again}"));
    let last = wait(session, first, Instant::now() + args.timeout.to_std(), &again, look).await?;
    session.detaches(None);
    session.out.object(&last, || text(&last))?;
    let stuck = last.services.iter().filter(|s| s.going == Going::Cannot).count();
    if stuck > 0 {
        let what = format!("{} cannot leave {name}", count(stuck, "service"));
        return Err(Failure::Ended {
            exit: 7,
            what,
            next: "change what the reason names, or move it: chandler service move".to_owned(),
        });
    }
    Ok(())
}

async fn wait<F, Fut>(
    session: &Session,
    mut report: DrainReport,
    deadline: Instant,
    again: &str,
    look: F,
) -> Result<DrainReport, Failure>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<DrainReport, ClientError>>,
{
    let mut told: Vec<String> = Vec::new();
    loop {
        for item in &report.services {
            let said = clean(&format!("  {:<8} {}", word::of(&item.going), line(item)), usize::MAX);
            if !told.contains(&said) {
                session.out.talk(&said);
                told.push(said);
            }
        }
        let settled = report.services.iter().all(|s| matches!(s.going, Going::Moved | Going::Cannot));
        if report.draining.is_none() || settled {
            return Ok(report);
        }
        if Instant::now() >= deadline {
            let left = report.services.iter().filter(|s| s.going != Going::Moved).count();
            let text = format!("{} still on {}; look again: {again}", count(left, "service"), report.name);
            return Err(Failure::timed_out(text));
        }
        tokio::time::sleep(LOOK).await;
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(now)) => report = now,
            Ok(Err(ClientError::Unreachable { .. })) | Err(_) => {}
            Ok(Err(other)) => return Err(other.into()),
        }
    }
}
