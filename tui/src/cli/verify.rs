//! `mreg verify`: the whole log, or a range of it, at one fixed checkpoint. The check is `worker::check`'s; here it is asked
//! for and told.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::audit::Verifier;
use common::client::Client;

use super::{CliError, document, talk};
use crate::clean::clean;
use crate::worker::check::{self, Failed};
use crate::worker::files;

/// The pause between two pictures of the progress.
const PICTURE: Duration = Duration::from_millis(250);

/// What was asked for.
pub(super) struct Asked {
    /// The first entry.
    pub(super) from: Option<u64>,
    /// One behind the last.
    pub(super) to: Option<u64>,
    /// Go on where the last run was interrupted.
    pub(super) resume: bool,
    /// One JSON document.
    pub(super) json: bool,
    /// The log's keys, where they are given.
    pub(super) keys: Vec<Verifier>,
    /// Where pins and progress are kept.
    pub(super) folder: Option<PathBuf>,
}

impl From<Failed> for CliError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Client(error) => Self::Client(error),
            Failed::Io(error) => Self::Io(error),
            Failed::Usage(why) => Self::Usage(why),
            Failed::NotVerified(why) => Self::NotVerified(why),
        }
    }
}

/// The log's keys: those that are given, else those that the console keeps.
///
/// # Errors
/// [`CliError::Usage`] where none is known.
pub(super) fn keys_of(given: Vec<Verifier>, folder: Option<&Path>, address: &str) -> Result<Vec<Verifier>, CliError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let kept = match folder {
        Some(folder) => files::read_kept(folder, address).map_err(CliError::Usage)?,
        None => None,
    };
    let kept = kept.ok_or_else(|| {
        CliError::Usage("the log's key is not known: give --log-key, or open the console once".to_owned())
    })?;
    if !kept.confirmed {
        talk("the log's key was taken on first use and nobody confirmed it");
    }
    Ok(kept.keys.iter().filter_map(|key| key.parse().ok()).collect())
}

pub(super) async fn verify(client: &Client, asked: Asked, out: &mut impl Write) -> Result<(), CliError> {
    let Asked { from, to, resume, json, keys, folder } = asked;
    let keys = keys_of(keys, folder.as_deref(), client.address())?;
    let mut picture = Picture::new("entries");
    let asked = check::Asked { from, to, resume, keys, folder, saved: None };
    let report = check::check(client, asked, move |done, of| picture.step(done, Some(of))).await;
    let report = report?;
    if json {
        writeln!(out, "{}", document(&report)?)?;
    } else {
        for fault in &report.faults_before {
            writeln!(out, "{}", clean(fault))?;
        }
        for fault in &report.faults {
            writeln!(out, "{}", clean(&fault.to_string()))?;
        }
        let told = (report.faults.len() + report.faults_before.len()) as u64;
        if report.faults_total > told {
            writeln!(out, "and {} more", report.faults_total - told)?;
        }
        for note in &report.notes {
            writeln!(out, "note: {}", clean(note))?;
        }
        if !report.origin.is_empty() {
            writeln!(out, "log {}, {}, root {}", clean(&report.origin), count(report.size), report.root)?;
            let part = if report.from > 0 || report.to < report.size {
                format!(" ({} to {})", report.from, report.to.saturating_sub(1))
            } else {
                String::new()
            };
            writeln!(out, "{} read{part}, tiles compared: {}", count(report.entries), report.tiles)?;
        }
        if report.ok {
            writeln!(out, "passed")?;
        }
    }
    out.flush()?;
    match report.faults_total {
        0 => Ok(()),
        1 => Err(CliError::NotVerified("verification failed: 1 fault".to_owned())),
        more => Err(CliError::NotVerified(format!("verification failed: {more} faults"))),
    }
}

/// A line on a terminal's standard error that says how far it is.
pub(super) struct Picture {
    what: &'static str,
    began: Instant,
    drawn: Option<Instant>,
}

impl Picture {
    pub(super) fn new(what: &'static str) -> Self {
        let began = Instant::now();
        Self { what, began, drawn: io::stderr().is_terminal().then_some(began) }
    }

    pub(super) fn step(&mut self, done: u64, of: Option<u64>) {
        let Some(drawn) = self.drawn.filter(|drawn| drawn.elapsed() >= PICTURE) else { return };
        let per_s = u128::from(done) * 1000 / self.began.elapsed().as_millis().max(1);
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        let line = format!("\r{done}{of} {}, {per_s}/s\x1b[K", self.what);
        // There is nobody left to tell that telling failed.
        let _ = io::stderr().lock().write_all(line.as_bytes());
        self.drawn = Some(drawn + drawn.elapsed());
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}

/// `1 entry`, `4 entries`; without blanks in the number, for programs read it too.
fn count(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}
