//! What a clearing decides, case by case.

use chandler_protocol::{Digest, HostId, MicroMoney, OfferId, PartyId, Ppm};

use super::super::book::Book;
use super::super::demand::Demand;
use super::super::example::{BUYER, call, demand, lot, with};
use super::super::lot::LotOffer;
use super::{Clearing, Difference, Rule, clear, replay, replay_with, verify_chain};
use Rule::{PostedRate, SecondScore};

fn cleared(rule: Rule, demand: &Demand, lots: &[LotOffer]) -> Clearing {
    let record = clear(&call(rule), demand, &Book::open(lots.to_vec())).unwrap();
    assert_eq!(replay(&record), Ok(()), "{record:?}");
    assert_eq!(replay_with(&record, demand, lots.to_vec()), Ok(()));
    record
}

/// Number of the winner, and what it is paid.
fn won(rule: Rule, demand: &Demand, lots: &[LotOffer]) -> Option<(u8, i64)> {
    cleared(rule, demand, lots).winner.map(|w| (w.host.as_bytes()[0], w.paid.0))
}

/// Why lot `n` is out, as it stands in the API.
fn refused(record: &Clearing, n: u8) -> Option<&'static str> {
    let offer = OfferId::from_random([n; 10]);
    record.refused.iter().find(|r| r.lot.offer == offer).map(|r| r.reason.as_str())
}

#[test]
fn the_least_score_wins_and_the_rule_says_what_is_paid() {
    let risky = |n, rate, risk| with(lot(n, rate), |l| l.risk = MicroMoney(risk));
    let check = |candidates: &[(u8, i64)], cap: i64, lots: &[LotOffer], posted, second| {
        let demand = demand(cap, candidates);
        assert_eq!(won(PostedRate, &demand, lots), posted, "postedRate of {candidates:?} at most {cap}");
        assert_eq!(won(SecondScore, &demand, lots), second, "secondScore of {candidates:?} at most {cap}");
    };
    let three = [lot(1, 900), lot(2, 700), lot(3, 800)];
    check(&[(1, 0), (2, 0), (3, 0)], 5_000, &three, Some((2, 700)), Some((2, 800)));
    // Transfer and risk are part of the score, and are not paid to the owner.
    check(&[(1, 0), (2, 350), (3, 50)], 5_000, &three, Some((3, 800)), Some((3, 850)));
    let risks = [risky(1, 900, 10), risky(2, 700, 500), lot(3, 950)];
    check(&[(1, 5), (2, 0), (3, 0)], 5_000, &risks, Some((1, 900)), Some((1, 935)));
    // The cap bounds what is paid; it is compared with the rate, whatever the score is.
    check(&[(1, 0), (2, 0), (3, 0)], 750, &three, Some((2, 700)), Some((2, 750)));
    check(&[(1, 0), (2, 300), (3, 0)], 750, &three, Some((2, 700)), Some((2, 750)));
    check(&[(2, 0)], 700, &three, Some((2, 700)), Some((2, 700)));
    check(&[(2, 0)], 699, &three, None, None);
    // Nobody else fits: the cap.
    check(&[(1, 0)], 1_200, &three, Some((1, 900)), Some((1, 1_200)));
    // Machines of which the market knows nothing are no matter.
    check(&[(9, 0), (1, 0), (40, 0)], 950, &three, Some((1, 900)), Some((1, 950)));
    check(&[(9, 0)], 950, &three, None, None);
}

