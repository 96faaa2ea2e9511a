//! The story: what is ordered, what changes, what dies, what is drained, and what it costs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use chandler_api::artifact::ArtifactPublish;
use chandler_api::bill::BillRun;
use chandler_api::client::{Client, Content};
use chandler_api::drain::DrainRequest;
use chandler_api::order::{Order, OrderRequest, OrderState};
use chandler_api::service::{Explanation, OperatingStatus, Service};
use chandler_api::sla::{SlaAmend, SlaTerms};
use chandler_harness::wait::eventually;

use super::fleet::Fleet;
use super::journey::Journeys;
use super::people::{self, LAPTOP};
use super::report::{Narrator, Report};
use super::traffic::User;

/// How long any one step may take.
pub(super) const STEP: Duration = Duration::from_secs(60);
/// How long the services run at each place before the next thing happens, so that there is something to bill.
const STAY: Duration = Duration::from_millis(1_000);

/// A service with state that one copy at a time may write.
const NOTES: &str = r#"
customer = "acme"
name     = "notes"

[software]
artifact = "notes@1.0.0"
command  = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}"]
limits   = { cpu = 0.5, memory = "128 MiB" }
port     = [{ name = "http", mode = "http" }]
state    = { path = "data", exclusive = true }
health   = { http = "/healthz", port = "http", interval = "200 ms" }
stop     = { grace = "2 s" }

[policy.move]
hold = "10 s"

[sla]
cost          = { max = "30 EUR/month" }
interactivity = { p95 = "250 ms" }
availability  = { min = "95 %" }
residency     = ["DE", "FI"]
"#;

/// A service that keeps nothing, and may begin anew anywhere.
const PAGE: &str = r#"
customer = "acme"
name     = "page"

[software]
artifact = "notes@1.0.0"
command  = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{work}"]
limits   = { cpu = 0.5, memory = "128 MiB" }
port     = [{ name = "http", mode = "http" }]
health   = { http = "/healthz", port = "http", interval = "200 ms" }
stop     = { grace = "2 s" }

[policy.move]
hold = "10 s"

[sla]
availability  = { min = "95 %" }
"#;

/// Tells the whole story.
pub(super) async fn tell(fleet: &mut Fleet, narrator: &Narrator) -> anyhow::Result<Report> {
    let client = fleet.start_controller().await.context("starting the controller")?;
    narrator.say(&format!("controller listens on {}", fleet.url));
    people::gather(fleet, &client, narrator).await?;
    publish(&client, narrator).await?;
    let mut journeys = Journeys::default();

    narrator.say("acme orders notes: at most 30 EUR/month, 95 % of answers within 250 ms, up 95 %, in DE or FI");
    let order = buy(&client, narrator, NOTES).await?;
    narrator.say("acme orders page, which keeps no state: up 95 %");
    buy(&client, narrator, PAGE).await?;
    let users = [use_it(&client, narrator, "notes").await?, use_it(&client, narrator, "page").await?];
    explain(&client, narrator).await?;
    tokio::time::sleep(STAY).await;

    let left = place_of(&client, "notes").await?;
    amend(&client, narrator).await?;
    journeys.follow(&client, narrator, 1).await?;
    moved(&client, "notes", &left).await?;
    tokio::time::sleep(STAY).await;

    let victim = place_of(&client, "page").await?;
    narrator.say(&format!("{victim} dies: its agent and everything on it are killed (SIGKILL)"));
    fleet.kill_machine(&victim)?;
    journeys.follow(&client, narrator, 2).await?;
    moved(&client, "page", &victim).await?;
    tokio::time::sleep(STAY).await;

    let drained = place_of(&client, "notes").await?;
    narrator.say(&format!("the provider drains {drained} for a repair"));
    client.host_drain(&drained, &DrainRequest { reason: "repair".to_owned() }).await?;
    journeys.follow(&client, narrator, 4).await?;
    moved(&client, "notes", &drained).await?;
    let why = explain(&client, narrator).await?;
    tokio::time::sleep(STAY).await;
    finish(&client, &users, narrator, order, &why).await
}

/// Packs and publishes the application.
async fn publish(client: &Client, narrator: &Narrator) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let packed = crate::pack::pack(&chandler_harness::write_notes(dir.path())?)?;
    let what = ArtifactPublish {
        name: "notes".to_owned(),
        version: "1.0.0".to_owned(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        digest: packed.digest,
    };
    let artifact = client.artifact_publish(&what, Content::from(packed.bytes()?)).await?;
    narrator.say(&format!("published notes@1.0.0, {} bytes, {}", packed.length, artifact.platform));
    Ok(())
}

