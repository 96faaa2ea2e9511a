//! The numbers behind every decision to move or not to, each with where it comes from.

use chandler_protocol::{Bytes, MicroMoney, Micros, Ppm};

use crate::movement::MoveKind;

/// How strongly a move is wanted, and so what may hold it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It has to be: a drain, or an SLA that does not hold where the copy is.
    Mandatory,
    /// Something will probably go wrong, or the customer asked for it.
    Risk,
    /// It pays.
    Economic,
}

/// What holds a class of moves back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The gain must be this many times the cost.
    pub beta: i64,
    /// The gain must be this share of what the copy costs over the horizon.
    pub deadband: Ppm,
    /// The same, back to a place that was left less than [`Rules::memory`] ago.
    pub deadband_back: Ppm,
    /// How long it must be so without a break.
    pub dwell: Micros,
    /// How long after its last move, whoever wanted that, a service is left in peace.
    pub cooldown: Micros,
    /// Most moves of one service in [`Rules::budget_window`], whoever wanted them.
    pub budget: usize,
}

/// What is taken for a cost that was never measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// From the decision to the end.
    pub took: Micros,
    /// Bytes over the wire.
    pub bytes: Bytes,
    /// How long requests wait.
    pub hold: Micros,
}

/// Every number of the decision to move. The defaults are those of the specification of moves, from its simulation of
/// two sites with a noisy price, except where it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What holds back what probably goes wrong: 2 minutes, 30 minutes, 4 a day.
    pub risk: Pace,
    /// What holds back what pays: twice the cost, 10 % and 20 % back, 15 minutes, 6 hours, 2 a day.
    pub economic: Pace,
    /// What a budget is for: a day, less four hours. A window of a whole day would push what follows the course of the day
    /// later every day, to the worst hour.
    pub budget_window: Micros,
    /// A place that was left is remembered for a day.
    pub memory: Micros,
    /// Over which time a gain counts: a day at most.
    pub horizon: Micros,
    /// How long what runs at a site keeps the rates it was bought at when they change (our own: an hour).
    pub notice: Micros,
    /// Smoothing of prices: 60 minutes. Of all measures this one avoids the most moves.
    pub tau_price: Micros,
    /// Smoothing of load: 5 minutes (our own; the classic middle load average).
    pub tau_load: Micros,
    /// Smoothing of round-trip times: 1 minute (our own: six reports).
    pub tau_rtt: Micros,
    /// A host above this use of processor or memory is too full (our own).
    pub load_high: Ppm,
    /// One that takes over for load must be below this (our own: room for what comes).
    pub load_low: Ppm,
    /// A host that is away with at least this probability in the next hours is left (our own).
    pub away_least: Ppm,
    /// How far ahead that is looked for (our own).
    pub ahead: Micros,
    /// A host that fell silent this often within [`Self::flap_window`] will do so again (our own).
    pub flaps: usize,
    /// See [`Self::flaps`].
    pub flap_window: Micros,
    /// On battery with this charge or less a host is about to go (our own), in percent.
    pub battery_low: i64,
    /// A path this near its limit is watched, and one that takes over must be this much within it (our own).
    pub rtt_near: Ppm,
    /// The same for one that takes over.
    pub rtt_good: Ppm,
    /// The share of a month's price that a broken SLA costs: a common first tier of credits.
    pub credit: Ppm,
    /// The same where no availability was agreed: what a user suffers all the same (our own).
    pub credit_unagreed: Ppm,
    /// A moment of waiting costs this many times the price of that time (our own).
    pub hold_penalty: i64,
    /// For a GiB over the wire (a usual price of transit).
    pub egress_gib: MicroMoney,
    /// How often a move fails and has to be done again, as long as nothing was measured (our own).
    pub fails: Ppm,
    /// What is taken for an overlap move that was never measured (our own, high).
    pub unknown_overlap: Unknown,
    /// The same of an exclusive one.
    pub unknown_exclusive: Unknown,
    /// Most moves that one host takes part in at once.
    pub per_host: usize,
    /// Most of a site's copies that may begin a move that can wait within [`Self::site_window`].
    pub site_share: Ppm,
    /// See [`Self::site_share`].
    pub site_window: Micros,
    /// Most of the fleet's services that may begin an economic move within [`Self::fleet_window`].
    pub fleet_share: Ppm,
    /// See [`Self::fleet_share`].
    pub fleet_window: Micros,
    /// Moves of one cause are spread over this time.
    pub jitter: Micros,
    /// A pair of hosts between which a move failed is not tried for this time, doubled with every failure.
    pub block_first: Micros,
    /// The longest such time.
    pub block_most: Micros,
    /// After so many failures in a row a person has to look.
    pub failures_most: usize,
    /// A record of a move that was not made is not written more often than this.
    pub retell: Micros,
    /// A computer with less than this reserved is emptied, when the provider consolidates (our own).
    pub nearly_empty: Ppm,
    /// One that takes over then is filled up to this (our own).
    pub well_filled: Ppm,
    /// Most pairs of service and host that are compared in one look: bounds the time of a look.
    pub comparisons: usize,
}

