//! The ledger on disk: what is posted with each usage row and each step of a dispute, and whether it still is.

use std::collections::BTreeMap;

use chandler_engine::finance::dispute::{Dispute, Posting};
use chandler_engine::finance::{self, Account, Entry, LedgerCheck, UsageRow};
use chandler_engine::model::Codec;
use chandler_protocol::MicroMoney;
use sqlx::{Row, SqliteConnection};

use super::super::{Json, StoreError};
use super::int;

/// A usage row and its postings, in one transaction: billed and paid are the same row by construction.
pub(super) async fn write_usage(tx: &mut SqliteConnection, row: &UsageRow) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO usage (host, sequence, customer, at, body) VALUES (?, ?, ?, ?, ?)")
        .bind(row.host.to_string())
        .bind(int(row.sequence))
        .bind(row.customer.to_string())
        .bind(row.at.0)
        .bind(Json.encode(row)?)
        .execute(&mut *tx)
        .await?;
    for entry in finance::postings(row) {
        sqlx::query("INSERT INTO postings (host, sequence, account, amount) VALUES (?, ?, ?, ?)")
            .bind(row.host.to_string())
            .bind(int(row.sequence))
            .bind(Json.encode(&entry.account)?)
            .bind(entry.amount.0)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What a dispute has posted by now. A step that was posted before stays as it is: nothing here is ever changed.
pub(super) async fn write_dispute(tx: &mut SqliteConnection, dispute: &Dispute) -> Result<(), StoreError> {
    for (posting, step) in dispute.postings().into_iter().zip(0_i64..) {
        for (entry, position) in posting.entries().into_iter().zip(0_i64..) {
            sqlx::query(
                "INSERT OR IGNORE INTO dispute_postings (dispute, step, position, account, amount) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(dispute.id.to_string())
            .bind(step)
            .bind(position)
            .bind(Json.encode(&entry.account)?)
            .bind(entry.amount.0)
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(())
}

/// Checks what is on disk, not what is remembered: each usage row and each dispute against its own postings.
pub(super) async fn check(tx: &mut SqliteConnection) -> Result<LedgerCheck, StoreError> {
    let (rows, stray_rows) = rows(tx).await?;
    let (steps, stray_steps) = steps(tx).await?;
    let mut check = finance::check_with_held(rows, steps);
    // Of a row or a dispute that is not there.
    let stray = stray_rows + stray_steps;
    if stray > 0 {
        check.unbalanced += stray;
        check.balanced = false;
    }
    Ok(check)
}

type Paired<T> = (Vec<(T, Vec<Entry>)>, u64);

async fn rows(tx: &mut SqliteConnection) -> Result<Paired<UsageRow>, StoreError> {
    let rows =
        sqlx::query("SELECT host, sequence, body FROM usage ORDER BY host, sequence").fetch_all(&mut *tx).await?;
    let entries = sqlx::query("SELECT host, sequence, account, amount FROM postings ORDER BY host, sequence, account")
        .fetch_all(&mut *tx)
        .await?;
    let mut entries = entries.into_iter().peekable();
    let (mut pairs, mut stray) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let key: (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let usage: UsageRow = Json.decode(&row.try_get::<String, _>(2)?)?;
        let mut posted = Vec::new();
        while let Some(entry) = entries.peek() {
            let of = (entry.try_get::<String, _>(0)?, entry.try_get::<i64, _>(1)?);
            if of > key {
                break;
            }
            if of < key {
                stray += 1;
                entries.next();
                continue;
            }
            let account: Account = Json.decode(&entry.try_get::<String, _>(2)?)?;
            posted.push(Entry { account, amount: MicroMoney(entry.try_get(3)?) });
            entries.next();
        }
        pairs.push((usage, posted));
    }
    Ok((pairs, stray + entries.count() as u64))
}

async fn steps(tx: &mut SqliteConnection) -> Result<Paired<Posting>, StoreError> {
    let entries =
        sqlx::query("SELECT dispute, step, account, amount FROM dispute_postings ORDER BY dispute, step, position")
            .fetch_all(&mut *tx)
            .await?;
    let mut posted: BTreeMap<(String, i64), Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        let account: Account = Json.decode(&entry.try_get::<String, _>(2)?)?;
        let entry_of = Entry { account, amount: MicroMoney(entry.try_get(3)?) };
        posted.entry((entry.try_get(0)?, entry.try_get(1)?)).or_default().push(entry_of);
    }
    let bodies: Vec<String> =
        sqlx::query_scalar("SELECT body FROM disputes UNION ALL SELECT body FROM settled_disputes")
            .fetch_all(&mut *tx)
            .await?;
    let mut pairs = Vec::with_capacity(posted.len());
    for body in bodies {
        let dispute: Dispute = Json.decode(&body)?;
        for (posting, step) in dispute.postings().into_iter().zip(0_i64..) {
            pairs.push((posting, posted.remove(&(dispute.id.to_string(), step)).unwrap_or_default()));
        }
    }
    let stray = posted.values().map(Vec::len).sum::<usize>() as u64;
    Ok((pairs, stray))
}
