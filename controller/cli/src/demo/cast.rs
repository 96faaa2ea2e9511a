//! Who there is in the demo: four controllers and who buys from whom, their customers and site owners, and the machines.

use std::time::Duration;

use anyhow::Context as _;
use chandler_api::client::Client;
use chandler_api::host::{HistoryImport, Host, HostState};
use chandler_api::market::OfferPost;
use chandler_api::partner::{PartnerAccept, PartnerInvite, Scope};
use chandler_api::party::{PartyCreate, PartyRole};
use chandler_api::site::{Rates, SiteCreate, SiteRole};
use chandler_api::value::{Money, Span};
use chandler_harness::wait::eventually;
use chandler_protocol::Micros;

use super::fleet::Fleet;
use super::report::Narrator;
use super::story::STEP;

const HOUR: i64 = 3_600_000_000;

/// The provider, which has a server of its own and also buys.
pub(super) const HANSA: &str = "hansa";
/// Another provider, hansa's partner.
pub(super) const NORDIC: &str = "nordic";
/// The marketplace of private PCs.
pub(super) const BAZAAR: &str = "bazaar";
/// The virtual provider.
pub(super) const LOTUS: &str = "lotus";

/// The computer of the customer's with the front doors of what hansa runs for it.
pub(super) const LAPTOP: &str = "acme-laptop";
/// The customer's computer that can run something itself.
pub(super) const DESK: &str = "acme-desk";
/// The computer of the customer's with the front door of what lotus runs for it.
pub(super) const TILL: &str = "acme-till";
/// Mara's PC, which she sells at the marketplace.
pub(super) const MARA: &str = "mara-pc";
/// Timo's.
pub(super) const TIMO: &str = "timo-pc";
/// Hansa's server.
pub(super) const NEAR: &str = "near-1";
/// Nordic's site.
pub(super) const RACK: &str = "rack";

/// What nordic asks for a core-hour and a GiB-hour at first, in millionths.
pub(super) const RACK_RATES: (i64, i64) = (18_000, 2_500);

/// A controller of the demo.
pub(super) struct Part {
    /// What it is called: so do its partners.
    pub(super) name: &'static str,
    /// What it is to others.
    pub(super) roles: &'static [&'static str],
    /// In words.
    pub(super) says: &'static str,
}

/// The four controllers.
pub(super) const PARTS: [Part; 4] = [
    Part { name: HANSA, roles: &["provider", "valueAdded"], says: "a provider with one server, which also buys" },
    Part { name: NORDIC, roles: &["provider"], says: "another provider with one server, which it sells to partners" },
    Part { name: BAZAAR, roles: &["marketplace"], says: "a marketplace where two PC owners sell spare hours" },
    Part { name: LOTUS, roles: &["virtual"], says: "a virtual provider: customers, and no machine of its own" },
];

/// Who buys from whom.
pub(super) const TRADES: [(&str, &str); 3] = [(HANSA, NORDIC), (HANSA, BAZAAR), (LOTUS, BAZAAR)];

/// Customers and site owners, and whose.
const PARTIES: [(&str, &str, PartyRole); 4] = [
    (HANSA, "acme", PartyRole::Customer),
    (LOTUS, "acme", PartyRole::Customer),
    (BAZAAR, "mara", PartyRole::SiteOwner),
    (BAZAAR, "timo", PartyRole::SiteOwner),
];

/// A machine: its home, where it is, whose, at which rates (millionths an hour), how far, how often up.
pub(super) struct Place {
    pub(super) home: &'static str,
    pub(super) site: &'static str,
    owner: &'static str,
    role: SiteRole,
    country: &'static str,
    rates: (i64, i64),
    pub(super) host: &'static str,
    pub(super) delay: Duration,
    hours_up: i64,
    hours_down: i64,
    /// Thousandths of a core that its owner gives to the fleet.
    pub(super) cpu: &'static str,
}

const fn place(home: &'static str, site: &'static str, owner: &'static str, host: &'static str) -> Place {
    Place {
        home,
        site,
        owner,
        role: SiteRole::Customer,
        country: "DE",
        rates: (10_000, 1_500),
        host,
        delay: Duration::from_millis(3),
        hours_up: 400,
        hours_down: 320,
        cpu: "2000",
    }
}

