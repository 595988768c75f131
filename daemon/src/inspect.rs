//! What uploaded bytes are, and what there is to say about them (scanning.md).
//!
//! The content decides, never a name or what the uploader says. Nothing is loaded, executed or fetched, and no length field
//! in a file decides how much is read or allocated. The module knows octets and formats; it does not know models, users,
//! stores, or what happens to a file after its verdict.
//!
//! [`inspect`] is the way in. It recognises the format ([`mod@format`]) and hands the octets to what reads that format
//! (`dispatch.rs`); containers hand their members back to it. All of them work through a [`Scan`], which holds the limits
//! and collects findings and [`Facts`]. Not being able to look inside is a verdict of its own, not a pass.
//!
//! *Clean* means that nothing executable was found, not that a model is good: weights that misbehave, texts that mislead and
//! faults of native loaders are out of reach.

use std::io;

use serde::{Deserialize, Serialize};

pub use facts::Facts;
pub use folder::folder;
pub use format::{Format, UnknownFormat, recognise};
pub use rules::{Allowed, RULES, Rule, Ruleset, WORKER_LOST, rule};
pub use scan::{Limits, Scan};

mod archive;
mod card;
mod compressed;
mod config;
mod cursor;
mod dispatch;
mod facts;
mod folder;
pub mod format;
mod gguf;
mod hdf5;
mod inflate;
mod jinja;
mod json;
mod keras;
mod lightgbm;
mod media;
mod msgpack;
mod names;
mod npy;
mod onnx;
mod pickle;
#[cfg(test)]
mod probe;
mod protobuf;
mod rules;
mod safetensors;
mod saved_model;
mod scan;
mod seen;
mod sentencepiece;
mod skops;
mod source;
mod tar;
#[cfg(test)]
mod tests;
mod text;
mod tflite;
mod transformers;
mod ubjson;
mod xml;
mod yaml;
mod zip;

/// Octets that recognising the format of a file reads at most, whatever the file says about itself.
pub const RECOGNISE_BYTES_MAX: u64 = 8 << 20;

/// Longest detail of a finding, in octets.
pub const DETAIL_BYTES_MAX: usize = 200;

/// Bytes that can be read at any place: a kept or staged blob, a slice.
pub trait ReadAt {
    /// Size in octets.
    fn len(&self) -> u64;

    /// Whether there are no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` and returns how many octets came: 0 only at or behind the end, or for an empty `buf`.
    ///
    /// # Errors
    /// Those of the source: nothing is said about the file then.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// What is known about a file after an inspection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// What it is.
    pub format: Format,
    /// What there is to say about it, the gravest first, else in the order found; of every rule one at least.
    pub findings: Vec<Finding>,
    /// How many findings there were; not all may be among them.
    pub findings_total: u64,
    /// What was measured in it.
    pub facts: Facts,
}

impl Inspection {
    /// The verdict: that of the gravest finding.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.level.into()).max().unwrap_or(Verdict::Clean)
    }
}

/// One thing found in a file (scanning.md §1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it: stable, such as `pickle.present`. [`rules::rule`] tells what it means.
    pub rule: String,
    /// How grave it is.
    pub level: Level,
    /// Where: path inside containers and offset, such as `archive/data.pkl@57`; empty for the file as a whole.
    pub place: String,
    /// What it is and what it means, for people. At most [`DETAIL_BYTES_MAX`] octets; what comes from the file is escaped.
    pub detail: String,
}

/// How grave a finding is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing; shown as a warning.
    Note,
    /// Something executable or unusual that is not evidence of an attack.
    Suspicious,
    /// It could not be looked into.
    Unscannable,
    /// Evidence of an attack.
    Malicious,
}

impl Level {
    /// The name on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Suspicious => "suspicious",
            Self::Unscannable => "unscannable",
            Self::Malicious => "malicious",
        }
    }
}

/// What an inspection comes to, best first. The verdict over several files is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing found but notes, by the rules there are (see the module's header).
    Clean,
    /// Something executable or unusual.
    Suspicious,
    /// It could not be looked into, which is not the same as a pass.
    Unscannable,
    /// Evidence of an attack.
    Malicious,
}

impl Verdict {
    /// The name on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Unscannable => "unscannable",
            Self::Malicious => "malicious",
        }
    }
}

impl From<Level> for Verdict {
    fn from(level: Level) -> Self {
        match level {
            Level::Note => Self::Clean,
            Level::Suspicious => Self::Suspicious,
            Level::Unscannable => Self::Unscannable,
            Level::Malicious => Self::Malicious,
        }
    }
}

