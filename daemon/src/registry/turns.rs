//! Whose turn it is to look something up that takes long (pages, searches, exports): as many at once as there are cores,
//! and the rest wait. Knows callers and how long they wait; refuses to know what is looked up.
//!
//! A short rush is waited out. When the wait has been long for a while, it is no rush: then nobody is kept waiting longer
//! than that wait, so that those who are let in are answered soon and the others at once, until nobody waits any more (the
//! idea is CoDel's, RFC 8289). What goes on with an answer that was begun, such as an export, waits however long that takes,
//! in a line of its own, and has every fourth turn.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::registry::access::Caller;
use crate::registry::error::RegistryError;

/// Look-ups at once, however few cores there are.
const AT_ONCE_MIN: usize = 2;
/// Callers that may wait.
pub const WAITING_MAX: usize = 128;
/// Of these one caller may have so many, so that others find a place.
pub const WAITING_PER_CALLER_MAX: usize = 64;
/// How long one waits in a rush.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// A wait that is long, and how long one waits when it is no rush any more.
pub const WAIT_LONG: Duration = Duration::from_millis(500);
/// A rush lasts so long at most.
pub const RUSH_MAX: Duration = Duration::from_secs(2);
/// One turn in so many is for what goes on with an answer, if others wait as well.
const GOING_ON_EVERY: u32 = 4;

/// Who looks something up, and who waits for it.
pub(crate) struct Turns {
    state: Mutex<State>,
    shed: AtomicU64,
}

struct State {
    free: usize,
    next: u64,
    callers: VecDeque<Waiting>,
    going_on: VecDeque<Waiting>,
    of_callers: HashMap<String, usize>,
    /// Since when the wait is long, while anybody waits.
    long_since: Option<Instant>,
    given: u32,
}

struct Waiting {
    number: u64,
    since: Instant,
    caller: Option<String>,
    turn: oneshot::Sender<Turn>,
}

/// One turn. Held by the work itself, so that a caller that goes away makes room for nobody too early.
pub(crate) struct Turn(Option<Arc<Turns>>);

