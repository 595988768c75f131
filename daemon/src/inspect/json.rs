//! JSON documents: a reader that hands out events in constant memory, [`parse`] for those that need the whole value, and
//! what is looked for in any document. Knows the grammar; what keys mean is `config.rs`'s, `transformers.rs`'s and
//! `skops.rs`'s.
//!
//! The reader takes what Python's does: `NaN`, `Infinity`, lone surrogates and control characters in strings are no faults.

use std::io;

use serde_json::{Map, Number, Value};

use super::config::{Event, Judge, Kind};
use super::cursor::Stop;
use super::rules::Rule;
use super::scan::{Place, Scan, whole};
use super::{Level, ReadAt, dispatch, keras, read_up_to, skops, transformers};

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

/// Octets read at once.
const CHUNK_BYTES: u64 = 64 << 10;

/// The byte order mark in UTF-8, which some editors put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

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
    source: &'a dyn ReadAt,
    chunk: Vec<u8>,
    /// Where in the source `chunk` was read, and how much of it is used.
    chunk_at: u64,
    used: usize,
    open: Vec<Kind>,
    expect: Expect,
    text_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader from `start` on that keeps `text_max` octets of each string.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, text_max: usize) -> Self {
        Self {
            source,
            chunk: Vec::new(),
            chunk_at: start,
            used: 0,
            open: Vec::new(),
            expect: Expect::Value { or_end: false },
            text_max,
        }
    }

    /// The offset of the next octet.
    pub(super) fn position(&self) -> u64 {
        self.chunk_at + self.used as u64
    }

    /// The next event; none at the document's end.
    pub(super) fn event(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.expect == Expect::Nothing {
                return Ok(None);
            }
            let Some(octet) = self.visible()? else {
                return Err(Fault::Syntax(self.position(), "it ends within a value"));
            };
            let at = self.position();
            self.used += 1;
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
                    self.used += 1;
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
        self.expect = Expect::Value { or_end: false };
        Ok(self.visible()?.is_some())
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

    /// The next octet that is no white space, which stays unused; none at the end.
    fn visible(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.used += 1,
                other => return Ok(other),
            }
        }
    }

    /// The next octet, which stays unused; none at the end.
    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        if self.used >= self.chunk.len() {
            self.chunk_at = self.position();
            self.used = 0;
            self.chunk = read_up_to(self.source, self.chunk_at, CHUNK_BYTES).map_err(Stop::from)?;
        }
        Ok(self.chunk.get(self.used).copied())
    }

    fn octet(&mut self) -> Result<Option<u8>, Fault> {
        let octet = self.peek()?;
        self.used += usize::from(octet.is_some());
        Ok(octet)
    }

    /// A number, or one of the words.
    fn word(&mut self, first: u8, at: u64) -> Result<Event, Fault> {
        // A whole number in Python has any length; what it is worth does not matter here.
        const WORD_BYTES_MAX: usize = 64;
        let mut word = String::from(char::from(first));
        while let Some(octet) = self.peek()? {
            if !(octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.')) {
                break;
            }
            self.used += 1;
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
        let ends = "a string without an end";
        let mut text = Text { octets: Vec::new(), max: self.text_max, whole: true, half: None };
        loop {
            // As much at once as has no meaning of its own.
            let rest = self.chunk.get(self.used..).unwrap_or_default();
            let plain = rest.iter().position(|octet| matches!(octet, b'"' | b'\\')).unwrap_or(rest.len());
            text.push(&rest[..plain]);
            self.used += plain;
            match self.octet()?.ok_or(Fault::Syntax(at, ends))? {
                b'"' => break,
                b'\\' => match self.octet()?.ok_or(Fault::Syntax(at, ends))? {
                    b'u' => text.unit(self.hex()?),
                    b'b' => text.push(b"\x08"),
                    b'f' => text.push(b"\x0c"),
                    b'n' => text.push(b"\n"),
                    b'r' => text.push(b"\r"),
                    b't' => text.push(b"\t"),
                    itself @ (b'"' | b'\\' | b'/') => text.push(&[itself]),
                    _ => return Err(Fault::Syntax(self.position(), "an unknown escape in a string")),
                },
                octet => text.push(&[octet]),
            }
        }
        text.flush();
        match String::from_utf8(text.octets) {
            Ok(string) => Ok((string, text.whole)),
            // A character may be cut in two where the text is.
            Err(error) if !text.whole => Ok((String::from_utf8_lossy(error.as_bytes()).into_owned(), false)),
            Err(_) => Err(Fault::Syntax(at, "a string that is not UTF-8")),
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

/// A string under way.
struct Text {
    octets: Vec<u8>,
    max: usize,
    whole: bool,
    /// The first half of a character that is escaped in two.
    half: Option<u32>,
}

impl Text {
    fn push(&mut self, octets: &[u8]) {
        if !octets.is_empty() {
            self.flush();
        }
        let room = self.max - self.octets.len();
        self.whole &= octets.len() <= room;
        self.octets.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// An escaped unit of UTF-16. Half a character alone counts as one that can't be told.
    fn unit(&mut self, unit: u32) {
        let character = match (self.half, unit) {
            (Some(half), 0xdc00..0xe000) => {
                self.half = None;
                char::from_u32(0x1_0000 + ((half - 0xd800) << 10) + (unit - 0xdc00))
            }
            (_, 0xd800..0xdc00) => {
                self.flush();
                self.half = Some(unit);
                return;
            }
            _ => char::from_u32(unit),
        };
        self.push(character.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn flush(&mut self) {
        if self.half.take().is_some() {
            self.push("\u{fffd}".as_bytes());
        }
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
    let mut reader = Reader::new(&octets, 0, usize::MAX);
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
    let mut reader = Reader::new(source, 0, 0);
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
            dispatch::search(scan, source, at, source.len(), place)
        }
        Err(Fault::Depth(at)) => {
            let place = place.part(at);
            Err(scan.reached(&place, format_args!("more than {DEPTH_MAX} JSON containers within each other")))
        }
    }
}

/// Judges one document after the other: one in a plain file, one a line in a list of records.
fn documents(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Fault> {
    let has_mark = read_up_to(source, 0, 3).map_err(Stop::from)? == MARK;
    let mut reader = Reader::new(source, if has_mark { 3 } else { 0 }, TEXT_BYTES_MAX);
    let records = [".jsonl", ".ndjson"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let mut first = true;
    while reader.more()? {
        if !first && !records {
            dispatch::outside(scan, source, reader.position(), source.len(), place)?;
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
        if judge.has_top("learner") {
            scan.facts.set("framework_version", judge.version.join("."));
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
    octets.strip_prefix(MARK).unwrap_or(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy as _, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{BoxedStrategy, Just};
    use serde_json::{Value, json};

    use super::{DEPTH_MAX, Error, parse};

    /// Any value without floats, which two writers may round differently.
    fn value() -> BoxedStrategy<Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(".{0,8}", inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
        .boxed()
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_back(value in value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let (read, duplicates) = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(read, value);
            prop_assert!(duplicates.is_empty());
        }

        #[test]
        fn what_serde_reads_is_read(octets in "[\\[\\]{}:,\"\\\\u0aDd1 .eE+\\-truefalsnN]{0,24}") {
            if let Ok(value) = serde_json::from_str::<Value>(&octets) {
                prop_assert_eq!(parse(octets.as_bytes()).unwrap().0, value);
            }
        }

        #[test]
        fn any_octets_end(octets in any::<Vec<u8>>()) {
            let _ = parse(&octets);
        }
    }

    #[test]
    fn what_python_takes_is_read() {
        for (text, value) in [
            (&b"[NaN, Infinity, -Infinity]"[..], json!([null, null, null])),
            (br#"["\ud83d\ude00"]"#, json!(["\u{1f600}"])),
            (
                br#"["\ud83d", "\ude00", "\ud83d\n", "\ud83d\ud83d\ude00"]"#,
                json!(["\u{fffd}", "\u{fffd}", "\u{fffd}\n", "\u{fffd}\u{1f600}"]),
            ),
            (b"[\"a\tb\"]\n ", json!(["a\tb"])),
            (b"[-0, 1e3, 123456789012345678901234567890]", json!([0, 1e3, 123456789012345678901234567890_f64])),
        ] {
            assert_eq!(parse(text).unwrap().0, value, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[1e]",
            "tru",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[]]",
            "[] x",
            "{]",
            "[}",
            "// a\n1",
            "['a']",
            "\"\\",
        ] {
            assert!(matches!(parse(text.as_bytes()), Err(Error::Syntax(..))), "{text:?}");
        }
        assert!(matches!(parse(b"\"\xff\""), Err(Error::Syntax(..))));
    }

    #[test]
    fn depth_duplicates_and_memory_are_bounded() {
        let nested = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert!(matches!(parse(&nested(DEPTH_MAX + 1)), Err(Error::Depth)));
        assert!(matches!(parse(&b"[".repeat(1_000_000)), Err(Error::Depth)));
        let (value, duplicates) = parse(br#"{"a": 1, "b": {"c": 1, "c": 2}, "a": 2}"#).unwrap();
        assert_eq!(value, json!({"a": 2, "b": {"c": 2}}));
        assert_eq!(duplicates, ["c", "a"]);
        let many = [&b"["[..], &b"{\"\":0},".repeat(500_000), b"{}]"].concat();
        assert!(matches!(parse(&many), Err(Error::Large)));
    }
}
