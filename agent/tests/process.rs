//! The process driver with real supervisors and real programs.

#![expect(clippy::unwrap_used, reason = "a test that finds the unexpected shall fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chandler_agent::driver::process::ProcessDriver;
use chandler_agent::driver::{Driver, Ended, Found, Launch, Layout, Signal, StartError, Workspace};
use chandler_agent::platform::Limiter;
use chandler_agent::world::RealClock;
use chandler_protocol::command::LogStream;
use chandler_protocol::state::Exit;
use chandler_protocol::workload::*;
use chandler_protocol::{AssignmentId, Bytes, Micros};

const SHELL: &str = "/bin/sh";

fn driver(dir: &Path, limiter: Limiter) -> ProcessDriver {
    let shim = vec![env!("CARGO_BIN_EXE_chandler-agent").into(), "shim".into()];
    ProcessDriver::new(Layout::new(dir), shim, limiter, Arc::new(RealClock)).unwrap()
}

fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

fn spec(command: &[&str]) -> WorkloadSpec {
    WorkloadSpec {
        name: "test".into(),
        kind: WorkloadKind::Service,
        driver: DriverKind::Process,
        software: Software::Installed { name: "sh".into(), path: SHELL.into() },
        command: command.iter().map(|&c| c.to_owned()).collect(),
        environment: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    }
}

fn launch(n: u8, spec: WorkloadSpec) -> Launch {
    Launch { assignment: id(n), epoch: 1, spec, ports: Vec::new(), fresh: false }
}

fn script(n: u8, text: &str) -> Launch {
    launch(n, spec(&[SHELL, "-c", text]))
}

async fn ended(driver: &ProcessDriver, n: u8) -> Ended {
    tokio::time::timeout(Duration::from_secs(20), driver.wait(id(n))).await.expect("it did not end")
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn stdout(driver: &ProcessDriver, n: u8) -> String {
    let part = driver.read_log(id(n), LogStream::Stdout, Some(0), 1 << 20).await.unwrap();
    String::from_utf8(part.bytes).unwrap()
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s[s.rfind(')').unwrap()..].starts_with(") Z"))
}

#[tokio::test]
async fn a_program_runs_with_its_ports_directories_and_nothing_else_and_its_end_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let mut spec = spec(&[SHELL, "-c", "env | sort; echo {port.http} {state} {work}; pwd; exit 7"]);
    spec.ports = vec![Port { name: "http".into(), mode: PortMode::Tcp, fixed: None }];
    spec.state = Some(State { path: "data".into(), exclusive: true });
    spec.environment = vec![("PLACE".into(), "{state}/x".into())];
    let started = driver.start(&launch(1, spec)).await.unwrap();
    let end = ended(&driver, 1).await;
    assert_eq!((end.exit, end.epoch, end.started), (Exit::Code(7), 1, started.at));
    let text = stdout(&driver, 1).await;
    let root = Layout::new(dir.path());
    let (state, work) = (root.state(id(1)).join("data"), root.work(id(1)));
    let port = started.ports[0].1;
    assert!(text.contains(&format!("{port} {} {}\n", state.display(), work.display())), "{text}");
    assert!(text.contains(&format!("PORT_HTTP={port}\n")) && text.contains(&format!("PLACE={}/x\n", state.display())));
    assert!(text.ends_with(&format!("{}\n", state.display())), "a service with state starts in it: {text}");
    let foreign: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_once('=').map(|(name, _)| name))
        .filter(|n| {
            !["PATH", "LANG", "TZ", "PWD", "OLDPWD", "SHLVL", "_", "PORT_HTTP", "PLACE", "CHANDLER_RUN"].contains(n)
        })
        .collect();
    assert!(foreign.is_empty(), "inherited: {foreign:?}");
}

#[tokio::test]
async fn starting_is_fast() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let mut times = Vec::new();
    for n in 0..10 {
        let begin = Instant::now();
        driver.start(&launch(n, spec(&["/bin/sleep", "60"]))).await.unwrap();
        times.push(begin.elapsed());
    }
    for n in 0..10 {
        driver.signal(id(n), Signal::Kill);
        assert_eq!(ended(&driver, n).await.exit, Exit::Signal(9));
    }
    times.sort();
    // A debug build on a busy computer; a release build takes a few milliseconds.
    assert!(times[5] < Duration::from_millis(250), "{times:?}");
}

