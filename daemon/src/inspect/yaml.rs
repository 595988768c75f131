//! YAML documents: tags that make a loader build objects, aliases that grow without end, and what any configuration may say
//! (`config.rs`). Knows what comes out of a YAML parser; the grammar is the `saphyr-parser` crate's, whose events need no
//! recursion and build no document.
//!
//! Nothing tells YAML from other text, so a text that can't be parsed is a finding only where its name says YAML. The tags
//! are searched in its lines then, as a loader may be more lenient than this parser.

use std::collections::HashMap;

use saphyr_parser::{Event as Parsed, Parser, ScalarStyle, Tag};
use serde_json::Value;

use super::config::{self, Event, Judge, Kind};
use super::cursor::Stop;
use super::json::{self, Builder};
use super::pickle::globals::Standing;
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt, dispatch, keras, names, read_up_to, text};

/// Longest document that is parsed: the parser holds all of a flow collection as tokens, a hundred octets for each of the
/// text, to see whether a colon follows it.
const BYTES_MAX: u64 = 2 << 20;
/// Values of a document with its aliases written out, where there are ten times fewer without.
const EXPANDED_MAX: u64 = 1_000_000;
/// Keras architectures of one file, each of which takes reading the file again.
const KERAS_MAX: usize = 4;
/// Anchored texts that are remembered, and the octets of each: what an alias may name as a callable.
const ANCHORED_MAX: usize = 10_000;
const ANCHORED_BYTES_MAX: usize = 512;

const TAG: Rule = Rule {
    id: "yaml.tag",
    level: Level::Malicious,
    meaning: "A tag of the YAML document makes loaders that trust it build an object or call a function of a programming \
              language, which is how YAML files run code.",
};
const BOMB: Rule = Rule {
    id: "yaml.bomb",
    level: Level::Malicious,
    meaning: "Aliases of the YAML document refer to each other so that written out it has more values than memory holds.",
};
const BROKEN: Rule = Rule {
    id: "yaml.broken",
    level: Level::Unscannable,
    meaning: "The name says YAML and the text can't be parsed as that, so what a more lenient loader makes of it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[TAG, BOMB, BROKEN];

/// Looks into a text that is YAML by its name.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Stop> {
    let max = BYTES_MAX.min(scan.limits.held_bytes);
    let octets = read_up_to(source, 0, max)?;
    if source.len() > max {
        raw_tags(scan, &String::from_utf8_lossy(&octets), place);
        return Err(scan.reached(place, format_args!("a YAML document of more than {max} octets")));
    }
    let content = text::decoded(&octets).unwrap_or_else(|| {
        scan.find(&BROKEN, place, None, "the text is in no encoding that YAML has");
        String::from_utf8_lossy(&octets)
    });
    if let Err(fault) = document(scan, &content, place)? {
        scan.find(&BROKEN, place, None, format_args!("the text can't be parsed as YAML: {fault}"));
        raw_tags(scan, &content, place);
        dispatch::search(scan, source, 0, source.len(), place)?;
    }
    if names::last(name).eq_ignore_ascii_case("model_config.yaml") {
        scan.facts.set("framework", "nemo");
    }
    Ok(())
}

