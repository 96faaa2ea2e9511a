//! Partners: other controllers that capacity is sold to or bought from, how one becomes a partner, and whose
//! certificates are good for which of them.

pub mod onboarding;

use chandler_protocol::{PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::Model;

/// Most certificates of a partner's bundle.
pub const TRUST_MAX: usize = 4;
/// Longest certificate of a bundle, in bytes.
pub const CERTIFICATE_MAX: usize = 4_096;
/// Former certificates of a partner that are kept, to check what was signed with them.
pub const RETIRED_MAX: usize = 8;

/// How it stands with a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PartnerState {
    /// It was given an invitation and has not accepted yet.
    Invited,
    /// Each trusts the other's bundle, within its scopes.
    Active,
    /// Cut off for now: what it says is not heard, and nothing is said to it.
    Suspended,
    /// It is over. What is still owed is settled by other means; a new invitation begins anew.
    Ended,
}

impl PartnerState {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
        }
    }

    /// Whether this may come next.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Invited, Self::Active | Self::Ended)
                | (Self::Active, Self::Suspended | Self::Ended)
                | (Self::Suspended, Self::Active | Self::Ended)
                | (Self::Ended, Self::Invited)
        )
    }
}

/// Another controller, as a partner of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partner {
    /// Its party.
    pub party: PartyId,
    /// What it is called here: its party's name.
    pub name: String,
    /// `HOST:PORT` of its federation listener. None: it does not listen, so nothing can be bought from it.
    pub address: Option<String>,
    /// The CA certificates (DER) that its own certificates must lead to; good for this partner alone. Empty until it has
    /// accepted.
    pub trust: Vec<Vec<u8>>,
    /// CA certificates that it used before: no connection is let in by them, but what was signed with them is still
    /// checked by them.
    #[serde(default)]
    pub retired: Vec<Vec<u8>>,
    /// The trust domain in its certificates: `spiffe://DOMAIN/controller`. Empty until it has accepted.
    pub trust_domain: String,
    /// Whether it may buy here.
    pub may_buy: bool,
    /// Whether it may sell here.
    pub may_sell: bool,
    /// How it stands with it.
    pub state: PartnerState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of who decided it.
    pub reason: String,
    /// Counts changes: the ETag.
    pub version: u64,
}

impl Partner {
    /// The same partner in another state, if that may follow.
    pub fn becoming(&self, state: PartnerState, reason: &str, now: Timestamp) -> Option<Self> {
        self.state.may_become(state).then(|| Self {
            state,
            since: now,
            reason: reason.to_owned(),
            version: self.version + 1,
            ..self.clone()
        })
    }

    /// The same partner with another bundle; what it had before is kept to check what was signed with it.
    #[must_use]
    pub fn trusting(&self, trust: Vec<Vec<u8>>) -> Self {
        let mut retired: Vec<_> = self.trust.iter().chain(&self.retired).cloned().collect();
        retired.retain(|old| !trust.contains(old));
        retired.truncate(RETIRED_MAX);
        Self { trust, retired, version: self.version + 1, ..self.clone() }
    }
}

/// What a controller says of itself when it becomes a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// `HOST:PORT` of its federation listener, if it listens.
    pub address: Option<String>,
    /// Its CA certificates, DER.
    pub trust: Vec<Vec<u8>>,
    /// The trust domain of them all.
    pub trust_domain: String,
}

/// Why a controller cannot become a partner, or not with this bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is this controller.
    #[error("that is this controller itself: nobody trades with themselves")]
    Oneself,
    /// Another partner has this bundle or trust domain: it could not be told who calls.
    #[error("partner {0} has this certificate or trust domain already: each partner needs its own")]
    Taken(String),
}

/// Checks that a bundle tells a partner from this controller and from every other partner.
///
/// # Errors
/// See [`Unfit`].
pub fn check(model: &Model, own: &Introduction, party: PartyId, wanted: &Introduction) -> Result<(), Unfit> {
    let same = |a: &[Vec<u8>], domain: &str| {
        domain == wanted.trust_domain || a.iter().any(|certificate| wanted.trust.contains(certificate))
    };
    if same(&own.trust, &own.trust_domain) {
        return Err(Unfit::Oneself);
    }
    let others = model.partners.values().filter(|p| p.party != party && p.state != PartnerState::Ended);
    match others.into_iter().find(|p| same(&p.trust, &p.trust_domain)) {
        Some(other) => Err(Unfit::Taken(other.name.clone())),
        None => Ok(()),
    }
}

/// A right to become a partner. The secret itself is known to who was invited alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    /// The partner who accepts it.
    pub party: PartyId,
    /// Whether it may buy here.
    pub may_buy: bool,
    /// Whether it may sell here.
    pub may_sell: bool,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The first certificate of the bundle with which it was accepted.
    pub used: Option<Vec<u8>>,
    /// A later invitation of the same partner took its place.
    pub withdrawn: bool,
}

/// Why an invitation is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvitationRefused {
    /// Nobody was given this secret.
    #[error("the invitation is not one of this controller: ask the partner for a new one")]
    Unknown,
    /// Its time is over.
    #[error("the invitation has expired: ask the partner for a new one")]
    Expired,
    /// Somebody else has accepted it.
    #[error("the invitation was used already, by another controller: ask the partner for a new one")]
    Used,
    /// There is a newer one, or the partner was suspended or ended meanwhile.
    #[error("the invitation was withdrawn: ask the partner for a new one")]
    Withdrawn,
}

