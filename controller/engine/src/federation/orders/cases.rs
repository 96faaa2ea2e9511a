//! Orders of which a part is wrong: the rest holds, and the buyer is told.

use chandler_protocol::state::Target;
use chandler_protocol::{MilliCpu, SiteId, Timestamp};

use super::*;
use crate::federation::{LeaseState, Side, desired};
use crate::model::Change;
use crate::placement::example::wish;

const BUYER: PartyId = PartyId::from_random([1; 10]);
const HOST: HostId = HostId::from_random([2; 10]);

fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

/// What a buyer leased, by these ids.
fn seller(leased: &[u8]) -> Model {
    let mut model = Model::default();
    for n in leased {
        model.apply(&Change::from(Lease {
            id: id(*n),
            side: Side::Sold,
            partner: BUYER,
            host: HOST,
            site: SiteId::from_random([5; 10]),
            service: chandler_protocol::ServiceId::from_random([4; 10]),
            label: "notes".to_owned(),
            capacity: Capacity { cpu: MilliCpu(8_000), memory: chandler_protocol::Bytes(1 << 40), gpus: 0 },
            rates: Default::default(),
            demand: [0; 32],
            state: LeaseState::Reserved,
            since: Timestamp(0),
            made_at: Timestamp(0),
            ends_at: None,
            touched_at: Timestamp(0),
            reason: String::new(),
            closed: None,
            idle: false,
            metered: chandler_protocol::Micros::ZERO,
            watch: Default::default(),
        }));
    }
    model
}

fn told(n: u8, epoch: u64) -> Assignment {
    Assignment { id: id(n), epoch, target: Target::Running, spec: wish().spec }
}

fn say(model: &mut Model, generation: u64, assignments: Vec<Assignment>, ways: Ways) -> Taken {
    let mut ids = || [7; 10];
    let mut draft = Draft::new(model, Timestamp(1), "partner nova", &mut ids);
    let orders = Orders { generation, assignments, ways, signature: format!("signed {generation}") };
    let taken = take_orders(&mut draft, BUYER, HOST, orders).unwrap();
    *model = draft.model;
    taken
}

fn wrong(taken: &Taken) -> Vec<(AssignmentId, Wrong)> {
    taken.refused.iter().map(|r| (r.id, r.wrong)).collect()
}

fn runs_here(model: &Model) -> Vec<(AssignmentId, u64)> {
    desired(model, HOST, Timestamp(1)).iter().map(|a| (a.id, a.epoch)).collect()
}

#[test]
fn one_wrong_assignment_holds_up_no_other() {
    let mut model = seller(&[1, 2, 3]);
    let mut large = told(2, 1);
    large.spec.limits.cpu = Some(MilliCpu(9_000));
    let all = vec![told(1, 1), large, told(3, 1), told(3, 1), told(9, 1)];
    let taken = say(&mut model, 5, all.clone(), Ways::default());
    let expected = [(id(2), Wrong::Limits), (id(3), Wrong::Twice), (id(9), Wrong::Unleased)];
    assert_eq!((taken.generation, wrong(&taken)), (5, expected.to_vec()));
    assert_eq!(runs_here(&model), [(id(1), 1), (id(3), 1)]);
    assert_eq!(model.leases[&id(1)].state, LeaseState::Active);
    assert_eq!(model.leases[&id(2)].state, LeaseState::Reserved, "nothing was assigned");
    // The answer was lost: it is the same again, and nothing changes.
    let again = say(&mut model, 5, all, Ways::default());
    assert_eq!(wrong(&again), [(id(2), Wrong::Limits), (id(9), Wrong::Unleased)]);
    assert_eq!(runs_here(&model), [(id(1), 1), (id(3), 1)]);
}

/// A buyer that was restored says an older epoch: what was said last goes on, and what it signed then is kept for it.
#[test]
fn an_older_epoch_is_not_taken_and_the_proof_of_the_later_stays() {
    let mut model = seller(&[1, 2]);
    say(&mut model, 5, vec![told(1, 4), told(2, 1)], Ways::default());
    let taken = say(&mut model, 6, vec![told(1, 3), told(2, 2)], Ways::default());
    assert_eq!(wrong(&taken), [(id(1), Wrong::Older)]);
    assert_eq!(runs_here(&model), [(id(2), 2), (id(1), 4)]);
    let said = model.tenancies[&(HOST, BUYER)].said.clone().unwrap();
    assert_eq!((said.signature.as_str(), said.epochs), ("signed 5", vec![(id(1), 4), (id(2), 1)]));
    let taken = say(&mut model, 7, vec![told(1, 5), told(2, 2)], Ways::default());
    assert_eq!(taken, Taken { generation: 7, ..Taken::default() });
    assert_eq!(model.tenancies[&(HOST, BUYER)].said.as_ref().unwrap().signature, "signed 7");
}

#[test]
fn a_peer_is_let_to_what_was_taken_only() {
    let mut model = seller(&[1]);
    let peer = |n: u8, permits: &[u8]| Grant {
        peer: HostId::from_random([n; 10]),
        key: [n; 32],
        addresses: Vec::new(),
        relay: false,
        permits: permits.iter().map(|n| Permit::Port(id(*n))).collect(),
    };
    let grants = vec![peer(40, &[1]), peer(41, &[1, 9]), peer(42, &[9]), peer(2, &[1])];
    let taken = say(&mut model, 5, vec![told(1, 1), told(9, 1)], Ways { grants, ..Ways::default() });
    assert_eq!((wrong(&taken), taken.ways.len()), (vec![(id(9), Wrong::Unleased)], 3));
    let kept = &model.tenancies[&(HOST, BUYER)].orders.ways.grants;
    assert_eq!(*kept, [peer(40, &[1]), peer(41, &[1])]);
}
