//! Partners: other controllers that capacity is sold to or bought from, and how each comes to trust the other.

use chandler_protocol::PartyId;
use chandler_protocol::unit::Micros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Span, Time};

/// What a partner may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Read what is on offer and lease it.
    Buy,
    /// Be bought from.
    Sell,
}

/// How it stands with a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartnerState {
    /// It was given an invitation and has not accepted yet.
    Invited,
    /// Each trusts the other within its scopes.
    Active,
    /// Cut off for now.
    Suspended,
    /// It is over.
    Ended,
}

/// Invites a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartnerInvite {
    /// What it shall be called here: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// What it may do here; at least one.
    pub may: Vec<Scope>,
    /// How long the invitation is good for (default 1 h, at most 30 d).
    #[serde(default = "an_hour")]
    #[schema(value_type = String, example = "1 h")]
    pub expires: Span,
}

const fn an_hour() -> Span {
    Span(Micros::from_secs(3_600))
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartnerInvited {
    /// What the partner's operator gives to `chandler partner accept`. Shown only here.
    pub invitation: String,
    /// What the partner is called here.
    pub name: String,
    /// What it may do here.
    pub may: Vec<Scope>,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Time,
}

impl std::fmt::Debug for PartnerInvited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartnerInvited").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Accepts an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartnerAccept {
    /// The text that the partner's operator was shown.
    pub invitation: String,
    /// What the partner shall be called here: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// What it may do here; at least one.
    pub may: Vec<Scope>,
}

impl std::fmt::Debug for PartnerAccept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartnerAccept").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Suspends or ends a partnership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartnerTurn {
    /// Why, for whoever reads the history.
    #[serde(default)]
    pub reason: String,
}

/// Pins another bundle of a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartnerTrust {
    /// Its CA certificates (PEM): what `chandler partner bundle` prints there.
    pub bundle: String,
    /// Beside what is trusted already: the CA that it will rotate to (default: in its place).
    #[serde(default)]
    pub add: bool,
}

/// A partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partner {
    /// Its party's id.
    #[schema(value_type = String)]
    pub id: PartyId,
    /// What it is called here.
    pub name: String,
    /// How it stands with it.
    pub state: PartnerState,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Time,
    /// Why.
    pub reason: String,
    /// What it may do here.
    pub may: Vec<Scope>,
    /// `HOST:PORT` of its federation listener; absent when it does not listen, so that nothing can be bought from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The trust domain in its certificates; empty until it has accepted.
    pub trust_domain: String,
    /// SHA-256 of each CA certificate that is trusted for it, in hexadecimal.
    pub fingerprints: Vec<String>,
    /// The connection between both relays; absent when there was none since this controller was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<PartnerTrunk>,
}

/// The connection between two controllers' relays: packets between their agents, where these find no straight way.
/// Counted since the controller was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartnerTrunk {
    /// Whether it stands.
    pub up: bool,
    /// Whether packets of tunnels fit through it: the way there must take UDP packets of 1,280 bytes.
    pub fits: bool,
    /// Packets given to it.
    pub sent: u64,
    /// Packets that came from it and were handed on.
    pub received: u64,
    /// Packets that came from it between hosts that may not talk to each other.
    pub refused: u64,
    /// Packets of both ways for which there was no trunk, no host or no room, or that did not fit.
    pub lost: u64,
}

/// What this controller shows to its partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FederationIdentity {
    /// The trust domain in its certificates. Stays when the CA is rotated.
    pub trust_domain: String,
    /// `HOST:PORT` where partners call; absent when it does not listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// SHA-256 of its CA certificate, in hexadecimal: read it out to a partner who wants to be sure.
    pub fingerprint: String,
    /// Its CA certificate (PEM): what partners pin.
    pub bundle: String,
}
