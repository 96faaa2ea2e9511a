//! The story: what is ordered, what changes, what dies, what is taken back, what is drained, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chandler_api::client::Client;
use chandler_api::drain::DrainRequest;
use chandler_api::host::Host;
use chandler_api::market::OfferChange;
use chandler_api::movement::{MoveRequest, MoveTo};
use chandler_api::order::Order;
use chandler_api::service::{Explanation, OperatingStatus, Service};
use chandler_harness::wait::eventually;

use super::cast::{self, BAZAAR, DESK, HANSA, LAPTOP, MARA, NEAR, NORDIC, PARTS, RACK, RACK_RATES, TILL, TIMO};
use super::fleet::Fleet;
use super::journey::{self, Journeys};
use super::orders::{self, NOTES, buy, use_it};
use super::outcome::Report;
use super::report::Narrator;
use super::settle::settle;
use super::traffic::User;

/// How long any one step may take.
pub(super) const STEP: Duration = Duration::from_secs(60);
/// How long the services run at each place before the next thing happens, so that there is something to bill.
const STAY: Duration = Duration::from_millis(700);
/// What nordic asks for later, in millionths: too much for the SLA of notes.
const DEAR: (i64, i64) = (90_000, 12_500);

/// Who is in the story from the first order on.
struct Scene<'f> {
    fleet: &'f mut Fleet,
    narrator: &'f Narrator,
    journeys: Journeys,
    hansa: Arc<Client>,
    lotus: Arc<Client>,
    nordic: Arc<Client>,
    bazaar: Arc<Client>,
}

/// Tells the whole story.
pub(super) async fn tell(fleet: &mut Fleet, narrator: &Narrator) -> anyhow::Result<Report> {
    narrator.patiently("four controllers to start", fleet.start_controllers()).await.context("starting")?;
    for (part, url, _) in fleet.controllers() {
        narrator.say(&format!("{:<7} {} ({}): {url}", part.name, part.says, part.roles.join(", ")));
    }
    cast::gather(fleet, narrator).await?;
    let [hansa, nordic, bazaar, lotus] = PARTS.each_ref().map(|part| fleet.client(part.name).cloned());
    let (hansa, nordic, bazaar, lotus) = (hansa?, nordic?, bazaar?, lotus?);
    let journeys = Journeys::default();
    let mut scene = Scene { fleet, narrator, journeys, hansa, lotus, nordic, bazaar };
    orders::publish(&[&scene.hansa, &scene.lotus], narrator).await?;
    let (order, users) = scene.orders().await?;
    scene.amends().await?;
    scene.owner_returns().await?;
    scene.machine_dies().await?;
    scene.price_rises().await?;
    scene.comes_home().await?;
    scene.is_drained().await?;
    scene.ends(order, &users).await
}

