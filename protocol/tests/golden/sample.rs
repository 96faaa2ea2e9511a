//! One value of each type on the wire. Every field is named and none has its default, so that a field that
//! is added, moved or dropped is noticed by the compiler or by the bytes.

use std::net::SocketAddr;

use chandler_protocol::artifact::{BulkRequest, Manifest};
use chandler_protocol::command::{Action, Command, CommandResult, LogStream, Outcome};
use chandler_protocol::handshake::{Hello, Refusal, Welcome};
use chandler_protocol::inventory::{
    Cpu, Disk, Driver, Gpu, HostInventory, InstalledSoftware, NetworkInterface, Offered,
};
use chandler_protocol::join::{JoinRequest, JoinResponse, JoinString};
use chandler_protocol::lease::{LeaseGrant, LeasePart, LeaseRequest, LeaseWanted};
use chandler_protocol::state::{
    Assignment, DesiredState, Exit, Failure, Health, ObservedAssignment, ObservedState, OutputFile, Own, Phase,
    Progress, Receive, Received, Sealed, Target,
};
use chandler_protocol::telemetry::Sample;
use chandler_protocol::transfer::{
    Ask, Batch, Content, Cut, Entry, Kind, Known, Looked, Piece, Range, Run, Say, Xattr,
};
use chandler_protocol::tunnel::TunnelRequest;
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::way::{
    Backend, Door, DoorCounters, DoorLimits, DoorPort, Grant, Histogram, Hold, Notice, ObservedDoor, ObservedPath,
    ObservedWays, Path, Permit, Route, Stall, Told, Ways,
};
use chandler_protocol::workload::{
    DriverKind, HealthCheck, InputFile, Limits, Port, PortMode, Probe, RestartPolicy, Software, State, StopPolicy,
    StopSignal, WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, Micros, MilliCpu, MoveId, ServiceId, Timestamp};

/// A moment in 2026.
const NOW: Timestamp = Timestamp(1_790_000_000_123_456);

fn text(text: &str) -> String {
    text.to_owned()
}

fn assignment(n: u8) -> AssignmentId {
    AssignmentId::from_random([n, 1, 2, 3, 4, 5, 6, 7, 8, 9])
}

fn host(n: u8) -> HostId {
    HostId::from_random([0x40 + n; 10])
}

fn service(n: u8) -> ServiceId {
    ServiceId::from_random([0x50 + n; 10])
}

fn move_id(n: u8) -> MoveId {
    MoveId::from_random([0x60 + n; 10])
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub(crate) fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 3,
        agent_version: text("0.1.0"),
        boot_id: [0xb0; 16],
        instance: [0x15; 16],
        agent_time: NOW,
        starts: 12,
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        version: 1,
        controller_time: NOW,
        telemetry_interval: Micros::from_secs(10),
        heartbeat: Micros::from_secs(3),
        reconnect_window: Micros::from_secs(15),
        usage_acknowledged: 4_711,
    }
}

pub(crate) fn refusal() -> Refusal {
    Refusal { code: text("E0204"), message: text("upgrade the agent"), retry_after: Some(Micros::from_secs(60)) }
}

pub(crate) fn inventory() -> HostInventory {
    HostInventory {
        host_name: text("pc-1"),
        cpu: Cpu { model: text("Model X"), cores: 16, mhz: 3_600 },
        memory: Bytes(64 << 30),
        disks: vec![Disk { mount: text("/"), file_system: text("ext4"), size: Bytes(1 << 40) }],
        networks: vec![NetworkInterface { name: text("eth0"), mac: text("02:00:00:00:00:01") }],
        gpus: vec![
            Gpu { model: text("10de:2204"), memory: None },
            Gpu { model: text("GPU Y"), memory: Some(Bytes(24 << 30)) },
        ],
        os: text("linux"),
        os_version: text("Debian GNU/Linux 12"),
        kernel: text("6.1.0"),
        architecture: text("x86_64"),
        boot_id: [0xb0; 16],
        has_battery: true,
        sensors: vec![text("Tctl")],
        drivers: vec![Driver {
            kind: DriverKind::Process,
            limits_cpu: true,
            limits_memory: false,
            limits_pids: true,
            note: text("no memory controller"),
        }],
        software: vec![InstalledSoftware {
            name: text("redis-server"),
            version: text("7.0.15"),
            programs: vec![text("/usr/bin/redis-server")],
        }],
        offered: Offered { cpu: MilliCpu(12_000), memory: Bytes(48 << 30), disk: Bytes(500 << 30) },
    }
}

