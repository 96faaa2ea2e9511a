//! Work in bulk: a task of 200 items with a file each, over four computers of which one dies half-way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chandler_api::client::{Client, Content};
use chandler_api::order::{Input, OrderRequest, OrderState, TaskItem};
use chandler_api::service::{OperatingStatus, Service, ServiceQuery};
use chandler_harness::wait::eventually;
use chandler_protocol::Digest;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, settled};
use chandler_tests::orders;

use crate::ground::{balanced, billed, cellar};

/// Items of the task.
const ITEMS: usize = 200;
/// Largest input; the smallest has 1 KiB.
const INPUT_MAX: usize = 64 << 10;
/// Items that have ended when the computer dies.
const HALF: u64 = 60;

/// Text of words and lines, different for each number.
fn text(number: usize) -> Vec<u8> {
    let length = 1_024 + (number * 7_919) % (INPUT_MAX - 1_024);
    let mut state = number as u64 + 1;
    let mut text = Vec::with_capacity(length);
    while text.len() < length {
        // A plain linear congruence: what matters is that files differ.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(match (state >> 33) % 9 {
            0 | 1 => b' ',
            2 => b'\n',
            letter => b'a' + u8::try_from(letter).unwrap_or(0),
        });
    }
    text
}

/// What the program must say about a text, found out in another way than it does.
fn expected(text: &[u8]) -> String {
    let lines = text.iter().filter(|b| **b == b'\n').count();
    let words = String::from_utf8_lossy(text).split_ascii_whitespace().count();
    format!("{{\"lines\":{lines},\"words\":{words},\"bytes\":{}}}\n", text.len())
}

async fn upload(client: &Client) -> Result<(Vec<TaskItem>, BTreeMap<String, String>)> {
    let (mut items, mut results) = (Vec::new(), BTreeMap::new());
    for number in 0..ITEMS {
        let content = text(number);
        let digest = Digest(*blake3::hash(&content).as_bytes());
        let name = format!("text-{number}");
        results.insert(name.clone(), expected(&content));
        client.blob_put(&digest, Content::from(content)).await?;
        let input = Input { path: "in.txt".to_owned(), digest: Some(digest), file: None };
        items.push(TaskItem { name, inputs: vec![input] });
    }
    Ok((items, results))
}

fn task(items: Vec<TaskItem>) -> Result<OrderRequest> {
    let order = orders::order(
        r#"
customer = "acme"
name = "count"
[software]
kind = "task"
artifact = "notes@1.0.0"
command = ["./notes", "wordcount", "{work}/in.txt", "{work}/{item}.json"]
outputs = ["{item}.json"]
limits = { cpu = 0.1, memory = "16 MiB" }
[sla]
deadline = { within = "1 h" }
"#,
    )?;
    Ok(OrderRequest { items, ..order })
}

/// Every item of an order.
pub(crate) async fn items(client: &Client, order: &str) -> Result<Vec<Service>> {
    let (mut items, mut page_token) = (Vec::new(), None);
    loop {
        let query = ServiceQuery { order: Some(order.to_owned()), all: true, limit: Some(500), page_token };
        let page = client.services(&query).await?;
        items.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_none() {
            return Ok(items);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_items_survive_a_dead_machine() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let options = AgentOptions { milli_cpu: 500, memory: "512 MiB".to_owned(), ..AgentOptions::default() };
    let acme = cellar(&mut fleet, 4, &options).await?;
    fleet.publish_notes().await?;
    let (items_wanted, results) = upload(&acme).await?;
    let order = acme.order_submit(&task(items_wanted)?).await?;
    let id = order.id.to_string();
    eventually("some items to have ended", PATIENCE, || async {
        let done = acme.order(&id).await.ok()?.items.get("completed").copied().unwrap_or(0);
        (done >= HALF).then_some(())
    })
    .await?;
    fleet.agent_named("cellar-4")?.kill_machine()?;
    let done = settled(&acme, &id).await?;
    ensure!(done.state == OrderState::Completed, "{:?}: {} {:?}", done.state, done.reason, done.items);

    let found = items(&acme, &id).await?;
    ensure!(found.len() == ITEMS, "{} items", found.len());
    let mut seen = BTreeMap::new();
    for item in &found {
        let name = item.item.clone().context("an item has a name")?;
        ensure!(item.operating_status == OperatingStatus::Completed && item.exit.as_deref() == Some("0"), "{item:#?}");
        ensure!(item.attempts == 1, "a machine that dies is no try: {item:#?}");
        let result = acme.service_output(&item.id.to_string(), &format!("{name}.json")).await?;
        seen.insert(name, String::from_utf8(result.bytes(INPUT_MAX).await?)?);
    }
    ensure!(seen == results, "the results are not those that were computed here");
    let sla = acme.sla(&done.agreement.context("it has an agreement")?.to_string()).await?.value;
    let deadline = sla.objectives.iter().find(|o| o.name == "deadline").context("the deadline is shown")?;
    ensure!(deadline.status == chandler_api::sla::SlaStatus::Met && !deadline.measured.is_empty(), "{deadline:?}");
    eventually("its use to be billed", PATIENCE, || async {
        billed(&fleet, "acme", "count").await.ok().filter(|time| !time.is_zero())
    })
    .await?;
    balanced(&fleet).await
}
