//! ONNX: graphs of operators as protobuf messages. Nothing in them is code, but two things reach outside: tensors whose data
//! are in another file, and operators that are not ONNX's own, for which a runtime loads a library. Both can stand in every
//! graph, and graphs are nested in attributes, functions and training steps; all are walked. Tensor data are stepped over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::cursor::Stop;
use super::facts::{Facts, cut};
use super::protobuf::{Event, Fault, Walk, escapes};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt};

/// Data in other files.
const EXTERNAL: Rule = Rule {
    id: "onnx.external",
    level: Level::Malicious,
    meaning: "A tensor's data are to be read from another file. That is a note where the file belongs to the model; a path \
              that leads out of the model's folder reads files of the machine that loads it.",
};
/// Operators of others.
const DOMAIN: Rule = Rule {
    id: "onnx.domain",
    level: Level::Suspicious,
    meaning: "The model uses operators that neither ONNX nor the model itself defines; a runtime needs a library with \
              native code for them.",
};
/// Shapes that can't be.
const TENSOR: Rule = Rule {
    id: "onnx.tensor",
    level: Level::Malicious,
    meaning: "A tensor's shape is negative or larger than any memory, or does not fit its data, which no exporter writes \
              and which aims at readers that don't check.",
};

/// No sound message.
const BROKEN: Rule = Rule {
    id: "onnx.broken",
    level: Level::Unscannable,
    meaning: "The file is cut short or damaged, so what a lenient reader would find in it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[EXTERNAL, DOMAIN, TENSOR, BROKEN];

/// Operators that ONNX and its common runtimes bring along.
const DOMAINS: &[&str] = &[
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "com.microsoft",
    "com.microsoft.nchwc",
    "org.pytorch.aten",
];

/// Operators in these domains that run Python or hand a file's content to a driver.
const RUNNING: &[&str] = &["PythonOp", "PythonOpGrad", "EPContext"];

/// The lists that verdicts hang on, as text.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    DOMAINS.iter().chain(RUNNING).copied()
}

/// Octets of a name that is kept.
const NAME_BYTES_MAX: u64 = 512;
/// Octets of a path; no system takes longer ones.
const PATH_BYTES_MAX: u64 = 4096;
/// Names kept of operators outside the list, of functions, and of initialisers.
const NAMES_MAX: usize = 16_384;
/// Inputs and outputs, operator sets and metadata that become facts.
const FACTS_MAX: usize = 16;
/// Inputs kept, of which those that are initialisers are left out in the end.
const INPUTS_MAX: usize = 1024;
/// Dimensions of an input or output that are kept, and octets of the name of one.
const SHOWN_DIMENSIONS_MAX: usize = 16;
const SHOWN_NAME_BYTES_MAX: usize = 64;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: usize = 64;
/// Octets of a value of the metadata that become a fact.
const METADATA_BYTES_MAX: usize = 160;
/// How ONNX Runtime marks data that stand in its own memory, at an address the file says.
const MEMORY_ADDRESS: &str = "_ORT_MEM_ADDR_";

/// The messages that are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    /// The model's own graph, whose inputs and outputs are the model's.
    MainGraph,
    Graph,
    Node,
    Attribute,
    /// A tensor that counts as one of the model's.
    Initializer,
    Tensor,
    SparseInitializer,
    Sparse,
    Function,
    Training,
    OperatorSet,
    /// Key and value that say where a tensor's data are.
    External,
    /// Key and value of the model's metadata.
    Metadata,
    Input,
    Output,
    Type,
    TensorType,
    Shape,
    Dimension,
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk::over(source, Message::Model);
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

/// What of a walk is remembered: of messages that can't be within themselves, one at a time.
#[derive(Default)]
struct Reader {
    has_graph: bool,
    tensor: Tensor,
    key: String,
    value: Option<String>,
    /// Domain and name of the operators around, the innermost last.
    nodes: Vec<(String, String)>,
    /// Operators in use outside the list, with the place of the first.
    used: BTreeMap<(String, String), u64>,
    function: (String, String),
    functions: BTreeSet<(String, String)>,
    initializers: BTreeSet<String>,
    set: (String, u64),
    sets: Map<String, Value>,
    metadata: Map<String, Value>,
    signature: Signature,
    inputs: Vec<Signature>,
    outputs: Vec<Signature>,
    /// How many tensors have their data in other files, and the first such file.
    external: (u64, String),
}

#[derive(Default)]
struct Tensor {
    name: String,
    dtype: u64,
    dimensions: Vec<u64>,
    is_external: bool,
    raw: Option<u64>,
}

