//! The `.env` format, by python-dotenv's rules (1.2, `load_dotenv()` with its defaults): text in, bindings out.
//!
//! Knows: the grammar, quotes and escapes, `${NAME}` and `${NAME:-default}`, and the line of everything it met.
//! Refuses to know: files, the process environment, and which names mean something.
//!
//! This is our own parser because the format has no standard and the files exist already: they were written for
//! python-dotenv, and the crates for it (dotenvy and its kin) differ in inline comments, escapes, interpolation inside
//! single quotes, and what happens after a line that cannot be read. `dotenv/table.rs` holds what the original does.

use std::collections::BTreeMap;

#[cfg(test)]
mod table;

/// How many octets all values of one file may have together after interpolation. Twenty lines that each name the line
/// before twice are enough to fill a machine's memory; no honest file comes near.
pub const RESOLVED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a file says, statement by statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The statements that could be read, in the order of the file.
    pub bindings: Vec<Binding>,
    /// The statements that could not; the original skips these with a warning.
    pub unreadable: Vec<Unreadable>,
}

/// `KEY=value`, or `KEY` alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Binding {
    /// The line its key stands on, from 1.
    pub line: usize,
    /// The name, without `export` and quotes.
    pub key: String,
    /// The value with its escapes decoded, not yet interpolated; `None` for a key without `=`, which sets nothing.
    pub value: Option<String>,
}

/// A statement that breaks the grammar, such as a quote that is never closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line it starts on, from 1.
    pub line: usize,
    /// Its key, if the reader got that far.
    pub key: Option<String>,
}

/// A value after interpolation, and where it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line of the statement that counts: the last one for this key.
    pub line: usize,
    /// The value; `None` for a key without `=`.
    pub value: Option<String>,
}

/// The values of a file are longer than [`RESOLVED_BYTES_MAX`] together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values of this file grow beyond {RESOLVED_BYTES_MAX} bytes at line {line}")]
pub struct TooLong {
    /// The line at which the bound was passed.
    pub line: usize,
}

/// Reads a whole file. Nothing is an error: what cannot be read is listed, and reading goes on with the next line.
pub fn parse(text: &str) -> Parsed {
    // The original opens its files with universal newlines, so a carriage return is never part of a value.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(&text), line: 1 };
    let mut parsed = Parsed::default();
    loop {
        reader.skip_while(is_space);
        if reader.rest.is_empty() {
            return parsed;
        }
        let line = reader.line;
        let mut key = None;
        match reader.statement(&mut key) {
            Some(value) => parsed.bindings.extend(key.map(|key| Binding { line, key, value })),
            None => {
                reader.rest_of_line();
                parsed.unreadable.push(Unreadable { line, key });
            }
        }
    }
}

/// Replaces `${NAME}` and `${NAME:-default}` in every value, and keeps the last statement for each key.
///
/// A name is looked up in `outer` first (the real environment), then among the lines above; what is nowhere is the
/// default, or empty. Quotes do not protect: the original interpolates single-quoted values too.
///
/// # Errors
/// [`TooLong`] if the result would exceed [`RESOLVED_BYTES_MAX`].
pub fn resolve(
    bindings: Vec<Binding>,
    outer: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Entry>, TooLong> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut room = RESOLVED_BYTES_MAX;
    for Binding { line, key, value } in bindings {
        let value = match value {
            None => None,
            Some(raw) => {
                let look_up = |name: &str| match outer(name) {
                    Some(value) => Some(value),
                    // A key without a value is known and empty: its default does not apply.
                    None => entries.get(name).map(|entry| entry.value.clone().unwrap_or_default()),
                };
                let value = interpolate(&raw, look_up, room).ok_or(TooLong { line })?;
                room -= value.len();
                Some(value)
            }
        };
        entries.insert(key, Entry { line, value });
    }
    Ok(entries)
}

/// `None` if the result would be longer than `bytes_max`.
fn interpolate(raw: &str, look_up: impl Fn(&str) -> Option<String>, bytes_max: usize) -> Option<String> {
    let mut done = String::new();
    let mut rest = raw;
    while let Some(start) = rest.find("${") {
        let (literal, from_variable) = rest.split_at(start);
        done.push_str(literal);
        match variable(from_variable) {
            Some((name, default, after)) => {
                match look_up(name) {
                    Some(value) => done.push_str(&value),
                    None => done.push_str(default),
                }
                rest = after;
            }
            None => {
                done.push('$');
                rest = &from_variable[1..];
            }
        }
        if done.len() > bytes_max {
            return None;
        }
    }
    done.push_str(rest);
    (done.len() <= bytes_max).then_some(done)
}

