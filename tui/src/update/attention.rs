//! What the terminal itself is asked for when something needs a person: a ring, and a title that says which daemon this is and
//! whether its log is believed. Both only where they are wanted.

use crate::action::Action;
use crate::state::State;

/// Longest name of a daemon in a title, characters.
const NAME_CHARS_MAX: usize = 60;

/// What would ring, before an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attention {
    is_alarmed: bool,
    wants_password: bool,
    jobs_over: usize,
}

impl Attention {
    /// As it is now.
    pub(super) fn of(state: &State) -> Self {
        Self {
            is_alarmed: state.log.trust.alarm().is_some(),
            wants_password: state.login.is_some() && state.who.is_some(),
            jobs_over: state.changes.jobs.values().filter(|job| job.outcome.is_some()).count(),
        }
    }

    /// Rings for what has come since, and keeps the title true.
    pub(super) fn attend(&self, state: &mut State, out: &mut Vec<Action>) {
        let now = Self::of(state);
        let is_news = (now.is_alarmed && !self.is_alarmed)
            || (now.wants_password && !self.wants_password)
            || now.jobs_over > self.jobs_over;
        if is_news && state.settings.bell {
            out.push(Action::Bell);
        }
        let title = state.settings.title.then(|| title(state));
        if title != state.title {
            state.title.clone_from(&title);
            out.push(Action::Title(title));
        }
    }
}

/// `mreg prod-eu`, `BROKEN mreg prod-eu`.
fn title(state: &State) -> String {
    let settings = &state.settings;
    let name = if settings.profile.is_empty() { &settings.address } else { &settings.profile };
    let name: String = crate::clean::clean(name).chars().take(NAME_CHARS_MAX).collect();
    let alarm = if state.log.trust.alarm().is_some() { "BROKEN " } else { "" };
    format!("{alarm}mreg {name}").trim_end().to_owned()
}
