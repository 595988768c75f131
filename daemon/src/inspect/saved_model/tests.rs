//! SavedModel: what each trick is called, what real models are, and that no octets make the reader panic.

use proptest::prelude::proptest;
use proptest::sample::select;

use super::{Operator, standing};
use crate::inspect::Level;
use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
use crate::inspect::protobuf::written::{field, number};

/// By the classes of `tensorflow.core`: a graph that computes, and one that reads a file in a function of its library.
const COMPUTING: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_saved_model/computing");
const READ_FILE: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_saved_model/library-readfile");

/// A model with this in its one graph and behind it.
fn model(graph: &[u8], behind: &[u8]) -> Vec<u8> {
    let meta = [&field(1, field(5, "2.21.0")), &field(2, graph), behind].concat();
    [number(1, 1), field(2, meta)].concat()
}

fn node(operator: &str) -> Vec<u8> {
    [field(1, "n"), field(2, operator)].concat()
}

/// The function library with a function of this name and one operator.
fn library(name: &str, operator: &str) -> Vec<u8> {
    field(2, field(1, [field(1, field(1, name)), field(3, node(operator))].concat()))
}

#[test]
fn operators_that_reach_files_or_python_are_malicious_in_graph_and_library() {
    for operator in [
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "WholeFileReaderV2",
        "TextLineReader",
        "TFRecordReaderV2",
        "FixedLengthRecordReaderV2",
        "TFRecordDataset",
        "ExperimentalLMDBDataset",
        "SnapshotDatasetV2",
        "ImmutableConst",
        "RecordInput",
    ] {
        assert_found(
            &model(&field(1, node(operator)), b""),
            "saved_model.pb",
            "saved_model.operator",
            Level::Malicious,
        );
        let in_library = model(&library("f", operator), b"");
        assert_found(&in_library, "saved_model.pb", "saved_model.operator", Level::Malicious);
    }
    assert_found(READ_FILE, "saved_model.pb", "saved_model.operator", Level::Malicious);
    // Printing computes, unless it prints into a file.
    let stream = |to: &str| {
        let attribute = [field(1, "output_stream"), field(2, field(2, to))].concat();
        model(&field(1, [node("PrintV2"), field(5, attribute)].concat()), b"")
    };
    assert_clean(&stream("stderr"), "saved_model.pb");
    assert_found(&stream("file:///nonexistent"), "saved_model.pb", "saved_model.operator", Level::Malicious);
}

#[test]
fn what_is_not_known_is_suspicious_unless_the_library_defines_it() {
    for operator in ["DebugIdentityV2", "MyCustomOp", "RpcServer", "XlaCallModule", ""] {
        assert_found(
            &model(&field(1, node(operator)), b""),
            "saved_model.pb",
            "saved_model.unknown",
            Level::Suspicious,
        );
    }
    let called = |function| model(&[field(1, node("my_function")), library(function, "MatMul")].concat(), b"");
    assert_clean(&called("my_function"), "saved_model.pb");
    assert_found(&called("another"), "saved_model.pb", "saved_model.unknown", Level::Suspicious);
}

#[test]
fn checkpoints_and_computing_are_clean() {
    let known =
        ["RestoreV2", "SaveV2", "MergeV2Checkpoints", "ShardedFilename", "StatefulPartitionedCall", "MatMul", "Conv2D"];
    let graph: Vec<u8> = known.iter().flat_map(|operator| field(1, node(operator))).collect();
    let signature = field(5, field(1, "serving_default"));
    let facts = assert_clean(&model(&graph, &signature), "saved_model.pb").facts;
    assert_eq!(facts.values["tensorflow_version"], "2.21.0");
    assert_eq!(facts.values["signatures"], serde_json::json!(["serving_default"]));
    assert_clean(COMPUTING, "saved_model.pb");
}