/// An input or output.
#[derive(Default, Clone)]
struct Signature {
    name: String,
    dtype: u64,
    shape: Vec<Value>,
}

impl Reader {
    fn read(&mut self, scan: &mut Scan, walk: &mut Walk<'_, Message>, place: &Place) -> Result<(), Fault> {
        while let Some(event) = walk.next(scan, place)? {
            match event {
                Event::Number { within, field, value } => self.number(scan, place, walk, within, field, value),
                Event::Octets { within, field, len } => {
                    if let Some(kind) = entered(within, field) {
                        self.begin(kind);
                        walk.enter(kind)?;
                    } else {
                        self.octets(scan, place, walk, within, field, len)?;
                    }
                }
                Event::Leave(kind) => self.end(scan, place, walk.position(), kind),
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: Message) {
        match kind {
            Message::MainGraph => self.has_graph = true,
            Message::Tensor | Message::Initializer => self.tensor = Tensor::default(),
            Message::External | Message::Metadata => (self.key, self.value) = (String::new(), None),
            Message::Node => self.nodes.push(Default::default()),
            Message::Function => self.function = Default::default(),
            Message::OperatorSet => self.set = Default::default(),
            Message::Input | Message::Output => self.signature = Signature::default(),
            Message::Dimension if self.signature.shape.len() < SHOWN_DIMENSIONS_MAX => {
                self.signature.shape.push(Value::Null)
            }
            _ => {}
        }
    }

    fn number(
        &mut self,
        scan: &mut Scan,
        place: &Place,
        walk: &Walk<'_, Message>,
        within: Message,
        field: u64,
        value: u64,
    ) {
        match (within, field) {
            (Message::Model, 1) => scan.facts.set("ir_version", value),
            (Message::Tensor | Message::Initializer, 1) => self.dimension(scan, place, walk.position(), value),
            (Message::Tensor | Message::Initializer, 2) => self.tensor.dtype = value,
            // data_location: 1 is external.
            (Message::Tensor | Message::Initializer, 14) => self.tensor.is_external |= value == 1,
            (Message::OperatorSet, 2) => self.set.1 = value,
            (Message::TensorType, 1) => self.signature.dtype = value,
            (Message::Dimension, 1) => {
                if let Some(last) = self.signature.shape.last_mut() {
                    *last = value.cast_signed().into();
                }
            }
            _ => {}
        }
    }

    fn dimension(&mut self, scan: &mut Scan, place: &Place, at: u64, value: u64) {
        if value > i64::MAX.cast_unsigned() {
            scan.find(&TENSOR, place, Some(at), format_args!("a tensor has the dimension {}", value.cast_signed()));
        }
        if self.tensor.dimensions.len() < DIMENSIONS_MAX {
            self.tensor.dimensions.push(value);
        } else {
            scan.find(&TENSOR, place, Some(at), format_args!("a tensor has more than {DIMENSIONS_MAX} dimensions"));
        }
    }

    /// Texts and packed numbers; what is not asked for is stepped over.
    fn octets(
        &mut self,
        scan: &mut Scan,
        place: &Place,
        walk: &mut Walk<'_, Message>,
        within: Message,
        field: u64,
        len: u64,
    ) -> Result<(), Fault> {
        let fact = match (within, field) {
            (Message::Model, 2) => "producer",
            (Message::Model, 3) => "producer_version",
            (Message::Tensor | Message::Initializer, 1) => {
                let mut count = 0;
                // One more than there may be, so that it is told.
                while count <= DIMENSIONS_MAX
                    && let Some(value) = walk.packed()?
                {
                    self.dimension(scan, place, walk.position(), value);
                    count += 1;
                }
                return Ok(());
            }
            (Message::Tensor | Message::Initializer, 9) => {
                self.tensor.raw = Some(len);
                return Ok(());
            }
            (Message::External | Message::Metadata, 2) => {
                self.value = Some(walk.text(PATH_BYTES_MAX)?.unwrap_or_else(|| "\0too long".to_owned()));
                return Ok(());
            }
            (Message::Tensor | Message::Initializer, 8)
            | (Message::External | Message::Metadata | Message::OperatorSet | Message::Function, 1)
            | (Message::Input | Message::Output, 1)
            | (Message::Node, 4 | 7)
            | (Message::Function, 10)
            | (Message::Dimension, 2) => "",
            _ => return Ok(()),
        };
        // A name too long to be kept equals no other.
        let text = walk.text(NAME_BYTES_MAX)?.unwrap_or_else(|| format!("\0{}", walk.position()));
        match (within, field) {
            (Message::Model, _) => scan.facts.set(fact, text),
            (Message::Tensor | Message::Initializer, _) => self.tensor.name = text,
            (Message::External | Message::Metadata, _) => self.key = text,
            (Message::OperatorSet, _) => self.set.0 = text,
            (Message::Function, 1) => self.function.1 = text,
            (Message::Function, _) => self.function.0 = text,
            (Message::Input | Message::Output, _) => self.signature.name = text,
            (Message::Dimension, _) => {
                if let Some(last) = self.signature.shape.last_mut() {
                    *last = cut(&text, SHOWN_NAME_BYTES_MAX).into();
                }
            }
            (Message::Node, _) => {
                if let Some((domain, name)) = self.nodes.last_mut() {
                    *(if field == 7 { domain } else { name }) = text;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A message ends: what it says is complete.
    fn end(&mut self, scan: &mut Scan, place: &Place, at: u64, kind: Message) {
        match kind {
            Message::External => self.judge_external(scan, place, at),
            Message::Tensor | Message::Initializer => self.judge_tensor(scan, place, at, kind == Message::Initializer),
            Message::Node => {
                if let Some(operator) = self.nodes.pop()
                    && (!DOMAINS.contains(&operator.0.as_str())
                        || operator.0 == "com.microsoft" && RUNNING.contains(&operator.1.as_str()))
                {
                    if self.used.len() < NAMES_MAX {
                        self.used.entry(operator).or_insert(at);
                    } else {
                        scan.find(&DOMAIN, place, Some(at), "more operators outside ONNX than are kept apart");
                    }
                }
            }
            Message::Function if self.functions.len() < NAMES_MAX => {
                self.functions.insert(std::mem::take(&mut self.function));
            }
            Message::OperatorSet if self.sets.len() < FACTS_MAX => {
                let (domain, version) = std::mem::take(&mut self.set);
                self.sets.insert(if domain.is_empty() { "ai.onnx".to_owned() } else { domain }, version.into());
            }
            Message::Metadata => {
                let value = self.value.take().unwrap_or_default();
                if self.key.eq_ignore_ascii_case("license") {
                    scan.facts.set("license", value.as_str());
                }
                if self.metadata.len() < FACTS_MAX {
                    let key = cut(&self.key, SHOWN_NAME_BYTES_MAX).to_owned();
                    self.metadata.insert(key, cut(&value, METADATA_BYTES_MAX).into());
                }
            }
            Message::Input if self.inputs.len() < INPUTS_MAX => self.inputs.push(std::mem::take(&mut self.signature)),
            Message::Output if self.outputs.len() < FACTS_MAX => self.outputs.push(std::mem::take(&mut self.signature)),
            _ => {}
        }
    }

    fn judge_external(&mut self, scan: &mut Scan, place: &Place, at: u64) {
        self.tensor.is_external = true;
        let value = self.value.take().unwrap_or_default();
        if self.key != "location" {
            return;
        }
        let why = if value.contains(MEMORY_ADDRESS) {
            Some("it is an address in the memory of the process that loads it")
        } else {
            escapes(&value)
        };
        if let Some(why) = why {
            let detail = format_args!("a tensor's data are to be read from {value}: {why}");
            scan.find(&EXTERNAL, place, Some(at), detail);
        } else {
            self.external.0 += 1;
            if self.external.1.is_empty() {
                self.external.1 = value;
            }
        }
    }

    fn judge_tensor(&mut self, scan: &mut Scan, place: &Place, at: u64, is_initializer: bool) {
        let tensor = std::mem::take(&mut self.tensor);
        let (dtype, bits) = dtype(tensor.dtype);
        let elements = tensor.dimensions.iter().try_fold(1_u64, |product, extent| product.checked_mul(*extent));
        let octets = elements.and_then(|elements| elements.checked_mul(bits)).map(|bits| bits.div_ceil(8));
        match (octets, tensor.raw) {
            (None, _) => {
                scan.find(&TENSOR, place, Some(at), format_args!("the shape of {} is beyond all memory", tensor.name));
            }
            (Some(octets), Some(raw)) if bits > 0 && octets != raw && !tensor.is_external => {
                let detail = format_args!("{} has {raw} octets where its shape says {octets}", tensor.name);
                scan.find_as(Level::Suspicious, &TENSOR, place, Some(at), detail);
            }
            _ => {}
        }
        if is_initializer {
            scan.facts.add_tensor(&tensor.name, dtype, &tensor.dimensions);
            if self.initializers.len() < NAMES_MAX {
                self.initializers.insert(tensor.name);
            }
        }
    }

    /// What can only be said after everything has been seen.
    fn conclude(mut self, scan: &mut Scan, place: &Place) {
        let mut domains = BTreeSet::new();
        for ((domain, name), at) in &self.used {
            let operator = (domain.clone(), name.clone());
            if !self.functions.contains(&operator) && domains.insert(domain) {
                scan.find(
                    &DOMAIN,
                    place,
                    Some(*at),
                    format_args!("the operator {name} of the domain {domain} is not ONNX's"),
                );
            }
        }
        if self.external.0 > 0 {
            let (count, file) = &self.external;
            let detail = format_args!("{count} tensors have their data in other files, such as {file}");
            scan.find_as(Level::Note, &EXTERNAL, place, None, detail);
        }
        // Before IR version 4 every initialiser was an input too.
        self.inputs.retain(|input| !self.initializers.contains(&input.name));
        let facts: &mut Facts = &mut scan.facts;
        facts.set("inputs", signatures(&self.inputs));
        facts.set("outputs", signatures(&self.outputs));
        if !self.sets.is_empty() {
            facts.set("opsets", self.sets);
        }
        if !self.metadata.is_empty() {
            facts.set("metadata", self.metadata);
        }
    }
}

/// Which message a field is, if it is one that is looked into.
fn entered(within: Message, field: u64) -> Option<Message> {
    Some(match (within, field) {
        (Message::Model, 7) => Message::MainGraph,
        (Message::Model, 8) => Message::OperatorSet,
        (Message::Model, 14) => Message::Metadata,
        (Message::Model, 20) => Message::Training,
        (Message::Model, 25) => Message::Function,
        (Message::Training, 1 | 2) | (Message::Attribute, 6 | 11) => Message::Graph,
        (Message::MainGraph | Message::Graph, 1) | (Message::Function, 7) => Message::Node,
        (Message::MainGraph | Message::Graph, 5) => Message::Initializer,
        (Message::MainGraph | Message::Graph, 15) => Message::SparseInitializer,
        (Message::MainGraph, 11) => Message::Input,
        (Message::MainGraph, 12) => Message::Output,
        (Message::Node, 5) | (Message::Function, 11) => Message::Attribute,
        (Message::Attribute, 5 | 10) | (Message::Sparse, 1 | 2) | (Message::SparseInitializer, 2) => Message::Tensor,
        (Message::Attribute, 22 | 23) => Message::Sparse,
        (Message::SparseInitializer, 1) => Message::Initializer,
        (Message::Initializer | Message::Tensor, 13) => Message::External,
        (Message::Input | Message::Output, 2) => Message::Type,
        (Message::Type, 1 | 8) => Message::TensorType,
        (Message::TensorType, 2) => Message::Shape,
        (Message::Shape, 1) => Message::Dimension,
        _ => return None,
    })
}

/// Name and bits of an element type; 0 bits for what has no fixed size or is not known.
fn dtype(number: u64) -> (&'static str, u64) {
    match number {
        1 => ("F32", 32),
        2 => ("U8", 8),
        3 => ("I8", 8),
        4 => ("U16", 16),
        5 => ("I16", 16),
        6 => ("I32", 32),
        7 => ("I64", 64),
        8 => ("STRING", 0),
        9 => ("BOOL", 8),
        10 => ("F16", 16),
        11 => ("F64", 64),
        12 => ("U32", 32),
        13 => ("U64", 64),
        14 => ("C64", 64),
        15 => ("C128", 128),
        16 => ("BF16", 16),
        17 => ("F8_E4M3", 8),
        18 => ("F8_E4M3FNUZ", 8),
        19 => ("F8_E5M2", 8),
        20 => ("F8_E5M2FNUZ", 8),
        21 => ("U4", 4),
        22 => ("I4", 4),
        23 => ("F4", 4),
        24 => ("F8_E8M0", 8),
        25 => ("U2", 2),
        26 => ("I2", 2),
        _ => ("other", 0),
    }
}

fn signatures(signatures: &[Signature]) -> Vec<Value> {
    let one = |signature: &Signature| json!({"name": signature.name, "dtype": dtype(signature.dtype).0, "shape": signature.shape});
    signatures.iter().take(FACTS_MAX).map(one).collect()
}

#[cfg(test)]
mod tests;
