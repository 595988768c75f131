//! What the console's own machine costs, without a terminal and without a socket: a key, a frame, an entry of the log, each
//! beside what this machine takes for something that can't be left out. `cargo bench -p tui --bench machine`.
//!
//! Knows the state machine through the tests' own console. Judges nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]
#![allow(dead_code, unreachable_pub, reason = "the console is that of the tests, which ask more of it")]

#[path = "../tests/it/console.rs"]
mod console;
#[path = "../../daemon/benches/kit/figures.rs"]
mod figures;
#[path = "../tests/it/made_log.rs"]
mod made_log;
#[path = "../tests/it/newer_words.rs"]
mod newer_words;

use std::hint::black_box;
use std::time::Instant;

use common::audit::{
    Action, Actor, Checkpoint, Ed25519Signer, Entry, Frontier, Outcome, Signer as _, Target, TilePath, leaf_hash,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sha2::{Digest as _, Sha256};
use tui::event::{EventKind, Moment, keys};
use tui::tail::{Held, Input, Tail};
use tui::trust::Trust;

use crate::console::{Console, Registry};
use crate::figures::median;

/// Rounds of which the median counts.
const ROUNDS: usize = 9;
/// Keys, or frames, of a round.
const TIMES: usize = 200;
/// Entries of a round.
const ENTRIES: u64 = 4_096;
/// Entries that a checkpoint covers.
const COVERED: u64 = 16;
const ORIGIN: &str = "registry.example/log";
const NOW: Moment = Moment { ms: 0, wall_seconds: 1_784_721_791 };

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    println!("{:<44} {:>12} {:>14} {:>7}", "microseconds", "what", "beside", "ratio");
    for (screen, name) in [("1", "models"), ("2", "audit"), ("5", "users")] {
        for (width, height) in [(100, 30), (200, 60)] {
            screens(screen, name, width, height);
        }
    }
    entries();
}

/// A line: what was measured, beside what, in microseconds each.
fn line(what: &str, ours: f64, beside: f64) {
    println!("{what:<44} {:>12.2} {:>14.2} {:>7.2}", ours * 1e6, beside * 1e6, ours / beside);
}

/// The median of rounds, in seconds for each of `count` times.
fn seconds(count: usize, mut round: impl FnMut()) -> f64 {
    let rounds: Vec<f64> = (0..ROUNDS)
        .map(|_round| {
            let began = Instant::now();
            round();
            began.elapsed().as_secs_f64() / count as f64
        })
        .collect();
    median(&rounds)
}

/// `j` and `k` through the whole of `update`, and a frame, beside writing every cell of a buffer of that size once.
fn screens(screen: &str, name: &str, width: u16, height: u16) {
    let mut console = Console::signed_in(width, height, Registry::default());
    console.press(screen).wait(10_000);
    let area = Rect { x: 0, y: 0, width, height };
    let fill = seconds(TIMES, || {
        for _ in 0..TIMES {
            let mut buffer = Buffer::empty(area);
            for cell in &mut buffer.content {
                cell.set_symbol("x");
            }
            black_box(&buffer);
        }
    });
    let [down, up] = ["j", "k"].map(|key| keys(key).unwrap()[0]);
    let key = seconds(TIMES, || {
        for time in 0..TIMES {
            console.feed(EventKind::Key(if time % 2 == 0 { down } else { up }));
        }
    });
    line(&format!("a key, {name} at {width}x{height}; a buffer"), key, fill);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let frame = seconds(TIMES, || {
        for _ in 0..TIMES {
            terminal.draw(|frame| tui::view::draw(&console.state, frame)).unwrap();
        }
    });
    line(&format!("a frame, {name} at {width}x{height}; a buffer"), frame, fill);
}

fn leaf(index: u64) -> Vec<u8> {
    let target = Target { kind: "model".into(), id: "m".into(), version: None, digest: None, size: None };
    let mut salt = [7; 32];
    salt[..8].copy_from_slice(&index.to_be_bytes());
    let entry = Entry {
        seq: index,
        id: format!("id-{index}"),
        ts: 1_784_721_791_000,
        node: "n".into(),
        salt,
        action: Action::ModelUpdate,
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: None,
        target: Some(target),
        req: None,
        data: [].into(),
    };
    entry.to_leaf().unwrap()
}

/// What an entry of the log costs: the reducer of the tail, and with it its verification up to a signed checkpoint, beside
/// hashing its octets, which nobody can leave out.
fn entries() {
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    let leaves: Vec<Vec<u8>> = (0..=ENTRIES).map(leaf).collect();
    let count = usize::try_from(ENTRIES).unwrap();
    let hashed = seconds(count, || {
        for leaf in &leaves[1..] {
            black_box(Sha256::digest(leaf));
        }
    });
    let reduced = seconds(count, || {
        let mut tail = Tail::default();
        tail.begin(1);
        let mut told = Vec::new();
        for (index, leaf) in (0..).zip(&leaves).skip(1) {
            tail.take(Input::Entry { index, leaf: leaf.clone() }, &mut told);
            told.clear();
        }
        assert_eq!(tail.ring().back().map(|held| held.index), Some(ENTRIES));
    });
    line("an entry through the tail; SHA-256 of it", reduced, hashed);

    let mut tree = Frontier::new();
    let mut notes = Vec::new();
    for (index, leaf) in (0..).zip(&leaves) {
        tree.append(leaf_hash(leaf), |_level, _place, _hash| {});
        if index % COVERED == 0 {
            let checkpoint = Checkpoint { origin: ORIGIN.into(), size: index + 1, root: tree.root() };
            notes.push(checkpoint.sign(&[&signer]).unwrap());
        }
    }
    let verified = seconds(count, || {
        let (mut wants, mut notes) = (Vec::new(), notes.iter());
        let mut trust = Trust::new("h", Some(signer.verifier().clone()), vec![], 0, None);
        trust.streamed(notes.next().unwrap(), NOW, &mut wants);
        let edge = (TilePath::new(0, 0, 1).unwrap(), leaf_hash(&leaves[0]).as_bytes().to_vec());
        trust.proof(1, None, &[edge], NOW, &mut wants);
        for (index, leaf) in (0..).zip(&leaves).skip(1) {
            trust.entry(&Held::new(index, leaf.clone()), NOW, &mut wants);
            if index % COVERED == 0 {
                trust.streamed(notes.next().unwrap(), NOW, &mut wants);
            }
            wants.clear();
        }
        assert_eq!((trust.verified_size(), trust.alarm().is_some()), (ENTRIES + 1, false));
    });
    line("an entry, verified (a checkpoint for 16)", verified, hashed);
    println!("verified entries a second: {:.0}", 1.0 / verified);
}
