//! Keras configurations: what `config.json` of a `.keras` archive, the attributes of a Keras HDF5 file and JSON or YAML
//! architectures say. Loading one builds the objects it names, with the arguments it gives: a class or function that is not
//! Keras's own runs somebody's code. Knows the shape of such objects and Keras's own names; knows no files.

use serde_json::{Map, Value};

use super::pickle::globals::{Standing, standing_dotted};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, cursor::Stop};

mod names;

/// Code in the configuration.
const LAMBDA: Rule = Rule {
    id: "keras.lambda",
    level: Level::Malicious,
    meaning: "The model holds a Lambda layer or a pickled module: Python code inside the file, run when the model is loaded \
              or used.",
};
/// A module that is not Keras's.
const MODULE: Rule = Rule {
    id: "keras.module",
    level: Level::Suspicious,
    meaning: "The configuration names a module outside Keras, which is imported to load the model; malicious if what is \
              named runs commands, reads files or reaches the network, a note if an administrator allows it.",
};
/// A class or function that is not known.
const CLASS: Rule = Rule {
    id: "keras.class",
    level: Level::Suspicious,
    meaning: "The configuration names a class or function that is not one of Keras's own layers and the like, so what it \
              does is unknown; malicious if it loads or fetches files.",
};
/// A file is named.
const PATH: Rule = Rule {
    id: "keras.path",
    level: Level::Suspicious,
    meaning: "The configuration names a file or an address, which is read from the loading machine or fetched when the \
              model is loaded.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[LAMBDA, MODULE, CLASS, PATH];

/// Packages of Keras and its own libraries. What they define is judged by its name.
const PACKAGES: &[&str] = &[
    "keras",
    "tf_keras",
    "tensorflow.keras",
    "tensorflow.python.keras",
    "tensorflow.compat.v1.keras",
    "tensorflow.compat.v2.keras",
    "keras_core",
    "keras_hub",
    "keras_nlp",
    "keras_cv",
];

/// Functions of Keras that read, write or fetch files, or switch off its own safeguards.
const DENIED: &[&str] = &[
    "get_file",
    "load_model",
    "save_model",
    "load_weights",
    "save_weights",
    "load_img",
    "save_img",
    "load_data",
    "model_from_json",
    "model_from_yaml",
    "model_from_config",
    "deserialize_keras_object",
    "enable_unsafe_deserialization",
    "func_load",
    "image_dataset_from_directory",
    "text_dataset_from_directory",
    "audio_dataset_from_directory",
];

/// Classes that run code or load files by what their configuration says.
const RUNNING: &[&str] = &["Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer"];

/// What Keras writes as `class_name` of values that are no objects of its own.
const VALUES: &[&str] = &[
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tf_tensor__",
    "__tuple__",
    "__typespec__",
    "CLASS_DTYPE",
    "DType",
    "TensorShape",
    "TypeSpec",
    "slice",
    "tuple",
];

/// Beginnings of the TensorFlow functions that a layer made of one (`TFOpLambda`) may call: they compute.
const TENSOR_FUNCTIONS: &[&str] =
    &["__operators__.", "math.", "nn.", "linalg.", "image.", "signal.", "strings.", "keras.backend."];

/// Beginnings of those that read files or run code.
const FILE_FUNCTIONS: &[&str] =
    &["io.", "raw_ops.", "py_func", "py_function", "numpy_function", "saved_model.", "load_library", "load_op_library"];

/// The lists that verdicts hang on, as text.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    names::tables()
        .into_iter()
        .chain([PACKAGES, DENIED, VALUES, TENSOR_FUNCTIONS, FILE_FUNCTIONS].into_iter().flatten().copied())
}

