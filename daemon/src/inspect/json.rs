//! JSON documents: a reader that hands out events in constant memory, [`parse`] for those that need the whole value, and
//! what is looked for in any document. Knows the grammar; what keys mean is `config.rs`'s, `transformers.rs`'s and
//! `skops.rs`'s.
//!
//! The reader takes what Python's does: `NaN`, `Infinity`, lone surrogates and control characters in strings are no faults.

use std::io;

use serde_json::{Map, Number, Value};

use super::config::{Event, Judge, Kind};
use super::cursor::{Cursor, Stop};
use super::rules::{self, Rule};
use super::scan::{Place, Scan, whole};
use super::{Level, ReadAt, keras, skops, transformers};

/// Containers within each other.
pub(super) const DEPTH_MAX: usize = 200;

/// Longest document that [`parse`] takes.
const PARSE_BYTES_MAX: usize = 100_000_000;

/// Memory a parsed document may take, by estimate. A text of brackets takes many times its own size.
const PARSE_MEMORY_MAX: usize = 256 << 20;

/// Octets kept of a string by [`scan`]. Longer ones are read on, and told as cut.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Octets of a document that is also looked at as a whole value, for what its keys mean together.
const MEANING_BYTES_MAX: u64 = 32 << 20;

const BROKEN: Rule = Rule {
    id: "json.broken",
    level: Level::Unscannable,
    meaning: "The text begins like JSON, or is named so, and is none: readers that are more lenient may see something in it \
              that was not looked at.",
};
const DUPLICATE: Rule = Rule {
    id: "json.duplicate",
    level: Level::Suspicious,
    meaning: "A key stands twice in one JSON object: one reader takes the first value, another the last, so what was looked \
              at may not be what is used.",
};
const LARGE: Rule = Rule {
    id: "json.large",
    level: Level::Note,
    meaning: "The JSON document is too large to be judged as a whole; its texts, keys and named callables were judged one by \
              one as they came.",
};
const AUTO_MAP: Rule = Rule {
    id: "json.auto_map",
    level: Level::Suspicious,
    meaning: "The configuration asks the loader to run Python files of the repository (`trust_remote_code`).",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN, DUPLICATE, LARGE, AUTO_MAP];