#[tokio::test]
async fn what_runs_is_adopted_by_the_next_agent_and_never_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let first = driver(dir.path(), Limiter::default());
    let started = first.start(&script(1, "echo $$; exec sleep 60")).await.unwrap();
    eventually("its output", async || !stdout(&first, 1).await.is_empty()).await;
    let pid = stdout(&first, 1).await;
    drop(first);

    let second = driver(dir.path(), Limiter::default());
    let Found::Running(found) = second.adopt(id(1)).await else { panic!("it was not found") };
    assert_eq!((found.at, found.launch.epoch), (started.at, 1));
    assert!(is_alive(pid.trim()));
    let again = second.start(&script(1, "true")).await;
    assert!(matches!(again, Err(StartError::Temporary(_))), "two instances at once: {again:?}");
    assert!(is_alive(pid.trim()), "a refused second start ended the first");
    second.signal(id(1), Signal::Stop(StopSignal::Terminate));
    assert_eq!(ended(&second, 1).await.exit, Exit::Signal(15));

    let third = driver(dir.path(), Limiter::default());
    let Found::Ended(end) = third.adopt(id(1)).await else { panic!("its end was forgotten") };
    assert_eq!((end.exit, end.started), (Exit::Signal(15), started.at));
    assert_eq!(third.adopt(id(2)).await, Found::Nothing);
}

#[tokio::test]
async fn one_that_ignores_the_signal_and_forks_away_is_gone_after_the_kill() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let text = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & echo $$; while :; do sleep 1; done";
    driver.start(&script(1, text)).await.unwrap();
    eventually("both pids", async || stdout(&driver, 1).await.lines().count() == 2).await;
    let pids: Vec<String> = stdout(&driver, 1).await.lines().map(str::to_owned).collect();
    driver.signal(id(1), Signal::Stop(StopSignal::Terminate));
    let early = tokio::time::timeout(Duration::from_millis(300), driver.wait(id(1))).await;
    assert!(early.is_err(), "it did not ignore the signal");
    driver.signal(id(1), Signal::Kill);
    assert_eq!(ended(&driver, 1).await.exit, Exit::Signal(9));
    assert!(pids.iter().all(|p| !is_alive(p)), "{pids:?} were left behind");
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    driver.start(&script(1, "setsid sleep 60 & echo $!; sleep 60 & echo $!; exit 0")).await.unwrap();
    assert_eq!(ended(&driver, 1).await.exit, Exit::Code(0));
    let pids = stdout(&driver, 1).await;
    assert_eq!(pids.lines().count(), 2);
    assert!(pids.lines().all(|p| !is_alive(p)), "{pids} were left behind");
}

#[tokio::test]
async fn a_dead_supervisor_takes_its_program_along_and_the_end_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    driver.start(&script(1, "echo $PPID $$; exec sleep 60")).await.unwrap();
    eventually("its output", async || !stdout(&driver, 1).await.is_empty()).await;
    let text = stdout(&driver, 1).await;
    let (shim, program) = text.trim().split_once(' ').unwrap();
    let shim_pid = rustix::process::Pid::from_raw(shim.parse().unwrap()).unwrap();
    rustix::process::kill_process(shim_pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(ended(&driver, 1).await.exit, Exit::Unknown);
    eventually("the end of the program", async || !is_alive(program)).await;
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_and_read_by_offset() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    driver.start(&script(1, "head -c 6000000 /dev/zero | tr '\\0' x; echo end")).await.unwrap();
    assert_eq!(ended(&driver, 1).await.exit, Exit::Code(0));
    let newest = driver.read_log(id(1), LogStream::Stdout, None, 5).await.unwrap();
    assert_eq!((newest.bytes.as_slice(), newest.end), (b"xend\n".as_slice(), 6_000_004));
    let kept: u64 =
        fs::read_dir(Layout::new(dir.path()).log(id(1))).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(kept <= 2 << 20, "{kept} bytes of log are kept");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let check = async |n: u8, change: &dyn Fn(&mut WorkloadSpec), expect: &str| {
        let mut spec = spec(&[SHELL, "-c", "true"]);
        change(&mut spec);
        let error = driver.start(&launch(n, spec)).await.unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!matches!(error, StartError::Temporary(_)), "{error} will not be otherwise the next time");
    };
    check(1, &|s| s.command = vec!["/nowhere/program".into()], "/nowhere/program cannot be started").await;
    check(2, &|s| s.command = vec!["/etc/passwd".into()], "ermission denied").await;
    check(3, &|s| s.command.clear(), "command is empty").await;
    check(4, &|s| s.command = vec!["{port.none}".into()], "no port has that name").await;
    check(
        5,
        &|s| s.software = Software::Installed { name: "x".into(), path: "/etc/passwd".into() },
        "is not a program",
    )
    .await;
    check(6, &|s| s.state = Some(State { path: "../../x".into(), exclusive: false }), "state directory").await;
    check(7, &|s| s.environment = vec![("A=B".into(), String::new())], "environment").await;
    let digest = chandler_protocol::Digest([1; 32]);
    let artifact = Software::Artifact { name: "x".into(), version: "1".into(), digest, length: Bytes(1) };
    check(8, &|s| (s.software, s.command) = (artifact.clone(), vec!["./../../x".into()]), "not inside the artifact")
        .await;
}

