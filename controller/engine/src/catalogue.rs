//! The catalogue: the attributes a service can have, and what can be ordered at which price (TMF620).

use chandler_protocol::{MicroMoney, Timestamp};
use serde::{Deserialize, Serialize};

/// The offering that exists from the first start.
pub const STANDARD: &str = "standard";

/// An attribute a service can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Characteristic {
    /// Its name: the key in an order's `[sla]`.
    pub name: &'static str,
    /// What it means.
    pub description: &'static str,
    /// How its value is written.
    pub value_type: &'static str,
    /// Unit of measure; empty when it has none.
    pub unit: &'static str,
    /// Smallest allowed value.
    pub from: &'static str,
    /// Largest allowed value.
    pub to: &'static str,
}

/// Every attribute a service can have.
pub const CHARACTERISTICS: &[Characteristic] = &[
    Characteristic {
        name: "cost",
        description: "what the service may cost, all copies together",
        value_type: "text with unit: \"30 EUR/month\"",
        unit: "currency/month",
        from: "0",
        to: "",
    },
    Characteristic {
        name: "interactivity",
        description: "95 of 100 answers arrive within this time: round trip plus the software's own time",
        value_type: "duration: \"50 ms\"",
        unit: "ms",
        from: "1 us",
        to: "1 h",
    },
    Characteristic {
        name: "availability",
        description: "share of a calendar month in which at least one copy is healthy",
        value_type: "percentage: \"99.5 %\"",
        unit: "%",
        from: "0 %",
        to: "99.9999 %",
    },
    Characteristic {
        name: "residency",
        description: "countries in which the software and its state may be",
        value_type: "list of ISO 3166-1 alpha-2 codes",
        unit: "",
        from: "",
        to: "",
    },
    Characteristic {
        name: "capacity",
        description: "how powerful the machine must be, beyond what the limits reserve, and GPUs for itself",
        value_type: "{ cores, gpus }",
        unit: "",
        from: "0",
        to: "",
    },
    Characteristic {
        name: "deadline",
        description: "by when a task must be done, counted from its order",
        value_type: "duration: \"2 h\"",
        unit: "s",
        from: "1 s",
        to: "365 d",
    },
];

/// Something a customer can order. Prices are pinned to the version an order was placed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offering {
    /// Its unique name.
    pub name: String,
    /// Counts changes, from 1.
    pub version: u32,
    /// What the provider adds to a site's rates, in percent.
    pub margin_percent: u32,
    /// What the provider takes for looking after one copy of a service for one hour, wherever it runs.
    pub management_hour: MicroMoney,
    /// Names of the attributes a customer may choose.
    pub characteristics: Vec<String>,
    /// Since when this version counts.
    pub valid_from: Timestamp,
}

impl Offering {
    /// The offering that exists from the first start: every attribute, 20 % margin, 0.001 an hour.
    pub fn standard(now: Timestamp) -> Self {
        Self {
            name: STANDARD.to_owned(),
            version: 1,
            margin_percent: 20,
            management_hour: MicroMoney(1_000),
            characteristics: CHARACTERISTICS.iter().map(|c| c.name.to_owned()).collect(),
            valid_from: now,
        }
    }
}
