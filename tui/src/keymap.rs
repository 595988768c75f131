//! The one table of commands: its keys, its help line, its hint, the permission it needs. Dispatch, hints and help all
//! come from here. What a command does is known to `update` alone.

use std::collections::BTreeMap;

use common::role::Permission;

use crate::config::nearest;
use crate::event::is_key;
use crate::state::Screen;

/// What a person can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each does")]
pub enum Command {
    Go(Screen),
    LastScreen,
    Down,
    Up,
    HalfDown,
    HalfUp,
    PageDown,
    PageUp,
    First,
    Last,
    In,
    Back,
    Filter,
    Sort,
    Reverse,
    SameActor,
    Follow,
    GoToTime,
    Verification,
    ExportProof,
    Acknowledge,
    TrustKey,
    OpenTarget,
    EntriesOf,
    Blocked,
    CopyName,
    CopyJson,
    Refresh,
    Help,
    Messages,
    Daemons,
    Repaint,
    Suspend,
    Quit,
}

/// Where a key means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a place says its name")]
pub enum Context {
    Everywhere,
    Lists,
    Models,
    Model,
    Audit,
    Queue,
    Quarantine,
    Users,
}

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// The command.
    pub command: Command,
    /// Where it applies.
    pub context: Context,
    /// Its keys, as [`crate::event::Key`] shows them.
    pub keys: &'static [&'static str],
    /// A word for the hint line; empty for none.
    pub hint: &'static str,
    /// A line for the help.
    pub help: &'static str,
    /// What it takes.
    pub permission: Option<Permission>,
}

const fn bind(
    context: Context,
    command: Command,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
) -> Binding {
    Binding { command, context, keys, hint, help, permission: None }
}

const fn with(permission: Permission, binding: Binding) -> Binding {
    Binding { permission: Some(permission), ..binding }
}

use Command as C;
use Context::{Audit, Everywhere, Lists, Model, Models, Quarantine, Queue, Users};

/// Every command.
pub const TABLE: &[Binding] = &[
    bind(Lists, C::Down, &["j", "Down"], "", "one row down; 12j twelve"),
    bind(Lists, C::Up, &["k", "Up"], "", "one row up"),
    bind(Lists, C::HalfDown, &["C-d"], "", "half a page down"),
    bind(Lists, C::HalfUp, &["C-u"], "", "half a page up"),
    bind(Lists, C::PageDown, &["PgDn", "C-f"], "", "a page down"),
    bind(Lists, C::PageUp, &["PgUp", "C-b"], "", "a page up"),
    bind(Lists, C::First, &["gg", "Home"], "", "the first row"),
    bind(Lists, C::Last, &["G", "End"], "", "the last row; 123G number 123"),
    bind(Lists, C::In, &["Enter", "l", "Right"], "open", "look closer"),
    bind(Lists, C::CopyName, &["y"], "", "copy the name or id to the terminal's clipboard"),
    bind(Lists, C::CopyJson, &["Y"], "", "copy all of it as JSON"),
    bind(Everywhere, C::Back, &["Esc", "h", "Left"], "", "one step back"),
    bind(Models, C::Filter, &["/"], "filter", "part of name or description"),
    bind(Models, C::Sort, &["s"], "sort", "next sort: name, updated, created"),
    bind(Models, C::Reverse, &["S"], "reverse", "the other way round"),
    with(Permission::AuditRead, bind(Models, C::EntriesOf, &["o"], "entries", "audit entries of this model")),
    with(Permission::AuditRead, bind(Model, C::EntriesOf, &["o"], "entries", "audit entries of this model")),
    bind(Audit, C::Follow, &["f"], "follow", "follow the log, or hold the rows still"),
    bind(Audit, C::Filter, &["/"], "filter", "actor: action: outcome: target: ip: since: until:"),
    bind(Audit, C::SameActor, &["a"], "actor", "only entries of this actor"),
    bind(Audit, C::OpenTarget, &["o"], "target", "open the model it is about"),
    bind(Queue, C::OpenTarget, &["o"], "result", "open the version it came to"),
    bind(Queue, C::Filter, &["/"], "filter", "part of the path; state:failed, any of several"),
    bind(Quarantine, C::OpenTarget, &["o"], "version", "open the version"),
    bind(Quarantine, C::Blocked, &["b"], "blocked", "those blocked for good, or those that wait"),
    bind(Audit, C::GoToTime, &["t"], "time", "go to a time, such as 12:02 or 2026-07-22T12:02:00Z"),
    bind(Audit, C::Verification, &["V"], "verify", "how the log is verified, and what is pinned"),
    bind(Audit, C::ExportProof, &["x"], "export", "write the entry with its proof to a file"),
    bind(Audit, C::Acknowledge, &["A"], "", "acknowledge that the log's verification failed, with a reason"),
    bind(Audit, C::TrustKey, &["T"], "", "trust the log's key, once it was compared by another way"),
    with(Permission::AuditRead, bind(Users, C::EntriesOf, &["o"], "entries", "audit entries of this user")),
    bind(Everywhere, C::Refresh, &["C-r"], "refresh", "read again"),
    bind(Everywhere, C::Go(Screen::Models), &["1"], "", "models"),
    with(Permission::AuditRead, bind(Everywhere, C::Go(Screen::Audit), &["2"], "", "audit log")),
    with(Permission::ModelRead, bind(Everywhere, C::Go(Screen::Queue), &["3"], "", "queue: the drop folder")),
    with(Permission::ModelModerate, bind(Everywhere, C::Go(Screen::Quarantine), &["4"], "", "quarantine")),
    with(Permission::UserManage, bind(Everywhere, C::Go(Screen::Users), &["5"], "", "users")),
    bind(Everywhere, C::Go(Screen::Health), &["6"], "", "health of the daemon"),
    bind(Everywhere, C::LastScreen, &["-"], "", "the screen before this"),
    bind(Everywhere, C::Messages, &["!"], "", "what was asked and answered"),
    bind(Everywhere, C::Daemons, &["@"], "", "other daemons; log out"),
    bind(Everywhere, C::Repaint, &["C-l"], "", "paint everything anew"),
    bind(Everywhere, C::Suspend, &["C-z"], "", "suspend; fg comes back"),
    bind(Everywhere, C::Quit, &["q", "C-c"], "", "back; at the top: quit"),
    bind(Everywhere, C::Help, &["?"], "help", "this list"),
];

