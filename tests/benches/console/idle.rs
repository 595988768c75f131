//! What happens while nothing happens.

use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::figures::setting;
use crate::table::Table;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let seconds = setting("MREG_BENCH_SECONDS", 10).max(1);
    let mut console = bed.console(bed.setup());
    // The last message leaves, and the badge comes to rest.
    std::thread::sleep(Duration::from_secs(9));
    let before = (console.settle(), console.wakeups(), console.processor(), bed.size());
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = (console.count(), console.wakeups(), console.processor(), bed.size());
    let took = began.elapsed().as_secs_f64();
    table.at_most(&format!("idle: octets in {seconds} s"), 0.0, "octets", (after.0 - before.0) as f64);
    table.at_most("idle: wakeups", 2.0, "/s", (after.1 - before.1) as f64 / took);
    table.at_most("idle: processor", 0.1, "%", (after.2 - before.2).as_secs_f64() / took * 100.0);
    table.at_most(&format!("idle: entries in {seconds} s"), 1.0, "", (after.3 - before.3) as f64);

    console.press("6");
    console.wait_for("Health   ");
    console.settle();
    std::thread::sleep(Duration::from_secs(2));
    let before = console.count();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds.max(30)));
    let rate = (console.count() - before) as f64 / began.elapsed().as_secs_f64();
    table.at_most("Health open", 100.0, "octets/s", rate);
    console.quit();
}
