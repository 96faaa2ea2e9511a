//! GPUs: what a site asks for one, what an order that wants one costs, and that each is given away once.

use chandler_engine::finance::{UsageRow, rate};
use chandler_engine::fleet::Host;
use chandler_engine::model::Change;
use chandler_protocol::inventory::Gpu;
use chandler_protocol::{HostId, Micros};
use serde_json::{Value, json};

use super::flows::usage;
use super::{ACME, OPERATOR, World, order};

fn euro(micros: i64) -> Value {
    json!({ "micros": micros, "currency": "EUR" })
}

impl World {
    /// The provider's host gets so many GPUs, and its site this rate for the hour of one.
    async fn with_gpus(count: usize, gpu_hour: i64) -> Self {
        let world = Self::new().await;
        let put = move |draft: &mut chandler_engine::draft::Draft<'_>| {
            let known = draft.model.hosts[&HostId::from_random([2; 10])].as_ref().clone();
            let mut inventory = known.inventory.clone().unwrap();
            inventory.gpus = vec![Gpu { model: "A100".to_owned(), memory: None }; count];
            draft.put(Host { inventory: Some(inventory), ..known });
            Ok::<_, ()>(())
        };
        world.writer.transact("test", put).await.unwrap();
        let rates = json!({ "coreHour": euro(10_000), "gibHour": euro(2_000), "gpuHour": euro(gpu_hour) });
        let site =
            world.change("PATCH", OPERATOR, "/api/v1/sites/rack", Some("\"v1\""), json!({ "rates": rates })).await;
        assert_eq!(site.expect(200)["rates"]["gpuHour"], euro(gpu_hour));
        world.publish("notes", "1.0.0").await.expect(201);
        world
    }

    async fn price(&self, order: Value) -> i64 {
        let quote = self.post(ACME, "/api/v1/quotes", order).await.expect(200);
        quote["predicted"]["monthlyCost"]["micros"].as_i64().unwrap_or_else(|| panic!("{quote}"))
    }
}

/// An order that may cost what it will and wants so many GPUs.
fn wanting(name: &str, gpus: u32) -> Value {
    let mut wanted = order(name);
    wanted["sla"]["cost"]["max"] = "9000 EUR/month".into();
    wanted["sla"]["capacity"] = json!({ "gpus": gpus });
    wanted
}

#[tokio::test]
async fn a_gpu_is_quoted_reserved_and_billed_by_the_hour() {
    let world = World::with_gpus(2, 500_000).await;
    // 730 hours and the provider's margin of 20 % on top.
    let more = world.price(wanting("notes", 1)).await - world.price(wanting("notes", 0)).await;
    assert_eq!(more, 730 * 600_000);
    world.post(ACME, "/api/v1/orders", wanting("notes", 1)).await.expect(201);
    world.admit().await;
    let host = world.get(OPERATOR, "/api/v1/hosts/server-1").await.expect(200);
    assert_eq!((&host["offered"]["gpus"], &host["reserved"]["gpus"]), (&json!(2), &json!(1)));

    let copy = world.writer.snapshot().assignments.values().next().unwrap().clone();
    let put = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        let running = Micros::from_secs(5_400);
        let charge = rate(running, copy.reserved, copy.rates, &copy.price);
        let (reserved, rates, price) = (copy.reserved, copy.rates, copy.price.clone());
        let known = usage(1, "notes", draft.now, 5_400);
        draft.put(Change::Usage(UsageRow { site: copy.site, reserved, rates, price, charge, ..known }));
        Ok::<_, ()>(())
    };
    world.writer.transact("test", put).await.unwrap();
    let bills = world.post(OPERATOR, "/api/v1/bills", json!({})).await.expect(200);
    let path = format!("/api/v1/bills/{}", bills["items"][0]["id"].as_str().unwrap());
    let line = world.get(ACME, &path).await.expect(200)["lines"][0].clone();
    assert_eq!((&line["gpuHoursMicros"], &line["gpuHour"]), (&json!(1_500_000), &euro(600_000)));
    assert!(line["amount"]["micros"].as_i64().unwrap() > 900_000, "{line}");
    let path = "/api/v1/statements?month=2026-11";
    let statements = world.get(OPERATOR, path).await.expect(200);
    assert!(statements.to_string().contains("\"gpuHoursMicros\":1500000"), "{statements}");
}

#[tokio::test]
async fn the_last_gpu_goes_to_one_order() {
    let world = World::with_gpus(2, 500_000).await;
    let mut orders = Vec::new();
    for (name, gpus) in [("first", 1), ("second", 2), ("third", 1)] {
        let made = world.post(ACME, "/api/v1/orders", wanting(name, gpus)).await.expect(201);
        world.admit().await;
        let path = format!("/api/v1/orders/{}", made["id"].as_str().unwrap());
        orders.push(world.get(ACME, &path).await.expect(200));
    }
    let states: Vec<_> = orders.iter().map(|order| order["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["inProgress", "rejected", "inProgress"], "what is left does for the third");
    assert!(orders[1]["reason"].as_str().unwrap().contains("1 of 2 GPUs"), "{}", orders[1]);
}

#[tokio::test]
async fn a_rate_of_a_gpu_that_nobody_can_mean_is_refused() {
    let world = World::with_gpus(1, 500_000).await;
    let patch = async |rates: Value, etag: &str| {
        world.change("PATCH", OPERATOR, "/api/v1/sites/rack", Some(etag), json!({ "rates": rates })).await
    };
    for bad in [json!(-1), json!(i64::MAX), json!(1e300), json!("NaN"), Value::Null] {
        let mut rates = json!({ "coreHour": euro(1), "gibHour": euro(1), "gpuHour": euro(0) });
        rates["gpuHour"]["micros"] = bad.clone();
        let refused = patch(rates, "\"v2\"").await;
        assert!(refused.status == 400 || refused.status == 422, "{bad} {}", refused.text);
        assert!(refused.text.contains("rates.gpuHour"), "{}", refused.text);
    }
    // Who knows of no GPUs changes nothing about them.
    let same = patch(json!({ "coreHour": euro(1), "gibHour": euro(1) }), "\"v2\"").await.expect(200);
    assert_eq!(same["rates"]["gpuHour"], euro(500_000));
}
