//! What every controller has from its first start: the provider itself, the standard offering, and its market. What the
//! settings say of them holds from each start on.

use chandler_api::market::MarketRule;
use chandler_api::status::ControllerRole;
use chandler_engine::catalogue::{Offering, STANDARD};
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::federation::Market;
use chandler_engine::market::clearing::Rule;
use chandler_engine::party::{PROVIDER, Party, PartyRole};
use chandler_protocol::{Digest, PartyId};

use super::{ServeError, store_error};
use crate::config::Config;
use crate::store::Writer;

/// Lays it, in one transaction; and says, before the first lease is given, for how long leases are. `domain` is this
/// controller's trust domain towards partners.
pub(super) async fn lay(writer: &Writer, config: &Config, domain: &str) -> Result<(), ServeError> {
    let (grace, domain) = (config.grace.0, domain.to_owned());
    let roles: Vec<_> = config.roles.iter().map(|r| role(*r)).collect();
    let rule = rule(config.market.rule);
    let mut seed = [0; 32];
    writer.random().fill(&mut seed);
    let made = writer.transact("controller", move |draft| {
        draft.model.grace = grace;
        provider(draft, &roles);
        if !draft.model.offerings.contains_key(STANDARD) {
            draft.event((Noun::Offering, STANDARD.to_owned(), STANDARD), "", "active", "first start");
            draft.put(Offering::standard(draft.now));
        }
        market(draft, domain, rule, Digest(seed));
        Ok::<_, ()>(())
    });
    made.await.map_err(store_error)
}

const fn role(role: ControllerRole) -> PartyRole {
    match role {
        ControllerRole::Provider => PartyRole::ServiceProvider,
        ControllerRole::Virtual => PartyRole::VirtualServiceProvider,
        ControllerRole::ValueAdded => PartyRole::ValueAddedServiceProvider,
        ControllerRole::Marketplace => PartyRole::Marketplace,
    }
}

const fn rule(rule: MarketRule) -> Rule {
    match rule {
        MarketRule::PostedRate => Rule::PostedRate,
        MarketRule::SecondScore => Rule::SecondScore,
    }
}

/// The party that runs this controller, in the roles of the settings.
fn provider(draft: &mut Draft<'_>, roles: &[PartyRole]) {
    let Some(before) = draft.model.party_named(PROVIDER).cloned() else {
        let id = PartyId::from_random(draft.id());
        draft.event((Noun::Party, id.to_string(), PROVIDER), "", "validated", "first start");
        draft.put(Party { id, name: PROVIDER.to_owned(), roles: Vec::new() }.acting_as(roles));
        return;
    };
    let after = before.acting_as(roles);
    if after != *before {
        let roles: Vec<_> = after.roles.iter().map(|r| r.as_str()).collect();
        let reason = format!("roles of the settings: {}", roles.join(", "));
        draft.event((Noun::Party, after.id.to_string(), PROVIDER), "", "changed", reason);
        draft.put(after);
    }
}

/// The market. Its seed is drawn once and kept: who clears must not choose how ties end.
fn market(draft: &mut Draft<'_>, domain: String, rule: Rule, seed: Digest) {
    let what = (Noun::Controller, String::new(), "market");
    let Some(before) = draft.model.market.get(&()).cloned() else {
        draft.event(what, "", rule.as_str(), "first start");
        draft.put(Market { domain, rule, seed, head: Digest([0; 32]), cleared: 0 });
        return;
    };
    if before.rule != rule {
        draft.event(what, before.rule.as_str(), rule.as_str(), "market.rule of the settings, for demands from now on");
    } else if before.domain != domain {
        let reason = format!("this controller's trust domain is {domain} and was {}", before.domain);
        draft.event(what, "", "renamed", reason);
    } else {
        return;
    }
    draft.put(Market { domain, rule, ..before.as_ref().clone() });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{EventFilter, Store};
    use crate::world::{SystemClock, SystemRandom};

    #[tokio::test]
    async fn the_seed_stays_and_the_settings_hold_from_each_start_on() {
        let store = Arc::new(MemoryStore::default());
        let start = async |config: &Config| {
            let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
            let writer = Writer::start(store.clone(), clock, random, "EUR").await.unwrap();
            lay(&writer, config, "chandler-1").await.unwrap();
            let model = writer.snapshot();
            let market = model.market.get(&()).unwrap().as_ref().clone();
            (market, model.party_named(PROVIDER).unwrap().roles.clone())
        };
        let (first, roles) = start(&Config::default()).await;
        assert_eq!((first.rule, first.cleared, first.domain.as_str()), (Rule::PostedRate, 0, "chandler-1"));
        assert_ne!(first.seed, Digest([0; 32]));
        assert_eq!(roles, [PartyRole::ServiceProvider]);
        let other = Config::parse("roles = [\"virtual\", \"marketplace\"]\n[market]\nrule = \"secondScore\"").unwrap();
        let (second, roles) = start(&other).await;
        assert_eq!(second, Market { rule: Rule::SecondScore, ..first });
        assert_eq!(roles, [PartyRole::VirtualServiceProvider, PartyRole::Marketplace]);
        start(&other).await;
        let events = store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap();
        let told: Vec<_> = events.iter().map(|e| (e.name.as_str(), e.from.as_str(), e.to.as_str())).collect();
        let expect = [
            ("provider", "", "validated"),
            ("standard", "", "active"),
            ("market", "", "postedRate"),
            ("provider", "", "changed"),
            ("market", "postedRate", "secondScore"),
        ];
        assert_eq!(told, expect, "each change is told once");
    }
}
