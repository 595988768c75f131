//! Screen 5: users, and what one of them may do.

use common::api::User;
use common::role::Role;

use super::{say_empty, why_empty};
use crate::layout::Areas;
use crate::state::State;
use crate::time::age;
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, table, touched};

const COLUMNS: [Column; 6] = [
    flexible("USER", 14, 0),
    fixed("ROLE", 11, 1),
    fixed("STATE", 8, 2),
    number("LAST LOGIN", 10, 3),
    number("SESSIONS", 8, 5),
    fixed("PASSWORD", 11, 4),
];

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let now = state.now.wall_seconds;
    table(pen, areas, &COLUMNS, &state.users.list, |user| cells(user, now));
    touched(pen, areas, &state.users.list, Some(&state.fresh.users), |_| false);
    if let Some(words) = why_empty(&state.users.list, false, "no user") {
        say_empty(areas, pen, &words);
    }
}

fn cells(user: &User, now: i64) -> Vec<(String, Tone)> {
    let last = user.last_login_at.as_deref().map_or("never".to_owned(), |at| age(at, now));
    vec![
        (user.username.to_string(), Tone::Plain),
        (user.role.to_string(), Tone::Plain),
        if user.disabled { ("disabled".to_owned(), Tone::Bad) } else { ("active".to_owned(), Tone::Plain) },
        (last, Tone::Plain),
        (user.sessions.to_string(), Tone::Plain),
        if user.must_change_password { ("must change".to_owned(), Tone::Warn) } else { ("ok".to_owned(), Tone::Plain) },
    ]
}

pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(user) = state.users.list.selected() else { return Vec::new() };
    let mut text = Text::new(areas.pane.width);
    let now = state.now.wall_seconds;
    text.pieces(vec![(user.username.to_string(), Tone::Bold)]);
    text.fact("id", &user.id, Tone::Plain);
    text.fact("role", user.role.as_str(), Tone::Plain);
    text.fact("state", if user.disabled { "disabled: can't sign in" } else { "active" }, Tone::Plain);
    text.fact("created", &format!("{}  {}", user.created_at, age(&user.created_at, now)), Tone::Plain);
    text.fact("changed", &format!("{}  {}", user.updated_at, age(&user.updated_at, now)), Tone::Plain);
    text.fact("last login", user.last_login_at.as_deref().unwrap_or("never"), Tone::Plain);
    text.fact("sessions", &user.sessions.to_string(), Tone::Plain);
    let may: Vec<&str> = user.role.permissions().iter().map(|permission| permission.as_str()).collect();
    text.head("MAY");
    text.words(0, &may.join(", "), Tone::Plain);
    let may_not: Vec<&str> = Role::Admin
        .permissions()
        .iter()
        .filter(|permission| !user.role.allows(**permission))
        .map(|permission| permission.as_str())
        .collect();
    if !may_not.is_empty() {
        text.head("MAY NOT");
        text.words(0, &may_not.join(", "), Tone::Plain);
    }
    text.lines()
}
