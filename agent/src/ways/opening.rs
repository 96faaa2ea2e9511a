//! How doors reach copies: through tunnels.

use std::sync::Arc;

use async_trait::async_trait;
use chandler_protocol::tunnel::TunnelRequest;
use chandler_protocol::way::Backend;

use crate::door::{BoxedIo, OpenError, Opener};
use crate::tunnel::{self, Tunnels};

/// Opens streams to the ports of copies, wherever they are.
pub(crate) struct Opening(pub(crate) Arc<Tunnels>);

#[async_trait]
impl Opener for Opening {
    async fn open(&self, backend: &Backend, port: &str) -> Result<BoxedIo, OpenError> {
        let request =
            TunnelRequest::Port { assignment: backend.assignment, epoch: backend.epoch, port: port.to_owned() };
        match self.0.open(backend.host, &request).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error @ (tunnel::OpenError::NoGrant | tunnel::OpenError::NoPath(_))) => {
                Err(OpenError::NotSent(error.to_string()))
            }
            Err(tunnel::OpenError::Refused { why, epoch }) => Err(OpenError::Refused { why, epoch }),
            Err(tunnel::OpenError::Lost(why)) => Err(OpenError::Lost(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chandler_protocol::ServiceId;
    use chandler_protocol::way::{Door, DoorLimits, DoorPort, Route};
    use chandler_protocol::workload::PortMode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;
    use crate::disk::FileDisk;
    use crate::door::{self, Doors, RealFronts};
    use crate::tunnel::testing::{Agent, copy, echo, introduce, server};
    use crate::world::{RealClock, RealRandom};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nhost: notes\r\n\r\n";

    /// A door at `at` for the copy at `host`, and where its ports listen.
    async fn door(
        at: &Agent,
        host: &Agent,
        dir: &std::path::Path,
    ) -> (Doors, std::net::SocketAddr, std::net::SocketAddr) {
        let doors = Doors::new(door::Parts {
            opener: Arc::new(Opening(at.tunnels.clone())),
            fronts: Arc::new(RealFronts),
            disk: Arc::new(FileDisk::open(dir).unwrap()),
            clock: Arc::new(RealClock),
            random: Arc::new(RealRandom),
            told: Arc::new(Notify::new()),
        });
        let service = ServiceId::from_random([4; 10]);
        let port = |name: &str, mode| DoorPort { name: name.into(), mode, number: None, lan: None };
        doors.update(&[Door {
            service,
            name: "notes".into(),
            ports: vec![port("http", PortMode::Http), port("tcp", PortMode::Tcp)],
            route: Route {
                sequence: 1,
                hold: None,
                backends: vec![Backend { assignment: copy(), epoch: 3, host: host.id }],
            },
            limits: DoorLimits::default(),
        }]);
        let find = |name: &str| doors.addresses().get(&(service, name.to_owned())).copied();
        crate::tunnel::testing::until("the door listens", || find("http").is_some() && find("tcp").is_some()).await;
        let found = (find("http").unwrap(), find("tcp").unwrap());
        (doors, found.0, found.1)
    }

    /// A server that answers each question of a connection.
    async fn web() -> std::net::SocketAddr {
        server(|mut stream| async move {
            stream.set_nodelay(true).unwrap();
            while ask_for(&mut stream, b"\r\n\r\n").await {
                stream.write_all(ANSWER).await.unwrap();
            }
        })
        .await
    }

    /// Reads until `end`; says whether it came.
    async fn ask_for(stream: &mut TcpStream, end: &[u8]) -> bool {
        let mut heard = Vec::new();
        while !heard.ends_with(end) {
            match stream.read_u8().await {
                Ok(byte) => heard.push(byte),
                Err(_) => return false,
            }
        }
        true
    }

    async fn p50_of_questions(address: std::net::SocketAddr) -> std::time::Duration {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut took = Vec::new();
        for _ in 0..300 {
            let begun = Instant::now();
            stream.write_all(QUESTION).await.unwrap();
            assert!(ask_for(&mut stream, b"ok").await);
            took.push(begun.elapsed());
        }
        took.sort();
        took[took.len() / 2]
    }

    #[tokio::test]
    async fn a_door_reaches_a_copy_on_another_host_and_on_its_own() {
        let (a, b) = (Agent::start(1).await, Agent::start(2).await);
        introduce(&a, &b);
        let (web, echo, dir) = (web().await, echo().await, tempfile::tempdir().unwrap());
        for host in [&a, &b] {
            host.serve("http", web);
            host.serve("tcp", echo);
        }
        let straight = p50_of_questions(web).await;
        for (host, dir) in [(&a, dir.path().join("own")), (&b, dir.path().join("other"))] {
            let (doors, http, tcp) = door(&a, host, &dir).await;
            // Not a limit, a number to look at: other work runs on this computer.
            let through = p50_of_questions(http).await;
            println!("a question straight: {straight:?}, through a door to {}: {through:?}", host.id);
            let mut stream = TcpStream::connect(tcp).await.unwrap();
            stream.write_all(&[7; 100_000]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, [7; 100_000]);
            let counters = &doors.observed()[0].counters;
            assert_eq!((counters.requests, counters.failed), (301, 0));
        }
    }
}
