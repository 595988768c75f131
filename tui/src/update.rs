//! What every event changes, and what is to be done about it. Pure: no I/O, no clock, no lock, no wait. First the forms
//! and overlays, then the global keys, then the screen; after each event the screen on show asks for what it lacks.

mod attention;
mod audit;
mod bare;
mod confirm;
mod course;
mod dialog;
mod form;
mod fresh;
mod health;
mod jobs;
mod login;
mod copy;
mod daemons;
mod marks;
mod models;
mod mouse;
mod palette;
mod quarantine;
mod queue;
mod recover;
mod tail;
mod tokens;
mod users;

use std::mem::{Discriminant, discriminant};

use common::client::ClientError;
use common::problem::{Problem, ProblemType};
use common::role::Permission;
use jiff::tz::TimeZone;

use self::attention::Attention;
use crate::access::{Access, access, refusal};
use crate::action::{Action, Answer, Call, FilePurpose, RequestId, TimerId};
use crate::event::{Code, Event, EventKind, Key, Moment};
use crate::keymap::{Binding, Command, Context, Meaning};
use crate::layout::layout;
use crate::state::changes::UNDO_MS;
use crate::state::dialog::Dialog;
use crate::state::forms::EnrolStage;
use crate::state::{
    Asked, Cause, FilterInput, Level, NOTES_MAX, Note, Overlay, Prompt, PromptKind, REST_MS, Screen, State,
};
use crate::time::Way;
use crate::window::{Fetch, Row, Window};

pub use bare::{
    acknowledge, ask_before, begin_sweep, change_password, check, download, export, full_time, log_out, set,
    set_up_factor, sign_in_again, tags_of, trust_key, undo, upload,
};
pub use confirm::can_be_typed;
pub use daemons::choose;
pub(crate) use jobs::under_way_words;
pub use login::start;
pub use palette::SETTINGS;
pub(crate) use tokens::{TokenAct, token_access};

/// How long an information stays on the message line, in milliseconds.
const INFO_MS: u64 = 4_000;
/// How long a warning does.
const WARNING_MS: u64 = 8_000;
/// How long a remark has been read, in milliseconds: the next key takes it away then.
const READ_MS: u64 = 1_500;
/// How long typing rests before a filter is sent.
const TYPING_MS: u64 = 150;
/// How long a digit may turn out to be the beginning of a count.
const DIGIT_MS: u64 = 300;
/// Screens that can be gone back through.
const SCREENS_MAX: usize = 50;
/// Largest count that can be typed.
const COUNT_MAX: u64 = 1_000_000_000_000;

/// Takes one event; what is to be done comes back in order.
pub fn update(state: &mut State, event: Event) -> Vec<Action> {
    let mut out = Vec::new();
    if let EventKind::Date(date) = event.kind {
        note_date(state, date.saturating_sub(event.at.wall_seconds));
    }
    state.now = corrected(state, event.at);
    let before = Attention::of(state);
    let was_offline = state.offline;
    let (scene, said) = (Scene::of(state), state.said);
    match event.kind {
        EventKind::Date(_) => {}
        EventKind::Key(pressed) => {
            touched(state, &mut out);
            key(state, pressed, &mut out);
        }
        EventKind::Paste(text) => {
            touched(state, &mut out);
            paste(state, &text, &mut out);
        }
        EventKind::Mouse(mouse) => {
            touched(state, &mut out);
            mouse::mouse(state, mouse, &mut out);
        }
        EventKind::Focus(on) => {
            let came = on && !state.focused;
            state.focused = on;
            if came {
                queue::due(state, &mut out);
            }
        }
        EventKind::Said(why) => say(state, Level::Error, why, &mut out),
        EventKind::Continued => {}
        EventKind::Resize(size) => state.size = size,
        EventKind::Resumed(size) => {
            state.size = size;
            out.push(Action::Repaint);
        }
        EventKind::SuspendAsked => out.push(Action::Suspend),
        EventKind::Timer(id) => timer(state, id, &mut out),
        EventKind::Reply { id, result } => reply(state, id, *result, &mut out),
        EventKind::Tail { epoch, event } => tail::event(state, epoch, event, &mut out),
        EventKind::Written { purpose, result } => tail::written(state, purpose, result, &mut out),
        EventKind::Names { typed, names } => palette::listed(state, &typed, names),
        EventKind::Job { id, report } => jobs::told(state, id, report, &mut out),
        // Nothing changes by it, and nothing more is asked for.
        EventKind::Drawn(frame) => {
            state.drawn = frame;
            return out;
        }
    }
    match (was_offline, state.offline) {
        (true, false) => recover::back(state, &mut out),
        (false, true) => health::lost(state, &mut out),
        _ => {}
    }
    if scene != Scene::of(state) && said == state.said {
        leave_behind(state, &mut out);
    }
    queue::tell_outcomes(state, &mut out);
    tail::follow_up(state, &mut out);
    fresh::follow_up(state, &mut out);
    follow_up(state, &mut out);
    palette::follow_up(state, &mut out);
    clock(state, &mut out);
    before.attend(state, &mut out);
    tail::before_quit(state, &mut out);
    out
}

/// Takes how far the daemon's clock is ahead. Its answers are dated by the second and take a while to come, so a second more
/// or less is no news.
fn note_date(state: &mut State, skew: i64) {
    if state.skew_seconds.is_none_or(|known| known.abs_diff(skew) > 1) {
        state.skew_seconds = Some(skew);
    }
}

/// A moment by the daemon's clock, where it is known to differ.
fn corrected(state: &State, at: Moment) -> Moment {
    let skew = state.skew_seconds.filter(|skew| skew.unsigned_abs() > 1).unwrap_or(0);
    Moment { wall_seconds: at.wall_seconds.saturating_add(skew), ..at }
}

/// What is wrong before anything happened, as an error on the message line.
pub fn complain(state: &mut State, why: String) -> Vec<Action> {
    let mut out = Vec::new();
    say(state, Level::Error, why, &mut out);
    out
}

/// Somebody is there: the time after which the console locks itself begins anew.
fn touched(state: &State, out: &mut Vec<Action>) {
    if let (Some(after_ms), Some(_)) = (state.settings.lock_after_ms, &state.who) {
        out.push(Action::TimerSet { id: TimerId::Lock, after_ms });
    }
}