#[tokio::test]
async fn health_is_asked_by_tcp_http_and_program() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let mut spec = spec(&["/usr/bin/env", "sleep", "60"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spec.ports = vec![Port { name: "p".into(), mode: PortMode::Http, fixed: Some(port) }];
    driver.start(&launch(1, spec)).await.unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 512];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let answer = if head[..n].starts_with(b"GET /ok ") { "200 OK" } else { "503 No" };
            let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await;
        }
    });
    let http = |path: &str| Probe::Http { port: "p".into(), path: path.into() };
    assert!(driver.check(id(1), &Probe::Tcp { port: "p".into() }).await);
    assert!(driver.check(id(1), &http("/ok")).await);
    assert!(!driver.check(id(1), &http("/bad")).await);
    assert!(!driver.check(id(1), &http("/ok HTTP/1.1\r\nX: y")).await);
    assert!(!driver.check(id(1), &Probe::Tcp { port: "other".into() }).await);
    assert!(driver.check(id(1), &exec("test {port.p} -gt 0 && test -d {work}")).await);
    assert!(!driver.check(id(1), &exec("exit 1")).await);
    let hanging = tokio::time::timeout(
        Duration::from_millis(200),
        driver.check(id(1), &exec("echo $$ > {work}/pid; exec sleep 60")),
    )
    .await;
    assert!(hanging.is_err());
    let pid = fs::read_to_string(Layout::new(dir.path()).work(id(1)).join("pid")).unwrap();
    assert!(!is_alive(pid.trim()), "a check that took too long goes on");
    driver.signal(id(1), Signal::Kill);
    ended(&driver, 1).await;
}

fn exec(text: &str) -> Probe {
    Probe::Exec { command: vec![SHELL.into(), "-c".into(), text.into()] }
}

/// The pid that a program wrote into a file of its working directory.
fn written(dir: &Path, id: AssignmentId, name: &str) -> String {
    fs::read_to_string(Layout::new(dir).work(id).join(name)).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_health_check_takes_its_children_along_whether_it_ends_or_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    driver.start(&script(1, "exec sleep 60")).await.unwrap();
    assert!(driver.check(id(1), &exec("sleep 60 & echo $! > {work}/child")).await);
    let child = written(dir.path(), id(1), "child");
    eventually("the end of what a good try left", async || !is_alive(&child)).await;
    let probe = exec("sleep 60 & echo $! > {work}/other.new; mv {work}/other.new {work}/other; wait");
    let mut hanging = driver.check(id(1), &probe);
    let other = Layout::new(dir.path()).work(id(1)).join("other");
    tokio::select! {
        biased;
        result = &mut hanging => panic!("it did not hang: {result:?}"),
        () = eventually("its child", async || other.exists()) => {}
    }
    let other = written(dir.path(), id(1), "other");
    assert!(is_alive(&other));
    drop(hanging);
    eventually("the end of what a hanging try left", async || !is_alive(&other)).await;
    driver.signal(id(1), Signal::Kill);
    ended(&driver, 1).await;
    assert!(!driver.check(id(1), &exec("touch {work}/late")).await, "it is asked although it has ended");
    assert!(!Layout::new(dir.path()).work(id(1)).join("late").exists());
}

