//! How a service may be moved, where its front doors are and what it uses, checked.

use std::collections::{BTreeMap, BTreeSet};

use chandler_api::mobility::{self as shown, Prepare as ShownPrepare};
use chandler_api::order::{OrderRequest, OwnerKind as ShownOwner, SoftwareKind};
use chandler_engine::criteria::{Criteria, PREMIUM_MAX, TIMED_MAX, Timed};
use chandler_engine::model::Model;
use chandler_engine::order::{Front, HOLD_LONGEST, Mobility, OnLoss, OnPartition, OwnerKind, Prepare, Use};
use chandler_engine::service::Service;
use chandler_engine::site::{Site, SiteRole};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean, is_name};
use chandler_protocol::workload::Probe;
use chandler_protocol::{Bytes, Micros, PartyId};

use super::software::{is_url_path, probed_port, span};
use super::validate::owner;
use crate::api::error::Fields;

/// Most places with front doors that one order names.
const PLACES_MAX: usize = 64;
/// Most services that one uses.
const USES_MAX: usize = 32;
/// Most variables for one used service.
const VARIABLES_MAX: usize = 32;
const RATE_MIN: Bytes = Bytes(64 << 10);
const TENTH: Micros = Micros::from_millis(100);
const HOUR: Micros = Micros::from_secs(3_600);
const YEAR: Micros = Micros::from_secs(365 * 86_400);
/// How long software has to come to a good point, when nothing is said.
const WITHIN: Micros = Micros::from_secs(30);
const WITHIN_MAX: Micros = Micros::from_secs(600);

/// How a service may be moved.
pub(super) fn mobility(fields: &mut Fields, request: &OrderRequest) -> Mobility {
    let (policy, wanted) = (&request.policy, &request.policy.mobility);
    if request.software.kind == SoftwareKind::Task {
        let is_said = !wanted.is_default() || policy.on_partition.is_some() || policy.on_loss.is_some();
        fields.check(!is_said, "policy.move", "an item of a task is not moved, it runs anew: leave it out");
        let is_told = request.software.prepare.is_some();
        fields.check(!is_told, "software.prepare", "an item of a task is not moved, it runs anew: leave it out");
    }
    let default = Mobility::default();
    let hold_max = span(fields, "policy.move.hold", wanted.hold, default.hold_max, (TENTH, HOLD_LONGEST));
    let drain_max = span(fields, "policy.move.drain", wanted.drain, default.drain_max, (Micros::ZERO, HOUR));
    let undo_kept = span(fields, "policy.move.keep", wanted.keep, default.undo_kept, (Micros::ZERO, YEAR));
    let rate_max = wanted.rate.map(|r| r.0.0);
    let is_sound = rate_max.is_none_or(|rate| rate >= RATE_MIN);
    fields.check(is_sound, "policy.move.rate", format!("write at least {RATE_MIN}/s, or leave it out for no limit"));
    let is_exclusive = request.software.state.as_ref().is_some_and(|s| s.exclusive);
    let unleased = is_exclusive && policy.on_partition == Some(shown::OnPartition::KeepRunning);
    if unleased && policy.on_loss == Some(shown::OnLoss::StartEmpty) {
        let detail = "not together with policy.onPartition = \"keepRunning\" and exclusive state: the copy on a silent host \
                      may run on, so that none is begun elsewhere; leave one of the two out";
        fields.wrong("policy.onLoss", detail);
    }
    let on_partition = match policy.on_partition {
        Some(shown::OnPartition::Stop) => OnPartition::Stop,
        Some(shown::OnPartition::KeepRunning) | None => OnPartition::KeepRunning,
    };
    let on_loss = match policy.on_loss {
        Some(shown::OnLoss::StartEmpty) => OnLoss::StartEmpty,
        Some(shown::OnLoss::Wait) | None => OnLoss::Wait,
    };
    Mobility {
        hold_max,
        drain_max,
        cut_allowed: wanted.cut,
        prepare: request.software.prepare.as_ref().and_then(|p| prepare(fields, p, request)),
        on_partition,
        unleased,
        on_loss,
        rate_max,
        undo_kept,
    }
}

