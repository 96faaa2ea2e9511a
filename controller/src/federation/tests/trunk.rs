//! Trunks: dialled with the certificates of the partnership, for as long as it lasts, and by nobody else.

use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::tunnel::TRUNK_ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use serde_json::json;

use super::house::House;
use super::strangers::stranger_settings;
use crate::federation::{Dialler, tls};
use crate::link::identity::SERVER_NAME;
use crate::world::UdpSockets;

const SOON: Duration = Duration::from_secs(20);

fn is_up(house: &House, partner: &str) -> bool {
    house.api.relay.trunk_counts(house.partner(partner).party).is_up
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn dialler(house: &House) -> Dialler {
    let (writer, federation, relay) = (house.api.writer.clone(), house.api.federation.clone(), house.api.relay.clone());
    Dialler { writer, federation, relay, sockets: Arc::new(UdpSockets) }
}

#[tokio::test]
async fn a_trunk_stands_while_both_are_partners_and_under_the_pinned_ca_only() {
    let (alpha, beta) = (House::open().await, House::open().await);
    beta.befriend(&alpha, "alpha", "beta").await;
    // As if something were leased there.
    tokio::spawn(dialler(&alpha).keep(alpha.partner("beta").party));
    until("it stands on both sides", || is_up(&alpha, "beta") && is_up(&beta, "alpha")).await;
    assert!(alpha.api.relay.trunk_counts(alpha.partner("beta").party).is_wide, "a tunnel's packets fit at once");
    let shown = beta.get("partners/alpha").await.unwrap();
    assert_eq!((&shown["trunk"]["up"], &shown["trunk"]["fits"]), (&json!(true), &json!(true)));

    beta.post("partners/alpha/suspend", json!({ "reason": "a dispute" })).await.unwrap();
    until("it is cut off", || !is_up(&alpha, "beta") && !is_up(&beta, "alpha")).await;
    beta.post("partners/alpha/resume", json!({})).await.unwrap();
    until("it comes back", || is_up(&alpha, "beta") && is_up(&beta, "alpha")).await;

    // Who cuts it off itself does not dial again.
    alpha.post("partners/beta/suspend", json!({})).await.unwrap();
    until("it ends from this side", || !is_up(&alpha, "beta") && !is_up(&beta, "alpha")).await;
    alpha.post("partners/beta/resume", json!({})).await.unwrap();
    until("and comes back", || is_up(&alpha, "beta") && is_up(&beta, "alpha")).await;

    // A new CA of the seller's is not the partner until it is pinned, nor is one of the buyer's.
    let rotated = beta.post("federation/rotate", json!({})).await.unwrap();
    until("the old one is gone", || !is_up(&alpha, "beta")).await;
    let refused = dialler(&alpha).dial(alpha.partner("beta").party).await.unwrap_err();
    assert!(refused.contains("certificate"), "nobody has pinned it yet: {refused}");
    alpha.put("partners/beta/trust", json!({ "bundle": rotated["bundle"] })).await.unwrap();
    until("it was pinned", || is_up(&alpha, "beta") && is_up(&beta, "alpha")).await;
}

#[tokio::test]
async fn strangers_have_no_trunk() {
    let (alpha, beta) = (House::open().await, House::open().await);
    beta.befriend(&alpha, "alpha", "beta").await;
    let dial = async |mut settings: rustls::ClientConfig, alpn: &[u8]| {
        settings.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(settings).unwrap()));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint.connect_with(config, beta.address().parse().unwrap(), SERVER_NAME).unwrap().await?;
        Err::<(), _>(tokio::time::timeout(SOON, connection.closed()).await.unwrap())
    };
    let refused = dial(stranger_settings(&beta), TRUNK_ALPN).await.unwrap_err().to_string();
    assert!(refused.contains("not a partner"), "{refused}");
    let anchors = tls::Anchors::Pinned(beta.api.federation.introduction().trust);
    let domain = beta.api.federation.introduction().trust_domain;
    let friend = tls::calling(alpha.api.federation.identity(), alpha.api.writer.clock(), anchors, &domain).unwrap();
    assert!(dial(friend, b"http/1.1").await.is_err(), "a trunk is not HTTP");
    assert!(!is_up(&beta, "alpha"));
}
