//! `chandler market`: what sites offer to partners, the demands that were cleared, and what was sold or bought.

mod explain;
mod leases;
mod offers;
mod standing;

use std::str::FromStr;

use chandler_api::market::{MachineShare, Market as State, OfferPost, OfferQuery, OfferState};
use chandler_api::value::{Money, Quantity, Size, Span, Time};
use chandler_protocol::unit::{Bytes, Ppm, decimal};
use chandler_protocol::{Micros, MilliCpu};
use clap::{Args, Subcommand};

use self::leases::LeaseArgs;
use self::offers::{SetArgs, turn};
use super::rates::RateArgs;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::Facts;
use crate::word;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler market post --site attic --core-hour \"0.004 EUR\" --gib-hour \"0.0005 EUR\" --hours \"daily 22:00-06:00 UTC\"\n  chandler market offers\n  chandler market demands\n  chandler market explain a-000g40o40k30e21v"
)]
pub(crate) struct Market {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is offered
    #[command(after_help = "Examples:\n  chandler market offers\n  chandler market offers --site attic --state active")]
    Offers {
        /// Only those of this site
        #[arg(long, value_name = "SITE")]
        site: Option<String>,
        /// Only those in this state
        #[arg(long, value_name = "STATE", value_parser = word::parser::<OfferState>(&["active", "paused", "exhausted", "expired", "withdrawn"]))]
        state: Option<OfferState>,
    },
    /// Offer the machines of a site to partners
    #[command(
        after_help = "Examples:\n  chandler market post --site attic --core-hour \"0.004 EUR\" --gib-hour \"0.0005 EUR\" \\\n    --hours \"daily 22:00-06:00 UTC\" --notice \"10 min\" --availability \"95 %\"\n  chandler market post --site rack-1 --core-hour \"0.02 EUR\" --gib-hour \"0.003 EUR\" --share \"4 cores, 8 GiB\"\n\nA machine is sold under one offer. Remote sites need a controller with --role marketplace."
    )]
    Post(Box<PostArgs>),
    /// Change an offer, for new leases; a higher rate counts for those that run too, after their notice
    #[command(
        after_help = "Examples:\n  chandler market set attic --core-hour \"0.003 EUR\"\n  chandler market set of-000g40o40k30e21v --hours \"Mon-Fri 18:00-08:00 Europe/Berlin\" --share all\n  chandler market set attic --until 2026-12-31T22:00:00Z\n\nLeases that run keep the terms that they were made under, with one exception: a higher rate is announced to their\nbuyers and counts for them once the price notice of the lease has passed. Until then a buyer may leave at the old\nrate. A lower rate is for new leases only."
    )]
    Set {
        /// Its id, or the name of its site
        offer: String,
        #[command(flatten)]
        change: Box<SetArgs>,
    },
    /// Hold an offer back for now: nothing new is sold
    #[command(
        after_help = "Examples:\n  chandler market pause attic --reason 'the owner works at night this week'\n\nWhat was sold runs on under its lease, at its rates, and is paid. To have the machines left, drain the site, or\nwithdraw the offer: both keep the notice that was agreed."
    )]
    Pause(TurnArgs),
    /// Sell under a paused offer again
    #[command(after_help = "Examples:\n  chandler market resume attic")]
    Resume(TurnArgs),
    /// Take an offer back for good: what was sold has to leave within its notice
    #[command(after_help = "Examples:\n  chandler market withdraw attic --reason 'the machine is sold' --yes")]
    Withdraw {
        #[command(flatten)]
        turn: TurnArgs,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show one offer; without one, the market itself: its rule, its seed, the head of its records
    #[command(after_help = "Examples:\n  chandler market show\n  chandler market show attic")]
    Show {
        /// Its id, or the name of its site
        offer: Option<String>,
    },
    /// List demands that were cleared, newest first
    #[command(after_help = "Examples:\n  chandler market demands --limit 20")]
    Demands {
        /// Most demands printed
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// List what was sold to and bought from partners
    #[command(
        after_help = "Examples:\n  chandler market leases\n  chandler market leases --side sold --state open --partner nova"
    )]
    Leases(LeaseArgs),
    /// What has to be expected of a site as a seller, and why: what it delivered, broke and took back
    #[command(
        after_help = "Examples:\n  chandler market standing attic\n\nWhat is expected to go wrong counts beside the rate when a buyer chooses; nobody pays it."
    )]
    Standing {
        /// Name or id of the site
        site: String,
    },
    /// Why a demand was cleared as it was: every lot, its score, or why it was refused; exit status 3 when it does not replay
    #[command(
        after_help = "Examples:\n  chandler market explain a-000g40o40k30e21v\n  chandler market explain a-000g40o40k30e21v -o json > record.json\n\nThe JSON holds the whole record: whoever has it can clear the demand again."
    )]
    Explain {
        /// The demand: the id of the buyer's assignment, and of the lease
        demand: String,
    },
}

