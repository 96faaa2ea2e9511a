//! The frame decoder against hostile bytes in hostile pieces. Run it with a nightly compiler and cargo-fuzz:
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz frame`.

#![no_main]

use chandler_protocol::artifact::{BulkRequest, BulkResponse};
use chandler_protocol::frame::{BULK_MAX, CONTROL_MAX, FrameDecoder, JOIN_MAX, encode};
use chandler_protocol::join::{JoinRequest, JoinResponse};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What decides how the bytes are cut stands before them.
const CUTS: usize = 8;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, bytes)) = input.split_first_chunk::<CUTS>() else { return };
    read::<AgentMessage>(cuts, bytes, CONTROL_MAX);
    read::<ControllerMessage>(cuts, bytes, CONTROL_MAX);
    read::<BulkRequest>(cuts, bytes, BULK_MAX);
    read::<BulkResponse>(cuts, bytes, BULK_MAX);
    read::<JoinRequest>(cuts, bytes, JOIN_MAX);
    read::<JoinResponse>(cuts, bytes, JOIN_MAX);
});

fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(cuts: &[u8; CUTS], bytes: &[u8], max: usize) {
    let mut decoder = FrameDecoder::new(max);
    let mut rest = bytes;
    for cut in cuts.iter().map(|c| usize::from(*c)).chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        decoder.push(piece);
        loop {
            match decoder.decode::<T>() {
                Ok(Some(message)) => again(&message),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// What was read can be written and read again, to the same.
fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(message: &T) {
    // Written shorter or as long as it was read: postcard writes each number in its shortest form.
    let Ok(bytes) = encode(message, CONTROL_MAX) else { panic!("cannot be written again: {message:?}") };
    let mut decoder = FrameDecoder::new(CONTROL_MAX);
    decoder.push(&bytes);
    assert_eq!(decoder.decode::<T>().ok().flatten().as_ref(), Some(message));
}
