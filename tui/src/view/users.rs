//! Screen 5: users, and what one of them may do.

use common::api::{SessionInfo, User, UserKind};
use common::grant::{Effect, Grant, GrantTold, allowed_somewhere};
use common::role::{Permission, Role};

use super::{filter_words, freshness, of_total, say_empty, why_empty};
use crate::access::unknown;
use crate::layout::Areas;
use crate::state::State;
use crate::state::users::{SORTS, UserReading};
use crate::time::{Now, age, dated, grouped, minute};
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, stars, table, touched};
use crate::window::Row;

pub(super) const COLUMNS: [Column; 9] = [
    flexible("USER", 10, 0),
    fixed("ROLE", 11, 1),
    fixed("STATE", 8, 2),
    number("LAST LOGIN", 10, 3),
    number("FAILED", 6, 5),
    number("SESSIONS", 8, 6),
    number("TOKENS", 6, 7),
    fixed("PASSWORD", 11, 4),
    fixed("2FA", 3, 8),
];

/// Sessions that are listed.
const SESSIONS_SHOWN: usize = 5;

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let screen = &state.users;
    let arrow = if screen.descending { "v" } else { "^" };
    let (filter, sort) = (filter_words(&screen.filter), SORTS[screen.sort].1);
    let left = format!("Users {}{}   {filter}   sort: {sort} {arrow}", of_total(&screen.list), screen.marks.words());
    (left, freshness(state, &screen.list))
}

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let now = state.times();
    table(pen, areas, &COLUMNS, &state.users.list, |user| cells(user, now));
    let marks = &state.users.marks;
    stars(pen, areas, &state.users.list, |row| marks.has(&row.key()));
    touched(pen, areas, &state.users.list, Some(&state.fresh.users), |row| marks.has(&row.key()));
    if let Some(words) = why_empty(state, &state.users.list, !state.users.filter.is_empty(), "no user") {
        say_empty(areas, pen, &words);
    }
}

fn cells(user: &User, now: Now) -> Vec<(String, Tone)> {
    let last = user.last_login_at.as_deref().map_or("never".to_owned(), |at| age(at, now));
    let standing = match (user.disabled, &user.locked_until) {
        (true, _) => ("locked".to_owned(), Tone::Bad),
        // Not by anybody, and not for long: no filter finds it, and nothing unlocks it.
        (false, Some(_)) => ("held off".to_owned(), Tone::Warn),
        (false, None) if user.kind != UserKind::Person => (user.kind.to_string(), Tone::Plain),
        (false, None) => ("active".to_owned(), Tone::Plain),
    };
    let failed = if user.failed_logins > 0 { Tone::Warn } else { Tone::Plain };
    vec![
        (user.username.to_string(), Tone::Plain),
        (user.role.to_string(), Tone::Plain),
        standing,
        (last, Tone::Plain),
        (user.failed_logins.to_string(), failed),
        (user.sessions.to_string(), Tone::Plain),
        (user.tokens.to_string(), Tone::Plain),
        if user.kind == UserKind::Service {
            ("token only".to_owned(), Tone::Plain)
        } else if user.must_change_password {
            ("must change".to_owned(), Tone::Warn)
        } else if user.kind == UserKind::Person {
            ("ok".to_owned(), Tone::Plain)
        } else {
            ("-".to_owned(), Tone::Plain)
        },
        (if user.totp { "yes" } else { "-" }.to_owned(), Tone::Plain),
    ]
}

pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(user) = state.users.list.selected() else { return Vec::new() };
    let mut text = Text::new(areas.pane.width);
    let now = state.times();
    let reading = state.users.reading.as_ref().filter(|reading| reading.key == user.key());
    text.pieces(vec![(user.username.to_string(), Tone::Bold), (format!("  {}", user.id), Tone::Dim)]);
    text.fact("role", &role(user, reading, now), Tone::Plain);
    let is_service = user.kind == UserKind::Service;
    for (place, grant) in user.grants.iter().enumerate() {
        text.fact(if place == 0 { "grants" } else { "" }, &grant.to_string(), Tone::Plain);
    }
    match (user.disabled, &user.locked_until) {
        (true, _) => text.fact("state", "locked: can't sign in (L unlocks)", Tone::Bad),
        (false, Some(until)) => {
            text.fact(
                "state",
                &format!("active, but held off from somewhere until {until}: too many wrong passwords"),
                Tone::Warn,
            );
        }
        (false, None) if is_service => text.fact("state", "service account: it can't sign in", Tone::Plain),
        (false, None) => text.fact("state", "active", Tone::Plain),
    }
    if let Some(why) = unknown("its kind", &user.kind) {
        text.fact("kind", &why, Tone::Warn);
    }
    let password = match (is_service, user.must_change_password) {
        (true, _) => "none: API tokens only",
        (false, true) => "must be changed at the next sign-in",
        (false, false) => "ok",
    };
    text.fact("password", password, if user.must_change_password { Tone::Warn } else { Tone::Plain });
    let factor = match (is_service, user.totp) {
        (true, _) => "none: it can't sign in",
        (false, true) => "on (F takes it away)",
        (false, false) => "none",
    };
    text.fact("2FA", factor, Tone::Plain);
    text.fact("created", &dated(&user.created_at, now), Tone::Plain);
    if user.updated_at != user.created_at {
        text.fact("changed", &dated(&user.updated_at, now), Tone::Plain);
    }
    let last = user.last_login_at.as_deref().map(|at| dated(at, now));
    text.fact("last login", last.as_deref().unwrap_or("never"), Tone::Plain);
    if user.failed_logins > 0 {
        let failed = grouped(user.failed_logins.into());
        text.fact("failed", &format!("{failed} of late, since the last that did not"), Tone::Warn);
    }
    sessions(user, reading, now, &mut text);
    let tokens = if user.tokens == 0 { "none".to_owned() } else { format!("{} (T shows them)", user.tokens) };
    text.fact("API tokens", &tokens, Tone::Plain);
    may(user, &mut text);
    text.lines()
}

