//! A whole log read once, at one checkpoint: fetched ahead, hashed on one thread, its entries read on another, in constant
//! memory. Knows threads and the progress bar; what must hold is `common::audit::verify`'s.

use std::fs::File;
use std::hash::RandomState;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use common::audit::verify::{Asked, EntryCheck, EntryFacts, Served, Spill, TreeCheck, TreeFacts, edge_root};
use common::audit::{BundlePath, Checkpoint, TilePath};

use super::faults::Faults;
use super::source::{Lost, Source};
use crate::cli::Exit;
use crate::commands::Failed;

/// Bundles that a lane fetches ahead.
const AHEAD: usize = 4;

/// Faults of any kind before the rest is not asked for: a size is quickly signed, and need not be true.
const FAULTS_MAX: u64 = 10_000;

/// The pause between two pictures of the progress bar.
const PICTURE: Duration = Duration::from_millis(250);

/// Why there is no log of the signed size, if the tiles on its right edge do not have the signed root. These are few at any
/// size, and a size is quickly signed: without them there is nothing to be read or written.
pub(super) fn edge(source: &dyn Source, checkpoint: &Checkpoint) -> Result<Option<String>, Failed> {
    let mut served = Above { source, failed: None };
    let root = edge_root(checkpoint.size, &mut served);
    if let Some(failed) = served.failed {
        return Err(failed);
    }
    Ok(match root {
        Ok(root) if root == checkpoint.root => None,
        Ok(root) => Some(format!("the tiles on the right edge have the root {root}, signed is {}", checkpoint.root)),
        Err(fault) => Some(format!("the tiles on the right edge do not have the signed root: {fault}")),
    })
}

/// What is to be read, and to be known afterwards.
pub(super) struct Reading<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) checkpoint: &'a Checkpoint,
    /// Whether bundles are fetched.
    pub(super) bundles: bool,
    /// Where what is remembered of every entry is kept; without it the entries are hashed and not read.
    pub(super) scratch: Option<&'a Path>,
    pub(super) roots: Vec<u64>,
    pub(super) leaves: Vec<u64>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Known {
    pub(super) tree: TreeFacts,
    pub(super) entries: EntryFacts,
}

/// A bundle and the tile of its leaf hashes.
struct Fetched {
    bundle: Option<Result<Arc<Vec<u8>>, String>>,
    tile: Result<Vec<u8>, String>,
}

/// A bundle on its way to the reader of entries.
type Passed = (BundlePath, Option<Arc<Vec<u8>>>);

impl Reading<'_> {
    /// Reads it all.
    ///
    /// # Errors
    /// Where the source or the scratch space failed: nothing is then known of the log.
    pub(super) fn read(self, faults: &Faults) -> Result<Known, Failed> {
        let (size, origin) = (self.checkpoint.size, self.checkpoint.origin.as_str());
        let mut spill = self.scratch.map(Scratch::in_dir).transpose()?;
        let mut tree = TreeCheck::new(size, self.roots.iter().copied(), self.leaves.iter().copied());
        std::thread::scope(|scope| {
            let lanes = self.source.lanes().max(1);
            let fetched: Vec<Receiver<Result<Fetched, Failed>>> = (0..lanes)
                .map(|lane| {
                    let (send, receive) = sync_channel(AHEAD);
                    let (source, bundles) = (self.source, self.bundles);
                    scope.spawn(move || fetch(source, size, bundles, lane, lanes, &send));
                    receive
                })
                .collect();
            let (pass, passed) = sync_channel::<Passed>(2 * AHEAD);
            let reader = spill.as_mut().map(|spill| {
                scope.spawn(move || {
                    let mut check = EntryCheck::new(size, origin, [RandomState::new(), RandomState::new()]);
                    for (path, octets) in passed {
                        let octets = octets.as_ref().map(|octets| octets.as_slice());
                        check.bundle(path, octets, spill, &mut |fault| faults.add(fault))?;
                    }
                    Ok::<_, io::Error>((check, spill))
                })
            });

            let mut progress = Progress::new(size);
            let mut served = Above { source: self.source, failed: None };
            let mut report = |fault| faults.add(fault);
            let mut lane = fetched.iter().cycle();
            while let Some(path) = tree.due() {
                let next = lane.next().and_then(|lane| lane.recv().ok());
                let Fetched { bundle, tile } =
                    next.unwrap_or_else(|| Err(Failed::new(Exit::Internal, "a thread that fetches ended early")))?;
                if reader.is_some() {
                    let octets = bundle.as_ref().and_then(|bundle| bundle.as_ref().ok().cloned());
                    if pass.send((path, octets)).is_err() {
                        // The reader ended early: what failed it is told below.
                        break;
                    }
                }
                if let Some(first) = faults.first_of_more_than(FAULTS_MAX) {
                    let message = format!(
                        "more than {FAULTS_MAX} faults up to {path}: this is not the log, and the rest was not read; the \
                         first: {first}"
                    );
                    return Err(Failed::new(Exit::Data, message));
                }
                let asked = match &bundle {
                    None => Asked::No,
                    Some(Ok(octets)) => Asked::Octets(octets),
                    Some(Err(why)) => Asked::Missing(why),
                };
                tree.bundle(asked, tile.as_deref().map_err(String::as_str), &mut served, &mut report);
                let octets = bundle.as_ref().and_then(|bundle| bundle.as_ref().ok()).map_or(0, |octets| octets.len());
                progress.step(path, octets);
                if let Some(failed) = served.failed.take() {
                    return Err(failed);
                }
            }
            drop(pass);
            let read = reader
                .map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .transpose()
                .map_err(scratch_failed)?;
            let tree = tree.finish(&self.checkpoint.root, &mut served, &mut report);
            if let Some(failed) = served.failed {
                return Err(failed);
            }
            let entries = match read {
                None => EntryFacts::default(),
                Some((check, spill)) => check.finish(tree.leaves_agree, spill, &mut report).map_err(scratch_failed)?,
            };
            progress.end();
            Ok(Known { tree, entries })
        })
    }
}

