//! Every rule of the audit, broken on purpose.

mod moves;

use chandler_protocol::state::Target;
use chandler_protocol::workload::State;
use chandler_protocol::{
    AgreementId, AssignmentId, Bytes, DecisionId, HostId, MicroMoney, MilliCpu, OrderId, ServiceId, SiteId, Timestamp,
};

use super::audit;
use crate::fleet::Capacity;
use crate::model::{Change, Model};
use crate::order::{Action, Order, OrderSpec, OrderState};
use crate::placement::example::{CUSTOMER, OWNER, spot, wish};
use crate::service::{AllocationState, Assignment, Measured, OperatingStatus, Service, ServiceState};
use crate::site::{Rates, Site, SiteRole};

const SITE: SiteId = SiteId::from_random([9; 10]);
const ORDER: OrderId = OrderId::from_random([3; 10]);
const SERVICE: ServiceId = ServiceId::from_random([4; 10]);

fn service() -> Service {
    let wish = wish();
    Service {
        id: SERVICE,
        order: ORDER,
        turn: (1, 0),
        agreement: AgreementId::from_random([0; 10]),
        customer: CUSTOMER,
        name: "notes".to_owned(),
        item: None,
        state: ServiceState::Active,
        status: OperatingStatus::Running,
        since: Timestamp(0),
        reason: String::new(),
        spec: wish.spec,
        platform: wish.platform,
        policy: wish.policy,
        price: wish.price,
        decision: None,
        predicted: None,
        copies: 1,
        replacements: Vec::new(),
        displaced: None,
        setbacks: 0,
        not_before: chandler_protocol::Timestamp(0),
        pending_order: None,
        exit: None,
        outputs: Vec::new(),
        attempts: 0,
        retries_left: 0,
        completed_at: None,
        measured: Measured::default(),
        tenure: None,
        route: crate::service::Route::default(),
        gpus: 0,
    }
}

fn assignment(n: u8) -> Assignment {
    Assignment {
        id: AssignmentId::from_random([n; 10]),
        service: SERVICE,
        host: HostId::from_random([1; 10]),
        site: SITE,
        epoch: n.into(),
        state: AllocationState::Allocated,
        target: Target::Running,
        leaving: false,
        free: false,
        reserved: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 },
        rates: Rates { core_hour: MicroMoney(0), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) },
        spec: wish().spec,
        decision: DecisionId::from_random([0; 10]),
        reason: String::new(),
        since: Timestamp(0),
        price: wish().price,
        previous: None,
        metered: chandler_protocol::Micros::ZERO,
        metered_total: chandler_protocol::Micros::ZERO,
        observed: None,
    }
}

fn order() -> Order {
    let wish = wish();
    Order {
        id: ORDER,
        number: 1,
        customer: CUSTOMER,
        name: "notes".to_owned(),
        action: Action::Add,
        state: OrderState::Completed,
        reason: String::new(),
        code: String::new(),
        nearest: Vec::new(),
        ordered_at: Timestamp(0),
        completed_at: None,
        by: String::new(),
        agreement: None,
        service: Some(SERVICE),
        spec: OrderSpec {
            offering: String::new(),
            workload: wish.spec,
            platform: wish.platform,
            terms: wish.terms,
            policy: wish.policy,
            items: Vec::new(),
            retries: 0,
        },
        request: String::new(),
    }
}

/// One host with one copy of one service.
fn sound() -> Model {
    let site = Site {
        id: SITE,
        name: "home".to_owned(),
        owner: OWNER,
        role: SiteRole::Remote,
        country: "DE".to_owned(),
        rates: Rates::default(),
        version: 1,
        home: None,
    };
    let mut model = Model::default();
    put(&mut model, site);
    put(&mut model, spot(1, 10).host);
    put(&mut model, order());
    put(&mut model, service());
    put(&mut model, assignment(1));
    model
}

fn put(model: &mut Model, change: impl Into<Change>) {
    model.apply(&change.into());
}

