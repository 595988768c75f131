//! Reading on from a place in a source, within a budget. Every walk over a format's structure uses this, so that no length
//! field in a file decides how much is read or allocated.

use std::io;

use super::ReadAt;

/// Octets fetched at once. Small, as a walk over a large file skips most of it.
const CHUNK_BYTES: u64 = 4 << 10;

/// Why a walk cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The source failed. Nothing is known about the file.
    Io(io::Error),
    /// The range ends here, or a length reaches beyond it.
    End,
    /// The budget is used up. What was seen so far was in order.
    Budget,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A position in a range of a source.
pub(super) struct Cursor<'a> {
    source: &'a dyn ReadAt,
    position: u64,
    end: u64,
    /// Octets that may still be fetched.
    budget: u64,
    chunk: Vec<u8>,
    /// Where in the source `chunk` was read.
    chunk_at: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor over `start..end`, cut to the source, that fetches at most `budget` octets.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, end: u64, budget: u64) -> Self {
        Self { source, position: start, end: end.min(source.len()), budget, chunk: Vec::new(), chunk_at: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Steps over `count` octets without fetching them.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Stop> {
        match self.position.checked_add(count) {
            Some(position) if position <= self.end => {
                self.position = position;
                Ok(())
            }
            _ => Err(Stop::End),
        }
    }

    pub(super) fn octet(&mut self) -> Result<u8, Stop> {
        if self.at_end() {
            return Err(Stop::End);
        }
        if let Some(octet) = self.buffered() {
            self.position += 1;
            return Ok(octet);
        }
        let wanted = CHUNK_BYTES.min(self.end - self.position).min(self.budget);
        if wanted == 0 {
            return Err(Stop::Budget);
        }
        self.chunk = super::read_up_to(self.source, self.position, wanted)?;
        self.chunk_at = self.position;
        // By what was asked for, so that a source that returns less than it says cannot be asked for ever.
        self.budget -= wanted;
        let octet = self.buffered().ok_or(Stop::End)?;
        self.position += 1;
        Ok(octet)
    }

    fn buffered(&self) -> Option<u8> {
        let at = usize::try_from(self.position.checked_sub(self.chunk_at)?).ok()?;
        self.chunk.get(at).copied()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut octets = [0; N];
        for octet in &mut octets {
            *octet = self.octet()?;
        }
        Ok(octets)
    }

    /// The octets before the next line feed, which is stepped over. Of a longer line than `max` only so many are kept.
    pub(super) fn line(&mut self, max: usize) -> Result<Vec<u8>, Stop> {
        let mut line = Vec::new();
        loop {
            match self.octet()? {
                b'\n' => return Ok(line),
                octet if line.len() < max => line.push(octet),
                _ => {}
            }
        }
    }

    /// A base-128 number as protobuf writes it; `None` if it is longer than ten octets.
    pub(super) fn varint(&mut self) -> Result<Option<u64>, Stop> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            value |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}
