//! What runs in the background, and what of it failed.

use crate::clean::{clean, wrap};
use crate::state::State;
use crate::state::changes::{Entry, Run, Running, Status};
use crate::time::{Now, bytes, duration, grouped};
use crate::view::pen::{Line, MARKER, Text, Tone};

/// Failures that are listed of one run.
const FAILURES_SHOWN: usize = 50;

pub(super) fn lines(state: &State, columns: u16, selected: usize) -> Vec<Line> {
    let mut text = Text::new(columns);
    if state.changes.runs.is_empty() && state.changes.jobs.is_empty() {
        text.words(1, "nothing runs, and nothing has run", Tone::Plain);
    }
    for (place, entry) in state.changes.newest_first().into_iter().enumerate() {
        let mark = if place == selected { MARKER } else { " " };
        match entry {
            Entry::Job(id) => {
                if let Some(job) = state.changes.jobs.get(&id) {
                    of_job(state, job, columns, mark, &mut text);
                }
            }
            Entry::Run(number) => {
                if let Some(run) = state.changes.runs.get(&number) {
                    of_run(state, run, columns, mark, &mut text);
                }
            }
        }
    }
    text.lines()
}

/// What it is and how it stands, whole: under itself where the line is too short.
fn head(text: &mut Text, columns: u16, mark: &str, said: &str, tone: Tone) {
    let mut lead = vec![(format!("{mark} "), Tone::Bold)];
    for line in wrap(&clean(said), usize::from(columns).saturating_sub(4)) {
        lead.push((line, tone));
        text.pieces(std::mem::replace(&mut lead, vec![("  ".to_owned(), Tone::Plain)]));
    }
}

fn of_job(state: &State, job: &Running, columns: u16, mark: &str, text: &mut Text) {
    let tone = if matches!(job.outcome, Some(Err(_))) { Tone::Warn } else { Tone::Plain };
    let said = format!("{}  {}", state.times().time_of_day(job.began.wall_seconds), job.title);
    head(text, columns, mark, &said, tone);
    text.words(12, &standing(job), Tone::Plain);
}

fn of_run(state: &State, run: &Run, columns: u16, mark: &str, text: &mut Text) {
    let tone = if run.failed() > 0 { Tone::Warn } else { Tone::Plain };
    head(text, columns, mark, &headline(run, state.times()), tone);
    let failures = run.items.iter().filter_map(|item| match &item.status {
        Status::Failed(why) => Some(format!("{}: {why}", item.change.object.name())),
        Status::Unknown { why, .. } => Some(format!("{}: not known: {why}", item.change.object.name())),
        _ => None,
    });
    let failures: Vec<String> = failures.collect();
    for failure in failures.iter().take(FAILURES_SHOWN) {
        text.words(12, failure, Tone::Plain);
    }
    if let Some(more) = failures.len().checked_sub(FAILURES_SHOWN).filter(|more| *more > 0) {
        text.words(12, &format!("and {more} more"), Tone::Dim);
    }
}

/// `61 %, 24 MiB of 40 MiB, 12 MiB/s, 41 s left`, or how it ended.
pub(super) fn standing(job: &Running) -> String {
    let number = |number: u64| if job.in_octets { bytes(number) } else { grouped(number) };
    match &job.outcome {
        Some(Ok(text)) => return text.clone(),
        Some(Err(why)) => return why.clone(),
        None => {}
    }
    let mut said = Vec::new();
    if job.paused {
        said.push("paused (p goes on)".to_owned());
    } else if !job.standing.is_empty() {
        said.push(job.standing.clone());
    }
    match job.total {
        Some(total) => {
            let share = job.done.saturating_mul(100).checked_div(total).unwrap_or(100);
            said.push(format!("{share} %, {} of {}", number(job.done), number(total)));
        }
        None => said.push(number(job.done)),
    }
    let goes = !job.paused && job.standing.is_empty();
    if let Some((rate, left)) = job.rate().filter(|_| job.done > 0 && goes) {
        said.push(format!("{}/s", number(rate)));
        said.extend(left.map(|left| format!("{} left", duration(left))));
    }
    said.join(", ")
}

fn headline(run: &Run, now: Now) -> String {
    let verb = run.items.first().map(|item| item.change.verb()).unwrap_or_default();
    let undo = if run.is_undo { "undo: " } else { "" };
    let what = match run.items.as_slice() {
        [only] => only.change.object.name(),
        many => format!("{} things", many.len()),
    };
    let time = now.time_of_day(run.began.wall_seconds);
    let (done, all, failed) = (run.done(), run.items.len(), run.failed());
    // A single one needs no numbers, and what is over says so by what came of it.
    let mut came = match (all, done, failed) {
        (1, 1, _) => "done".to_owned(),
        (1, _, 1) => "failed".to_owned(),
        (_, _, 0) => format!("{done} of {all} done"),
        _ => format!("{done} of {all} done, {failed} failed"),
    };
    if !run.is_over() {
        came += ", runs";
    }
    format!("{time}  {undo}{verb} {what}: {came}")
}
