//! Whether the disk has room for another batch, and the reserve: `<data>/log/reserve`, octets that are really allocated and
//! hold nothing. When the disk is so full that derived data might not fit, ordinary commands are refused; the reserve is
//! then given back to the file system bit by bit, so that the few commands that end such a state (signing in, deleting,
//! purging, stopping) can still be recorded and applied. What the commands are is not known here.
//!
//! Three levels, by the octets free to us:
//!
//! | free | who may commit |
//! |---|---|
//! | at least a sixteenth of the disk, 8 to 64 MiB | everybody |
//! | less, but [`URGENT_FREE`] with the help of the reserve | urgent commands |
//! | less than that | the daemon's own words, in what the journal keeps allocated at its end |

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::durable::{Disk, DiskFile, Space};
use crate::store::Urgency;

/// Free octets that are made sure of before an urgent command, out of the reserve where need be. sled writes up to about
/// 72 KiB a command, in segments of 512 KiB.
pub const URGENT_FREE: u64 = 2 * MIB;
/// The reserve, octets: a 32nd of the disk within these bounds. Enough for some hundred urgent commands.
const RESERVE_MIN: u64 = 2 * MIB;
const RESERVE_MAX: u64 = 8 * MIB;
/// Ordinary commands are refused below a sixteenth of the disk, within these bounds: sled can't recover from a full disk
/// while it is open, so it must never meet one.
const LEAST_MIN: u64 = 8 * MIB;
const LEAST_MAX: u64 = 64 * MIB;
const MIB: u64 = 1024 * 1024;

/// The disk is full, in words for whoever asked and for the operator; it names no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Octets free.
    pub free: u64,
    /// Octets that must be free before ordinary commands are taken.
    pub needed: u64,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, needed) = (self.free / MIB, self.needed.div_ceil(MIB));
        write!(f, "disk full: {free} MiB free, {needed} MiB needed; free space or purge")
    }
}

/// Who may commit now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The least urgency that is let through.
    pub least: Urgency,
    /// Why not everybody.
    pub full: Option<Full>,
}

/// Looks after the room. Owned by the writing thread.
#[derive(Debug)]
pub struct Room {
    disk: Disk,
    dir: PathBuf,
    reserve: DiskFile,
    /// Octets of the reserve that are there, and that there should be.
    held: u64,
    wanted: u64,
    /// Ordinary commands are refused. They are taken again only when there is clearly more room, so that a disk on the
    /// edge does not turn the log on and off.
    refusing: bool,
    /// The reserve could not be filled; told once.
    fill_failed: bool,
}

impl Room {
    /// Opens the reserve of a data directory, and fills it up if there is room for it beside what the log needs. On a full
    /// disk some of it is given back instead, so that the view can be opened.
    ///
    /// # Errors
    /// The reserve can't be opened, or the file system not be asked.
    pub fn open(disk: &Disk, data_dir: &Path, log_dir: &Path) -> io::Result<Self> {
        let reserve = disk.open_or_create(&log_dir.join("reserve"))?;
        let held = reserve.metadata()?.len();
        let space = disk.space(data_dir)?;
        let wanted = (space.total / 32).clamp(RESERVE_MIN, RESERVE_MAX);
        let mut room = Self {
            disk: disk.clone(),
            dir: data_dir.to_owned(),
            reserve,
            held,
            wanted,
            refusing: false,
            fill_failed: false,
        };
        let fit = room.check(Urgency::Urgent)?;
        if let Some(full) = fit.full {
            tracing::warn!(
                free_bytes = full.free,
                needed_bytes = full.needed,
                reserve_bytes = room.held,
                "{full}: until then only sign-ins, deletions and purges are accepted"
            );
        } else if space.free < 2 * least(space.total) {
            tracing::warn!(
                free_bytes = space.free,
                needed_bytes = least(space.total),
                "the disk is nearly full: the audit log stops accepting requests below {} MiB free",
                least(space.total) / MIB
            );
        }
        Ok(room)
    }

    /// Why ordinary commands would be refused in a data directory; none where there is room for them. Changes nothing.
    ///
    /// # Errors
    /// The file system can't be asked.
    pub fn full_for_all(disk: &Disk, data_dir: &Path) -> io::Result<Option<Full>> {
        let Space { total, free } = disk.space(data_dir)?;
        let needed = least(total);
        Ok((free < needed).then_some(Full { free, needed }))
    }

    /// Octets of the reserve that are there.
    pub fn reserve_octets(&self) -> u64 {
        self.held
    }

    /// Octets of the reserve when it is whole.
    pub fn wanted_octets(&self) -> u64 {
        self.wanted
    }

