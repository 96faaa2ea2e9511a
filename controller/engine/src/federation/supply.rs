//! Supply: what partners offer becomes sites and hosts of the buyer's own model.
//!
//! A partner speaks for its own hosts only: an id that is known as somebody else's is refused. What is offered no more
//! stays as long as something of ours is there.

use std::collections::BTreeSet;

use chandler_protocol::inventory::{HostInventory, Offered};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::{HostId, MicroMoney, Ppm, SiteId};

use super::word::{Catalogue, LOTS_MAX, Lot, LotKind};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Host, HostState, LotTerms};
use crate::market::offer::RATE_MAX;
use crate::partner::Partner;
use crate::site::{Site, SiteRole};

/// Addresses of one host that are kept.
const LISTENS_MAX: usize = 4;
/// Entries of each list of an inventory that are kept.
const LIST_MAX: usize = 8_192;

/// Takes in the whole of what a partner offers. Gives why lots were refused, each in one sentence.
pub fn supply(draft: &mut Draft<'_>, partner: &Partner, catalogue: &Catalogue) -> Vec<String> {
    let mut refused = Vec::new();
    let mut named = BTreeSet::new();
    if !catalogue.lots.is_empty() && catalogue.currency != draft.model.currency {
        refused.push(format!(
            "{} counts in {}, this controller in {}",
            partner.name, catalogue.currency, draft.model.currency
        ));
    } else {
        for lot in catalogue.lots.iter().take(LOTS_MAX) {
            match take(draft, partner, lot) {
                Ok(()) => {
                    named.insert(lot.host);
                }
                Err(why) => refused.push(format!("{}: {why}", lot.host)),
            }
        }
    }
    withdraw(draft, partner, &named);
    refused
}

fn take(draft: &mut Draft<'_>, partner: &Partner, lot: &Lot) -> Result<(), String> {
    let known = draft.model.hosts.get(&lot.host).cloned();
    if known.is_some() && draft.model.home_of(lot.host) != Some(partner.party) {
        return Err("this host is known as another's: a partner speaks for its own hosts only".to_owned());
    }
    if let Some((name, rate)) = lot.rates.out_of_range(RATE_MAX) {
        return Err(format!("its rate {name} is {rate}: what is taken is 0 to {}", MicroMoney(RATE_MAX)));
    }
    let site = site_of(draft, partner, lot)?;
    if draft.model.sites.get(&site.id).is_none_or(|s| s.as_ref() != &site) {
        draft.event(
            (Noun::Site, site.id.to_string(), &site.name),
            "",
            "offered",
            format!("offered by {}", partner.name),
        );
        draft.put(site.clone());
    }
    let host = host_of(draft, partner, lot, &site, known.as_deref());
    if known.as_deref() != Some(&host) {
        if known.is_none() {
            let text = format!("offered by {}", partner.name);
            draft.event((Noun::Host, host.id.to_string(), &host.name), "", HostState::Registered.as_str(), text);
        }
        draft.put(host);
    }
    Ok(())
}

/// The lot's site. Its name begins with the partner's, so that two partners' sites never clash.
fn site_of(draft: &Draft<'_>, partner: &Partner, lot: &Lot) -> Result<Site, String> {
    let known = draft.model.sites.get(&lot.site);
    if known.is_some_and(|s| s.home != Some(partner.party)) {
        return Err("its site is known as another's".to_owned());
    }
    let name = format!("{}.{}", partner.name, clean(&lot.site_name, NAME_MAX));
    if draft.model.site_named(&name).is_some_and(|s| s.id != lot.site) {
        return Err(format!("there is another site {name}"));
    }
    let is_country = lot.country.len() == 2 && lot.country.bytes().all(|b| b.is_ascii_uppercase());
    if !is_country {
        return Err("its country is not an ISO 3166-1 alpha-2 code".to_owned());
    }
    let role = match lot.kind {
        LotKind::Partner => SiteRole::Partner,
        LotKind::Remote => SiteRole::Remote,
    };
    let (country, rates) = (lot.country.clone(), lot.rates);
    let home = Some(partner.party);
    let version = match known {
        Some(s) if s.rates == rates && s.country == country => s.version,
        Some(s) => s.version + 1,
        None => 1,
    };
    Ok(Site { id: lot.site, name, owner: partner.party, role, country, rates, version, home })
}

