//! Work in the background: jobs and runs of changes, how far they are, what of them failed.

use super::{course, say, say_result};
use crate::access::refusal_on;
use crate::action::{Action, Entries, Job, Report, RequestId, Rows};
use crate::event::{Code, Key};
use crate::export::{Form, Format, Kind};
use crate::state::audit::Line;
use crate::state::changes::{Entry, RUNS_MAX, Running};
use crate::state::{Level, Overlay, Screen, State};
use crate::time::grouped;
use common::api::VersionInfo;
use common::client::HeldQuery;
use common::role::Permission;
use serde::Serialize;
use serde_json::Value;

/// Jobs that run at once.
const JOBS_MAX: usize = 4;

/// In the order of the list.
fn entries(state: &State) -> Vec<Entry> {
    state.changes.newest_first()
}

pub(super) fn key(state: &mut State, selected: usize, key: Key, out: &mut Vec<Action>) {
    let entries = entries(state);
    let last = entries.len().saturating_sub(1);
    let to = match (key.code, key.ctrl) {
        (Code::Char('j'), false) | (Code::Down, _) => (selected + 1).min(last),
        (Code::Char('k'), false) | (Code::Up, _) => selected.saturating_sub(1),
        (Code::Char('G'), false) | (Code::End, _) => last,
        (Code::Char('g'), false) | (Code::Home, _) => 0,
        (Code::Char('r'), false) => {
            match entries.get(selected) {
                Some(Entry::Run(number)) => course::retry_failed(state, *number, out),
                Some(Entry::Job(_)) | None => say(state, Level::Info, "give its command again; : Up has it", out),
            }
            return;
        }
        (Code::Char('p'), false) => {
            match entries.get(selected) {
                Some(Entry::Job(id)) => pause(state, *id, out),
                Some(Entry::Run(_)) | None => {}
            }
            return;
        }
        (Code::Char('C'), false) => {
            match entries.get(selected) {
                Some(Entry::Run(number)) => course::cancel(state, *number, out),
                Some(Entry::Job(id)) => stop(state, *id, out),
                None => {}
            }
            return;
        }
        (Code::Esc | Code::Left, _) | (Code::Char('h' | 'q' | 'J'), false) | (Code::Char('c'), true) => {
            state.overlay = None;
            return;
        }
        _ => selected,
    };
    state.overlay = Some(Overlay::Jobs(to));
}

/// Has a job stand still, or go on.
fn pause(state: &mut State, id: RequestId, out: &mut Vec<Action>) {
    let Some(job) = state.changes.jobs.get_mut(&id).filter(|job| job.outcome.is_none()) else { return };
    if !job.can_pause {
        say(state, Level::Info, "it can't stand still; C stops it", out);
        return;
    }
    job.paused = !job.paused;
    out.push(Action::JobPause(id, job.paused));
}

pub(super) fn stop(state: &mut State, id: RequestId, out: &mut Vec<Action>) {
    let Some(job) = state.changes.jobs.get_mut(&id).filter(|job| job.outcome.is_none()) else { return };
    job.outcome = Some(Err("stopped".to_owned()));
    let (title, done) = (job.title.clone(), grouped(job.done));
    out.push(Action::JobStop(id));
    if changes_models(&title) {
        say(state, Level::Warning, format!("{title}: stopped after {done} or a few more, which stay so"), out);
        super::fresh::after_own_version(state, out);
    } else {
        say(state, Level::Warning, format!("{title}: stopped"), out);
    }
}

/// Whether a job of this title changes what the lists show.
fn changes_models(title: &str) -> bool {
    ["upload", "delete", "restore"].iter().any(|word| title.starts_with(word))
}

