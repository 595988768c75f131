//! ONNX: what each trick is called, what real models are, and that no octets make the reader panic.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::io;

use proptest::prelude::{any, proptest};
use proptest::sample::select;

use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
use crate::inspect::protobuf::written::{field, number};
use crate::inspect::{Format, Level, Limits, ReadAt, Ruleset, Verdict, inspect};

/// By `onnx.helper`: a multiplication with a matrix of ones; an operator that the model itself defines; external data in a
/// constant of a branch, and of a function.
const MATMUL: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_onnx/matmul");
const FUNCTION: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_onnx/function");
const EXTERNAL_SUBGRAPH: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_onnx/external-subgraph");
const EXTERNAL_FUNCTION: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_onnx/external-function");

/// A model with this in its graph and behind it.
fn model(graph: &[u8], behind: &[u8]) -> Vec<u8> {
    [number(1, 8), field(7, [&field(2, "g"), graph].concat()), field(8, number(2, 18)), behind.to_vec()].concat()
}

/// A tensor with its data in another file.
fn external(location: &str) -> Vec<u8> {
    let entry = [field(1, "location"), field(2, location)].concat();
    [number(1, 4), number(2, 1), field(8, "w"), field(13, entry), number(14, 1)].concat()
}

fn node(domain: &str, name: &str, attribute: &[u8]) -> Vec<u8> {
    [field(4, name), field(7, domain), field(5, attribute)].concat()
}

#[test]
fn operators_that_run_python_or_load_files_are_told() {
    for name in ["PythonOp", "EPContext"] {
        let graph = field(1, node("com.microsoft", name, b""));
        assert_found(&model(&graph, b""), "m.onnx", "onnx.domain", Level::Suspicious);
    }
    assert_clean(&model(&field(1, node("com.microsoft", "Attention", b"")), b""), "m.onnx");
}

#[test]
fn paths_that_lead_elsewhere_are_malicious_wherever_the_tensor_is() {
    let paths = [
        "/etc/hosts",
        "C:\\data",
        "C:data",
        "a\\b",
        "..",
        "../x",
        "a/../../x",
        "file:///x",
        "x\0",
        "*/_ORT_MEM_ADDR_/*",
    ];
    for path in paths {
        assert_found(&model(&field(5, external(path)), b""), "m.onnx", "onnx.external", Level::Malicious);
    }
    let tensor = external("../x");
    let graph = field(5, &tensor);
    let sparse = field(1, &tensor);
    for (what, octets) in [
        ("sparse values", model(&field(15, field(1, &tensor)), b"")),
        ("sparse indices", model(&field(15, field(2, &tensor)), b"")),
        ("attribute", model(&field(1, node("", "Constant", &field(5, &tensor))), b"")),
        ("attribute list", model(&field(1, node("", "Constant", &field(10, &tensor))), b"")),
        ("sparse attribute", model(&field(1, node("", "Constant", &field(22, &sparse))), b"")),
        ("sparse attribute list", model(&field(1, node("", "Constant", &field(23, &sparse))), b"")),
        ("branch", model(&field(1, node("", "If", &field(6, &graph))), b"")),
        ("graph list", model(&field(1, node("", "If", &field(11, &graph))), b"")),
        ("function", model(b"", &field(25, field(7, node("", "Constant", &field(5, &tensor)))))),
        ("default of a function", model(b"", &field(25, field(11, field(5, &tensor))))),
        ("training", model(b"", &field(20, field(1, &graph)))),
        ("training step", model(b"", &field(20, field(2, &graph)))),
    ] {
        let inspection = looked_at(&octets, "m.onnx");
        assert_eq!(inspection.verdict(), Verdict::Malicious, "{what}: {inspection:?}");
    }
    assert_found(EXTERNAL_SUBGRAPH, "m.onnx", "onnx.external", Level::Malicious);
    assert_found(EXTERNAL_FUNCTION, "m.onnx", "onnx.external", Level::Malicious);
}

#[test]
fn data_beside_the_model_are_a_note() {
    for path in ["w.bin", "data/w.bin", "..hidden", "v1..2/w", "./w"] {
        let octets = model(&field(5, external(path)), b"");
        assert_clean(&octets, "m.onnx");
        assert_found(&octets, "m.onnx", "onnx.external", Level::Note);
    }
}

#[test]
fn operators_of_others_are_told_and_those_of_the_model_are_not() {
    let with = |domain, name| field(1, node(domain, name, b""));
    for domain in ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "org.pytorch.aten"] {
        assert_clean(&model(&with(domain, "Any"), b""), "m.onnx");
    }
    let function = field(25, [field(1, "Run"), field(10, "own")].concat());
    assert_found(&model(&with("own", "Run"), b""), "m.onnx", "onnx.domain", Level::Suspicious);
    assert_clean(&model(&with("own", "Run"), &function), "m.onnx");
    assert_found(&model(&with("own", "Other"), &function), "m.onnx", "onnx.domain", Level::Suspicious);
    // The last of several texts counts for a reader; an earlier one doesn't hide it.
    let twice = [field(4, "Run"), field(7, ""), field(7, "own")].concat();
    assert_found(&model(&field(1, twice), b""), "m.onnx", "onnx.domain", Level::Suspicious);
    let long = "x".repeat(10_000);
    assert_found(&model(&with(&long, "Run"), b""), "m.onnx", "onnx.domain", Level::Suspicious);
    assert_clean(FUNCTION, "m.onnx");
}

