//! Fills a directory with a registry of any size, for `mregd` to be started on: users, models, versions and entries go
//! through the store's own commit path in full batches, the files of versions through the blob store, so journal, hashes and
//! view are what requests would have left. The same size and seed give the same models, versions, files, and entries in the
//! same order; ids, salts and times of entries are fresh, as in every log. Memory does not grow with the size. Knows the
//! store's contract and the shapes of records; refuses to know HTTP, and a directory that has anything in it.

pub mod files;
pub mod made;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::auth::password;
use daemon::blobs::disk::{DiskBlobs, DiskOptions};
use daemon::config::secret::Secret;
use daemon::inspect::Ruleset;
use daemon::store::records::Write;
use daemon::store::sled::{SledOptions, SledStore};
use daemon::store::{Decide, Decision, Entries as _, Store};
use futures_util::{StreamExt as _, stream};
use tokio::runtime::Runtime;

use self::files::Files;
use self::made::{Made, USERS, user_record};

/// The name of the log where `MREG_LOG_ORIGIN` says nothing else.
pub const ORIGIN: &str = "mreg.local/log";
/// Commands that wait at once: some full batches of the store.
const AT_ONCE: usize = 2048;
/// Entries that are not asked for: the log's first, and one a user.
pub const ENTRIES_OF_THE_START: u64 = 1 + USERS.len() as u64;
/// Entries after which progress is told.
const PROGRESS_EACH: u64 = 100_000;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Models; at least 1.
    pub models: u64,
    /// Versions of all of them; at least one a model.
    pub versions: u64,
    /// Entries of the log, those of versions and of the start included.
    pub entries: u64,
    /// Another seed gives other names, files and readers.
    pub seed: u64,
}

impl Size {
    /// Entries that are neither a version's nor the start's.
    fn readings(&self) -> u64 {
        self.entries.saturating_sub(self.versions + ENTRIES_OF_THE_START)
    }

    fn check(&self) -> io::Result<()> {
        let why = if self.models == 0 || self.versions < self.models {
            "there must be a model, and a version of each model at least"
        } else if self.entries < self.versions + ENTRIES_OF_THE_START {
            "there must be an entry for each version, and some for the start"
        } else if u32::try_from(self.versions / self.models).is_err() {
            "that is more versions than a model can have"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// Where things are below the directory.
pub fn places(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("data"), dir.join("keys"))
}

/// Fills `dir` (`data` and `keys` below it), which must be empty or not there. All users, the first of which is `admin`, get
/// the password. `progress` is told how many entries of how many there are.
///
/// # Errors
/// The directory isn't empty, the size makes no sense, the password is weak, or something can't be written.
pub fn fill(dir: &Path, size: &Size, password: &str, progress: &dyn Fn(u64, u64)) -> io::Result<()> {
    size.check()?;
    std::fs::create_dir_all(dir)?;
    if std::fs::read_dir(dir)?.next().is_some() {
        let why = format!("{} isn't empty, and nothing of what is there may be lost", dir.display());
        return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, why));
    }
    let password = Secret::new(password.to_owned());
    password::check_strength(USERS[0].0, &password).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let hash = password::hash(&password).map_err(io::Error::other)?;
    let (data, keys) = places(dir);
    let options = SledOptions::new(&data, &keys, ORIGIN);
    let store = SledStore::open(&options).map_err(io::Error::other)?;
    let blobs = DiskBlobs::open(&data.join("blobs"), DiskOptions::default()).map_err(io::Error::other)?;
    let files = Files::keep(&blobs, size.seed)?;
    let made = Arc::new(Made::new(*size, files, Ruleset::default().id().to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    commit_all(&runtime, &store, users(&made, &hash).chain(commands(&made)), size.entries, progress)?;
    let wrong = (store.view().size() != size.entries).then(|| {
        io::Error::other(format!("{} entries were to be written, and there are {}", size.entries, store.view().size()))
    });
    runtime.block_on(store.close());
    drop(store);
    // sled reads all it wrote since it was opened, when it is opened the next time: here, and not when a start is measured.
    let again = SledStore::open(&options).map_err(io::Error::other)?;
    runtime.block_on(again.close());
    wrong.map_or(Ok(()), Err)
}

/// The users, an entry each.
fn users<'m>(made: &'m Arc<Made>, hash: &'m str) -> impl Iterator<Item = Decide> + 'm {
    (0..USERS.len()).map(move |number| -> Decide {
        let (made, hash) = (Arc::clone(made), hash.to_owned());
        Box::new(move |_records, moment| {
            let user = user_record(number, hash, moment);
            let draft = made.user_draft(&user);
            Ok(Decision { draft, writes: vec![Write::PutUser(user)] })
        })
    })
}

/// Versions, model by model, and between them what readers do.
fn commands(made: &Arc<Made>) -> impl Iterator<Item = Decide> + use<> {
    let (size, made) = (made.size, Arc::clone(made));
    let shares = move |number: u64, of: u64| u128::from(number) * u128::from(of) / u128::from(size.versions);
    (0..size.models).flat_map(move |model| {
        let made = Arc::clone(&made);
        let versions = made.versions_of(model);
        (0..versions.end - versions.start).flat_map(move |version| {
            let number = versions.start + version;
            let publish = {
                let made = Arc::clone(&made);
                let decide: Decide = Box::new(move |records, moment| made.publish(records, moment, model, version));
                decide
            };
            let made = Arc::clone(&made);
            let readings = shares(number, size.readings())..shares(number + 1, size.readings());
            std::iter::once(publish).chain(readings.map(move |reading| -> Decide {
                let made = Arc::clone(&made);
                // No more of them than there are entries, so the number fits.
                let reading = u64::try_from(reading).unwrap_or(u64::MAX);
                Box::new(move |_records, _moment| {
                    Ok(Decision { draft: made.reading(reading, model), writes: Vec::new() })
                })
            }))
        })
    })
}

/// Commits commands in their order, many at once.
fn commit_all(
    runtime: &Runtime,
    store: &SledStore,
    commands: impl Iterator<Item = Decide>,
    of: u64,
    progress: &dyn Fn(u64, u64),
) -> io::Result<()> {
    // Tokio makes a task that did much wait in between, and what was about to be sent would be overtaken.
    runtime.block_on(tokio::task::unconstrained(async {
        let mut done = std::pin::pin!(stream::iter(commands).map(|decide| store.commit(decide)).buffered(AT_ONCE));
        while let Some(committed) = done.next().await {
            let entries = committed.map_err(io::Error::other)?.index + 1;
            if entries.is_multiple_of(PROGRESS_EACH) {
                progress(entries, of);
            }
        }
        Ok(())
    }))
}
