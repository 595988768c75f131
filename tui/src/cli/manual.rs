//! `mreg completions` and `mreg man`: what the command line says of itself, and beside it the environment, the files, the
//! exit statuses and the keys, each from the one place that knows it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use common::manual::{Manual, Part, Section, Shell};

use super::CliError;
use crate::acts::ACTS;
use crate::config::{Arguments, ENVIRONMENT, FILES, STATUSES};
use crate::keymap::{Context, TABLE, VERBS};

/// The manual.
fn manual() -> Manual {
    let terms = |rows: &[(&str, &str)]| -> Vec<Part> {
        rows.iter().map(|(term, text)| Part::Term((*term).to_owned(), (*text).to_owned())).collect()
    };
    let section = |title, everywhere, parts| Section { title, everywhere, parts };
    Manual {
        command: Arguments::command(),
        section: 1,
        sections: vec![
            section("KEYS", false, keys()),
            section("COMMANDS OF THE CONSOLE", false, palette()),
            section("CHANGES", false, changes()),
            section("ENVIRONMENT", false, terms(&ENVIRONMENT)),
            section("FILES", false, terms(&FILES)),
            section("EXIT STATUS", true, terms(&STATUSES)),
        ],
    }
}

/// The one table of commands.
fn keys() -> Vec<Part> {
    let mut parts = vec![Part::Text(
        "Other keys can be set in the configuration, by the name that mreg keys lists. A number before a key repeats it."
            .to_owned(),
    )];
    for context in Context::ALL {
        let mut rows = TABLE.iter().filter(|binding| binding.context == context).peekable();
        if rows.peek().is_some() {
            parts.push(Part::Head(format!("{context:?}")));
        }
        parts.extend(rows.map(|binding| Part::Term(binding.keys.join(" "), binding.help.to_owned())));
    }
    parts
}

/// Those that are typed after a colon.
fn palette() -> Vec<Part> {
    VERBS.iter().map(|verb| Part::Term(format!(":{} {}", verb.word, verb.words), verb.help.to_owned())).collect()
}

/// Those that `do` takes.
fn changes() -> Vec<Part> {
    let mut parts =
        vec![Part::Text("Given to mreg do, and at the prompt of mreg --plain. Each needs its permission.".to_owned())];
    parts.extend(ACTS.iter().map(|act| {
        let needs = act.permission().map(|permission| format!(" ({permission})")).unwrap_or_default();
        Part::Term(act.usage(), format!("{}{needs}", act.help()))
    }));
    parts
}

/// Prints completions.
pub(super) fn completions(shell: Shell) -> Result<(), CliError> {
    let script = common::manual::completions(Arguments::command(), shell);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

/// Prints the page of the program, or writes all pages. Pages that are there already are of an older program: they are
/// replaced.
pub(super) fn man(out: Option<&Path>) -> Result<(), CliError> {
    let pages = manual().pages()?;
    let Some(folder) = out else {
        let mut out = io::stdout().lock();
        if let Some(page) = pages.first() {
            out.write_all(&page.text)?;
        }
        return Ok(out.flush()?);
    };
    let told = |cause: io::Error| CliError::Refused(format!("{}: {cause}", folder.display()));
    fs::create_dir_all(folder).map_err(told)?;
    for page in &pages {
        fs::write(folder.join(&page.name), &page.text).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use clap::CommandFactory;

    use super::manual;
    use crate::acts::ACTS;
    use crate::config::{Arguments, ENVIRONMENT, STATUSES};
    use crate::keymap::TABLE;

    /// A page for every command; every key, change, variable and status on the first.
    #[test]
    fn complete() {
        let pages = manual().pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for command in Arguments::command().get_subcommands() {
            let name = format!("mreg-{}.1", command.get_name());
            assert!(names.contains(&name.as_str()), "{name}: {names:?}");
        }
        assert!(names.contains(&"mreg-config-check.1"));
        let text = String::from_utf8(pages[0].text.clone()).unwrap();
        let roff = |text: &str| text.replace('\\', "\\\\").replace('-', "\\-").replace('\'', "\\*(Aq");
        for part in TABLE.iter().map(|binding| binding.help).chain(ACTS.iter().map(|act| act.word)) {
            assert!(text.contains(part) || text.contains(&roff(part)), "{part}");
        }
        for (term, _) in ENVIRONMENT.iter().chain(&STATUSES) {
            assert!(text.contains(term), "{term}");
        }
    }
}
