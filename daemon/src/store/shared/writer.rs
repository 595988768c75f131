//! Turns: the one way in which entries get into the shared log. Whoever has the head's row locked decides against all that
//! was committed before, and commits. Blocks the calling thread, which is the one that writes. Knows what became of a commit
//! that nobody answered, because it asks; refuses to know what entries mean.
//!
//! A batch of entries is committed as a whole: its leaves carry fresh salts, so the leaf at its first index tells for all of
//! them whether it was ours that got there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::audit::Hash;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};

use super::connect::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, Connected, Lineage, Servers, answered, answered_within, connect,
};
use super::{FETCH_ENTRIES_MAX, FETCH_OCTETS_MAX, Head, SharedError, schema};
use crate::config::database::SharedDatabase;
use crate::store::journal::Record;

/// After a connection could not be made, none is tried for so long: whoever asks meanwhile gets the same answer.
pub const PAUSE: Duration = Duration::from_millis(200);
/// What is said of a session whose server was replaced.
const REPLACED: &str = "the database's server was replaced by a failover";

pub(super) const HEAD: &str = "SELECT size, root, moved FROM mreg.log_head";
const LOCK: &str = "SELECT size, root, moved FROM mreg.log_head FOR UPDATE";
const WRITE: &str = "\
    WITH written AS ( \
        INSERT INTO mreg.log_entry (seq, leaf, change) \
        SELECT $1 + number - 1, leaf, change \
        FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS new (leaf, change, number) \
        RETURNING seq), \
    moved AS ( \
        UPDATE mreg.log_head SET size = $1 + cardinality($2), root = $4 WHERE size = $1 RETURNING size) \
    SELECT (SELECT count(*) FROM written), (SELECT size FROM moved), pg_notify('mreg', '')";
const FETCH: &str = "\
    SELECT leaf, change FROM ( \
        SELECT seq, leaf, change, sum(octet_length(leaf) + octet_length(change)) OVER (ORDER BY seq) AS octets \
        FROM (SELECT * FROM mreg.log_entry WHERE seq >= $1 AND seq < $2 ORDER BY seq LIMIT $3) AS wanted) AS counted \
    WHERE octets <= $4 OR seq = $1 ORDER BY seq";

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is committed.
    Done,
    /// It is not, and never will be.
    NotDone(String),
    /// It is or it isn't: [`Writer::is_committed`] finds out.
    Unanswered(String),
}

/// The writing end of the shared log. Owned by the thread that writes.
pub struct Writer {
    runtime: Runtime,
    servers: Servers,
    session: Option<Session>,
    /// The turn is ours.
    in_turn: bool,
    /// The last failure to connect, and when.
    failed: Option<(Instant, SharedError)>,
}

struct Session {
    client: Client,
    /// The history that it writes; none where the server doesn't tell.
    lineage: Option<Lineage>,
    head: Statement,
    lock: Statement,
    write: Statement,
    fetch: Statement,
}

impl Writer {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn open(database: &SharedDatabase) -> Result<Self, SharedError> {
        let mut writer = Self::prepare(database)?;
        let opened = async {
            let mut connected = connect(&writer.servers, None).await?;
            schema::migrate(&mut connected.client).await?;
            Session::of(connected).await
        };
        writer.session = Some(writer.runtime.block_on(opened)?);
        Ok(writer)
    }

