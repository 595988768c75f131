//! The daemon and the registry that is looked at, and the ways to come to a console in a known place.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::role::Role;
use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::fill::made::USERS;
use tests::fill::{ORIGIN, Size, fill, places};
use tests::http::Client;
use tests::pty::{Console, Setup};
use tests::show::Acts;

use crate::figures::scratch;

/// The registry where none is given.
const SMALL: Size = Size { models: 1_000, versions: 3_000, entries: 10_000, seed: 1 };
/// How often it is looked for something on the screen.
const LOOK: Duration = Duration::from_micros(200);
/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon on a filled directory.
pub(crate) struct Bed {
    pub(crate) daemon: Daemon,
    /// Models there are.
    pub(crate) models: u64,
    /// Entries there were at first.
    pub(crate) entries: u64,
    _dir: Option<TempDir>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let (dir, made) = match given() {
            Some(dir) => (dir, None),
            None => {
                let made = scratch();
                let dir = made.path().join("registry");
                fill(&dir, &SMALL, ADMIN_PASSWORD, &|_done, _of| {}).unwrap();
                (dir, Some(made))
            }
        };
        let (data, keys) = places(&dir);
        let mut daemon = Daemon::prepared(&[
            ("MREG_DATA_DIR", &data.display().to_string()),
            ("MREG_KEY_DIR", &keys.display().to_string()),
            ("MREG_LOG_ORIGIN", ORIGIN),
        ]);
        let began = Instant::now();
        daemon.restart();
        let status = daemon.admin().value("/status");
        let count = |of: &str, what: &str| status[of][what].as_u64().unwrap();
        let (models, entries) = (count("store", "models"), count("log", "size"));
        println!(
            "{models} models, {entries} entries; the daemon was ready after {:.2} s",
            began.elapsed().as_secs_f64()
        );
        // The same address after a restart.
        let address = daemon.address().to_string();
        daemon.set("MREG_BIND", &address);
        Self { daemon, models, entries, _dir: made }
    }

    /// Arguments for this daemon.
    pub(crate) fn setup(&self) -> Setup {
        let (url, key) = (format!("http://{}", self.daemon.address()), self.daemon.ledger().vkey().to_string());
        Setup::new().args(&["--url", &url, "--user", ADMIN, "--log-key", &key])
    }

    /// A console signed in, with models on its screen and nothing left to draw.
    pub(crate) fn console(&self, setup: Setup) -> Console {
        let mut console = setup.start();
        console.wait_for("Password");
        console.press(ADMIN_PASSWORD);
        console.press("<Enter>");
        console.wait_for(" of ");
        console.wait_for("* live");
        console.settle();
        console
    }

    /// Those who make entries.
    pub(crate) fn acts(&self) -> Acts {
        let signed_in = |role: Role| {
            let (name, _role) = USERS.iter().find(|(_name, one)| *one == role).unwrap();
            (role, self.daemon.client().signed_in(name, ADMIN_PASSWORD))
        };
        Acts::of(&[Role::Contributor, Role::Viewer, Role::Auditor].map(signed_in))
    }

    /// Entries there are now.
    pub(crate) fn size(&self) -> u64 {
        size(&self.daemon.client())
    }

    /// Requests the daemon has answered so far; asking is one.
    pub(crate) fn requests(&self) -> u64 {
        let text = self.daemon.client().get("/metrics").expect(200).text();
        let lines = text.lines().filter(|line| line.starts_with("mreg_http_requests_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

/// Entries of a log.
pub(crate) fn size(client: &Client) -> u64 {
    client.get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse().unwrap()
}

/// The directory that is given.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
fn given() -> Option<PathBuf> {
    std::env::var_os("MREG_BENCH_DIR").map(PathBuf::from)
}

/// Presses keys and looks closely until the screen fits; how long that took.
pub(crate) fn timed(console: &mut Console, keys: &str, fits: impl Fn(&str) -> bool) -> Duration {
    let began = Instant::now();
    console.press(keys);
    while !fits(&console.screen()) {
        assert!(began.elapsed() < PATIENCE, "{keys} did nothing:\n{}", console.screen());
        std::thread::sleep(LOOK);
    }
    began.elapsed()
}

/// The number of the row that is selected, as the second line has it (`Models 1 234 of 5 678`).
pub(crate) fn ordinal(screen: &str) -> Option<u64> {
    let line = screen.lines().nth(1)?;
    let (before, _after) = line.split_once(" of ")?;
    let digits: String = before.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The newest index on the screen of entries.
pub(crate) fn newest_shown(screen: &str) -> Option<u64> {
    let rows = screen.lines().skip(3);
    rows.filter_map(|row| {
        let row = row.trim_start_matches(['.', '\u{258c}', '>', '*', ' ']);
        row.split(' ').next()?.parse::<u64>().ok()
    })
    .max()
}

/// Milliseconds.
pub(crate) fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// What a share of some times did not exceed, in milliseconds.
pub(crate) fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    ms(sorted[at])
}
