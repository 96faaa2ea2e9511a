//! The ends that task items come to, other than the good one.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chandler_api::order::{Order, OrderRequest, OrderState, TaskItem};
use chandler_api::service::Service;
use chandler_tests::fleet::{AgentOptions, Fleet, settled};
use chandler_tests::orders;

use crate::ground::cellar;
use crate::tasks::items;

/// A task whose items are words of its command.
fn task(name: &str, command: &str, further: &str, names: &[&str]) -> Result<OrderRequest> {
    let order = orders::order(&format!(
        "customer = \"acme\"\nname = \"{name}\"\n[software]\nkind = \"task\"\nartifact = \"notes@1.0.0\"\n\
         command = {command}\nlimits = {{ cpu = 0.1, memory = \"16 MiB\" }}\n{further}\n"
    ))?;
    let items = names.iter().map(|name| TaskItem { name: (*name).to_owned(), inputs: Vec::new() }).collect();
    Ok(OrderRequest { items, ..order })
}

async fn ended(fleet: &Fleet, request: &OrderRequest) -> Result<(Order, BTreeMap<String, Service>)> {
    let order = fleet.client.order_submit(request).await?;
    let order = settled(&fleet.client, &order.id.to_string()).await?;
    let found = items(&fleet.client, &order.id.to_string()).await?;
    let by_name = found.into_iter().map(|s| Ok((s.item.clone().context("an item has a name")?, s)));
    Ok((order, by_name.collect::<Result<_>>()?))
}

async fn start() -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    Ok(fleet)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_item_is_tried_again_and_makes_its_order_partial() -> Result<()> {
    let fleet = start().await?;
    let request = task("exits", r#"["./notes", "exit", "{item}"]"#, "retries = 2", &["0", "3", "100"])?;
    let (order, items) = ended(&fleet, &request).await?;
    ensure!(order.state == OrderState::Partial, "{order:#?}");
    ensure!(order.reason.starts_with("1 of 3 items"), "{}", order.reason);
    for (name, attempts) in [("0", 1), ("3", 3), ("100", 3)] {
        let item = &items[name];
        ensure!(item.exit.as_deref() == Some(name) && item.attempts == attempts, "{item:#?}");
    }
    let (order, _) = ended(&fleet, &task("none", r#"["./notes", "exit", "{item}"]"#, "", &["7"])?).await?;
    ensure!(order.state == OrderState::Failed, "{order:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_takes_too_long_is_ended_and_a_missed_deadline_is_shown() -> Result<()> {
    let fleet = start().await?;
    let further = "timeLimit = \"1 s\"\n[sla]\ndeadline = { within = \"1 s\" }";
    let request = task("slow", r#"["./notes", "sleep", "{item}"]"#, further, &["0", "600"])?;
    let (order, items) = ended(&fleet, &request).await?;
    ensure!(order.state == OrderState::Partial, "{order:#?}");
    ensure!(items["600"].exit.as_deref() == Some("time limit"), "{:#?}", items["600"]);
    ensure!(items["0"].exit.as_deref() == Some("0"), "{:#?}", items["0"]);
    ensure!(order.reason.contains("later than the deadline of 1"), "{}", order.reason);
    let agreement = order.agreement.context("it has an agreement")?;
    let sla = fleet.client.sla(&agreement.to_string()).await?.value;
    let deadline = sla.objectives.iter().find(|o| o.name == "deadline").context("the deadline is shown")?;
    ensure!(deadline.status == chandler_api::sla::SlaStatus::Violated, "{deadline:?}");
    Ok(())
}

/// What a program says is kept, and what it did not leave behind is named.
#[tokio::test(flavor = "multi_thread")]
async fn missing_results_are_named_and_what_was_said_is_kept() -> Result<()> {
    let fleet = start().await?;
    let request = task("silent", r#"["./notes", "exit", "{item}"]"#, "outputs = [\"result.txt\"]", &["0"])?;
    let (order, items) = ended(&fleet, &request).await?;
    ensure!(order.state == OrderState::Completed, "{order:#?}");
    let item = &items["0"];
    ensure!(!item.outputs.iter().any(|o| o.path == "result.txt"), "{item:#?}");
    ensure!(item.reason.contains("result.txt"), "{item:#?}");

    let command = r#"["./notes", "wordcount", "{work}/none.txt", "{work}/out.txt"]"#;
    let (_, items) = ended(&fleet, &task("loud", command, "", &["0"])?).await?;
    let item = &items["0"];
    ensure!(item.exit.as_deref() == Some("2"), "{item:#?}");
    let said = fleet.client.service_output(&item.id.to_string(), "stderr").await?.bytes(4_096).await?;
    ensure!(String::from_utf8_lossy(&said).contains("none.txt"), "{item:#?}");
    Ok(())
}
