//! Joining: the string an operator hands over, and the one exchange an unknown computer may have.

use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::{HostId, Timestamp};

/// ALPN of the joining exchange: no client certificate, and nothing but [`JoinRequest`] is answered.
pub const ALPN: &[u8] = b"chandler-join/1";
/// What every join string starts with: format 1.
const PREFIX: &str = "chj1_";

/// What a join string says: where the controller is, how to know it, and the right to join once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinString {
    /// Where the controller listens for agents.
    pub addresses: Vec<SocketAddr>,
    /// SHA-256 of the controller's CA certificate (DER).
    pub ca_fingerprint: [u8; 32],
    /// The single-use secret. 128 random bits.
    pub secret: [u8; 16],
    /// When it was issued, by the controller's clock: an agent whose own clock is wrong takes this
    /// as the earliest moment it can be.
    pub issued_at: Timestamp,
}

impl std::fmt::Debug for JoinString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinString").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Why a text is not a join string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a join string: expected {PREFIX} and the letters that `chandler join-token create` printed, whole")]
pub struct ParseJoinError;

impl JoinString {
    /// The text form. It holds a secret: do not log it.
    pub fn to_text(&self) -> String {
        // Encoding to memory cannot fail: every field has a fixed or allocated size.
        let mut bytes = postcard::to_allocvec(self).unwrap_or_default();
        bytes.extend(checksum(&bytes));
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for JoinString {
    type Err = ParseJoinError;
    fn from_str(text: &str) -> Result<Self, ParseJoinError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(ParseJoinError)?;
        if body.len() > 1_024 {
            return Err(ParseJoinError);
        }
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| ParseJoinError)?;
        let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or(ParseJoinError)?;
        if *sum != checksum(bytes) {
            return Err(ParseJoinError);
        }
        postcard::from_bytes(bytes).map_err(|_| ParseJoinError)
    }
}

/// FNV-1a: finds a letter lost while copying; security comes from the secret.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    bytes.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)).to_be_bytes()
}

/// What a computer that wants to join says. The controller takes nothing from the CSR but the public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The secret of the join string.
    pub secret: [u8; 16],
    /// PKCS#10 request, DER, signed by the key that never leaves the computer.
    pub csr: Vec<u8>,
    /// What the computer calls itself: display only, never identity.
    pub host_name: String,
}

/// The answer to a [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinResponse {
    /// Admitted.
    Admitted {
        /// The id this computer has from now on.
        host: HostId,
        /// The name of the site it belongs to.
        site: String,
        /// Its certificate, DER.
        certificate: Vec<u8>,
        /// The CA's certificate, DER: what it trusts from now on.
        ca: Vec<u8>,
        /// The controller's clock.
        controller_time: Timestamp,
    },
    /// Not admitted.
    Refused {
        /// A stable code such as `E0203`.
        code: String,
        /// One sentence that says what to do.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_finds_lost_letters() {
        let join = JoinString {
            addresses: vec!["127.0.0.1:7443".parse().unwrap(), "[::1]:7443".parse().unwrap()],
            ca_fingerprint: [7; 32],
            secret: [9; 16],
            issued_at: Timestamp(1_800_000_000_000_000),
        };
        let text = join.to_text();
        assert_eq!(text.parse::<JoinString>().unwrap(), join);
        assert!(!format!("{join:?}").contains('9'), "the secret shows in the debug form");
        for bad in ["", "chj1_", &text[..text.len() - 1], &text.replace("chj1_", "chj2_")] {
            assert_eq!(bad.parse::<JoinString>(), Err(ParseJoinError));
        }
    }
}
