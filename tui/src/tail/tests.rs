//! The reducer of the live tail, event by event and by properties.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{HELD_MAX, Input, Link, PAGE, RING_MAX, RING_OCTETS_MAX, Tail, Told, jittered};
use crate::event::Moment;
use crate::trust::tests::leaf;

fn at(ms: u64) -> Moment {
    Moment { ms, wall_seconds: 0 }
}

fn entry(index: u64) -> Input {
    Input::Entry { index, leaf: leaf(index, "") }
}

fn other(index: u64) -> Input {
    Input::Entry { index, leaf: leaf(index, "other") }
}

fn page(range: Range<u64>) -> Input {
    Input::Filled { first: range.start, leaves: range.map(|index| leaf(index, "")).collect() }
}

fn tail(next: u64) -> Tail {
    let mut tail = Tail::default();
    tail.begin(next);
    tail
}

fn all(tail: &mut Tail, inputs: impl IntoIterator<Item = Input>) -> Vec<Told> {
    let mut out = Vec::new();
    for input in inputs {
        tail.take(input, &mut out);
    }
    out
}

fn accepted(told: &[Told]) -> Vec<u64> {
    told.iter().filter_map(|told| if let Told::Accept(held) = told { Some(held.index) } else { None }).collect()
}

fn is_broken(told: &Told) -> bool {
    matches!(told, Told::Doubled { .. } | Told::Malformed { .. } | Told::Missing { .. })
}

/// Entries in order are accepted; the same again is dropped and counted.
#[test]
fn in_order_and_again() {
    let mut tail = tail(10);
    let told = all(&mut tail, [entry(10), entry(11), entry(10), entry(11), entry(12)]);
    assert_eq!(accepted(&told), [10, 11, 12]);
    assert_eq!((told.len(), tail.duplicates, tail.next), (3, 2, 13));
}

/// Other octets for an index that is held are two contents of one index, whether accepted or waiting.
#[test]
fn doubled() {
    let mut tail = tail(10);
    let told = all(&mut tail, [entry(10), other(10)]);
    assert!(matches!(&told[1], Told::Doubled { before, now } if before.index == 10 && now.hash != before.hash));
    let told = all(&mut tail, [entry(13), other(13)]);
    assert!(matches!(told[..], [Told::Fetch(Range { start: 11, end: 13 }), Told::Doubled { .. }]), "{told:?}");
}

/// A place that is not held any more is looked up in the tree.
#[test]
fn long_ago() {
    let mut tail = tail(0);
    let told = all(&mut tail, (0..2_500).map(entry));
    assert_eq!(accepted(&told).len(), 2_500);
    assert_eq!(tail.ring().len(), RING_MAX);
    let told = all(&mut tail, [entry(3), other(2_499)]);
    assert!(matches!(&told[..], [Told::Again(held), Told::Doubled { .. }] if held.index == 3), "{told:?}");
}

/// A gap is fetched by pages that end at the borders of bundles; what came behind it waits and is released in order.
#[test]
fn gap_by_pages() {
    let mut tail = tail(250);
    let told = all(&mut tail, [entry(520), entry(521)]);
    assert_eq!(told, [Told::Fetch(250..256)]);
    let told = all(&mut tail, [page(250..256), entry(522)]);
    assert_eq!(accepted(&told), [250, 251, 252, 253, 254, 255]);
    assert_eq!(told.last(), Some(&Told::Fetch(256..512)));
    let told = all(&mut tail, [page(256..512)]);
    assert_eq!(told.last(), Some(&Told::Fetch(512..520)));
    let told = all(&mut tail, [page(512..520)]);
    assert_eq!(accepted(&told), (512..523).collect::<Vec<_>>());
    assert_eq!((tail.gap(), tail.next), (None, 523));
}

/// A checkpoint that covers more than came opens a gap; a late page of an old gap changes nothing.
#[test]
fn covered_and_late() {
    let mut tail = tail(5);
    assert_eq!(all(&mut tail, [Input::Covered(5), Input::Covered(3)]), []);
    assert_eq!(all(&mut tail, [Input::Covered(8)]), [Told::Fetch(5..8)]);
    assert_eq!(accepted(&all(&mut tail, [page(5..8), page(5..8), page(2..4)])), [5, 6, 7]);
}

