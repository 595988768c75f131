//! What uploaded bytes are, and what there is to say about them.
//!
//! The content decides, never a name or what the uploader says. Nothing is loaded, executed or fetched, and no length field
//! in a file decides how much is read or allocated: an inspection reads at most [`READ_BYTES_MAX`] octets of a file of any
//! size. The module knows octets and formats; it does not know models, users, or what happens to a file after its verdict.
//!
//! **What is inspected now** is the format ([`mod@format`]), and that a format can carry pickles. **What is not inspected yet**:
//! which globals a pickle names and calls, what is inside archives and compressed files, layout lies in safetensors and GGUF,
//! external data and operators of ONNX and TensorFlow, code in Keras configurations, object arrays in `.npy`, Jinja
//! templates, source code, and octets before, behind or between the parts of a format (a file that is two formats at once is
//! reported as one). Until those rules are there [`Verdict::Clean`] means no more than "its format was recognised or noted as
//! unknown": it is no statement that a file is safe.

use std::io;

pub use format::{Format, UnknownFormat, recognise};

mod cursor;
pub mod format;
mod pickle;
mod protobuf;
#[cfg(test)]
mod tests;
mod zip;

use crate::blobs::{BlobReader, Staged};

/// Octets that an inspection reads of one file at most, whatever the file says about itself.
pub const READ_BYTES_MAX: u64 = 8 << 20;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What it is.
    pub format: Format,
    /// What there is to say about it, in the order found.
    pub findings: Vec<Finding>,
}

impl Inspection {
    /// The verdict: that of the gravest finding.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.level.into()).max().unwrap_or(Verdict::Clean)
    }
}

/// One thing found in a file (scanning.md §1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it: stable, such as `pickle.present`.
    pub rule: &'static str,
    /// How grave it is.
    pub level: Level,
    /// Where: path inside containers and offset, such as `archive/data.pkl@57`; empty for the file as a whole.
    pub place: String,
    /// What it is and what it means, for people. At most [`DETAIL_BYTES_MAX`] octets; what comes from the file is escaped.
    pub detail: String,
}

/// How grave a finding is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// Inspects a file. Blocks on its source: for blocking threads.
///
/// # Errors
/// Those of the source. An error is no verdict: the inspection must be repeated before the file is served.
pub fn inspect(source: &dyn ReadAt) -> io::Result<Inspection> {
    let format = recognise(source)?;
    let findings = remark(format)
        .map(|(rule, detail)| Finding { rule, level: Level::Note, place: String::new(), detail: detail.into() })
        .into_iter()
        .collect();
    Ok(Inspection { format, findings })
}

/// What a format by itself gives reason to say: rule and detail.
fn remark(format: Format) -> Option<(&'static str, &'static str)> {
    match format {
        Format::Pickle | Format::PytorchLegacy => Some((
            "pickle.present",
            "loading a pickle can run code; load it only if you trust who made it, or use a format without code such as safetensors",
        )),
        Format::PytorchZip | Format::Torchscript => Some((
            "pickle.present",
            "the archive holds a pickle, and loading a pickle can run code; load it with weights_only=True, or use safetensors",
        )),
        Format::Gzip
        | Format::Bzip2
        | Format::Xz
        | Format::Lzma
        | Format::Zlib
        | Format::Zstd
        | Format::Lz4
        | Format::SevenZip
        | Format::Rar => Some((
            "content.unread",
            "compressed: what is inside was not looked at, and may be a pickle, which can run code when loaded",
        )),
        Format::Zip | Format::Tar => Some((
            "content.unread",
            "an archive: its members were not looked at, and may be pickles, which can run code when loaded",
        )),
        Format::Executable => {
            Some(("code.native", "machine code, not data: it runs when it is started or loaded as a library"))
        }
        Format::Unknown => {
            Some(("format.unknown", "not a format this registry knows, so nothing is known about loading it"))
        }
        Format::Safetensors
        | Format::Gguf
        | Format::Npy
        | Format::Npz
        | Format::Hdf5
        | Format::KerasV3
        | Format::Onnx
        | Format::TfSavedModel
        | Format::Tflite
        | Format::Skops
        | Format::Json
        | Format::Text
        | Format::Empty => None,
    }
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

impl ReadAt for Box<dyn BlobReader> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf).map_err(io::Error::other)
    }
}

impl ReadAt for Box<dyn Staged> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf).map_err(io::Error::other)
    }
}