/// What typed keys mean in a context.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// This.
    Command(&'static Binding),
    /// Something, if more follows.
    Prefix,
    /// Nothing.
    None,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 8] = [Everywhere, Lists, Models, Model, Audit, Queue, Quarantine, Users];

    /// The contexts whose commands apply in this one, its own first.
    fn reach(self) -> &'static [Self] {
        match self {
            Everywhere => &[Everywhere],
            Lists => &[Lists, Everywhere],
            Models => &[Models, Lists, Everywhere],
            Model => &[Model, Lists, Everywhere],
            Audit => &[Audit, Lists, Everywhere],
            Queue => &[Queue, Lists, Everywhere],
            Quarantine => &[Quarantine, Lists, Everywhere],
            Users => &[Users, Lists, Everywhere],
        }
    }
}

impl Binding {
    /// The name the configuration knows it by: context and command, such as `audit.same-actor`, `everywhere.go-models`.
    pub fn name(&self) -> String {
        let mut name = format!("{:?}.", self.context).to_lowercase();
        for character in format!("{:?}", self.command).chars() {
            match character {
                '(' | ')' | ' ' => {}
                upper if upper.is_uppercase() => {
                    if !name.ends_with('.') {
                        name.push('-');
                    }
                    name.extend(upper.to_lowercase());
                }
                other => name.push(other),
            }
        }
        name
    }
}

/// The keys as they are set: those of the table, but for commands that were given others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Vec<String>>);

