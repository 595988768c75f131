//! The abstract pickle machine: every opcode of protocols 0 to 5, on values that are known as far as the file says them
//! (scanning.md §4). Names are looked up in lists and calls stay opaque; nothing is imported, built or run. It knows what a
//! pickle would do; what stands behind its STOP, and which container is around, it is told or leaves to others.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;

use super::globals::{self, Standing};
use super::opcode as op;
use super::rules::{AMBIGUOUS, ARGS, BROKEN, BUILD, CALL, COMPUTED, DENIED, DOTTED, EXT, LIBRARY, PERSID, UNKNOWN};
use super::value::{self, Const, Dict, Full, Global, Heap, Kind, Memo, Node, Object, TEXT_BYTES_MAX, Value};
use super::walk::{is_dotted_name, is_float, is_integer, slot};
use super::{calls, numpy, torch};
use crate::inspect::cursor::{Cursor, Stop};
use crate::inspect::rules::Rule;
use crate::inspect::scan::{Place, Scan};
use crate::inspect::{Format, Level, ReadAt};

/// Values on the stack, and marks, at most.
const STACK_MAX: usize = 1_000_000;

/// Opcodes charged at once.
const OPCODES_CHARGED: u32 = 256;

/// Findings that one stream holds back at most.
const FOUND_MAX: usize = 1_000;

/// Opcodes of a try on octets that need not be a pickle.
const TRY_OPCODES_MAX: u64 = 10_000;

/// Opcodes that numbers may be by chance.
const CHANCE_OPCODES_MAX: u64 = 8;

/// Longest constant whose octets are looked at for a dunder. Python's own names are far shorter.
const DUNDER_BYTES_MAX: u32 = 255;

/// Octets kept of a line with a number.
const NUMBER_BYTES_MAX: usize = 1024;

/// Why a stream cannot be walked on.
pub(super) enum Halt {
    /// No loader goes beyond this.
    Fault(&'static str),
    /// The inspection cannot go on.
    Stop(Stop),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::End | Stop::Budget => Self::Fault("it ends in the middle"),
            Stop::Io(_) | Stop::Limit => Self::Stop(stop),
        }
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Stop(Stop::Io(error))
    }
}

/// How one stream ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// With STOP and this value.
    Stop(Value),
    /// With what no loader takes.
    Fault(&'static str),
}

/// Which of torch's layouts is around: they decide what a persistent id may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Torch {
    None,
    /// A zip archive; of TorchScript or not.
    Zip {
        script: bool,
    },
    /// The sequence of pickles before 1.6.
    Legacy,
    /// The tar archive before 0.1.10.
    Tar,
}

impl Torch {
    /// By the container around.
    pub(super) fn within(container: Option<Format>) -> Self {
        match container {
            Some(Format::Torchscript) => Self::Zip { script: true },
            Some(Format::PytorchZip | Format::TorchPackage) => Self::Zip { script: false },
            Some(Format::PytorchTar) => Self::Tar,
            _ => Self::None,
        }
    }
}

/// Something found, before it is reported.
pub(super) struct Found {
    pub(super) level: Level,
    pub(super) rule: &'static Rule,
    pub(super) at: u64,
    pub(super) detail: String,
}

/// A tensor or array, for the facts.
pub(super) struct Tensor {
    pub(super) name: Option<Value>,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
}

/// The machine, on one stream.
pub(super) struct Machine<'m, 'r> {
    pub(super) scan: &'m mut Scan<'r>,
    pub(super) source: &'m dyn ReadAt,
    pub(super) place: &'m Place,
    pub(super) cursor: Cursor<'m>,
    pub(super) heap: Heap,
    torch: Torch,
    memo: Memo,
    stack: Vec<Value>,
    /// How many values are below each mark.
    marks: Vec<usize>,
    /// How the globals of the heap stand, by their numbers.
    standings: Vec<Standing>,
    /// Opcodes so far, and those of them not yet charged.
    pub(super) opcodes: u64,
    uncharged: u32,
    /// Where the last frame ends.
    frame_end: u64,
    /// Opcodes of a try, runs of the same one counted once, and the last one.
    tried: u64,
    last: u8,
    /// Whether a try ended with what it is given and not with a fault.
    exhausted: bool,
    /// Where the opcode under way stands.
    at: u64,
    /// Set for a try on octets that need not be a pickle of their own: what is missing is unknown, not a fault, and nothing
    /// but findings is noted.
    trying: Option<Option<&'m Memo>>,
    /// Pickles in the stream around this one.
    nesting: u32,
    pub(super) found: Vec<Found>,
    /// Whether there is no room for more, and nothing worse to find.
    sated: bool,
    /// Whether something was called, or given state.
    called: bool,
    /// Octets of each storage that persistent ids of torch's legacy layout name.
    pub(super) storages: HashMap<Vec<u8>, u64>,
    tensors: Vec<Tensor>,
    /// Which tensor an object is, by the object's number.
    tensor_of: HashMap<u32, usize>,
    pub(super) protocol: Option<u8>,
}

