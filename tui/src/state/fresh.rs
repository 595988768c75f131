//! Which of what was read has been changed by others since, as the log tells. For those who may not read the log nothing is
//! known; their lists say of when they are.

use std::collections::VecDeque;

use crate::state::Screen;

/// Milliseconds between two readings that nobody asked for.
pub const AGAIN_MS: u64 = 10_000;

/// Entries of own changes that are remembered until the log brings them.
const OWN_MAX: usize = 1_024;

/// What was changed since it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The list of models.
    pub models: bool,
    /// The model that is open.
    pub open: bool,
    /// The versions that are held.
    pub held: bool,
    /// The users.
    pub users: bool,
    /// When something was last read because of it.
    pub last_ms: Option<u64>,
    /// A timer is set for the next time.
    pub waits: bool,
    /// Entries of changes of this console, after which it has read already.
    own: VecDeque<u64>,
}

impl Fresh {
    /// A change of this console is that entry: what it touches is read by itself.
    pub fn did(&mut self, index: u64) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(index);
    }

    /// Whether an entry is such a change; it comes once.
    pub fn was_own(&mut self, index: u64) -> bool {
        match self.own.iter().position(|own| *own == index) {
            Some(place) => self.own.remove(place).is_some(),
            None => false,
        }
    }

    /// Whether what a screen shows was changed since it was read; `open` where a model is open.
    pub fn is_changed(&self, screen: Screen, open: bool) -> bool {
        match screen {
            Screen::Models if open => self.open,
            Screen::Models => self.models,
            Screen::Quarantine => self.held,
            Screen::Users => self.users,
            Screen::Audit | Screen::Queue | Screen::Health => false,
        }
    }
}

/// What an entry of the log changed, by its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model, a version or an alias.
    Model,
    /// What people say of a version that is held, and nothing of the version.
    Review,
    /// A user.
    User,
}

impl Kind {
    /// Of an action that was done; none where nothing that is shown changes by it.
    pub fn of(action: &str) -> Option<Self> {
        match action.split_once('.')? {
            ("model", "read" | "list" | "download" | "download_end" | "verify" | "examine") => None,
            ("model", "note" | "approve") => Some(Self::Review),
            ("model" | "alias", _) => Some(Self::Model),
            ("user", "read" | "list") => None,
            ("user" | "role", _) => Some(Self::User),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    /// What only reads changes nothing.
    #[test]
    fn kinds() {
        for (action, kind) in [
            ("model.upload", Some(Kind::Model)),
            ("alias.set", Some(Kind::Model)),
            ("user.disable", Some(Kind::User)),
            ("model.note", Some(Kind::Review)),
            ("role.grant", Some(Kind::User)),
            ("model.examine", None),
            ("model.download", None),
            ("model.list", None),
            ("user.list", None),
            ("auth.login", None),
            ("odd", None),
        ] {
            assert_eq!(Kind::of(action), kind, "{action}");
        }
    }
}
