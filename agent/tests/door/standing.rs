//! What a door costs and what it measures.

use std::time::{Duration, Instant};

use chandler_protocol::Micros;
use chandler_protocol::way::Stall;
use hyper::Method;

use crate::app::App;
use crate::caller::{get, one, request, whole};
use crate::ground::{Ground, Says};

/// The median time of a request on one connection.
async fn median(at: std::net::SocketAddr, method: &Method) -> Duration {
    let mut sender = one(at).await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        sender.ready().await.unwrap();
        let from = Instant::now();
        let said = whole(sender.send_request(request(method.clone(), "/do", "")).await.unwrap()).await.unwrap();
        assert_eq!(said.status, 200);
        times.push(from.elapsed());
    }
    times.sort_unstable();
    times[500]
}

#[tokio::test]
async fn a_request_costs_little_more_through_a_door() {
    let app = App::http(1, 1).await;
    let (_ground, at) = Ground::http(&app).await;
    for method in [Method::GET, Method::POST] {
        let (direct, through) = (median(app.address, &method).await, median(at, &method).await);
        println!("{method}: direct {direct:?}, through the door {through:?}");
        // A debug build on a busy machine: the exact number is measured by the benchmark.
        assert!(through < direct + Duration::from_millis(20), "direct {direct:?}, through the door {through:?}");
    }
}

#[tokio::test]
async fn it_measures_what_the_user_feels() {
    let app = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&app).await;
    for _ in 0..10 {
        get(at, "/slow/50").await;
    }
    let counters = ground.observed().counters;
    assert_eq!((counters.requests, counters.first_byte.total()), (10, 10));
    let p50 = counters.first_byte.quantile(500_000).unwrap();
    assert!(p50 >= Micros::from_millis(50) && p50 < Micros::from_millis(400), "{p50:?}");
    assert!(counters.connect.total() >= 1);
    ground.hold(300, &[&app]);
    get(at, "/do/1").await;
    let longest = ground.observed().counters.first_byte.quantile(1_000_000).unwrap();
    assert!(longest >= Micros::from_millis(290), "waiting is part of it: {longest:?}");
}

#[tokio::test]
async fn it_measures_how_long_users_waited_while_no_copy_could_be_reached() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    get(at, "/do/1").await;
    ground.plain.set(&old, Says::Nothing);
    // A connection that stands would still reach the copy: as when its machine dies, it ends.
    ground.route(None, &[]);
    let asked = tokio::spawn(async move { get(at, "/do/2").await });
    ground.waiting(1).await;
    let from = Instant::now();
    while from.elapsed() < Duration::from_millis(200) {
        ground.waiting(1).await;
    }
    ground.serve(&[&new]);
    assert_eq!(asked.await.unwrap().text(), "copy2");
    let line = Stall::outage(ground.door.route.sequence);
    let stalls = ground.observed().counters.stalls;
    let stall = stalls.iter().find(|s| s.r#move == line).unwrap();
    assert_eq!((stall.held, stall.failed), (1, 0));
    assert!(stall.longest >= Micros::from_millis(200), "{stall:?}");
    // What waits for the next copy has a line of its own.
    ground.route(None, &[]);
    let again = tokio::spawn(async move { get(at, "/do/3").await });
    ground.waiting(1).await;
    ground.serve(&[&new]);
    again.await.unwrap();
    let stalls = ground.observed().counters.stalls;
    assert_eq!(stalls.len(), 2, "{stalls:?}");
    assert_eq!(stalls[0].held, 1);
}