impl<'m, 'r> Machine<'m, 'r> {
    /// A machine at an offset of a source.
    pub(super) fn new(scan: &'m mut Scan<'r>, source: &'m dyn ReadAt, place: &'m Place, at: u64, torch: Torch) -> Self {
        Self {
            scan,
            source,
            place,
            cursor: Cursor::new(source, at, source.len(), u64::MAX),
            heap: Heap::new(place.depth()),
            torch,
            memo: Memo::new(place.depth()),
            stack: Vec::new(),
            marks: Vec::new(),
            standings: Vec::new(),
            opcodes: 0,
            uncharged: 0,
            frame_end: 0,
            tried: 0,
            last: 0,
            exhausted: false,
            at,
            trying: None,
            nesting: 0,
            found: Vec::new(),
            sated: false,
            called: false,
            storages: HashMap::new(),
            tensors: Vec::new(),
            tensor_of: HashMap::new(),
            protocol: None,
        }
    }

    /// A try on octets that a loader might come to read as a pickle, with whatever it has on its stack by then.
    pub(super) fn trying(mut self, memo: Option<&'m Memo>) -> Self {
        self.trying = Some(memo);
        self
    }

    /// Walks to STOP or to a fault.
    pub(super) fn run(&mut self) -> Result<Ending, Stop> {
        let ending = loop {
            match self.opcode() {
                Ok(None) => {}
                Ok(Some(value)) => break Ending::Stop(value),
                Err(Halt::Fault(why)) => break Ending::Fault(why),
                Err(Halt::Stop(stop)) => return Err(stop),
            }
        };
        self.charge()?;
        Ok(ending)
    }

    fn charge(&mut self) -> Result<(), Stop> {
        self.scan.opcodes(self.place, u64::from(std::mem::take(&mut self.uncharged)))
    }

    /// Where the opcode under way stands: where a fault is.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Notes what was found; it is reported when it is known that this is a stream.
    pub(super) fn find(&mut self, level: Level, rule: &'static Rule, detail: impl Display) {
        let found = Found { level, rule, at: self.at, detail: detail.to_string() };
        if self.found.len() < FOUND_MAX {
            self.found.push(found);
        } else if level == Level::Malicious {
            match self.found.iter_mut().find(|one| one.level < level) {
                Some(lesser) => *lesser = found,
                None => self.sated = true,
            }
        }
    }

    /// Adds a tensor to the facts; `value` is the object that it is.
    pub(super) fn tensor(&mut self, value: Value, dtype: String, shape: Vec<u64>) {
        const TENSORS_MAX: usize = 200_000;
        if let Value::Node(number) = value
            && self.tensors.len() < TENSORS_MAX
        {
            self.tensor_of.insert(number, self.tensors.len());
            self.tensors.push(Tensor { name: None, dtype, shape });
        }
    }

    /// Makes an object the same tensor as another one: a parameter of a model is its data.
    pub(super) fn same_tensor(&mut self, value: Value, data: Value) {
        if let (Value::Node(number), Value::Node(data)) = (value, data)
            && let Some(tensor) = self.tensor_of.get(&data)
        {
            self.tensor_of.insert(number, *tensor);
        }
    }

    /// Hands the tensors over to the facts of the file.
    pub(super) fn tell_tensors(&mut self) -> io::Result<()> {
        for tensor in std::mem::take(&mut self.tensors) {
            let name = match tensor.name {
                Some(Value::Const(name)) => value::text(self.source, name, 512)?,
                _ => None,
            };
            self.scan.facts.add_tensor(&name.unwrap_or_default(), &tensor.dtype, &tensor.shape);
        }
        Ok(())
    }

    pub(super) fn reached(&mut self, what: impl Display) -> Halt {
        match self.trying {
            Some(_) => {
                self.exhausted = true;
                Halt::Fault("more than a try is given")
            }
            None => Halt::Stop(self.scan.reached(self.place, what)),
        }
    }

    fn full(&mut self) -> Halt {
        self.reached("more values in a pickle than are held")
    }

    fn add(&mut self, node: Node) -> Result<Value, Halt> {
        self.heap.add(node).map_err(|Full| self.full())
    }

    /// The text of a constant; `None` for what is none, or too long to be a name.
    pub(super) fn text(&self, value: Value) -> Result<Option<String>, Halt> {
        Ok(match value {
            Value::Const(one) => value::text(self.source, one, TEXT_BYTES_MAX)?,
            _ => None,
        })
    }

