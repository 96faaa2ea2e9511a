//! Golden bytes: every variant that goes over the wire, as it was first shipped. A build that writes other
//! bytes, or cannot read these, breaks fleets in the field. Lines in `golden/v1.hex` are only ever added; a
//! variant without a sample does not compile, and one without a line fails with the line to add.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use chandler_protocol::artifact::{BulkRequest, BulkResponse};
use chandler_protocol::command::{Action, LogStream, Outcome};
use chandler_protocol::frame::{CONTROL_MAX, FrameDecoder, encode};
use chandler_protocol::join::{JoinRequest, JoinResponse, JoinString};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::{Exit, Failure, Phase, Target};
use chandler_protocol::telemetry::Readings;
use chandler_protocol::transfer::{Ask, Kind, Piece, Refusal as TransferRefusal, Say};
use chandler_protocol::tunnel::{TunnelAnswer, TunnelRefusal, TunnelRequest};
use chandler_protocol::way::{Path, Permit};
use chandler_protocol::workload::{DriverKind, PortMode, Probe, Software, StopSignal, WorkloadKind};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[path = "golden/sample.rs"]
mod sample;

/// Bytes of protocol version 1: name, one space, hexadecimal digits.
const V1: &str = include_str!("golden/v1.hex");

/// The lines of the file and what has been checked of them.
struct Golden {
    lines: BTreeMap<&'static str, &'static str>,
    wrong: Vec<String>,
}

impl Golden {
    fn new() -> Self {
        let lines: Vec<_> = V1.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once(' ').unwrap()).collect();
        let map: BTreeMap<_, _> = lines.iter().copied().collect();
        assert_eq!(map.len(), lines.len(), "a name stands twice in v1.hex");
        Self { lines: map, wrong: Vec::new() }
    }

    /// Writing gives the golden bytes, and reading these gives the sample.
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, sample: &T) {
        let hex = HEXLOWER.encode(&postcard::to_allocvec(sample).unwrap());
        let Some(golden) = self.lines.remove(name) else {
            self.wrong.push(format!("not yet in v1.hex, add: {name} {hex}"));
            return;
        };
        if hex != golden {
            self.wrong.push(format!("{name} is now written differently:\n  was {golden}\n  now {hex}"));
        }
        let bytes = HEXLOWER.decode(golden.as_bytes()).unwrap();
        match postcard::take_from_bytes::<T>(&bytes) {
            Ok((read, [])) if read == *sample => {}
            other => self.wrong.push(format!("{name} is now read differently: {other:?}")),
        }
    }

    fn finish(mut self) {
        self.wrong.extend(self.lines.keys().map(|name| format!("{name} is in v1.hex and has no sample any more")));
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// Checks one sample of every variant of an enum. The match has no arm for "all others", so a new variant
/// without a sample does not compile.
macro_rules! every_variant {
    ($golden:ident, $type:ident { $($variant:ident => $sample:expr,)* }) => {{
        fn name(value: &$type) -> &'static str {
            match value { $($type::$variant { .. } => stringify!($variant),)* }
        }
        $({
            let sample: $type = $sample;
            assert_eq!(name(&sample), stringify!($variant), "the sample is of another variant");
            $golden.check(concat!(stringify!($type), "::", stringify!($variant)), &sample);
        })*
    }};
}

#[test]
fn every_variant_keeps_its_bytes() {
    let mut golden = Golden::new();
    messages(&mut golden);
    parts(&mut golden);
    transfers(&mut golden);
    tunnels(&mut golden);
    states(&mut golden);
    golden.finish();
}

fn messages(golden: &mut Golden) {
    every_variant!(golden, AgentMessage {
        Hello => AgentMessage::Hello(sample::hello()),
        Inventory => AgentMessage::Inventory(sample::inventory()),
        Observed => AgentMessage::Observed(sample::observed(Phase::Running)),
        Telemetry => AgentMessage::Telemetry(sample::telemetry()),
        Usage => AgentMessage::Usage(sample::usage()),
        CommandResult => AgentMessage::CommandResult(sample::command_result(Outcome::Done)),
        Renew => AgentMessage::Renew(vec![0x30, 0x82, 0x01]),
        Alive => AgentMessage::Alive,
        Ways => AgentMessage::Ways(sample::observed_ways()),
        Lease => AgentMessage::Lease(sample::lease_request()),
    });
    every_variant!(golden, ControllerMessage {
        Welcome => ControllerMessage::Welcome(sample::welcome()),
        Refused => ControllerMessage::Refused(sample::refusal()),
        Desired => ControllerMessage::Desired(sample::desired(Target::Running)),
        TelemetryAcknowledged => ControllerMessage::TelemetryAcknowledged(300),
        UsageAcknowledged => ControllerMessage::UsageAcknowledged(u64::MAX),
        Command => ControllerMessage::Command(sample::command(Action::Inventory)),
        Renewed => ControllerMessage::Renewed(vec![0x30, 0x82, 0x02]),
        Ways => ControllerMessage::Ways(sample::ways()),
        Lease => ControllerMessage::Lease(sample::lease_grant()),
        LeasePart => ControllerMessage::LeasePart(sample::lease_part()),
    });
    every_variant!(golden, JoinResponse {
        Admitted => sample::admitted(),
        Refused => JoinResponse::Refused { code: "E0203".to_owned(), message: "it was used".to_owned() },
    });
    golden.check::<JoinRequest>("JoinRequest", &sample::join_request());
    golden.check::<JoinString>("JoinString", &sample::join_string());
}