/// Whether all of a text can be parsed as YAML, which prose and tables mostly can't.
pub(super) fn is_document(scan: &mut Scan, content: &str, place: &Place) -> Result<bool, Stop> {
    let mut parser = Parser::new_from_str(content.trim_start_matches('\u{feff}'));
    while let Some(event) = parser.next_event() {
        scan.tick(place)?;
        if event.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Looks into YAML text. What is in its way is handed back: whether that is a finding, the caller knows.
///
/// YAML 1.1 has three line breaks that 1.2 has not, and a comment ends at them: where one stands, the text is read both ways.
pub(super) fn document(scan: &mut Scan, content: &str, place: &Place) -> Result<Result<(), String>, Stop> {
    const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    let parsed = documents(scan, content, place)?;
    if content.contains(BREAKS) {
        let older = content.replace(BREAKS, "\n");
        if documents(scan, &older, place)?.is_err() {
            raw_tags(scan, &older, place);
        }
    }
    Ok(parsed)
}

fn documents(scan: &mut Scan, content: &str, place: &Place) -> Result<Result<(), String>, Stop> {
    let mut walk = Walk::default();
    let mut parser = Parser::new_from_str(content.trim_start_matches('\u{feff}'));
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => walk.event(scan, place, span.start.index() as u64, event)?,
            Err(error) => return Ok(Err(error.to_string())),
        }
        if walk.bomb {
            return Ok(Ok(()));
        }
    }
    if walk.keras.len() > KERAS_MAX {
        return Err(scan.reached(place, format_args!("more than {KERAS_MAX} Keras architectures in one file")));
    }
    for document in walk.keras {
        match value(content, document) {
            Some(value) => keras::scan_config(scan, &value, place)?,
            None => return Err(scan.reached(place, "a Keras architecture that is too large to be held")),
        }
    }
    Ok(Ok(()))
}

/// One document, counted from 0, as a value; aliases are null. None if it can't be parsed or is too large.
pub(super) fn value(content: &str, document: usize) -> Option<Value> {
    let mut builder = Builder::default();
    let mut events = Events::default();
    let mut ended = 0;
    let mut parser = Parser::new_from_str(content.trim_start_matches('\u{feff}'));
    while let Some(event) = parser.next_event() {
        let event = event.ok()?.0;
        ended += usize::from(matches!(event, Parsed::DocumentEnd));
        if ended > document {
            break;
        } else if ended < document {
            continue;
        }
        let Some(event) = events.event(&event, None) else { continue };
        if events.open.len() > json::DEPTH_MAX || !builder.event(event) {
            return None;
        }
    }
    Some(builder.finish().0)
}

/// Turns parser events into those of configurations: a mapping's children are keys and values in turn.
#[derive(Default)]
struct Events {
    /// The containers that are open; for a mapping whether a key comes next.
    open: Vec<Option<bool>>,
}

impl Events {
    /// `alias`: the text that an alias stands for.
    fn event(&mut self, event: &Parsed<'_>, alias: Option<&str>) -> Option<Event> {
        let is_key = match (self.open.last_mut(), event) {
            (_, Parsed::MappingEnd | Parsed::SequenceEnd) => false,
            (Some(Some(key_next)), event) if is_node(event) => std::mem::replace(key_next, !*key_next),
            _ => false,
        };
        Some(match event {
            Parsed::MappingStart(..) => {
                self.open.push(Some(true));
                Event::Begin(Kind::Object)
            }
            Parsed::SequenceStart(..) => {
                self.open.push(None);
                Event::Begin(Kind::Array)
            }
            Parsed::MappingEnd | Parsed::SequenceEnd => {
                self.open.pop();
                Event::End
            }
            Parsed::Scalar(text, ..) if is_key => Event::Key(text.clone().into_owned()),
            Parsed::Scalar(text, style, ..) => scalar(text, *style),
            Parsed::Alias(_) if is_key => Event::Key(alias.unwrap_or_default().to_owned()),
            Parsed::Alias(_) => alias.map_or(Event::Null, |text| Event::Text { text: text.to_owned(), whole: true }),
            Parsed::Nothing
            | Parsed::StreamStart
            | Parsed::StreamEnd
            | Parsed::DocumentStart(_)
            | Parsed::DocumentEnd => return None,
        })
    }
}

/// A plain scalar may be a number; texts are all that rules ask for.
fn scalar(text: &str, style: ScalarStyle) -> Event {
    if style == ScalarStyle::Plain {
        match text {
            "" | "~" | "null" => return Event::Null,
            "true" => return Event::Bool(true),
            "false" => return Event::Bool(false),
            number if number.parse::<f64>().is_ok_and(f64::is_finite) => return Event::Number(number.to_owned()),
            _ => {}
        }
    }
    Event::Text { text: text.to_owned(), whole: true }
}

fn is_node(event: &Parsed<'_>) -> bool {
    matches!(event, Parsed::MappingStart(..) | Parsed::SequenceStart(..) | Parsed::Scalar(..) | Parsed::Alias(_))
}

