//! Hosts and requests for tests.

use chandler_protocol::inventory::{Cpu, Driver, Gpu, HostInventory, InstalledSoftware, Offered};
use chandler_protocol::workload::{
    DriverKind, Limits, RestartPolicy, Software, StopPolicy, WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{Bytes, Digest, HostId, MicroMoney, Micros, MilliCpu, PartyId, Ppm, SiteId, Timestamp};

use super::{HostView, Request};
use crate::availability::History;
use crate::criteria::Criteria;
use crate::federation::Odds;
use crate::fleet::{Capacity, Host, HostState};
use crate::order::{Front, Mobility, OwnerKind, Policy};
use crate::service::PriceTerms;
use crate::site::{Rates, SiteRole};
use crate::sla::Terms;

pub(crate) const CUSTOMER: PartyId = PartyId::from_random([1; 10]);
pub(crate) const OWNER: PartyId = PartyId::from_random([2; 10]);

/// A host as tests write it. Prices are made so that one core costs `price` units a month with no margin.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub host: Host,
    pub role: SiteRole,
    pub owner: PartyId,
    pub country: String,
    pub rates: Rates,
    pub rtt: Option<Micros>,
    pub availability: Ppm,
    pub reserved: Capacity,
    pub own: Option<Capacity>,
    pub recent_failures: u32,
    pub odds: Odds,
}

/// An active remote host called `h-N` in DE, 10 ms away, up 99 % of the time, with 4 cores and 8 GiB.
pub(crate) fn spot(n: u8, price: i64) -> Spot {
    let driver = Driver {
        kind: DriverKind::Process,
        limits_cpu: true,
        limits_memory: true,
        limits_pids: true,
        note: String::new(),
    };
    let inventory = HostInventory {
        cpu: Cpu { model: String::new(), cores: 4, mhz: 2_000 },
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        drivers: vec![driver],
        software: vec![InstalledSoftware {
            name: "redis-server".to_owned(),
            version: "7".to_owned(),
            programs: vec!["/usr/bin/redis-server".to_owned()],
        }],
        offered: Offered { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), disk: Bytes(0) },
        ..HostInventory::default()
    };
    let host = Host {
        id: HostId::from_random([n; 10]),
        site: SiteId::from_random([9; 10]),
        name: format!("h-{n}"),
        state: HostState::Active,
        note: String::new(),
        since: Timestamp(0),
        key_fingerprint: [0; 32],
        agent_version: String::new(),
        starts: 1,
        inventory: Some(inventory),
        history: History::default(),
        rtt: None,
        failures: Vec::new(),
        protocol: 2,
        listens: Vec::new(),
        drain: None,
        terms: None,
    };
    Spot {
        host,
        role: SiteRole::Remote,
        owner: OWNER,
        country: "DE".to_owned(),
        rates: Rates {
            core_hour: MicroMoney(price * 1_000_000 / 730),
            gib_hour: MicroMoney(0),
            gpu_hour: MicroMoney(0),
        },
        rtt: Some(Micros::from_millis(10)),
        availability: Ppm(990_000),
        reserved: Capacity::default(),
        own: None,
        recent_failures: 0,
        odds: Odds::default(),
    }
}

impl Spot {
    pub(crate) fn rtt(mut self, ms: i64) -> Self {
        self.rtt = Some(Micros::from_millis(ms));
        self
    }

    pub(crate) fn up(mut self, ppm: u32) -> Self {
        self.availability = Ppm(ppm);
        self
    }

    pub(crate) fn at(mut self, country: &str) -> Self {
        country.clone_into(&mut self.country);
        self
    }

    pub(crate) fn of(mut self, role: SiteRole, owner: PartyId) -> Self {
        self.role = role;
        self.owner = owner;
        self
    }

    /// Sold by somebody of whom this has to be expected, in parts per million.
    pub(crate) fn odds(mut self, breach: u32, loss: u32) -> Self {
        self.odds = Odds { breach: Ppm(breach), loss: Ppm(loss) };
        self
    }

