//! The console's targets (console.md §19) as far as they are counts: octets, requests, entries, memory. What is a time is
//! measured by `cargo bench -p tests --bench console`. All with the real console against the real daemon.

use std::time::{Duration, Instant};

use common::role::Role;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::fill::Size;
use tests::fill::made::USERS;
use tests::pty::{Console, Setup};
use tests::show::{Acts, Load};
use tests::wait::until;

use crate::fill::filled;

/// Octets a second that frames nobody asked for may have.
const RATE_MAX: f64 = 8192.0;

struct Bed {
    daemon: Daemon,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new(models: u64, entries: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = filled(&dir, &Size { models, versions: models + models / 2, entries, seed: 1 });
        daemon.restart();
        Self { daemon, _dir: dir }
    }

    fn console(&self, setup: Setup) -> Console {
        let (url, key) = (format!("http://{}", self.daemon.address()), self.daemon.ledger().vkey().to_string());
        let mut console = setup.args(&["--url", &url, "--user", ADMIN, "--log-key", &key]).start();
        console.wait_for("Password");
        console.press(ADMIN_PASSWORD);
        console.press("<Enter>");
        console.wait_for(" of ");
        console.wait_for("* live");
        console.settle();
        console
    }

    fn acts(&self) -> Acts {
        let signed_in = |role: Role| {
            let (name, _role) = USERS.iter().find(|(_name, one)| *one == role).unwrap();
            (role, self.daemon.client().signed_in(name, ADMIN_PASSWORD))
        };
        Acts::of(&[Role::Contributor, Role::Viewer, Role::Auditor].map(signed_in))
    }

    fn size(&self) -> u64 {
        self.daemon.client().get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse().unwrap()
    }

