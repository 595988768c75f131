//! Disks that fail, and disks whose power is cut. A [`Faulty`] disk makes one chosen operation fail in a chosen way; a
//! [`Recording`] writes down what was done to one, and lays out in a directory what a power cut at any point may have left
//! there. What the files mean is not known here.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ::daemon::durable::{Operation, Verdict, Watch};
use rustix::io::Errno;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is done.
    Nothing(Errno),
    /// It is done, and reported as failed.
    Done(Errno),
    /// Half of a write is done.
    Half(Errno),
}

/// What an operation does, and to which file: its name, a temporary one by what it is for.
pub type Step = (&'static str, String);

/// The step of an operation.
pub fn step(operation: &Operation<'_>) -> Step {
    let (kind, path) = match operation {
        Operation::Open(path) => ("open", path),
        Operation::Create(path) => ("create", path),
        Operation::Read(path, ..) => ("read", path),
        Operation::Write(path, ..) => ("write", path),
        Operation::SetLen(path, _) => ("set_len", path),
        Operation::Allocate(path, ..) => ("allocate", path),
        Operation::SyncData(path) => ("sync_data", path),
        Operation::SyncAll(path) => ("sync_all", path),
        Operation::Rename(path, _) => ("rename", path),
        Operation::Remove(path) => ("remove", path),
        Operation::SyncDir(path) => ("sync_dir", path),
        Operation::Stat(path) => ("stat", path),
        Operation::List(path) => ("list", path),
        Operation::Apply(path) => ("apply", path),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // `.log.mark.<random>.tmp`
    let temporary = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")?.rsplit_once('.'));
    (kind, temporary.map_or(name.clone(), |(target, _random)| format!("{target}.tmp")))
}

/// A disk on which one operation fails. Only the operations of one thread are counted, for those of others come when they
/// come.
pub struct Faulty {
    thread: Option<&'static str>,
    state: Mutex<FaultyState>,
}

#[derive(Default)]
struct FaultyState {
    seen: Vec<Step>,
    fails: Option<(usize, Fault)>,
    armed: bool,
}

impl Faulty {
    /// Fails the n-th operation of a thread (of the caller of `open`, without a name) after [`Faulty::arm`]; none for only
    /// watching.
    pub fn new(thread: Option<&'static str>, fails: Option<(usize, Fault)>) -> Arc<Self> {
        Arc::new(Self { thread, state: Mutex::new(FaultyState { fails, ..FaultyState::default() }) })
    }

    /// Begins to count.
    pub fn arm(&self) {
        self.state.lock().unwrap().armed = true;
    }

    /// What was done since.
    pub fn seen(&self) -> Vec<Step> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Watch for Faulty {
    fn watch(&self, operation: Operation<'_>) -> Verdict {
        let thread = std::thread::current();
        let ours = match self.thread {
            Some(name) => thread.name() == Some(name),
            None => !thread.name().is_some_and(|name| name.starts_with("mregd-")),
        };
        let mut state = self.state.lock().unwrap();
        if !state.armed || !ours {
            return Verdict::Do;
        }
        state.seen.push(step(&operation));
        let (at, fault) = match state.fails {
            Some((at, fault)) if at + 1 == state.seen.len() => (at, fault),
            Some(_) | None => return Verdict::Do,
        };
        debug_assert!(at < state.seen.len());
        match (fault, operation) {
            (Fault::Nothing(errno), _) => Verdict::Fail(errno.into()),
            (Fault::Done(errno), _) => Verdict::DoAndFail(errno.into()),
            (Fault::Half(errno), Operation::Write(_, _, octets)) => Verdict::Cut(octets.len() / 2, errno.into()),
            (Fault::Half(errno), _) => Verdict::Fail(errno.into()),
        }
    }
}

/// Something that was done to a file or a directory.
#[derive(Debug, Clone)]
enum Done {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
}

impl Done {
    fn makes_room(&self) -> bool {
        matches!(self, Self::Write(_, _, octets) if octets.iter().all(|octet| *octet == 0))
    }
}

/// How much of what a power cut may leave is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Thoroughness {
    /// So many of the newest unsynced writes arrive alone.
    pub singles: usize,
    /// In so many places the last write is torn.
    pub tears: usize,
    /// Writes of nothing but zeros, which make room, are treated like others. Else, after one of them, only all or nothing
    /// arrived.
    pub zeros: bool,
}

/// Writes down what is done to a disk.
#[derive(Default)]
pub struct Recording {
    done: Mutex<Vec<Done>>,
}

impl Recording {
    /// How much was done so far: a point at which the power may be cut.
    pub fn len(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every directory's worth of files that a power cut may leave, point by point, without doubles. `visit` gets the number
    /// of operations that were begun before the cut, a word about what became of them, and the files.
    ///
    /// What was synced is there. Of the rest, per point: nothing; everything; everything but the names; everything with
    /// zeros for octets (only the sizes arrived); everything but the last write, and of it runs of 512-octet sectors from
    /// its beginning or to its end; and single writes alone.
    pub fn power_cuts(&self, thorough: Thoroughness, visit: &mut dyn FnMut(usize, &str, Files)) {
        let done = self.done.lock().unwrap().clone();
        let mut seen = std::collections::HashSet::new();
        let mut state = Simulated::default();
        for at in 0..=done.len() {
            if let Some(done) = at.checked_sub(1).map(|last| &done[last]) {
                state.perform(done);
            }
            let mut offer = |how: &str, files: Files| {
                if seen.insert(files.fingerprint()) {
                    visit(at, how, files);
                }
            };
            let all = state.pending.len();
            offer("nothing unsynced arrived", state.after_cut(&|_| Arrival::No, false));
            offer("everything arrived", state.after_cut(&|_| Arrival::Yes, true));
            if !thorough.zeros && at.checked_sub(1).is_some_and(|last| done[last].makes_room()) {
                continue;
            }
            offer("the names were lost", state.after_cut(&|_| Arrival::Yes, false));
            offer("only names and sizes arrived", state.after_cut(&|_| Arrival::Zeros, true));
            for single in all.saturating_sub(thorough.singles)..all {
                let only = |n| if n == single { Arrival::Yes } else { Arrival::No };
                offer(&format!("of the writes only the {single}. arrived"), state.after_cut(&only, true));
            }
            if let Some(last) = all.checked_sub(1) {
                let sectors = state.pending[last].sectors();
                for cut in (0..sectors).step_by(sectors.div_ceil(thorough.tears).max(1)) {
                    for head in [true, false] {
                        let torn = |n| if n == last { Arrival::Sectors { cut, head } } else { Arrival::Yes };
                        offer(
                            &format!("the last write was torn at sector {cut} of {sectors}, head {head}"),
                            state.after_cut(&torn, true),
                        );
                    }
                }
            }
        }
    }
}

impl Watch for Recording {
    fn watch(&self, operation: Operation<'_>) -> Verdict {
        let done = match operation {
            Operation::Create(path) => Done::Create(path.to_owned()),
            Operation::Write(path, at, octets) => Done::Write(path.to_owned(), at, octets.to_vec()),
            Operation::SetLen(path, octets) => Done::SetLen(path.to_owned(), octets),
            Operation::SyncData(path) | Operation::SyncAll(path) => Done::Sync(path.to_owned()),
            Operation::Rename(from, to) => Done::Rename(from.to_owned(), to.to_owned()),
            Operation::Remove(path) => Done::Remove(path.to_owned()),
            Operation::SyncDir(path) => Done::SyncDir(path.to_owned()),
            // The reserve's octets and the view's room mean nothing.
            Operation::Allocate(..) => return Verdict::Do,
            Operation::Open(_)
            | Operation::Read(..)
            | Operation::Stat(_)
            | Operation::List(_)
            | Operation::Apply(_) => {
                return Verdict::Do;
            }
        };
        self.done.lock().unwrap().push(done);
        Verdict::Do
    }
}

/// The files that are left.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    /// Lays them out below `to`, as they lay below `from`. Runs of zeros become holes.
    pub fn lay_out(&self, from: &Path, to: &Path) -> io::Result<()> {
        for (path, octets) in &self.0 {
            let path = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
            fs::create_dir_all(path.parent().unwrap_or(to))?;
            let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.set_len(octets.len() as u64)?;
            for (at, chunk) in (0..).step_by(4096).zip(octets.chunks(4096)) {
                if chunk.iter().any(|octet| *octet != 0) {
                    file.write_all_at(chunk, at)?;
                }
            }
        }
        Ok(())
    }
}

/// What becomes of a write whose file was not synced after it.
enum Arrival {
    No,
    Yes,
    Zeros,
    Sectors { cut: usize, head: bool },
}

/// An unsynced change of a file.
struct Pending {
    inode: usize,
    at: u64,
    /// None: the length is set to `at`.
    octets: Option<Vec<u8>>,
}

impl Pending {
    const SECTOR: u64 = 512;

    /// Sectors that it touches.
    fn sectors(&self) -> usize {
        let Some(octets) = &self.octets else { return 0 };
        let end = self.at + octets.len() as u64;
        usize::try_from(end.div_ceil(Self::SECTOR) - self.at / Self::SECTOR).unwrap()
    }

    fn apply(&self, content: &mut Vec<u8>, arrival: &Arrival) {
        let Some(octets) = &self.octets else {
            if !matches!(arrival, Arrival::No) {
                content.resize(usize::try_from(self.at).unwrap(), 0);
            }
            return;
        };
        let begin = usize::try_from(self.at).unwrap();
        // The octets of the write that lie behind so many sectors' ends.
        let boundary = |cut: usize| {
            let end = (self.at / Self::SECTOR + cut as u64) * Self::SECTOR;
            usize::try_from(end.saturating_sub(self.at)).unwrap().min(octets.len())
        };
        let (from, to) = match arrival {
            Arrival::No => return,
            Arrival::Yes | Arrival::Zeros => (0, octets.len()),
            Arrival::Sectors { cut, head: true } => (0, boundary(*cut)),
            Arrival::Sectors { cut, head: false } => (boundary(*cut), octets.len()),
        };
        if content.len() < begin + to {
            content.resize(begin + to, 0);
        }
        let place = &mut content[begin + from..begin + to];
        if matches!(arrival, Arrival::Zeros) {
            place.fill(0);
        } else {
            place.copy_from_slice(&octets[from..to]);
        }
    }
}

/// A file system as POSIX allows it to be: a file's octets are safe after its sync, a name after its directory's.
#[derive(Default)]
struct Simulated {
    /// Octets on the disk, by file.
    safe: Vec<Vec<u8>>,
    pending: Vec<Pending>,
    safe_names: BTreeMap<PathBuf, usize>,
    names: BTreeMap<PathBuf, usize>,
}

impl Simulated {
    fn perform(&mut self, done: &Done) {
        match done {
            Done::Create(path) => {
                self.names.insert(path.clone(), self.safe.len());
                self.safe.push(Vec::new());
            }
            Done::Write(path, at, octets) => {
                let inode = self.names[path];
                self.pending.push(Pending { inode, at: *at, octets: Some(octets.clone()) });
            }
            Done::SetLen(path, octets) => {
                let inode = self.names[path];
                self.pending.push(Pending { inode, at: *octets, octets: None });
            }
            Done::Sync(path) => {
                // The view's files are not known here.
                let Some(&inode) = self.names.get(path) else { return };
                for pending in self.pending.extract_if(.., |pending| pending.inode == inode) {
                    pending.apply(&mut self.safe[inode], &Arrival::Yes);
                }
            }
            Done::Rename(from, to) => {
                let inode = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), inode);
            }
            Done::Remove(path) => {
                self.names.remove(path);
            }
            Done::SyncDir(dir) => {
                let within = |path: &Path| path.parent() == Some(dir);
                self.safe_names.retain(|path, _| !within(path));
                let live = self.names.iter().filter(|(path, _)| within(path));
                self.safe_names.extend(live.map(|(path, inode)| (path.clone(), *inode)));
            }
        }
    }

    fn after_cut(&self, arrival: &dyn Fn(usize) -> Arrival, names: bool) -> Files {
        let mut content: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (n, pending) in self.pending.iter().enumerate() {
            let octets = content.entry(pending.inode).or_insert_with(|| self.safe[pending.inode].clone());
            pending.apply(octets, &arrival(n));
        }
        let names = if names { &self.names } else { &self.safe_names };
        let octets = |inode: &usize| content.get(inode).unwrap_or(&self.safe[*inode]).clone();
        Files(names.iter().map(|(path, inode)| (path.clone(), octets(inode))).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::Path;

    use ::daemon::durable::{Operation, Watch as _};

    use super::{Recording, Thoroughness};

    /// The simulated power cut knows what a sync keeps: octets after the file's, names after the directory's.
    #[test]
    fn what_a_power_cut_leaves() {
        let recording = Recording::default();
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        recording.watch(Operation::Create(path));
        recording.watch(Operation::Write(path, 0, &[7; 1024]));
        recording.watch(Operation::SyncData(path));
        recording.watch(Operation::SyncDir(dir));
        recording.watch(Operation::Write(path, 512, &[8; 1024]));
        let mut left: Vec<(usize, Vec<u8>)> = Vec::new();
        let thorough = Thoroughness { singles: 1, tears: 8, zeros: true };
        recording.power_cuts(thorough, &mut |at, _how, files| {
            left.push((at, files.0.get(path).cloned().unwrap_or_default()));
        });
        let has = |at: usize, octets: &[&[u8]]| assert!(left.contains(&(at, octets.concat())), "{at} {octets:?}");
        has(0, &[]);
        has(1, &[]);
        has(2, &[&[7; 1024]]);
        has(2, &[&[0; 1024]]);
        has(2, &[&[7; 512]]);
        has(2, &[&[0; 512], &[7; 512]]);
        has(5, &[&[7; 512], &[8; 1024]]);
        has(5, &[&[7; 512], &[8; 512]]);
        has(5, &[&[7; 1024], &[8; 512]]);
        has(5, &[&[7; 512], &[0; 1024]]);
        assert!(
            left.iter().filter(|(at, _)| *at >= 4).all(|(_, octets)| octets.starts_with(&[7; 512])),
            "it was synced"
        );
    }
}