    pub(crate) fn taken(mut self, cpu: u32) -> Self {
        self.reserved.cpu = MilliCpu(cpu);
        self
    }

    pub(crate) fn inventory(mut self, change: impl FnOnce(&mut HostInventory)) -> Self {
        change(self.host.inventory.get_or_insert_with(HostInventory::default));
        self
    }

    pub(crate) fn gpus(self, n: usize) -> Self {
        self.inventory(|i| i.gpus = vec![Gpu { model: "g".to_owned(), memory: None }; n])
    }

    pub(crate) fn view(&self) -> HostView<'_> {
        HostView {
            host: &self.host,
            site_name: "home",
            role: self.role,
            owner: self.owner,
            country: &self.country,
            rates: self.rates,
            state: self.host.state,
            closed: None,
            rtt: self.rtt,
            availability: self.availability,
            offered: self.host.offered(),
            reserved: self.reserved,
            own: self.own,
            recent_failures: self.recent_failures,
            odds: self.odds,
        }
    }
}

/// The views of all.
pub(crate) fn views(spots: &[Spot]) -> Vec<HostView<'_>> {
    spots.iter().map(Spot::view).collect()
}

/// A request as tests write it: one copy of one core and 1 GiB, no terms, no margin, no management.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub spec: WorkloadSpec,
    pub platform: String,
    pub terms: Terms,
    pub policy: Policy,
    pub price: PriceTerms,
    pub access_rtt: Micros,
    pub response_p95: Micros,
    pub avoid: Vec<HostId>,
    pub current: Vec<HostId>,
}

pub(crate) fn wish() -> Wish {
    let spec = WorkloadSpec {
        name: "notes".to_owned(),
        kind: WorkloadKind::Service,
        driver: DriverKind::Process,
        software: Software::Artifact {
            name: "notes".to_owned(),
            version: "1".to_owned(),
            digest: Digest([0; 32]),
            length: Bytes(1),
        },
        command: vec!["./notes".to_owned()],
        environment: Vec::new(),
        limits: Limits { cpu: Some(MilliCpu(1_000)), memory: Some(Bytes(1 << 30)), pids: None },
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    };
    Wish {
        spec,
        platform: "linux-x86_64".to_owned(),
        terms: Terms::default(),
        policy: Policy {
            owners: vec![OwnerKind::Customer, OwnerKind::Provider, OwnerKind::Partner, OwnerKind::Remote],
            replicas_min: 1,
            replicas_max: 1,
            enforce_limits: true,
            mobility: Mobility::default(),
            front: Front::default(),
            uses: Vec::new(),
            criteria: Criteria::default(),
        },
        price: PriceTerms { offering: ("standard".to_owned(), 1), margin_percent: 0, management_hour: MicroMoney(0) },
        access_rtt: Micros::ZERO,
        response_p95: Micros::ZERO,
        avoid: Vec::new(),
        current: Vec::new(),
    }
}

impl Wish {
    pub(crate) fn copies(mut self, min: u32, max: u32) -> Self {
        self.policy.replicas_min = min;
        self.policy.replicas_max = max;
        self
    }

    pub(crate) fn cost(mut self, units: i64) -> Self {
        self.terms.cost_max = Some(MicroMoney(units * 1_000_000));
        self
    }

    pub(crate) fn p95(mut self, ms: i64) -> Self {
        self.terms.p95_max = Some(Micros::from_millis(ms));
        self
    }

    pub(crate) fn up(mut self, ppm: u32) -> Self {
        self.terms.availability_min = Some(Ppm(ppm));
        self
    }

    pub(crate) fn within(mut self, countries: &[&str]) -> Self {
        self.terms.residency = countries.iter().map(|c| (*c).to_owned()).collect();
        self
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            customer: CUSTOMER,
            spec: &self.spec,
            platform: &self.platform,
            terms: &self.terms,
            policy: &self.policy,
            price: &self.price,
            access_rtt: self.access_rtt,
            response_p95: self.response_p95,
            avoid: &self.avoid,
            current: &self.current,
            currency: "EUR",
        }
    }
}
