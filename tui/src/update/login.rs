//! Signing in, staying signed in, and the password that must be changed.

use common::api::Me;
use common::client::{ClientError, Session};
use common::known::Known;
use common::problem::ProblemType;
use common::role::Role;

use super::copy::CLIPBOARD_OFF;
use super::{ask, course, is_away, say, say_failed, send_parked, sentence};
use crate::action::{Action, Call, TimerId};
use crate::config::Credential;
use crate::edit::Line;
use crate::event::{Code, Key};
use crate::keymap::{Command, Context, Meaning};
use crate::secret::Secret;
use crate::state::audit::AuditScreen;
use crate::state::forms::{Enrol, EnrolStage, Login, NewPassword};
use crate::state::fresh::Fresh;
use crate::state::health::HealthScreen;
use crate::state::models::ModelsScreen;
use crate::state::quarantine::QuarantineScreen;
use crate::state::queue::QueueScreen;
use crate::state::users::UsersScreen;
use crate::state::{Asked, Level, State, Who};
use crate::time::seconds;

/// A refresh that found nobody is tried again after so many milliseconds.
const RENEW_AGAIN_MS: u64 = 10_000;
/// What the daemon asks for instead is obeyed up to here.
const RENEW_AGAIN_MS_MAX: u64 = 60_000;
/// Soonest refresh, in milliseconds, whatever the daemon says of a token's life.
const RENEW_MIN_MS: u64 = 5_000;

/// The first actions: check the token there is, sign in with the password there is, or ask for one.
pub fn start(state: &mut State, credential: Credential) -> Vec<Action> {
    let mut out = Vec::new();
    match credential {
        Credential::Token | Credential::Kept(_) => check_token(state, &mut out),
        Credential::Ask => {
            open(state, None);
            if state.settings.tls {
                ask(state, Call::Reach, &mut out);
            }
        }
        Credential::Password { password, otp } => {
            open(state, None);
            let username = state.settings.user.clone();
            if let Some(form) = &mut state.login {
                form.busy = true;
            }
            ask(state, Call::Login { username, password, otp }, &mut out);
        }
    }
    out
}

pub(super) fn check_token(state: &mut State, out: &mut Vec<Action>) {
    state.renewing = true;
    ask(state, Call::Me, out);
}

pub(super) fn open(state: &mut State, reason: Option<String>) {
    let user = state.who.as_ref().map_or(state.settings.user.as_str(), |who| who.username.as_str());
    let form = Login::new(user, reason);
    show(state, form);
}

/// The dialog comes by itself: what was typed for something else is no part of a password.
pub(super) fn open_unasked(state: &mut State, reason: String) {
    let was_open = state.login.is_some();
    open(state, Some(reason));
    if let Some(form) = state.login.as_mut().filter(|_| !was_open && !state.settings.bare) {
        form.shown_after = Some(state.drawn);
    }
}

fn show(state: &mut State, form: Login) {
    state.renewing = false;
    state.filter = None;
    if state.login.is_none() {
        state.login = Some(form);
    }
}