/// Withheld entries are said to be missing and the tail goes on behind them.
#[test]
fn withheld() {
    let mut tail = tail(5);
    let told = all(&mut tail, [entry(8), Input::Refused { page: 5..8, why: "404".into() }, entry(9)]);
    assert!(matches!(&told[1], Told::Missing { range, .. } if *range == (5..8)));
    assert_eq!(accepted(&told), [8, 9]);
    assert_eq!((tail.missing.len(), tail.missing.first()), (1, Some(&(5..8))));
    // Of another page that is no answer.
    let told = all(&mut tail, [entry(20), Input::Refused { page: 5..8, why: String::new() }]);
    assert_eq!(told, [Told::Fetch(10..20)]);
}

/// What is no entry, stands elsewhere than it says, or leaps, is malformed; the tail goes on.
#[test]
fn malformed() {
    let mut tail = tail(5);
    let told = all(
        &mut tail,
        [
            Input::Entry { index: 5, leaf: b"{}".to_vec() },
            Input::Entry { index: 6, leaf: leaf(7, "") },
            Input::Malformed { id: "six".into(), data: "x".into() },
            Input::Entry { index: 1 << 50, leaf: leaf(1 << 50, "") },
            entry(7),
        ],
    );
    assert_eq!(told.iter().filter(|told| is_broken(told)).count(), 4, "{told:?}");
    assert_eq!(accepted(&told), [5, 6, 7]);
    assert!(tail.get(5).unwrap().malformed.is_some() && tail.get(7).unwrap().malformed.is_none());
}

/// What waits is bounded: then the stream is to be closed.
#[test]
fn held_is_bounded() {
    let mut tail = tail(0);
    let told = all(&mut tail, (1..2_000).map(entry));
    assert!(told.contains(&Told::Close));
    assert!(tail.held.len() <= HELD_MAX);
    let fat = "x".repeat(30_000);
    let mut tail = self::tail(0);
    let told = all(&mut tail, (0..400).map(|index| Input::Entry { index, leaf: leaf(index, &fat) }));
    assert_eq!(accepted(&told).len(), 400);
    assert!(tail.octets() <= RING_OCTETS_MAX);
}

/// Waits are drawn up to a second for a minute, then up to a sixtieth of the time that the daemon is away and 30 s at most;
/// they begin anew after 30 s of health or by hand, and obey the daemon.
#[test]
fn waits() {
    for (away_ms, most) in [(0, 1_000), (59_000, 1_000), (120_000, 2_000), (900_000, 15_000), (u64::MAX, 30_000)] {
        let draws: Vec<u64> = (0..200).map(|ms| jittered(away_ms, at(ms * 1_001))).collect();
        assert!(draws.iter().all(|wait| (200..=most).contains(wait)), "{away_ms}");
        let (low, high) = (200 + (most - 200) / 4, most - most / 4);
        assert!(draws.iter().any(|wait| *wait < low) && draws.iter().any(|wait| *wait > high), "drawn evenly");
    }
    let mut tail = tail(0);
    // A daemon that is begun anew within a minute is found a second later at most.
    let mut now = 0;
    while now < 60_000 {
        let wait = tail.ended(at(now), None);
        assert!(wait <= 1_000, "{now}");
        assert!(matches!(tail.link, Link::Waiting { told: None, .. }));
        now += wait;
    }
    let longest = |tail: &mut Tail, now: u64| (0..200).map(|ms| tail.ended(at(now + ms), None)).max().unwrap_or(0);
    assert!(longest(&mut tail, 1_800_000) > 20_000);
    tail.at_once();
    assert!(longest(&mut tail, 1_800_000) <= 1_000);
    assert!(longest(&mut tail, 3_600_000) > 20_000);
    // A stream that ends soon is no health.
    tail.opened(at(3_600_000));
    assert!(longest(&mut tail, 3_610_000) > 20_000);
    tail.opened(at(3_620_000));
    assert!(tail.ended(at(3_660_000), None) <= 1_000);
    assert_eq!(tail.ended(at(40_000), Some(7)), 7_000);
    assert_eq!(tail.link, Link::Waiting { until_ms: 47_000, told: Some(at(40_000).wall_seconds + 7) });
}