/// Sets the timer for the moment at which a text on the screen changes by itself; there is no tick.
fn clock(state: &mut State, out: &mut Vec<Action>) {
    let changes = crate::view::changes_in(state).map(|seconds| seconds.max(1).saturating_mul(1_000));
    // The wall clock is known by the second: half a second later it has certainly moved on.
    let due = changes.map(|after_ms| state.now.ms.saturating_add(after_ms).saturating_add(500));
    let near = |set: u64, due: u64| set.abs_diff(due) <= 1_000 && set > state.now.ms;
    match (state.clock_due_ms, due) {
        (Some(set), Some(due)) if near(set, due) => {}
        (None, None) => {}
        (_, Some(due)) => {
            state.clock_due_ms = Some(due);
            out.push(Action::TimerSet { id: TimerId::Clock, after_ms: due - state.now.ms });
        }
        (Some(_), None) => {
            state.clock_due_ms = None;
            out.push(Action::TimerDrop(TimerId::Clock));
        }
    }
}

/// Rows of the list on the screen.
fn rows_height(state: &State) -> usize {
    layout(state.size, state).rows.height.into()
}

/// Asks the daemon, or keeps the question until the token is fresh.
fn ask(state: &mut State, call: Call, out: &mut Vec<Action>) -> RequestId {
    // Several may want to know at once who this is: they are answered together.
    let asked = out.iter().find_map(|action| match action {
        Action::Request { id, call: Call::Me } if call == Call::Me => Some(*id),
        _ => None,
    });
    if let Some(id) = asked {
        return id;
    }
    let id = RequestId(state.next_id);
    state.next_id += 1;
    state.rights_due &= call != Call::Me;
    let asked = Asked { call, at: state.now, again: false, token: state.tokens };
    let waits = state.renewing || state.login.is_some();
    if waits && !asked.call.is_sign_in() && !matches!(asked.call, Call::Me | Call::Reach) {
        state.parked.insert(id, asked);
    } else {
        out.push(Action::Request { id, call: asked.call.clone() });
        state.asked.insert(id, asked);
    }
    id
}

/// Sends what waited for a fresh token.
fn send_parked(state: &mut State, out: &mut Vec<Action>) {
    for (id, asked) in std::mem::take(&mut state.parked) {
        out.push(Action::Request { id, call: asked.call.clone() });
        state.asked.insert(id, Asked { token: state.tokens, ..asked });
    }
}

fn cancel(state: &mut State, id: Option<RequestId>, out: &mut Vec<Action>) {
    if let Some(id) = id
        && state.parked.remove(&id).is_none()
        && state.asked.remove(&id).is_some()
    {
        out.push(Action::Cancel(id));
    }
}

/// What is on show: a message on one of these says nothing of another.
#[derive(PartialEq, Eq)]
struct Scene {
    screen: Screen,
    overlay: Option<Discriminant<Overlay>>,
    dialog: Option<Discriminant<Dialog>>,
}

impl Scene {
    fn of(state: &State) -> Self {
        Self {
            screen: state.screen,
            overlay: state.overlay.as_ref().map(discriminant),
            dialog: state.dialog.as_ref().map(discriminant),
        }
    }
}

/// What the message is about is over: it goes, and stays in the list of messages. That is so when its time is, when something
/// else is on show, and when its [`Cause`] is no longer there. What was just done is told for its time.
fn leave_behind(state: &mut State, out: &mut Vec<Action>) {
    if state.message.is_some() && !state.tells_result && !state.settings.bare {
        state.message = None;
        out.push(Action::TimerDrop(TimerId::Message));
    }
}

/// Tells what came of what somebody did: it stays for its time, whatever is looked at meanwhile.
fn say_result(state: &mut State, level: Level, text: impl Into<String>, out: &mut Vec<Action>) {
    say_for(state, level, text, UNDO_MS, out);
    state.tells_result = true;
}

/// Puts a sentence on the message line and into the list.
fn say(state: &mut State, level: Level, text: impl Into<String>, out: &mut Vec<Action>) {
    say_for(state, level, text, if level == Level::Info { INFO_MS } else { WARNING_MS }, out);
}

/// The same, for so many milliseconds unless it is an error.
fn say_for(state: &mut State, level: Level, text: impl Into<String>, after_ms: u64, out: &mut Vec<Action>) {
    let note = Note { at: state.now, level, text: text.into() };
    match level {
        Level::Info | Level::Warning => out.push(Action::TimerSet { id: TimerId::Message, after_ms }),
        Level::Error => {
            out.push(Action::TimerDrop(TimerId::Message));
            state.unread += 1;
        }
    }
    keep(state, note.clone());
    state.message = Some(note);
    state.said += 1;
    (state.cause, state.tells_result) = (None, false);
}

/// Says that a request failed, until the same is answered that is asked from now on; where `is_away`, until anything is.
fn say_failed(state: &mut State, name: &'static str, is_away: bool, text: String, out: &mut Vec<Action>) {
    say(state, Level::Error, text, out);
    state.cause = Some(Cause::Request { name, is_away, since: RequestId(state.next_id) });
}

/// A request is answered: that one failed before it was sent is no longer so.
fn answered(state: &mut State, id: RequestId, answered: &'static str, out: &mut Vec<Action>) {
    if let Some(Cause::Request { name, is_away, since }) = state.cause
        && id >= since
        && (is_away || name == answered)
    {
        leave_behind(state, out);
    }
}

/// A command was given. What it said is about it; where it said nothing, what was said of one before is no longer so.
fn commanded(state: &mut State, command: Command, said_before: u64, out: &mut Vec<Action>) {
    if state.said != said_before {
        state.cause = Some(Cause::Key(command)).filter(|_| !state.tells_result).or(state.cause);
    } else if let Some(Cause::Key(refused)) = state.cause
        && (refused == command || !command.moves())
    {
        leave_behind(state, out);
    }
}

/// Says that a row is gone, unless the message line tells of what was just done: then it is in the list of messages only.
fn say_gone(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.message.is_none() {
        say(state, Level::Info, text, out);
    } else {
        keep(state, Note { at: state.now, level: Level::Info, text });
    }
}

fn keep(state: &mut State, note: Note) {
    if state.notes.len() == NOTES_MAX {
        state.notes.pop_front();
    }
    state.notes.push_back(note);
    state.noted += 1;
}

/// Whether nobody who can be trusted answers.
fn is_away(error: &ClientError) -> bool {
    matches!(error, ClientError::Offline { .. } | ClientError::Tls { .. } | ClientError::Timeout { .. })
}

/// An error as a sentence, with the id the daemon's log knows it by.
pub(crate) fn sentence(error: &ClientError) -> String {
    match error {
        ClientError::Problem { problem, retry_after_seconds } => {
            let after = retry_after_seconds.map(|seconds| format!("in {seconds} s"));
            let after = after.filter(|after| !problem.detail.contains(after));
            let after = after.map(|after| format!(", again {after}")).unwrap_or_default();
            let id = problem.instance.rsplit(':').next().unwrap_or_default();
            format!("{}{after} ({} {id})", said_once(problem), problem.status)
        }
        ClientError::Address(_)
        | ClientError::Offline { .. }
        | ClientError::Tls { .. }
        | ClientError::Timeout { .. }
        | ClientError::Protocol(_) => error.to_string(),
    }
}

