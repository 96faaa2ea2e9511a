//! What a seller did, and what its buyers and its market make of it.

use chandler_protocol::{AssignmentId, Bytes, Digest, MilliCpu, OfferId, PartyId, ServiceId};

use super::*;
use crate::availability::History;
use crate::federation::word::{Demand, Qualified};
use crate::federation::{Market, Posted, close, reserve, sweep};
use crate::fleet::{Capacity, Pulse};
use crate::market::clearing::Rule;
use crate::market::offer::{Offer, OfferState};
use crate::partner::Partner;
use crate::placement::example::spot;
use crate::site::Rates;

pub(in crate::federation) const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const BUYER: PartyId = PartyId::from_random([8; 10]);

pub(in crate::federation) fn site(n: u8) -> SiteId {
    SiteId::from_random([n; 10])
}

pub(in crate::federation) fn host(n: u8) -> HostId {
    HostId::from_random([n; 10])
}

pub(in crate::federation) fn lease(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

/// A marketplace with the machines of two owners at these rates for a core-hour.
pub(in crate::federation) struct Place {
    pub(in crate::federation) model: Model,
    pub(in crate::federation) now: Timestamp,
}

impl Place {
    pub(in crate::federation) fn of(rates: &[i64]) -> Self {
        let mut place = Self { model: Model::default(), now: Timestamp(DAY) };
        place.step(|draft| {
            let digest = Digest([0; 32]);
            let (domain, rule) = ("market.example".to_owned(), Rule::PostedRate);
            draft.put(Market { domain, rule, seed: digest, head: digest, cleared: 0 });
            draft.put(partner());
        });
        for (n, rate) in (1..).zip(rates) {
            place.step(|draft| offered(draft, n, *rate));
            place.model.pulses.insert(host(n), Pulse { connected: true, ..Pulse::default() });
        }
        place
    }

    pub(in crate::federation) fn step<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        let mut ids = || [7; 10];
        let mut draft = Draft::new(&self.model, self.now, "test", &mut ids);
        let done = work(&mut draft);
        self.model = draft.model;
        done
    }

    pub(in crate::federation) fn pass(&mut self, time: i64) {
        self.now = Timestamp(self.now.0 + time);
    }

    /// Buys one core of either machine; gives which.
    fn buy(&mut self, n: u8) -> u8 {
        let candidates = [1, 2].map(|n| Qualified { host: host(n), extra: MicroMoney(0) }).to_vec();
        let demand = Demand {
            service: ServiceId::from_random([4; 10]),
            label: "notes".to_owned(),
            wanted: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 },
            cap: MicroMoney(1_000_000_000),
            candidates,
            epoch: 0,
            turn: 0,
        };
        let (sold, _) = self.step(|draft| reserve(draft, &partner(), lease(n), &demand)).unwrap();
        sold.host.as_bytes()[0]
    }

    /// It runs for so long.
    fn run(&mut self, n: u8, time: i64) {
        self.pass(time);
        let known = self.model.leases[&lease(n)].as_ref().clone();
        self.step(|draft| {
            let active = known.to(LeaseState::Active, draft.now, "used").unwrap();
            draft.put(Lease { metered: Micros(time), touched_at: draft.now, ..active });
        });
    }

    fn away(&mut self, n: u8, time: i64) {
        let known = self.model.hosts[&host(n)].as_ref().clone();
        let history = known.history.observe(false, self.now, Timestamp(0));
        self.step(|draft| draft.put(Host { history, ..known }));
        self.pass(time);
        let known = self.model.hosts[&host(n)].as_ref().clone();
        let history = known.history.observe(true, self.now, Timestamp(0));
        self.step(|draft| draft.put(Host { history, ..known }));
    }

    fn odds(&self, n: u8) -> Odds {
        odds(&self.model, &self.model.sites[&site(n)], self.now)
    }
}

pub(in crate::federation) fn partner() -> Partner {
    Partner {
        party: BUYER,
        name: "buyer".to_owned(),
        address: None,
        trust: Vec::new(),
        retired: Vec::new(),
        trust_domain: "buyer.example".to_owned(),
        may_buy: true,
        may_sell: false,
        state: PartnerState::Active,
        since: Timestamp(0),
        reason: String::new(),
        version: 1,
    }
}

