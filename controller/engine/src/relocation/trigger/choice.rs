//! The choice: of all places that bring what is wanted the one that costs least, and whether it is worth the move.

use chandler_protocol::{MicroMoney, Ppm};

use super::cause::{Cause, Want, is_no_worse};
use super::declined::Why;
use super::gate::{Held, left_lately, of_pair};
use super::look::{Look, Place, percent};
use super::rules::Class;
use super::worth::{Past, over};
use crate::movement::{Effect, Worth};
use crate::placement::{Outcome, Refusal};

/// Where to, and whether it is worth it.
pub(super) struct Choice {
    /// The best place, also when it is not good enough.
    pub place: Option<Place>,
    pub predicted: (Worth, Effect),
    /// Why not.
    pub missed: Option<Held>,
}

/// Chooses a place for one copy.
pub(super) fn choose(look: &Look<'_, '_>, cause: &Cause, past: &Past) -> Choice {
    let nothing = (Worth::default(), Effect::default());
    let places = look.places(&cause.from);
    let wanted: Vec<_> = places.iter().filter(|p| is_wanted(look, cause, p)).collect();
    let (open, blocked): (Vec<_>, Vec<_>) =
        wanted.into_iter().map(|p| (p, block(look, cause, p))).partition(|(_, b)| b.is_none());
    let best = open.into_iter().map(|(p, _)| p).min_by_key(|p| order(look, cause, p)).cloned();
    let Some(place) = best else {
        let missed = blocked.into_iter().find_map(|(_, b)| b);
        return Choice {
            place: None,
            predicted: nothing,
            missed: Some(missed.unwrap_or_else(|| nowhere(look, &places))),
        };
    };
    let predicted = predict(look, cause, &place, past);
    let missed = too_little(look, cause, &place, predicted.0);
    Choice { place: Some(place), predicted, missed }
}

fn block(look: &Look<'_, '_>, cause: &Cause, place: &Place) -> Option<Held> {
    let fleet = look.fleet;
    of_pair(fleet.model, &look.service, cause.from.host, place.host, fleet.now, fleet.rules)
}

/// Whether a place brings what is wanted, and no trouble of its own for a move that could be left.
fn is_wanted(look: &Look<'_, '_>, cause: &Cause, place: &Place) -> bool {
    if !cause.want.is_met_by(look, &cause.from, place) {
        return false;
    }
    let is_optional = cause.class != Class::Mandatory;
    let likes_rule =
        is_optional && !matches!(cause.want, Want::Liked { .. } | Want::Steadier { .. } | Want::Sturdier { .. });
    let troubled = is_optional && is_troubled(look, place);
    !troubled && (!likes_rule || is_no_worse(look, &cause.from, place))
}

/// Whether a place would soon be left again.
fn is_troubled(look: &Look<'_, '_>, place: &Place) -> bool {
    let (fleet, rules) = (look.fleet, look.fleet.rules);
    let is_near = look.terms.p95_max.is_some_and(|most| {
        place.p95.is_none_or(|p95| i128::from(p95.0) * 1_000_000 >= i128::from(most.0) * i128::from(rules.rtt_near.0))
    });
    fleet.chance(place.host).away >= rules.away_least
        || fleet.senses.load(place.host).is_some_and(|l| l > rules.load_high)
        || is_near
}

/// The order of places: without trouble first, then not where it just came from, then the cheapest.
fn order(
    look: &Look<'_, '_>,
    cause: &Cause,
    place: &Place,
) -> (bool, bool, usize, MicroMoney, chandler_protocol::HostId) {
    let back = cause.class != Class::Economic && is_back(look, place);
    let liked = match &cause.want {
        Want::Liked { prefer, .. } => {
            prefer.iter().position(|k| *k == super::look::kind(place.role)).unwrap_or(prefer.len())
        }
        _ => 0,
    };
    (is_troubled(look, place), back, liked, place.price, place.host)
}

fn is_back(look: &Look<'_, '_>, place: &Place) -> bool {
    let fleet = look.fleet;
    left_lately(fleet.model, &look.service, place.host, fleet.now, fleet.rules)
}