pub(super) fn renew(state: &mut State, out: &mut Vec<Action>) {
    if let Some(label) = state.who.as_ref().and_then(|who| who.api_token.clone()) {
        let why = format!("the API token {label} is not accepted any more: it has expired or was revoked");
        return open_unasked(state, why);
    }
    if !state.renewing && state.login.is_none() {
        state.renewing = true;
        ask(state, Call::Refresh, out);
    }
}

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(form) = &mut state.login else { return };
    if (key.code, key.ctrl) == (Code::Char('c'), true) {
        return out.push(Action::Quit);
    }
    if form.shown_after.is_some_and(|after| state.drawn <= after) {
        return;
    }
    // What no name has is no text in the name's field, and where nothing is typed nothing is.
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | ' ');
    let is_text = matches!(key.code, Code::Char(letter) if is_of_name(letter)) || (!form.busy && form.types());
    if let (false, Meaning::Command(binding)) =
        (is_text, state.settings.keys.lookup(Context::Everywhere, &key.to_string()))
    {
        match binding.command {
            Command::Daemons => return super::daemons::open(state),
            Command::Messages => {
                form.reads_messages = true;
                return super::command(state, Command::Messages, None, out);
            }
            _ => {}
        }
    }
    if form.busy {
        return;
    }
    match key.code {
        Code::Tab | Code::Down => step(form, true, state.settings.can_remember),
        Code::BackTab | Code::Up => step(form, false, state.settings.can_remember),
        Code::Char(' ') if form.at_box => {
            state.remember = !state.remember;
            out.push(Action::RememberNext(state.remember));
        }
        Code::Esc => {
            form.edited();
            form.password.clear();
            if form.code.take().is_some() {
                (form.at_password, form.at_code, form.reason) = (true, false, None);
            }
        }
        Code::Enter if !form.at_password && !form.at_box && !form.at_code => form.at_password = true,
        Code::Enter if form.user.text().trim().is_empty() => {
            (form.at_password, form.at_box, form.at_code) = (false, false, false);
        }
        Code::Enter if form.password.text().is_empty() => {}
        Code::Enter if form.code.as_ref().is_some_and(|code| code.text().trim().is_empty()) => {
            (form.at_password, form.at_box, form.at_code) = (false, false, true);
        }
        Code::Enter => {
            form.busy = true;
            (form.reason, form.is_refused) = (None, false);
            let call = Call::Login {
                username: form.user.text().trim().to_owned(),
                password: form.password.secret(),
                otp: form.code.as_ref().map(Line::secret),
            };
            ask(state, call, out);
        }
        _ if form.at_box => {}
        _ => edit(form, key),
    }
}

/// Takes a key into the field that the cursor is in.
fn edit(form: &mut Login, key: Key) {
    let is_edited = match &mut form.code {
        Some(code) if form.at_code => code.edits(key),
        _ if form.at_password => form.password.edits(key),
        _ => {
            let is_typed = matches!(key.code, Code::Char(_)) && !key.ctrl;
            let replaces = is_typed && form.is_proposed;
            if is_typed {
                form.replace_proposal();
            }
            let octets = form.user.text().len();
            // A cursor in it makes it one's own.
            form.is_proposed &= !form.user.key(key);
            replaces || form.user.text().len() != octets
        }
    };
    if is_edited {
        form.edited();
    }
}

/// The next or the last of name, password, code and box, as far as they are there.
fn step(form: &mut Login, forward: bool, has_box: bool) {
    let mut places = vec![(false, false, false), (true, false, false)];
    if form.code.is_some() {
        places.push((false, true, false));
    }
    if has_box {
        places.push((false, false, true));
    }
    let now = (form.at_password, form.at_code, form.at_box);
    let here = places.iter().position(|place| *place == now).unwrap_or(0);
    let there = (here + if forward { 1 } else { places.len() - 1 }) % places.len();
    (form.at_password, form.at_code, form.at_box) = places[there];
}

/// Nobody was there for long: the token is forgotten, and the screen stays behind the dialog.
pub(super) fn lock(state: &mut State, out: &mut Vec<Action>) {
    if state.who.is_none() || state.login.is_some() {
        return;
    }
    state.overlay = None;
    out.push(Action::Lock);
    super::tail::leave(state, out);
    out.push(Action::TimerDrop(TimerId::Refresh));
    let minutes = state.settings.lock_after_ms.unwrap_or(0) / 1_000;
    open_unasked(state, format!("locked: no key for {}", crate::time::duration(minutes)));
}

/// The session is ended, here and at the daemon; nothing of it stays on the screen.
pub(super) fn logout(state: &mut State, out: &mut Vec<Action>) {
    out.push(Action::Logout);
    super::tail::leave(state, out);
    out.push(Action::TimerDrop(TimerId::Refresh));
    forget_session(state);
    let user = state.who.take().map(|who| who.username);
    state.kept_of.take_if(|kept| Some(&*kept) == user.as_ref());
    let name = user.unwrap_or_else(|| state.settings.user.clone());
    let form = Login::anew(&name, Some("logged out".to_owned()));
    show(state, form);
}