/// What a problem says, each fact once: title, detail and the places of what is wrong often repeat each other.
pub(crate) fn said_once(problem: &Problem) -> String {
    let within = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let is_weak = problem.kind.ends_with(ProblemType::WeakPassword.slug());
    let mut said = match (problem.title.as_str(), problem.detail.as_str()) {
        (title, "") => title.to_owned(),
        (title, detail) if within(detail, title) => detail.to_owned(),
        // Both are about the password.
        (title, detail) if is_weak => {
            let said = detail.strip_prefix("the password ").map(|rest| format!("it {rest}"));
            format!("{title}: {}", said.as_deref().unwrap_or(detail))
        }
        (title, detail) => format!("{title}: {detail}"),
    };
    let head = said.clone();
    for field in &problem.errors {
        match field.msg.as_str() {
            "" if within(&head, &field.loc) => {}
            "" => said.push_str(&format!("; {}", field.loc)),
            msg if within(&head, msg) => {}
            msg => said.push_str(&format!("; {}: {msg}", field.loc)),
        }
    }
    said
}

// ---- keys -----------------------------------------------------------------------------------------------------------

fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    if !matches!((key.code, key.ctrl), (Code::Char('q'), false) | (Code::Char('c'), true)) {
        state.changes.leaving = false;
    }
    // What was wrong is gone with the next key, and so is a remark on a key before that was there to be read; what was done stays.
    let is_result = state.tells_result;
    let is_read = |message: &Note| {
        !is_result && message.level == Level::Info && state.now.ms.saturating_sub(message.at.ms) >= READ_MS
    };
    if state.message.as_ref().is_some_and(|message| message.level == Level::Error || is_read(message)) {
        state.message = None;
    }
    // These go whatever is on show, unless they are set to keys that a text may have.
    if (key.ctrl || !matches!(key.code, Code::Char(_)))
        && let Meaning::Command(binding) = state.settings.keys.lookup(Context::Everywhere, &key.to_string())
    {
        match binding.command {
            Command::Suspend => return out.push(Action::Suspend),
            Command::Repaint => return out.push(Action::Repaint),
            _ => {}
        }
    }
    if let Some(Overlay::Daemons(selected)) = state.overlay {
        daemons::key(state, selected, key, out);
    } else if state.login.as_ref().is_some_and(|form| form.reads_messages) {
        match state.filter {
            Some(_) => filter_key(state, key, out),
            None => overlay_key(state, key, out),
        }
        if let (Some(form), None) = (&mut state.login, state.overlay) {
            form.reads_messages = false;
        }
    } else if state.login.is_some() {
        login::key(state, key, out);
    } else if state.new_password.is_some() {
        login::new_password_key(state, key, out);
    } else if state.enrol.is_some() {
        login::factor_key(state, key, out);
    } else if state.prompt.is_some() {
        tail::prompt_key(state, key, out);
    } else if state.dialog.is_some() {
        dialog::key(state, key, out);
    } else if state.filter.is_some() {
        filter_key(state, key, out);
    } else if state.overlay.is_some() {
        overlay_key(state, key, out);
    } else {
        screen_key(state, key, out);
    }
}

fn paste(state: &mut State, text: &str, out: &mut Vec<Action>) {
    if let (Some(filter), true) = (&mut state.filter, state.login.as_ref().is_some_and(|form| form.reads_messages)) {
        filter.line.insert(text);
        out.push(Action::TimerSet { id: TimerId::Typing, after_ms: TYPING_MS });
    } else if let Some(form) = &mut state.login {
        let is_seen = form.shown_after.is_none_or(|after| state.drawn > after);
        if is_seen && !form.busy && !form.at_box && !form.reads_messages {
            match &mut form.code {
                Some(code) if form.at_code => code.insert(text),
                _ if form.at_password => form.password.insert(text),
                _ => {
                    form.replace_proposal();
                    form.user.insert(text);
                }
            }
            form.edited();
        }
    } else if let Some(form) = &mut state.new_password {
        if !form.busy {
            form.line().insert(text);
            form.reason = None;
        }
    } else if let Some(form) = &mut state.enrol {
        if !form.busy {
            form.line.insert(text);
            form.reason = None;
        }
    } else if let Some(prompt) = &mut state.prompt {
        prompt.line.insert(text);
        prompt.error = None;
    } else if state.dialog.is_some() {
        dialog::paste(state, text);
    } else if let Some(filter) = &mut state.filter {
        filter.line.insert(text);
        filter.error = None;
        out.push(Action::TimerSet { id: TimerId::Typing, after_ms: TYPING_MS });
    }
}

fn screen_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    if let Code::Char(digit @ '0'..='9') = key.code
        && !key.ctrl
        && state.typed.bytes().all(|octet| octet.is_ascii_digit())
        && !(digit == '0' && state.typed.is_empty())
    {
        state.typed.push(digit);
        state.typed.truncate(COUNT_MAX.ilog10() as usize);
        // One digit may be the number of a screen: that is known when nothing follows.
        out.push(match state.typed.len() {
            1 => Action::TimerSet { id: TimerId::Digit, after_ms: DIGIT_MS },
            _ => Action::TimerDrop(TimerId::Digit),
        });
        return;
    }
    let typed = std::mem::take(&mut state.typed);
    out.push(Action::TimerDrop(TimerId::Digit));
    let digits = typed.bytes().take_while(u8::is_ascii_digit).count();
    let (count, prefix) = typed.split_at(digits);
    if key.code == Code::Esc && !typed.is_empty() {
        return;
    }
    // Whoever types ahead does not wait until a digit alone is the number of a screen: before a key that counts nothing it is.
    let may_count = match state.settings.keys.lookup(state.context(), &key.to_string()) {
        Meaning::Prefix => true,
        Meaning::Command(binding) => binding.command.moves(),
        Meaning::None => false,
    };
    if typed.len() == 1 && digits == 1 && !may_count {
        if digit_alone(state, &typed, out) {
            screen_key(state, key, out);
        }
        return;
    }
    match state.settings.keys.lookup(state.context(), &format!("{prefix}{key}")) {
        Meaning::Prefix => state.typed = format!("{count}{key}"),
        // A screen says by itself who may see it.
        Meaning::Command(binding) if matches!(binding.command, Command::Go(_)) => {
            command(state, binding.command, None, out);
        }
        Meaning::Command(binding) => {
            let said = state.said;
            match asked_anew(state, binding, out) {
                Some(why) => say(state, Level::Warning, format!("{key}: {why}"), out),
                None => command(state, binding.command, count.parse().ok(), out),
            }
            commanded(state, binding.command, said, out);
        }
        Meaning::None => {
            say(state, Level::Info, format!("{prefix}{key} does nothing here; ? lists the keys"), out);
        }
    }
}

