//! TensorFlow's `saved_model.pb`: graphs of operators, and functions that are graphs too. A graph is a program: operators
//! read and write files and call Python. Both kinds of graphs are walked and every operator is judged by its name. Tensor
//! data in them are stepped over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;

use super::cursor::Stop;
use super::protobuf::{Event, Fault, Walk, escapes};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt, json, keras};

pub(super) use beside::beside;

mod beside;
mod operators;

/// What reaches files or Python.
const OPERATOR: Rule = Rule {
    id: "saved_model.operator",
    level: Level::Malicious,
    meaning: "The graph has operators that read or write files or run Python, with the rights of whoever loads or uses the \
              model.",
};
/// What is not known.
const UNKNOWN: Rule = Rule {
    id: "saved_model.unknown",
    level: Level::Suspicious,
    meaning: "The graph has operators that are not among those with which TensorFlow computes: of another library, for \
              input and output, or for debugging.",
};
/// Assets elsewhere.
const ASSET: Rule = Rule {
    id: "saved_model.asset",
    level: Level::Malicious,
    meaning: "The model names a file outside its folder as part of itself, which loading it reads.",
};
/// Numbers of a checkpoint.
const NUMBERS: Rule = Rule {
    id: "saved_model.numbers",
    level: Level::Note,
    meaning: "The file is named as the numbers of a TensorFlow checkpoint are, which have no structure to be checked; \
              TensorFlow reads them as numbers only.",
};
/// No sound message.
const BROKEN: Rule = Rule {
    id: "saved_model.broken",
    level: Level::Unscannable,
    meaning: "The file is cut short or damaged, so what a lenient reader would find in it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[OPERATOR, UNKNOWN, ASSET, NUMBERS, BROKEN];

/// Operators that read or write files or run Python. Version suffixes are left off; what stands before `Dataset` with
/// `Experimental` in front is meant too.
const DENIED: &[&str] = &[
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "WholeFileReader",
    "TextLineReader",
    "TFRecordReader",
    "FixedLengthRecordReader",
    "LMDBReader",
    "RecordInput",
    "ImmutableConst",
    "GenerateVocabRemapping",
    "CalibrationStatisticsSaver",
    "DumpTensor",
    "MatchingFilesDataset",
    "TextLineDataset",
    "TFRecordDataset",
    "FixedLengthRecordDataset",
    "CSVDataset",
    "SqlDataset",
    "LMDBDataset",
    "LoadDataset",
    "SaveDataset",
    "SnapshotDataset",
    "SnapshotDatasetReader",
    "SnapshotNestedDatasetReader",
    "SnapshotChunkDataset",
    "ListSnapshotChunksDataset",
    "DatasetToTFRecord",
];

/// Octets of a name that is kept.
const NAME_BYTES_MAX: u64 = 512;
/// Octets of a path.
const PATH_BYTES_MAX: u64 = 4096;
/// Octets of a Keras layer's description.
const METADATA_BYTES_MAX: u64 = 4 << 20;
/// Names kept of functions, and of operators that are not known.
const NAMES_MAX: usize = 65_536;
/// Signatures that become facts.
const SIGNATURES_MAX: usize = 16;

/// The messages that are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    SavedModel,
    /// The whole of a `keras_metadata.pb`.
    Metadata,
    MetaGraph,
    MetaInfo,
    Graph,
    Library,
    Function,
    Gradient,
    FunctionSignature,
    Node,
    Attribute,
    AttributeValue,
    /// An entry of the map of signatures.
    Signature,
    Asset,
    /// An entry of the map of collections, where TensorFlow 1 has its assets.
    Collection,
    CollectionList,
    AnyList,
    Any,
    /// A layer in a `keras_metadata.pb`.
    Layer,
    ObjectGraph,
    Object,
    UserObject,
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk::over(source, Message::SavedModel);
    let mut reader = Reader::default();
    match reader.read(scan, &mut walk, place) {
        Ok(()) if !reader.has_graph => scan.find(&BROKEN, place, None, "there is no graph"),
        Ok(()) => {}
        Err(Fault::Stop(stop)) => return Err(stop),
        Err(Fault::Broken(why)) => scan.find(&BROKEN, place, Some(walk.position()), why),
    }
    reader.conclude(scan, place);
    Ok(())
}

