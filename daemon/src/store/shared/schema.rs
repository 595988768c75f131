//! Migrations of the shared log: numbered files, applied in order, once, by whichever daemon comes first. Knows versions;
//! refuses to know what tables mean. One that is newer than this program is never touched.

use tokio_postgres::Client;

use super::SharedError;

/// The migrations, the first one first; the number of the last is the version.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// The version that this program works with.
pub const VERSION: i32 = 1;

/// The advisory lock under which tables are made (class 0x6D726567, "mreg").
pub(super) const LOCK_CLASS: i32 = 0x6D72_6567;
const LOCK_SCHEMA: i32 = 0;

/// Brings the tables up to this program's version. Several may try at once.
///
/// # Errors
/// [`SharedError::Refused`]: they are of a newer version.
pub(super) async fn migrate(client: &mut Client) -> Result<(), SharedError> {
    let failed = |error: tokio_postgres::Error| SharedError::of(&error);
    if version(client).await? == Some(VERSION) {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&LOCK_CLASS, &LOCK_SCHEMA]).await.map_err(failed)?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS mreg; CREATE TABLE IF NOT EXISTS mreg.schema_version (version integer PRIMARY KEY, \
             applied_at timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL)",
        )
        .await
        .map_err(failed)?;
    let applied = transaction
        .query_one("SELECT coalesce(max(version), 0), coalesce(max(applied_by), '') FROM mreg.schema_version", &[])
        .await
        .map_err(failed)?;
    let (applied, by): (i32, String) = (applied.get(0), applied.get(1));
    check(applied, &by)?;
    let this = concat!("mregd ", env!("CARGO_PKG_VERSION"));
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > applied) {
        transaction.batch_execute(migration).await.map_err(failed)?;
        transaction
            .execute("INSERT INTO mreg.schema_version (version, applied_by) VALUES ($1, $2)", &[&version, &this])
            .await
            .map_err(failed)?;
        tracing::info!(version, "the database's tables were brought up to date");
    }
    transaction.commit().await.map_err(failed)
}

/// The version there is; none where there are no tables.
async fn version(client: &Client) -> Result<Option<i32>, SharedError> {
    let failed = |error: tokio_postgres::Error| SharedError::of(&error);
    let there = client.query_one("SELECT to_regclass('mreg.schema_version') IS NOT NULL", &[]).await.map_err(failed)?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client
        .query_one("SELECT coalesce(max(version), 0), coalesce(max(applied_by), '') FROM mreg.schema_version", &[])
        .await
        .map_err(failed)?;
    let (applied, by): (i32, String) = (row.get(0), row.get(1));
    check(applied, &by)?;
    Ok(Some(applied))
}

fn check(applied: i32, by: &str) -> Result<(), SharedError> {
    if applied <= VERSION {
        return Ok(());
    }
    Err(SharedError::Refused(format!(
        "the database's tables are of version {applied}, made by {by}, but this is mregd {} with version {VERSION}: run the \
         newer mregd. There is no way back to an older one",
        env!("CARGO_PKG_VERSION")
    )))
}
