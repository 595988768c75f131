//! The values of the abstract machine, and where they are kept. Constants stay in the file and are read when they matter, so
//! a value is small whatever it stands for; everything with parts is in a [`Heap`] and named by a number. Sharing costs
//! nothing then, values may contain themselves, and dropping deep ones needs no recursion. Nothing here knows an opcode.

use std::collections::HashMap;
use std::io;

use crate::inspect::{ReadAt, read_up_to};

/// Elements kept of a list, dictionary or set: what lies beyond says nothing about what loading does.
const ELEMENTS_MAX: usize = 200;

/// Values that the heap of a file's own pickle holds at most, each about 32 octets. Each container around a pickle halves it,
/// so that pickles within pickles don't hold more together than twice this.
const UNITS_MAX: usize = 8 << 20;

/// Memo entries at most; halved likewise.
const MEMO_MAX: usize = 16 << 20;

/// How far a memo slot may lie behind the last for the memo to stay a table.
const MEMO_GAP_MAX: usize = 1024;

/// Octets of a constant that are read where its text matters. No name of a global is nearly as long.
pub(super) const TEXT_BYTES_MAX: u64 = 4 << 10;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// Nothing is known of it: what a loader gets from outside the pickle.
    Unknown,
    None,
    Bool(bool),
    Int(i64),
    /// A float, or an integer beyond 64 bits.
    Number,
    /// The magic number of torch's legacy files.
    TorchMagic,
    Const(Const),
    /// A name that was looked up: its number in the heap.
    Global(u32),
    /// Something with parts: its number in the heap.
    Node(u32),
}

impl Value {
    /// Whether a value without parts may take elements: a `bytearray`, or what is not known.
    fn is_changed_in_place(self) -> bool {
        matches!(self, Self::Unknown | Self::Const(Const { kind: Kind::Mutable, .. }))
    }
}

/// A string or octets, in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Const {
    /// Where the content begins.
    pub(super) at: u64,
    /// Octets in the file; the greatest number stands for all that are longer.
    pub(super) len: u32,
    pub(super) kind: Kind,
    /// Whether it is a text that begins and ends in two underscores.
    pub(super) dunder: bool,
}

/// How the octets of a constant stand for its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// UTF-8, surrogates included.
    Utf8,
    /// One octet a character; for loaders of Python 2's strings.
    Latin1,
    /// A line with `\u` escapes.
    Unicode,
    /// A quoted line with escapes.
    Quoted,
    /// Octets, not text.
    Bytes,
    /// Octets that later steps may change: what stands in the file is not what they come to.
    Mutable,
}

impl Kind {
    /// Whether it is no text.
    pub(super) fn is_octets(self) -> bool {
        matches!(self, Self::Bytes | Self::Mutable)
    }
}

/// Something with parts.
#[derive(Debug)]
pub(super) enum Node {
    Tuple(Box<[Value]>),
    /// A list or set: its first elements.
    List(Vec<Value>),
    Dict(Box<Dict>),
    /// What a call, or the making of an instance, returned.
    Object(Box<Object>),
    /// What the loader returned for a persistent id.
    Persistent(Value),
}

/// A dictionary: its first entries, and what is remembered of all its keys.
#[derive(Debug, Default)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    /// A key that is a dunder.
    pub(super) dunder: Option<Value>,
    /// Whether a key is made by a call, so that it may be any name.
    pub(super) computed: bool,
    /// Whether entries were set that are not kept: what the kept ones say may have been said otherwise since.
    pub(super) is_partial: bool,
}

/// The result of a call.
#[derive(Debug)]
pub(super) struct Object {
    /// What was called.
    pub(super) callable: Value,
    /// The arguments: a tuple where the writer is sane.
    pub(super) args: Value,
    /// What BUILD gave it last.
    pub(super) state: Value,
    /// Entries set in it, as in an `OrderedDict`.
    pub(super) entries: Dict,
}

/// A global: looked up once or a thousand times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Global {
    pub(super) module: String,
    pub(super) name: String,
}

impl Global {
    pub(super) fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }
}

/// The heap is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Where values with parts are kept.
#[derive(Debug)]
pub(super) struct Heap {
    nodes: Vec<Node>,
    globals: Vec<Global>,
    numbers: HashMap<Global, u32>,
    units: usize,
    units_max: usize,
}

impl Heap {
    /// A heap for a pickle within so many containers.
    pub(super) fn new(depth: u32) -> Self {
        Self::with_units(UNITS_MAX.checked_shr(depth).unwrap_or(0))
    }

