//! What grows with the data: the same questions to two real `mregd`, one on a small registry and one on a large one, in turn.
//!
//! `MREG_BENCH_SMALL` and `MREG_BENCH_LARGE` name directories with `data` and `keys` below them, as `tests/examples/fill.rs`
//! makes them; the daemons write to them. Where one is not named, it is filled for the run, with 1 000 and 20 000 models.
//! `MREG_BENCH_PASSWORD_FILE` has the password of their `admin`. `MREG_BENCH_ROUNDS` sets how often each question is asked,
//! `MREG_BENCH_SECONDS` how long that may take a question. Parts: `models`, `audit`, `others`, `starts`.
//!
//! `cold` is one request after the kernel was told to forget the large registry's files; all else is warm. `processor` is the
//! ratio of the daemons' processor time, which others on the machine disturb less than time.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../kit/daemon.rs"]
mod child;
#[path = "../kit/figures.rs"]
mod figures;
mod questions;
mod registry;
#[path = "../kit/wire.rs"]
mod wire;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::figures::{at_most, median, setting};
use crate::questions::Question;
use crate::registry::Registry;
use crate::wire::read_reply;

/// How much more a page of the large registry may cost.
const TARGET: f64 = 1.5;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 15).max(1) as usize;
    let most = Duration::from_secs(setting("MREG_BENCH_SECONDS", 10));
    let (mut small, mut large) =
        (Registry::open("MREG_BENCH_SMALL", 1_000), Registry::open("MREG_BENCH_LARGE", 20_000));
    println!("small: {}\nlarge: {}", small.describe(), large.describe());
    let (mut asked, mut missed) = (0, 0);
    for (part, of) in questions::PARTS {
        if !figures::wanted(part) {
            continue;
        }
        figures::heading(part);
        println!(
            "{:<52} {:>9} {:>9} {:>7} {:>9} {:>9}",
            "", "small, ms", "large, ms", "ratio", "processor", "cold, ms"
        );
        let (ours, theirs) = (of(&small), of(&large));
        let pairs =
            theirs.iter().filter_map(|of_large| Some((ours.iter().find(|of| of.name == of_large.name)?, of_large)));
        for (of_small, of_large) in pairs {
            asked += 1;
            missed += usize::from(!compare(&mut small, of_small, &mut large, of_large, rounds, most));
        }
    }
    if asked > 0 {
        let what = format_args!("of {asked} questions those that take over {TARGET} × ({})", large.size());
        println!("\n{missed}: {}", at_most(what, missed as f64, "", 0.0));
    }
    if figures::wanted("starts") {
        starts(large);
    }
}

/// How soon the large registry is there again, and what memory it takes.
fn starts(mut large: Registry) {
    /// Changes before it is killed.
    const CHANGES: usize = 1000;
    figures::heading("starts");
    let size = large.size();
    let (mut stopped, mut killed) = (Vec::new(), Vec::new());
    let mut took;
    for _ in 0..3 {
        (large, took) = large.again(false);
        stopped.push(took);
        large.change(CHANGES);
        (large, took) = large.again(true);
        killed.push(took);
    }
    println!("after a stop: {}", at_most(format_args!("ready after a stop ({size})"), median(&stopped), "s", 3.0));
    println!(
        "after kill -9, {CHANGES} changes before: {}",
        at_most(format_args!("ready after kill -9 ({size})"), median(&killed), "s", 5.0)
    );
    println!(
        "memory: {}",
        at_most(format_args!("memory after a start ({size})"), large.memory_mib("VmRSS"), "MiB", 300.0)
    );
}

/// Asks both in turn and prints the line. Whether the target is met.
fn compare(
    small: &mut Registry,
    of_small: &Question,
    large: &mut Registry,
    of_large: &Question,
    rounds: usize,
    most: Duration,
) -> bool {
    large.forget_files();
    let cold = time(large, of_large).0;
    time(small, of_small);
    let began = Instant::now();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < rounds && began.elapsed() < most {
        ours.push(time(small, of_small));
        theirs.push(time(large, of_large));
    }
    let of =
        |figures: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| median(&figures.iter().map(which).collect::<Vec<_>>());
    let (one, other) = (of(&ours, |pair| pair.0), of(&theirs, |pair| pair.0));
    let (ratio, processor) = (other / one, of(&theirs, |pair| pair.1) / of(&ours, |pair| pair.1).max(1.0));
    let is_met = ratio <= TARGET;
    let miss = if is_met { "" } else { "  MISSED" };
    println!("{:<52} {one:>9.2} {other:>9.2} {ratio:>7.2} {processor:>9.2} {cold:>9.2}{miss}", of_large.name);
    is_met
}

/// Asks once: milliseconds until the answer is read, and microseconds of the daemon's processor time.
fn time(registry: &mut Registry, question: &Question) -> (f64, f64) {
    use std::io::Write;
    let request = registry.request(&question.target);
    let before = registry.processor_us();
    let began = Instant::now();
    let stream: &mut TcpStream = registry.line();
    stream.write_all(&request).unwrap();
    let reply = read_reply(stream);
    let took = began.elapsed();
    assert!(reply.status < 400, "{}: {} {}", question.target, reply.status, String::from_utf8_lossy(&reply.body));
    (took.as_secs_f64() * 1000.0, registry.processor_us() - before)
}
