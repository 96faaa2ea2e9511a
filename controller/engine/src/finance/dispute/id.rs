//! What names a dispute: the receipt that it is about.

use chandler_protocol::PartyId;
use serde::{Deserialize, Serialize};

/// The receipt that a dispute is about: one receipt has at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DisputeId {
    /// With whom.
    pub partner: PartyId,
    /// Whether it is a receipt of ours, or of the partner.
    pub ours: bool,
    /// Its number.
    pub receipt: u64,
}

impl DisputeId {
    /// As stores name it.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.partner, if self.ours { "ours" } else { "theirs" }, self.receipt)
    }
}

impl std::fmt::Display for DisputeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.partner, if self.ours { "sold" } else { "bought" }, self.receipt)
    }
}

impl std::str::FromStr for DisputeId {
    type Err = NotADispute;
    fn from_str(text: &str) -> Result<Self, NotADispute> {
        let mut parts = text.split('.');
        let (partner, side, receipt) = (parts.next(), parts.next(), parts.next());
        let ours = match side {
            Some("sold") => true,
            Some("bought") => false,
            _ => return Err(NotADispute),
        };
        let partner = partner.and_then(|p| p.parse().ok()).ok_or(NotADispute)?;
        let number = receipt.filter(|r| r.bytes().all(|b| b.is_ascii_digit()) && parts.next().is_none());
        let receipt = number.and_then(|r| r.parse().ok()).ok_or(NotADispute)?;
        Ok(Self { partner, ours, receipt })
    }
}

/// A text that names no dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write PARTY.sold.NUMBER or PARTY.bought.NUMBER: the party's id, and the number of the receipt")]
pub struct NotADispute;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for ours in [true, false] {
            let id = DisputeId { partner: PartyId::from_random([8; 10]), ours, receipt: 17 };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let partner = PartyId::from_random([8; 10]);
        for bad in [
            "",
            "x",
            "x.sold.1",
            &format!("{partner}.sold.+1"),
            &format!("{partner}.kept.1"),
            &format!("{partner}.sold.1.2"),
        ] {
            assert_eq!(bad.parse::<DisputeId>(), Err(NotADispute), "{bad}");
        }
    }
}
