//! Joining, running, surviving.

use std::time::{Duration, Instant};

use chandler_protocol::Micros;
use chandler_protocol::command::{Action, Command, LogStream, Outcome};
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::state::{Phase, Target};
use chandler_protocol::workload::*;

use crate::controller::Controller;
use crate::daemon::*;

#[tokio::test]
async fn a_computer_joins_reports_and_runs_an_artifact() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, line) = Daemon::start(dir.path(), &controller).await;
    assert!(line.starts_with("ready host=h-") && line.ends_with(" site=berlin-1\n"), "{line}");
    let inventory = controller.until("the inventory", |h| h.inventory.clone()).await;
    assert_eq!(inventory.host_name, "pc-1");
    assert!(inventory.cpu.cores > 0 && inventory.memory.0 > 0 && inventory.offered.cpu.0 > 0);
    assert!(inventory.software.iter().any(|s| s.name == "tool" && s.programs == ["/bin/true"]));
    assert_eq!(inventory.drivers.len(), 1);

    let bytes = archive("notes", "#!/bin/sh\necho $$ {port.x} $1\nexec sleep 600\n", 1_500_000);
    let digest = controller.publish(&bytes);
    let mut spec = shell("");
    spec.software = artifact(digest, &bytes);
    spec.command = vec!["./notes".into(), "{port.http}".into()];
    spec.ports = vec![Port { name: "http".into(), mode: PortMode::Http, fixed: None }];
    spec.health = Some(HealthCheck {
        probe: Probe::Exec { command: vec!["/bin/true".into()] },
        interval: Micros::from_millis(50),
        timeout: Micros::from_secs(1),
        failures: 3,
        grace: Micros::from_secs(5),
    });
    // The same artifact for two assignments is fetched once.
    controller
        .desire(&desired(1, vec![order(1, 1, Target::Running, spec.clone()), order(2, 1, Target::Running, spec)]));
    let seen = running(&controller, 1).await;
    running(&controller, 2).await;
    assert_eq!((seen.starts, seen.epoch, seen.ports.len()), (1, 1, 1));
    let chunks = bytes.len().div_ceil(chandler_protocol::artifact::CHUNK);
    assert_eq!(controller.heard.lock().unwrap().chunks_given as usize, chunks, "chunks were fetched twice");
    let healthy = phase(&controller, 1, |o| o.health.checks >= 5 && o.health.up > Micros::ZERO).await;
    assert!(healthy.health.latency_p50 > Micros::ZERO && healthy.health.failures == 0);
    controller.until("usage", |h| (h.usage.len() >= 4).then_some(())).await;
    controller.until("telemetry", |h| (h.readings.len() >= 3).then_some(())).await;
    let readings = *controller.heard.lock().unwrap().readings.last().unwrap();
    assert!(readings.agent_memory_kib > 0 && readings.workload_memory_mib >= 0 && readings.disk_free_mib > 0);

    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = call(dir.path(), &["status", "-o", "json"]).await;
        let shown: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(shown["running"], true, "{shown}");
        if status.status.success() && shown["status"]["workloads"][0]["phase"] == "running" {
            break;
        }
        assert!(Instant::now() < deadline, "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = call(dir.path(), &["run"]).await;
    assert_eq!(second.status.code(), Some(6), "{}", String::from_utf8_lossy(&second.stderr));
    let doctor = call(dir.path(), &["doctor"]).await;
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        doctor.status.success() && text.contains("reached in") && text.contains("against the controller"),
        "{text}"
    );

    assert!(daemon.terminate().await.success());
    let gone = call(dir.path(), &["status"]).await;
    assert_eq!(gone.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&gone.stdout).contains("no agent runs"));
}

#[tokio::test]
async fn software_survives_the_agent_and_no_usage_is_lost() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().keep_usage = true;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    let begin = Instant::now();
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, shell("echo $$; exec sleep 600"))]));
    running(&controller, 1).await;
    controller.until("usage", |h| (h.usage.len() >= 2).then_some(())).await;
    let pid = pid_in_log(dir.path(), 1);
    daemon.kill();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "the software died with its agent");

    let (daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let seen =
        controller.until("the second session", |h| (h.hellos.len() == 2).then(|| find(h, 1).cloned()).flatten()).await;
    let seen = if seen.phase == Phase::Running { seen } else { running(&controller, 1).await };
    assert_eq!(seen.starts, 1, "it was started again");
    assert_eq!(pid_in_log(dir.path(), 1), pid);
    let before = controller.heard.lock().unwrap().usage.len();
    controller.until("more usage", |h| (h.usage.len() >= before + 3).then_some(())).await;
    {
        let heard = controller.heard.lock().unwrap();
        assert_eq!(heard.hellos[1].starts, heard.hellos[0].starts + 1);
        assert_ne!(heard.hellos[1].instance, heard.hellos[0].instance);
    }

    controller.desire(&desired(2, vec![order(1, 1, Target::Stopped, shell("echo $$; exec sleep 600"))]));
    phase(&controller, 1, |o| o.phase == Phase::Stopped).await;
    let ran = begin.elapsed();
    let last = controller.heard.lock().unwrap().usage.len();
    let _ = tokio::time::timeout(
        Duration::from_millis(300),
        controller.until("the last record", |h| (h.usage.len() > last).then_some(())),
    )
    .await;
    let heard = controller.heard.lock().unwrap();
    let sequences: Vec<u64> = heard.usage.keys().copied().collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "there is a gap");
    let billed: i64 = heard.usage.values().map(|r| r.running.0).sum();
    let ran = Micros::from_std(ran).0;
    assert!(billed <= ran && billed >= ran - 400_000, "{billed} us of {ran} us are recorded");
    drop(heard);
    drop(daemon);
}