/// Begins a job.
pub(super) fn begin(
    state: &mut State,
    title: String,
    in_octets: bool,
    job: Job,
    out: &mut Vec<Action>,
) -> Result<RequestId, String> {
    let jobs = &mut state.changes.jobs;
    if jobs.values().filter(|job| job.outcome.is_none()).count() >= JOBS_MAX {
        return Err(format!("{JOBS_MAX} jobs run already; {} shows them", state.key_or("J", "jobs")));
    }
    while jobs.len() >= RUNS_MAX
        && let Some(oldest) = jobs.iter().find(|(_, job)| job.outcome.is_some()).map(|(id, _)| *id)
    {
        jobs.remove(&oldest);
    }
    let id = RequestId(state.next_id);
    state.next_id += 1;
    let running = Running {
        title: title.clone(),
        in_octets,
        done: 0,
        base: None,
        total: None,
        standing: String::new(),
        paused: false,
        can_pause: matches!(job, Job::Upload { .. } | Job::Download { .. }),
        began: state.now,
        told: state.now,
        outcome: None,
    };
    state.changes.jobs.insert(id, running);
    out.push(Action::Job { id, job: Box::new(job) });
    let told = format!("{title}: begun; {} shows how far it is", state.key_or("J", "jobs"));
    say(state, Level::Info, told, out);
    Ok(id)
}

/// Takes what a job tells.
pub(super) fn told(state: &mut State, id: RequestId, report: Report, out: &mut Vec<Action>) {
    let now = state.now;
    let Some(job) = state.changes.jobs.get_mut(&id).filter(|job| job.outcome.is_none()) else { return };
    job.told = now;
    match report {
        Report::Going { done, total } => {
            job.base.get_or_insert(if job.in_octets { done } else { 0 });
            (job.done, job.total) = (done, total.or(job.total));
        }
        Report::Standing(what) => job.standing = what,
        Report::Checked(checked) => super::tail::checked(state, *checked, out),
        Report::Refused(refused) => course::refused(state, refused),
        Report::Over(outcome) => {
            let title = job.title.clone();
            job.outcome = Some(outcome.clone());
            let changes_models = changes_models(&title);
            match outcome {
                // What came of it names what it is of; the list of jobs has both.
                Ok(text) => {
                    let told = match title.split_once(' ') {
                        Some((word @ ("upload" | "download" | "export"), _)) => format!("{word} done: {text}"),
                        _ => format!("{title}: {text}"),
                    };
                    say_result(state, Level::Info, told, out);
                }
                Err(why) => say_result(state, Level::Error, format!("{title}: {why}"), out),
            }
            if changes_models {
                // That rows have gone is no news then.
                state.changes.told_ms = Some(now.ms);
                super::fresh::after_own_version(state, out);
            }
        }
    }
}

/// Why the console is not left at once: none where it may be. The second time it is left all the same.
pub(super) fn keeps_open(state: &mut State) -> Option<String> {
    let count = state.changes.under_way();
    if count == 0 || std::mem::replace(&mut state.changes.leaving, true) {
        return None;
    }
    Some(under_way_words(count, "q again leaves"))
}

/// What would be cut, and how it is left all the same.
pub(crate) fn under_way_words(count: usize, leaves: &str) -> String {
    let (what, are) = if count == 1 { ("job or change", "is") } else { ("jobs or changes", "are") };
    format!("{count} {what} {are} under way and would be cut: {leaves}")
}

fn documents<'a, T: Serialize + 'a>(rows: impl Iterator<Item = &'a T>) -> Vec<Value> {
    rows.filter_map(|row| serde_json::to_value(row).ok()).collect()
}

