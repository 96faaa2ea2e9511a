//! What everybody owes everybody in the end, and whether both sides of each sale say the same of it.

use anyhow::{Context as _, ensure};
use chandler_api::bill::{Bill, BillRun, LedgerCheck};
use chandler_api::client::Client;
use chandler_api::settlement::{ChainSide, ReceiptChain, Statement, StatementQuery};
use chandler_harness::wait::eventually_ok;
use futures_util::future::try_join_all;

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

impl Books {
    /// What it sold is what it pays to whose machines they are, and what it bought is what it pays to who sold it.
    ///
    /// # Errors
    /// A sum differs.
    fn fits(&self, sales: &[Sale]) -> anyhow::Result<()> {
        let name = self.part.name;
        let bought: Vec<_> = sales.iter().filter(|s| s.buyer == name).collect();
        for sale in &bought {
            let statement =
                self.statements.iter().find(|s| s.payee == sale.seller).context("a statement is missing")?;
            let (paid, owed) = (&statement.total, &sale.bought.amount);
            ensure!(paid == owed, "{name} pays {} {paid} and owes it {owed}", sale.seller);
        }
        // Who buys also pays the owners of what it uses itself.
        if bought.is_empty() {
            let sold: i64 = sales.iter().filter(|s| s.seller == name).map(|s| s.sold.amount.micros).sum();
            let paid: i64 = self.statements.iter().map(|s| s.total.micros).sum();
            ensure!(paid == sold, "{name} sold for {sold} millionths and pays {paid} to the owners");
        }
        Ok(())
    }
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
    let (sales, books) = narrator.patiently("buyers and sellers to agree", agreed(fleet)).await?;
    for sale in &sales {
        narrator.say(&format!(
            "{} owes {} {} by {} countersigned receipts: both have the same, to the millionth",
            sale.buyer, sale.seller, sale.bought.amount, sale.bought.receipts,
        ));
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

/// Waits for a moment in which both sides of every sale say the same of it, and everybody's statements too. What runs is
/// metered on, so that there are others in which a receipt is under way.
async fn agreed(fleet: &Fleet) -> anyhow::Result<(Vec<Sale>, Vec<Books>)> {
    let moment = eventually_ok("all books to say the same", STEP, || async {
        let before = sales(fleet).await?;
        let books = try_join_all(PARTS.iter().map(|part| books(fleet, part))).await?;
        let sales = sales(fleet).await?;
        let heads = |all: &[Sale]| all.iter().map(|s| (s.sold.head, s.bought.head)).collect::<Vec<_>>();
        ensure!(heads(&before) == heads(&sales), "receipts came in while the books were read");
        for sale in &sales {
            ensure!(sale.is_equal(), "they differ: {sale:#?}");
            ensure!(sale.sold.amount.micros > 0, "{} has sold nothing to {} yet", sale.seller, sale.buyer);
        }
        for books in &books {
            books.fits(&sales)?;
        }
        anyhow::Ok((sales, books))
    });
    Ok(moment.await?)
}

/// Every sale, as its two sides see it now.
async fn sales(fleet: &Fleet) -> anyhow::Result<Vec<Sale>> {
    let each = TRADES.iter().map(|(buyer, seller)| async move {
        let sold = chain(fleet.client(seller)?, buyer, ChainSide::Sold);
        let bought = chain(fleet.client(buyer)?, seller, ChainSide::Bought);
        let (sold, bought) = tokio::try_join!(sold, bought)?;
        anyhow::Ok(Sale { seller, buyer, sold, bought })
    });
    try_join_all(each).await
}

/// A controller's books as they are now.
async fn books(fleet: &Fleet, part: &'static Part) -> anyhow::Result<Books> {
    let client = fleet.client(part.name)?;
    let query = StatementQuery::default();
    let (ledger, statements) = tokio::try_join!(client.ledger_check(), client.statements(&query))?;
    Ok(Books { part, ledger, statements: statements.items })
}

async fn chain(client: &Client, partner: &str, side: ChainSide) -> anyhow::Result<ReceiptChain> {
    let all = client.receipts(partner).await?;
    all.into_iter().find(|c| c.side == side).with_context(|| format!("no receipts with {partner}"))
}
