//! A check of the whole log, or of a range of it, at one fixed checkpoint. The whole is checked by `common::audit::verify`,
//! as `mregd log verify` does it; a range by its tiles, up to the signed root. Who asked for it, and what becomes of what was
//! found, is not known here.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::RandomState;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::audit::verify::{
    Asked as Given, EntryCheck, EntryFacts, Fault, FaultKind, Served, Spill, TreeCheck, origin_fault,
};
use common::audit::{BundlePath, Checkpoint, Hash, TilePath, Verifier, leaf_hash, read_bundle};
use common::client::{Answer, Client, ClientError};
use common::problem::Problem;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::trust::{Anchor, BreachKind, Checked, Judged, Tiles, edge_paths};
use crate::worker::files;

/// Resources that are fetched ahead.
const AHEAD: usize = 8;
/// How often an address is asked before it counts as out of reach.
const TRIES: u32 = 3;
/// The wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait that an answer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Faults that are told; more are counted.
const FAULTS_TOLD: usize = 100;
/// Faults before the rest is not read.
const FAULTS_MAX: u64 = 10_000;
/// Bundles between two writings of how far it is.
const KEEP_EVERY: u64 = 64;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The first entry.
    pub(crate) from: Option<u64>,
    /// One behind the last.
    pub(crate) to: Option<u64>,
    /// Go on where the last run was interrupted.
    pub(crate) resume: bool,
    /// The log's keys.
    pub(crate) keys: Vec<Verifier>,
    /// Where progress is kept.
    pub(crate) folder: Option<PathBuf>,
    /// What is pinned of the log: the whole must begin with it.
    pub(crate) saved: Option<Checkpoint>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    /// The network, or the daemon.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was asked for can't be.
    #[error("{0}")]
    Usage(String),
    /// There is nothing to check against.
    #[error("{0}")]
    NotVerified(String),
}

/// How far a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Progress {
    note: String,
    begin: u64,
    next: u64,
    end: u64,
    faults: Vec<String>,
    faults_total: u64,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// No fault.
    pub(crate) ok: bool,
    /// The log's name.
    pub(crate) origin: String,
    /// The size of the checkpoint it was checked at.
    pub(crate) size: u64,
    /// The root of that.
    pub(crate) root: String,
    /// The first entry that was looked at.
    pub(crate) from: u64,
    /// One behind the last.
    pub(crate) to: u64,
    /// Entries read.
    pub(crate) entries: u64,
    /// Tiles compared.
    pub(crate) tiles: u64,
    /// What must be said besides.
    pub(crate) notes: Vec<String>,
    /// What is wrong, as far as it is told.
    pub(crate) faults: Vec<Fault>,
    /// What was wrong in the part before this run.
    pub(crate) faults_before: Vec<String>,
    /// How much is wrong in all.
    pub(crate) faults_total: u64,
}

impl Report {
    fn add(&mut self, fault: Fault) {
        self.faults_total += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(fault);
        }
    }
}

impl From<Report> for Checked {
    /// What is kept of it; when it ended is for others to say.
    fn from(report: Report) -> Self {
        let breach = |fault: &Fault| {
            let kind = match fault.kind {
                FaultKind::Missing => BreachKind::Withheld,
                FaultKind::Tile | FaultKind::Root => BreachKind::Tile,
                FaultKind::Checkpoint => BreachKind::Signature,
                FaultKind::Origin => BreachKind::Origin,
                FaultKind::Saved => BreachKind::Fork,
                FaultKind::Receipt => BreachKind::Receipt,
                _ => BreachKind::Entry,
            };
            (kind, fault.to_string(), fault.entry)
        };
        Self {
            from: report.from,
            to: report.to,
            size: report.size,
            root: report.root,
            at: 0,
            faults: report.faults_total,
            first_fault: report.faults.first().map(breach),
        }
    }
}

// ---- fetching: the check has a thread of its own, the client lives in the runtime ------------------------------------

/// Why there is nothing.
enum Lost {
    Missing(String),
    Failed(ClientError),
}

type Got = Result<Vec<u8>, Lost>;
type Order = (String, std::sync::mpsc::Sender<Got>);

