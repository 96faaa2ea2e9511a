//! The market: what owners gain by false rates under each rule, and how long it takes to clear one demand among ten
//! thousand offers, its record included.

use std::time::Instant;

use chandler_engine::market::book::Book;
use chandler_engine::market::clearing::{Call, Rule, clear, replay_with};
use chandler_engine::market::trial::{Sample, profitable_lies};
use chandler_protocol::{Digest, Timestamp};
use serde_json::{Map, Value, json};

use super::Figures;

/// Random markets for each rule.
const TRIALS: u32 = 4_000;
const OFFERS: u32 = 10_000;
const OWNERS: u32 = 2_000;
const DEMANDS: usize = 1_000;
const SEED: u64 = 4;

pub(super) fn run() -> anyhow::Result<Figures> {
    let [mut trials, mut deviations, mut lies, mut gained] = [(); 4].map(|()| Map::new());
    for rule in Rule::ALL {
        eprintln!("{}: false rates in {TRIALS} markets", rule.as_str());
        let found = profitable_lies(rule, TRIALS, SEED);
        let name = || rule.as_str().to_owned();
        trials.insert(name(), json!(found.trials));
        deviations.insert(name(), json!(found.deviations));
        lies.insert(name(), json!(found.profitable_lies));
        gained.insert(name(), json!(found.most_gained.0));
    }
    let mut figures = vec![
        ("trials", Value::Object(trials)),
        ("deviations", Value::Object(deviations)),
        ("profitable_lies", Value::Object(lies)),
        ("most_gained_micros_per_hour", Value::Object(gained)),
    ];
    figures.extend(clearing()?);
    Ok(figures)
}

/// Clears demands that name every offer, by either rule in turn. What each one buys is taken from the book, in its time.
fn clearing() -> anyhow::Result<Figures> {
    eprintln!("clearing {DEMANDS} demands among {OFFERS} offers");
    let mut sample = Sample::new(SEED, OWNERS);
    let lots = sample.lots(OFFERS);
    let begin = Instant::now();
    let mut book = Book::open(lots.clone());
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;
    let (mut times, mut sold, mut previous) = (Vec::with_capacity(DEMANDS), 0_u32, Digest([0; 32]));
    for number in 0..DEMANDS {
        let demand = sample.demand(&lots);
        let call = Call { rule: Rule::ALL[number % 2], seed: Digest([4; 32]), at: Timestamp(0), previous };
        let begin = Instant::now();
        let record = clear(&call, &demand, &book)?;
        Sample::sell(&mut book, &record);
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        sold += u32::from(record.winner.is_some());
        previous = record.hash;
        if number == 0 {
            replay_with(&record, &demand, lots.clone())?;
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| json!((times[(times.len() - 1) * share / 100] * 1e3).round() / 1e3);
    Ok(vec![
        ("offers", json!(OFFERS)),
        ("demands", json!(DEMANDS)),
        ("sold", json!(sold)),
        ("book_open_ms", json!((open_ms * 1e3).round() / 1e3)),
        ("clearing_p50_ms", at(50)),
        ("clearing_p99_ms", at(99)),
    ])
}
