//! What is known of the delivering to one webhook: how far it has come, the message that is tried again, the newest
//! attempts. Kept in a small file for each, so that a restart goes on where it was; without the file, or with one that is
//! older, messages are sent again under the same ids, and none is lost. Knows no secret, no body and no address.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use common::api::WebhookAttempt;
use serde::{Deserialize, Serialize};

use crate::clock;

/// Attempts that are remembered of a webhook.
pub const ATTEMPTS_KEPT: usize = 100;
/// Octets of the largest file that is read: far more than the attempts come to.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Waits between attempts, by the suggestion of the Standard Webhooks specification, in seconds; the last goes on.
const WAITS_S: [i64; 9] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// Up to a tenth of a wait comes on top, by chance, so that not all come at once.
const JITTER_DIVISOR: i64 = 10;

/// A message that was not taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Index of its entry.
    pub index: u64,
    /// Entry that the webhook was last changed by then: after a change it is tried at once, and anew.
    pub revision: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// When the first of them failed, milliseconds since the epoch.
    pub first_failed_at_ms: i64,
    /// When the next is due, milliseconds since the epoch.
    pub due_at_ms: i64,
}

/// All that is kept of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The course that this is about.
    pub course: u32,
    /// Index of the entry to look at next.
    pub next: u64,
    /// The message that is tried again.
    pub retry: Option<Retry>,
    /// Why the last attempt failed; none where it didn't.
    pub last_error: Option<String>,
    /// When the receiver last took an event, milliseconds since the epoch.
    pub delivered_at_ms: Option<i64>,
    /// The newest attempts, newest first.
    pub attempts: VecDeque<WebhookAttempt>,
}

impl Progress {
    /// Takes up a webhook whose records say this. A file of the same course may know more; one of another knows nothing.
    pub fn take_up(&mut self, course: u32, next: u64, revision: u64) {
        if self.course == course {
            self.next = self.next.max(next);
        } else {
            (self.course, self.next, self.retry, self.last_error) = (course, next, None, None);
        }
        if self.retry.as_ref().is_some_and(|retry| retry.revision != revision || retry.index < self.next) {
            self.retry = None;
        }
    }

    /// Remembers an attempt.
    pub fn note(&mut self, attempt: WebhookAttempt) {
        self.attempts.push_front(attempt);
        self.attempts.truncate(ATTEMPTS_KEPT);
    }

    /// The receiver took the message about an entry; `next` is behind it.
    pub fn delivered(&mut self, next: u64, at_ms: i64) {
        self.next = self.next.max(next);
        (self.retry, self.last_error, self.delivered_at_ms) = (None, None, Some(at_ms));
    }

    /// It didn't. `asked_ms` is for how long the receiver wants to be left alone. The wait before the next attempt follows
    /// from how often it was tried; `None` where it has failed for as long as `give_up`.
    pub fn failed(
        &mut self,
        index: u64,
        revision: u64,
        now_ms: i64,
        asked_ms: Option<i64>,
        give_up: Duration,
        chance: u64,
    ) -> Option<i64> {
        let before = self.retry.take().filter(|retry| retry.index == index && retry.revision == revision);
        let attempts = before.as_ref().map_or(0, |retry| retry.attempts).saturating_add(1);
        let first_failed_at_ms = before.map_or(now_ms, |retry| retry.first_failed_at_ms);
        let wait_ms = wait_ms(attempts, asked_ms, chance);
        let due_at_ms = now_ms.saturating_add(wait_ms);
        self.retry = Some(Retry { index, revision, attempts, first_failed_at_ms, due_at_ms });
        let give_up_ms = i64::try_from(give_up.as_millis()).unwrap_or(i64::MAX);
        let is_over = attempts > 1 && now_ms.saturating_sub(first_failed_at_ms) >= give_up_ms;
        (!is_over).then_some(wait_ms)
    }
}

/// How long to wait after so many attempts, milliseconds.
fn wait_ms(attempts: u32, asked_ms: Option<i64>, chance: u64) -> i64 {
    let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS_S.len() - 1);
    // Who says when to come again knows better; but not at once, and not for ever.
    let wait_ms = asked_ms.map_or(WAITS_S[step] * clock::SECOND_MS, |asked_ms| asked_ms.max(clock::SECOND_MS));
    let most = u64::try_from(wait_ms / JITTER_DIVISOR).unwrap_or(0);
    wait_ms.saturating_add(i64::try_from(chance % most.saturating_add(1)).unwrap_or(0))
}