/// `admin since 2026-01-10, given by alice (entry 8812004)`.
fn role(user: &User, reading: Option<&UserReading>, now: Now) -> String {
    let given = reading.and_then(|reading| reading.info.as_ref()).and_then(|info| info.role_given.as_ref());
    match given {
        None => user.role.to_string(),
        Some(given) => {
            let since = crate::time::seconds(&given.at).map_or_else(|| given.at.clone(), |at| now.date(at));
            format!("{} since {since}, given by {} (entry {})", user.role, given.by, given.log_index)
        }
    }
}

/// Since when and until when, in a line.
pub(super) fn session_words(session: &SessionInfo, now: Now) -> String {
    format!("since {} ({}), ends {}", minute(&session.since), age(&session.since, now), minute(&session.expires_at))
}

fn sessions(user: &User, reading: Option<&UserReading>, now: Now, text: &mut Text) {
    let info = reading.and_then(|reading| reading.info.as_ref());
    match (user.sessions, info) {
        (0, _) => text.fact("sessions", "none", Tone::Plain),
        (count, None) => text.fact("sessions", &grouped(count.into()), Tone::Plain),
        (count, Some(info)) => {
            let mut label = "sessions";
            for session in info.live_sessions.iter().take(SESSIONS_SHOWN) {
                let line = session_words(session, now);
                text.fact(label, &line, Tone::Plain);
                label = "";
            }
            let shown = u32::try_from(info.live_sessions.len().min(SESSIONS_SHOWN)).unwrap_or(u32::MAX);
            if count > shown {
                text.fact(label, &format!("{} more", grouped(u64::from(count - shown))), Tone::Plain);
            }
        }
    }
    if let Some(why) = reading.and_then(|reading| reading.failed.as_ref()) {
        text.fact("not read", why, Tone::Bad);
    }
}

/// What role and grants let a user do, and who else could do the rest.
fn may(user: &User, text: &mut Text) {
    let (role, grants) = (user.role.known(), user.grants.as_slice());
    // What is not known here may narrow, too.
    let narrows = grants.iter().filter_map(GrantTold::known).any(|grant| !matches!(grant.effect, Effect::Role(_)));
    let narrows = narrows || grants.iter().any(|grant| grant.known().is_none());
    let listed = |all: &mut dyn Iterator<Item = &Permission>| {
        all.map(|permission| permission.as_str()).collect::<Vec<_>>().join(", ")
    };
    text.head("MAY");
    let by_role = role.map(Role::permissions).unwrap_or_default();
    let (of_models, others): (Vec<&Permission>, Vec<&Permission>) =
        by_role.iter().partition(|permission| permission.is_of_models());
    if let Some(why) = unknown("the role", &user.role) {
        text.words(0, &why, Tone::Warn);
    } else if narrows {
        text.words(0, &listed(&mut others.into_iter()), Tone::Plain);
        let models = listed(&mut of_models.into_iter());
        text.words(0, &format!("{models}, where no grant says otherwise"), Tone::Plain);
    } else {
        text.words(0, &listed(&mut by_role.iter()), Tone::Plain);
    }
    for grant in grants {
        let Some(grant) = grant.known() else {
            text.words(0, &format!("{grant}: it isn't known to this mreg what that gives or takes"), Tone::Warn);
            continue;
        };
        let what = match grant.effect {
            Effect::Role(given) => {
                let more = listed(&mut given.permissions().iter().filter(|permission| permission.is_of_models()));
                format!("{more} (as {given})")
            }
            Effect::NoRole => "nothing by the role alone, only what other grants give".to_owned(),
            Effect::Deny => "nothing, whatever else fits: it is not even seen".to_owned(),
        };
        text.words(0, &format!("{}: {what}", grant.pattern), Tone::Plain);
    }
    // Of what is not known here nobody can say what it doesn't give.
    let known: Option<Vec<Grant>> = grants.iter().map(GrantTold::known).collect();
    let (Some(role), Some(grants)) = (role, known) else { return };
    let may_not: Vec<String> = Role::Admin
        .permissions()
        .iter()
        .filter(|permission| !allowed_somewhere(Some(role), &grants, **permission))
        .map(|permission| {
            let who: Vec<&str> =
                Role::ALL.into_iter().filter(|role| role.allows(*permission)).map(Role::as_str).collect();
            format!("{permission} ({})", who.join(", "))
        })
        .collect();
    if !may_not.is_empty() {
        text.head("MAY NOT");
        text.words(0, &may_not.join(", "), Tone::Plain);
    }
}