/// What a digit means that is no count: the number of a screen, which says what it is to those who may not see more. Says
/// whether it was one.
fn digit_alone(state: &mut State, typed: &str, out: &mut Vec<Action>) -> bool {
    let Meaning::Command(binding) = state.settings.keys.lookup(Context::Everywhere, typed) else { return false };
    command(state, binding.command, None, out);
    true
}

fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    if command != Command::CopyName {
        state.copy_asked = None;
    }
    if command.moves() {
        state.moved_ms = Some(state.now.ms);
        out.push(Action::TimerSet { id: TimerId::Page, after_ms: REST_MS });
    }
    match command {
        Command::Go(screen) if screen == state.screen => to_list(state, out),
        Command::Go(screen) => go(state, screen, out),
        Command::LastScreen => go(state, state.last_screen, out),
        Command::ColumnsRight => state.sideways = state.sideways.saturating_add(1),
        Command::ColumnsLeft => state.sideways = state.sideways.saturating_sub(1),
        Command::GoBack => walk(state, false, out),
        Command::GoForward => walk(state, true, out),
        Command::Help => {
            state.overlay_filter.clear();
            state.overlay = Some(Overlay::Help(0));
        }
        Command::Messages => {
            state.overlay_filter.clear();
            state.unread = 0;
            state.notes_held = None;
            state.overlay = Some(Overlay::Messages(0));
        }
        Command::Daemons => daemons::open(state),
        Command::CopyName => copy::name(state, out),
        Command::CopyJson => copy::json(state, out),
        Command::CopyDigest => copy::digest(state, out),
        Command::Repaint => out.push(Action::Repaint),
        Command::Suspend => out.push(Action::Suspend),
        Command::Refresh => refresh(state, out),
        Command::Back => {
            if !back(state, out) {
                say(state, Level::Info, "this is the top; q quits", out);
            }
        }
        Command::Quit => {
            if !back(state, out) {
                match jobs::keeps_open(state) {
                    Some(why) => say(state, Level::Warning, why, out),
                    None => out.push(Action::Quit),
                }
            }
        }
        Command::Export if state.screen == Screen::Health => health::export(state, out),
        Command::Export if state.context() == Context::Compared => models::export_compared(state, out),
        Command::Export => {
            let line = jobs::export_line(state);
            palette::open(state, &line);
        }
        Command::Filter if state.context() == Context::Model => {
            let line = crate::edit::Line::new("");
            state.prompt = Some(Prompt { kind: PromptKind::Version, line, error: None });
        }
        Command::Filter => open_filter(state),
        Command::Follow if state.screen == Screen::Health => health::hold(state),
        Command::Follow if state.screen == Screen::Queue => queue::command(state, command, count, out),
        Command::Follow | Command::GoToTime | Command::Verification | Command::Acknowledge | Command::TrustKey => {
            tail::command(state, command, out)
        }
        Command::Palette => palette::open(state, ""),
        Command::Upload => palette::open(state, "upload "),
        Command::OwnTokens => tokens::open_own(state, out),
        Command::SecondFactor => login::open_factor(state, out),
        Command::Undo => course::undo(state, out),
        Command::Jobs => state.overlay = Some(Overlay::Jobs(0)),
        Command::Down
        | Command::Up
        | Command::HalfDown
        | Command::HalfUp
        | Command::PageDown
        | Command::PageUp
        | Command::First
        | Command::Last
        | Command::In
        | Command::Sort
        | Command::Reverse
        | Command::SameActor
        | Command::OpenTarget
        | Command::Blocked
        | Command::Note
        | Command::NextFinding
        | Command::LastFinding
        | Command::OpenSubject
        | Command::Retry
        | Command::Discard
        | Command::Pause
        | Command::Release
        | Command::Block
        | Command::Rescan
        | Command::EntriesOf
        | Command::Mark
        | Command::MarkRange
        | Command::MarkAll
        | Command::PointAlias
        | Command::Edit
        | Command::Compare
        | Command::Delete
        | Command::Restore
        | Command::Deprecate
        | Command::Role
        | Command::Grants
        | Command::OneTimePassword
        | Command::Lock
        | Command::Sessions
        | Command::ResetTotp
        | Command::Tokens
        | Command::AddUser
        | Command::Download
        | Command::AllFields
        | Command::NextHit
        | Command::LastHit => match state.screen {
            Screen::Models => models::command(state, command, count, out),
            Screen::Audit => audit::command(state, command, count, out),
            Screen::Queue => queue::command(state, command, count, out),
            Screen::Quarantine => quarantine::command(state, command, count, out),
            Screen::Users => users::command(state, command, count, out),
            Screen::Health => health::command(state, command, count, out),
        },
    }
}

/// Back through the screens that were open, or forward again.
fn walk(state: &mut State, on: bool, out: &mut Vec<Action>) {
    let (from, to) = if on { (&mut state.forward, &mut state.behind) } else { (&mut state.behind, &mut state.forward) };
    let Some(screen) = from.pop() else {
        let why = if on { "there is no screen to go forward to" } else { "there is no screen to go back to" };
        return say(state, Level::Info, why, out);
    };
    to.push(state.screen);
    show(state, screen, out);
}

fn go(state: &mut State, screen: Screen, out: &mut Vec<Action>) {
    if state.screen != screen {
        if state.behind.len() == SCREENS_MAX {
            state.behind.remove(0);
        }
        state.behind.push(state.screen);
        state.forward.clear();
        show(state, screen, out);
    }
}

/// Out of what is looked at closer, to the list of the screen.
fn to_list(state: &mut State, out: &mut Vec<Action>) {
    match state.screen {
        Screen::Models => models::leave(state, out),
        Screen::Audit => state.audit.detail = None,
        Screen::Queue => state.queue.detail = None,
        Screen::Quarantine => state.quarantine.detail = None,
        Screen::Users => state.users.detail = None,
        Screen::Health => state.health.detail = None,
    }
}

fn show(state: &mut State, screen: Screen, out: &mut Vec<Action>) {
    if state.screen != screen {
        state.last_screen = state.screen;
        state.screen = screen;
        state.sideways = 0;
        queue::entered(state, out);
        health::entered(state, out);
        recover::shown(state, out);
    }
}