    fn with_units(units_max: usize) -> Self {
        Self { nodes: Vec::new(), globals: Vec::new(), numbers: HashMap::new(), units: 0, units_max }
    }

    /// A heap for a pickle within the one of this heap: it shares what room there is.
    pub(super) fn inner(&self) -> Self {
        Self::with_units(self.units_max.saturating_sub(self.units))
    }

    fn charge(&mut self, units: usize) -> Result<(), Full> {
        self.units = self.units.saturating_add(units);
        if self.units > self.units_max { Err(Full) } else { Ok(()) }
    }

    pub(super) fn add(&mut self, node: Node) -> Result<Value, Full> {
        let parts = match &node {
            Node::Tuple(items) => items.len(),
            Node::List(items) => items.len(),
            Node::Dict(dict) => dict.entries.len() * 2,
            Node::Object(_) => 8,
            Node::Persistent(_) => 1,
        };
        self.charge(parts + 2)?;
        let number = u32::try_from(self.nodes.len()).ok().ok_or(Full)?;
        self.nodes.push(node);
        Ok(Value::Node(number))
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(number) => self.nodes.get(number as usize),
            Value::Unknown
            | Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Number
            | Value::TorchMagic
            | Value::Const(_)
            | Value::Global(_) => None,
        }
    }

    fn node_mut(&mut self, value: Value) -> Option<&mut Node> {
        if let Value::Node(number) = value { self.nodes.get_mut(number as usize) } else { None }
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        if let Some(Node::Tuple(items)) = self.node(value) { Some(items) } else { None }
    }

    pub(super) fn dict(&self, value: Value) -> Option<&Dict> {
        if let Some(Node::Dict(dict)) = self.node(value) { Some(dict) } else { None }
    }

    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        if let Some(Node::Object(object)) = self.node(value) { Some(object) } else { None }
    }

    pub(super) fn object_mut(&mut self, value: Value) -> Option<&mut Object> {
        if let Some(Node::Object(object)) = self.node_mut(value) { Some(object) } else { None }
    }

    /// Whether a global was named.
    pub(super) fn has_globals(&self) -> bool {
        !self.globals.is_empty()
    }

    /// The number of a global, and whether it is new.
    pub(super) fn intern(&mut self, global: Global) -> Result<(u32, bool), Full> {
        if let Some(number) = self.numbers.get(&global) {
            return Ok((*number, false));
        }
        // Names are held twice; the shortest entry counts as much as a few values.
        self.charge(4 + global.module.len() / 8 + global.name.len() / 8)?;
        let number = u32::try_from(self.globals.len()).ok().ok_or(Full)?;
        self.globals.push(global.clone());
        self.numbers.insert(global, number);
        Ok((number, true))
    }

    pub(super) fn global(&self, value: Value) -> Option<&Global> {
        if let Value::Global(number) = value { self.globals.get(number as usize) } else { None }
    }

    /// The global that an object is made by; where that is the one function all instances of old protocols are made by, its
    /// class.
    pub(super) fn class(&self, object: &Object) -> Option<&Global> {
        let made_by = self.global(object.callable)?;
        if made_by.name == "_reconstructor" && matches!(made_by.module.as_str(), "copyreg" | "copy_reg") {
            return self.global(*self.tuple(object.args)?.first()?);
        }
        Some(made_by)
    }

    /// Adds elements to a list, set or what behaves like one; `false` if the value takes none.
    pub(super) fn extend(&mut self, value: Value, elements: &[Value]) -> Result<bool, Full> {
        let room = self.has_room();
        let kept = match self.node_mut(value) {
            Some(Node::List(items)) => {
                let kept = if room { ELEMENTS_MAX.saturating_sub(items.len()).min(elements.len()) } else { 0 };
                if items.is_empty() {
                    items.reserve_exact(kept);
                }
                items.extend_from_slice(&elements[..kept]);
                kept
            }
            Some(Node::Object(_) | Node::Persistent(_)) => 0,
            Some(Node::Tuple(_) | Node::Dict(_)) | None => return Ok(value.is_changed_in_place()),
        };
        self.charge(kept)?;
        Ok(true)
    }

    /// Sets entries of a dictionary or what behaves like one: keys and values by turns; `false` if the value takes none.
    pub(super) fn set(&mut self, value: Value, pairs: &[Value]) -> Result<bool, Full> {
        let room = self.has_room();
        let (mut dunder, mut computed) = (None, false);
        for pair in pairs.chunks_exact(2) {
            match pair[0] {
                Value::Const(Const { dunder: true, .. }) => dunder = Some(pair[0]),
                key @ Value::Node(_) => computed |= self.object(key).is_some(),
                Value::Unknown => computed = true,
                Value::None
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Number
                | Value::TorchMagic
                | Value::Const(_)
                | Value::Global(_) => {}
            }
        }
        let dict = match self.node_mut(value) {
            Some(Node::Dict(dict)) => &mut **dict,
            Some(Node::Object(object)) => &mut object.entries,
            Some(Node::Persistent(_) | Node::List(_)) => return Ok(true),
            Some(Node::Tuple(_)) | None => return Ok(value.is_changed_in_place()),
        };
        dict.dunder = dict.dunder.or(dunder);
        dict.computed |= computed;
        let entries = &mut dict.entries;
        let kept = if room { ELEMENTS_MAX.saturating_sub(entries.len()).min(pairs.len() / 2) } else { 0 };
        dict.is_partial |= kept < pairs.len() / 2;
        if entries.is_empty() {
            entries.reserve_exact(kept);
        }
        entries.extend(pairs.chunks_exact(2).take(kept).map(|pair| (pair[0], pair[1])));
        self.charge(kept * 2)?;
        Ok(true)
    }

    /// Whether elements of containers are still kept. The second half of the room is for what decides: calls and tuples.
    fn has_room(&self) -> bool {
        self.units < self.units_max / 2
    }
}

