//! The model: every noun as of one instant, and the changes that lead from one instant to the next.
//!
//! The store keeps the same records on disk; this is what decisions and answers read. Its maps share structure,
//! so that a clone is a snapshot and costs nothing.

mod index;

use std::sync::Arc;

use chandler_protocol::lease::LeaseRequest;
use chandler_protocol::state::ObservedAssignment;
use chandler_protocol::way::{ObservedDoor, ObservedPath, ObservedWays, Told};
use chandler_protocol::{
    AgreementId, AssignmentId, BillId, Digest, HostId, MicroMoney, Micros, MoveId, OfferId, OrderId, PartyId,
    ServiceId, SiteId, Timestamp, TokenId,
};
use imbl::{OrdMap, OrdSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::assurance::Indicators;
use crate::catalogue::Offering;
use crate::criteria::ProviderCriteria;
use crate::event::Event;
use crate::federation::{Chain, Lease, Market, Posted, Reputation, Side, Tenancy};
use crate::finance::dispute::{Dispute, DisputeId};
use crate::finance::netting::Settlement;
use crate::finance::receipt::Receipt;
use crate::finance::{Bill, Meter, UsageRow};
use crate::fleet::{Capacity, Host, HostState, Pulse};
use crate::fulfilment::Stray;
use crate::identity::{JoinToken, Token};
use crate::market::clearing::Clearing;
use crate::movement::Move;
use crate::order::Order;
use crate::outlook::Outlook;
use crate::partner::{Invitation, Partner};
use crate::party::Party;
use crate::placement::Decision;
use crate::service::{Assignment, ClosedAssignment, Service};
use crate::site::Site;
use crate::sla::Agreement;

/// Published software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Its version; (name, version) is unique and never changes.
    pub version: String,
    /// What it runs on.
    pub platform: String,
    /// BLAKE3 of the archive.
    pub digest: Digest,
    /// Length of the archive.
    pub length: u64,
    /// When it was published.
    pub published_at: Timestamp,
}

/// The sums of rated usage since the start, for a glance; the rows themselves are in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// What customers owe.
    pub receivable: MicroMoney,
    /// What is owed to site owners.
    pub payable: MicroMoney,
    /// Usage rows.
    pub rows: u64,
}

/// How the store writes a record: its format is the store's affair.
pub trait Codec {
    /// What goes wrong.
    type Error;
    /// A record as text.
    ///
    /// # Errors
    /// It cannot be written.
    fn encode<T: Serialize>(&self, value: &T) -> Result<String, Self::Error>;
    /// A record from text.
    ///
    /// # Errors
    /// It cannot be read.
    fn decode<T: DeserializeOwned>(&self, body: &str) -> Result<T, Self::Error>;
}

