//! The embedded store: SQLite in one file, write-ahead log, every commit synced to the disk before it is acknowledged.

mod ledger;
mod settled;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chandler_engine::event::Event;
use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::Dispute;
use chandler_engine::finance::receipt::Receipt;
use chandler_engine::finance::{LedgerCheck, UsageRow};
use chandler_engine::market::clearing::Clearing;
use chandler_engine::model::{Answer, Change, Codec, Model, Record, TABLES};
use chandler_engine::placement::Decision;
use chandler_protocol::{AssignmentId, DecisionId, PartyId, Timestamp};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{EventFilter, Json, Settled, Store, StoreError};

/// Connections for reading beside the one that writes.
const CONNECTIONS: u32 = 4;
/// How long a lock held by another program (a backup) is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        Self::Io(e.to_string())
    }
}

impl SqliteStore {
    /// Opens the file, making it when it is not there, checks it, and brings its tables up to date.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        let check: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&pool).await?;
        if check != "ok" {
            return Err(StoreError::Corrupt(format!("{check}; restore a backup")));
        }
        sqlx::migrate!("migrations/sqlite").run(&pool).await.map_err(|e| match e {
            MigrateError::VersionMissing(v) => StoreError::Newer(format!("migration {v} is not known here")),
            e => StoreError::Io(e.to_string()),
        })?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Model, StoreError> {
        let mut model = Model::default();
        for table in TABLES {
            // The names come from a list in the program, never from outside.
            let rows = sqlx::query(AssertSqlSafe(format!("SELECT body FROM {table}"))).fetch_all(&self.pool).await?;
            for row in rows {
                let body: String = row.try_get(0)?;
                if let Some(record) = Record::decode(&Json, table, &body)? {
                    model.apply(&Change::Put(record));
                }
            }
        }
        let rows = sqlx::query("SELECT body FROM usage").fetch_all(&self.pool).await?;
        for row in rows {
            let usage: UsageRow = Json.decode(&row.try_get::<String, _>(0)?)?;
            model.apply(&Change::Usage(usage));
        }
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM events").fetch_one(&self.pool).await?;
        model.last_event = u64::try_from(last.unwrap_or(0)).unwrap_or(0);
        let generation: Option<String> =
            sqlx::query_scalar("SELECT value FROM facts WHERE key = 'generation'").fetch_optional(&self.pool).await?;
        let currency: Option<String> =
            sqlx::query_scalar("SELECT value FROM facts WHERE key = 'currency'").fetch_optional(&self.pool).await?;
        model.currency = currency.unwrap_or_default();
        model.generation = generation.and_then(|g| g.parse().ok()).unwrap_or(0);
        Ok(model)
    }

