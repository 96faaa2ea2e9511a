//! What is expected of a site as a seller, for its owner.

use chandler_engine::draft::Draft;
use chandler_engine::federation::Reputation;
use chandler_engine::market::reputation::{Cause, Deed, Record};
use chandler_protocol::SiteId;

use super::{ACME, OPERATOR, OWNER, World};

#[tokio::test]
async fn an_owner_sees_how_its_site_stands_and_why() {
    let world = World::new().await;
    let path = "/api/v1/market/standing/home-1";
    let newcomer = world.get(OWNER, path).await.expect(200);
    assert_eq!((&newcomer["breach"], &newcomer["observations"]), (&"20 %".into(), &0.into()));
    let put = |draft: &mut Draft<'_>| {
        let record = Record::default().with(Deed::Yielded { noticed: false }, Cause::Owner, draft.now);
        draft.put(Reputation { site: SiteId::from_random([3; 10]), record });
        Ok::<_, ()>(())
    };
    world.writer.transact("test", put).await.unwrap();
    let known = world.get(OWNER, path).await.expect(200);
    let micros = |of: &serde_json::Value| of["riskOfHundred"]["micros"].as_i64().unwrap();
    assert!(micros(&known) > micros(&newcomer), "{known}");
    let why = known["reasons"].to_string();
    assert!(why.contains("1 time without the agreed notice"), "{why}");
    world.get(OPERATOR, path).await.expect(200);
    assert_ne!(world.get(ACME, path).await.status, 200, "a customer is no owner");
    world.get(OPERATOR, "/api/v1/market/standing/acme-office").await.refused("E0140");
}
