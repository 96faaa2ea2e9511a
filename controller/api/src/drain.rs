//! Draining: a host or a site that shall be left, and what becomes of its services.

use chandler_protocol::{MoveId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::Time;

/// Asks for a host or a site to be left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrainRequest {
    /// Why, for those who look later; up to 512 characters.
    #[serde(default)]
    pub reason: String,
}

/// That it shall be left: no new work comes to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draining {
    /// Since when.
    #[schema(value_type = String)]
    pub since: Time,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// What becomes of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Going {
    /// It has gone.
    Moved,
    /// It is on its way.
    Moving,
    /// It will go, or end by itself; `why` says what it waits for.
    Waiting,
    /// It cannot go; `why` says what would have to change.
    Cannot,
}

/// One service of a host or site that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainItem {
    /// Name of the service; empty for those who may not see it.
    pub service: String,
    /// Its id.
    #[schema(value_type = String)]
    pub service_id: ServiceId,
    /// Name of the host it is or was on.
    pub host: String,
    /// What becomes of it.
    pub going: Going,
    /// Its move, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub r#move: Option<MoveId>,
    /// Name of the host it goes or went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it cannot go, with what comes nearest, or what it waits for; in one sentence.
    pub why: String,
}

/// How far the leaving of a host or a site is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainReport {
    /// Name of the host or site.
    pub name: String,
    /// Who asked for it and why; absent when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// Whether it is drained and nothing runs there any more.
    pub done: bool,
    /// Its services: what cannot go first.
    pub services: Vec<DrainItem>,
    /// Copies that are stopped there and whose state is kept for a while, so that a move can be undone.
    pub kept: u32,
}
