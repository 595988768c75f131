//! Figures: settings of a run, how calm the machine is, percentiles, and lines of a table. Knows numbers; refuses to
//! know what was measured.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Processors busier than this before a run make it a noisy one.
const CALM_BUSY_MAX: f64 = 0.15;

/// Whether this is `cargo bench`. A test run that builds everything also starts the benches, without that word: they
/// then do nothing.
pub(crate) fn asked() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether a part is to be run: all are, unless some are named (`cargo bench --bench http -- logins`).
pub(crate) fn wanted(part: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

/// A number that the environment may set.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_error| panic!("{name} must be a whole number, not {text:?}")),
        Err(_unset) => default,
    }
}

/// A directory on the disk of the build, removed at the end.
pub(crate) fn scratch() -> TempDir {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(dir).unwrap();
    tempfile::Builder::new().prefix("bench-").tempdir_in(dir).unwrap()
}

/// Says what the machine is, and whether figures from it can be trusted now.
pub(crate) fn machine() {
    let cores = std::thread::available_parallelism().unwrap();
    let busy = busy_share(Duration::from_secs(1));
    println!("machine: {cores} cores, {:.0} % busy before the run", busy * 100.0);
    if busy > CALM_BUSY_MAX {
        println!("NOISY: something else is running; ratios are worth more than figures, and neither is worth much");
    }
}

/// The share of all processors' time that was not idle during a pause.
fn busy_share(pause: Duration) -> f64 {
    let read = || {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let ticks: Vec<u64> =
            stat.lines().next().unwrap().split_whitespace().skip(1).take(8).map(|n| n.parse().unwrap()).collect();
        (ticks.iter().sum::<u64>(), ticks[3] + ticks[4])
    };
    let (all, idle) = read();
    std::thread::sleep(pause);
    let (all_after, idle_after) = read();
    1.0 - (idle_after - idle) as f64 / (all_after - all).max(1) as f64
}

/// The middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How often something happened, and how long each time took.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Microseconds of each.
    pub(crate) took_us: Vec<u32>,
    /// Seconds from the first to the last.
    pub(crate) seconds: f64,
}

impl Sample {
    /// Times a loop until its time is over.
    pub(crate) fn of(seconds: f64, mut work: impl FnMut()) -> Self {
        let began = Instant::now();
        let mut took_us = Vec::new();
        while began.elapsed().as_secs_f64() < seconds {
            let at = Instant::now();
            work();
            took_us.push(micros(at.elapsed()));
        }
        Self { took_us, seconds: began.elapsed().as_secs_f64() }
    }

    /// How many a second.
    pub(crate) fn rate(&self) -> f64 {
        self.took_us.len() as f64 / self.seconds
    }

    /// The time that a share of them did not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = ((last as f64 * share).round() as usize).min(last);
        f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
    }
}

/// Processor time a process has taken, in microseconds; the kernel counts in hundredths of a second (proc_pid_stat(5)).
pub(crate) fn cpu_us_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10_000).sum()
}

/// Whole microseconds.
pub(crate) fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

/// A heading.
pub(crate) fn heading(text: impl Display) {
    println!("\n## {text}");
}

/// A figure that should be at least so much: the figure, its target, and whether it is met, as words. The line also goes to
/// the table of the run.
pub(crate) fn at_least(what: impl Display, figure: f64, unit: &str, target: f64) -> String {
    reached(&what.to_string(), figure, unit, &format!("≥ {target}"), figure >= target)
}

/// The same for a figure that should be at most so much.
pub(crate) fn at_most(what: impl Display, figure: f64, unit: &str, target: f64) -> String {
    reached(&what.to_string(), figure, unit, &format!("≤ {target}"), figure <= target)
}

fn reached(what: &str, figure: f64, unit: &str, target: &str, is_met: bool) -> String {
    let digits = if figure.abs() < 0.01 && figure != 0.0 { 5 } else { 2 };
    let (figure, verdict) = (format!("{figure:.digits$}"), if is_met { "met" } else { "NOT MET" });
    note(&format!("| {what} | {target} {unit} | {figure} {unit} | {verdict} |"));
    format!("{figure} {unit} (target {target}: {verdict})")
}

/// Says that something was not measured, and why, here and in the table of the run.
pub(crate) fn skipped(what: &str, why: &str) {
    println!("SKIPPED: {what}: {why}");
    note(&format!("| {what} | | | not measured: {why} |"));
}

/// Adds a line to the table that `benches/run` prints at the end, if it is what runs this.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
fn note(line: &str) {
    let Some(table) = std::env::var_os("MREG_BENCH_TABLE") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(table).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// The daemon to measure: the one that `MREGD_BIN` names, as `benches/run` does with the program that is shipped, or the one
/// that was built with the bench.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
pub(crate) fn mregd() -> PathBuf {
    let named = std::env::var_os("MREGD_BIN").map(PathBuf::from);
    named.or(option_env!("CARGO_BIN_EXE_mregd").map(PathBuf::from)).expect("this bench needs MREGD_BIN")
}

/// A peer that a script started: where it listens, from the environment.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
pub(crate) fn peer(name: &str) -> Option<SocketAddr> {
    let setting = format!("MREG_BENCH_{}", name.to_uppercase());
    match std::env::var(&setting) {
        Ok(address) => {
            Some(address.parse().unwrap_or_else(|_error| panic!("{setting} must be an address with a port")))
        }
        Err(_unset) => {
            skipped(&format!("beside {name}"), "it does not run; benches/run starts the peers that are installed");
            None
        }
    }
}
