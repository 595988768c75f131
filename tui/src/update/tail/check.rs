//! A check of many entries of the log, or of all: asked for by a person, done in the background, its result kept.

use super::wanted;
use crate::action::{Action, Job};
use crate::state::{Level, Prompt, PromptKind, State};
use crate::trust::Checked;
use crate::update::{jobs, say};

/// Entries from one on, up to but without another.
pub(in crate::update) type Part = (Option<u64>, Option<u64>);

/// Asks which entries.
pub(super) fn ask(state: &mut State, out: &mut Vec<Action>) {
    if is_running(state) {
        return say(state, Level::Info, "a check runs; C stops it", out);
    }
    state.prompt = Some(Prompt { kind: PromptKind::Check, line: crate::edit::Line::new(""), error: None });
}

/// Reads `100-199`, `100-`, `100`, or nothing for all of them. The last entry is one of them.
pub(in crate::update) fn range(text: &str) -> Result<Part, String> {
    let wrong = || "all entries, or 100-199, or 100- for those from 100 on".to_owned();
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_no_number| wrong());
    let text = text.trim();
    if text.is_empty() || text == "all" {
        return Ok((None, None));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let from = number(from)?;
    let to = if to.trim().is_empty() { None } else { Some(number(to)?.saturating_add(1)) };
    if to.is_some_and(|to| to <= from) {
        return Err(wrong());
    }
    Ok((Some(from), to))
}

fn is_running(state: &State) -> bool {
    let job = state.log.checking.and_then(|id| state.changes.jobs.get(&id));
    job.is_some_and(|job| job.outcome.is_none())
}

/// Begins it, with the keys that are known.
pub(in crate::update) fn check(state: &mut State, (from, to): Part, out: &mut Vec<Action>) -> Result<(), String> {
    if is_running(state) {
        return Err(format!("a check runs already; {} shows it", state.key_or("J", "jobs")));
    }
    let keys = state.log.trust.keys().to_vec();
    if keys.is_empty() {
        return Err("the log\u{2019}s key is not known, so nothing can be checked".to_owned());
    }
    let title = match (from, to) {
        (None, None) => "check of the whole log".to_owned(),
        (from, None) => format!("check of the entries from {} on", from.unwrap_or(0)),
        (from, Some(to)) => format!("check of the entries {} to {}", from.unwrap_or(0), to - 1),
    };
    let saved = state.log.trust.pin().map(|pin| pin.checkpoint.clone());
    let id = jobs::begin(state, title, false, Job::Check { from, to, keys, saved }, out)?;
    state.log.checking = Some(id);
    Ok(())
}

/// Gives it up.
pub(super) fn stop(state: &mut State, out: &mut Vec<Action>) {
    match state.log.checking {
        Some(id) if is_running(state) => jobs::stop(state, id, out),
        _ => say(state, Level::Info, "no check runs", out),
    }
}

/// What it came to.
pub(in crate::update) fn checked(state: &mut State, checked: Checked, out: &mut Vec<Action>) {
    let (now, mut wants) = (state.now, Vec::new());
    let checked = Checked { at: now.wall_seconds, ..checked };
    state.log.trust.checked(&checked, now, &mut wants);
    state.log.last_check = Some(checked);
    wanted(state, wants, out);
}

#[cfg(test)]
mod tests {
    use super::range;

    /// What is typed names the last entry; what is kept, the one behind it.
    #[test]
    fn ranges() {
        for (text, is) in [
            ("", Some((None, None))),
            ("all", Some((None, None))),
            ("100-199", Some((Some(100), Some(200)))),
            (" 100 - ", Some((Some(100), None))),
            ("7", Some((Some(7), Some(8)))),
            ("0-0", Some((Some(0), Some(1)))),
            ("9-7", None),
            ("-5", None),
            ("x", None),
            ("1-2-3", None),
        ] {
            assert_eq!(range(text).ok(), is, "{text:?}");
        }
    }
}