    /// Says who may commit. `most` is the most urgent command that waits: for one that is not ordinary, room is made out of
    /// the reserve. Asked before every batch: it takes a microsecond, and a disk can fill at any time.
    ///
    /// # Errors
    /// The file system can't be asked.
    pub fn check(&mut self, most: Urgency) -> io::Result<Fit> {
        let space = self.disk.space(&self.dir)?;
        let least = least(space.total);
        let needed = if self.refusing { least + least / 8 } else { least };
        if space.free >= needed {
            self.refusing = false;
            self.fill(space.free - needed);
            return Ok(Fit { least: Urgency::Ordinary, full: None });
        }
        self.refusing = true;
        let mut free = space.free;
        if most > Urgency::Ordinary && free < URGENT_FREE && self.held > 0 {
            self.give_back(URGENT_FREE - free);
            free = self.disk.space(&self.dir)?.free;
        }
        let least = if free < URGENT_FREE / 2 { Urgency::Lifecycle } else { Urgency::Urgent };
        Ok(Fit { least, full: Some(Full { free: space.free, needed }) })
    }

    /// Fills the reserve up if that leaves enough.
    fn fill(&mut self, surplus: u64) {
        if self.held >= self.wanted || surplus < self.wanted - self.held {
            return;
        }
        match self.reserve.allocate(self.wanted) {
            Ok(()) => {
                self.held = self.wanted;
                self.fill_failed = false;
                tracing::debug!(reserve_bytes = self.held, "the reserve for a full disk is there");
            }
            // Tried again with every batch, and told once.
            Err(error) if !std::mem::replace(&mut self.fill_failed, true) => {
                tracing::warn!(%error, "the reserve for a full disk can't be allocated");
            }
            Err(_) => {}
        }
    }

    /// Gives at least so much of the reserve back to the file system, as far as there is any.
    fn give_back(&mut self, octets: u64) {
        let left = self.held.saturating_sub(octets.next_multiple_of(MIB / 4));
        match self.reserve.set_len(left) {
            Ok(()) => {
                self.held = left;
                tracing::info!(reserve_bytes = left, "room for urgent commands was made out of the reserve");
            }
            Err(error) => tracing::warn!(%error, "the reserve for a full disk can't be given back"),
        }
    }
}

/// Free octets below which ordinary commands are refused, on a disk of this size.
fn least(total: u64) -> u64 {
    (total / 16).clamp(LEAST_MIN, LEAST_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{LEAST_MAX, MIB, RESERVE_MAX, Room, URGENT_FREE};
    use crate::durable::{Disk, Operation, Space, Verdict, Watch};
    use crate::store::Urgency;

    /// A disk of a tebibyte with as much free as is said, less what the reserve takes.
    struct Filled(AtomicU64);

    impl Watch for Filled {
        fn watch(&self, operation: Operation<'_>) -> Verdict {
            if let Operation::Allocate(_, _, octets) = operation {
                self.0.fetch_sub(octets, Ordering::Relaxed);
            } else if let Operation::SetLen(_, octets) = operation {
                self.0.fetch_add(RESERVE_MAX - octets, Ordering::Relaxed);
            }
            Verdict::Do
        }

        fn space(&self, _dir: &Path) -> Option<Space> {
            Some(Space { total: 1024 * 1024 * MIB, free: self.0.load(Ordering::Relaxed) })
        }
    }

    /// Ordinary commands stop at the limit and come back only well above it; urgent ones get the reserve; it is filled
    /// again when there is room.
    #[test]
    fn levels() {
        let dir = tempfile::tempdir().unwrap();
        let filled = Arc::new(Filled(AtomicU64::new(1024 * MIB)));
        let disk = Disk::watched(Arc::<Filled>::clone(&filled));
        let mut room = Room::open(&disk, dir.path(), dir.path()).unwrap();
        assert_eq!(room.reserve_octets(), RESERVE_MAX);
        assert_eq!(std::fs::metadata(dir.path().join("reserve")).unwrap().len(), RESERVE_MAX);
        let mut at = |free: u64, most: Urgency| {
            filled.0.store(free, Ordering::Relaxed);
            let fit = room.check(most).unwrap();
            (fit.least, fit.full.is_some(), room.reserve_octets())
        };
        assert_eq!(at(LEAST_MAX, Urgency::Ordinary), (Urgency::Ordinary, false, RESERVE_MAX));
        assert_eq!(at(LEAST_MAX - 1, Urgency::Ordinary), (Urgency::Urgent, true, RESERVE_MAX));
        assert_eq!(at(LEAST_MAX, Urgency::Ordinary), (Urgency::Urgent, true, RESERVE_MAX), "on the edge it stays off");
        assert_eq!(at(0, Urgency::Ordinary), (Urgency::Lifecycle, true, RESERVE_MAX), "nobody needs the reserve");
        assert_eq!(at(0, Urgency::Urgent), (Urgency::Urgent, true, RESERVE_MAX - URGENT_FREE));
        let back = LEAST_MAX + LEAST_MAX / 8;
        assert_eq!(at(back, Urgency::Ordinary), (Urgency::Ordinary, false, RESERVE_MAX - URGENT_FREE));
        assert_eq!(at(back + URGENT_FREE, Urgency::Ordinary), (Urgency::Ordinary, false, RESERVE_MAX));
    }
}
