//! How another controller becomes a partner, and how it stops being one: each step as changes to the model.

use chandler_protocol::text::is_name;
use chandler_protocol::{Micros, PartyId, Timestamp};

use super::{Introduction, Invitation, InvitationRefused, Partner, PartnerState, TRUST_MAX, Unfit, check};
use crate::draft::Draft;
use crate::event::Noun;
use crate::party::{Party, PartyRole};

/// What a partner may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes {
    /// Whether it may buy.
    pub may_buy: bool,
    /// Whether it may sell.
    pub may_sell: bool,
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.may_buy, self.may_sell) {
            (true, true) => "may buy and sell",
            (true, false) => "may buy",
            (false, true) => "may sell",
            (false, false) => "may do nothing",
        })
    }
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name cannot be a partner's.
    #[error("{0:?} cannot name a partner: write 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit")]
    BadName(String),
    /// The invitation is of no use.
    #[error(transparent)]
    Invitation(#[from] InvitationRefused),
    /// The controller cannot be told from another.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The name is of another partner.
    #[error("there is a partner {0} already, and it is another controller: choose another name, or end that one first")]
    Another(String),
    /// The state does not allow it.
    #[error("partner {name} is {state}: {todo}", state = state.as_str())]
    State {
        /// Which partner.
        name: String,
        /// How it stands with it.
        state: PartnerState,
        /// What to do.
        todo: &'static str,
    },
    /// Nobody is called so.
    #[error("there is no partner {0}: chandler partner list")]
    Unknown(String),
    /// The bundle is of another trust domain.
    #[error("the bundle is of trust domain {given}, and partner {name} is {there}: ask it for its own bundle")]
    Foreign {
        /// Which partner.
        name: String,
        /// Its trust domain.
        there: String,
        /// That of the bundle.
        given: String,
    },
    /// It would have too many certificates.
    #[error(
        "partner {0} would be trusted by more than {TRUST_MAX} certificates: pin the bundle that it uses now, alone"
    )]
    Full(String),
}

/// Names that stand for something else in the API's paths.
const RESERVED: &[&str] = &["accept", "invitations"];

/// The party of a partner of this name: the one that is there, or a new one.
fn party_of(draft: &mut Draft<'_>, name: &str) -> Result<PartyId, Refused> {
    if !is_name(name) || RESERVED.contains(&name) {
        return Err(Refused::BadName(name.to_owned()));
    }
    let Some(party) = draft.model.party_named(name).cloned() else {
        let id = PartyId::from_random(draft.id());
        draft.event((Noun::Party, id.to_string(), name), "", "created", "a partner");
        draft.put(Party { id, name: name.to_owned(), roles: vec![PartyRole::Partner] });
        return Ok(id);
    };
    if party.is_provider() {
        return Err(Unfit::Oneself.into());
    }
    if !party.roles.contains(&PartyRole::Partner) {
        let mut roles = party.roles.clone();
        roles.push(PartyRole::Partner);
        roles.sort_unstable();
        draft.event((Noun::Party, party.id.to_string(), name), "", "partner", "may trade with this controller");
        draft.put(Party { roles, ..party.as_ref().clone() });
    }
    Ok(party.id)
}

/// Invites a partner; an invitation that it was given before and has not used is good for nothing any more.
///
/// # Errors
/// See [`Refused`].
pub fn invite(
    draft: &mut Draft<'_>,
    name: &str,
    scopes: Scopes,
    secret_hash: [u8; 32],
    life: Micros,
) -> Result<Invitation, Refused> {
    let party = party_of(draft, name)?;
    let before = draft.model.partners.get(&party).cloned();
    if let Some(known) = &before
        && !matches!(known.state, PartnerState::Invited | PartnerState::Ended)
    {
        return Err(Refused::State { name: name.to_owned(), state: known.state, todo: "it needs no invitation" });
    }
    withdraw(draft, party);
    let version = before.as_ref().map_or(1, |p| p.version + 1);
    let retired = before.as_ref().map_or_else(Vec::new, |p| p.trusting(Vec::new()).retired);
    let expires_at = draft.now.after(life);
    let partner = Partner { retired, version, ..invited(party, name, scopes, draft.now) };
    note(draft, before.as_deref(), &partner);
    draft.put(partner);
    let (may_buy, may_sell) = (scopes.may_buy, scopes.may_sell);
    let invitation = Invitation { secret_hash, party, may_buy, may_sell, expires_at, used: None, withdrawn: false };
    draft.put(invitation.clone());
    Ok(invitation)
}

