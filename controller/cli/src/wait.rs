//! Follows an order until it ends: a line a phase on stderr.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chandler_api::client::ClientError;
use chandler_api::event::Event;
use chandler_api::order::{Action, Order, OrderState, SoftwareKind};
use chandler_api::problem::{INFEASIBLE, Problem, code};
use chandler_protocol::Micros;
use chandler_protocol::text::clean;
use tokio::time::Instant;

use crate::problem::{Again, Failure};
use crate::session::Session;
use crate::word;

/// Time between two looks at first, so that phases are told as they happen.
const LOOK_OFTEN: Duration = Duration::from_millis(100);
/// Time between two looks later on.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// How long it is looked at often.
const OFTEN_FOR: Duration = Duration::from_secs(10);
/// Least time between two lines about the items of a task.
const ITEMS_EVERY: Duration = Duration::from_secs(1);

/// Waits until the order has ended, and says how. `again` is the command to change when it is rejected.
pub(crate) async fn order(
    session: &Session,
    order: Order,
    timeout: Micros,
    again: Option<Again>,
) -> Result<(), Failure> {
    let id = order.id.to_string();
    session.out.talk(&format!("{id} {} (Ctrl-C detaches, the order goes on)", word::of(&OrderState::Acknowledged)));
    session.detaches(format!("detached; {id} goes on. Next: chandler order show {id}"));
    let last = follow(session, order, Instant::now() + timeout.to_std()).await?;
    session.detaches(None);
    ended(session, &last, again)
}

/// Says how an order has ended, or that it goes on when it has not.
pub(crate) fn ended(session: &Session, order: &Order, again: Option<Again>) -> Result<(), Failure> {
    let state = word::of(&order.state);
    let rejected = order.state == OrderState::Rejected;
    if session.out.is_json()
        || matches!(order.state, OrderState::Acknowledged | OrderState::InProgress | OrderState::Completed)
    {
        session.out.object(order, || format!("{} {state}", order.id))?;
    }
    match order.state {
        OrderState::Acknowledged | OrderState::InProgress => {
            session.out.talk(&format!("Next: chandler order show {}", order.id));
            Ok(())
        }
        OrderState::Completed => {
            session.out.talk(&format!("Next: {}", next(order)));
            Ok(())
        }
        _ if rejected => {
            let code = code(&order.code).copied().unwrap_or(INFEASIBLE);
            let problem = Problem { nearest: order.nearest.clone(), ..Problem::new(code, order.reason.clone()) };
            let failure = Failure::from(problem);
            Err(match again {
                Some(again) => failure.or_again(again),
                None => failure,
            })
        }
        _ => {
            let why = if order.reason.is_empty() { String::new() } else { format!(": {}", order.reason) };
            Err(Failure::Ended { exit: 1, what: format!("{} {state}{why}", order.id), next: next(order) })
        }
    }
}

/// The command to type after an order.
fn next(order: &Order) -> String {
    match (order.kind, order.action, order.state) {
        (SoftwareKind::Task, _, OrderState::Completed) => {
            format!("chandler service outputs --order {} --to DIR", order.id)
        }
        (SoftwareKind::Task, ..) => format!("chandler service list --order {}", order.id),
        (_, Action::Delete, OrderState::Completed) => "chandler service list".to_owned(),
        (_, _, OrderState::Completed) => format!("chandler service show {}", crate::problem::shell(&order.name)),
        _ => format!("chandler order show {}", order.id),
    }
}

async fn follow(session: &Session, mut order: Order, deadline: Instant) -> Result<Order, Failure> {
    let client = session.client()?;
    let (id, started) = (order.id.to_string(), Instant::now());
    let mut told = Told::default();
    let mut silent = false;
    loop {
        told.tell(session, &order);
        if !matches!(order.state, OrderState::Acknowledged | OrderState::InProgress) {
            return Ok(order);
        }
        let pause = if started.elapsed() < OFTEN_FOR { LOOK_OFTEN } else { LOOK_SELDOM };
        tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        if Instant::now() >= deadline {
            let why = if order.reason.is_empty() { String::new() } else { format!(" ({})", order.reason) };
            let text =
                format!("{id} is {} after {:.1} s{why}", word::of(&order.state), started.elapsed().as_secs_f64());
            return Err(Failure::timed_out(format!("{text}; look again: chandler order show {id}")));
        }
        // An answer that never comes may not outlast the deadline.
        match tokio::time::timeout_at(deadline, client.order(&id)).await {
            Ok(Ok(now)) => {
                if std::mem::take(&mut silent) {
                    session.out.talk("  the controller answers again");
                }
                order = now;
            }
            // The controller may be restarting; the order is stored and goes on.
            Ok(Err(ClientError::Unreachable { .. })) => {
                if !std::mem::replace(&mut silent, true) {
                    session
                        .out
                        .talk(&format!("  the controller at {} does not answer; still waiting", client.address()));
                }
            }
            Ok(Err(other)) => return Err(other.into()),
            Err(_) => {}
        }
    }
}

/// What was said already.
#[derive(Default)]
struct Told {
    events: BTreeSet<u64>,
    items: BTreeMap<String, u64>,
    items_at: Option<Instant>,
}

impl Told {
    fn tell(&mut self, session: &Session, order: &Order) {
        for event in &order.history {
            // Ten thousand items are counted below, not listed.
            if order.kind == SoftwareKind::Task && event.noun != "order" || !self.events.insert(event.id) {
                continue;
            }
            if event.noun == "order" && event.to == word::of(&OrderState::Acknowledged) {
                continue;
            }
            session.out.talk(&line(order, event));
        }
        let due = self.items_at.is_none_or(|at| at.elapsed() >= ITEMS_EVERY)
            || !matches!(order.state, OrderState::Acknowledged | OrderState::InProgress);
        if due && !order.items.is_empty() && order.items != self.items {
            let counts: Vec<String> = order.items.iter().map(|(state, n)| format!("{n} {state}")).collect();
            session.out.talk(&format!("  {:<11} {}", "items", counts.join(", ")));
            self.items.clone_from(&order.items);
            self.items_at = Some(Instant::now());
        }
    }
}

fn line(order: &Order, event: &Event) -> String {
    let took = event.at.0.since(order.ordered_at.0);
    let subject = if event.noun == "order" { String::new() } else { format!("{}: ", event.noun) };
    let seconds = format!("{}.{:02} s", took.0 / 1_000_000, took.0 / 10_000 % 100);
    let text = format!("  {:<11} {seconds:>7}  {subject}{}", event.to, event.reason);
    // One event is one line, whatever it says.
    clean(&text, usize::MAX).trim_end().to_owned()
}
