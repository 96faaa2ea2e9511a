//! What a client sees of a move: nothing but a wait.

use std::time::{Duration, Instant};

use chandler_protocol::tunnel::TunnelRefusal;
use chandler_protocol::way::Hold;
use chandler_protocol::{AssignmentId, Micros};
use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::App;
use crate::caller::{get, one, post, request, send, whole};
use crate::ground::{Ground, Says, the_move, until};

/// How often each of `n` requests was executed must be once, all of them by this copy.
fn each_once(app: &App, n: usize) {
    let executed = app.executed();
    assert_eq!(executed.len(), n);
    assert!(executed.values().all(|times| *times == 1), "{executed:?}");
}

#[tokio::test]
async fn row_01_a_thousand_requests_in_a_hold_are_each_executed_once() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    assert_eq!(get(at, "/").await.text(), "copy1");
    ground.hold(5_000, &[&old]);
    let mut clients = JoinSet::new();
    for n in 0..1_000 {
        let method = if n % 2 == 0 { Method::GET } else { Method::POST };
        let body = if n % 2 == 0 { "" } else { "body" };
        clients.spawn(async move { send(at, method, &format!("/busy/{n}"), body).await });
    }
    ground.waiting(1_000).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ground.serve(&[&new]);
    for said in clients.join_all().await {
        let said = said.unwrap();
        assert_eq!((said.status.as_u16(), said.text()), (200, "copy2"));
    }
    each_once(&new, 1_000);
    assert_eq!(old.executed().len(), 1, "only the one from before the hold");
    assert!(new.most_at_once() <= 64, "{} at once", new.most_at_once());
    let counters = ground.observed().counters;
    assert_eq!((counters.requests, counters.held, counters.failed, counters.held_too_long), (1_001, 1_000, 0, 0));
    let stall = counters.stalls[0];
    assert_eq!((stall.r#move, stall.held, stall.failed), (the_move(1), 1_000, 0));
    assert!(stall.longest >= Micros::from_millis(300), "{stall:?}");
}

#[tokio::test]
async fn row_02_five_thousand_connects_at_once_are_all_served() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let mut clients = JoinSet::new();
    for n in 0..5_000 {
        clients.spawn(async move { send(at, Method::GET, &format!("/do/{n}"), "").await });
    }
    let failed = clients.join_all().await.into_iter().filter(|s| !s.as_ref().is_ok_and(|s| s.status == 200)).count();
    assert_eq!(failed, 0);
    each_once(&app, 5_000);
    assert_eq!(ground.observed().counters.failed, 0);
}

#[tokio::test]
async fn row_03_who_leaves_while_held_frees_its_place_and_never_reaches_the_software() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(9_000, &[&old]);
    let mut clients = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // Half of them have sent all they have; the others are in the middle of a body that nobody reads.
        let head = match n % 2 {
            0 => format!("GET /do/{n} HTTP/1.1\r\nhost: x\r\n\r\n"),
            _ => format!("POST /do/{n} HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n{}", "x".repeat(30_000)),
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    ground.waiting(200).await;
    drop(clients);
    let from = Instant::now();
    ground.waiting(0).await;
    assert!(from.elapsed() < Duration::from_secs(3), "they were noticed after {:?}", from.elapsed());
    ground.serve(&[&new]);
    assert_eq!(get(at, "/last").await.text(), "copy2");
    assert_eq!((new.executed().len(), old.executed().len()), (1, 0));
    assert_eq!(ground.observed().counters.failed, 0, "who leaves has not failed");
}

#[tokio::test]
async fn row_05_deadline_unsealed_goes_to_the_source() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(200, &[&old]);
    let from = Instant::now();
    let said = post(at, "/do/1").await;
    assert_eq!((said.status.as_u16(), said.text()), (200, "copy1"));
    let took = from.elapsed();
    assert!(took >= Duration::from_millis(190) && took < Duration::from_secs(2), "{took:?}");
    let observed = ground.observed();
    assert!(!observed.holding);
    assert_eq!(observed.counters.held_too_long, 0);
}

#[tokio::test]
async fn row_06_deadline_sealed_is_told_to_come_again() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(200, &[&old]);
    ground.plain.set(&old, Says::Refuses(TunnelRefusal::Sealed));
    let from = Instant::now();
    let said = post(at, "/do/1").await;
    assert!(from.elapsed() >= Duration::from_millis(190), "not before the deadline");
    assert_eq!((said.status.as_u16(), said.reason()), (503, "heldTooLong"));
    assert_eq!(said.headers["retry-after"], "1");
    assert!(old.executed().is_empty());
    let counters = ground.observed().counters;
    assert_eq!((counters.held_too_long, counters.failed, counters.stalls[0].failed), (1, 1, 1));
}

#[tokio::test]
async fn a_stream_from_before_the_hold_carries_nothing_after_it() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    assert_eq!(get(at, "/do/1").await.status, 200, "its stream is kept for the next one");
    ground.hold(200, &[&old]);
    ground.plain.set(&old, Says::Refuses(TunnelRefusal::Sealed));
    assert_eq!(get(at, "/do/2").await.reason(), "heldTooLong");
    assert_eq!(old.executed().len(), 1);
}

