//! The one table of commands: its keys, its help line, its hint, the permission it needs. Dispatch, hints and help all
//! come from here. What a command does is known to `update` alone.

use common::role::Permission;

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
    Refresh,
    Help,
    Messages,
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
use Context::{Audit, Everywhere, Lists, Model, Models, Users};

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
    bind(Audit, C::GoToTime, &["t"], "time", "go to a time, such as 12:02 or 2026-07-22T12:02:00Z"),
    bind(Audit, C::Verification, &["V"], "verify", "how the log is verified, and what is pinned"),
    bind(Audit, C::ExportProof, &["x"], "export", "write the entry with its proof to a file"),
    bind(Audit, C::Acknowledge, &["A"], "", "acknowledge that the log's verification failed, with a reason"),
    bind(Audit, C::TrustKey, &["T"], "", "trust the log's key, once it was compared by another way"),
    with(Permission::AuditRead, bind(Users, C::EntriesOf, &["o"], "entries", "audit entries of this user")),
    bind(Everywhere, C::Refresh, &["C-r"], "refresh", "read again"),
    bind(Everywhere, C::Go(Screen::Models), &["1"], "", "models"),
    with(Permission::AuditRead, bind(Everywhere, C::Go(Screen::Audit), &["2"], "", "audit log")),
    with(Permission::UserManage, bind(Everywhere, C::Go(Screen::Users), &["3"], "", "users")),
    bind(Everywhere, C::Go(Screen::Health), &["4"], "", "health of the daemon"),
    bind(Everywhere, C::LastScreen, &["-"], "", "the screen before this"),
    bind(Everywhere, C::Messages, &["!"], "", "what was asked and answered"),
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

/// The rows that apply in a context, its own first.
pub fn bindings(context: Context) -> impl Iterator<Item = &'static Binding> {
    let reach: &[Context] = match context {
        Everywhere => &[Everywhere],
        Lists => &[Lists, Everywhere],
        Models => &[Models, Lists, Everywhere],
        Model => &[Model, Lists, Everywhere],
        Audit => &[Audit, Lists, Everywhere],
        Users => &[Users, Lists, Everywhere],
    };
    reach.iter().flat_map(|place| TABLE.iter().filter(move |binding| binding.context == *place))
}

/// Looks up what was typed, such as `j`, `gg` or `C-d`.
pub fn lookup(context: Context, typed: &str) -> Meaning {
    if let Some(binding) = bindings(context).find(|binding| binding.keys.contains(&typed)) {
        return Meaning::Command(binding);
    }
    // Only letters typed twice are sequences; the rest of the keys are names.
    let begins = |key: &str| key.len() == 2 && typed.len() == 1 && key.starts_with(typed);
    if bindings(context).flat_map(|binding| binding.keys).any(|key| begins(key)) {
        Meaning::Prefix
    } else {
        Meaning::None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Context, Meaning, TABLE, bindings, lookup};

    /// Each command has a key and a help line; no two commands of a context share a key.
    #[test]
    fn complete_and_unambiguous() {
        for binding in TABLE {
            assert!(!binding.keys.is_empty() && !binding.help.is_empty(), "{binding:?}");
        }
        for context in
            [Context::Everywhere, Context::Lists, Context::Models, Context::Model, Context::Audit, Context::Users]
        {
            let mut seen = BTreeSet::new();
            for key in bindings(context).flat_map(|binding| binding.keys) {
                assert!(seen.insert(key), "{key} twice in {context:?}");
            }
        }
    }

    #[test]
    fn prefixes() {
        assert!(matches!(lookup(Context::Models, "g"), Meaning::Prefix));
        assert!(matches!(lookup(Context::Models, "gg"), Meaning::Command(_)));
        assert!(matches!(lookup(Context::Everywhere, "g"), Meaning::None));
        assert!(matches!(lookup(Context::Models, "E"), Meaning::None));
        assert!(matches!(lookup(Context::Models, "x"), Meaning::None));
    }
}
