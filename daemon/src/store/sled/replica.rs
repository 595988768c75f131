//! A store whose log is in a database that several daemons share: how its directory becomes a replica of it before anything
//! is derived or signed, and when it is none any more. Knows what a replica may lack; refuses to know SQL.
//!
//! `<data>/log/shared` says which database the directory is a replica of. As long as it is there the directory alone is not
//! opened: two that go on with one log by themselves would sign two histories.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use common::audit::{Hash, root_at};
use sha2::{Digest as _, Sha256};

use super::fetched::fill;
use super::recover::{Genesis, Stance, recover};
use super::{Locks, OpenError, SledOptions, SledStore};
use crate::config::database::SharedDatabase;
use crate::durable;
use crate::store::StoreError;
use crate::store::journal::{Journal, Record};
use crate::store::keys::KeyDir;
use crate::store::packed::PackedTree;
use crate::store::shared::writer::Writer;
use crate::store::shared::{Contradiction, Head, SharedError, copy, shown};
use crate::store::sled::state::Derived;

impl From<SharedError> for OpenError {
    fn from(error: SharedError) -> Self {
        match error {
            SharedError::Refused(why) => Self::Refused(why),
            unreachable @ SharedError::Unreachable(_) => StoreError::Unavailable(unreachable.to_string()).into(),
        }
    }
}

/// Says of which database a directory is a replica.
struct Marker(PathBuf);

impl Marker {
    fn of(options: &SledOptions) -> Self {
        Self(options.log_dir().join("shared"))
    }

    fn read(&self) -> Result<Option<String>, OpenError> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::path(&self.0)(error)),
        }
    }

    fn write(&self, options: &SledOptions, database: &SharedDatabase) -> Result<(), OpenError> {
        let text = format!("{}\n", shown(database));
        durable::write_file_on(&options.disk, &self.0, text.as_bytes(), durable::MODE_FILE)
            .map_err(OpenError::path(&self.0))
    }

    fn remove(&self) -> Result<(), OpenError> {
        durable::remove(&self.0).map_err(OpenError::path(&self.0))
    }
}

/// Refuses a directory that is a replica where no database is named.
pub(super) fn refuse_alone(options: &SledOptions) -> Result<(), OpenError> {
    match Marker::of(options).read()? {
        None => Ok(()),
        Some(database) => Err(OpenError::Refused(format!(
            "{} is a replica of the log in {database}, which other daemons may go on with: set MREG_DATABASE, or end the log \
             there and go on with this directory by `mregd migrate --from`",
            options.data_dir.display()
        ))),
    }
}

/// Opens a store over a database, beginning the log there if nobody has.
pub(super) fn open(
    options: &SledOptions,
    database: &SharedDatabase,
    progress: &dyn Fn(u64, u64),
) -> Result<SledStore, OpenError> {
    let key_dir = KeyDir::new(&options.key_dir, &options.disk);
    let known = |error| OpenError::Refused(crate::error_chain(&error));
    let first_try = |locks| {
        let before = key_dir.verifiers().map_err(known)?;
        let mut writer = Writer::open(database)?;
        let head = pull(options, &mut writer)?;
        Marker::of(options).write(options, database)?;
        let mut recovered = recover(options, Stance::Refuse, Some(&head), progress)?;
        recovered.sequencer.shared = Some(writer);
        let made = recovered.sequencer.shown.keys.borrow().current.vkey.clone();
        let is_new = before.iter().all(|verifier| verifier.to_string() != made);
        let began = (head.size == 0).then_some((made, is_new));
        Ok::<_, OpenError>((SledStore::start(options, locks, recovered), began))
    };
    let (started, began) = first_try(Locks::take(options)?)?;
    let (error, (made, is_new)) = match (started, began) {
        (Ok(store), _) => return Ok(store),
        (Err(error), None) => return Err(error),
        (Err(error), Some(began)) => (error, began),
    };
    // Somebody else may have begun the log at the same moment, or the database may not have said that we have.
    tracing::info!(error = crate::error_chain(&error), "the log could not be begun; it is looked whether there is one");
    let locks = Locks::take(options)?;
    let mut writer = Writer::open(database)?;
    let head = pull(options, &mut writer)?;
    if head.size == 0 {
        return Err(error);
    }
    let journal = Journal::open(&options.disk, &options.log_dir(), options.file_entries_max)?;
    let theirs = Genesis::of(&journal)?.map(|genesis| genesis.keys.current.vkey);
    drop(journal);
    if is_new && theirs.is_some_and(|theirs| theirs != made) {
        // Made for this log by us a moment ago, and never used: it would only be in the way of the right one.
        key_dir.discard(&made).map_err(known)?;
    }
    drop((locks, writer));
    first_try(Locks::take(options)?)?.0
}

