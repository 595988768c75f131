//! `mregd completions` and `mregd man`: what the command line says of itself, and beside it the settings, the files and the
//! exit codes, each from the one place that knows it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use common::manual::{self, ManPage, Manual, Part, Section, Shell};

use crate::cli::{self, Cli, EXIT_CODES, Exit};
use crate::config::settings::{Default, GROUPS, Kind, Setting};

/// Files that people meet; `MREG_DATA_DIR` and `MREG_KEY_DIR` are the settings of that name.
const FILES: [(&str, &str); 8] = [
    (
        "./.env",
        "settings, where the environment has none of that name; mregd config sample prints one that documents all",
    ),
    ("/etc/mregd/mregd.env", "settings of the service, as the unit file has it"),
    ("$CREDENTIALS_DIRECTORY/NAME", "a secret setting in lower case, handed over by systemd (LoadCredential=)"),
    ("MREG_DATA_DIR/log", "the audit log, which all else is derived from: what must be backed up, and never edited"),
    ("MREG_DATA_DIR/view", "records, derived from the log; mregd log rebuild derives them again"),
    ("MREG_DATA_DIR/blobs", "the bytes of artifacts, by digest"),
    ("MREG_KEY_DIR", "the keys that sign the log; to be backed up apart from the data"),
    (
        "MREG_DROP_DIR",
        "its incoming/ takes files that become versions; processing/, done/ and rejected/ are the daemon's",
    ),
];

/// The manual.
#[must_use]
pub fn manual() -> Manual {
    let term = |(term, text): &(&str, &str)| Part::Term((*term).to_owned(), (*text).to_owned());
    let codes = EXIT_CODES.lines().skip(1).filter_map(|line| line.trim().split_once("  "));
    let codes = codes.map(|(code, meaning)| Part::Term(code.to_owned(), meaning.to_owned())).collect();
    Manual {
        command: Cli::command(),
        section: 8,
        sections: vec![
            Section { title: "ENVIRONMENT", everywhere: false, parts: environment() },
            Section { title: "FILES", everywhere: false, parts: FILES.iter().map(term).collect() },
            Section { title: "EXIT STATUS", everywhere: true, parts: codes },
        ],
    }
}

fn environment() -> Vec<Part> {
    let mut parts = vec![Part::Text(
        "Settings come from options, the environment, a .env file, secret files and systemd credentials, in this order. \
         A secret setting NAME may also be the name of a file, in NAME_FILE."
            .to_owned(),
    )];
    for group in GROUPS {
        parts.push(Part::Head(group.title.to_owned()));
        parts.extend(group.settings.iter().filter(|setting| is_taken(setting)).map(|setting| {
            let default = match &setting.default {
                Default::Text(default) => format!(" Default: {default}."),
                Default::Derived { rule, .. } => format!(" Default: {rule}."),
                Default::Unset => String::new(),
            };
            Part::Term(setting.name.to_owned(), format!("{}{default}", setting.doc))
        }));
    }
    parts
}

/// Whether the setting does something in this version.
fn is_taken(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::Plain { .. } | Kind::Secret { .. })
}

/// `mregd completions`
#[must_use]
pub fn completions(shell: Shell) -> Exit {
    let script = manual::completions(Cli::command(), shell);
    cli::out(&String::from_utf8_lossy(&script))
}

/// `mregd man`
#[must_use]
pub fn man(out: Option<&Path>) -> Exit {
    let pages = match manual().pages() {
        Ok(pages) => pages,
        Err(error) => {
            cli::err(&format!("error: the manual can't be written: {error}"));
            return Exit::Internal;
        }
    };
    match (out, pages.first()) {
        (None, Some(page)) => cli::out(&String::from_utf8_lossy(&page.text)),
        (None, None) => Exit::Internal,
        (Some(dir), _) => match write(dir, &pages) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                cli::err(&format!("error: {}: {error}", dir.display()));
                Exit::CantCreate
            }
        },
    }
}

/// Pages that are there already are of an older program: they are replaced.
fn write(dir: &Path, pages: &[ManPage]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for page in pages {
        fs::File::create(dir.join(&page.name))?.write_all(&page.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::manual;
    use crate::config::settings;

    /// Every command and every setting is there; what is no command of people is not.
    #[test]
    fn complete() {
        let pages = manual().pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in ["mregd.8", "mregd-serve.8", "mregd-log-rotate-key.8", "mregd-config-check.8", "mregd-user-add.8"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        let text = String::from_utf8(pages[0].text.clone()).unwrap();
        for setting in settings::all().filter(|setting| super::is_taken(setting)) {
            assert!(text.contains(setting.name), "{}", setting.name);
        }
        assert!(text.contains(".SH \"EXIT STATUS\"") && text.contains(".SH FILES"));
        assert!(!names.iter().any(|name| name.contains("worker")), "{names:?}");
    }
}