impl Keys {
    /// Gives a command other keys.
    ///
    /// # Errors
    /// A sentence on a name that is no command's, or a text that is no key.
    pub fn set(&mut self, name: &str, keys: Vec<String>) -> Result<(), String> {
        let names: Vec<String> = TABLE.iter().map(Binding::name).collect();
        if !names.iter().any(|known| known == name) {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = nearest(name, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(format!("{name:?} is no command (mreg keys lists them){near}"));
        }
        if let Some(wrong) = keys.iter().find(|key| !is_key(key)) {
            return Err(format!("{wrong:?} is no key, such as x, gg, C-d or PgDn"));
        }
        if keys.is_empty() {
            return Err(format!("{name} needs a key"));
        }
        self.0.insert(name.to_owned(), keys);
        Ok(())
    }

    /// Whether no two commands of a context have the same key, and none has a key that begins another's.
    ///
    /// # Errors
    /// A sentence with both commands.
    pub fn check(&self) -> Result<(), String> {
        for context in Context::ALL {
            let mut seen: BTreeMap<&str, &'static Binding> = BTreeMap::new();
            for binding in bindings(context) {
                for key in self.of(binding) {
                    if let Some(other) = seen.insert(key, binding) {
                        return Err(format!("the key {key} is that of {} and of {}", other.name(), binding.name()));
                    }
                }
            }
            for (key, binding) in &seen {
                let Some(first) = key.get(..1).filter(|_| is_sequence(key)) else { continue };
                if let Some(other) = seen.get(first) {
                    return Err(format!("{first} of {} begins {key} of {}", other.name(), binding.name()));
                }
            }
        }
        Ok(())
    }

    /// The keys of a command.
    pub fn of<'a>(&'a self, binding: &'static Binding) -> Vec<&'a str> {
        if self.0.is_empty() {
            return binding.keys.to_vec();
        }
        match self.0.get(&binding.name()) {
            Some(keys) => keys.iter().map(String::as_str).collect(),
            None => binding.keys.to_vec(),
        }
    }

    /// Looks up what was typed, such as `j`, `gg` or `C-d`.
    pub fn lookup(&self, context: Context, typed: &str) -> Meaning {
        if let Some(binding) = bindings(context).find(|binding| self.of(binding).contains(&typed)) {
            return Meaning::Command(binding);
        }
        // Only letters typed twice are sequences; the rest of the keys are names.
        let begins = |key: &str| is_sequence(key) && typed.len() == 1 && key.starts_with(typed);
        if bindings(context).any(|binding| self.of(binding).into_iter().any(begins)) {
            Meaning::Prefix
        } else {
            Meaning::None
        }
    }
}

fn is_sequence(key: &str) -> bool {
    key.len() == 2
}

/// The rows that apply in a context, its own first.
pub fn bindings(context: Context) -> impl Iterator<Item = &'static Binding> {
    context.reach().iter().flat_map(|place| TABLE.iter().filter(move |binding| binding.context == *place))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use super::{Context, Keys, Meaning, TABLE};
    use crate::event::is_key;

    /// Each command has a key, a help line and a name of its own; no two commands of a context share a key.
    #[test]
    fn complete_and_unambiguous() {
        let mut names = BTreeSet::new();
        for binding in TABLE {
            assert!(!binding.keys.is_empty() && !binding.help.is_empty(), "{binding:?}");
            assert!(binding.keys.iter().all(|key| is_key(key)), "{binding:?}");
            assert!(names.insert(binding.name()), "{} twice", binding.name());
        }
        assert_eq!(Keys::default().check(), Ok(()));
    }

    #[test]
    fn prefixes() {
        let keys = Keys::default();
        assert!(matches!(keys.lookup(Context::Models, "g"), Meaning::Prefix));
        assert!(matches!(keys.lookup(Context::Models, "gg"), Meaning::Command(_)));
        assert!(matches!(keys.lookup(Context::Everywhere, "g"), Meaning::None));
        assert!(matches!(keys.lookup(Context::Models, "E"), Meaning::None));
        assert!(matches!(keys.lookup(Context::Models, "x"), Meaning::None));
    }

    /// A key that was given to a command is its key, and the one it had is free.
    #[test]
    fn keys_can_be_changed() {
        let mut keys = Keys::default();
        keys.set("models.sort", vec!["t".into(), "zz".into()]).unwrap();
        keys.check().unwrap();
        for (typed, is_sort) in [("t", true), ("zz", true), ("s", false)] {
            let found = keys.lookup(Context::Models, typed);
            assert_eq!(
                matches!(found, Meaning::Command(binding) if binding.name() == "models.sort"),
                is_sort,
                "{typed}"
            );
        }
        assert!(matches!(keys.lookup(Context::Models, "z"), Meaning::Prefix));
        keys.set("models.reverse", vec!["z".into()]).unwrap();
        assert!(keys.check().unwrap_err().contains("begins zz"));
        keys.set("models.reverse", vec!["j".into()]).unwrap();
        assert!(keys.check().unwrap_err().contains("lists.down"));
    }
}
