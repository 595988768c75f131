//! How requests fared in the last five minutes, by kind: how many, how fast, how many failed through us. Knows time and
//! durations; refuses to know whose requests they were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::api::RequestKind;

/// Minutes that are looked back.
const MINUTES: u64 = SLOTS as u64;
/// Slots of a minute each.
const SLOTS: usize = 5;
/// Upper bounds of the durations that are told apart, microseconds. The last stands for all above it as well.
const BOUNDS_US: [u64; 27] = [
    100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000,
    100_000, 150_000, 200_000, 300_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 60_000_000,
];

/// What requests are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answers with what is recorded.
    Read,
    /// Changes something.
    Write,
    /// Takes or hands out octets of files: as fast as the line is.
    Transfer,
}

const KINDS: [(Kind, &str); 3] = [(Kind::Read, "read"), (Kind::Write, "write"), (Kind::Transfer, "transfer")];

/// The kind of a request; none of one that goes on, and of one that nothing was found for.
fn kind_of(method: &str, template: &str) -> Option<Kind> {
    let is_read = matches!(method, "GET" | "HEAD");
    match template {
        "" | super::metrics::UNMATCHED | "/audit-logs/stream" | "/check" => None,
        "/models" | "/models/{name}/artifact" if !is_read => Some(Kind::Transfer),
        files if files.ends_with("/download") || files.contains("/files/") => Some(Kind::Transfer),
        _ if is_read => Some(Kind::Read),
        _ => Some(Kind::Write),
    }
}

#[derive(Default)]
struct Counts {
    durations: [AtomicU64; BOUNDS_US.len()],
    errors: AtomicU64,
}

#[derive(Default)]
struct Slot {
    minute: AtomicU64,
    kinds: [Counts; KINDS.len()],
}

/// Seconds of which the rates of the last minute are made; one more than a minute, for the running one is left out.
const SECONDS: usize = 64;
/// Seconds that the rate of now is over.
const NOW_S: u64 = 10;
/// And that of a minute.
const MINUTE_S: u64 = 60;

/// Requests that ended in a second, by kind.
#[derive(Default)]
struct Second {
    /// Counted from 1: what was never written is of none.
    of: AtomicU64,
    counts: [AtomicU64; KINDS.len()],
}

/// Counts of the last minutes and of the last seconds.
pub(super) struct Recent([Slot; SLOTS], [Second; SECONDS]);

impl Default for Recent {
    fn default() -> Self {
        Self(Default::default(), std::array::from_fn(|_place| Second::default()))
    }
}