/// What the customer would rather have.
pub(super) fn criteria(fields: &mut Fields, request: &OrderRequest) -> Criteria {
    let wanted = &request.policy.criteria;
    if request.software.kind == SoftwareKind::Task {
        let detail = "an item of a task is not moved, it runs anew: leave it out";
        fields.check(wanted.is_default(), "policy.criteria", detail);
    }
    let premium = wanted.premium_percent;
    let detail = format!("write a number from 0 to {PREMIUM_MAX}");
    fields.check(premium.is_none_or(|p| p <= PREMIUM_MAX), "policy.criteria.premiumPercent", detail);
    let few = wanted.at.len() <= TIMED_MAX;
    fields.check(few, "policy.criteria.at", format!("write at most {TIMED_MAX} entries"));
    let prefer = preferred(fields, "policy.criteria.prefer", &wanted.prefer, request);
    let mut at = Vec::new();
    for (index, timed) in wanted.at.iter().take(TIMED_MAX).enumerate() {
        let pointer = format!("policy.criteria.at[{index}]");
        let range = request.policy.replicas;
        let in_range = timed.replicas.is_none_or(|n| (range.min..=range.max).contains(&n));
        let detail = format!("write a number within policy.replicas, {} to {}", range.min, range.max);
        fields.check(in_range, format!("{pointer}.replicas"), detail);
        let says = timed.blackout || timed.replicas.is_some() || !timed.prefer.is_empty();
        fields.check(says, pointer.as_str(), "write what holds then: prefer, replicas or blackout = true");
        let prefer = preferred(fields, &format!("{pointer}.prefer"), &timed.prefer, request);
        match timed.when.parse() {
            Ok(when) => at.push(Timed { when, prefer, replicas: timed.replicas, blackout: timed.blackout }),
            Err(error) => fields.wrong(format!("{pointer}.when"), clean(&error.to_string(), TEXT_MAX)),
        }
    }
    Criteria { cheaper: wanted.cheaper, prefer, premium_percent: premium, at }
}

/// Whose computers are preferred: each once, and among those that may be used at all.
fn preferred(fields: &mut Fields, pointer: &str, wanted: &[ShownOwner], request: &OrderRequest) -> Vec<OwnerKind> {
    let mut list = Vec::new();
    for kind in wanted {
        let may_be = request.policy.owners.contains(kind);
        fields.check(may_be, pointer, format!("{} is not among policy.owners", owner(*kind).as_str()));
        let is_new = !list.contains(&owner(*kind));
        fields.check(is_new, pointer, format!("{} stands there twice", owner(*kind).as_str()));
        if is_new {
            list.push(owner(*kind));
        }
    }
    list
}

fn prepare(fields: &mut Fields, wanted: &ShownPrepare, request: &OrderRequest) -> Option<Prepare> {
    let ways = usize::from(wanted.http.is_some()) + usize::from(wanted.tcp) + usize::from(!wanted.exec.is_empty());
    fields.check(ways == 1, "software.prepare", "write exactly one of http, tcp and exec");
    let within = span(fields, "software.prepare.within", wanted.within, WITHIN, (TENTH, WITHIN_MAX));
    let ports: Vec<_> = request.software.port.iter().map(|p| p.name.as_str()).collect();
    let mut port = || probed_port(fields, "software.prepare.port", wanted.port.as_deref(), &ports);
    let tell = if let Some(path) = &wanted.http {
        let port = port()?;
        fields.check(is_url_path(path), "software.prepare.http", "write the path of a URL, such as /prepare");
        Probe::Http { port, path: path.clone() }
    } else if wanted.tcp {
        Probe::Tcp { port: port()? }
    } else {
        fields.check(wanted.port.is_none(), "software.prepare.port", "exec asks no port: leave it out");
        Probe::Exec { command: wanted.exec.clone() }
    };
    Some(Prepare { tell, within })
}

/// Where its front doors are.
pub(super) fn front(fields: &mut Fields, model: &Model, customer: PartyId, request: &OrderRequest) -> Front {
    let wanted = &request.front;
    let has_doors = request.software.kind == SoftwareKind::Service && !request.software.port.is_empty();
    if !has_doors {
        let detail = "only a service with ports has front doors: leave it out, or add software.port";
        fields.check(wanted.is_default(), "front", detail);
    }
    let few = wanted.on.len() <= PLACES_MAX;
    fields.check(few, "front.on", format!("write at most {PLACES_MAX} hosts and sites"));
    for (index, place) in wanted.on.iter().take(PLACES_MAX).enumerate() {
        let is_known = may_keep(model, customer, place);
        let detail = format!("there is no host or site {} of yours or of the provider's", clean(place, NAME_MAX));
        fields.check(is_known, format!("front.on[{index}]"), detail);
    }
    let taken = numbers_of_others(model, customer, &request.name);
    let mut numbers: Vec<(String, u16)> = Vec::new();
    for (index, port) in request.software.port.iter().enumerate() {
        let Some(number) = port.front else { continue };
        let pointer = format!("software.port[{index}].front");
        if let Some(other) = taken.get(&number) {
            fields.wrong(pointer.as_str(), format!("service {other} has {number} at its front doors: write another"));
        }
        let is_new = numbers.iter().all(|(_, n)| *n != number);
        fields.check(is_new, pointer, "another port has this number already");
        numbers.push((port.name.clone(), number));
    }
    Front { on: wanted.on.clone(), lan: wanted.lan, numbers }
}

