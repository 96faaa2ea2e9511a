//! POSTs that are repeated.

use axum::body::Body;
use serde_json::json;

use super::{ACME, GLOBEX, OPERATOR, World, order, request};

#[tokio::test]
async fn a_repeated_post_gets_the_same_answer_and_does_nothing() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let first = world.post_with(ACME, "/api/v1/orders", "k1", order("notes")).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let first = first.expect(201);
    let again = world.post_with(ACME, "/api/v1/orders", "k1", order("notes")).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.expect(201), first);
    assert_eq!(world.writer.snapshot().orders.len(), 1);

    // A key is its caller's own.
    let other = world.post_with(GLOBEX, "/api/v1/orders", "k1", order("notes")).await.expect(201);
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let world = World::new().await;
    let party = |name: &str| json!({ "name": name, "roles": ["customer"] });
    world.post_with(OPERATOR, "/api/v1/parties", "k", party("a")).await.expect(201);
    world.post_with(OPERATOR, "/api/v1/parties", "k", party("b")).await.refused("E0143");
    world.post_with(OPERATOR, "/api/v1/quotes", "k", party("a")).await.refused("E0143");
    // What was refused may be tried again under the same key.
    world.post_with(OPERATOR, "/api/v1/parties", "k2", party("a")).await.refused("E0140");
    world.post_with(OPERATOR, "/api/v1/parties", "k2", party("c")).await.expect(201);
}

#[tokio::test]
async fn a_key_is_required_and_checked() {
    let world = World::new().await;
    for path in ["parties", "sites", "tokens", "joinTokens", "orders", "quotes", "bills", "artifacts"] {
        let request = request("POST", &format!("/api/v1/{path}"), OPERATOR).body(Body::from("{}")).unwrap();
        world.send(request).await.refused("E0144");
    }
    for bad in ["", "a b", "k\u{e4}", &"k".repeat(256)] {
        let request = request("POST", "/api/v1/parties", OPERATOR)
            .header("idempotency-key", axum::http::HeaderValue::from_bytes(bad.as_bytes()).unwrap());
        world.send(request.body(Body::from("{}")).unwrap()).await.refused("E0144");
    }
}

#[tokio::test]
async fn a_key_in_flight_is_taken() {
    let world = World::new().await;
    // Both are run on one thread: the first waits for its commit when the second finds the key taken.
    let party = json!({ "name": "twice", "roles": ["customer"] });
    let (a, b) = tokio::join!(
        world.post_with(OPERATOR, "/api/v1/parties", "k", party.clone()),
        world.post_with(OPERATOR, "/api/v1/parties", "k", party.clone()),
    );
    let mut answers = [(a.status, a.code().to_owned()), (b.status, b.code().to_owned())];
    answers.sort();
    assert_eq!(answers, [(201, String::new()), (409, "E0140".to_owned())]);
    assert!(a.text.contains("twice") || b.text.contains("twice"));
    let again = world.post_with(OPERATOR, "/api/v1/parties", "k", party).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
}

#[tokio::test]
async fn secrets_are_not_kept() {
    let world = World::new().await;
    let body = json!({ "role": "operator" });
    let one = world.post_with(OPERATOR, "/api/v1/tokens", "k", body.clone()).await.expect(201);
    let two = world.post_with(OPERATOR, "/api/v1/tokens", "k", body).await.expect(201);
    assert_ne!(one["secret"], two["secret"]);
    let token = world.writer.snapshot().tokens.values().next().cloned().unwrap();
    assert!(world.writer.store().answer(&token.id.to_string(), "k").await.unwrap().is_none());
}
