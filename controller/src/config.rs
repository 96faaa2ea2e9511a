//! Settings: one TOML file and flags over it. Parsed by a pure function; unknown keys are refused with their line.

use std::net::SocketAddr;
use std::path::PathBuf;

use chandler_api::market::MarketRule;
use chandler_api::status::ControllerRole;
use chandler_api::value::Span;
use chandler_engine::assurance::Patience;
use chandler_engine::relocation::trigger::Rules;
use chandler_protocol::Micros;
use serde::Deserialize;

use crate::federation::trust::is_address;
use crate::link::LinkConfig;
use crate::tasks::Consideration;

/// Every setting, with its default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Where the store, the CA and the artifacts are.
    pub data_dir: PathBuf,
    /// Where the API listens. Plain HTTP: on another address than loopback, put a TLS proxy in front.
    pub http: SocketAddr,
    /// Where agents connect (UDP).
    pub quic: SocketAddr,
    /// Where partners call (TCP). Not said: it does not listen for partners, and so cannot sell to them.
    pub federation: Option<SocketAddr>,
    /// The `HOST:PORT` that invitations name, when it differs from `federation`.
    pub federation_advertise: Option<String>,
    /// The addresses that join strings name, when they differ from `quic`.
    pub advertise: Vec<SocketAddr>,
    /// `sqlite://PATH`; by default a file in the data directory.
    pub database: Option<String>,
    /// ISO 4217 code of the currency of all amounts. Fixed at the first start.
    pub currency: String,
    /// A host is lost when it was silent for this long.
    pub grace: Span,
    /// The longest an agent may stay silent; at most a third of `grace`.
    pub heartbeat: Span,
    /// How often agents report telemetry.
    pub telemetry_interval: Span,
    /// How long an agent's certificate is good for; it is renewed at half that.
    pub certificate_life: Span,
    /// When services are better off elsewhere.
    pub relocation: Relocation,
    /// What this controller is to others: `provider`, `virtual`, `valueAdded`, `marketplace`, in any combination.
    pub roles: Vec<ControllerRole>,
    /// How partners' demands are cleared.
    pub market: MarketSettings,
}

/// How partners' demands are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MarketSettings {
    /// `postedRate`: the best offer is paid as posted. `secondScore`: the highest rate with which it would still have won.
    pub rule: MarketRule,
}

impl Default for MarketSettings {
    fn default() -> Self {
        Self { rule: MarketRule::PostedRate }
    }
}

/// When services are better off elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Relocation {
    /// How often that is considered.
    pub period: Span,
    /// Every span of time in that decision (how long something must be so, pauses after a move) is divided by this, for
    /// demonstrations and tests: with 900, what takes a quarter of an hour takes a second.
    pub haste: u32,
}