/// A place in the line; given up when it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self::of(cores.max(AT_ONCE_MIN)))
    }

    fn of(at_once: usize) -> Self {
        let state = State {
            free: at_once,
            next: 0,
            callers: VecDeque::new(),
            going_on: VecDeque::new(),
            of_callers: HashMap::new(),
            long_since: None,
            given: 0,
        };
        Self { state: Mutex::new(state), shed: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Callers that were turned away since start.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    fn turn_away(&self) -> RegistryError {
        self.shed.fetch_add(1, Ordering::Relaxed);
        RegistryError::Overloaded("too much is being looked up")
    }

    /// A caller's turn.
    ///
    /// # Errors
    /// `Overloaded`: too many wait, or for too long.
    pub(crate) async fn take(self: &Arc<Self>, caller: &Caller) -> Result<Turn, RegistryError> {
        self.take_as(&caller.actor.id).await
    }

    async fn take_as(self: &Arc<Self>, caller: &str) -> Result<Turn, RegistryError> {
        let (number, mut turn, wait_max) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            let of_caller = state.of_callers.get(caller).copied().unwrap_or(0);
            let is_full = state.callers.len() >= WAITING_MAX;
            if of_caller >= WAITING_PER_CALLER_MAX || (is_full && !state.make_room(of_caller)) {
                drop(state);
                return Err(self.turn_away());
            }
            let wait_max = state.wait_max();
            let (number, turn) = state.wait(Some(caller.to_owned()));
            (number, turn, wait_max)
        };
        let place = Place { turns: self, number };
        let waited = tokio::time::timeout(wait_max, &mut turn).await;
        drop(place);
        match waited {
            Ok(Ok(turn)) => Ok(turn),
            // It may have come at the last moment.
            Ok(Err(_)) | Err(_) => turn.try_recv().map_err(|_none| self.turn_away()),
        }
    }

    /// The turn of what goes on with an answer.
    ///
    /// # Errors
    /// `Internal`: never, as long as turns are given.
    pub(crate) async fn go_on(self: &Arc<Self>) -> Result<Turn, RegistryError> {
        let (number, turn) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            state.wait(None)
        };
        let _place = Place { turns: self, number };
        turn.await.map_err(|error| RegistryError::Internal(error.into()))
    }

    /// Gives a turn that is over to the next who waits.
    fn give(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some(next) = state.pop() else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.turn.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // It has left: the turn is another's.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

impl State {
    /// How long one who comes now may wait.
    fn wait_max(&self) -> Duration {
        let is_rush = self.long_since.is_none_or(|since| since.elapsed() <= RUSH_MAX);
        if is_rush { WAIT_MAX } else { WAIT_LONG }
    }

    /// Room in a full line for one whose caller has so many in it: the newest of the caller with most goes, where the newcomer's
    /// still has fewer then. Whether there is.
    fn make_room(&mut self, of_caller: usize) -> bool {
        let most = self.of_callers.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| of_caller + 1 < **count);
        let Some((caller, _)) = most else { return false };
        let newest = self.callers.iter().rposition(|waiting| waiting.caller.as_ref() == Some(caller));
        let Some(gone) = newest.and_then(|at| self.callers.remove(at)) else { return false };
        // Dropped with its sender: it is turned away.
        self.left(&gone);
        true
    }

    fn wait(&mut self, caller: Option<String>) -> (u64, oneshot::Receiver<Turn>) {
        let (turn, receiver) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        if let Some(caller) = &caller {
            *self.of_callers.entry(caller.clone()).or_default() += 1;
        }
        let line = if caller.is_some() { &mut self.callers } else { &mut self.going_on };
        line.push_back(Waiting { number, since: Instant::now(), caller, turn });
        (number, receiver)
    }

    /// Who is next, out of the line.
    fn pop(&mut self) -> Option<Waiting> {
        self.given = self.given.wrapping_add(1);
        let goes_on = self.callers.is_empty() || self.given.is_multiple_of(GOING_ON_EVERY);
        let next =
            if goes_on && !self.going_on.is_empty() { self.going_on.pop_front() } else { self.callers.pop_front() }?;
        self.left(&next);
        Some(next)
    }

    /// Somebody is no longer in the line: what follows for those that are.
    fn left(&mut self, waiting: &Waiting) {
        let Some(caller) = &waiting.caller else { return };
        if let Some(count) = self.of_callers.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                self.of_callers.remove(caller);
            }
        }
        if self.callers.is_empty() {
            self.long_since = None;
        } else if self.long_since.is_none() && waiting.since.elapsed() >= WAIT_LONG {
            self.long_since = Some(Instant::now());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.give();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        // Lines are in the order of their numbers.
        let find = |line: &VecDeque<Waiting>| line.binary_search_by_key(&self.number, |waiting| waiting.number).ok();
        if let Some(at) = find(&state.callers) {
            if let Some(waiting) = state.callers.remove(at) {
                state.left(&waiting);
            }
        } else if let Some(at) = find(&state.going_on) {
            state.going_on.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::{RUSH_MAX, Turns, WAIT_LONG, WAIT_MAX, WAITING_MAX, WAITING_PER_CALLER_MAX};
    use crate::registry::error::RegistryError;

    fn turns() -> Arc<Turns> {
        Arc::new(Turns::of(1))
    }

    /// One after the other, in the order they came; nothing is left of those that went away.
    #[tokio::test]
    async fn in_order() {
        let turns = turns();
        let first = turns.take_as("a").await.unwrap();
        let mut second = Box::pin(turns.take_as("b"));
        let mut third = Box::pin(turns.take_as("c"));
        let mut fourth = Box::pin(turns.take_as("d"));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        drop(third);
        drop(first);
        let second = second.now_or_never().unwrap().unwrap();
        assert!((&mut fourth).now_or_never().is_none());
        drop(second);
        drop(fourth.now_or_never().unwrap().unwrap());
        let state = turns.lock();
        assert_eq!((state.free, state.callers.len(), state.of_callers.len()), (1, 0, 0));
    }

    /// A turn that was given to somebody who leaves before they look is the next one's.
    #[tokio::test]
    async fn who_leaves_keeps_nothing() {
        let turns = turns();
        let first = turns.take_as("a").await.unwrap();
        let mut second = Box::pin(turns.take_as("b"));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        drop(second);
        assert!(turns.take_as("c").now_or_never().unwrap().is_ok());
        assert_eq!(turns.lock().free, 1);
    }

    /// No more than so many wait, and of one caller no more than so many.
    #[tokio::test]
    async fn bounded() {
        let turns = turns();
        let _first = turns.take_as("a").await.unwrap();
        let mut waiting = Vec::new();
        let mut wait = |caller: &'static str| {
            let turns = Arc::clone(&turns);
            let mut one = Box::pin(async move { turns.take_as(caller).await });
            let refused = (&mut one).now_or_never().is_some_and(|taken| taken.is_err());
            if !refused {
                waiting.push(one);
            }
            refused
        };
        for _ in 0..WAITING_PER_CALLER_MAX {
            assert!(!wait("a"));
        }
        assert!(wait("a"));
        for _ in WAITING_PER_CALLER_MAX..WAITING_MAX {
            assert!(!wait("b"));
        }
        // Others find a place still: in turn one of each of the two goes.
        for _ in 0..4 {
            assert!(!wait("c"));
        }
        assert!(!wait("d"));
        let gone = waiting.iter_mut().filter_map(|one| one.now_or_never()).filter(Result::is_err).count();
        assert_eq!((gone, turns.shed()), (5, 6));
        let state = turns.lock();
        assert_eq!((state.callers.len(), state.of_callers["c"], state.of_callers["d"]), (WAITING_MAX, 4, 1));
        assert!(state.of_callers["a"].abs_diff(state.of_callers["b"]) <= 1);
    }

    /// In a rush one waits long; when it lasts, no longer than the wait that is too long; and long again when it is over.
    #[tokio::test]
    async fn rushes() {
        let turns = turns();
        let first = turns.take_as("a").await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(turns.take_as("b"))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        for waiting in &mut turns.lock().callers {
            waiting.since = waiting.since.checked_sub(WAIT_LONG).unwrap();
        }
        assert!(turns.lock().long_since.is_none());
        // One has waited too long, and others wait still.
        drop(first);
        let second = waiting.remove(0).now_or_never().unwrap().unwrap();
        {
            let mut state = turns.lock();
            assert_eq!(state.wait_max(), WAIT_MAX);
            let since = state.long_since.unwrap();
            state.long_since = since.checked_sub(RUSH_MAX + Duration::from_millis(1));
            assert_eq!(state.wait_max(), WAIT_LONG);
        }
        assert!(matches!(turns.take_as("c").await, Err(RegistryError::Overloaded(_))));
        assert_eq!(turns.shed(), 1);
        drop(second);
        drop(waiting.remove(0).now_or_never().unwrap().unwrap());
        assert!(waiting.remove(0).now_or_never().unwrap().is_ok());
        assert_eq!(turns.lock().wait_max(), WAIT_MAX);
    }

    /// What goes on with an answer has every fourth turn, and is not turned away.
    #[tokio::test]
    async fn going_on() {
        let turns = turns();
        let mut held = turns.take_as("a").await.unwrap();
        let mut exports: Vec<_> = (0..WAITING_MAX * 2).map(|_| Box::pin(turns.go_on())).collect();
        assert!(exports.iter_mut().all(|one| one.now_or_never().is_none()));
        let mut callers: Vec<_> = (0..8).map(|_| Box::pin(turns.take_as("b"))).collect();
        assert!(callers.iter_mut().all(|one| one.now_or_never().is_none()));
        let mut order = String::new();
        while !callers.is_empty() {
            drop(held);
            let caller = callers[0].as_mut().now_or_never();
            if let Some(turn) = caller {
                held = turn.unwrap();
                drop(callers.remove(0));
                order.push('c');
            } else {
                held = exports[0].as_mut().now_or_never().unwrap().unwrap();
                drop(exports.remove(0));
                order.push('e');
            }
        }
        assert_eq!(order, "ccceccceccc".get(..order.len()).unwrap());
        assert_eq!(turns.shed(), 0);
    }
}