    fn prepare(database: &SharedDatabase) -> Result<Self, SharedError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SharedError::Unreachable(error.to_string()))?;
        Ok(Self { runtime, servers: Servers::new(database), session: None, in_turn: false, failed: None })
    }

    /// The servers, with what is known of them by now.
    pub fn servers(&self) -> Servers {
        self.servers.clone()
    }

    /// How far the log is, without a turn.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn head(&mut self) -> Result<Head, SharedError> {
        self.with_session(async |session| {
            let row = answered(session.client.query_one(&session.head, &[])).await?;
            head(&row)
        })
    }

    /// Takes the turn: until it is ended nobody else commits. Waits for others' turns.
    ///
    /// # Errors
    /// [`SharedError`]; there is no turn then.
    pub fn begin(&mut self) -> Result<Head, SharedError> {
        let begun = self.with_session(async |session| {
            // A commit that waits for a standby must not be cut short: the server would call it done. What it takes is
            // bounded here, by us. The level is said because a server may be set to another, under which the head that was
            // waited for would be refused instead of read again.
            let begin =
                session.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0");
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
            let lock = session.client.query_one(&session.lock, &params);
            let (begun, locked) = answered(async { Ok(tokio::join!(biased; begin, lock)) }).await?;
            begun.map_err(|error| SharedError::of(&error))?;
            match locked {
                Ok(row) => head(&row),
                Err(error) => {
                    // Others' turns took too long, or the session is gone.
                    let failed = SharedError::of(&error);
                    answered(session.client.batch_execute("ROLLBACK")).await?;
                    Err(failed)
                }
            }
        })?;
        self.in_turn = true;
        Ok(begun)
    }

    /// Gives the turn back with nothing done.
    pub fn end(&mut self) {
        if !std::mem::take(&mut self.in_turn) {
            return;
        }
        let Some(session) = &self.session else { return };
        let replaced = self.servers.replaced(session.lineage.as_ref());
        let is_ended = self.runtime.block_on(async {
            tokio::select! {
                biased;
                ended = answered(session.client.batch_execute("ROLLBACK")) => ended.is_ok(),
                () = replaced => false,
            }
        });
        if !is_ended {
            // The server ends the turn with the connection.
            self.session = None;
        }
    }

    /// Entries from one on, below another: as many as are fetched at once, at least one.
    ///
    /// # Errors
    /// [`SharedError`]; `Refused` where there are none although the head says so.
    pub fn fetch(&mut self, from: u64, to: u64) -> Result<Vec<Record>, SharedError> {
        let (first, end) = (number(from)?, number(to)?);
        let rows = self.with_session(async |session| {
            let limits: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&first, &end, &FETCH_ENTRIES_MAX, &FETCH_OCTETS_MAX];
            answered(session.client.query(&session.fetch, &limits)).await
        })?;
        if rows.is_empty() && from < to {
            return Err(SharedError::Refused(format!(
                "entry {from} is missing from the database, though its log has {to} entries; look for who removed it"
            )));
        }
        Ok(rows.iter().map(|row| Record { leaf: Arc::from(row.get::<_, &[u8]>(0)), change: row.get(1) }).collect())
    }

    /// Commits a batch in our turn, and ends it.
    pub fn commit(&mut self, first: u64, records: &[Record], root: Hash) -> Outcome {
        if self.is_replaced() {
            // The server ends the turn with the connection.
            (self.session, self.in_turn) = (None, false);
            return Outcome::NotDone(REPLACED.to_owned());
        }
        let Some(session) = self.session.as_ref().filter(|_session| std::mem::take(&mut self.in_turn)) else {
            return Outcome::NotDone("there is no turn to commit in".to_owned());
        };
        let Ok(from) = number(first) else { return Outcome::NotDone("the log is too long".to_owned()) };
        let leaves: Vec<&[u8]> = records.iter().map(|record| &*record.leaf).collect();
        let changes: Vec<&[u8]> = records.iter().map(|record| record.change.as_slice()).collect();
        let root = root.0.as_slice();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&from, &leaves, &changes, &root];
        let write = session.client.query_one(&session.write, &params);
        let commit = session.client.batch_execute("COMMIT");
        // Both are on their way at once. Where the first fails by the server's word, the second rolls back.
        let replaced = self.servers.replaced(session.lineage.as_ref());
        let sent = self.runtime.block_on(async {
            tokio::select! {
                biased;
                sent = async { tokio::join!(biased; write, commit) } => Ok(sent),
                () = replaced => Err(REPLACED.to_owned()),
                () = tokio::time::sleep(ANSWER_TIMEOUT) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
            }
        });
        let end = from + i64::try_from(records.len()).unwrap_or(i64::MAX);
        let why = match sent {
            Ok((Ok(row), Ok(()))) if row.get::<_, Option<i64>>(1) == Some(end) => return Outcome::Done,
            Ok((Err(error), Ok(()))) if error.as_db_error().is_some() => {
                return Outcome::NotDone(crate::error_chain(&error));
            }
            Ok((Ok(_row), Ok(()))) => "the head was moved by somebody who had no turn".to_owned(),
            Ok((Err(error), _) | (Ok(_), Err(error))) => crate::error_chain(&error),
            Err(unanswered) => unanswered,
        };
        tracing::warn!(cause = why, "the database didn't answer a commit; it is asked what became of it");
        self.session = None;
        Outcome::Unanswered(why)
    }

    /// Whether a batch is committed: asked of the log, in a turn, which waits until the one it was sent in has ended.
    ///
    /// # Errors
    /// [`SharedError`]; it isn't known then.
    pub fn is_committed(&mut self, first: u64, records: &[Record]) -> Result<bool, SharedError> {
        let found = self.begin().and_then(|head| {
            let there = if head.size > first { self.fetch(first, first + 1)? } else { Vec::new() };
            let is_ours =
                there.first().is_some_and(|there| records.first().is_some_and(|ours| there.leaf == ours.leaf));
            if is_ours {
                self.confirm()?;
            }
            Ok(is_ours)
        });
        self.end();
        found
    }

    /// Ends our turn with a commit of its own, which the server answers only when all before it is as safe as it makes
    /// commits: a commit whose connection was cut while it waited for a standby is seen by all, and may be lost with the
    /// server all the same.
    fn confirm(&mut self) -> Result<(), SharedError> {
        self.with_session(async |session| {
            answered(session.client.batch_execute("UPDATE mreg.log_head SET size = size; COMMIT")).await
        })?;
        self.in_turn = false;
        Ok(())
    }

    /// Ends the log here: it went on somewhere else. Returns how far it was.
    ///
    /// # Errors
    /// [`SharedError`]; `Refused` where that was not the head that was expected.
    pub fn move_away(&mut self, expected: &Head, moved: &str) -> Result<(), SharedError> {
        let head = self.begin()?;
        let result = if head == *expected {
            self.with_session(async |session| {
                answered(session.client.execute("UPDATE mreg.log_head SET moved = $1", &[&moved])).await?;
                answered(session.client.batch_execute("COMMIT")).await
            })
        } else {
            Err(SharedError::Refused("somebody committed meanwhile; stop all daemons, and try again".to_owned()))
        };
        if result.is_ok() {
            self.in_turn = false;
        }
        self.end();
        result
    }

    /// The client in our turn, for what is done in one go (`copy.rs`).
    pub(super) fn in_turn<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, SharedError>,
    ) -> Result<T, SharedError> {
        let gone = || SharedError::Unreachable("the turn is not ours".to_owned());
        let session = self.session.as_mut().filter(|_session| self.in_turn).ok_or_else(gone)?;
        self.runtime.block_on(work(&mut session.client))
    }

    /// The turn was ended by a commit of [`Writer::in_turn`].
    pub(super) fn ended(&mut self) {
        self.in_turn = false;
    }

    /// The client, for what is done in one go (`copy.rs`), with no bound on how long it takes.
    pub(super) fn unbounded<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, SharedError>,
    ) -> Result<T, SharedError> {
        self.with_session(async |session| {
            let unbounded = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
            answered(session.client.batch_execute(unbounded)).await
        })?;
        let gone = || SharedError::Unreachable("there is no connection".to_owned());
        let session = self.session.as_mut().ok_or_else(gone)?;
        self.runtime.block_on(work(&mut session.client))
    }

    /// Works with the session, connecting where there is none. One that was cut while nobody used it is made anew, and then
    /// the work is done again: it must be something that may be done twice.
    fn with_session<T>(
        &mut self,
        work: impl AsyncFn(&mut Session) -> Result<T, SharedError>,
    ) -> Result<T, SharedError> {
        loop {
            // A primary that was replaced may be there still, and would take what is lost with it.
            if !self.in_turn && self.is_replaced() {
                self.session = None;
            }
            let is_new = self.session.is_none();
            if is_new {
                self.connect()?;
            }
            let Some(session) = &mut self.session else {
                return Err(SharedError::Unreachable("there is no connection".to_owned()));
            };
            let lineage = session.lineage.clone();
            let replaced = self.servers.replaced(lineage.as_ref());
            let result = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    done = work(session) => done,
                    // Whatever it would answer, it is not the primary any more.
                    () = replaced => Err(SharedError::Unreachable(REPLACED.to_owned())),
                }
            });
            let is_cut = session.client.is_closed() || (result.is_err() && self.is_replaced());
            match result {
                Err(SharedError::Unreachable(_)) if is_cut && !is_new && !self.in_turn => self.session = None,
                // Whatever failed: the next begins afresh.
                Err(SharedError::Unreachable(why)) => {
                    self.session = None;
                    return Err(SharedError::Unreachable(why));
                }
                done => return done,
            }
        }
    }

    /// Whether the session is one with a primary that a failover replaced since, as whoever else connects has seen.
    fn is_replaced(&self) -> bool {
        let lineage = self.session.as_ref().and_then(|session| session.lineage.as_ref());
        lineage.is_some_and(|lineage| self.servers.is_replaced(lineage))
    }

    fn connect(&mut self) -> Result<(), SharedError> {
        if std::mem::take(&mut self.in_turn) {
            return Err(SharedError::Unreachable("the connection was cut in our turn".to_owned()));
        }
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let made = self.runtime.block_on(async { Session::of(connect(&self.servers, None).await?).await });
        match made {
            Ok(session) => {
                self.failed = None;
                self.session = Some(session);
                Ok(())
            }
            Err(error) => {
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Session {
    async fn of(Connected { client, lineage }: Connected) -> Result<Self, SharedError> {
        let prepared = async {
            let (head, lock, write, fetch) =
                tokio::join!(client.prepare(HEAD), client.prepare(LOCK), client.prepare(WRITE), client.prepare(FETCH));
            Ok((head?, lock?, write?, fetch?))
        };
        let (head, lock, write, fetch) = answered_within(CONNECT_TIMEOUT, prepared).await?;
        Ok(Self { client, lineage, head, lock, write, fetch })
    }
}

fn number(index: u64) -> Result<i64, SharedError> {
    i64::try_from(index).map_err(|_wide| SharedError::Refused(format!("no log has an entry {index}")))
}

/// Reads a head.
pub(super) fn head(row: &tokio_postgres::Row) -> Result<Head, SharedError> {
    let unfit = || SharedError::Refused("the head in the database makes no sense; look for who changed it".to_owned());
    let size = u64::try_from(row.get::<_, i64>(0)).map_err(|_negative| unfit())?;
    let root = row.get::<_, &[u8]>(1).try_into().map_err(|_length| unfit())?;
    Ok(Head { size, root: Hash(root), moved: row.get(2) })
}