/// A walk over all documents of a text.
#[derive(Default)]
struct Walk {
    events: Events,
    judge: Judge,
    /// Of each open container: its anchor, or 0, and the values in it so far with aliases written out.
    sizes: Vec<(usize, u64)>,
    /// The same of what is anchored and closed.
    anchored: HashMap<usize, u64>,
    texts: HashMap<usize, String>,
    seen: u64,
    documents: usize,
    /// Which documents are Keras architectures.
    keras: Vec<usize>,
    bomb: bool,
}

impl Walk {
    fn event(&mut self, scan: &mut Scan, place: &Place, at: u64, event: Parsed<'_>) -> Result<(), Stop> {
        let mut alias = None;
        match &event {
            Parsed::MappingStart(anchor, tag) | Parsed::SequenceStart(anchor, tag) => {
                self.tag(scan, place, at, tag.as_deref());
                self.sizes.push((*anchor, 1));
            }
            Parsed::Scalar(text, _, anchor, tag) => {
                self.tag(scan, place, at, tag.as_deref());
                self.add(1);
                if *anchor != 0 {
                    self.anchored.insert(*anchor, 1);
                    if self.texts.len() < ANCHORED_MAX && text.len() <= ANCHORED_BYTES_MAX {
                        self.texts.insert(*anchor, text.clone().into_owned());
                    }
                }
            }
            Parsed::MappingEnd | Parsed::SequenceEnd => {
                if let Some((anchor, size)) = self.sizes.pop() {
                    if anchor != 0 {
                        self.anchored.insert(anchor, size);
                    }
                    self.add(size);
                }
            }
            Parsed::Alias(anchor) => {
                match self.anchored.get(anchor) {
                    Some(size) => self.add(*size),
                    None => scan.find_as(Level::Suspicious, &BOMB, place, Some(at), "an alias of what it stands in"),
                }
                alias = self.texts.get(anchor).cloned();
            }
            Parsed::DocumentEnd => {
                if self.judge.has_top("class_name") && self.judge.has_top("config") && self.keras.len() <= KERAS_MAX {
                    self.keras.push(self.documents);
                }
                self.judge = Judge::default();
                self.documents += 1;
            }
            Parsed::Nothing | Parsed::StreamStart | Parsed::StreamEnd | Parsed::DocumentStart(_) => {}
        }
        self.seen += 1;
        if self.sizes.len() > json::DEPTH_MAX {
            return Err(
                scan.reached(place, format_args!("more than {} YAML containers within each other", json::DEPTH_MAX))
            );
        }
        if self.bomb {
            scan.find(&BOMB, place, Some(at), format_args!("aliases stand for more than {EXPANDED_MAX} values"));
            return Ok(());
        }
        if let Some(event) = self.events.event(&event, alias.as_deref()) {
            // A key that comes twice is common in files that people write; both values are judged.
            self.judge.event(scan, place, at, &event)?;
        }
        Ok(())
    }

    /// Counts values of the container that is open.
    fn add(&mut self, values: u64) {
        if let Some((_, size)) = self.sizes.last_mut() {
            *size = size.saturating_add(values);
            self.bomb |= *size > EXPANDED_MAX && *size / 10 > self.seen;
        }
    }

    fn tag(&self, scan: &mut Scan, place: &Place, at: u64, tag: Option<&Tag>) {
        if let Some(tag) = tag {
            judge_tag(scan, place, Some(at), &format!("{}{}", tag.handle, tag.suffix));
        }
    }
}

/// What the schemas of YAML 1.1 and 1.2 have.
const SCHEMA: &[&str] = &[
    "str",
    "int",
    "float",
    "bool",
    "null",
    "seq",
    "map",
    "set",
    "omap",
    "pairs",
    "binary",
    "timestamp",
    "merge",
    "value",
];
/// Python's values that PyYAML has tags for: its safe loader refuses them, others build plain values.
const PLAIN: &[&str] =
    &["tuple", "unicode", "str", "bytes", "int", "long", "float", "complex", "bool", "none", "list", "dict"];

