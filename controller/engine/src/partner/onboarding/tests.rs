//! Stories of partners from both sides, as changes to one model.

use super::*;
use crate::model::Model;

const BUYER: Scopes = Scopes { may_buy: true, may_sell: false };
const BOTH: Scopes = Scopes { may_buy: true, may_sell: true };
const HOUR: Micros = Micros::from_secs(3_600);

fn said(n: u8) -> Introduction {
    Introduction { address: Some(format!("host-{n}:1")), trust: vec![vec![n]], trust_domain: format!("d{n}") }
}

/// A controller's books, and a clock that stands.
struct Books {
    model: Model,
    now: i64,
    ids: u8,
}

impl Books {
    fn new() -> Self {
        Self { model: Model::default(), now: 0, ids: 0 }
    }

    fn act<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> Result<T, Refused>) -> Result<T, Refused> {
        let (before, mut next) = (self.model.clone(), self.ids);
        let mut ids = || {
            next += 1;
            [next; 10]
        };
        let mut draft = Draft::new(&before, Timestamp(self.now), "test", &mut ids);
        let done = work(&mut draft);
        if done.is_ok() {
            self.model = draft.model;
        }
        self.ids = next;
        done
    }

    fn invite(&mut self, name: &str, secret: u8) -> Result<Invitation, Refused> {
        self.act(|draft| invite(draft, name, BUYER, [secret; 32], HOUR))
    }

    fn admit(&mut self, secret: u8, who: u8) -> Result<Partner, Refused> {
        self.act(|draft| admit(draft, &said(0), [secret; 32], &said(who)))
    }

    fn welcome(&mut self, name: &str, scopes: Scopes, who: u8) -> Result<Partner, Refused> {
        self.act(|draft| welcome(draft, &said(0), name, scopes, &said(who)))
    }

    fn turn(&mut self, name: &str, state: PartnerState) -> Result<Partner, Refused> {
        let party = self.model.party_named(name).unwrap().id;
        self.act(|draft| turn(draft, party, state, "because"))
    }
}

#[test]
fn an_invitation_lets_in_one_controller_once_and_gives_a_lost_answer_again() {
    let mut books = Books::new();
    let invitation = books.invite("nova", 1).unwrap();
    assert_eq!(books.model.partners[&invitation.party].state, PartnerState::Invited);
    assert_eq!(books.admit(2, 5), Err(InvitationRefused::Unknown.into()));
    let partner = books.admit(1, 5).unwrap();
    assert_eq!((partner.state, partner.may_buy, partner.may_sell), (PartnerState::Active, true, false));
    assert_eq!((partner.address.as_deref(), partner.trust_domain.as_str()), (Some("host-5:1"), "d5"));
    assert_eq!(books.admit(1, 5), Ok(partner), "the same controller again");
    assert_eq!(books.admit(1, 6), Err(InvitationRefused::Used.into()));
    assert!(matches!(books.invite("nova", 3), Err(Refused::State { .. })), "who is in needs no invitation");
}

#[test]
fn an_invitation_ends_with_its_time_with_a_newer_one_and_with_the_partnership() {
    let mut books = Books::new();
    books.invite("nova", 1).unwrap();
    books.invite("nova", 2).unwrap();
    assert_eq!(books.admit(1, 5), Err(InvitationRefused::Withdrawn.into()));
    books.now = HOUR.0;
    assert_eq!(books.admit(2, 5), Err(InvitationRefused::Expired.into()));
    books.invite("nova", 3).unwrap();
    books.admit(3, 5).unwrap();
    books.turn("nova", PartnerState::Suspended).unwrap();
    assert_eq!(books.admit(3, 5), Err(InvitationRefused::Withdrawn.into()), "no way around a suspension");
    books.turn("nova", PartnerState::Ended).unwrap();
    assert_eq!(books.admit(3, 5), Err(InvitationRefused::Withdrawn.into()));
    // A new invitation begins anew, with whatever certificate; the old one is remembered for what it has signed.
    books.invite("nova", 4).unwrap();
    let again = books.admit(4, 7).unwrap();
    assert_eq!((again.trust, again.retired, again.state), (vec![vec![7]], vec![vec![5]], PartnerState::Active));
}

#[test]
fn nobody_trades_with_themselves_or_under_two_names() {
    let mut books = Books::new();
    books.invite("mirror", 1).unwrap();
    assert_eq!(books.admit(1, 0), Err(Unfit::Oneself.into()));
    assert_eq!(books.welcome("mirror", BOTH, 0), Err(Unfit::Oneself.into()));
    books.welcome("nova", BOTH, 5).unwrap();
    assert_eq!(books.admit(1, 5), Err(Unfit::Taken("nova".to_owned()).into()));
    assert_eq!(books.welcome("twin", BOTH, 5), Err(Unfit::Taken("nova".to_owned()).into()));
    assert_eq!(books.welcome("nova", BOTH, 6), Err(Refused::Another("nova".to_owned())));
    for bad in ["", "Nova", "accept", "invitations", "a/b"] {
        assert_eq!(books.invite(bad, 9), Err(Refused::BadName(bad.to_owned())));
    }
    let provider =
        Party { id: PartyId::from_random([99; 10]), name: "own".into(), roles: vec![PartyRole::ServiceProvider] };
    books.model.apply(&provider.into());
    assert_eq!(books.invite("own", 9), Err(Unfit::Oneself.into()));
}

#[test]
fn a_customer_may_become_a_partner_and_stays_a_customer() {
    let mut books = Books::new();
    let id = PartyId::from_random([98; 10]);
    books.model.apply(&Party { id, name: "acme".into(), roles: vec![PartyRole::Customer] }.into());
    let partner = books.welcome("acme", BUYER, 5).unwrap();
    assert_eq!(partner.party, id);
    assert_eq!(books.model.parties[&id].roles, [PartyRole::Customer, PartyRole::Partner]);
}

#[test]
fn what_it_may_do_can_be_said_anew_and_saying_it_again_changes_nothing() {
    let mut books = Books::new();
    let first = books.welcome("nova", BUYER, 5).unwrap();
    assert_eq!(books.welcome("nova", BUYER, 5), Ok(first.clone()));
    let more = books.welcome("nova", BOTH, 5).unwrap();
    assert_eq!((more.may_sell, more.version), (true, first.version + 1));
}

#[test]
fn only_what_is_there_is_suspended_resumed_or_given_another_bundle() {
    let mut books = Books::new();
    let party = books.invite("nova", 1).unwrap().party;
    assert!(books.turn("nova", PartnerState::Active).is_err(), "an invited partner is not resumed into trust");
    assert!(books.act(|draft| trust(draft, &said(0), party, &said(5))).is_err());
    books.admit(1, 5).unwrap();
    let foreign = books.act(|draft| trust(draft, &said(0), party, &said(6)));
    assert!(matches!(foreign, Err(Refused::Foreign { .. })), "{foreign:?}");
    let rotated = Introduction { trust: vec![vec![55]], ..said(5) };
    let after = books.act(|draft| trust(draft, &said(0), party, &rotated)).unwrap();
    assert_eq!((after.trust, after.retired), (vec![vec![55]], vec![vec![5]]));
    for (state, allowed) in [
        (PartnerState::Suspended, true),
        (PartnerState::Suspended, true),
        (PartnerState::Active, true),
        (PartnerState::Ended, true),
        (PartnerState::Active, false),
    ] {
        assert_eq!(books.turn("nova", state).is_ok(), allowed, "{state:?}");
    }
}
