//! Causes: what speaks for another place of one copy, each with its evidence and with what the place must bring.

mod load;
mod provider;
mod soundness;
mod taste;

use std::sync::Arc;

use chandler_protocol::{Micros, Ppm};

use super::look::{Look, Place};
use super::rules::Class;
use crate::order::OwnerKind;
use crate::service::{Assignment, Trigger};

pub(super) use taste::is_no_worse;

/// Something that speaks for another place.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub trigger: Trigger,
    pub class: Class,
    pub from: Arc<Assignment>,
    /// In one sentence, with its numbers.
    pub evidence: String,
    pub want: Want,
    /// How much less probable a loss becomes, where that is what is gained.
    pub averted: Ppm,
}

/// What the place must bring, beyond the SLA.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// Nothing more.
    Any,
    /// A kind of owner that is liked better.
    Liked { prefer: Vec<OwnerKind>, premium_percent: Option<u32> },
    /// Less money.
    Cheaper { eager: bool },
    /// Half the probability to be away, or less.
    Steadier { away: Ppm },
    /// Up more often.
    Sturdier { availability: Ppm },
    /// Well within the limit of the answer time.
    Nearer { within: Micros },
    /// Room to spare.
    Idler,
    /// A computer that is used already, for no more money.
    Fuller { reserved: Ppm },
    /// At least so much left to the provider, for no more money.
    Margin { least_percent: i64 },
}

/// Everything that speaks for another place of any copy, the strongest first.
pub(super) fn all(look: &Look<'_, '_>) -> Vec<Cause> {
    let mut found = Vec::new();
    for copy in &look.copies {
        if let Some(unfit) = soundness::unfit(look, copy) {
            // Where it does not fit nothing else counts.
            found.push(unfit);
            continue;
        }
        found.extend(soundness::away(look, copy));
        found.extend(soundness::rarely_up(look, copy));
        found.extend(soundness::far(look, copy));
        found.extend(taste::liked(look, copy));
        found.extend(load::too_full(look, copy));
        found.extend(provider::wants(look, copy));
        found.extend(taste::cheaper(look, copy));
    }
    found.sort_by_key(|c| (c.class, c.trigger, c.from.id));
    found
}

impl Want {
    /// Whether a place brings it. Money is weighed elsewhere.
    pub(super) fn is_met_by(&self, look: &Look<'_, '_>, from: &Assignment, place: &Place) -> bool {
        let now = || look.price(from.host).0.max(look.price_now(from.host).0);
        let costs_no_more = || place.price.0.max(place.price_now.0) <= now();
        match self {
            Self::Any | Self::Cheaper { .. } => true,
            Self::Liked { prefer, premium_percent } => taste::is_liked(look, from, place, prefer, *premium_percent),
            Self::Steadier { away } => look.fleet.chance(place.host).away.0 <= away.0 / 2,
            Self::Sturdier { availability } => place.availability > *availability,
            Self::Nearer { within } => place.p95.is_some_and(|p95| p95 <= *within),
            Self::Idler => look.fleet.senses.load(place.host).is_some_and(|l| l <= look.fleet.rules.load_low),
            Self::Fuller { reserved } => costs_no_more() && provider::is_fuller(look, place, *reserved),
            Self::Margin { least_percent } => {
                costs_no_more() && look.margin_percent(place.host).is_some_and(|m| m >= *least_percent)
            }
        }
    }
}
