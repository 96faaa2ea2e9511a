//! The derived indexes, kept with every change of a record.

use std::sync::Arc;

use super::Model;
use crate::federation::Lease;
use crate::fleet::Host;
use crate::movement::Move;
use crate::order::Order;
use crate::service::{Assignment, Service, ServiceState};
use crate::site::Site;

impl Model {
    pub(super) fn index_assignment(&mut self, new: &Arc<Assignment>) {
        if let Some(old) = self.assignments.get(&new.id).cloned() {
            self.unindex_assignment(&old);
        }
        self.by_host.entry(new.host).or_default().insert(new.id);
        self.by_service.entry(new.service).or_default().insert(new.id);
        let reserved = self.reserved.entry(new.host).or_default();
        *reserved = reserved.plus(new.reserved);
    }

    pub(super) fn unindex_assignment(&mut self, old: &Assignment) {
        if let Some(set) = self.by_host.get_mut(&old.host) {
            set.remove(&old.id);
        }
        if let Some(set) = self.by_service.get_mut(&old.service) {
            set.remove(&old.id);
        }
        if let Some(reserved) = self.reserved.get_mut(&old.host) {
            *reserved = reserved.minus(old.reserved);
        }
    }

    pub(super) fn index_service(&mut self, new: &Arc<Service>) {
        self.by_order.entry(new.order).or_default().insert(new.id);
        let ended = new.state == ServiceState::Terminated;
        if ended {
            self.live.remove(&new.id);
        } else {
            self.live.insert(new.id);
        }
        if ended || new.policy.front.on.is_empty() {
            self.fronted.remove(&new.id);
        } else {
            self.fronted.insert(new.id);
        }
        if ended || new.policy.uses.is_empty() {
            if let Some(set) = self.using.get_mut(&new.customer) {
                set.remove(&new.id);
            }
        } else {
            self.using.entry(new.customer).or_default().insert(new.id);
        }
        if new.item.is_none() {
            let key = (new.customer, new.name.clone());
            if !ended {
                self.by_name.insert(key, new.id);
            } else if self.by_name.get(&key) == Some(&new.id) {
                self.by_name.remove(&key);
            }
        }
    }

    pub(super) fn unindex_move(&mut self, old: &Move) {
        let key = (old.started_at, old.id);
        self.moves_by_time.remove(&key);
        if let Some(set) = self.moves_by_service.get_mut(&old.service) {
            set.remove(&key);
        }
        if let Some(set) = self.moving.get_mut(&old.service) {
            set.remove(&old.id);
        }
    }

    pub(super) fn index_move(&mut self, new: &Arc<Move>) {
        if let Some(old) = self.moves.get(&new.id).cloned() {
            self.unindex_move(&old);
        }
        let key = (new.started_at, new.id);
        self.moves_by_time.insert(key);
        self.moves_by_service.entry(new.service).or_default().insert(key);
        if new.phase.is_final() {
            if let Some(set) = self.moving.get_mut(&new.service) {
                set.remove(&new.id);
            }
        } else {
            self.moving.entry(new.service).or_default().insert(new.id);
        }
    }

    pub(super) fn index_host(&mut self, new: &Arc<Host>) {
        let before = self.hosts.get(&new.id).map(|h| h.site).filter(|site| *site != new.site);
        if let Some(set) = before.and_then(|site| self.by_site.get_mut(&site)) {
            set.remove(&new.id);
        }
        self.by_site.entry(new.site).or_default().insert(new.id);
    }

    pub(super) fn index_site(&mut self, new: &Arc<Site>) {
        let before = self.sites.get(&new.id).map(|s| s.owner).filter(|owner| *owner != new.owner);
        if let Some(set) = before.and_then(|owner| self.by_owner.get_mut(&owner)) {
            set.remove(&new.id);
        }
        self.by_owner.entry(new.owner).or_default().insert(new.id);
    }

    pub(super) fn index_lease(&mut self, new: &Arc<Lease>) {
        if let Some(old) = self.leases.get(&new.id).cloned() {
            self.unindex_lease(&old);
        }
        self.leases_by_host.entry(new.host).or_default().insert(new.id);
        let reserved = self.reserved.entry(new.host).or_default();
        *reserved = reserved.plus(new.taken());
    }

    pub(super) fn unindex_lease(&mut self, old: &Lease) {
        if let Some(set) = self.leases_by_host.get_mut(&old.host) {
            set.remove(&old.id);
        }
        if let Some(reserved) = self.reserved.get_mut(&old.host) {
            *reserved = reserved.minus(old.taken());
        }
    }

    pub(super) fn index_order(&mut self, new: &Arc<Order>) {
        self.last_order = self.last_order.max(new.number);
        if new.state.is_final() {
            self.open_orders.remove(&new.number);
        } else {
            self.open_orders.insert(new.number, new.id);
        }
    }
}