/// Looks into what Keras 2 writes beside the model: the configurations of its layers.
fn metadata(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk::over(source, Message::Metadata);
    match Reader::default().read(scan, &mut walk, place) {
        Ok(()) => {}
        Err(Fault::Stop(stop)) => return Err(stop),
        Err(Fault::Broken(why)) => scan.find(&BROKEN, place, Some(walk.position()), why),
    }
    Ok(())
}

/// The lists that verdicts hang on, as text.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    DENIED.iter().copied().chain([operators::COMPUTING])
}

/// How an operator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// It computes.
    Computing,
    /// It reads or writes files or runs Python.
    Denied,
    /// On no list.
    Unknown,
}

/// TensorFlow's operators that compute.
static COMPUTING: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| operators::COMPUTING.split_ascii_whitespace().collect());

/// How an operator of TensorFlow stands, by its name alone.
pub(super) fn standing(name: &str) -> Operator {
    let digits = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let base = if digits.len() < name.len() { digits.strip_suffix('V').unwrap_or(name) } else { name };
    if DENIED.contains(&base.strip_prefix("Experimental").unwrap_or(base)) {
        Operator::Denied
    } else if COMPUTING.contains(base) {
        Operator::Computing
    } else {
        Operator::Unknown
    }
}

/// What of a walk is remembered.
#[derive(Default)]
struct Reader {
    has_graph: bool,
    operator: String,
    /// The attribute of the operator at hand.
    key: String,
    function: String,
    functions: BTreeSet<String>,
    /// Operators that are not known, with the place of the first: a function of the library is called like an operator.
    unknown: BTreeMap<String, u64>,
    signatures: BTreeSet<String>,
    /// Where an operator's `output_stream` leads.
    stream: Option<String>,
    nodes: u64,
}

impl Reader {
    fn read(&mut self, scan: &mut Scan, walk: &mut Walk<'_, Message>, place: &Place) -> Result<(), Fault> {
        while let Some(event) = walk.next(scan, place)? {
            match event {
                Event::Number { .. } => {}
                Event::Octets { within, field, .. } => match entered(within, field) {
                    Some(kind) => {
                        match kind {
                            Message::Graph => self.has_graph = true,
                            Message::Node => (self.operator, self.stream) = (String::new(), None),
                            Message::Attribute => self.key = String::new(),
                            Message::Function => self.function = String::new(),
                            _ => {}
                        }
                        walk.enter(kind)?;
                    }
                    None => self.octets(scan, place, walk, within, field)?,
                },
                Event::Leave(Message::Node) => self.judge(scan, place, walk.position()),
                Event::Leave(Message::Function) if self.functions.len() < NAMES_MAX => {
                    self.functions.insert(std::mem::take(&mut self.function));
                }
                Event::Leave(_) => {}
            }
        }
        Ok(())
    }