/// Inspects a file. `name` is its path within the version: formats without a signature are told by it, and where it
/// contradicts the content that is a finding; it never turns content into something harmless. Blocks on its source: for
/// blocking threads.
///
/// # Errors
/// Those of the source. An error is no verdict: the inspection must be repeated before the file is served.
pub fn inspect(source: &dyn ReadAt, name: &str, ruleset: &Ruleset, limits: &Limits) -> io::Result<Inspection> {
    let mut scan = Scan::new(ruleset, limits, source.len());
    let format = dispatch::file(&mut scan, source, name)?;
    Ok(scan.finish(format))
}

/// Octets of an excerpt at most.
pub const EXCERPT_BYTES_MAX: u64 = 4096;

/// Where a person wants to look: the path of a place, and an octet there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The path inside the file, as [`Finding::place`] says it; empty for the file itself.
    pub path: String,
    /// The octet; none for the beginning.
    pub offset: Option<u64>,
}

impl Wanted {
    /// From the place of a finding. A trailing `@` and digits are the octet.
    #[must_use]
    pub fn of(place: &str) -> Self {
        let split = place.rsplit_once('@').and_then(|(path, offset)| {
            let is_number = !offset.is_empty() && offset.bytes().all(|octet| octet.is_ascii_digit());
            Some((path, offset.parse::<u64>().ok().filter(|_| is_number)?))
        });
        match split {
            Some((path, offset)) => Self { path: path.to_owned(), offset: Some(offset) },
            None => Self { path: place.to_owned(), offset: None },
        }
    }

    /// Where octets of this path begin in those of another that it is a part of.
    fn part_of(&self, path: &str) -> Option<u64> {
        let part = self.path.strip_prefix(path)?.strip_prefix('#')?;
        let digits = part.strip_prefix('+').unwrap_or_default();
        Some(digits.parse().unwrap_or(0))
    }
}

/// Octets round a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The place of the first one.
    pub from: u64,
    /// Octets there are at that path, once unpacked.
    pub len: u64,
    /// The octets, at most [`EXCERPT_BYTES_MAX`].
    pub octets: Vec<u8>,
}

/// The octets round a place inside a file, as an inspection comes to it: containers are opened as [`inspect`] opens them and
/// within the same limits. None: it did not come there.
///
/// # Errors
/// Those of the source.
pub fn excerpt(
    source: &dyn ReadAt,
    name: &str,
    ruleset: &Ruleset,
    limits: &Limits,
    wanted: &Wanted,
) -> io::Result<Option<Taken>> {
    let mut scan = Scan::new(ruleset, limits, source.len());
    scan.look_for(wanted.clone());
    dispatch::file(&mut scan, source, name)?;
    Ok(scan.into_taken())
}

/// Whether a global runs code, or reaches files or the network, so that no administrator can allow it.
#[must_use]
pub fn is_denied(module: &str, name: &str) -> bool {
    pickle::globals::standing(&Ruleset::default(), module, name) == pickle::globals::Standing::Denied
}

/// Hands a file to the reader of one format, whatever its octets are, and to no other. For tests of that reader: it must stand
/// octets that [`inspect`] would tell to be something else, since containers and searches bring it all kinds. The verdict says
/// nothing of the file.
///
/// # Errors
/// Those of the source.
pub fn inspect_as(
    source: &dyn ReadAt,
    name: &str,
    format: Format,
    ruleset: &Ruleset,
    limits: &Limits,
) -> io::Result<Inspection> {
    let mut scan = Scan::new(ruleset, limits, source.len());
    dispatch::file_as(&mut scan, source, name, format)?;
    Ok(scan.finish(format))
}

/// Reads `count` octets from `offset`: fewer only where the source ends. `count` is a constant of the caller or bounded by
/// one, never a number out of a file.
///
/// # Errors
/// Those of the source; `UnexpectedEof` if it ends before its own length.
fn read_up_to(source: &dyn ReadAt, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let count = usize::try_from(count.min(source.len().saturating_sub(offset))).unwrap_or(0);
    let mut octets = vec![0; count];
    let mut read = 0;
    while read < count {
        match source.read_at(offset.saturating_add(read as u64), &mut octets[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            // A count above what was asked for would be a fault of the source, not a reason to panic.
            more => read = read.saturating_add(more).min(count),
        }
    }
    Ok(octets)
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = <[u8]>::len(rest).min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
