//! The story: who there is, what is ordered, what changes, what dies, and what it costs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use chandler_api::artifact::ArtifactPublish;
use chandler_api::bill::BillRun;
use chandler_api::client::{Client, Content};
use chandler_api::host::{HistoryImport, HostState};
use chandler_api::order::{Order, OrderRequest, OrderState};
use chandler_api::party::{PartyCreate, PartyRole};
use chandler_api::service::{Explanation, OperatingStatus, Service};
use chandler_api::site::{Rates, SiteCreate, SiteRole};
use chandler_api::sla::{SlaAmend, SlaTerms};
use chandler_api::value::Money;
use chandler_harness::wait::eventually;

use super::fleet::Fleet;
use super::report::{Narrator, Report};
use super::traffic::Traffic;

/// How long any one step may take.
const STEP: Duration = Duration::from_secs(60);
/// How long the service runs at each place before the next thing happens, so that there is something to bill.
const STAY: Duration = Duration::from_millis(1_500);
const HOUR: i64 = 3_600_000_000;

/// A machine of the demo: where it is, whose, at which rates (millionths an hour), how far, how often up.
struct Place {
    site: &'static str,
    owner: &'static str,
    role: SiteRole,
    country: &'static str,
    rates: (i64, i64),
    host: &'static str,
    delay: Duration,
    hours_up: i64,
    hours_down: i64,
}

const PLACES: [Place; 4] = [
    Place {
        site: "acme-office",
        owner: "acme",
        role: SiteRole::Customer,
        country: "DE",
        rates: (0, 0),
        host: "acme-laptop",
        delay: Duration::from_millis(3),
        hours_up: 400,
        hours_down: 320,
    },
    Place {
        site: "near-dc",
        owner: "provider",
        role: SiteRole::Provider,
        country: "DE",
        rates: (36_000, 5_000),
        host: "near-1",
        delay: Duration::from_millis(4),
        hours_up: 4_000,
        hours_down: 1,
    },
    Place {
        site: "far-dc",
        owner: "provider",
        role: SiteRole::Provider,
        country: "FI",
        rates: (18_000, 2_500),
        host: "far-1",
        delay: Duration::from_millis(14),
        hours_up: 4_000,
        hours_down: 3,
    },
    Place {
        site: "home-7",
        owner: "mara",
        role: SiteRole::Remote,
        country: "DE",
        rates: (6_000, 900),
        host: "mara-pc",
        delay: Duration::from_millis(8),
        hours_up: 970,
        hours_down: 30,
    },
];

const ORDER: &str = r#"
customer = "acme"
name     = "notes"

[software]
artifact = "notes@1.0.0"
command  = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}"]
limits   = { cpu = 0.5, memory = "128 MiB" }
port     = [{ name = "http", mode = "http" }]
state    = { path = "data", exclusive = false }
health   = { http = "/healthz", port = "http", interval = "500 ms" }
stop     = { grace = "2 s" }

[sla]
cost          = { max = "30 EUR/month" }
interactivity = { p95 = "80 ms" }
availability  = { min = "95 %" }
residency     = ["DE", "FI"]
"#;

/// Tells the whole story.
pub(super) async fn tell(fleet: &mut Fleet, narrator: &Narrator) -> anyhow::Result<Report> {
    let client = fleet.start_controller().await.context("starting the controller")?;
    narrator.say(&format!("controller listens on {}", fleet.url));
    people(fleet, &client, narrator).await?;
    publish(&client, narrator).await?;
    let traffic = Traffic::start();

    let order = buy(&client, narrator).await?;
    let first = settle(&client, &traffic, narrator, |_| true).await?;
    explain(&client, narrator).await?;
    stay(&client, &traffic).await;

    amend(&client, narrator).await?;
    let left = place_of(&first).context("the service is nowhere")?;
    let second = settle(&client, &traffic, narrator, |s| on_another(s, &left)).await?;
    stay(&client, &traffic).await;

    let victim = place_of(&second).context("the service is nowhere")?;
    narrator.say(&format!("{victim} dies: its agent and everything on it are killed (SIGKILL)"));
    fleet.kill_machine(&victim)?;
    settle(&client, &traffic, narrator, |s| on_another(s, &victim)).await?;
    let why = explain(&client, narrator).await?;
    stay(&client, &traffic).await;
    finish(&client, &traffic, narrator, order, &why).await
}

