//! Pickles (scanning.md §4, §5): telling one from other files, and looking into what loading one would do.
//!
//! Protocols 0 and 1 have no signature, and protocol 0 is plain text, so recognising one takes a walk: all 68 opcodes of
//! protocols 0 to 5 with their operands, a stack that knows how many values and marks it holds but not what they are, and
//! the set of memo slots in use. Looking into one takes the abstract machine (`machine.rs`) on values (`value.rs`), the
//! lists of callables (`globals.rs`) and how they may be called (`calls.rs`). Nothing is built, called or imported.
//!
//! What stands behind STOP is this module's business: further pickles, the layouts that torch used to write (`torch.rs`),
//! and anything else, which is searched. What trusted classes do with what a pickle gives them is out of its reach.

mod calls;
pub(super) mod globals;
mod machine;
mod numpy;
mod opcode;
#[cfg(test)]
mod tests;
mod torch;
mod value;

use std::collections::{BTreeSet, HashMap};
use std::io;

use machine::{Ending, Found, Machine, Torch};
use opcode::{
    ADDITEMS, BINBYTES8, BINUNICODE8, BYTEARRAY8, EMPTY_SET, EXT1, EXT2, EXT4, FRAME, FROZENSET, LONG1, LONG4, MEMOIZE,
    NEWFALSE, NEWOBJ, NEWOBJ_EX, NEWTRUE, NEXT_BUFFER, PROTO, READONLY_BUFFER, SHORT_BINUNICODE, STACK_GLOBAL, TUPLE1,
    TUPLE2, TUPLE3,
};
use value::Value;

use super::cursor::{Cursor, Stop};
use super::rules::{self, Rule};
use super::scan::{Place, Scan, Slice};
use super::{Format, Level, ReadAt, dispatch, read_up_to, recognise};

/// Octets fetched of one file. String and bytes operands are stepped over and do not count.
const BYTES_MAX: u64 = 1 << 20;

/// Opcodes walked of one file.
const OPCODES_MAX: u32 = 100_000;

/// Octets kept of a line operand; what decides about one is at its beginning.
const LINE_BYTES_MAX: usize = 1024;

/// Opcodes after which a walk that hits a limit without a fault is a pickle even without a protocol header: a text that
/// passes as so many is not seen in practice.
const OPCODES_CONVINCING: u32 = 16;

/// How sure it is that a loader would take the file for a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// It is none.
    None,
    /// A protocol header and at least one sound opcode, then a fault. A loader reads so far and may import on the way.
    Header,
    /// One or several whole pickles, or one that imports or calls something before its fault: a loader executes that
    /// first and fails afterwards.
    Sound,
}

/// Walks `source` from its first octet.
///
/// # Errors
/// Those of the source.
pub(super) fn examine(source: &dyn ReadAt) -> io::Result<Evidence> {
    let mut walk = Walk::new(source);
    let sound = loop {
        match walk.pickle() {
            Err(Stop::Io(error)) => return Err(error),
            // Behind a pickle with a header may stand anything: arrays, further pickles, what is not meant for the loader.
            Ok(End::Stop) if walk.header || walk.cursor.at_end() => break true,
            // Without a header, chance is ruled out by the rest being pickles too.
            Ok(End::Stop) => walk.begin(),
            Ok(End::Limit) | Err(Stop::Budget | Stop::Limit) => {
                break walk.header || walk.opcodes >= OPCODES_CONVINCING;
            }
            Ok(End::Fault) | Err(Stop::End) => break false,
        }
    };
    Ok(match sound || walk.called {
        true => Evidence::Sound,
        // More than the header itself.
        false if walk.header && walk.opcodes > 1 => Evidence::Header,
        false => Evidence::None,
    })
}

/// How one pickle ended.
enum End {
    /// With STOP and a value.
    Stop,
    /// With something no pickler writes and no loader takes.
    Fault,
    /// At a limit of ours.
    Limit,
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    /// Values above each mark; the first entry counts those below all marks. Never empty.
    stack: Vec<u32>,
    /// Memo slots that have been set.
    memo: BTreeSet<u64>,
    /// Sound opcodes of all pickles so far.
    opcodes: u32,
    /// Whether the first opcode was PROTO.
    header: bool,
    /// Whether something that was imported has been called.
    called: bool,
    /// Whether a global has been named.
    imported: bool,
}

