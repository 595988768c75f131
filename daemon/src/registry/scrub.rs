//! The scrubber: reads every blob again, on a schedule and at a pace, and what somebody suspects at once. Knows when and in
//! what order; what becomes of a finding is `damage`'s, how a blob is read `examine`'s.
//!
//! Two threads that give way and share one pace: one makes passes, in the order of the digests, the other sees to what is
//! suspected, so that nobody waits for the end of a pass. What survives a stop: that a pass was completed is an entry of the
//! log, and the next is due an interval after that one began (after the log began, where there was none). How far a pass has
//! come is in a small file, written every few seconds; where it is lost, torn or older than the last completed pass, the
//! pass begins anew.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::api::{ScrubPass, ScrubStatus};
use common::audit::{Action, Entry, Outcome as EntryOutcome, Target};
use common::digest::Digest;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::damage::{Looker, Verified};
use crate::registry::error::RegistryError;
use crate::registry::examine::{Pace, examine};
use crate::registry::settings::ScrubSettings;
use crate::registry::throttle::give_way;
use crate::registry::{Inner, Registry};
use crate::store::records::DamageKind;
use crate::store::{EntryQuery, View};
use crate::{clock, durable};

/// Blobs whose records are read at once.
const PAGE: usize = 64;
/// What a blob costs besides its octets, in octets of the pace: it has to be found and opened.
const BLOB_COST: u64 = 4096;
/// How often the position is written.
const POSITION_EVERY: Duration = Duration::from_secs(5);
/// How long it waits after something that failed, and at most before it looks at the clock again.
const PAUSE: Duration = Duration::from_secs(60);
/// Time between two readings that both must fail before versions are held back.
const APART: Duration = Duration::from_secs(600);
/// Suspects that may wait; the next pass finds what is beyond.
const SUSPECTS_MAX: usize = 1024;

/// What the scrubber's threads share with everybody else.
pub(crate) struct Scrub {
    settings: ScrubSettings,
    /// Since when the pace counts.
    began: Instant,
    pace: Mutex<Pace>,
    state: Mutex<State>,
    changed: Condvar,
    blobs: AtomicU64,
    octets: AtomicU64,
}

#[derive(Default)]
struct State {
    stopping: bool,
    suspects: BTreeSet<Digest>,
    /// What could not be read, by when it is tried again.
    again: BTreeSet<(i64, Digest)>,
    /// Blobs about which somebody records what was found.
    claimed: HashSet<Digest>,
    /// Blobs that were missing since the last that was there.
    missing_in_a_row: u32,
    /// Whether it looks as if the volume of the blobs were not there, and that was said.
    in_doubt: bool,
    /// The pass under way.
    pass: Option<Pass>,
    /// Since when, and how many octets it had read by then: for the rate.
    pass_since: Option<(Instant, u64)>,
    /// Octets read of the blob that is being read.
    of_blob: u64,
    next_pass_at_ms: Option<i64>,
}

/// A pass: how far it has come, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    began_at_ms: i64,
    /// The last blob that was read.
    after: Option<Digest>,
    pub(crate) blobs: u64,
    pub(crate) octets: u64,
    pub(crate) damaged: u64,
    pub(crate) missing: u64,
    pub(crate) unreadable: u64,
    /// Milliseconds it took, without the time in which the daemon was stopped.
    took_ms: u64,
    /// How often it went on after a stop.
    resumed: u64,
}

impl Pass {
    /// One that begins now.
    pub(crate) fn begin() -> Self {
        Self { began_at_ms: clock::now_ms(), ..Self::default() }
    }

    /// Counts a blob.
    pub(crate) fn count(&mut self, verified: &Verified) {
        match verified {
            Verified::Sound(octets) => self.octets = self.octets.saturating_add(*octets),
            Verified::Wrong { fault, octets } => {
                self.octets = self.octets.saturating_add(*octets);
                match fault.kind {
                    DamageKind::Missing => self.missing += 1,
                    DamageKind::Size | DamageKind::Content => self.damaged += 1,
                    DamageKind::Unreadable => self.unreadable += 1,
                }
            }
            Verified::Doubtful(_) | Verified::Unneeded | Verified::Stopped => return,
        }
        self.blobs += 1;
    }