/// The answer that a request with an idempotency key got: given again when the request is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who asked.
    pub caller: String,
    /// The key.
    pub key: String,
    /// BLAKE3 of the request.
    pub fingerprint: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident $map:ident: $key:ty => $value:ty, $of:expr, $text:expr;)*) => {
        /// One record as the store keeps it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record { $($(#[$doc])* $variant(Arc<$value>),)* }

        /// Every noun as of one instant.
        #[derive(Debug, Clone, Default)]
        pub struct Model {
            $($(#[$doc])* pub $map: OrdMap<$key, Arc<$value>>,)*
            /// Counts committed batches of changes.
            pub generation: u64,
            /// Id of the last event.
            pub last_event: u64,
            /// Number of the last order.
            pub last_order: u64,
            /// How hosts do right now. Not in the store.
            pub pulses: OrdMap<HostId, Pulse>,
            /// Since when the controller has been up and listening: silence before that means nothing.
            pub observable_since: Timestamp,
            /// The same by the clock that never jumps: before it, any lease may have been given. Not in the store.
            pub leasing_since: Micros,
            /// Number of the last order when this run of the controller began: what was ordered by then may have copies that
            /// a restored controller does not know. Not in the store.
            pub ordered_before: u64,
            /// How long after it was last given a lease a copy has surely stopped; zero: 12 s. Not in the store.
            pub grace: Micros,
            /// When each leased assignment was last given a lease, by the clock that never jumps. Not in the store.
            pub lease_given: OrdMap<AssignmentId, Micros>,
            /// What each door last said of itself, by service and host. Not in the store.
            pub doors: OrdMap<(ServiceId, HostId), Arc<ObservedDoor>>,
            /// How hosts reach each other: (from, to). Not in the store.
            pub paths: OrdMap<(HostId, HostId), ObservedPath>,
            /// Workloads that were told of their move: the newest attempt of each. Not in the store.
            pub told: OrdMap<AssignmentId, Told>,
            /// What agents last said of the software of buyers. Not in the store.
            pub guests: OrdMap<AssignmentId, Arc<ObservedAssignment>>,
            /// What agents of hosts with guests last said of their ways. Not in the store.
            pub guest_ways: OrdMap<HostId, Arc<ObservedWays>>,
            /// The newest requests of agents for leases of guests, which their buyers give. Not in the store.
            pub guest_asks: OrdMap<HostId, Arc<Vec<LeaseRequest>>>,
            /// What agents say that runs and no record names. Not in the store.
            pub strays: OrdMap<AssignmentId, Stray>,
            /// ISO 4217 code of the currency of all amounts.
            pub currency: String,
            /// Sums of rated usage.
            pub totals: Totals,
            /// What is reserved on each host. Derived.
            pub reserved: OrdMap<HostId, Capacity>,
            /// Assignments of each host. Derived.
            pub by_host: OrdMap<HostId, OrdSet<AssignmentId>>,
            /// Assignments of each service. Derived.
            pub by_service: OrdMap<ServiceId, OrdSet<AssignmentId>>,
            /// Services of each order. Derived.
            pub by_order: OrdMap<OrderId, OrdSet<ServiceId>>,
            /// Names of services that are not terminated. Derived.
            pub by_name: OrdMap<(PartyId, String), ServiceId>,
            /// Orders that are not final. Derived.
            pub open_orders: OrdMap<u64, OrderId>,
            /// Services that are not terminated and not ended. Derived.
            pub live: OrdSet<ServiceId>,
            /// Moves under way of each service. Derived.
            pub moving: OrdMap<ServiceId, OrdSet<MoveId>>,
            /// Every move of each service, and of them all, in the order in which they were decided. Derived.
            pub moves_by_service: OrdMap<ServiceId, OrdSet<(Timestamp, MoveId)>>,
            /// Derived.
            pub moves_by_time: OrdSet<(Timestamp, MoveId)>,
            /// Hosts of each site. Derived.
            pub by_site: OrdMap<SiteId, OrdSet<HostId>>,
            /// Leases of each host. Derived.
            pub leases_by_host: OrdMap<HostId, OrdSet<AssignmentId>>,
            /// Sites of each owner. Derived.
            pub by_owner: OrdMap<PartyId, OrdSet<SiteId>>,
            /// Live services that ask for front doors at places of their own choice. Derived.
            pub fronted: OrdSet<ServiceId>,
            /// Live services that use others. Derived.
            pub using: OrdMap<PartyId, OrdSet<ServiceId>>,
        }

        impl Record {
            /// The table it is kept in.
            pub const fn table(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($map),)* }
            }

            /// Its key and body as the store writes them.
            ///
            /// # Errors
            /// The codec's.
            pub fn encode<C: Codec>(&self, codec: &C) -> Result<(String, String), C::Error> {
                match self { $(Self::$variant(v) => Ok((($text)(v.as_ref()), codec.encode(v.as_ref())?)),)* }
            }

            /// The record of a table's row; `None` for a table that is not known.
            ///
            /// # Errors
            /// The codec's.
            pub fn decode<C: Codec>(codec: &C, table: &str, body: &str) -> Result<Option<Self>, C::Error> {
                $(if table == stringify!($map) {
                    return Ok(Some(Self::$variant(Arc::new(codec.decode(body)?))));
                })*
                Ok(None)
            }

            fn put(&self, model: &mut Model) {
                match self {
                    $(Self::$variant(v) => { model.$map.insert(($of)(v.as_ref()), v.clone()); })*
                }
            }
        }

        /// The tables that records are kept in.
        pub const TABLES: &[&str] = &[$(stringify!($map)),*];
    };
}

