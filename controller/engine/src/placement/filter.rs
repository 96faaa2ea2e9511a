//! The rules that refuse a host, in the order of [`Rule`]: each looks at one host and one request.

use chandler_protocol::workload::{Software, WorkloadKind, WorkloadSpec};
use chandler_protocol::{MicroMoney, Micros, Ppm};

use super::{Closing, HostView, MonthlyPrice, Request, Rule, monthly};
use crate::availability::of_any;
use crate::fleet::{Capacity, HostState};
use crate::order::{OnPartition, OwnerKind, Policy, REPLICAS_MAX};
use crate::site::SiteRole;

/// A request with what may be varied about it to find out what would help.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// The request.
    pub request: Request<'a>,
    /// What one copy takes.
    pub wanted: Capacity,
    /// What a copy that runs now holds on a host of `request.current`, where its view does not say.
    pub held: Capacity,
    /// Whether all hosts are taken to be empty.
    pub empty: bool,
}

impl<'a> Ask<'a> {
    /// The request as it is, on the fleet as it is.
    pub(super) fn new(request: &Request<'a>) -> Self {
        let wanted = Capacity { gpus: request.terms.gpus_min, ..Capacity::of_limits(request.spec.limits) };
        Self { request: *request, wanted, held: wanted, empty: false }
    }
}

/// Least and most copies, as integers that can be relied on.
pub(super) fn replicas(policy: &Policy) -> (usize, usize) {
    let least = policy.replicas_min.clamp(1, REPLICAS_MAX);
    let most = policy.replicas_max.clamp(least, REPLICAS_MAX);
    (least as usize, most as usize)
}

/// Why a host does not fit, as numbers. Put into words only for those who read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is not active.
    State(HostState),
    /// It shall be left, or will not be there.
    Closed(Closing),
    /// Its agent speaks this version only, and cannot do what this needs.
    OldAgent(u16),
    /// It is another customer's own computer.
    Foreign,
    /// The policy leaves out its kind of owner.
    OwnerKind(OwnerKind),
    /// The software just failed there.
    Failed,
    /// Its country is not allowed.
    Residency,
    /// It has not said yet what it is.
    NoInventory,
    /// Another operating system or architecture.
    Platform,
    /// The driver does not work there.
    Driver,
    /// The program is not installed there.
    Program,
    /// It cannot hold this limit.
    Unenforced(&'static str),
    /// So few cores.
    Cores(u32),
    /// So few GPUs.
    Gpus(u32),
    /// Its owner gives too little.
    Offered(Capacity),
    /// Nobody knows how far away it is.
    NoPath,
    /// Answers would take so long.
    TooFar(Micros),
    /// So rarely up, with all the copies that are allowed.
    TooRare(Ppm),
    /// The least number of copies would cost so much.
    TooDear(MicroMoney),
    /// So little is free.
    Full(Capacity),
}

impl Misfit {
    /// The rule it breaks.
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::State(_) | Self::Closed(_) => Rule::State,
            Self::Foreign | Self::OwnerKind(_) => Rule::Owner,
            Self::Failed => Rule::Failed,
            Self::Residency => Rule::Residency,
            Self::NoInventory | Self::Platform | Self::Driver | Self::Program | Self::OldAgent(_) => Rule::Software,
            Self::Unenforced(_) => Rule::Limits,
            Self::Cores(_) | Self::Gpus(_) | Self::Offered(_) => Rule::Size,
            Self::NoPath | Self::TooFar(_) => Rule::Interactivity,
            Self::TooRare(_) => Rule::Availability,
            Self::TooDear(_) => Rule::Cost,
            Self::Full(_) => Rule::Capacity,
        }
    }
}

/// What the best partners of a host could add: the rules for availability and cost are about all copies together,
/// and must not refuse a host that would do in good company.
#[derive(Debug, Clone, Copy)]
pub(super) struct Company {
    /// Hosts that pass every rule before [`Rule::Availability`].
    pub hosts: usize,
    /// The highest availability among them.
    pub availability: Ppm,
    /// The lowest price of one copy among them.
    pub price: MicroMoney,
}

/// Whether the host is the customer's own computer.
fn is_own(view: &HostView<'_>, request: &Request<'_>) -> bool {
    view.role == SiteRole::Customer && view.owner == request.customer
}

/// Predicted 95th percentile of the answer time; `None` when the path was never measured. The customer is at its
/// own computers: no way there.
pub(super) fn p95(view: &HostView<'_>, request: &Request<'_>) -> Option<Micros> {
    let way = if is_own(view, request) { 0 } else { request.access_rtt.0.max(0).saturating_add(view.rtt?.0.max(0)) };
    Some(Micros(way.saturating_add(request.response_p95.0.max(0))))
}

/// Rules that no other value of an SLA's terms can change.
pub(super) fn refuse_for_good(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    standing(view, request)
        .or_else(|| software(view, request))
        .or_else(|| limits(view, request))
        .or_else(|| machine(view, request))
}

/// Rules about this host alone, up to and with [`Rule::Interactivity`].
pub(super) fn refuse_alone(view: &HostView<'_>, ask: &Ask<'_>) -> Option<Misfit> {
    let request = &ask.request;
    standing(view, request)
        .or_else(|| residency(view, request))
        .or_else(|| software(view, request))
        .or_else(|| limits(view, request))
        .or_else(|| machine(view, request))
        .or_else(|| (!view.offered.holds(ask.wanted)).then_some(Misfit::Offered(view.offered)))
        .or_else(|| interactivity(view, request))
}

/// Rules about the host together with the others: availability, cost and, last, capacity, so that "full" is said
/// only of a host that would otherwise fit.
pub(super) fn refuse_together(
    view: &HostView<'_>,
    ask: &Ask<'_>,
    price: MonthlyPrice,
    company: Company,
) -> Option<Misfit> {
    availability(view, &ask.request, company)
        .or_else(|| cost(&ask.request, price, company))
        .or_else(|| capacity(view, ask))
}