/// One step out: the detail, then the filter. False at the top.
fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    match state.screen {
        Screen::Models => models::back(state, out),
        Screen::Audit => audit::back(state, out),
        Screen::Queue => queue::back(state, out),
        Screen::Quarantine => quarantine::back(state, out),
        Screen::Users => users::back(state, out),
        Screen::Health => health::back(state),
    }
}

/// Why something can't be done. Where it is this user who may not, the daemon is asked again: grants change without an end of
/// the session.
fn asked_anew(state: &mut State, binding: &Binding, out: &mut Vec<Action>) -> Option<String> {
    let access = access(state, binding);
    let is_of_models = binding.permission.is_some_and(Permission::is_of_models);
    if is_of_models && matches!(access, Access::NotAllowed(_)) {
        ask(state, Call::Me, out);
    }
    access.refusal()
}

fn refresh(state: &mut State, out: &mut Vec<Action>) {
    tail::at_once(state, out);
    if state.who.is_none() {
        if !state.renewing {
            login::check_token(state, out);
        }
        return;
    }
    state.rights_due = true;
    match state.screen {
        Screen::Models => models::refresh(state, out),
        Screen::Audit => audit::refresh(state, out),
        Screen::Queue => queue::refresh(state, out),
        Screen::Quarantine => quarantine::refresh(state, out),
        Screen::Users => users::refresh(state, out),
        Screen::Health => health::refresh(state, out),
    }
}

fn overlay_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    if matches!(state.overlay, Some(Overlay::Verification(_) | Overlay::Alarm(_))) && tail::overlay_key(state, key, out)
    {
        return;
    }
    if let Some(Overlay::Jobs(selected)) = state.overlay {
        return jobs::key(state, selected, key, out);
    }
    match (state.overlay, key.code, key.ctrl) {
        (Some(Overlay::Help(_) | Overlay::Messages(_)), Code::Char('/'), false) => return open_filter(state),
        (Some(Overlay::Messages(_)), Code::Char('x'), false) => return export_notes(state, out),
        (Some(Overlay::Messages(_)), Code::Char('y'), false) => return copy::notes(state, out),
        (Some(Overlay::Messages(_)), Code::Char('f'), false) => return hold_notes(state),
        _ => {}
    }
    let page = usize::from(layout(state.size, state).body.height).max(2);
    let lines = crate::view::overlay_lines(state);
    let end = lines.len().saturating_sub(page);
    let stops = crate::view::stops(&lines);
    let meaning = state.settings.keys.lookup(Context::Lists, &key.to_string());
    let Some(
        Overlay::Help(scroll) | Overlay::Messages(scroll) | Overlay::Verification(scroll) | Overlay::Alarm(scroll),
    ) = &mut state.overlay
    else {
        return;
    };
    if let (Code::Char(letter @ ('n' | 'N')), false) = (key.code, key.ctrl) {
        let at = *scroll;
        let next = match letter {
            'n' => stops.into_iter().find(|stop| *stop > at).map(|stop| stop.min(end)),
            _ => stops.into_iter().rfind(|stop| *stop < at),
        };
        *scroll = next.unwrap_or(at);
        return;
    }
    match meaning {
        Meaning::Command(binding) => match binding.command {
            Command::Down => *scroll = (*scroll + 1).min(end),
            Command::Up => *scroll = scroll.saturating_sub(1),
            Command::PageDown => *scroll = (*scroll + page - 1).min(end),
            Command::PageUp => *scroll = scroll.saturating_sub(page - 1),
            Command::HalfDown => *scroll = (*scroll + page / 2).min(end),
            Command::HalfUp => *scroll = scroll.saturating_sub(page / 2),
            Command::First => *scroll = 0,
            Command::Last => *scroll = end,
            Command::Back if !state.overlay_filter.is_empty() => state.overlay_filter.clear(),
            Command::Back | Command::Quit | Command::Help | Command::Messages => state.overlay = None,
            Command::Palette => palette::open(state, ""),
            _ => {}
        },
        Meaning::Prefix => *scroll = 0,
        Meaning::None => {}
    }
}

/// Holds the messages still, or shows the newest again as they come.
fn hold_notes(state: &mut State) {
    state.notes_held = match state.notes_held {
        Some(_) => None,
        None => Some(state.noted),
    };
    if state.notes_held.is_none() {
        state.overlay = Some(Overlay::Messages(0));
    }
}

/// The messages that are shown, to a new file here.
fn export_notes(state: &mut State, out: &mut Vec<Action>) {
    let text = crate::view::notes_text(state);
    let time = crate::time::time_of_day(state.now.wall_seconds).replace(':', "");
    out.push(Action::WriteFile { purpose: FilePurpose::Export, name: format!("messages-{time}.txt"), text });
}

// ---- the filter being typed -----------------------------------------------------------------------------------------

fn open_filter(state: &mut State) {
    let before = match state.screen {
        _ if state.overlay.is_some() => state.overlay_filter.clone(),
        Screen::Models => state.models.filter.clone(),
        Screen::Audit => state.audit.filter.clone(),
        Screen::Queue => state.queue.filter.clone(),
        Screen::Quarantine => state.quarantine.filter.clone(),
        Screen::Users => state.users.filter.clone(),
        Screen::Health => state.health.filter.clone(),
    };
    let text = match state.screen {
        Screen::Audit if state.overlay.is_none() => state.audit.named_filter(),
        _ => before.clone(),
    };
    state.filter = Some(FilterInput { line: crate::edit::Line::new(&text), before, error: None });
}

fn filter_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(filter) = &mut state.filter else { return };
    match (key.code, key.ctrl) {
        (Code::Enter, _) => {
            let typed = filter.line.text().trim().to_owned();
            let text = match state.overlay {
                Some(_) => typed,
                None => match settled(state, &typed) {
                    Ok(text) if state.screen == Screen::Audit => state.audit.meant(&text),
                    Ok(text) => text,
                    Err(why) => return complain_of_filter(state, why),
                },
            };
            let wrong = match state.screen {
                _ if state.overlay.is_some() => None,
                Screen::Audit => crate::filter::audit_query(&text).err(),
                Screen::Queue => crate::filter::ingest_query(&text).err(),
                Screen::Models => crate::filter::model_query(&text).err(),
                Screen::Quarantine => crate::filter::held_query(&text).err(),
                Screen::Users => crate::filter::user_query(&text).err(),
                Screen::Health => None,
            };
            if let Some(why) = wrong {
                return complain_of_filter(state, why);
            }
            state.filter = None;
            set_filter(state, text, out);
        }
        (Code::Esc, _) | (Code::Char('c'), true) => {
            let before = std::mem::take(&mut filter.before);
            state.filter = None;
            set_filter(state, before, out);
        }
        _ if filter.line.edits(key) => {
            filter.error = None;
            out.push(Action::TimerSet { id: TimerId::Typing, after_ms: TYPING_MS });
        }
        _ => {}
    }
}