#[test]
fn assets_and_layers_are_judged() {
    let asset = |path: &str| model(&field(1, node("MatMul")), &field(6, field(2, path)));
    assert_clean(&asset("vocabulary.txt"), "saved_model.pb");
    assert_found(&asset("../../x"), "saved_model.pb", "saved_model.asset", Level::Malicious);
    let any = [field(1, "type.googleapis.com/tensorflow.AssetFileDef"), field(2, field(2, "../x"))].concat();
    let collection = [field(1, "saved_model_assets"), field(2, field(5, field(1, any)))].concat();
    let octets = model(&field(1, node("MatMul")), &field(4, collection));
    assert_found(&octets, "saved_model.pb", "saved_model.asset", Level::Malicious);
    let layer = r#"{"class_name": "Lambda", "config": {"function": ["4wEAAAA=", null, null]}}"#;
    let objects = field(7, field(1, field(4, field(3, layer))));
    let octets = model(&field(1, node("MatMul")), &objects);
    assert_found(&octets, "saved_model.pb", "keras.lambda", Level::Malicious);
}

#[test]
fn what_is_no_sound_message_is_told() {
    let octets = model(&field(1, [0x12, 0x7f]), b"");
    assert_found(&octets, "saved_model.pb", "saved_model.broken", Level::Unscannable);
    let deep = (0..500).fold(Vec::new(), |inner, _| field(2, inner));
    assert_found(&model(&field(2, &deep), b""), "saved_model.pb", "saved_model.broken", Level::Unscannable);
    for end in 1..READ_FILE.len() {
        let inspection = looked_at(&READ_FILE[..end], "saved_model.pb");
        assert_ne!(inspection.verdict(), crate::inspect::Verdict::Clean, "{end}");
    }
}

#[test]
fn the_lists_are_apart() {
    for denied in super::DENIED {
        assert_eq!(standing(denied), Operator::Denied);
        assert!(!super::COMPUTING.contains(denied), "{denied}");
    }
    assert_eq!(standing("V2"), Operator::Unknown);
    assert_eq!(standing("SplitV"), Operator::Computing);
}

/// By `tf.saved_model.save`: the index of a checkpoint with one variable, and a fingerprint.
const INDEX: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_saved_model/index");
const FINGERPRINT: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_saved_model/fingerprint");

#[test]
fn what_stands_beside_a_model_is_known() {
    let facts = assert_clean(INDEX, "variables/variables.index").facts;
    assert_eq!((facts.tensors, facts.parameters, facts.dtypes["F32"]), (1, 16, 16));
    assert_clean(FINGERPRINT, "fingerprint.pb");
    let numbers = [0_u8, 0, 0x80, 0x3f].repeat(16);
    assert_clean(&numbers, "variables/variables.data-00000-of-00001");
    for (octets, name) in [
        (&numbers[..], "variables.data"),
        (&numbers[..], "variables.data-00001-of-00001"),
        (&numbers[..], "variables.index"),
        (&numbers[..], "fingerprint.pb"),
        (&INDEX[1..], "variables.index"),
    ] {
        assert_found(octets, name, "unknown.format", Level::Unscannable);
    }
    let layer = r#"{"class_name": "Lambda", "config": {"function": ["4wEAAAA=", null, null]}}"#;
    let metadata = field(1, [field(3, "root"), field(5, layer)].concat());
    assert_found(&metadata, "keras_metadata.pb", "keras.lambda", Level::Malicious);
    assert_found(b"saved_model_schema_version: 1\n", "saved_model.pbtxt", "content.unread", Level::Unscannable);
}

proptest! {
    #[test]
    fn no_mutation_of_an_index_makes_it_panic(mutation in mutations()) {
        looked_at(&mutated(INDEX, &mutation), "variables.index");
    }

    #[test]
    fn no_mutation_of_a_model_makes_it_panic(sample in select(vec![COMPUTING, READ_FILE]), mutation in mutations()) {
        looked_at(&mutated(sample, &mutation), "saved_model.pb");
    }
}
