//! Becoming partners, with every invitation that is no good.

use chandler_api::partner::Scope;
use chandler_protocol::Micros;
use serde_json::json;

use super::house::House;
use crate::federation::invitation::InvitationText;

#[tokio::test]
async fn two_controllers_become_partners_and_each_says_what_the_other_may() {
    let (a, b) = (House::open().await, House::open().await);
    let invitation = a.invite("nova", &["buy"]).await;
    assert_eq!(a.get("partners/nova").await.unwrap()["state"], "invited");
    let accepted = b.accept(&invitation, "acme-cloud").await.unwrap();
    assert_eq!((accepted["state"].as_str(), accepted["address"].as_str()), (Some("active"), Some(&*a.address())));
    let seen = a.get("partners/nova").await.unwrap();
    assert_eq!((seen["state"].as_str(), seen["address"].as_str()), (Some("active"), Some(&*b.address())));
    assert_eq!(seen["fingerprints"][0], b.get("federation").await.unwrap()["fingerprint"]);

    let there = b.standing_at("acme-cloud").await.unwrap();
    assert_eq!((there.name.as_str(), there.may.as_slice()), ("nova", &[Scope::Buy][..]));
    let here = a.standing_at("nova").await.unwrap();
    assert_eq!((here.name.as_str(), here.may.as_slice()), ("acme-cloud", &[Scope::Buy, Scope::Sell][..]));

    let events = a.get("events").await.unwrap();
    let of_nova = events["items"].as_array().unwrap().iter().filter(|e| e["noun"] == "partner");
    let steps: Vec<_> = of_nova.map(|e| (e["from"].as_str().unwrap(), e["to"].as_str().unwrap())).collect();
    assert_eq!(steps, [("", "invited"), ("invited", "active")]);
}

#[tokio::test]
async fn accepting_again_gives_the_lost_answer_and_changes_nothing() {
    let (a, b) = (House::open().await, House::open().await);
    let invitation = a.invite("nova", &["buy"]).await;
    let first = b.accept(&invitation, "acme-cloud").await.unwrap();
    // Long after the invitation's time: what is done is done.
    a.wait(Micros::from_secs(7_200));
    let before = a.partner("nova");
    assert_eq!(b.accept(&invitation, "acme-cloud").await.unwrap(), first);
    assert_eq!(a.partner("nova"), before);
}

#[tokio::test]
async fn a_controller_that_does_not_listen_can_buy_and_not_invite() {
    let (a, b) = (House::open().await, House::shut().await);
    assert_eq!(b.post("partners/invitations", json!({ "name": "x", "may": ["buy"] })).await, Err("E0414".to_owned()));
    a.befriend(&b, "nova", "acme-cloud").await;
    assert!(b.standing_at("acme-cloud").await.is_ok());
    assert_eq!(a.standing_at("nova").await.unwrap_err(), "E0415", "there is nothing to call");
}

#[tokio::test]
async fn invitations_that_are_no_good_are_refused_with_their_code() {
    let (a, b, c) = (House::open().await, House::open().await, House::open().await);
    let check = async |who: &House, text: &str, code: &str| {
        assert_eq!(who.accept(text, "acme-cloud").await.unwrap_err(), code, "{text}");
        assert!(who.api.writer.snapshot().partners.values().all(|p| p.name != "acme-cloud"), "{text} made a partner");
    };
    check(&b, "chandler-is-nice", "E0410").await;

    let late = a.post("partners/invitations", json!({ "name": "nova", "may": ["buy"], "expires": "1 min" })).await;
    a.wait(Micros::from_secs(60));
    check(&b, late.unwrap()["invitation"].as_str().unwrap(), "E0411").await;

    // Of a third controller, shown to this one.
    let mut foreign: InvitationText = a.invite("nova", &["buy"]).await.parse().unwrap();
    foreign.secret = c.invite("nova", &["buy"]).await.parse::<InvitationText>().unwrap().secret;
    check(&b, &foreign.to_text(), "E0411").await;

    // The right secret, but somebody else answers.
    let mut astray: InvitationText = a.invite("nova", &["buy"]).await.parse().unwrap();
    astray.address = c.address();
    check(&b, &astray.to_text(), "E0416").await;
    astray.address = "127.0.0.1:1".to_owned();
    check(&b, &astray.to_text(), "E0415").await;

    // A controller accepts its own.
    let own = a.invite("mirror", &["buy"]).await;
    assert_eq!(a.accept(&own, "myself").await.unwrap_err(), "E0412");

    // Used by another.
    let once = a.invite("nova", &["buy"]).await;
    b.accept(&once, "acme-cloud").await.unwrap();
    check(&c, &once, "E0411").await;
    assert_eq!(a.partner("nova").trust_domain, b.api.federation.identity().trust_domain());

    // One controller under two names, at either side.
    let again = a.invite("nova-2", &["buy"]).await;
    assert_eq!(b.accept(&again, "acme-cloud").await.unwrap_err(), "E0413");
    for (name, may, code) in
        [("Nova", json!(["buy"]), "E0111"), ("x", json!([]), "E0111"), ("x", json!(["own"]), "E0110")]
    {
        let refused = a.post("partners/invitations", json!({ "name": name, "may": may })).await;
        assert_eq!(refused.unwrap_err(), code, "{name} {may}");
    }
}
