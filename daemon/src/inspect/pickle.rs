//! Pickles (scanning.md §4, §5): telling one from other files, and looking into what loading one would do.
//!
//! Protocols 0 and 1 have no signature, and protocol 0 is plain text, so recognising one takes a walk over its opcodes
//! (`walk.rs`). Looking into one takes the abstract machine (`machine.rs`) on values (`value.rs`), the lists of callables
//! (`globals.rs`) and how they may be called (`calls.rs`). Nothing is built, called or imported.
//!
//! What stands behind STOP is this module's business: further pickles, the layouts that torch used to write (`torch.rs`),
//! and anything else, which is searched. What trusted classes do with what a pickle gives them is out of its reach.

mod calls;
pub(super) mod globals;
mod machine;
mod numpy;
mod opcode;
mod render;
mod rules;
#[cfg(test)]
mod tests;
mod torch;
mod value;
mod walk;

use std::collections::HashMap;

use machine::{Ending, Found, Machine, Torch};
use opcode::PROTO;
pub(super) use rules::RULES;
use rules::{BROKEN, PRESENT, SEVERAL};
use value::Value;
pub(super) use walk::{Evidence, examine};

use super::cursor::{Cursor, Stop};
use super::rules::TRAILING;
use super::scan::{Place, Scan, Slice};
use super::{Format, ReadAt, dispatch, read_up_to, recognise};

/// Octets that are searched for what a loader might find behind a pickle.
const SEARCH_BYTES_MAX: u64 = 64 << 20;

/// Places in them where a pickle is tried.
const SEARCH_TRIES_MAX: u32 = 256;

/// Pickles that are walked through one after the other.
const STREAMS_MAX: u32 = 10_000;

/// Torch's version of its legacy layout.
const TORCH_PROTOCOL: i64 = 1001;

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    if place.container() != Some(Format::Pickle) {
        scan.find(&PRESENT, place, None, "a pickle: loading it runs what it names");
    }
    let mut streams = Streams { scan, source, place, torch: Torch::within(place.container()), at: 0, count: 0 };
    match (streams.torch, place.name()) {
        (Torch::Tar, "storages") => streams.tar_storages(),
        (Torch::Tar, "tensors") => streams.tar_tensors(),
        _ => streams.all(),
    }
}

/// Reports what a loader would come to that takes a source for a pickle although it is none by its whole structure: loaders
/// execute what they read up to a fault. Only what no chance writes is reported.
pub(super) fn attempt(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let torch = Torch::within(place.container());
    Streams { scan, source, place, torch, at: 0, count: 0 }.attempt(0)
}

/// One pickle, walked through.
struct Stream {
    ending: Ending,
    /// Where it ends, or where the fault is.
    end: u64,
    opcodes: u64,
    has_protocol: bool,
    found: Vec<Found>,
    /// Octets of the storages it asks for, by their keys.
    storages: HashMap<Vec<u8>, u64>,
    /// Octets of an element, if it describes a storage of the tar layout.
    element: Option<u64>,
}

/// The pickles of a source, one after the other.
struct Streams<'a, 'r> {
    scan: &'a mut Scan<'r>,
    source: &'a dyn ReadAt,
    place: &'a Place,
    torch: Torch,
    /// Where the next one begins.
    at: u64,
    /// Pickles so far.
    count: u32,
}

impl Streams<'_, '_> {
    /// Walks the next one. Nothing is reported yet unless the inspection ends in it.
    fn next(&mut self) -> Result<Stream, Stop> {
        self.count += 1;
        if self.count > STREAMS_MAX {
            return Err(self.scan.reached(self.place, format_args!("more than {STREAMS_MAX} pickles in a row")));
        }
        let mut machine = Machine::new(self.scan, self.source, self.place, self.at, self.torch);
        let ending = machine.run();
        let found = std::mem::take(&mut machine.found);
        let ending = match ending {
            Ok(ending) => ending,
            Err(stop) => {
                self.report(found);
                return Err(stop);
            }
        };
        machine.tell_tensors()?;
        let end = if let Ending::Stop(_) = ending { machine.cursor.position() } else { machine.at() };
        let (opcodes, has_protocol) = (machine.opcodes, machine.protocol.is_some());
        let element = torch::described(&machine.heap, ending);
        let storages = std::mem::take(&mut machine.storages);
        Ok(Stream { ending, end, opcodes, has_protocol, found, storages, element })
    }

    fn report(&mut self, found: Vec<Found>) {
        for one in found {
            self.scan.find_as(one.level, one.rule, self.place, Some(one.at), one.detail);
        }
    }

    /// Walks one that must be there. `None`: it has a fault, which has been reported.
    fn expected(&mut self) -> Result<Option<Stream>, Stop> {
        let mut stream = self.next()?;
        self.report(std::mem::take(&mut stream.found));
        self.at = stream.end;
        if let Ending::Fault(why) = stream.ending {
            self.broken(why);
            self.search()?;
            return Ok(None);
        }
        Ok(Some(stream))
    }

    fn broken(&mut self, why: &str) {
        self.scan.find(&BROKEN, self.place, Some(self.at), format_args!("the pickle is broken: {why}"));
    }

    /// All pickles of the source, and what is behind them.
    fn all(&mut self) -> Result<(), Stop> {
        let Some(first) = self.expected()? else { return Ok(()) };
        if first.ending == Ending::Stop(Value::TorchMagic) && self.at < self.source.len() {
            return self.legacy();
        }
        let mut several = false;
        while self.at < self.source.len() {
            let mut stream = self.next()?;
            let ends = matches!(stream.ending, Ending::Stop(_));
            let is_pickle = ends || stream.has_protocol && stream.opcodes > 2;
            if !is_pickle && !stream.found.iter().any(Found::is_certain) {
                return self.trailing();
            }
            if !std::mem::replace(&mut several, true) {
                self.scan.find(&SEVERAL, self.place, Some(self.at), "another pickle stands behind the first one");
            }
            self.report(std::mem::take(&mut stream.found));
            self.at = stream.end;
            if let Ending::Fault(why) = stream.ending {
                self.broken(why);
                return self.search();
            }
        }
        Ok(())
    }

