//! Secrets that were handed out, kept as hashes: API tokens and join tokens; and who may do what.

use chandler_protocol::{PartyId, SiteId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

/// What the holder of an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Everything.
    Operator,
    /// What belongs to one customer.
    Customer,
    /// What belongs to one owner of sites.
    SiteOwner,
}

/// An API token. The secret itself is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    /// What its holder may do.
    pub role: Role,
    /// The party it acts for; none for operators.
    pub party: Option<PartyId>,
}

/// A right to join a site. The secret itself is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    /// The site a computer joins with it.
    pub site: SiteId,
    /// How many more computers may join.
    pub uses_left: u32,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why a join secret is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// Nobody was given this secret (or it was deleted).
    #[error("the join string is not one of this controller: make one with `chandler join-token create --site SITE`")]
    Unknown,
    /// Its time is over.
    #[error("the join string has expired: make a new one with `chandler join-token create --site SITE`")]
    Expired,
    /// As many computers as it was made for have joined with it.
    #[error("the join string is used up: each computer needs its own, from `chandler join-token create --site SITE`")]
    UsedUp,
}

/// One use of a join token: the token as it is afterwards, or why it is of no use.
///
/// # Errors
/// See [`JoinRefused`].
pub fn burn(token: Option<&JoinToken>, now: Timestamp) -> Result<JoinToken, JoinRefused> {
    let token = token.ok_or(JoinRefused::Unknown)?;
    if token.expires_at <= now {
        return Err(JoinRefused::Expired);
    }
    let uses_left = token.uses_left.checked_sub(1).ok_or(JoinRefused::UsedUp)?;
    Ok(JoinToken { uses_left, ..token.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_burns_down_and_ends() {
        let token = JoinToken {
            secret_hash: [0; 32],
            site: SiteId::from_random([1; 10]),
            uses_left: 1,
            expires_at: Timestamp(10),
        };
        let burnt = burn(Some(&token), Timestamp(9)).unwrap();
        assert_eq!(burnt.uses_left, 0);
        assert_eq!(burn(Some(&burnt), Timestamp(9)), Err(JoinRefused::UsedUp));
        assert_eq!(burn(Some(&token), Timestamp(10)), Err(JoinRefused::Expired));
        assert_eq!(burn(None, Timestamp(0)), Err(JoinRefused::Unknown));
    }
}