records! {
    /// Parties.
    Party parties: PartyId => Party, |v: &Party| v.id, |v: &Party| v.id.to_string();
    /// Sites.
    Site sites: SiteId => Site, |v: &Site| v.id, |v: &Site| v.id.to_string();
    /// Hosts.
    Host hosts: HostId => Host, |v: &Host| v.id, |v: &Host| v.id.to_string();
    /// API tokens.
    Token tokens: TokenId => Token, |v: &Token| v.id, |v: &Token| v.id.to_string();
    /// Join tokens by the hash of their secret.
    JoinToken join_tokens: [u8; 32] => JoinToken, |v: &JoinToken| v.secret_hash, |v: &JoinToken| Digest(v.secret_hash).to_string();
    /// Artifacts by name and version.
    Artifact artifacts: (String, String) => Artifact, |v: &Artifact| (v.name.clone(), v.version.clone()), |v: &Artifact| format!("{}@{}", v.name, v.version);
    /// Offerings by name.
    Offering offerings: String => Offering, |v: &Offering| v.name.clone(), |v: &Offering| v.name.clone();
    /// Orders.
    Order orders: OrderId => Order, |v: &Order| v.id, |v: &Order| v.id.to_string();
    /// Agreements.
    Agreement agreements: AgreementId => Agreement, |v: &Agreement| v.id, |v: &Agreement| v.id.to_string();
    /// Services and task items.
    Service services: ServiceId => Service, |v: &Service| v.id, |v: &Service| v.id.to_string();
    /// Assignments.
    Assignment assignments: AssignmentId => Assignment, |v: &Assignment| v.id, |v: &Assignment| v.id.to_string();
    /// What is kept of assignments that are gone.
    ClosedAssignment closed_assignments: AssignmentId => ClosedAssignment, |v: &ClosedAssignment| v.id, |v: &ClosedAssignment| v.id.to_string();
    /// How much of each host's usage is stored.
    Meter meters: HostId => Meter, |v: &Meter| v.host, |v: &Meter| v.host.to_string();
    /// What was measured of each service.
    Indicators indicators: ServiceId => Indicators, |v: &Indicators| v.service, |v: &Indicators| v.service.to_string();
    /// Moves.
    Move moves: MoveId => Move, |v: &Move| v.id, |v: &Move| v.id.to_string();
    /// What the provider would rather have, of each site and, under no id, of the fleet.
    ProviderCriteria criteria: Option<SiteId> => ProviderCriteria, |v: &ProviderCriteria| v.site, |v: &ProviderCriteria| v.site.map_or_else(|| "fleet".to_owned(), |s| s.to_string());
    /// Smoothed rates of sites.
    Outlook outlooks: SiteId => Outlook, |v: &Outlook| v.site, |v: &Outlook| v.site.to_string();
    /// What is offered to partners.
    Posted offers: OfferId => Posted, |v: &Posted| v.offer.id, |v: &Posted| v.offer.id.to_string();
    /// This controller's market.
    Market market: () => Market, |_: &Market| (), |_: &Market| "market".to_owned();
    /// Capacity that was sold to or bought from partners.
    Lease leases: AssignmentId => Lease, |v: &Lease| v.id, |v: &Lease| v.id.to_string();
    /// How far the receipts with each partner are.
    Chain chains: (PartyId, Side) => Chain, |v: &Chain| (v.partner, v.side), |v: &Chain| format!("{}/{}", v.partner, v.side.as_str());
    /// What partners see differently.
    Dispute disputes: DisputeId => Dispute, |v: &Dispute| v.id, |v: &Dispute| v.id.key();
    /// Months with partners that were settled.
    Settlement settlements: (PartyId, String) => Settlement, |v: &Settlement| (v.partner, v.month.clone()), |v: &Settlement| format!("{}/{}", v.partner, v.month);
    /// What buyers say about hosts.
    Tenancy tenancies: (HostId, PartyId) => Tenancy, |v: &Tenancy| (v.host, v.buyer), |v: &Tenancy| format!("{}/{}", v.host, v.buyer);
    /// What sellers did, by site.
    Reputation reputations: SiteId => Reputation, |v: &Reputation| v.site, |v: &Reputation| v.site.to_string();
    /// Bills.
    Bill bills: BillId => Bill, |v: &Bill| v.id, |v: &Bill| v.id.to_string();
    /// Partners: other controllers that capacity is sold to or bought from.
    Partner partners: PartyId => Partner, |v: &Partner| v.party, |v: &Partner| v.party.to_string();
    /// Invitations of partners by the hash of their secret.
    Invitation invitations: [u8; 32] => Invitation, |v: &Invitation| v.secret_hash, |v: &Invitation| Digest(v.secret_hash).to_string();
}