    /// Counts a blob whose record can't be read.
    fn skip(&mut self, digest: Digest) {
        self.blobs += 1;
        self.unreadable += 1;
        self.after = Some(digest);
    }

    /// How long it took.
    pub(crate) fn took(&mut self, time: Duration) {
        self.took_ms = self.took_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Somebody records what was found about a blob, until this is dropped.
pub(crate) struct Claim<'s> {
    scrub: &'s Scrub,
    digest: Digest,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.scrub.state().claimed.remove(&self.digest);
    }
}

impl Scrub {
    pub(crate) fn new(settings: ScrubSettings) -> Self {
        Self {
            began: Instant::now(),
            pace: Mutex::new(Pace::new(settings.bytes_per_second)),
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
            blobs: AtomicU64::new(0),
            octets: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a blob read soon: somebody met something odd, or replaced its bytes.
    pub(crate) fn suspect(&self, digest: Digest) {
        let mut state = self.state();
        if state.suspects.len() < SUSPECTS_MAX {
            state.suspects.insert(digest);
            self.changed.notify_all();
        }
    }

    /// Has a blob read once more when a reading that fails says something.
    pub(crate) fn try_again(&self, digest: Digest) {
        let at = clock::now_ms().saturating_add(self.apart_ms());
        let mut state = self.state();
        if state.again.len() < SUSPECTS_MAX {
            state.again.insert((at, digest));
            self.changed.notify_all();
        }
    }

    /// How long after a failed reading another one counts, in milliseconds.
    pub(crate) fn apart_ms(&self) -> i64 {
        let apart = self.settings.interval.map_or(APART, |interval| interval.min(APART));
        i64::try_from(apart.as_millis()).unwrap_or(i64::MAX)
    }

    /// Claims what is to be recorded about a blob; none while somebody else has.
    pub(crate) fn claim(&self, digest: Digest) -> Option<Claim<'_>> {
        self.state().claimed.insert(digest).then(|| Claim { scrub: self, digest })
    }

    /// A blob was missing of which that was not known; how many were, in a row.
    pub(crate) fn missed_one(&self) -> u32 {
        let mut state = self.state();
        state.missing_in_a_row = state.missing_in_a_row.saturating_add(1);
        state.missing_in_a_row
    }

    /// A blob was there.
    pub(crate) fn found_one(&self) {
        let mut state = self.state();
        (state.missing_in_a_row, state.in_doubt) = (0, false);
    }

    /// It looks as if the volume of the blobs were not there; whether that is to be said.
    pub(crate) fn begin_doubt(&self) -> bool {
        !std::mem::replace(&mut self.state().in_doubt, true)
    }

    /// Ends the threads soon; a pass goes on after the next start.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    /// Whether whatever reads is to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// Waits; whether to go on.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.stopping);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    /// Counts octets that were read, and waits as long as that takes at the pace; whether to go on.
    fn paced(&self, octets: u64) -> bool {
        self.octets.fetch_add(octets, Ordering::Relaxed);
        self.spent(octets)
    }

    fn spent(&self, octets: u64) -> bool {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = pace.take(self.began.elapsed(), octets);
        drop(pace);
        self.wait(wait)
    }

    fn piece(&self) -> usize {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).piece()
    }

    /// Waits for a suspect; none: the threads are to end.
    fn next_suspect(&self) -> Option<Digest> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(digest) = state.suspects.pop_first() {
                return Some(digest);
            }
            let now_ms = clock::now_ms();
            let first = state.again.first().copied();
            if let Some(due) = first.filter(|(due_ms, _digest)| *due_ms <= now_ms) {
                state.again.remove(&due);
                return Some(due.1);
            }
            let due_ms = first.map_or(i64::MAX, |(due_ms, _digest)| due_ms);
            let time = Duration::from_millis(u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or(0)).min(PAUSE);
            let waited = self.changed.wait_timeout(state, time);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Blobs and octets that were read since the start, whoever asked for it.
    pub(crate) fn verified(&self) -> (u64, u64) {
        (self.blobs.load(Ordering::Relaxed), self.octets.load(Ordering::Relaxed))
    }

