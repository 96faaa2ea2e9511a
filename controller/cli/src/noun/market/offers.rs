//! Offers: shown, changed, held back and taken back.

use std::str::FromStr;

use chandler_api::client::all;
use chandler_api::host::Capacity;
use chandler_api::market::{Offer, OfferChange, OfferQuery, OfferState};
use chandler_api::site::Rates;
use chandler_api::value::{Quantity, Span, Time};
use chandler_protocol::Micros;
use chandler_protocol::unit::Ppm;
use clap::Args;

use super::{Share, exact, hours};
use crate::confirm;
use crate::noun::rates::{RateChange, costs};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};
use crate::word;

/// What changes of an offer; the rest stays.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    rates: RateChange,
    /// Whether nothing is asked for, on purpose
    #[arg(long, value_name = "BOOL")]
    free: Option<bool>,
    /// At most so much of each machine, such as "4 cores, 8 GiB" or "4 cores, 8 GiB, 1 GPU", or all
    #[arg(long, value_name = "SHARE")]
    share: Option<Share>,
    /// When it is there, or always; may be given several times and replaces what there is
    #[arg(long, value_name = "HOURS")]
    hours: Vec<String>,
    /// Shortest lease that is paid for
    #[arg(long, value_name = "TIME")]
    min_term: Option<Micros>,
    /// How long before it is taken back a buyer is told
    #[arg(long, value_name = "TIME")]
    notice: Option<Micros>,
    /// How long before a higher rate counts for leases that run
    #[arg(long, value_name = "TIME")]
    price_notice: Option<Micros>,
    /// When it ends for good, such as 2026-12-31T22:00:00Z, or never
    #[arg(long, value_name = "TIME")]
    until: Option<Until>,
    /// Country where data stays, as two letters
    #[arg(long, value_name = "CODE")]
    residency: Option<String>,
    /// Promised share of the time, such as "95 %"
    #[arg(long, value_name = "SHARE")]
    availability: Option<Ppm>,
}

/// A time, or `never`.
#[derive(Debug, Clone, Copy)]
struct Until(Option<Time>);

impl FromStr for Until {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "never" { Ok(Self(None)) } else { time(text).map(|t| Self(Some(t))) }
    }
}

/// A moment, as RFC 3339.
pub(super) fn time(text: &str) -> Result<Time, String> {
    serde_json::from_value(serde_json::Value::String(text.trim().to_owned())).map_err(|e| e.to_string())
}