#[test]
fn shapes_that_cannot_be_are_told() {
    let tensor = |dimensions: &[u64], raw: &[u8]| {
        let dimensions: Vec<u8> = dimensions.iter().flat_map(|extent| number(1, *extent)).collect();
        model(&field(5, [dimensions, number(2, 1), field(8, "w"), field(9, raw)].concat()), b"")
    };
    assert_clean(&tensor(&[2, 1], &[0; 8]), "m.onnx");
    assert_found(&tensor(&[2, 2], &[0; 8]), "m.onnx", "onnx.tensor", Level::Suspicious);
    assert_found(&tensor(&[1 << 40, 1 << 40], b""), "m.onnx", "onnx.tensor", Level::Malicious);
    assert_found(&tensor(&[(-1_i64).cast_unsigned()], b""), "m.onnx", "onnx.tensor", Level::Malicious);
    assert_found(&tensor(&[1; 100], &[0; 4]), "m.onnx", "onnx.tensor", Level::Malicious);
    // Packed, of texts, which have no size to multiply with.
    let packed = field(1, crate::inspect::protobuf::written::varint(u64::MAX));
    let packed = model(&field(5, [packed, number(2, 8)].concat()), b"");
    assert_found(&packed, "m.onnx", "onnx.tensor", Level::Malicious);
}

#[test]
fn what_is_no_sound_message_is_told() {
    let deep = (0..100).fold(Vec::new(), |inner, _| field(1, field(5, field(6, inner))));
    for graph in [
        deep,
        // A group; a field that has no number; a number of eleven octets; a message that is longer than what is around it.
        field(1, [0x0b, 0x0c]),
        field(1, [0, 0]),
        field(1, [&[0x08][..], &[0xff; 11]].concat()),
        field(1, [0x2a, 0x7f, 0]),
    ] {
        assert_found(&model(&graph, b""), "m.onnx", "onnx.broken", Level::Unscannable);
    }
    for end in 1..MATMUL.len() {
        let inspection = looked_at(&MATMUL[..end], "m.onnx");
        let is_cut = inspection.format != Format::Onnx || inspection.verdict() != Verdict::Clean;
        // What is cut between two fields of the model is a model too.
        assert!(is_cut || end > 110, "{end}: {inspection:?}");
    }
}

#[test]
fn a_model_is_described() {
    let facts = assert_clean(MATMUL, "m.onnx").facts;
    assert_eq!((facts.tensors, facts.parameters, facts.dtypes["F32"]), (1, 12, 12));
    assert_eq!(facts.largest, Some(("w".to_owned(), vec![4, 3])));
    assert_eq!(facts.values["license"], "MIT");
    assert_eq!(facts.values["producer"], "maker");
    assert_eq!(facts.values["opsets"], serde_json::json!({"ai.onnx": 18}));
    assert_eq!(facts.values["inputs"], serde_json::json!([{"name": "x", "dtype": "F32", "shape": ["b", 4]}]));
    assert_eq!(facts.values["outputs"], serde_json::json!([{"name": "y", "dtype": "F32", "shape": ["b", 3]}]));
}

/// A model with one tensor of a size that no memory has: its head, then zeros.
struct Large {
    head: Vec<u8>,
    len: u64,
    read: Cell<u64>,
}

impl ReadAt for Large {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        buf[..count].fill(0);
        self.head.as_slice().read_at(offset, &mut buf[..count])?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

#[test]
fn tensor_data_are_stepped_over() {
    use crate::inspect::protobuf::written::varint;
    let elements = 1_u64 << 40;
    let shape = [number(1, elements), number(2, 2), field(8, "w"), varint(9 << 3 | 2), varint(elements)].concat();
    let tensor_len = shape.len() as u64 + elements;
    let tensor = [varint(5 << 3 | 2), varint(tensor_len), shape].concat();
    let graph_len = tensor.len() as u64 + elements;
    let head = [number(1, 8), varint(7 << 3 | 2), varint(graph_len), tensor].concat();
    let large = Large { len: head.len() as u64 + elements, head, read: Cell::new(0) };
    let inspection = inspect(&large, "m.onnx", &Ruleset::default(), &Limits::default()).unwrap();
    assert_eq!((inspection.format, inspection.verdict()), (Format::Onnx, Verdict::Clean), "{inspection:?}");
    assert_eq!(inspection.facts.parameters, elements);
    assert!(large.read.get() < 10 << 20, "{} octets read", large.read.get());
}

proptest! {
    #[test]
    fn no_mutation_of_a_model_makes_it_panic(
        sample in select(vec![MATMUL, FUNCTION, EXTERNAL_SUBGRAPH, EXTERNAL_FUNCTION]),
        mutation in mutations(),
    ) {
        looked_at(&mutated(sample, &mutation), "m.onnx");
    }

    #[test]
    fn nor_does_any_graph(graph in proptest::collection::vec(any::<u8>(), 0..300)) {
        looked_at(&model(&field(1, graph), b""), "m.onnx");
    }
}
