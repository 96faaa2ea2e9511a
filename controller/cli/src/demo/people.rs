//! Who there is in the demo: parties, their sites, and the machines there.

use std::time::Duration;

use anyhow::Context as _;
use chandler_api::client::Client;
use chandler_api::host::{HistoryImport, HostState};
use chandler_api::party::{PartyCreate, PartyRole};
use chandler_api::site::{Rates, SiteCreate, SiteRole};
use chandler_api::value::Money;
use chandler_harness::wait::eventually;

use super::fleet::Fleet;
use super::report::Narrator;
use super::story::STEP;

const HOUR: i64 = 3_600_000_000;

/// The computer of the customer's with the front doors.
pub(super) const LAPTOP: &str = "acme-laptop";

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
        host: LAPTOP,
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

/// Brings everybody in.
pub(super) async fn gather(fleet: &mut Fleet, client: &Client, narrator: &Narrator) -> anyhow::Result<()> {
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