fn parts(golden: &mut Golden) {
    every_variant!(golden, Action {
        ReadLog => sample::read_log(LogStream::Stdout),
        Inventory => Action::Inventory,
    });
    every_variant!(golden, LogStream {
        Stdout => LogStream::Stdout,
        Stderr => LogStream::Stderr,
    });
    every_variant!(golden, Outcome {
        Done => Outcome::Done,
        Log => Outcome::Log { offset: 4_096, bytes: b"line\n".to_vec(), end: 5_000 },
        Expired => Outcome::Expired,
        Failed => Outcome::Failed("no such workload".to_owned()),
    });
    every_variant!(golden, Target {
        Running => Target::Running,
        Stopped => Target::Stopped,
        Wiped => Target::Wiped,
        Own => Target::Own(sample::own()),
        Receive => Target::Receive(sample::receive()),
        Seal => Target::Seal { attempt: 3 },
    });
    every_variant!(golden, Phase {
        Pending => Phase::Pending,
        Fetching => Phase::Fetching(250_000),
        Starting => Phase::Starting,
        Running => Phase::Running,
        Unhealthy => Phase::Unhealthy,
        BackingOff => Phase::BackingOff,
        Stopping => Phase::Stopping,
        Stopped => Phase::Stopped,
        Completed => Phase::Completed(Exit::Code(0)),
        Failed => Phase::Failed(Failure::Start),
        Wiped => Phase::Wiped,
        Receiving => Phase::Receiving(sample::progress()),
        Verified => Phase::Verified(sample::received()),
        Sealed => Phase::Sealed(sample::sealed()),
    });
    every_variant!(golden, Exit {
        Code => Exit::Code(-1),
        Signal => Exit::Signal(9),
        Unknown => Exit::Unknown,
        TimeLimit => Exit::TimeLimit,
    });
    every_variant!(golden, Failure {
        Fetch => Failure::Fetch,
        DiskFull => Failure::DiskFull,
        Start => Failure::Start,
        Crashing => Failure::Crashing,
        Unsupported => Failure::Unsupported,
        State => Failure::State,
        Lease => Failure::Lease,
        Owner => Failure::Owner,
    });
    every_variant!(golden, WorkloadKind {
        Service => WorkloadKind::Service,
        Task => WorkloadKind::Task,
    });
    every_variant!(golden, DriverKind {
        Process => DriverKind::Process,
    });
    every_variant!(golden, Software {
        Artifact => sample::artifact(),
        Installed => Software::Installed { name: "redis-server".to_owned(), path: "/usr/bin/redis-server".to_owned() },
    });
    every_variant!(golden, PortMode {
        Tcp => PortMode::Tcp,
        Http => PortMode::Http,
    });
    every_variant!(golden, Probe {
        Tcp => Probe::Tcp { port: "main".to_owned() },
        Http => Probe::Http { port: "http".to_owned(), path: "/healthz".to_owned() },
        Exec => Probe::Exec { command: vec!["./check".to_owned(), "--fast".to_owned()] },
    });
    every_variant!(golden, StopSignal {
        Terminate => StopSignal::Terminate,
        Interrupt => StopSignal::Interrupt,
        Quit => StopSignal::Quit,
    });
    // Readings travel only as differences, whose order is that of the array.
    golden.check("Readings", &Readings::from_array(std::array::from_fn(|i| 1_i64 << i)).to_array());
}