/// A health check that leaves a process outside of its group, which writes down its pid as `escaped`.
const ESCAPE: &str =
    "setsid sh -c 'echo $$ > {work}/escaped.new; mv {work}/escaped.new {work}/escaped; exec sleep 60' &
    while ! test -e {work}/escaped; do sleep 0.01; done";

#[tokio::test]
async fn what_escaped_from_a_health_check_is_ended_with_the_workload_by_whichever_agent_sees_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let first = driver(dir.path(), Limiter::default());
    for n in [1, 2] {
        first.start(&script(n, "echo $$; exec sleep 60")).await.unwrap();
        assert!(first.check(id(n), &exec(ESCAPE)).await);
    }
    let escaped = [1, 2].map(|n| written(dir.path(), id(n), "escaped"));
    assert!(escaped.iter().all(|pid| is_alive(pid)));
    first.signal(id(1), Signal::Kill);
    assert_eq!(ended(&first, 1).await.exit, Exit::Signal(9), "its end is known, and still there is something left");
    eventually("the end of what escaped", async || !is_alive(&escaped[0])).await;
    assert!(is_alive(&escaped[1]), "another workload's process was ended");

    eventually("its output", async || !stdout(&first, 2).await.is_empty()).await;
    let program = stdout(&first, 2).await.trim().parse().unwrap();
    drop(first);
    let program = rustix::process::Pid::from_raw(program).unwrap();
    rustix::process::kill_process(program, rustix::process::Signal::KILL).unwrap();
    let second = driver(dir.path(), Limiter::default());
    eventually("its end", async || matches!(second.adopt(id(2)).await, Found::Ended(e) if e.exit == Exit::Signal(9)))
        .await;
    eventually("the end of what escaped", async || !is_alive(&escaped[1])).await;
}

/// An id that no test that runs at the same time has: control groups are named after it.
fn own_id(n: u8) -> AssignmentId {
    let mut bytes = [n; 10];
    bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    AssignmentId::from_random(bytes)
}

#[tokio::test]
async fn a_health_check_is_under_the_limits_of_its_workload_and_cannot_outlive_them() {
    let limiter = Limiter::detect();
    if !limiter.report().limits_pids {
        return;
    }
    let (dir, id) = (tempfile::tempdir().unwrap(), own_id(2));
    let driver = driver(dir.path(), limiter);
    let mut limited = spec(&["/bin/sleep", "60"]);
    limited.limits = Limits { pids: Some(20), ..Limits::default() };
    driver.start(&Launch { assignment: id, ..launch(0, limited) }).await.unwrap();
    assert!(
        driver.check(id, &exec("cat /proc/self/cgroup > {work}/groups; pwd > {work}/place; test -n \"$PATH\"")).await
    );
    assert!(!driver.check(id, &exec("exit 1")).await);
    let groups = written(dir.path(), id, "groups");
    assert!(groups.lines().any(|l| l.ends_with(&id.to_string())), "it is in other groups: {groups}");
    assert_eq!(Path::new(&written(dir.path(), id, "place")), Layout::new(dir.path()).work(id));
    // Without its environment it carries no mark any more; the group still has it.
    assert!(driver.check(id, &exec(&ESCAPE.replace("setsid sh", "env -i /usr/bin/setsid /bin/sh"))).await);
    let escaped = written(dir.path(), id, "escaped");
    assert!(is_alive(&escaped));
    driver.signal(id, Signal::Kill);
    tokio::time::timeout(Duration::from_secs(20), driver.wait(id)).await.expect("it did not end");
    eventually("the end of what escaped", async || !is_alive(&escaped)).await;
}

#[tokio::test]
async fn what_nobody_may_write_to_is_wiped_and_started_over_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let closed = launch(1, spec(&[SHELL, "-c", "cd {work}; mkdir -p a/b; touch a/b/c; chmod 500 a/b; chmod 0 a"]));
    let closed = Launch { fresh: true, ..closed };
    for _ in 0..2 {
        driver.start(&closed).await.unwrap();
        assert_eq!(ended(&driver, 1).await.exit, Exit::Code(0), "{}", stdout(&driver, 1).await);
    }
    driver.wipe(id(1)).await.unwrap();
    assert!(!Layout::new(dir.path()).assignment(id(1)).exists());
}

