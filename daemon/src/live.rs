//! One value that many read and that is replaced as a whole. Refuses to know what it is.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that changes as a whole: who asks gets the one of this moment, and keeps it for as long as they hold it. Nobody
/// ever sees a part of one and a part of another.
#[derive(Debug)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// Begins with this value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of this moment. The lock is held for the count of a reference and nothing else.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place; who asked before keeps the one they have.
    pub fn set(&self, value: T) {
        let value = Arc::new(value);
        let before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), value);
        // Outside the lock: the last holder pays for what it is to be dropped.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::thread;

    use super::Live;

    /// Readers see pairs that were set together, never halves of two.
    #[test]
    fn whole_values() {
        let live = Live::new((0_u32, 0_u32));
        let kept = live.get();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 10_000 {
                    let now = live.get();
                    assert_eq!(now.0, now.1);
                    assert!(now.0 >= last);
                    last = now.0;
                }
            });
            for n in 1..=10_000 {
                live.set((n, n));
            }
            reader.join().unwrap();
        });
        assert_eq!(*kept, (0, 0));
    }
}
