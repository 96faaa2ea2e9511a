//! Where the frames of a WebSocket end, so that a Close can be put between two of them. Pure.

/// Close, status 1012 (service restart): the client is to connect again.
pub(crate) const CLOSE_1012: [u8; 4] = [0x88, 0x02, 0x03, 0xf4];

/// Longest head of a frame.
const HEAD_MAX: usize = 14;
/// The code of a Close frame.
const CLOSE: u8 = 0x8;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; HEAD_MAX],
    /// How much of the head is here.
    have: usize,
    /// How much of the payload is to come.
    payload: u64,
    closed: bool,
}

impl Frames {
    /// Whether a frame has just ended, or none has begun.
    pub(crate) fn between(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Whether a Close was among them.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// What came after the last end of a frame is not passed on.
    pub(crate) fn end_here(&mut self) {
        self.have = 0;
        self.payload = 0;
    }

    /// Bytes went by. Gives how many of them are up to the last end of a frame, if any frame ended.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut at, mut end) = (0, None);
        while at < bytes.len() {
            if self.payload > 0 {
                let step = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.payload -= step as u64;
                at += step;
            } else {
                self.head[self.have] = bytes[at];
                self.have += 1;
                at += 1;
                if self.have < self.head_len() {
                    continue;
                }
                self.payload = self.payload_len();
                self.closed |= self.head[0] & 0x0f == CLOSE;
                self.have = 0;
            }
            if self.between() {
                end = Some(at);
            }
        }
        end
    }

    /// Length of the head, as far as it is known by now.
    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + mask
    }

    fn payload_len(&self) -> u64 {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        match self.head[1] & 0x7f {
            126 => big_endian(&self.head[2..4]),
            127 => big_endian(&self.head[2..10]),
            n => u64::from(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(code: u8, len: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![0x80 | code];
        let mask = if masked { 0x80 } else { 0 };
        match len {
            0..=125 => bytes.push(mask | u8::try_from(len).unwrap()),
            126..=65_535 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0; if masked { 4 } else { 0 }]);
        bytes.extend(vec![0xff; len]);
        bytes
    }

    #[test]
    fn ends_of_frames_are_found_however_the_bytes_are_cut() {
        let frames = [frame(1, 5, false), frame(2, 0, false), frame(2, 300, true), frame(0, 70_000, false)];
        let all = frames.concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |at, f| {
                Some({
                    *at += f.len();
                    *at
                })
            })
            .collect();
        for size in [1, 2, 3, 7, 64, 1_000, all.len()] {
            let (mut follower, mut at) = (Frames::default(), 0);
            for chunk in all.chunks(size) {
                let last = ends.iter().filter(|e| **e > at && **e <= at + chunk.len()).max().map(|e| e - at);
                assert_eq!(follower.follow(chunk), last, "chunks of {size} at {at}");
                at += chunk.len();
                assert_eq!(follower.between(), ends.contains(&at));
            }
            assert!(!follower.closed());
        }
        let mut follower = Frames::default();
        assert_eq!(follower.follow(&CLOSE_1012), Some(4));
        assert!(follower.closed());
    }
}
