//! Leases: software runs under one or not at all, and never longer, whatever becomes of its agent.

use std::path::Path;
use std::time::{Duration, Instant};

use chandler_protocol::state::{Own, Phase, Target};
use chandler_protocol::workload::WorkloadSpec;
use rustix::process::Signal;

use crate::controller::Controller;
use crate::daemon::*;

/// How long leases last in these tests, but where another time is named.
const LASTS: Duration = Duration::from_millis(1_500);

fn own() -> Target {
    Target::Own(Own { leased: true, from: None })
}

/// Software that leaves a second process behind in a session of its own, and writes down when both last ran.
fn writer() -> WorkloadSpec {
    let beat =
        "while :; do cut -d' ' -f1 /proc/uptime > {work}/NAME.new; mv {work}/NAME.new {work}/NAME; sleep 0.01; done";
    let (inner, outer) = (beat.replace("NAME", "inner"), beat.replace("NAME", "outer"));
    shell(&format!("setsid sh -c '{}' & echo $$; {outer}", inner.replace("'", "'\\''")))
}

/// When one of them last wrote, in seconds since boot.
fn last_beat(dir: &Path, name: &str) -> f64 {
    let file = chandler_agent::driver::Layout::new(dir).work(id(1)).join(name);
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
}

fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until both have stopped writing. Gives when they last did, in seconds since boot.
async fn silence(dir: &Path) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let last = last_beat(dir, "inner").max(last_beat(dir, "outer"));
        if last > 0.0 && uptime() - last > 0.5 {
            return last;
        }
        assert!(Instant::now() < deadline, "it writes on and on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// When the newest answered request was made at the latest, in seconds since boot.
fn last_asked(controller: &Controller) -> f64 {
    let heard = controller.heard.lock().unwrap();
    uptime() - heard.asked.last().unwrap().0.elapsed().as_secs_f64()
}

async fn begin(lease: Duration, spec: WorkloadSpec) -> (Controller, Cleaned, Daemon) {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().lease = Some(lease);
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, own(), spec)]));
    (controller, dir, daemon)
}

async fn beats(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while last_beat(dir, "inner") == 0.0 || last_beat(dir, "outer") == 0.0 {
        assert!(Instant::now() < deadline, "it never wrote");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn row_38_software_of_a_frozen_agent_is_dead_when_its_lease_ends() {
    let (controller, dir, daemon) = begin(LASTS, writer()).await;
    running(&controller, 1).await;
    beats(dir.path()).await;
    daemon.signal(Signal::STOP);
    let ends = last_asked(&controller) + LASTS.as_secs_f64();
    let last = silence(dir.path()).await;
    assert!(last <= ends + 0.02, "it wrote {:.3} s after its lease had ended", last - ends);
    assert!(last > ends - 0.7, "it was killed {:.3} s before its lease ended", ends - last);

    // The agent wakes up, says what happened, and starts it again under a new lease.
    daemon.signal(Signal::CONT);
    let seen = phase(&controller, 1, |o| o.phase == Phase::Running && o.starts == 2).await;
    assert_eq!(seen.failures, 0, "it is not held against the software");
}

#[tokio::test]
async fn software_of_a_killed_agent_is_dead_when_its_lease_ends_and_why_is_remembered() {
    let (controller, dir, daemon) = begin(LASTS, writer()).await;
    running(&controller, 1).await;
    beats(dir.path()).await;
    controller.mood.lock().unwrap().lease = None;
    daemon.kill();
    let ends = last_asked(&controller) + LASTS.as_secs_f64();
    let last = silence(dir.path()).await;
    assert!(last <= ends + 0.02, "it wrote {:.3} s after its lease had ended", last - ends);
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let seen = phase(&controller, 1, |o| o.message.starts_with("its lease ended")).await;
    assert_eq!((seen.phase, seen.starts, seen.failures), (Phase::Pending, 1, 0));
}

#[tokio::test]
async fn a_renewed_lease_keeps_it_running_and_one_that_is_refused_ends_it() {
    let (controller, dir, _daemon) = begin(LASTS, writer()).await;
    running(&controller, 1).await;
    beats(dir.path()).await;
    tokio::time::sleep(LASTS * 2).await;
    assert_eq!(running(&controller, 1).await.starts, 1, "it was restarted although its lease was renewed");
    {
        let heard = controller.heard.lock().unwrap();
        let news = heard.asked.iter().filter(|(_, r)| r.wanted.iter().any(|w| w.generation == 0)).count();
        assert_eq!(news, 1, "renewing is not asking anew");
    }
    controller.mood.lock().unwrap().lease = None;
    let last = silence(dir.path()).await;
    let answered =
        controller.heard.lock().unwrap().asked.iter().rev().find(|(_, r)| r.wanted[0].generation > 0).unwrap().0;
    // The last renewal that was given may be one before that.
    let ends = uptime() - answered.elapsed().as_secs_f64() + LASTS.as_secs_f64();
    assert!(last <= ends + 0.02, "it wrote {:.3} s after its lease had ended", last - ends);
    let seen = phase(&controller, 1, |o| o.phase == Phase::Pending && o.message.contains("not given")).await;
    assert!(seen.message.starts_with("its lease ended"), "{}", seen.message);
    assert_eq!(seen.failures, 0);
    controller.mood.lock().unwrap().lease = Some(LASTS);
    assert_eq!(phase(&controller, 1, |o| o.phase == Phase::Running).await.starts, 2);
}

#[tokio::test]
async fn without_a_lease_it_is_not_started_and_with_the_first_one_at_once() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, own(), writer())]));
    let seen = phase(&controller, 1, |o| o.message.contains("waits for its lease")).await;
    assert_eq!((seen.phase, seen.starts), (Phase::Pending, 0));
    controller.until("a second request", |h| (h.asked.len() >= 2).then_some(())).await;
    assert!(!chandler_agent::driver::Layout::new(dir.path()).work(id(1)).exists(), "it was started without a lease");
    controller.mood.lock().unwrap().lease = Some(LASTS);
    running(&controller, 1).await;
}

