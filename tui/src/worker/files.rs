//! Files that are kept: what is believed of a log, replaced as a whole; evidence and exports, never written over anything.
//! All are for their user alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::trust::{Checked, Kept, Said, UNSENT_MAX};

/// Octets of the longest file of what is kept.
const KEPT_OCTETS_MAX: u64 = 4 * 1024 * 1024;
/// Files of evidence of one log.
const EVIDENCE_MAX: usize = 256;
/// Names that are tried for a new file.
const NAMES_MAX: u32 = 1_000;

/// A copy of a file that was kept, under a new name in a folder; its path.
///
/// # Errors
/// A sentence with what the system says.
pub fn bring(folder: &Path, from: &str, name: &str) -> Result<String, String> {
    let text = fs::read_to_string(from).map_err(|error| format!("{from} can't be read: {error}"))?;
    write_new(folder, name, &text).map_err(|error| format!("{name} can't be written here: {error}"))
}

/// Names that are looked at in a folder: in one with more, not all are found.
const ENTRIES_MAX: usize = 20_000;
/// Names that are offered.
const OFFERED_MAX: usize = 200;

/// Files and folders whose names begin as typed, with the folder as it was typed, in the order of their names; a folder ends in
/// `/`. Hidden ones are found where their dot is typed.
pub fn names_beginning(typed: &str) -> Vec<String> {
    let (folder, begin) = typed.rfind('/').map_or(("", typed), |slash| typed.split_at(slash + 1));
    let Ok(entries) = fs::read_dir(if folder.is_empty() { "." } else { folder }) else { return Vec::new() };
    let names = entries.take(ENTRIES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_wanted = |name: &String| name.starts_with(begin) && (!name.starts_with('.') || begin.starts_with('.'));
    let mut names: Vec<String> = names.filter(is_wanted).collect();
    names.sort_unstable();
    let kind = |name: String| {
        let path = format!("{folder}{name}");
        let about = fs::metadata(&path).ok()?;
        match (about.is_dir(), about.is_file()) {
            (true, _) => Some(path + "/"),
            (false, true) => Some(path),
            // Neither a pipe nor a device is a model.
            (false, false) => None,
        }
    };
    names.into_iter().filter_map(kind).take(OFFERED_MAX).collect()
}

/// The name of a daemon in names of files.
fn plain(address: &str) -> String {
    address.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect()
}

/// Where what is believed of a daemon's log is kept.
pub fn pin_path(folder: &Path, address: &str) -> PathBuf {
    folder.join(format!("log-{}.json", plain(address)))
}

/// What was kept; none where nothing was.
///
/// # Errors
/// A sentence about a file that is there and cannot be used: it is then not written over.
pub fn read_kept(folder: &Path, address: &str) -> Result<Option<Kept>, String> {
    let path = pin_path(folder, address);
    let shown = path.display();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("what was pinned of the log can't be read: {shown}: {error}")),
    };
    let mut text = String::new();
    file.take(KEPT_OCTETS_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("what was pinned of the log can't be read: {shown}: {error}"))?;
    match serde_json::from_str::<Kept>(&text) {
        Ok(kept) if kept.version == crate::trust::KEPT_VERSION => Ok(Some(kept)),
        Ok(kept) => Err(format!("{shown} is of form {}, which this console does not know", kept.version)),
        Err(error) => Err(format!("{shown} is damaged ({error}); move it away to pin the log anew")),
    }
}

fn size_of(kept: &Kept) -> u64 {
    kept.note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// Keeps what is believed. Another console may have kept more: its alarm stays, and so does its newer checkpoint, unless
/// a person decided.
///
/// # Errors
/// What the system says.
pub fn save_kept(folder: &Path, kept: &Kept, force: bool) -> io::Result<()> {
    let mut kept = kept.clone();
    let there = read_kept(folder, &kept.address).ok().flatten();
    if let Some(there) = &there {
        // What another console has to send, and what it checked later, stays.
        let is_news =
            |said: &&Said| kept.unsent.iter().all(|one| one.key != said.key) && !kept.settled.contains(&said.key);
        let more: Vec<Said> = there.unsent.iter().filter(is_news).cloned().collect();
        kept.unsent.extend(more);
        kept.unsent.truncate(UNSENT_MAX);
        let at = |check: &Option<Checked>| check.as_ref().map(|check| check.at);
        if at(&there.full_check) > at(&kept.full_check) {
            kept.full_check.clone_from(&there.full_check);
        }
    }
    if !force && let Some(there) = there {
        if kept.alarm.is_none() {
            kept.alarm.clone_from(&there.alarm);
        }
        if there.keys.first() == kept.keys.first() {
            kept.confirmed |= there.confirmed;
            if size_of(&there) > size_of(&kept) {
                (kept.note, kept.seen_at) = (there.note, there.seen_at);
            }
        }
    }
    let text = serde_json::to_string_pretty(&kept).map_err(io::Error::other)?;
    replace(&pin_path(folder, &kept.address), &text)
}

/// Writes a file in place of the one of its name, as a whole.
///
/// # Errors
/// What the system says.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    if written.is_err() {
        drop(fs::remove_file(&part));
    }
    written
}

