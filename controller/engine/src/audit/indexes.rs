//! The derived indexes of a model against a recomputation from its records.

use std::collections::BTreeMap;
use std::fmt::Debug;

use imbl::{OrdMap, OrdSet};

use super::{Violation, report};
use crate::fleet::Capacity;
use crate::model::{Change, Model, Record};
use crate::service::ServiceState;

/// Most violations told of one index: one fault may put thousands of entries wrong.
const TOLD: usize = 8;

pub(super) fn check(model: &Model, found: &mut Vec<Violation>) {
    let fresh = rebuilt(model);
    compare(
        "reserved",
        plain(&model.reserved, |c| *c == Capacity::default()),
        plain(&fresh.reserved, |c| *c == Capacity::default()),
        found,
    );
    compare("by-host", plain(&model.by_host, OrdSet::is_empty), plain(&fresh.by_host, OrdSet::is_empty), found);
    compare(
        "by-service",
        plain(&model.by_service, OrdSet::is_empty),
        plain(&fresh.by_service, OrdSet::is_empty),
        found,
    );
    compare("by-order", plain(&model.by_order, OrdSet::is_empty), plain(&fresh.by_order, OrdSet::is_empty), found);
    compare("open-orders", plain(&model.open_orders, |_| false), plain(&fresh.open_orders, |_| false), found);
    compare("moving", plain(&model.moving, OrdSet::is_empty), plain(&fresh.moving, OrdSet::is_empty), found);
    let of_hosts = |m: &Model| plain(&m.leases_by_host, OrdSet::is_empty);
    compare("leases-by-host", of_hosts(model), of_hosts(&fresh), found);
    compare("by-site", plain(&model.by_site, OrdSet::is_empty), plain(&fresh.by_site, OrdSet::is_empty), found);
    compare("by-owner", plain(&model.by_owner, OrdSet::is_empty), plain(&fresh.by_owner, OrdSet::is_empty), found);
    compare("using", plain(&model.using, OrdSet::is_empty), plain(&fresh.using, OrdSet::is_empty), found);
    if model.live != fresh.live {
        report(found, "live", "the set of live services is not that of the records".to_owned());
    }
    if model.fronted != fresh.fronted {
        report(
            found,
            "fronted",
            "the set of services with doors of their choice is not that of the records".to_owned(),
        );
    }
    names(model, found);
}

/// A model with the same records and indexes made anew.
fn rebuilt(model: &Model) -> Model {
    let mut fresh = Model::default();
    let assignments = model.assignments.values().map(|v| Record::Assignment(v.clone()));
    let services = model.services.values().map(|v| Record::Service(v.clone()));
    let orders = model.orders.values().map(|v| Record::Order(v.clone()));
    let hosts = model.hosts.values().map(|v| Record::Host(v.clone()));
    let sites = model.sites.values().map(|v| Record::Site(v.clone()));
    let moves = model.moves.values().map(|v| Record::Move(v.clone()));
    let leases = model.leases.values().map(|v| Record::Lease(v.clone()));
    for record in assignments.chain(services).chain(orders).chain(hosts).chain(sites).chain(moves).chain(leases) {
        fresh.apply(&Change::Put(record));
    }
    fresh
}

/// The index without entries that say nothing.
fn plain<K: Ord + Clone, V: Clone>(index: &OrdMap<K, V>, is_nothing: impl Fn(&V) -> bool) -> BTreeMap<K, V> {
    index.iter().filter(|(_, v)| !is_nothing(v)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn compare<K: Ord + Debug, V: PartialEq + Debug>(
    rule: &'static str,
    is: BTreeMap<K, V>,
    ought: BTreeMap<K, V>,
    found: &mut Vec<Violation>,
) {
    let wrong = is.iter().filter(|(k, v)| ought.get(k) != Some(v)).map(|(k, v)| (k, Some(v), ought.get(k)));
    let missing = ought.iter().filter(|(k, _)| !is.contains_key(k)).map(|(k, v)| (k, None, Some(v)));
    for (key, is, ought) in wrong.chain(missing).take(TOLD) {
        report(found, rule, format!("{key:?} is {is:?}, ought to be {ought:?}"));
    }
}

/// A name leads to a service that bears it and is not terminated; no two such services share one.
fn names(model: &Model, found: &mut Vec<Violation>) {
    let mut bearers = BTreeMap::new();
    for service in model.services.values() {
        if service.item.is_none() && service.state != ServiceState::Terminated {
            bearers.entry((service.customer, service.name.clone())).or_insert_with(Vec::new).push(service.id);
        }
    }
    for (key, ids) in &bearers {
        if ids.len() > 1 {
            report(found, "names", format!("{ids:?} of {} are all called {:?}", key.0, key.1));
        }
        if !model.by_name.get(key).is_some_and(|id| ids.contains(id)) {
            report(found, "by-name", format!("{:?} of {} does not lead to {ids:?}", key.1, key.0));
        }
    }
    for (key, id) in model.by_name.iter().filter(|(key, _)| !bearers.contains_key(key)) {
        report(found, "by-name", format!("{:?} of {} leads to {id}, which is gone", key.1, key.0));
    }
}
