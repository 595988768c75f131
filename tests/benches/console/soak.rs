//! Hours under 100 entries a second, following the log and looking at everything now and then: memory of console and daemon.

use std::time::{Duration, Instant};

use tests::show::Load;

use crate::bed::Bed;
use crate::figures::setting;
use crate::table::Table;

const MIB: f64 = 1024.0 * 1024.0;
/// Entries a second.
const RATE: u64 = 100;
/// Time between samples.
const SAMPLE: Duration = Duration::from_secs(30);

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let seconds = setting("MREG_BENCH_SECONDS", 600);
    let mut console = bed.console(bed.setup());
    std::thread::sleep(Duration::from_secs(2));
    let (first, began) = (console.resident(), Instant::now());
    let load = Load::start(bed.daemon.address(), bed.acts(), RATE, u64::MAX);
    let mut most = first;
    let mut rounds = 0_u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        // Most of the time the log is followed; every round looks at one other screen first.
        for key in [["1", "2"], ["3", "2"], ["4", "2"], ["5", "2"], ["6", "2"]][rounds as usize % 5] {
            console.press(key);
            std::thread::sleep(Duration::from_secs(1));
        }
        std::thread::sleep(SAMPLE);
        console.forget();
        rounds += 1;
        let now = console.resident();
        most = most.max(now);
        println!(
            "{:>6.0} s  {:>8} entries  console {:.2} MiB  daemon {:.1} MiB",
            began.elapsed().as_secs_f64(),
            load.made(),
            now as f64 / MIB,
            resident(bed.daemon.pid().as_raw_nonzero().get()) as f64 / MIB
        );
    }
    let made = load.stop();
    let hours = began.elapsed().as_secs_f64() / 3600.0;
    table.at_most(&format!("growth in {hours:.2} h under {made} entries"), 4.0, "MiB", (most - first) as f64 / MIB);
    console.quit();
}

fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
