//! Waiting by looking, with a deadline. Nothing in the suite sleeps for a guessed time.

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks until there is something, or fails with what was waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Looks until a count is reached. Much work may take its time, but must not stand still for as long as the deadline.
pub fn until_count(what: &str, wanted: u64, mut look: impl FnMut() -> u64) {
    let (mut count, mut since) = (look(), Instant::now());
    while count < wanted {
        std::thread::sleep(Duration::from_millis(5));
        let now = look();
        if now != count {
            (count, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < DEADLINE, "{what}: {count} of {wanted}, and no more for {DEADLINE:?}");
    }
}

/// Looks until it holds.
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}
