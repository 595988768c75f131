//! One numpy array: the header, a Python dictionary, and whether the octets behind it are as many as it says. The dictionary
//! is read by a grammar of literals and nothing else. An array of objects is a pickle with a header, and goes to `pickle.rs`.
//! What the numbers mean is not known here.

use std::collections::BTreeMap;

use super::cursor::Stop;
use super::rules::Rule;
use super::scan::{Place, Scan, Slice};
use super::{Level, ReadAt, dispatch, pickle, read_up_to};

/// The header can't be read, or the file ends too early.
const BROKEN: Rule = Rule {
    id: "npy.broken",
    level: Level::Unscannable,
    meaning: "A numpy array whose header is none or whose numbers end too early; an interrupted copy looks like this.",
};
/// The header lies.
const LAYOUT: Rule = Rule {
    id: "npy.layout",
    level: Level::Malicious,
    meaning: "The header of a numpy array says what no array can be, such as a negative extent or more octets than a number \
              can say. numpy never writes this; it aims at readers.",
};
/// An array of Python objects.
const OBJECT: Rule = Rule {
    id: "npy.object",
    level: Level::Suspicious,
    meaning: "The array holds Python objects, so its content is a pickle: loading it with allow_pickle runs what that pickle \
              calls. What it calls is judged by the rules for pickles.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN, LAYOUT, OBJECT];

/// Octets of a header.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// Literals within each other.
const DEPTH_MAX: u32 = 32;

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    // Magic, version, and the length of the header in two octets, or four from version 2.
    let head = read_up_to(source, 0, 12)?;
    let (header_at, length) = match *head.as_slice() {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (10, u64::from(u16::from_le_bytes([a, b]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d] => (12, u64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => {
            scan.find(&BROKEN, place, Some(6), "no header of a version that is known");
            return Ok(());
        }
    };
    let data_at = header_at + length;
    if length > HEADER_BYTES_MAX || data_at > source.len() {
        let detail = format!("the header is said to have {length} octets, more than there are or may be");
        scan.find(&BROKEN, place, Some(8), detail);
        return Ok(());
    }
    let octets = read_up_to(source, header_at, length)?;
    // Version 3 is UTF-8, before it was Latin-1; only names of fields can differ.
    let text = match String::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    };
    let array = match parse(&text).and_then(Array::of) {
        Ok(array) => array,
        Err(Fault::Broken(what)) => {
            scan.find(&BROKEN, place, Some(header_at), what);
            return Ok(());
        }
        Err(Fault::Lies(what)) => {
            scan.find(&LAYOUT, place, Some(header_at), what);
            return Ok(());
        }
    };
    scan.facts.add_tensor(place.name(), &array.dtype.name, &array.shape);
    if array.dtype.object {
        scan.find(&OBJECT, place, Some(header_at), "the array holds Python objects, which are read as a pickle");
        return pickle::scan(scan, &Slice::new(source, data_at, source.len()), &place.part("object"));
    }
    let size = array.shape.iter().try_fold(array.dtype.bytes, |product, extent| product.checked_mul(*extent));
    let there = source.len() - data_at;
    match size {
        None => {
            scan.find(&LAYOUT, place, Some(header_at), format_args!("no array can have the shape {:?}", array.shape))
        }
        Some(size) if size > there => {
            let detail = format!("the array needs {size} octets and {there} are there: the file is cut short");
            scan.find(&BROKEN, place, Some(source.len()), detail);
        }
        Some(size) => return dispatch::outside(scan, source, data_at + size, source.len(), place),
    }
    Ok(())
}

/// Why a header is none.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Broken(String),
    Lies(String),
}

fn broken<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken(what.into()))
}

/// What the header says.
#[derive(Debug)]
struct Array {
    dtype: Dtype,
    shape: Vec<u64>,
}

/// An element type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dtype {
    /// As safetensors spells it, else as numpy does; `struct` for fields.
    name: String,
    bytes: u64,
    /// Objects are in it.
    object: bool,
}