    fn octets(
        &mut self,
        scan: &mut Scan,
        place: &Place,
        walk: &mut Walk<'_, Message>,
        within: Message,
        field: u64,
    ) -> Result<(), Fault> {
        let at = walk.position();
        match (within, field) {
            (Message::UserObject, 3) | (Message::Layer, 5) => {
                // A layer's configuration in JSON, as Keras 2 writes it: loading the model builds the layer from it.
                match walk.text(METADATA_BYTES_MAX)? {
                    // Of objects that are no layers the description is no JSON, or none.
                    Some(text) => {
                        if let Ok((config, _)) = json::parse(text.as_bytes()) {
                            keras::scan_config(scan, &config, &place.part("metadata"))?;
                        }
                    }
                    None => scan.find(&BROKEN, place, Some(at), "the description of a layer is too long to be read"),
                }
            }
            // The name of a function and of its gradient.
            (Message::Gradient, 1 | 2) if walk.text(NAME_BYTES_MAX)?.is_none_or(|name| name.contains('\u{fffd}')) => {
                return Err(Fault::Broken("the name of a gradient is none"));
            }
            (Message::Asset, 2) => {
                let path = walk.text(PATH_BYTES_MAX)?.unwrap_or_else(|| "/ (longer than any path)".to_owned());
                if let Some(why) = escapes(&path) {
                    scan.find(&ASSET, place, Some(at), format_args!("the model's asset {path}: {why}"));
                }
            }
            (Message::AttributeValue, 2) if self.key == "output_stream" => {
                self.stream = Some(walk.text(PATH_BYTES_MAX)?.unwrap_or_else(|| "file://".to_owned()));
            }
            (Message::MetaInfo, 5)
            | (Message::Node, 2)
            | (Message::Attribute | Message::Signature | Message::FunctionSignature, 1) => {
                // A name too long to be kept is that of no operator.
                let name =
                    walk.text(NAME_BYTES_MAX)?.unwrap_or_else(|| format!("(longer than {NAME_BYTES_MAX} octets)"));
                match within {
                    Message::MetaInfo => scan.facts.set("tensorflow_version", name),
                    Message::Node => self.operator = name,
                    Message::Attribute => self.key = name,
                    Message::FunctionSignature => self.function = name,
                    _ if self.signatures.len() < SIGNATURES_MAX => {
                        self.signatures.insert(name);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An operator, after all of it has been seen.
    fn judge(&mut self, scan: &mut Scan, place: &Place, at: u64) {
        self.nodes += 1;
        let name = std::mem::take(&mut self.operator);
        if let Some(stream) = self.stream.take()
            && stream.contains("://")
        {
            scan.find(&OPERATOR, place, Some(at), format_args!("the operator {name} writes to {stream}"));
        }
        match standing(&name) {
            Operator::Computing => {}
            Operator::Denied => {
                let detail = format_args!("the operator {name} reads or writes files or runs Python");
                scan.find(&OPERATOR, place, Some(at), detail);
            }
            Operator::Unknown if self.unknown.len() < NAMES_MAX => {
                self.unknown.entry(name).or_insert(at);
            }
            Operator::Unknown => scan.find(&UNKNOWN, place, Some(at), "more unknown operators than are kept apart"),
        }
    }

    /// What can only be said after everything has been seen.
    fn conclude(self, scan: &mut Scan, place: &Place) {
        for (name, at) in self.unknown.iter().filter(|(name, _)| !self.functions.contains(*name)) {
            let detail = format_args!("the operator {name} is not one with which TensorFlow computes");
            scan.find(&UNKNOWN, place, Some(*at), detail);
        }
        scan.facts.set("operators", self.nodes);
        scan.facts.set("functions", self.functions.len());
        // TensorFlow's own entry for initialising is no use of the model.
        let signatures = self.signatures.into_iter().filter(|name| name != "__saved_model_init_op");
        scan.facts.set("signatures", signatures.collect::<Vec<_>>());
    }
}

/// Which message a field is, if it is one that is looked into.
fn entered(within: Message, field: u64) -> Option<Message> {
    Some(match (within, field) {
        (Message::SavedModel, 2) => Message::MetaGraph,
        (Message::Metadata, 1) => Message::Layer,
        (Message::MetaGraph, 1) => Message::MetaInfo,
        (Message::MetaGraph, 2) => Message::Graph,
        (Message::MetaGraph, 4) => Message::Collection,
        (Message::Collection, 2) => Message::CollectionList,
        (Message::CollectionList, 5) => Message::AnyList,
        (Message::AnyList, 1) => Message::Any,
        // Of what else stands there, the second field is a name or a number.
        (Message::Any, 2) => Message::Asset,
        (Message::MetaGraph, 5) => Message::Signature,
        (Message::MetaGraph, 6) => Message::Asset,
        (Message::MetaGraph, 7) => Message::ObjectGraph,
        (Message::Graph, 1) | (Message::Function, 3) => Message::Node,
        (Message::Graph, 2) => Message::Library,
        (Message::Library, 1) => Message::Function,
        (Message::Library, 2) => Message::Gradient,
        (Message::Function, 1) => Message::FunctionSignature,
        (Message::Node, 5) => Message::Attribute,
        (Message::Attribute, 2) => Message::AttributeValue,
        (Message::ObjectGraph, 1) => Message::Object,
        (Message::Object, 4) => Message::UserObject,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
