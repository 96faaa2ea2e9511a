//! Refusals in words: one host's with its numbers, and one sentence for a whole fleet.

use chandler_protocol::MicroMoney;
use chandler_protocol::workload::DriverKind;

use super::filter::{Ask, Misfit, price_of, replicas};
use super::search::{Fit, solve};
use super::value::{cores, countries, duration, monthly_cost, readable_duration, readable_money, readable_share, size};
use super::{HostView, Refused, Rule};
use crate::availability::of_any;
use crate::fleet::Capacity;

/// Stands in the place of the name of a computer that the reader has no business with.
const HIDDEN: &str = "(another customer's)";

/// A host's refusal in words.
pub(super) fn refused(view: &HostView<'_>, misfit: Misfit, ask: &Ask<'_>) -> Refused {
    let is_foreign = misfit == Misfit::Foreign;
    let shown = |name: &str| if is_foreign { HIDDEN.to_owned() } else { name.to_owned() };
    Refused {
        host: view.host.id,
        host_name: shown(&view.host.name),
        site_name: shown(view.site_name),
        rule: misfit.rule(),
        reason: reason(view, misfit, ask),
        would_fit: would_fit(view, misfit, ask),
        distance: distance(misfit, ask),
        price_month: if is_foreign { MicroMoney(0) } else { price_of(view, ask).total() },
    }
}

fn reason(view: &HostView<'_>, misfit: Misfit, ask: &Ask<'_>) -> String {
    let request = &ask.request;
    let terms = request.terms;
    match misfit {
        Misfit::State(state) => format!("the host is {}", state.as_str()),
        Misfit::Closed(closing) => format!("the host {}", closing.as_str()),
        Misfit::OldAgent(version) => {
            format!("its agent is too old for it: it speaks version {version} of the messages, 2 is needed")
        }
        Misfit::Foreign => "belongs to another customer".to_owned(),
        Misfit::OwnerKind(kind) => format!("policy.owners leaves out {}", kind.as_str()),
        Misfit::Failed => "the software just failed there".to_owned(),
        Misfit::Residency => format!("is in {}, not in {}", view.country, terms.residency.join(", ")),
        Misfit::NoInventory => "has not reported its hardware and software yet".to_owned(),
        Misfit::Platform => {
            let platform = view.host.inventory.as_ref().map(|i| format!("{}-{}", i.os, i.architecture));
            format!("runs {}, not {}", platform.unwrap_or_default(), request.platform)
        }
        Misfit::Driver => format!("the driver {} does not work there", driver_name(request.spec.driver)),
        Misfit::Program => "the program is not installed there".to_owned(),
        Misfit::Unenforced(what) => format!("cannot hold {what} to a limit"),
        Misfit::Cores(has) => format!("{} < {}", count(has, "core"), terms.cores_min),
        Misfit::Gpus(has) => format!("{} < {}", count(has, "GPU"), terms.gpus_min),
        Misfit::Offered(offered) => format!("its owner offers {}", short_of(offered, ask.wanted)),
        Misfit::NoPath => "its round trip was not measured yet".to_owned(),
        Misfit::TooFar(p95) => {
            let what = if request.response_p95.0 > 0 { "predicted answer time" } else { "round trip" };
            let most = terms.p95_max.unwrap_or_default();
            format!("{what} {} > {}", duration(readable_duration(p95)), duration(most))
        }
        Misfit::TooRare(reach) => {
            let least = terms.availability_min.unwrap_or_default();
            if reach == view.availability {
                format!("up {reach} of the time < {least}")
            } else {
                format!("up {} of the time; with further copies at most {reach} < {least}", view.availability)
            }
        }
        Misfit::TooDear(total) => {
            let most = terms.cost_max.unwrap_or_default();
            let (least, _) = replicas(request.policy);
            let copies = if least > 1 { format!(" for {least} copies") } else { String::new() };
            let total = monthly_cost(readable_money(total), request.currency);
            format!("{total}{copies} > {}", monthly_cost(most, request.currency))
        }
        Misfit::Full(free) => format!("free there is {}", short_of(free, ask.wanted)),
    }
}

const fn driver_name(kind: DriverKind) -> &'static str {
    match kind {
        DriverKind::Process => "process",
    }
}

