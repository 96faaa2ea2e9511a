//! One controller: its model, what its disk would give back after a crash, and the tasks that it runs by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use chandler_protocol::{
    DecisionId, Digest, HostId, MicroMoney, Micros, OfferId, OrderId, PartyId, Ppm, ServiceId, SiteId, Timestamp,
};

use super::super::{Chain, Market, Posted, Side, sweep, sweep_disputes};
use crate::assurance::{self, Patience};
use crate::audit::audit;
use crate::catalogue::Offering;
use crate::draft::Draft;
use crate::finance::UsageRow;
use crate::finance::receipt::Receipt;
use crate::fulfilment;
use crate::market::clearing::Rule;
use crate::market::offer::{Offer, OfferState};
use crate::model::{Change, Model};
use crate::order::{Action, Order, OrderSpec, OrderState};
use crate::partner::{Partner, PartnerState};
use crate::party::Party;
use crate::placement::Decision;
use crate::placement::example::{CUSTOMER, OWNER, spot, wish};
use crate::relocation;
use crate::relocation::trigger::{Rules, Senses, consider};
use crate::service::Service;
use crate::site::{Rates, Site, SiteRole};

/// What is on disk: a crash loses everything else, a restored backup is an older one of these.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub model: Model,
    pub receipts: BTreeMap<(PartyId, Side), BTreeMap<u64, Receipt>>,
    pub rows: BTreeMap<(HostId, u64), UsageRow>,
    pub decisions: BTreeMap<DecisionId, Arc<Decision>>,
}

impl Disk {
    fn commit(&mut self, changes: &[Change]) {
        self.model.apply_all(changes);
        for change in changes {
            match change {
                Change::Receipt(partner, side, receipt) => {
                    let chain = self.receipts.entry((*partner, *side)).or_default();
                    let before = chain.insert(receipt.number, receipt.as_ref().clone());
                    assert_eq!(before, None, "receipt {} is written twice", receipt.number);
                }
                Change::Usage(row) => {
                    let before = self.rows.insert((row.host, row.sequence), row.clone());
                    assert_eq!(before, None, "the row of record {} of {} is posted twice", row.sequence, row.host);
                }
                Change::Decision(decision) => {
                    self.decisions.insert(decision.id, decision.clone());
                }
                _ => {}
            }
        }
    }
}

/// A controller.
pub(super) struct Controller {
    pub n: u8,
    pub model: Model,
    pub disk: Disk,
    pub up: bool,
    pub now: Timestamp,
    drawn: u64,
    audited: u64,
    /// It considers moves by itself.
    pub rules: Option<(Senses, Rules)>,
}

/// The party of controller `n`, by the same id everywhere.
pub(super) fn party(n: u8) -> PartyId {
    PartyId::from_random([100 + n; 10])
}

pub(super) fn domain(n: u8) -> String {
    format!("controller-{n}")
}

pub(super) fn host(n: u8) -> HostId {
    HostId::from_random([n; 10])
}

pub(super) fn site(n: u8) -> SiteId {
    SiteId::from_random([n; 10])
}

impl Controller {
    pub(super) fn new(n: u8, now: Timestamp) -> Self {
        let mut it = Self {
            n,
            model: Model::default(),
            disk: Disk::default(),
            up: true,
            now,
            drawn: 0,
            audited: 0,
            rules: None,
        };
        it.disk.model.currency = "EUR".to_owned();
        it.model.currency = "EUR".to_owned();
        it.transact(|draft| {
            draft.put(Offering { margin_percent: 0, management_hour: MicroMoney(0), ..Offering::standard(draft.now) });
            for (id, name) in [(CUSTOMER, "customer"), (OWNER, "owner")] {
                draft.put(Party { id, name: name.to_owned(), roles: Vec::new() });
            }
            let (seed, head) = (Digest([n; 32]), Digest([0; 32]));
            draft.put(Market { domain: domain(n), rule: Rule::PostedRate, seed, head, cleared: 0 });
        });
        it
    }

