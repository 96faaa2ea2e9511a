//! Local addresses of the services that software here uses: front doors, kept open by this same agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chandler_protocol::ServiceId;
use chandler_protocol::workload::WorkloadSpec;
use tokio::sync::watch;

/// Where each port of each used service is reached on this computer.
pub type Addresses = BTreeMap<(ServiceId, String), SocketAddr>;

/// What a word that stands for such an address begins with, inside its braces.
const WORD: &str = "front.";

/// The front doors' addresses, shared between those who keep them and those who need them.
#[derive(Debug, Clone)]
pub struct Fronts {
    inner: Arc<watch::Sender<Addresses>>,
}

impl Default for Fronts {
    fn default() -> Self {
        Self { inner: Arc::new(watch::channel(Addresses::new()).0) }
    }
}

impl Fronts {
    /// These are all the addresses now.
    pub fn set(&self, addresses: Addresses) {
        self.inner.send_if_modified(|known| {
            let is_new = *known != addresses;
            *known = addresses;
            is_new
        });
    }

    /// The address that `{front.SERVICE.PORT}` stands for.
    ///
    /// `Ok(None)`: it is not known yet.
    ///
    /// # Errors
    /// It is no such word.
    pub(crate) fn find(&self, word: &str) -> Result<Option<SocketAddr>, NotAFront> {
        let key = parse(word).ok_or(NotAFront)?;
        Ok(self.inner.borrow().get(&key).copied())
    }

    /// The first used service whose address is not known yet.
    pub(crate) fn missing(&self, spec: &WorkloadSpec) -> Option<ServiceId> {
        let texts = spec.command.iter().chain(spec.environment.iter().map(|(_, value)| value));
        let wanted: Vec<(ServiceId, String)> = texts.flat_map(|text| words(text)).collect();
        if wanted.is_empty() {
            return None;
        }
        let known = self.inner.borrow();
        wanted.into_iter().find(|key| !known.contains_key(key)).map(|(service, _)| service)
    }

    /// Told whenever an address changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Addresses> {
        self.inner.subscribe()
    }
}

/// It is not `front.SERVICE.PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAFront;

fn parse(word: &str) -> Option<(ServiceId, String)> {
    let (service, port) = word.strip_prefix(WORD)?.split_once('.')?;
    Some((service.parse().ok()?, port.to_owned()))
}

/// Every such word in a text.
fn words(text: &str) -> impl Iterator<Item = (ServiceId, String)> {
    text.split('{').skip(1).filter_map(|rest| parse(rest.split_once('}')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_others_left_alone() {
        let service = ServiceId::from_random([1; 10]);
        let fronts = Fronts::default();
        let word = format!("front.{service}.http");
        assert_eq!(fronts.find(&word), Ok(None), "not known yet");
        for bad in ["front", "front.x.http", "port.http", &format!("front.{service}")] {
            assert_eq!(fronts.find(bad), Err(NotAFront), "{bad}");
        }
        let text = format!("a={{{word}}} b={{front.no.such}} {{port.http}} {{front.{service}.admin}}");
        let ports: Vec<String> = words(&text).map(|(_, port)| port).collect();
        assert_eq!(ports, ["http", "admin"]);
        let address = SocketAddr::from(([127, 0, 0, 1], 18_080));
        fronts.set(BTreeMap::from([((service, "http".to_owned()), address)]));
        assert_eq!(fronts.find(&word), Ok(Some(address)));
    }
}
