//! `chandler move`: copies of services on their way from one host to another.

use std::fmt::Write as _;
use std::time::Duration;

use chandler_api::client::{Client, ClientError};
use chandler_api::movement::{Move as Item, MoveKind, MovePhase, MoveProgress, MoveQuery, MoveWorth};
use chandler_api::page::LIMIT_MAX;
use chandler_protocol::text::clean;
use chandler_protocol::{Bytes, Micros};
use clap::{Args, Subcommand};
use tokio::time::Instant;

use crate::problem::{Failure, shell};
use crate::session::Session;
use crate::show::{Table, age, count};
use crate::word;

/// Most moves that one list prints.
const MOVES_MAX: usize = 10_000;
/// Time between two looks at a move that is followed.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler move list\n  chandler move show m-7k3mq2x9vd4c8z1e --follow")]
pub(crate) struct Move {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List moves, newest first
    #[command(
        after_help = "Examples:\n  chandler move list\n  chandler move list --service notes --declined\n  chandler move list --state open -o json"
    )]
    List {
        /// Only those of this service
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Only those in this phase; open: under way; ended: not any more
        #[arg(long, value_name = "PHASE")]
        state: Option<String>,
        /// Also those that were considered and not begun, with the reason
        #[arg(long)]
        declined: bool,
        /// Most moves printed
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one move: what is done, what goes on, what is to come, and what it costs
    #[command(after_help = "Examples:\n  chandler move show m-7k3mq2x9vd4c8z1e --follow")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        follow: FollowArgs,
    },
}

/// How long to follow a move.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    /// Go on until it has ended, telling each phase
    #[arg(long, visible_alias = "wait")]
    pub(crate) follow: bool,
    /// Longest wait; the move goes on after it
    #[arg(long, value_name = "TIME", default_value = "30 min")]
    pub(crate) timeout: Micros,
}

impl Move {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::List { service, state, declined, limit } => {
                let query = MoveQuery { service, state, declined, ..MoveQuery::default() };
                let (items, more) = read(client, &query, limit.clamp(1, MOVES_MAX)).await?;
                session.out.list(&items, "no moves", || table(&items))?;
                if more {
                    session.out.talk("there are more: give --limit, or --service");
                }
                Ok(())
            }
            Verb::Show { id, follow } => {
                let item = client.move_by_id(&id).await?;
                if follow.follow {
                    return self::follow(session, item, follow.timeout).await;
                }
                session.out.object(&item, || text(&item))
            }
        }
    }
}

/// Moves up to a limit, and whether there are more.
async fn read(client: &Client, query: &MoveQuery, limit: usize) -> Result<(Vec<Item>, bool), ClientError> {
    let (mut items, mut token) = (Vec::new(), None);
    loop {
        let most = u32::try_from(limit - items.len()).unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
        let page = client.moves(&MoveQuery { limit: Some(most), page_token: token, ..query.clone() }).await?;
        items.extend(page.items);
        match page.next_page_token {
            None => return Ok((items, false)),
            Some(_) if items.len() >= limit => return Ok((items, true)),
            more => token = more,
        }
    }
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["MOVE", "SERVICE", "FROM", "TO", "PHASE", ">AGE", ">STALL", ">FAILED", "WHY"]);
    for m in items {
        let ended = m.realised.as_ref().filter(|_| m.phase == MovePhase::Done);
        let why = if m.reason.is_empty() || m.phase == MovePhase::Done { &m.evidence } else { &m.reason };
        let times = if m.times > 1 { format!(" ({} times)", m.times) } else { String::new() };
        table.row([
            m.id.to_string(),
            m.service.clone(),
            m.from.host.clone(),
            m.to.host.clone(),
            word::of(&m.phase),
            age(m.started_at),
            ended.map(|r| r.longest_stall_micros.to_string()).unwrap_or_default(),
            ended.map(|r| r.failed.to_string()).unwrap_or_default(),
            format!("{}: {why}{times}", m.trigger),
        ]);
    }
    table
}

