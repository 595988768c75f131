//! The log as it grows: octets a row when it is slow, octets a second and how far behind when it is fast.

use std::time::{Duration, Instant};

use tests::show::Load;

use crate::bed::{Bed, newest_shown, percentile, size};
use crate::table::Table;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let mut console = bed.console(bed.setup());
    console.press("2");
    console.wait_for("FOLLOWING");
    console.settle();
    for (rate, seconds) in [(1, 20), (10, 10)] {
        let before = console.settle();
        let load = Load::start(bed.daemon.address(), bed.acts(), rate, rate * seconds);
        let rows = load.finish();
        let octets = console.settle() - before;
        let what = format!("tail at {rate}/s, following: octets a row");
        table.at_most(&what, 160.0, "octets", octets as f64 / rows as f64);
    }

    let load = Load::start(bed.daemon.address(), bed.acts(), 1_000, u64::MAX);
    std::thread::sleep(Duration::from_secs(2));
    let (client, began, before, made) = (bed.daemon.client(), Instant::now(), console.count(), load.made());
    let (mut sizes, mut behind) = (Vec::new(), Vec::new());
    while began.elapsed() < Duration::from_secs(10) {
        sizes.push((Instant::now(), size(&client)));
        let shown = newest_shown(&console.screen()).unwrap_or(0);
        // When the log was as long as what is shown: since then the screen is behind.
        let since = sizes.iter().rev().find(|(_at, size)| *size <= shown + 1).map_or(began, |(at, _size)| *at);
        behind.push(since.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = began.elapsed().as_secs_f64();
    println!("{:.0} entries/s", (load.made() - made) as f64 / took);
    let rate = (console.count() - before) as f64 / took;
    load.stop();
    table.at_most("tail at 1 000/s: octets", 8192.0, "octets/s", rate);
    table.at_most("tail at 1 000/s: newest index behind, most", 1000.0, "ms", percentile(&behind, 1.0));
    console.settle();
    console.quit();
}
