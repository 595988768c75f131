//! Reading on from a place in a source, within a budget. Every walk over a format's structure uses this, so that no length
//! field in a file decides how much is read or allocated.

use std::io;

use super::ReadAt;

/// Octets fetched at once after a step over others: few, as a walk over a large file skips most of it.
const CHUNK_BYTES_MIN: u64 = 4 << 10;

/// Octets fetched at once where a walk reads on and on.
const CHUNK_BYTES_MAX: u64 = 128 << 10;

/// Why a walk cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The source failed. Nothing is known about the file.
    Io(io::Error),
    /// The range ends here, or a length reaches beyond it.
    End,
    /// The budget is used up. What was seen so far was in order.
    Budget,
    /// A limit of the whole inspection is reached, which has been reported: nothing more is looked at.
    Limit,
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
    /// Octets to fetch next.
    chunk_bytes: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor over `start..end`, cut to the source, that fetches at most `budget` octets.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, end: u64, budget: u64) -> Self {
        let end = end.min(source.len());
        let chunk = Vec::new();
        Self { source, position: start, end, budget, chunk, chunk_at: 0, chunk_bytes: CHUNK_BYTES_MIN }
    }

    /// A cursor over all of a source, whose work is charged elsewhere.
    pub(super) fn over(source: &'a dyn ReadAt) -> Self {
        Self::new(source, 0, source.len(), u64::MAX)
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

    /// Steps back over `count` octets that were just read. Whether there were so many.
    pub(super) fn back(&mut self, count: u64) -> bool {
        let position = self.position.checked_sub(count);
        self.position = position.unwrap_or(self.position);
        position.is_some()
    }

    pub(super) fn octet(&mut self) -> Result<u8, Stop> {
        if self.at_end() {
            return Err(Stop::End);
        }
        if let Some(octet) = self.buffered() {
            self.position += 1;
            return Ok(octet);
        }
        let reads_on = self.position == self.chunk_at + self.chunk.len() as u64;
        self.chunk_bytes = if reads_on { (self.chunk_bytes * 2).min(CHUNK_BYTES_MAX) } else { CHUNK_BYTES_MIN };
        let wanted = self.chunk_bytes.min(self.end - self.position).min(self.budget);
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

    /// The next octet, which stays the next; none at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.at_end() {
            return Ok(None);
        }
        let octet = self.octet()?;
        self.position -= 1;
        Ok(Some(octet))
    }

    fn buffered(&self) -> Option<u8> {
        let at = usize::try_from(self.position.checked_sub(self.chunk_at)?).ok()?;
        self.chunk.get(at).copied()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let buffered = self.position.checked_sub(self.chunk_at).and_then(|at| usize::try_from(at).ok());
        if let Some(octets) = buffered.and_then(|at| self.chunk.get(at..)?.first_chunk()) {
            self.position += N as u64;
            return Ok(*octets);
        }
        let mut octets = [0; N];
        for octet in &mut octets {
            *octet = self.octet()?;
        }
        Ok(octets)
    }

    /// The next `count` octets, of which the caller has said that it may hold so many. Memory grows with what is there, not
    /// with `count`.
    pub(super) fn take(&mut self, count: u64) -> Result<Vec<u8>, Stop> {
        if count > self.end.saturating_sub(self.position) {
            return Err(Stop::End);
        }
        let mut octets = Vec::new();
        while (octets.len() as u64) < count {
            octets.push(self.octet()?);
            let at = usize::try_from(self.position - self.chunk_at).unwrap_or(usize::MAX);
            let rest = self.chunk.get(at..).unwrap_or_default();
            let wanted = usize::try_from(count - octets.len() as u64).unwrap_or(usize::MAX);
            let rest = &rest[..rest.len().min(wanted)];
            octets.extend_from_slice(rest);
            self.position += rest.len() as u64;
        }
        Ok(octets)
    }

    /// Octets between the position and the end.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
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
