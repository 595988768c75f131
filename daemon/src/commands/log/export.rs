//! `mregd log export`: the log as static files (C2SP tlog-tiles), as anybody's tools read it. Knows how files come to be
//! and what is kept; that they are the log is checked as they are written, by what `verify` does with hashes.
//!
//! A crash leaves files that the next export compares and keeps, and the old `checkpoint`, for it is written last.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::audit::{BundlePath, Checkpoint, NOTE_LEN_MAX, Note, TilePath, TileResource, leaf_hash, read_bundle};

use super::faults::Faults;
use super::source::{self, CHECKPOINT, Files, Lost, Source};
use super::whole::{self, Reading};
use crate::cli::{self, Exit, ExportOptions};
use crate::commands::Failed;
use crate::config::Options;
use crate::durable::{self, MODE_DIR, MODE_FILE};

pub(in crate::commands) fn export(options: &Options, asked: &ExportOptions) -> Result<(), Failed> {
    let pins = source::pins(&asked.vkey)?;
    let source = match &asked.url {
        Some(url) => source::remote(url, &asked.remote)?,
        None => source::local(options)?,
    };
    if !source.has_entries() {
        let message = "an export has the entries, which need a token; --token-file or MREG_TOKEN gives one";
        return Err(Failed::new(Exit::Usage, message));
    }
    let dir = asked.dir.as_path();
    let note = source.get(CHECKPOINT).map_err(Lost::into_failed)?;
    let checkpoint = opened(&note, &pins)?;
    let before = before(dir, &checkpoint)?;
    if let Some(why) = whole::edge(source.as_ref(), &checkpoint)? {
        return Err(Failed::new(Exit::Data, format_args!("{why}; nothing was written")));
    }
    durable::create_dir_all(dir, MODE_DIR).map_err(|error| cannot_write(dir, &error))?;

    let faults = Faults::default();
    let through = Through { source: source.as_ref(), dir, files: Files(dir.to_owned()), ahead: Mutex::default() };
    let known = Reading {
        source: &through,
        checkpoint: &checkpoint,
        bundles: true,
        scratch: None,
        roots: before.iter().map(|before| before.size).collect(),
        leaves: Vec::new(),
    }
    .read(&faults)?;
    if let Some(before) = &before
        && known.tree.roots.get(&before.size).copied().flatten() != Some(before.root)
    {
        let message = format!(
            "the log's past is another than that of the export in {}: at {} entries its root is not {}; \
             nothing was replaced",
            dir.display(),
            before.size,
            before.root
        );
        return Err(Failed::new(Exit::Data, message));
    }
    let (kept, more) = faults.into_parts();
    if !kept.is_empty() {
        kept.iter().for_each(|fault| cli::err(&fault.to_string()));
        let message = format!(
            "{} faults; no checkpoint was written. A file that was damaged in {} can be removed: the next export fetches it",
            u64::try_from(kept.len()).unwrap_or(u64::MAX).saturating_add(more),
            dir.display()
        );
        return Err(Failed::new(Exit::Data, message));
    }
    sync(dir).map_err(|error| cannot_write(dir, &error))?;
    let path = dir.join(CHECKPOINT);
    durable::write_file(&path, &note, MODE_FILE).map_err(|error| cannot_write(&path, &error))?;
    let Checkpoint { origin, size, root } = &checkpoint;
    let text = format!("{origin}: {size} entries in {}, root {root}\n", dir.display());
    match cli::out(&text) {
        Exit::Ok => Ok(()),
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}

fn opened(note: &[u8], pins: &[common::audit::Verifier]) -> Result<Checkpoint, Failed> {
    let opened = if pins.is_empty() {
        Note::parse(note).and_then(|note| Checkpoint::parse(note.text()))
    } else {
        Checkpoint::open(note, pins).map(|signed| signed.checkpoint)
    };
    opened.map_err(|error| Failed::new(Exit::Data, format_args!("the log's checkpoint: {error}")))
}

/// The checkpoint of the export that is there.
fn before(dir: &Path, now: &Checkpoint) -> Result<Option<Checkpoint>, Failed> {
    let path = dir.join(CHECKPOINT);
    let octets = match source::read_file(&path, NOTE_LEN_MAX) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failed::new(Exit::Io, format_args!("{}: {error}", path.display()))),
    };
    let before = Note::parse(&octets).and_then(|note| Checkpoint::parse(note.text()));
    let before = before.map_err(|error| Failed::new(Exit::Data, format_args!("{}: {error}", path.display())))?;
    if before.size > now.size {
        let message = format!(
            "the export in {} has {} entries, the log has {}: it was cut, or is another; nothing was replaced",
            dir.display(),
            before.size,
            now.size
        );
        return Err(Failed::new(Exit::Data, message));
    }
    Ok(Some(before))
}

