//! Keras configurations: what each trick is called, what Keras's own are, and that no value makes the walk panic.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Value, json};

use crate::inspect::probe::{assert_clean, assert_found, looked_at};
use crate::inspect::{Level, Limits, Ruleset};

/// A model with this as its one layer.
fn model(layer: &Value) -> String {
    json!({"class_name": "Sequential", "module": "keras", "config": {"name": "m", "layers": [layer]}}).to_string()
}

#[test]
fn each_trick_has_its_rule() {
    use Level::{Malicious, Suspicious};
    let cases = [
        ("keras.lambda", Malicious, json!({"class_name": "Lambda", "config": {}})),
        ("keras.lambda", Malicious, json!({"class_name": "Custom>Lambda", "config": {}})),
        ("keras.lambda", Malicious, json!({"class_name": "__lambda__", "config": {}})),
        ("keras.lambda", Malicious, json!({"class_name": "Dense", "registered_name": "keras>Lambda", "config": {}})),
        (
            "keras.lambda",
            Malicious,
            json!({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}}),
        ),
        (
            "keras.lambda",
            Malicious,
            json!({"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__"}}}),
        ),
        ("keras.lambda", Malicious, json!({"a": [[[{"b": {"class_name": "Lambda"}}]]]})),
        ("keras.module", Malicious, json!({"module": "os", "class_name": "function", "config": "system"})),
        ("keras.module", Malicious, json!({"module": "builtins", "class_name": "function", "config": "exec"})),
        ("keras.module", Malicious, json!({"module": "builtins", "class_name": "eval", "config": {}})),
        ("keras.module", Malicious, json!({"module": "subprocess", "class_name": "Popen", "config": {}})),
        ("keras.module", Malicious, json!({"module": "os", "config": {}, "registered_name": "system"})),
        ("keras.module", Malicious, json!({"class_name": "os.system", "config": {}})),
        ("keras.module", Malicious, json!({"class_name": "logging.os.system", "config": {}})),
        ("keras.module", Suspicious, json!({"module": "mine", "class_name": "Layer", "config": {}})),
        ("keras.module", Suspicious, json!({"module": "kerasx.layers", "class_name": "Dense", "config": {}})),
        ("keras.class", Malicious, json!({"module": "keras.utils", "class_name": "function", "config": "get_file"})),
        ("keras.class", Malicious, json!({"module": "keras.models", "class_name": "load_model", "config": {}})),
        (
            "keras.class",
            Malicious,
            json!({"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}),
        ),
        ("keras.class", Malicious, json!({"class_name": "TFOpLambda", "config": {"function": "io.read_file"}})),
        ("keras.class", Malicious, json!({"class_name": "TFOpLambda", "config": {"function": "py_function"}})),
        ("keras.class", Suspicious, json!({"class_name": "TFOpLambda", "config": {"function": "data.Dataset"}})),
        ("keras.class", Suspicious, json!({"class_name": "MyLayer", "config": {}})),
        ("keras.class", Suspicious, json!({"class_name": "JaxLayer", "config": {}})),
        ("keras.class", Suspicious, json!({"class_name": "Dense", "registered_name": "mine>Dense", "config": {}})),
        ("keras.class", Suspicious, json!({"class_name": "mine>Dense", "config": {}})),
        ("keras.class", Suspicious, json!({"module": "keras.activations", "class_name": "function", "config": "mine"})),
        ("keras.path", Suspicious, json!({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}})),
        ("keras.path", Suspicious, json!({"class_name": "TFSMLayer", "config": {"filepath": "/x"}})),
    ];
    for (rule, level, layer) in cases {
        assert_found(model(&layer).as_bytes(), "config.json", rule, level);
    }
}

#[test]
fn what_keras_writes_is_clean() {
    let layers = [
        json!({"module": "keras.layers", "class_name": "Dense", "registered_name": null, "config": {
            "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
            "kernel_initializer": {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {}},
            "activation": {"module": "builtins", "class_name": "function", "config": "relu"}}}),
        json!({"module": "keras.src.ops.numpy", "class_name": "GetItem", "config": {}}),
        json!({"class_name": "__tuple__", "items": [{"class_name": "__slice__", "config": {}}]}),
        json!({"module": "builtins", "class_name": "slice", "config": {"start": 1}}),
        json!({"class_name": "Custom>Adam", "config": {"learning_rate": 0.1}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "math.reduce_mean"}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "concat"}}),
        json!({"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}}),
        json!({"class_name": "InputLayer", "config": {"batch_shape": [null, 4]}}),
    ];
    for layer in layers {
        assert_clean(model(&layer).as_bytes(), "config.json");
    }
    let facts = assert_clean(
        model(&json!({"class_name": "InputLayer", "config": {"batch_shape": [null, 4]}})).as_bytes(),
        "config.json",
    )
    .facts;
    assert_eq!(facts.values["architecture"], "Sequential");
    assert_eq!(facts.values["layers"], 1);
    assert_eq!(facts.values["input_shape"], json!([null, 4]));
}

#[test]
fn a_recorded_call_is_found() {
    let seed = include_bytes!("../../../../fuzz/corpus/inspect_keras/get-file");
    assert_found(seed, "config.json", "keras.class", Level::Malicious);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        select(vec!["Lambda", "function", "os.system", "a>b", ">", ".", "", "builtins", "keras", "keras.", "\u{0}"])
            .prop_map(Value::from),
    ];
    let key = select(vec!["class_name", "module", "config", "registered_name", "vocabulary", "layers", "items", "x"]);
    leaf.prop_recursive(6, 100, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(value in value()) {
        let (rules, limits) = (Ruleset::default(), Limits::default());
        let mut scan = crate::inspect::Scan::new(&rules, &limits, 0);
        let walked = super::scan_config(&mut scan, &value, &crate::inspect::scan::Place::file());
        assert!(walked.is_ok());
        looked_at(value.to_string().as_bytes(), "config.json");
    }
}