#[tokio::test]
async fn without_a_controller_software_starts_from_disk() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, shell("echo $$; exec sleep 600"))]));
    running(&controller, 1).await;
    let pid = pid_in_log(dir.path(), 1);
    controller.cut_off();
    daemon.kill();
    // As after a reboot: nothing runs any more, and nobody saw how it ended.
    end_software(dir.path());
    let run = chandler_agent::driver::Layout::new(dir.path()).run(id(1));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !run.join("exit").exists() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(run.join("exit")).unwrap();
    std::fs::remove_file(run.join("run")).unwrap();
    let _daemon = Daemon::launch(dir.path(), None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pid_in_log(dir.path(), 1) == pid {
        assert!(Instant::now() < deadline, "it was not started without a controller");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn orders_change_what_runs_and_old_ones_do_not() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let one = shell("echo one $$; exec sleep 600");
    let other = order(2, 1, Target::Running, shell("exec sleep 600"));
    controller.desire(&desired(1, vec![order(1, 5, Target::Running, one.clone()), other]));
    running(&controller, 1).await;
    running(&controller, 2).await;

    // The same program under a higher epoch, watched otherwise: it goes on.
    let mut watched = one.clone();
    watched.stop.grace = Micros::from_secs(3);
    controller.desire(&desired(2, vec![order(1, 6, Target::Running, watched.clone())]));
    let seen = phase(&controller, 1, |o| o.epoch == 6).await;
    assert_eq!((seen.phase, seen.starts), (Phase::Running, 1));
    // Absent from the list, and still there.
    assert_eq!(running(&controller, 2).await.starts, 1);

    // Another program: stopped and started.
    let two = shell("echo two $$; exec sleep 600");
    controller.desire(&desired(3, vec![order(1, 7, Target::Running, two)]));
    let seen = phase(&controller, 1, |o| o.epoch == 7 && o.starts == 2 && o.phase == Phase::Running).await;
    assert_eq!(seen.failures, 0);
    assert!(pid_in_log(dir.path(), 1).starts_with("two"));

    // A lower epoch, and an older generation, change nothing.
    controller.desire(&desired(4, vec![order(1, 6, Target::Wiped, one.clone())]));
    controller.until("generation 4", |h| (h.observed.generation == 4).then_some(())).await;
    controller.desire(&desired(3, vec![order(1, 9, Target::Stopped, one.clone())]));
    controller.desire(&desired(5, vec![order(2, 2, Target::Wiped, shell("exec sleep 600"))]));
    phase(&controller, 2, |o| o.phase == Phase::Wiped).await;
    assert_eq!(running(&controller, 1).await.epoch, 7);
    assert!(!chandler_agent::driver::Layout::new(dir.path()).assignment(id(2)).exists());

    // What is wiped and named no more is forgotten.
    controller.desire(&desired(6, vec![]));
    controller.until("forgetting", |h| (h.observed.generation == 6 && find(h, 2).is_none()).then_some(())).await;
    assert!(find(&controller.heard.lock().unwrap(), 1).is_some());
}

#[tokio::test]
async fn commands_take_effect_once_and_logs_are_read() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller
        .desire(&desired(1, vec![order(1, 1, Target::Running, shell("echo hello; echo oops >&2; exec sleep 600"))]));
    running(&controller, 1).await;
    let log = |id, stream, expires_in| Command {
        id,
        expires_in,
        action: Action::ReadLog { assignment: crate::daemon::id(1), stream, offset: Some(1), limit: 100 },
    };
    let secs = Micros::from_secs(10);
    // The log may lag behind the program by a moment.
    let stdout = chandler_agent::driver::Layout::new(dir.path()).log(id(1));
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(&stdout).unwrap().count() < 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for command in [
        log(1, LogStream::Stdout, secs),
        log(2, LogStream::Stderr, secs),
        log(1, LogStream::Stdout, secs),
        log(3, LogStream::Stdout, Micros::ZERO),
    ] {
        controller.say(ControllerMessage::Command(command));
    }
    let results = controller.until("four answers", |h| (h.results.len() == 4).then(|| h.results.clone())).await;
    assert_eq!(results[0].outcome, Outcome::Log { offset: 1, bytes: b"ello\n".to_vec(), end: 6 });
    assert_eq!(results[1].outcome, Outcome::Log { offset: 1, bytes: b"ops\n".to_vec(), end: 5 });
    assert_eq!(results[2], results[0], "a repeated command is answered from memory");
    assert_eq!(results[3].outcome, Outcome::Expired);
}

#[tokio::test]
async fn a_silent_agent_says_that_it_lives_and_renews_its_certificate() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().life = Some(Duration::from_secs(1_000));
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.until("a renewal and a new session", |h| (h.renewals == 1 && h.hellos.len() == 2).then_some(())).await;
    // Its new certificate is far from its half life, and survives a restart.
    drop(daemon);
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    controller.until("a third session", |h| (h.hellos.len() == 3).then_some(())).await;
    controller.until("telemetry", |h| (h.readings.len() > 5).then_some(())).await;
    assert_eq!(controller.heard.lock().unwrap().renewals, 1);
}