/// Nothing that one user saw is shown to another.
fn forget_session(state: &mut State) {
    state.dialog = None;
    state.changes.forget();
    state.parked.clear();
    state.asked.clear();
    state.new_password = None;
    state.enrol = None;
    state.models = ModelsScreen::default();
    state.audit = AuditScreen { alarm_unseen: state.log.trust.alarm().is_some(), ..AuditScreen::default() };
    state.log.forget();
    state.fresh = Fresh::default();
    state.queue = QueueScreen::default();
    state.quarantine = QuarantineScreen::default();
    state.users = UsersScreen::default();
    state.health = HealthScreen::default();
}

pub(super) fn signed_in(state: &mut State, asked: &Asked, session: Session, out: &mut Vec<Action>) {
    state.renewing = false;
    state.tokens += 1;
    refresh_later(state, session.expires_in_seconds, out);
    let username = session.username.to_string();
    let is_other = state.who.as_ref().is_some_and(|who| who.username != username);
    if is_other {
        forget_session(state);
    }
    let is_known = state.who.as_ref().is_some_and(|who| who.role == session.role) && !is_other;
    if !is_known {
        let may = session.role.known().map(Role::permissions).unwrap_or_default();
        state.who = Some(Who {
            id: String::new(),
            username,
            role: session.role,
            permissions: may.iter().copied().map(Known::from).collect(),
            api_token: None,
            grants: Vec::new(),
            protected_aliases: Vec::new(),
        });
    }
    state.login = None;
    if matches!(asked.call, Call::Login { .. }) {
        super::touched(state, out);
        course::hold_back(state, out);
        if state.remember {
            state.kept_of = state.who.as_ref().map(|who| who.username.clone());
        }
    }
    if session.must_change_password {
        let typed = match &asked.call {
            Call::Login { password, .. } => Some(password),
            _ => None,
        };
        demand_new_password(state, typed);
    } else if session.must_enrol_totp {
        demand_factor(state);
    } else {
        send_parked(state, out);
        // What may be done changes without an end of the session; after signing in it may be another registry, in which
        // somebody else has the same name.
        let id = ask(state, Call::Me, out);
        // A token that is refused though it was made right now is not made once more.
        if let Some(me) = state.asked.get_mut(&id).filter(|_| asked.call == Call::Refresh) {
            me.again = true;
        }
    }
}

fn refresh_later(state: &mut State, life_seconds: u64, out: &mut Vec<Action>) {
    // At 80 % of the token's life (console.md §10).
    let after_ms = life_seconds.saturating_mul(800).max(RENEW_MIN_MS);
    state.renewing = false;
    out.push(Action::TimerSet { id: TimerId::Refresh, after_ms });
}

pub(super) fn me(state: &mut State, me: Me, out: &mut Vec<Action>) {
    let was_checking = state.who.is_none();
    let who = Who::from(&me);
    let is_session = who.api_token.is_none();
    if let Some(label) = who.api_token.as_ref().filter(|_| was_checking) {
        let ends = match &me.token_expires_at {
            Some(at) => format!("which ends {at}"),
            None => "which never ends".to_owned(),
        };
        say(state, Level::Info, format!("here with the API token {label}, {ends}"), out);
    }
    if state.who.as_ref().is_some_and(|known| !known.id.is_empty() && known.id != who.id) {
        forget_session(state);
    }
    state.who = Some(who);
    if was_checking {
        if is_session {
            let ends = me.token_expires_at.as_deref().and_then(seconds);
            let left = ends.map_or(0, |at| at.saturating_sub(state.now.wall_seconds));
            refresh_later(state, u64::try_from(left).unwrap_or(0), out);
        }
        state.renewing = false;
        state.login = None;
        super::touched(state, out);
    }
    if me.must_change_password {
        demand_new_password(state, None);
    } else if me.must_enrol_totp {
        demand_factor(state);
    } else {
        send_parked(state, out);
    }
}