/// `export csv|jsonl|proofs screen|all|marked FILE`.
pub(super) fn export(state: &mut State, words: &[&str], out: &mut Vec<Action>) -> Result<(), String> {
    let (format, what, rest) = match words {
        [format, what, rest @ ..] if !rest.is_empty() => (*format, *what, rest),
        _ => return Err("export csv|jsonl|proofs screen|all|marked FILE [--raw]".to_owned()),
    };
    let (raw, path) = match rest {
        [path] => (false, *path),
        [path, "--raw"] | ["--raw", path] => (true, *path),
        _ => return Err("a file name has no blanks here".to_owned()),
    };
    let format = match format {
        "csv" => Format::Csv { raw },
        "jsonl" => Format::JsonLines,
        "proofs" if state.screen == Screen::Audit => return log_entries(state, Form::Proofs, what, path, out),
        "proofs" => return Err("only entries of the audit log have proofs".to_owned()),
        other => return Err(format!("{other} is none of csv, jsonl, proofs")),
    };
    if state.screen == Screen::Audit {
        return log_entries(state, Form::Rows(format), what, path, out);
    }
    let height = super::rows_height(state);
    let (kind, rows) = match (state.screen, &state.models.open, what) {
        (Screen::Models, None, "screen") => {
            (Kind::Models, Rows::Held(documents(state.models.list.visible(height).map(|(row, _)| row))))
        }
        (Screen::Models, None, "all") => {
            (Kind::Models, Rows::Models(Box::new(state.models.query(&crate::window::Cursor::Start))))
        }
        (Screen::Models, None, "marked") if state.models.all.is_some() => {
            (Kind::Models, Rows::Models(Box::new(state.models.whole())))
        }
        (Screen::Models, None, "marked") if state.models.marks.is_empty() => {
            return Err("nothing is marked".to_owned());
        }
        (Screen::Models, None, "marked") => (Kind::Models, Rows::Ids(state.models.marks.keys().cloned().collect())),
        (Screen::Models, Some(open), "screen") => {
            (Kind::Versions, Rows::Held(documents(open.versions.visible(height).map(|(row, _)| row))))
        }
        (Screen::Models, Some(open), "all") => (Kind::Versions, Rows::Versions(open.reference.clone())),
        // They were marked whatever the filter is by now.
        (screen, _, "marked") if state.marks_of(screen).is_some_and(|marks| marks.objects.is_empty()) => {
            return Err("nothing is marked".to_owned());
        }
        (Screen::Queue, _, "marked") => (Kind::Queue, marked(state, Rows::Items(Box::default()))),
        (Screen::Quarantine, _, "marked") => {
            let query = HeldQuery { blocked: state.quarantine.blocked, ..HeldQuery::default() };
            (Kind::Quarantine, marked(state, Rows::Quarantined(Box::new(query))))
        }
        (Screen::Users, _, "marked") => (Kind::Users, marked(state, Rows::Users(Box::default()))),
        (Screen::Users, _, "screen") => {
            (Kind::Users, Rows::Held(documents(state.users.list.visible(height).map(|(row, _)| row))))
        }
        (Screen::Users, _, "all") => {
            (Kind::Users, Rows::Users(Box::new(state.users.query(&crate::window::Cursor::Start))))
        }
        (Screen::Queue, _, "screen") => {
            (Kind::Queue, Rows::Held(documents(state.queue.list.visible(height).map(|(row, _)| row))))
        }
        (Screen::Queue, _, "all") => {
            (Kind::Queue, Rows::Items(Box::new(state.queue.query(&crate::window::Cursor::Start))))
        }
        (Screen::Quarantine, _, "screen") => {
            (Kind::Quarantine, Rows::Held(documents(state.quarantine.list.visible(height).map(|(row, _)| row))))
        }
        (Screen::Quarantine, _, "all") => {
            (Kind::Quarantine, Rows::Quarantined(Box::new(state.quarantine.query(&crate::window::Cursor::Start))))
        }
        (Screen::Models | Screen::Queue | Screen::Quarantine | Screen::Users, _, other) => {
            return Err(format!("{other} can't be exported here"));
        }
        (Screen::Audit, ..) => return Err("x exports the selected entry with its proof".to_owned()),
        (Screen::Health, ..) => return Err("y copies the report, x writes it".to_owned()),
    };
    export_to(state, rows, kind, format, path, out)
}

/// These rows to a new file.
pub(super) fn export_to(
    state: &mut State,
    rows: Rows,
    kind: Kind,
    format: Format,
    path: &str,
    out: &mut Vec<Action>,
) -> Result<(), String> {
    let title = format!("export to {path}");
    begin(state, title, false, Job::Export { rows, kind, format, path: path.to_owned() }, out).map(drop)
}

/// Entries of the log to a file.
fn log_entries(state: &mut State, form: Form, what: &str, path: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let height = super::rows_height(state);
    let audit = &state.audit;
    let rows = |lines: &mut dyn Iterator<Item = &Line>| {
        let lines = lines.filter(|line| line.missing_to.is_none() && !line.is_malformed());
        // Newest first, as the daemon gives them.
        let mut rows: Vec<_> = lines.map(Line::row).collect();
        rows.reverse();
        Entries::Held(rows)
    };
    let marks = &audit.marks;
    let entries = match what {
        "screen" => rows(&mut audit.list.visible(height).map(|(line, _)| line)),
        "marked" if marks.is_empty() => return Err("nothing is marked".to_owned()),
        "marked" if !marks.all => Entries::Marked(marks.indices.iter().copied().collect()),
        "all" | "marked" => {
            let query = crate::filter::audit_query(&audit.filter)?;
            let total =
                if audit.filter.is_empty() { Some(state.log.tail.next).filter(|_| state.log.begun) } else { None };
            Entries::Matching { query: Box::new(query), total: total.or(audit.list.total()) }
        }
        other => return Err(format!("{other} can't be exported here: screen, all or marked")),
    };
    let keys = state.log.trust.keys().to_vec();
    if form == Form::Proofs && keys.is_empty() {
        return Err("the log\u{2019}s key is not known, so nothing can be proved".to_owned());
    }
    let job = Job::Entries { entries, form, keys, path: path.to_owned() };
    begin(state, format!("export to {path}"), false, job, out).map(drop)
}

