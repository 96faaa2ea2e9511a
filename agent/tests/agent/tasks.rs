//! Tasks: they run once, and their results arrive.

use chandler_protocol::Micros;
use chandler_protocol::state::{Exit, Phase, Target};
use chandler_protocol::workload::*;
use chandler_protocol::{Bytes, Digest};

use crate::controller::Controller;
use crate::daemon::*;

fn task(text: &str) -> WorkloadSpec {
    WorkloadSpec { kind: WorkloadKind::Task, ..shell(text) }
}

fn completed(phase: Phase) -> Option<Exit> {
    if let Phase::Completed(exit) = phase { Some(exit) } else { None }
}

#[tokio::test]
async fn a_task_gets_its_inputs_and_its_results_arrive() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    let input: Vec<u8> = (0..400_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut spec = task("cat in/data > out.bin; echo said; echo wrong >&2; exit 4");
    spec.inputs = vec![InputFile {
        path: "in/data".into(),
        digest: controller.publish(&input),
        length: Bytes(input.len() as u64),
    }];
    spec.outputs = vec!["out.bin".into(), "missing".into()];
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec.clone())]));
    let seen = phase(&controller, 1, |o| completed(o.phase).is_some()).await;
    assert_eq!((completed(seen.phase), seen.starts), (Some(Exit::Code(4)), 1));
    assert_eq!(seen.message, "output missing was not written");
    let names: Vec<&str> = seen.outputs.iter().map(|o| o.path.as_str()).collect();
    assert_eq!(names, ["out.bin", "stdout", "stderr"]);
    assert_eq!(seen.outputs[0].digest, Digest(*blake3::hash(&input).as_bytes()));
    {
        let heard = controller.heard.lock().unwrap();
        assert_eq!(heard.outputs["out.bin"], input);
        assert_eq!(
            (heard.outputs["stdout"].as_slice(), heard.outputs["stderr"].as_slice()),
            (b"said\n".as_slice(), b"wrong\n".as_slice())
        );
    }

    // It is not run again by another agent, nor by the same order said again; a new epoch runs it again.
    drop(daemon);
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    controller.until("a second session", |h| (h.hellos.len() == 2).then_some(())).await;
    controller.desire(&desired(2, vec![order(1, 1, Target::Running, spec.clone())]));
    controller.until("generation 2", |h| (h.observed.generation == 2).then_some(())).await;
    let seen = phase(&controller, 1, |o| completed(o.phase).is_some()).await;
    assert_eq!((seen.starts, seen.outputs.len()), (1, 3));
    controller.desire(&desired(3, vec![order(1, 2, Target::Running, spec)]));
    phase(&controller, 1, |o| o.epoch == 2 && o.starts == 2 && completed(o.phase).is_some()).await;
}

#[tokio::test]
async fn a_task_that_takes_too_long_is_ended() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let mut spec = task("trap '' TERM; echo begun; while :; do sleep 0.05; done");
    spec.time_limit = Some(Micros::from_millis(400));
    spec.stop.grace = Micros::from_millis(100);
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec)]));
    let seen = phase(&controller, 1, |o| completed(o.phase).is_some()).await;
    assert_eq!(completed(seen.phase), Some(Exit::TimeLimit));
    assert_eq!(controller.heard.lock().unwrap().outputs["stdout"], b"begun\n");
}

#[tokio::test]
async fn a_task_that_ends_while_no_agent_looks_is_collected_afterwards() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    let spec = task("until test -e {work}/go; do sleep 0.02; done; echo done");
    controller.desire(&desired(1, vec![order(1, 1, Target::Running, spec)]));
    running(&controller, 1).await;
    daemon.kill();
    let layout = chandler_agent::driver::Layout::new(dir.path());
    std::fs::write(layout.work(id(1)).join("go"), "").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !layout.run(id(1)).join("exit").exists() {
        assert!(std::time::Instant::now() < deadline, "nobody wrote down how it ended");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let seen = phase(&controller, 1, |o| completed(o.phase).is_some()).await;
    assert_eq!((completed(seen.phase), seen.starts), (Some(Exit::Code(0)), 1));
    assert_eq!(controller.heard.lock().unwrap().outputs["stdout"], b"done\n");
    controller.until("its usage", |h| h.usage.values().any(|u| u.assignment == id(1)).then_some(())).await;
}
