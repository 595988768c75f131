//! The rules: what each id means, and which set of them a verdict was reached with. Every family of formats declares its own
//! in its module; [`RULES`] is all of them. The set has a version and a digest, so that a verdict says what it rests on, and
//! one that was reached with another set is known to be stale.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{
    Level, archive, compressed, config, folder, gguf, hdf5, jinja, json, keras, lightgbm, media, msgpack, npy, onnx,
    pickle, safetensors, saved_model, sentencepiece, skops, tar, text, tflite, transformers, ubjson, xml, yaml, zip,
};

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its id: stable, `family.name`.
    pub id: &'static str,
    /// How grave what it finds is, where the case says nothing else.
    pub level: Level,
    /// What it means that it found something, in a sentence or two for a security officer.
    pub meaning: &'static str,
}

/// A limit was reached.
pub(super) const LIMIT: Rule = Rule {
    id: "limit",
    level: Level::Unscannable,
    meaning: "The file needs more depth, memory, members or time than an inspection gives it, as decompression bombs do; \
              what lies beyond was not looked at.",
};
/// The inspection itself failed.
pub const WORKER_LOST: Rule = Rule {
    id: "inspection.lost",
    level: Level::Unscannable,
    meaning: "The process that looked at the file died or gave no answer: the file may be made to break what reads it.",
};
/// The format is not known.
pub(super) const UNKNOWN: Rule = Rule {
    id: "unknown.format",
    level: Level::Unscannable,
    meaning: "The octets are in no format that the registry knows, so nothing can be said about what loading them does.",
};
/// Name and content disagree.
pub(super) const MISMATCH: Rule = Rule {
    id: "type.mismatch",
    level: Level::Suspicious,
    meaning: "The name says another format than the content: tools that trust names skip such files, and loaders don't.",
};
/// Machine code.
pub(super) const NATIVE: Rule = Rule {
    id: "code.native",
    level: Level::Malicious,
    meaning: "Machine code for a processor, not data: it runs when it is started or loaded as a library.",
};
/// Nothing looks inside.
pub(super) const UNREAD: Rule = Rule {
    id: "content.unread",
    level: Level::Unscannable,
    meaning: "A container or format that is recognised but not looked into, so it may hold anything.",
};
/// Octets outside the format.
pub(super) const TRAILING: Rule = Rule {
    id: "trailing.data",
    level: Level::Suspicious,
    meaning: "Octets before or behind what the format says is there; a reader of another format may take them for its own.",
};

/// Several formats at once.
pub(super) const AMBIGUOUS: Rule = Rule {
    id: "format.ambiguous",
    level: Level::Suspicious,
    meaning: "The same octets are valid in two formats, so that it depends on the loader what they are; no writer of models \
              makes such files.",
};
/// Source code.
pub(super) const SOURCE: Rule = Rule {
    id: "code.source",
    level: Level::Suspicious,
    meaning: "Source code, a script or a library of code, by its name or first line: nothing loads it by itself, but it is \
              made to be run.",
};
/// Python that a loader of models runs.
pub(super) const PYTHON: Rule = Rule {
    id: "code.python",
    level: Level::Suspicious,
    meaning: "Python in an archive whose loader imports it: torch.package and TorchServe run what stands in there.",
};
/// Objects of another language's serialization.
pub(super) const SERIALIZED: Rule = Rule {
    id: "code.serialized",
    level: Level::Suspicious,
    meaning: "Serialized objects of Java or R: reading them back may run code, as it does with pickles.",
};

/// The rules that belong to no format.
const CORE: &[Rule] =
    &[LIMIT, WORKER_LOST, UNKNOWN, MISMATCH, NATIVE, UNREAD, TRAILING, AMBIGUOUS, SOURCE, PYTHON, SERIALIZED];

/// All rules, by family.
pub const RULES: &[&[Rule]] = &[
    CORE,
    archive::RULES,
    compressed::RULES,
    config::RULES,
    folder::RULES,
    gguf::RULES,
    hdf5::RULES,
    jinja::RULES,
    json::RULES,
    keras::RULES,
    lightgbm::RULES,
    media::RULES,
    msgpack::RULES,
    npy::RULES,
    onnx::RULES,
    pickle::RULES,
    safetensors::RULES,
    saved_model::RULES,
    sentencepiece::RULES,
    skops::RULES,
    tar::RULES,
    text::RULES,
    tflite::RULES,
    transformers::RULES,
    ubjson::RULES,
    xml::RULES,
    yaml::RULES,
    zip::RULES,
];

/// The rule of an id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().flat_map(|family| family.iter()).find(|rule| rule.id == id)
}

/// Counts up with every change of what the rules find that the tables below don't show by themselves.
const VERSION: u32 = 1;

/// What an administrator allows besides the list that is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Globals, as (module, name).
    pub globals: BTreeSet<(String, String)>,
    /// Modules below which classes (names that begin with a capital letter) count as library classes; each ends in a dot.
    pub prefixes: BTreeSet<String>,
}

/// A set of rules, with what the administrator allows.
#[derive(Debug, Clone)]
pub struct Ruleset {
    /// What is allowed besides.
    pub allowed: Allowed,
    id: String,
}

impl Ruleset {
    /// The rules of this program and what is allowed besides.
    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        let mut hash = Sha256::new();
        let mut say = |text: &str| {
            // With its length, so that no two lists run into the same octets.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        say(&VERSION.to_string());
        for rule in RULES.iter().flat_map(|family| family.iter()) {
            say(rule.id);
            say(rule.level.as_str());
        }
        let graphs = keras::tables().chain(onnx::tables()).chain(saved_model::tables()).chain(tflite::tables());
        for text in pickle::globals::tables().chain(graphs) {
            say(text);
        }
        for (module, name) in &allowed.globals {
            say("global");
            say(module);
            say(name);
        }
        for prefix in &allowed.prefixes {
            say("prefix");
            say(prefix);
        }
        let digest = hex::encode(hash.finalize());
        Self { allowed, id: format!("mreg-{VERSION}-{}", &digest[..16]) }
    }

    /// Its id: `mreg-`, the version, and the first 64 bits of the SHA-256 of the tables in hex. Two sets with one id find the
    /// same.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Default for Ruleset {
    fn default() -> Self {
        Self::new(Allowed::default())
    }
}
