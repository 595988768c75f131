//! What comes out of a decompressor, as a source of its own: held if it is small, else unpacked again whenever it is read
//! backwards, so that memory stays constant whatever the file says. Knows the compressed formats; does not know what is in
//! them, nor which container asked.
//!
//! Everything is unpacked once to its end, charged to the inspection's limit. Unpacking again is bounded by the length that
//! was charged; beyond, reading fails with an error that [`is_exhausted`] tells from a failing source.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read};
use std::rc::Rc;

use flate2::Crc;
use lzma_rust2::{Action, LzmaStream, Status, XzStream};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;

use super::cursor::Stop;
use super::scan::{Place, Scan};
use super::{ReadAt, read_up_to};

/// Octets asked of a decompressor at once, and fetched for it.
const CHUNK_BYTES: usize = 64 << 10;

/// Octets of a part of long content that is kept, and how many parts are.
const BLOCK_BYTES: usize = 256 << 10;
const BLOCKS_KEPT: usize = 32;

/// How often long content is unpacked again, on average over its length.
const TIMES_MAX: u64 = 8;

/// Window of a decompressor at the outermost level; half of it one level deeper, for all of them work at the same time.
const WINDOW_BYTES_MAX: u64 = 128 << 20;

/// A compressed format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Deflate alone, as in zip.
    Deflate,
    /// RFC 1950.
    Zlib,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// LZMA alone.
    Lzma,
    /// LZMA as in zip, of so many octets if there is no mark at their end.
    ZipLzma(Option<u64>),
    /// RFC 8878.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

impl Method {
    /// Whether `head` begins a further stream that readers put behind the last one.
    fn continues(self, head: &[u8]) -> bool {
        match self {
            Self::Gzip => head.starts_with(b"\x1f\x8b\x08"),
            Self::Bzip2 => head.starts_with(b"BZh"),
            Self::Xz => head.starts_with(b"\xfd7zXZ\0"),
            Self::Zstd => head.starts_with(b"\x28\xb5\x2f\xfd") || skippable(head).is_some(),
            Self::Lz4 => head.starts_with(b"\x04\x22\x4d\x18") || skippable(head).is_some(),
            Self::Deflate | Self::Zlib | Self::Lzma | Self::ZipLzma(_) => false,
        }
    }
}

/// The length of a frame that zstd and lz4 readers step over (RFC 8878, 3.1.2).
fn skippable(head: &[u8]) -> Option<u64> {
    match head {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, length @ ..] => Some(8 + u64::from(u32::from_le_bytes(*length.first_chunk()?))),
        _ => None,
    }
}

/// What was unpacked.
pub(super) struct Unpacked<'a> {
    /// The content, as far as it could be unpacked.
    pub(super) content: Content<'a>,
    /// Octets of the source that the compressed streams took.
    pub(super) consumed: u64,
    /// What was wrong with them, if anything.
    pub(super) broken: Option<String>,
    /// CRC-32 of the content.
    pub(super) crc: u32,
}

/// Unpacked content.
pub(super) enum Content<'a> {
    /// Small enough to be held.
    Held(Vec<u8>),
    /// Unpacked again when it is read.
    Again(Box<Again<'a>>),
}

impl ReadAt for Content<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Held(octets) => octets.as_slice().len() as u64,
            Self::Again(again) => again.len,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Held(octets) => octets.as_slice().read_at(offset, buf),
            Self::Again(again) => again.read_at(offset, buf),
        }
    }
}

/// Unpacks all of `source`, at most `max` octets. `place` is that of the content.
pub(super) fn unpack<'a>(
    scan: &mut Scan,
    place: &Place,
    source: &'a dyn ReadAt,
    method: Method,
    max: u64,
) -> Result<Unpacked<'a>, Stop> {
    // Halved with every level, so that all levels together hold at most twice the limit.
    let level = place.depth().saturating_sub(1).min(16);
    let (held_max, window_max) = (scan.limits.held_bytes >> level, WINDOW_BYTES_MAX >> level);
    let mut streams = Streams::new(source, method, window_max);
    let mut held = Some(Vec::new());
    let (mut len, mut crc, mut broken) = (0_u64, Crc::new(), None);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut keep = |scan: &mut Scan, octets: &[u8], len: &mut u64| {
        let count = usize::try_from(max - *len).unwrap_or(usize::MAX).min(octets.len());
        scan.inflated(place, count as u64)?;
        crc.update(&octets[..count]);
        *len += count as u64;
        if *len > held_max {
            held = None;
        } else if let Some(held) = &mut held {
            held.extend_from_slice(&octets[..count]);
        }
        Ok::<(), Stop>(())
    };
    while len < max {
        match streams.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => keep(scan, &chunk[..count], &mut len)?,
            Err(error) => {
                broken = Some(streams.fault(error, scan, place)?);
                break;
            }
        }
    }
    let consumed = streams.watch.at.get().min(source.len());
    // The call that failed may have had octets before the fault, which a reader with a small buffer gets.
    if broken.is_some() && len <= held_max {
        let mut again = Streams::new(source, method, window_max);
        if skip(&mut again, len, &mut chunk).is_ok() {
            for _ in 0..CHUNK_BYTES {
                match again.read(&mut chunk[..1]) {
                    Ok(1) if len < max => keep(scan, &chunk[..1], &mut len)?,
                    _ => break,
                }
            }
        }
    }
    let content = match held {
        Some(held) => Content::Held(held),
        None => Content::Again(Box::new(Again {
            source,
            method,
            window_max,
            len,
            state: RefCell::new(State {
                streams: None,
                at: 0,
                blocks: VecDeque::new(),
                left: len.saturating_mul(TIMES_MAX),
            }),
        })),
    };
    Ok(Unpacked { content, consumed, broken, crc: crc.sum() })
}