impl Invitation {
    /// The invitation once it is accepted with this certificate. Accepting it again with the same one changes nothing, so
    /// that an answer that was lost on the way can be asked for again, also later.
    ///
    /// # Errors
    /// See [`InvitationRefused`].
    pub fn accepted(&self, by: &[u8], now: Timestamp) -> Result<Self, InvitationRefused> {
        if self.withdrawn {
            return Err(InvitationRefused::Withdrawn);
        }
        match self.used.as_deref() {
            Some(before) if before == by => Ok(self.clone()),
            Some(_) => Err(InvitationRefused::Used),
            None if self.expires_at <= now => Err(InvitationRefused::Expired),
            None => Ok(Self { used: Some(by.to_owned()), ..self.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [PartnerState; 4] =
        [PartnerState::Invited, PartnerState::Active, PartnerState::Suspended, PartnerState::Ended];

    fn partner(n: u8, state: PartnerState) -> Partner {
        Partner {
            party: PartyId::from_random([n; 10]),
            name: format!("p{n}"),
            address: None,
            trust: vec![vec![n]],
            retired: Vec::new(),
            trust_domain: format!("d{n}"),
            may_buy: true,
            may_sell: false,
            state,
            since: Timestamp(0),
            reason: String::new(),
            version: 1,
        }
    }

    fn said(domain: &str, certificates: &[u8]) -> Introduction {
        let trust = certificates.iter().map(|n| vec![*n]).collect();
        Introduction { address: None, trust, trust_domain: domain.to_owned() }
    }

    #[test]
    fn states_follow_each_other_as_they_may() {
        let rows = ["-A-E", "--SE", "-A-E", "I---"];
        for (from, row) in STATES.into_iter().zip(rows) {
            let shown: String = STATES
                .into_iter()
                .zip("IASE".chars())
                .map(|(to, letter)| if from.may_become(to) { letter } else { '-' })
                .collect();
            assert_eq!(shown, row, "from {from:?}");
        }
        let active = partner(1, PartnerState::Active);
        let cut = active.becoming(PartnerState::Suspended, "a dispute", Timestamp(7)).unwrap();
        assert_eq!((cut.version, cut.since, cut.reason.as_str()), (2, Timestamp(7), "a dispute"));
        assert_eq!(cut.becoming(PartnerState::Invited, "", Timestamp(8)), None);
    }

    #[test]
    fn a_bundle_is_good_for_one_partner_and_never_for_oneself() {
        let mut model = Model::default();
        for p in [partner(1, PartnerState::Active), partner(2, PartnerState::Ended)] {
            model.apply(&p.into());
        }
        let own = said("me", &[9]);
        let check = |party: u8, wanted: &Introduction| check(&model, &own, PartyId::from_random([party; 10]), wanted);
        assert_eq!(check(3, &said("d3", &[3])), Ok(()));
        assert_eq!(check(3, &said("d3", &[3, 9])), Err(Unfit::Oneself));
        assert_eq!(check(3, &said("me", &[3])), Err(Unfit::Oneself));
        assert_eq!(check(3, &said("d3", &[3, 1])), Err(Unfit::Taken("p1".to_owned())));
        assert_eq!(check(3, &said("d1", &[3])), Err(Unfit::Taken("p1".to_owned())));
        assert_eq!(check(1, &said("d1", &[1, 4])), Ok(()), "its own bundle is its own");
        assert_eq!(check(3, &said("d2", &[2])), Ok(()), "what has ended is free again");
    }

    #[test]
    fn a_new_bundle_cuts_off_the_old_one_and_remembers_it() {
        let once = partner(1, PartnerState::Active).trusting(vec![vec![5]]);
        assert_eq!((once.trust.clone(), once.retired.clone(), once.version), (vec![vec![5]], vec![vec![1]], 2));
        let back = once.trusting(vec![vec![1], vec![5]]);
        assert_eq!(back.retired, Vec::<Vec<u8>>::new(), "what is trusted is not retired");
        let many = (10..40).fold(back, |p, n| p.trusting(vec![vec![n]]));
        assert_eq!((many.retired.len(), &many.retired[0]), (RETIRED_MAX, &vec![38]));
    }

    #[test]
    fn an_invitation_is_for_one_controller_and_a_time() {
        let fresh = Invitation {
            secret_hash: [0; 32],
            party: PartyId::from_random([1; 10]),
            may_buy: true,
            may_sell: true,
            expires_at: Timestamp(10),
            used: None,
            withdrawn: false,
        };
        let used = fresh.accepted(b"a", Timestamp(9)).unwrap();
        assert_eq!(used.accepted(b"a", Timestamp(99)), Ok(used.clone()), "an answer that was lost is given again");
        assert_eq!(used.accepted(b"b", Timestamp(9)), Err(InvitationRefused::Used));
        assert_eq!(fresh.accepted(b"a", Timestamp(10)), Err(InvitationRefused::Expired));
        let withdrawn = Invitation { withdrawn: true, ..used };
        assert_eq!(withdrawn.accepted(b"a", Timestamp(9)), Err(InvitationRefused::Withdrawn));
    }
}
