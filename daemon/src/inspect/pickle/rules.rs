//! What is found in pickles: the table of scanning.md §4.2.

use crate::inspect::Level;
use crate::inspect::rules::Rule;

/// A pickle.
pub(super) const PRESENT: Rule = Rule {
    id: "pickle.present",
    level: Level::Note,
    meaning: "The file is or has a pickle, a program for rebuilding objects: it is harmless only as far as the callables it \
              names are. Prefer formats that hold numbers alone.",
};
/// A denied callable.
pub(super) const DENIED: Rule = Rule {
    id: "pickle.global.denied",
    level: Level::Malicious,
    meaning: "The pickle names a callable that runs code, or reaches files, processes or the network. Loading imports it at \
              least, whether or not its result is used; no model needs it.",
};
/// A callable on no list.
pub(super) const UNKNOWN: Rule = Rule {
    id: "pickle.global.unknown",
    level: Level::Suspicious,
    meaning: "The pickle names a callable that is on no list, such as a class of the uploader's own: loading imports its \
              module and may run it. Know the package it is from before loading.",
};
/// A library class.
pub(super) const LIBRARY: Rule = Rule {
    id: "pickle.global.library",
    level: Level::Note,
    meaning: "The pickle names a class of a machine-learning library, as models do. Loading runs that library's code.",
};
/// A dotted name.
pub(super) const DOTTED: Rule = Rule {
    id: "pickle.global.dotted",
    level: Level::Malicious,
    meaning: "The pickle names something by a path of attributes, which reaches what the module itself imported; a way to \
              name a dangerous callable through a harmless module.",
};
/// A computed name.
pub(super) const COMPUTED: Rule = Rule {
    id: "pickle.global.computed",
    level: Level::Malicious,
    meaning: "The pickle imports something whose name it computes while it is loaded, which no writer does: it hides what \
              is imported.",
};
/// A computed callable.
pub(super) const CALL: Rule = Rule {
    id: "pickle.call.computed",
    level: Level::Malicious,
    meaning: "The pickle calls something that is no name but the result of an earlier step, which no writer does: it hides \
              what is called.",
};
/// State for what is not the pickle's.
pub(super) const BUILD: Rule = Rule {
    id: "pickle.build",
    level: Level::Malicious,
    meaning: "The pickle changes a module, a class or a function, or sets an attribute that Python itself uses, instead of \
              giving state to an object it made.",
};
/// Arguments outside the pattern.
pub(super) const ARGS: Rule = Rule {
    id: "pickle.args",
    level: Level::Malicious,
    meaning: "The pickle calls a function that is allowed for rebuilding arrays, tensors or objects, but with arguments that \
              its writer never leaves there.",
};
/// The extension registry.
pub(super) const EXT: Rule = Rule {
    id: "pickle.ext",
    level: Level::Malicious,
    meaning: "The pickle names a callable by a number in a registry of the loading process, so that the file does not say \
              what it is. No model needs it.",
};
/// A persistent id.
pub(super) const PERSID: Rule = Rule {
    id: "pickle.persid",
    level: Level::Suspicious,
    meaning: "The pickle asks its loader for an object from outside, other than the storages in torch's containers: what it \
              gets depends on the loading program.",
};
/// A pickle in octets.
pub(super) const NESTED: Rule = Rule {
    id: "pickle.nested",
    level: Level::Malicious,
    meaning: "The pickle loads another file out of octets within it, and what these are cannot be told.",
};
/// Two readings.
pub(super) const AMBIGUOUS: Rule = Rule {
    id: "pickle.ambiguous",
    level: Level::Suspicious,
    meaning: "The octets of an array that joblib reads are a program to loaders that don't know joblib: what loading does \
              depends on the loader.",
};
/// Not a whole pickle.
pub(super) const BROKEN: Rule = Rule {
    id: "pickle.broken",
    level: Level::Unscannable,
    meaning: "The pickle cannot be read to its end. A loader executes everything up to the fault before it fails, and \
              another loader may not fail.",
};
/// Several pickles.
pub(super) const SEVERAL: Rule = Rule {
    id: "pickle.several",
    level: Level::Suspicious,
    meaning: "More than one pickle stands in the file, in no layout that is known. Loaders that read on load them all.",
};

/// The rules of this format.
pub(in crate::inspect) const RULES: &[Rule] = &[
    PRESENT, DENIED, UNKNOWN, LIBRARY, DOTTED, COMPUTED, CALL, BUILD, ARGS, EXT, PERSID, NESTED, AMBIGUOUS, BROKEN,
    SEVERAL,
];