/// Fetches what the database has and the journal here has not. Nothing is derived or signed.
pub(super) fn pull(options: &SledOptions, writer: &mut Writer) -> Result<Head, OpenError> {
    let mut journal = Journal::open(&options.disk, &options.log_dir(), options.file_entries_max)?;
    let head = writer.head()?;
    head.require_here()?;
    let size = journal.next_index();
    if head.size == 0 && size > 0 && Marker::of(options).read()?.is_none() {
        return Err(OpenError::Refused(format!(
            "{} holds a log of {size} entries, and the database none: copy the log into it with `mregd migrate --to`, or set \
             MREG_DATA_DIR to an empty directory to begin a new log",
            options.data_dir.display()
        )));
    }
    if head.size < size {
        let here = (size, Hash([0; 32]));
        return Err(OpenError::Refused(Contradiction { here, there: &head }.to_string()));
    }
    if let Some(last) = size.checked_sub(1) {
        require_same(&journal, writer, last)?;
    }
    if size < head.size {
        // What was begun here and not finished is in the database, or nowhere.
        journal.cut_tail()?;
        tracing::info!(from = size, to = head.size, "fetching the log from the database");
        fill(options, &mut journal, writer, &head)?;
    }
    Ok(head)
}

/// The last entry here must be that of the database: its salt makes it unlike any other.
fn require_same(journal: &Journal, writer: &mut Writer, last: u64) -> Result<(), OpenError> {
    let there = writer.fetch(last, last + 1)?;
    let mut same = false;
    journal.scan_from(last, &mut |record| {
        if record.index == last {
            same = there.first().is_some_and(|there| *there.leaf == *record.leaf && there.change == record.change);
        }
        Ok(())
    })?;
    if same {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "entry {last} is another in the database than in this daemon's replica: they are different logs, or one of the two was \
         altered, rolled back or replaced. Nothing is signed. Find out with `mregd log verify` which is the right one; a replica \
         that is wrong is moved away, and made anew from the database"
    )))
}

/// A log that was copied, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// SHA-256 over all keys and values of the state, in their order.
    pub state: [u8; 32],
}

/// Copies the log of a stopped embedded store into an empty database, reads it back there, and compares root and state before
/// it counts. With `dry` nothing is written.
///
/// # Errors
/// [`OpenError`]; nothing was copied then.
pub fn copy_to(options: &SledOptions, database: &SharedDatabase, dry: bool) -> Result<Copied, OpenError> {
    let alone = SledOptions { shared: None, ..options.clone() };
    let marker = Marker::of(options);
    if !options.log_dir().is_dir() {
        return Err(OpenError::Refused(format!("there is no registry in {}", options.data_dir.display())));
    }
    // A replica may be copied, too: that is how a database that lost entries is replaced.
    let locks = Locks::take(options)?;
    let recovered = recover(&alone, Stance::Refuse, None, &|_done, _of| {})?;
    let sequencer = recovered.sequencer;
    let size = sequencer.hashes.size();
    let ours = Copied {
        origin: sequencer.shown.keys.borrow().origin.clone(),
        size,
        root: sequencer.hashes.root(),
        state: digest(&sequencer.tree)?,
    };
    let mut writer = Writer::open(database)?;
    let reader = sequencer.journal.reader();
    if dry {
        let head = writer.head()?;
        copy::require_empty(&head)?;
        return Ok(ours);
    }
    // Before the database counts, so that no crash leaves two that go on.
    let before = marker.read()?;
    marker.write(options, database)?;
    let derived = Derived::in_dir(&options.data_dir)?;
    let result = copy::copy_in(&mut writer, &reader, size, ours.root, derived, ours.state);
    drop(locks);
    if let Err(error) = result {
        if before.is_none() && matches!(writer.head(), Ok(Head { size: 0, .. })) {
            marker.remove()?;
        }
        return Err(error.into());
    }
    Ok(ours)
}