pub(crate) fn observed(phase: Phase) -> ObservedState {
    let one = |n, phase| ObservedAssignment {
        id: assignment(n),
        epoch: 5,
        phase,
        ports: vec![(text("http"), 18_080)],
        starts: 3,
        failures: 2,
        message: text("restarted"),
        health: Health {
            checks: 900,
            failures: 4,
            latency_p50: Micros(1_200),
            latency_p95: Micros(9_800),
            up: Micros::from_secs(896),
            down: Micros::from_secs(4),
        },
        outputs: vec![OutputFile { path: text("out.json"), digest: digest(9), length: 42 }],
    };
    let ended = Phase::Completed(Exit::Signal(15));
    ObservedState {
        generation: 77,
        assignments: vec![one(1, phase), one(2, ended), one(3, Phase::Failed(Failure::DiskFull))],
    }
}

pub(crate) fn desired(target: Target) -> DesiredState {
    DesiredState {
        generation: 78,
        assignments: vec![Assignment { id: assignment(1), epoch: 6, target, spec: workload() }],
    }
}

pub(crate) fn artifact() -> Software {
    Software::Artifact { name: text("notes"), version: text("1.0.0"), digest: digest(1), length: Bytes(412_345) }
}

fn workload() -> WorkloadSpec {
    WorkloadSpec {
        name: text("notes"),
        kind: WorkloadKind::Task,
        driver: DriverKind::Process,
        software: artifact(),
        command: vec![text("./notes"), text("--listen"), text("127.0.0.1:{port.http}")],
        environment: vec![(text("MODE"), text("fast"))],
        limits: Limits { cpu: Some(MilliCpu(500)), memory: Some(Bytes(256 << 20)), pids: Some(64) },
        ports: vec![Port { name: text("http"), mode: PortMode::Http, fixed: Some(8_080) }],
        state: Some(State { path: text("data"), exclusive: true }),
        health: Some(HealthCheck {
            probe: Probe::Http { port: text("http"), path: text("/healthz") },
            interval: Micros::from_secs(1),
            timeout: Micros::from_millis(500),
            failures: 3,
            grace: Micros::from_secs(5),
        }),
        restart: RestartPolicy { attempts: Some(4), delay: Micros::from_millis(100), delay_max: Micros::from_secs(20) },
        stop: StopPolicy { signal: StopSignal::Interrupt, grace: Micros::from_secs(7) },
        inputs: vec![InputFile { path: text("in.txt"), digest: digest(4), length: Bytes(1_000) }],
        outputs: vec![text("out.json")],
        time_limit: Some(Micros::from_secs(3_600)),
    }
}

pub(crate) fn telemetry() -> Vec<Sample> {
    vec![
        Sample { sequence: 1, base: 0, age: Micros(1_500), mask: 0b1000_0001, changes: vec![31, -1] },
        Sample { sequence: 2, base: 1, age: Micros::ZERO, mask: 1 << 15, changes: vec![i64::MIN] },
    ]
}

pub(crate) fn usage() -> Vec<UsageRecord> {
    let record = |sequence, age| UsageRecord {
        sequence,
        assignment: assignment(1),
        epoch: 5,
        running: Micros::from_secs(60),
        cpu: Micros::from_millis(1_234),
        age,
    };
    vec![record(9, None), record(10, Some(Micros::from_secs(2)))]
}

pub(crate) fn read_log(stream: LogStream) -> Action {
    Action::ReadLog { assignment: assignment(1), stream, offset: Some(4_096), limit: 65_536 }
}

pub(crate) fn command(action: Action) -> Command {
    Command { id: 1_000_001, expires_in: Micros::from_secs(30), action }
}

