//! The owner comes first: a pause ends software in under a second, holds over restarts, and what is still wanted runs
//! again afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use chandler_protocol::state::{Failure, Own, Phase, Target};
use chandler_protocol::workload::{Limits, StopPolicy, WorkloadSpec};
use chandler_protocol::{Bytes, Micros, MilliCpu};

use crate::controller::Controller;
use crate::daemon::*;

const MADE_WAY: Phase = Phase::Failed(Failure::Owner);

/// Software that does not heed its stop signal, and has a minute of grace.
fn stubborn() -> WorkloadSpec {
    let stop = StopPolicy { grace: Micros::from_secs(60), ..StopPolicy::default() };
    WorkloadSpec { stop, ..shell("trap '' TERM INT; echo $$; while :; do sleep 0.02; done") }
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// Waits until the software has said its pid, and gives it.
async fn pid(dir: &Path, n: u8, but: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let layout = chandler_agent::driver::Layout::new(dir);
        if layout.log(id(n)).is_dir()
            && let Ok(pid) = std::panic::catch_unwind(|| pid_in_log(dir, n))
            && pid != but
        {
            return pid;
        }
        assert!(Instant::now() < deadline, "it never wrote its pid");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the controller knows of what is offered, once `is_it` says so.
async fn offered(controller: &Controller, is_it: impl Fn(u32, u64) -> bool) {
    let find = |h: &crate::controller::Heard| {
        let offered = h.inventory.as_ref()?.offered;
        is_it(offered.cpu.0, offered.memory.0).then_some(())
    };
    controller.until("the offer", find).await;
}

/// Processor time of a process, in hundredths of a second.
fn ticks(pid: u64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(") ").unwrap().1;
    rest.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_pause_ends_software_in_under_a_second_and_it_runs_again_afterwards() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, stubborn())]));
    running(&controller, 1).await;
    let first = pid(dir.path(), 1, "").await;
    offered(&controller, |cpu, memory| cpu > 0 && memory > 0).await;

    // No controller is needed for it.
    let began = Instant::now();
    let paused = call(dir.path(), &["pause", "2h", "--reason", "a game"]);
    let ended = async {
        while is_alive(&first) {
            assert!(began.elapsed() < Duration::from_secs(20), "it runs on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    };
    let (paused, took) = tokio::join!(paused, ended);
    println!("from `pause` to the end of software that does not heed its stop signal: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(paused.status.success() && text(&paused).contains("1 made way in"), "{paused:?}");
    let seen = phase(&controller, 1, |o| o.phase == MADE_WAY).await;
    assert!(seen.message.contains("paused by its owner") && seen.message.contains("a game"), "{seen:?}");
    assert_eq!(seen.failures, 0, "it is not held against the software");
    offered(&controller, |cpu, memory| cpu == 0 && memory == 0).await;
    let status = call(dir.path(), &["status"]).await;
    assert!(status.status.success() && text(&status).contains("a game"), "{status:?}");
    let status = call(dir.path(), &["status", "-o", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["status"]["owner"]["mayRun"], false, "{status}");

    // It holds over a restart of the agent, and whatever is ordered meanwhile.
    assert!(daemon.terminate().await.success());
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    controller.desire(&desired(
        2,
        vec![order(1, 2, Target::Running, stubborn()), order(2, 1, Target::Running, shell("sleep 60"))],
    ));
    for (n, epoch) in [(1, 2), (2, 1)] {
        let seen = phase(&controller, n, |o| o.epoch == epoch && o.phase == MADE_WAY).await;
        assert_eq!(seen.starts, u32::from(n == 1), "{seen:?}");
    }

    let resumed = call(dir.path(), &["resume"]).await;
    assert!(resumed.status.success() && text(&resumed).starts_with("resumed"), "{resumed:?}");
    for n in [1, 2] {
        running(&controller, n).await;
    }
    assert_ne!(pid(dir.path(), 1, &first).await, first);
    offered(&controller, |cpu, memory| cpu > 0 && memory > 0).await;
}

#[tokio::test]
async fn a_pause_ends_by_itself_and_one_that_is_announced_lets_software_leave() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, shell("echo $$; sleep 60"))]));
    running(&controller, 1).await;
    offered(&controller, |cpu, _| cpu > 0).await;
    let announced = call(dir.path(), &["pause", "--in", "2s", "--for", "1s"]).await;
    assert!(announced.status.success() && text(&announced).starts_with("nothing new"), "{announced:?}");
    offered(&controller, |cpu, _| cpu == 0).await;
    assert_eq!(running(&controller, 1).await.starts, 1, "until then it may run");
    phase(&controller, 1, |o| o.phase == MADE_WAY).await;
    assert_eq!(phase(&controller, 1, |o| o.phase == Phase::Running).await.starts, 2, "and then it runs again");
    offered(&controller, |cpu, _| cpu > 0).await;
}