/// Makes the directory of a stopped store the continuation of the log in a database, which ends there. With `dry` nothing is
/// written: the log is read and derived from the database alone.
///
/// # Errors
/// [`OpenError`].
pub fn copy_from(options: &SledOptions, database: &SharedDatabase, dry: bool) -> Result<Copied, OpenError> {
    let mut writer = Writer::open(database)?;
    let head = writer.head()?;
    let locks = Locks::take(options)?;
    copy::require_nobody(&mut writer)?;
    let node = super::recover::node_id(&options.data_dir.join("node"))?;
    let moved = format!("it goes on in the embedded store of {node}");
    match &head.moved {
        Some(there) if *there == moved => {}
        _elsewhere => head.require_here()?,
    }
    if head.size == 0 {
        return Err(OpenError::Refused("there is no log in the database".to_owned()));
    }
    let derived = Derived::in_dir(&options.data_dir)?;
    let (root, state, keys) = copy::read_back(&mut writer, head.size, derived)?;
    if root != head.root {
        let here = (head.size, root);
        return Err(OpenError::Refused(format!(
            "the entries in the database don't have the root that its head says: {}",
            Contradiction { here, there: &head }
        )));
    }
    let theirs = Copied { origin: keys.origin, size: head.size, root, state };
    if dry {
        return Ok(theirs);
    }
    let mut journal = Journal::open(&options.disk, &options.log_dir(), options.file_entries_max)?;
    if let Some(last) = journal.next_index().checked_sub(1) {
        if journal.next_index() > head.size {
            let here = (journal.next_index(), Hash([0; 32]));
            return Err(OpenError::Refused(Contradiction { here, there: &head }.to_string()));
        }
        require_same(&journal, &mut writer, last)?;
    }
    let marker = Marker::of(options);
    // Until the log has ended there, the directory is a replica.
    marker.write(options, database)?;
    journal.cut_tail()?;
    fill(options, &mut journal, &mut writer, &head)?;
    drop(journal);
    // Whether it is older than what was signed is for the next start to judge, or for whoever accepts that.
    let recovered = recover(options, Stance::Accept, Some(&head), &|_done, _of| {})?;
    if digest(&recovered.sequencer.tree)? != state {
        return Err(OpenError::Refused(
            "the state here is another than that which the database's entries make: run `mregd check`".to_owned(),
        ));
    }
    drop(recovered);
    if head.moved.is_none() {
        writer.move_away(&head, &moved)?;
    }
    marker.remove()?;
    drop(locks);
    Ok(theirs)
}

impl SledStore {
    /// Proves that the replica is the database's log, as far as it goes.
    pub(super) fn compare_shared(
        &self,
        database: &SharedDatabase,
        size: u64,
        listener: &mut dyn crate::store::check::Listener,
    ) -> Result<(), StoreError> {
        copy::compare(database, &self.view.journal, size, &self.view.hashes, listener)
    }
}

/// The same of a stopped store.
pub(super) fn compare_stopped(
    options: &SledOptions,
    database: &SharedDatabase,
    listener: &mut dyn crate::store::check::Listener,
) -> Result<(), OpenError> {
    let journal = Journal::open(&options.disk, &options.log_dir(), options.file_entries_max)?;
    let hashes = crate::store::merkle::HashFiles::new(&options.disk, &options.log_dir());
    Ok(copy::compare(database, &journal.reader(), journal.next_index(), &hashes, listener)?)
}

/// SHA-256 over all keys and values of a state, each with its length before it.
pub(super) fn digest(tree: &PackedTree) -> Result<[u8; 32], StoreError> {
    let mut hasher = Sha256::new();
    for pair in tree.iter() {
        let (key, value) = pair?;
        for part in [key, value] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(&part);
        }
    }
    Ok(hasher.finalize().into())
}

/// A record of its own.
pub(crate) fn owned(record: &crate::store::journal::Scanned<'_>) -> Record {
    Record { leaf: Arc::from(record.leaf), change: record.change.to_vec() }
}

/// The root of the first entries, from the files.
pub(crate) fn root_of(hashes: &crate::store::merkle::HashFiles, size: u64) -> Result<Hash, StoreError> {
    Ok(root_at(size, hashes)?)
}