/// The memo: a table where slots are used one after the other, as writers do, and a map of the others.
#[derive(Debug)]
pub(super) struct Memo {
    table: Vec<Option<Value>>,
    others: HashMap<u64, Value>,
    len: usize,
    max: usize,
}

impl Memo {
    /// The memo of a pickle within so many containers.
    pub(super) fn new(depth: u32) -> Self {
        let max = MEMO_MAX.checked_shr(depth).unwrap_or(0);
        Self { table: Vec::new(), others: HashMap::new(), len: 0, max }
    }

    /// Entries.
    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    pub(super) fn get(&self, slot: u64) -> Option<Value> {
        let in_table = usize::try_from(slot).ok().and_then(|slot| self.table.get(slot).copied().flatten());
        in_table.or_else(|| self.others.get(&slot).copied())
    }

    pub(super) fn put(&mut self, slot: u64, value: Value) -> Result<(), Full> {
        let at = usize::try_from(slot).ok().ok_or(Full)?;
        let old = if self.others.contains_key(&slot) || at > self.table.len().saturating_add(MEMO_GAP_MAX) {
            self.others.insert(slot, value)
        } else if at >= self.max {
            return Err(Full);
        } else {
            if at >= self.table.len() {
                self.table.resize(at + 1, None);
            }
            self.table[at].replace(value)
        };
        if old.is_none() {
            self.len += 1;
        }
        // An entry of the map takes several times the room of one of the table.
        if self.len > self.max || self.others.len() > self.max / 8 { Err(Full) } else { Ok(()) }
    }
}

/// The text of a constant as a loader reads it, octets as their Latin-1 text; `None` if it is longer than `max` octets or
/// cannot be decoded.
pub(super) fn text(source: &dyn ReadAt, one: Const, max: u64) -> io::Result<Option<String>> {
    Ok(octets(source, one, max)?.and_then(|octets| match one.kind {
        Kind::Utf8 => Some(String::from_utf8_lossy(&octets).into_owned()),
        Kind::Bytes | Kind::Mutable => Some(octets.iter().copied().map(char::from).collect()),
        Kind::Latin1 => Some(from_python_2(&octets)),
        Kind::Unicode => unescaped_unicode(&octets),
        Kind::Quoted => unescaped(&octets).map(|octets| from_python_2(&octets)),
    }))
}

/// What a bytes constant, or a string of Python 2, has in it.
pub(super) fn bytes(source: &dyn ReadAt, one: Const, max: u64) -> io::Result<Option<Vec<u8>>> {
    Ok(octets(source, one, max)?.and_then(|octets| match one.kind {
        Kind::Bytes | Kind::Latin1 => Some(octets),
        Kind::Quoted => unescaped(&octets),
        Kind::Utf8 | Kind::Unicode | Kind::Mutable => None,
    }))
}

