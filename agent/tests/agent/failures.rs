//! Wrong controllers, wrong strings, damaged artifacts, crashing programs.

use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::handshake::Refusal;
use chandler_protocol::state::{Failure, Phase, Target};
use chandler_protocol::workload::*;

use crate::controller::Controller;
use crate::daemon::*;

#[tokio::test]
async fn joining_fails_with_a_code_that_says_why() {
    let controller = Controller::start().await;
    let check = async |join: &str, exit: i32, code: &str| {
        let dir = Cleaned::new();
        let output = call(dir.path(), &["run", "--join", join]).await;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        assert!(text.contains(code), "{text}");
        assert!(output.stdout.is_empty());
    };
    check("chj1_nonsense", 2, "E0210").await;
    check("", 2, "E0213").await;
    let mut wrong = controller.join_string();
    wrong.ca_fingerprint[0] ^= 1;
    check(&wrong.to_text(), 4, "E0212").await;
    controller.mood.lock().unwrap().refuse =
        Some(Refusal { code: "E0203".into(), message: "this join string was used already".into(), retry_after: None });
    check(&controller.join_string().to_text(), 4, "error[E0203]: this join string was used already").await;
}

#[tokio::test]
async fn a_wrong_wall_clock_does_not_stop_a_join() {
    // The join string was issued far from what this computer's clock says: the controller's word counts.
    let controller = Controller::start().await;
    let mut join = controller.join_string();
    join.issued_at = chandler_protocol::Timestamp(join.issued_at.0 - 60_000_000);
    let dir = Cleaned::new();
    let (_daemon, line) = Daemon::launch(dir.path(), Some(&join.to_text())).ready().await;
    assert!(line.starts_with("ready"));
}

#[tokio::test]
async fn a_damaged_artifact_is_refused_and_the_source_named_until_it_is_right() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let bytes = archive("notes", "#!/bin/sh\nexec sleep 600\n", 300_000);
    let mut spec = shell("");
    spec.software = artifact(controller.publish(&bytes), &bytes);
    spec.command = vec!["./notes".into()];
    controller.mood.lock().unwrap().corrupt_chunks = true;
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec)]));
    let seen = phase(&controller, 1, |o| !o.message.is_empty()).await;
    assert!(seen.message.contains("not what was promised"), "{}", seen.message);
    assert!(seen.message.contains(&controller.address.to_string()), "{}", seen.message);
    assert_eq!(seen.starts, 0);
    phase(&controller, 1, |o| o.phase == Phase::Failed(Failure::Fetch)).await;
    controller.mood.lock().unwrap().corrupt_chunks = false;
    assert_eq!(running(&controller, 1).await.message, "");

    // Nothing but an archive with a way out: refused as a whole, and what runs goes on.
    let evil = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        builder.append_link(&mut header, "out", "/etc").unwrap();
        builder.into_inner().unwrap()
    };
    let mut bad = shell("");
    bad.software = artifact(controller.publish(&evil), &evil);
    bad.command = vec!["./notes".into()];
    controller.desire(&desired(2, vec![order(1, 2, Target::Running, bad)]));
    let seen = phase(&controller, 1, |o| o.message.contains("points outside")).await;
    assert_eq!(
        (seen.phase, seen.starts),
        (Phase::Running, 1),
        "the old version was stopped before the new one was there"
    );
    let artifacts = chandler_agent::driver::Layout::new(dir.path()).artifacts();
    assert_eq!(std::fs::read_dir(artifacts).unwrap().count(), 1, "something is left of the refused archive");
}

#[tokio::test]
async fn a_crashing_program_backs_off_and_is_given_up() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let mut spec = shell("exit 3");
    spec.restart =
        RestartPolicy { attempts: Some(3), delay: Micros::from_millis(20), delay_max: Micros::from_millis(100) };
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec.clone())]));
    let seen = phase(&controller, 1, |o| o.phase == Phase::Failed(Failure::Crashing)).await;
    assert_eq!((seen.starts, seen.failures), (4, 4), "once and three restarts");
    assert!(seen.message.contains("status 3"), "{}", seen.message);
    // A new epoch wipes the slate.
    spec.command[2] = "exec sleep 600".into();
    controller.desire(&desired(2, vec![order(1, 2, Target::Running, spec)]));
    assert_eq!(running(&controller, 1).await.failures, 0);

    let mut nowhere = shell("");
    nowhere.command = vec!["/nowhere/program".into()];
    controller.desire(&desired(3, vec![order(2, 1, Target::Running, nowhere)]));
    let seen = phase(&controller, 2, |o| o.phase == Phase::Failed(Failure::Start)).await;
    assert!(seen.message.contains("/nowhere/program"), "{}", seen.message);
}

#[tokio::test]
async fn health_turns_bad_and_good_again() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let mut spec = shell("touch {work}/well; exec sleep 600");
    spec.health = Some(HealthCheck {
        probe: Probe::Exec { command: vec!["/usr/bin/test".into(), "-e".into(), "{work}/well".into()] },
        interval: Micros::from_millis(20),
        timeout: Micros::from_secs(2),
        failures: 2,
        grace: Micros::from_secs(5),
    });
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec)]));
    running(&controller, 1).await;
    let well = chandler_agent::driver::Layout::new(dir.path()).work(id(1)).join("well");
    std::fs::remove_file(&well).unwrap();
    phase(&controller, 1, |o| o.phase == Phase::Unhealthy).await;
    std::fs::write(&well, "").unwrap();
    running(&controller, 1).await;
    let seen = phase(&controller, 1, |o| o.health.failures >= 2 && o.health.down > Micros::ZERO).await;
    assert_eq!(seen.starts, 1, "a sick program was restarted");
}

#[tokio::test]
async fn a_refused_agent_waits_as_long_as_it_is_told() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let refusal = Refusal {
        code: "E0209".into(),
        message: "come back later".into(),
        retry_after: Some(Micros::from_millis(100)),
    };
    let said = std::time::Instant::now();
    controller.say(chandler_protocol::message::ControllerMessage::Refused(refusal));
    // The test's controller repeats what it said, so each session ends in the same way.
    controller.until("a third session", |h| (h.hellos.len() >= 3).then_some(())).await;
    assert!(said.elapsed() >= Duration::from_millis(200), "two waits of 100 ms lie between the first and the third");
}

#[tokio::test]
async fn an_order_that_the_disk_did_not_take_is_acted_upon_once_it_does() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    // A directory in the place of the file that is written first.
    let obstacle = dir.path().join("records/.accepted.new");
    std::fs::create_dir(&obstacle).unwrap();
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, shell("exit 1"))]));
    controller.desire(&desired(2, vec![order(1, 2, Target::Running, shell("exec sleep 600"))]));
    let says_so =
        || std::fs::read_to_string(dir.path().join("status.json")).unwrap_or_default().contains("\"diskError\":\"");
    controller.until("that it says so", |_| says_so().then_some(())).await;
    assert!(controller.heard.lock().unwrap().observed.assignments.is_empty(), "it acts on what it did not keep");
    std::fs::remove_dir(&obstacle).unwrap();
    let seen = running(&controller, 1).await;
    assert_eq!((seen.epoch, seen.starts), (2, 1), "only the newest counts");
    controller.until("that it says so no longer", |_| (!says_so()).then_some(())).await;
    let heard = controller.heard.lock().unwrap();
    assert_eq!((heard.hellos.len(), heard.observed.generation), (1, 2), "nobody ordered it a second time");
}
