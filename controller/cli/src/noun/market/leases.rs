//! Leases: what was sold to and bought from partners.

use chandler_api::client::all;
use chandler_api::market::{Lease, LeaseQuery, LeaseSide};
use chandler_api::page::PageQuery;
use clap::Args;

use super::exact;
use crate::noun::rates::costs;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Table, age, moment};
use crate::word;

/// Which leases are wanted.
#[derive(Debug, Args)]
pub(super) struct LeaseArgs {
    /// Only what was sold, or only what was bought
    #[arg(long, value_name = "SIDE", value_parser = word::parser::<LeaseSide>(&["sold", "bought"]))]
    side: Option<LeaseSide>,
    /// Only those that are so
    #[arg(long, value_name = "STATE", value_parser = ["open", "reserved", "active", "reclaiming", "closed"])]
    state: Option<String>,
    /// Only those with this partner
    #[arg(long, value_name = "PARTNER")]
    partner: Option<String>,
}

impl LeaseArgs {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        let Self { side, state, partner } = self;
        let query = LeaseQuery { side, state, partner, ..LeaseQuery::default() };
        let page_of = |page: PageQuery| {
            let query = LeaseQuery { limit: page.limit, page_token: page.page_token, ..query.clone() };
            async move { client.leases(&query).await }
        };
        let items = all(page_of).await?;
        session.out.list(&items, "no leases: nothing was sold to or bought from partners", || table(&items))
    }
}

fn table(items: &[Lease]) -> Table {
    let head = [
        "LEASE",
        "SIDE",
        "PARTNER",
        "WHAT",
        "HOST",
        "STATE",
        ">AGE",
        ">CORES",
        ">MEMORY",
        ">CORE-HOUR",
        ">GIB-HOUR",
        "?>GPUS",
        "?>GPU-HOUR",
        "WHY",
    ];
    let mut table = Table::new(&head);
    for l in items {
        let ends = l.ends_at.map(|at| format!("until {}: ", moment(at))).unwrap_or_default();
        let ended = l.closed.as_ref().map(|c| format!("by {}: {}", word::of(&c.by), c.reason));
        table.row([
            l.id.to_string(),
            word::of(&l.side),
            l.partner.clone(),
            l.label.clone(),
            l.host.clone(),
            word::of(&l.state),
            age(l.since),
            l.capacity.milli_cpu.to_string().trim_end_matches(" cores").to_owned(),
            l.capacity.memory.to_string(),
            exact(&l.rates.core_hour),
            exact(&l.rates.gib_hour),
            if l.capacity.gpus > 0 { l.capacity.gpus.to_string() } else { String::new() },
            costs(l.rates.gpu_hour.as_ref()).map(exact).unwrap_or_default(),
            ended.unwrap_or_else(|| format!("{ends}{}", l.reason)),
        ]);
    }
    table
}
