//! The table of access against the router and the API's description, for all routes.

use super::{ACME, OPERATOR, OWNER, World};
use crate::api::access::ROUTES;
use crate::api::openapi;
use axum::body::Body;
use chandler_engine::identity::Role;

/// A path with something in each of its holes.
fn filled(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('/').skip(1) {
        out.push('/');
        out.push_str(if part.starts_with('{') { "x" } else { part });
    }
    out
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let world = World::new().await;
    for route in ROUTES {
        for token in ["", "wrong", &"x".repeat(300)] {
            let request = super::request(route.method, &filled(route.path), token).body(Body::empty()).unwrap();
            let response = world.send(request).await;
            let what = format!("{} {} {}", route.method, route.path, response.text);
            match route.roles {
                None => assert_eq!(response.status, 200, "{what}"),
                Some(_) => assert_eq!((response.status, response.code()), (401, "E0120"), "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn every_role_gets_where_the_table_lets_it_and_nowhere_else() {
    let world = World::new().await;
    for route in ROUTES {
        let Some(roles) = route.roles else { continue };
        for (role, token) in [(Role::Operator, OPERATOR), (Role::Customer, ACME), (Role::SiteOwner, OWNER)] {
            let request = super::request(route.method, &filled(route.path), token).body(Body::empty()).unwrap();
            // The stream of events does not end; only its head counts.
            let response = tower::ServiceExt::oneshot(world.router.clone(), request).await.unwrap();
            let is_refused = response.status() == 403;
            let what = format!("{role:?} {} {}: {}", route.method, route.path, response.status());
            assert_eq!(is_refused, !roles.contains(&role), "{what}");
            assert!(response.status() != 401 && response.status().as_u16() < 500, "{what}");
        }
    }
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let mut table: Vec<_> = ROUTES.iter().map(|r| (r.method.to_owned(), r.path.replace("{*", "{"))).collect();
    let mut described = openapi::paths();
    table.sort();
    described.sort();
    assert_eq!(table, described);
}

#[tokio::test]
async fn the_description_holds_its_schemas() {
    let world = World::new().await;
    let document = world.get("", "/api/v1/openapi.json").await.expect(200);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["Problem", "OrderRequest", "Order", "Service", "Sla", "Host", "Status", "Explanation"] {
        assert!(schemas.contains_key(name), "{name} is missing");
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name = text[at + 21..].split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and missing");
    }
    assert_eq!(document["paths"]["/api/v1/orders"]["post"]["parameters"][0]["name"], "Idempotency-Key");
}

#[tokio::test]
async fn unknown_routes_are_problems_too() {
    let world = World::new().await;
    world.get(OPERATOR, "/api/v1/nothing").await.refused("E0130");
    world.change("DELETE", OPERATOR, "/api/v1/parties", None, serde_json::Value::Null).await.refused("E0130");
    world.get(OPERATOR, "/api/v1/sites/%ff").await.refused("E0110");
}