    /// Counts what a check on demand has read.
    pub(crate) fn count(&self, blobs: u64, octets: u64) {
        self.blobs.fetch_add(blobs, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
    }

    fn show(&self, pass: Option<&Pass>) {
        let mut state = self.state();
        state.of_blob = 0;
        if state.pass.is_none() {
            state.pass_since = pass.map(|pass| (Instant::now(), pass.octets));
        }
        state.pass = pass.cloned();
    }

    fn position(&self) -> Option<Pass> {
        let octets = std::fs::read(&self.settings.position).ok()?;
        serde_json::from_slice(&octets).ok()
    }

    fn save(&self, pass: &Pass) {
        let octets = serde_json::to_vec(pass).unwrap_or_default();
        if let Err(error) = durable::write_file(&self.settings.position, &octets, durable::MODE_FILE) {
            // Then a start reads again what was read already.
            let path = self.settings.position.display();
            tracing::warn!(%path, %error, "how far the scrubber has come can't be written");
        }
    }

    fn forget_position(&self) {
        if let Err(error) = durable::remove(&self.settings.position) {
            let path = self.settings.position.display();
            tracing::warn!(%path, %error, "how far the scrubber had come can't be removed");
        }
    }
}

impl Registry {
    /// Starts the scrubber. It ends with the registry.
    ///
    /// # Errors
    /// `Internal`: there are no threads to be had.
    pub fn start_scrubbing(&self) -> Result<(), RegistryError> {
        let runtime = Handle::current();
        for (name, work) in [
            ("mregd-recheck", see_to_suspects as fn(&Arc<Inner>, &Handle)),
            ("mregd-scrub", make_passes as fn(&Arc<Inner>, &Handle)),
        ] {
            let (inner, runtime, ticked) = (Arc::clone(&self.inner), runtime.clone(), self.inner.tasks.hold());
            let work = move || {
                give_way(false);
                let _entered = runtime.enter();
                work(&inner, &runtime);
                drop(ticked);
            };
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|error| RegistryError::Internal(error.into()))?;
        }
        Ok(())
    }

    /// How the scrubber is doing.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn scrub_status(&self) -> Result<ScrubStatus, RegistryError> {
        let inner = &self.inner;
        let read = inner.read(|view| Ok((view.counters()?, view.damaged()?, last_pass(view)?)));
        let (counters, damaged, last_full_pass) = read.await?;
        let scrub = &inner.scrub;
        let state = scrub.state();
        let word = match (&state.pass, scrub.settings.interval) {
            (Some(_), _) => "reading",
            (None, Some(_)) => "waiting",
            (None, None) => "off",
        };
        let pass = state.pass.as_ref();
        let octets = pass.map_or(0, |pass| pass.octets.saturating_add(state.of_blob));
        let rate = state.pass_since.filter(|_since| pass.is_some()).map_or(0, |(since, before)| {
            let read = u128::from(octets.saturating_sub(before)) * 1000;
            u64::try_from(read / since.elapsed().as_millis().max(1)).unwrap_or(u64::MAX)
        });
        Ok(ScrubStatus {
            state: word.to_owned(),
            blobs_done: pass.map_or(0, |pass| pass.blobs),
            blobs: counters.blobs,
            bytes_done: octets,
            bytes: counters.blob_bytes,
            bytes_per_second: rate,
            bytes_per_second_max: scrub.settings.bytes_per_second,
            started_at: pass.map(|pass| clock::rfc3339(pass.began_at_ms)),
            next_pass_at: state.next_pass_at_ms.filter(|_at| pass.is_none()).map(clock::rfc3339),
            last_full_pass,
            damaged,
        })
    }

    /// Blobs and octets that were compared with their digests since the start.
    pub fn verified(&self) -> (u64, u64) {
        self.inner.scrub.verified()
    }

    /// How many blobs are known to be damaged.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn damaged(&self) -> Result<u64, RegistryError> {
        self.inner.read(|view| Ok(view.damaged()?)).await
    }
}

