//! What a key costs, and how soon its frame is there.

use std::time::Duration;

use tests::pty::Console;
use tests::show::Load;

use crate::bed::{Bed, ordinal, percentile, timed};
use crate::table::Table;

const KEYS: usize = 150;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let mut console = bed.console(bed.setup());
    console.press("gg");
    console.settle();
    let idle = steps(&mut console);
    table.at_most("key to last octet, p99", 16.0, "ms", percentile(&idle, 0.99));
    println!("median {:.2} ms", percentile(&idle, 0.5));

    let load = Load::start(bed.daemon.address(), bed.acts(), 1_000, u64::MAX);
    std::thread::sleep(Duration::from_secs(2));
    let busy = steps(&mut console);
    let (made, _) = (load.made(), load.stop());
    table.at_most("the same while 1 000 entries/s come, p99", 16.0, "ms", percentile(&busy, 0.99));
    println!("median {:.2} ms; {made} entries meanwhile", percentile(&busy, 0.5));
    console.settle();

    pages(bed, &mut console, table);
    console.quit();
    octets(bed, table);
}

/// One row down and up again, many times, each when the one before is drawn and the pane beside it has been, too.
fn steps(console: &mut Console) -> Vec<Duration> {
    let mut times = Vec::new();
    for step in 0..KEYS {
        let key = if step % 20 < 10 { "j" } else { "k" };
        let from = ordinal(&console.screen()).unwrap();
        let to = if key == "j" { from + 1 } else { from.saturating_sub(1).max(1) };
        if to == from {
            continue;
        }
        times.push(timed(console, key, |screen| ordinal(screen) == Some(to)));
    }
    times
}

/// Pages that are not in memory: the end, the beginning.
fn pages(bed: &Bed, console: &mut Console, table: &mut Table) {
    let mut times = Vec::new();
    for _ in 0..10 {
        times.push(timed(console, "G", |screen| ordinal(screen) == Some(bed.models)));
        times.push(timed(console, "gg", |screen| ordinal(screen) == Some(1)));
    }
    table.at_most("page outside the window, slowest of 20", 100.0, "ms", percentile(&times, 1.0));
    console.settle();
}

fn octets(bed: &Bed, table: &mut Table) {
    for (highlight, most) in [("key", 120.0), ("none", 20.0)] {
        let setup = bed.setup().config(&format!("[ui]\nhighlight = \"{highlight}\"\n"));
        let mut console = bed.console(setup);
        console.press("5");
        console.wait_for("ROLE");
        console.settle();
        quiet(&console, Duration::from_secs(9));
        let before = console.count();
        console.press("j");
        let after = console.settle();
        table.at_most(&format!("octets of one j, highlight {highlight}"), most, "octets", (after - before) as f64);
        if highlight == "key" {
            screens(&mut console, table);
        }
        console.quit();
    }
}

fn screens(console: &mut Console, table: &mut Table) {
    console.press("1");
    console.wait_for("[1 Models]");
    console.press("gg");
    console.wait_until("the first row", |screen| ordinal(screen) == Some(1));
    quiet(console, Duration::from_secs(2));
    let before = console.count();
    console.press("<PgDn>");
    console.wait_until("the next page", |screen| ordinal(screen).is_some_and(|row| row > 10));
    let page = console.settle() - before;
    table.at_most("octets of a page, the pane included", 2560.0, "octets", page as f64);
    let mut most = 0;
    for (key, name) in [
        ("2", "[2 Audit"),
        ("3", "[3 Queue"),
        ("4", "[4 Quar"),
        ("5", "[5 Users"),
        ("6", "[6 Health"),
        ("1", "[1 Models"),
    ] {
        let before = console.settle();
        console.press(key);
        console.wait_for(name);
        let octets = console.settle() - before;
        println!("screen {key}: {octets} octets");
        most = most.max(octets);
    }
    table.at_most("octets of a new screen, the largest", 4096.0, "octets", most as f64);
}

/// Messages leave by themselves; they are no part of a key's price.
fn quiet(console: &Console, time: Duration) {
    std::thread::sleep(time);
    console.settle();
}
