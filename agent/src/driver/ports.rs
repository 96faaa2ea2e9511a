//! Choosing ports: fixed as asked, the others free ones, kept from start to start.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use chandler_protocol::workload::Port;

use super::Ports;

/// How often a free port is asked for before giving up: each try hits a taken one only by bad luck.
const TRIES: usize = 64;

/// Ports for `wanted`. A remembered port is kept while it is free; `taken` are those of other assignments, whose
/// programs may not have opened them yet.
pub(super) fn choose(wanted: &[Port], remembered: &Ports, taken: &BTreeSet<u16>) -> Result<Ports, String> {
    let mut chosen: Ports = Vec::with_capacity(wanted.len());
    for port in wanted {
        let number = match port.fixed {
            Some(number) => number,
            None => {
                let mine = |n: u16| taken.contains(&n) || chosen.iter().any(|(_, c)| *c == n);
                let old = remembered.iter().find(|(name, _)| *name == port.name).map(|(_, n)| *n);
                match old.filter(|n| !mine(*n) && bind(*n).is_some()) {
                    Some(number) => number,
                    None => (0..TRIES)
                        .find_map(|_| bind(0).filter(|n| !mine(*n)))
                        .ok_or_else(|| format!("no free port for {:?}", port.name))?,
                }
            }
        };
        chosen.push((port.name.clone(), number));
    }
    Ok(chosen)
}

/// The port, if it is free; 0 asks for any free one.
fn bind(port: u16) -> Option<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|l| l.local_addr()).ok().map(|a| a.port())
}

#[cfg(test)]
mod tests {
    use chandler_protocol::workload::PortMode;

    use super::*;

    fn port(name: &str, fixed: Option<u16>) -> Port {
        Port { name: name.into(), mode: PortMode::Tcp, fixed }
    }

    #[test]
    fn ports_are_distinct_kept_and_given_up_only_when_taken() {
        let wanted = [port("a", None), port("b", None), port("c", Some(7))];
        let first = choose(&wanted, &Vec::new(), &BTreeSet::new()).unwrap();
        assert_ne!(first[0].1, first[1].1);
        assert_eq!(first[2].1, 7);
        assert_eq!(choose(&wanted, &first, &BTreeSet::new()).unwrap(), first, "the same ports again");
        let taken = BTreeSet::from([first[0].1]);
        assert_ne!(choose(&wanted, &first, &taken).unwrap()[0].1, first[0].1);
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, first[1].1)).unwrap();
        assert_ne!(choose(&wanted, &first, &BTreeSet::new()).unwrap()[1].1, first[1].1);
        drop(held);
    }
}