pub(super) fn failed(state: &mut State, asked: &Asked, error: &ClientError, out: &mut Vec<Action>) {
    let why = sentence(error);
    match &asked.call {
        Call::Login { password, otp, .. } if error.problem_type() == Some(ProblemType::SecondFactorRequired) => {
            if let Some(form) = &mut state.login {
                form.busy = false;
                // It was right, and is needed again: it may not have been typed here.
                form.password.clear();
                form.password.insert(password.expose());
                form.code = Some(Line::hidden());
                (form.at_password, form.at_box, form.at_code) = (false, false, true);
                form.is_refused = otp.is_some();
                form.reason = Some(
                    match otp {
                        None => "a code of your authenticator is needed, or a recovery code",
                        Some(_wrong) => "this code is wrong, or was used: wait for the next one",
                    }
                    .to_owned(),
                );
            }
        }
        Call::Login { .. } => {
            if let Some(form) = &mut state.login {
                form.busy = false;
                (form.code, form.at_code) = (None, false);
                form.password.clear();
                form.at_password = true;
                form.is_refused = true;
                form.reason = Some(match error.problem_type() {
                    Some(ProblemType::BadCredentials) => "wrong user name or password".to_owned(),
                    _ => why,
                });
            }
        }
        Call::ChangePassword { .. } => {
            if let Some(form) = &mut state.new_password {
                form.busy = false;
                form.reason = Some(why);
                // What was refused is typed anew; where the old one is wrong, that is what is looked at first.
                form.new.iter_mut().for_each(Line::clear);
                form.field = usize::from(error.problem_type() != Some(ProblemType::BadCredentials));
            }
        }
        Call::EnrolTotp { .. } | Call::ConfirmTotp { .. } => {
            if let Some(form) = &mut state.enrol {
                form.busy = false;
                form.line.clear();
                form.reason = Some(match error.problem_type() {
                    Some(ProblemType::BadCredentials) => "this is not your password".to_owned(),
                    Some(ProblemType::Invalid) => "this is not the authenticator's present code".to_owned(),
                    _ => why,
                });
            }
        }
        Call::Refresh if error.status().is_some_and(|status| status < 500 && !matches!(status, 408 | 429)) => {
            open_unasked(state, format!("the session has ended: {}", sentence_short(error)));
        }
        Call::Refresh => {
            state.renewing = false;
            let asked_ms = match error {
                ClientError::Problem { retry_after_seconds: Some(seconds), .. } => seconds.saturating_mul(1_000),
                _ => 0,
            };
            let after_ms = RENEW_AGAIN_MS.max(asked_ms.min(RENEW_AGAIN_MS_MAX));
            out.push(Action::TimerSet { id: TimerId::Refresh, after_ms });
            fail_parked(state, error, &why, out);
            say_failed(state, asked.call.name(), is_away(error), why, out);
        }
        Call::Me if error.status() == Some(401) && state.who.is_none() => {
            open_unasked(state, format!("the token was refused: {}", sentence_short(error)));
        }
        Call::Me if error.status() == Some(401) && asked.again => {
            open_unasked(state, "the session has ended".to_owned())
        }
        Call::Me if error.status() == Some(401) => renew(state, out),
        Call::Me if error.problem_type() == Some(ProblemType::PasswordChangeRequired) => {
            state.renewing = false;
            demand_new_password(state, None);
        }
        Call::Me if error.problem_type() == Some(ProblemType::SecondFactorEnrolment) => {
            state.renewing = false;
            demand_factor(state);
        }
        _ => {
            state.renewing = false;
            say_failed(state, asked.call.name(), is_away(error), format!("{why}; C-r tries again"), out);
        }
    }
}

fn sentence_short(error: &ClientError) -> String {
    match error {
        ClientError::Problem { problem, .. } => problem.detail.clone(),
        other => other.to_string(),
    }
}

