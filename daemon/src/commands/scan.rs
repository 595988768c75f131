//! `mregd scan`: inspects files without a registry, by the rules that a registry goes by. Knows folders, how a verdict is told
//! to a person or a program, and exit codes; refuses to know formats.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use common::shown::shown;
use serde_json::{Value, json};

use super::{Failed, say};
use crate::cli::{Exit, ScanArgs};
use crate::inspect::{self, Allowed, Inspection, Limits, Ruleset, Verdict};
use crate::inspection::pool::Workers;
use crate::inspection::{Inspector, LocalFile};

/// Characters of a path that are shown.
const PATH_CHARS_MAX: usize = 1024;

/// Inspects each file, and each file below each folder, in the order of their names.
pub(super) fn scan(asked: &ScanArgs) -> Result<Exit, Failed> {
    let inspector = Workers::new(Ruleset::new(allowed(asked)?), Limits::default());
    let mut worst = Verdict::Clean;
    let mut unread = 0_u32;
    for given in &asked.files {
        for path in files(given)? {
            match look(&inspector, &path) {
                Ok(inspection) => {
                    worst = worst.max(inspection.verdict());
                    say(&told(asked, &path, &inspection, inspector.ruleset().id()))?;
                }
                Err(error) => {
                    unread += 1;
                    crate::cli::err(&format!("error: {}: {error}", shown(&path.display().to_string(), PATH_CHARS_MAX)));
                }
            }
        }
    }
    if unread > 0 {
        return Err(Failed::new(
            Exit::NoInput,
            format_args!("{unread} could not be read, so there is no verdict on all"),
        ));
    }
    Ok(match worst {
        Verdict::Clean => Exit::Ok,
        Verdict::Suspicious => Exit::Suspicious,
        Verdict::Unscannable => Exit::Unscannable,
        Verdict::Malicious => Exit::Malicious,
    })
}

fn allowed(asked: &ScanArgs) -> Result<Allowed, Failed> {
    let mut globals = BTreeSet::new();
    for global in &asked.allow_global {
        let (module, name) =
            global.rsplit_once('.').filter(|(module, name)| !module.is_empty() && !name.is_empty()).ok_or_else(
                || Failed::new(Exit::Usage, format_args!("--allow-global takes MODULE.NAME, not '{global}'")),
            )?;
        globals.insert((module.to_owned(), name.to_owned()));
    }
    Ok(Allowed { globals, prefixes: BTreeSet::new() })
}

fn look(inspector: &dyn Inspector, path: &Path) -> io::Result<Inspection> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("neither a file nor a folder"));
    }
    inspector.inspect(&LocalFile::new(file)?, &path.to_string_lossy())
}

/// The file itself, or all files below a folder. Links within folders are not followed: they may lead in circles.
fn files(given: &Path) -> Result<Vec<PathBuf>, Failed> {
    let failed =
        |path: &Path, error: &io::Error| Failed::new(Exit::NoInput, format_args!("{}: {error}", path.display()));
    let metadata = fs::metadata(given).map_err(|error| failed(given, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![given.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(|error| failed(&folder, &error))? {
            match entry.file_type().map_err(|error| failed(&entry.path(), &error))? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _link_or_device => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// One file's verdict, as a line of JSON or as lines for a person.
fn told(asked: &ScanArgs, path: &Path, inspection: &Inspection, ruleset: &str) -> String {
    let path = path.to_string_lossy();
    let verdict = inspection.verdict().as_str();
    if asked.json {
        let name = path.rsplit('/').next().unwrap_or_default();
        let findings: Vec<Value> = inspection
            .findings
            .iter()
            .map(|finding| {
                // The member's path begins with `/`, an octet of the file itself with `@`.
                let between = if finding.place.is_empty() || finding.place.starts_with(['@', '#']) { "" } else { "/" };
                json!({
                    "rule": finding.rule,
                    "level": finding.level,
                    "where": format!("{name}{between}{}", finding.place),
                    "detail": finding.detail,
                })
            })
            .collect();
        let line = json!({
            "file": path,
            "verdict": verdict,
            "format": inspection.format,
            "ruleset": ruleset,
            "findings": findings,
            "facts": inspection.facts,
        });
        return format!("{line}\n");
    }
    let mut text = format!("{}: {verdict} ({})\n", shown(&path, PATH_CHARS_MAX), inspection.format);
    for finding in &inspection.findings {
        let place = if finding.place.is_empty() { String::new() } else { format!(" {}", finding.place) };
        text.push_str(&format!("  {} {}{place}: {}\n", finding.level.as_str(), finding.rule, finding.detail));
        if asked.explain
            && let Some(rule) = inspect::rule(&finding.rule)
        {
            text.push_str(&format!("    {}\n", rule.meaning));
        }
    }
    text
}
