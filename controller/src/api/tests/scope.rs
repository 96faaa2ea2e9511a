//! What belongs to others is not found, just as if it did not exist.

use chandler_engine::finance;
use chandler_protocol::{BillId, HostId, PartyId, Timestamp};
use serde_json::{Value, json};

use super::{ACME, GLOBEX, OPERATOR, OWNER, World};

#[tokio::test]
async fn what_belongs_to_others_is_not_found() {
    let world = World::new().await;
    let order = world.notes().await;
    let order_id = order["id"].as_str().unwrap();
    let service = world.get(ACME, "/api/v1/services/notes").await.expect(200);
    let (service_id, agreement) = (service["id"].as_str().unwrap(), service["agreement"].as_str().unwrap());
    let bill_id = BillId::from_random([9; 10]);
    let acme = PartyId::from_random([1; 10]);
    let put = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        draft.put(finance::bill(bill_id, acme, "2026-11", Timestamp(0), &[]));
        Ok::<_, ()>(())
    };
    world.writer.transact("test", put).await.unwrap();
    let rows = [
        ("GET", format!("/api/v1/orders/{order_id}")),
        ("POST", format!("/api/v1/orders/{order_id}/cancel")),
        ("GET", format!("/api/v1/services/{service_id}")),
        ("GET", "/api/v1/services/notes".to_owned()),
        ("DELETE", format!("/api/v1/services/{service_id}")),
        ("GET", format!("/api/v1/services/{service_id}/explain")),
        ("GET", format!("/api/v1/services/{service_id}/logs")),
        ("GET", format!("/api/v1/services/{service_id}/outputs/stdout")),
        ("GET", format!("/api/v1/slas/{agreement}")),
        ("GET", "/api/v1/slas/notes".to_owned()),
        ("PATCH", format!("/api/v1/slas/{agreement}")),
        ("GET", format!("/api/v1/slas/{agreement}/history")),
        ("GET", format!("/api/v1/bills/{bill_id}")),
        ("GET", format!("/api/v1/services?order={order_id}")),
        ("GET", "/api/v1/parties/acme".to_owned()),
        ("GET", format!("/api/v1/parties/{acme}")),
        ("GET", "/api/v1/sites/acme-office".to_owned()),
        ("GET", "/api/v1/sites/rack".to_owned()),
        ("GET", "/api/v1/hosts/server-1".to_owned()),
        ("GET", format!("/api/v1/hosts/{}", HostId::from_random([2; 10]))),
    ];
    for (method, path) in rows {
        let body = json!({ "sla": {} });
        let response = match method {
            "GET" => world.get(GLOBEX, &path).await,
            "POST" => world.post(GLOBEX, &path, Value::Null).await,
            _ => world.change(method, GLOBEX, &path, Some("\"v1\""), body).await,
        };
        assert_eq!((response.status, response.code()), (404, "E0130"), "{method} {path}: {}", response.text);
    }
    // Nothing has happened to it, and its owner sees it.
    for path in [format!("/api/v1/orders/{order_id}"), format!("/api/v1/slas/{agreement}")] {
        world.get(ACME, &path).await.expect(200);
    }
    assert_eq!(world.get(ACME, "/api/v1/services/notes").await.expect(200)["state"], "reserved");
}

#[tokio::test]
async fn a_foreign_thing_and_no_thing_look_alike() {
    let world = World::new().await;
    let order = world.notes().await;
    let there = order["id"].as_str().unwrap().to_owned();
    let nowhere = "o-0000000000000000".to_owned();
    let shape = |mut problem: Value, id: &str| {
        problem["requestId"] = Value::Null;
        problem.to_string().replace(id, "ID")
    };
    let foreign = world.get(GLOBEX, &format!("/api/v1/orders/{there}")).await.expect(404);
    let none = world.get(GLOBEX, &format!("/api/v1/orders/{nowhere}")).await.expect(404);
    assert_eq!(shape(foreign, &there), shape(none, &nowhere));
}