pub(crate) fn command_result(outcome: Outcome) -> CommandResult {
    CommandResult { id: 1_000_001, outcome }
}

pub(crate) fn join_string() -> JoinString {
    JoinString {
        addresses: vec![
            SocketAddr::from(([192, 0, 2, 1], 7_443)),
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 7_443)),
        ],
        ca_fingerprint: [0xca; 32],
        secret: [0x5e; 16],
        issued_at: NOW,
    }
}

pub(crate) fn join_request() -> JoinRequest {
    JoinRequest { secret: [0x5e; 16], csr: vec![0x30, 0x82, 0x03], host_name: text("pc-1") }
}

pub(crate) fn admitted() -> JoinResponse {
    JoinResponse::Admitted {
        host: HostId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]),
        site: text("lab"),
        certificate: vec![0x30, 0x82, 0x04],
        ca: vec![0x30, 0x82, 0x05],
        controller_time: NOW,
    }
}

pub(crate) fn put_output() -> BulkRequest {
    BulkRequest::PutOutput {
        assignment: assignment(1),
        epoch: 5,
        path: text("out.json"),
        digest: digest(9),
        length: 42,
    }
}

pub(crate) fn manifest() -> Manifest {
    Manifest { digest: digest(1), length: 412_345, chunks: vec![digest(2), digest(3)] }
}

pub(crate) fn received() -> Received {
    Received { attempt: 3, root: digest(0x71) }
}

pub(crate) fn own() -> Own {
    Own { leased: true, from: Some(received()) }
}

pub(crate) fn receive() -> Receive {
    Receive { attempt: 3, host: host(1), source: assignment(2), rate_max: Some(Bytes(50 << 20)) }
}

pub(crate) fn progress() -> Progress {
    Progress {
        attempt: 3,
        rounds: 2,
        done: Bytes(1 << 20),
        total: Bytes(5 << 20),
        size: Bytes(1 << 30),
        sent: Bytes(700 << 20),
        dirty: Bytes(6 << 20),
        took: Micros::from_millis(850),
        rate: Bytes(400 << 20),
        in_step: true,
    }
}

pub(crate) fn sealed() -> Sealed {
    Sealed { attempt: 3, root: digest(0x71), lease: 9 }
}