/// `\$\{([^}:]*)(?::-([^}]*))?\}` at the start of `text`: name, default (empty without one) and what follows.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let inside = text.strip_prefix("${")?;
    let name_end = inside.find(['}', ':'])?;
    let (name, tail) = inside.split_at(name_end);
    if let Some(after) = tail.strip_prefix('}') {
        return Some((name, "", after));
    }
    let (default, after) = tail.strip_prefix(":-")?.split_once('}')?;
    Some((name, default, after))
}

/// A position in text whose line ends are all `\n`. A method that answers `None` has not moved.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// One statement or comment, to the end of its line. `None` if the grammar is broken, with the reader at the place
    /// where it broke; `key` is filled as soon as it is known, and stays `None` for a comment.
    fn statement(&mut self, key: &mut Option<String>) -> Option<Option<String>> {
        self.skip_export();
        if self.peek() != Some('#') {
            *key = Some(self.key()?);
        }
        self.skip_while(is_blank);
        let value = if self.peek() == Some('=') { Some(self.value()?) } else { None };
        self.skip_comment();
        self.skip_while(is_blank);
        match self.peek() {
            None => {}
            Some('\n') => self.advance(1),
            Some(_) => return None,
        }
        Some(value)
    }

    fn skip_export(&mut self) {
        if let Some(after) = self.rest.strip_prefix("export") {
            let key = after.trim_start_matches(is_blank);
            if key.len() < after.len() {
                self.rest = key;
            }
        }
    }

    /// `'…'` around anything but a quote, or a run without `=`, `#` and white space.
    fn key(&mut self) -> Option<String> {
        if self.peek() == Some('\'') {
            let end = self.rest[1..].find('\'')?;
            let key = self.rest[1..=end].to_owned();
            if key.is_empty() {
                return None;
            }
            self.advance(end + 2);
            return Some(key);
        }
        let end = self.rest.find(|c| c == '=' || c == '#' || is_space(c)).unwrap_or(self.rest.len());
        let key = self.rest[..end].to_owned();
        if key.is_empty() {
            return None;
        }
        self.advance(end);
        Some(key)
    }

    /// What follows the key, from its `=`.
    fn value(&mut self) -> Option<String> {
        self.advance(1);
        let before = self.rest.len();
        self.skip_while(is_blank);
        let spaced = self.rest.len() < before;
        match self.peek() {
            // `KEY= # comment` is empty, while in `KEY=#value` the sign belongs to the value.
            Some('#') if spaced => Some(String::new()),
            None | Some('\n') => Some(String::new()),
            Some('\'') => self.quoted('\'', single_quote_escape),
            Some('"') => self.quoted('"', double_quote_escape),
            Some(_) => Some(self.unquoted()),
        }
    }

    /// A backslash takes the next character with it, whatever it is, so an escaped backslash cannot hide the end. Line
    /// ends may stand inside.
    fn quoted(&mut self, quote: char, escape: fn(char) -> Option<char>) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.advance(at + 1);
                return Some(value);
            }
            if c != '\\' {
                value.push(c);
                continue;
            }
            let (_, escaped) = chars.next()?;
            match escape(escaped) {
                Some(decoded) => value.push(decoded),
                None => value.extend(['\\', escaped]),
            }
        }
        None
    }

    /// To the end of the line, less white space at the end and a comment: a `#` with white space before it.
    fn unquoted(&mut self) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.advance(end);
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(is_space));
        let value = comment.map_or(line, |(at, _)| &line[..at]);
        value.trim_end_matches(is_space).to_owned()
    }

    fn skip_comment(&mut self) {
        let comment = self.rest.trim_start_matches(is_blank);
        if comment.starts_with('#') {
            self.rest = &comment[comment.find('\n').unwrap_or(comment.len())..];
        }
    }

    fn rest_of_line(&mut self) {
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        self.advance(end);
    }

    fn skip_while(&mut self, wanted: fn(char) -> bool) {
        let kept = self.rest.trim_start_matches(wanted).len();
        self.advance(self.rest.len() - kept);
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Passes over `bytes`, which end on a character boundary, and counts their lines.
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

/// `\s` as Python's `re` has it: Unicode's White_Space and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_blank(c: char) -> bool {
    is_space(c) && c != '\n'
}

