//! What the customer orders, and how it is used.

use anyhow::bail;
use chandler_api::artifact::ArtifactPublish;
use chandler_api::client::{Client, Content};
use chandler_api::order::{Order, OrderRequest, OrderState};
use chandler_api::sla::{SlaAmend, SlaTerms};
use chandler_harness::wait::eventually;

use super::report::Narrator;
use super::story::STEP;
use super::traffic::User;

/// A service with state that one copy at a time may write. It never moves for a bargain, only for a reason.
pub(super) const NOTES: &str = r#"
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

[policy]
move     = { hold = "10 s" }
criteria = { cheaper = false }

[sla]
cost          = { max = "30 EUR/month" }
interactivity = { p95 = "1 s" }
availability  = { min = "95 %" }
residency     = ["DE", "FI"]
"#;

/// A service that keeps nothing, and may begin anew anywhere. NAME and OWNERS are filled in.
const PAGE: &str = r#"
customer = "acme"
name     = "NAME"

[software]
artifact = "notes@1.0.0"
command  = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{work}"]
limits   = { cpu = 0.5, memory = "128 MiB" }
port     = [{ name = "http", mode = "http" }]
health   = { http = "/healthz", port = "http", interval = "200 ms" }
stop     = { grace = "2 s" }

[policy]
owners   = [OWNERS]
move     = { hold = "10 s" }
criteria = { cheaper = false }

[sla]
availability  = { min = "95 %" }
"#;

/// A service that keeps nothing, and may run on computers of these owners.
pub(super) fn page(name: &str, owners: &[&str]) -> String {
    let owners: Vec<_> = owners.iter().map(|o| format!("\"{o}\"")).collect();
    PAGE.replace("NAME", name).replace("OWNERS", &owners.join(", "))
}

/// Packs and publishes the application.
pub(super) async fn publish(clients: &[&Client], narrator: &Narrator) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let packed = crate::pack::pack(&chandler_harness::write_notes(dir.path())?)?;
    let bytes = packed.bytes()?;
    let what = ArtifactPublish {
        name: "notes".to_owned(),
        version: "1.0.0".to_owned(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        digest: packed.digest,
    };
    for client in clients {
        client.artifact_publish(&what, Content::from(bytes.clone())).await?;
    }
    narrator.say(&format!("the software notes@1.0.0 is published, {} bytes, {}", packed.length, what.platform));
    Ok(())
}

/// Orders a service and waits until it runs.
pub(super) async fn buy(client: &Client, narrator: &Narrator, order: &str) -> anyhow::Result<Order> {
    let request: OrderRequest = toml::from_str(order)?;
    let order = client.order_submit(&request).await?;
    let order = narrator.patiently(&format!("{} to run", request.name), settled(client, &order)).await?;
    narrator.say(&format!("  order {} is completed: {}", order.id, order.reason));
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

/// Somebody begins to use a service at its front door on one of acme's computers.
pub(super) async fn use_it(client: &Client, narrator: &Narrator, name: &str, on: &str) -> anyhow::Result<User> {
    let listens = async {
        let address = eventually("the front door to listen", STEP, || async {
            let service = client.service(name).await.ok()?;
            let door = service.front.iter().find(|d| d.host == on && d.connected)?;
            door.addresses.first().map(|a| format!("http://{}", a.address))
        });
        Ok(address.await?)
    };
    let address = narrator.patiently(&format!("the front door of {name}"), listens).await?;
    narrator.say(&format!("{name} is used at {address} on {on}, from now on and wherever it runs"));
    Ok(User::start(name, address, name == "notes"))
}

/// Amends the SLA of notes: up 99.5 % instead of 95 %. The order for it is completed when the move that follows is.
pub(super) async fn amend_notes(client: &Client) -> anyhow::Result<Order> {
    let sla = client.sla("notes").await?;
    let text = NOTES.split_once("[sla]").map(|(_, sla)| sla.replace("95 %", "99.5 %")).unwrap_or_default();
    let terms: SlaTerms = toml::from_str(&text)?;
    Ok(client.sla_amend("notes", &SlaAmend { sla: terms }, &sla.etag).await?)
}

/// Waits until an amendment is carried out.
///
/// # Errors
/// It was rejected, for a reason that the error says.
pub(super) async fn carried_out(client: &Client, narrator: &Narrator, order: &Order) -> anyhow::Result<()> {
    narrator.patiently("the amendment to be carried out", settled(client, order)).await?;
    Ok(())
}