    fn push(&mut self, value: Value) -> Result<(), Halt> {
        if self.stack.len() >= STACK_MAX {
            return Err(self.reached(format_args!("more than {STACK_MAX} values on the stack")));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Halt> {
        if self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            // Invariant: the stack is never shorter than what is below its marks.
            return self.stack.pop().ok_or(Halt::Fault("the stack is empty"));
        }
        if self.trying.is_some() { Ok(Value::Unknown) } else { Err(Halt::Fault("a value is missing on the stack")) }
    }

    fn top(&mut self) -> Result<Value, Halt> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, Halt> {
        match self.marks.pop() {
            Some(below) => Ok(self.stack.split_off(below)),
            None if self.trying.is_some() => Ok(std::mem::take(&mut self.stack)),
            None => Err(Halt::Fault("a mark is missing on the stack")),
        }
    }

    /// One opcode; the value if it is STOP.
    fn opcode(&mut self) -> Result<Option<Value>, Halt> {
        self.at = self.cursor.position();
        let opcode = self.cursor.octet()?;
        self.opcodes += 1;
        self.uncharged += 1;
        if self.uncharged >= OPCODES_CHARGED {
            self.charge()?;
        }
        // Arrays are full of runs of one octet, which mean nothing.
        self.tried += u64::from(std::mem::replace(&mut self.last, opcode) != opcode);
        if self.trying.is_some() && self.tried > TRY_OPCODES_MAX {
            self.exhausted = true;
            return Err(Halt::Fault("more opcodes than a try is given"));
        }
        if self.sated {
            return Err(Halt::Fault("more is wrong with it than can be told"));
        }
        match opcode {
            op::STOP => return self.pop().map(Some),
            op::PROTO => {
                let protocol = self.cursor.octet()?;
                if protocol > 5 {
                    return Err(Halt::Fault("its protocol is above 5"));
                }
                if self.protocol.is_none() && self.trying.is_none() {
                    self.scan.facts.set("pickle_protocol", protocol);
                }
                self.protocol.get_or_insert(protocol);
            }
            op::FRAME => {
                let length = u64::from_le_bytes(self.cursor.array()?);
                if length > self.cursor.left() && self.trying.is_none() {
                    // Some loaders go on from here.
                    self.find(BROKEN.level, &BROKEN, "the pickle is broken: a frame reaches beyond the end");
                }
                self.frame_end = self.cursor.position().saturating_add(length);
            }

            op::NONE => self.push(Value::None)?,
            op::NEWTRUE => self.push(Value::Bool(true))?,
            op::NEWFALSE => self.push(Value::Bool(false))?,
            op::BININT1 => {
                let number = self.cursor.octet()?;
                self.push(Value::Int(i64::from(number)))?;
            }
            op::BININT2 => {
                let number = u16::from_le_bytes(self.cursor.array()?);
                self.push(Value::Int(i64::from(number)))?;
            }
            op::BININT => {
                let number = i32::from_le_bytes(self.cursor.array()?);
                self.push(Value::Int(i64::from(number)))?;
            }
            op::BINFLOAT => {
                self.cursor.skip(8)?;
                self.push(Value::Number)?;
            }
            op::LONG1 => {
                let length = self.cursor.octet()?;
                self.long(u64::from(length))?;
            }
            op::LONG4 => {
                let length = self.signed_length()?;
                self.long(length)?;
            }
            op::INT | op::LONG => self.integer_line(opcode)?,
            op::FLOAT => {
                let line = self.cursor.line(NUMBER_BYTES_MAX)?;
                if !is_float(&line) {
                    return Err(Halt::Fault("a number is none"));
                }
                self.push(Value::Number)?;
            }

            op::SHORT_BINUNICODE => {
                let length = self.cursor.octet()?;
                self.constant(u64::from(length), Kind::Utf8)?;
            }
            op::BINUNICODE => {
                let length = u32::from_le_bytes(self.cursor.array()?);
                self.constant(u64::from(length), Kind::Utf8)?;
            }
            op::BINUNICODE8 => {
                let length = u64::from_le_bytes(self.cursor.array()?);
                self.constant(length, Kind::Utf8)?;
            }
            op::SHORT_BINSTRING => {
                let length = self.cursor.octet()?;
                self.constant(u64::from(length), Kind::Latin1)?;
            }
            op::BINSTRING => {
                let length = self.signed_length()?;
                self.constant(length, Kind::Latin1)?;
            }
            op::SHORT_BINBYTES => {
                let length = self.cursor.octet()?;
                self.constant(u64::from(length), Kind::Bytes)?;
            }
            op::BINBYTES => {
                let length = u32::from_le_bytes(self.cursor.array()?);
                self.constant(u64::from(length), Kind::Bytes)?;
            }
            op::BINBYTES8 | op::BYTEARRAY8 => {
                let length = u64::from_le_bytes(self.cursor.array()?);
                self.constant(length, if opcode == op::BYTEARRAY8 { Kind::Mutable } else { Kind::Bytes })?;
            }
            op::STRING => self.constant_line(Kind::Quoted)?,
            op::UNICODE => self.constant_line(Kind::Unicode)?,
            op::NEXT_BUFFER => self.push(Value::Unknown)?,
            op::READONLY_BUFFER => {
                self.top()?;
            }

            op::MARK => {
                if self.marks.len() >= STACK_MAX {
                    return Err(self.reached(format_args!("more than {STACK_MAX} marks on the stack")));
                }
                self.marks.push(self.stack.len());
            }
            op::POP => {
                // A mark on the top is what goes.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => {
                self.pop_mark()?;
            }
            op::DUP => {
                let top = self.top()?;
                self.push(top)?;
            }
            op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 | op::EMPTY_TUPLE => self.tuple(opcode)?,
            op::EMPTY_LIST | op::EMPTY_SET => self.push_new(Node::List(Vec::new()))?,
            op::EMPTY_DICT => self.push_new(Node::Dict(Box::default()))?,
            op::LIST | op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push_new(Node::List(Vec::new()))?;
                self.extend(&items)?;
            }
            op::DICT => {
                let pairs = self.pop_mark()?;
                self.push_new(Node::Dict(Box::default()))?;
                self.set(&pairs)?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            op::SETITEM => {
                let item = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, item])?;
            }
            op::SETITEMS => {
                let pairs = self.pop_mark()?;
                self.set(&pairs)?;
            }

            op::PUT => {
                let slot = self.slot_line()?;
                self.put(slot)?;
            }
            op::BINPUT => {
                let slot = self.cursor.octet()?;
                self.put(u64::from(slot))?;
            }
            op::LONG_BINPUT => {
                let slot = u32::from_le_bytes(self.cursor.array()?);
                self.put(u64::from(slot))?;
            }
            op::MEMOIZE => {
                // A try counts on from the memo around it, as the loader does.
                let around = self.trying.flatten().map_or(0, Memo::len);
                self.put(around.saturating_add(self.memo.len()))?;
            }
            op::GET => {
                let slot = self.slot_line()?;
                self.recall(slot)?;
            }
            op::BINGET => {
                let slot = self.cursor.octet()?;
                self.recall(u64::from(slot))?;
            }
            op::LONG_BINGET => {
                let slot = u32::from_le_bytes(self.cursor.array()?);
                self.recall(u64::from(slot))?;
            }

            op::GLOBAL => {
                let global = self.global_lines()?;
                self.push(global)?;
            }
            op::STACK_GLOBAL => {
                let name = self.pop()?;
                let module = self.pop()?;
                let global = self.stack_global(module, name)?;
                self.push(global)?;
            }
            op::INST => {
                let class = self.global_lines()?;
                let items = self.pop_mark()?;
                self.hold(&items);
                let args = self.add(Node::Tuple(items.into()))?;
                self.call(class, args, false)?;
            }
            op::OBJ => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(Halt::Fault("a class is missing on the stack"));
                }
                let class = items.remove(0);
                self.hold(&items);
                let args = self.add(Node::Tuple(items.into()))?;
                self.call(class, args, false)?;
            }
            op::REDUCE => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, args, false)?;
            }
            op::NEWOBJ => {
                let args = self.pop()?;
                let class = self.pop()?;
                self.call(class, args, true)?;
            }
            op::NEWOBJ_EX => {
                self.pop()?;
                let args = self.pop()?;
                let class = self.pop()?;
                self.call(class, args, true)?;
            }
            op::BUILD => self.build()?,
            op::EXT1 | op::EXT2 | op::EXT4 => {
                self.cursor.skip(1 << (opcode - op::EXT1))?;
                self.find(EXT.level, &EXT, "names a callable by a number of Python's extension registry");
                self.push(Value::Unknown)?;
            }
            op::PERSID => {
                let at = self.cursor.position();
                self.skip_line()?;
                let id = self.constant_at(at, self.cursor.position() - 1, Kind::Latin1, false);
                let object = self.persistent(id)?;
                self.push(object)?;
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let object = self.persistent(id)?;
                self.push(object)?;
            }
            _ => return Err(Halt::Fault("what follows is no opcode")),
        }
        Ok(None)
    }

    /// Values become part of something, from where a loader or what it builds may call them with arguments that are nowhere
    /// to be seen. Functions on the list are called by the pickle itself or not at all.
    fn hold(&mut self, values: &[Value]) {
        if self.trying.is_some() {
            return;
        }
        let kept = values.iter().find(|value| self.heap.global(**value).is_some_and(|one| !calls::is_data(one)));
        if let Some(kept) = kept {
            let what = self.render(*kept);
            self.find(ARGS.level, &ARGS, format_args!("keeps {what} as a value, which writers only ever call"));
        }
    }

    fn push_new(&mut self, node: Node) -> Result<(), Halt> {
        let value = self.add(node)?;
        self.push(value)
    }

    fn tuple(&mut self, opcode: u8) -> Result<(), Halt> {
        let items: Box<[Value]> = match opcode {
            op::TUPLE => self.pop_mark()?.into(),
            op::EMPTY_TUPLE => Box::default(),
            _ => {
                let mut items = [Value::None; 3];
                let count = usize::from(opcode - op::TUPLE1) + 1;
                for item in items[..count].iter_mut().rev() {
                    *item = self.pop()?;
                }
                items[..count].into()
            }
        };
        self.hold(&items);
        self.push_new(Node::Tuple(items))
    }

    /// A length with a sign, as the oldest opcodes have it.
    fn signed_length(&mut self) -> Result<u64, Halt> {
        let length = i32::from_le_bytes(self.cursor.array()?);
        u64::try_from(length).ok().ok_or(Halt::Fault("a length is negative"))
    }

    /// An integer in two's complement, least octet first.
    fn long(&mut self, length: u64) -> Result<(), Halt> {
        if length > 10 {
            self.cursor.skip(length)?;
            return self.push(Value::Number);
        }
        let octets = self.cursor.take(length)?;
        let value = if octets == torch::MAGIC {
            Value::TorchMagic
        } else if octets.len() > 8 {
            Value::Number
        } else {
            let negative = octets.last().is_some_and(|octet| octet & 0x80 != 0);
            let mut whole = [if negative { 0xff } else { 0 }; 8];
            whole[..octets.len()].copy_from_slice(&octets);
            Value::Int(i64::from_le_bytes(whole))
        };
        self.push(value)
    }

    fn integer_line(&mut self, opcode: u8) -> Result<(), Halt> {
        let line = self.cursor.line(NUMBER_BYTES_MAX)?;
        if !is_integer(&line) {
            return Err(Halt::Fault("a number is none"));
        }
        // Some loaders read no further than to a NUL.
        let digits = line.split(|octet| *octet == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let digits = text.trim().trim_end_matches('L');
        // Which base digits behind a zero are in, loaders don't agree on.
        let has_zeros = digits.trim_start_matches(['+', '-']).starts_with('0') && digits.len() > 1;
        let value = match (opcode, text) {
            (op::INT, "00") => Value::Bool(false),
            (op::INT, "01") => Value::Bool(true),
            _ if digits == torch::MAGIC_DIGITS => Value::TorchMagic,
            _ if has_zeros || line.len() >= NUMBER_BYTES_MAX => Value::Number,
            _ => digits.parse().map_or(Value::Number, Value::Int),
        };
        self.push(value)
    }

    /// A string or octets of a known length, which stay where they are.
    fn constant(&mut self, length: u64, kind: Kind) -> Result<(), Halt> {
        let at = self.cursor.position();
        let end = at.saturating_add(length);
        let mut dunder = false;
        if !kind.is_octets() && (5..=u64::from(DUNDER_BYTES_MAX)).contains(&length) && self.cursor.octet()? == b'_' {
            let rest = self.cursor.take(length - 1)?;
            // What torch leaves in a module that it has compiled, and no meaning to Python.
            let is_torchs = rest == b"_overloads__";
            dunder = rest.starts_with(b"_") && rest.ends_with(b"__") && !is_torchs;
        }
        self.cursor.skip(end - self.cursor.position())?;
        let value = self.constant_at(at, end, kind, dunder);
        self.push(value)
    }

    fn constant_at(&self, at: u64, end: u64, kind: Kind, dunder: bool) -> Value {
        Value::Const(Const { at, len: u32::try_from(end - at).unwrap_or(u32::MAX), kind, dunder })
    }

    fn constant_line(&mut self, kind: Kind) -> Result<(), Halt> {
        let at = self.cursor.position();
        self.skip_line()?;
        let mut one =
            Const { at, len: u32::try_from(self.cursor.position() - 1 - at).unwrap_or(u32::MAX), kind, dunder: false };
        // With escapes a name may be several times as long as it is.
        if one.len <= 10 * DUNDER_BYTES_MAX {
            let text = value::text(self.source, one, u64::from(one.len))?.ok_or(Halt::Fault("a string is none"))?;
            one.dunder = globals::is_dunder(&text);
        }
        self.push(Value::Const(one))
    }

    fn skip_line(&mut self) -> Result<(), Halt> {
        self.cursor.line(0)?;
        Ok(())
    }

    /// Elements for the value on the top.
    fn extend(&mut self, items: &[Value]) -> Result<(), Halt> {
        let target = self.top()?;
        self.hold(items);
        self.judge_elements(target);
        let taken = self.heap.extend(target, items).map_err(|Full| self.full())?;
        self.changed(target, taken)
    }

    /// A loader adds elements by a method that it looks up on the object, where the object's own state may have put anything.
    fn judge_elements(&mut self, target: Value) {
        let Some(object) = self.heap.object(target).filter(|_| self.trying.is_none()) else { return };
        let Value::Global(number) = object.callable else { return };
        let takes = self.heap.class(object).is_some_and(calls::takes_elements);
        let level = match self.standings.get(number as usize) {
            _ if takes => return,
            Some(Standing::Allowed) => Level::Malicious,
            Some(Standing::Library) => Level::Suspicious,
            Some(Standing::Unknown | Standing::Denied) | None => return,
        };
        let what = self.render(target);
        self.find(
            level,
            &BUILD,
            format_args!("adds elements to {what}, which is no list: that calls whatever its state says"),
        );
    }

    /// Entries for the value on the top.
    fn set(&mut self, pairs: &[Value]) -> Result<(), Halt> {
        if !pairs.len().is_multiple_of(2) {
            return Err(Halt::Fault("a key has no value"));
        }
        let target = self.top()?;
        self.hold(pairs);
        let taken = self.heap.set(target, pairs).map_err(|Full| self.full())?;
        if !self.tensors.is_empty() {
            for pair in pairs.chunks_exact(2) {
                if let Value::Node(number) = pair[1]
                    && let Some(tensor) = self.tensor_of.get(&number).and_then(|at| self.tensors.get_mut(*at))
                {
                    tensor.name.get_or_insert(pair[0]);
                }
            }
        }
        self.changed(target, taken)
    }

    fn changed(&mut self, target: Value, taken: bool) -> Result<(), Halt> {
        match target {
            _ if taken => Ok(()),
            Value::Global(_) => {
                let what = self.render(target);
                self.find(BUILD.level, &BUILD, format_args!("adds to {what}, which the pickle did not make"));
                Ok(())
            }
            _ => Err(Halt::Fault("it adds to a value that has no elements")),
        }
    }

    /// The number of a memo slot on a line.
    fn slot_line(&mut self) -> Result<u64, Halt> {
        slot(&mut self.cursor)?.ok_or(Halt::Fault("a memo slot is no number"))
    }

    fn put(&mut self, slot: u64) -> Result<(), Halt> {
        let top = self.top()?;
        self.memo.put(slot, top).map_err(|Full| self.reached("more memo entries in a pickle than are held"))
    }

    fn recall(&mut self, slot: u64) -> Result<(), Halt> {
        let value = match (self.memo.get(slot), self.trying) {
            (Some(value), _) => value,
            // Constants are in the source and so the same to both; other values are the other machine's.
            (None, Some(around)) => match around.and_then(|memo| memo.get(slot)) {
                Some(value @ Value::Const(_)) => value,
                _ => Value::Unknown,
            },
            (None, None) => return Err(Halt::Fault("a memo slot is read that was never set")),
        };
        self.push(value)
    }

    /// The two lines of a global: module and name.
    fn global_lines(&mut self) -> Result<Value, Halt> {
        let max = usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX);
        let module = self.cursor.line(max)?;
        let name = self.cursor.line(max)?;
        let (Ok(module), Ok(name)) = (String::from_utf8(module), String::from_utf8(name)) else {
            return Err(Halt::Fault("a name is no text"));
        };
        self.global(Global { module, name })
    }

    fn stack_global(&mut self, module: Value, name: Value) -> Result<Value, Halt> {
        let is_text = |value: Value| matches!(value, Value::Const(Const { kind, .. }) if !kind.is_octets());
        if is_text(module)
            && is_text(name)
            && let (Some(module), Some(name)) = (self.text(module)?, self.text(name)?)
        {
            return self.global(Global { module, name });
        }
        let (module, name) = (self.render(module), self.render(name));
        self.find(
            COMPUTED.level,
            &COMPUTED,
            format_args!("imports a name that is not written in the file: module {module}, name {name}"),
        );
        Ok(Value::Unknown)
    }

    /// A name is looked up: that alone imports its module.
    fn global(&mut self, global: Global) -> Result<Value, Halt> {
        if self.trying.is_none() {
            self.scan.global(self.place)?;
        } else if !(is_dotted_name(global.module.as_bytes()) && is_dotted_name(global.name.as_bytes())) {
            // No chance writes such names, and no import finds a denied callable by one.
            return Ok(Value::Unknown);
        }
        let (number, is_new) = self.heap.intern(global.clone()).map_err(|Full| self.full())?;
        if is_new {
            let standing = self.judge(&global);
            self.standings.push(standing);
        }
        Ok(Value::Global(number))
    }

    fn judge(&mut self, global: &Global) -> Standing {
        let Global { module, name } = global;
        let is_script_class = module == "__torch__" || module.starts_with("__torch__.");
        if is_script_class && self.torch == (Torch::Zip { script: true }) && !name.contains('.') {
            return Standing::Allowed;
        }
        let standing = globals::standing(self.scan.rules, module, name);
        let dotted = name.contains('.');
        let rule = if dotted { &DOTTED } else { &UNKNOWN };
        match standing {
            Standing::Allowed => {}
            Standing::Library => {
                self.find(LIBRARY.level, &LIBRARY, format_args!("names the library class {module}.{name}"));
            }
            Standing::Unknown => self.find(
                Level::Suspicious,
                rule,
                format_args!("names {module}.{name}, which is on no list: what it does when called is not known"),
            ),
            Standing::Denied => self.find(
                Level::Malicious,
                if dotted { &DOTTED } else { &DENIED },
                format_args!("names {module}.{name}, which runs code or reaches files, processes or the network"),
            ),
        }
        if self.trying.is_none() {
            self.tell_framework(module, name, standing);
        }
        standing
    }

    /// Facts that names tell.
    fn tell_framework(&mut self, module: &str, name: &str, standing: Standing) {
        const FRAMEWORKS: [&str; 14] = [
            "sklearn",
            "xgboost",
            "lightgbm",
            "catboost",
            "imblearn",
            "torch",
            "tensorflow",
            "keras",
            "transformers",
            "fastai",
            "statsmodels",
            "pandas",
            "spacy",
            "gensim",
        ];
        let package = module.split('.').next().unwrap_or_default();
        if FRAMEWORKS.contains(&package) {
            self.scan.facts.set("framework", package);
        }
        if standing == Standing::Library {
            self.scan.facts.set("class", format!("{module}.{name}"));
        }
    }

    /// A call, or the making of an instance without its constructor.
    fn call(&mut self, callable: Value, args: Value, is_new: bool) -> Result<(), Halt> {
        self.called = true;
        let object = Object { callable, args, state: Value::None, entries: Dict::default() };
        let object = self.add(Node::Object(Box::new(object)))?;
        let Value::Global(number) = callable else {
            if self.trying.is_none() || callable != Value::Unknown {
                let what = self.render(callable);
                self.find(
                    CALL.level,
                    &CALL,
                    format_args!("calls {what}, which the pickle computes instead of naming it"),
                );
            }
            return self.push(object);
        };
        let Some(global) = self.heap.global(callable).cloned() else {
            return self.push(Value::Unknown);
        };
        match self.standings.get(number as usize) {
            Some(Standing::Denied) => {
                let rule = if global.name.contains('.') { &DOTTED } else { &DENIED };
                let call = self.render(object);
                self.find(Level::Malicious, rule, format_args!("calls {call}"));
            }
            Some(Standing::Allowed) if self.trying.is_none() => {
                if !calls::fits(self, &global, args, is_new)? {
                    let call = self.render(object);
                    self.find(
                        ARGS.level,
                        &ARGS,
                        format_args!("calls {call}, which no writer does with such arguments"),
                    );
                }
                calls::result(self, &global, object, args)?;
            }
            _ => {}
        }
        self.push(object)
    }

    /// State for the object on the top.
    fn build(&mut self) -> Result<(), Halt> {
        let state = self.pop()?;
        let target = self.top()?;
        self.called = true;
        self.hold(&[state]);
        let made_by = self.heap.object(target).map(|object| self.heap.global(object.callable));
        if !made_by.is_some_and(|made_by| made_by.is_none_or(calls::makes)) {
            if self.trying.is_none() || target != Value::Unknown {
                let what = self.render(target);
                self.find(BUILD.level, &BUILD, format_args!("sets the state of {what}, which the pickle did not make"));
            }
            return Ok(());
        }
        let parts = [Some(state), self.heap.tuple(state).and_then(|parts| parts.first().copied())];
        let second = self.heap.tuple(state).and_then(|parts| parts.get(1).copied());
        let (mut dunder, mut computed) = (None, false);
        for part in parts.into_iter().chain([second]).flatten() {
            let object = self.heap.object(part);
            if let Some(dict) = self.heap.dict(part).or(object.map(|object| &object.entries)) {
                dunder = dunder.or(dict.dunder);
                computed |= dict.computed;
            }
            computed |= object.is_some_and(|object| calls::is_filled_dict(&self.heap, object));
        }
        if let Some(key) = dunder {
            let (key, what) = (self.render(key), self.render(target));
            self.find(BUILD.level, &BUILD, format_args!("sets {key} of {what}, which changes what the object is"));
        } else if computed {
            let what = self.render(target);
            self.find(Level::Suspicious, &BUILD, format_args!("sets attributes with computed names of {what}"));
        }
        if let Some(object) = self.heap.object_mut(target) {
            object.state = state;
        }
        if self.trying.is_some() {
            return Ok(());
        }
        self.tell_version(state)?;
        match numpy::built(self, target)? {
            None => Ok(()),
            Some(array) => self.array(array),
        }
    }

    /// The version of scikit-learn, which its estimators carry in their state.
    fn tell_version(&mut self, state: Value) -> Result<(), Halt> {
        const KEY: &str = "_sklearn_version";
        if self.scan.facts.values.contains_key("sklearn_version") {
            return Ok(());
        }
        let Some(dict) = self.heap.dict(state) else { return Ok(()) };
        let mut version = None;
        for (key, value) in &dict.entries {
            let of_length = matches!(key, Value::Const(one) if (16..=20).contains(&one.len));
            if of_length && self.text(*key)?.as_deref() == Some(KEY) {
                version = self.text(*value)?;
            }
        }
        if let Some(version) = version {
            self.scan.facts.set("sklearn_version", version);
        }
        Ok(())
    }

    /// What joblib reads from the stream itself behind its array wrapper.
    fn array(&mut self, array: numpy::InStream) -> Result<(), Halt> {
        if self.cursor.position() < self.frame_end {
            // Loaders read frames ahead, and the array from behind them: these octets are opcodes to them all the same.
            return Err(Halt::Fault("an array begins where its frame goes on"));
        }
        match array {
            numpy::InStream::Raw { aligned, octets } => {
                self.try_array()?;
                if aligned {
                    let padding = self.cursor.octet()?;
                    self.cursor.skip(u64::from(padding))?;
                }
                self.cursor.skip(octets)?;
                Ok(())
            }
            numpy::InStream::Pickle => self.inner_pickle(),
            numpy::InStream::Unreadable => Err(Halt::Fault("the size of an array in it is not known")),
        }
    }

    /// A loader that knows nothing of joblib goes on with the array's octets as opcodes.
    fn try_array(&mut self) -> Result<(), Halt> {
        let at = self.cursor.position();
        let mut machine = Machine::new(self.scan, self.source, self.place, at, Torch::None).trying(Some(&self.memo));
        machine.heap = self.heap.inner();
        machine.run()?;
        let found = std::mem::take(&mut machine.found);
        // Numbers that are opcodes by chance don't name anything, and don't call anything after so many.
        let computes = found.iter().any(|one| one.rule == &COMPUTED);
        let goes_on = machine.exhausted
            || machine.heap.has_globals()
            || machine.called && (computes || machine.opcodes >= CHANCE_OPCODES_MAX);
        self.found.extend(found.into_iter().filter(Found::is_certain));
        if goes_on {
            self.find(
                AMBIGUOUS.level,
                &AMBIGUOUS,
                "goes on with calls where joblib reads an array: a loader that does not know joblib makes them",
            );
        }
        Ok(())
    }

    /// A whole pickle in the stream: arrays of objects.
    fn inner_pickle(&mut self) -> Result<(), Halt> {
        if self.nesting >= self.scan.limits.depth {
            let depth = self.scan.limits.depth;
            return Err(self.reached(format_args!("more than {depth} pickles within each other")));
        }
        let at = self.cursor.position();
        let mut machine = Machine::new(self.scan, self.source, self.place, at, self.torch);
        machine.heap = self.heap.inner();
        machine.nesting = self.nesting + 1;
        let ending = machine.run();
        let (end, found) = (machine.cursor.position(), std::mem::take(&mut machine.found));
        machine.tell_tensors()?;
        self.found.extend(found);
        self.found.truncate(FOUND_MAX);
        if let Ending::Fault(why) = ending? {
            return Err(Halt::Fault(why));
        }
        self.cursor.skip(end - at)?;
        Ok(())
    }

    /// What the loader is asked for by an id of its own kind.
    fn persistent(&mut self, id: Value) -> Result<Value, Halt> {
        if self.trying.is_some() {
            return Ok(Value::Unknown);
        }
        match torch::persistent(self, self.torch, id)? {
            Some(torch::Persistent::Storage(storage)) => {
                if let Some((key, octets)) = storage {
                    self.storages.insert(key, octets);
                }
                self.add(Node::Persistent(id))
            }
            Some(torch::Persistent::Class(class)) => {
                let what = self.render(class);
                self.find(
                    PERSID.level,
                    &PERSID,
                    format_args!("brings the source text of the class {what}, as torch did"),
                );
                Ok(class)
            }
            None => {
                let what = self.render(id);
                self.find(
                    PERSID.level,
                    &PERSID,
                    format_args!("asks its loader for the object {what}, which is none of torch's storages"),
                );
                self.add(Node::Persistent(id))
            }
        }
    }
}

impl Found {
    /// Whether it says something even of octets that may not be a pickle: no chance writes the name of a denied callable.
    pub(super) fn is_certain(&self) -> bool {
        self.level == Level::Malicious && (self.rule == &DENIED || self.rule == &DOTTED)
    }
}