/// The last pass that was completed, as the log says.
fn last_pass(view: &dyn View) -> Result<Option<ScrubPass>, RegistryError> {
    let query = EntryQuery {
        action: Some(Action::BlobsScrub.as_str().to_owned()),
        outcome: Some(EntryOutcome::Ok),
        limit: 1,
        ..EntryQuery::default()
    };
    let Some(found) = view.entries(&query)?.entries.into_iter().next() else { return Ok(None) };
    let entry = Entry::parse(&found.leaf).map_err(|error| RegistryError::Corrupt(error.into()))?;
    let count = |key: &str| entry.data.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let started_at = entry.data.get("started_at").and_then(serde_json::Value::as_str);
    Ok(Some(ScrubPass {
        started_at: started_at.map_or_else(|| clock::rfc3339(entry.ts), str::to_owned),
        finished_at: clock::rfc3339(entry.ts),
        blobs: count("blobs"),
        bytes: count("octets"),
        damaged: count("damaged"),
        missing: count("missing"),
        unreadable: count("unreadable"),
    }))
}

/// When the last completed pass began; none if there was none.
fn last_began_ms(view: &dyn View) -> Result<Option<i64>, RegistryError> {
    Ok(last_pass(view)?.and_then(|pass| clock::parse_rfc3339(&pass.started_at)))
}

/// When the next pass is due, milliseconds since the epoch.
fn due_ms(view: &dyn View, interval: Duration) -> Result<i64, RegistryError> {
    let began = match last_began_ms(view)? {
        Some(began) => began,
        None => {
            let leaf = view.leaf(0)?.unwrap_or_default();
            Entry::parse(&leaf).map_err(|error| RegistryError::Corrupt(error.into()))?.ts
        }
    };
    Ok(began.saturating_add(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)))
}

impl Inner {
    /// Records that every blob was read.
    pub(crate) async fn record_pass(self: &Arc<Self>, caller: &Caller, pass: &Pass) -> Result<(), RegistryError> {
        let note = Note::event(Action::BlobsScrub, Target::new("blobs", "all"))
            .with("started_at", clock::rfc3339(pass.began_at_ms))
            .with("seconds", pass.took_ms / 1000)
            .with("resumed", pass.resumed)
            .with("blobs", pass.blobs)
            .with("octets", pass.octets)
            .with("damaged", pass.damaged)
            .with("missing", pass.missing)
            .with("unreadable", pass.unreadable);
        self.record(caller, note).await.map(|_done| ()).map_err(|failure| failure.error)
    }