    /// Torch before 1.6, behind the magic number: its version, the system, the object, the keys of its storages, and these.
    fn legacy(&mut self) -> Result<(), Stop> {
        self.torch = Torch::Legacy;
        let mut storages = HashMap::new();
        for number in 0..4 {
            let Some(stream) = self.expected()? else { return Ok(()) };
            if number == 0 && stream.ending != Ending::Stop(Value::Int(TORCH_PROTOCOL)) {
                self.broken("torch's version behind its magic number is not the one there is");
                return self.search();
            }
            storages.extend(stream.storages);
        }
        let rest = self.source.len().saturating_sub(self.at);
        if torch::storages_len(storages.values()) == Some(rest) { Ok(()) } else { self.trailing() }
    }

    /// The storages of torch's tar layout: how many, each with a description, the number of its elements and these; then
    /// the views of them.
    fn tar_storages(&mut self) -> Result<(), Stop> {
        let Some(first) = self.expected()? else { return Ok(()) };
        for _ in 0..torch::count(first.ending).unwrap_or(0) {
            let Some(stream) = self.expected()? else { return Ok(()) };
            let elements = read_up_to(self.source, self.at, 8)?;
            let elements = elements.first_chunk().map(|eight| u64::from_le_bytes(*eight));
            let octets = elements.zip(stream.element).and_then(|(elements, size)| elements.checked_mul(size));
            let end = octets.and_then(|octets| self.at.checked_add(8)?.checked_add(octets));
            let Some(end) = end.filter(|end| *end <= self.source.len()) else {
                self.broken("a storage in it reaches beyond the end");
                return self.search();
            };
            self.at = end;
        }
        let Some(_) = self.expected()? else { return Ok(()) };
        self.behind()
    }

    /// The tensors of torch's tar layout: how many, each with a description, its dimensions, sizes, strides and offset.
    fn tar_tensors(&mut self) -> Result<(), Stop> {
        let Some(first) = self.expected()? else { return Ok(()) };
        for _ in 0..torch::count(first.ending).unwrap_or(0) {
            let Some(_) = self.expected()? else { return Ok(()) };
            let dimensions = read_up_to(self.source, self.at, 4)?;
            let dimensions = dimensions.first_chunk().map(|four| u64::from(u32::from_le_bytes(*four)));
            // Four octets of padding, sizes and strides of eight octets each, the offset.
            let end = dimensions.and_then(|dimensions| self.at.checked_add(16 + dimensions * 16));
            let Some(end) = end.filter(|end| *end <= self.source.len()) else {
                self.broken("a tensor in it reaches beyond the end");
                return self.search();
            };
            self.at = end;
        }
        self.behind()
    }

    fn behind(&mut self) -> Result<(), Stop> {
        if self.at < self.source.len() { self.trailing() } else { Ok(()) }
    }

    /// Octets that no layout explains.
    fn trailing(&mut self) -> Result<(), Stop> {
        let count = self.source.len().saturating_sub(self.at);
        self.scan.find(
            &TRAILING,
            self.place,
            Some(self.at),
            format_args!("{count} octets behind the pickle belong to nothing in it"),
        );
        self.search()
    }

    /// Tries octets that need not be a pickle.
    fn attempt(&mut self, at: u64) -> Result<(), Stop> {
        let mut machine = Machine::new(self.scan, self.source, self.place, at, self.torch).trying(None);
        machine.run()?;
        let found = std::mem::take(&mut machine.found);
        self.report(found.into_iter().filter(Found::is_certain).collect());
        Ok(())
    }

    /// Looks for files and pickles in the rest, which a loader of another kind may find there.
    fn search(&mut self) -> Result<(), Stop> {
        let rest = Slice::new(self.source, self.at, self.source.len());
        let place = self.place.member(Format::Pickle, &format!("behind@{}", self.at));
        let format = recognise(&rest)?;
        let is_whole_file = !matches!(
            format,
            // Read already as far as they go, or of no consequence to anything that looks for a signature.
            Format::Pickle
                | Format::PytorchLegacy
                | Format::Text
                | Format::Json
                | Format::Source
                | Format::Media
                | Format::Zlib
                | Format::Lzma
                | Format::Empty
                | Format::Unknown
        );
        if is_whole_file {
            dispatch::member(self.scan, &rest, &place, "")?;
        }
        let end = self.source.len().min(self.at.saturating_add(SEARCH_BYTES_MAX));
        let mut cursor = Cursor::new(self.source, self.at, end, u64::MAX);
        let (mut last, mut tries, mut archives) = ([0_u8; 4], 0, u32::from(is_whole_file));
        while !cursor.at_end() {
            last = [last[1], last[2], last[3], cursor.octet()?];
            let at = cursor.position();
            match last {
                [b'P', b'K', 3, 4] if archives == 0 => {
                    archives += 1;
                    let archive = Slice::new(self.source, at - 4, self.source.len());
                    let place = self.place.member(Format::Pickle, &format!("behind@{}", at - 4));
                    dispatch::member(self.scan, &archive, &place, "")?;
                }
                [.., PROTO, 2..=5] if tries < SEARCH_TRIES_MAX => {
                    tries += 1;
                    self.attempt(at - 2)?;
                }
                _ => {}
            }
            self.scan.tick(self.place)?;
        }
        Ok(())
    }
}