#[tokio::test]
async fn a_lease_is_not_asked_for_while_the_owner_gives_no_room() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().lease = Some(Duration::from_millis(1_500));
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let own = Target::Own(Own { leased: true, from: None });
    controller.desire(&desired(1, vec![order(1, 1, own, stubborn())]));
    running(&controller, 1).await;
    assert!(call(dir.path(), &["pause"]).await.status.success());
    phase(&controller, 1, |o| o.phase == MADE_WAY).await;
    let asked = || controller.heard.lock().unwrap().asked.len();
    let before = asked();
    let status = call(dir.path(), &["status", "-o", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let agent = status["status"]["pid"].as_u64().unwrap();
    let used = ticks(agent);
    // Longer than any lease of before runs: what would be asked for would have been by then.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(asked(), before);
    let used = ticks(agent) - used;
    println!("the agent of a paused computer used {} ms of processor in 2 s", used * 10);
    assert!(used < 40, "it is busy with itself");
    assert!(call(dir.path(), &["resume"]).await.status.success());
    assert_eq!(running(&controller, 1).await.starts, 2);
    assert!(asked() > before);
}

#[tokio::test]
async fn rules_are_heeded_when_their_file_changes() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let rules = dir.path().join("owner.toml");
    let write = |text: &str| std::fs::write(&rules, text).unwrap();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let limits = Limits { cpu: Some(MilliCpu(400)), memory: Some(Bytes(64 << 20)), ..Limits::default() };
    let spec = WorkloadSpec { limits, ..shell("echo $$; sleep 60") };
    // Two agents of this machine would limit, and end, each other's software of one id: these are no other test's.
    let both = |n| order(n, 1, Target::Running, spec.clone());
    controller.desire(&desired(1, vec![both(11), both(12)]));
    for n in [11, 12] {
        running(&controller, n).await;
    }

    // Room for one of two: what was ordered first stays.
    write("[caps]\nidle = { cpu = 500 }\nin-use = { cpu = 500 }");
    phase(&controller, 12, |o| o.phase == MADE_WAY).await;
    let first = running(&controller, 11).await;
    assert_eq!(first.starts, 1, "{first:?}");
    offered(&controller, |cpu, _| cpu == 500).await;

    // A mistake changes nothing but what `status` says.
    write("[caps]\nidel = { cpu = 0 }");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !text(&call(dir.path(), &["status"]).await).contains("the ones before hold") {
        assert!(Instant::now() < deadline, "the mistake is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running(&controller, 11).await.starts, 1);

    // There is no such hour.
    let began = Instant::now();
    write("[when]\nhours = [\"Mon 00:00-00:01 Pacific/Kiritimati\"]");
    let seen = phase(&controller, 11, |o| o.phase == MADE_WAY).await;
    println!(
        "from the change of the rules to the report that software has made way: {} ms",
        began.elapsed().as_millis()
    );
    assert!(seen.message.contains("at these hours"), "{seen:?}");
    std::fs::remove_file(&rules).unwrap();
    for n in [11, 12] {
        phase(&controller, n, |o| o.phase == Phase::Running && o.starts == 2).await;
    }
}