/// Reads over `count` octets.
fn skip(streams: &mut Streams<'_>, count: u64, chunk: &mut [u8]) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        match streams.read(&mut chunk[..wanted])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => left -= count as u64,
        }
    }
    Ok(())
}

/// Content that is unpacked from the beginning whenever it is read backwards beyond the blocks that are kept.
pub(super) struct Again<'a> {
    source: &'a dyn ReadAt,
    method: Method,
    window_max: u64,
    len: u64,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    streams: Option<Streams<'a>>,
    /// The number of the next block.
    at: u64,
    /// Blocks by their number, the one used last at the end.
    blocks: VecDeque<(u64, Vec<u8>)>,
    /// Octets that may still be unpacked.
    left: u64,
}

impl<'a> Again<'a> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.len || buf.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.borrow_mut();
        let number = offset / BLOCK_BYTES as u64;
        let at = usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0);
        let block = self.block(&mut state, number)?;
        let rest = block.get(at..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    /// The block of a number, of which there is one.
    fn block<'s>(&self, state: &'s mut State<'a>, number: u64) -> io::Result<&'s [u8]> {
        if let Some(at) = state.blocks.iter().position(|(kept, _)| *kept == number) {
            if let Some(block) = state.blocks.remove(at) {
                state.blocks.push_back(block);
            }
        } else {
            if state.at > number {
                state.streams = None;
            }
            while self.next(state)? != number {}
        }
        Ok(state.blocks.back().map_or(&[], |(_, block)| block))
    }

    /// Unpacks the next block and keeps it.
    fn next(&self, state: &mut State<'a>) -> io::Result<u64> {
        let (source, method, window_max) = (self.source, self.method, self.window_max);
        if state.streams.is_none() {
            state.at = 0;
        }
        let streams = state.streams.get_or_insert_with(|| Streams::new(source, method, window_max));
        let number = state.at;
        let bytes = (self.len - number * BLOCK_BYTES as u64).min(BLOCK_BYTES as u64);
        state.left = state.left.checked_sub(bytes).ok_or_else(|| io::Error::other(Exhausted))?;
        let mut block = vec![0; usize::try_from(bytes).unwrap_or(BLOCK_BYTES)];
        let mut filled = 0;
        while filled < block.len() {
            match streams.read(&mut block[filled..]) {
                // What is broken may break earlier when it is read in other portions; what lacks then are zeros, of content
                // that is reported as broken.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(_) => match streams.watch.failed.take() {
                    Some(error) => return Err(error),
                    None => break,
                },
            }
        }
        if state.blocks.len() >= BLOCKS_KEPT {
            state.blocks.pop_front();
        }
        state.blocks.push_back((number, block));
        state.at = number + 1;
        Ok(number)
    }
}

/// Content was read backwards too often.
#[derive(Debug, thiserror::Error)]
#[error("compressed content would have to be unpacked too often")]
struct Exhausted;

/// Whether a read failed because content would have to be unpacked too often, which is the file's fault and not the source's.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Exhausted>())
}

/// What the decompressors are asked for while they own what they read from.
#[derive(Default)]
struct Watch {
    /// How far the source has been read.
    at: Cell<u64>,
    /// Why the source failed, which decompressors wrap or drop.
    failed: Cell<Option<io::Error>>,
}

/// The streams of a source, one after the other.
struct Streams<'a> {
    source: &'a dyn ReadAt,
    method: Method,
    window_max: u64,
    watch: Rc<Watch>,
    stream: Option<Box<dyn Read + 'a>>,
    started: bool,
}

impl<'a> Streams<'a> {
    fn new(source: &'a dyn ReadAt, method: Method, window_max: u64) -> Self {
        Self { source, method, window_max, watch: Rc::default(), stream: None, started: false }
    }