/// Judges a tag, resolved as far as its document says how.
fn judge_tag(scan: &mut Scan, place: &Place, at: Option<u64>, tag: &str) {
    let global = tag.strip_prefix("tag:yaml.org,2002:").or_else(|| tag.strip_prefix("!!"));
    let name = percent_decoded(global.unwrap_or(tag.trim_start_matches('!')));
    let (language, rest) = name.split_once('/').unwrap_or((&name, ""));
    match (language, rest.split_once(':')) {
        ("python", None) if PLAIN.contains(&rest) => {
            let detail = format_args!("the tag {tag} is one of Python's");
            scan.find_as(Level::Suspicious, &TAG, place, at, detail);
        }
        ("python", Some((_, path))) if config::of_path(scan.rules, path, true) == Standing::Allowed => {
            let detail = format_args!("the tag {tag} has {path} called, which is harmless by itself");
            scan.find_as(Level::Suspicious, &TAG, place, at, detail);
        }
        ("python" | "ruby" | "js" | "javascript" | "perl" | "php" | "java", _) if name.contains(['/', ':']) => {
            scan.find(&TAG, place, at, format_args!("the tag {tag} makes a loader build or call what it names"));
        }
        // HyperPyYAML: tags that import and call.
        _ if global.is_none() => {
            if let Some((verb @ ("new" | "name" | "apply" | "module"), path)) = name.split_once(':') {
                let is_module = verb == "module";
                let path = if is_module { format!("{path}.") } else { path.to_owned() };
                config::target(scan, place, at.unwrap_or_default(), &path, true, true);
            } else if let Some(path) = name.strip_prefix("include:")
                && super::transformers::is_outside(path)
            {
                scan.find(&TAG, place, at, format_args!("the tag {tag} includes a file from outside the model"));
            } else if name.starts_with("tag:") && name.contains("ruby") {
                scan.find(&TAG, place, at, format_args!("the tag {tag} makes a loader build what it names"));
            }
        }
        _ if SCHEMA.contains(&&*name) || name.is_empty() => {}
        // SnakeYAML takes the rest for names of Java classes.
        _ if name.contains('.') => {
            scan.find(&TAG, place, at, format_args!("the tag {tag} names a class for a loader to build"));
        }
        _ => {
            let detail = format_args!("the tag {tag} is none of YAML's own");
            scan.find_as(Level::Suspicious, &TAG, place, at, detail);
        }
    }
}

/// Looks for tags of languages in text that can't be parsed, and for directives that rename tags.
pub(super) fn raw_tags(scan: &mut Scan, content: &str, place: &Place) {
    for (number, line) in content.lines().enumerate() {
        let is_directive = line.starts_with("%TAG");
        if !is_directive && !line.contains('!') {
            continue;
        }
        let line = percent_decoded(line);
        let names_language = ["python/", "ruby/", "js/function", "java/", "javax.", "!apply:", "!new:", "!name:"]
            .iter()
            .any(|name| line.match_indices(name).any(|(at, _)| is_in_tag(&line[..at], name)));
        if names_language {
            let detail = format_args!("line {} has a tag that makes a loader build or call something", number + 1);
            scan.find(&TAG, place, None, detail);
        } else if is_directive {
            scan.find_as(Level::Suspicious, &TAG, place, None, format_args!("line {} renames tags", number + 1));
        }
    }
}

/// Whether what stands before it makes `name` a part of a tag: an exclamation mark or the schema's prefix without a space
/// between.
fn is_in_tag(before: &str, name: &str) -> bool {
    let word = before.rsplit([' ', '\t', ',', '[', '{']).next().unwrap_or_default();
    name.starts_with('!') && word.is_empty() || word.contains('!') || word.contains("2002:")
}

/// Tags are parts of URIs.
fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let decoded = match (first, behind) {
            (b'%', [high, low, ..]) => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16);
                digit(high).zip(digit(low)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
            }
            _ => None,
        };
        octets.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&octets).into_owned()
}