fn invited(party: PartyId, name: &str, scopes: Scopes, now: Timestamp) -> Partner {
    Partner {
        party,
        name: name.to_owned(),
        address: None,
        trust: Vec::new(),
        retired: Vec::new(),
        trust_domain: String::new(),
        may_buy: scopes.may_buy,
        may_sell: scopes.may_sell,
        state: PartnerState::Invited,
        since: now,
        reason: scopes.to_string(),
        version: 1,
    }
}

/// Invitations that a partner has not used are good for nothing any more.
fn withdraw(draft: &mut Draft<'_>, party: PartyId) {
    let open = draft.model.invitations.values().filter(|i| i.party == party && !i.withdrawn);
    let open: Vec<_> = open.map(|i| Invitation { withdrawn: true, ..i.as_ref().clone() }).collect();
    open.into_iter().for_each(|i| draft.put(i));
}

/// Lets in who shows the secret of an invitation. Shown again by the same controller, it changes nothing.
///
/// # Errors
/// See [`Refused`].
pub fn admit(
    draft: &mut Draft<'_>,
    own: &Introduction,
    secret_hash: [u8; 32],
    who: &Introduction,
) -> Result<Partner, Refused> {
    let invitation = draft.model.invitations.get(&secret_hash).cloned().ok_or(InvitationRefused::Unknown)?;
    let first = who.trust.first().map(Vec::as_slice).unwrap_or_default();
    let accepted = invitation.accepted(first, draft.now)?;
    check(&draft.model, own, invitation.party, who)?;
    let partner = draft.model.partners.get(&invitation.party).cloned().ok_or(InvitationRefused::Unknown)?;
    match partner.state {
        PartnerState::Invited => {}
        PartnerState::Active if partner.trust_domain == who.trust_domain => return Ok(partner.as_ref().clone()),
        _ => return Err(InvitationRefused::Withdrawn.into()),
    }
    draft.put(accepted);
    Ok(activate(draft, &partner, who, "accepted the invitation"))
}

/// Takes in whose invitation was accepted. Taken in again, only what it may do can change.
///
/// # Errors
/// See [`Refused`].
pub fn welcome(
    draft: &mut Draft<'_>,
    own: &Introduction,
    name: &str,
    scopes: Scopes,
    who: &Introduction,
) -> Result<Partner, Refused> {
    let party = party_of(draft, name)?;
    check(&draft.model, own, party, who)?;
    let before = draft.model.partners.get(&party).cloned();
    let begun = invited(party, name, scopes, draft.now);
    match before.as_deref() {
        None => Ok(activate(draft, &begun, who, "its invitation was accepted")),
        Some(known) => match known.state {
            PartnerState::Active if known.trust_domain == who.trust_domain => {
                let (may_buy, may_sell) = (scopes.may_buy, scopes.may_sell);
                let after = Partner { may_buy, may_sell, address: who.address.clone(), ..known.clone() };
                if after == *known {
                    return Ok(after);
                }
                let after = Partner { version: known.version + 1, ..after };
                draft.event((Noun::Partner, party.to_string(), name), "active", "active", scopes.to_string());
                draft.put(after.clone());
                Ok(after)
            }
            PartnerState::Active => Err(Refused::Another(name.to_owned())),
            PartnerState::Suspended => {
                let todo = "chandler partner resume, or end it first";
                Err(Refused::State { name: name.to_owned(), state: known.state, todo })
            }
            PartnerState::Invited | PartnerState::Ended => {
                withdraw(draft, party);
                let retired = known.trusting(Vec::new()).retired;
                let begun = Partner { retired, version: known.version, ..begun };
                Ok(activate(draft, &begun, who, "its invitation was accepted"))
            }
        },
    }
}

