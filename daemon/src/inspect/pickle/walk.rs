//! Telling a pickle from other files by walking its opcodes: a stack that knows how many values and marks it holds but not
//! what they are, and the set of memo slots in use. It knows whether octets are a pickle; whether loading it is safe it does
//! not know.

use std::collections::BTreeSet;
use std::io;

use super::opcode::{
    ADDITEMS, BINBYTES8, BINUNICODE8, BYTEARRAY8, EMPTY_SET, EXT1, EXT2, EXT4, FRAME, FROZENSET, LONG1, LONG4, MEMOIZE,
    NEWFALSE, NEWOBJ, NEWOBJ_EX, NEWTRUE, NEXT_BUFFER, PROTO, READONLY_BUFFER, SHORT_BINUNICODE, STACK_GLOBAL, TUPLE1,
    TUPLE2, TUPLE3,
};
use crate::inspect::ReadAt;
use crate::inspect::cursor::{Cursor, Stop};

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
pub(in crate::inspect) enum Evidence {
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
pub(in crate::inspect) fn examine(source: &dyn ReadAt) -> io::Result<Evidence> {
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
            b'p' => match slot(&mut self.cursor)? {
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
            b'g' => match slot(&mut self.cursor)? {
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

    /// The two lines of a global: module and name.
    fn global(&mut self) -> Result<Step, Stop> {
        let module = self.cursor.line(LINE_BYTES_MAX)?;
        if !is_dotted_name(&module) {
            return Ok(None);
        }
        let name = self.cursor.line(LINE_BYTES_MAX)?;
        Ok(is_name(&name).then_some(()))
    }
}

/// The number of a memo slot, on a line: decimal, with blanks, zeros and underscores as loaders take them. What follows its
/// digits is stepped over.
pub(super) fn slot(cursor: &mut Cursor) -> Result<Option<u64>, Stop> {
    let (mut number, mut has_digits, mut goes_on) = (Some(0_u64), false, true);
    loop {
        match cursor.octet()? {
            b'\n' => return Ok(number.filter(|_| has_digits)),
            _ if !goes_on => {}
            digit @ b'0'..=b'9' => {
                has_digits = true;
                number = number.and_then(|number| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            }
            b'_' if has_digits => {}
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c | b'+' if !has_digits => {}
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c | 0 if has_digits => goes_on = false,
            _ => number = None,
        }
    }
}

/// The part of a line that loaders read a number from: some stop at a NUL.
fn until_nul(line: &[u8]) -> &[u8] {
    line.split(|octet| *octet == 0).next().unwrap_or_default()
}

/// As far as it tells a number from a word: digits of any base, sign, and the L of old long integers. Of a long line the
/// digits may be in the part that was not kept.
pub(super) fn is_integer(line: &[u8]) -> bool {
    let digits = until_nul(line);
    (digits.len() >= LINE_BYTES_MAX || digits.iter().any(u8::is_ascii_digit))
        && digits.iter().all(|octet| octet.is_ascii_hexdigit() || b"+-_xXoOlL \t\x0b\x0c\r".contains(octet))
}

pub(super) fn is_float(line: &[u8]) -> bool {
    let digits = until_nul(line);
    !digits.is_empty()
        && digits.iter().all(|octet| octet.is_ascii_digit() || b"+-._einfatyEINFATY \t\x0b\x0c\r".contains(octet))
}

fn is_quoted(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    // The kept part of a long line may lack its end.
    let whole = line.len() < LINE_BYTES_MAX;
    matches!(line, [quote @ (b'\'' | b'"'), .., last] if !whole || quote == last)
}

/// Whether it is a text on one line: some modules have attributes of whatever name they are asked for.
fn is_name(line: &[u8]) -> bool {
    !line.is_empty() && !line.iter().any(u8::is_ascii_control)
}

/// Whether a loader could find it: names joined by dots, `<locals>` and `<lambda>` among them.
pub(super) fn is_dotted_name(line: &[u8]) -> bool {
    !line.is_empty()
        && line.iter().all(|octet| octet.is_ascii_alphanumeric() || b"_.<>".contains(octet) || !octet.is_ascii())
}
