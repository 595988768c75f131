//! What is decided outside of an event, where there is no screen on which it could be chosen: questions about things that
//! were named, jobs, and what a person says about the log. The rules are those of the screens.

use std::collections::BTreeMap;

use common::api::VersionInfo;
use common::api::bulk::BulkTotal;
use common::client::{ModelQuery, Sweep};

use super::{audit, confirm, course, form, jobs, login, palette, tail};
use crate::action::{Action, Job, Rows};
use crate::export::{Format, Kind};
use crate::state::State;
use crate::state::deeds::Change;

/// Asks before these changes. All are the same deed. What may not be done is said on the message line instead.
pub fn ask_before(state: &mut State, changes: Vec<Change>) -> Vec<Action> {
    let mut out = Vec::new();
    confirm::open(state, changes, &mut out);
    out
}

/// Begins to have all models of a query changed, which must be those that were found before.
///
/// # Errors
/// A sentence on why not.
pub fn begin_sweep(
    state: &mut State,
    sweep: Sweep,
    query: Box<ModelQuery>,
    expected: BulkTotal,
) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    let title = confirm::sweep_title(sweep, expected.matched);
    jobs::begin(state, title, false, Job::Sweep { sweep, query, expected }, &mut out)?;
    Ok(out)
}

/// Begins an upload of a file as a new version of a model.
///
/// # Errors
/// A sentence on why not.
pub fn upload(state: &mut State, path: &str, name: &str) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    jobs::upload(state, path, name, &mut out)?;
    Ok(out)
}

/// Begins a download of a file of a version into the working folder.
///
/// # Errors
/// A sentence on why not.
pub fn download(state: &mut State, version: &VersionInfo, file: Option<&str>) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    jobs::download_of(state, version, file, None, &mut out)?;
    Ok(out)
}

/// Begins an export of rows to a new file.
///
/// # Errors
/// A sentence on why not.
pub fn export(state: &mut State, rows: Rows, kind: Kind, format: Format, path: &str) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    jobs::export_to(state, rows, kind, format, path, &mut out)?;
    Ok(out)
}

/// Tags from `key=value, "a key"="a, value"`, as the form takes them.
///
/// # Errors
/// A sentence on what is wrong with the text.
pub fn tags_of(text: &str) -> Result<BTreeMap<String, String>, String> {
    form::tags(text)
}

/// Acknowledges the log's alarm.
///
/// # Errors
/// A sentence on why not.
pub fn acknowledge(state: &mut State, reason: &str) -> Result<Vec<Action>, String> {
    if state.log.trust.alarm().is_none() {
        return Err("there is nothing to acknowledge".to_owned());
    }
    let mut out = Vec::new();
    tail::acknowledge(state, reason, &mut out)?;
    tail::send_acknowledged(state, &mut out);
    Ok(out)
}

/// Trusts the log's key, which was compared by another way.
pub fn trust_key(state: &mut State) -> Vec<Action> {
    let mut out = Vec::new();
    tail::trust_pinned(state, &mut out);
    out
}

/// Begins a check of the log: of all its entries, or of a range such as `100-199`.
///
/// # Errors
/// A sentence on why not.
pub fn check(state: &mut State, range: &str) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    let range = tail::range(range)?;
    tail::check(state, range, &mut out)?;
    Ok(out)
}

/// Sets how the console looks.
///
/// # Errors
/// What there is to be set, and to what.
pub fn set(state: &mut State, name: &str, value: &str) -> Result<Vec<Action>, String> {
    let mut out = Vec::new();
    palette::set(state, name, value, &mut out)?;
    Ok(out)
}

/// A time in full, as it is typed.
///
/// # Errors
/// What a time may be.
pub fn full_time(state: &State, text: &str) -> Result<String, String> {
    audit::full_time(state, text)
}

/// Ends the session, here and at the daemon.
pub fn log_out(state: &mut State) -> Vec<Action> {
    let mut out = Vec::new();
    login::logout(state, &mut out);
    out
}

/// Somebody wants another password of their own.
pub fn change_password(state: &mut State) -> Vec<Action> {
    let mut out = Vec::new();
    login::open_password(state, &mut out);
    out
}

/// Somebody wants a second factor of their own.
pub fn set_up_factor(state: &mut State) -> Vec<Action> {
    let mut out = Vec::new();
    login::open_factor(state, &mut out);
    out
}

/// The session has ended: somebody must sign in again.
pub fn sign_in_again(state: &mut State, why: &str) {
    login::open(state, Some(why.to_owned()));
}

/// Takes the last change back, while that is offered.
pub fn undo(state: &mut State) -> Vec<Action> {
    let mut out = Vec::new();
    course::undo(state, &mut out);
    out
}