impl Array {
    fn of(header: Literal) -> Result<Self, Fault> {
        let Literal::Dictionary(mut entries) = header else { return broken("the header is no dictionary") };
        let mut entry =
            |key: &str| entries.remove(key).ok_or_else(|| Fault::Broken(format!("the header has no {key}")));
        let dtype = Dtype::of(&entry("descr")?)?;
        let shape = shape(&entry("shape")?)?;
        match entry("fortran_order")? {
            Literal::Name("True" | "False") => {}
            _ => return broken("fortran_order is no truth value"),
        }
        if let Some(other) = entries.keys().next() {
            return broken(format!("the header has an entry {other:?}"));
        }
        Ok(Self { dtype, shape })
    }
}

fn shape(literal: &Literal) -> Result<Vec<u64>, Fault> {
    let Literal::Tuple(extents) = literal else { return broken("the shape is no tuple") };
    extents
        .iter()
        .map(|extent| match extent {
            Literal::Integer(extent) => {
                u64::try_from(*extent).map_err(|out| Fault::Lies(format!("an extent of {extent}: {out}")))
            }
            _ => broken("an extent is no whole number"),
        })
        .collect()
}

impl Dtype {
    /// The element type of a `descr`: a text, a list of fields, or a pair of a type and its repetitions. The grammar bounds
    /// the depth.
    fn of(descr: &Literal) -> Result<Self, Fault> {
        match descr {
            Literal::Text(text) => Self::plain(text),
            Literal::List(fields) => {
                let mut whole = Self { name: "struct".into(), bytes: 0, object: false };
                for field in fields {
                    let Literal::Tuple(parts) = field else { return broken("a field is no tuple") };
                    let dtype = match parts.as_slice() {
                        [_, descr] => Self::of(descr)?,
                        [_, descr, times] => Self::of(descr)?.times(times)?,
                        _ => return broken("a field has neither two nor three parts"),
                    };
                    whole.object |= dtype.object;
                    whole.bytes = whole
                        .bytes
                        .checked_add(dtype.bytes)
                        .ok_or_else(|| Fault::Lies("the fields of an element are too long".into()))?;
                }
                Ok(whole)
            }
            Literal::Tuple(pair) => match pair.as_slice() {
                [descr, times] => Self::of(descr)?.times(times),
                _ => broken("the element type is a tuple but no pair"),
            },
            _ => broken("the element type is no text, list or pair"),
        }
    }

    fn times(self, times: &Literal) -> Result<Self, Fault> {
        let times = match times {
            Literal::Integer(_) => shape(&Literal::Tuple(vec![times.clone()]))?,
            _ => shape(times)?,
        };
        let bytes = times.iter().try_fold(self.bytes, |product, extent| product.checked_mul(*extent));
        Ok(Self { bytes: bytes.ok_or_else(|| Fault::Lies("a field is too long".into()))?, ..self })
    }

    /// A byte order, a kind, a size, and the unit of times.
    fn plain(text: &str) -> Result<Self, Fault> {
        let unknown = || Fault::Broken(format!("the element type {text:?} is not known"));
        let rest = text.trim_start_matches(['<', '>', '|', '=']);
        // In every spelling that numpy takes for objects, and before anything is said about the rest.
        if rest.contains('O') || rest.to_ascii_lowercase().contains("object") {
            return Ok(Self { name: "object".into(), bytes: 8, object: true });
        }
        let kind = rest.chars().next().ok_or_else(unknown)?;
        let rest = &rest[kind.len_utf8()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (size, unit) = rest.split_at(digits);
        let size: u64 = match size {
            "" if kind == '?' => 1,
            size => size.parse().ok().filter(|size| *size < 1 << 32).ok_or_else(unknown)?,
        };
        let unit_fits = match kind {
            'M' | 'm' => unit.is_empty() || (unit.starts_with('[') && unit.ends_with(']')),
            _ => unit.is_empty(),
        };
        let name = match (kind, size) {
            ('?', 1) | ('b', 1) => "BOOL".to_owned(),
            ('i', 1 | 2 | 4 | 8) => format!("I{}", 8 * size),
            ('u', 1 | 2 | 4 | 8) => format!("U{}", 8 * size),
            ('f', 2 | 4 | 8 | 12 | 16) => format!("F{}", 8 * size),
            ('c', 8 | 16 | 24 | 32) => format!("C{}", 8 * size),
            ('M' | 'm', 8) => if kind == 'M' { "datetime64" } else { "timedelta64" }.to_owned(),
            ('S' | 'a' | 'V' | 'U', _) => format!("{kind}{size}"),
            _ => return Err(unknown()),
        };
        if !unit_fits {
            return Err(unknown());
        }
        // Texts count characters of four octets.
        let bytes = if kind == 'U' { 4 * size } else { size };
        Ok(Self { name, bytes, object: false })
    }
}

/// What may stand in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Text(String),
    Integer(i128),
    Name(&'static str),
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    Dictionary(BTreeMap<String, Literal>),
}

/// Reads one literal and nothing behind it but blanks.
fn parse(text: &str) -> Result<Literal, Fault> {
    let mut grammar = Grammar { rest: text };
    let literal = grammar.literal(DEPTH_MAX)?;
    grammar.blanks();
    if grammar.rest.is_empty() { Ok(literal) } else { broken("something stands behind the dictionary in the header") }
}

struct Grammar<'a> {
    rest: &'a str,
}

