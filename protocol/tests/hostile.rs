//! Whatever bytes arrive, in whatever pieces: the decoder never panics, never keeps more than one frame, and
//! how the bytes were cut makes no difference.

use std::fmt::Debug;

use chandler_protocol::artifact::{BulkRequest, BulkResponse};
use chandler_protocol::frame::{BULK_MAX, CONTROL_MAX, FrameDecoder, FrameError, JOIN_MAX, encode};
use chandler_protocol::join::{JoinRequest, JoinResponse, JoinString};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::transfer::{self, Ask, Say};
use chandler_protocol::tunnel::{self, TunnelAnswer, TunnelRequest};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[path = "golden/sample.rs"]
#[expect(dead_code, reason = "only some of the samples are mutated here")]
mod sample;

/// A limit small enough that random lengths fall on both sides of it.
const SMALL: usize = 300;

/// All that comes out of `bytes` cut at `cuts`: the messages, and the error that ended it.
fn read<T: DeserializeOwned + Debug>(bytes: &[u8], cuts: &[usize], max: usize) -> (Vec<String>, Option<FrameError>) {
    let mut ends: Vec<_> = cuts.iter().map(|c| c % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let (mut decoder, mut got, mut begin, mut consumed) = (FrameDecoder::new(max), Vec::new(), 0, 0);
    for end in ends {
        decoder.push(&bytes[begin..end]);
        begin = end;
        loop {
            match decoder.decode::<T>() {
                Ok(Some(message)) => {
                    got.push(format!("{message:?}"));
                    consumed += 4 + frame_length(&bytes[consumed..]);
                }
                Ok(None) => break,
                Err(e) => return (got, Some(e)),
            }
        }
        assert!(end - consumed < 4 + max, "{} bytes are kept, the limit is {max}", end - consumed);
        assert_eq!(decoder.is_mid_frame(), end > consumed);
    }
    (got, None)
}

fn frame_length(bytes: &[u8]) -> usize {
    bytes.iter().take(4).rev().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// Reads `bytes` as every message there is, whole and cut.
fn read_all(bytes: &[u8], cuts: &[usize]) {
    fn both<T: DeserializeOwned + Debug>(bytes: &[u8], cuts: &[usize], max: usize) {
        assert_eq!(read::<T>(bytes, cuts, max), read::<T>(bytes, &[], max));
        assert_eq!(read::<T>(bytes, cuts, SMALL), read::<T>(bytes, &[], SMALL));
    }
    both::<AgentMessage>(bytes, cuts, CONTROL_MAX);
    both::<ControllerMessage>(bytes, cuts, CONTROL_MAX);
    both::<BulkRequest>(bytes, cuts, BULK_MAX);
    both::<BulkResponse>(bytes, cuts, BULK_MAX);
    both::<JoinRequest>(bytes, cuts, JOIN_MAX);
    both::<JoinResponse>(bytes, cuts, JOIN_MAX);
    both::<Ask>(bytes, cuts, transfer::FRAME_MAX);
    both::<Say>(bytes, cuts, transfer::FRAME_MAX);
    both::<TunnelRequest>(bytes, cuts, tunnel::FRAME_MAX);
    both::<TunnelAnswer>(bytes, cuts, tunnel::FRAME_MAX);
}

fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    encode(message, CONTROL_MAX).unwrap_or_default()
}

/// Valid frames of both directions, the large ones first.
fn valid() -> Vec<Vec<u8>> {
    use chandler_protocol::state::{Phase, Target};
    vec![
        frame(&AgentMessage::Inventory(sample::inventory())),
        frame(&AgentMessage::Observed(sample::observed(Phase::Running))),
        frame(&AgentMessage::Observed(sample::observed(Phase::Receiving(sample::progress())))),
        frame(&AgentMessage::Ways(sample::observed_ways())),
        frame(&AgentMessage::Lease(sample::lease_request())),
        frame(&AgentMessage::Telemetry(sample::telemetry())),
        frame(&AgentMessage::Alive),
        frame(&ControllerMessage::Desired(sample::desired(Target::Running))),
        frame(&ControllerMessage::Desired(sample::desired(Target::Own(sample::own())))),
        frame(&ControllerMessage::Ways(sample::ways())),
        frame(&ControllerMessage::Lease(sample::lease_grant())),
        frame(&ControllerMessage::Welcome(sample::welcome())),
        frame(&sample::put_output()),
        frame(&sample::manifest()),
        frame(&sample::join_request()),
        frame(&sample::admitted()),
        frame(&sample::tunnel_port()),
        frame(&sample::ask_fetch()),
        frame(&sample::say_entries()),
        frame(&sample::say_batch()),
    ]
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        read_all(&bytes, &cuts);
    }

    /// Random bytes rarely get past the length; these always do.
    #[test]
    fn random_bodies(body in prop::collection::vec(any::<u8>(), 0..600), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let head = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
        read_all(&[&head, body.as_slice()].concat(), &cuts);
    }

    #[test]
    fn mutated_frames(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let frames = valid();
        let mut bytes = which.get(&frames).clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        bytes.extend(frame(&AgentMessage::Alive));
        read_all(&bytes, &cuts);
    }

    #[test]
    fn join_strings(text in "(chj1_)?[a-z2-7]{0,200}", any in ".{0,40}") {
        prop_assert!(text.parse::<JoinString>().is_err() || text.starts_with("chj1_"));
        prop_assert!(any.parse::<JoinString>().is_err());
    }
}

#[test]
fn every_prefix_of_a_frame_waits_and_the_whole_is_read() {
    for bytes in valid() {
        for cut in 0..bytes.len() {
            read_all(&bytes[..cut], &[cut / 2]);
        }
        read_all(&bytes, &[]);
    }
}

#[test]
fn a_length_of_two_gigabytes_is_refused_at_once() {
    for length in [1_u32 << 31, u32::MAX, (CONTROL_MAX + 1) as u32] {
        let (got, error) = read::<AgentMessage>(&length.to_le_bytes(), &[1, 2, 3], CONTROL_MAX);
        assert!(got.is_empty());
        assert_eq!(error, Some(FrameError::TooLarge { length: length as usize, max: CONTROL_MAX }));
    }
}

/// A list that announces more items than the frame has bytes must not make the reader allocate them.
#[test]
fn a_list_of_a_billion_items_is_refused_without_room_for_them() {
    let count = [0x80, 0x94, 0xeb, 0xdc, 0x03];
    // Telemetry, usage; the generation of ways and the nonce of a lease request come before their list.
    for head in [&[3_u8][..], &[4], &[8, 1], &[9, 1]] {
        let body = [head, &count].concat();
        let length = u8::try_from(body.len()).unwrap_or(0);
        let bytes = [&[length, 0, 0, 0], body.as_slice()].concat();
        assert_eq!(read::<AgentMessage>(&bytes, &[], CONTROL_MAX).1, Some(FrameError::Malformed));
    }
}
