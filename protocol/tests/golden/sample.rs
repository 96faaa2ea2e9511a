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
use chandler_protocol::state::{
    Assignment, DesiredState, Exit, Failure, Health, ObservedAssignment, ObservedState, OutputFile, Phase, Target,
};
use chandler_protocol::telemetry::Sample;
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::workload::{
    DriverKind, HealthCheck, InputFile, Limits, Port, PortMode, Probe, RestartPolicy, Software, State, StopPolicy,
    StopSignal, WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, Micros, MilliCpu, Timestamp};

/// A moment in 2026.
const NOW: Timestamp = Timestamp(1_790_000_000_123_456);

fn text(text: &str) -> String {
    text.to_owned()
}

fn assignment(n: u8) -> AssignmentId {
    AssignmentId::from_random([n, 1, 2, 3, 4, 5, 6, 7, 8, 9])
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
