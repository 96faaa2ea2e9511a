//! What is sent again and what never is.

use std::time::Instant;

use hyper::Method;

use crate::app::App;
use crate::caller::{get, one, post, request, send, whole};
use crate::ground::{Ground, Says};

#[tokio::test]
async fn row_08_a_delivered_post_is_executed_once_and_the_client_is_told() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let said = post(at, "/die/1").await;
    assert_eq!((said.status.as_u16(), said.reason()), (502, "maybeExecuted"));
    assert!(said.text().contains(r#""reason":"maybeExecuted""#));
    assert_eq!(app.executed()["/die/1"], 1);
    // An empty body could be sent again, but not by this method.
    assert_eq!(send(at, Method::POST, "/die/2", "").await.unwrap().reason(), "maybeExecuted");
    assert_eq!(app.executed()["/die/2"], 1);
    let counters = ground.observed().counters;
    assert_eq!((counters.failed, counters.retried), (2, 0));
}

#[tokio::test]
async fn row_09_a_delivered_get_is_sent_once_more() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    assert_eq!(get(at, "/once/1").await.status, 200);
    let put = send(at, Method::PUT, "/once/2", vec![1; 60_000]).await.unwrap();
    assert_eq!(put.status, 200, "with its body, which was kept");
    let large = send(at, Method::PUT, "/once/3", vec![1; 70_000]).await.unwrap();
    assert_eq!(large.reason(), "maybeExecuted", "more than is kept");
    assert_eq!(get(at, "/die/4").await.reason(), "maybeExecuted", "not a third time");
    let executed = app.executed();
    assert_eq!([executed["/once/1"], executed["/once/2"], executed["/once/3"], executed["/die/4"]], [2, 2, 1, 2]);
    assert_eq!(ground.observed().counters.retried, 3);
}

#[tokio::test]
async fn row_10_in_a_storm_few_are_sent_again() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let from = Instant::now();
    let clients: Vec<_> = (0..500).map(|n| tokio::spawn(async move { get(at, &format!("/die/{n}")).await })).collect();
    for client in clients {
        assert_eq!(client.await.unwrap().reason(), "maybeExecuted");
    }
    let most = 100 + 10 * (from.elapsed().as_secs() + 2);
    let retried = ground.observed().counters.retried;
    assert!(retried <= most, "{retried} of 500 were sent again, {most} may");
    assert!(retried >= 50, "only {retried}");
    assert_eq!(u64::from(app.executed().values().sum::<u32>()), 500 + retried);
}

#[tokio::test]
async fn row_16_a_copy_that_dies_in_the_middle_of_its_answer_is_seen_to_have() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let mut sender = one(at).await;
    let response = sender.send_request(request(Method::GET, "/half", "")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(whole(response).await.is_err(), "half an answer was taken for a whole one");
    assert_eq!(app.executed()["/half"], 1);
    assert_eq!(ground.observed().counters.failed, 1);
    assert!(ground.observed().under_way.is_empty());
}

#[tokio::test]
async fn the_answer_of_the_software_is_passed_on_whatever_it_is() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    for status in [404, 500, 503] {
        let said = post(at, &format!("/status/{status}")).await;
        assert_eq!((said.status.as_u16(), said.text(), said.reason()), (status, "copy1", ""));
    }
    let counters = ground.observed().counters;
    assert_eq!((counters.errors, counters.failed, counters.retried), (2, 0, 0));
}

#[tokio::test]
async fn heads_go_through_as_they_are_but_for_what_is_between_neighbours() {
    let app = App::http(1, 1).await;
    let (_ground, at) = Ground::http(&app).await;
    let mut sender = one(at).await;
    let mut asked = request(Method::GET, "/head", "");
    for (name, value) in [("x-forwarded-for", "10.0.0.7"), ("connection", "x-mine"), ("x-mine", "1"), ("cookie", "a=b")]
    {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let said = whole(sender.send_request(asked).await.unwrap()).await.unwrap();
    let mut lines: Vec<_> = said.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["cookie: a=b", "host: notes.example", "x-forwarded-for: 10.0.0.7"]);
}

#[tokio::test]
async fn streams_are_used_again_for_what_may_be_sent_twice_only() {
    let app = App::http(1, 1).await;
    let (_ground, at) = Ground::http(&app).await;
    let mut sender = one(at).await;
    for n in 0..20 {
        sender.ready().await.unwrap();
        let said = whole(sender.send_request(request(Method::GET, &format!("/do/{n}"), "")).await.unwrap()).await;
        assert_eq!(said.unwrap().status, 200);
    }
    let gets = app.accepted();
    assert!(gets <= 3, "{gets} connections for 20 requests one after the other");
    for n in 0..20 {
        sender.ready().await.unwrap();
        let said = whole(sender.send_request(request(Method::POST, &format!("/do/p{n}"), "x")).await.unwrap()).await;
        assert_eq!(said.unwrap().status, 200);
    }
    assert_eq!(app.accepted(), gets + 20);
}

#[tokio::test]
async fn of_several_copies_a_dead_one_is_left_out_and_nobody_notices() {
    let apps = [App::http(1, 1).await, App::http(2, 1).await, App::http(3, 1).await];
    let (mut ground, at) = Ground::http(&apps[0]).await;
    ground.serve(&[&apps[0], &apps[1], &apps[2]]);
    for n in 0..30 {
        assert_eq!(post(at, &format!("/do/{n}")).await.status, 200);
    }
    assert!(apps.iter().all(|a| a.executed().len() == 10), "they take turns");
    apps[0].kill();
    ground.plain.set(&apps[1], Says::Nothing);
    for n in 100..200 {
        assert_eq!(post(at, &format!("/do/{n}")).await.text(), "copy3");
    }
    let asked = ground.plain.asked.lock().unwrap().clone();
    let dead = asked.iter().skip(30).filter(|(id, _)| *id != apps[2].backend.assignment).count();
    assert!(dead <= 12, "the dead ones were asked {dead} times");
}