impl SetArgs {
    /// The change, for an offer with these rates.
    fn change(self, before: &Rates) -> Result<OfferChange, Failure> {
        let rates = self.rates.of(before);
        let change = OfferChange {
            rates,
            free: self.free,
            capacity: self.share.map(|s| s.0),
            windows: (!self.hours.is_empty()).then(|| hours(self.hours)),
            min_term: self.min_term.map(Span),
            reclaim_notice: self.notice.map(Span),
            residency: self.residency,
            availability: self.availability.map(Quantity),
            price_notice: self.price_notice.map(Span),
            until: self.until.map(|u| u.0),
            ..OfferChange::default()
        };
        if change == OfferChange::default() {
            let text = "say what changes: --core-hour, --gib-hour, --gpu-hour, --free, --share, --hours, --min-term, --notice, --price-notice, --until, --residency or --availability";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(change)
    }
}

pub(super) async fn set(session: &Session, offer: &str, change: SetArgs) -> Result<(), Failure> {
    let client = session.client()?;
    let read = client.offer(offer).await?;
    let change = change.change(&read.value.rates)?;
    // By its id from here on: the name of its site may mean another one by now.
    let changed = client.offer_change(&read.value.id.to_string(), &change, &read.etag).await?;
    show(session, &changed)
}

/// Brings an offer into another state.
pub(super) async fn turn(session: &Session, offer: &str, state: OfferState, reason: String) -> Result<(), Failure> {
    let client = session.client()?;
    let read = client.offer(offer).await?;
    let change = OfferChange { state: Some(state), reason: Some(reason), ..OfferChange::default() };
    show(session, &client.offer_change(&read.value.id.to_string(), &change, &read.etag).await?)
}

pub(super) async fn withdraw(session: &Session, offer: &str, reason: String, yes: bool) -> Result<(), Failure> {
    let known = session.client()?.offer(offer).await?.value;
    let (site, notice) = (&known.site, known.reclaim_notice);
    let leave = match known.leases {
        0 => String::new(),
        1 => format!(", and 1 open lease has to leave within {notice}"),
        n => format!(", and {n} open leases have to leave within {notice}"),
    };
    let what = format!("nothing more is sold of {site}{leave}");
    confirm::yes(session, &what, "Withdraw the offer?", yes).await?;
    turn(session, &known.id.to_string(), OfferState::Withdrawn, reason).await
}

pub(super) async fn list(session: &Session, query: OfferQuery) -> Result<(), Failure> {
    let client = session.client()?;
    let page_of = |page: chandler_api::page::PageQuery| {
        let query = OfferQuery { limit: page.limit, page_token: page.page_token, ..query.clone() };
        async move { client.offers(&query).await }
    };
    let items = all(page_of).await?;
    let empty = "no offers. Next: chandler market post --site SITE --core-hour \"0.004 EUR\" --gib-hour \"0.0005 EUR\"";
    session.out.list(&items, empty, || {
        let rates = [">CORE-HOUR", ">GIB-HOUR", "?>GPU-HOUR"];
        let rest = ["HOURS", "NOTICE", ">MACHINES", ">LEASES", "OWNER", "OFFER"];
        let head = [&["SITE", "STATE"][..], &rates, &rest].concat();
        let mut table = Table::new(&head);
        for o in &items {
            table.row([
                o.site.clone(),
                word::of(&o.state),
                exact(&o.rates.core_hour),
                exact(&o.rates.gib_hour),
                costs(o.rates.gpu_hour.as_ref()).map(exact).unwrap_or_default(),
                o.windows.join(", "),
                o.reclaim_notice.to_string(),
                o.machines.to_string(),
                o.leases.to_string(),
                o.owner.clone(),
                o.id.to_string(),
            ]);
        }
        table
    })
}

pub(super) fn show(session: &Session, offer: &Offer) -> Result<(), Failure> {
    session.out.object(offer, || {
        let share = offer.capacity.map_or_else(
            || "all".to_owned(),
            |c| Capacity { milli_cpu: c.cpu, memory: c.memory, gpus: c.gpus }.to_string(),
        );
        let rate = |money: &chandler_api::value::Money| format!("{} {}", exact(money), money.currency);
        let mut facts = Facts::default();
        facts
            .add("offer", offer.id.to_string())
            .add("site", &offer.site)
            .add("owner", &offer.owner)
            .add("state", word::of(&offer.state))
            .add("why", &offer.reason)
            .add("core-hour", rate(&offer.rates.core_hour))
            .add("GiB-hour", rate(&offer.rates.gib_hour))
            .add("GPU-hour", costs(offer.rates.gpu_hour.as_ref()).map(rate).unwrap_or_default())
            .add("share", format!("{share} of each machine"))
            .add("hours", offer.windows.join(", "))
            .add("promised", format!("{} of these hours", offer.availability.0))
            .add("minimum", offer.min_term.to_string())
            .add("notice", format!("{} before it is taken back", offer.reclaim_notice))
            .add("price", format!("{} before a higher rate counts", offer.price_notice))
            .add("until", offer.until.map(moment).unwrap_or_default())
            .add("data stays", &offer.residency)
            .add("version", format!("{}, posted {}", offer.version, moment(offer.posted_at)))
            .add("committed", offer.commitment.to_string())
            .add("machines", format!("{}, {} leases", offer.machines, offer.leases));
        for (why, count) in &offer.closed {
            facts.add("not now", format!("{count}: {why}"));
        }
        facts.to_string()
    })
}