    async fn keep_currency(&self, currency: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT OR IGNORE INTO facts (key, value) VALUES ('currency', ?)")
            .bind(currency)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn commit(&self, generation: u64, changes: &[Change]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for change in changes {
            write(&mut tx, change).await?;
        }
        sqlx::query("INSERT INTO facts (key, value) VALUES ('generation', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(generation.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let rows = match &filter.subject {
            Some(subject) => {
                sqlx::query("SELECT body FROM events WHERE subject = ? AND id > ? ORDER BY id LIMIT ?")
                    .bind(subject)
                    .bind(int(filter.after))
                    .bind(filter.limit)
                    .fetch_all(&self.pool)
                    .await?
            }
            None => {
                sqlx::query("SELECT body FROM events WHERE id > ? ORDER BY id LIMIT ?")
                    .bind(int(filter.after))
                    .bind(filter.limit)
                    .fetch_all(&self.pool)
                    .await?
            }
        };
        rows.iter().map(|row| Json.decode(&row.try_get::<String, _>(0)?)).collect()
    }

    async fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError> {
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM decisions WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        body.map(|b| Json.decode(&b)).transpose()
    }

    async fn clearing(&self, id: AssignmentId) -> Result<Option<Clearing>, StoreError> {
        let body: Option<String> =
            sqlx::query_scalar("SELECT body FROM clearings WHERE id = ? ORDER BY at DESC LIMIT 1")
                .bind(id.to_string())
                .fetch_optional(&self.pool)
                .await?;
        body.map(|b| Json.decode(&b)).transpose()
    }

    async fn clearings(
        &self,
        before: Option<(Timestamp, AssignmentId)>,
        limit: u32,
    ) -> Result<Vec<Clearing>, StoreError> {
        // No id is as great as this text: nothing is left out.
        let (at, id) = before.map_or((i64::MAX, "~".to_owned()), |(at, id)| (at.0, id.to_string()));
        let bodies: Vec<String> =
            sqlx::query_scalar("SELECT body FROM clearings WHERE (at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT ?")
                .bind(at)
                .bind(id)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        bodies.iter().map(|b| Json.decode(b)).collect()
    }

    async fn receipts(&self, partner: PartyId, side: Side, after: u64, limit: u32) -> Result<Vec<Receipt>, StoreError> {
        let bodies: Vec<String> = sqlx::query_scalar(
            "SELECT body FROM receipts WHERE partner = ? AND side = ? AND number > ? ORDER BY number LIMIT ?",
        )
        .bind(partner.to_string())
        .bind(side.as_str())
        .bind(int(after))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        bodies.iter().map(|b| Json.decode(b)).collect()
    }

    async fn usage(&self, customer: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        let rows =
            sqlx::query("SELECT body FROM usage WHERE customer = ? AND at >= ? AND at < ? ORDER BY host, sequence")
                .bind(customer.to_string())
                .bind(from.0)
                .bind(to.0)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(|row| Json.decode(&row.try_get::<String, _>(0)?)).collect()
    }

    async fn receipts_within(
        &self,
        partner: PartyId,
        side: Side,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Receipt>, StoreError> {
        let bodies: Vec<String> = sqlx::query_scalar(
            "SELECT body FROM receipts WHERE partner = ? AND side = ? AND json_extract(body, '$.used.at') >= ? \
             AND json_extract(body, '$.used.at') < ? ORDER BY number",
        )
        .bind(partner.to_string())
        .bind(side.as_str())
        .bind(from.0)
        .bind(to.0)
        .fetch_all(&self.pool)
        .await?;
        bodies.iter().map(|b| Json.decode(b)).collect()
    }

    async fn earned(&self, owner: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        let bodies: Vec<String> = sqlx::query_scalar(
            "SELECT body FROM usage WHERE json_extract(body, '$.owner') = ? AND at >= ? AND at < ? \
             ORDER BY host, sequence",
        )
        .bind(owner.to_string())
        .bind(from.0)
        .bind(to.0)
        .fetch_all(&self.pool)
        .await?;
        bodies.iter().map(|b| Json.decode(b)).collect()
    }

    async fn settled_disputes(&self, wanted: &Settled) -> Result<Vec<Dispute>, StoreError> {
        settled::read(&self.pool, wanted).await
    }

    async fn ledger(&self) -> Result<LedgerCheck, StoreError> {
        let mut tx = self.pool.begin().await?;
        ledger::check(&mut tx).await
    }

    async fn answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let row = sqlx::query("SELECT fingerprint, status, body, at FROM answers WHERE caller = ? AND key = ?")
            .bind(caller)
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let fingerprint: Vec<u8> = row.try_get(0)?;
        Ok(Some(Answer {
            caller: caller.to_owned(),
            key: key.to_owned(),
            fingerprint: fingerprint
                .try_into()
                .map_err(|_| StoreError::Corrupt("an answer's fingerprint".to_owned()))?,
            status: row.try_get(1)?,
            body: row.try_get(2)?,
            at: Timestamp(row.try_get(3)?),
        }))
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM answers WHERE at < ?").bind(before.0).execute(&self.pool).await?;
        Ok(())
    }
}

/// SQLite's integers are signed; ids and counts never reach that far.
fn int(v: u64) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

async fn write(tx: &mut SqliteConnection, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Put(record) => {
            let (key, body) = record.encode(&Json)?;
            let sql = format!(
                "INSERT INTO {} (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                record.table()
            );
            sqlx::query(AssertSqlSafe(sql)).bind(key).bind(body).execute(&mut *tx).await?;
            if let Record::Dispute(dispute) = record {
                ledger::write_dispute(tx, dispute).await?;
            }
        }
        Change::RemoveAssignment(id) => {
            sqlx::query("DELETE FROM assignments WHERE key = ?").bind(id.to_string()).execute(tx).await?;
        }
        Change::ForgetAssignment(id) => {
            sqlx::query("DELETE FROM closed_assignments WHERE key = ?").bind(id.to_string()).execute(tx).await?;
        }
        Change::ForgetLease(id) => {
            sqlx::query("DELETE FROM leases WHERE key = ?").bind(id.to_string()).execute(tx).await?;
        }
        Change::ForgetMove(id) => {
            sqlx::query("DELETE FROM moves WHERE key = ?").bind(id.to_string()).execute(tx).await?;
        }
        Change::ForgetDispute(id) => settled::put_aside(tx, id).await?,
        Change::RemoveToken(id) => {
            sqlx::query("DELETE FROM tokens WHERE key = ?").bind(id.to_string()).execute(tx).await?;
        }
        Change::Event(e) => {
            sqlx::query("INSERT INTO events (id, at, by, noun, subject, body) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(int(e.id))
                .bind(e.at.0)
                .bind(&e.by)
                .bind(e.noun.as_str())
                .bind(&e.subject)
                .bind(Json.encode(e)?)
                .execute(tx)
                .await?;
        }
        Change::Decision(d) => {
            sqlx::query("INSERT OR IGNORE INTO decisions (id, service, at, body) VALUES (?, ?, ?, ?)")
                .bind(d.id.to_string())
                .bind(d.service.to_string())
                .bind(d.at.0)
                .bind(Json.encode(d.as_ref())?)
                .execute(tx)
                .await?;
        }
        Change::Clearing(c) => {
            sqlx::query("INSERT INTO clearings (hash, id, at, body) VALUES (?, ?, ?, ?)")
                .bind(c.hash.to_string())
                .bind(c.demand.id.to_string())
                .bind(c.call.at.0)
                .bind(Json.encode(c.as_ref())?)
                .execute(tx)
                .await?;
        }
        Change::Receipt(partner, side, receipt) => {
            sqlx::query("INSERT INTO receipts (partner, side, number, body) VALUES (?, ?, ?, ?)")
                .bind(partner.to_string())
                .bind(side.as_str())
                .bind(int(receipt.number))
                .bind(Json.encode(receipt.as_ref())?)
                .execute(tx)
                .await?;
        }
        Change::Usage(row) => ledger::write_usage(tx, row).await?,
        Change::Answer(a) => {
            sqlx::query("INSERT INTO answers (caller, key, fingerprint, status, body, at) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(&a.caller)
                .bind(&a.key)
                .bind(a.fingerprint.to_vec())
                .bind(a.status)
                .bind(&a.body)
                .bind(a.at.0)
                .execute(tx)
                .await?;
        }
    }
    Ok(())
}
