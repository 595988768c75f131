//! `mregd log tail`: the monitor. It remembers the newest checkpoint that it saw, and checks that the next one extends it.
//! Knows the state's file and what is kept when a log misbehaves; refuses to know entries.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::audit::{
    Checkpoint, Hash, NOTE_LEN_MAX, Nodes, Note, ProveError, TilePath, Verifier, consistency_proof, root_of,
    verify_consistency,
};
use sha2::{Digest as _, Sha256};

use super::source::{self, CHECKPOINT, Lost, Source};
use crate::cli::{self, Exit, TailOptions};
use crate::commands::Failed;
use crate::durable::{self, MODE_FILE};

/// Octets that are kept of a note that no pinned key signed: anyone can make one up, and its beginning says whose it is.
const UNSIGNED_OCTETS_MAX: usize = 512;

/// Files of evidence beside a state, of what was signed and of what was not.
const EVIDENCE_MAX: usize = 64;

pub(in crate::commands) fn tail(asked: &TailOptions) -> Result<(), Failed> {
    let pins = source::pins(&asked.pins.vkey)?;
    let source = source::remote(&asked.url, &asked.remote)?;
    let Some(interval) = asked.interval else { return look(source.as_ref(), &asked.state, &pins).and_then(say) };
    loop {
        match look(source.as_ref(), &asked.state, &pins) {
            Ok(line) => say(line)?,
            // Out of reach is no word on the log.
            Err(Failed { exit: Exit::TempFail, message }) => cli::err(&format!("warning: {message}")),
            Err(failed) => return Err(failed),
        }
        std::thread::sleep(interval.max(Duration::from_secs(1)));
    }
}

fn say(line: String) -> Result<(), Failed> {
    match cli::out(&line) {
        Exit::Ok => Ok(()),
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}

/// Looks once: fetches the checkpoint, holds it against the one that was saved, saves it. Gives the line to say.
fn look(source: &dyn Source, state: &Path, pins: &[Verifier]) -> Result<String, Failed> {
    let saved = saved(state, pins)?;
    let note = source.get(CHECKPOINT).map_err(Lost::into_failed)?;
    let parsed = Note::parse(&note).map_err(|error| {
        // A network's sign-in page, perhaps: no word on the log.
        Failed::new(Exit::TempFail, format_args!("the answer is no checkpoint; is it the log that answers? {error}"))
    })?;
    let shown = match parsed.verify(pins) {
        Ok(_signed) => Evidence::Signed(&note),
        Err(_unsigned) => Evidence::Unsigned(&note[..note.len().min(UNSIGNED_OCTETS_MAX)]),
    };
    let alarm = |why: String| alarm(state, saved.as_ref().map(|saved| saved.note.as_slice()), shown, &why);
    let now = match Checkpoint::open(&note, pins) {
        Ok(signed) => signed.checkpoint,
        Err(error) => return Err(alarm(format!("the checkpoint is not accepted: {error}"))),
    };
    let Checkpoint { origin, size, root } = &now;
    let grown = match &saved {
        None => "first seen".to_owned(),
        Some(Saved { checkpoint: before, .. }) => {
            if let Err(refused) = extends(source, before, &now) {
                return Err(match refused {
                    Refused::Alarm(why) => alarm(why),
                    Refused::Failed(failed) => failed,
                });
            }
            format!("{} more", size - before.size)
        }
    };
    // A note of the same checkpoint may have other signatures: the newest is kept.
    if saved.is_none_or(|saved| saved.note != note) {
        durable::write_file(state, &note, MODE_FILE).map_err(|error| cannot_write(state, &error))?;
    }
    Ok(format!("{origin}: {size} entries, root {root}, {grown}\n"))
}

/// The checkpoint that was seen last.
struct Saved {
    note: Vec<u8>,
    checkpoint: Checkpoint,
}

fn saved(state: &Path, pins: &[Verifier]) -> Result<Option<Saved>, Failed> {
    let note = match source::read_bounded(state, NOTE_LEN_MAX) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failed::new(Exit::Io, format_args!("{}: {error}", state.display()))),
    };
    match Checkpoint::open(&note, pins) {
        Ok(signed) => Ok(Some(Saved { note, checkpoint: signed.checkpoint })),
        Err(error) => Err(Failed::new(
            Exit::Data,
            format_args!(
                "{} is not a checkpoint of this log: {error}; give the key that signed it, too",
                state.display()
            ),
        )),
    }
}

/// Why a checkpoint is not taken.
enum Refused {
    /// The log misbehaves.
    Alarm(String),
    /// It could not be asked.
    Failed(Failed),
}

