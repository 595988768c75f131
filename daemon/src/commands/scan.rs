//! `mregd scan`: inspects files without a registry, by the rules that a registry goes by. Knows folders, how a verdict is told
//! to a person or a program, and exit codes; refuses to know formats.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::shown::shown;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::{Failed, say};
use crate::cli::{Exit, ScanArgs};
use crate::inspect::{self, Allowed, Finding, Inspection, Limits, Ruleset, Verdict};
use crate::inspection::pool::Workers;
use crate::inspection::{Inspector, LocalFile};

/// Characters of a path that are shown.
const PATH_CHARS_MAX: usize = 1024;

/// Inspects each file, and each file below each folder, in the order of their names.
pub(super) fn scan(asked: &ScanArgs) -> Result<Exit, Failed> {
    let allowed = Allowed {
        globals: asked.allow_global.iter().flatten().cloned().collect(),
        prefixes: asked.allow_prefix.iter().flatten().cloned().collect(),
    };
    let inspector = Workers::new(Ruleset::new(allowed), Limits::default());
    let mut worst = Verdict::Clean;
    let (mut unread, mut inspected) = (0_u32, 0_u64);
    let mut unreadable = |path: &Path, error: &io::Error| {
        unread += 1;
        crate::cli::err(&format!("error: {}: {error}", shown(&path.display().to_string(), PATH_CHARS_MAX)));
    };
    for given in &asked.files {
        for path in files(given, &mut unreadable) {
            match look(&inspector, &path) {
                Ok(inspection) => {
                    inspected += 1;
                    worst = worst.max(inspection.verdict());
                    say(&told(asked, &path, &inspection, inspector.ruleset().id()))?;
                }
                Err(error) => unreadable(&path, &error),
            }
        }
    }
    if unread > 0 {
        return Err(Failed::new(
            Exit::NoInput,
            format_args!("{unread} could not be read, so there is no verdict on all"),
        ));
    }
    if inspected == 0 {
        // An empty folder, or one of links: no verdict on nothing, or a gate that trusts the exit code would open.
        return Err(Failed::new(Exit::NoInput, "there is no file to inspect; links within folders are not followed"));
    }
    Ok(match worst {
        Verdict::Clean => Exit::Ok,
        Verdict::Suspicious => Exit::Suspicious,
        Verdict::Unscannable => Exit::Unscannable,
        Verdict::Malicious => Exit::Malicious,
    })
}

fn look(inspector: &dyn Inspector, path: &Path) -> io::Result<Inspection> {
    // Not to wait for whoever may write into a pipe.
    let without_waiting = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(without_waiting).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("neither a file nor a folder"));
    }
    // Files of the kernel say that they are empty and are not.
    if metadata.len() == 0 && (&file).read(&mut [0])? > 0 {
        return Err(io::Error::other("a file that does not say how long it is"));
    }
    inspector.inspect(&LocalFile::new(file)?, &path.to_string_lossy())
}

/// The file itself, or all files below a folder. Links within folders are not followed: they may lead in circles. What can't
/// be read is told, and the rest is looked at all the same.
fn files(given: &Path, unreadable: &mut dyn FnMut(&Path, &io::Error)) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    match fs::metadata(given) {
        Ok(metadata) if metadata.is_dir() => folders.push(given.to_owned()),
        Ok(_) => found.push(given.to_owned()),
        Err(error) => unreadable(given, &error),
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                unreadable(&folder, &error);
                continue;
            }
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok((kind, path)) if kind.is_dir() => folders.push(path),
                Ok((kind, path)) if kind.is_file() => found.push(path),
                Ok(_link_or_device) => {}
                Err(error) => {
                    unreadable(&folder, &error);
                    break;
                }
            }
        }
    }
    found.sort();
    found
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
                let mut shown = json!({
                    "rule": finding.rule,
                    "level": finding.level,
                    "where": format!("{name}{between}{}", finding.place),
                    "detail": finding.detail,
                });
                if let Some(meaning) = meaning(asked, finding) {
                    shown["meaning"] = meaning.into();
                }
                shown
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
        if let Some(meaning) = meaning(asked, finding) {
            text.push_str(&format!("    {meaning}\n"));
        }
    }
    text
}

/// What a finding's rule means, where that is asked for.
fn meaning(asked: &ScanArgs, finding: &Finding) -> Option<&'static str> {
    inspect::rule(&finding.rule).filter(|_| asked.explain).map(|rule| rule.meaning)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustix::fs::{CWD, Mode};

    use super::{files, look};
    use crate::inspection::InProcess;

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(look(&InProcess::default(), &pipe).is_err());
        // Says that it has no octets, and has some.
        assert!(look(&InProcess::default(), Path::new("/proc/self/status")).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        for name in ["b", "a\nb", "below/c"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
        let mut told = 0;
        let found = files(folder.path(), &mut |_, _| told += 1);
        assert_eq!((found.len(), told), (3, 0));
        assert!(files(&folder.path().join("missing"), &mut |_, _| told += 1).is_empty());
        assert_eq!(told, 1);
    }
}
