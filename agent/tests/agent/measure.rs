use crate::controller::Controller;
use crate::daemon::*;
use chandler_protocol::state::*;
use std::time::{Duration, Instant};
#[tokio::test]
async fn measure() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut times = vec![];
    for n in 1..=20u8 {
        let f = dir.path().join(format!("t{n}"));
        let spec = shell(&format!("date +%s%N > {}; exec sleep 600", f.display()));
        let t0 = std::time::SystemTime::now();
        let b = Instant::now();
        controller.desire(&desired(n.into(), vec![order(n, 1, Target::Running, spec)]));
        running(&controller, n).await;
        let seen = b.elapsed();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let ns: u128 = std::fs::read_to_string(&f).unwrap().trim().parse().unwrap();
        let at = ns - t0.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        times.push((at / 1000, seen.as_micros()));
    }
    eprintln!("exec+date us, reported us: {times:?}");
    let pid = daemon.pid();
    let show = |what: &str| {
        let s = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let st = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        let r: Vec<&str> = s
            .lines()
            .filter(|l| {
                l.starts_with("VmRSS")
                    || l.starts_with("RssAnon")
                    || l.starts_with("RssFile")
                    || l.starts_with("Threads")
            })
            .collect();
        eprintln!("{what}: {r:?} cpu ns {st}");
    };
    show("with 20");
    let mut stop: Vec<_> = (1..=20u8).map(|n| order(n, 2, Target::Wiped, shell(""))).collect();
    stop.sort_by_key(|a| a.id);
    controller.desire(&desired(100, stop));
    for n in 1..=20 {
        phase(&controller, n, |o| o.phase == Phase::Wiped).await;
    }
    controller.desire(&desired(101, vec![]));
    tokio::time::sleep(Duration::from_secs(2)).await;
    show("idle begin");
    eprintln!("PID {pid}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    show("idle end");
}
