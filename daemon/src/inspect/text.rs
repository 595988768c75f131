//! Text of no grammar that is recognised by its octets: prose, tables, source code, YAML, XML and HTML, templates. By its name
//! or its first characters it goes to what knows more; whatever it is, it must be text to its last octet, which is checked in
//! constant memory. Knows encodings and beginnings; what code or a configuration does it does not know.

use std::borrow::Cow;

use super::cursor::Stop;
use super::rules::{Rule, TRAILING};
use super::scan::{Place, Scan, Slice, whole};
use super::{Format, Level, ReadAt, card, dispatch, jinja, json, names, read_up_to, recognise, source, xml, yaml};

/// Octets that decide what a text is.
const HEAD_BYTES: u64 = 64 << 10;
/// Octets read at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// Longest template.
const TEMPLATE_BYTES_MAX: u64 = 8 << 20;
/// Longest text that is tried as YAML without being named so.
const YAML_BYTES_MAX: u64 = 1 << 20;

pub(super) const SCRIPT: Rule = Rule {
    id: "text.script",
    level: Level::Suspicious,
    meaning: "A page or picture with script or embedded objects: a browser that shows the file runs it with the rights of the \
              site it comes from.",
};
const ENCODING: Rule = Rule {
    id: "text.encoding",
    level: Level::Note,
    meaning: "The text is not UTF-8; programs that assume it is may fail or show something else.",
};
const UNDECODED: Rule = Rule {
    id: "text.broken",
    level: Level::Unscannable,
    meaning: "The file is named as a template or says it is UTF-16, and can't be decoded or held as that.",
};
const POINTER: Rule = Rule {
    id: "text.pointer",
    level: Level::Note,
    meaning: "A Git LFS pointer: a few lines in place of the file that was meant to be uploaded.",
};

const GRAPH: Rule = Rule {
    id: "text.graph",
    level: Level::Unscannable,
    meaning: "A graph of operators in protobuf's text form, which is not looked into: operators may read files or run code.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[SCRIPT, ENCODING, UNDECODED, POINTER, GRAPH];

/// What graphs in protobuf's text form have and settings of servers have not: the operators of TensorFlow and ONNX, data in
/// other files, and Python in Caffe's layers. In lower case.
const GRAPHS: &[&str] = &["graph_def", "node", "op_type", "external_data", "python_param"];

/// What makes a page do something. In lower case.
const ACTIVE: &[&str] =
    &["<script", "javascript:", "<iframe", "<object", "<embed", "onload=", "onerror=", "onclick=", "<foreignobject"];

/// Whether a text is a page, which need not be well-formed.
pub(super) fn is_page(head: &str) -> bool {
    let start = head.trim_start_matches('\u{feff}').trim_start();
    ["<!doctype html", "<html"]
        .iter()
        .any(|mark| start.get(..mark.len()).is_some_and(|one| one.eq_ignore_ascii_case(mark)))
}

/// Looks into a source that was recognised as text. `name` is its path as the container or the uploader says it.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Stop> {
    let octets = read_up_to(source, 0, HEAD_BYTES)?;
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = octets.as_slice() {
        let decoded =
            whole(source, scan.limits.held_bytes / 2)?.and_then(|octets| decoded(&octets).map(Cow::into_owned));
        let Some(decoded) = decoded else {
            scan.find(&UNDECODED, place, None, "the text says it is UTF-16 and is not, or is too long to be held");
            return Ok(());
        };
        scan.find(&ENCODING, place, None, "the text is UTF-16");
        return utf8(scan, &decoded.as_bytes(), place, name, &decoded);
    }
    let head = String::from_utf8_lossy(&octets);
    utf8(scan, source, place, name, head.trim_start_matches('\u{feff}'))
}

/// The same, of a text in UTF-8 that begins with `head`.
fn utf8(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str, head: &str) -> Result<(), Stop> {
    let base = names::last(name).to_ascii_lowercase();
    let end = names::extension(name);
    let end = end.as_str();
    let start = head.trim_start();
    let begins = |mark: &str| start.get(..mark.len()).is_some_and(|first| first.eq_ignore_ascii_case(mark));

    if is_pointer(head, source.len()) {
        scan.find(&POINTER, place, None, "a Git LFS pointer stands in place of the file");
        return Ok(());
    }
    // What TorchScript's archives hold is no Python, and their reader judges it.
    let is_torchscript = place.container() == Some(Format::Torchscript) && end == "py";
    let is_source = is_torchscript || source::judge(scan, place, name, head);
    // Before source code, as a first line may make these look like it.
    if matches!(end, "jinja" | "jinja2" | "j2") {
        return template(scan, source, place);
    }
    if matches!(end, "yaml" | "yml") || head.starts_with("%YAML") || head.starts_with("%TAG") {
        return yaml::scan(scan, source, place, name);
    }
    if is_source {
        return body(scan, source, place, &[], no_hit);
    }
    if matches!(end, "pbtxt" | "prototxt" | "textproto" | "onnxtxt") {
        return body(scan, source, place, GRAPHS, |scan, place, at, what| {
            scan.find(&GRAPH, place, Some(at), format_args!("{what} stands in it, as in graphs of operators"));
        });
    }
    if matches!(end, "json" | "jsonl" | "ndjson" | "webmanifest")
        || start.starts_with(['{', '[']) && json::is_document(scan, source, place)?
    {
        return json::scan(scan, source, place, name);
    }
    if matches!(end, "html" | "htm" | "xhtml" | "xht" | "svg" | "mht" | "mhtml")
        || is_page(start)
        || begins("<svg")
        || begins("<script")
    {
        body(scan, source, place, ACTIVE, |scan, place, at, what| {
            scan.find(&SCRIPT, place, Some(at), format_args!("the page has {what:?} in it"));
        })?;
        // A page is not looked at as XML: it would come back from there.
        let is_xml = begins("<?xml") || matches!(end, "svg" | "xhtml" | "xht") && !is_page(start);
        return if is_xml { xml::scan(scan, source, place, name) } else { Ok(()) };
    }
    if matches!(end, "xml" | "pmml" | "xsl" | "xslt" | "xsd" | "plist" | "kml")
        || ["<?xml", "<!doctype", "<!entity", "<pmml", "<net "].iter().any(|mark| begins(mark))
    {
        return xml::scan(scan, source, place, name);
    }
    if matches!(end, "md" | "markdown" | "qmd" | "mdx") {
        card::scan(scan, head, place, &base)?;
    } else if !matches!(end, "csv" | "tsv")
        && let Some(octets) = whole(source, YAML_BYTES_MAX)?
        && let Ok(content) = std::str::from_utf8(&octets)
    {
        if yaml::is_document(scan, content, place)? {
            let _parsed = yaml::document(scan, content, place)?;
        } else if head.starts_with("---") {
            yaml::raw_tags(scan, content, place);
        }
    }
    body(scan, source, place, &[], no_hit)
}