/// Fetches every bundle of a lane, and its tile.
fn fetch(
    source: &dyn Source,
    size: u64,
    bundles: bool,
    lane: usize,
    lanes: usize,
    send: &SyncSender<Result<Fetched, Failed>>,
) {
    let had = |resource: String| match source.get(&resource) {
        Ok(octets) => Ok(Ok(octets)),
        Err(Lost::Missing(why)) => Ok(Err(why)),
        Err(Lost::Failed(failed)) => Err(failed),
    };
    for path in BundlePath::all_of(size).skip(lane).step_by(lanes) {
        let one = || {
            let bundle = if bundles { Some(had(path.to_string())?.map(Arc::new)) } else { None };
            let tile = match TilePath::new(0, path.number(), path.width()) {
                Ok(tile) => had(tile.to_string())?,
                Err(error) => Err(error.to_string()),
            };
            Ok(Fetched { bundle, tile })
        };
        let fetched = one();
        let failed = fetched.is_err();
        // Nobody waits for more: another lane failed.
        if send.send(fetched).is_err() || failed {
            return;
        }
    }
}

/// The tiles above the lowest level.
struct Above<'a> {
    source: &'a dyn Source,
    failed: Option<Failed>,
}

impl Served for Above<'_> {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, String> {
        self.source.get(&path.to_string()).map_err(|lost| match lost {
            Lost::Missing(why) => why,
            Lost::Failed(failed) => {
                let why = failed.message.clone();
                self.failed = Some(failed);
                why
            }
        })
    }
}

/// A file without a name: it is gone when the process is.
struct Scratch {
    file: File,
    end: u64,
}

impl Scratch {
    fn in_dir(dir: &Path) -> Result<Self, Failed> {
        match tempfile::tempfile_in(dir) {
            Ok(file) => Ok(Self { file, end: 0 }),
            Err(error) => Err(Failed::new(
                Exit::CantCreate,
                format_args!("no temporary file in {}: {error}; --temp-dir names another place", dir.display()),
            )),
        }
    }
}

impl Spill for Scratch {
    type Error = io::Error;

    fn append(&mut self, octets: &[u8]) -> io::Result<u64> {
        self.file.write_all_at(octets, self.end)?;
        let at = self.end;
        self.end += u64::try_from(octets.len()).map_err(io::Error::other)?;
        Ok(at)
    }

    fn read(&mut self, at: u64, octets: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(octets, at)
    }
}

fn scratch_failed(error: io::Error) -> Failed {
    Failed::new(Exit::Io, format_args!("the temporary file: {error}; --temp-dir names another place"))
}

/// A line on a terminal's standard error that says how far it is; elsewhere nothing.
struct Progress {
    size: u64,
    began: Instant,
    drawn: Option<Instant>,
    octets: u64,
}

impl Progress {
    fn new(size: u64) -> Self {
        let began = Instant::now();
        Self { size, began, drawn: io::stderr().is_terminal().then_some(began), octets: 0 }
    }

    fn step(&mut self, path: BundlePath, octets: usize) {
        self.octets += u64::try_from(octets).unwrap_or(0);
        let Some(drawn) = self.drawn.filter(|drawn| drawn.elapsed() >= PICTURE) else { return };
        let (done, took) = (path.leaves().end, self.began.elapsed());
        let permille = done.saturating_mul(1000) / self.size.max(1);
        let per_s = u128::from(done) * 1000 / took.as_millis().max(1);
        let mib_per_s = u128::from(self.octets) * 1000 / took.as_millis().max(1) / (1 << 20);
        let left_s = u128::from(self.size - done.min(self.size)) / per_s.max(1);
        let line = format!(
            "\r{done} of {} entries, {}.{} %, {per_s}/s, {mib_per_s} MiB/s, {left_s} s left\x1b[K",
            self.size,
            permille / 10,
            permille % 10
        );
        // There is nobody left to tell that telling failed.
        let _ = io::stderr().lock().write_all(line.as_bytes());
        self.drawn = Some(drawn + drawn.elapsed());
    }

    fn end(&self) {
        if self.drawn.is_some() {
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}