/// Why a document can't be read on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The walk ended: see [`Stop`].
    Stop(Stop),
    /// Not JSON, at this offset.
    Syntax(u64, &'static str),
    /// More than [`DEPTH_MAX`] containers within each other.
    Depth(u64),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Why a value can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It is no JSON.
    #[error("no JSON at octet {0}: {1}")]
    Syntax(u64, &'static str),
    /// It is nested too deeply.
    #[error("more than 200 JSON containers within each other")]
    Depth,
    /// It takes too much memory.
    #[error("a JSON document that is too large to be held")]
    Large,
    /// The source failed.
    #[error("the source failed")]
    Io(#[from] io::Error),
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A value; in an array that has just begun also its end.
    Value { or_end: bool },
    /// A key; in an object that has just begun also its end.
    Key { or_end: bool },
    /// A comma or the end of the container.
    CommaOrEnd,
    /// Nothing: the document is over.
    Nothing,
}

/// Reads a document event by event.
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    /// An octet that was read and not used.
    ahead: Option<u8>,
    open: Vec<Kind>,
    expect: Expect,
    text_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader that keeps `text_max` octets of each string.
    pub(super) fn new(cursor: Cursor<'a>, text_max: usize) -> Self {
        Self { cursor, ahead: None, open: Vec::new(), expect: Expect::Value { or_end: false }, text_max }
    }

    /// The offset of the next octet.
    pub(super) fn position(&self) -> u64 {
        self.cursor.position() - u64::from(self.ahead.is_some())
    }

    /// The next event; none at the document's end.
    pub(super) fn event(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.expect == Expect::Nothing {
                return Ok(None);
            }
            let octet = self.visible()?.ok_or(Fault::Syntax(self.position(), "it ends within a value"))?;
            let at = self.position() - 1;
            match (self.expect, octet) {
                (Expect::CommaOrEnd, b',') => {
                    self.expect = match self.open.last() {
                        Some(Kind::Object) => Expect::Key { or_end: false },
                        _ => Expect::Value { or_end: false },
                    };
                }
                (Expect::CommaOrEnd | Expect::Key { or_end: true }, b'}')
                    if self.open.last() == Some(&Kind::Object) =>
                {
                    return Ok(Some(self.close()));
                }
                (Expect::CommaOrEnd | Expect::Value { or_end: true }, b']')
                    if self.open.last() == Some(&Kind::Array) =>
                {
                    return Ok(Some(self.close()));
                }
                (Expect::Key { .. }, b'"') => {
                    let (text, _) = self.text()?;
                    if self.visible()? != Some(b':') {
                        return Err(Fault::Syntax(self.position(), "no colon behind a key"));
                    }
                    self.expect = Expect::Value { or_end: false };
                    return Ok(Some(Event::Key(text)));
                }
                (Expect::Value { .. }, octet) => return self.value(octet, at).map(Some),
                _ => return Err(Fault::Syntax(at, "an octet that can't stand here")),
            }
        }
    }

    /// Steps over white space behind a document. Whether anything else follows, and then a new document may be read.
    pub(super) fn more(&mut self) -> Result<bool, Fault> {
        self.ahead = self.visible()?;
        self.expect = Expect::Value { or_end: false };
        Ok(self.ahead.is_some())
    }

    fn value(&mut self, octet: u8, at: u64) -> Result<Event, Fault> {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
        Ok(match octet {
            b'{' => self.begin(Kind::Object, at)?,
            b'[' => self.begin(Kind::Array, at)?,
            b'"' => {
                let (text, whole) = self.text()?;
                Event::Text { text, whole }
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.word(octet, at)?,
            _ => return Err(Fault::Syntax(at, "an octet that begins no value")),
        })
    }

    fn begin(&mut self, kind: Kind, at: u64) -> Result<Event, Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::Depth(at));
        }
        self.open.push(kind);
        self.expect = match kind {
            Kind::Object => Expect::Key { or_end: true },
            Kind::Array => Expect::Value { or_end: true },
        };
        Ok(Event::Begin(kind))
    }

    fn close(&mut self) -> Event {
        self.open.pop();
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
        Event::End
    }

    /// The next octet that is no white space; none at the end.
    fn visible(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.octet()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                other => return Ok(other),
            }
        }
    }

    fn octet(&mut self) -> Result<Option<u8>, Fault> {
        if let Some(octet) = self.ahead.take() {
            return Ok(Some(octet));
        }
        if self.cursor.at_end() { Ok(None) } else { Ok(Some(self.cursor.octet()?)) }
    }

    /// A number, or one of the words.
    fn word(&mut self, first: u8, at: u64) -> Result<Event, Fault> {
        // A whole number in Python has any length; what it is worth does not matter here.
        const WORD_BYTES_MAX: usize = 64;
        let mut word = String::from(char::from(first));
        while let Some(octet) = self.octet()? {
            if !(octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.')) {
                self.ahead = Some(octet);
                break;
            }
            if word.len() < WORD_BYTES_MAX {
                word.push(char::from(octet));
            } else if !octet.is_ascii_digit() {
                return Err(Fault::Syntax(at, "no number"));
            }
        }
        Ok(match word.as_str() {
            "true" => Event::Bool(true),
            "false" => Event::Bool(false),
            "null" => Event::Null,
            "NaN" | "Infinity" | "-Infinity" => Event::Number(word),
            _ if is_number(&word) => Event::Number(word),
            _ => return Err(Fault::Syntax(at, "no number and no word of JSON")),
        })
    }

    /// A string behind its quotation mark: as much as is kept, and whether that is all.
    fn text(&mut self) -> Result<(String, bool), Fault> {
        let at = self.position();
        let ends = Fault::Syntax(at, "a string without an end");
        let mut kept = Vec::new();
        let mut whole = true;
        let mut utf8 = [0; 4];
        loop {
            let Some(octet) = self.octet()? else { return Err(ends) };
            let one: &[u8] = match octet {
                b'"' => break,
                b'\\' => {
                    let Some(escape) = self.octet()? else { return Err(ends) };
                    match escape {
                        b'"' => b"\"",
                        b'\\' => b"\\",
                        b'/' => b"/",
                        b'b' => b"\x08",
                        b'f' => b"\x0c",
                        b'n' => b"\n",
                        b'r' => b"\r",
                        b't' => b"\t",
                        b'u' => self.unicode(&mut kept)?.encode_utf8(&mut utf8).as_bytes(),
                        _ => return Err(Fault::Syntax(self.position(), "an unknown escape in a string")),
                    }
                }
                octet => &[octet],
            };
            if kept.len() + one.len() <= self.text_max {
                kept.extend_from_slice(one);
            } else {
                whole = false;
            }
        }
        match String::from_utf8(kept) {
            Ok(text) => Ok((text, whole)),
            // A character may be cut in two where the text is.
            Err(error) if !whole => Ok((String::from_utf8_lossy(error.as_bytes()).into_owned(), whole)),
            Err(_) => Err(Fault::Syntax(at, "a string that is not UTF-8")),
        }
    }

    /// Behind `\u`: a character, which takes a second escape if the first is half of one.
    fn unicode(&mut self, kept: &mut Vec<u8>) -> Result<char, Fault> {
        let mut unit = self.hex()?;
        loop {
            if !(0xd800..0xdc00).contains(&unit) {
                return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            match self.octet()? {
                Some(b'\\') => {}
                other => {
                    self.ahead = other;
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
            }
            match self.octet()? {
                Some(b'u') => {}
                // Another escape behind a half: the half is as good as a replacement, and the escape is read as it is.
                other => {
                    if kept.len() < self.text_max {
                        kept.extend_from_slice("\u{fffd}".as_bytes());
                    }
                    return match other {
                        Some(b'"') => Ok('"'),
                        Some(b'\\') => Ok('\\'),
                        Some(b'/') => Ok('/'),
                        Some(b'b') => Ok('\u{8}'),
                        Some(b'f') => Ok('\u{c}'),
                        Some(b'n') => Ok('\n'),
                        Some(b'r') => Ok('\r'),
                        Some(b't') => Ok('\t'),
                        _ => Err(Fault::Syntax(self.position(), "an unknown escape in a string")),
                    };
                }
            }
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            if kept.len() < self.text_max {
                kept.extend_from_slice("\u{fffd}".as_bytes());
            }
            unit = low;
        }
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.octet()?.and_then(|octet| char::from(octet).to_digit(16));
            let digit = digit.ok_or(Fault::Syntax(self.position(), "an escape without four hex digits"))?;
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }
}

/// The grammar of numbers, except that a long one may be cut.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    all_digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|exponent| all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Builds a value out of events, within a budget of memory.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<(Value, String)>,
    root: Option<Value>,
    duplicates: Vec<String>,
    memory: usize,
}