fn octets(source: &dyn ReadAt, one: Const, max: u64) -> io::Result<Option<Vec<u8>>> {
    if one.len == u32::MAX || u64::from(one.len) > max {
        return Ok(None);
    }
    read_up_to(source, one.at, u64::from(one.len)).map(Some)
}

/// A string of Python 2: loaders are told an encoding, ASCII, UTF-8 or Latin-1, which differ beyond ASCII only.
fn from_python_2(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}

/// Python's `raw-unicode-escape`: `\u` with four hex digits and `\U` with eight, everything else Latin-1.
fn unescaped_unicode(octets: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = octets;
    while let Some((first, behind)) = rest.split_first() {
        let digits = match behind.first() {
            Some(b'u') if *first == b'\\' => 4,
            Some(b'U') if *first == b'\\' => 8,
            // The second one escapes nothing either.
            Some(b'\\') if *first == b'\\' => {
                text.push_str(r"\\");
                rest = &behind[1..];
                continue;
            }
            _ => {
                text.push(char::from(*first));
                rest = behind;
                continue;
            }
        };
        let code = std::str::from_utf8(behind.get(1..=digits)?).ok()?;
        let code = u32::from_str_radix(code, 16).ok()?;
        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &behind[digits + 1..];
    }
    Some(text)
}

/// A quoted string with the escapes of Python's byte strings.
fn unescaped(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (quote @ (b'\'' | b'"'), [inner @ .., last]) = line.split_first()? else { return None };
    if quote != last {
        return None;
    }
    let mut octets = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (escape, behind) = rest.split_first()?;
        rest = behind;
        match escape {
            b'\n' => {}
            b'n' => octets.push(b'\n'),
            b't' => octets.push(b'\t'),
            b'r' => octets.push(b'\r'),
            b'a' => octets.push(7),
            b'b' => octets.push(8),
            b'f' => octets.push(12),
            b'v' => octets.push(11),
            b'\\' | b'\'' | b'"' => octets.push(*escape),
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let digits = std::iter::once(escape).chain(&rest[..more]);
                let value = digits.fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                octets.push(u8::try_from(value & 0xff).unwrap_or_default());
                rest = &rest[more..];
            }
            other => octets.extend([b'\\', *other]),
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::{Const, Kind, Memo, Value, text, unescaped};

    #[test]
    fn a_value_is_two_words() {
        assert!(size_of::<Value>() <= 16);
    }

    #[test]
    fn texts_are_decoded_as_loaders_do() {
        let of = |octets: &[u8], kind| {
            let len = u32::try_from(octets.len()).unwrap();
            text(&octets, Const { at: 0, len, kind, dunder: false }, 100).unwrap()
        };
        assert_eq!(of(br"o\x73", Kind::Unicode).unwrap(), r"o\x73");
        assert_eq!(of(br"o\u0073", Kind::Unicode).unwrap(), "os");
        assert_eq!(of(br"\U0000006fs", Kind::Unicode).unwrap(), "os");
        assert_eq!(of(br"\u00", Kind::Unicode), None);
        assert_eq!(of(br"\\u00", Kind::Unicode).unwrap(), r"\\u00");
        assert_eq!(of(br"\\\u0073", Kind::Unicode).unwrap(), r"\\s");
        assert_eq!(of(br"'\x6f\163'", Kind::Quoted).unwrap(), "os");
        assert_eq!(of(b"\xed\xa0\x80os", Kind::Utf8).unwrap().len(), 11);
        assert_eq!(of(b"caf\xe9", Kind::Latin1).unwrap(), "caf\u{e9}");
        assert_eq!(unescaped(br#"'a\'b\q\0'"#).unwrap(), b"a'b\\q\0");
        assert_eq!(unescaped(b"'"), None);
        assert_eq!(unescaped(br"'\'"), None);
        assert_eq!(of(&[b'a'; 101], Kind::Utf8), None);
    }

    #[test]
    fn memo_slots_cost_what_is_put_there() {
        let mut memo = Memo::new(0);
        for slot in [0, 1, u64::from(u32::MAX), 500, 2000, 500] {
            memo.put(slot, Value::Int(i64::try_from(slot).unwrap())).unwrap();
        }
        assert_eq!(memo.len(), 5);
        assert_eq!(memo.get(u64::from(u32::MAX)), Some(Value::Int(0xffff_ffff)));
        assert_eq!(memo.get(2000), Some(Value::Int(2000)));
        assert_eq!(memo.get(2), None);
        assert!(memo.table.len() < 1000);
    }
}