/// One change, applied to the model and written to the store in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A record is new or replaced.
    Put(Record),
    /// An assignment is gone: its resources are back.
    RemoveAssignment(AssignmentId),
    /// What was kept of an assignment that is long gone is forgotten.
    ForgetAssignment(AssignmentId),
    /// A lease that ended long ago is forgotten.
    ForgetLease(AssignmentId),
    /// A move that ended long ago is forgotten.
    ForgetMove(MoveId),
    /// A dispute that was settled long ago is not needed any more. The store keeps it.
    ForgetDispute(DisputeId),
    /// An API token is gone.
    RemoveToken(TokenId),
    /// Something changed state.
    Event(Event),
    /// A decision was taken. Kept in the store only.
    Decision(Arc<Decision>),
    /// Usage was measured, rated and posted. Kept in the store only, but for the totals.
    Usage(UsageRow),
    /// A demand was cleared. Kept in the store only.
    Clearing(Arc<Clearing>),
    /// Leased use was receipted, in the chain with a partner. Kept in the store only.
    Receipt(PartyId, Side, Arc<Receipt>),
    /// A request was answered. Kept in the store only.
    Answer(Answer),
}

macro_rules! from_record {
    ($($t:ident),*) => {$(
        impl From<$t> for Change {
            fn from(v: $t) -> Self { Self::Put(Record::$t(Arc::new(v))) }
        }
    )*};
}
from_record!(
    Party,
    Site,
    Host,
    Token,
    JoinToken,
    Artifact,
    Offering,
    Order,
    Agreement,
    Service,
    Assignment,
    ClosedAssignment,
    Meter,
    Indicators,
    Move,
    ProviderCriteria,
    Outlook,
    Posted,
    Market,
    Lease,
    Chain,
    Dispute,
    Settlement,
    Tenancy,
    Reputation,
    Bill,
    Partner,
    Invitation
);

impl From<Event> for Change {
    fn from(v: Event) -> Self {
        Self::Event(v)
    }
}