/// Nobody answered: what waited for a token is told so, and asked again by hand.
fn fail_parked(state: &mut State, error: &ClientError, why: &str, out: &mut Vec<Action>) {
    for (id, asked) in std::mem::take(&mut state.parked) {
        let failed = Err(error.clone());
        // Forms and panes that wait for it say what it came to.
        if super::form::reply(state, id, &failed, out)
            || super::models::peeked(state, id, &failed)
            || super::models::text(state, id, &failed)
            || (matches!(asked.call, Call::Look(_)) && super::confirm::looked(state, id, &Err(error.clone()), out))
        {
            continue;
        }
        match asked.call {
            Call::Ingest(_) | Call::Quarantine(_) | Call::Users(_)
                if super::marks::rows::failed(state, id, why, out) => {}
            Call::Models(_) if super::marks::failed(state, id, why, out) => {}
            Call::Models(_) => super::fail(&mut state.models.list, id, why),
            Call::Count { .. } => drop(super::confirm::counted(state, id, Err(why.to_owned()))),
            Call::Audit(_) => super::fail(&mut state.audit.list, id, why),
            Call::Users(_) => super::fail(&mut state.users.list, id, why),
            Call::Versions { .. } if super::quarantine::failed(state, id, why) => {}
            Call::Versions { .. } | Call::Model(_) => {
                if let Some(open) = &mut state.models.open {
                    super::fail(&mut open.versions, id, why);
                    open.pending = None;
                    open.failed = Some(why.to_owned());
                }
            }
            Call::Status | Call::Ready => super::health::failed(state, id, why, out),
            Call::Quarantine(_) => super::fail(&mut state.quarantine.list, id, why),
            Call::Version { .. } | Call::Review { .. } | Call::Excerpt { .. } => {
                let _is_shown = super::quarantine::failed(state, id, why);
            }
            Call::User(_) => {
                let _is_shown = super::users::failed(state, id, why);
            }
            Call::Ingest(_) => {
                super::fail(&mut state.queue.list, id, why);
                // It was said why nobody answers.
                let _is_news = super::queue::failed(state, out);
            }
            Call::Look(_) | Call::Change { .. } | Call::History { .. } | Call::Text { .. } => {
                super::course::not_sent(state, id, why, out);
            }
            Call::Tokens(_) => super::tokens::not_sent(state, id, why),
            Call::Log(call) => super::tail::given_up(state, call),
            Call::Position(_) => state.audit.locating = None,
            Call::Acknowledge(_) => super::tail::send_later(state, out),
            Call::Reach
            | Call::Login { .. }
            | Call::Refresh
            | Call::ChangePassword { .. }
            | Call::EnrolTotp { .. }
            | Call::ConfirmTotp { .. }
            | Call::Me => {}
        }
    }
}

// ---- a password of one's own ----------------------------------------------------------------------------------------

/// Somebody wants another one.
pub(super) fn open_password(state: &mut State, out: &mut Vec<Action>) {
    let token = state.who.as_ref().and_then(|who| who.api_token.as_ref());
    match (&state.who, token) {
        (Some(_), None) => state.new_password = Some(NewPassword::new(None, false)),
        (_, Some(label)) => {
            let why = format!("an API token changes no password: sign in with the old one ({label} is here now)");
            say(state, Level::Error, why, out);
        }
        (None, None) => say(state, Level::Error, "nobody is signed in", out),
    }
}

/// Nothing else is allowed before it is changed.
pub(super) fn demand_new_password(state: &mut State, old: Option<&Secret>) {
    state.overlay = None;
    state.filter = None;
    match &mut state.new_password {
        Some(form) => form.is_demanded = true,
        None => state.new_password = Some(NewPassword::new(old, true)),
    }
}