struct Source {
    orders: UnboundedSender<Order>,
    failed: Option<ClientError>,
}

impl Source {
    fn order(&self, resource: &str) -> Receiver<Got> {
        let (reply, got) = channel();
        // Without anybody there the receiver says so.
        drop(self.orders.send((resource.to_owned(), reply)));
        got
    }

    fn get(&self, resource: &str) -> Got {
        receive(&self.order(resource))
    }
}

fn receive(got: &Receiver<Got>) -> Got {
    let gone = || Lost::Failed(ClientError::Protocol("the requests have ended".to_owned()));
    got.recv().unwrap_or_else(|_gone| Err(gone()))
}

impl Served for Source {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, String> {
        self.get(&path.to_string()).map_err(|lost| match lost {
            Lost::Missing(why) => why,
            Lost::Failed(error) => {
                let why = error.to_string();
                self.failed = Some(error);
                why
            }
        })
    }
}

async fn fetch(client: &Client, resource: &str) -> Got {
    let mut tries = 1;
    let mut refreshed = false;
    loop {
        let (again, error) = match client.octets(&format!("/log/{resource}")).await {
            Ok(Answer { status, body, .. }) if status.is_success() => return Ok(body.to_vec()),
            Ok(Answer { status, retry_after_seconds, body }) => {
                let error = match serde_json::from_slice::<Problem>(&body) {
                    Ok(problem) => ClientError::Problem { problem: Box::new(problem), retry_after_seconds },
                    Err(_other) => ClientError::Protocol(format!("status {status} to /log/{resource}")),
                };
                match status.as_u16() {
                    404 | 410 => return Err(Lost::Missing(error.to_string())),
                    401 if !refreshed => {
                        refreshed = true;
                        match client.refresh().await {
                            Ok(_) => continue,
                            Err(error) => return Err(Lost::Failed(error)),
                        }
                    }
                    429 | 500.. => (retry_after_seconds, error),
                    _ => return Err(Lost::Failed(error)),
                }
            }
            Err(error) => (None, error),
        };
        if tries >= TRIES {
            return Err(Lost::Failed(error));
        }
        let asked = Duration::from_secs(again.unwrap_or(0)).min(RETRY_AFTER_MAX);
        tokio::time::sleep(asked.max(PAUSE * tries)).await;
        tries += 1;
    }
}

/// Serves orders until nobody gives any, several at once.
async fn serve(client: &Client, mut orders: UnboundedReceiver<Order>) {
    let mut running = Vec::new();
    loop {
        tokio::select! {
            order = orders.recv(), if running.len() < AHEAD => match order {
                Some((resource, reply)) => running.push(Box::pin(async move {
                    drop(reply.send(fetch(client, &resource).await));
                })),
                None if running.is_empty() => return,
                None => {
                    for one in running.drain(..) {
                        one.await;
                    }
                    return;
                }
            },
            () = any(&mut running) => {}
        }
    }
}

/// Waits until one of them is done, and takes it out.
async fn any<F: Future<Output = ()> + Unpin>(running: &mut Vec<F>) {
    std::future::poll_fn(|context| {
        for at in 0..running.len() {
            if std::pin::Pin::new(&mut running[at]).poll(context).is_ready() {
                drop(running.swap_remove(at));
                return std::task::Poll::Ready(());
            }
        }
        std::task::Poll::Pending
    })
    .await;
}

// ---- the run --------------------------------------------------------------------------------------------------------