/// A source that leaves what it gives as files. Bundles that are there are not asked for again: their leaves are held
/// against the tile, which is.
struct Through<'a> {
    source: &'a dyn Source,
    dir: &'a Path,
    files: Files,
    /// Tiles that were asked for with their bundles, until they are asked for themselves: one for each lane.
    ahead: Mutex<HashMap<String, Vec<u8>>>,
}

impl Through<'_> {
    /// Not synced: all are at once, before the checkpoint is written.
    fn write(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let dir = path.parent().unwrap_or(self.dir);
        std::fs::create_dir_all(dir)?;
        let mut file =
            tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(MODE_FILE)).tempfile_in(dir)?;
        file.write_all(octets)?;
        file.persist(path)?;
        Ok(())
    }

    /// Whether a bundle's leaves have the hashes of their tile.
    fn agrees(&self, path: BundlePath, bundle: &[u8]) -> Result<bool, Lost> {
        let Ok(tile) = TilePath::new(0, path.number(), path.width()).map(|tile| tile.to_string()) else {
            return Ok(false);
        };
        let hashes = match self.source.get(&tile) {
            Ok(hashes) => hashes,
            Err(Lost::Missing(_)) => return Ok(false),
            Err(lost @ Lost::Failed(_)) => return Err(lost),
        };
        let agrees = read_bundle(bundle, path.width())
            .is_ok_and(|leaves| leaves.into_iter().flat_map(|leaf| leaf_hash(leaf).0).eq(hashes.iter().copied()));
        self.ahead.lock().expect("no holder of the tiles panics").insert(tile, hashes);
        Ok(agrees)
    }
}

impl Source for Through<'_> {
    fn get(&self, resource: &str) -> Result<Vec<u8>, Lost> {
        let there = match self.files.get(resource) {
            Ok(octets) => Some(octets),
            Err(Lost::Missing(_)) => None,
            Err(lost @ Lost::Failed(_)) => return Err(lost),
        };
        let ahead = self.ahead.lock().expect("no holder of the tiles panics").remove(resource);
        let octets = match (resource.parse(), ahead) {
            (Ok(TileResource::Entries(path)), _) => {
                if let Some(octets) = &there {
                    return Ok(octets.clone());
                }
                let octets = self.source.get(resource)?;
                if !self.agrees(path, &octets)? {
                    // No file is made of it; who reads it says what is wrong.
                    return Ok(octets);
                }
                octets
            }
            (_, Some(octets)) => octets,
            (_, None) => self.source.get(resource)?,
        };
        let path: PathBuf = self.dir.join(resource);
        match there {
            Some(there) if there == octets => {}
            Some(_) => {
                let message = format!("{} is not what the log has now; nothing was replaced", path.display());
                return Err(Lost::Failed(Failed::new(Exit::Data, message)));
            }
            None => self.write(&path, &octets).map_err(|error| cannot_write(&path, &error))?,
        }
        Ok(octets)
    }

    fn lanes(&self) -> usize {
        self.source.lanes()
    }

    fn has_entries(&self) -> bool {
        self.source.has_entries()
    }
}

/// Makes every file durable.
fn sync(dir: &Path) -> io::Result<()> {
    let dir = std::fs::File::open(dir)?;
    Ok(rustix::fs::syncfs(&dir)?)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failed {
    Failed::new(crate::commands::exit_of(error), format_args!("{}: {error}", path.display()))
}