impl Builder {
    /// Takes an event. False: the value grows too large.
    pub(super) fn event(&mut self, event: Event) -> bool {
        // Keys told as duplicates.
        const DUPLICATES_MAX: usize = 100;
        // What a node of the standard library's map takes, as every object has at least one; then an entry of a list.
        let cost = match &event {
            Event::Begin(Kind::Object) => 700,
            Event::Key(text) | Event::Text { text, .. } => 100 + text.len(),
            _ => 64,
        };
        self.memory = self.memory.saturating_add(cost);
        if self.memory > PARSE_MEMORY_MAX {
            return false;
        }
        let value = match event {
            Event::Begin(Kind::Object) => {
                self.open.push((Value::Object(Map::new()), String::new()));
                return true;
            }
            Event::Begin(Kind::Array) => {
                self.open.push((Value::Array(Vec::new()), String::new()));
                return true;
            }
            Event::Key(text) => {
                if let Some((_, key)) = self.open.last_mut() {
                    *key = text;
                }
                return true;
            }
            Event::End => match self.open.pop() {
                Some((value, _)) => value,
                None => return true,
            },
            Event::Text { text, .. } => Value::String(text),
            Event::Number(word) => number(&word),
            Event::Bool(value) => Value::Bool(value),
            Event::Null => Value::Null,
        };
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Value::Array(items), _)) => items.push(value),
            Some((Value::Object(entries), key)) => {
                let key = std::mem::take(key);
                if entries.contains_key(&key) && self.duplicates.len() < DUPLICATES_MAX {
                    self.duplicates.push(key.clone());
                }
                entries.insert(key, value);
            }
            // Only containers are open.
            Some(_) => {}
        }
        true
    }

    /// The value and the keys that came twice in one object, of which the last counts.
    pub(super) fn finish(self) -> (Value, Vec<String>) {
        (self.root.unwrap_or_default(), self.duplicates)
    }
}