const MINUTE: Micros = Micros::from_secs(60);
const HOUR: Micros = Micros::from_secs(3_600);
const DAY: Micros = Micros::from_secs(86_400);

impl Default for Rules {
    fn default() -> Self {
        Self {
            risk: Pace {
                beta: 1,
                deadband: Ppm(0),
                deadband_back: Ppm(0),
                dwell: Micros(2 * MINUTE.0),
                cooldown: Micros(30 * MINUTE.0),
                budget: 4,
            },
            economic: Pace {
                beta: 2,
                deadband: Ppm(100_000),
                deadband_back: Ppm(200_000),
                dwell: Micros(15 * MINUTE.0),
                cooldown: Micros(6 * HOUR.0),
                budget: 2,
            },
            budget_window: Micros(20 * HOUR.0),
            memory: DAY,
            horizon: DAY,
            notice: HOUR,
            tau_price: HOUR,
            tau_load: Micros(5 * MINUTE.0),
            tau_rtt: MINUTE,
            load_high: Ppm(850_000),
            load_low: Ppm(600_000),
            away_least: Ppm(250_000),
            ahead: Micros(2 * HOUR.0),
            flaps: 3,
            flap_window: HOUR,
            battery_low: 20,
            rtt_near: Ppm(900_000),
            rtt_good: Ppm(800_000),
            credit: Ppm(100_000),
            credit_unagreed: Ppm(10_000),
            hold_penalty: 100,
            egress_gib: MicroMoney(20_000),
            fails: Ppm(50_000),
            unknown_overlap: Unknown { took: MINUTE, bytes: Bytes(64 << 20), hold: Micros::ZERO },
            unknown_exclusive: Unknown {
                took: Micros(5 * MINUTE.0),
                bytes: Bytes(1 << 30),
                hold: Micros::from_secs(2),
            },
            per_host: 2,
            site_share: Ppm(100_000),
            site_window: Micros(10 * MINUTE.0),
            fleet_share: Ppm(50_000),
            fleet_window: HOUR,
            jitter: Micros::from_secs(30),
            block_first: HOUR,
            block_most: DAY,
            failures_most: 3,
            retell: MINUTE,
            nearly_empty: Ppm(300_000),
            well_filled: Ppm(850_000),
            comparisons: 250_000,
        }
    }
}

impl Rules {
    /// The same with every span of time divided by `scale`, for demonstrations and tests: with 900, what takes a quarter
    /// of an hour takes a second. What is expected of the next hours keeps its horizon, and money its worth.
    #[must_use]
    pub fn quick(scale: i64) -> Self {
        let base = Self::default();
        let short = |t: Micros| Micros(t.0 / scale.max(1));
        let pace = |p: Pace| Pace { dwell: short(p.dwell), cooldown: short(p.cooldown), ..p };
        Self {
            risk: pace(base.risk),
            economic: pace(base.economic),
            budget_window: short(base.budget_window),
            memory: short(base.memory),
            notice: short(base.notice),
            tau_price: short(base.tau_price),
            tau_load: short(base.tau_load),
            tau_rtt: short(base.tau_rtt),
            site_window: short(base.site_window),
            fleet_window: short(base.fleet_window),
            jitter: short(base.jitter),
            block_first: short(base.block_first),
            block_most: short(base.block_most),
            retell: short(base.retell),
            ..base
        }
    }

    /// What holds a class back; mandatory moves are only kept from crowding.
    pub const fn pace(&self, class: Class) -> Option<&Pace> {
        match class {
            Class::Mandatory => None,
            Class::Risk => Some(&self.risk),
            Class::Economic => Some(&self.economic),
        }
    }

    /// What is taken for a move of a kind when none was measured.
    pub const fn unknown(&self, kind: MoveKind) -> Unknown {
        match kind {
            MoveKind::Overlap | MoveKind::Failover => self.unknown_overlap,
            MoveKind::Exclusive => self.unknown_exclusive,
        }
    }
}
