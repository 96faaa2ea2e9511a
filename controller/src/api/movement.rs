//! Moves: ordered here, taken by tasks, shown phase by phase.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::movement::{
    Move as Shown, MoveEnd, MoveKind as ShownKind, MovePhase as ShownPhase, MoveProgress, MoveQuery, MoveRequest,
    MoveStep, MoveTo, MoveWorth,
};
use chandler_api::page::{Page, PageQuery};
use chandler_api::problem::{Code, MOVE_NOT_NOW, MOVE_REFUSED, MOVE_THERE, NOT_A_DESTINATION, Problem};
use chandler_api::value::{Money, Time};
use chandler_engine::model::Model;
use chandler_engine::movement::{Effect, Move, MoveKind, MovePhase, Worth};
use chandler_engine::relocation::{self, Destination, NotMoved};
use chandler_engine::site::{Site, SiteRole};
use chandler_protocol::state::Phase;
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, HostId, Micros, MoveId, SiteId, Timestamp};

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, query};
use super::error::{Failure, malformed, not_found};
use super::idempotency::{Begun, begin};
use super::order::validate::owner;
use super::page::Wanted;
use super::reply::{ACCEPTED, Answer, OK, Reply};
use super::{party, service, site};

#[utoipa::path(post, path = "/api/v1/services/{reference}/move", tag = "moves", request_body = MoveRequest,
    description = "Never outside the SLA and the policy. A move that requests do not wait for yet gives way to this one.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 202, body = Shown)))]
pub(super) async fn order(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: MoveRequest = post.parse()?;
    post.commit(&api, move |draft| {
        let service = service::find(&draft.model, caller, &reference)?.clone();
        let destination = destination(&draft.model, caller, &wanted.to)?;
        let by = caller.by();
        let id = relocation::order_move(draft, service.id, destination, &by).map_err(refused)?;
        let made = draft.model.moves.get(&id).cloned().ok_or_else(|| not_found("move", &id.to_string()))?;
        Ok(Reply::json(ACCEPTED, &shown(&draft.model, &made))?.at(format!("/api/v1/moves/{id}")))
    })
    .await
}

/// Where a copy shall go. What its caller may not know of is not found.
fn destination(model: &Model, caller: Caller, wanted: &MoveTo) -> Result<Destination, Failure> {
    let unknown = |what: &str, reference: &str| {
        let reference = clean(reference, NAME_MAX);
        Failure::from(Problem::new(NOT_A_DESTINATION, format!("there is no {what} {reference}")))
    };
    let is_visible = |site: &Site| site.role != SiteRole::Customer || caller.owns(site);
    match wanted {
        MoveTo::Host(reference) => {
            let host = match reference.parse::<HostId>() {
                Ok(id) => model.hosts.get(&id),
                Err(_) => model.host_named(reference),
            };
            let host = host.filter(|h| model.sites.get(&h.site).is_some_and(|s| is_visible(s)));
            host.map(|h| Destination::Host(h.id)).ok_or_else(|| unknown("host", reference))
        }
        MoveTo::Site(reference) => {
            let site = match reference.parse::<SiteId>() {
                Ok(id) => model.sites.get(&id),
                Err(_) => model.site_named(reference),
            };
            let site = site.filter(|s| is_visible(s));
            site.map(|s| Destination::Site(s.id)).ok_or_else(|| unknown("site", reference))
        }
        MoveTo::Owner(kind) => Ok(Destination::Owner(owner(*kind))),
    }
}

fn refused(refusal: NotMoved) -> Failure {
    let known: [Code; 4] = [MOVE_REFUSED, MOVE_NOT_NOW, MOVE_THERE, NOT_A_DESTINATION];
    let code = known.into_iter().find(|c| c.code == refusal.code).unwrap_or(NOT_A_DESTINATION);
    let nearest = match refusal.nearest {
        Some(host) => format!("; the nearest host that fits is {host}"),
        None if code == MOVE_REFUSED => "; no other host fits either".to_owned(),
        None => String::new(),
    };
    Problem::new(code, format!("{}{nearest}", refusal.text)).into()
}