#[tokio::test]
async fn ports_are_kept_and_a_task_starts_from_scratch() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let mut task = spec(&[SHELL, "-c", "ls; echo {port.a} > out; mkdir sub; echo result > sub/file"]);
    task.kind = WorkloadKind::Task;
    task.ports = vec![Port { name: "a".into(), mode: PortMode::Tcp, fixed: None }];
    task.inputs =
        vec![InputFile { path: "in/data".into(), digest: chandler_protocol::Digest([3; 32]), length: Bytes(5) }];
    let layout = Layout::new(dir.path());
    fs::create_dir_all(layout.blobs()).unwrap();
    fs::write(layout.blob(task.inputs[0].digest), "input").unwrap();
    let mut launch = Launch { fresh: true, ..launch(1, task) };
    let first = driver.start(&launch).await.unwrap();
    ended(&driver, 1).await;
    launch.ports = first.ports.clone();
    let second = driver.start(&launch).await.unwrap();
    ended(&driver, 1).await;
    assert_eq!(first.ports, second.ports);
    assert_eq!(stdout(&driver, 1).await, "in\nin\n", "the second run saw what the first one left");
    let wanted = ["sub/file".to_owned(), "out".to_owned(), "none".to_owned()];
    let collected = driver.collect(id(1), &wanted).await;
    let names: Vec<&str> = collected.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(names, ["sub/file", "out", "stdout", "stderr"]);
    assert_eq!(collected.notes, ["output none was not written"]);
    assert_eq!(driver.read_output(id(1), "sub/file", 3, 100).await.unwrap(), b"ult\n");
    driver.wipe(id(1)).await.unwrap();
    driver.wipe(id(1)).await.unwrap();
    assert!(!layout.assignment(id(1)).exists());
}

#[tokio::test]
async fn limits_are_enforced_where_the_computer_can() {
    let limiter = Limiter::detect();
    let report = limiter.report();
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), limiter);
    let mut hungry = spec(&[SHELL, "-c", "head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null; echo $?"]);
    hungry.limits =
        Limits { memory: Some(Bytes(32 << 20)), cpu: Some(chandler_protocol::MilliCpu(500)), pids: Some(20) };
    let id = own_id(1);
    let started = driver.start(&Launch { assignment: id, ..launch(1, hungry) }).await.unwrap();
    assert_eq!(started.note.is_empty(), report.note.is_empty(), "{} {}", started.note, report.note);
    let end = tokio::time::timeout(Duration::from_secs(20), driver.wait(id)).await.expect("it did not end");
    if report.limits_memory {
        let said = driver.read_log(id, LogStream::Stdout, Some(0), 1 << 10).await.unwrap();
        assert_ne!(said.bytes, b"0\n", "150 MB fitted into 32 MiB");
    }
    assert!(end.cpu.is_some_and(|cpu| cpu > Micros::ZERO), "its processor time is not known");
}

#[tokio::test]
async fn use_is_measured_over_the_whole_tree() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let text = "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done' ; setsid sh -c 'while :; do :; done'";
    driver.start(&script(1, text)).await.unwrap();
    eventually("processor time", async || driver.measure(id(1)).is_some_and(|m| m.cpu > Micros::from_millis(300)))
        .await;
    assert!(driver.measure(id(1)).unwrap().memory > Bytes(0));
    driver.signal(id(1), Signal::Kill);
    let end = ended(&driver, 1).await;
    assert!(end.cpu.is_some_and(|cpu| cpu > Micros::from_millis(300)), "{end:?}");
    assert_eq!(driver.measure(id(1)), None);
}

#[test]
fn no_file_of_ours_can_be_written_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let _driver = driver(dir.path(), Limiter::default());
    let mut todo: Vec<PathBuf> = vec![dir.path().join("work")];
    while let Some(path) = todo.pop() {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o022, 0, "{}", path.display());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
}