#[tokio::test]
async fn row_07_the_newest_sequence_wins_and_repetitions_change_nothing() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(400, &[&old]);
    let held = ground.door.clone();
    let from = Instant::now();
    let client = tokio::spawn(async move { get(at, "/do/1").await });
    ground.waiting(1).await;
    // The same hold again, also with another sequence, does not begin anew.
    tokio::time::sleep(Duration::from_millis(200)).await;
    ground.update();
    ground.hold(400, &[&old]);
    assert_eq!(client.await.unwrap().text(), "copy1");
    assert!(from.elapsed() < Duration::from_millis(580), "the deadline is the first one's: {:?}", from.elapsed());
    ground.serve(&[&new]);
    ground.doors.update(&[held]);
    let observed = ground.observed();
    assert_eq!((observed.sequence, observed.holding), (ground.door.route.sequence, false));
    assert_eq!(get(at, "/do/2").await.text(), "copy2");
    assert_eq!(observed.counters.stalls.len(), 1, "one move, one line");
}

#[tokio::test]
async fn a_refused_request_waits_at_its_old_place_for_the_next_route() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.plain.set(&old, Says::Refuses(TunnelRefusal::Sealed));
    let client = tokio::spawn(async move { post(at, "/do/1").await });
    ground.waiting(1).await;
    ground.serve(&[&new]);
    assert_eq!(client.await.unwrap().text(), "copy2");
    let counters = ground.observed().counters;
    assert_eq!((counters.held, counters.failed, counters.retried), (1, 0, 1));
}

#[tokio::test]
async fn without_a_copy_requests_wait_and_then_fail() {
    let app = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&app).await;
    ground.door.limits.wait = Micros::from_millis(150);
    ground.route(None, &[]);
    let said = get(at, "/do/1").await;
    assert_eq!((said.status.as_u16(), said.reason()), (503, "noCopy"));
    let client = tokio::spawn(async move { get(at, "/do/2").await });
    ground.waiting(1).await;
    ground.serve(&[&app]);
    assert_eq!(client.await.unwrap().status, 200);
}

#[tokio::test]
async fn who_waits_for_a_copy_waits_on_when_a_hold_begins() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.door.limits.wait = Micros::from_millis(150);
    ground.route(None, &[]);
    let client = tokio::spawn(async move { get(at, "/do/1").await });
    ground.waiting(1).await;
    ground.hold(5_000, &[&old]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    ground.serve(&[&new]);
    assert_eq!(client.await.unwrap().text(), "copy2");
}

#[tokio::test]
async fn a_copy_that_is_killed_and_back_within_the_wait_is_not_noticed() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let mut keep_alive = one(at).await;
    let said = whole(keep_alive.send_request(request(Method::GET, "/do/0", "")).await.unwrap()).await.unwrap();
    assert_eq!(said.status, 200);
    ground.plain.set(&app, Says::Refuses(TunnelRefusal::NotHere));
    app.kill();
    let clients: Vec<_> = (0..20).map(|n| tokio::spawn(async move { post(at, &format!("/do/{n}")).await })).collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let again = App::http(1, 1).await;
    ground.plain.set(&again, Says::Open);
    for client in clients {
        assert_eq!(client.await.unwrap().status, 200);
    }
    keep_alive.ready().await.unwrap();
    let said = whole(keep_alive.send_request(request(Method::GET, "/do/last", "")).await.unwrap()).await.unwrap();
    assert_eq!(said.status, 200, "the client's own connection stands");
}

#[tokio::test]
async fn row_17_a_door_that_restarts_in_a_hold_goes_on_with_the_right_epoch() {
    let (old, new) = (App::http(1, 4).await, App::http(2, 5).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(5_000, &[&old]);
    ground.restart();
    ground.update();
    assert_eq!(ground.address().await, at, "the address is kept");
    let client = tokio::spawn(async move { post(at, "/do/1").await });
    ground.waiting(1).await;
    assert!(ground.observed().holding);
    ground.plain.asked.lock().unwrap().clear();
    ground.serve(&[&new]);
    assert_eq!(client.await.unwrap().text(), "copy2");
    assert_eq!(*ground.plain.asked.lock().unwrap(), [(AssignmentId::from_random([2; 10]), 5)]);
}

#[tokio::test]
async fn row_18_a_long_request_is_seen_and_the_hold_can_be_taken_back() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    let long = tokio::spawn(async move { get(at, "/slow/600").await });
    until("the long request", || (!old.executed().is_empty()).then_some(())).await;
    ground.hold(5_000, &[&old]);
    assert_eq!(ground.observed().under_way, [(old.backend.assignment, 1)]);
    assert!(ground.observed().long_lived.is_empty());
    let short = tokio::spawn(async move { get(at, "/do/1").await });
    ground.waiting(1).await;
    // It takes too long: the controller takes the hold back and the old copy goes on.
    ground.route(None, &[&old]);
    assert_eq!(short.await.unwrap().text(), "copy1");
    assert!(!long.is_finished());
    assert_eq!(long.await.unwrap().text(), "copy1", "it was not disturbed");
}

#[tokio::test]
async fn the_agent_is_told_when_the_last_request_under_way_has_ended() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    let long = tokio::spawn(async move { get(at, "/slow/150").await });
    until("the long request", || (!old.executed().is_empty()).then_some(())).await;
    ground.hold(5_000, &[&old]);
    ground.told.notified().await;
    assert_eq!(ground.observed().under_way.len(), 1, "told of the hold first");
    tokio::time::timeout(Duration::from_secs(2), ground.told.notified()).await.expect("nobody was told");
    assert!(ground.observed().under_way.is_empty());
    assert_eq!(long.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_second_attempt_holds_again() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    for attempt in 1..=2 {
        let hold = Hold { r#move: the_move(1), attempt, limit: Micros::from_millis(150) };
        ground.route(Some(hold), &[&old]);
        assert!(ground.observed().holding, "attempt {attempt}");
        assert_eq!(get(at, &format!("/do/{attempt}")).await.text(), "copy1");
    }
    ground.serve(&[&new]);
    assert_eq!(get(at, "/do/3").await.text(), "copy2");
}
