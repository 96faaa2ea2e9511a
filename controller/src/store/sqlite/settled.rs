//! Disputes that were settled long ago: out of memory, and still there for who asks.

use chandler_engine::finance::dispute::{Dispute, DisputeId};
use chandler_engine::model::Codec;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::{Json, Settled, StoreError};
use super::int;

/// Puts a dispute aside.
pub(super) async fn put_aside(tx: &mut SqliteConnection, id: &DisputeId) -> Result<(), StoreError> {
    let key = id.key();
    let body: Option<String> =
        sqlx::query_scalar("SELECT body FROM disputes WHERE key = ?").bind(&key).fetch_optional(&mut *tx).await?;
    let Some(body) = body else { return Ok(()) };
    let dispute: Dispute = Json.decode(&body)?;
    sqlx::query(
        "INSERT OR REPLACE INTO settled_disputes (partner, ours, receipt, opened_at, decided_at, body) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id.partner.as_bytes().to_vec())
    .bind(id.ours)
    .bind(int(id.receipt))
    .bind(dispute.opened_at.0)
    .bind(dispute.decided.as_ref().map_or(0, |d| d.at.0))
    .bind(body)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM disputes WHERE key = ?").bind(key).execute(tx).await?;
    Ok(())
}

/// The wanted ones, in order of id.
pub(super) async fn read(pool: &SqlitePool, wanted: &Settled) -> Result<Vec<Dispute>, StoreError> {
    let (after, to) = (wanted.after_or_start(), wanted.last_or_end());
    let (from, until) = wanted.posted_or_ever();
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT body FROM settled_disputes WHERE (partner, ours, receipt) > (?, ?, ?) \
         AND (partner, ours, receipt) <= (?, ?, ?) \
         AND (opened_at >= ? AND opened_at < ? OR decided_at >= ? AND decided_at < ?) \
         ORDER BY partner, ours, receipt LIMIT ?",
    )
    .bind(after.partner.as_bytes().to_vec())
    .bind(after.ours)
    .bind(int(after.receipt))
    .bind(to.partner.as_bytes().to_vec())
    .bind(to.ours)
    .bind(int(to.receipt))
    .bind(from.0)
    .bind(until.0)
    .bind(from.0)
    .bind(until.0)
    .bind(i64::from(wanted.limit))
    .fetch_all(pool)
    .await?;
    bodies.iter().map(|b| Json.decode(b)).collect()
}