/// Reads a file; none where there is none.
///
/// # Errors
/// It can't be read, or is damaged.
pub fn read(path: &Path) -> io::Result<Option<Progress>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut octets = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut octets)?;
    let mut progress: Progress = serde_json::from_slice(&octets).map_err(io::Error::other)?;
    progress.attempts.truncate(ATTEMPTS_KEPT);
    Ok(Some(progress))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use proptest::prelude::{any, prop_assert, proptest};

    use super::{Progress, WAITS_S, wait_ms};

    const DAY_MS: i64 = 24 * 3600 * 1000;

    /// The waits grow to a day, with up to a tenth on top.
    #[test]
    fn waits() {
        for (attempts, wait_s) in
            [(1, 5), (2, 300), (3, 1800), (4, 7200), (9, 86_400), (10, 86_400), (u32::MAX, 86_400)]
        {
            for chance in [0, 1, 12_345, u64::MAX] {
                let wait = wait_ms(attempts, None, chance);
                assert!((wait_s * 1000..=wait_s * 1100).contains(&wait), "{attempts}: {wait}");
            }
        }
        assert_eq!(wait_ms(1, Some(0), 0), 1000);
        assert_eq!(wait_ms(9, Some(7_000), 0), 7_000);
        // All of them together are the 75 hours and a half of the specification's table.
        assert_eq!(WAITS_S.iter().sum::<i64>(), 5 + 300 + 1800 + 75 * 3600);
    }

    /// A receiver that never takes a message is given up after the time for it, and not before it was tried twice.
    #[test]
    fn giving_up() {
        let mut progress = Progress { course: 1, next: 7, ..Progress::default() };
        let give_up = Duration::from_secs(3 * 24 * 3600);
        let (mut now_ms, mut attempts) = (1_000, 0);
        while let Some(wait_ms) = progress.failed(7, 1, now_ms, None, give_up, 0) {
            now_ms += wait_ms;
            attempts += 1;
            assert!(attempts < 20);
        }
        assert!((3 * DAY_MS..4 * DAY_MS).contains(&now_ms), "{now_ms}");
        assert_eq!((attempts, progress.next), (9, 7), "the message is still the next");
        let mut progress = Progress::default();
        assert!(progress.failed(0, 1, 5, None, Duration::from_secs(1), 0).is_some());
        assert!(progress.failed(0, 1, 5_005, None, Duration::from_secs(1), 0).is_none());
        // After a change of the webhook it begins anew.
        assert!(progress.failed(0, 2, 9_000, None, Duration::from_secs(1), 0).is_some());
    }

    /// What a file knows counts on the same course only, and a change of the webhook ends a wait.
    #[test]
    fn taking_up() {
        let mut progress = Progress { course: 1, next: 7, ..Progress::default() };
        progress.failed(7, 3, 1, None, Duration::from_secs(60), 0);
        let known = progress.clone();
        progress.take_up(1, 5, 3);
        assert_eq!(progress, known);
        progress.take_up(1, 5, 4);
        assert_eq!((progress.next, progress.retry.is_none()), (7, true));
        progress.take_up(1, 9, 4);
        assert_eq!(progress.next, 9);
        progress.take_up(2, 3, 5);
        assert_eq!((progress.course, progress.next), (2, 3));
    }

    proptest! {
        /// The place never goes back within a course, whatever happens.
        #[test]
        fn never_back(steps in proptest::collection::vec((any::<u8>(), 0_u64..50), 0..60)) {
            let mut progress = Progress { course: 1, ..Progress::default() };
            for (step, index) in steps {
                let before = progress.next;
                match step % 3 {
                    0 => progress.delivered(index, 1),
                    1 => drop(progress.failed(index, 1, 1, None, Duration::from_secs(9), 0)),
                    _ => progress.take_up(1, index, 1),
                }
                prop_assert!(progress.next >= before);
            }
        }
    }
}