/// Gain and cost of going there, over the horizon.
fn predict(look: &Look<'_, '_>, cause: &Cause, place: &Place, past: &Past) -> (Worth, Effect) {
    let rules = look.fleet.rules;
    let (here, there) = (look.price(cause.from.host), place.price);
    let (cost, effect) = past.cost(look.fleet.model, &look.service, rules, MicroMoney(here.0.max(there.0)));
    let saved = over(MicroMoney(here.0.saturating_sub(there.0)), rules.horizon);
    let averted = look.loss() * i128::from(cause.averted.0) / 1_000_000;
    let averted = i64::try_from(averted).unwrap_or(i64::MAX);
    // What is saved on the side does not make a cure cheaper, nor does its price make it dearer: the cheapest place that
    // cures was chosen already.
    let gain = if cause.averted > Ppm(0) { averted } else { saved.0 };
    (Worth { gain: MicroMoney(gain), cost, horizon: rules.horizon }, effect)
}

/// Why a move is not worth it, with what is missing; `None` when it is.
fn too_little(look: &Look<'_, '_>, cause: &Cause, place: &Place, worth: Worth) -> Option<Held> {
    let rules = look.fleet.rules;
    let pace = rules.pace(cause.class)?;
    let currency = &look.fleet.model.currency;
    let (beta, deadband) = match cause.want {
        Want::Cheaper { eager } => {
            let deadband = if is_back(look, place) { pace.deadband_back } else { pace.deadband };
            // Who wants every saving gets it as soon as it pays; but nobody is sent to and fro.
            if eager && !is_back(look, place) { (1, Ppm(deadband.0 / 2)) } else { (pace.beta, deadband) }
        }
        Want::Steadier { .. } | Want::Sturdier { .. } | Want::Nearer { .. } | Want::Idler => (pace.beta, Ppm(0)),
        // A liking has its own price, which the place keeps to.
        Want::Any | Want::Liked { .. } | Want::Fuller { .. } | Want::Margin { .. } => return None,
    };
    let stake = over(look.price(cause.from.host), worth.horizon);
    let by_share = i128::from(stake.0) * i128::from(deadband.0) / 1_000_000;
    let by_cost = i128::from(worth.cost.0) * i128::from(beta);
    let least = by_share.max(by_cost);
    if i128::from(worth.gain.0) >= least {
        return None;
    }
    let least = MicroMoney(i64::try_from(least).unwrap_or(i64::MAX));
    let what = format!(
        "it brings {} {currency} in {}, at least {least} {currency} would have to be ({})",
        worth.gain,
        worth.horizon,
        if by_share > by_cost {
            format!("{} of what it costs there", percent(deadband))
        } else {
            format!("{beta} times the cost of the move")
        },
    );
    let text = match cause.want {
        Want::Cheaper { .. } => format!("{what}; {}", nearest_price(look, place, worth, least)),
        _ => what,
    };
    Some(Held { why: Why::Worth, text })
}

/// By how much a place would have to become cheaper.
fn nearest_price(look: &Look<'_, '_>, place: &Place, worth: Worth, least: MicroMoney) -> String {
    let hours = (worth.horizon.0 / 3_600_000_000).max(1);
    let missing = (least.0.saturating_sub(worth.gain.0) / hours).max(1);
    if place.price.0 <= missing {
        return format!("no price at {} makes it worth it", place.name);
    }
    let tenths = (i128::from(missing) * 1_000 + i128::from(place.price.0) - 1) / i128::from(place.price.0.max(1));
    let to = MicroMoney(place.price.0 - missing);
    let currency = &look.fleet.model.currency;
    format!("it moves if {} falls by {}.{} %, to {to} {currency} an hour", place.name, tenths / 10, tenths % 10)
}

/// No place brings what is wanted: the one that comes nearest to the SLA, or that none of those that meet it does.
fn nowhere(look: &Look<'_, '_>, places: &[Place]) -> Held {
    let text = if places.is_empty() {
        let nearest = look.standing.nearest.as_ref();
        let nearest = nearest.map(|r| {
            let fits =
                if r.would_fit.is_empty() { String::new() } else { format!("; {} would let it in", r.would_fit) };
            format!(" (nearest {}: {}{fits})", r.host_name, r.reason)
        });
        format!("no other host meets the SLA{}", nearest.unwrap_or_default())
    } else {
        let names: Vec<_> = places.iter().take(3).map(|p| p.name.as_str()).collect();
        format!("no host that meets the SLA would be better ({} of them, such as {})", places.len(), names.join(", "))
    };
    Held { why: Why::Place, text }
}

/// Why the chosen place was refused after all.
pub(super) fn refusal_text(outcome: &Outcome, name: &str) -> String {
    match &outcome.refusal {
        Some(Refusal::Infeasible { text, .. } | Refusal::NoCapacity { text, .. }) => {
            format!("{name} was full or gone: {text}")
        }
        None => format!("{name} was full or gone"),
    }
}