/// Checks that the log at `now` begins with the log at `before`.
fn extends(source: &dyn Source, before: &Checkpoint, now: &Checkpoint) -> Result<(), Refused> {
    let alarm = |why: String| Err(Refused::Alarm(why));
    if before.origin != now.origin {
        return alarm(format!(
            "the log was {} and calls itself {}: it was rolled back with its operator's consent, or its key was \
             compromised; ask, look for `log.rollback_accepted`, and begin with a new state",
            before.origin, now.origin
        ));
    }
    if now.size < before.size {
        return alarm(format!("the log was rolled back: it has {} entries and had {}", now.size, before.size));
    }
    if now.size == before.size && now.root != before.root {
        return alarm(format!("the log forked: two roots of {} entries, both signed", now.size));
    }
    let nodes = Tiles { source, size: now.size, cache: RefCell::default() };
    let proof = match consistency_proof(before.size, now.size, &nodes) {
        Ok(proof) => proof,
        Err(ProveError::Nodes(Lost::Failed(failed))) => return Err(Refused::Failed(failed)),
        Err(ProveError::Nodes(Lost::Missing(why))) => {
            return alarm(format!("the log does not show that it extends what it was: {why}"));
        }
        Err(error) => return alarm(format!("the log does not show that it extends what it was: {error}")),
    };
    verify_consistency(before.size, &before.root, now.size, &now.root, &proof).map_err(|error| {
        let (before, now) = (before.size, now.size);
        Refused::Alarm(format!(
            "the log forked: at {now} entries it is not shown to extend what it was at {before}: {error}"
        ))
    })
}

/// The tree's nodes by way of its tiles.
struct Tiles<'a> {
    source: &'a dyn Source,
    size: u64,
    /// A proof asks for two of each level, some of them several times.
    cache: RefCell<HashMap<TilePath, Vec<Hash>>>,
}

impl Nodes for Tiles<'_> {
    type Error = Lost;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Lost> {
        let missing = || Lost::Missing(format!("there is no node {level}, {index}"));
        let (path, range) = TilePath::of_node(level, index, self.size).ok_or_else(missing)?;
        let mut cache = self.cache.borrow_mut();
        if let Some(hashes) = cache.get(&path) {
            return hashes.get(range).map(root_of).ok_or_else(missing);
        }
        let octets = self.source.get(&path.to_string()).map_err(|lost| match lost {
            Lost::Missing(why) => Lost::Missing(format!("{path}: {why}")),
            failed @ Lost::Failed(_) => failed,
        })?;
        let (hashes, rest) = octets.as_chunks();
        if hashes.len() != usize::from(path.width()) || !rest.is_empty() {
            return Err(Lost::Missing(format!("{path} has {} octets", octets.len())));
        }
        let hashes = cache.entry(path).or_insert(hashes.iter().copied().map(Hash).collect());
        hashes.get(range).map(root_of).ok_or_else(missing)
    }
}

/// A note that is kept.
#[derive(Clone, Copy)]
enum Evidence<'a> {
    /// By a pinned key.
    Signed(&'a [u8]),
    /// By nobody who is known.
    Unsigned(&'a [u8]),
}

/// Keeps what was seen before and what is shown now, and says where.
fn alarm(state: &Path, before: Option<&[u8]>, now: Evidence<'_>, why: &str) -> Failed {
    let mut kept = Vec::new();
    for evidence in before.map(Evidence::Signed).into_iter().chain([now]) {
        match keep(state, evidence) {
            Ok(Some(path)) => kept.push(path.display().to_string()),
            Ok(None) => kept.push(format!("no more files: there are {EVIDENCE_MAX}")),
            Err(error) => return cannot_write(state, &error),
        }
    }
    Failed::new(Exit::Data, format_args!("{why}; what was seen is kept in {}", kept.join(", ")))
}

/// Keeps a note beside the state, named after its octets: nothing is ever written over. None where there are too many.
fn keep(state: &Path, evidence: Evidence<'_>) -> io::Result<Option<PathBuf>> {
    let (note, ending) = match evidence {
        Evidence::Signed(note) => (note, "note"),
        Evidence::Unsigned(note) => (note, "unsigned"),
    };
    let digest = hex::encode(Sha256::digest(note));
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{ending}", &digest[..16]));
    let path = state.with_file_name(name);
    if path.try_exists()? {
        return Ok(Some(path));
    }
    let dir = state.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = match std::fs::read_dir(dir) {
        Ok(files) => files.flatten().filter(|file| is_evidence(state, ending, &file.path())).count(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if there >= EVIDENCE_MAX {
        return Ok(None);
    }
    durable::write_file(&path, note, MODE_FILE)?;
    Ok(Some(path))
}

fn is_evidence(state: &Path, ending: &str, path: &Path) -> bool {
    let is_of_state = match (path.file_stem().map(Path::new).and_then(Path::file_stem), state.file_name()) {
        (Some(stem), Some(name)) => stem == name,
        (_, _) => false,
    };
    is_of_state && path.extension().is_some_and(|extension| extension == ending)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failed {
    Failed::new(crate::commands::exit_of(error), format_args!("{}: {error}", path.display()))
}