impl Scene<'_> {
    fn say(&self, text: &str) {
        self.narrator.say(text);
    }

    async fn orders(&mut self) -> anyhow::Result<(Order, Vec<User>)> {
        self.say("acme orders notes from hansa: at most 30 EUR/month, up 95 %, in DE or FI");
        let order = buy(&self.hansa, self.narrator, NOTES).await?;
        explain(&self.hansa, self.narrator).await?;
        self.say("acme orders page from hansa, which keeps no state: up 95 %");
        let anywhere = ["customer", "provider", "partner", "remote"];
        buy(&self.hansa, self.narrator, &orders::page("page", &anywhere)).await?;
        self.say("acme orders shop from lotus, which has no machine: only strangers' PCs, up 95 %");
        buy(&self.lotus, self.narrator, &orders::page("shop", &["remote"])).await?;
        let users = vec![
            use_it(&self.hansa, self.narrator, "notes", LAPTOP).await?,
            use_it(&self.hansa, self.narrator, "page", LAPTOP).await?,
            use_it(&self.lotus, self.narrator, "shop", TILL).await?,
        ];
        tokio::time::sleep(STAY).await;
        Ok((order, users))
    }

    /// The customer wants more: from a PC to the partner's server.
    async fn amends(&mut self) -> anyhow::Result<()> {
        let left = place_of(&self.hansa, "notes").await?;
        self.say("acme amends the SLA of notes: up 99.5 % instead of 95 %");
        let order = orders::amend_notes(&self.hansa).await?;
        let carried_out = orders::carried_out(&self.hansa, self.narrator, &order);
        let clients: [&Client; 1] = [&self.hansa];
        let follows = self.journeys.follow(&clients, self.narrator, &[("notes", "slaAmended")]);
        tokio::try_join!(carried_out, follows)?;
        self.stays(&self.hansa, "notes", &left).await
    }

    /// A PC's owner wants it back: to another owner's PC, at hansa and at lotus.
    async fn owner_returns(&mut self) -> anyhow::Result<()> {
        let lot = format!("{BAZAAR}.{MARA}");
        self.say("mara wants her PC for herself: bazaar gives 10 minutes' notice to all who lease it");
        self.bazaar.host_drain(MARA, &DrainRequest { reason: "mara is at home".to_owned() }).await?;
        self.both_move("predictedAvailability", &lot).await?;
        self.say("mara is off again, and her PC is on offer again");
        self.bazaar.host_undrain(MARA).await?;
        self.is_open(&lot).await
    }

    /// The other PC dies: back to the first.
    async fn machine_dies(&mut self) -> anyhow::Result<()> {
        self.say(&format!("{TIMO} dies: its agent and everything on it are killed (SIGKILL)"));
        self.fleet.kill_machine(TIMO)?;
        self.both_move("hostFailed", &format!("{BAZAAR}.{TIMO}")).await
    }

    /// The partner asks for more than the SLA allows: to the provider's own server.
    async fn price_rises(&mut self) -> anyhow::Result<()> {
        let left = place_of(&self.hansa, "notes").await?;
        let asks = |rates| cast::rates(rates).core_hour;
        self.say(&format!("nordic asks {} a core-hour instead of {}", asks(DEAR), asks(RACK_RATES)));
        self.nordic_asks(DEAR).await?;
        self.journeys.follow(&[&self.hansa], self.narrator, &[("notes", "price")]).await?;
        self.stays(&self.hansa, "notes", &left).await?;
        self.say(&format!("nordic has lost its customer, and asks {} again", asks(RACK_RATES)));
        self.nordic_asks(RACK_RATES).await
    }

    /// The customer takes a service to its own computer.
    async fn comes_home(&mut self) -> anyhow::Result<()> {
        let left = place_of(&self.hansa, "page").await?;
        self.say("acme moves page to its own computer");
        let acme = self.fleet.customer(HANSA, "acme").await?;
        acme.service_move("page", &MoveRequest { to: MoveTo::Host(DESK.to_owned()) }).await?;
        self.journeys.follow(&[&self.hansa], self.narrator, &[("page", "operator")]).await?;
        self.stays(&self.hansa, "page", &left).await
    }

    /// The provider needs its server: to the partner's again.
    async fn is_drained(&mut self) -> anyhow::Result<()> {
        self.say(&format!("hansa drains {NEAR} for a repair"));
        self.hansa.host_drain(NEAR, &DrainRequest { reason: "repair".to_owned() }).await?;
        self.journeys.follow(&[&self.hansa], self.narrator, &[("notes", "providerCriterion")]).await?;
        self.stays(&self.hansa, "notes", NEAR).await
    }

    /// Page and shop, which share a PC, both leave it.
    async fn both_move(&mut self, trigger: &str, left: &str) -> anyhow::Result<()> {
        let wanted = [("page", trigger), ("shop", trigger)];
        self.journeys.follow(&[&self.hansa, &self.lotus], self.narrator, &wanted).await?;
        self.stays(&self.hansa, "page", left).await?;
        self.stays(&self.lotus, "shop", left).await
    }

    /// Waits until a service runs elsewhere and nowhere else, and lets it.
    async fn stays(&self, client: &Client, service: &str, left: &str) -> anyhow::Result<()> {
        let what = format!("{service} to have left {left}");
        self.narrator.patiently(&what, moved(client, service, left)).await?;
        tokio::time::sleep(STAY).await;
        Ok(())
    }

    async fn nordic_asks(&self, rates: (i64, i64)) -> anyhow::Result<()> {
        let rates = cast::rates(rates);
        let offer = self.nordic.offer(RACK).await?;
        let change = OfferChange { rates: Some(rates.clone()), ..OfferChange::default() };
        self.nordic.offer_change(&offer.value.id.to_string(), &change, &offer.etag).await?;
        let site = format!("{NORDIC}.{RACK}");
        let known = async {
            Ok(eventually("the rates to be known", STEP, || async {
                self.hansa.site(&site).await.ok().filter(|s| s.value.rates == rates)
            })
            .await?)
        };
        self.narrator.patiently("hansa to hear of it", known).await?;
        Ok(())
    }

    /// Waits until a machine that was taken back can be used again by both who buy there.
    async fn is_open(&self, host: &str) -> anyhow::Result<()> {
        for client in [&self.hansa, &self.lotus] {
            let open = async {
                Ok(eventually("it to be on offer", STEP, || async { client.host(host).await.ok().filter(has_room) })
                    .await?)
            };
            self.narrator.patiently(&format!("{host} to be on offer"), open).await?;
        }
        Ok(())
    }

    /// The bill, the books, and everything else that is shown in the end.
    async fn ends(&mut self, order: Order, users: &[User]) -> anyhow::Result<Report> {
        let why = explain(&self.hansa, self.narrator).await?;
        let [writer, ..] = users else { anyhow::bail!("nobody writes notes") };
        let lost_notes = writer.lost().await?;
        let money = settle(self.fleet, self.narrator).await?;
        let mut services = Vec::new();
        for (client, name) in [(&self.hansa, "notes"), (&self.hansa, "page"), (&self.lotus, "shop")] {
            services.push(client.service(name).await?);
        }
        Ok(Report {
            order: self.hansa.order(&order.id.to_string()).await?,
            services,
            moves: journey::all(&[&self.hansa, &self.lotus]).await?,
            explained: why.refused.iter().map(|r| format!("{}: {}", r.host, r.reason)).collect(),
            requests: users.iter().map(User::record).collect(),
            lost_notes,
            money,
        })
    }
}

/// Whether two of the demo's services can begin on a machine.
fn has_room(host: &Host) -> bool {
    host.offered.milli_cpu.0 >= host.reserved.milli_cpu.0 + 1_000
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
    let mut text = vec![format!("  why: {}", why.text)];
    for candidate in &why.candidates {
        let mark = if candidate.chosen { "->" } else { "  " };
        text.push(format!(
            "  {mark} {:<14} {:>6} EUR/month",
            candidate.host,
            candidate.price_month.amount().to_string()
        ));
    }
    text.extend(why.refused.iter().map(|r| format!("     {:<14} refused by {}: {}", r.host, r.rule, r.reason)));
    narrator.say(&text.join("\n"));
    Ok(why)
}
