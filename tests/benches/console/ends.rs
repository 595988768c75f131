//! The daemon that comes back, and the ways a console ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::bed::Bed;
use crate::table::Table;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    for by_key in [false, true] {
        let mut console = bed.console(bed.setup());
        bed.daemon.stop();
        console.wait_gone("* live");
        std::thread::sleep(Duration::from_secs(3));
        bed.daemon.restart();
        let back = Instant::now();
        if by_key {
            console.press("<C-r>");
        }
        console.wait_for("* live");
        let (what, most) = if by_key { ("live again after C-r", 0.3) } else { ("live again after the daemon is", 2.0) };
        table.at_most(what, most, "s", back.elapsed().as_secs_f64());
        console.quit();
    }
    for signal in [Signal::TERM, Signal::HUP] {
        let mut console = bed.console(bed.setup());
        console.signal(signal);
        let (_status, took) = console.wait_end();
        console.assert_given_back();
        table.at_most(&format!("{signal:?} to the end"), 1.0, "s", took.as_secs_f64());
    }
    let mut console = bed.console(bed.setup());
    let began = Instant::now();
    console.close();
    console.wait_end();
    table.at_most("lost line to the end", 1.0, "s", began.elapsed().as_secs_f64());
}