/// Where `has` does not hold `wanted`: `0.2 of 0.5 cores`.
fn short_of(has: Capacity, wanted: Capacity) -> String {
    let cpu = format!("{} of {} cores", cores(has.cpu), cores(wanted.cpu));
    let memory = format!("{} of {}", has.memory, size(wanted.memory));
    let gpus = format!("{} of {}", has.gpus, count(wanted.gpus, "GPU"));
    let all = [(has.cpu < wanted.cpu, cpu), (has.memory < wanted.memory, memory), (has.gpus < wanted.gpus, gpus)];
    let short: Vec<&str> = all.iter().filter(|(is_short, _)| *is_short).map(|(_, text)| text.as_str()).collect();
    listed(&short)
}

fn count(n: u32, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The change of the order that lifts this rule for this host; later rules may still refuse it.
fn would_fit(view: &HostView<'_>, misfit: Misfit, ask: &Ask<'_>) -> String {
    let request = &ask.request;
    match misfit {
        Misfit::OwnerKind(kind) => {
            let kinds = request.policy.owners.iter().chain([&kind]).map(|k| k.as_str().to_owned());
            format!("policy.owners = {}", countries(&kinds.collect::<Vec<_>>()))
        }
        Misfit::Residency => {
            let mut list = request.terms.residency.clone();
            list.push(view.country.to_owned());
            list.sort();
            format!("sla.residency = {}", countries(&list))
        }
        Misfit::Unenforced(_) => "software.limits.enforce = false".to_owned(),
        Misfit::Cores(has) => format!("sla.capacity.cores = {has}"),
        Misfit::Gpus(has) => format!("sla.capacity.gpus = {has}"),
        Misfit::Offered(has) | Misfit::Full(has) => smaller(has, ask.wanted),
        Misfit::TooFar(p95) => format!("sla.interactivity.p95 = \"{}\"", duration(readable_duration(p95))),
        Misfit::TooRare(reach) => format!("sla.availability.min = \"{}\"", readable_share(reach)),
        Misfit::TooDear(total) => {
            format!("sla.cost.max = \"{}\"", monthly_cost(readable_money(total), request.currency))
        }
        Misfit::State(_)
        | Misfit::Closed(_)
        | Misfit::OldAgent(_)
        | Misfit::Foreign
        | Misfit::Failed
        | Misfit::NoInventory
        | Misfit::Platform
        | Misfit::Driver
        | Misfit::Program
        | Misfit::NoPath => String::new(),
    }
}

/// The limits that would fit into what there is; none when nothing is left.
fn smaller(has: Capacity, wanted: Capacity) -> String {
    let mut changes = Vec::new();
    if has.cpu < wanted.cpu {
        changes.push(format!("software.limits.cpu = {}", cores(has.cpu)));
    }
    if has.memory < wanted.memory {
        changes.push(format!("software.limits.memory = \"{}\"", size(has.memory)));
    }
    if has.gpus < wanted.gpus {
        changes.push(format!("sla.capacity.gpus = {}", has.gpus));
    }
    let is_nothing = (has.cpu < wanted.cpu && has.cpu.0 == 0)
        || (has.memory < wanted.memory && has.memory.0 == 0)
        || (has.gpus < wanted.gpus && has.gpus == 0);
    if is_nothing { String::new() } else { changes.join(", ") }
}

/// How far a host is off, in parts per million of what was asked.
pub(super) fn distance(misfit: Misfit, ask: &Ask<'_>) -> u64 {
    let terms = ask.request.terms;
    let over = |has: i64, most: i64| share(i128::from(has) - i128::from(most), i128::from(most));
    let under = |has: u64, least: u64| share(i128::from(least) - i128::from(has), i128::from(least));
    match misfit {
        Misfit::Cores(has) => under(has.into(), terms.cores_min.into()),
        Misfit::Gpus(has) => under(has.into(), terms.gpus_min.into()),
        Misfit::Offered(has) | Misfit::Full(has) => {
            let wanted = ask.wanted;
            let most = under(has.cpu.0.into(), wanted.cpu.0.into()).max(under(has.memory.0, wanted.memory.0));
            most.max(under(has.gpus.into(), wanted.gpus.into()))
        }
        Misfit::TooFar(p95) => over(p95.0, terms.p95_max.unwrap_or_default().0),
        Misfit::TooRare(reach) => under(reach.0.into(), terms.availability_min.unwrap_or_default().0.into()),
        Misfit::TooDear(total) => over(total.0, terms.cost_max.unwrap_or_default().0),
        _ => u64::MAX,
    }
}

/// `part` of `whole` in parts per million, below `u64::MAX`, which means that no number tells.
fn share(part: i128, whole: i128) -> u64 {
    let ppm = part.max(0).saturating_mul(1_000_000) / whole.max(1);
    u64::try_from(ppm).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

/// Why no host, or no set of hosts, meets the SLA.
pub(super) fn infeasible(hosts: &[&HostView<'_>], fits: &[Fit<'_, '_>], refused: &[Refused], ask: &Ask<'_>) -> String {
    if hosts.is_empty() {
        return "there are no hosts yet".to_owned();
    }
    let total = hosts.len();
    let facts = funnel(refused);
    let (least, most) = replicas(ask.request.policy);
    if fits.is_empty() {
        return format!("no host meets all of this SLA: of {}, {facts}", plural(total, "host"));
    }
    if fits.len() < least {
        let fit = fits.len();
        return format!("{least} copies need a host each, but only {fit} of {} fit: {facts}", plural(total, "host"));
    }
    together(hosts, fits, most, ask)
}

/// Hosts fit one by one, and no allowed number of them fits together: says by which term.
fn together(hosts: &[&HostView<'_>], fits: &[Fit<'_, '_>], most: usize, ask: &Ask<'_>) -> String {
    let mut terms = ask.request.terms.clone();
    terms.cost_max = None;
    let mut free = *ask;
    free.request.terms = &terms;
    let currency = ask.request.currency;
    match (solve(hosts, &free), ask.request.terms.cost_max, ask.request.terms.availability_min) {
        (Some(solution), Some(cost_max), _) => format!(
            "no hosts meet all of this SLA together: the cheapest that meet the rest ({}) cost {}, more than {}",
            names(&solution.hosts),
            monthly_cost(readable_money(solution.predicted.monthly_cost), currency),
            monthly_cost(cost_max, currency),
        ),
        (_, _, Some(least)) => {
            let mut best: Vec<_> = fits.iter().map(|f| f.view.availability).collect();
            best.sort_unstable_by(|a, b| b.cmp(a));
            best.truncate(most);
            format!(
                "no hosts meet all of this SLA together: {} reach an availability of {}, less than {least}",
                if best.len() == 1 {
                    "the most available copy would".to_owned()
                } else {
                    format!("the {} most available", best.len())
                },
                of_any(&best),
            )
        }
        _ => format!("no set of the {} that fit one by one meets this SLA", plural(fits.len(), "host")),
    }
}

/// Hosts could serve it, but are full.
pub(super) fn no_capacity(total: usize, refused: &[Refused]) -> String {
    let full: Vec<_> = refused.iter().filter(|r| r.rule == Rule::Capacity).collect();
    let nearest = full.iter().min_by_key(|r| (r.distance, r.host));
    let nearest = nearest.map(|r| format!(" (nearest {}: {})", r.host_name, r.reason)).unwrap_or_default();
    let are = if full.len() == 1 { "is" } else { "are" };
    format!("{} of {} would serve it but {are} full now{nearest}", full.len(), plural(total, "host"))
}

/// How many hosts each rule refused, with the nearest: `2 refused by interactivity (nearest h-1: 53 ms > 50 ms)`.
fn funnel(refused: &[Refused]) -> String {
    let mut rules: Vec<Rule> = refused.iter().map(|r| r.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let parts: Vec<_> = rules
        .into_iter()
        .map(|rule| {
            let those = || refused.iter().filter(move |r| r.rule == rule);
            let example = those().min_by_key(|r| (r.distance, r.host));
            let example = example.map_or_else(String::new, |r| {
                let nearest = if r.distance < u64::MAX { "nearest " } else { "" };
                if r.host_name == HIDDEN { r.reason.clone() } else { format!("{nearest}{}: {}", r.host_name, r.reason) }
            });
            format!("{} refused by {} ({example})", those().count(), rule.as_str())
        })
        .collect();
    parts.join(", ")
}

/// Names of hosts, joined: `h-1`, `h-1 and h-2`, `h-1, h-2 and h-3`.
pub(super) fn names(hosts: &[&HostView<'_>]) -> String {
    let names: Vec<&str> = hosts.iter().map(|h| h.host.name.as_str()).collect();
    listed(&names)
}

/// Words, joined as in a sentence.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 host`, `2 hosts`.
pub(super) fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