/// Orders a service and waits until it runs.
async fn buy(client: &Client, narrator: &Narrator, order: &str) -> anyhow::Result<Order> {
    let request: OrderRequest = toml::from_str(order)?;
    let order = client.order_submit(&request).await?;
    let order = settled(client, &order).await?;
    narrator.say(&format!("order {} is completed: {}", order.id, order.reason));
    Ok(order)
}

async fn settled(client: &Client, order: &Order) -> anyhow::Result<Order> {
    let id = order.id.to_string();
    let order = eventually("the order to be settled", STEP, || async {
        let order = client.order(&id).await.ok()?;
        (!matches!(order.state, OrderState::Acknowledged | OrderState::InProgress)).then_some(order)
    })
    .await?;
    if order.state != OrderState::Completed {
        bail!("order {} was not completed: {}", order.id, order.reason);
    }
    Ok(order)
}

/// Somebody begins to use a service at its front door on acme's computer.
async fn use_it(client: &Client, narrator: &Narrator, name: &str) -> anyhow::Result<User> {
    let address = eventually("the front door to listen", STEP, || async {
        let service = client.service(name).await.ok()?;
        let door = service.front.iter().find(|d| d.host == LAPTOP && d.connected)?;
        door.addresses.first().map(|a| format!("http://{}", a.address))
    })
    .await?;
    narrator.say(&format!("{name} is used at {address} on {LAPTOP}, from now on and wherever it runs"));
    Ok(User::start(address, name == "notes"))
}

/// The customer wants more: the agreement is amended.
async fn amend(client: &Client, narrator: &Narrator) -> anyhow::Result<()> {
    let sla = client.sla("notes").await?;
    narrator.say("acme amends the SLA of notes: up 99.5 % instead of 95 %");
    let text = NOTES.split_once("[sla]").map(|(_, sla)| sla.replace("95 %", "99.5 %")).unwrap_or_default();
    let terms: SlaTerms = toml::from_str(&text)?;
    client.sla_amend("notes", &SlaAmend { sla: terms }, &sla.etag).await?;
    Ok(())
}

/// The host that a service is on.
async fn place_of(client: &Client, service: &str) -> anyhow::Result<String> {
    let service = client.service(service).await?;
    let staying = service.placements.iter().find(|p| p.state == "allocated");
    staying.map(|p| p.host.clone()).with_context(|| format!("{} is nowhere", service.name))
}

/// Waits until a service runs elsewhere, and nowhere else.
async fn moved(client: &Client, service: &str, from: &str) -> anyhow::Result<Service> {
    let elsewhere = |s: &Service| {
        let mut staying = s.placements.iter().filter(|p| p.state != "releasing").peekable();
        staying.peek().is_some() && staying.all(|p| p.host != from && p.phase == "running")
    };
    Ok(eventually("the service to run elsewhere", STEP, || async {
        let service = client.service(service).await.ok()?;
        (service.operating_status == OperatingStatus::Running && elsewhere(&service)).then_some(service)
    })
    .await?)
}

/// Why here and why not there.
async fn explain(client: &Client, narrator: &Narrator) -> anyhow::Result<Explanation> {
    let why = client.service_explain("notes").await?;
    let mut text = vec![format!("why: {}", why.text)];
    for candidate in &why.candidates {
        let mark = if candidate.chosen { "->" } else { "  " };
        text.push(format!("{mark} {:<11} {:>9} EUR/month", candidate.host, candidate.price_month.amount().to_string()));
    }
    text.extend(why.refused.iter().map(|r| format!("   {:<11} refused by {}: {}", r.host, r.rule, r.reason)));
    narrator.say(&text.join("\n"));
    Ok(why)
}

/// The bill, the books, and everything else that is shown in the end.
async fn finish(
    client: &Client,
    users: &[User; 2],
    narrator: &Narrator,
    order: Order,
    why: &Explanation,
) -> anyhow::Result<Report> {
    let [writer, _] = users;
    let lost_notes = writer.lost().await?;
    let run = BillRun { customer: Some("acme".to_owned()), month: None };
    let bill = eventually("usage of all three places to be billed", STEP, || async {
        let bills = client.bill_run(&run).await.ok()?;
        bills.items.into_iter().find(|b| b.lines.iter().filter(|l| l.service == "notes").count() >= 3)
    })
    .await?;
    narrator.say(&format!("bill for {}: {} in {} lines", bill.month, bill.total, bill.lines.len()));
    let ledger = client.ledger_check().await?;
    let mut moves = client.moves(&Default::default()).await?.items;
    moves.sort_by_key(|m| m.started_at);
    Ok(Report {
        order: client.order(&order.id.to_string()).await?,
        services: vec![client.service("notes").await?, client.service("page").await?],
        moves,
        explained: why.refused.iter().map(|r| format!("{}: {}", r.host, r.reason)).collect(),
        requests: users.iter().map(User::record).collect(),
        lost_notes,
        bill,
        ledger_balanced: ledger.balanced,
    })
}