/// What a sound opcode did; `None` where an unsound one stands.
type Step = Option<()>;

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ReadAt) -> Self {
        Self {
            cursor: Cursor::new(source, 0, source.len(), BYTES_MAX),
            stack: vec![0],
            memo: BTreeSet::new(),
            opcodes: 0,
            header: false,
            called: false,
            imported: false,
        }
    }

    /// Prepares for a further pickle behind the last.
    fn begin(&mut self) {
        self.stack = vec![0];
        self.memo.clear();
    }

    fn pickle(&mut self) -> Result<End, Stop> {
        loop {
            if self.opcodes >= OPCODES_MAX {
                return Ok(End::Limit);
            }
            let opcode = self.cursor.octet()?;
            if opcode == b'.' {
                let valued = self.stack.last().is_some_and(|values| *values > 0);
                return Ok(if valued { End::Stop } else { End::Fault });
            }
            if self.step(opcode)?.is_none() {
                return Ok(End::Fault);
            }
            if opcode == PROTO && self.opcodes == 0 {
                self.header = true;
            }
            self.opcodes += 1;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<Step, Stop> {
        Ok(match opcode {
            // Framing and values without an operand.
            PROTO => (self.cursor.octet()? <= 5).then_some(()),
            FRAME => {
                self.cursor.skip(8)?;
                Some(())
            }
            b'N' | b']' | b')' | b'}' | NEWTRUE | NEWFALSE | EMPTY_SET | NEXT_BUFFER => self.push(),

            // Values with an operand of a fixed length: BININT1, BININT2, BININT, BINFLOAT.
            b'K' => self.skipped(1)?,
            b'M' => self.skipped(2)?,
            b'J' => self.skipped(4)?,
            b'G' => self.skipped(8)?,
            EXT1 | EXT2 | EXT4 => {
                // A global by number.
                self.imported = true;
                self.skipped(1 << (opcode - EXT1))?
            }

            // Values with a length before them. BINSTRING's and LONG4's are signed.
            b'U' | b'C' | SHORT_BINUNICODE | LONG1 => self.counted1()?,
            b'X' | b'B' => {
                let length = u32::from_le_bytes(self.cursor.array()?);
                self.skipped(u64::from(length))?
            }
            b'T' | LONG4 => match u64::try_from(i32::from_le_bytes(self.cursor.array()?)) {
                Ok(length) => self.skipped(length)?,
                Err(_) => None,
            },
            BINUNICODE8 | BINBYTES8 | BYTEARRAY8 => {
                let length = u64::from_le_bytes(self.cursor.array()?);
                self.skipped(length)?
            }

            // Values on a line: INT, LONG, FLOAT, STRING, UNICODE, PERSID.
            b'I' | b'L' => self.line(is_integer)?,
            b'F' => self.line(is_float)?,
            b'S' => self.line(is_quoted)?,
            b'V' | b'P' => self.line(|_| true)?,

            // The stack: MARK, POP, POP_MARK, DUP.
            b'(' => {
                self.stack.push(0);
                Some(())
            }
            b'0' => self.pop(1).or_else(|| self.pop_mark().map(|_| ())),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => self.pop(1).and_then(|()| self.push()).and_then(|()| self.push()),

            // Containers: TUPLE, LIST, FROZENSET; DICT; APPENDS, ADDITEMS; SETITEMS; TUPLE1..3; APPEND; SETITEM.
            b't' | b'l' | FROZENSET => self.pop_mark().and_then(|_| self.push()),
            b'd' => self.pop_mark().filter(|values| values % 2 == 0).and_then(|_| self.push()),
            b'e' | ADDITEMS => self.pop_mark().and_then(|_| self.replace(1)),
            b'u' => self.pop_mark().filter(|values| values % 2 == 0).and_then(|_| self.replace(1)),
            TUPLE1 => self.replace(1),
            TUPLE2 | b'a' => self.replace(2),
            TUPLE3 | b's' => self.replace(3),

            // The memo: PUT, BINPUT, LONG_BINPUT, MEMOIZE; GET, BINGET, LONG_BINGET.
            b'p' => match self.number()? {
                Some(slot) => self.put(slot),
                None => None,
            },
            b'q' => {
                let slot = self.cursor.octet()?;
                self.put(u64::from(slot))
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.cursor.array()?);
                self.put(u64::from(slot))
            }
            MEMOIZE => self.put(self.memo.len() as u64),
            b'g' => match self.number()? {
                Some(slot) => self.get(slot),
                None => None,
            },
            b'h' => {
                let slot = self.cursor.octet()?;
                self.get(u64::from(slot))
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.cursor.array()?);
                self.get(u64::from(slot))
            }

            // What names and calls: GLOBAL, STACK_GLOBAL, INST; OBJ, NEWOBJ, NEWOBJ_EX, REDUCE, BUILD; BINPERSID.
            b'c' => {
                let named = self.global()?;
                self.imported = true;
                named.and_then(|()| self.push())
            }
            STACK_GLOBAL => {
                self.imported = true;
                self.replace(2)
            }
            b'i' => {
                let named = self.global()?;
                let called = named.and_then(|()| self.pop_mark()).and_then(|_| self.push());
                self.called |= called.is_some();
                called
            }
            b'o' => {
                let called = self.pop_mark().filter(|values| *values > 0).and_then(|_| self.push());
                self.call(called)
            }
            NEWOBJ | b'R' => {
                let called = self.replace(2);
                self.call(called)
            }
            NEWOBJ_EX => {
                let called = self.replace(3);
                self.call(called)
            }
            b'b' => self.replace(2),
            b'Q' | READONLY_BUFFER => self.replace(1),
            _ => None,
        })
    }

    fn push(&mut self) -> Step {
        // Invariant: the stack is never empty, and counts stay below OPCODES_MAX.
        *self.stack.last_mut()? += 1;
        Some(())
    }

    fn pop(&mut self, count: u32) -> Step {
        let values = self.stack.last_mut()?;
        *values = values.checked_sub(count)?;
        Some(())
    }

    /// Takes `count` values and puts one in their place.
    fn replace(&mut self, count: u32) -> Step {
        self.pop(count)?;
        self.push()
    }

    /// Takes everything down to the last mark, and the mark; returns how many values that were.
    fn pop_mark(&mut self) -> Option<u32> {
        if self.stack.len() < 2 {
            return None;
        }
        self.stack.pop()
    }

    fn put(&mut self, slot: u64) -> Step {
        if *self.stack.last()? == 0 {
            return None;
        }
        self.memo.insert(slot);
        Some(())
    }

    fn get(&mut self, slot: u64) -> Step {
        if !self.memo.contains(&slot) {
            return None;
        }
        self.push()
    }

    fn call(&mut self, step: Step) -> Step {
        // Without an import nothing can be called but a plain value, at which every loader gives up.
        self.called |= step.is_some() && self.imported;
        step
    }

    fn skipped(&mut self, count: u64) -> Result<Step, Stop> {
        self.cursor.skip(count)?;
        Ok(self.push())
    }

    fn counted1(&mut self) -> Result<Step, Stop> {
        let length = self.cursor.octet()?;
        self.skipped(u64::from(length))
    }

    fn line(&mut self, sound: fn(&[u8]) -> bool) -> Result<Step, Stop> {
        let line = self.cursor.line(LINE_BYTES_MAX)?;
        Ok(if sound(&line) { self.push() } else { None })
    }

    /// A decimal number on a line.
    fn number(&mut self) -> Result<Option<u64>, Stop> {
        let line = self.cursor.line(LINE_BYTES_MAX)?;
        Ok(std::str::from_utf8(&line).ok().and_then(|digits| digits.parse().ok()))
    }

    /// The two lines of a global: module and name.
    fn global(&mut self) -> Result<Step, Stop> {
        let module = self.cursor.line(LINE_BYTES_MAX)?;
        if !is_dotted_name(&module) {
            return Ok(None);
        }
        let name = self.cursor.line(LINE_BYTES_MAX)?;
        Ok(is_dotted_name(&name).then_some(()))
    }
}