/// Writes evidence, named after the log and the time.
///
/// # Errors
/// A sentence.
pub fn write_evidence(folder: &Path, address: &str, name: &str, stamp: &str, text: &str) -> Result<String, String> {
    let fail = |error: &dyn std::fmt::Display| format!("the evidence can't be kept in {}: {error}", folder.display());
    create_folder(folder).map_err(|error| fail(&error))?;
    let begin = format!("{name}-{}-", plain(address));
    let there = fs::read_dir(folder).map_err(|error| fail(&error))?.flatten();
    let there = there.filter(|file| file.file_name().to_string_lossy().starts_with(&begin)).count();
    if there >= EVIDENCE_MAX {
        return Err(fail(&format_args!("there are {EVIDENCE_MAX} files already")));
    }
    write_new(folder, &format!("{begin}{stamp}.json"), text).map_err(|error| fail(&error))
}

/// Writes a file of a name that is free; JSON, where the name has no ending.
///
/// # Errors
/// What the system says.
pub fn write_new(folder: &Path, name: &str, text: &str) -> io::Result<String> {
    let (name, ending) = name.rsplit_once('.').unwrap_or((name, "json"));
    for number in 1..NAMES_MAX {
        let again = if number > 1 { format!("-{number}") } else { String::new() };
        let path = folder.join(format!("{name}{again}.{ending}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()?;
                return Ok(path.display().to_string());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "all names are taken"))
}

fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;

    use super::{OFFERED_MAX, names_beginning, pin_path, read_kept, save_kept, write_evidence, write_new};
    use crate::trust::{Alarm, BreachKind, KEPT_VERSION, Kept};

    fn kept(size: u64) -> Kept {
        Kept {
            version: KEPT_VERSION,
            address: "127.0.0.1:8000".into(),
            keys: vec!["k".into()],
            confirmed: false,
            note: format!("o\n{size}\nr\n"),
            seen_at: 5,
            alarm: None,
            unsent: Vec::new(),
            settled: Vec::new(),
            full_check: None,
        }
    }

    /// Names are offered as they are typed on, hidden ones where their dot is typed, however many there are.
    #[test]
    fn names_as_typed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", folder.path().display());
        for name in ["model.pkl", "model.safetensors", "other.bin", ".hidden"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::fs::create_dir(at("models")).unwrap();
        std::fs::write(at("models/a b"), "x").unwrap();
        let found = |typed: &str| -> Vec<String> {
            let lead = at("");
            let found = names_beginning(&at(typed)).into_iter();
            found.map(|name| name.strip_prefix(&lead).unwrap().to_owned()).collect()
        };
        assert_eq!(found("mod"), ["model.pkl", "model.safetensors", "models/"]);
        assert_eq!(found(""), ["model.pkl", "model.safetensors", "models/", "other.bin"]);
        assert_eq!(found("models/"), ["models/a b"]);
        assert_eq!(found("."), [".hidden"]);
        assert_eq!((found("x"), found("nowhere/x")), (vec![], vec![]));
        for number in 0..OFFERED_MAX + 10 {
            std::fs::write(at(&format!("n{number:04}")), "x").unwrap();
        }
        assert_eq!(found("n").len(), OFFERED_MAX);
    }

    /// What is kept is private, replaced as a whole, and neither an alarm nor a newer checkpoint is lost to another console.
    #[test]
    fn kept_between_consoles() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/mreg");
        assert_eq!(read_kept(&folder, "127.0.0.1:8000"), Ok(None));
        save_kept(&folder, &kept(5), false).unwrap();
        let path = pin_path(&folder, "127.0.0.1:8000");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let alarm = Alarm {
            kind: BreachKind::Fork,
            what: "w".into(),
            facts: vec![],
            index: None,
            at: 1,
            evidence: None,
            last_good: None,
            last_good_at: 0,
        };
        save_kept(&folder, &Kept { alarm: Some(alarm), ..kept(9) }, false).unwrap();
        save_kept(&folder, &kept(7), false).unwrap();
        let read = read_kept(&folder, "127.0.0.1:8000").unwrap().unwrap();
        assert_eq!((read.note.as_str(), read.alarm.is_some()), ("o\n9\nr\n", true));
        save_kept(&folder, &kept(7), true).unwrap();
        assert_eq!(read_kept(&folder, "127.0.0.1:8000"), Ok(Some(kept(7))));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::write(&path, "{").unwrap();
        assert!(read_kept(&folder, "127.0.0.1:8000").unwrap_err().contains("damaged"));
    }

    /// Evidence is private and never written over.
    #[test]
    fn evidence() {
        let folder = tempfile::tempdir().unwrap();
        let one = write_evidence(folder.path(), "h:1", "evidence", "20260722T120000Z", "one").unwrap();
        let two = write_evidence(folder.path(), "h:1", "evidence", "20260722T120000Z", "two").unwrap();
        assert_ne!(one, two);
        let named = write_evidence(folder.path(), "127.0.0.1", "evidence", "s", "one").unwrap();
        assert!(named.ends_with("/evidence-127.0.0.1-s.json"), "{named}");
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "one\n");
        assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(folder.path(), "x", "y").unwrap().ends_with("/x.json"));
        assert!(write_new(folder.path(), "x.txt", "y").unwrap().ends_with("/x.txt"));
        assert!(write_new(folder.path(), "x.txt", "y").unwrap().ends_with("/x-2.txt"));
    }
}
