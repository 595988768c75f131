//! Memory of the console after sign-in, and what it grows by while all there is passes by; entries that scrolling makes.

use std::time::Duration;

use tests::pty::Console;
use tests::show::Load;

use crate::bed::{Bed, ordinal};
use crate::table::Table;

const MIB: f64 = 1024.0 * 1024.0;
/// Keys sent at once, and rows of the held key.
const KEYS_AT_ONCE: usize = 20;
const HELD_ROWS: usize = 10_000;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let mut console = bed.console(bed.setup());
    std::thread::sleep(Duration::from_secs(2));
    let first = console.resident();
    table.at_most("resident after login", 20.0, "MiB", first as f64 / MIB);
    println!("{:.1} MiB of it its own", console.anonymous() as f64 / MIB);

    console.press("gg");
    console.settle();
    let before = bed.size();
    let rows = HELD_ROWS.min(usize::try_from(bed.models).unwrap_or(usize::MAX) - 1);
    // At the edge of what is read, steps are lost until the next page is there.
    while ordinal(&console.screen()).unwrap_or(0) <= rows as u64 {
        held(&mut console, "j", KEYS_AT_ONCE);
    }
    console.settle();
    table.at_most(&format!("entries by {rows} rows with a held key"), 60.0, "", (bed.size() - before) as f64);
    say(table, "growth: a held key over models", &console, first);

    for _ in 0..5 {
        console.press("G");
        console.wait_until("the end", |screen| ordinal(screen) == Some(bed.models));
        held(&mut console, "<PgUp>", 200);
        console.settle();
        console.press("gg");
        console.wait_until("the beginning", |screen| ordinal(screen) == Some(1));
        held(&mut console, "<PgDn>", 200);
        console.settle();
    }
    say(table, "growth: models, G, PgUp, gg, PgDn", &console, first);

    console.press("2");
    console.wait_for("FOLLOWING");
    console.settle();
    for index in [0, bed.entries / 3, bed.entries / 2, bed.entries - 1] {
        console.press(&format!("{}G", index.max(1)));
        console.settle();
        held(&mut console, "<PgUp>", 50);
        held(&mut console, "<PgDn>", 100);
        console.settle();
    }
    held(&mut console, "k", 1_000);
    console.settle();
    say(table, "growth: entries, by index, PgUp, PgDn, held key", &console, first);

    console.press("G");
    console.settle();
    let load = Load::start(bed.daemon.address(), bed.acts(), 1_000, 20_000);
    load.finish();
    console.settle();
    say(table, "growth: 20 000 entries tailed", &console, first);
    console.quit();
}

/// A key that is held down, on a fast keyboard: some at once, and a frame between.
fn held(console: &mut Console, key: &str, times: usize) {
    for chunk in 0..times.div_ceil(KEYS_AT_ONCE) {
        let keys = KEYS_AT_ONCE.min(times - chunk * KEYS_AT_ONCE);
        console.press(&key.repeat(keys));
        std::thread::sleep(Duration::from_millis(40));
    }
}

fn say(table: &mut Table, what: &str, console: &Console, first: u64) {
    let now = console.resident();
    table.at_most(what, 4.0, "MiB", (now as f64 - first as f64) / MIB);
    println!("resident {:.1} MiB, {:.1} MiB of it its own", now as f64 / MIB, console.anonymous() as f64 / MIB);
}
