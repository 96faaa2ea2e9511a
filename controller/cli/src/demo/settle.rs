//! What everybody owes everybody in the end, and whether both sides of each sale say the same of it.

use anyhow::{Context as _, ensure};
use chandler_api::bill::{Bill, BillRun, LedgerCheck};
use chandler_api::client::Client;
use chandler_api::settlement::{ChainSide, ReceiptChain, Statement};
use chandler_harness::wait::eventually_ok;

use super::cast::{HANSA, LOTUS, PARTS, Part, TRADES};
use super::fleet::Fleet;
use super::report::Narrator;
use super::story::STEP;

/// One controller's sale to another: the receipts as each of the two has them.
#[derive(Debug)]
pub(super) struct Sale {
    pub(super) seller: &'static str,
    pub(super) buyer: &'static str,
    pub(super) sold: ReceiptChain,
    pub(super) bought: ReceiptChain,
}

impl Sale {
    /// Whether both sides have the same receipts, countersigned, with the same money agreed and contested.
    pub(super) fn is_equal(&self) -> bool {
        let says = |c: &ReceiptChain| {
            let sums = [&c.amount, &c.agreed, &c.contested, &c.held, &c.decided].map(|m| m.micros);
            (c.receipts, c.head, c.countersigned, sums)
        };
        says(&self.sold) == says(&self.bought) && self.sold.countersigned == self.sold.receipts
    }
}

/// A controller's books.
pub(super) struct Books {
    pub(super) part: &'static Part,
    pub(super) ledger: LedgerCheck,
    /// What it pays to site owners and partners.
    pub(super) statements: Vec<Statement>,
}

/// Everything that has to do with money.
pub(super) struct Money {
    /// What acme is billed: by hansa, and by lotus.
    pub(super) bills: [(&'static str, Bill); 2],
    pub(super) sales: Vec<Sale>,
    pub(super) books: Vec<Books>,
}

/// Bills the customer, and waits until buyers and sellers agree. What runs is metered on: this is one moment of it.
pub(super) async fn settle(fleet: &Fleet, narrator: &Narrator) -> anyhow::Result<Money> {
    let (hansa, lotus) = (fleet.client(HANSA)?, fleet.client(LOTUS)?);
    let bills = [
        (HANSA, narrator.patiently("the usage at hansa", bill(hansa, &[("notes", 3), ("page", 3)])).await?),
        (LOTUS, narrator.patiently("the usage at lotus", bill(lotus, &[("shop", 2)])).await?),
    ];
    for (house, bill) in &bills {
        narrator.say(&format!("{house} bills acme for {}: {} in {} lines", bill.month, bill.total, bill.lines.len()));
    }
    let mut sales = Vec::new();
    for (buyer, seller) in TRADES {
        let what = format!("{buyer} and {seller} to agree");
        let sale = narrator.patiently(&what, agreed(fleet, buyer, seller)).await?;
        narrator.say(&format!(
            "{buyer} owes {seller} {} by {} receipts, all countersigned; both have the same, to the millionth",
            sale.bought.amount, sale.bought.receipts,
        ));
        sales.push(sale);
    }
    let mut books = Vec::new();
    for part in &PARTS {
        let client = fleet.client(part.name)?;
        let statements = client.statements(&Default::default()).await?.items;
        books.push(Books { part, ledger: client.ledger_check().await?, statements });
    }
    Ok(Money { bills, sales, books })
}

/// The customer's bill, once it has lines for so many sites of each of these services.
async fn bill(client: &Client, wanted: &[(&str, usize)]) -> anyhow::Result<Bill> {
    let run = BillRun { customer: Some("acme".to_owned()), month: None };
    let billed = eventually_ok("usage to be billed", STEP, || async {
        let bills = client.bill_run(&run).await?;
        let bill = bills.items.into_iter().next().context("no bill")?;
        for (service, sites) in wanted {
            let mut of: Vec<_> = bill.lines.iter().filter(|l| l.service == *service).map(|l| &l.site).collect();
            of.sort_unstable();
            of.dedup();
            ensure!(of.len() >= *sites, "{service} is billed at {of:?} only");
        }
        anyhow::Ok(bill)
    });
    Ok(billed.await?)
}

/// Waits until both sides of a sale say the same of it.
async fn agreed(fleet: &Fleet, buyer: &'static str, seller: &'static str) -> anyhow::Result<Sale> {
    let (pays, is_paid) = (fleet.client(buyer)?, fleet.client(seller)?);
    let equal = eventually_ok("the receipts to be the same on both sides", STEP, || async {
        let sold = chain(is_paid, buyer, ChainSide::Sold).await?;
        let bought = chain(pays, seller, ChainSide::Bought).await?;
        let sale = Sale { seller, buyer, sold, bought };
        ensure!(sale.is_equal(), "they differ: {sale:#?}");
        ensure!(sale.sold.amount.micros > 0, "nothing was receipted yet");
        anyhow::Ok(sale)
    });
    Ok(equal.await?)
}

async fn chain(client: &Client, partner: &str, side: ChainSide) -> anyhow::Result<ReceiptChain> {
    let all = client.receipts(partner).await?;
    all.into_iter().find(|c| c.side == side).with_context(|| format!("no receipts with {partner}"))
}