fn single_quote_escape(c: char) -> Option<char> {
    matches!(c, '\\' | '\'').then_some(c)
}

fn double_quote_escape(c: char) -> Option<char> {
    Some(match c {
        '\\' | '\'' | '"' => c,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;

    use proptest::prelude::{any, prop, proptest};

    use super::{Binding, RESOLVED_BYTES_MAX, Unreadable, parse, resolve, table};

    fn outer(name: &str) -> Option<String> {
        table::OUTER.iter().find(|(outer, _)| *outer == name).map(|(_, value)| (*value).to_owned())
    }

    /// Every case of the table comes out as it does in the original.
    #[test]
    fn does_what_the_original_does() {
        for (text, bindings, unreadable) in table::CASES {
            let expected: BTreeMap<String, Option<String>> =
                bindings.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
            let parsed = parse(text);
            assert_eq!(parsed.unreadable.len(), *unreadable, "statements that cannot be read in {text:?}");
            let entries = resolve(parsed.bindings, outer).unwrap();
            let found: BTreeMap<_, _> = entries.into_iter().map(|(key, entry)| (key, entry.value)).collect();
            assert_eq!(found, expected, "in {text:?}");
        }
    }

    /// Lines are those of the key, also after blank lines, comments and values over several lines.
    #[test]
    fn counts_lines() {
        let parsed = parse("\u{feff}# one\r\n\r\nA='x\r\ny'\r\nbad line\r\nB=1\r\nC=\"open\r\nD\n");
        let binding =
            |line, key: &str, value: Option<&str>| Binding { line, key: key.into(), value: value.map(Into::into) };
        assert_eq!(parsed.bindings, [binding(3, "A", Some("x\ny")), binding(6, "B", Some("1")), binding(8, "D", None)]);
        assert_eq!(
            parsed.unreadable,
            [Unreadable { line: 5, key: Some("bad".into()) }, Unreadable { line: 7, key: Some("C".into()) }]
        );
    }

    /// Values that double at each line are stopped.
    #[test]
    fn bounds_interpolation() {
        let mut text = "A0=xxxxxxxx\n".to_owned();
        for n in 0..40 {
            text += &format!("A{}=${{A{n}}}${{A{n}}}\n", n + 1);
        }
        assert!(resolve(parse(&text).bindings, outer).unwrap_err().line > 10);
        let long = format!("A={}", "x".repeat(RESOLVED_BYTES_MAX + 1));
        assert_eq!(resolve(parse(&long).bindings, outer).unwrap_err().line, 1);
    }

    proptest! {
        /// Octets from anywhere are read or listed, never a panic, and no statement is lost from the count of lines.
        #[test]
        fn never_panics(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = resolve(parse(&String::from_utf8_lossy(&octets)).bindings, outer);
        }

        /// The same for text made of what the grammar cares about.
        #[test]
        fn never_panics_on_near_misses(text in "(A|=|'|\"|\\\\|n|#|\\$\\{|\\}|:-|export |[ \
            \t\r\n]|é|\u{1c}|\u{feff}){0,40}") {
            let parsed = parse(&text);
            let lines = text.replace("\r\n", "\n").matches(['\r', '\n']).count() + 1;
            assert!(parsed.bindings.iter().all(|binding| binding.line <= lines));
            assert!(parsed.unreadable.iter().all(|unreadable| unreadable.line <= lines));
            let _ = resolve(parsed.bindings, outer);
        }

        /// What is written in double quotes with its escapes comes back as it was.
        #[test]
        fn quoted_values_round_trip(value in "[^$\r]*") {
            let written = format!("A=\"{}\" # comment", value.replace('\\', "\\\\").replace('"', "\\\""));
            let entries = resolve(parse(&written).bindings, outer).unwrap();
            assert_eq!(entries["A"].value.as_deref(), Some(value.as_str()));
        }
    }
}
