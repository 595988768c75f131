//! How inspections are run: in workers, processes of the same program that can do nothing but read the one file they are
//! given and answer ([`worker`], [`pool`]). A file that makes a reader panic, loop or eat memory costs a worker, and its
//! verdict is *unscannable*. Knows processes and descriptors; refuses to know formats, which are `inspect`'s, and models.
//!
//! Where octets are not in a file of this machine, or where there is no program to start (tests of the library), the
//! inspection runs in this process, by the same code and within the same limits.

pub mod pool;
pub mod worker;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::inspect::{self, Inspection, Limits, ReadAt, Ruleset, Taken, Wanted};

/// What can be inspected.
pub trait Subject: ReadAt {
    /// The same octets as a file opened for reading, which a worker can be given. `None`: they are no file.
    fn file(&self) -> Option<io::Result<File>>;
}

/// Something that inspects files. Blocks: for blocking threads.
pub trait Inspector: Send + Sync {
    /// Inspects a file; see [`inspect::inspect`].
    ///
    /// # Errors
    /// Those of the source, and of starting a worker: no verdict was reached. What a file does to a worker is a verdict.
    fn inspect(&self, subject: &dyn Subject, name: &str) -> io::Result<Inspection>;

    /// The octets round a place inside a file; see [`inspect::excerpt`].
    ///
    /// # Errors
    /// Those of the source, of starting a worker, and of one that did not survive the file.
    fn excerpt(&self, subject: &dyn Subject, name: &str, wanted: &Wanted) -> io::Result<Option<Taken>>;

    /// The rules it goes by.
    fn ruleset(&self) -> &Ruleset;

    /// Ends inspections under way and refuses others, with an error in place of a verdict; those within this process end with
    /// it. Blocks for as long as it takes to end processes.
    fn stop(&self);
}

/// Inspects in this process.
#[derive(Debug, Clone, Default)]
pub struct InProcess {
    ruleset: Ruleset,
    limits: Limits,
}

impl InProcess {
    /// With these rules and limits.
    #[must_use]
    pub fn new(ruleset: Ruleset, limits: Limits) -> Self {
        Self { ruleset, limits }
    }
}

impl Inspector for InProcess {
    fn inspect(&self, subject: &dyn Subject, name: &str) -> io::Result<Inspection> {
        // A trait object of a supertrait can't be had from one of the trait without this detour of references.
        inspect::inspect(&Borrowed(subject), name, &self.ruleset, &self.limits)
    }

    fn excerpt(&self, subject: &dyn Subject, name: &str, wanted: &Wanted) -> io::Result<Option<Taken>> {
        inspect::excerpt(&Borrowed(subject), name, &self.ruleset, &self.limits, wanted)
    }

    fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    fn stop(&self) {}
}

struct Borrowed<'a>(&'a dyn Subject);

impl ReadAt for Borrowed<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
}

/// A file of the file system.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    len: u64,
}

impl LocalFile {
    /// A file as long as it is now.
    ///
    /// # Errors
    /// Where its length can't be told.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// A file of which the length is known.
    #[must_use]
    pub(crate) fn of_len(file: File, len: u64) -> Self {
        Self { file, len }
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        // Interrupted reads are repeated; a short one is the caller's to go on with.
        loop {
            match self.file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Subject for LocalFile {
    fn file(&self) -> Option<io::Result<File>> {
        Some(self.file.try_clone())
    }
}
