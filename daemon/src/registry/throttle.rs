//! What is counted so that nobody can try for ever: failed sign-ins, refusals of anonymous callers, hashes at once. Knows
//! attempts and addresses; refuses to know whether a user exists: all names are counted alike.
//!
//! Counts are in memory: a restart forgets them, and each daemon keeps its own.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::audit::{Action, Target};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use sha2::{Digest as _, Sha256};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::clock::{self, MINUTE_MS, SECOND_MS};
use crate::registry::Inner;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::RegistryError;

/// Failures of one user from one network that lock it (rest-api.md §2).
const USER_FAILURES_MAX: usize = 5;
/// Failures of one network, whatever the user, that lock it. Not counted on loopback.
const NETWORK_FAILURES_MAX: usize = 50;
/// Failures count for so long, and a lock lasts so long.
const WINDOW_MS: i64 = 15 * MINUTE_MS;
/// Refusals of anonymous callers per address and minute that get an entry each.
const ANONYMOUS_PER_MINUTE_MAX: u64 = 120;
/// Users, networks and addresses that are remembered at once.
const REMEMBERED_MAX: usize = 65_536;
/// Sign-ins that may wait for a thread to hash on; others are told to come back.
const WAITING_MAX: usize = 16;
/// How far the threads that hash give way to others (nice(2)).
const NICE: i32 = 15;
/// Sign-ins that wait while it is no flood. Beyond it the threads that hash take only the time that nobody else wants: the
/// scheduler lets even a thread of [`NICE`] finish its slice of about 3 ms before one that wakes up may run, but not one of
/// SCHED_IDLE (sched(7)). Always, it would make signing in to a busy machine take minutes.
const CROWD: usize = 4;

/// A network for counting: the /24 or /64 of an address. On loopback every address is its own network, so that a program
/// on this machine that fails from one of them doesn't lock its user out elsewhere on the machine.
fn network(ip: Option<IpAddr>) -> Option<IpAddr> {
    Some(match ip?.to_canonical() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    })
}

/// An address for counting refusals: of IPv6, where a host has many, its /64.
pub(crate) fn source(ip: Option<IpAddr>) -> Option<IpAddr> {
    match ip?.to_canonical() {
        ip @ IpAddr::V4(_) => Some(ip),
        ip @ IpAddr::V6(_) => network(Some(ip)),
    }
}

/// What failures are counted under: a hash of the name, for people type passwords into fields for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    User([u8; 32], Option<IpAddr>),
    Network(IpAddr),
}

/// Failures of one key.
#[derive(Debug, Default)]
struct Failures {
    at_ms: VecDeque<i64>,
    locked_until_ms: i64,
}

impl Failures {
    fn is_over(&self, now_ms: i64) -> bool {
        self.locked_until_ms <= now_ms && self.at_ms.back().is_none_or(|last| last + WINDOW_MS <= now_ms)
    }
}

/// The counts.
#[derive(Default)]
pub(crate) struct Throttle {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    failures: HashMap<Key, Failures>,
    anonymous: HashMap<Option<IpAddr>, u64>,
    anonymous_minute: i64,
    rejected: Rejected,
}

/// What was rejected without an entry of its own, since the last summary.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Sign-ins of locked users or networks.
    pub(crate) locked: u64,
    /// Sign-ins and password changes for which no thread was free.
    pub(crate) busy: u64,
    /// Refusals of anonymous callers.
    pub(crate) anonymous: u64,
}

/// Sign-ins of a user that failed of late, from wherever.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// How many.
    pub(crate) count: u32,
    /// Until when somewhere is locked out because of them, milliseconds since the epoch.
    pub(crate) locked_until_ms: Option<i64>,
}

/// Those of all users.
pub(crate) struct RecentFailures(HashMap<[u8; 32], Failed>);

impl RecentFailures {
    /// Those of one.
    pub(crate) fn of(&self, username: &str) -> Failed {
        let name: [u8; 32] = Sha256::digest(username.to_lowercase()).into();
        self.0.get(&name).copied().unwrap_or_default()
    }
}

/// Who tries to sign in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    user: Key,
    network: Option<Key>,
}

impl Attempt {
    /// An attempt to be this user (as typed) from this address.
    pub(crate) fn new(username: &str, ip: Option<IpAddr>) -> Self {
        let network = network(ip);
        let name = Sha256::digest(username.to_lowercase()).into();
        Self {
            user: Key::User(name, network),
            network: network.filter(|network| !network.is_loopback()).map(Key::Network),
        }
    }

