//! The tricks that texts play, each with its rule; what must stay clean; and that no octets make a reader of texts panic.

use std::io;

use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::inspect::{Inspection, Limits, ReadAt, Ruleset, Verdict, inspect};

fn looked_at(name: &str, content: &[u8]) -> Inspection {
    inspect(&content, name, &Ruleset::default(), &Limits::default()).unwrap()
}

/// Name, content, verdict, and a rule that must have found something.
const HOSTILE: &[(&str, &[u8], Verdict, &str)] = &[
    // Configurations that name callables.
    ("a.yaml", b"m:\n  _target_: os.system\n  command: 'true'\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"x: &a subprocess.run\nm: {_target_: *a}\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"m: {\"_target_\": \"o\\x73.system\"}\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"? _target_\n: os.system\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"_target_: >-\n  os.system\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"#!x\n_target_: os.system\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"_target_: logging.os.system\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"_target_: ${x}.system\n", Verdict::Suspicious, "config.target"),
    ("a.yaml", b"_target_: some.where.Model\n", Verdict::Suspicious, "config.target"),
    ("a.yaml", b"_target_: torch.nn.utils.rnn\n", Verdict::Suspicious, "config.target"),
    ("a.yaml", b"class_path: builtins.exec\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"a: 1\n---\ntarget: os.popen\n", Verdict::Malicious, "config.target"),
    ("a.yaml", b"a: !apply:os.system ['true']\n", Verdict::Malicious, "config.target"),
    ("a.conf", b"m:\n  _target_: os.system\n", Verdict::Malicious, "config.target"),
    ("a.json", br#"{"a": [{"_target_": "eval"}]}"#, Verdict::Malicious, "config.target"),
    ("a.json", br#"{"_target_": "\u006fs.system", "_target_": "x.Y"}"#, Verdict::Malicious, "config.target"),
    ("a.jsonl", b"{\"a\": 1}\n{\"_target_\": \"os.system\"}\n", Verdict::Malicious, "config.target"),
    ("a", br#"{"a": NaN, "_target_": "os.system"}"#, Verdict::Malicious, "config.target"),
    // YAML.
    ("a.yaml", b"a: !!python/object/apply:os.system ['true']\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!!python/name:os.system ''\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!!pyth%6fn/name:os.system ''\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!<tag:yaml.org,2002:python/name:os.system> ''\n", Verdict::Malicious, "yaml.tag"),
    ("a.yml", b"%TAG ! tag:yaml.org,2002:pyth\n---\n!on/name:os.system ''\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"? !!python/name:os.system\n: 1\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!!python/tuple [1]\n", Verdict::Suspicious, "yaml.tag"),
    ("a.yaml", b"!!python/object/apply:collections.OrderedDict [[]]\n", Verdict::Suspicious, "yaml.tag"),
    ("a.yaml", b"!!js/function 'x'\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!ruby/object:Gem::Installer {}\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"!!javax.script.ScriptEngineManager []\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"a: [1\nb: : !!python/name:os.system ''\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", b"a: !include:../../x.yaml\n", Verdict::Malicious, "yaml.tag"),
    ("a.txt", b"--- !!python/name:os.system ''\n", Verdict::Malicious, "yaml.tag"),
    ("README.md", b"---\na: !!python/name:os.system ''\n---\n# x\n", Verdict::Malicious, "yaml.tag"),
    ("a.yaml", "# x\u{2028}a: !!python/name:os.system ''\n".as_bytes(), Verdict::Malicious, "yaml.tag"),
    ("a.yaml", "a: 1 # x\u{85}_target_: os.system\n".as_bytes(), Verdict::Malicious, "config.target"),
    ("README.md", b"\n--- \na: !!python/name:os.system ''\n---\n# x\n", Verdict::Malicious, "yaml.tag"),
    ("MLmodel", b"flavors:\n  python_function:\n    loader_module: mine\n", Verdict::Suspicious, "config.target"),
    ("graph.pbtxt", b"node\n{ op: 'ReadFile' }\n", Verdict::Unscannable, "text.graph"),
    ("net.prototxt", b"layer { python_param { module: 'm' } }\n", Verdict::Unscannable, "text.graph"),
    ("a.json", br#"{"target": "os.system"}"#, Verdict::Malicious, "config.target"),
    ("config.json", br#"{"auto_map": ["m.M", null]}"#, Verdict::Suspicious, "json.auto_map"),
    ("latin.xml", b"<?xml version='1.0' encoding='latin-1'?><!DOCTYPE a [<!ENTITY b '\xe4'>]><a>&b;</a>", Verdict::Unscannable, "xml.broken"),
    ("a.yaml", b"a: [1, 2\n", Verdict::Unscannable, "yaml.broken"),
    ("a.yaml", b"a: &a [*a]\n", Verdict::Suspicious, "yaml.bomb"),
    (
        "k.yaml",
        b"class_name: Sequential\nconfig: {layers: [{class_name: Lambda}]}\n",
        Verdict::Malicious,
        "keras.lambda",
    ),
    ("k.yaml", b"a: 1\n---\nclass_name: S\nconfig: {layers: [{class_name: Lambda}]}\n", Verdict::Malicious, "keras.lambda"),
    // JSON.
    ("config.json", br#"{"auto_map": {"AutoModel": "m.M"}}"#, Verdict::Suspicious, "json.auto_map"),
    ("config.json", br#"{"custom_pipelines": {"x": {"impl": "m.M"}}}"#, Verdict::Suspicious, "json.auto_map"),
    ("a.json", br#"{"a": 1, "\u0061": 2}"#, Verdict::Suspicious, "json.duplicate"),
    ("a.json", br#"{"a": 1"#, Verdict::Unscannable, "json.broken"),
    ("a.json", b"{\"a\": 1}{", Verdict::Unscannable, "json.broken"),
    ("a.json", b"[1] [2]", Verdict::Suspicious, "trailing.data"),
    ("tokenizer_config.json", br#"{"chat_template": "{{ ''.__class__ }}"}"#, Verdict::Malicious, "jinja.escape"),
    (
        "processor_config.json",
        br#"{"chat_template": [{"name": "default", "template": "{{ ''.__class__ }}"}]}"#,
        Verdict::Malicious,
        "jinja.escape",
    ),
    ("a.json", br#"{"a": {"chat_template": {"x": "{{ ''.__class__ }}"}}}"#, Verdict::Malicious, "jinja.escape"),
    ("t.jinja", b"{{ ''.__class__ }}", Verdict::Malicious, "jinja.escape"),
    ("t.J2", b"{{ ''.__class__ }}", Verdict::Malicious, "jinja.escape"),
    ("n.json", br#"{"cells": [], "nbformat": 4}"#, Verdict::Suspicious, "code.source"),
    ("n.ipynb", br#"{"cells": [], "nbformat": 4}"#, Verdict::Suspicious, "code.source"),
    (
        "k.json",
        br#"{"class_name": "Sequential", "config": [{"class_name": "Lambda"}]}"#,
        Verdict::Malicious,
        "keras.lambda",
    ),
    ("s.json", br#"{"__loader__": "x", "__module__": "os", "__class__": "system"}"#, Verdict::Malicious, "skops.type"),
    (
        "s.json",
        br#"{"__loader__": "x", "c": [{"__class__": "f25", "__module__": "my.module"}]}"#,
        Verdict::Suspicious,
        "skops.type",
    ),
    (
        "s.json",
        br#"{"__loader__": "x", "c": {"__class__": "methodcaller", "__module__": "operator", "__loader__": "OperatorFuncNode"}}"#,
        Verdict::Malicious,
        "skops.type",
    ),
    (
        "s.json",
        br#"{"__loader__": "x", "c": {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode"}}"#,
        Verdict::Suspicious,
        "skops.type",
    ),
    (
        "s.json",
        br#"{"_skops_version": "0.8", "c": {"module_path": "builtins", "function": "eval"}}"#,
        Verdict::Malicious,
        "skops.type",
    ),
    ("x.index.json", br#"{"weight_map": {"w": "../../x"}}"#, Verdict::Malicious, "path.traversal"),
    ("x.index.json", br#"{"weight_map": {"w": "C:\\x"}}"#, Verdict::Malicious, "path.traversal"),
    ("modules.json", br#"[{"type": "os.system", "path": ""}]"#, Verdict::Suspicious, "json.library"),
    ("model_index.json", br#"{"_class_name": "P", "unet": ["mine", "U"]}"#, Verdict::Suspicious, "json.library"),
    ("model_index.json", br#"{"_class_name": ["p", "P"]}"#, Verdict::Suspicious, "json.library"),
    (
        "adapter_config.json",
        br#"{"peft_type": "LORA", "auto_mapping": {"parent_library": "os"}}"#,
        Verdict::Suspicious,
        "json.library",
    ),
    // XML.
    (
        "a.xml",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///x'>]><a>&x;</a>",
        Verdict::Malicious,
        "xml.entity",
    ),
    ("a.xml", b"<!DOCTYPE a SYSTEM 'http://localhost/x'><a/>", Verdict::Malicious, "xml.entity"),
    ("a.svg", b"<?xml version='1.0'?><!DOCTYPE svg PUBLIC 'x' 'y'><svg/>", Verdict::Suspicious, "xml.entity"),
    (
        "a.xml",
        b"<net><layers><layer type='X' version='extension'/></layers></net>",
        Verdict::Suspicious,
        "xml.extension",
    ),
    ("a.xml", b"<?xml version='1.0'?><a library='x.so'/>", Verdict::Suspicious, "xml.library"),
    ("a.pmml", b"<PMML><Apply function='java.lang.Runtime'/></PMML>", Verdict::Suspicious, "xml.extension"),
    ("a.xml", b"<a xmlns:i='http://www.w3.org/2001/XInclude'/>", Verdict::Suspicious, "xml.include"),
    ("a.xml", b"<?xml-stylesheet href='x'?><a/>", Verdict::Suspicious, "xml.include"),
    ("a.xml", b"<a><b></a>", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<a/><b/>", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<a/>text", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<a>", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<a b='1' b='2'/>", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<a>&unknown;</a>", Verdict::Unscannable, "xml.broken"),
    ("a.xml", b"<?xml version='1.0' encoding='UTF-7'?><a/>", Verdict::Unscannable, "xml.broken"),
    // Source code and pages.
    ("a.py", b"x = 1\n", Verdict::Suspicious, "code.source"),
    ("a.SH", b"true\n", Verdict::Suspicious, "code.source"),
    ("a.bat. ", b"rem\n", Verdict::Suspicious, "code.source"),
    ("d/Makefile", b"all:\n", Verdict::Suspicious, "code.source"),
    ("run", b"#!/bin/sh\ntrue\n", Verdict::Suspicious, "code.source"),
    ("a.txt", b"<?php 1;", Verdict::Suspicious, "code.source"),
    ("a.svg", b"<!DOCTYPE html><script>1</script>", Verdict::Suspicious, "text.script"),
    ("a.html", b"<p>x</p><SCRIPT>1</SCRIPT>", Verdict::Suspicious, "text.script"),
    ("a.svg", b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>", Verdict::Malicious, "xml.entity"),
    ("a.svg", b"<?xml version='1.0'?><svg onload='1'/>", Verdict::Suspicious, "text.script"),
    ("a.svg", b"<?xml version='1.0'?><svg><script>1</script></svg>", Verdict::Suspicious, "text.script"),
    ("a.svg", b"<svg onload='1'/>", Verdict::Suspicious, "text.script"),
    ("a", b"<!DOCTYPE html><a href='JavaScript:1'>x</a>", Verdict::Suspicious, "text.script"),
    // Encodings.
    ("a.jinja", b"\xff\xfe{\0{\0'\0'\0.\0_\0_\0c\0l\0a\0s\0s\0_\0_\0}\0}\0", Verdict::Malicious, "jinja.escape"),
    (
        "a.yaml",
        b"\xfe\xff\0_\0t\0a\0r\0g\0e\0t\0_\0:\0 \0o\0s\0.\0s\0y\0s\0t\0e\0m",
        Verdict::Malicious,
        "config.target",
    ),
];

#[test]
fn every_trick_has_its_rule() {
    for (name, content, verdict, rule) in HOSTILE {
        let found = looked_at(name, content);
        let shown = format!("{name} {} {:?}", String::from_utf8_lossy(content), found.findings);
        assert!(found.findings.iter().any(|finding| finding.rule == *rule), "{shown}");
        assert_eq!(found.verdict(), *verdict, "{shown}");
    }
}

/// What is written every day.
const HARMLESS: &[(&str, &[u8])] = &[
    ("README.md", b"---\nlicense: mit\ntags: [a, b]\n---\n# Model\nUse `!!python/object/apply:os.system`? No.\n"),
    ("README.md", b"---\nnot: [yaml\n---\n"),
    ("a.txt", b"prose: with a colon, and !exclamation\n"),
    ("merges.txt", b"#version: 0.2\nt h\n{ }\n[ PAD ]\n"),
    ("vocab.txt", b"[PAD]\n[UNK]\n!\n&\n*\n%\n@\n"),
    ("vocab.txt", b"!!\n!!!\n!!foo\n[UNK]\n"),
    ("a.csv", b"a,b\n1,2\n"),
    ("a.toml", b"[a]\nb = 1\n"),
    ("a.ini", b"[a]\nb = 1\n"),
    ("a.yaml", b"a: 1\nb: [x, {c: d}]\n---\nx: &q {a: 1}\ny: *q\nz: !!str 1\nw: !local 2\n"),
    ("a.yaml", b"d: &d {a: 1}\ne: {<<: *d, b: 2}\ne: 1\n"),
    ("a.yaml", b"m: {_target_: nemo.collections.asr.models.EncDecCTCModel}\no: {_target_: torch.optim.AdamW}\n"),
    ("a.yaml", b""),
    ("notes.txt", b"Mod\xe8le entra\xeen\xe9 \xe0 Z\xfcrich\n"),
    ("words.vec", "2 1\nna\u{96}ve 0.1\n\u{7f} 0.2\n".as_bytes()),
    ("captions.json", br#"{"target": "os.system is what it says"}"#),
    ("preprocessor_config.json", br#"{"auto_map": {}}"#),
    ("__init__.py", b""),
    ("config.pbtxt", b"name: 'm'\ninput [ { name: 'x' data_type: TYPE_FP32 dims: [ -1 ] } ]\n"),
    ("vocab.json", br#"{"target": 1, "_target_": 2, "auto_map": 3, "chat_template": 4, "os.system": 5}"#),
    ("a.json", br#"{"target": "output", "class_path": "a/b"}"#),
    ("tokenizer_config.json", br#"{"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}", "model_max_length": 1000000000000000019884624838656}"#),
    ("a.jsonl", b"{\"a\": 1}\n{\"a\": 2}\n\n"),
    ("a.json", b"{\"a\": NaN, \"b\": \"\\ud800\"}"),
    ("a.json", b"\"text\""),
    ("model_index.json", br#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null], "text_encoder": ["transformers", "CLIPTextModel"]}"#),
    ("modules.json", br#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#),
    ("s.json", br#"{"__loader__": "ObjectNode", "__module__": "sklearn.svm._classes", "__class__": "SVC", "c": {"__class__": "dict", "__module__": "builtins"}}"#),
    ("a.xml", b"<?xml version='1.0' encoding='UTF-8'?>\n<!-- c --><a b='&lt;'>x &amp; &#65;<![CDATA[<x>]]></a>\n"),
    ("a.pmml", b"<?xml version='1.0'?><PMML version='4.4'><Header><Extension name='x'/></Header><TreeModel><Apply function='+'/></TreeModel></PMML>"),
    ("a.html", b"<!doctype html><p>text</p>"),
    ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    ("a.txt", b"\xff\xfeh\0i\0"),
];

#[test]
fn what_is_harmless_stays_clean() {
    for (name, content) in HARMLESS {
        let found = looked_at(name, content);
        assert_eq!(found.verdict(), Verdict::Clean, "{name} {} {:?}", String::from_utf8_lossy(content), found.findings);
    }
}

#[test]
fn aliases_that_grow_are_a_bomb() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    let found = looked_at("a.yaml", text.as_bytes());
    assert_eq!(found.findings[0].rule, "yaml.bomb");
    assert_eq!(found.verdict(), Verdict::Malicious);
}

#[test]
fn depth_is_a_limit_everywhere() {
    let nested = |open: &str, close: &str| [open.repeat(5000), close.repeat(5000)].concat();
    for (name, text) in [
        ("a.json", nested("[", "]")),
        ("a.json", nested("{\"a\":", "}")),
        ("a.yaml", nested("[", "]")),
        ("a.yaml", "- ".repeat(5000)),
        ("a.xml", nested("<a>", "</a>")),
    ] {
        let found = looked_at(name, text.as_bytes());
        assert_eq!(found.verdict(), Verdict::Unscannable, "{name} {:?}", found.findings);
        assert!(found.findings.iter().any(|finding| finding.rule == "limit"), "{name} {:?}", found.findings);
    }
}

#[test]
fn long_texts_are_read_to_their_end() {
    let text = b"a line of text\n".repeat(20_000);
    assert!(looked_at("a.txt", &text).findings.is_empty());
    let latin = [&text[..], b"caf\xe9\n"].concat();
    let found = looked_at("a.txt", &latin);
    assert_eq!((found.verdict(), found.findings[0].rule.as_str()), (Verdict::Clean, "text.encoding"));
    // A character across two chunks.
    let chunks = [&b"x".repeat((64 << 10) - 1)[..], "é".as_bytes(), &text].concat();
    assert!(looked_at("a.txt", &chunks).findings.is_empty());
    let script = [&b"<html>"[..], &b"x".repeat((64 << 10) - 10), b"<script>"].concat();
    assert_eq!(looked_at("a.html", &script).findings[0].rule, "text.script");
}

#[test]
fn what_stands_behind_a_text_is_looked_into() {
    let text = b"a line of text\n".repeat(20_000);
    let pickle = b"\x80\x04\x95\x17\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.";
    let found = looked_at("a.txt", &[&text[..], pickle].concat());
    assert_eq!(found.verdict(), Verdict::Malicious, "{:?}", found.findings);
    assert!(found.findings.iter().any(|finding| finding.rule == "trailing.data"));
    let json = br#"{"a": [1]}"#;
    let xml = b"<?xml version='1.0'?><a/>";
    let yaml = b"a: 1\n".repeat(20_000);
    for (name, text) in [("a.json", &json[..]), ("a.xml", &xml[..]), ("a.yaml", &yaml[..])] {
        let found = looked_at(name, &[text, &b" ".repeat(70_000), b"\n", pickle].concat());
        assert_eq!(found.verdict(), Verdict::Malicious, "{name} {:?}", found.findings);
    }
    let found = looked_at("a.yaml", &[&b"_target_: os.system\n---\n"[..], &yaml, b"\xff\0"].concat());
    assert_eq!(found.verdict(), Verdict::Malicious, "loaders that go document by document come so far");
    let found = looked_at("a.txt", &[&text[..], &[0; 100]].concat());
    assert_eq!((found.verdict(), found.findings[0].rule.as_str()), (Verdict::Suspicious, "trailing.data"));
}

fn fact(found: &Inspection, name: &str) -> Value {
    found.facts.values.get(name).cloned().unwrap_or_default()
}

#[test]
fn configurations_are_told() {
    let config = br#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "num_hidden_layers": 32, "vocab_size": 32000, "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "gptq"}, "transformers_version": "4.40.0"}"#;
    let found = looked_at("x/config.json", config);
    for (name, value) in [
        ("architecture", json!("LlamaForCausalLM")),
        ("model_type", json!("llama")),
        ("hidden_size", json!(4096)),
        ("context_length", json!(8192)),
        ("dtype", json!("bfloat16")),
        ("quantization", json!("gptq")),
        ("framework", json!("transformers")),
        ("framework_version", json!("4.40.0")),
    ] {
        assert_eq!(fact(&found, name), value, "{name}");
    }
    assert!(looked_at("other.json", config).facts.values.is_empty(), "by its name only");
    let index = br#"{"metadata": {"total_size": 7}, "weight_map":
        {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}"#;
    let found = looked_at("m.safetensors.index.json", index);
    assert_eq!(fact(&found, "index.files"), json!(["m-{1..2}-of-00002.safetensors"]));
    assert_eq!(fact(&found, "weights_size"), json!(7));
    let booster = br#"{"learner": {"gradient_booster": {"name": "gbtree"}, "learner_model_param": {"num_feature": "4"},
        "objective": {"name": "reg:squarederror"}}, "version": [3, 2, 0]}"#;
    let found = looked_at("m.json", booster);
    assert_eq!(fact(&found, "objective"), "reg:squarederror");
    assert_eq!(fact(&found, "num_feature"), 4);
    assert_eq!(fact(&found, "framework_version"), "3.2.0");
}

#[test]
fn cards_are_told() {
    let card =
        "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\ntags: [a, b]\nbase_model: x/y\n---\n# Model\nlicense: none\n";
    let found = looked_at("README.md", card.as_bytes());
    assert_eq!(fact(&found, "card.license"), "apache-2.0");
    assert_eq!(fact(&found, "card.languages"), json!(["en", "no"]));
    assert_eq!(fact(&found, "card.tags"), json!(["a", "b"]));
    assert_eq!(fact(&found, "card.base_model"), "x/y");
    assert!(looked_at("NOTES.md", card.as_bytes()).facts.values.is_empty(), "the card is README.md");
}

#[test]
fn networks_of_openvino_are_told() {
    let network =
        b"<?xml version='1.0'?><net name='r' version='11'><layers><layer name='w' type='Const' version='opset1'>\
        <data element_type='f32' shape='2,3'/></layer></layers></net>";
    let found = looked_at("m.xml", network);
    assert_eq!(found.verdict(), Verdict::Clean, "{:?}", found.findings);
    assert_eq!((found.facts.parameters, fact(&found, "architecture")), (6, json!("r")));
}

/// A source that fails at its second half.
struct Failing(Vec<u8>);

impl ReadAt for Failing {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.len() / 2 {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            self.0.as_slice().read_at(offset, buf)
        }
    }
}

#[test]
fn a_source_that_fails_is_no_verdict() {
    for (name, line) in
        [("a.txt", &b"text\n"[..]), ("a.xml", b"<a>text</a>\n"), ("a.jsonl", b"[1]\n"), ("a.yaml", b"- a\n")]
    {
        let mut content = line.repeat((1 << 20) / line.len());
        if name == "a.xml" {
            content.splice(0..0, *b"<a>");
        }
        let looked_at = inspect(&Failing(content), name, &Ruleset::default(), &Limits::default());
        assert_eq!(looked_at.unwrap_err().kind(), io::ErrorKind::TimedOut, "{name}");
    }
}

proptest! {
    /// Names decide which reader it is, so that each gets anything.
    #[test]
    fn no_text_makes_a_reader_panic(
        name in select(vec!["a.json", "a.yaml", "a.xml", "README.md", "a.html", "a.jinja", "config.json", "a.txt", "a"]),
        text in "(?s)[ -~\n\t{}\\[\\]\"':,&*!<>?%é-]{0,200}",
    ) {
        let found = looked_at(name, text.as_bytes());
        prop_assert!(found.findings.len() <= 200);
    }

    #[test]
    fn no_mutation_makes_a_reader_panic(
        sample in select(HOSTILE.iter().map(|(name, content, ..)| (*name, *content)).chain(HARMLESS.iter().copied()).collect::<Vec<_>>()),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let (name, content) = sample;
        let mut content = content.to_vec();
        for (at, octet, how) in changes {
            if content.is_empty() {
                break;
            }
            let at = at.index(content.len());
            match how {
                0 => content[at] = octet,
                1 => drop(content.remove(at)),
                _ => content.insert(at, octet),
            }
        }
        looked_at(name, &content);
    }
}