#[derive(Debug, Args)]
struct TurnArgs {
    /// Its id, or the name of its site
    offer: String,
    /// Why, for whoever reads the history
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// What an offer says.
#[derive(Debug, Args)]
struct PostArgs {
    /// Name or id of the site whose machines they are
    #[arg(long)]
    site: String,
    #[command(flatten)]
    rates: RateArgs,
    /// Nothing is asked for, on purpose
    #[arg(long)]
    free: bool,
    /// At most so much of each machine, such as "4 cores, 8 GiB" or "4 cores, 8 GiB, 1 GPU" [default: all that it gives to the fleet]
    #[arg(long, value_name = "SHARE")]
    share: Option<Share>,
    /// When it is there, such as "Mon-Fri 18:00-08:00 Europe/Berlin"; may be given several times [default: always]
    #[arg(long, value_name = "HOURS")]
    hours: Vec<String>,
    /// Shortest lease that is paid for
    #[arg(long, value_name = "TIME", default_value = "1 min")]
    min_term: Micros,
    /// How long before it is taken back a buyer is told
    #[arg(long, value_name = "TIME", default_value = "10 min")]
    notice: Micros,
    /// How long before a higher rate counts for leases that run
    #[arg(long, value_name = "TIME", default_value = "1 d")]
    price_notice: Micros,
    /// When it ends for good, such as 2026-12-31T22:00:00Z [default: when it is withdrawn]
    #[arg(long, value_name = "TIME", value_parser = offers::time)]
    until: Option<Time>,
    /// Country where data stays, as two letters [default: the site's]
    #[arg(long, value_name = "CODE")]
    residency: Option<String>,
    /// Promised share of the time, such as "95 %" [default: what is expected of such a site]
    #[arg(long, value_name = "SHARE")]
    availability: Option<Ppm>,
}

impl From<PostArgs> for OfferPost {
    fn from(args: PostArgs) -> Self {
        let always = || vec!["daily 00:00-24:00 UTC".to_owned()];
        Self {
            site: args.site,
            rates: args.rates.into(),
            free: args.free,
            capacity: args.share.and_then(|s| s.0),
            windows: if args.hours.is_empty() { always() } else { hours(args.hours) },
            min_term: Span(args.min_term),
            reclaim_notice: Span(args.notice),
            residency: args.residency,
            availability: args.availability.map(Quantity),
            price_notice: Span(args.price_notice),
            until: args.until,
        }
    }
}

/// `always` as a word for it.
fn hours(all: Vec<String>) -> Vec<String> {
    all.into_iter().map(|h| if h == "always" { "daily 00:00-24:00 UTC".to_owned() } else { h }).collect()
}

/// How much of each machine: `"4 cores, 8 GiB"`, `"4 cores, 8 GiB, 1 GPU"` or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share(Option<MachineShare>);

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            "write cores, memory and perhaps GPUs, such as \"4 cores, 8 GiB\" or \"4 cores, 8 GiB, 1 GPU\", or all";
        if text.trim() == "all" {
            return Ok(Self(None));
        }
        let (cpu, rest) = text.split_once(',').ok_or(form)?;
        let (memory, gpus) = rest.split_once(',').unwrap_or((rest, "0 GPUs"));
        let cpu = cpu.trim();
        let number = cpu.strip_suffix("cores").or_else(|| cpu.strip_suffix("core")).ok_or(form)?;
        let cpu = decimal(number.trim(), 3).ok().and_then(|n| u32::try_from(n).ok()).ok_or(form)?;
        let memory: Bytes = memory.trim().parse().map_err(|e| format!("{e}"))?;
        let gpus = gpus.trim();
        let number = gpus.strip_suffix("GPUs").or_else(|| gpus.strip_suffix("GPU")).ok_or(form)?;
        let gpus = number.trim().parse().map_err(|_| form)?;
        Ok(Self(Some(MachineShare { cpu: MilliCpu(cpu), memory: Size(memory), gpus })))
    }
}