fn complain_of_filter(state: &mut State, why: String) {
    if let Some(filter) = &mut state.filter {
        filter.error = Some(why);
    }
}

/// A filter with its times in full, by the zone in which times are shown.
fn settled(state: &State, text: &str) -> Result<String, String> {
    match state.screen {
        Screen::Models | Screen::Audit => crate::filter::settled(text, state.now.wall_seconds, &shown_zone(state)),
        _ => Ok(text.to_owned()),
    }
}

/// The zone in which times are shown.
pub(crate) fn shown_zone(state: &State) -> TimeZone {
    match state.settings.time {
        Way::Local => state.settings.zone.clone(),
        Way::Utc | Way::Age => TimeZone::UTC,
    }
}

fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    out.push(Action::TimerDrop(TimerId::Typing));
    if let Some(overlay) = &mut state.overlay {
        *overlay = overlay.from_top();
        state.overlay_filter = text;
        return;
    }
    match state.screen {
        Screen::Models => models::set_filter(state, text, out),
        Screen::Audit => audit::set_filter(state, text, out),
        Screen::Queue => queue::set_filter(state, text, out),
        Screen::Quarantine => quarantine::set_filter(state, text, out),
        Screen::Users => users::set_filter(state, text, out),
        Screen::Health => state.health.filter = text,
    }
}

// ---- timers and replies ---------------------------------------------------------------------------------------------

fn timer(state: &mut State, id: TimerId, out: &mut Vec<Action>) {
    match id {
        TimerId::Refresh => login::renew(state, out),
        TimerId::Clock => state.clock_due_ms = None,
        TimerId::Lock => login::lock(state, out),
        TimerId::Message => state.message = None,
        TimerId::Typing if state.dialog.is_some() => {
            form::rested(state, out);
            palette::rested(state, out);
        }
        TimerId::Unknown => course::look_again(state, out),
        TimerId::Undo => state.changes.undo = None,
        TimerId::Typing => {
            if let Some(filter) = &state.filter {
                let text = filter.line.text().trim().to_owned();
                let text = if state.overlay.is_some() { text } else { settled(state, &text).unwrap_or(text) };
                match state.screen {
                    _ if state.overlay.is_some() => state.overlay_filter = text,
                    Screen::Health => state.health.filter = text,
                    // Half a field, such as `alias:`, is waited for.
                    Screen::Models if crate::filter::model_query(&text).is_ok() => models::set_filter(state, text, out),
                    Screen::Queue if crate::filter::ingest_query(&text).is_ok() => queue::set_filter(state, text, out),
                    Screen::Users if crate::filter::user_query(&text).is_ok() => users::set_filter(state, text, out),
                    Screen::Quarantine if crate::filter::held_query(&text).is_ok() => {
                        quarantine::set_filter(state, text, out);
                    }
                    // The audit log records each reading: there a filter is sent when it is complete.
                    _ => {}
                }
            }
        }
        TimerId::Digit => {
            let typed = std::mem::take(&mut state.typed);
            digit_alone(state, &typed, out);
        }
        TimerId::Health => health::due(state, out),
        TimerId::Queue => queue::due(state, out),
        TimerId::Rest if state.screen == Screen::Models => models::rested(state, out),
        TimerId::Rest if state.screen == Screen::Users => users::rested(state, out),
        TimerId::Rest => quarantine::rested(state, out),
        // The screen asks for what it lacks after every event.
        TimerId::Page => {}
        TimerId::Fresh => fresh::due(state),
        TimerId::Tail | TimerId::Log | TimerId::Save | TimerId::Pages | TimerId::Acknowledge => {
            tail::timer(state, id, out);
        }
    }
}

fn reply(state: &mut State, id: RequestId, result: Result<Answer, ClientError>, out: &mut Vec<Action>) {
    let Some(asked) = state.asked.remove(&id) else { return };
    let took = state.now.ms.saturating_sub(asked.at.ms);
    let (level, how) = match &result {
        Ok(answer) => (Level::Info, answer.request_id().map_or("ok".to_owned(), |id| format!("ok (request {id})"))),
        Err(error) => (Level::Error, sentence(error)),
    };
    let text = format!("{} {how}, {took} ms", asked.call.name());
    // While nobody answers, that is no news each time it is tried.
    let is_silent = match asked.call {
        Call::Log(_) => result.is_ok(),
        Call::Status => state.offline && result.is_err(),
        _ => false,
    };
    if !is_silent {
        keep(state, Note { at: state.now, level, text });
    }
    state.offline = matches!(result, Err(ref error) if is_away(error));
    if result.is_ok() {
        answered(state, id, asked.call.name(), out);
        // Where somebody answers: a second failure would say nothing new.
        if state.rights_due && state.who.is_some() && !state.renewing && state.login.is_none() {
            ask(state, Call::Me, out);
        }
    }
    if let Err(error) = &result
        && error.status() == Some(403)
        && !asked.call.is_sign_in()
        && !matches!(asked.call, Call::Me | Call::Reach)
    {
        // Our belief about what is allowed was wrong.
        ask(state, Call::Me, out);
    }
    let wants_sign_in = matches!(&result, Err(error) if error.wants_sign_in()) && !asked.call.is_sign_in();
    if !wants_sign_in
        && (course::reply(state, id, &result, out)
            || form::reply(state, id, &result, out)
            || tokens::reply(state, id, &result)
            || models::peeked(state, id, &result)
            || models::text(state, id, &result))
    {
        return;
    }
    if let Call::Look(_) = asked.call
        && !wants_sign_in
    {
        let looked = match &result {
            Ok(Answer::Look(reply)) => Ok(reply.clone()),
            Ok(_) => return,
            Err(error) => Err(error.clone()),
        };
        confirm::looked(state, id, &looked, out);
        return;
    }
    match result {
        Ok(answer) => take(state, id, &asked, answer, out),
        Err(error) => failed(state, id, asked, &error, out),
    }
}