/// Checks. `progress` is told how many entries are done, and of how many. Dropped, it ends soon.
///
/// # Errors
/// [`Failed`]: nothing can be said then.
pub(crate) async fn check(
    client: &Client,
    asked: Asked,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Report, Failed> {
    let (orders, inbox) = unbounded_channel();
    let source = Source { orders, failed: None };
    let thread = std::thread::spawn(move || Run { source, asked, progress }.run());
    serve(client, inbox).await;
    thread.join().map_err(|_panic| Failed::Usage("the check itself failed".to_owned()))?
}

struct Run<P> {
    source: Source,
    asked: Asked,
    progress: P,
}

impl<P: FnMut(u64, u64)> Run<P> {
    fn run(mut self) -> Result<Report, Failed> {
        let resumed = if self.asked.resume { self.read_progress()? } else { None };
        let note = match &resumed {
            Some(progress) => progress.note.clone().into_bytes(),
            None => match self.source.get("checkpoint") {
                Ok(note) => note,
                Err(Lost::Missing(why)) => {
                    return Err(Failed::NotVerified(format!("the log has no checkpoint: {why}")));
                }
                Err(Lost::Failed(error)) => return Err(error.into()),
            },
        };
        let mut report = Report::default();
        let checkpoint = match Checkpoint::open(&note, &self.asked.keys) {
            Ok(signed) => signed.checkpoint,
            Err(error) => {
                report.add(Fault::new(FaultKind::Checkpoint, "checkpoint", error));
                return Ok(report);
            }
        };
        let size = checkpoint.size;
        (report.origin, report.size, report.root) = (checkpoint.origin.clone(), size, checkpoint.root.to_string());
        let begin = resumed.as_ref().map_or(self.asked.from.unwrap_or(0), |progress| progress.next);
        let end = resumed.as_ref().map_or(self.asked.to.unwrap_or(size), |progress| progress.end);
        if begin > end || end > size {
            return Err(Failed::Usage(format!("the log has {size} entries: {begin} to {end} is no part of it")));
        }
        (report.from, report.to) = (begin, end);
        let is_whole = begin == 0 && end == size && resumed.is_none();
        if let Some(progress) = &resumed {
            report.faults_before.clone_from(&progress.faults);
            report.faults_total = progress.faults_total;
            report.from = progress.begin;
            report.notes.push(format!(
                "taken up again at entry {begin}: that no identifier or salt is there twice was not checked"
            ));
        }
        if is_whole && !self.asked.resume {
            self.whole(&checkpoint, &mut report)?;
        } else {
            let note = String::from_utf8_lossy(&note).into_owned();
            self.range(&checkpoint, &note, begin..end, &mut report)?;
        }
        report.ok = report.faults_total == 0;
        Ok(report)
    }

    /// Everything, as whoever runs the daemon checks it.
    fn whole(&mut self, checkpoint: &Checkpoint, report: &mut Report) -> Result<(), Failed> {
        let size = checkpoint.size;
        let saved = self.asked.saved.clone().filter(|saved| (1..=size).contains(&saved.size));
        let mut tree = TreeCheck::new(size, saved.iter().map(|saved| saved.size), []);
        let mut entries = EntryCheck::new(size, &checkpoint.origin, [RandomState::new(), RandomState::new()]);
        let mut scratch = Scratch::new()?;
        let mut ahead: VecDeque<(Receiver<Got>, Receiver<Got>)> = VecDeque::new();
        let mut orders = BundlePath::all_of(size);
        while let Some(path) = tree.due() {
            while ahead.len() < AHEAD / 2
                && let Some(next) = orders.next()
            {
                let tile =
                    TilePath::new(0, next.number(), next.width()).map(|tile| tile.to_string()).unwrap_or_default();
                ahead.push_back((self.source.order(&next.to_string()), self.source.order(&tile)));
            }
            let Some((bundle, tile)) = ahead.pop_front() else { break };
            let (bundle, tile) = (had(&bundle)?, had(&tile)?);
            let octets = bundle.as_ref().ok().map(Vec::as_slice);
            entries.bundle(path, octets, &mut scratch, &mut |fault| report.add(fault))?;
            let given = match &bundle {
                Ok(octets) => Given::Octets(octets),
                Err(why) => Given::Missing(why),
            };
            let tile = tile.as_deref().map_err(String::as_str);
            tree.bundle(given, tile, &mut self.source, &mut |fault| report.add(fault));
            if let Some(error) = self.source.failed.take() {
                return Err(error.into());
            }
            if report.faults_total > FAULTS_MAX {
                report.notes.push(format!("more than {FAULTS_MAX} faults: the rest was not read"));
                return Ok(());
            }
            (self.progress)(path.leaves().end, size);
        }
        let tree = tree.finish(&checkpoint.root, &mut self.source, &mut |fault| report.add(fault));
        if let Some(error) = self.source.failed.take() {
            return Err(error.into());
        }
        if let Some(saved) = saved
            && tree.roots.get(&saved.size).is_some_and(|root| root.is_some_and(|root| root != saved.root))
        {
            let what = format!("the log of {size} entries does not begin with the {} that were pinned", saved.size);
            report.add(Fault::new(FaultKind::Saved, "checkpoint", what));
        }
        let facts: EntryFacts = entries.finish(tree.leaves_agree, &mut scratch, &mut |fault| report.add(fault))?;
        if let Some(fault) = origin_fault(checkpoint, &facts) {
            report.add(fault);
        }
        (report.entries, report.tiles) = (facts.entries, tree.tiles);
        Ok(())
    }

    /// A part, by the tiles above it.
    fn range(
        &mut self,
        checkpoint: &Checkpoint,
        note: &str,
        range: Range<u64>,
        report: &mut Report,
    ) -> Result<(), Failed> {
        let size = checkpoint.size;
        let mut edge = Vec::new();
        for path in edge_paths(size) {
            match self.source.get(&path.to_string()) {
                Ok(octets) => edge.push((path, octets)),
                Err(Lost::Missing(why)) => {
                    report.add(Fault::new(FaultKind::Missing, path, why));
                    return Ok(());
                }
                Err(Lost::Failed(error)) => return Err(error.into()),
            }
        }
        report.tiles += edge.len() as u64;
        let mut tiles = Tiles::default();
        match Anchor::new(size, &checkpoint.root, &edge) {
            Ok(anchor) => tiles.set_anchor(anchor),
            Err(why) => {
                report.add(Fault::new(FaultKind::Root, "checkpoint", why));
                return Ok(());
            }
        }
        let numbers = range.start / 256..range.end.div_ceil(256);
        let paths: Vec<BundlePath> = numbers
            .filter_map(|number| {
                let width = BundlePath::new(number, 256).ok()?.width_in(size)?;
                BundlePath::new(number, width).ok()
            })
            .collect();
        let mut ahead: VecDeque<Receiver<Got>> = VecDeque::new();
        let mut orders = paths.iter();
        for (count, path) in (1..).zip(&paths) {
            while ahead.len() < AHEAD
                && let Some(next) = orders.next()
            {
                ahead.push_back(self.source.order(&next.to_string()));
            }
            let Some(bundle) = ahead.pop_front() else { break };
            match had(&bundle)? {
                Ok(octets) => self.bundle(*path, &octets, &range, &mut tiles, report)?,
                Err(why) => report.add(Fault::new(FaultKind::Missing, path, why)),
            }
            (self.progress)(path.leaves().end.min(range.end).saturating_sub(range.start), range.end - range.start);
            if count % KEEP_EVERY == 0 {
                self.keep_progress(note, &range, path.leaves().end.min(range.end), report)?;
            }
        }
        self.drop_progress();
        Ok(())
    }

    fn bundle(
        &mut self,
        path: BundlePath,
        octets: &[u8],
        range: &Range<u64>,
        tiles: &mut Tiles,
        report: &mut Report,
    ) -> Result<(), Failed> {
        let leaves = match read_bundle(octets, path.width()) {
            Ok(leaves) => leaves,
            Err(error) => {
                report.add(Fault::new(FaultKind::Length, path, error));
                return Ok(());
            }
        };
        for (index, leaf) in path.leaves().zip(leaves).filter(|(index, _)| range.contains(index)) {
            report.entries += 1;
            match common::audit::verify::glance(leaf) {
                Ok(glance) if glance.seq == index => {}
                Ok(glance) => report.add(
                    Fault::new(FaultKind::Order, path, format_args!("it says that it is entry {}", glance.seq))
                        .of_entry(index),
                ),
                Err(error) => report.add(Fault::new(FaultKind::Entry, path, error).of_entry(index)),
            }
            let hash = leaf_hash(leaf);
            if let Some(fault) = self.judge(index, &hash, path, tiles, report)? {
                report.add(fault);
                if tiles_failed(report) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn judge(
        &mut self,
        index: u64,
        hash: &Hash,
        path: BundlePath,
        tiles: &mut Tiles,
        report: &mut Report,
    ) -> Result<Option<Fault>, Failed> {
        for _ in 0..3 {
            match tiles.judge(index, hash, 0) {
                Judged::Verified => return Ok(None),
                Judged::Wrong(_) => {
                    let detail =
                        format!("its hash is not the one in tile/0/{}, which the tree above confirms", index / 256);
                    return Ok(Some(Fault::new(FaultKind::Leaf, path, detail).of_entry(index)));
                }
                Judged::Needs(paths) => {
                    let mut got = Vec::new();
                    for path in paths {
                        match self.source.get(&path.to_string()) {
                            Ok(octets) => got.push((path, octets)),
                            Err(Lost::Missing(why)) => return Ok(Some(Fault::new(FaultKind::Missing, path, why))),
                            Err(Lost::Failed(error)) => return Err(error.into()),
                        }
                    }
                    report.tiles += got.len() as u64;
                    if let Err(why) = tiles.take(&got) {
                        return Ok(Some(Fault::new(FaultKind::Tile, path, why).of_entry(index)));
                    }
                }
                Judged::Beyond(_) | Judged::Unknown => break,
            }
        }
        Ok(Some(Fault::new(FaultKind::Tile, path, "the tiles do not lead to the signed root").of_entry(index)))
    }

    // ---- how far it is ----------------------------------------------------------------------------------------------

    fn progress_path(&self) -> Option<PathBuf> {
        let folder = self.asked.folder.as_ref().filter(|_| self.asked.resume)?;
        let key = self.asked.keys.first()?.id();
        Some(folder.join(format!("verify-{key}.json")))
    }

    fn read_progress(&self) -> Result<Option<Progress>, Failed> {
        let Some(path) = self.progress_path() else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Failed::Usage(format!("{} is damaged: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn keep_progress(&self, note: &str, range: &Range<u64>, next: u64, report: &Report) -> Result<(), Failed> {
        let Some(path) = self.progress_path() else { return Ok(()) };
        let mut faults = report.faults_before.clone();
        faults.extend(report.faults.iter().map(ToString::to_string));
        faults.truncate(FAULTS_TOLD);
        let progress = Progress {
            note: note.to_owned(),
            begin: report.from.min(range.start),
            next,
            end: range.end,
            faults,
            faults_total: report.faults_total,
        };
        files::replace(&path, &serde_json::to_string(&progress).unwrap_or_default())?;
        Ok(())
    }

    fn drop_progress(&self) {
        if let Some(path) = self.progress_path() {
            drop(std::fs::remove_file(path));
        }
    }
}

/// After a tile that is not the tree's nothing below it can be judged: one fault says so.
fn tiles_failed(report: &Report) -> bool {
    report.faults.last().is_some_and(|fault| matches!(fault.kind, FaultKind::Tile | FaultKind::Missing))
}

/// What came; a failure of the network ends the run.
fn had(got: &Receiver<Got>) -> Result<Result<Vec<u8>, String>, Failed> {
    match receive(got) {
        Ok(octets) => Ok(Ok(octets)),
        Err(Lost::Missing(why)) => Ok(Err(why)),
        Err(Lost::Failed(error)) => Err(error.into()),
    }
}

/// A file without a name: it is gone when the process is.
struct Scratch {
    file: File,
    end: u64,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        // Not /tmp, which is often memory.
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let file = rustix::fs::open("/var/tmp", flags, mode).or_else(|_none| rustix::fs::open("/tmp", flags, mode))?;
        Ok(Self { file: File::from(file), end: 0 })
    }
}

impl Spill for Scratch {
    type Error = io::Error;

    fn append(&mut self, octets: &[u8]) -> io::Result<u64> {
        self.file.write_all_at(octets, self.end)?;
        let at = self.end;
        self.end += octets.len() as u64;
        Ok(at)
    }

    fn read(&mut self, at: u64, octets: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(octets, at)
    }
}
