//! What is measured, told in days and minutes.

use chandler_protocol::way::{DoorCounters, ObservedDoor};
use chandler_protocol::{AgreementId, MicroMoney};

use super::super::{Status, objectives};
use super::*;
use crate::model::Model;
use crate::order::Policy;
use crate::placement::example::wish;
use crate::service::{Measured, OperatingStatus, Route};
use crate::sla::{Agreement, AgreementVersion, Terms};

const SERVICE: ServiceId = ServiceId::from_random([4; 10]);
const HOST: HostId = HostId::from_random([1; 10]);
/// The beginning of November 2026.
const START: i64 = 1_793_491_200_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(START + seconds * 1_000_000)
}

/// A service that answers since the beginning of the month, under an SLA of 99 % and 50 ms.
fn model() -> Model {
    let wish = wish();
    let agreement = AgreementId::from_random([7; 10]);
    let terms = Terms {
        availability_min: Some(Ppm(990_000)),
        p95_max: Some(Micros::from_millis(50)),
        cost_max: Some(MicroMoney(1)),
        ..Terms::default()
    };
    let mut model = Model { observable_since: at(0), currency: "EUR".to_owned(), ..Model::default() };
    let version = AgreementVersion { version: 1, terms, since: at(0), by: String::new() };
    let (customer, service) = (crate::placement::example::CUSTOMER, "notes".to_owned());
    model.apply(&Agreement { id: agreement, customer, service, versions: vec![version], terminated: false }.into());
    model.apply(
        &Service {
            id: SERVICE,
            order: chandler_protocol::OrderId::from_random([3; 10]),
            turn: (1, 0),
            agreement,
            customer,
            name: "notes".to_owned(),
            item: None,
            state: ServiceState::Active,
            status: OperatingStatus::Running,
            since: at(0),
            reason: String::new(),
            spec: wish.spec,
            platform: wish.platform,
            policy: Policy { replicas_max: 1, ..wish.policy },
            price: wish.price,
            decision: None,
            predicted: None,
            copies: 1,
            replacements: Vec::new(),
            displaced: None,
            setbacks: 0,
            not_before: Timestamp(0),
            pending_order: None,
            exit: None,
            outputs: Vec::new(),
            attempts: 0,
            retries_left: 0,
            completed_at: Some(at(0)),
            measured: Measured { current: Some((true, at(0))), ..Measured::default() },
            tenure: None,
            route: Route::default(),
            gpus: 0,
        }
        .into(),
    );
    model
}

