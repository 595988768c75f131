//! XML documents: PMML, OpenVINO's networks, and any other. They are read event by event in constant memory, by the
//! `quick-xml` crate, to the last octet. Knows what makes an XML reader fetch or expand things and what makes OpenVINO load
//! libraries; what a model computes it does not know.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::cursor::Stop;
use super::facts::cut;
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt, dispatch};

/// Elements within each other.
const DEPTH_MAX: usize = 200;
/// Octets of one tag, text or comment.
const EVENT_BYTES_MAX: u64 = 16 << 20;
/// Octets of an element's name, and attributes of one element.
const NAME_BYTES_MAX: usize = 1024;
const ATTRIBUTES_MAX: usize = 10_000;

const ENTITY: Rule = Rule {
    id: "xml.entity",
    level: Level::Malicious,
    meaning: "The XML document declares a document type or entities, by which readers fetch files and addresses or fill their \
              memory; no model format needs one.",
};
const LIBRARY: Rule = Rule {
    id: "xml.library",
    level: Level::Suspicious,
    meaning: "The XML document names a library or a kernel of its own for a reader to load.",
};
const EXTENSION: Rule = Rule {
    id: "xml.extension",
    level: Level::Suspicious,
    meaning: "The model uses operations that are not in the format's own sets: what they do is up to extensions that the \
              loader is given.",
};
const INCLUDE: Rule = Rule {
    id: "xml.include",
    level: Level::Suspicious,
    meaning: "The XML document refers to a style sheet or to parts elsewhere, which some readers fetch and some run.",
};
const BROKEN: Rule = Rule {
    id: "xml.broken",
    level: Level::Unscannable,
    meaning: "The document is not well-formed XML in UTF-8 to its last octet, so readers may disagree about what it says.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[ENTITY, LIBRARY, EXTENSION, INCLUDE, BROKEN];

/// A source as a stream that ends with an error when one event takes too much of it.
struct Feed<'a> {
    source: &'a dyn ReadAt,
    position: u64,
    left: &'a Cell<u64>,
}

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(self.position, buf)?.min(buf.len());
        self.position += count as u64;
        match self.left.get().checked_sub(count as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(count)
    }
}

/// Looks into a text that is XML by its name or beginning.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, name: &str) -> Result<(), Stop> {
    // Valid XML may be a script all the same, for who goes by names.
    super::source::judge(scan, place, name, "");
    let left = Cell::new(EVENT_BYTES_MAX);
    let feed = Feed { source, position: 0, left: &left };
    let mut reader = Reader::from_reader(BufReader::with_capacity(64 << 10, feed));
    reader.config_mut().check_comments = true;
    let mut document = Document::default();
    let mut buffer = Vec::new();
    loop {
        scan.tick(place)?;
        left.set(EVENT_BYTES_MAX);
        buffer.clear();
        let at = reader.buffer_position();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break,
            Ok(event) => event,
            Err(quick_xml::Error::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(
                    scan.reached(place, format_args!("an XML tag or text of more than {EVENT_BYTES_MAX} octets"))
                );
            }
            Err(quick_xml::Error::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(Stop::Io(io::Error::new(error.kind(), error)));
            }
            Err(error) => {
                scan.find(&BROKEN, place, Some(at), format_args!("the XML document can't be read: {error}"));
                return dispatch::search(scan, source, at, source.len(), place);
            }
        };
        if let Err(fault) = document.event(scan, place, at, &event)? {
            scan.find(&BROKEN, place, Some(at), fault);
            return dispatch::search(scan, source, at, source.len(), place);
        }
    }
    document.finish(scan, place);
    Ok(())
}

/// The document so far.
#[derive(Default)]
struct Document {
    depth: usize,
    roots: u32,
    /// What kind of document its first element makes it.
    root: String,
    layers: u64,
    /// Of OpenVINO's layer that is open: its name and type.
    layer: (String, String),
}

/// Why it is not well-formed.
type Fault = &'static str;

