//! Orders that cannot be: each refusal says what is wrong and what to do, ends with its own exit status, and leaves
//! nothing behind.

use anyhow::{Context, Result, ensure};
use chandler_api::bill::BillRun;
use chandler_api::client::{Client, ClientError, all};
use chandler_api::order::OrderState;
use chandler_harness::wait::eventually;
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::orders;

use crate::ground::{balanced, billed, cellar, notes};

/// An order file that is well but for what is put in.
fn file(artifact: &str, sla: &str) -> String {
    format!(
        r#"customer = "acme"
name = "notes"

[software]
artifact = "{artifact}"
command = ["./notes", "--listen", "127.0.0.1:{{port.http}}", "--data", "{{state}}"]
limits = {{ cpu = 0.5, memory = "128 MiB" }}
port = [{{ name = "http", mode = "http" }}]
state = {{ path = "data" }}
health = {{ http = "/healthz", port = "http", interval = "200 ms" }}

[sla]
{sla}
"#
    )
}

async fn start() -> Result<(Fleet, Person)> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    let person = Person::new(&fleet, "operator", &fleet.token)?;
    Ok((fleet, person))
}

/// Submits what is in `text`; it must end with `exit` and say each of `words`.
fn refused(person: &Person, text: &str, exit: i32, words: &[&str]) -> Result<()> {
    std::fs::write(person.home().join("order.toml"), text)?;
    let said = person.refused(exit, &["order", "submit", "-f", "order.toml", "--wait"])?;
    for word in words {
        ensure!(said.contains(word), "it does not say {word:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_order_file_is_explained_and_orders_nothing() -> Result<()> {
    let (fleet, person) = start().await?;
    let good = file("notes@1.0.0", "");
    refused(&person, &good.replace("memory =", "memroy ="), 1, &["order.toml", "line 7", "memroy", "memory"])?;
    refused(&person, &good.replace("128 MiB", "128 apples"), 1, &["line 7", "128 apples"])?;
    refused(&person, &good.replace("name = \"notes\"", "name = \"notes"), 1, &["line 2"])?;
    refused(&person, &good.replace("cpu = 0.5", "cpu = 5000"), 1, &["line 7", "cpu", "1024"])?;
    refused(&person, &good.replace("\"notes\"\n", "\"No Such Name!\"\n"), 1, &["name", "a-z"])?;
    refused(&person, &file("nodes@1.0.0", ""), 5, &["E0401", "nodes@1.0.0", "notes@1.0.0"])?;
    let ended = person.run(&["order", "submit", "-f", "nowhere.toml"])?;
    ensure!(ended.exit == Some(1) && ended.stderr.contains("nowhere.toml"), "{ended:#?}");
    ensure!(all(|page| fleet.client.orders(page)).await?.is_empty(), "something was ordered");
    Ok(())
}

/// What is proposed as nearest is meant: with it the same order is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_sla_that_nobody_meets_names_the_nearest_and_that_works() -> Result<()> {
    let (fleet, person) = start().await?;
    let text = file("notes@1.0.0", "cost = { max = \"0.01 EUR/month\" }");
    refused(&person, &text, 7, &["E0301", "sla.cost.max"])?;
    let orders = all(|page| fleet.client.orders(page)).await?;
    let rejected = orders.first().context("the rejected order is kept")?;
    ensure!(rejected.state == OrderState::Rejected && rejected.service.is_none(), "{rejected:#?}");
    let nearest = rejected.nearest.iter().find(|a| a.term == "sla.cost.max");
    let nearest = nearest.context("a nearest cost is proposed")?;
    let set = format!("{}={}", nearest.term, nearest.value);
    let done = person.json(&["order", "submit", "-f", "order.toml", "--set", &set, "--wait"])?;
    ensure!(done["state"] == "completed", "{done}");
    fleet.running_where("notes", |_| true).await?;
    Ok(())
}

/// Whether this is the answer "there is no such thing", the same for what is another's and for what is not.
fn is_not_found<T>(answer: Result<T, ClientError>) -> Result<()> {
    match answer {
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(()),
        Err(other) => Err(anyhow::anyhow!("another error: {other}")),
        Ok(_) => Err(anyhow::anyhow!("it was given")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_customer_is_not_found() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme: Client = cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let other = fleet.customer("other").await?;
    let (service, process) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    eventually("some use to be billed", PATIENCE, || async {
        billed(&fleet, "acme", "notes").await.ok().filter(|time| !time.is_zero())
    })
    .await?;
    let bill = fleet.client.bill_run(&BillRun { customer: Some("acme".to_owned()), month: None }).await?;
    let bill = bill.items.first().context("there is a bill")?.id.to_string();
    let (id, order, agreement) = (service.id.to_string(), service.order.to_string(), service.agreement.to_string());
    // For its own customer everything is there.
    acme.service(&id).await?;
    acme.order(&order).await?;
    acme.bill(&bill).await?;
    let etag = acme.sla(&agreement).await?.etag;
    for reference in [id.as_str(), "notes"] {
        is_not_found(other.service(reference).await)?;
        is_not_found(other.service_explain(reference).await)?;
        is_not_found(other.service_logs(reference, &Default::default()).await)?;
        is_not_found(other.service_delete(reference).await)?;
        is_not_found(other.service_output(reference, "stdout").await.map(drop))?;
    }
    is_not_found(other.order(&order).await)?;
    is_not_found(other.order_cancel(&order).await)?;
    is_not_found(other.sla(&agreement).await)?;
    is_not_found(other.sla_history(&agreement, Default::default()).await)?;
    let amend = chandler_api::sla::SlaAmend { sla: Default::default() };
    is_not_found(other.sla_amend(&agreement, &amend, &etag).await)?;
    is_not_found(other.bill(&bill).await)?;
    ensure!(all(|page| other.orders(page)).await?.is_empty());
    ensure!(all(|page| other.bills(page)).await?.is_empty());
    let foreign = orders::notes("acme", "foreign", "")?;
    ensure!(other.order_submit(&foreign).await.is_err(), "it ordered in another's name");
    ensure!(process.is_alive());
    balanced(&fleet).await
}
