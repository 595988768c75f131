//! The JSON files that the transformers library and its neighbours write beside weights: configurations, the index of
//! sharded weights, adapters, pipelines. Each is known by its name and told by its keys. What they say is a claim; only what
//! makes a loader import or open something is judged.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, archive, names};

const LIBRARY: Rule = Rule {
    id: "json.library",
    level: Level::Suspicious,
    meaning: "The configuration names a Python module outside the libraries that read it: the loader imports it, or runs code \
              of the repository.",
};

/// The rules of these files.
pub(super) const RULES: &[Rule] = &[LIBRARY];

/// Names of weight files that an index may tell.
const SHARDS_MAX: usize = 100_000;

/// What is known by its name.
enum File {
    Model,
    Tokenizer,
    Generation,
    Adapter,
    Index,
    Pipeline,
    Modules,
}

fn file(name: &str) -> Option<File> {
    Some(match names::last(name) {
        "config.json" => File::Model,
        "tokenizer_config.json" => File::Tokenizer,
        "generation_config.json" => File::Generation,
        "adapter_config.json" => File::Adapter,
        "model_index.json" => File::Pipeline,
        "modules.json" => File::Modules,
        base if base.ends_with(".index.json")
            || base.starts_with("model.safetensors.index.") && base.ends_with(".json") =>
        {
            File::Index
        }
        _ => return None,
    })
}

/// Whether a file of this name has a meaning here.
pub(super) fn is_known(name: &str) -> bool {
    file(name).is_some()
}

/// Tells and judges what such a file says.
pub(super) fn configuration(scan: &mut Scan, value: &Value, place: &Place, name: &str) {
    match (file(name), value) {
        (Some(File::Model), Value::Object(config)) => model(scan, config),
        (Some(File::Tokenizer), Value::Object(config)) => {
            texts(scan, config, &[("tokenizer_class", "tokenizer")]);
            numbers(scan, config, &[("model_max_length", "tokenizer_max_length")]);
        }
        (Some(File::Generation), Value::Object(config)) => {
            texts(scan, config, &[("transformers_version", "framework_version")]);
            numbers(scan, config, &[("max_new_tokens", "max_new_tokens")]);
        }
        (Some(File::Adapter), Value::Object(config)) => adapter(scan, config, place),
        (Some(File::Index), Value::Object(index)) => weights(scan, index, place),
        (Some(File::Pipeline), Value::Object(index)) => pipeline(scan, index, place),
        (Some(File::Modules), Value::Array(modules)) => sentence_modules(scan, modules, place),
        _ => {}
    }
}

fn model(scan: &mut Scan, config: &Map<String, Value>) {
    if !(config.contains_key("model_type") || config.contains_key("architectures")) {
        return;
    }
    let named = config.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    scan.facts.set("architecture", named.or_else(|| config.get("model_type").and_then(Value::as_str)));
    scan.facts.set("framework", "transformers");
    texts(scan, config, &[("model_type", "model_type"), ("transformers_version", "framework_version")]);
    // Models of several kinds of input describe the part that reads text in an object of its own.
    let inner = ["text_config", "llm_config", "language_config"].iter().find_map(|key| config.get(*key)?.as_object());
    for config in std::iter::once(config).chain(inner) {
        texts(scan, config, &[("dtype", "dtype"), ("torch_dtype", "dtype")]);
        let sizes = [
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "intermediate_size",
            "num_experts",
            "vocab_size",
        ];
        numbers(scan, config, &sizes.map(|key| (key, key)));
        numbers(scan, config, &[("max_position_embeddings", "context_length"), ("n_positions", "context_length")]);
    }
    if let Some(method) = config.get("quantization_config").and_then(|how| how.get("quant_method")) {
        scan.facts.set("quantization", method.as_str());
    }
}

fn adapter(scan: &mut Scan, config: &Map<String, Value>, place: &Place) {
    texts(scan, config, &[("base_model_name_or_path", "base_model"), ("peft_type", "adapter"), ("task_type", "task")]);
    numbers(scan, config, &[("r", "adapter_rank"), ("lora_alpha", "adapter_alpha")]);
    if config.contains_key("peft_type") {
        scan.facts.set("framework", "peft");
    }
    // peft imports the module, and looks the class up in it.
    let parent = config.get("auto_mapping").and_then(|mapping| mapping.get("parent_library")).and_then(Value::as_str);
    if let Some(parent) = parent.filter(|parent| !is_library(parent)) {
        scan.find(&LIBRARY, place, None, format_args!("the adapter has the module {parent:?} imported"));
    }
}

/// An index of weights in several files: their names are paths beside it.
fn weights(scan: &mut Scan, index: &Map<String, Value>, place: &Place) {
    let Some(Value::Object(map)) = index.get("weight_map") else { return };
    if let Some(size) = index.get("metadata").and_then(|metadata| metadata.get("total_size")) {
        scan.facts.set("weights_size", size.as_u64());
    }
    let files: BTreeSet<&str> = map.values().filter_map(Value::as_str).take(SHARDS_MAX).collect();
    for file in files.iter().filter(|file| is_outside(file)) {
        scan.find(&archive::TRAVERSAL, place, None, format_args!("the weight index names {file:?}, outside the model"));
    }
    if files.len() < map.values().count() || !files.is_empty() {
        scan.facts.set("index.tensors", map.len());
        scan.facts.set("index.files", shards(&files));
    }
}