    /// Requests the daemon has answered; asking is one.
    fn requests(&self) -> u64 {
        let text = self.daemon.client().get("/metrics").expect(200).text();
        let lines = text.lines().filter(|line| line.starts_with("mreg_http_requests_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

/// From the dialog to a live screen it takes ten requests at most, however long the log is.
#[test]
fn requests_of_a_start() {
    for entries in [600, 9_000] {
        let bed = Bed::new(300, entries);
        let before = (bed.requests(), bed.size());
        let mut console = bed.console(Setup::new());
        let (requests, made) = (bed.requests() - before.0 - 1, bed.size() - before.1);
        println!("{entries} entries: {requests} requests, {made} entries");
        assert!(requests <= 10, "{requests} requests");
        // The sign-in, the page of models where that is recorded, and that the log is read.
        assert!(made <= 3, "{made} entries");
        console.quit();
    }
}

/// A row of the tail costs no more than its own octets, as rows are moved by the terminal. On a busy machine an entry and its
/// checkpoint come so far apart that each is drawn in a frame of its own; the calmest of some stretches tells what a row costs.
#[test]
fn a_row_of_the_tail() {
    let bed = Bed::new(50, 600);
    let mut console = bed.console(Setup::new());
    console.press("2");
    console.wait_for("FOLLOWING");
    let acts = bed.acts();
    let mut least = u64::MAX;
    for _ in 0..6 {
        console.wait_for(&(bed.size() - 1).to_string());
        let before = (console.settle(), bed.size());
        Load::start(bed.daemon.address(), acts.clone(), 10, 20).finish();
        let size = bed.size();
        console.wait_for(&(size - 1).to_string());
        let octets = (console.settle() - before.0) as u64;
        least = least.min(octets / (size - before.1));
    }
    println!("{least} octets a row");
    assert!(least <= 160, "{least} octets a row");
    console.quit();
}

/// However fast the log grows, the terminal gets no more than its octets a second, and the newest row is there in the end.
#[test]
fn a_fast_tail() {
    let bed = Bed::new(50, 600);
    let mut console = bed.console(Setup::new());
    console.press("2");
    console.wait_for("FOLLOWING");
    let before = console.settle();
    let began = Instant::now();
    Load::start(bed.daemon.address(), bed.acts(), 500, 3_000).finish();
    let last = bed.size() - 1;
    console.wait_for(&last.to_string());
    console.settle();
    let (octets, seconds) = ((console.count() - before) as f64, began.elapsed().as_secs_f64());
    println!("{:.0} octets/s over {seconds:.1} s", octets / seconds);
    // A second's budget may be there at first.
    assert!(octets <= RATE_MAX * (seconds + 1.0), "{octets} octets in {seconds} s");
    console.quit();
}

/// Scrolling is not reading: a held key makes few entries, and the console does not grow with what passes by.
#[test]
fn a_held_key() {
    let models = 2_000;
    let bed = Bed::new(models, 12_000);
    let mut console = bed.console(Setup::new());
    console.press("gg");
    console.settle();
    let (first, before) = (console.resident(), bed.size());
    // As fast as they are taken: at the edge of what is read, steps are lost until the next page is there.
    let row = |screen: &str| {
        let line = screen.lines().nth(1).unwrap_or_default().split(" of ").next().unwrap_or_default();
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap_or(0)
    };
    let is_at = |screen: &str, wanted: u64| row(screen) == wanted;
    for _ in 0..models {
        console.press(&"j".repeat(20));
        console.settle();
        if row(&console.screen()) == models {
            break;
        }
    }
    assert!(is_at(&console.screen(), models), "{}", console.screen());
    console.settle();
    let made = bed.size() - before;
    println!("{made} entries by {models} rows");
    assert!(made <= 60 * models / 10_000 + 2, "{made} entries");
    for _ in 0..3 {
        console.press("G");
        console.wait_until("the end", |screen| is_at(screen, models));
        console.press("gg");
        console.wait_until("the beginning", |screen| is_at(screen, 1));
    }
    console.press("2");
    console.wait_for("FOLLOWING");
    for index in [1, 6_000, 11_000] {
        console.press(&format!("{index}G"));
        console.settle();
        console.press(&"<PgUp>".repeat(20));
        console.press(&"<PgDn>".repeat(40));
        console.settle();
    }
    let grown = console.resident().saturating_sub(first);
    println!("grown by {} KiB of {} KiB", grown / 1024, first / 1024);
    // 4 MiB in a release build.
    assert!(grown <= 12 << 20, "grown by {grown} octets from {first}");
    console.quit();
}

/// Health is polled, and hardly drawn.
#[test]
fn health_open() {
    let bed = Bed::new(50, 600);
    let mut console = bed.console(Setup::new());
    console.press("6");
    console.wait_for("Health   ");
    let before = (console.settle(), bed.size());
    let began = Instant::now();
    // Not a wait for something: what is measured is how little comes.
    std::thread::sleep(Duration::from_secs(16));
    let (octets, seconds) = ((console.count() - before.0) as f64, began.elapsed().as_secs_f64());
    println!("{:.0} octets/s", octets / seconds);
    // One poll more or less.
    assert!(octets <= 100.0 * (seconds + 5.0), "{octets} octets in {seconds} s:\n{}", console.screen());
    assert_eq!(bed.size(), before.1, "polling is not recorded");
    console.quit();
}

/// The daemon goes and comes back: so does the tail, with what happened meanwhile, and without a key.
#[test]
fn the_daemon_comes_back() {
    let mut bed = Bed::new(50, 600);
    let address = bed.daemon.address().to_string();
    bed.daemon.set("MREG_BIND", &address);
    let mut console = bed.console(Setup::new());
    console.press("2");
    console.wait_for("FOLLOWING");
    bed.daemon.stop();
    console.wait_gone("* live");
    bed.daemon.restart();
    console.wait_for("* live");
    let last = bed.size() - 1;
    until("the newest entry", || console.shows(&last.to_string()).then_some(()));
    assert!(!console.shows("missing") && !console.shows("BROKEN"), "{}", console.screen());
    console.quit();
}
