//! A small controller for tests: real QUIC, real certificates, and a memory of everything the agent said.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_agent::tls::{SERVER_NAME, fingerprint, provider};
use chandler_protocol::artifact::{self, BulkRequest, BulkResponse, CHUNK, Manifest};
use chandler_protocol::command::CommandResult;
use chandler_protocol::frame::{BULK_MAX, CONTROL_MAX, FrameDecoder, JOIN_MAX, encode};
use chandler_protocol::handshake::{self, Hello, Refusal, VERSION, Welcome};
use chandler_protocol::inventory::HostInventory;
use chandler_protocol::join::{self, JoinRequest, JoinResponse, JoinString};
use chandler_protocol::lease::{LeaseGrant, LeaseRequest, LeaseWanted};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::{DesiredState, ObservedState};
use chandler_protocol::telemetry::{self, Readings};
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::way::ObservedWays;
use chandler_protocol::{Digest, HostId, Micros, Timestamp};
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, PKCS_ED25519,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::sync::watch;

/// What the agent said, and what it is told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) inventory: Option<HostInventory>,
    pub(crate) observed: ObservedState,
    pub(crate) usage: BTreeMap<u64, UsageRecord>,
    pub(crate) readings: Vec<Readings>,
    pub(crate) results: Vec<CommandResult>,
    pub(crate) outputs: BTreeMap<String, Vec<u8>>,
    pub(crate) renewals: u32,
    pub(crate) alive: u32,
    pub(crate) ways: Vec<ObservedWays>,
    pub(crate) chunks_given: u32,
    pub(crate) wrong: Vec<String>,
    /// Every request for leases, with when it arrived.
    pub(crate) asked: Vec<(std::time::Instant, LeaseRequest)>,
}

/// How the controller misbehaves.
#[derive(Default)]
pub(crate) struct Mood {
    pub(crate) refuse: Option<Refusal>,
    pub(crate) corrupt_chunks: bool,
    /// The certificate was issued this long ago and ends in as long.
    pub(crate) life: Option<Duration>,
    pub(crate) keep_usage: bool,
    /// The version of the messages that it speaks; the newest when absent.
    pub(crate) version: Option<u16>,
    /// How long leases last; none are given while it is absent.
    pub(crate) lease: Option<Duration>,
    /// Requests for leases get no answer.
    pub(crate) is_mute: bool,
    /// The generation of the newest lease that was given.
    pub(crate) generation: u64,
}

pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    pub(crate) heard: Arc<Mutex<Heard>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    blobs: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    say: watch::Sender<Vec<ControllerMessage>>,
    ca_der: Vec<u8>,
    endpoint: quinn::Endpoint,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn sign(&self, csr: &[u8], life: Option<Duration>) -> Vec<u8> {
        let mut csr = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        if let Some(life) = life {
            let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_micros(u64::try_from(now().0).unwrap());
            (params.not_before, params.not_after) = (now - life, now + life);
        }
        csr.params = params;
        csr.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(Micros::from_std(since).0)
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &authority.issuer).unwrap().der().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der.clone())).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf, CertificateDer::from(authority.der.clone())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        tls.alpn_protocols = vec![join::ALPN.to_vec(), handshake::ALPN.to_vec(), artifact::ALPN.to_vec()];
        let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (say, _) = watch::channel(Vec::new());
        let controller = Self {
            address: endpoint.local_addr().unwrap(),
            heard: Arc::default(),
            mood: Arc::default(),
            blobs: Arc::default(),
            say,
            ca_der: authority.der.clone(),
            endpoint: endpoint.clone(),
        };
        let desk = Arc::new(Desk {
            authority,
            heard: controller.heard.clone(),
            mood: controller.mood.clone(),
            blobs: controller.blobs.clone(),
            say: controller.say.subscribe(),
        });
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        desk.serve(connection).await;
                    }
                });
            }
        });
        controller
    }

    pub(crate) fn join_string(&self) -> JoinString {
        JoinString {
            addresses: vec![self.address],
            ca_fingerprint: fingerprint(&self.ca_der).unwrap(),
            secret: [7; 16],
            issued_at: now(),
        }
    }

    pub(crate) fn publish(&self, bytes: &[u8]) -> Digest {
        let digest = Digest(*blake3::hash(bytes).as_bytes());
        self.blobs.lock().unwrap().insert(digest, bytes.to_vec());
        digest
    }

    /// Says something on the present session and, when it is a desired state, on every later one.
    pub(crate) fn say(&self, message: ControllerMessage) {
        self.say.send_modify(|all| all.push(message));
    }

    pub(crate) fn desire(&self, desired: &DesiredState) {
        self.say(ControllerMessage::Desired(desired.clone()));
    }

    pub(crate) fn cut_off(&self) {
        self.endpoint.close(1_u32.into(), b"gone");
    }

    pub(crate) async fn until<T>(&self, what: &str, mut find: impl FnMut(&Heard) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            {
                let heard = self.heard.lock().unwrap();
                assert!(heard.wrong.is_empty(), "{:?}", heard.wrong);
                if let Some(found) = find(&heard) {
                    return found;
                }
                assert!(std::time::Instant::now() < deadline, "{what} never came to be: {:?}", heard.observed);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

struct Desk {
    authority: Authority,
    heard: Arc<Mutex<Heard>>,
    mood: Arc<Mutex<Mood>>,
    blobs: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    say: watch::Receiver<Vec<ControllerMessage>>,
}

async fn read<T: serde::de::DeserializeOwned>(stream: &mut quinn::RecvStream, decoder: &mut FrameDecoder) -> Option<T> {
    loop {
        if let Some(message) = decoder.decode().unwrap() {
            return Some(message);
        }
        let chunk = stream.read_chunk(64 << 10, true).await.ok()??;
        decoder.push(&chunk.bytes);
    }
}

async fn send<T: serde::Serialize>(stream: &mut quinn::SendStream, message: &T, max: usize) {
    let _ = stream.write_all(&encode(message, max).unwrap()).await;
}

impl Desk {
    async fn serve(self: Arc<Self>, connection: quinn::Connection) {
        let data = connection.handshake_data().unwrap();
        let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
        let protocol = data.protocol.unwrap();
        if protocol != join::ALPN && connection.peer_identity().is_none() {
            connection.close(2_u32.into(), b"no certificate");
            return;
        }
        while let Ok((out, input)) = connection.accept_bi().await {
            let desk = self.clone();
            let connection = connection.clone();
            let protocol = protocol.clone();
            tokio::spawn(async move {
                match protocol.as_slice() {
                    join::ALPN => desk.join(out, input).await,
                    handshake::ALPN => desk.session(connection, out, input).await,
                    _ => desk.bulk(out, input).await,
                }
            });
        }
    }

    async fn join(&self, mut out: quinn::SendStream, mut input: quinn::RecvStream) {
        let request: JoinRequest = read(&mut input, &mut FrameDecoder::new(JOIN_MAX)).await.unwrap();
        let (refusal, life) = {
            let mood = self.mood.lock().unwrap();
            (mood.refuse.clone(), mood.life)
        };
        let answer = match refusal {
            Some(r) => JoinResponse::Refused { code: r.code, message: r.message },
            None => JoinResponse::Admitted {
                host: HostId::from_random([5; 10]),
                site: "berlin-1".into(),
                certificate: self.authority.sign(&request.csr, life),
                ca: self.authority.der.clone(),
                controller_time: now(),
            },
        };
        send(&mut out, &answer, JOIN_MAX).await;
        let _ = out.finish();
        let _ = out.stopped().await;
    }

    async fn session(&self, connection: quinn::Connection, mut out: quinn::SendStream, mut input: quinn::RecvStream) {
        let mut decoder = FrameDecoder::new(CONTROL_MAX);
        let Some(AgentMessage::Hello(hello)) = read(&mut input, &mut decoder).await else {
            self.heard.lock().unwrap().wrong.push("the first message is not Hello".into());
            return;
        };
        self.heard.lock().unwrap().hellos.push(hello);
        let stored = self.heard.lock().unwrap().usage.keys().next_back().copied().unwrap_or(0);
        let version = self.mood.lock().unwrap().version.unwrap_or(VERSION);
        let welcome = Welcome {
            version,
            controller_time: now(),
            telemetry_interval: Micros::from_millis(100),
            heartbeat: Micros::from_millis(300),
            reconnect_window: Micros::from_millis(50),
            usage_acknowledged: if self.mood.lock().unwrap().keep_usage { 0 } else { stored },
        };
        send(&mut out, &ControllerMessage::Welcome(welcome), CONTROL_MAX).await;
        let mut say = self.say.clone();
        let mut said = 0;
        let mut samples: BTreeMap<u64, Readings> = BTreeMap::new();
        loop {
            let all = say.borrow_and_update().clone();
            for message in &all[said..] {
                send(&mut out, message, CONTROL_MAX).await;
            }
            said = all.len();
            tokio::select! {
                biased;
                message = read::<AgentMessage>(&mut input, &mut decoder) => {
                    let Some(message) = message else { return };
                    if let Some(answer) = self.hear(message, &mut samples) {
                        send(&mut out, &answer, CONTROL_MAX).await;
                    }
                }
                changed = say.changed() => if changed.is_err() {
                    connection.close(0_u32.into(), b"");
                    return;
                },
            }
        }
    }

    fn hear(&self, message: AgentMessage, samples: &mut BTreeMap<u64, Readings>) -> Option<ControllerMessage> {
        let mut heard = self.heard.lock().unwrap();
        match message {
            AgentMessage::Hello(_) => heard.wrong.push("Hello twice".into()),
            AgentMessage::Inventory(inventory) => heard.inventory = Some(inventory),
            AgentMessage::Observed(observed) => heard.observed = observed,
            AgentMessage::Telemetry(batch) => {
                let mut last = 0;
                for sample in batch {
                    match telemetry::decode(&sample, |s| samples.get(&s).copied()) {
                        Ok(readings) => {
                            samples.insert(sample.sequence, readings);
                            heard.readings.push(readings);
                            last = sample.sequence;
                        }
                        Err(error) => heard.wrong.push(error.to_string()),
                    }
                }
                return Some(ControllerMessage::TelemetryAcknowledged(last));
            }
            AgentMessage::Usage(records) => {
                for record in records {
                    let old = heard.usage.get(&record.sequence).cloned();
                    let is_same = old.as_ref().is_none_or(|o| {
                        UsageRecord { age: None, ..o.clone() } == UsageRecord { age: None, ..record.clone() }
                    });
                    if !is_same {
                        heard.wrong.push(format!("a usage record changed: {old:?} {record:?}"));
                    }
                    heard.usage.insert(record.sequence, record);
                }
                if !self.mood.lock().unwrap().keep_usage {
                    return heard.usage.keys().next_back().map(|s| ControllerMessage::UsageAcknowledged(*s));
                }
            }
            AgentMessage::CommandResult(result) => heard.results.push(result),
            AgentMessage::Renew(csr) => {
                heard.renewals += 1;
                return Some(ControllerMessage::Renewed(self.authority.sign(&csr, None)));
            }
            AgentMessage::Alive => heard.alive += 1,
            AgentMessage::Ways(ways) => heard.ways.push(ways),
            AgentMessage::Lease(request) => {
                heard.asked.push((std::time::Instant::now(), request.clone()));
                return self.lease(&request).map(ControllerMessage::Lease);
            }
        }
        None
    }

    /// Gives every lease that is asked for, or none.
    fn lease(&self, request: &LeaseRequest) -> Option<LeaseGrant> {
        let mut mood = self.mood.lock().unwrap();
        if mood.is_mute {
            return None;
        }
        let lasts = Micros::from_std(mood.lease.unwrap_or_default());
        let mut given = Vec::new();
        let is_giving = mood.lease.is_some();
        for wanted in request.wanted.iter().filter(|_| is_giving) {
            if wanted.generation == 0 {
                mood.generation += 1;
                given.push(LeaseWanted { generation: mood.generation, ..*wanted });
            } else {
                given.push(*wanted);
            }
        }
        Some(LeaseGrant { nonce: request.nonce, lasts, renew: Micros(lasts.0 / 3), given })
    }

    async fn bulk(&self, mut out: quinn::SendStream, mut input: quinn::RecvStream) {
        // Raw bytes may follow the head, so no more than the head is read.
        let mut length = [0; 4];
        let Ok(()) = input.read_exact(&mut length).await else { return };
        let mut frame = length.to_vec();
        frame.resize(4 + u32::from_le_bytes(length) as usize, 0);
        let Ok(()) = input.read_exact(&mut frame[4..]).await else { return };
        let mut decoder = FrameDecoder::new(BULK_MAX);
        decoder.push(&frame);
        let request: BulkRequest = decoder.decode().unwrap().unwrap();
        let refused = || BulkResponse::Refused { code: "E0401".into(), message: "there is no such artifact".into() };
        let find = |digest: &Digest| self.blobs.lock().unwrap().get(digest).cloned();
        match request {
            BulkRequest::Manifest { digest } => {
                let answer = find(&digest).map_or_else(refused, |bytes| {
                    let chunks = bytes.chunks(CHUNK).map(|c| Digest(*blake3::hash(c).as_bytes())).collect();
                    BulkResponse::Manifest(Manifest { digest, length: bytes.len() as u64, chunks })
                });
                send(&mut out, &answer, BULK_MAX).await;
            }
            BulkRequest::Chunks { digest, chunks } => {
                let bytes = find(&digest).unwrap_or_default();
                for wanted in chunks {
                    let chunk = bytes.chunks(CHUNK).find(|c| blake3::hash(c).as_bytes() == &wanted.0).unwrap();
                    let mut plain = chunk.to_vec();
                    if self.mood.lock().unwrap().corrupt_chunks {
                        plain[0] ^= 1;
                    }
                    self.heard.lock().unwrap().chunks_given += 1;
                    let zstd = zstd::bulk::compress(&plain, 1).unwrap();
                    let length = u32::try_from(plain.len()).unwrap();
                    send(&mut out, &BulkResponse::Chunk { digest: wanted, length, zstd }, BULK_MAX).await;
                }
            }
            BulkRequest::PutOutput { path, digest, length, .. } => {
                let rest = input.read_to_end(64 << 20).await.unwrap();
                let answer = if rest.len() as u64 == length && blake3::hash(&rest).as_bytes() == &digest.0 {
                    self.heard.lock().unwrap().outputs.insert(path, rest);
                    BulkResponse::Stored
                } else {
                    BulkResponse::Refused {
                        code: "E0402".into(),
                        message: "the content does not fit its digest".into(),
                    }
                };
                send(&mut out, &answer, BULK_MAX).await;
            }
        }
        let _ = out.finish();
        let _ = out.stopped().await;
    }
}