impl Model {
    /// Applies one change, keeping the derived indexes.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(record) => {
                match record {
                    Record::Assignment(a) => self.index_assignment(a),
                    Record::Service(s) => self.index_service(s),
                    Record::Order(o) => self.index_order(o),
                    Record::Move(m) => self.index_move(m),
                    Record::Host(h) => self.index_host(h),
                    Record::Site(s) => self.index_site(s),
                    Record::Lease(l) => self.index_lease(l),
                    _ => {}
                }
                record.put(self);
            }
            Change::RemoveAssignment(id) => {
                if let Some(old) = self.assignments.remove(id) {
                    self.unindex_assignment(&old);
                }
                self.lease_given.remove(id);
                self.told.remove(id);
            }
            Change::ForgetAssignment(id) => {
                self.closed_assignments.remove(id);
            }
            Change::ForgetLease(id) => {
                if let Some(old) = self.leases.remove(id) {
                    self.unindex_lease(&old);
                }
                self.guests.remove(id);
            }
            Change::ForgetMove(id) => {
                if let Some(old) = self.moves.remove(id) {
                    self.unindex_move(&old);
                }
            }
            Change::ForgetDispute(id) => {
                self.disputes.remove(id);
            }
            Change::RemoveToken(id) => {
                self.tokens.remove(id);
            }
            Change::Event(event) => self.last_event = self.last_event.max(event.id),
            Change::Decision(_) | Change::Clearing(_) | Change::Receipt(..) | Change::Answer(_) => {}
            Change::Usage(row) => {
                self.totals.rows += 1;
                self.totals.receivable.0 = self.totals.receivable.0.saturating_add(row.charge.price().0);
                self.totals.payable.0 = self.totals.payable.0.saturating_add(row.charge.cost.0);
            }
        }
    }

    /// Applies changes in order.
    pub fn apply_all<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        for change in changes {
            self.apply(change);
        }
    }

    /// The assignments of one host, in order of id.
    pub fn assignments_of_host(&self, host: HostId) -> impl Iterator<Item = &Arc<Assignment>> {
        self.by_host.get(&host).into_iter().flatten().filter_map(|id| self.assignments.get(id))
    }

    /// The assignments of one service, in order of id.
    pub fn assignments_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Assignment>> {
        self.by_service.get(&service).into_iter().flatten().filter_map(|id| self.assignments.get(id))
    }

    /// The services of one order, in order of id.
    pub fn services_of(&self, order: OrderId) -> impl Iterator<Item = &Arc<Service>> {
        self.by_order.get(&order).into_iter().flatten().filter_map(|id| self.services.get(id))
    }

    /// The hosts of one site, in order of id.
    pub fn hosts_of(&self, site: SiteId) -> impl Iterator<Item = &Arc<Host>> {
        self.by_site.get(&site).into_iter().flatten().filter_map(|id| self.hosts.get(id))
    }

    /// The sites of one party, in order of id.
    pub fn sites_of(&self, owner: PartyId) -> impl Iterator<Item = &Arc<Site>> {
        self.by_owner.get(&owner).into_iter().flatten().filter_map(|id| self.sites.get(id))
    }

    /// The moves of one service that are under way, in order of id.
    pub fn moves_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Move>> {
        self.moving.get(&service).into_iter().flatten().filter_map(|id| self.moves.get(id))
    }

    /// Every move of one service, the newest first; those that were only considered too.
    pub fn moves_about(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Move>> {
        let all = self.moves_by_service.get(&service).into_iter().flat_map(|set| set.iter().rev());
        all.filter_map(|(_, id)| self.moves.get(id))
    }

    /// Every move that was decided at or after a moment, the newest first; those that were only considered too.
    pub fn moves_since(&self, at: Timestamp) -> impl Iterator<Item = &Arc<Move>> {
        let recent = self.moves_by_time.iter().rev().take_while(move |(decided, _)| *decided >= at);
        recent.filter_map(|(_, id)| self.moves.get(id))
    }

    /// What the provider would rather have of one site, or, with no id, of the fleet.
    pub fn criteria_of(&self, site: Option<SiteId>) -> Option<&ProviderCriteria> {
        self.criteria.get(&site).map(AsRef::as_ref)
    }

    /// What the doors of one service last said of themselves, in order of host.
    pub fn doors_of(&self, service: ServiceId) -> impl Iterator<Item = (HostId, &Arc<ObservedDoor>)> {
        let first = (service, HostId::from_random([0; 10]));
        self.doors.range(first..).take_while(move |((s, _), _)| *s == service).map(|((_, h), door)| (*h, door))
    }

    /// The leases of one host, in order of id.
    pub fn leases_of_host(&self, host: HostId) -> impl Iterator<Item = &Arc<Lease>> {
        self.leases_by_host.get(&host).into_iter().flatten().filter_map(|id| self.leases.get(id))
    }

    /// The offers of one site that are not over, in order of id.
    pub fn offers_of(&self, site: SiteId) -> impl Iterator<Item = &Posted> {
        self.offers.values().map(AsRef::as_ref).filter(move |p| p.offer.site == site && !p.offer.state.is_final())
    }

    /// What each buyer has said about one host, in order of buyer.
    pub fn tenancies_of(&self, host: HostId) -> impl Iterator<Item = &Arc<Tenancy>> {
        let first = (host, PartyId::from_random([0; 10]));
        self.tenancies.range(first..).take_while(move |((h, _), _)| *h == host).map(|(_, tenancy)| tenancy)
    }

    /// The partner whose controller is the home of a host; `None` for this controller's own.
    pub fn home_of(&self, host: HostId) -> Option<PartyId> {
        self.sites.get(&self.hosts.get(&host)?.site)?.home
    }

    /// The party of this name.
    pub fn party_named(&self, name: &str) -> Option<&Arc<Party>> {
        self.parties.values().find(|p| p.name == name)
    }

    /// The site of this name.
    pub fn site_named(&self, name: &str) -> Option<&Arc<Site>> {
        self.sites.values().find(|s| s.name == name)
    }

    /// The host of this name.
    pub fn host_named(&self, name: &str) -> Option<&Arc<Host>> {
        self.hosts.values().find(|h| h.name == name)
    }

    /// The name of a host, or its id when it is not known.
    pub fn host_name(&self, id: HostId) -> String {
        self.hosts.get(&id).map_or_else(|| id.to_string(), |h| h.name.clone())
    }

    /// Whether some host may be there or not: it has not been heard from, and is not lost yet. Until that is known,
    /// nothing is refused for want of a host.
    pub fn is_unsure(&self) -> bool {
        let limbo = |h: &Host| match h.state {
            HostState::Active | HostState::Unknown => !self.pulse(h.id).connected,
            // It has just joined and has not said yet what it is.
            HostState::Registered => self.pulse(h.id).connected,
            HostState::Lost | HostState::Revoked => false,
        };
        self.hosts.values().any(|h| limbo(h))
    }

    /// Usage records of a host up to and with this sequence are stored.
    pub fn usage_acknowledged(&self, host: HostId) -> u64 {
        self.meters.get(&host).map_or(0, |m| m.acknowledged)
    }

    /// How a host does right now.
    pub fn pulse(&self, id: HostId) -> Pulse {
        self.pulses.get(&id).copied().unwrap_or_default()
    }
}
