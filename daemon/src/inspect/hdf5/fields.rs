//! HDF5's octets as numbers: a part of the file at an address, and fields in it one after the other. Addresses are counted
//! from the superblock. Knows how wide addresses and lengths are; knows no structure.

use crate::inspect::cursor::Stop;
use crate::inspect::scan::{Place, Scan};
use crate::inspect::{ReadAt, read_up_to};

/// Octets read at once of one structure. Attributes are the largest of them.
const READ_BYTES_MAX: u64 = 64 << 20;
/// Octets after which a read counts as a further step of work.
const STEP_BYTES: u64 = 4 << 10;

/// Why something can't be followed.
pub(super) enum Fault {
    /// What is said of every walk.
    Stop(Stop),
    /// What is wrong with the file.
    Broken(&'static str),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::End => Self::Broken("a structure reaches beyond the end of the file"),
            stop => Self::Stop(stop),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Stop(Stop::Io(error))
    }
}

/// A file, with the widths its superblock says.
pub(super) struct File<'a> {
    pub(super) source: &'a dyn ReadAt,
    /// Where the superblock is.
    pub(super) base: u64,
    /// Octets of an address.
    pub(super) address_width: usize,
    /// Octets of a length.
    pub(super) length_width: usize,
}

impl File<'_> {
    /// `count` octets from an address: all of them, or a fault. Memory is taken for what is there.
    pub(super) fn read(&self, scan: &mut Scan, place: &Place, address: u64, count: u64) -> Result<Vec<u8>, Fault> {
        let count_max = READ_BYTES_MAX.min(scan.limits.held_bytes);
        if count > count_max {
            return Err(Fault::Broken("a structure is larger than any that a writer makes"));
        }
        let start = self.base.checked_add(address).ok_or(Fault::Broken("an address is beyond all files"))?;
        if start.checked_add(count).is_none_or(|end| end > self.source.len()) {
            return Err(Fault::Broken("a structure reaches beyond the end of the file"));
        }
        for _ in 0..=count / STEP_BYTES {
            scan.tick(place)?;
        }
        Ok(read_up_to(self.source, start, count)?)
    }

    /// The octets of a structure that begins with this signature.
    pub(super) fn signed(
        &self,
        scan: &mut Scan,
        place: &Place,
        address: u64,
        count: u64,
        signature: &[u8; 4],
    ) -> Result<Vec<u8>, Fault> {
        let octets = self.read(scan, place, address, count)?;
        if octets.starts_with(signature) {
            Ok(octets)
        } else {
            Err(Fault::Broken("a structure is not where it should be"))
        }
    }

    /// Octets of several addresses, lengths and others.
    pub(super) fn width(&self, addresses: usize, lengths: usize, others: usize) -> u64 {
        (addresses * self.address_width + lengths * self.length_width + others) as u64
    }

    /// Fields over octets of this file.
    pub(super) fn fields<'o>(&self, octets: &'o [u8]) -> Fields<'o> {
        Fields { octets, address_width: self.address_width, length_width: self.length_width }
    }

    /// Whether an address is that of nothing: all bits set.
    pub(super) fn is_undefined(&self, address: u64) -> bool {
        address == u64::MAX >> (64 - 8 * self.address_width.clamp(1, 8))
    }
}

/// What is left of a structure's octets.
#[derive(Clone, Copy)]
pub(super) struct Fields<'o> {
    pub(super) octets: &'o [u8],
    address_width: usize,
    length_width: usize,
}

impl<'o> Fields<'o> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'o [u8], Fault> {
        let (taken, rest) =
            self.octets.split_at_checked(count).ok_or(Fault::Broken("a structure is shorter than what is in it"))?;
        self.octets = rest;
        Ok(taken)
    }

    /// A little-endian number of up to eight octets.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, Fault> {
        let mut octets = [0; 8];
        let taken = self.take(width)?;
        let Some(low) = octets.get_mut(..width) else {
            return Err(Fault::Broken("a number has more than eight octets"));
        };
        low.copy_from_slice(taken);
        Ok(u64::from_le_bytes(octets))
    }

    pub(super) fn octet(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn short(&mut self) -> Result<u16, Fault> {
        let taken = self.take(2)?;
        Ok(u16::from_le_bytes([taken[0], taken[1]]))
    }

    pub(super) fn address(&mut self) -> Result<u64, Fault> {
        self.number(self.address_width)
    }

    pub(super) fn length(&mut self) -> Result<u64, Fault> {
        self.number(self.length_width)
    }

    /// A number of octets that are here, or more than there are.
    pub(super) fn size(&mut self, width: usize) -> Result<usize, Fault> {
        Ok(usize::try_from(self.number(width)?).unwrap_or(usize::MAX))
    }
}

/// Octets up to the first zero.
pub(super) fn until_zero(octets: &[u8]) -> &[u8] {
    octets.split(|octet| *octet == 0).next().unwrap_or_default()
}
