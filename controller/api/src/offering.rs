//! Offerings: what can be ordered, with its price and its set of attributes (TMF620).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Money, Time};

/// What a customer can order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfferingApply {
    /// 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// What the provider adds to a site's rates, in percent (default 20).
    #[serde(default = "default_margin")]
    pub margin_percent: u32,
    /// What the provider takes for looking after one service for one hour, wherever it runs.
    pub management_hour: Money,
    /// The attributes a customer may choose; all known ones when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub characteristics: Vec<String>,
}

const fn default_margin() -> u32 {
    20
}

/// What a customer can order, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Offering {
    /// Its name.
    pub name: String,
    /// Counts changes of price; an order keeps the version it was placed under.
    pub version: u32,
    /// `active` or `archived`.
    pub lifecycle_status: String,
    /// What the provider adds to a site's rates, in percent.
    pub margin_percent: u32,
    /// Price of looking after one service for one hour.
    pub management_hour: Money,
    /// The attributes a customer may choose.
    pub characteristics: Vec<Characteristic>,
    /// Since when this version counts.
    #[schema(value_type = String)]
    pub valid_from: Time,
}

/// An attribute a service can have (TMF620 CharacteristicSpecification).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Characteristic {
    /// Its name, which is its key in an order's `[sla]`.
    pub name: String,
    /// What it means.
    pub description: String,
    /// How its value is written.
    pub value_type: String,
    /// Unit of measure; empty when it has none.
    pub unit_of_measure: String,
    /// Smallest allowed value; empty when there is none.
    pub value_from: String,
    /// Largest allowed value; empty when there is none.
    pub value_to: String,
    /// Whether the customer may choose it.
    pub configurable: bool,
    /// 0: may be left out.
    pub min_cardinality: u32,
}