fn take(state: &mut State, id: RequestId, asked: &Asked, answer: Answer, out: &mut Vec<Action>) {
    let at = state.now;
    match answer {
        Answer::Reached(certificate) => state.certificate = certificate.map(Ok),
        Answer::Session(reply) => login::signed_in(state, asked, reply.body, out),
        Answer::PasswordChanged => login::password_changed(state, out),
        Answer::TotpSecret(secret, uri) => login::factor_told(state, EnrolStage::Code { secret, uri }),
        Answer::RecoveryCodes(codes) => login::factor_told(state, EnrolStage::Done(codes)),
        Answer::Me(reply) => login::me(state, reply.body, out),
        Answer::Models(reply) => {
            let names = || reply.body.items.iter().map(|row| row.name.to_string()).collect();
            if marks::take(state, id, &reply.body, out) || palette::named(state, id, names()) {
                return;
            }
            let told = state.changes.is_told(at.ms);
            if state.models.list.waits_for() == Some(id) && !state.models.list.take(reply.body, at) && !told {
                say(state, Level::Warning, "the selected model is gone from this list", out);
            }
        }
        Answer::Counted(count) => drop(confirm::counted(state, id, Ok(count))),
        Answer::Model(reply) => {
            if let Some(open) = &mut state.models.open
                && open.pending == Some(id)
            {
                open.pending = None;
                open.info = Some(reply.body);
            }
        }
        Answer::Versions(reply) => {
            if let Some(open) = &mut state.models.open
                && open.versions.waits_for() == Some(id)
            {
                open.versions.take(reply.body, at);
                models::versions_came(state, out);
            } else {
                quarantine::take_neighbours(state, id, reply.body);
            }
        }
        Answer::Users(reply) => {
            if marks::rows::waits(state, Screen::Users, id) {
                let marked = reply.body.items.iter().map(marks::rows::of_user).collect();
                marks::rows::take(state, Screen::Users, marked, reply.body.next_cursor, out);
            } else if state.users.list.waits_for() == Some(id) {
                let is_there = state.users.list.take(reply.body, at);
                let goal = state.users.goal.take();
                let goal = goal.and_then(|goal| state.users.list.rows().find(|user| user.username.as_str() == goal));
                match goal.map(Row::key) {
                    Some(key) => drop(state.users.list.select(&key)),
                    // What was done to it is on the message line, and is why.
                    None if !is_there && !state.changes.is_told(at.ms) => {
                        say(state, Level::Warning, "the selected user is gone from this list", out);
                    }
                    None => {}
                }
            }
        }
        Answer::Audit(reply) => {
            if state.audit.list.waits_for() == Some(id) {
                audit::take(state, reply.body, out);
            }
        }
        Answer::Ready(ready) => {
            if state.health.pending_ready == Some(id) {
                health::take_ready(state, ready);
            }
        }
        Answer::Ingest(reply) => {
            if marks::rows::waits(state, Screen::Queue, id) {
                let page = *reply.body;
                let marked = page.items.iter().map(marks::rows::of_item).collect();
                marks::rows::take(state, Screen::Queue, marked, page.next_cursor, out);
            } else if state.queue.list.waits_for() == Some(id) {
                queue::take(state, id, reply, out);
            }
        }
        Answer::Quarantine(reply) => {
            if marks::rows::waits(state, Screen::Quarantine, id) {
                let marked = reply.body.items.iter().map(marks::rows::of_held).collect();
                marks::rows::take(state, Screen::Quarantine, marked, reply.body.next_cursor, out);
            } else if state.quarantine.list.waits_for() == Some(id) {
                quarantine::take(state, reply.body, out);
            }
        }
        Answer::Version(reply) => quarantine::take_version(state, id, reply.body),
        Answer::Review(reply) => quarantine::take_review(state, id, reply.body),
        Answer::Excerpt(reply) => quarantine::take_octets(state, id, reply.body),
        Answer::User(reply) => users::take_one(state, id, reply.body),
        Answer::Log(answer) => tail::answer(state, answer, out),
        Answer::Position(reply) => audit::located(state, id, reply.body, out),
        Answer::Acknowledged(reply) => tail::acknowledged(state, &reply, out),
        Answer::Status(reply) => {
            if state.health.pending == Some(id) {
                health::take(state, reply.body, out);
            }
        }
        // Those who wait for these have taken them; what nobody waits for any more is dropped.
        Answer::Look(_) | Answer::Changed(_) | Answer::History(_) | Answer::Text(_) | Answer::Tokens(_) => {}
    }
}

fn failed(state: &mut State, id: RequestId, asked: Asked, error: &ClientError, out: &mut Vec<Action>) {
    if asked.call == Call::Reach {
        // The login dialog says it.
        state.certificate = Some(Err(sentence(error)));
        return;
    }
    if asked.call.is_sign_in() || asked.call == Call::Me {
        return login::failed(state, &asked, error, out);
    }
    if error.wants_sign_in() {
        let (again, token) = (asked.again, asked.token);
        state.parked.insert(id, Asked { again: true, ..asked });
        if again {
            login::open_unasked(state, "the session has ended".to_owned());
        } else if token < state.tokens && !state.renewing && state.login.is_none() {
            // It was sent with the token before, and overtaken by the fresh one.
            send_parked(state, out);
        } else {
            login::renew(state, out);
        }
        return;
    }
    let (why, name) = (sentence(error), asked.call.name());
    // Nothing asks for it again by itself: that it failed is told nowhere else.
    let is_once = matches!(asked.call, Call::Position(_));
    match asked.call {
        Call::Log(call) => return tail::failed(state, call, error, out),
        Call::Models(_) if marks::failed(state, id, &why, out) => return,
        Call::Ingest(_) | Call::Quarantine(_) | Call::Users(_) if marks::rows::failed(state, id, &why, out) => return,
        Call::Models(_) => fail(&mut state.models.list, id, &why),
        // The question itself says it.
        Call::Count { .. } => {
            confirm::counted(state, id, Err(why));
            return;
        }
        Call::Users(_) => fail(&mut state.users.list, id, &why),
        Call::Audit(_) => fail(&mut state.audit.list, id, &why),
        Call::Position(_) => state.audit.locating = None,
        Call::Acknowledge(said) => return tail::not_acknowledged(state, &said, error, out),
        // The pane itself says it.
        Call::Version { .. } | Call::Versions { .. } | Call::Review { .. } | Call::Excerpt { .. }
            if quarantine::failed(state, id, &why) => {}
        Call::User(_) if users::failed(state, id, &why) => {}
        Call::Version { .. } | Call::Review { .. } | Call::Excerpt { .. } | Call::User(_) => {}
        Call::Quarantine(_) => fail(&mut state.quarantine.list, id, &why),
        // It is read again soon; the list itself says that it is stale.
        Call::Ingest(_) => {
            fail(&mut state.queue.list, id, &why);
            if !queue::failed(state, out) {
                return;
            }
        }
        Call::Versions { .. } => {
            if let Some(open) = &mut state.models.open {
                fail(&mut open.versions, id, &why);
            }
        }
        Call::Model(_) => {
            if let Some(open) = &mut state.models.open
                && open.pending == Some(id)
            {
                open.pending = None;
                open.failed = Some(why.clone());
            }
        }
        // The screen itself says it, every time it reads.
        Call::Status | Call::Ready => return health::failed(state, id, &why, out),
        Call::Look(_) | Call::Change { .. } | Call::History { .. } | Call::Text { .. } | Call::Tokens(_) => return,
        Call::Reach
        | Call::Login { .. }
        | Call::Refresh
        | Call::ChangePassword { .. }
        | Call::EnrolTotp { .. }
        | Call::ConfirmTotp { .. }
        | Call::Me => {}
    }
    if error.problem_type() == Some(ProblemType::PasswordChangeRequired) {
        return login::demand_new_password(state, None);
    }
    if error.problem_type() == Some(ProblemType::SecondFactorEnrolment) {
        return login::demand_factor(state);
    }
    say_failed(state, name, is_away(error) && !is_once, why, out);
}