impl Market {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Offers { site, state } => {
                offers::list(session, OfferQuery { site, state, ..OfferQuery::default() }).await
            }
            Verb::Post(args) => {
                let made = client.offer_post(&OfferPost::from(*args)).await?;
                offers::show(session, &made)?;
                session.out.talk("Next: chandler market leases --side sold");
                Ok(())
            }
            Verb::Set { offer, change } => offers::set(session, &offer, *change).await,
            Verb::Pause(TurnArgs { offer, reason }) => turn(session, &offer, OfferState::Paused, reason).await,
            Verb::Resume(TurnArgs { offer, reason }) => turn(session, &offer, OfferState::Active, reason).await,
            Verb::Withdraw { turn: TurnArgs { offer, reason }, yes } => {
                offers::withdraw(session, &offer, reason, yes).await
            }
            Verb::Show { offer: Some(offer) } => offers::show(session, &client.offer(&offer).await?.value),
            Verb::Show { offer: None } => show(session, &client.market().await?),
            Verb::Demands { limit } => explain::list(session, limit).await,
            Verb::Leases(args) => args.run(session).await,
            Verb::Standing { site } => standing::run(session, &site).await,
            Verb::Explain { demand } => explain::run(session, &demand).await,
        }
    }
}

fn show(session: &Session, market: &State) -> Result<(), Failure> {
    session.out.object(market, || {
        let mut facts = Facts::default();
        facts
            .add("rule", word::of(&market.rule))
            .add("seed", market.seed.to_string())
            .add("cleared", format!("{} demands", market.cleared))
            .add("head", market.head.to_string())
            .add("offers", format!("{} active", market.active_offers))
            .add("leases", format!("{} open", market.open_leases));
        facts.to_string()
    })
}

/// An amount in full, without its currency: rates and scores differ in their last digits.
fn exact(money: &Money) -> String {
    let micros = money.micros.unsigned_abs();
    let sign = if money.micros < 0 { "-" } else { "" };
    let digits = format!("{:06}", micros % 1_000_000);
    format!("{sign}{}.{:0<2}", micros / 1_000_000, digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use chandler_protocol::MicroMoney;

    use super::*;

    #[test]
    fn shares_are_read_and_amounts_written_exactly() {
        let share = |text: &str| text.parse::<Share>().map(|s| s.0.map(|s| (s.cpu.0, s.memory.0.0)));
        assert_eq!(share("4 cores, 8 GiB"), Ok(Some((4_000, 8 << 30))));
        assert_eq!(share("0.5 cores,512 MiB"), Ok(Some((500, 512 << 20))));
        assert_eq!(share("all"), Ok(None));
        let gpus = |text: &str| text.parse::<Share>().map(|s| s.0.map(|s| s.gpus));
        assert_eq!((gpus("4 cores, 8 GiB"), gpus("4 cores, 8 GiB, 1 GPU")), (Ok(Some(0)), Ok(Some(1))));
        assert!(gpus("4 cores, 8 GiB, -1 GPU").is_err() && gpus("4 cores, 8 GiB, 1").is_err());
        for bad in ["", "4", "4 cores", "NaN cores, 1 GiB", "-1 cores, 1 GiB", "4, 8 GiB", "1e9 cores, 1 GiB"] {
            assert!(share(bad).is_err(), "{bad:?} was taken for a share");
        }
        let text = |micros| exact(&Money::new(MicroMoney(micros), "EUR"));
        assert_eq!(
            (text(7_001), text(1_234_567), text(2_000_000), text(-5)),
            ("0.007001".to_owned(), "1.234567".to_owned(), "2.00".to_owned(), "-0.000005".to_owned())
        );
    }
}