/// The rules that are broken after a change of a sound model.
fn broken(change: impl FnOnce(&mut Model)) -> Vec<&'static str> {
    let mut model = sound();
    change(&mut model);
    let mut rules: Vec<_> = audit(&model).into_iter().map(|v| v.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_sound_model_has_nothing_to_tell() {
    assert_eq!(audit(&sound()), []);
    assert_eq!(audit(&Model::default()), []);
    let leaves = |m: &mut Model| {
        put(m, Assignment { leaving: true, ..assignment(1) });
        put(m, assignment(2));
        put(m, Assignment { state: AllocationState::Releasing, ..assignment(3) });
    };
    assert_eq!(broken(leaves), [""; 0], "a copy may leave while another takes over");
    let ends = |m: &mut Model| {
        m.apply(&Change::RemoveAssignment(assignment(1).id));
        put(m, Service { state: ServiceState::Terminated, ..service() });
    };
    assert_eq!(broken(ends), [""; 0]);
}

#[test]
fn each_rule_is_seen_to_be_broken() {
    let check = |rule: &str, change: &dyn Fn(&mut Model)| assert_eq!(broken(change), [rule]);
    let full = Capacity { cpu: MilliCpu(5_000), memory: Bytes(0), gpus: 0 };
    check("capacity", &|m| put(m, Assignment { reserved: full, ..assignment(1) }));
    check("replicas", &|m| put(m, assignment(2)));
    check("terminated-service", &|m| put(m, Service { state: ServiceState::Terminated, ..service() }));
    check("assignment-host", &|m| {
        m.hosts.remove(&HostId::from_random([1; 10]));
        m.by_site.clear();
    });
    check("assignment-site", &|m| {
        m.sites.remove(&SITE);
        m.by_owner.clear();
    });
    check("assignment-service", &|m| {
        let elsewhere = ServiceId::from_random([8; 10]);
        put(m, Assignment { service: elsewhere, ..assignment(2) });
    });
    check("service-order", &|m| {
        m.orders.remove(&ORDER);
    });
    check("completed-order", &|m| put(m, Order { service: None, ..order() }));
    check("names", &|m| put(m, Service { id: ServiceId::from_random([8; 10]), ..service() }));
    check("order-number", &|m| m.last_order = 0);
}

#[test]
fn an_exclusive_service_runs_once_even_while_it_moves() {
    let state = Some(State { path: "data".to_owned(), exclusive: true });
    let exclusive = || {
        let mut service = service();
        service.spec.state = state.clone();
        service
    };
    let moves = |m: &mut Model| {
        put(m, exclusive());
        put(m, Assignment { leaving: true, ..assignment(1) });
        put(m, assignment(2));
    };
    assert_eq!(broken(moves), ["exclusive"]);
    let same_epoch = |m: &mut Model| {
        put(m, exclusive());
        put(m, Assignment { state: AllocationState::Releasing, ..assignment(1) });
        put(m, Assignment { epoch: 1, ..assignment(2) });
    };
    assert_eq!(broken(same_epoch), ["epochs"]);
}

#[test]
fn a_stale_index_is_found() {
    let host = HostId::from_random([1; 10]);
    let check = |rule: &str, change: &dyn Fn(&mut Model)| assert_eq!(broken(change), [rule]);
    check("reserved", &|m| {
        m.reserved.remove(&host);
    });
    check("by-host", &|m| {
        m.by_host.clear();
    });
    // Without this index the copies of a service are not found either, but nothing else is wrong with it.
    check("by-service", &|m| m.by_service.clear());
    check("by-order", &|m| m.by_order.clear());
    check("by-name", &|m| m.by_name.clear());
    check("live", &|m| m.live.clear());
    check("by-site", &|m| m.by_site.clear());
    check("by-owner", &|m| m.by_owner.clear());
    check("fronted", &|m| {
        m.fronted.insert(SERVICE);
    });
    check("open-orders", &|m| {
        m.open_orders.insert(1, ORDER);
    });
}
