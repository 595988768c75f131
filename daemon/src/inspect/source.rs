//! Source code that its name's ending does not give away: other names, other endings, first lines, notebooks. What has a common
//! ending is reported where all files are (`names.rs`); what the code does is not judged.

use super::names;
use super::rules::SOURCE;
use super::scan::{Place, Scan};

/// Endings that only texts have as source code.
const ENDINGS: &[&str] = &[
    "pyi",
    "pxd",
    "pth",
    "command",
    "vbe",
    "jse",
    "reg",
    "scf",
    "url",
    "inf",
    "mts",
    "cts",
    "tsx",
    "vue",
    "coffee",
    "phtml",
    "tcl",
    "rmd",
    "groovy",
    "awk",
    "sed",
    "kts",
    "clj",
    "jsp",
    "m",
    "mm",
    "cs",
    "fs",
    "f90",
    "f",
    "asm",
    "s",
    "cmake",
    "mk",
    "gradle",
    "dockerfile",
    "nix",
    "bzl",
    "service",
    "applescript",
    "sql",
    "el",
    "lisp",
    "scm",
    "hs",
    "erl",
    "ex",
    "exs",
];

/// Whole names.
const NAMES: &[&str] = &[
    "dockerfile",
    "containerfile",
    "makefile",
    "gnumakefile",
    "rakefile",
    "jenkinsfile",
    "build.bazel",
    ".bashrc",
    ".profile",
    ".envrc",
];

/// Whether a text of this name or beginning is source code, which is reported if it has not been.
pub(super) fn judge(scan: &mut Scan, place: &Place, name: &str, head: &str) -> bool {
    // Windows ignores dots and spaces at the end of a name.
    let base = names::last(name).trim_end_matches([' ', '.']).to_ascii_lowercase();
    let ending = names::extension(&base);
    if names::is_source(&names::extension(name)) {
        return true;
    }
    let begins = |mark: &str| head.get(..mark.len()).is_some_and(|first| first.eq_ignore_ascii_case(mark));
    if NAMES.contains(&base.as_str()) || ENDINGS.contains(&ending.as_str()) || names::is_source(&ending) {
        scan.find(&SOURCE, place, None, "source code or a script, by its name");
    } else if begins("#!") {
        let line = head.lines().next().unwrap_or_default();
        scan.find(&SOURCE, place, None, format_args!("a script: its first line is {line:?}"));
    } else if begins("<?php") || begins("@echo off") || begins("<%@") {
        scan.find(&SOURCE, place, None, "a script, by how it begins");
    } else {
        return false;
    }
    true
}

/// Reports a notebook.
pub(super) fn notebook(scan: &mut Scan, place: &Place) {
    scan.find(&SOURCE, place, None, "a Jupyter notebook, which holds source code");
}
