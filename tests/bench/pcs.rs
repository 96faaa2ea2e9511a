//! PCs: 50 services with an SLA of 99 % on 200 PCs that come and go as real ones did, against the same services on the
//! provider's own servers.
//!
//! Every decision is the engine's, with the product's own rules and nothing known of any PC before the first hour. Played
//! are the agents, the computers and the clock. What that assumes is printed with the figures.

mod agents;
mod draw;
mod scene;
mod trace;
mod world;

use anyhow::{Context, ensure};
use chandler_engine::assurance::Patience;
use chandler_engine::order::OwnerKind;
use chandler_engine::placement::HOURS_PER_MONTH;
use chandler_engine::site::Rates;
use chandler_protocol::{MicroMoney, Micros};
use serde_json::{Value, json};

use super::Figures;
use draw::Draw;
use world::{Plot, Story};

/// PCs that are drawn from the trace.
const PCS: usize = 200;
/// Which PCs, what each owner asks, and how large each service is, follow from it.
const SEED: u64 = 4;
/// A user's own choice: as many copies as pay.
const REPLICAS_MAX: u32 = 4;
/// From the decision until a copy answers: 100 MB over a home line at 20 Mbit/s, and 20 s to begin.
const START: Micros = Micros::from_secs(60);
/// The same where software is large and lines are slow: what depends on quick starts shows here.
const SLOW_START: Micros = Micros::from_secs(900);

/// Both kinds of computers, so that the engine chooses; they compete by price alone.
const ANY: &[OwnerKind] = &[OwnerKind::Provider, OwnerKind::Remote];

pub(super) fn run() -> anyhow::Result<Figures> {
    let pcs = trace::choose(PCS, &mut Draw(SEED))?;
    let up = pcs.iter().flat_map(|pc| &pc.up).map(|(from, until)| until - from).sum::<i64>();
    let usual = Plot { owners: ANY, replicas_max: REPLICAS_MAX, start: START, seed: SEED };
    let slow = Plot { start: SLOW_START, ..usual };
    let alone = Plot { owners: &[OwnerKind::Provider], ..usual };
    eprintln!("four weeks of {PCS} PCs, with quick starts, with slow starts, and on the provider's servers only");
    let pcs = pcs.as_slice();
    let [usual, slow, alone] = std::thread::scope(|threads| {
        let all = [usual, slow, alone].map(|plot| threads.spawn(move || world::live(pcs, &plot)));
        all.map(|thread| thread.join().ok().context("a simulation panicked")?)
    });
    let (usual, slow, alone) = (usual?, slow?, alone?);
    ensure!(alone.agents.cost.0 > 0 && alone.agents.price.0 > 0, "the provider's own servers cost nothing");
    let mut figures = vec![
        ("services", json!(usual.served.len())),
        ("pcs", json!(PCS)),
        ("weeks", json!(weeks())),
        ("promised_ppm", json!(scene::PROMISED.0)),
    ];
    figures.extend(story(&usual, &alone));
    figures.extend([
        ("moves", json!(usual.moves)),
        ("provider_only_cost_month", month(alone.agents.cost)),
        ("provider_only_price_month", month(alone.agents.price)),
        ("provider_only_met_share_ppm", json!(met(&alone))),
        ("slow_start", story(&slow, &alone).into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ("assumed", assumed(up)),
    ]);
    Ok(figures)
}

const fn weeks() -> i64 {
    trace::LENGTH / 604_800
}

/// What came of one simulation, beside the one on the provider's servers only.
fn story(story: &Story, alone: &Story) -> Figures {
    let services = count(story.served.len());
    let mut shares: Vec<_> = story.served.iter().map(|s| ppm(s.up.0, s.all.0)).collect();
    shares.sort_unstable();
    let at = |share: usize| json!(shares.get((shares.len().saturating_sub(1)) * share / 100));
    let moves: i64 = story.moves.values().copied().map(count).sum();
    vec![
        ("met_share_ppm", json!(met(story))),
        ("worst_realised_ppm", at(0)),
        ("p10_realised_ppm", at(10)),
        ("median_realised_ppm", at(50)),
        ("worst_measured_ppm", json!(story.served.iter().filter_map(|s| s.measured).min().map(|m| m.0))),
        ("mean_replicas", thousandths(story.agents.ran.0, services * Micros::from_secs(trace::LENGTH).0)),
        ("moves_per_service_day", thousandths(moves, services * weeks() * 7)),
        ("rolled_back", json!(story.rolled_back)),
        ("pc_losses", json!(story.losses)),
        ("cost_month", month(story.agents.cost)),
        ("of_it_servers_month", month(story.agents.servers)),
        ("price_month", month(story.agents.price)),
        ("cost_ratio", thousandths(story.agents.cost.0, alone.agents.cost.0)),
        ("price_ratio", thousandths(story.agents.price.0, alone.agents.price.0)),
    ]
}

/// Of all services the share that was there as much as was promised, from its first answer on.
fn met(story: &Story) -> i64 {
    let met = story.served.iter().filter(|s| s.all.0 > 0 && ppm(s.up.0, s.all.0) >= i64::from(scene::PROMISED.0));
    ppm(count(met.count()), count(story.served.len()))
}

fn ppm(part: i64, of: i64) -> i64 {
    i64::try_from(i128::from(part) * 1_000_000 / i128::from(of.max(1))).unwrap_or(0)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A quotient with three digits behind the point.
fn thousandths(part: i64, of: i64) -> Value {
    json!(i32::try_from((ppm(part, of) + 500) / 1_000).map_or(f64::NAN, |n| f64::from(n) / 1e3))
}

/// What came up in the whole time, for a month, in units of the currency.
fn month(sum: MicroMoney) -> Value {
    let micros = i128::from(sum.0) * i128::from(HOURS_PER_MONTH * 3_600) / i128::from(trace::LENGTH);
    json!(i32::try_from(micros / 10_000).map_or(f64::NAN, |n| f64::from(n) / 100.0))
}

fn assumed(up: i64) -> Value {
    let rates = |r: Rates| json!({ "core_hour": r.core_hour.to_string(), "gib_hour": r.gib_hour.to_string() });
    let asked = |(least, most)| json!([MicroMoney(least).to_string(), MicroMoney(most).to_string()]);
    json!({
        "seed": SEED,
        "pcs_chosen": "evenly among those of the trace that were up at least once",
        "pcs_mean_up_ppm": ppm(up, trace::LENGTH * count(PCS)),
        "known_before": "nothing",
        "pc_offers": "2 cores, 4 GiB",
        "pc_rates_evenly_between": { "core_hour": asked(scene::PC_CORE_HOUR), "gib_hour": asked(scene::PC_GIB_HOUR) },
        "server_rates": rates(scene::SERVER_RATES),
        "servers_are_always_up": true,
        "service": "0.5 or 1 core, 1 or 2 GiB, no state",
        "replicas_max": REPLICAS_MAX,
        "start_s": START.0 / 1_000_000,
        "slow_start_s": SLOW_START.0 / 1_000_000,
        "loss_found_after_s": Patience::default().grace.0 / 1_000_000,
        "look_every_s": world::LOOK.0 / 1_000_000,
        "currency": "EUR",
    })
}