impl Recent {
    /// A request has ended, so many seconds after the start.
    pub(super) fn note(&self, second: u64, method: &str, template: &str, status: u16, took: Duration) {
        let Some(place) = kind_of(method, template).and_then(|kind| KINDS.iter().position(|(one, _)| *one == kind))
        else {
            return;
        };
        let at = &self.1[usize::try_from(second % SECONDS as u64).unwrap_or(0)];
        if at.of.swap(second + 1, Ordering::Relaxed) != second + 1 {
            for count in &at.counts {
                count.store(0, Ordering::Relaxed);
            }
        }
        at.counts[place].fetch_add(1, Ordering::Relaxed);
        // Minutes count from 1: what was never written is of none.
        let minute = second / 60 + 1;
        let slot = &self.0[usize::try_from(minute % MINUTES).unwrap_or(0)];
        // Two threads at the turn of a minute may lose a few: it is a picture, not an account.
        if slot.minute.swap(minute, Ordering::Relaxed) != minute {
            for counts in &slot.kinds {
                for count in counts.durations.iter().chain([&counts.errors]) {
                    count.store(0, Ordering::Relaxed);
                }
            }
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us).min(BOUNDS_US.len() - 1);
        slot.kinds[place].durations[bucket].fetch_add(1, Ordering::Relaxed);
        if status >= 500 {
            slot.kinds[place].errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests of a kind in 1000 seconds at the rate of the last so many whole seconds.
    fn rate(&self, place: usize, second: u64, over: u64) -> u64 {
        let from = second.saturating_sub(over);
        let within = |at: &&Second| (from + 1..=second).contains(&at.of.load(Ordering::Relaxed));
        let count: u64 = self.1.iter().filter(within).map(|at| at.counts[place].load(Ordering::Relaxed)).sum();
        count.saturating_mul(1000) / (second - from).max(1)
    }

    /// How each kind fared, at so many seconds after the start.
    pub(super) fn kinds(&self, second: u64) -> Vec<RequestKind> {
        let minute = second / 60 + 1;
        let live = |slot: &&Slot| {
            let of = slot.minute.load(Ordering::Relaxed);
            of > 0 && of + MINUTES > minute
        };
        let seconds = second.min((MINUTES - 1) * 60 + second % 60).max(1);
        KINDS
            .iter()
            .enumerate()
            .map(|(place, (_, name))| {
                let counts = || self.0.iter().filter(live).map(|slot| &slot.kinds[place]);
                let mut durations = [0u64; BOUNDS_US.len()];
                for counts in counts() {
                    for (sum, count) in durations.iter_mut().zip(&counts.durations) {
                        *sum += count.load(Ordering::Relaxed);
                    }
                }
                let count: u64 = durations.iter().sum();
                RequestKind {
                    kind: (*name).to_owned(),
                    count,
                    per_1000_seconds: count.saturating_mul(1000) / seconds,
                    now_per_1000_seconds: self.rate(place, second, NOW_S),
                    minute_per_1000_seconds: self.rate(place, second, MINUTE_S),
                    p50_us: quantile(&durations, count, 50),
                    p99_us: quantile(&durations, count, 99),
                    errors: counts().map(|counts| counts.errors.load(Ordering::Relaxed)).sum(),
                }
            })
            .collect()
    }
}

/// The bound below which so many percent of the durations are; none of nothing.
fn quantile(durations: &[u64; BOUNDS_US.len()], count: u64, percent: u64) -> Option<u64> {
    let rank = count.saturating_mul(percent).div_ceil(100);
    let mut seen = 0;
    let found = durations.iter().zip(BOUNDS_US).find(|(count, _)| {
        seen += **count;
        seen >= rank && rank > 0
    });
    found.map(|(_, bound)| bound)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Recent, kind_of};

    /// Kind, count, p50, p99, errors.
    type Figures = (String, u64, Option<u64>, Option<u64>, u64);

    fn figures(recent: &Recent, second: u64) -> Vec<Figures> {
        let kinds = recent.kinds(second).into_iter();
        kinds.map(|kind| (kind.kind, kind.count, kind.p50_us, kind.p99_us, kind.errors)).collect()
    }

    /// Fast and slow, failed and not, by kind; what is older than five minutes is gone, and a slot used again is empty.
    #[test]
    fn the_last_minutes() {
        let recent = Recent::default();
        for place in 0..100 {
            let took = if place < 98 { Duration::from_micros(900) } else { Duration::from_millis(40) };
            recent.note(10, "GET", "/models/{id}", 200, took);
        }
        recent.note(70, "POST", "/ingest/pause", 503, Duration::from_secs(3600));
        let read = ("read".to_owned(), 100, Some(1_000), Some(50_000), 0);
        let write = ("write".to_owned(), 1, Some(60_000_000), Some(60_000_000), 1);
        let transfer = ("transfer".to_owned(), 0, None, None, 0);
        assert_eq!(figures(&recent, 80), [read.clone(), write.clone(), transfer.clone()]);
        assert_eq!(figures(&recent, 299), [read, write.clone(), transfer.clone()]);
        let none = ("read".to_owned(), 0, None, None, 0);
        assert_eq!(figures(&recent, 300), [none.clone(), write, transfer.clone()]);
        recent.note(310, "GET", "/models/{id}", 200, Duration::ZERO);
        assert_eq!(figures(&recent, 310)[0], ("read".to_owned(), 1, Some(100), Some(100), 0));
        assert_eq!(figures(&recent, 10_000)[0], none);
        assert_eq!(recent.kinds(310)[0].per_1000_seconds, 4, "1 in 4 minutes and 10 seconds");
    }

    /// The rates of ten seconds and of a minute are over whole seconds, and forget what is older.
    #[test]
    fn rates() {
        let recent = Recent::default();
        let rates = |second| {
            let kind = &recent.kinds(second)[0];
            (kind.now_per_1000_seconds, kind.minute_per_1000_seconds)
        };
        assert_eq!(rates(0), (0, 0));
        for second in 100..130 {
            for _request in 0..2 {
                recent.note(second, "GET", "/models", 200, Duration::ZERO);
            }
        }
        assert_eq!(rates(130), (2000, 1000));
        assert_eq!(rates(135), (1000, 1000));
        assert_eq!(rates(160), (0, 1000));
        assert_eq!(rates(175), (0, 500));
        assert_eq!(rates(1000), (0, 0));
    }

    #[test]
    fn kinds() {
        let name = |method, template| kind_of(method, template).map(|kind| format!("{kind:?}")).unwrap_or_default();
        for (method, template, kind) in [
            ("GET", "/models", "Read"),
            ("POST", "/models", "Transfer"),
            ("HEAD", "/models/{id}/download", "Transfer"),
            ("GET", "/models/{id}/versions/{v}/files/{path}", "Transfer"),
            ("DELETE", "/models/{id}", "Write"),
            ("GET", "/audit-logs/stream", ""),
            ("GET", super::super::metrics::UNMATCHED, ""),
        ] {
            assert_eq!(name(method, template), kind, "{method} {template}");
        }
    }
}
