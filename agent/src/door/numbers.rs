//! The numbers of ports that were chosen here: each service keeps its own, whatever happens to the agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chandler_protocol::ServiceId;

use crate::disk::{self, Disk};
use crate::sync::lock;

/// Where they are kept.
const KEY: &str = "doors";
/// Most that are kept. Beyond it a number lasts as long as the agent runs.
const MAX: usize = 4_096;

type Chosen = BTreeMap<(ServiceId, String), u16>;

/// The chosen numbers.
pub(crate) struct Numbers {
    disk: Arc<dyn Disk>,
    chosen: Mutex<Chosen>,
}

impl Numbers {
    /// What the disk remembers. When it cannot be read, numbers are chosen anew.
    pub(crate) fn load(disk: Arc<dyn Disk>) -> Self {
        let chosen = disk::load::<Chosen>(&*disk, KEY).unwrap_or_else(|error| {
            tracing::warn!(%error, "the numbers of front doors are lost; new ones are chosen");
            None
        });
        Self { disk, chosen: Mutex::new(chosen.unwrap_or_default()) }
    }

    /// The number of a service's port, once one was chosen.
    pub(crate) fn get(&self, service: ServiceId, port: &str) -> Option<u16> {
        lock(&self.chosen).get(&(service, port.to_owned())).copied()
    }

    /// A number was chosen.
    pub(crate) fn keep(&self, service: ServiceId, port: &str, number: u16) {
        let mut chosen = lock(&self.chosen);
        if chosen.len() >= MAX {
            return;
        }
        if chosen.insert((service, port.to_owned()), number) == Some(number) {
            return;
        }
        if let Err(error) = disk::save(&*self.disk, KEY, &*chosen) {
            tracing::warn!(%error, "the number of a front door is not kept");
        }
    }
}