#[test]
fn all_lots_of_one_owner_count_as_one() {
    let own = |n, rate| with(lot(n, rate), |l| l.owner = PartyId::from_random([1; 10]));
    let lots = [own(1, 500), own(2, 510), own(3, 520), lot(4, 900)];
    let demand = demand(5_000, &[(1, 0), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(won(SecondScore, &demand, &lots), Some((1, 900)));
    let record = cleared(PostedRate, &demand, &lots);
    assert_eq!(record.runner_up.map(|r| r.lot.rates.core_hour.0), Some(510), "as posted, the next is the next");
}

#[test]
fn each_rule_refuses_in_its_own_words() {
    let closed = |l: &mut LotOffer| l.closed = Some("its hours are over".to_owned());
    let lots = [
        lot(1, 900),
        with(lot(2, 100), closed),
        with(lot(3, -1), |_| ()),
        with(lot(4, 2_000_000_000), |_| ()),
        with(lot(5, 100), |l| l.risk = MicroMoney(-100)),
        LotOffer { rates: lot(6, 90).rates, ..lot(6, 100) },
        with(lot(7, 100), |l| l.host = HostId::from_random([1; 10])),
        with(lot(8, 100), |l| l.owner = BUYER),
        with(lot(9, 100), |l| l.owner = PartyId::from_random([251; 10])),
        lot(10, 100),
        with(lot(11, 100), |l| l.country = "US".to_owned()),
        with(lot(12, 100), |l| l.availability = Ppm(949_999)),
        with(lot(13, 100), |l| l.free.memory.0 = 1 << 29),
        lot(14, 5_001),
        lot(15, 100),
    ];
    let mut wanted = demand(5_000, &(1..=14).map(|n| (n, 0)).collect::<Vec<_>>());
    wanted.same = vec![PartyId::from_random([251; 10])];
    wanted.not_owners = vec![PartyId::from_random([10; 10])];
    wanted.countries = vec!["CH".to_owned(), "DE".to_owned()];
    wanted.availability_min = Some(Ppm(950_000));
    let record = cleared(SecondScore, &wanted, &lots);
    let found: Vec<_> = (1..=15).map(|n| refused(&record, n)).collect();
    let expect = [
        None,
        Some("closed"),
        Some("outOfRange"),
        Some("outOfRange"),
        Some("outOfRange"),
        Some("commitment"),
        Some("secondOffer"),
        Some("selfDealing"),
        Some("selfDealing"),
        Some("ownerLeftOut"),
        Some("country"),
        Some("availability"),
        Some("noRoom"),
        Some("overCap"),
        None,
    ];
    assert_eq!(found, expect);
    assert_eq!(
        (record.lots, record.fit, record.refusals["notQualified"], record.refusals["outOfRange"]),
        (15, 1, 1, 3)
    );
    // A refused lot does not even set the price: with no true runner-up, it is the cap.
    assert_eq!(record.winner.map(|w| w.paid), Some(MicroMoney(5_000)));
    assert!(record.is_whole());
}

#[test]
fn a_gpu_has_a_rate_that_counts_where_one_is_wanted() {
    let gpus = |n, rate, gpu_hour, free| {
        with(lot(n, rate), |l| (l.rates.gpu_hour, l.free.gpus) = (MicroMoney(gpu_hour), free))
    };
    // Alone the first is cheaper, with a GPU the second; the third has none left.
    let lots = [gpus(1, 700, 900, 2), gpus(2, 800, 500, 1), gpus(3, 100, 0, 0)];
    let mut wanted = demand(5_000, &[(1, 0), (2, 0)]);
    assert_eq!(won(SecondScore, &wanted, &lots), Some((1, 800)));
    wanted = Demand { candidates: demand(5_000, &[(1, 0), (2, 0), (3, 0)]).candidates, ..wanted };
    wanted.wanted.gpus = 1;
    assert_eq!(won(PostedRate, &wanted, &lots), Some((2, 1_300)));
    assert_eq!(won(SecondScore, &wanted, &lots), Some((2, 1_600)));
    let record = cleared(PostedRate, &wanted, &lots);
    assert_eq!(refused(&record, 3), Some("noGpus"));
    // It is committed to, and part of the record.
    let mut lower = lots.clone();
    lower[1].rates.gpu_hour = MicroMoney(1);
    assert_eq!(refused(&cleared(PostedRate, &wanted, &lower), 2), Some("commitment"));
    let mut forged = record.clone();
    forged.ranked[0].lot.rates.gpu_hour = MicroMoney(499);
    assert_ne!(forged.compute_hash(), record.hash);
    check_rates_of(&lots);
}

/// Rates of a GPU-hour that no market takes.
fn check_rates_of(lots: &[LotOffer]) {
    for bad in [-1, 1_000_000_001, i64::MAX, i64::MIN] {
        let lots = [with(lots[0].clone(), |l| l.rates.gpu_hour = MicroMoney(bad))];
        assert_eq!(refused(&cleared(PostedRate, &demand(5_000, &[(1, 0)]), &lots), 1), Some("outOfRange"), "{bad}");
    }
}

#[test]
fn of_two_offers_for_a_machine_the_first_that_is_good_counts() {
    let at_one = |n, rate| with(lot(n, rate), |l| l.host = HostId::from_random([1; 10]));
    let wanted = demand(5_000, &[(1, 0)]);
    let mut lots = vec![at_one(3, 300), at_one(2, 700), at_one(4, 100)];
    assert_eq!(cleared(PostedRate, &wanted, &lots).winner.map(|w| w.paid.0), Some(700));
    lots[1].commitment = Digest([0; 32]);
    let record = cleared(PostedRate, &wanted, &lots);
    assert_eq!((record.winner.map(|w| w.paid.0), refused(&record, 2)), (Some(300), Some("commitment")));
    // The same offer twice is one.
    let twice = [lot(1, 300), lot(1, 300)];
    let record = cleared(SecondScore, &wanted, &twice);
    assert_eq!((record.fit, record.refusals["secondOffer"]), (1, 1));
}

#[test]
fn equal_scores_are_decided_by_the_seed_and_never_by_the_order_of_arrival() {
    let mut lots: Vec<_> = (1..=20).map(|n| lot(n, 500)).collect();
    let mut wanted = demand(5_000, &(1..=20).map(|n| (n, 0)).collect::<Vec<_>>());
    let first = cleared(PostedRate, &wanted, &lots);
    lots.reverse();
    wanted.candidates.reverse();
    assert_eq!(cleared(PostedRate, &wanted, &lots), first);
    let ties: Vec<_> = first.ranked.iter().map(|c| c.tie).collect();
    assert!(ties.is_sorted(), "the lesser digest is before the greater");
    let winners: std::collections::BTreeSet<_> = (0..40)
        .filter_map(|n| {
            let seeded = super::Call { seed: Digest([n; 32]), ..call(PostedRate) };
            clear(&seeded, &wanted, &Book::open(lots.clone())).unwrap().winner.map(|w| w.offer)
        })
        .collect();
    assert!(winners.len() > 8, "another seed, another winner: {winners:?}");
    // As rated, equal scores leave nothing above the own rate.
    assert_eq!(cleared(SecondScore, &wanted, &lots).winner.map(|w| w.paid.0), Some(500));
}

#[test]
fn a_sentence_says_who_got_it_and_why() {
    let lots = [lot(1, 900), lot(2, 700)];
    let wanted = demand(5_000, &[(1, 0), (2, 20)]);
    let said = |rule, demand: &Demand| cleared(rule, demand, &lots).explain();
    let posted = said(PostedRate, &wanted);
    assert!(
        posted.contains("has the least score of 2 that fit, 0.00072 an hour (0.0007 rate + 0.00002 transfer"),
        "{posted}"
    );
    assert!(posted.ends_with("it is paid 0.0007 an hour, as posted"), "{posted}");
    let second = said(SecondScore, &wanted);
    assert!(second.ends_with("it is paid 0.00088 an hour, the highest with which it still comes first"), "{second}");
    let alone = said(SecondScore, &demand(5_000, &[(1, 0)]));
    assert!(alone.ends_with("and nobody else's fits; it is paid 0.005 an hour, the buyer's cap"), "{alone}");
    let nobody = said(SecondScore, &demand(10, &[(1, 0), (2, 0)]));
    assert_eq!(nobody, "nothing fits: all of 2 lots are refused, 2 of them by the rule overCap");
}

/// A forger who edits a record and makes its hash fit again.
fn forged(record: &Clearing, edit: impl FnOnce(&mut Clearing)) -> Result<(), Difference> {
    let mut record = record.clone();
    edit(&mut record);
    assert!(replay(&record).is_err(), "the hash alone tells");
    record.hash = record.compute_hash();
    replay(&record)
}

#[test]
fn a_forged_record_does_not_replay() {
    let closed = |l: &mut LotOffer| l.closed = Some("its hours are over".to_owned());
    let lots = [lot(1, 900), lot(2, 700), lot(3, 800), with(lot(4, 1), closed)];
    let wanted = demand(5_000, &[(1, 1), (2, 2), (3, 3), (4, 4)]);
    let record = cleared(SecondScore, &wanted, &lots);
    let other = MicroMoney(799);
    let caught = |field: &str, edit: &dyn Fn(&mut Clearing)| {
        let found = forged(&record, edit).unwrap_err();
        assert_eq!(found.field, field, "{found}");
    };
    caught("version", &|r| r.version = 2);
    caught("winner", &|r| r.call.rule = PostedRate);
    caught("ranked", &|r| r.call.seed = Digest([8; 32]));
    caught("ranked", &|r| r.demand.wanted.cpu.0 += 1);
    caught("ranked", &|r| r.demand.cap = other);
    caught("demandDigest", &|r| r.demand.cap = MicroMoney(5_001));
    caught("ranked", &|r| r.demand.buyer = PartyId::from_random([2; 10]));
    caught("ranked", &|r| r.demand.candidates[0].extra = MicroMoney(0));
    caught("demandDigest", &|r| r.demand.candidates[3].extra = MicroMoney(0));
    caught("ranked", &|r| r.demand.countries = vec!["US".to_owned()]);
    caught("ranked", &|r| r.demand.id = chandler_protocol::AssignmentId::from_random([8; 10]));
    caught("demandDigest", &|r| r.demand_digest = Digest([0; 32]));
    caught("named", &|r| r.named = 3);
    caught("lots", &|r| r.lots = 5);
    caught("lots", &|r| r.fit = 4);
    caught("ranked", &|r| r.ranked.swap(0, 1));
    caught("ranked", &|r| r.ranked[1].score = other);
    caught("ranked", &|r| r.ranked[1].rate = other);
    caught("ranked", &|r| r.ranked[1].extra = other);
    caught("ranked", &|r| r.ranked[1].tie = Digest([0; 32]));
    caught("ranked", &|r| r.ranked[1].lot.risk = other);
    // Another rate than the one that was committed to.
    caught("ranked", &|r| r.ranked[0].lot.rates.core_hour = MicroMoney(701));
    caught("refused", &|r| r.refused[0].reason = super::Refusal::SelfDealing);
    caught("ranked", &|r| r.refused[0].lot.closed = None);
    caught("lots", &|r| _ = r.refusals.insert("closed".to_owned(), 0));
    caught("refusals", &|r| r.refusals = [("noRoom".to_owned(), 1)].into());
    caught("demand", &|r| r.demand.candidates.swap(0, 1));
    caught("winner", &|r| r.winner = None);
    caught("winner", &|r| r.winner.as_mut().unwrap().paid = other);
    caught("winner", &|r| r.winner.as_mut().unwrap().owner = BUYER);
    caught("runnerUp", &|r| r.runner_up = None);
    let mut edited = record.clone();
    edited.call.at.0 += 1;
    assert_eq!(replay(&edited).unwrap_err().field, "hash");
}

#[test]
fn what_a_record_alone_cannot_tell_the_lots_of_that_moment_do() {
    let lots = [lot(1, 900), lot(2, 700)];
    let wanted = demand(5_000, &[(1, 0), (2, 0)]);
    // A market that hides a lot, and writes an honest record of the rest.
    let record = cleared(PostedRate, &wanted, &lots[..1]);
    assert_eq!(replay_with(&record, &wanted, lots.to_vec()).unwrap_err().field, "lotsDigest");
    let other = demand(5_001, &[(1, 0), (2, 0)]);
    assert_eq!(replay_with(&record, &other, lots[..1].to_vec()).unwrap_err().field, "demandDigest");
}

#[test]
fn records_are_a_chain() {
    let book = Book::open([lot(1, 900)]);
    let mut head = Digest([0; 32]);
    let mut records = Vec::new();
    for _ in 0..4 {
        let call = super::Call { previous: head, ..call(PostedRate) };
        let record = clear(&call, &demand(5_000, &[(1, 0)]), &book).unwrap();
        head = record.hash;
        records.push(record);
    }
    assert_eq!(verify_chain(Digest([0; 32]), &records), Ok(head));
    assert!(verify_chain(Digest([1; 32]), &records).is_err());
    assert!(verify_chain(records[0].hash, &records[2..]).is_err(), "one was left out");
    records[1].call.at.0 = 7;
    assert_eq!(verify_chain(Digest([0; 32]), &records).unwrap_err().field, "hash");
    records[1].hash = records[1].compute_hash();
    assert_eq!(verify_chain(Digest([0; 32]), &records).unwrap_err().field, "previous");
}

/// What was committed to and chained yesterday must still hold tomorrow: the canonical form may only grow.
#[test]
fn hashes_stay_what_they_are() {
    let closed = |l: &mut LotOffer| l.closed = Some("its hours are over".to_owned());
    let lots = [lot(1, 900), lot(2, 700), with(lot(3, 1), closed)];
    let record = cleared(SecondScore, &demand(5_000, &[(1, 1), (2, 2), (3, 3)]), &lots);
    assert_eq!(lots[0].commitment.to_string(), "0b504de054ba2f325d355dac81d64b7c269d2b710e92d8ab167f9c885eabe25a");
    assert_eq!(record.demand_digest.to_string(), "6604b1f596ac856160a59d4bb5c06f8114f0fc2abf4b66705e7a2269e4e84e07");
    let both = [record.lots_digest.to_string(), record.hash.to_string()];
    assert_eq!(
        both,
        [
            "58410caaead5c47f5d6b8daf7970ded138829583b278ead5d2d895440c7086f4",
            "f305720c633b1955e09ed5b0f31d1e275bb8e622131819aadcc51685ecc1b524"
        ]
    );
}

/// Only as many lots are put in order as the record holds: those are the right ones, wherever equal scores begin and end.
#[test]
fn of_many_lots_the_first_hundred_are_kept_in_order() {
    for cuts in [[60, 255], [90, 199], [100, 200], [1, 2], [255, 255], [0, 150]] {
        let lots: Vec<_> =
            (1..=250_u8).map(|n| lot(n, 500 + i64::from(n > cuts[0]) + i64::from(n > cuts[1]))).collect();
        let all: Vec<_> = (1..=250_u8).map(|n| (n, 0)).collect();
        let wanted = demand(5_000, &all);
        let book = Book::open(lots);
        let (call, record) = (call(PostedRate), cleared_in(&book, &wanted));
        let mut expected: Vec<_> = book
            .lots()
            .iter()
            .map(|o| (o.lot.rates.core_hour, super::rank::tie(call.seed, &wanted, o.lot.offer), o.lot.host))
            .collect();
        expected.sort_unstable();
        let kept: Vec<_> = record.ranked.iter().map(|c| c.lot.host).collect();
        let first: Vec<_> = expected.iter().take(super::KEPT).map(|(.., host)| *host).collect();
        assert_eq!(kept, first, "cut at {cuts:?}");
    }
}

fn cleared_in(book: &Book, demand: &Demand) -> Clearing {
    clear(&call(PostedRate), demand, book).unwrap()
}