/// Whether a host or site of this name may keep a front door of this customer: its own, or the provider's.
fn may_keep(model: &Model, customer: PartyId, name: &str) -> bool {
    let fits = |site: &Site| site.role == SiteRole::Provider || site.owner == customer;
    let host = model.host_named(name).and_then(|h| model.sites.get(&h.site));
    host.is_some_and(|site| fits(site)) || model.site_named(name).is_some_and(|site| fits(site))
}

/// Numbers that this customer's other services have at their front doors, with the service's name: all of these may
/// be on the same computer.
fn numbers_of_others(model: &Model, customer: PartyId, name: &str) -> BTreeMap<u16, String> {
    let others = services_of(model, customer).filter(|s| s.name != name);
    others.flat_map(|s| s.policy.front.numbers.iter().map(|(_, n)| (*n, s.name.clone())).collect::<Vec<_>>()).collect()
}

/// The services of a customer that are not gone.
pub(super) fn services_of(model: &Model, customer: PartyId) -> impl Iterator<Item = &Service> {
    let own = model.by_name.range((customer, String::new())..).take_while(move |((of, _), _)| *of == customer);
    own.filter_map(|(_, id)| model.services.get(id)).map(AsRef::as_ref)
}

/// What it uses: each service, and the variables that its environment gets.
pub(super) fn uses(
    fields: &mut Fields,
    model: &Model,
    customer: PartyId,
    request: &OrderRequest,
) -> (Vec<Use>, Vec<(String, String)>) {
    let few = request.uses.len() <= USES_MAX;
    fields.check(few, "uses", format!("a service uses at most {USES_MAX} others"));
    let mut names = BTreeSet::new();
    let mut variables: BTreeSet<&str> = request.software.environment.keys().map(String::as_str).collect();
    let (mut list, mut environment) = (Vec::new(), Vec::new());
    for (index, wanted) in request.uses.iter().take(USES_MAX).enumerate() {
        let pointer = format!("uses[{index}]");
        let name = wanted.service.as_str();
        let is_new = names.insert(name);
        fields.check(is_new, format!("{pointer}.service"), "it is named already: write all its variables in one place");
        let few = wanted.env.len() <= VARIABLES_MAX;
        fields.check(few, format!("{pointer}.env"), format!("write at most {VARIABLES_MAX} variables"));
        let Some(used) = used(fields, &format!("{pointer}.service"), model, customer, request, name) else { continue };
        for (variable, port) in wanted.env.iter().take(VARIABLES_MAX) {
            let pointer = format!("{pointer}.env.{}", clean(variable, NAME_MAX));
            let is_sound = !variable.is_empty() && variable.len() <= 256 && !variable.contains(['=', '\0']);
            fields.check(is_sound, pointer.as_str(), "a variable has a name without = and holds no NUL");
            let is_free = variables.insert(variable);
            fields.check(is_free, pointer.as_str(), "the variable has a value already");
            let known: Vec<_> = used.spec.ports.iter().map(|p| p.name.as_str()).collect();
            let detail = format!("service {name} has the ports {}: write one of them", known.join(", "));
            fields.check(known.contains(&port.as_str()), pointer, detail);
            environment.push((variable.clone(), format!("{{front.{}.{port}}}", used.id)));
        }
        let variables = wanted.env.iter().map(|(variable, port)| (variable.clone(), port.clone())).collect();
        list.push(Use { service: name.to_owned(), environment: variables });
    }
    (list, environment)
}

/// The service that is used, when it can be.
fn used<'m>(
    fields: &mut Fields,
    pointer: &str,
    model: &'m Model,
    customer: PartyId,
    request: &OrderRequest,
    name: &str,
) -> Option<&'m Service> {
    let found = services_of(model, customer).find(|s| s.name == name);
    let Some(found) = found.filter(|s| is_name(name) && !s.is_task()) else {
        let detail = "there is no such service of the same customer: order it first";
        let detail = if name == request.name { "a service does not use itself" } else { detail };
        fields.wrong(pointer, detail);
        return None;
    };
    if found.spec.ports.is_empty() {
        fields.wrong(pointer, format!("service {name} has no port"));
        return None;
    }
    if let Some(way) = way_back(model, customer, found, &request.name) {
        fields.wrong(pointer, format!("they would use each other in a circle: {}", way.join(" uses ")));
        return None;
    }
    Some(found)
}

/// How `from` comes to use the service called `name`, if it does.
fn way_back(model: &Model, customer: PartyId, from: &Service, name: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from.name.clone()]);
    let mut open = vec![vec![from.name.clone()]];
    while let Some(way) = open.pop() {
        let last = way.last()?.clone();
        if last == name {
            return Some([vec![name.to_owned()], way].concat());
        }
        let Some(service) = services_of(model, customer).find(|s| s.name == last) else { continue };
        for next in &service.policy.uses {
            if next.service == name || seen.insert(next.service.clone()) {
                open.push([way.clone(), vec![next.service.clone()]].concat());
            }
        }
    }
    None
}