    fn keys(&self) -> impl Iterator<Item = (Key, usize)> {
        let network = self.network.map(|key| (key, NETWORK_FAILURES_MAX));
        std::iter::once((self.user, USER_FAILURES_MAX)).chain(network)
    }
}

impl Throttle {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an attempt may be made.
    ///
    /// # Errors
    /// `TooManyRequests`; it has been counted.
    pub(crate) fn check(&self, attempt: &Attempt, now_ms: i64) -> Result<(), RegistryError> {
        let mut counts = self.counts();
        let until =
            attempt.keys().filter_map(|(key, _)| counts.failures.get(&key)).map(|one| one.locked_until_ms).max();
        match until {
            Some(until) if until > now_ms => {
                counts.rejected.locked += 1;
                Err(RegistryError::TooManyRequests { retry_after_s: seconds_until(until, now_ms) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a failed attempt; whether it was the one that locks.
    pub(crate) fn failed(&self, attempt: &Attempt, now_ms: i64) -> bool {
        let mut counts = self.counts();
        let mut locked = false;
        for (key, max) in attempt.keys() {
            make_room(&mut counts.failures, |failures| !failures.is_over(now_ms));
            let failures = counts.failures.entry(key).or_default();
            failures.at_ms.push_back(now_ms);
            while failures.at_ms.front().is_some_and(|first| first + WINDOW_MS <= now_ms) {
                failures.at_ms.pop_front();
            }
            if failures.at_ms.len() >= max {
                failures.at_ms.clear();
                failures.locked_until_ms = now_ms + WINDOW_MS;
                locked = true;
            }
        }
        locked
    }

    /// Forgets the failures of a user that has signed in. The network's stay: one right password doesn't excuse the
    /// wrong ones for others.
    pub(crate) fn succeeded(&self, attempt: &Attempt) {
        self.counts().failures.remove(&attempt.user);
    }

    /// Forgets a user's failures from everywhere: an administrator has given a new password.
    pub(crate) fn forgive(&self, username: &str) {
        let name: [u8; 32] = Sha256::digest(username.to_lowercase()).into();
        self.counts().failures.retain(|key, _failures| !matches!(key, Key::User(user, _network) if *user == name));
    }

    /// How sign-ins of all users fared of late, as far as any failed.
    pub(crate) fn failures(&self, now_ms: i64) -> RecentFailures {
        let counts = self.counts();
        let mut by_name: HashMap<[u8; 32], Failed> = HashMap::new();
        for (key, failures) in &counts.failures {
            let Key::User(name, _network) = key else { continue };
            if failures.is_over(now_ms) {
                continue;
            }
            let failed = by_name.entry(*name).or_default();
            let is_locked = failures.locked_until_ms > now_ms;
            // Those that locked it were counted to the end and forgotten then.
            let count = if is_locked { USER_FAILURES_MAX } else { failures.at_ms.len() };
            failed.count = failed.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            if is_locked {
                failed.locked_until_ms = failed.locked_until_ms.max(Some(failures.locked_until_ms));
            }
        }
        RecentFailures(by_name)
    }

    /// Counts a refusal of an anonymous caller.
    ///
    /// # Errors
    /// `TooManyRequests`; it has been counted and gets no entry.
    pub(crate) fn anonymous(&self, ip: Option<IpAddr>, now_ms: i64) -> Result<(), RegistryError> {
        let mut counts = self.counts();
        let minute = now_ms.div_euclid(MINUTE_MS);
        if counts.anonymous_minute != minute {
            counts.anonymous_minute = minute;
            counts.anonymous.clear();
        }
        make_room(&mut counts.anonymous, |_count| true);
        let count = counts.anonymous.entry(source(ip)).or_default();
        *count += 1;
        if *count <= ANONYMOUS_PER_MINUTE_MAX {
            return Ok(());
        }
        counts.rejected.anonymous += 1;
        Err(RegistryError::TooManyRequests { retry_after_s: seconds_until((minute + 1) * MINUTE_MS, now_ms) })
    }

    /// Counts a request for which no thread to hash on was free.
    fn busy(&self) -> RegistryError {
        self.counts().rejected.busy += 1;
        RegistryError::TooManyRequests { retry_after_s: 1 }
    }

    /// What was rejected since the last call.
    pub(crate) fn take_rejected(&self) -> Rejected {
        std::mem::take(&mut self.counts().rejected)
    }

    /// Puts counts back whose summary could not be written.
    pub(crate) fn give_back(&self, rejected: Rejected) {
        let mut counts = self.counts();
        counts.rejected.locked += rejected.locked;
        counts.rejected.busy += rejected.busy;
        counts.rejected.anonymous += rejected.anonymous;
    }
}

/// Keeps a table within bounds: first what is over goes, then an eighth of the rest, whatever it is. Who can fill the table
/// has that many addresses and gains little from being forgotten.
fn make_room<K: std::hash::Hash + Eq, V>(table: &mut HashMap<K, V>, mut keep: impl FnMut(&V) -> bool) {
    if table.len() < REMEMBERED_MAX {
        return;
    }
    table.retain(|_key, value| keep(value));
    if table.len() >= REMEMBERED_MAX {
        let mut counter = 0_usize;
        table.retain(|_key, _value| {
            counter += 1;
            !counter.is_multiple_of(8)
        });
    }
}

fn seconds_until(until_ms: i64, now_ms: i64) -> u64 {
    u64::try_from((until_ms - now_ms + SECOND_MS - 1) / SECOND_MS).unwrap_or(0).max(1)
}

/// Threads that hash passwords: one fewer than there are cores, so that a flood of sign-ins leaves one to everything else
/// (limits.md §5).
pub(crate) struct Hashing {
    permits: Arc<Semaphore>,
    /// As many as may hash or wait.
    admitted: Arc<Semaphore>,
}

/// A place among those that hash. Held by the hashing itself, so that a caller that goes away frees no thread too early.
#[derive(Clone)]
pub(crate) struct Place {
    _held: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    /// Whether so many wait behind it that it must give way entirely.
    crowded: bool,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.saturating_sub(1).max(1);
        Self { permits: Arc::new(Semaphore::new(threads)), admitted: Arc::new(Semaphore::new(threads + WAITING_MAX)) }
    }

    /// Waits for a place.
    async fn enter(&self) -> Option<Place> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let waiting = WAITING_MAX.saturating_sub(self.admitted.available_permits());
        Some(Place { _held: Arc::new((admitted, permit)), crowded: waiting > CROWD })
    }
}

/// Lets the calling thread give way to all others, for good; entirely, it takes only the time that nobody else wants. Not
/// allowed, it is as it would be without.
pub(crate) fn give_way(entirely: bool) {
    let _ = setpriority_process(Some(gettid()), NICE);
    if entirely {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    }
}

impl Place {
    /// Runs work on a thread of its own that gives way to all others: a core that a flood of sign-ins keeps busy is still
    /// there for whoever else needs it. The pool's threads could not do that, for a thread that gave way may not take it
    /// back. Starting one costs a two-hundredth of what a hash does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let place = self.clone();
        let (done, result) = oneshot::channel();
        let hash = move || {
            give_way(place.crowded);
            // Nobody waits for the result any more: then there is nobody to tell.
            let _ = done.send(work());
            drop(place);
        };
        std::thread::Builder::new()
            .name("mregd-password".to_owned())
            .spawn(hash)
            .map_err(|error| RegistryError::Internal(error.into()))?;
        result.await.map_err(|_panicked| RegistryError::internal("hashing a password panicked"))
    }
}

impl Inner {
    /// A place among those that hash.
    ///
    /// # Errors
    /// `TooManyRequests`; it has been counted.
    pub(crate) async fn hashing_place(&self) -> Result<Place, RegistryError> {
        self.hashing.enter().await.ok_or_else(|| self.throttle.busy())
    }

    /// Counts a refusal, if the caller is anonymous.
    pub(crate) fn limit_anonymous(&self, caller: &Caller) -> Result<(), RegistryError> {
        if caller.actor.role.is_some() {
            return Ok(());
        }
        self.throttle.anonymous(caller.ip(), clock::now_ms())
    }

    /// Writes the summary of what was rejected, if anything was.
    pub(crate) async fn summarise_rejected(self: &Arc<Self>) {
        let rejected = self.throttle.take_rejected();
        if rejected == Rejected::default() {
            return;
        }
        let mut note = Note::event(Action::AuthThrottled, Target::new("log", "limiter"));
        note.say("sign_ins_locked", rejected.locked);
        note.say("sign_ins_busy", rejected.busy);
        note.say("anonymous", rejected.anonymous);
        note.say("count", rejected.locked + rejected.busy + rejected.anonymous);
        if self.record(&Caller::system(), note).await.is_err() {
            self.throttle.give_back(rejected);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
    use tokio::sync::Semaphore;

    use super::{
        ANONYMOUS_PER_MINUTE_MAX, Attempt, CROWD, Hashing, NETWORK_FAILURES_MAX, Throttle, WAITING_MAX, WINDOW_MS,
    };
    use crate::registry::error::RegistryError;

    fn attempt(user: &str, ip: &str) -> Attempt {
        Attempt::new(user, Some(ip.parse().unwrap()))
    }

    /// Five failures lock a user in its network for 15 minutes, there and nowhere else.
    #[test]
    fn lockout() {
        let throttle = Throttle::default();
        let alice = attempt("alice", "192.0.2.1");
        for n in 1..=5 {
            throttle.check(&alice, n).unwrap();
            assert_eq!(throttle.failed(&alice, n), n == 5);
        }
        let error = throttle.check(&alice, 6).unwrap_err();
        assert!(matches!(error, RegistryError::TooManyRequests { retry_after_s: 900 }), "{error}");
        assert!(throttle.check(&attempt("ALICE", "192.0.2.99"), 6).is_err(), "the same network, the same user");
        assert!(throttle.check(&attempt("bob", "192.0.2.1"), 6).is_ok());
        assert!(throttle.check(&attempt("alice", "198.51.100.1"), 6).is_ok());
        assert!(throttle.check(&attempt("alice", "127.0.0.1"), 6).is_ok());
        assert!(throttle.check(&alice, 5 + WINDOW_MS).is_ok());
        assert_eq!(throttle.take_rejected().locked, 2);
        assert_eq!(throttle.take_rejected().locked, 0);
    }

    /// Who hashes alone keeps a share of the processor; in a flood, hashing takes what nobody else wants.
    #[tokio::test]
    async fn a_flood_gives_way() {
        let hashing =
            Hashing { permits: Arc::new(Semaphore::new(1)), admitted: Arc::new(Semaphore::new(1 + WAITING_MAX)) };
        let policy = || thread_schedule_policy().unwrap();
        let alone = hashing.enter().await.unwrap();
        assert_eq!(alone.run(policy).await.unwrap(), ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other));

        let mut waiting: Vec<_> = (0..=CROWD).map(|_one| Box::pin(hashing.enter())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let mut last = Box::pin(hashing.enter());
        assert!(last.as_mut().now_or_never().is_none());
        drop(alone);
        let first = waiting.remove(0).await.unwrap();
        assert_eq!(first.run(policy).await.unwrap(), ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
        drop((first, waiting));
        let last = last.await.unwrap();
        assert_eq!(last.run(policy).await.unwrap(), ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other));
    }

    /// Loopback addresses are networks of their own; IPv4 in IPv6 is IPv4; IPv6 counts by /64.
    #[test]
    fn networks() {
        let throttle = Throttle::default();
        for now in 0..5 {
            throttle.failed(&attempt("a", "127.0.0.1"), now);
            throttle.failed(&attempt("b", "2001:db8::1"), now);
        }
        assert!(throttle.check(&attempt("a", "::ffff:127.0.0.1"), 9).is_err());
        assert!(throttle.check(&attempt("a", "127.0.0.2"), 9).is_ok());
        assert!(throttle.check(&attempt("b", "2001:db8::ffff:2"), 9).is_err());
        assert!(throttle.check(&attempt("b", "2001:db8:0:1::1"), 9).is_ok());
    }

    /// Success forgets the user's failures; failures spread over time don't lock; many names from one network do.
    #[test]
    fn windows() {
        let throttle = Throttle::default();
        let alice = attempt("alice", "192.0.2.1");
        for now in 0..4 {
            throttle.failed(&alice, now);
        }
        throttle.succeeded(&alice);
        for now in 0..4 {
            assert!(!throttle.failed(&alice, now));
        }
        assert!(!throttle.failed(&alice, WINDOW_MS + 4), "the others are too long ago");
        for n in 0..NETWORK_FAILURES_MAX {
            throttle.failed(&attempt(&format!("user-{n}"), "203.0.113.5"), 0);
        }
        assert!(throttle.check(&attempt("somebody", "203.0.113.6"), 1).is_err());
    }

    /// Anonymous refusals beyond the limit are counted and not recorded one by one; the next minute begins anew.
    #[test]
    fn anonymous() {
        let throttle = Throttle::default();
        let ip = Some("192.0.2.1".parse().unwrap());
        for _ in 0..ANONYMOUS_PER_MINUTE_MAX {
            throttle.anonymous(ip, 1000).unwrap();
        }
        let error = throttle.anonymous(ip, 1000).unwrap_err();
        assert!(matches!(error, RegistryError::TooManyRequests { retry_after_s: 59 }), "{error}");
        assert!(throttle.anonymous(Some("192.0.2.2".parse().unwrap()), 1000).is_ok());
        assert!(throttle.anonymous(ip, 60_000).is_ok());
        assert_eq!(throttle.take_rejected().anonymous, 1);
    }
}