    /// Says what an error of [`Self::read`] is: the source's failure, a limit, or a fault of the content.
    fn fault(&self, error: io::Error, scan: &mut Scan, place: &Place) -> Result<String, Stop> {
        if let Some(failed) = self.watch.failed.take() {
            return Err(Stop::Io(failed));
        }
        if error.kind() == ErrorKind::OutOfMemory {
            return Err(scan.reached(place, "unpacking it needs more memory than an inspection gives it"));
        }
        Ok(error.to_string())
    }

    /// Begins the next stream; `None` if there is none.
    fn begin(&mut self) -> io::Result<Option<Box<dyn Read + 'a>>> {
        loop {
            let at = self.watch.at.get();
            let head = match read_up_to(self.source, at, 16) {
                Ok(head) => head,
                Err(error) => {
                    self.watch.failed.set(Some(error));
                    return Err(io::Error::other("the source failed"));
                }
            };
            if self.started && !self.method.continues(&head) {
                return Ok(None);
            }
            self.started = true;
            match skippable(&head) {
                Some(length) if matches!(self.method, Method::Zstd | Method::Lz4) => {
                    self.watch.at.set(at.saturating_add(length).min(self.source.len()));
                }
                _ => break,
            }
        }
        let mut input = Input { source: self.source, watch: Rc::clone(&self.watch), chunk: Vec::new(), at: 0, own: 0 };
        let memory = u32::try_from(self.window_max / 1024).unwrap_or(u32::MAX);
        Ok(Some(match self.method {
            Method::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(input)),
            Method::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(input)),
            Method::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
            Method::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(input)),
            Method::Xz => Box::new(Lzma {
                input,
                coder: Coder::Xz(Box::new(XzStream::new_mem_limit(false, memory))),
                ended: false,
            }),
            Method::Lzma => Box::new(Lzma {
                input,
                coder: Coder::Lzma(Box::new(LzmaStream::new_mem_limit(memory, None))),
                ended: false,
            }),
            Method::ZipLzma(length) => {
                // Version of the writer, size of the properties, properties (APPNOTE 5.8.8); the format's own header has
                // the properties and the length.
                let mut header = [0; 9];
                input.read_exact(&mut header)?;
                input.chunk = [&header[4..], &length.unwrap_or(u64::MAX).to_le_bytes()].concat();
                (input.at, input.own) = (0, input.chunk.len());
                Box::new(Lzma {
                    input,
                    coder: Coder::Lzma(Box::new(LzmaStream::new_mem_limit(memory, None))),
                    ended: false,
                })
            }
            Method::Zstd => match StreamingDecoder::new_with_max_window_size(input, self.window_max) {
                Ok(stream) => Box::new(stream),
                Err(error @ FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(io::Error::new(ErrorKind::OutOfMemory, error));
                }
                Err(error) => return Err(io::Error::other(error)),
            },
            Method::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
        }))
    }
}

impl Read for Streams<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stream.is_none() {
                self.stream = self.begin()?;
            }
            let Some(stream) = &mut self.stream else { return Ok(0) };
            match stream.read(buf) {
                Ok(0) if !buf.is_empty() => self.stream = None,
                other => return other,
            }
        }
    }
}

/// A source as what decompressors read from. Only what they took counts as read.
struct Input<'a> {
    source: &'a dyn ReadAt,
    watch: Rc<Watch>,
    chunk: Vec<u8>,
    at: usize,
    /// Octets of the chunk that are not the source's.
    own: usize,
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.chunk.len() {
            match read_up_to(self.source, self.watch.at.get(), CHUNK_BYTES as u64) {
                Ok(chunk) => (self.chunk, self.at, self.own) = (chunk, 0, 0),
                Err(error) => {
                    self.watch.failed.set(Some(error));
                    return Err(io::Error::other("the source failed"));
                }
            }
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let own = self.own.min(count);
        self.own -= own;
        self.at += count;
        self.watch.at.set(self.watch.at.get() + (count - own) as u64);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.fill_buf()?;
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// The two coders that are fed by hand: they say exactly what they took, and refuse a dictionary before it is allocated.
enum Coder {
    Xz(Box<XzStream>),
    Lzma(Box<LzmaStream>),
}

struct Lzma<'a> {
    input: Input<'a>,
    coder: Coder,
    ended: bool,
}

impl Read for Lzma<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buf.is_empty() {
            let octets = self.input.fill_buf()?;
            let is_end = octets.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let step = match &mut self.coder {
                Coder::Xz(coder) => coder.process(octets, buf, action)?,
                Coder::Lzma(coder) => coder.process(octets, buf, action)?,
            };
            self.input.consume(step.bytes_consumed);
            self.ended = step.status == Status::StreamEnd;
            if step.bytes_produced > 0 {
                return Ok(step.bytes_produced);
            }
            if !self.ended && step.bytes_consumed == 0 {
                let kind = if is_end { ErrorKind::UnexpectedEof } else { ErrorKind::InvalidData };
                return Err(kind.into());
            }
        }
        Ok(0)
    }
}