#[tokio::test]
async fn a_run_that_is_adopted_keeps_its_lease_and_renews_it() {
    let (controller, dir, daemon) = begin(Duration::from_secs(4), writer()).await;
    running(&controller, 1).await;
    beats(dir.path()).await;
    let pid = pid_in_log(dir.path(), 1);
    daemon.kill();
    let before = controller.heard.lock().unwrap().asked.len();
    let (daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let asked = controller.until("a request", |h| h.asked.get(before).cloned()).await;
    assert_eq!(asked.1.wanted[0].generation, 1, "the lease it has is renewed, not a second one asked for");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = running(&controller, 1).await;
    assert_eq!((seen.starts, pid_in_log(dir.path(), 1)), (1, pid.clone()), "it was restarted");

    // And it keeps the end of it: the next agent hears of nobody.
    daemon.kill();
    controller.mood.lock().unwrap().is_mute = true;
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let ends = {
        let heard = controller.heard.lock().unwrap();
        let renewed = heard.asked.iter().rev().find(|(_, r)| r.wanted[0].generation == 1).unwrap().0;
        uptime() - renewed.elapsed().as_secs_f64() + 4.0
    };
    let last = silence(dir.path()).await;
    assert!(last <= ends + 0.02, "it wrote {:.3} s after its lease had ended", last - ends);
}

#[tokio::test]
async fn row_39_after_a_reboot_no_lease_is_held() {
    let (controller, dir, daemon) = begin(Duration::from_secs(60), writer()).await;
    running(&controller, 1).await;
    daemon.kill();
    end_software(dir.path());
    let run = chandler_agent::driver::Layout::new(dir.path()).run(id(1));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !run.join("exit").exists() {
        assert!(Instant::now() < deadline, "nobody wrote down how it ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As after a reboot: nothing of this boot is there. The lease of the other one would still run for most of a minute.
    for name in ["exit", "run", "lease"] {
        std::fs::remove_file(run.join(name)).unwrap();
    }
    controller.mood.lock().unwrap().is_mute = true;
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let seen = phase(&controller, 1, |o| o.message.contains("waits for its lease")).await;
    assert_eq!(seen.starts, 1);
    let asked = controller.heard.lock().unwrap().asked.last().unwrap().1.clone();
    assert_eq!(asked.wanted[0].generation, 0, "a lease of before the reboot is not held any more");
    controller.mood.lock().unwrap().is_mute = false;
    assert_eq!(phase(&controller, 1, |o| o.phase == Phase::Running).await.starts, 2);
}

#[tokio::test]
async fn what_runs_goes_on_when_it_is_to_own_its_state_and_under_a_new_epoch() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().lease = Some(LASTS);
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, writer())]));
    running(&controller, 1).await;
    beats(dir.path()).await;
    controller.desire(&desired(2, vec![order(1, 1, own(), writer())]));
    controller.until("a request", |h| (!h.asked.is_empty()).then_some(())).await;
    controller.desire(&desired(3, vec![order(1, 2, own(), writer())]));
    controller
        .until("one for the new epoch", |h| {
            h.asked.iter().find(|(_, r)| r.wanted[0].epoch == 2).map(|(_, r)| assert_eq!(r.wanted[0].generation, 0))
        })
        .await;
    tokio::time::sleep(LASTS * 2).await;
    let seen = running(&controller, 1).await;
    assert_eq!((seen.epoch, seen.starts), (2, 1), "it was restarted");
    // Its supervisor began without a lease and guards it all the same.
    daemon.signal(Signal::STOP);
    let ends = last_asked(&controller) + LASTS.as_secs_f64();
    let last = silence(dir.path()).await;
    assert!(last <= ends + 0.02, "it wrote {:.3} s after its lease had ended", last - ends);
    daemon.signal(Signal::CONT);
}