/// The files as a list, a complete set of numbered ones as one entry: `model-{1..3}-of-00003.safetensors`.
fn shards(files: &BTreeSet<&str>) -> Vec<Value> {
    let first = files.first().copied().unwrap_or_default();
    let pattern = first.split_once("-00001-of-").and_then(|(stem, rest)| {
        let total = rest.get(..5)?.parse::<usize>().ok()?;
        let end = rest.get(5..)?;
        let expected: BTreeSet<String> = super::folder::expand(stem, total, end)?.collect();
        expected
            .iter()
            .map(String::as_str)
            .eq(files.iter().copied())
            .then(|| format!("{stem}-{{1..{total}}}-of-{total:05}{end}"))
    });
    match pattern {
        Some(pattern) => vec![pattern.into()],
        None => files.iter().map(|file| (*file).into()).collect(),
    }
}

/// Diffusers: of each part the library and the class that it is.
fn pipeline(scan: &mut Scan, index: &Map<String, Value>, place: &Place) {
    match index.get("_class_name") {
        Some(Value::String(class)) => scan.facts.set("architecture", class.as_str()),
        Some(Value::Array(_)) => scan.find(&LIBRARY, place, None, "the pipeline's class is code of the repository"),
        _ => return,
    }
    scan.facts.set("framework", "diffusers");
    texts(scan, index, &[("_diffusers_version", "framework_version")]);
    let mut parts = Vec::new();
    for (part, value) in index.iter().filter(|(part, _)| !part.starts_with('_')) {
        let Some([library, class]) = value.as_array().map(Vec::as_slice) else { continue };
        // A part that is left out is written as two nulls.
        let Some(library) = library.as_str() else { continue };
        if !is_library(library) {
            scan.find(&LIBRARY, place, None, format_args!("the part {part:?} has the module {library:?} imported"));
        }
        if let Some(class) = class.as_str() {
            parts.push(Value::from(format!("{part}: {class}")));
        }
    }
    scan.facts.set("parts", parts);
}

/// Sentence-transformers: the modules in their order, each by the class that is imported, and its folder.
fn sentence_modules(scan: &mut Scan, modules: &[Value], place: &Place) {
    for module in modules {
        let class = module.get("type").and_then(Value::as_str).unwrap_or_default();
        if !(class.is_empty() || is_library(class)) {
            scan.find(&LIBRARY, place, None, format_args!("the module {class:?} is imported"));
        }
        let path = module.get("path").and_then(Value::as_str).unwrap_or_default();
        if is_outside(path) {
            scan.find(
                &archive::TRAVERSAL,
                place,
                None,
                format_args!("a module's folder is {path:?}, outside the model"),
            );
        }
    }
}

/// Whether a module is of a library that reads these files, or a pipeline of diffusers by its bare name.
fn is_library(module: &str) -> bool {
    const LIBRARIES: &[&str] =
        &["diffusers", "transformers", "sentence_transformers", "peft", "timm", "open_clip", "onnxruntime", "optimum"];
    // Packages below `diffusers.pipelines`, which are named without it.
    const PIPELINES: &[&str] = &[
        "stable_diffusion",
        "stable_diffusion_xl",
        "stable_diffusion_safe",
        "stable_diffusion_3",
        "deprecated",
        "paint_by_example",
        "latent_diffusion",
        "kandinsky",
        "kandinsky2_2",
        "unclip",
        "shap_e",
        "wuerstchen",
        "audioldm",
        "audioldm2",
        "musicldm",
        "flux",
        "pixart_alpha",
        "unidiffuser",
        "blip_diffusion",
        "deepfloyd_if",
        "latte",
        "lumina",
        "hunyuandit",
        "stable_audio",
        "stable_cascade",
        "controlnet",
        "ledits_pp",
        "dance_diffusion",
        "consistency_models",
    ];
    let top = module.split('.').next().unwrap_or_default();
    LIBRARIES.contains(&top) && !module.contains("dynamic_module") || PIPELINES.contains(&module)
}

/// Whether a path leads out of the folder it stands in, on any system.
pub(super) fn is_outside(path: &str) -> bool {
    archive::leads_out(path.as_bytes()) || path.starts_with('~') || path.contains("://")
}

fn texts(scan: &mut Scan, config: &Map<String, Value>, keys: &[(&str, &str)]) {
    for (key, fact) in keys {
        scan.facts.set(fact, config.get(*key).and_then(Value::as_str));
    }
}

fn numbers(scan: &mut Scan, config: &Map<String, Value>, keys: &[(&str, &str)]) {
    for (key, fact) in keys {
        scan.facts.set(fact, config.get(*key).and_then(Value::as_u64));
    }
}
