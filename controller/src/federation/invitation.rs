//! The text that one operator hands to another: where the controller is, how to know it, and the right to become its
//! partner once.

use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use super::trust::is_address;

/// What every invitation starts with: format 1.
const PREFIX: &str = "chp1_";
/// Longest text that is looked at.
const TEXT_MAX: usize = 2_048;

/// What an invitation says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvitationText {
    /// `HOST:PORT` of the federation listener.
    pub(crate) address: String,
    /// SHA-256 of the federation CA's certificate (DER).
    pub(crate) ca_fingerprint: [u8; 32],
    /// The trust domain.
    pub(crate) trust_domain: String,
    /// The secret. 128 random bits.
    pub(crate) secret: [u8; 16],
}

impl std::fmt::Debug for InvitationText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationText").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why a text is not an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an invitation: expected {PREFIX} and the letters that `chandler partner invite` printed, whole")]
pub(crate) struct NotAnInvitation;

impl InvitationText {
    /// The text form. It holds a secret: do not log it.
    pub(crate) fn to_text(&self) -> String {
        // Encoding to memory cannot fail: every field has a fixed or allocated size.
        let mut bytes = postcard::to_allocvec(self).unwrap_or_default();
        bytes.extend(checksum(&bytes));
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for InvitationText {
    type Err = NotAnInvitation;
    fn from_str(text: &str) -> Result<Self, NotAnInvitation> {
        let body = text.trim().strip_prefix(PREFIX).filter(|b| b.len() <= TEXT_MAX).ok_or(NotAnInvitation)?;
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| NotAnInvitation)?;
        let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or(NotAnInvitation)?;
        if *sum != checksum(bytes) {
            return Err(NotAnInvitation);
        }
        let read: Self = postcard::from_bytes(bytes).map_err(|_| NotAnInvitation)?;
        if is_address(&read.address) { Ok(read) } else { Err(NotAnInvitation) }
    }
}

/// FNV-1a: finds a letter lost while copying; security comes from the secret.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    bytes.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back_whole_or_not_at_all() {
        let invitation = InvitationText {
            address: "127.0.0.1:7444".to_owned(),
            ca_fingerprint: [7; 32],
            trust_domain: "chandler-00".to_owned(),
            secret: [9; 16],
        };
        let text = invitation.to_text();
        assert_eq!(format!(" {text}\n").parse::<InvitationText>().unwrap(), invitation);
        assert!(!format!("{invitation:?}").contains('9'), "the secret shows in the debug form");
        let astray = InvitationText { address: "http://elsewhere".to_owned(), ..invitation };
        let bad = ["", PREFIX, &text[..text.len() - 1], &text.replace("chp1_", "chj1_"), &astray.to_text()];
        for bad in bad {
            assert_eq!(bad.parse::<InvitationText>(), Err(NotAnInvitation), "{bad}");
        }
    }
}
