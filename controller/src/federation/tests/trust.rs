//! Whose certificates are let in, as of each call: suspended partners, rotated keys, and everybody else.

use std::sync::Arc;

use serde_json::json;

use super::house::House;
use crate::federation::identity::Identity;
use crate::world::SystemRandom;

#[tokio::test]
async fn a_suspended_partner_is_cut_off_at_once_on_a_connection_that_is_open_too() {
    let (a, b, c) = (House::open().await, House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    a.befriend(&c, "other", "acme-cloud").await;
    let client = b.api.federation.client(b.partner("acme-cloud").party).unwrap();
    assert!(b.standing_at("acme-cloud").await.is_ok());
    let turned = a.post("partners/nova/suspend", json!({ "reason": "bills are contested" })).await.unwrap();
    assert_eq!((turned["state"].as_str(), turned["reason"].as_str()), (Some("suspended"), Some("bills are contested")));
    let refused = client.get::<serde_json::Value>("standing").await.unwrap_err();
    assert_eq!(refused.code(), "E0418", "{refused}");
    assert_eq!(a.standing_at("nova").await.unwrap_err(), "E0418", "nor is it called");
    assert!(c.standing_at("acme-cloud").await.is_ok() && a.standing_at("other").await.is_ok(), "others go on");
    a.post("partners/nova/resume", json!({})).await.unwrap();
    assert!(b.standing_at("acme-cloud").await.is_ok() && a.standing_at("nova").await.is_ok());
    a.post("partners/nova/end", json!({})).await.unwrap();
    assert_eq!(b.standing_at("acme-cloud").await.unwrap_err(), "E0418");
    assert_eq!(a.post("partners/nova/resume", json!({})).await.unwrap_err(), "E0140", "what is over is over");
}

#[tokio::test]
async fn after_a_rotation_a_partner_is_cut_off_until_it_is_trusted_again_and_others_go_on() {
    let (a, b, c) = (House::open().await, House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    a.befriend(&c, "other", "acme-cloud").await;
    assert!(a.standing_at("nova").await.is_ok() && b.standing_at("acme-cloud").await.is_ok());
    let rotated = b.post("federation/rotate", json!({})).await.unwrap();
    assert_eq!(b.standing_at("acme-cloud").await.unwrap_err(), "E0417", "its new certificate is nobody's");
    // A connection that was open before shows the old one still; a new one is not taken.
    a.api.federation.clients.lock().unwrap().clear();
    assert_eq!(a.standing_at("nova").await.unwrap_err(), "E0416", "who answers is not who is pinned");
    assert!(c.standing_at("acme-cloud").await.is_ok() && a.standing_at("other").await.is_ok(), "others go on");

    let theirs = c.get("federation").await.unwrap();
    for bad in ["", "x", theirs["bundle"].as_str().unwrap()] {
        assert_eq!(a.put("partners/nova/trust", json!({ "bundle": bad })).await.unwrap_err(), "E0420", "{bad}");
    }
    let trusted = a.put("partners/nova/trust", json!({ "bundle": rotated["bundle"] })).await.unwrap();
    assert_eq!(trusted["fingerprints"], json!([rotated["fingerprint"]]));
    assert!(a.standing_at("nova").await.is_ok() && b.standing_at("acme-cloud").await.is_ok());
    let nova = a.partner("nova");
    assert_eq!((nova.trust.len(), nova.retired.len()), (1, 1), "what it signed before can still be checked");
}

#[tokio::test]
async fn a_ca_that_was_announced_and_added_is_rotated_to_without_a_cut() {
    let (a, b) = (House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    let both = async || {
        a.api.federation.clients.lock().unwrap().clear();
        (a.standing_at("nova").await.map(drop), b.standing_at("acme-cloud").await.map(drop))
    };
    let now = b.get("federation").await.unwrap();
    let next = b.post("federation/announce", json!({})).await.unwrap();
    assert_ne!(next["fingerprint"], now["fingerprint"]);
    assert_eq!(b.post("federation/announce", json!({})).await.unwrap(), next, "there is one next CA");
    assert_eq!(b.get("federation").await.unwrap(), now, "nothing has changed yet");
    let added = a.put("partners/nova/trust", json!({ "bundle": next["bundle"], "add": true })).await.unwrap();
    assert_eq!(added["fingerprints"], json!([now["fingerprint"], next["fingerprint"]]));
    assert_eq!(both().await, (Ok(()), Ok(())), "the old one is good still");
    let rotated = b.post("federation/rotate", json!({})).await.unwrap();
    assert_eq!(rotated["fingerprint"], next["fingerprint"]);
    assert_eq!(both().await, (Ok(()), Ok(())), "and the new one at once");
    let alone = a.put("partners/nova/trust", json!({ "bundle": rotated["bundle"] })).await.unwrap();
    assert_eq!(alone["fingerprints"], json!([rotated["fingerprint"]]));
    assert_eq!(both().await, (Ok(()), Ok(())));
    assert_eq!(a.partner("nova").retired.len(), 1, "what the old one signed can still be checked");
    // No more than a few at a time.
    for n in 0..4 {
        let next = b.post("federation/announce", json!({})).await.unwrap();
        b.post("federation/rotate", json!({})).await.unwrap();
        let added = a.put("partners/nova/trust", json!({ "bundle": next["bundle"], "add": true })).await;
        assert_eq!(added.err().as_deref(), (n == 3).then_some("E0420"));
    }
}

/// A bundle is good for its own partner only, whatever trust domain a certificate names.
#[tokio::test]
async fn who_poses_as_a_partner_is_refused_at_both_ends() {
    let (a, b, c) = (House::open().await, House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    a.befriend(&c, "other", "acme-cloud").await;
    let domain = b.api.federation.identity().trust_domain();
    let posing = Identity::posing(&domain, a.now(), Arc::new(SystemRandom)).unwrap();
    let listening = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let impostor = House::with(listening, Some(posing)).await;

    // It dials: it knows the address and the CA of the partner, and has the right name in a certificate of its own CA.
    let pinned = b.partner("acme-cloud").as_ref().clone();
    let put = impostor.api.writer.transact("test", move |draft| {
        draft.put(pinned);
        Ok::<_, ()>(())
    });
    put.await.unwrap();
    assert_eq!(impostor.standing_at("acme-cloud").await.unwrap_err(), "E0417");

    // It answers at the partner's address.
    let moved = chandler_engine::partner::Partner {
        address: Some(impostor.address()),
        version: 99,
        ..a.partner("nova").as_ref().clone()
    };
    let put = a.api.writer.transact("test", move |draft| {
        draft.put(moved);
        Ok::<_, ()>(())
    });
    put.await.unwrap();
    assert_eq!(a.standing_at("nova").await.unwrap_err(), "E0416");

    // It cannot become a partner under another name either.
    let invitation = a.invite("third", &["buy"]).await;
    assert_eq!(impostor.accept(&invitation, "x").await.unwrap_err(), "E0413");
}