/// Walks a configuration, with everything nested in it. `place` is where it stands.
pub(super) fn scan_config(scan: &mut Scan, config: &Value, place: &Place) -> Result<(), Stop> {
    facts(scan, config);
    let mut pending = vec![config];
    while let Some(value) = pending.pop() {
        scan.tick(place)?;
        match value {
            Value::Object(object) => {
                judge(scan, object, place);
                pending.extend(object.values());
            }
            Value::Array(values) => pending.extend(values),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// One object, without what is nested in it.
fn judge(scan: &mut Scan, object: &Map<String, Value>, place: &Place) {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let class = text("class_name").or_else(|| text("__class_name__"));
    if let Some(class) = class {
        judge_class(scan, object, class, place);
    } else if object.contains_key("config")
        && let Some(module) = text("module")
        && !is_of_keras(module)
    {
        judge_global(scan, module, text("registered_name").unwrap_or_default(), place);
    }
    if object.contains_key("__lambda__") {
        scan.find(&LAMBDA, place, None, "the configuration holds a serialized Python function");
    }
    if let Some(path) = text("vocabulary").filter(|path| !path.is_empty()) {
        scan.find(&PATH, place, None, format_args!("a vocabulary is read from the file {path}"));
    }
}

/// An object that names a class.
fn judge_class(scan: &mut Scan, object: &Map<String, Value>, class: &str, place: &Place) {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let config = object.get("config");
    // Keras writes the package a class was registered in before its name; `Custom>Adam` is one of its own.
    let (package, class) = class.rsplit_once('>').map_or((None, class), |(package, class)| (Some(package), class));
    // The name it is registered by is looked up before the class.
    let registered = text("registered_name").map(|name| name.rsplit('>').next().unwrap_or(name));
    match registered.filter(|name| RUNNING.contains(name)).unwrap_or(class) {
        "Lambda" | "__lambda__" => {
            return scan.find(
                &LAMBDA,
                place,
                None,
                "a Lambda layer holds a Python function that loading or using it runs",
            );
        }
        "TorchModuleWrapper" => {
            return scan.find(&LAMBDA, place, None, "a TorchModuleWrapper layer holds a pickled torch module");
        }
        "TFSMLayer" => {
            let path = config.and_then(|config| config.get("filepath")).and_then(Value::as_str).unwrap_or_default();
            return scan.find(&PATH, place, None, format_args!("a TFSMLayer loads a SavedModel from the path {path}"));
        }
        "TFOpLambda" | "SlicingOpLambda" => {
            let function = config.and_then(|config| config.get("function")).and_then(Value::as_str).unwrap_or_default();
            return judge_tensor_function(scan, function, place);
        }
        _ => {}
    }
    let module = text("module");
    // A function is an object of this class whose configuration is the function's name.
    let is_function = matches!(class, "function" | "builtin_function_or_method");
    let name = if is_function {
        match config {
            Some(Value::String(name)) => name.as_str(),
            Some(config) => config.get("name").and_then(Value::as_str).unwrap_or_default(),
            None => "",
        }
    } else {
        class
    };
    let outside = module.filter(|module| !is_of_keras(module));
    match outside {
        // Where Keras puts values and functions that belong to no module of its own.
        Some("builtins") if is_value(name) || names::is_function(name) => {}
        Some(module) => judge_global(scan, module, name, place),
        None => {
            let own = is_value(name)
                || if is_function {
                    names::is_function(name)
                } else {
                    names::is_class(name) || names::is_operation(name)
                };
            let registered = text("registered_name").and_then(|name| name.rsplit_once('>')).map(|(package, _)| package);
            let package = package.or(registered).filter(|package| *package != "Custom" && !is_of_keras(package));
            if is_denied(name) {
                let detail = format_args!("the configuration names {name}, which loads, writes or fetches files");
                scan.find_as(Level::Malicious, &CLASS, place, None, detail);
            } else if let Some((module, name)) = name.rsplit_once('.') {
                judge_global(scan, module, name, place);
            } else if let Some(package) = package {
                scan.find(&CLASS, place, None, format_args!("{name} of the package {package} is not Keras's own"));
            } else if !own {
                scan.find(&CLASS, place, None, format_args!("{name} is not a name that Keras defines for models"));
            }
        }
    }
}

/// Something in a module outside Keras.
fn judge_global(scan: &mut Scan, module: &str, name: &str, place: &Place) {
    let dotted = format!("{module}.{name}");
    let is_allowed = scan.rules.allowed.globals.contains(&(module.to_owned(), name.to_owned()));
    let level = if is_denied(name) || standing_dotted(scan.rules, &dotted) == Standing::Denied {
        Level::Malicious
    } else if is_allowed {
        Level::Note
    } else {
        Level::Suspicious
    };
    scan.find_as(level, &MODULE, place, None, format_args!("the configuration names {dotted}, outside Keras"));
}

/// A TensorFlow function that a layer calls.
fn judge_tensor_function(scan: &mut Scan, function: &str, place: &Place) {
    // Plain functions such as `concat` and `reshape` stand at the top, as `py_function` does.
    let computes = TENSOR_FUNCTIONS.iter().any(|beginning| function.starts_with(beginning))
        || !matches!(function, "" | "print")
            && function.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_');
    let last = function.rsplit('.').next().unwrap_or_default();
    if FILE_FUNCTIONS.iter().any(|beginning| function.starts_with(beginning)) || is_denied(last) {
        let detail = format_args!("a layer calls the TensorFlow function {function}, which reads files or runs code");
        scan.find_as(Level::Malicious, &CLASS, place, None, detail);
    } else if !computes {
        scan.find(&CLASS, place, None, format_args!("a layer calls the TensorFlow function {function}"));
    }
}

fn is_of_keras(module: &str) -> bool {
    PACKAGES
        .iter()
        .any(|package| module.strip_prefix(package).is_some_and(|below| below.is_empty() || below.starts_with('.')))
}

fn is_value(name: &str) -> bool {
    VALUES.contains(&name)
}

fn is_denied(name: &str) -> bool {
    DENIED.contains(&name)
}

/// What the outermost object says about the model.
fn facts(scan: &mut Scan, config: &Value) {
    for key in ["keras_version", "backend"] {
        if let Some(Value::String(value)) = config.get(key) {
            scan.facts.set(key, value.as_str());
        }
    }
    let Some(Value::String(class)) = config.get("class_name") else { return };
    scan.facts.set("architecture", class.as_str());
    let Some(inner) = config.get("config") else { return };
    // Before 2.3 the configuration of a Sequential model was the list of its layers itself.
    let layers = inner.get("layers").unwrap_or(inner).as_array().map_or(&[][..], Vec::as_slice);
    if layers.is_empty() {
        return;
    }
    scan.facts.set("layers", layers.len());
    let shape = layers.iter().find_map(|layer| {
        let config = layer.get("config")?;
        config.get("batch_shape").or_else(|| config.get("batch_input_shape"))
    });
    if let Some(shape) = shape {
        // An object of the class TensorShape holds the list in its items.
        scan.facts.set("input_shape", shape.get("items").unwrap_or(shape).clone());
    }
}

#[cfg(test)]
mod tests;