/// The rate is that of the last ten seconds.
#[test]
fn rate() {
    let mut tail = tail(0);
    for ms in (0..10_000).step_by(200) {
        tail.count(at(ms));
    }
    assert_eq!(tail.rate_tenths(at(9_900)), 50);
    assert_eq!(tail.rate_tenths(at(14_900)), 25);
    assert_eq!(tail.rate_tenths(at(60_000)), 0);
}

/// What a bad network makes of a stream.
#[derive(Debug, Clone)]
enum Trouble {
    /// The stream goes on.
    Go(usize),
    /// An entry is lost.
    Lose,
    /// Two entries change places.
    Swap,
    /// The last entries come again: a cut and a new stream.
    Resume(usize),
    /// The page that was asked for comes now.
    Page,
    /// A checkpoint of all that is in the log.
    Checkpoint,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        4 => (1..20_usize).prop_map(Trouble::Go),
        1 => Just(Trouble::Lose),
        1 => Just(Trouble::Swap),
        1 => (1..40_usize).prop_map(Trouble::Resume),
        2 => Just(Trouble::Page),
        1 => Just(Trouble::Checkpoint),
    ]
}

proptest! {
    /// However a stream is cut, doubled and reordered and however late pages come: what is accepted is 0..n in order, each
    /// once, and nothing is called broken.
    #[test]
    fn any_network(troubles in vec(trouble(), 0..80), begin in 0..600_u64) {
        let mut tail = tail(begin);
        let (mut sent, mut told) = (begin, Vec::new());
        let mut asked: Option<Range<u64>> = None;
        let mut done = 0;
        for trouble in troubles.into_iter().chain([Trouble::Checkpoint]).chain(vec![Trouble::Page; 40]) {
            match trouble {
                Trouble::Go(count) => for _ in 0..count {
                    tail.take(entry(sent), &mut told);
                    sent += 1;
                },
                Trouble::Lose => sent += 1,
                Trouble::Swap => {
                    for index in [sent + 1, sent] {
                        tail.take(entry(index), &mut told);
                    }
                    sent += 2;
                }
                Trouble::Resume(back) => {
                    let from = sent.saturating_sub(back as u64).max(begin);
                    for index in from..sent {
                        tail.take(entry(index), &mut told);
                    }
                }
                Trouble::Page => if let Some(range) = asked.take() {
                    tail.take(page(range), &mut told);
                },
                Trouble::Checkpoint => tail.take(Input::Covered(sent), &mut told),
            }
            for told in &told[done..] {
                if let Told::Fetch(range) = told {
                    prop_assert!(range.start / PAGE == (range.end - 1) / PAGE);
                    asked = Some(range.clone());
                }
            }
            done = told.len();
        }
        prop_assert!(!told.iter().any(is_broken));
        prop_assert_eq!(accepted(&told), (begin..sent).collect::<Vec<_>>());
    }

    /// Whatever comes: no panic, bounded memory, and no entry accepted out of order.
    #[test]
    fn anything(inputs in vec((any::<u8>(), 0..40_u64, any::<bool>()), 0..200)) {
        let mut tail = tail(10);
        let mut told = Vec::new();
        for (kind, index, same) in inputs {
            let content = if same { "" } else { "other" };
            let input = match kind % 6 {
                0..=2 => Input::Entry { index, leaf: leaf(index, content) },
                3 => Input::Filled { first: tail.gap().map_or(index, |gap| gap.start), leaves: vec![leaf(index, content)] },
                4 => Input::Refused { page: tail.ask_again().unwrap_or(index..index + 1), why: String::new() },
                _ => Input::Covered(index),
            };
            tail.take(input, &mut told);
        }
        let order = accepted(&told);
        prop_assert!(order.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(tail.held.len() <= HELD_MAX);
    }
}
