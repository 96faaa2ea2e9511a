//! Causes of taste: whose computers are liked better, and money.

use std::sync::Arc;

use chandler_protocol::Ppm;

use super::super::look::{Look, Place, kind};
use super::super::rules::Class;
use super::{Cause, Want};
use crate::order::OwnerKind;
use crate::service::{Assignment, Trigger};
use crate::site::SiteRole;

/// How well a kind of owner is liked: less is better.
fn rank(prefer: &[OwnerKind], role: SiteRole) -> usize {
    prefer.iter().position(|k| *k == kind(role)).unwrap_or(prefer.len())
}

/// What the customer, or else the provider, likes, and what more it may cost in percent.
pub(super) fn likes(look: &Look<'_, '_>) -> (Vec<OwnerKind>, Option<u32>) {
    let criteria = &look.service.policy.criteria;
    let (prefer, _) = criteria.preferred(look.fleet.now);
    if !prefer.is_empty() {
        return (prefer.to_vec(), criteria.premium_percent);
    }
    match look.fleet.model.criteria_of(None).and_then(|c| c.own_first_percent) {
        Some(premium) => (vec![OwnerKind::Provider], Some(premium)),
        None => (Vec::new(), None),
    }
}

/// Another kind of owner is liked better, and there may be one.
pub(super) fn liked(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let (prefer, premium_percent) = likes(look);
    let view = look.fleet.view(copy.host)?;
    let here = rank(&prefer, view.role);
    if here == 0 {
        return None;
    }
    let names: Vec<_> = prefer.iter().take(here).map(|k| k.as_str()).collect();
    let (own, hours) = look.service.policy.criteria.preferred(look.fleet.now);
    let limit = premium_percent.map_or_else(String::new, |p| format!(" at up to {p} % more"));
    let (trigger, class, who) = if own.is_empty() {
        (Trigger::ProviderCriterion, Class::Economic, "the provider puts its own resources first".to_owned())
    } else {
        let when = hours.map_or_else(String::new, |h| format!(" {h}"));
        (Trigger::CustomerCriterion, Class::Risk, format!("the customer prefers {}{when}", names.join(", then ")))
    };
    Some(Cause {
        trigger,
        class,
        from: copy.clone(),
        evidence: format!("{who}{limit}; {} belongs to a {}", view.host.name, kind(view.role).as_str()),
        want: Want::Liked { prefer, premium_percent },
        averted: Ppm(0),
    })
}

/// Whether a place is liked better and costs no more than it may.
pub(super) fn is_liked(
    look: &Look<'_, '_>,
    from: &Assignment,
    place: &Place,
    prefer: &[OwnerKind],
    premium_percent: Option<u32>,
) -> bool {
    let Some(view) = look.fleet.view(from.host) else { return false };
    let most = premium_percent.map(|p| i128::from(look.price(from.host).0) * (100 + i128::from(p)) / 100);
    let price = i128::from(place.price.0.max(place.price_now.0));
    rank(prefer, place.role) < rank(prefer, view.role) && most.is_none_or(|most| price <= most)
}

/// Some place costs less. Whether it pays to go there is weighed elsewhere.
pub(super) fn cheaper(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let eager = look.service.policy.criteria.cheaper;
    if eager == Some(false) {
        return None;
    }
    let here = (look.price(copy.host), look.price_now(copy.host));
    let best =
        look.places(copy).into_iter().filter(|p| is_no_worse(look, copy, p)).min_by_key(|p| (p.price, p.host))?;
    if best.price >= here.0 || best.price_now >= here.1 {
        return None;
    }
    let model = look.fleet.model;
    let currency = &model.currency;
    let percent = (here.0.0 - best.price.0) * 100 / here.0.0.max(1);
    let evidence = format!(
        "{} costs {} {currency} an hour, {} {} {currency}: {percent} % less, smoothed",
        model.host_name(copy.host),
        here.0,
        best.name,
        best.price,
    );
    let eager = eager == Some(true);
    let trigger = if eager { Trigger::CustomerCriterion } else { Trigger::Price };
    let (from, want) = (copy.clone(), Want::Cheaper { eager });
    Some(Cause { trigger, class: Class::Economic, from, evidence, want, averted: Ppm(0) })
}

/// Whether a cheaper place is not one that would be left again for one that is liked better: what a liking may cost is
/// what is saved at least by giving it up.
pub(in super::super) fn is_no_worse(look: &Look<'_, '_>, from: &Assignment, place: &Place) -> bool {
    let (prefer, premium_percent) = likes(look);
    let Some(view) = look.fleet.view(from.host) else { return false };
    if rank(&prefer, place.role) <= rank(&prefer, view.role) {
        return true;
    }
    let here = i128::from(look.price(from.host).0) * 100;
    premium_percent.is_some_and(|p| i128::from(place.price.0) * (100 + i128::from(p)) < here)
}