/// A move for people: what is done, what goes on, what is to come.
pub(crate) fn text(m: &Item) -> String {
    let mut text = heading(m);
    let (done, now) = match m.steps.split_last() {
        Some((last, done)) if !m.phase.is_final() => (done, Some(last)),
        _ => (m.steps.as_slice(), None),
    };
    let took: Vec<String> =
        done.iter().map(|s| format!("{} {}", word::of(&s.phase), s.took_micros.unwrap_or_default())).collect();
    if !took.is_empty() {
        let _ = write!(text, "\n  done  {}", took.join(", "));
    }
    if let Some(step) = now {
        let so_far = Micros(jiff::Timestamp::now().as_microsecond().saturating_sub(step.at.0.0).max(0));
        let limit = m.deadline.map(|d| format!(" of {}", d.0.since(m.since.0))).unwrap_or_default();
        let _ = write!(text, "\n> now   {} {so_far}{limit}{}", word::of(&step.phase), busy(m));
        if !m.reason.is_empty() {
            let _ = write!(text, "\n        {}", m.reason);
        }
    }
    if !m.next.is_empty() {
        let next: Vec<String> = m.next.iter().map(word::of).collect();
        let _ = write!(text, "\n  next  {}", next.join(" "));
    }
    let hold = m.predicted.hold_micros;
    if m.kind == MoveKind::Exclusive && m.reversible && hold.0 > 0 {
        let _ = write!(text, "\n  wait  requests will probably wait for less than {hold}");
    }
    let _ = write!(text, "\n{}", last_line(m));
    text.lines().map(|l| clean(l, usize::MAX)).collect::<Vec<_>>().join("\n")
}

/// `m-9 notes h-4f2a -> h-02d1, because predicted availability 99.1 < 99.5`.
fn heading(m: &Item) -> String {
    let because = if m.evidence.is_empty() { &m.trigger } else { &m.evidence };
    format!("{} {} {} -> {}, because {because}", m.id, m.service, m.from.host, m.to.host)
}

/// What goes on besides the time: the copying, and who waits.
fn busy(m: &Item) -> String {
    let Some(p) = &m.progress else { return String::new() };
    let mut parts = Vec::new();
    if matches!(m.phase, MovePhase::Copying | MovePhase::Standby | MovePhase::FinalCopy) && p.size_bytes > 0 {
        parts.push(copying(p));
    }
    if matches!(m.phase, MovePhase::Holding | MovePhase::FinalCopy | MovePhase::Starting | MovePhase::Verifying) {
        parts.push(format!("{} wait", count(p.waiting as usize, "request")));
    }
    if matches!(m.phase, MovePhase::Holding | MovePhase::Draining) {
        parts.push(format!("{} under way", p.under_way));
    }
    parts.iter().map(|p| format!("; {p}")).collect()
}

fn copying(p: &MoveProgress) -> String {
    let left = p.left_micros.map(|t| format!(", {t} left")).unwrap_or_default();
    format!(
        "round {}: {} of {} at {}/s{left}, state {}",
        p.rounds + 1,
        Bytes(p.done_bytes),
        Bytes(p.total_bytes),
        Bytes(p.rate_bytes),
        Bytes(p.size_bytes)
    )
}

/// What it means for those who look: the last line matters most.
fn last_line(m: &Item) -> String {
    match m.phase {
        MovePhase::Done => format!("done{}", m.realised.as_ref().map(|r| outcome(m, r)).unwrap_or_default()),
        MovePhase::RolledBack => format!("rolled back, all is as before: {}", m.reason),
        MovePhase::Declined => format!("not begun: {}", m.reason),
        _ if m.reversible => "rolls back by itself until switching is acknowledged".to_owned(),
        _ => "switched: it only goes forward from here".to_owned(),
    }
}

fn outcome(m: &Item, r: &MoveWorth) -> String {
    let took = m.ended_at.map(|at| at.0.since(m.started_at.0)).unwrap_or_default();
    let state = match m.kind {
        MoveKind::Exclusive => format!(", {} of state, {} sent", Bytes(r.state_bytes), Bytes(r.bytes)),
        MoveKind::Overlap | MoveKind::Failover => String::new(),
    };
    let worth = match (m.predicted.gain.micros, m.predicted.cost.micros) {
        (0, 0) => String::new(),
        _ => format!(
            "; gain {} (expected {}), cost {} (expected {})",
            r.gain, m.predicted.gain, r.cost, m.predicted.cost
        ),
    };
    format!(
        " in {took}{state}; longest stall {}, {} failed, {} cut{worth}",
        r.longest_stall_micros,
        count(usize::try_from(r.failed).unwrap_or(usize::MAX), "request"),
        count(usize::try_from(r.cut).unwrap_or(usize::MAX), "connection"),
    )
}

