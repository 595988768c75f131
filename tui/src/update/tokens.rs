//! API tokens of a user, over the screen: read anew each time it opens; what can be done to them is asked about like any
//! change.

use common::api::{ApiToken, Page, UserInfo, UserKind};
use common::client::{ClientError, Paging, Reply, TokenQuery};
use common::role::Permission;

use super::{ask, cancel, confirm, form, say, sentence};
use crate::access::{Access, may};
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
    let is_service = row.map(|row| row.kind == UserKind::Service);
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
            tokens.is_service = Some(user.kind == UserKind::Service);
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
        (Code::Char(key), false) => {
            let Some(act) = TokenAct::ALL.into_iter().find(|act| act.hint().0 == key) else { return };
            match token_access(state, act).refusal() {
                Some(why) => say(state, Level::Warning, format!("{key}: {why}"), out),
                None => begin(state, act, user, out),
            }
        }
        _ => {}
    }
}

/// What can be done about tokens here, in the order of the hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenAct {
    Make,
    Rotate,
    Revoke,
    EndAll,
}

impl TokenAct {
    pub(crate) const ALL: [Self; 4] = [Self::Make, Self::Rotate, Self::Revoke, Self::EndAll];

    /// Its key, and a word for it.
    pub(crate) fn hint(self) -> (char, &'static str) {
        match self {
            Self::Make => ('a', "make one"),
            Self::Rotate => ('r', "rotate"),
            Self::Revoke => ('D', "revoke"),
            Self::EndAll => ('E', "end all"),
        }
    }
}

/// Whether it can be done to the tokens that are shown. Who manages users may end those of anybody. A secret is for whoever the
/// token is of: a person makes their own, in a session, as no token makes another that outlives it.
pub(crate) fn token_access(state: &State, act: TokenAct) -> Access {
    let (Some(who), Some(Dialog::Tokens(tokens))) = (&state.who, &state.dialog) else {
        return Access::NotNow("nobody is signed in".to_owned());
    };
    let is_own = who.username == tokens.user;
    let makes = matches!(act, TokenAct::Make | TokenAct::Rotate) && tokens.is_service != Some(true);
    let needs_session = (makes && is_own) || !who.has(Permission::UserManage);
    let label = who.api_token.as_ref().filter(|_| needs_session);
    match (act, label) {
        (TokenAct::EndAll, _) => may(state, Some(Permission::UserManage), true),
        _ if makes && !is_own && tokens.is_service.is_none() && who.has(Permission::UserManage) => {
            Access::NotNow(match tokens.waits[1] {
                Some(_) => format!("whether {} is a service account is being read", tokens.user),
                None => format!("whether {} is a service account is not known: it was not read", tokens.user),
            })
        }
        _ if makes && !is_own => {
            Access::NotAllowed(format!("{} alone makes tokens of {}: with K", tokens.user, tokens.user))
        }
        (_, Some(label)) => {
            Access::NotAllowed(format!("needs a session: sign in ({label}, an API token, is here now)"))
        }
        (TokenAct::Rotate | TokenAct::Revoke, None) if tokens.token().is_none() => {
            Access::NotNow("no token is selected".to_owned())
        }
        (TokenAct::Make | TokenAct::Rotate | TokenAct::Revoke, None) => may(state, None, true),
    }
}

/// Asks what is still to be known, and whether it is meant.
fn begin(state: &mut State, act: TokenAct, user: String, out: &mut Vec<Action>) {
    let selected = shown(state).and_then(|tokens| tokens.token().map(object));
    let change = match (act, selected) {
        (TokenAct::Make, _) => return form::add_token(state, user),
        (TokenAct::EndAll, _) => Change::new(Object::User(user), Deed::Revoke),
        (TokenAct::Rotate, Some(token)) => Change::new(token, Deed::RotateToken),
        (TokenAct::Revoke, Some(token)) => Change::new(token, Deed::RevokeToken),
        (TokenAct::Rotate | TokenAct::Revoke, None) => return,
    };
    let place = shown(state).map(|tokens| (tokens.user.clone(), tokens.selected));
    confirm::open(state, vec![change], out);
    if let Some(Dialog::Confirm(confirm)) = &mut state.dialog {
        confirm.tokens = place;
    }
}

/// Back from a question about them that was answered with no.
pub(super) fn open_again(state: &mut State, (user, selected): (String, usize), out: &mut Vec<Action>) {
    open(state, user, out);
    if let Some(tokens) = shown(state) {
        tokens.selected = selected;
    }
}

fn object(token: &ApiToken) -> Object {
    Object::Token { id: token.id.clone(), label: token.label.clone(), user: token.user.to_string() }
}