    /// One transaction. What the disk would give back after it is what the model says.
    pub(super) fn transact<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        let (n, drawn) = (self.n, &mut self.drawn);
        let mut ids = || {
            *drawn += 1;
            let mut id = [n; 10];
            id[2..].copy_from_slice(&drawn.to_be_bytes());
            id
        };
        let boot = Micros(self.now.0);
        let mut draft = Draft::new(&self.model, self.now, "test", &mut ids).at_boot(boot);
        let done = work(&mut draft);
        let (model, changes) = (draft.model, draft.changes);
        self.model = model;
        if !changes.is_empty() {
            self.disk.commit(&changes);
            self.model.generation += 1;
            self.disk.model.generation = self.model.generation;
            assert_eq!(self.disk.model.assignments, self.model.assignments);
            assert_eq!(self.disk.model.tenancies, self.model.tenancies);
            assert_eq!(self.disk.model.chains, self.model.chains);
        }
        done
    }

    /// What must hold of each controller by itself.
    pub(super) fn is_sound(&mut self) {
        if self.audited != self.model.generation {
            self.audited = self.model.generation;
            assert_eq!(audit(&self.model), [], "controller {}", self.n);
        }
    }

    /// It ends, and begins again with what is on disk.
    pub(super) fn restart(&mut self) {
        let chains: Vec<_> = self.disk.model.chains.values().cloned().collect();
        for chain in chains {
            // That it was heard how long it is, is not written down.
            let unheard = Chain { heard: false, ..chain.as_ref().clone() };
            self.disk.model.apply(&Change::from(unheard));
        }
        self.model = self.disk.model.clone();
        self.model.observable_since = self.now;
        self.model.leasing_since = Micros(self.now.0);
        self.model.ordered_before = self.model.last_order;
        self.model.grace = Patience::default().grace;
        self.up = true;
    }

    /// It ends, and begins again with what was on disk once.
    pub(super) fn restore(&mut self, backup: &Disk) {
        self.disk = backup.clone();
        self.restart();
    }

    /// Another controller is a partner of this one.
    pub(super) fn knows(&mut self, other: u8) {
        self.transact(|draft| {
            let (party, name) = (party(other), format!("partner-{other}"));
            draft.put(Party { id: party, name: name.clone(), roles: Vec::new() });
            draft.put(Partner {
                party,
                name,
                address: None,
                trust: Vec::new(),
                retired: Vec::new(),
                trust_domain: domain(other),
                may_buy: true,
                may_sell: true,
                state: PartnerState::Active,
                since: draft.now,
                reason: String::new(),
                version: 1,
            });
        });
    }

    /// A host of its own, at a site of its own, for so much a core-hour.
    pub(super) fn owns(&mut self, n: u8, core_hour: i64) {
        self.transact(|draft| {
            let mut known = spot(n, 0).host;
            known.site = site(n);
            let rates = Rates { core_hour: MicroMoney(core_hour), gib_hour: MicroMoney(7), gpu_hour: MicroMoney(0) };
            draft.put(Site {
                id: site(n),
                name: format!("site-{n}"),
                owner: OWNER,
                role: SiteRole::Remote,
                country: "DE".to_owned(),
                rates,
                version: 1,
                home: None,
            });
            draft.put(known);
        });
    }

    /// The host is offered to partners.
    pub(super) fn offers(&mut self, n: u8, core_hour: i64, notice: Micros) {
        self.transact(|draft| {
            let before = draft.model.offers_of(site(n)).next().map(|p| p.offer.clone());
            let offer = Offer {
                id: OfferId::from_random([n; 10]),
                site: site(n),
                owner: OWNER,
                state: OfferState::Active,
                asked: Rates { core_hour: MicroMoney(core_hour), gib_hour: MicroMoney(7), gpu_hour: MicroMoney(0) },
                free: false,
                capacity: None,
                windows: vec!["daily 00:00-24:00 UTC".parse().unwrap()],
                min_term: Micros::from_secs(60),
                reclaim_notice: notice,
                residency: "DE".to_owned(),
                availability: Ppm(999_000),
                price_notice: Micros::from_secs(86_400),
                version: before.map_or(1, |o| o.version + 1),
                posted_at: draft.now,
                reason: String::new(),
                until: None,
            };
            draft.put(Posted::new(offer, Digest([n; 32])));
        });
    }

    /// The owner of a host takes it back, or not after all.
    pub(super) fn withdraw(&mut self, n: u8) {
        self.transact(|draft| {
            let id = OfferId::from_random([n; 10]);
            let Some(posted) = draft.model.offers.get(&id).cloned() else { return };
            let offer = Offer { state: OfferState::Withdrawn, ..posted.offer.clone() };
            draft.put(Posted { offer, ..posted.as_ref().clone() });
        });
    }

    /// A customer orders something.
    pub(super) fn order(&mut self, name: &str, action: Action, change: impl FnOnce(&mut OrderSpec)) -> OrderId {
        let wish = wish();
        let mut spec = OrderSpec {
            offering: "standard".to_owned(),
            workload: wish.spec,
            platform: wish.platform,
            terms: wish.terms,
            policy: wish.policy,
            items: Vec::new(),
            retries: 0,
        };
        change(&mut spec);
        let name = name.to_owned();
        self.transact(|draft| {
            let id = OrderId::from_random(draft.id());
            draft.put(Order {
                id,
                number: draft.model.last_order + 1,
                customer: CUSTOMER,
                name,
                action,
                state: OrderState::Acknowledged,
                reason: String::new(),
                code: String::new(),
                nearest: Vec::new(),
                ordered_at: draft.now,
                completed_at: None,
                by: "test".to_owned(),
                agreement: None,
                service: None,
                spec,
                request: String::new(),
            });
            id
        })
    }

    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        let id = self.model.by_name.get(&(CUSTOMER, name.to_owned()))?;
        self.model.services.get(id).map(AsRef::as_ref)
    }

    /// What its tasks do, once.
    pub(super) fn tasks(&mut self) {
        self.transact(|draft| {
            fulfilment::admit(draft);
            relocation::place_waiting(draft);
        });
        self.transact(|draft| assurance::watch(draft, Patience::default()));
        self.transact(|draft| {
            let live: Vec<ServiceId> = draft.model.live.iter().copied().collect();
            for service in live {
                fulfilment::advance(draft, service);
            }
            relocation::retire(draft);
        });
        if let Some((mut senses, rules)) = self.rules.take() {
            self.transact(|draft| consider(draft, &mut senses, &rules, Patience::default()));
            self.rules = Some((senses, rules));
        }
        self.transact(|draft| {
            sweep(draft);
            sweep_disputes(draft);
        });
    }
}