#[utoipa::path(get, path = "/api/v1/moves", tag = "moves", params(MoveQuery),
    description = "Newest first.", responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: MoveQuery = query(&uri)?;
    let wanted = Wanted::new("moves", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let before = wanted.after::<Turn>()?;
    let state = asked.state.as_deref().map(Wish::parse).transpose()?;
    let model = api.writer.snapshot();
    let of = asked.service.as_deref().map(|s| service::find(&model, caller, s).map(|s| s.id)).transpose()?;
    let all: Box<dyn Iterator<Item = &Arc<Move>> + Send> = match of {
        Some(service) => Box::new(model.moves_about(service)),
        None => Box::new(model.moves_since(Timestamp(i64::MIN))),
    };
    let is_declined = |m: &Move| m.phase == MovePhase::Declined;
    let all = all.filter(|m| {
        before.is_none_or(|b| Turn::of(m) < b)
            && caller.acts_for(m.customer)
            && (asked.declined || state == Some(Wish::In(ShownPhase::Declined)) || !is_declined(m))
            && state.is_none_or(|s| s.means(m.phase))
    });
    Reply::json(OK, &wanted.take(all, |m| Turn::of(m).to_string(), |m| shown(&model, m)))
}

#[utoipa::path(get, path = "/api/v1/moves/{id}", tag = "moves",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(id): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let found = id.parse::<MoveId>().ok().and_then(|id| model.moves.get(&id));
    let found = found.filter(|m| caller.acts_for(m.customer)).ok_or_else(|| not_found("move", &id))?;
    Reply::json(OK, &shown(&model, found))
}

/// Which moves are wanted, by how far they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Open,
    Ended,
    In(ShownPhase),
}

impl Wish {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            _ => serde_json::from_value(serde_json::Value::String(text.to_owned()))
                .map(Self::In)
                .map_err(|_| malformed("state: write open, ended, or a phase such as holding")),
        }
    }

    fn means(self, phase: MovePhase) -> bool {
        match self {
            Self::Open => !phase.is_final(),
            Self::Ended => phase.is_final(),
            Self::In(wanted) => wanted == shown_phase(phase),
        }
    }
}

/// A move's place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(Timestamp, MoveId);

impl Turn {
    const fn of(one: &Move) -> Self {
        Self(one.started_at, one.id)
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.0, self.1)
    }
}

impl std::str::FromStr for Turn {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        Ok(Self(Timestamp(at.parse().map_err(drop)?), id.parse().map_err(drop)?))
    }
}

/// A move as the API shows it.
pub(super) fn shown(model: &Model, m: &Move) -> Shown {
    let last = m.phases.len().saturating_sub(1);
    let step = |(index, p): (usize, &chandler_engine::movement::PhaseTime)| MoveStep {
        phase: shown_phase(p.phase),
        at: Time(p.at),
        took_micros: (index < last).then_some(p.took),
    };
    Shown {
        id: m.id,
        service: m.name.clone(),
        service_id: m.service,
        customer: party::name_of(model, m.customer),
        kind: match m.kind {
            MoveKind::Overlap => ShownKind::Overlap,
            MoveKind::Exclusive => ShownKind::Exclusive,
            MoveKind::Failover => ShownKind::Failover,
        },
        trigger: m.trigger.as_str().to_owned(),
        evidence: clean(&m.evidence, TEXT_MAX),
        by: m.by.clone(),
        from: end(model, m.from_host, m.from),
        to: end(model, m.to_host, m.to),
        phase: shown_phase(m.phase),
        reason: clean(&m.reason, TEXT_MAX),
        since: Time(m.since),
        deadline: m.deadline.map(Time),
        steps: m.phases.iter().enumerate().map(step).collect(),
        next: next(m),
        reversible: m.phase < MovePhase::Draining && m.kind != MoveKind::Failover,
        attempt: m.attempt,
        progress: progress(model, m),
        predicted: worth(m.predicted, &model.currency),
        realised: m.phase.is_final().then(|| worth(m.realised, &model.currency)),
        times: m.times,
        started_at: Time(m.started_at),
        ended_at: m.ended_at.map(Time),
    }
}