    /// Reads a blob at the scrubber's pace, and sees to what that finds.
    fn scrub(
        self: &Arc<Self>,
        runtime: &Handle,
        digest: Digest,
        each: &dyn Fn(u64),
    ) -> Result<Verified, RegistryError> {
        let scrub = &self.scrub;
        let verified = self.verify(runtime, digest, Looker::Scrubber, |size| {
            examine(&*self.blobs, &digest, size, scrub.piece(), &mut |octets| {
                each(octets);
                scrub.paced(octets)
            })
        })?;
        if !matches!(verified, Verified::Stopped | Verified::Unneeded | Verified::Doubtful(_)) {
            scrub.blobs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(verified)
    }
}

fn see_to_suspects(inner: &Arc<Inner>, runtime: &Handle) {
    if let Err(error) = suspect_known(inner, runtime) {
        tracing::warn!(
            error = crate::error_chain(&error),
            "what is known to be damaged can't be looked up; a pass finds it"
        );
    }
    while let Some(digest) = inner.scrub.next_suspect() {
        match inner.scrub(runtime, digest, &|_octets| {}) {
            Ok(Verified::Doubtful(_)) => inner.scrub.try_again(digest),
            Ok(_) => {}
            Err(error) => {
                let error = crate::error_chain(&error);
                tracing::warn!(%digest, error, "a suspected blob can't be seen to; a pass will");
                if !inner.scrub.wait(Duration::from_secs(1)) {
                    return;
                }
            }
        }
    }
}

/// Suspects what is known to be damaged: a stop may have come before all that needs it was held back, or before it was
/// found repaired.
fn suspect_known(inner: &Arc<Inner>, runtime: &Handle) -> Result<(), RegistryError> {
    let mut after = None;
    loop {
        let page = runtime.block_on(inner.read(|view| Ok(view.damages(after.as_ref(), PAGE)?)))?;
        for (digest, _damage) in &page {
            inner.scrub.suspect(*digest);
        }
        after = page.last().map(|(digest, _damage)| *digest);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

fn make_passes(inner: &Arc<Inner>, runtime: &Handle) {
    let scrub = &inner.scrub;
    let Some(interval) = scrub.settings.interval else { return };
    let mut pass = resumable(inner, runtime);
    loop {
        let ended = match &mut pass {
            // Another daemon reads for all.
            _ if !inner.store.upkeeps() => {
                scrub.wait(PAUSE);
                Ok(false)
            }
            Some(pass) => run_pass(inner, runtime, pass),
            None => wait_for_pass(inner, runtime, interval).map(|()| {
                pass = (!scrub.is_stopping()).then(Pass::begin);
                false
            }),
        };
        match ended {
            Ok(true) => pass = None,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "the scrubber can't go on; it tries again");
                scrub.wait(PAUSE);
            }
        }
        if scrub.is_stopping() {
            return;
        }
    }
}

/// The pass that was under way before the last stop, unless one was completed since it began.
fn resumable(inner: &Inner, runtime: &Handle) -> Option<Pass> {
    let pass = inner.scrub.position()?;
    let last = runtime.block_on(inner.read(|view| last_began_ms(view))).ok()?;
    let is_stale = last.is_some_and(|last| last >= pass.began_at_ms) || pass.began_at_ms > clock::now_ms();
    (!is_stale).then(|| Pass { resumed: pass.resumed.saturating_add(1), ..pass })
}

/// Waits until a pass is due, or the threads are to end.
fn wait_for_pass(inner: &Inner, runtime: &Handle, interval: Duration) -> Result<(), RegistryError> {
    loop {
        let due_ms = runtime.block_on(inner.read(|view| due_ms(view, interval)))?;
        inner.scrub.state().next_pass_at_ms = Some(due_ms);
        let left = Duration::from_millis(u64::try_from(due_ms.saturating_sub(clock::now_ms())).unwrap_or(0));
        // In short steps: the clock may be set, and a check may read everything meanwhile.
        if left.is_zero() || !inner.scrub.wait(left.min(PAUSE)) {
            return Ok(());
        }
    }
}

/// Goes on with a pass; whether it is completed. It is not where the threads are to end.
fn run_pass(inner: &Arc<Inner>, runtime: &Handle, pass: &mut Pass) -> Result<bool, RegistryError> {
    let scrub = &inner.scrub;
    scrub.show(Some(pass));
    let mut saved: Option<Instant> = None;
    let mut counted = Instant::now();
    let mut page = VecDeque::new();
    loop {
        if page.is_empty() {
            let read = |after: Option<&Digest>, limit| {
                let blobs = runtime.block_on(inner.read(|view| Ok(view.blobs(after, limit)?)))?;
                Ok(blobs.into_iter().map(|(digest, _record)| digest).collect())
            };
            match next_page(pass.after, read)? {
                Next::Page(digests) => page = digests.into(),
                Next::Behind(digest) => {
                    tracing::error!(before = %digest, "the record of a blob can't be read; the scrubber skips it");
                    pass.skip(digest);
                    continue;
                }
            }
        }
        let Some(digest) = page.pop_front() else { break };
        let verified = inner.scrub(runtime, digest, &|octets| {
            let mut state = scrub.state();
            state.of_blob = state.of_blob.saturating_add(octets);
        });
        pass.took(counted.elapsed());
        counted = Instant::now();
        let goes_on = !matches!(verified, Ok(Verified::Stopped));
        match verified {
            Ok(Verified::Stopped) => {}
            Ok(Verified::Doubtful(_)) => {
                return Err(RegistryError::internal("it looks as if the volume of the blobs were not there"));
            }
            Ok(verified) => {
                pass.count(&verified);
                pass.after = Some(digest);
            }
            Err(error) => {
                let error = crate::error_chain(&error);
                tracing::warn!(%digest, error, "a blob can't be seen to; the scrubber skips it");
                pass.skip(digest);
            }
        }
        if goes_on {
            scrub.show(Some(pass));
        }
        if !goes_on || !scrub.spent(BLOB_COST) {
            scrub.save(pass);
            return Ok(false);
        }
        if saved.is_none_or(|at| at.elapsed() >= POSITION_EVERY) {
            scrub.save(pass);
            saved = Some(Instant::now());
        }
    }
    runtime.block_on(inner.record_pass(&Caller::system(), pass))?;
    scrub.show(None);
    scrub.forget_position();
    tracing::info!(blobs = pass.blobs, octets = pass.octets, "every blob was compared with its digest");
    Ok(true)
}

/// Where a pass goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// With these; none: it is at its end.
    Page(Vec<Digest>),
    /// The next record can't be read; behind this are others that can.
    Behind(Digest),
}