/// The seven machines.
pub(super) const PLACES: [Place; 7] = [
    Place { cpu: "100", ..place(HANSA, "acme-office", "acme", LAPTOP) },
    Place { hours_up: 980, hours_down: 20, ..place(HANSA, "acme-works", "acme", DESK) },
    Place { cpu: "100", ..place(LOTUS, "acme-shop", "acme", TILL) },
    Place {
        role: SiteRole::Provider,
        rates: (36_000, 5_000),
        delay: Duration::from_millis(4),
        hours_up: 4_000,
        hours_down: 1,
        ..place(HANSA, "near-dc", "provider", NEAR)
    },
    Place {
        role: SiteRole::Provider,
        country: "FI",
        rates: RACK_RATES,
        delay: Duration::from_millis(14),
        hours_up: 4_000,
        hours_down: 3,
        ..place(NORDIC, RACK, "provider", "far-1")
    },
    Place {
        role: SiteRole::Remote,
        rates: (6_000, 900),
        delay: Duration::from_millis(8),
        hours_up: 970,
        hours_down: 30,
        ..place(BAZAAR, "mara-home", "mara", MARA)
    },
    Place {
        role: SiteRole::Remote,
        rates: (8_000, 1_200),
        delay: Duration::from_millis(9),
        hours_up: 975,
        hours_down: 25,
        ..place(BAZAAR, "timo-home", "timo", TIMO)
    },
];

impl Place {
    /// Whether partners may buy it.
    fn is_offered(&self) -> bool {
        self.home == NORDIC || self.home == BAZAAR
    }
}

/// Rates of these millionths of a euro.
pub(super) fn rates((core_hour, gib_hour): (i64, i64)) -> Rates {
    let money = |micros| Money { micros, currency: "EUR".to_owned() };
    Rates { core_hour: money(core_hour), gib_hour: money(gib_hour), gpu_hour: Some(money(0)) }
}

/// Brings everybody in: parties, sites, machines, offers, partnerships.
pub(super) async fn gather(fleet: &mut Fleet, narrator: &Narrator) -> anyhow::Result<()> {
    for (home, name, role) in PARTIES {
        let party = PartyCreate { name: name.to_owned(), roles: vec![role] };
        fleet.client(home)?.party_create(&party).await?;
    }
    for place in &PLACES {
        let site = SiteCreate {
            name: place.site.to_owned(),
            owner: place.owner.to_owned(),
            role: place.role,
            country: place.country.to_owned(),
            rates: rates(place.rates),
        };
        fleet.client(place.home)?.site_create(&site).await?;
    }
    narrator.patiently("seven agents to start", fleet.start_agents()).await.context("starting the agents")?;
    for place in &PLACES {
        let joined = narrator.patiently(place.host, joins(fleet.client(place.home)?, place)).await?;
        narrator.say(&format!(
            "{:<11} joined {:<18} {:>4} ms away, up {:>8}, {} EUR a core-hour",
            place.host,
            format!("{} ({})", place.site, place.home),
            joined.rtt_micros.map_or(0, |r| r.0 / 1_000),
            joined.availability_ppm.to_string(),
            rates(place.rates).core_hour.amount(),
        ));
    }
    for (buyer, seller) in TRADES {
        introduce(fleet, buyer, seller).await?;
        let lots = PLACES.iter().filter(|p| p.home == seller).map(|p| format!("{seller}.{}", p.host));
        let lots: Vec<_> = lots.collect();
        for lot in &lots {
            let client = fleet.client(buyer)?;
            narrator.patiently(lot, seen(client, lot)).await?;
        }
        narrator.say(&format!("{buyer} may buy from {seller} and sees {}", lots.join(", ")));
    }
    Ok(())
}

/// A machine is there; how often it was up before is known, and partners may buy it if they are meant to.
async fn joins(client: &Client, place: &Place) -> anyhow::Result<Host> {
    let history = HistoryImport {
        up_micros: place.hours_up * HOUR,
        down_micros: place.hours_down * HOUR,
        outages: 1,
        source: "the demo's own monitoring".to_owned(),
    };
    client.host_history_import(place.host, &history).await?;
    let host = seen(client, place.host).await?;
    if place.is_offered() {
        // Everything but the rates is as it is by default.
        let offer = serde_json::json!({ "site": place.site, "rates": rates(place.rates) });
        client.offer_post(&serde_json::from_value::<OfferPost>(offer)?).await?;
    }
    Ok(host)
}

/// Waits until a controller can use a machine.
async fn seen(client: &Client, host: &str) -> anyhow::Result<Host> {
    let usable = |h: &Host| h.state == HostState::Active && h.rtt_micros.is_some();
    let what = format!("{host} to be active");
    Ok(eventually(&what, STEP, || async { client.host(host).await.ok().filter(usable) }).await?)
}

/// The seller's operator invites, the buyer's accepts.
async fn introduce(fleet: &Fleet, buyer: &str, seller: &str) -> anyhow::Result<()> {
    let hour = Span(Micros::from_secs(3_600));
    let invite = PartnerInvite { name: buyer.to_owned(), may: vec![Scope::Buy], expires: hour };
    let invitation = fleet.client(seller)?.partner_invite(&invite).await?.invitation;
    let accept = PartnerAccept { invitation, name: seller.to_owned(), may: vec![Scope::Sell] };
    fleet.client(buyer)?.partner_accept(&accept).await?;
    Ok(())
}