fn host_of(draft: &Draft<'_>, partner: &Partner, lot: &Lot, site: &Site, known: Option<&Host>) -> Host {
    let offered = Offered { cpu: lot.available.cpu, memory: lot.available.memory, disk: lot.inventory.offered.disk };
    let mut inventory = HostInventory { offered, ..bounded(&lot.inventory) };
    // GPUs count by their list: those that others have are not in what this buyer could have.
    inventory.gpus.truncate(lot.available.gpus as usize);
    let reclaimed_at = known.and_then(|h| h.terms.as_ref()?.reclaimed_at);
    let terms = LotTerms {
        offer: clean(&lot.offer, NAME_MAX),
        version: lot.version,
        owner: lot.owner,
        availability: Ppm(lot.availability.0.min(1_000_000)),
        notice: lot.notice,
        odds: lot.odds.bounded(),
        min_term: lot.min_term,
        closed: lot.closed.as_ref().map(|why| clean(why, TEXT_MAX)),
        connected: lot.connected,
        reclaimed_at,
    };
    let base = known.cloned().unwrap_or_else(|| Host {
        id: lot.host,
        site: site.id,
        name: host_name(draft, partner, lot),
        state: HostState::Registered,
        note: String::new(),
        since: draft.now,
        key_fingerprint: lot.key,
        agent_version: String::new(),
        starts: 0,
        inventory: None,
        history: lot.history,
        rtt: None,
        failures: Vec::new(),
        protocol: lot.protocol,
        listens: Vec::new(),
        drain: None,
        terms: None,
    });
    Host {
        site: site.id,
        key_fingerprint: lot.key,
        inventory: Some(inventory),
        history: lot.history,
        protocol: lot.protocol,
        listens: lot.listens.iter().copied().take(LISTENS_MAX).collect(),
        terms: Some(terms),
        ..base
    }
}

fn host_name(draft: &Draft<'_>, partner: &Partner, lot: &Lot) -> String {
    let name = format!("{}.{}", partner.name, clean(&lot.name, NAME_MAX));
    if draft.model.host_named(&name).is_none() { name } else { format!("{name}-{}", lot.host) }
}

/// An inventory with lists that are bounded; its texts are cleaned where they are shown.
fn bounded(said: &HostInventory) -> HostInventory {
    let mut i = said.clone();
    for text in [&mut i.host_name, &mut i.os, &mut i.architecture, &mut i.os_version, &mut i.kernel, &mut i.cpu.model] {
        *text = clean(text, TEXT_MAX);
    }
    i.disks.truncate(LIST_MAX);
    i.networks.clear();
    i.gpus.truncate(LIST_MAX);
    i.sensors.clear();
    i.drivers.truncate(LIST_MAX);
    i.software.truncate(LIST_MAX);
    i
}

/// What is offered no more takes nothing new.
fn withdraw(draft: &mut Draft<'_>, partner: &Partner, named: &BTreeSet<HostId>) {
    let sites: Vec<SiteId> = draft.model.sites_of(partner.party).map(|s| s.id).collect();
    let gone = sites.into_iter().flat_map(|s| draft.model.hosts_of(s).cloned().collect::<Vec<_>>());
    let gone: Vec<_> = gone.filter(|h| !named.contains(&h.id)).collect();
    for host in gone {
        let Some(terms) = host.terms.clone().filter(|t| t.closed.is_none()) else { continue };
        let closed = Some("it is not offered any more".to_owned());
        let own = draft.model.reserved.get(&host.id).copied().unwrap_or_default();
        let inventory = host.inventory.clone().map(|mut i| {
            i.offered = Offered { cpu: own.cpu, memory: own.memory, ..i.offered };
            i.gpus.truncate(own.gpus as usize);
            i
        });
        draft.event((Noun::Host, host.id.to_string(), &host.name), "", "withdrawn", "it is not offered any more");
        draft.put(Host { terms: Some(LotTerms { closed, ..terms }), inventory, ..host.as_ref().clone() });
    }
}