fn step(model: &mut Model, seconds: i64, work: impl FnOnce(&mut Draft<'_>)) {
    let mut ids = || [0; 10];
    let mut draft = Draft::new(model, at(seconds), "test", &mut ids);
    work(&mut draft);
    *model = draft.model;
}

fn door(requests: u64, failed: u64, quick: u64, slow: u64) -> ObservedDoor {
    let mut first_byte = Histogram::default();
    for (times, millis) in [(quick, 5), (slow, 400)] {
        (0..times).for_each(|_| first_byte.record(Micros::from_millis(millis)));
    }
    let counters = DoorCounters { requests, failed, first_byte, ..DoorCounters::default() };
    ObservedDoor {
        service: SERVICE,
        sequence: 1,
        holding: false,
        waiting: 0,
        under_way: Vec::new(),
        long_lived: Vec::new(),
        addresses: Vec::new(),
        message: String::new(),
        opened: 1,
        counters,
    }
}

fn report(model: &mut Model, seconds: i64, door: ObservedDoor) {
    step(model, seconds, |draft| {
        seen_door(draft, HOST, &door);
        draft.model.doors.insert((SERVICE, HOST), Arc::new(door));
    });
}

fn up(model: &mut Model, seconds: i64, up: bool) {
    step(model, seconds, |draft| {
        let service = draft.model.services[&SERVICE].as_ref().clone();
        let measured = super::super::measure(service.measured, up, draft.now, at(0));
        draft.put(Service { measured, ..service });
    });
}

fn minutes(model: &mut Model, from: i64, to: i64) {
    for seconds in (from..to).step_by(30) {
        step(model, seconds, turn);
    }
}

fn status(model: &Model, seconds: i64, name: &str) -> (Status, Option<u32>) {
    let service = &model.services[&SERVICE];
    let terms = model.agreements.values().next().unwrap().terms();
    let all = objectives(model, service, &terms, at(seconds), "EUR");
    let one = all.into_iter().find(|o| o.name == name).unwrap();
    (one.status, one.budget.map(|b| b.left.0))
}

#[test]
fn downtime_uses_the_months_budget_up_until_nothing_is_left() {
    let mut model = model();
    minutes(&mut model, 0, 3_600);
    assert_eq!(status(&model, 3_600, "availability"), (Status::Met, Some(1_000_000)));
    // One hour of the 7.2 that 99 % of November allow: much of it at once is a risk, though nothing is broken yet.
    up(&mut model, 3_600, false);
    minutes(&mut model, 3_600, 7_200);
    let (at_risk, left) = status(&model, 7_200, "availability");
    assert_eq!(at_risk, Status::AtRisk);
    assert!((855_000..=865_000).contains(&left.unwrap()), "{left:?}");
    // A day later nothing burns any more, and it holds again.
    up(&mut model, 7_200, true);
    minutes(&mut model, 7_200, 93_600);
    assert_eq!(status(&model, 93_600, "availability").0, Status::Met);
    // Seven more hours are more than the month allows, whatever comes after.
    up(&mut model, 93_600, false);
    minutes(&mut model, 93_600, 93_600 + 7 * 3_600);
    up(&mut model, 93_600 + 7 * 3_600, true);
    minutes(&mut model, 93_600 + 7 * 3_600, 93_600 + 40 * 3_600);
    assert_eq!(status(&model, 93_600 + 40 * 3_600, "availability"), (Status::Violated, Some(0)));
}

#[test]
fn requests_that_fail_are_downtime_though_health_checks_see_none() {
    let mut model = model();
    minutes(&mut model, 0, 61);
    report(&mut model, 61, door(100, 50, 50, 0));
    minutes(&mut model, 90, 121);
    let own = &model.indicators[&SERVICE];
    let bad: i64 = own.minutes.iter().map(|s| s.reading.bad.0).sum();
    assert_eq!(bad, 30_000_000, "half of a minute's requests failed: half a minute");
}

#[test]
fn a_report_that_is_repeated_or_lost_counts_once() {
    let mut model = model();
    minutes(&mut model, 0, 30);
    report(&mut model, 31, door(10, 1, 9, 0));
    report(&mut model, 32, door(10, 1, 9, 0));
    // The one between was lost.
    report(&mut model, 34, door(30, 2, 27, 1));
    let reading = model.indicators[&SERVICE].now.reading;
    assert_eq!((reading.requests, reading.failed, reading.answers, reading.slow), (30, 2, 28, 1));
    // The door was opened anew: it counts from nothing again.
    report(&mut model, 36, ObservedDoor { opened: 2, ..door(5, 0, 5, 0) });
    assert_eq!(model.indicators[&SERVICE].now.reading.requests, 35);
}

#[test]
fn slow_answers_use_up_what_five_of_a_hundred_allow() {
    let mut model = model();
    minutes(&mut model, 0, 30);
    report(&mut model, 31, door(1_000, 0, 960, 40));
    let (status_now, left) = status(&model, 32, "interactivity");
    assert_eq!((status_now, left), (Status::Met, Some(200_000)));
    report(&mut model, 33, door(1_050, 0, 960, 90));
    assert_eq!(status(&model, 34, "interactivity").0, Status::Violated);
}

#[test]
fn what_was_bad_is_written_down_at_once_and_the_rest_once_an_hour() {
    let mut model = model();
    let mut written = 0;
    for seconds in (0..7_200).step_by(20) {
        let mut ids = || [0; 10];
        let mut draft = Draft::new(&model, at(seconds), "test", &mut ids);
        turn(&mut draft);
        written += draft.changes.len();
        model = draft.model;
    }
    assert!((1..=4).contains(&written), "{written} writes in two quiet hours");
    report(&mut model, 7_201, door(10, 10, 0, 0));
    let mut ids = || [0; 10];
    let mut draft = Draft::new(&model, at(7_290), "test", &mut ids);
    turn(&mut draft);
    assert_eq!(draft.changes.len(), 1);
}
