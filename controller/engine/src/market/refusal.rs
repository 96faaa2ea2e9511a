//! Why a lot is out of a clearing: the first rule that refuses it, with its numbers.

use std::fmt;

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{MicroMoney, OfferId, Ppm};
use serde::{Deserialize, Serialize};

use crate::fleet::Capacity;

/// The first rule that refuses a lot; the rules are asked in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The buyer did not name the machine. Such lots are counted and not listed.
    NotQualified,
    /// It cannot be bought now.
    Closed(String),
    /// Its rates or its risk are no amounts that the market takes.
    OutOfRange,
    /// What was opened is not what was committed to.
    Commitment,
    /// An offer before it, by id, is for the same machine.
    SecondOffer {
        /// That offer.
        first: OfferId,
    },
    /// It belongs to the buyer.
    SelfDealing,
    /// The buyer left its owner out.
    OwnerLeftOut,
    /// Data must stay elsewhere.
    Country(String),
    /// It will not be there often enough.
    Availability {
        /// Wanted.
        least: Ppm,
        /// Predicted.
        has: Ppm,
    },
    /// So many GPUs are not left of it.
    NoGpus {
        /// Wanted.
        wanted: u32,
        /// What is left.
        free: u32,
    },
    /// What is left of it does not hold what is wanted.
    NoRoom {
        /// What is left.
        free: Capacity,
    },
    /// Its rate alone is above the buyer's cap.
    OverCap {
        /// For all that is wanted, an hour.
        rate: MicroMoney,
    },
}

impl Refusal {
    /// As it stands in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotQualified => "notQualified",
            Self::Closed(_) => "closed",
            Self::OutOfRange => "outOfRange",
            Self::Commitment => "commitment",
            Self::SecondOffer { .. } => "secondOffer",
            Self::SelfDealing => "selfDealing",
            Self::OwnerLeftOut => "ownerLeftOut",
            Self::Country(_) => "country",
            Self::Availability { .. } => "availability",
            Self::NoGpus { .. } => "noGpus",
            Self::NoRoom { .. } => "noRoom",
            Self::OverCap { .. } => "overCap",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotQualified => f.write_str("the buyer did not name this machine"),
            Self::Closed(why) => write!(f, "it cannot be bought now: {}", clean(why, TEXT_MAX)),
            Self::OutOfRange => f.write_str("its rates are no amounts that the market takes"),
            Self::Commitment => f.write_str("what was opened is not what was committed to"),
            Self::SecondOffer { first } => write!(f, "{first} offers the same machine and counts"),
            Self::SelfDealing => f.write_str("it belongs to the buyer"),
            Self::OwnerLeftOut => f.write_str("the buyer left its owner out"),
            Self::Country(country) => write!(f, "data would be in {}", clean(country, 2)),
            Self::Availability { least, has } => write!(f, "it will be there {has} of the time, wanted is {least}"),
            Self::NoGpus { wanted, free } => write!(f, "{free} GPUs are left of it, wanted are {wanted}"),
            Self::NoRoom { free } => write!(f, "{} and {} are left of it", free.cpu, free.memory),
            Self::OverCap { rate } => write!(f, "{rate} an hour is above the cap"),
        }
    }
}
