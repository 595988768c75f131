//! API tokens of a user, over the screen: read anew each time it opens; what can be done to them is asked about like any
//! change.

use common::api::{ApiToken, Page, UserInfo, UserKind};
use common::client::{ClientError, Paging, Reply, TokenQuery};
use common::role::Permission;

use super::{ask, cancel, confirm, form, say, sentence};
use crate::action::{Action, Answer, Call, RequestId};
use crate::event::{Code, Key};
use crate::state::deeds::{Change, Deed, Object};
use crate::state::dialog::Dialog;
use crate::state::tokens::{TOKENS_MAX, Tokens};
use crate::state::{Level, State};

/// One's own.
pub(super) fn open_own(state: &mut State, out: &mut Vec<Action>) {
    let Some(user) = state.who.as_ref().map(|who| who.username.clone()) else { return };
    open(state, user, out);
}

/// Those of a user.
pub(super) fn open(state: &mut State, user: String, out: &mut Vec<Action>) {
    let page = Paging { limit: Some(TOKENS_MAX), ..Paging::default() };
    let query = TokenQuery { user: user.clone(), page, ..TokenQuery::default() };
    let tokens = ask(state, Call::Tokens(Box::new(query)), out);
    let may_see = state.who.as_ref().is_some_and(|who| who.has(Permission::UserManage));
    let sessions = may_see.then(|| ask(state, Call::User(user.clone()), out));
    let waits = [Some(tokens), sessions];
    let row = state.users.list.rows().find(|row| row.username.as_str() == user);
    let is_service = row.is_some_and(|row| row.kind == UserKind::Service);
    state.overlay = None;
    state.dialog = Some(Dialog::Tokens(Box::new(Tokens {
        user,
        is_service,
        rows: None,
        sessions: None,
        selected: 0,
        waits,
        failed: None,
    })));
}

fn shown(state: &mut State) -> Option<&mut Tokens> {
    match &mut state.dialog {
        Some(Dialog::Tokens(tokens)) => Some(tokens),
        _ => None,
    }
}

/// Takes what it waits for; false if it doesn't.
pub(super) fn reply(state: &mut State, id: RequestId, result: &Result<Answer, ClientError>) -> bool {
    let Some(tokens) = shown(state) else { return false };
    let Some(place) = tokens.waits.iter().position(|waits| *waits == Some(id)) else { return false };
    tokens.waits[place] = None;
    match result {
        Ok(Answer::Tokens(Reply { body: Page { items, .. }, .. })) => {
            tokens.selected = tokens.selected.min(items.len().saturating_sub(1));
            tokens.rows = Some(items.clone());
        }
        Ok(Answer::User(reply)) => {
            let UserInfo { user, live_sessions, .. } = &*reply.body;
            tokens.is_service = user.kind == UserKind::Service;
            tokens.sessions = Some(live_sessions.clone());
        }
        Ok(_) => {}
        Err(error) => tokens.failed = Some(sentence(error)),
    }
    true
}

/// It waits for a token that will not come.
pub(super) fn not_sent(state: &mut State, id: RequestId, why: &str) {
    if let Some(tokens) = shown(state).filter(|tokens| tokens.waits.contains(&Some(id))) {
        tokens.waits = [None, None];
        tokens.failed = Some(format!("not read: {why}"));
    }
}

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(tokens) = shown(state) else { return };
    let last = tokens.rows.as_ref().map_or(0, |rows| rows.len().saturating_sub(1));
    let user = tokens.user.clone();
    match (key.code, key.ctrl) {
        (Code::Esc, _) | (Code::Char('q'), false) | (Code::Char('c'), true) => {
            let waits = tokens.waits;
            state.dialog = None;
            waits.into_iter().for_each(|id| cancel(state, id, out));
        }
        (Code::Down, _) | (Code::Char('j'), false) => tokens.selected = (tokens.selected + 1).min(last),
        (Code::Up, _) | (Code::Char('k'), false) => tokens.selected = tokens.selected.saturating_sub(1),
        (Code::Char('a'), false) => match refusal_to_make(state) {
            Some(why) => say(state, Level::Warning, format!("a: {why}"), out),
            None => form::add_token(state, user),
        },
        (Code::Char('r'), false) => about(state, Deed::RotateToken, out),
        (Code::Char('D'), false) => about(state, Deed::RevokeToken, out),
        (Code::Char('E'), false) => confirm::open(state, vec![Change::new(Object::User(user), Deed::Revoke)], out),
        _ => {}
    }
}

/// Why no token can be made here: those of a person are made by that person alone.
pub(crate) fn refusal_to_make(state: &State) -> Option<String> {
    let Some(Dialog::Tokens(tokens)) = &state.dialog else { return None };
    let is_own = state.who.as_ref().is_some_and(|who| who.username == tokens.user);
    (!is_own && !tokens.is_service).then(|| format!("{} alone makes tokens of {}: with K", tokens.user, tokens.user))
}

/// Asks before something is done to the selected one.
fn about(state: &mut State, deed: Deed, out: &mut Vec<Action>) {
    let Some(tokens) = shown(state) else { return };
    match tokens.token().map(object) {
        Some(object) => confirm::open(state, vec![Change::new(object, deed)], out),
        None => say(state, Level::Info, "no token is selected", out),
    }
}

fn object(token: &ApiToken) -> Object {
    Object::Token { id: token.id.clone(), label: token.label.clone(), user: token.user.to_string() }
}
