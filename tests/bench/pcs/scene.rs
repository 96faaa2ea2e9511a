//! The scene: who owns which computer at which rate, and what is ordered.

use chandler_engine::availability::History;
use chandler_engine::catalogue::{Offering, STANDARD};
use chandler_engine::criteria::Criteria;
use chandler_engine::draft::Draft;
use chandler_engine::fleet::{Host, HostState};
use chandler_engine::order::{Action, Front, Mobility, Order, OrderSpec, OrderState, OwnerKind, Policy};
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_engine::sla::Terms;
use chandler_protocol::inventory::{Cpu, Driver, HostInventory, Offered};
use chandler_protocol::workload::{
    DriverKind, Limits, RestartPolicy, Software, StopPolicy, WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{Bytes, Digest, HostId, MicroMoney, MilliCpu, OrderId, PartyId, Ppm, SiteId};

use super::draw::Draw;

/// What every SLA promises.
pub(super) const PROMISED: Ppm = Ppm(990_000);
/// Services that are ordered at the beginning.
pub(super) const SERVICES: u64 = 50;
/// What the provider's own servers cost it: an EC2 m7i and c7i (us-east-1, on demand, 2026-07) differ in memory alone,
/// which gives a price to a core and to a GiB.
pub(super) const SERVER_RATES: Rates =
    Rates { core_hour: MicroMoney(38_850), gib_hour: MicroMoney(2_890), gpu_hour: MicroMoney(0) };
/// The least and the most that an owner asks for a core-hour: the power that a busy core of a PC draws (10 to 20 W at
/// 0.30 a kWh), and as much again. Drawn evenly.
pub(super) const PC_CORE_HOUR: (i64, i64) = (4_000, 12_000);
/// The same for a GiB-hour.
pub(super) const PC_GIB_HOUR: (i64, i64) = (300, 900);
/// Servers of the provider, more than all services need.
pub(super) const SERVERS: u64 = 4;

const GIB: u64 = 1 << 30;
const CUSTOMER: PartyId = PartyId::from_random([1; 10]);
const PROVIDER: PartyId = PartyId::from_random([2; 10]);

/// An id that tells what it is of.
const fn bytes(kind: u8, number: u64) -> [u8; 10] {
    let n = number.to_be_bytes();
    [kind, 0, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]]
}

/// Id of a PC by its place among those chosen, from 0.
pub(super) const fn pc(place: usize) -> HostId {
    HostId::from_random(bytes(4, place as u64))
}

/// Id of a server, from 0.
pub(super) const fn server(place: u64) -> HostId {
    HostId::from_random(bytes(5, place))
}

/// The parties, the provider's servers and a PC of each owner, none of which has been heard from.
pub(super) fn fleet(draft: &mut Draft<'_>, pcs: &[u32], draw: &mut Draw) {
    draft.put(Offering::standard(draft.now));
    let party = |id, name: &str, role| Party { id, name: name.to_owned(), roles: vec![role] };
    draft.put(party(CUSTOMER, "customer", PartyRole::Customer));
    draft.put(party(PROVIDER, chandler_engine::party::PROVIDER, PartyRole::ServiceProvider));
    let servers = SiteId::from_random(bytes(3, 0));
    draft.put(site(servers, "servers", PROVIDER, SiteRole::Provider, SERVER_RATES));
    for n in 0..SERVERS {
        draft.put(host(draft, server(n), servers, format!("server-{n}"), (32, 128)));
    }
    for (place, number) in pcs.iter().enumerate() {
        let owner = PartyId::from_random(bytes(6, place as u64));
        let home = SiteId::from_random(bytes(7, place as u64));
        let name = format!("pc-{number}");
        draft.put(party(owner, &name, PartyRole::SiteOwner));
        let rates = Rates {
            core_hour: MicroMoney(draw.between(PC_CORE_HOUR.0, PC_CORE_HOUR.1)),
            gib_hour: MicroMoney(draw.between(PC_GIB_HOUR.0, PC_GIB_HOUR.1)),
            gpu_hour: MicroMoney(0),
        };
        draft.put(site(home, &name, owner, SiteRole::Remote, rates));
        draft.put(host(draft, pc(place), home, name, (2, 4)));
    }
}

fn site(id: SiteId, name: &str, owner: PartyId, role: SiteRole, rates: Rates) -> Site {
    Site { id, name: name.to_owned(), owner, role, country: "CH".to_owned(), rates, version: 1, home: None }
}

fn host(draft: &Draft<'_>, id: HostId, site: SiteId, name: String, (cores, gib): (u32, u64)) -> Host {
    let driver = Driver {
        kind: DriverKind::Process,
        limits_cpu: true,
        limits_memory: true,
        limits_pids: true,
        note: String::new(),
    };
    let inventory = HostInventory {
        cpu: Cpu { model: String::new(), cores, mhz: 3_000 },
        memory: Bytes(gib * GIB),
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        drivers: vec![driver],
        offered: Offered { cpu: MilliCpu(cores * 1_000), memory: Bytes(gib * GIB), disk: Bytes(0) },
        ..HostInventory::default()
    };
    Host {
        id,
        site,
        name,
        state: HostState::Registered,
        note: String::new(),
        since: draft.now,
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
    }
}

/// One order for each service: without state, of half a core or one, and 1 or 2 GiB.
pub(super) fn orders(draft: &mut Draft<'_>, owners: &[OwnerKind], replicas_max: u32, draw: &mut Draw) {
    for number in 1..=SERVICES {
        let limits = Limits {
            cpu: Some(MilliCpu(if draw.below(2) == 0 { 500 } else { 1_000 })),
            memory: Some(Bytes((1 + draw.below(2)) * GIB)),
            pids: None,
        };
        let name = format!("service-{number}");
        let spec = OrderSpec {
            offering: STANDARD.to_owned(),
            workload: workload(name.clone(), limits),
            platform: "any".to_owned(),
            terms: Terms { availability_min: Some(PROMISED), ..Terms::default() },
            policy: policy(owners, replicas_max),
            items: Vec::new(),
            retries: 0,
        };
        draft.put(Order {
            id: OrderId::from_random(bytes(8, number)),
            number,
            customer: CUSTOMER,
            name,
            action: Action::Add,
            state: OrderState::Acknowledged,
            reason: String::new(),
            code: String::new(),
            nearest: Vec::new(),
            ordered_at: draft.now,
            completed_at: None,
            by: "customer".to_owned(),
            agreement: None,
            service: None,
            spec,
            request: String::new(),
        });
    }
}

fn policy(owners: &[OwnerKind], replicas_max: u32) -> Policy {
    Policy {
        owners: owners.to_vec(),
        replicas_min: 1,
        replicas_max,
        enforce_limits: true,
        mobility: Mobility::default(),
        front: Front::default(),
        uses: Vec::new(),
        criteria: Criteria::default(),
    }
}

fn workload(name: String, limits: Limits) -> WorkloadSpec {
    WorkloadSpec {
        name,
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
        limits,
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    }
}
