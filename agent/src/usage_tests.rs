//! The journal across restarts, reboots, repetition and long silence.

use super::*;
use crate::disk::FileDisk;

const BOOT: [u8; 16] = [1; 16];

struct Fixture {
    _dir: tempfile::TempDir,
    disk: FileDisk,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(&dir.path().join("r")).unwrap();
    Fixture { _dir: dir, disk }
}

fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

fn secs(s: i64) -> Micros {
    Micros::from_secs(s)
}

fn sequences(records: &[UsageRecord]) -> Vec<u64> {
    records.iter().map(|r| r.sequence).collect()
}

#[test]
fn no_gap_and_no_loss_across_a_restart_of_the_agent() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.begin(id(1), 7, secs(100));
    journal.advance(id(1), secs(110), Some(secs(2)), Health { checks: 3, ..Health::default() });
    journal.will_send_all();
    journal.save(&f.disk).unwrap();
    // Not written down any more: the agent dies here.
    journal.advance(id(1), secs(120), Some(secs(3)), Health::default());
    drop(journal);

    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    assert_eq!(journal.begin(id(1), 7, secs(100)).checks, 3, "health goes on too");
    journal.advance(id(1), secs(150), Some(secs(9)), Health::default());
    journal.close(id(1), 7, secs(100), secs(160), Some(secs(10)));
    journal.close(id(1), 7, secs(100), secs(999), Some(secs(99)));
    let records = journal.take_after(0, secs(170), &f.disk).unwrap();
    assert_eq!(sequences(&records), [1, 2], "the unsent neighbours grew into one");
    assert_eq!(records.iter().map(|r| r.running.0).sum::<i64>(), secs(60).0, "the dead time counts, once");
    assert_eq!(records.iter().map(|r| r.cpu.0).sum::<i64>(), secs(10).0);
    assert_eq!(records[1].age, Some(secs(10)));

    journal.acknowledge(1);
    assert_eq!(sequences(&journal.take_after(0, secs(180), &f.disk).unwrap()), [2]);
    journal.acknowledge(2);
    journal.save(&f.disk).unwrap();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    assert!(!journal.has_after(0));
    journal.begin(id(1), 8, secs(200));
    journal.advance(id(1), secs(201), None, Health::default());
    assert_eq!(sequences(&journal.take_after(0, secs(201), &f.disk).unwrap()), [3]);
}

#[test]
fn a_run_that_ended_while_the_agent_was_dead_counts_once() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.close(id(1), 1, secs(10), secs(15), Some(secs(1)));
    journal.save(&f.disk).unwrap();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.close(id(1), 1, secs(10), secs(15), Some(secs(1)));
    let records = journal.take_after(0, secs(20), &f.disk).unwrap();
    assert_eq!((records.len(), records[0].running, records[0].cpu), (1, secs(5), secs(1)));
}

#[test]
fn after_a_reboot_ages_are_unknown_and_runs_are_over() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.begin(id(1), 1, secs(10));
    journal.advance(id(1), secs(20), None, Health::default());
    journal.save(&f.disk).unwrap();
    let mut journal = Journal::load(&f.disk, [2; 16]).unwrap();
    assert!(journal.running().is_empty());
    let records = journal.take_after(0, secs(1), &f.disk).unwrap();
    assert_eq!((records[0].age, records[0].running), (None, secs(10)));
}

#[test]
fn a_lost_journal_does_not_use_numbers_twice() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.acknowledge(500);
    journal.close(id(1), 1, secs(0), secs(1), None);
    assert_eq!(sequences(&journal.take_after(0, secs(2), &f.disk).unwrap()), [501]);
}

#[test]
fn what_was_sent_never_changes_and_the_rest_stays_small() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.begin(id(1), 1, secs(0));
    journal.advance(id(1), secs(10), None, Health::default());
    let sent = journal.take_after(0, secs(10), &f.disk).unwrap();
    // A day of silence at ten seconds each.
    for s in 2..=8_640 {
        journal.advance(id(1), secs(s * 10), None, Health::default());
    }
    let all = journal.take_after(0, secs(86_400), &f.disk).unwrap();
    assert_eq!(all[0].running, sent[0].running, "a record that was sent changed");
    assert_eq!(all.iter().map(|r| r.running.0).sum::<i64>(), secs(86_400).0);
    assert!(all.len() <= 26, "{} records for a day", all.len());
    assert_eq!(sequences(&all), (1..=all.len() as u64).collect::<Vec<_>>());
}

#[test]
fn an_epoch_change_splits_the_record() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    journal.begin(id(1), 1, secs(0));
    journal.change_epoch(id(1), 2, secs(4), Some(secs(1)));
    journal.change_epoch(id(1), 2, secs(5), Some(secs(1)));
    journal.close(id(1), 2, secs(0), secs(10), Some(secs(3)));
    let records = journal.take_after(0, secs(10), &f.disk).unwrap();
    let got: Vec<_> = records.iter().map(|r| (r.epoch, r.running, r.cpu)).collect();
    assert_eq!(got, [(1, secs(4), secs(1)), (2, secs(6), secs(2))]);
}

#[test]
fn a_peer_that_never_acknowledges_bounds_what_is_sent() {
    let f = fixture();
    let mut journal = Journal::load(&f.disk, BOOT).unwrap();
    for n in 0..i64::try_from(UNACKNOWLEDGED_MAX).unwrap() + 100 {
        journal.close(id(1), u64::try_from(n).unwrap(), secs(n), secs(n + 1), None);
    }
    let mut upto = 0;
    while journal.has_after(upto) {
        let batch = journal.take_after(upto, secs(0), &f.disk).unwrap();
        assert!(batch.len() <= BATCH_MAX);
        upto = batch.last().unwrap().sequence;
    }
    assert!((UNACKNOWLEDGED_MAX..=UNACKNOWLEDGED_MAX + BATCH_MAX as u64).contains(&upto));
}