fn fail<R: Row>(list: &mut Window<R>, id: RequestId, why: &str) {
    if list.waits_for() == Some(id) {
        list.fail(why.to_owned());
    }
}

/// Whether nothing is answered before the password is changed.
fn is_kept_out(state: &State) -> bool {
    state.new_password.as_ref().is_some_and(|form| form.is_demanded)
}

/// The screen on show asks for what it lacks.
fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if state.who.is_none() || is_kept_out(state) || state.enrol.is_some() || state.settings.bare {
        return;
    }
    if refusal(state.who.as_ref(), state.screen.permission()).is_some() {
        return;
    }
    match state.screen {
        Screen::Models => models::follow_up(state, out),
        Screen::Audit => audit::follow_up(state, out),
        Screen::Queue => queue::follow_up(state, out),
        Screen::Quarantine => quarantine::follow_up(state, out),
        Screen::Users => users::follow_up(state, out),
        Screen::Health => {}
    }
    health::follow_up(state, out);
}

/// The list anew, from its beginning or from its end; the request that is no longer waited for.
fn jump<R: Row>(list: &mut Window<R>, last: bool) -> Option<RequestId> {
    let waiting = list.forget();
    *list = Window::from(last);
    waiting
}

/// The movements all lists share; false where the list alone can't do it.
fn travel<R: Row>(list: &mut Window<R>, command: Command, count: Option<u64>, height: usize) -> bool {
    let rows = i64::try_from(count.unwrap_or(1)).unwrap_or(i64::MAX);
    let page = i64::try_from(height.max(2)).unwrap_or(2);
    match command {
        Command::Down => list.step(rows, height),
        Command::Up => list.step(-rows, height),
        Command::HalfDown => list.page(rows.saturating_mul(page / 2), height),
        Command::HalfUp => list.page(-rows.saturating_mul(page / 2), height),
        Command::PageDown => list.page(rows.saturating_mul(page - 1), height),
        Command::PageUp => list.page(-rows.saturating_mul(page - 1), height),
        Command::First if list.shows_first() => list.edge(false),
        Command::Last => match (count, list.ordinal()) {
            (Some(wanted), Some(here)) => {
                let distance = i128::from(wanted) - i128::from(here);
                return i64::try_from(distance).is_ok_and(|distance| list.step_within(distance, height));
            }
            (Some(_), None) => return false,
            (None, _) if list.shows_last() => list.edge(true),
            (None, _) => return false,
        },
        _ => return false,
    }
    true
}

/// Moves a text by lines; false for other commands. Whoever goes to its end stays there when it grows: the end is no number.
fn scroll(at: &mut usize, command: Command, count: Option<u64>, lines: usize, height: usize) -> bool {
    let end = lines.saturating_sub(height);
    let rows = usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX);
    let page = height.max(2);
    let here = (*at).min(end);
    *at = match command {
        Command::Last => {
            *at = usize::MAX;
            return true;
        }
        Command::Down => here.saturating_add(rows),
        Command::Up => here.saturating_sub(rows),
        Command::HalfDown => here.saturating_add(rows.saturating_mul(page / 2)),
        Command::HalfUp => here.saturating_sub(rows.saturating_mul(page / 2)),
        Command::PageDown => here.saturating_add(rows.saturating_mul(page - 1)),
        Command::PageUp => here.saturating_sub(rows.saturating_mul(page - 1)),
        Command::First => 0,
        _ => return false,
    }
    .min(end);
    true
}

/// The page that a window wants, if it wants one.
fn wanted<R: Row>(list: &Window<R>, height: usize, rests: bool) -> Option<(Fetch, crate::window::Cursor)> {
    if !list.is_loaded() && !list.is_loading() && list.stale().is_none() {
        return Some((Fetch::Start, list.begin().clone()));
    }
    list.wanted(height, rests)
}

#[cfg(test)]
mod tests {
    use common::problem::{FieldError, ProblemType};

    use super::said_once;

    /// Each fact is said once, whichever of title, detail and fields repeats it.
    #[test]
    fn refusals_said_once() {
        let of = |kind: ProblemType, detail: &str, fields: &[(&str, &str)]| {
            let mut problem = kind.problem(detail, "urn:uuid:0");
            let field = |(loc, msg): &(&str, &str)| FieldError { loc: (*loc).to_owned(), msg: (*msg).to_owned() };
            problem.errors = fields.iter().map(field).collect();
            said_once(&problem)
        };
        let invalid = ProblemType::Invalid;
        for (said, expected) in [
            (
                of(invalid, "tags: a key has at most 64 octets", &[("tags", "a key has at most 64 octets")]),
                "Values were refused: tags: a key has at most 64 octets",
            ),
            (
                of(invalid, "values were refused: tags: too long", &[("tags", "too long")]),
                "values were refused: tags: too long",
            ),
            (
                of(invalid, "a value breaks a rule", &[("tags", "too long"), ("name", "is taken")]),
                "Values were refused: a value breaks a rule; tags: too long; name: is taken",
            ),
            (of(invalid, "", &[("tags", "too long")]), "Values were refused; tags: too long"),
            (
                of(ProblemType::WeakPassword, "sorry: the password is too weak, it is common", &[]),
                "sorry: the password is too weak, it is common",
            ),
            (
                of(ProblemType::WeakPassword, "the password has fewer than 12 octets", &[]),
                "The password is too weak: it has fewer than 12 octets",
            ),
            (of(ProblemType::Forbidden, "model.delete is needed", &[]), "Not allowed: model.delete is needed"),
        ] {
            assert_eq!(said, expected);
        }
    }
}