impl Document {
    fn event(&mut self, scan: &mut Scan, place: &Place, at: u64, event: &Event<'_>) -> Result<Result<(), Fault>, Stop> {
        match event {
            Event::Start(element) => {
                if let Err(fault) = self.element(scan, place, at, element) {
                    return Ok(Err(fault));
                }
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(
                        scan.reached(place, format_args!("more than {DEPTH_MAX} XML elements within each other"))
                    );
                }
            }
            Event::Empty(element) => return Ok(self.element(scan, place, at, element)),
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Text(text) if self.depth == 0 => {
                let is_blank = text.chars().all(|one| one.is_ascii_whitespace() || one == '\u{feff}');
                return Ok(if is_blank { Ok(()) } else { Err("text stands outside the XML document's element") });
            }
            Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                return Ok(Err("text stands outside the XML document's element"));
            }
            Event::GeneralRef(name) => {
                let is_known = matches!(&**name, "amp" | "lt" | "gt" | "quot" | "apos")
                    || name.is_char_ref() && name.resolve_char_ref().is_ok();
                if !is_known {
                    return Ok(Err("the document refers to an entity that is not declared"));
                }
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().and_then(Result::ok).unwrap_or_default().to_ascii_lowercase();
                if !matches!(encoding.as_str(), "" | "utf-8" | "utf8" | "us-ascii" | "ascii") {
                    return Ok(Err("the document says it is in an encoding other than UTF-8"));
                }
            }
            Event::DocType(kind) => self.document_type(scan, place, at, kind),
            Event::PI(instruction) => {
                if instruction.target() == "xml-stylesheet" {
                    scan.find(&INCLUDE, place, Some(at), "the document names a style sheet, which may hold a program");
                }
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Eof => {}
        }
        Ok(Ok(()))
    }

    fn document_type(&self, scan: &mut Scan, place: &Place, at: u64, kind: &str) {
        let kind = kind.trim_start();
        // What drawing programs and Apple's tools write: a public identifier and no declarations of its own.
        let is_usual = ["svg", "plist", "html"].iter().any(|name| {
            kind.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start().starts_with("PUBLIC") || rest.trim().is_empty())
        }) && !kind.contains(['[', '<', '&']);
        let level = if is_usual { Level::Suspicious } else { Level::Malicious };
        let kind = cut(kind, 60);
        scan.find_as(level, &ENTITY, place, Some(at), format_args!("the document declares the type {kind:?}"));
    }

    fn element(&mut self, scan: &mut Scan, place: &Place, at: u64, element: &BytesStart<'_>) -> Result<(), Fault> {
        let local = element.local_name();
        let local: &str = local.as_ref();
        if element.name().as_ref().len() > NAME_BYTES_MAX {
            return Err("an element's name is longer than any real one");
        }
        let mut names = HashSet::new();
        let mut values = Vec::new();
        for attribute in element.attributes().with_checks(false) {
            let Ok(attribute) = attribute else { return Err("an attribute is not well-formed") };
            let key: &str = attribute.key.into_inner();
            if !names.insert(key.to_owned()) {
                return Err("an attribute stands twice in one element");
            }
            if names.len() > ATTRIBUTES_MAX {
                return Err("an element has more attributes than any real one");
            }
            if attribute.value.contains('<') {
                return Err("an attribute is not well-formed");
            }
            if &*attribute.value == "http://www.w3.org/2001/XInclude" {
                scan.find(&INCLUDE, place, Some(at), "the document has parts elsewhere (XInclude)");
            }
            if values.len() < 32 {
                values.push((key.to_owned(), cut(&attribute.value, 512).to_owned()));
            }
            if key.eq_ignore_ascii_case("library") || local.eq_ignore_ascii_case("kernel") && key == "entry" {
                let detail = format_args!("<{}> names the library {:?}", cut(local, 60), cut(&attribute.value, 80));
                scan.find(&LIBRARY, place, Some(at), detail);
            }
        }
        let value = |key: &str| values.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        if self.depth == 0 {
            self.roots += 1;
            if self.roots > 1 {
                return Err("a second element stands behind the XML document's end");
            }
            local.clone_into(&mut self.root);
            self.begin(scan, value("name"), value("version"));
        }
        match self.root.as_str() {
            "PMML" => self.pmml(scan, place, at, local, value("function")),
            "net" => self.openvino(scan, place, at, local, value),
            _ => {}
        }
        Ok(())
    }

    fn begin(&self, scan: &mut Scan, name: Option<&str>, version: Option<&str>) {
        let framework = match self.root.as_str() {
            "PMML" => "pmml",
            "net" => "openvino",
            _ => return,
        };
        scan.facts.set("framework", framework);
        scan.facts.set("format_version", version.unwrap_or_default());
        if framework == "openvino" {
            scan.facts.set("architecture", name.unwrap_or_default());
        }
    }

    fn pmml(&self, scan: &mut Scan, place: &Place, at: u64, local: &str, function: Option<&str>) {
        if self.depth == 1 && (local.ends_with("Model") || matches!(local, "NeuralNetwork" | "Scorecard" | "RuleSet")) {
            scan.facts.set("architecture", local);
        }
        // The functions of the format have no dots; a Java class does.
        if let Some(function) = function.filter(|function| local == "Apply" && function.contains('.')) {
            scan.find(
                &EXTENSION,
                place,
                Some(at),
                format_args!("the model calls {function:?}, no function of the format"),
            );
        }
    }

    fn openvino<'v>(
        &mut self,
        scan: &mut Scan,
        place: &Place,
        at: u64,
        local: &str,
        value: impl Fn(&str) -> Option<&'v str>,
    ) {
        let text = |key: &str| value(key).unwrap_or_default();
        match local {
            "layer" => {
                self.layers += 1;
                self.layer = (text("name").to_owned(), text("type").to_owned());
                let set = text("version");
                if !(set.is_empty() || set.starts_with("opset")) {
                    let detail = format_args!("the layer type {:?} is of the set {set:?}, an extension", text("type"));
                    scan.find(&EXTENSION, place, Some(at), detail);
                }
            }
            "data" if self.layer.1 == "Const" => {
                let shape =
                    text("shape").split(',').filter_map(|extent| extent.trim().parse().ok()).collect::<Vec<_>>();
                if let Some(kind) = value("element_type") {
                    scan.facts.add_tensor(&self.layer.0, &kind.to_ascii_uppercase(), &shape);
                }
            }
            _ => {}
        }
    }

    fn finish(&self, scan: &mut Scan, place: &Place) {
        if self.depth != 0 || self.roots == 0 {
            scan.find(&BROKEN, place, None, "the XML document ends within an element");
        }
        if self.layers > 0 {
            scan.facts.set("layers", self.layers);
        }
    }
}