/// A number as near as `serde_json` can hold it; null where it can't.
fn number(word: &str) -> Value {
    if let Ok(number) = word.parse::<u64>() {
        return number.into();
    }
    if let Ok(number) = word.parse::<i64>() {
        return number.into();
    }
    word.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

/// The one document in `octets`, and which keys stand twice in one object: the last counts. White space may follow.
///
/// # Errors
/// It is no JSON, or more than [`DEPTH_MAX`] deep, 100 MB long or 256 MiB in memory.
pub(super) fn parse(octets: &[u8]) -> Result<(Value, Vec<String>), Error> {
    if octets.len() > PARSE_BYTES_MAX {
        return Err(Error::Large);
    }
    let mut reader = Reader::new(Cursor::over(&octets), usize::MAX);
    let mut builder = Builder::default();
    let mut read = || {
        while let Some(event) = reader.event()? {
            if !builder.event(event) {
                return Ok(false);
            }
        }
        let at = reader.position();
        if reader.more()? { Err(Fault::Syntax(at, "something behind its end")) } else { Ok(true) }
    };
    match read() {
        Ok(true) => Ok(builder.finish()),
        Ok(false) => Err(Error::Large),
        Err(Fault::Syntax(at, what)) => Err(Error::Syntax(at, what)),
        Err(Fault::Depth(_)) => Err(Error::Depth),
        Err(Fault::Stop(Stop::Io(error))) => Err(Error::Io(error)),
        Err(Fault::Stop(Stop::End | Stop::Budget | Stop::Limit)) => {
            Err(Error::Syntax(octets.len() as u64, "it ends within a value"))
        }
    }
}

/// Whether a text is one JSON document, of which recognising the format sees the beginning only and by a stricter grammar.
pub(super) fn is_document(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<bool, Stop> {
    // No strings are kept: their octets are read.
    let mut reader = Reader::new(Cursor::over(source), 0);
    let mut read = || {
        while reader.event()?.is_some() {
            scan.tick(place)?;
        }
        Ok(!reader.more()?)
    };
    match read() {
        Ok(is_all) => Ok(is_all),
        Err(Fault::Depth(_)) => Ok(true),
        Err(Fault::Syntax(..) | Fault::Stop(Stop::End | Stop::Budget)) => Ok(false),
        Err(Fault::Stop(stop)) => Err(stop),
    }
}

/// Looks into a source that was recognised as JSON. What can't be read is a finding.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Stop> {
    match documents(scan, source, place, name) {
        Ok(()) => Ok(()),
        Err(Fault::Stop(Stop::End | Stop::Budget)) => {
            scan.find(&BROKEN, place, None, "the JSON document ends too soon");
            Ok(())
        }
        Err(Fault::Stop(stop)) => Err(stop),
        Err(Fault::Syntax(at, what)) => {
            scan.find(&BROKEN, place, Some(at), format_args!("the JSON document can't be read: {what}"));
            Ok(())
        }
        Err(Fault::Depth(at)) => {
            let place = place.part(at);
            Err(scan.reached(&place, format_args!("more than {DEPTH_MAX} JSON containers within each other")))
        }
    }
}

/// Judges one document after the other: one in a plain file, one a line in a list of records.
fn documents(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Fault> {
    let mut cursor = Cursor::over(source);
    let mark: &[u8] = b"\xef\xbb\xbf";
    if super::read_up_to(source, 0, 3).map_err(Stop::from)? == mark {
        cursor.skip(3)?;
    }
    let mut reader = Reader::new(cursor, TEXT_BYTES_MAX);
    let records = [".jsonl", ".ndjson"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let mut first = true;
    while reader.more()? {
        if !first && !records {
            let at = reader.position();
            scan.find(&rules::TRAILING, place, Some(at), "something stands behind the end of the JSON document");
        }
        let mut judge = Judge::default();
        loop {
            let at = reader.position();
            let Some(event) = reader.event()? else { break };
            if let Some(key) = judge.event(scan, place, at, &event)? {
                scan.find(&DUPLICATE, place, Some(at), format_args!("the key {key:?} stands twice in one JSON object"));
            }
        }
        if judge.auto_map {
            scan.find(&AUTO_MAP, place, None, "the configuration asks for Python code of the repository to be run");
        }
        skops::judge(scan, &judge, place, name)?;
        if judge.keys_left_out {
            scan.find(&LARGE, place, None, "more keys than duplicates are looked for among");
        }
        if judge.has_top("class_name") && judge.has_top("config") {
            keras_config(scan, source, place)?;
        }
        first = false;
    }
    if !records {
        meaning(scan, source, place, name)?;
    }
    Ok(())
}

/// Hands a Keras architecture to what knows it, which needs it whole.
fn keras_config(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Fault> {
    let octets = whole(source, scan.limits.held_bytes).map_err(Stop::from)?;
    match octets.as_deref().map(|octets| parse(without_mark(octets))) {
        Some(Ok((value, _))) => {
            keras::scan_config(scan, &value, place)?;
            Ok(())
        }
        Some(Err(Error::Io(error))) => Err(Stop::Io(error).into()),
        // Several documents, which were reported.
        Some(Err(Error::Syntax(..))) => Ok(()),
        None | Some(Err(Error::Depth | Error::Large)) => {
            Err(scan.reached(place, "a Keras architecture that is too large to be held").into())
        }
    }
}

/// Files that have a meaning by their name.
fn meaning(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Fault> {
    if !transformers::is_known(name) {
        return Ok(());
    }
    let Some(octets) = whole(source, MEANING_BYTES_MAX.min(scan.limits.held_bytes)).map_err(Stop::from)? else {
        scan.find_as(Level::Unscannable, &LARGE, place, None, "a configuration too large to be judged as a whole");
        return Ok(());
    };
    match parse(without_mark(&octets)) {
        Ok((value, _)) => transformers::configuration(scan, &value, place, name),
        Err(Error::Io(error)) => return Err(Stop::Io(error).into()),
        Err(Error::Large | Error::Depth) => {
            scan.find_as(Level::Unscannable, &LARGE, place, None, "a configuration too large to be judged as a whole");
        }
        // Several documents, which were reported.
        Err(Error::Syntax(..)) => {}
    }
    Ok(())
}

fn without_mark(octets: &[u8]) -> &[u8] {
    octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets)
}