fn transfers(golden: &mut Golden) {
    every_variant!(golden, BulkRequest {
        Manifest => BulkRequest::Manifest { digest: sample::digest(1) },
        Chunks => BulkRequest::Chunks { digest: sample::digest(1), chunks: vec![sample::digest(2), sample::digest(3)] },
        PutOutput => sample::put_output(),
    });
    every_variant!(golden, BulkResponse {
        Manifest => BulkResponse::Manifest(sample::manifest()),
        Chunk => BulkResponse::Chunk { digest: sample::digest(2), length: 262_144, zstd: vec![0x28, 0xb5, 0x2f, 0xfd] },
        Stored => BulkResponse::Stored,
        Refused => BulkResponse::Refused { code: "E0401".to_owned(), message: "not yours".to_owned() },
    });
}

fn tunnels(golden: &mut Golden) {
    every_variant!(golden, TunnelRequest {
        Port => sample::tunnel_port(),
        State => sample::tunnel_state(),
        Ping => TunnelRequest::Ping,
    });
    every_variant!(golden, TunnelAnswer {
        Open => TunnelAnswer::Open,
        Refused => TunnelAnswer::Refused { why: TunnelRefusal::Sealed, epoch: 7 },
    });
    every_variant!(golden, TunnelRefusal {
        NotHere => TunnelRefusal::NotHere,
        Sealed => TunnelRefusal::Sealed,
        NotGranted => TunnelRefusal::NotGranted,
        Unreachable => TunnelRefusal::Unreachable,
        Busy => TunnelRefusal::Busy,
    });
    every_variant!(golden, Permit {
        Port => sample::permit_port(),
        State => sample::permit_state(),
    });
    every_variant!(golden, Path {
        Direct => Path::Direct,
        Relayed => Path::Relayed,
        None => Path::None,
    });
}

/// What travels on a stream of state.
fn states(golden: &mut Golden) {
    every_variant!(golden, Ask {
        Look => sample::ask_look(),
        Fetch => sample::ask_fetch(),
        Cuts => Ask::Cuts { file: 7 },
        Await => Ask::Await,
    });
    every_variant!(golden, Say {
        Looking => Say::Looking { tree: 0x1234_5678, is_change: true },
        Gone => Say::Gone(vec![b"data/old".to_vec()]),
        Entries => sample::say_entries(),
        More => sample::say_more(),
        Looked => sample::say_looked(),
        Batch => sample::say_batch(),
        Cuts => sample::say_cuts(),
        Sealing => Say::Sealing,
        Refused => Say::Refused { why: TransferRefusal::Tree, message: "dev/null is a device".to_owned() },
    });
    every_variant!(golden, TransferRefusal {
        Attempt => TransferRefusal::Attempt,
        Tree => TransferRefusal::Tree,
        Io => TransferRefusal::Io,
        Asked => TransferRefusal::Asked,
    });
    every_variant!(golden, Kind {
        Directory => Kind::Directory,
        File => sample::kind_file(),
        Symlink => Kind::Symlink { target: b"../data".to_vec() },
        HardLink => Kind::HardLink { to: b"data/a".to_vec() },
    });
    every_variant!(golden, Piece {
        Whole => Piece::Whole { length: 65_536 },
        Parts => Piece::Parts { length: 65_536, changed: 0b1001 },
        Missing => Piece::Missing,
    });
}

/// The frame around a message, byte for byte: length, little endian, then the message.
#[test]
fn the_frame_keeps_its_form() {
    let frame = encode(&AgentMessage::Renew(vec![0xaa; 300]), CONTROL_MAX).unwrap();
    assert_eq!(frame[..8], [0x2f, 0x01, 0x00, 0x00, 0x06, 0xac, 0x02, 0xaa]);
    assert_eq!(frame.len(), 4 + 0x12f);
    let mut decoder = FrameDecoder::new(CONTROL_MAX);
    decoder.push(&[1, 0, 0, 0, 7]);
    assert_eq!(decoder.decode::<AgentMessage>(), Ok(Some(AgentMessage::Alive)));
}

/// The text form is handed over by people and outlives builds.
#[test]
fn the_join_string_keeps_its_text() {
    let text = sample::join_string().to_text();
    assert_eq!(text.parse::<JoinString>().unwrap(), sample::join_string());
    assert_eq!(text, include_str!("golden/join.txt").trim_end());
}

/// A variant that only a newer build knows is an error, never another message.
#[test]
fn unknown_variants_are_refused() {
    for frame in [[1, 0, 0, 0, 0x7e], [1, 0, 0, 0, 0x7f]] {
        let mut decoder = FrameDecoder::new(CONTROL_MAX);
        decoder.push(&frame);
        assert!(decoder.decode::<AgentMessage>().is_err());
        let mut decoder = FrameDecoder::new(CONTROL_MAX);
        decoder.push(&frame);
        assert!(decoder.decode::<ControllerMessage>().is_err());
    }
}
