//! Rules about the code, as tests: which way dependencies point, what every file begins with, what is not left behind.

use std::fs;
use std::path::{Path, PathBuf};

use common::problem::ProblemType;
use tests::daemon::{Daemon, workspace};

/// Every Rust source file of the workspace, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(workspace()).unwrap().to_owned(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(workspace(), &mut found);
    assert!(found.len() > 40, "the sources are found");
    found
}

/// The lines of a file that are not its unit tests.
fn without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| ["tests", "benches"].iter().any(|name| part.as_os_str() == *name))
        || path.ends_with("tests.rs")
        || path.ends_with("contract.rs")
}

/// Paths a file names in code: the text without comments and string literals' prose.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    without_tests(text).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The domain knows neither HTTP nor leaves nor the environment; the edge knows no store (style.md §3).
#[test]
fn dependencies_point_one_way() {
    let forbidden: &[(&str, &[&str])] = &[
        (
            "daemon/src/registry",
            &[
                "hyper",
                "http::",
                "StatusCode",
                "crate::http",
                "sled::",
                "::sled",
                "store::sled",
                "blobs::disk",
                "blobs::s3",
                "std::env",
            ],
        ),
        (
            "daemon/src/http",
            &["store::sled", "blobs::disk", "blobs::s3", "sled::", "store::journal::Journal", "std::env"],
        ),
        ("daemon/src/store", &["crate::http", "crate::registry", "crate::blobs", "hyper"]),
        ("daemon/src/blobs", &["crate::http", "crate::registry", "crate::store", "hyper"]),
        ("daemon/src/auth", &["crate::http", "crate::registry", "crate::store", "crate::blobs", "hyper"]),
        ("common/src", &["daemon::", "tui::", "std::env", "SystemTime::now"]),
        ("tui/src", &["daemon::"]),
    ];
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        if is_test(&path) {
            continue;
        }
        for (module, names) in forbidden {
            let is_in = name.starts_with(&format!("{module}/")) || name == format!("{module}.rs");
            for (line, code) in code_lines(&text).filter(|_| is_in) {
                let code = code.trim_start();
                let names_it = |wanted: &str| {
                    code.match_indices(wanted).any(|(at, _)| {
                        let before = code[..at].chars().next_back();
                        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    })
                };
                for wanted in *names {
                    assert!(!names_it(wanted), "{name}:{line} names {wanted}: {code}");
                }
            }
        }
    }
}

/// The leaves are named only where they are wired.
#[test]
fn leaves_are_wired_in_one_place() {
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        let may = name == "daemon/src/lib.rs"
            || name.starts_with("daemon/src/commands")
            || name.starts_with("daemon/src/store")
            || name.starts_with("daemon/src/blobs")
            || !name.starts_with("daemon/src")
            || is_test(&path);
        for (line, code) in code_lines(&text).filter(|_| !may) {
            for leaf in ["SledStore", "DiskBlobs", "S3Blobs", "store::sled", "blobs::disk", "blobs::s3"] {
                assert!(!code.contains(leaf), "{name}:{line} names {leaf}: {code}");
            }
        }
    }
}

/// Every file says first what it knows.
#[test]
fn every_file_has_a_header() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{} begins with {first:?}", path.display());
    }
}

/// Nothing is left for later, and nothing panics for want of a sentence.
#[test]
fn nothing_is_left_behind() {
    let left: Vec<String> =
        ["TO", "FIX", "XX"].iter().zip(["DO", "ME", "X"]).map(|(one, other)| format!("{one}{other}")).collect();
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    for (path, text) in sources() {
        for (line, code) in (1..).zip(text.lines()) {
            let told = || format!("{}:{line}: {code}", path.display());
            for word in left.iter().chain(&macros) {
                assert!(!code.contains(word.as_str()), "{}", told());
            }
        }
        for (line, code) in code_lines(&text).filter(|_| !is_test(&path)) {
            assert!(!code.contains(".unwrap()"), "{}:{line}: {code}", path.display());
        }
    }
}

/// No file is named for what it is not.
#[test]
fn names_of_files() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["utils", "util", "misc", "helpers", "manager", "mod"].contains(&stem), "{}", path.display());
    }
}

/// Each problem type tells when it occurs and what to do.
#[test]
fn problem_types_are_documented() {
    for kind in ProblemType::ALL {
        assert!(kind.text().len() > 40 && kind.text().ends_with('.'), "{}", kind.slug());
        assert!(!kind.title().ends_with('.'), "{}", kind.slug());
    }
}

/// `.env.sample` is what the program prints, and names every setting of the code.
#[test]
fn sample_is_in_step() {
    let daemon = Daemon::prepared(&[]);
    let printed = daemon.run(&["config", "sample"], "");
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    let file = fs::read_to_string(workspace().join(".env.sample")).unwrap();
    assert_eq!(file, printed, ".env.sample: run `mregd config sample > .env.sample`");
}
