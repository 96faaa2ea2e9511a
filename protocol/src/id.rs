//! Typed identifiers. An id is 80 random bits, never re-used, written as `h-7k3mq2x9vd4c8z1e`.
//!
//! The random bits are an argument: nothing here draws them.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The random bytes of one id. 80 bits: a collision among a billion ids has probability 4e-7.
pub const ID_BYTES: usize = 10;
/// Length of the text after the prefix and dash: 80 bits in base 32.
const ID_TEXT: usize = 16;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {article} id: expected {prefix}- followed by {ID_TEXT} characters of 0-9 a-v")]
pub struct ParseIdError {
    article: &'static str,
    prefix: &'static str,
}

fn encoding() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
    // The specification is a constant of 32 distinct ASCII symbols, which is always valid.
    spec.encoding().unwrap_or(data_encoding::BASE32HEX_NOPAD)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal $article:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// What the text form starts with, before the dash.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id of random bytes that the caller drew.
            pub const fn from_random(bytes: [u8; ID_BYTES]) -> Self { Self(bytes) }

            /// The random bytes.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] { &self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", $prefix, encoding().encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let err = ParseIdError { article: $article, prefix: $prefix };
                let body = text.strip_prefix(concat!($prefix, "-")).ok_or_else(|| err.clone())?;
                if body.len() != ID_TEXT { return Err(err); }
                let bytes = encoding().decode(body.as_bytes()).map_err(|_| err.clone())?;
                Ok(Self(bytes.try_into().map_err(|_| err)?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
                } else {
                    Ok(Self(<[u8; ID_BYTES]>::deserialize(d)?))
                }
            }
        }
    )*};
}

ids! {
    /// One computer with one agent.
    HostId "h" "a host";
    /// An organisation or person.
    PartyId "p" "a party";
    /// A place with computers of one owner.
    SiteId "s" "a site";
    /// A customer's request.
    OrderId "o" "an order";
    /// A customer's running service, or one item of a task.
    ServiceId "svc" "a service";
    /// One service on one host: what an agent is told to run.
    AssignmentId "a" "an assignment";
    /// A signed, versioned SLA.
    AgreementId "ag" "an agreement";
    /// One change of place of one copy of a service.
    MoveId "m" "a move";
    /// The immutable record of one placement.
    DecisionId "d" "a decision";
    /// A month's receivable of one customer.
    BillId "b" "a bill";
    /// A priced answer to a request.
    QuoteId "q" "a quote";
    /// An API token (its name, not its secret).
    TokenId "t" "a token";
    /// A site's standing offer of capacity on a market.
    OfferId "of" "an offer";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_others() {
        let id = HostId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
        let text = id.to_string();
        assert_eq!(text.len(), 2 + ID_TEXT);
        assert_eq!(text.parse::<HostId>().unwrap(), id);
        for bad in ["", "h-", "o-000g40o40k30e21v", "h-000g40o40k30e21V", "h-../../etc/passwd", &text[1..]] {
            assert!(bad.parse::<HostId>().is_err(), "{bad} was taken for a host id");
        }
        assert_eq!(
            "x".parse::<OrderId>().unwrap_err().to_string(),
            "not an order id: expected o- followed by 16 characters of 0-9 a-v"
        );
    }
}
