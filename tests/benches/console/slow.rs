//! A line of 1 200 octets a second, a quarter of a second away.

use std::time::{Duration, Instant};

use crate::bed::{Bed, ordinal};
use crate::table::Table;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let setup = bed.setup().args(&["--slow"]).line(1_200).delay(Duration::from_millis(250));
    let mut console = bed.console(setup);
    console.press("gg");
    console.settle();
    std::thread::sleep(Duration::from_secs(2));
    console.settle();
    let began = Instant::now();
    for _ in 0..30 {
        console.press("j");
        std::thread::sleep(Duration::from_millis(33));
    }
    console.wait_until("the last step", |screen| ordinal(screen) == Some(31));
    let there = began.elapsed();
    // What is left of the frame, and the pane beside it. Longer than it takes a line to bring its next octets.
    while console.newest().elapsed() < Duration::from_millis(600) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let settled = console.newest() - began;
    println!("the last step was shown after {:.2} s", there.as_secs_f64());
    table.at_most("slow line: 30 keys in 1 s, settled after", 4.0, "s", settled.as_secs_f64());
    console.quit();
}
