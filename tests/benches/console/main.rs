//! What the console costs and how soon it answers, beside its targets: the real `mreg` in a terminal of 100x30 against a real
//! `mregd`, on the same cores. Prints a line for each target: what it is, what was measured, and whether it is kept.
//!
//! Parts, in the order they run: `start`, `keys`, `idle`, `tail`, `slow`, `memory`, `log`, `ends`; `soak` only where it is
//! named. `MREG_BENCH_DIR` names a directory that the example `fill` filled, with the harness's admin password, instead of
//! a small registry of 1 000 models; `MREG_BENCH_SECONDS` how long things are watched that should not happen (10), and how
//! long a soak takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "../../../daemon/benches/kit/figures.rs"]
mod figures;

mod bed;
mod ends;
mod idle;
mod keys;
mod log;
mod memory;
mod slow;
mod soak;
mod start;
mod table;
mod tail;

use crate::bed::Bed;
use crate::table::Table;

/// A part, by its name.
type Part = (&'static str, fn(&mut Bed, &mut Table));

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let mut bed = Bed::new();
    let mut table = Table::new();
    let parts: [Part; 8] = [
        ("start", start::measure),
        ("keys", keys::measure),
        ("idle", idle::measure),
        ("tail", tail::measure),
        ("slow", slow::measure),
        ("memory", memory::measure),
        ("log", log::measure),
        ("ends", ends::measure),
    ];
    for (name, measure) in parts {
        if figures::wanted(name) {
            figures::heading(name);
            measure(&mut bed, &mut table);
        }
    }
    let soaks = std::env::args().any(|argument| argument == "soak");
    if soaks {
        soak::measure(&mut bed, &mut table);
    }
    table.print();
}