#[tokio::test]
async fn lists_hold_own_things_only() {
    let world = World::new().await;
    world.notes().await;
    let names = |list: Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap_or("?").to_owned()).collect()
    };
    for (token, path, expect) in [
        (ACME, "parties", vec!["acme"]),
        (GLOBEX, "parties", vec!["globex"]),
        (ACME, "sites", vec!["acme-office"]),
        (OWNER, "sites", vec!["home-1"]),
        (GLOBEX, "sites", vec![]),
        (OWNER, "hosts", vec!["pc-1"]),
        (ACME, "hosts", vec![]),
        (OPERATOR, "hosts", vec!["server-1", "pc-1"]),
        (ACME, "orders", vec!["notes"]),
        (GLOBEX, "orders", vec![]),
        (ACME, "services", vec!["notes"]),
        (GLOBEX, "services", vec![]),
        (OPERATOR, "services", vec!["notes"]),
        (ACME, "slas", vec!["?"]),
        (GLOBEX, "slas", vec![]),
    ] {
        let list = world.get(token, &format!("/api/v1/{path}")).await.expect(200);
        assert_eq!(names(list), expect, "{path}");
    }
}

#[tokio::test]
async fn events_about_own_things_only() {
    let world = World::new().await;
    world.notes().await;
    let own = world.get(ACME, "/api/v1/events").await.expect(200);
    let own = own["items"].as_array().unwrap();
    assert!(own.iter().any(|e| e["noun"] == "order" && e["to"] == "inProgress"), "{own:?}");
    assert!(own.iter().all(|e| e["noun"] != "artifact" && e["noun"] != "token"), "{own:?}");
    let foreign = world.get(GLOBEX, "/api/v1/events").await.expect(200);
    assert_eq!(foreign["items"], json!([]));
    let all = world.get(OPERATOR, "/api/v1/events").await.expect(200);
    assert!(all["items"].as_array().unwrap().len() > own.len());
}

#[tokio::test]
async fn an_order_for_another_customer_is_refused() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    for (token, customer) in [(GLOBEX, "acme"), (GLOBEX, "nobody"), (OPERATOR, "home")] {
        let mut order = super::order("notes");
        order["customer"] = customer.into();
        let response = world.post(token, "/api/v1/orders", order).await;
        response.refused("E0111");
        assert_eq!(response.body["errors"][0], json!({ "pointer": "customer", "detail": "there is no such customer" }));
    }
}

#[tokio::test]
async fn an_owner_sets_rates_of_own_sites_and_lets_computers_join() {
    let world = World::new().await;
    let euro = |micros: i64| json!({ "micros": micros, "currency": "EUR" });
    let change = json!({ "rates": { "coreHour": euro(5), "gibHour": euro(6) } });
    let site = world.change("PATCH", OWNER, "/api/v1/sites/home-1", Some("\"v1\""), change.clone()).await;
    assert_eq!(site.headers["etag"], "\"v2\"");
    assert_eq!(site.expect(200)["rates"]["coreHour"]["micros"], 5);
    world.change("PATCH", OWNER, "/api/v1/sites/home-1", Some("\"v1\""), change.clone()).await.refused("E0141");
    world.change("PATCH", OWNER, "/api/v1/sites/home-1", None, change.clone()).await.refused("E0142");
    assert_eq!(world.get(OWNER, "/api/v1/sites/home-1").await.headers["etag"], "\"v2\"");
    world.change("PATCH", OWNER, "/api/v1/sites/rack", Some("\"v1\""), change).await.refused("E0130");

    let join = |site: &str| json!({ "site": site });
    for (token, site, is_own) in
        [(OWNER, "home-1", true), (OWNER, "rack", false), (ACME, "acme-office", true), (ACME, "home-1", false)]
    {
        let response = world.post(token, "/api/v1/joinTokens", join(site)).await;
        if is_own {
            let text = response.expect(201)["join"].as_str().unwrap().to_owned();
            let parsed: chandler_protocol::join::JoinString = text.parse().unwrap();
            let hash = crate::api::access::secret_hash(&parsed.secret);
            assert_eq!(world.writer.snapshot().join_tokens[&hash].uses_left, 1);
        } else {
            response.refused("E0130");
        }
    }
}