pub(super) fn new_password_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(form) = &mut state.new_password else { return };
    let leaves = (key.code, key.ctrl) == (Code::Char('c'), true);
    if leaves && form.is_demanded {
        return out.push(Action::Quit);
    }
    if form.busy {
        return;
    }
    match key.code {
        Code::Esc | Code::Char('c') if leaves || (key.code == Code::Esc && !form.is_demanded) => {
            state.new_password = None;
            say(state, Level::Info, "the password stays as it is", out);
        }
        Code::Tab | Code::Down => form.field = (form.field + 1) % 3,
        Code::BackTab | Code::Up => form.field = (form.field + 2) % 3,
        Code::Esc => {
            form.line().clear();
            form.reason = None;
        }
        Code::Enter if form.field < 2 => form.field += 1,
        Code::Enter if form.old.text().is_empty() => form.field = 0,
        Code::Enter if form.new[0].text().is_empty() => form.field = 1,
        Code::Enter if form.new[0] != form.new[1] && form.new[0].text() != form.new[1].text() => {
            form.reason = Some("the two new passwords differ".to_owned());
            form.new.iter_mut().for_each(Line::clear);
            form.field = 1;
        }
        Code::Enter => {
            form.busy = true;
            form.reason = None;
            let call = Call::ChangePassword { old: form.old.secret(), new: form.new[0].secret() };
            ask(state, call, out);
        }
        // What was wrong is being put right.
        _ if form.line().edits(key) => form.reason = None,
        _ => {}
    }
}

pub(super) fn password_changed(state: &mut State, out: &mut Vec<Action>) {
    state.new_password = None;
    say(state, Level::Info, "the password is changed; other sessions of yours have ended", out);
    ask(state, Call::Me, out);
}

// ---- a second factor of one's own -----------------------------------------------------------------------------------

/// Nothing else is allowed before there is one.
pub(super) fn demand_factor(state: &mut State) {
    state.overlay = None;
    state.filter = None;
    state.dialog = None;
    if state.enrol.is_none() {
        state.enrol = Some(Enrol::new(true));
    }
}

/// Somebody wants one.
pub(super) fn open_factor(state: &mut State, out: &mut Vec<Action>) {
    match &state.who {
        Some(who) if who.api_token.is_none() => state.enrol = Some(Enrol::new(false)),
        _ => say(state, Level::Error, "a second factor is set up in a session: sign in with your password", out),
    }
}

pub(super) fn factor_key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(form) = &mut state.enrol else { return };
    if (key.code, key.ctrl) == (Code::Char('c'), true) {
        return out.push(Action::Quit);
    }
    if form.busy {
        return;
    }
    match (key.code, &form.stage) {
        // Not by any key: they are shown this once.
        (Code::Enter, EnrolStage::Done(_)) => {
            state.enrol = None;
            say(state, Level::Info, "the second factor is on; other sessions of yours have ended", out);
            ask(state, Call::Me, out);
        }
        (Code::Char('y'), EnrolStage::Done(_)) if !state.settings.can_copy => {
            form.reason = Some(format!("not sent: {CLIPBOARD_OFF}"));
        }
        (Code::Char('y'), EnrolStage::Done(codes)) => {
            let codes: Vec<&str> = codes.iter().map(crate::secret::Secret::expose).collect();
            out.push(Action::Copy(codes.join("\n")));
            form.reason = Some("sent to the terminal's clipboard; look whether they arrived".to_owned());
        }
        (Code::Esc, EnrolStage::Done(_)) => {
            form.reason =
                Some("Esc doesn't close this: the codes are shown this once; Enter says you have them".to_owned());
        }
        (_, EnrolStage::Done(_)) => {
            form.reason = Some("Enter says that you have kept them, y copies them".to_owned());
        }
        (Code::Esc, _) if form.line.text().is_empty() && !form.is_demanded => state.enrol = None,
        (Code::Esc, _) => {
            form.line.clear();
            form.reason = None;
        }
        (Code::Enter, _) if form.line.text().trim().is_empty() => {}
        (Code::Enter, stage) => {
            let call = match stage {
                EnrolStage::Password => Call::EnrolTotp { password: form.line.secret() },
                EnrolStage::Code { .. } | EnrolStage::Done(_) => Call::ConfirmTotp { code: form.line.secret() },
            };
            form.busy = true;
            form.reason = None;
            ask(state, call, out);
        }
        _ if form.line.edits(key) => form.reason = None,
        _ => {}
    }
}

/// The next stage.
pub(super) fn factor_told(state: &mut State, stage: EnrolStage) {
    if let Some(form) = &mut state.enrol {
        *form = Enrol { stage, ..Enrol::new(form.is_demanded) };
    }
}