fn no_hit(_: &mut Scan, _: &Place, _: u64, _: &str) {}

/// Three short lines in a given order, and nothing else.
fn is_pointer(head: &str, len: u64) -> bool {
    let mut lines = head.lines();
    len < 1024
        && lines.next() == Some("version https://git-lfs.github.com/spec/v1")
        && lines.next().is_some_and(|line| line.starts_with("oid sha256:"))
        && lines.next().is_some_and(|line| line.starts_with("size "))
        && lines.next().is_none()
}

/// A template by its name.
fn template(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let octets = whole(source, TEMPLATE_BYTES_MAX.min(scan.limits.held_bytes))?;
    match octets.as_deref().and_then(decoded) {
        Some(content) => jinja::scan_template(scan, &content, place),
        None => scan.find(&UNDECODED, place, None, "a template that is not UTF-8, or too long to be judged"),
    }
    Ok(())
}

/// Text out of octets: UTF-8, or UTF-16 that says so by its first two. Without the mark.
pub(super) fn decoded(octets: &[u8]) -> Option<Cow<'_, str>> {
    let units = |octets: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = octets.as_chunks::<2>();
        let text: Option<String> =
            char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<_, _>>().ok();
        text.filter(|_| odd.is_empty()).map(Cow::Owned)
    };
    match octets {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(Cow::Borrowed),
        _ => std::str::from_utf8(octets).ok().map(Cow::Borrowed),
    }
}

/// Reads a text to its end: what is no text any more is reported and looked into, and so is every first occurrence of what is
/// searched, which is in lower case.
fn body(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    searched: &[&str],
    hit: impl Fn(&mut Scan, &Place, u64, &str),
) -> Result<(), Stop> {
    // The longest thing that is searched may stand across two chunks.
    const OVERLAP: usize = 32;
    let mut position = 0;
    // Octets of the chunk before: an unfinished character, and what a hit may begin in.
    let (mut unfinished, mut before): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut not_utf8 = None;
    let mut found = vec![false; searched.len()];
    while position < source.len() {
        scan.tick(place)?;
        let chunk = read_up_to(source, position, CHUNK_BYTES)?;
        if let Some(at) = chunk.iter().position(|octet| is_control(*octet)) {
            return tail(scan, source, place, position + at as u64, not_utf8);
        }
        if not_utf8.is_none() {
            let start = position - unfinished.len() as u64;
            unfinished.extend_from_slice(&chunk);
            match std::str::from_utf8(&unfinished) {
                Ok(_) => unfinished.clear(),
                Err(error) if error.error_len().is_none() && position + (chunk.len() as u64) < source.len() => {
                    unfinished.drain(..error.valid_up_to());
                }
                Err(error) => {
                    not_utf8 = Some(start + error.valid_up_to() as u64);
                    unfinished = Vec::new();
                }
            }
        }
        if !searched.is_empty() {
            let start = position - before.len() as u64;
            before.extend(chunk.iter().map(u8::to_ascii_lowercase));
            for (what, found) in searched.iter().zip(&mut found).filter(|(_, found)| !**found) {
                if let Some(at) = before.windows(what.len()).position(|window| window == what.as_bytes()) {
                    *found = true;
                    hit(scan, place, start + at as u64, what);
                }
            }
            before.drain(..before.len().saturating_sub(OVERLAP));
        }
        position += chunk.len() as u64;
    }
    if let Some(at) = not_utf8 {
        scan.find(&ENCODING, place, Some(at), "the text is not UTF-8 from here on");
    }
    Ok(())
}

/// What no text has: control characters but for white space, form feed and escape.
fn is_control(octet: u8) -> bool {
    matches!(octet, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

/// Octets behind a text that are none, from `at` on or a little before.
fn tail(scan: &mut Scan, source: &dyn ReadAt, place: &Place, at: u64, not_utf8: Option<u64>) -> Result<(), Stop> {
    // How far before its first octet that no text has a format may begin: archives do with letters.
    const BACK: u64 = 4;
    let at = not_utf8.unwrap_or(at).min(at);
    scan.find(&TRAILING, place, Some(at), "the text ends here and something else follows");
    let is_something = !matches!(
        recognise(&Slice::new(source, at, source.len()))?,
        Format::Text | Format::Json | Format::Source | Format::Xml | Format::Unknown | Format::Empty
    );
    let start = if is_something { at } else { at.saturating_sub(BACK) };
    dispatch::search(scan, source, start, source.len(), place)
}

#[cfg(test)]
mod tests;