/// Follows a move until it has ended: a line a phase on stderr, the whole of it at the end.
pub(crate) async fn follow(session: &Session, first: Item, timeout: Micros) -> Result<(), Failure> {
    let id = first.id.to_string();
    session.out.talk(&format!("{} (Ctrl-C detaches, the move goes on)", heading(&first)));
    session.detaches(format!("detached; {id} goes on. Next: chandler move show {id} --follow"));
    let last = watch(session, first, Instant::now() + timeout.to_std()).await?;
    session.detaches(None);
    match last.phase {
        MovePhase::Done => {
            session.out.object(&last, || format!("{id} done"))?;
            let result = last.realised.as_ref().map(|r| outcome(&last, r)).unwrap_or_default();
            session.out.talk(&format!("{id} done{result}\nNext: chandler service show {}", shell(&last.service)));
            Ok(())
        }
        phase => {
            if session.out.is_json() {
                session.out.object(&last, String::new)?;
            }
            let what = format!("{id} {}: {}", word::of(&phase), last.reason);
            let next = format!("chandler service explain {}", shell(&last.service));
            Err(Failure::Ended { exit: 1, what, next })
        }
    }
}

async fn watch(session: &Session, mut item: Item, deadline: Instant) -> Result<Item, Failure> {
    let client = session.client()?;
    let (id, mut told, mut silent) = (item.id.to_string(), 0, false);
    loop {
        told = tell(session, &item, told);
        if item.phase.is_final() {
            return Ok(item);
        }
        if Instant::now() >= deadline {
            let text = format!("{id} is {} still; look again: chandler move show {id}", word::of(&item.phase));
            return Err(Failure::timed_out(text));
        }
        tokio::time::sleep(LOOK).await;
        match tokio::time::timeout_at(deadline, client.move_by_id(&id)).await {
            Ok(Ok(now)) => {
                if std::mem::take(&mut silent) {
                    session.out.talk("  the controller answers again");
                }
                item = now;
            }
            // The controller may be restarting; the move is stored and goes on.
            Ok(Err(ClientError::Unreachable { .. })) => {
                if !std::mem::replace(&mut silent, true) {
                    let address = client.address();
                    session.out.talk(&format!("  the controller at {address} does not answer; still waiting"));
                }
            }
            Ok(Err(other)) => return Err(other.into()),
            Err(_) => {}
        }
    }
}

/// Tells the phases that began since `told` of them were told; gives how many are by now.
fn tell(session: &Session, item: &Item, told: usize) -> usize {
    for step in item.steps.iter().skip(told) {
        let after = step.at.0.since(item.started_at.0);
        let note = match step.phase == item.phase {
            true => format!("{}{}", if item.reason.is_empty() { "" } else { "  " }, item.reason),
            false => String::new(),
        };
        let seconds = format!("{}.{:02} s", after.0 / 1_000_000, after.0 / 10_000 % 100);
        let line = format!("  {:<11} {seconds:>8}{note}", word::of(&step.phase));
        session.out.talk(&clean(&line, usize::MAX));
    }
    item.steps.len().max(told)
}

/// What a service's page says of a move that goes on: one line.
pub(crate) fn brief(m: &Item) -> String {
    format!(
        "{} {} -> {}, {}{}: chandler move show {} --follow",
        m.id,
        m.from.host,
        m.to.host,
        word::of(&m.phase),
        busy(m),
        m.id
    )
}

/// A move that was just ordered and is not waited for.
pub(crate) fn ordered(session: &Session, item: &Item) -> Result<(), Failure> {
    session.out.object(item, || format!("{} {}", item.id, word::of(&item.phase)))?;
    session.out.talk(&format!("Next: chandler move show {} --follow", item.id));
    Ok(())
}