#[tokio::test]
async fn a_program_that_is_to_be_moved_is_told_how_many_seconds_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let driver = driver(dir.path(), Limiter::default());
    let mut spec = spec(&[SHELL, "-c", "exec sleep 60"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spec.ports = vec![Port { name: "p".into(), mode: PortMode::Http, fixed: Some(port) }];
    driver.start(&launch(1, spec)).await.unwrap();
    let within = Micros::from_millis(2_500);
    assert!(driver.tell(id(1), &exec("echo $CHANDLER_MOVE_IN > {work}/told"), within).await);
    assert_eq!(written(dir.path(), id(1), "told"), "3", "seconds, rounded up");
    assert!(!driver.tell(id(1), &exec("exit 1"), within).await, "it says that it is no good moment");
    assert!(driver.check(id(1), &exec("test -z \"$CHANDLER_MOVE_IN\"")).await, "a health check is no notice");

    let asked = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut lines = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 512];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 204 Good\r\n\r\n").await;
            lines.push(String::from_utf8_lossy(&head[..n]).lines().next().unwrap_or_default().to_owned());
        }
        lines
    });
    for path in ["/move", "/move?a=b"] {
        assert!(driver.tell(id(1), &Probe::Http { port: "p".into(), path: path.into() }, within).await);
    }
    assert_eq!(asked.await.unwrap(), ["GET /move?in=3 HTTP/1.1", "GET /move?a=b&in=3 HTTP/1.1"]);
    driver.signal(id(1), Signal::Kill);
    ended(&driver, 1).await;
}

#[tokio::test]
async fn a_program_finds_the_services_that_it_uses() {
    let dir = tempfile::tempdir().unwrap();
    let fronts = chandler_agent::fronts::Fronts::default();
    let driver = driver(dir.path(), Limiter::default()).with_fronts(fronts.clone());
    let service = chandler_protocol::ServiceId::from_random([9; 10]);
    let mut spec = spec(&[SHELL, "-c", "echo $DB"]);
    spec.environment = vec![("DB".into(), format!("tcp://{{front.{service}.sql}}"))];
    let unknown = driver.start(&launch(1, spec.clone())).await;
    assert!(matches!(unknown, Err(StartError::Unsupported(_))), "it was started without the address: {unknown:?}");
    fronts.set([((service, "sql".to_owned()), ([127, 0, 0, 1], 15_432).into())].into());
    driver.start(&launch(1, spec)).await.unwrap();
    ended(&driver, 1).await;
    assert_eq!(stdout(&driver, 1).await, "tcp://127.0.0.1:15432\n");
}

#[tokio::test]
async fn a_guard_ends_what_escaped_and_what_entered_its_groups_and_may_be_told_otherwise_in_time() {
    let limiter = Limiter::detect();
    let (dir, id) = (tempfile::tempdir().unwrap(), own_id(3));
    let has_groups = limiter.report().limits_pids;
    let driver = driver(dir.path(), limiter);
    let mut limited = spec(&[SHELL, "-c", "setsid sleep 60 & echo $!; exec sleep 60"]);
    limited.limits = Limits { pids: has_groups.then_some(20), ..Limits::default() };
    let now = chandler_agent::platform::boot_clock;
    let soon = |ms: i64| Some(Micros(now().0 + ms * 1_000));
    driver.guard(id, soon(400)).unwrap();
    let started = driver.start(&Launch { assignment: id, ..launch(0, limited) }).await.unwrap();
    // Outside of the supervisor's own tree, as a health check is.
    assert!(driver.check(id, &exec(ESCAPE)).await);
    let escaped = written(dir.path(), id, "escaped");
    let until = soon(1_200);
    driver.guard(id, until).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(700), driver.wait(id)).await;
    assert!(early.is_err(), "it was ended although its guard was told otherwise");
    assert!(is_alive(&escaped));
    let end = tokio::time::timeout(Duration::from_secs(20), driver.wait(id)).await.expect("it did not end");
    assert!(end.expired && end.exit == Exit::Signal(9) && end.started == started.at, "{end:?}");
    assert!(end.at >= until.unwrap() && end.at.0 < until.unwrap().0 + 500_000, "{end:?} is not at {until:?}");
    assert!(!is_alive(&escaped), "what escaped goes on");

    // Without a guard the same runs on; the end of the last run is not taken for one of this.
    driver.guard(id, None).unwrap();
    driver.start(&Launch { assignment: id, ..launch(0, spec(&["/bin/sleep", "60"])) }).await.unwrap();
    driver.signal(id, Signal::Kill);
    let end = tokio::time::timeout(Duration::from_secs(20), driver.wait(id)).await.expect("it did not end");
    assert!(!end.expired, "{end:?}");
}