impl Default for Relocation {
    fn default() -> Self {
        Self { period: Span(Micros::from_secs(5)), haste: 1 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/chandler-controller"),
            http: SocketAddr::from(([127, 0, 0, 1], 7480)),
            quic: SocketAddr::from(([127, 0, 0, 1], 7443)),
            federation: None,
            federation_advertise: None,
            advertise: Vec::new(),
            database: None,
            currency: "EUR".to_owned(),
            grace: Span(Micros::from_secs(12)),
            heartbeat: Span(Micros::from_secs(4)),
            telemetry_interval: Span(Micros::from_secs(10)),
            certificate_life: Span(Micros::from_secs(24 * 3_600)),
            relocation: Relocation::default(),
            roles: vec![ControllerRole::Provider],
            market: MarketSettings::default(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Settings from the text of a file.
    ///
    /// # Errors
    /// The line and key that are wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError(e.to_string()))
    }

    /// Checks what no single value can tell.
    ///
    /// # Errors
    /// The setting that is wrong, and what to write.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = |text: &str| Err(ConfigError(text.to_owned()));
        if self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return bad("currency: write an ISO 4217 code such as \"EUR\"");
        }
        if self.heartbeat.0.0 < 50_000 || self.telemetry_interval.0.0 < 100_000 {
            return bad("heartbeat, telemetryInterval: at least 50 ms and 100 ms");
        }
        if self.grace.0.0 < self.heartbeat.0.0.saturating_mul(3) {
            return bad("grace: at least three times the heartbeat, or one lost packet would lose a host");
        }
        if !(50_000..=3_600_000_000).contains(&self.relocation.period.0.0) {
            return bad("relocation.period: 50 ms to 1 h");
        }
        if !(1..=100_000).contains(&self.relocation.haste) {
            return bad("relocation.haste: 1 to 100000");
        }
        if self.certificate_life.0.0 < 2_000_000 {
            return bad("certificateLife: at least 2 s");
        }
        if self.quic.ip().is_unspecified() && self.advertise.is_empty() {
            return bad("advertise: quic listens on every address; name the ones that agents shall use (--advertise)");
        }
        if self.roles.is_empty() {
            return bad("roles: write at least one of provider, virtual, valueAdded, marketplace");
        }
        match (&self.federation, &self.federation_advertise) {
            (_, Some(address)) if !is_address(address) => {
                return bad("federationAdvertise: write HOST:PORT");
            }
            (Some(address), None) if address.ip().is_unspecified() => {
                return bad(
                    "federationAdvertise: federation listens on every address; name the one that partners shall call (--federation-advertise)",
                );
            }
            (Some(address), _) if address.port() != 0 && address.port() == self.quic.port() => {
                return bad("federation: quic has this port, and partners' relays need it over UDP: write another one");
            }
            _ => {}
        }
        Ok(())
    }

    /// When silence means something.
    pub fn patience(&self) -> Patience {
        Patience { grace: self.grace.0, ..Patience::default() }
    }

    /// When services are better off elsewhere.
    pub fn consideration(&self) -> Consideration {
        let Relocation { period, haste } = self.relocation;
        Consideration { period: period.0.to_std(), rules: Rules::quick(i64::from(haste)) }
    }

    /// What agents are told to keep to.
    pub fn link(&self) -> LinkConfig {
        LinkConfig {
            telemetry_interval: self.telemetry_interval.0,
            heartbeat: self.heartbeat.0,
            reconnect_window: LinkConfig::default().reconnect_window,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let check = |text: &str, expect: &str| {
            let shown = match Config::parse(text).and_then(|c| c.check()) {
                Ok(()) => "ok".to_owned(),
                Err(e) => e.to_string(),
            };
            assert!(shown.contains(expect), "{text:?} gave {shown:?}");
        };
        check("", "ok");
        check("grace = \"3 s\"\nheartbeat = \"500 ms\"", "ok");
        check("grace = \"3 s\"", "grace: at least three times");
        check("[relocation]\nperiod = \"500 ms\"\nhaste = 900", "ok");
        check("[relocation]\nhaste = 0", "relocation.haste: 1");
        check("[relocation]\nperiod = \"1 ms\"", "relocation.period: 50 ms");
        check("roles = [\"virtual\", \"marketplace\"]\n[market]\nrule = \"secondScore\"", "ok");
        check("roles = []", "roles: write at least one");
        check("roles = [\"king\"]", "unknown variant `king`");
        check("[market]\nrule = \"auction\"", "unknown variant `auction`");
        check("graze = \"3 s\"", "unknown field `graze`");
        check("http = \"here\"", "line 1");
        check("currency = \"euro\"", "ISO 4217");
        check("quic = \"0.0.0.0:7443\"", "advertise");
        check("federation = \"0.0.0.0:7444\"", "federationAdvertise");
        check("federation = \"127.0.0.1:7443\"", "quic has this port");
        check("federation = \"0.0.0.0:7444\"\nfederationAdvertise = \"https://a:1\"", "write HOST:PORT");
        check("federation = \"0.0.0.0:7444\"\nfederationAdvertise = \"a.example:7444\"", "ok");
    }
}