pub(crate) fn ways() -> Ways {
    let route = Route {
        sequence: 41,
        hold: Some(Hold { r#move: move_id(1), attempt: 3, limit: Micros::from_secs(2) }),
        backends: vec![Backend { assignment: assignment(1), epoch: 6, host: host(1) }],
    };
    Ways {
        generation: 79,
        doors: vec![Door {
            service: service(1),
            name: text("notes"),
            ports: vec![DoorPort {
                name: text("http"),
                mode: PortMode::Http,
                number: Some(18_080),
                lan: Some([192, 0, 2, 7].into()),
            }],
            route,
            limits: DoorLimits { wait: Micros::from_secs(3), requests: 4_000, bytes: Bytes(32 << 20) },
        }],
        grants: vec![Grant {
            peer: host(1),
            key: [0x6b; 32],
            addresses: vec![SocketAddr::from(([192, 0, 2, 1], 7_444))],
            relay: true,
            permits: vec![permit_port(), permit_state()],
        }],
        notices: vec![Notice {
            assignment: assignment(1),
            r#move: move_id(1),
            attempt: 3,
            tell: Probe::Http { port: text("http"), path: text("/moving") },
            within: Micros::from_secs(20),
        }],
    }
}

pub(crate) fn observed_ways() -> ObservedWays {
    let times = |class| Histogram { counts: vec![(class, 900), (class + 8, 3)] };
    let counters = DoorCounters {
        requests: 903,
        failed: 1,
        errors: 2,
        held: 7,
        held_too_long: 1,
        retried: 4,
        cut: 5,
        connect: times(10),
        first_byte: times(30),
        stalls: vec![Stall { r#move: move_id(1), held: 7, longest: Micros::from_millis(38), failed: 1, cut: 5 }],
    };
    ObservedWays {
        generation: 79,
        listens: vec![SocketAddr::from(([192, 0, 2, 7], 7_444))],
        doors: vec![ObservedDoor {
            service: service(1),
            sequence: 41,
            holding: true,
            waiting: 7,
            under_way: vec![(assignment(1), 2)],
            long_lived: vec![(assignment(1), 1)],
            addresses: vec![(text("http"), SocketAddr::from(([127, 0, 0, 1], 18_080)))],
            message: text("port 80 is taken"),
            opened: 12_345,
            counters,
        }],
        paths: vec![
            ObservedPath { peer: host(1), path: Path::Relayed, rtt: Some(Micros::from_millis(18)) },
            ObservedPath { peer: host(2), path: Path::None, rtt: None },
        ],
        told: vec![Told { assignment: assignment(1), attempt: 3, ready: true }],
    }
}

fn wanted() -> Vec<LeaseWanted> {
    vec![
        LeaseWanted { assignment: assignment(1), epoch: 6, generation: 9 },
        LeaseWanted { assignment: assignment(2), epoch: 4, generation: 0 },
    ]
}

pub(crate) fn lease_request() -> LeaseRequest {
    LeaseRequest { nonce: 88, wanted: wanted() }
}

pub(crate) fn lease_grant() -> LeaseGrant {
    LeaseGrant { nonce: 88, lasts: Micros::from_secs(9), renew: Micros::from_secs(3), given: wanted() }
}

pub(crate) fn lease_part() -> LeasePart {
    LeasePart { grant: lease_grant(), about: vec![assignment(1), assignment(2)] }
}

pub(crate) fn tunnel_port() -> TunnelRequest {
    TunnelRequest::Port { assignment: assignment(1), epoch: 6, port: text("http") }
}

pub(crate) fn tunnel_state() -> TunnelRequest {
    TunnelRequest::State { assignment: assignment(1), attempt: 3 }
}

pub(crate) fn permit_port() -> Permit {
    Permit::Port(assignment(1))
}

pub(crate) fn permit_state() -> Permit {
    Permit::State { assignment: assignment(1), attempt: 3 }
}

pub(crate) fn ask_look() -> Ask {
    Ask::Look { known: Some(Known { tree: 0x1234_5678, generation: 41 }) }
}

pub(crate) fn ask_fetch() -> Ask {
    Ask::Fetch { ranges: vec![Range { file: 7, offset: 1 << 20, length: 65_536, parts: vec![u64::MAX, 1] }] }
}

fn content() -> Content {
    Content { size: 200_000, runs: vec![Run { first: 0, count: 2 }, Run { first: 3, count: 1 }], digests: digests(3) }
}

fn digests(n: u8) -> Vec<Digest> {
    (1..=n).map(digest).collect()
}

pub(crate) fn kind_file() -> Kind {
    Kind::File(content())
}

pub(crate) fn say_entries() -> Say {
    Say::Entries(vec![Entry {
        id: 7,
        path: b"data/a".to_vec(),
        mode: 0o640,
        owner: Some((1_000, 1_001)),
        mtime: (-1, 999_999_999),
        inode: 4_711,
        xattrs: vec![Xattr { name: b"user.tag".to_vec(), value: b"x".to_vec() }],
        kind: kind_file(),
    }])
}

pub(crate) fn say_more() -> Say {
    Say::More { runs: vec![Run { first: 9, count: 1 }], digests: digests(1) }
}

pub(crate) fn say_looked() -> Say {
    Say::Looked(Looked {
        generation: 42,
        entries: 256,
        size: Bytes(1 << 30),
        took: Micros::from_millis(270),
        skipped: 2,
        sealed: Some(digest(0x71)),
    })
}

pub(crate) fn say_batch() -> Say {
    let pieces = vec![Piece::Whole { length: 65_536 }, Piece::Parts { length: 4_096, changed: 1 }, Piece::Missing];
    Say::Batch(Batch { pieces, is_packed: true, length: 30_000 })
}

pub(crate) fn say_cuts() -> Say {
    Say::Cuts { cuts: vec![Cut { length: 70_001, digest: digest(5) }], is_last: true }
}