/// Of these rows those that are marked on this screen.
fn marked(state: &State, rows: Rows) -> Rows {
    let keys = state.marks_of(state.screen).map(|marks| marks.objects.keys().cloned().collect());
    Rows::Marked(Box::new(rows), keys.unwrap_or_default())
}

/// The line that `x` begins with.
pub(super) fn export_line(state: &State) -> String {
    let time = crate::time::time_of_day(state.now.wall_seconds).replace(':', "");
    if state.screen == Screen::Audit {
        let what = match (state.audit.marks.is_empty(), state.audit.filter.is_empty()) {
            (false, _) => "marked",
            (true, false) => "all",
            (true, true) => "screen",
        };
        return format!("export proofs {what} entries-{time}.jsonl");
    }
    let has_marks = state.marks_of(state.screen).is_some_and(|marks| !marks.objects.is_empty());
    let what = if has_marks { "marked" } else { "all" };
    let (kind, what) = match (state.screen, &state.models.open) {
        (Screen::Models, None) if state.models.has_marks() => (Kind::Models, "marked"),
        (Screen::Models, None) => (Kind::Models, "all"),
        (Screen::Models, Some(_)) => (Kind::Versions, "all"),
        (Screen::Queue, _) => (Kind::Queue, what),
        (Screen::Quarantine, _) => (Kind::Quarantine, what),
        _ => (Kind::Users, what),
    };
    format!("export csv {what} {}-{time}.csv", kind.word())
}

/// `upload FILE NAME`.
pub(super) fn upload(state: &mut State, path: &str, name: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let name: common::name::ModelName = name.parse().map_err(|why| format!("{why}"))?;
    if let Some(why) = refusal_on(state.who.as_ref(), Some(Permission::ModelWrite), name.as_str()) {
        return Err(why);
    }
    let job = Job::Upload { path: path.to_owned(), name: name.to_string() };
    begin(state, format!("upload of {path} as {name}"), true, job, out).map(drop)
}

/// `download [FILE [AS]]`, of the selected version.
pub(super) fn download(
    state: &mut State,
    file: Option<&str>,
    target: Option<&str>,
    out: &mut Vec<Action>,
) -> Result<(), String> {
    let open = state.models.open.as_ref().ok_or("open a model and select a version first")?;
    let version = open.versions.selected().ok_or("select a version first")?.clone();
    download_of(state, &version, file, target, out)
}

/// `download`, of any version.
pub(super) fn download_of(
    state: &mut State,
    version: &VersionInfo,
    file: Option<&str>,
    target: Option<&str>,
    out: &mut Vec<Action>,
) -> Result<(), String> {
    let artifact = match (file, version.artifacts.as_slice()) {
        (None, [only]) => only,
        (None, all) => {
            let names: Vec<&str> = all.iter().map(|artifact| artifact.path.as_str()).collect();
            return Err(format!("name one of its files: {}", names.join(", ")));
        }
        (Some(file), all) => all
            .iter()
            .find(|artifact| artifact.path.as_str() == file)
            .ok_or_else(|| format!("no file {file} in v{}", version.version))?,
    };
    // Its last segment: what others call a file leads to no other folder.
    let target = target.unwrap_or(artifact.path.file_name()).to_owned();
    let title = format!("download of {} v{} {}", version.name, version.version, artifact.path);
    let job = Job::Download {
        reference: version.id.to_string(),
        version: version.version,
        artifact: artifact.clone(),
        target,
    };
    begin(state, title, true, job, out).map(drop)
}