/// Reads the next page of digests, as `read` does, whom a record that can't be read makes fail. Then that one is skipped:
/// the digest behind which reading works again is found by halving. Another such record behind it may take along what lies
/// between them.
fn next_page(
    after: Option<Digest>,
    mut read: impl FnMut(Option<&Digest>, usize) -> Result<Vec<Digest>, RegistryError>,
) -> Result<Next, RegistryError> {
    let mut readable = |after: Option<&Digest>, limit| match read(after, limit) {
        Ok(page) => Ok(Some(page)),
        Err(RegistryError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    };
    for limit in [PAGE, 1] {
        if let Some(page) = readable(after.as_ref(), limit)? {
            return Ok(Next::Page(page));
        }
    }
    // Of a digest the first half is enough to tell it from others.
    let half = |digest: &Digest| u128::from_be_bytes(std::array::from_fn(|at| digest.as_bytes()[at]));
    let last_of = |half: u128| {
        let mut octets = [0xff; Digest::LEN];
        octets[..16].copy_from_slice(&half.to_be_bytes());
        Digest::from_bytes(octets)
    };
    let (mut bad, mut good) = (after.as_ref().map_or(0, half), u128::MAX);
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        match readable(Some(&last_of(middle)), 1)? {
            Some(_) => good = middle,
            None => bad = middle,
        }
    }
    Ok(Next::Behind(last_of(good)))
}

/// Where the position of a pass is kept, in a data directory.
pub fn position_file(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("scrub.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::digest::Digest;

    use super::{Next, PAGE, next_page};
    use crate::registry::error::RegistryError;

    /// A pass goes past a record that can't be read, wherever it stands, and leaves out nothing else; where nothing can be
    /// read it does not run to its end.
    #[test]
    fn past_a_bad_record() {
        let digests: Vec<Digest> = (0..200_u8).map(|n| Digest::from_bytes([n; 32])).collect();
        for bad in [0, 1, 63, 64, 100, 199] {
            let read = |after: Option<&Digest>, limit: usize| {
                let page = digests.iter().filter(|digest| after.is_none_or(|after| *digest > after)).take(limit);
                let page: Vec<Digest> = page.copied().collect();
                if page.contains(&digests[bad]) { Err(RegistryError::Corrupt("bad".into())) } else { Ok(page) }
            };
            let (mut after, mut seen, mut skipped) = (None, Vec::new(), 0);
            loop {
                match next_page(after, read).unwrap() {
                    Next::Page(page) if page.is_empty() => break,
                    Next::Page(page) => {
                        assert!(page.len() <= PAGE);
                        after = page.last().copied();
                        seen.extend(page);
                    }
                    Next::Behind(digest) => {
                        after = Some(digest);
                        skipped += 1;
                    }
                }
            }
            let mut rest = digests.clone();
            rest.remove(bad);
            assert_eq!((seen, skipped), (rest, 1), "{bad}");
        }
        let broken = next_page(None, |_after, _limit| Err(RegistryError::internal("the disk is gone")));
        assert!(matches!(broken, Err(RegistryError::Internal(_))));
    }
}
