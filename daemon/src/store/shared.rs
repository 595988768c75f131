//! The log that several daemons share, in PostgreSQL: one row says how far it is, and whoever has that row locked is the
//! one that commits. Each daemon keeps the whole log beside it, in the files of the embedded store, as a replica: entries
//! reach those only after they are committed here. What entries mean is not known here.
//!
//! ```text
//! mreg.log_head        one row: size, root; its lock orders the daemons
//! mreg.log_entry       what was committed: leaf and change, by index
//! mreg.daemon          who follows, how far, with which keys
//! mreg.schema_version  which migrations were applied
//! ```
//!
//! | file | what |
//! |---|---|
//! | `connect` | which server is the primary; a connection, its timeouts, and what a server must promise |
//! | `schema` | migrations |
//! | `writer` | turns: lock, commit, and what became of a commit nobody answered |
//! | `follow` | the thread that asks how far the log is, and tells that others committed |
//! | `copy` | the whole log, into an empty database or compared with one |

pub mod connect;
pub mod copy;
pub mod follow;
pub mod schema;
pub mod writer;

use std::fmt;

use common::audit::Hash;
use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::config::database::SharedDatabase;

/// Entries that are fetched at once.
pub const FETCH_ENTRIES_MAX: i64 = 2048;
/// Octets of entries that are fetched at once, if it is more than one.
pub const FETCH_OCTETS_MAX: i64 = 8 * 1024 * 1024;

/// Connections that a daemon holds while it serves: that of its commits, and that by which it follows. A comparison of replica
/// and database (`mregd check`) takes one more, and each new connection asks all servers of the address for a moment.
pub const CONNECTIONS: u32 = 2;

/// Why the shared log can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SharedError {
    /// It doesn't answer, or not in time. May be tried again.
    #[error("the database can't be reached: {0}")]
    Unreachable(String),
    /// It says something that a person must look at. Nothing is signed on it.
    #[error("{0}")]
    Refused(String),
}

impl SharedError {
    /// Of the client library: what the server refused by itself is kept in its own words.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let said = crate::error_chain(error);
        if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) {
            return Self::Unreachable(format!(
                "it has no connection left for this daemon, which holds {CONNECTIONS}: end others' that are idle, or raise the \
                 server's max_connections or the user's CONNECTION LIMIT ({said})"
            ));
        }
        Self::Unreachable(said)
    }
}

/// How far the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Where the log went on, if not here.
    pub moved: Option<String>,
}

impl Head {
    /// Refuses a log that went on elsewhere.
    ///
    /// # Errors
    /// [`SharedError::Refused`].
    pub fn require_here(&self) -> Result<(), SharedError> {
        match &self.moved {
            None => Ok(()),
            Some(moved) => Err(SharedError::Refused(format!(
                "the log in the database ended: {moved}. Go on with that, or copy it back into another database with \
                 `mregd migrate --to`"
            ))),
        }
    }
}

/// A daemon that follows the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its instance id.
    pub node: String,
    /// The keys it could sign with.
    pub keys: Vec<String>,
}

/// Why a replica and the database don't fit together: the words for whoever operates them.
pub(crate) struct Contradiction<'c> {
    /// Entries of the replica, and their root.
    pub(crate) here: (u64, Hash),
    /// Those of the database.
    pub(crate) there: &'c Head,
}

impl fmt::Display for Contradiction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((size, root), there) = (self.here, self.there);
        if there.size < size {
            write!(
                f,
                "the database has {} entries, but this daemon's replica has {size}: entries that were acknowledged are \
                 missing from the database, which was rolled back, restored or replaced, or is a standby that was promoted \
                 before it had them. Nothing is signed. Every daemon's replica has them still: stop all daemons, and copy the \
                 longest replica into an empty database with `mregd migrate --to`. Only where they are given up for good, take \
                 the log out with `mregd migrate --from`, and accept the loss with `mregd log accept-rollback`",
                there.size
            )
        } else {
            write!(
                f,
                "the first {size} entries have the root {root} in this daemon's replica, but another in the database, whose \
                 {} entries have the root {}: one of the two was altered, or they are different logs. Nothing is signed. Run \
                 `mregd log verify` on each daemon's data to find out which",
                there.size, there.root
            )
        }
    }
}

/// The database of these options, for messages: without secrets.
pub(crate) fn shown(database: &SharedDatabase) -> String {
    database.address.to_string()
}