/// Who there is: parties, sites, and their machines.
async fn people(fleet: &mut Fleet, client: &Client, narrator: &Narrator) -> anyhow::Result<()> {
    for (name, role) in [("acme", PartyRole::Customer), ("mara", PartyRole::SiteOwner)] {
        client.party_create(&PartyCreate { name: name.to_owned(), roles: vec![role] }).await?;
    }
    for place in &PLACES {
        let money = |micros| Money { micros, currency: "EUR".to_owned() };
        let rates = Rates { core_hour: money(place.rates.0), gib_hour: money(place.rates.1) };
        client
            .site_create(&SiteCreate {
                name: place.site.to_owned(),
                owner: place.owner.to_owned(),
                role: place.role,
                country: place.country.to_owned(),
                rates,
            })
            .await?;
        fleet.start_agent(client, place.site, place.host, place.delay).await.context("starting an agent")?;
        let history = HistoryImport {
            up_micros: place.hours_up * HOUR,
            down_micros: place.hours_down * HOUR,
            outages: 1,
            source: "the demo's own monitoring".to_owned(),
        };
        client.host_history_import(place.host, &history).await?;
    }
    for place in &PLACES {
        let host = eventually("a host to be active", STEP, || async {
            client.host(place.host).await.ok().filter(|h| h.state == HostState::Active && h.rtt_micros.is_some())
        })
        .await?;
        narrator.say(&format!(
            "{:<11} joined {:<11} {:>4} ms away, up {:>8}, {} EUR a core-hour",
            place.host,
            place.site,
            host.rtt_micros.map_or(0, |r| r.0 / 1_000),
            host.availability_ppm.to_string(),
            Money { micros: place.rates.0, currency: String::new() }.amount(),
        ));
    }
    Ok(())
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

/// Orders the service and waits until it runs.
async fn buy(client: &Client, narrator: &Narrator) -> anyhow::Result<Order> {
    let request: OrderRequest = toml::from_str(ORDER)?;
    narrator.say("acme orders notes: at most 30 EUR/month, 95 % of answers within 80 ms, up 95 %, in DE or FI");
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

/// The customer wants more: the agreement is amended.
async fn amend(client: &Client, narrator: &Narrator) -> anyhow::Result<()> {
    let sla = client.sla("notes").await?;
    narrator.say("acme amends the SLA: up 99.5 % instead of 95 %");
    let text = ORDER.split_once("[sla]").map(|(_, sla)| sla.replace("95 %", "99.5 %")).unwrap_or_default();
    let terms: SlaTerms = toml::from_str(&text)?;
    let order = client.sla_amend("notes", &SlaAmend { sla: terms }, &sla.etag).await?;
    settled(client, &order).await?;
    Ok(())
}

/// The host it is on, now that no other copy is on its way out.
fn place_of(service: &Service) -> Option<String> {
    service.placements.iter().find(|p| p.state == "allocated").map(|p| p.host.clone())
}

fn on_another(service: &Service, host: &str) -> bool {
    let mut staying = service.placements.iter().filter(|p| p.state != "releasing").peekable();
    staying.peek().is_some() && staying.all(|p| p.host != host && p.phase == "running")
}

/// Waits until the service runs where it is wanted, with its user on its heels.
async fn settle(
    client: &Client,
    traffic: &Traffic,
    narrator: &Narrator,
    wanted: impl Fn(&Service) -> bool,
) -> anyhow::Result<Service> {
    let service = eventually("the service to run", STEP, || async {
        let service = client.service("notes").await.ok()?;
        traffic.follow(&service);
        (service.operating_status == OperatingStatus::Running && wanted(&service)).then_some(service)
    })
    .await?;
    if let Some(place) = service.placements.iter().find(|p| p.state != "releasing") {
        let port = place.ports.first().map_or(0, |p| p.port);
        narrator.say(&format!("notes answers on {} ({}), 127.0.0.1:{port}", place.host, place.site));
    }
    Ok(service)
}

/// Lets time pass, with the user following the service.
async fn stay(client: &Client, traffic: &Traffic) {
    let end = tokio::time::Instant::now() + STAY;
    while tokio::time::Instant::now() < end {
        if let Ok(service) = client.service("notes").await {
            traffic.follow(&service);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
    traffic: &Traffic,
    narrator: &Narrator,
    order: Order,
    why: &Explanation,
) -> anyhow::Result<Report> {
    let run = BillRun { customer: Some("acme".to_owned()), month: None };
    let bill = eventually("usage of all three places to be billed", STEP, || async {
        let bills = client.bill_run(&run).await.ok()?;
        bills.items.into_iter().find(|b| b.lines.len() >= 3)
    })
    .await?;
    narrator.say(&format!("bill for {}: {} in {} lines", bill.month, bill.total, bill.lines.len()));
    let ledger = client.ledger_check().await?;
    Ok(Report {
        order: client.order(&order.id.to_string()).await?,
        service: client.service("notes").await?,
        explained: why.refused.iter().map(|r| format!("{}: {}", r.host, r.reason)).collect(),
        requests: traffic.so_far(),
        bill,
        ledger_balanced: ledger.balanced,
        expected_replacements: 2,
    })
}