/// As far as it tells a number from a word: digits of any base, sign, and the L of old long integers.
fn is_integer(line: &[u8]) -> bool {
    line.iter().any(u8::is_ascii_digit)
        && line.iter().all(|octet| octet.is_ascii_hexdigit() || b"+-_xXoOlL \r".contains(octet))
}

fn is_float(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(|octet| octet.is_ascii_digit() || b"+-._einfatyEINFATY \r".contains(octet))
}

fn is_quoted(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    // The kept part of a long line may lack its end.
    let whole = line.len() < LINE_BYTES_MAX;
    matches!(line, [quote @ (b'\'' | b'"'), .., last] if !whole || quote == last)
}

/// Whether a loader could find it: names joined by dots, `<locals>` and `<lambda>` among them.
fn is_dotted_name(line: &[u8]) -> bool {
    !line.is_empty()
        && line.iter().all(|octet| octet.is_ascii_alphanumeric() || b"_.<>".contains(octet) || !octet.is_ascii())
}

/// A pickle.
const PRESENT: Rule = Rule {
    id: "pickle.present",
    level: Level::Note,
    meaning: "The file is or has a pickle, a program for rebuilding objects: it is harmless only as far as the callables it \
              names are. Prefer formats that hold numbers alone.",
};
/// A denied callable.
const DENIED: Rule = Rule {
    id: "pickle.global.denied",
    level: Level::Malicious,
    meaning: "The pickle names a callable that runs code, or reaches files, processes or the network. Loading imports it at \
              least, whether or not its result is used; no model needs it.",
};
/// A callable on no list.
const UNKNOWN: Rule = Rule {
    id: "pickle.global.unknown",
    level: Level::Suspicious,
    meaning: "The pickle names a callable that is on no list, such as a class of the uploader's own: loading imports its \
              module and may run it. Know the package it is from before loading.",
};
/// A library class.
const LIBRARY: Rule = Rule {
    id: "pickle.global.library",
    level: Level::Note,
    meaning: "The pickle names a class of a machine-learning library, as models do. Loading runs that library's code.",
};
/// A dotted name.
const DOTTED: Rule = Rule {
    id: "pickle.global.dotted",
    level: Level::Malicious,
    meaning: "The pickle names something by a path of attributes, which reaches what the module itself imported; a way to \
              name a dangerous callable through a harmless module.",
};
/// A computed name.
const COMPUTED: Rule = Rule {
    id: "pickle.global.computed",
    level: Level::Malicious,
    meaning: "The pickle imports something whose name it computes while it is loaded, which no writer does: it hides what \
              is imported.",
};
/// A computed callable.
const CALL: Rule = Rule {
    id: "pickle.call.computed",
    level: Level::Malicious,
    meaning: "The pickle calls something that is no name but the result of an earlier step, which no writer does: it hides \
              what is called.",
};
/// State for what is not the pickle's.
const BUILD: Rule = Rule {
    id: "pickle.build",
    level: Level::Malicious,
    meaning: "The pickle changes a module, a class or a function, or sets an attribute that Python itself uses, instead of \
              giving state to an object it made.",
};
/// Arguments outside the pattern.
const ARGS: Rule = Rule {
    id: "pickle.args",
    level: Level::Malicious,
    meaning: "The pickle calls a function that is allowed for rebuilding arrays, tensors or objects, but with arguments that \
              its writer never leaves there.",
};
/// The extension registry.
const EXT: Rule = Rule {
    id: "pickle.ext",
    level: Level::Malicious,
    meaning: "The pickle names a callable by a number in a registry of the loading process, so that the file does not say \
              what it is. No model needs it.",
};
/// A persistent id.
const PERSID: Rule = Rule {
    id: "pickle.persid",
    level: Level::Suspicious,
    meaning: "The pickle asks its loader for an object from outside, other than the storages in torch's containers: what it \
              gets depends on the loading program.",
};
/// A pickle in octets.
const NESTED: Rule = Rule {
    id: "pickle.nested",
    level: Level::Malicious,
    meaning: "The pickle loads another file out of octets within it, and what these are cannot be told.",
};
/// Two readings.
const AMBIGUOUS: Rule = Rule {
    id: "pickle.ambiguous",
    level: Level::Suspicious,
    meaning: "The octets of an array that joblib reads are a program to loaders that don't know joblib: what loading does \
              depends on the loader.",
};
/// Not a whole pickle.
const BROKEN: Rule = Rule {
    id: "pickle.broken",
    level: Level::Unscannable,
    meaning: "The pickle cannot be read to its end. A loader executes everything up to the fault before it fails, and \
              another loader may not fail.",
};
/// Several pickles.
const SEVERAL: Rule = Rule {
    id: "pickle.several",
    level: Level::Suspicious,
    meaning: "More than one pickle stands in the file, in no layout that is known. Loaders that read on load them all.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[
    PRESENT, DENIED, UNKNOWN, LIBRARY, DOTTED, COMPUTED, CALL, BUILD, ARGS, EXT, PERSID, NESTED, AMBIGUOUS, BROKEN,
    SEVERAL,
];

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
        let (opcodes, protocol) = (machine.opcodes, machine.protocol);
        let element = torch::described(&machine.heap, ending);
        let storages = std::mem::take(&mut machine.storages);
        if let Some(protocol) = protocol {
            self.scan.facts.set("pickle_protocol", protocol);
        }
        Ok(Stream { ending, end, opcodes, has_protocol: protocol.is_some(), found, storages, element })
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
            &rules::TRAILING,
            self.place,
            Some(self.at),
            format_args!("{count} octets behind the pickle belong to nothing in it"),
        );
        self.search()
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
                    let mut machine = Machine::new(self.scan, self.source, self.place, at - 2, self.torch).trying(None);
                    machine.run()?;
                    let found = std::mem::take(&mut machine.found);
                    self.report(found.into_iter().filter(Found::is_certain).collect());
                }
                _ => {}
            }
            self.scan.tick(self.place)?;
        }
        Ok(())
    }
}