impl Grammar<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Steps over `what` and blanks before it, if it is next.
    fn take(&mut self, what: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `depth` is how many literals within each other may still come: the recursion ends there.
    fn literal(&mut self, depth: u32) -> Result<Literal, Fault> {
        let Some(depth) = depth.checked_sub(1) else { return broken("the header is too deep") };
        self.blanks();
        match self.rest.chars().next() {
            Some('{') => self.dictionary(depth),
            Some('(') => {
                self.take('(');
                let (mut items, comma) = self.items(')', depth)?;
                // Parentheses around one thing without a comma are just parentheses.
                Ok(match items.pop() {
                    Some(only) if items.is_empty() && !comma => only,
                    Some(last) => {
                        items.push(last);
                        Literal::Tuple(items)
                    }
                    None => Literal::Tuple(items),
                })
            }
            Some('[') => {
                self.take('[');
                Ok(Literal::List(self.items(']', depth)?.0))
            }
            Some('\'' | '"') => self.text(),
            Some('-' | '0'..='9') => self.integer(),
            _ => {
                for name in ["True", "False", "None"] {
                    if let Some(rest) = self.rest.strip_prefix(name) {
                        self.rest = rest;
                        return Ok(Literal::Name(name));
                    }
                }
                broken("the header has something that is no literal")
            }
        }
    }

    /// Items up to the bracket that closes them, and whether the last has a comma behind it.
    fn items(&mut self, close: char, depth: u32) -> Result<(Vec<Literal>, bool), Fault> {
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            if self.take(close) {
                return Ok((items, comma));
            }
            if !comma {
                return broken("a comma or bracket is missing in the header");
            }
            items.push(self.literal(depth)?);
            comma = self.take(',');
        }
    }

    fn dictionary(&mut self, depth: u32) -> Result<Literal, Fault> {
        self.take('{');
        let (mut entries, mut comma) = (BTreeMap::new(), true);
        loop {
            if self.take('}') {
                return Ok(Literal::Dictionary(entries));
            }
            if !comma {
                return broken("a comma or brace is missing in the header");
            }
            let Literal::Text(key) = self.literal(depth)? else { return broken("a key in the header is no text") };
            if !self.take(':') {
                return broken("a key in the header has no value");
            }
            let value = self.literal(depth)?;
            if entries.contains_key(&key) {
                return Err(Fault::Lies(format!("the header has {key:?} more than once")));
            }
            entries.insert(key, value);
            comma = self.take(',');
        }
    }

    /// A text in quotes. Escapes are kept as they stand: none that matters has any.
    fn text(&mut self) -> Result<Literal, Fault> {
        let mut chars = self.rest.char_indices();
        let Some((_, quote)) = chars.next() else { return broken("a text is missing") };
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Ok(Literal::Text(text));
            }
            text.push(c);
            if c == '\\'
                && let Some((_, escaped)) = chars.next()
            {
                text.push(escaped);
            }
        }
        broken("a text in the header has no end")
    }

    /// A whole number; with the `L` that Python 2 wrote behind long ones.
    fn integer(&mut self) -> Result<Literal, Fault> {
        let sign = usize::from(self.rest.starts_with('-'));
        let end = self.rest[sign..].find(|c: char| !c.is_ascii_digit()).map_or(self.rest.len(), |at| at + sign);
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        if digits.len() == sign {
            return broken("a sign in the header has no number");
        }
        match digits.parse() {
            Ok(integer) => Ok(Literal::Integer(integer)),
            Err(error) => Err(Fault::Lies(format!("the number {digits:?} in the header: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