/// The partner trusts and is trusted from now on.
fn activate(draft: &mut Draft<'_>, before: &Partner, who: &Introduction, reason: &str) -> Partner {
    let partner = Partner {
        address: who.address.clone(),
        trust_domain: who.trust_domain.clone(),
        state: PartnerState::Active,
        since: draft.now,
        reason: reason.to_owned(),
        ..before.trusting(who.trust.clone())
    };
    note(draft, Some(before), &partner);
    draft.put(partner.clone());
    partner
}

/// Suspends, resumes or ends.
///
/// # Errors
/// There is no such partner, or its state does not allow it.
pub fn turn(draft: &mut Draft<'_>, party: PartyId, state: PartnerState, reason: &str) -> Result<Partner, Refused> {
    let unknown = || Refused::Unknown(party.to_string());
    let before = draft.model.partners.get(&party).cloned().ok_or_else(unknown)?;
    if before.state == state {
        return Ok(before.as_ref().clone());
    }
    // An invited partner is not resumed into trust: it has not said who it is.
    let todo = "only what is active can be suspended, only what is suspended resumed";
    let refused = || Refused::State { name: before.name.clone(), state: before.state, todo };
    if before.trust.is_empty() && state != PartnerState::Ended {
        return Err(refused());
    }
    let after = before.becoming(state, reason, draft.now).ok_or_else(refused)?;
    if state == PartnerState::Ended {
        withdraw(draft, party);
    }
    note(draft, Some(&before), &after);
    draft.put(after.clone());
    Ok(after)
}

/// Pins another bundle: from now on, only certificates that lead to it are this partner's.
///
/// # Errors
/// See [`Refused`].
pub fn trust(
    draft: &mut Draft<'_>,
    own: &Introduction,
    party: PartyId,
    bundle: &Introduction,
) -> Result<Partner, Refused> {
    let unknown = || Refused::Unknown(party.to_string());
    let before = draft.model.partners.get(&party).cloned().ok_or_else(unknown)?;
    if before.trust.is_empty() || before.state == PartnerState::Ended {
        let todo = "it has shown no bundle that another could take the place of";
        return Err(Refused::State { name: before.name.clone(), state: before.state, todo });
    }
    if before.trust_domain != bundle.trust_domain {
        let (there, given) = (before.trust_domain.clone(), bundle.trust_domain.clone());
        return Err(Refused::Foreign { name: before.name.clone(), there, given });
    }
    check(&draft.model, own, party, bundle)?;
    if before.trust == bundle.trust {
        return Ok(before.as_ref().clone());
    }
    let after = before.trusting(bundle.trust.clone());
    let state = after.state.as_str();
    draft.event((Noun::Partner, party.to_string(), &after.name), state, state, "another bundle is trusted");
    draft.put(after.clone());
    Ok(after)
}

/// Another bundle is trusted beside the one before, so that a partner can change its CA without being cut off.
///
/// # Errors
/// See [`Refused`].
pub fn trust_also(
    draft: &mut Draft<'_>,
    own: &Introduction,
    party: PartyId,
    bundle: &Introduction,
) -> Result<Partner, Refused> {
    let Some(before) = draft.model.partners.get(&party).cloned() else {
        return Err(Refused::Unknown(party.to_string()));
    };
    let mut all = before.trust.clone();
    all.extend(bundle.trust.iter().filter(|new| !before.trust.contains(new)).cloned());
    if all.len() > TRUST_MAX {
        return Err(Refused::Full(before.name.clone()));
    }
    trust(draft, own, party, &Introduction { trust: all, ..bundle.clone() })
}

fn note(draft: &mut Draft<'_>, before: Option<&Partner>, after: &Partner) {
    let from = before.filter(|p| draft.model.partners.contains_key(&p.party)).map_or("", |p| p.state.as_str());
    let what = (Noun::Partner, after.party.to_string(), after.name.as_str());
    draft.event(what, from, after.state.as_str(), after.reason.clone());
}

#[cfg(test)]
mod tests;