/// What one copy costs a month on this host.
pub(super) fn price_of(view: &HostView<'_>, ask: &Ask<'_>) -> MonthlyPrice {
    monthly(view.rates, ask.wanted, ask.request.price)
}

fn standing(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    // Whose it is comes before how it is in one case only: nobody learns how another customer's computers are.
    if view.role == SiteRole::Customer && !is_own(view, request) {
        return Some(Misfit::Foreign);
    }
    if view.state != HostState::Active {
        return Some(Misfit::State(view.state));
    }
    if let Some(closing) = view.closed {
        return Some(Misfit::Closed(closing));
    }
    let kind = match view.role {
        SiteRole::Customer => OwnerKind::Customer,
        SiteRole::Provider => OwnerKind::Provider,
        SiteRole::Remote => OwnerKind::Remote,
        SiteRole::Partner => OwnerKind::Partner,
    };
    if !request.policy.owners.contains(&kind) {
        return Some(Misfit::OwnerKind(kind));
    }
    request.avoid.contains(&view.host.id).then_some(Misfit::Failed)
}

fn residency(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    let allowed = &request.terms.residency;
    (!allowed.is_empty() && !allowed.iter().any(|c| c == view.country)).then_some(Misfit::Residency)
}

fn software(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    let Some(inventory) = &view.host.inventory else { return Some(Misfit::NoInventory) };
    let is_platform = request
        .platform
        .strip_prefix(inventory.os.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest == inventory.architecture);
    if !matches!(request.platform, "" | "any") && !is_platform {
        return Some(Misfit::Platform);
    }
    if !inventory.drivers.iter().any(|d| d.kind == request.spec.driver) {
        return Some(Misfit::Driver);
    }
    // 0: it has not said which version it speaks, since a controller that asks for it was started.
    let is_old = (1..OWNING_SINCE).contains(&view.host.protocol);
    if is_old && needs_owner(request) {
        return Some(Misfit::OldAgent(view.host.protocol));
    }
    let Software::Installed { name, path } = &request.spec.software else { return None };
    let found = inventory.software.iter().any(|s| {
        let lists_path = s.programs.iter().any(|p| p == path);
        lists_path || (s.name == *name && s.programs.is_empty())
    });
    (!found).then_some(Misfit::Program)
}

/// Agents know what it is to own a state, and what a lease is, since this version of the messages.
const OWNING_SINCE: u16 = 2;

/// Whether one copy at a time owns something: its state, or the right to run.
fn needs_owner(request: &Request<'_>) -> bool {
    let WorkloadSpec { kind, state, .. } = request.spec;
    let alone = request.policy.replicas_max <= 1 || state.as_ref().is_some_and(|s| s.exclusive);
    let leased = *kind == WorkloadKind::Service && request.policy.mobility.on_partition == OnPartition::Stop;
    (state.is_some() && alone) || leased
}

fn limits(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    if !request.policy.enforce_limits {
        return None;
    }
    let WorkloadSpec { driver, limits, .. } = request.spec;
    let driver = view.host.inventory.as_ref()?.drivers.iter().find(|d| d.kind == *driver)?;
    if limits.cpu.is_some() && !driver.limits_cpu {
        Some(Misfit::Unenforced("processor time"))
    } else if limits.memory.is_some() && !driver.limits_memory {
        Some(Misfit::Unenforced("memory"))
    } else if limits.pids.is_some() && !driver.limits_pids {
        Some(Misfit::Unenforced("the number of processes"))
    } else {
        None
    }
}

fn machine(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    let inventory = view.host.inventory.as_ref()?;
    let gpus = u32::try_from(inventory.gpus.len()).unwrap_or(u32::MAX);
    if inventory.cpu.cores < request.terms.cores_min {
        return Some(Misfit::Cores(inventory.cpu.cores));
    }
    (gpus < request.terms.gpus_min).then_some(Misfit::Gpus(gpus))
}

fn interactivity(view: &HostView<'_>, request: &Request<'_>) -> Option<Misfit> {
    let most = request.terms.p95_max?;
    match p95(view, request) {
        None => Some(Misfit::NoPath),
        Some(p95) => (p95 > most).then_some(Misfit::TooFar(p95)),
    }
}

fn availability(view: &HostView<'_>, request: &Request<'_>, company: Company) -> Option<Misfit> {
    let least = request.terms.availability_min?;
    let (min, max) = replicas(request.policy);
    let max = max.min(company.hosts).max(min);
    let mut copies = [company.availability; REPLICAS_MAX as usize];
    copies[0] = view.availability;
    let reach = (min..=max).map(|k| of_any(&copies[..k])).max().unwrap_or_default();
    (reach < least).then_some(Misfit::TooRare(reach))
}

fn cost(request: &Request<'_>, price: MonthlyPrice, company: Company) -> Option<Misfit> {
    let most = request.terms.cost_max?;
    let others = i64::try_from(replicas(request.policy).0 - 1).unwrap_or(0);
    let total = MicroMoney(price.total().0.saturating_add(company.price.0.saturating_mul(others)));
    (total > most).then_some(Misfit::TooDear(total))
}

fn capacity(view: &HostView<'_>, ask: &Ask<'_>) -> Option<Misfit> {
    let is_there = ask.request.current.contains(&view.host.id);
    let own = if is_there { view.own.unwrap_or(ask.held) } else { Capacity::default() };
    let taken = if ask.empty { Capacity::default() } else { view.reserved.minus(own) };
    let free = view.offered.minus(taken);
    (!free.holds(ask.wanted)).then_some(Misfit::Full(free))
}
