//! The way of events to the loop: keys in a lane of their own that is read first, everything else in a bounded one. Whoever
//! sends into the full lane waits there, but never the keyboard. A profile's senders end with it: what they still had to
//! say about another daemon is not heard.

use std::collections::VecDeque;
use std::sync::mpsc::{SendError, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::event::EventKind;

/// Events that may wait, keys apart.
pub const EVENTS_MAX: usize = 1024;
/// Keys that may wait; more than that is a stuck key, and what it would do is not wanted.
pub const KEYS_MAX: usize = 1024;

/// A sender whose events are heard whatever the profile.
const ALWAYS: u64 = 0;

#[derive(Default)]
struct Queues {
    keys: VecDeque<EventKind>,
    others: VecDeque<(u64, EventKind)>,
    generation: u64,
    gone: bool,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
    room: Condvar,
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().expect("no holder of the lanes panics")
    }
}

/// Puts events into the lanes.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    generation: u64,
}

/// Takes events out of the lanes.
pub struct Receiver {
    shared: Arc<Shared>,
}

/// Both ends.
pub fn lanes() -> (Sender, Receiver) {
    let shared = Arc::<Shared>::default();
    (Sender { shared: shared.clone(), generation: ALWAYS }, Receiver { shared })
}

impl Sender {
    /// Sends; waits while the lane is full. Keys never wait.
    ///
    /// # Errors
    /// The event, where nobody listens any more.
    pub fn send(&self, event: EventKind) -> Result<(), SendError<EventKind>> {
        let mut queues = self.shared.queues();
        while !event.is_input() && queues.others.len() >= EVENTS_MAX && !self.is_over(&queues) {
            queues = self.shared.room.wait(queues).expect("no holder of the lanes panics");
        }
        if self.is_over(&queues) {
            return Err(SendError(event));
        }
        self.push(queues, event);
        Ok(())
    }

    /// Sends if there is room.
    ///
    /// # Errors
    /// The event, where there is none, or where nobody listens any more.
    pub fn try_send(&self, event: EventKind) -> Result<(), TrySendError<EventKind>> {
        let queues = self.shared.queues();
        if self.is_over(&queues) {
            return Err(TrySendError::Disconnected(event));
        }
        if !event.is_input() && queues.others.len() >= EVENTS_MAX {
            return Err(TrySendError::Full(event));
        }
        self.push(queues, event);
        Ok(())
    }

    /// Events that wait, keys apart.
    pub fn waiting(&self) -> usize {
        self.shared.queues().others.len()
    }

    /// A sender for the next profile. Those of the profile before are over, and what they sent is dropped.
    pub fn next_profile(&self) -> Self {
        let mut queues = self.shared.queues();
        queues.generation += 1;
        let generation = queues.generation;
        queues.others.retain(|(of, _)| *of == ALWAYS);
        drop(queues);
        self.shared.room.notify_all();
        Self { shared: self.shared.clone(), generation }
    }

    fn is_over(&self, queues: &Queues) -> bool {
        queues.gone || (self.generation != ALWAYS && self.generation != queues.generation)
    }

    fn push(&self, mut queues: MutexGuard<'_, Queues>, event: EventKind) {
        if !event.is_input() {
            queues.others.push_back((self.generation, event));
        } else if queues.keys.len() < KEYS_MAX {
            queues.keys.push_back(event);
        }
        drop(queues);
        self.shared.ready.notify_one();
    }
}

impl Receiver {
    /// Waits for events, at most until `due`, and takes what is there: keys first, `most` at most.
    pub fn take(&self, due: Option<Instant>, most: usize) -> Vec<EventKind> {
        let mut queues = self.shared.queues();
        while queues.keys.is_empty() && queues.others.is_empty() {
            queues = match due {
                None => self.shared.ready.wait(queues).expect("no holder of the lanes panics"),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.shared.ready.wait_timeout(queues, left).expect("no holder of the lanes panics").0
                }
            };
        }
        let keys = queues.keys.len().min(most);
        let mut taken: Vec<EventKind> = queues.keys.drain(..keys).collect();
        let others = queues.others.len().min(most - keys);
        taken.extend(queues.others.drain(..others).map(|(_, event)| event));
        drop(queues);
        self.shared.room.notify_all();
        taken
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.queues().gone = true;
        self.shared.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::mpsc::TrySendError;
    use std::time::{Duration, Instant};

    use super::{EVENTS_MAX, lanes};
    use crate::action::TimerId;
    use crate::event::{EventKind, keys};

    fn key() -> EventKind {
        EventKind::Key(keys("j").unwrap()[0])
    }

    /// A full lane holds up its senders, never a key; keys are taken first.
    #[test]
    fn keys_overtake() {
        let (sender, receiver) = lanes();
        for _ in 0..EVENTS_MAX {
            sender.try_send(EventKind::Timer(TimerId::Clock)).unwrap();
        }
        assert!(matches!(sender.try_send(EventKind::Timer(TimerId::Clock)), Err(TrySendError::Full(_))));
        sender.send(key()).unwrap();
        let blocked = sender.clone();
        let waiting = std::thread::spawn(move || blocked.send(EventKind::SuspendAsked));
        let taken = receiver.take(None, 10);
        assert_eq!(taken.len(), 10);
        assert!(matches!(taken[0], EventKind::Key(_)));
        waiting.join().unwrap().unwrap();
        drop(receiver);
        assert!(sender.send(key()).is_err());
    }

    /// What one profile's tasks have to say is not heard in the next.
    #[test]
    fn a_profile_ends() {
        let (sender, receiver) = lanes();
        let first = sender.next_profile();
        first.send(EventKind::Timer(TimerId::Health)).unwrap();
        sender.send(EventKind::SuspendAsked).unwrap();
        let second = sender.next_profile();
        assert!(first.send(EventKind::Timer(TimerId::Health)).is_err());
        second.send(EventKind::Timer(TimerId::Clock)).unwrap();
        let taken = receiver.take(None, 10);
        assert!(matches!(taken[..], [EventKind::SuspendAsked, EventKind::Timer(TimerId::Clock)]), "{taken:?}");
        let began = Instant::now();
        assert!(receiver.take(Some(began + Duration::from_millis(20)), 10).is_empty());
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