fn offered(draft: &mut Draft<'_>, n: u8, rate: i64) {
    let owner = PartyId::from_random([n; 10]);
    let rates = Rates { core_hour: MicroMoney(rate), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    let (name, country) = (format!("site-{n}"), "DE".to_owned());
    draft.put(Site { id: site(n), name, owner, role: SiteRole::Remote, country, rates, version: 1, home: None });
    let history = History::default().observe(true, Timestamp(0), Timestamp(0));
    draft.put(Host { site: site(n), history, ..spot(n, 1).host });
    let offer = Offer {
        id: OfferId::from_random([n; 10]),
        site: site(n),
        owner,
        state: OfferState::Active,
        asked: rates,
        free: false,
        capacity: None,
        windows: vec!["daily 00:00-24:00 UTC".parse().unwrap()],
        min_term: Micros::from_secs(60),
        reclaim_notice: Micros::from_secs(600),
        residency: "DE".to_owned(),
        availability: Ppm(950_000),
        price_notice: Micros::from_secs(3_600),
        version: 1,
        posted_at: Timestamp(0),
        reason: String::new(),
        until: None,
    };
    draft.put(Posted::new(offer, Digest([n; 32])));
}

fn ask(place: &mut Place, n: u8, rate: i64) {
    let posted = place.model.offers[&OfferId::from_random([n; 10])].as_ref().clone();
    let asked = Rates { core_hour: MicroMoney(rate), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    let offer = Offer { asked, version: posted.offer.version + 1, ..posted.offer };
    place.step(|draft| draft.put(Posted::new(offer, posted.salt)));
}

fn withdraw(place: &mut Place, n: u8) {
    let posted = place.model.offers[&OfferId::from_random([n; 10])].as_ref().clone();
    let offer = Offer { state: OfferState::Withdrawn, ..posted.offer };
    place.step(|draft| draft.put(Posted::new(offer, posted.salt)));
}

#[test]
fn the_standing_of_a_newcomer_is_that_of_an_empty_record() {
    for prior in [Prior::REMOTE, Prior::PARTNER] {
        let standing = reputation::standing(&Record::default(), &prior, Timestamp(0));
        assert_eq!(newcomer(&prior), Odds { breach: standing.breach, loss: standing.loss });
    }
}

#[test]
fn who_keeps_its_promise_is_trusted_more_and_who_breaks_it_less() {
    let mut place = Place::of(&[1_000, 1_010]);
    let before = place.odds(1);
    assert_eq!(place.buy(10), 1);
    place.run(10, 20 * DAY);
    place.step(|draft| close(draft, lease(10), Party::Buyer, "done"));
    let kept = place.odds(1);
    assert!(kept.breach < before.breach && kept.loss < before.loss, "{kept:?} {before:?}");
    assert_eq!(place.odds(2), newcomer(&Prior::REMOTE), "another owner gains nothing by it");

    assert_eq!(place.buy(11), 1);
    place.run(11, 20 * DAY);
    place.away(1, 2 * DAY);
    place.step(|draft| close(draft, lease(11), Party::Buyer, "done"));
    assert!(place.odds(1).breach > before.breach, "two of 22 days are more than the twentieth that was allowed");
}

#[test]
fn a_machine_that_is_taken_back_again_and_again_is_bought_only_for_less() {
    let mut place = Place::of(&[1_000, 1_010]);
    for n in 10..16 {
        assert_eq!(place.buy(n), 1, "the cheaper");
        place.run(n, HOUR);
        let known = place.model.leases[&lease(n)].as_ref().clone();
        place.step(|draft| {
            draft.put(known.to(LeaseState::Reclaiming, draft.now, "its owner needs it").unwrap());
            close(draft, lease(n), Party::Owner, "its owner needs it");
        });
        if place.buy(100 + n) == 2 {
            let record = &place.model.reputations[&site(1)].record;
            let why = reputation::explain(record, &Prior::REMOTE, place.now).join("\n");
            assert!(why.contains("without the agreed notice"), "{why}");
            ask(&mut place, 1, 500);
            assert_eq!(place.buy(200), 1, "cheap enough, it is bought all the same");
            return;
        }
        place.step(|draft| close(draft, lease(100 + n), Party::Time, "not needed"));
    }
    panic!("it is never bought less: {:?}", place.odds(1));
}

#[test]
fn only_what_the_seller_caused_counts() {
    let mut place = Place::of(&[1_000, 2_000]);
    let before = place.odds(1);
    assert_eq!(place.buy(10), 1);
    place.pass(HOUR);
    place.step(sweep);
    assert_eq!(place.model.leases[&lease(10)].state, LeaseState::Closed, "nothing was assigned in time");
    assert_eq!(place.odds(1), before, "the buyer's fault");

    assert_eq!(place.buy(11), 1);
    let known = place.model.hosts[&host(1)].as_ref().clone();
    let history = known.history.observe(false, place.now, Timestamp(0));
    place.step(|draft| draft.put(Host { history, ..known }));
    place.pass(HOUR);
    place.step(sweep);
    assert!(place.odds(1).loss > before.loss, "the machine was away: not delivered");
}

#[test]
fn time_in_which_the_controller_could_not_see_is_nobodys_downtime() {
    let mut place = Place::of(&[1_000, 2_000]);
    assert_eq!(place.buy(10), 1);
    place.run(10, 10 * DAY);
    // The controller was off for ten days; when it is back the machine is away for an hour.
    place.pass(10 * DAY);
    place.model.observable_since = place.now;
    let known = place.model.hosts[&host(1)].as_ref().clone();
    let history = known.history.observe(false, place.now, place.model.observable_since);
    place.step(|draft| draft.put(Host { history, ..known }));
    place.pass(HOUR);
    let known = place.model.hosts[&host(1)].as_ref().clone();
    let history = known.history.observe(true, place.now, place.model.observable_since);
    place.step(|draft| draft.put(Host { history, ..known }));
    place.step(|draft| close(draft, lease(10), Party::Buyer, "done"));
    assert!(place.odds(1).breach < Prior::REMOTE.breach, "an hour of twenty days is within the promise");
}

#[test]
fn a_withdrawn_offer_that_keeps_its_notice_weighs_less_than_one_that_does_not() {
    let end = |told: i64| {
        let mut place = Place::of(&[1_000, 2_000]);
        assert_eq!(place.buy(10), 1);
        place.run(10, DAY);
        withdraw(&mut place, 1);
        place.step(sweep);
        assert_eq!(place.model.leases[&lease(10)].state, LeaseState::Reclaiming);
        place.pass(told);
        place.step(|draft| close(draft, lease(10), Party::Owner, "gone"));
        place.odds(1).loss
    };
    assert!(end(600_000_000) < end(30_000_000));
}

#[test]
fn what_asks_more_lets_a_running_lease_go_on_at_the_old_rates_for_the_agreed_notice() {
    let mut place = Place::of(&[1_000, 2_000]);
    assert_eq!(place.buy(10), 1);
    place.run(10, HOUR);
    let rate = |place: &Place, began: i64| {
        let at = Timestamp(place.now.0 + began);
        place.model.leases[&lease(10)].at_rates_of(at).rates.core_hour.0
    };
    ask(&mut place, 1, 3_000);
    place.step(sweep);
    assert_eq!(place.model.leases[&lease(10)].rates.core_hour, MicroMoney(1_000), "pinned");
    assert_eq!((rate(&place, HOUR - 1), rate(&place, HOUR)), (1_000, 3_000), "an hour's notice");
    // Told again it is the same; another notice does not count for what runs already.
    place.pass(HOUR / 2);
    let posted = place.model.offers[&OfferId::from_random([1; 10])].as_ref().clone();
    let offer = Offer { price_notice: Micros::ZERO, ..posted.offer.clone() };
    place.step(|draft| draft.put(Posted::new(offer, posted.salt)));
    place.step(sweep);
    assert_eq!((rate(&place, HOUR / 2 - 1), rate(&place, HOUR / 2)), (1_000, 3_000));
    // Still more begins anew; less again stays as it was.
    ask(&mut place, 1, 4_000);
    place.step(sweep);
    assert_eq!((rate(&place, HOUR - 1), rate(&place, HOUR)), (1_000, 4_000));
    ask(&mut place, 1, 900);
    place.step(sweep);
    assert_eq!(rate(&place, 10 * HOUR), 1_000, "less is for new leases");
}

mod bought {
    use super::*;
    use crate::federation::term::{accepted, hear};
    use crate::federation::word::NextRates;

    const RATES: Rates = Rates { core_hour: MicroMoney(1_000), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    const DEAR: Rates = Rates { core_hour: MicroMoney(3_000), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };

    fn word(next: Option<(Rates, i64)>) -> LeaseWord {
        LeaseWord {
            id: lease(10),
            host: host(1),
            capacity: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 },
            epoch: 0,
            turn: 0,
            rates: RATES,
            state: LeaseState::Active,
            ends_in: None,
            closed_by: None,
            reason: String::new(),
            price_notice: Micros(HOUR),
            next: next.map(|(rates, starts_in)| NextRates { rates, starts_in: Micros(starts_in) }),
        }
    }

    /// A lease of the machine of a partner's, from now on.
    fn place() -> Place {
        let mut place = Place { model: Model::default(), now: Timestamp(DAY) };
        place.step(|draft| {
            offered(draft, 1, 1_000);
            let known = draft.model.sites[&site(1)].as_ref().clone();
            draft.put(Site { home: Some(BUYER), ..known });
            let term = Term { promised: Ppm(950_000), ..bought(draft, &word(None)) };
            draft.put(Lease {
                id: lease(10),
                side: Side::Bought,
                partner: BUYER,
                host: host(1),
                site: site(1),
                service: ServiceId::from_random([4; 10]),
                label: "notes".to_owned(),
                capacity: word(None).capacity,
                rates: RATES,
                demand: [0; 32],
                state: LeaseState::Active,
                since: draft.now,
                made_at: draft.now,
                ends_at: None,
                touched_at: draft.now,
                reason: String::new(),
                closed: None,
                idle: false,
                metered: Micros::ZERO,
                watch: Watch { term, believed: Micros(1), ..Watch::default() },
            });
        });
        place
    }

    fn hears(place: &mut Place, next: Option<(Rates, i64)>) {
        let known = place.model.leases[&lease(10)].clone();
        place.step(|draft| hear(draft, &known, &word(next)));
    }

    fn takes(place: &Place, rates: Rates, began: i64) -> bool {
        let known = &place.model.leases[&lease(10)];
        accepted(known, rates, Timestamp(place.now.0 + began)).is_some_and(|l| l.rates == rates)
    }

    #[test]
    fn a_buyer_pays_more_only_as_announced_and_only_after_the_agreed_notice() {
        let mut place = place();
        assert!(!takes(&place, DEAR, 10 * DAY), "nothing was announced");
        hears(&mut place, Some((DEAR, 0)));
        assert!(!takes(&place, DEAR, 0), "at once: not what was agreed");
        assert!(takes(&place, DEAR, HOUR));
        assert!(!takes(&place, Rates { core_hour: MicroMoney(3_001), ..DEAR }, DAY), "more than was announced");
        // Told again later it is no later, and taken back it is gone.
        place.pass(HOUR / 2);
        hears(&mut place, Some((DEAR, HOUR / 2)));
        assert!(takes(&place, DEAR, HOUR / 2));
        hears(&mut place, None);
        assert!(!takes(&place, DEAR, 10 * DAY));
        hears(&mut place, Some((Rates { core_hour: MicroMoney(i64::MAX), ..DEAR }, HOUR)));
        assert_eq!(place.model.leases[&lease(10)].rates_to_come(), RATES, "nobody can ask as much");
    }

    #[test]
    fn a_host_that_is_lost_costs_its_seller_once() {
        let mut place = place();
        place.pass(20 * DAY);
        let before = place.odds(1);
        place.step(|draft| lost(draft, host(1)));
        let after = place.odds(1);
        assert!(after.loss > before.loss && after.breach >= before.breach, "{before:?} {after:?}");
        let known = place.model.leases[&lease(10)].clone();
        place.step(|draft| taken(draft, &known, Party::Seller));
        assert_eq!(place.odds(1), after);
    }

    #[test]
    fn the_worse_of_two_opinions_counts_and_of_ones_own_hosts_there_is_none() {
        let place = place();
        let known = &place.model.sites[&site(1)];
        let mut machine = place.model.hosts[&host(1)].as_ref().clone();
        assert_eq!(expected(&place.model, &machine, known, place.now), Odds::default(), "no terms: no seller");
        let said = |odds| crate::fleet::LotTerms {
            offer: String::new(),
            version: 1,
            owner: BUYER,
            availability: Ppm(950_000),
            notice: Micros::ZERO,
            odds,
            min_term: Micros::ZERO,
            closed: None,
            connected: true,
            reclaimed_at: None,
        };
        machine.terms = Some(said(Odds::default()));
        let own = newcomer(&Prior::REMOTE);
        assert_eq!(expected(&place.model, &machine, known, place.now), own, "a seller cannot praise itself");
        machine.terms = Some(said(Odds { breach: Ppm(900_000), loss: Ppm(0) }));
        let worse = Odds { breach: Ppm(900_000), loss: own.loss };
        assert_eq!(expected(&place.model, &machine, known, place.now), worse);
    }
}