fn end(model: &Model, host: HostId, assignment: Option<AssignmentId>) -> MoveEnd {
    let site = model.hosts.get(&host).map(|h| site::name_of(model, h.site)).unwrap_or_default();
    MoveEnd { host: model.host_name(host), host_id: host, site, assignment }
}

/// The phases that are to come.
fn next(m: &Move) -> Vec<ShownPhase> {
    use ShownPhase::{
        Copying, Done, Draining, FinalCopy, Holding, Planned, Preparing, Standby, Starting, Switching, Verifying,
    };
    let whole: &[ShownPhase] = match m.kind {
        MoveKind::Overlap => &[Planned, Preparing, Starting, Verifying, Switching, Draining, Done],
        MoveKind::Failover => &[Planned, Preparing, Starting, Verifying, Switching, Done],
        MoveKind::Exclusive => {
            &[Planned, Preparing, Copying, Standby, Holding, FinalCopy, Starting, Verifying, Switching, Draining, Done]
        }
    };
    if m.phase.is_final() {
        return Vec::new();
    }
    whole.iter().copied().filter(|p| *p > shown_phase(m.phase)).collect()
}

/// How the copying goes, as the receiving agent says, and who waits, as the front doors say.
fn progress(model: &Model, m: &Move) -> Option<MoveProgress> {
    if m.phase.is_final() {
        return None;
    }
    let mut shown = MoveProgress::default();
    let receiver = m.to.and_then(|to| model.assignments.get(&to)).and_then(|a| a.phase());
    if let Some(Phase::Receiving(p)) = receiver {
        let left = p.total.0.saturating_sub(p.done.0);
        let left = u128::from(left) * 1_000_000 / u128::from(p.rate.0.max(1));
        shown = MoveProgress {
            rounds: p.rounds,
            done_bytes: p.done.0,
            total_bytes: p.total.0,
            size_bytes: p.size.0,
            sent_bytes: p.sent.0,
            rate_bytes: p.rate.0,
            left_micros: (p.rate.0 > 0).then(|| Micros(i64::try_from(left).unwrap_or(i64::MAX))),
            ..shown
        };
    }
    for (_, door) in model.doors_of(m.service).filter(|(host, _)| model.pulse(*host).connected) {
        shown.waiting = shown.waiting.saturating_add(door.waiting);
        let leaving = door.under_way.iter().filter(|(copy, _)| Some(*copy) == m.from);
        shown.under_way = leaving.fold(shown.under_way, |sum, (_, n)| sum.saturating_add(*n));
    }
    (shown != MoveProgress::default()).then_some(shown)
}

fn worth((worth, effect): (Worth, Effect), currency: &str) -> MoveWorth {
    MoveWorth {
        gain: Money::new(worth.gain, currency),
        cost: Money::new(worth.cost, currency),
        horizon_micros: worth.horizon,
        hold_micros: effect.hold,
        longest_stall_micros: effect.longest_stall,
        bytes: effect.bytes.0,
        state_bytes: effect.state.0,
        rounds: effect.rounds,
        held: effect.held,
        failed: effect.failed,
        retried: effect.retried,
        cut: effect.cut,
    }
}

const fn shown_phase(phase: MovePhase) -> ShownPhase {
    match phase {
        MovePhase::Planned => ShownPhase::Planned,
        MovePhase::Preparing => ShownPhase::Preparing,
        MovePhase::Copying => ShownPhase::Copying,
        MovePhase::Standby => ShownPhase::Standby,
        MovePhase::Holding => ShownPhase::Holding,
        MovePhase::FinalCopy => ShownPhase::FinalCopy,
        MovePhase::Starting => ShownPhase::Starting,
        MovePhase::Verifying => ShownPhase::Verifying,
        MovePhase::Switching => ShownPhase::Switching,
        MovePhase::Draining => ShownPhase::Draining,
        MovePhase::Done => ShownPhase::Done,
        MovePhase::RolledBack => ShownPhase::RolledBack,
        MovePhase::Declined => ShownPhase::Declined,
    }
}
