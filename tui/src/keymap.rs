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
    ColumnsRight,
    ColumnsLeft,
    In,
    Back,
    Filter,
    Sort,
    Reverse,
    SameActor,
    Follow,
    GoToTime,
    Verification,
    Acknowledge,
    TrustKey,
    OpenTarget,
    EntriesOf,
    Blocked,
    Note,
    NextFinding,
    LastFinding,
    OpenSubject,
    GoBack,
    GoForward,
    Retry,
    Discard,
    Pause,
    Release,
    Block,
    Rescan,
    CopyName,
    CopyJson,
    CopyDigest,
    Mark,
    MarkRange,
    MarkAll,
    PointAlias,
    Edit,
    Compare,
    Delete,
    Restore,
    Deprecate,
    Role,
    Grants,
    OneTimePassword,
    Lock,
    Sessions,
    ResetTotp,
    Tokens,
    OwnTokens,
    SecondFactor,
    AddUser,
    Download,
    Upload,
    Export,
    Undo,
    AllFields,
    NextHit,
    LastHit,
    Jobs,
    Palette,
    Refresh,
    Help,
    Messages,
    Daemons,
    Repaint,
    Suspend,
    Quit,
}

impl Command {
    /// Whether it moves the selection of a list.
    pub fn moves(self) -> bool {
        matches!(
            self,
            Self::Down
                | Self::Up
                | Self::HalfDown
                | Self::HalfUp
                | Self::PageDown
                | Self::PageUp
                | Self::First
                | Self::Last
        )
    }

    /// Its words, as the palette knows it: `same actor`, `go audit`.
    pub fn words(self) -> String {
        let mut words = String::new();
        for character in format!("{self:?}").chars() {
            match character {
                '(' => words.push(' '),
                ')' => {}
                upper if upper.is_uppercase() => {
                    if !words.is_empty() && !words.ends_with(' ') {
                        words.push(' ');
                    }
                    words.extend(upper.to_lowercase());
                }
                other => words.push(other),
            }
        }
        words
    }

    /// Whether it changes something at the daemon: not in a read-only profile, and not while the daemon is away.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Self::PointAlias
                | Self::Edit
                | Self::Delete
                | Self::Restore
                | Self::Deprecate
                | Self::Role
                | Self::Grants
                | Self::OneTimePassword
                | Self::Lock
                | Self::Sessions
                | Self::ResetTotp
                | Self::AddUser
                | Self::Upload
                | Self::Undo
                | Self::Retry
                | Self::Discard
                | Self::Pause
                | Self::Release
                | Self::Block
                | Self::Rescan
                | Self::Note
        )
    }
}

/// Where a key means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a place says its name")]
pub enum Context {
    Everywhere,
    Lists,
    Models,
    Model,
    Compared,
    Audit,
    Queue,
    Quarantine,
    Users,
    Health,
}

/// A command that is typed with words after it. Only the palette has it.
#[derive(Debug)]
pub struct Verb {
    /// Its first word.
    pub word: &'static str,
    /// What follows.
    pub words: &'static str,
    /// A line for the help.
    pub help: &'static str,
    /// What it takes.
    pub permission: Option<Permission>,
    /// Whether it changes something at the daemon.
    pub changes: bool,
}

impl Verb {
    /// Whether something must follow.
    pub fn wants_words(&self) -> bool {
        !self.words.is_empty() && !self.words.starts_with('[')
    }
}

/// The commands with words after them.
pub const VERBS: &[Verb] = &[
    verb("alias", "MODEL VERSION NAME", "point an alias at a version", Some(Permission::ModelWrite), true),
    verb(
        "audit",
        "FILTER|acknowledge REASON|trust",
        "the audit log, filtered; its alarm; its key",
        Some(Permission::AuditRead),
        false,
    ),
    verb(
        "download",
        "[FILE [AS]]",
        "a file of the selected version, to this folder, or as another file",
        Some(Permission::ModelRead),
        false,
    ),
    verb("change-password", "", "your own password: the old one, and twice the new one", None, true),
    verb("check", "[FROM[-TO]]", "check all entries of the log, or some", Some(Permission::AuditRead), false),
    verb("export", "csv|jsonl|proofs screen|all|marked FILE", "what is in this list, to a file", None, false),
    verb("goto", "INDEX|TIME", "an entry of the audit log", Some(Permission::AuditRead), false),
    verb("help", "[verification]", "the keys and signs; what verified means", None, false),
    verb("logout", "", "end this session, here and at the daemon", None, false),
    verb(
        "models",
        "FILTER",
        "models, filtered: words, tag: state: format: alias: uploader: verdict: dtype: since:; -state: leaves out",
        None,
        false,
    ),
    verb("mouse", "on|off", "have the mouse reported, or not", None, false),
    verb("open", "MODEL", "a model by name, name:3, name@alias or digest", Some(Permission::ModelRead), false),
    verb("set", "NAME VALUE", "how this console looks", None, false),
    verb("upload", "FILE NAME", "a file as a new version", Some(Permission::ModelWrite), true),
];

const fn verb(
    word: &'static str,
    words: &'static str,
    help: &'static str,
    permission: Option<Permission>,
    changes: bool,
) -> Verb {
    Verb { word, words, help, permission, changes }
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
use Context::{Audit, Compared, Everywhere, Health, Lists, Model, Models, Quarantine, Queue, Users};

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
    bind(Lists, C::ColumnsRight, &[">"], "", "columns that have no room, sideways; behind the last the first again"),
    bind(Lists, C::ColumnsLeft, &["<"], "", "the other way"),
    bind(Lists, C::In, &["Enter", "l", "Right"], "open", "look closer"),
    bind(Lists, C::CopyName, &["y"], "", "copy the name or id to the terminal's clipboard"),
    bind(Lists, C::CopyJson, &["Y"], "", "copy all of it as JSON"),
    bind(Everywhere, C::Back, &["Esc", "h", "Left"], "", "one step back"),
    bind(
        Models,
        C::Filter,
        &["/"],
        "filter",
        "words of name or description; alias:prod params>7B, -state:deprecated leaves out",
    ),
    bind(Models, C::Sort, &["s"], "sort", "next sort: name, updated, created"),
    bind(Models, C::Reverse, &["S"], "", "the other way round"),
    bind(Models, C::Mark, &["Space"], "mark", "mark, or no longer"),
    bind(Models, C::MarkRange, &["v"], "", "mark from the last mark to here"),
    bind(Models, C::MarkAll, &["*"], "", "mark all that match the filter; again: none"),
    with(Permission::ModelWrite, bind(Models, C::PointAlias, &["p"], "alias", "point an alias at a version")),
    with(Permission::ModelWrite, bind(Models, C::Edit, &["e"], "edit", "description and tags")),
    bind(Models, C::Compare, &["d"], "", "compare its two latest versions"),
    with(Permission::ModelDelete, bind(Models, C::Delete, &["D"], "delete", "delete, restorably")),
    with(
        Permission::ModelDelete,
        bind(Models, C::Restore, &["U"], "restore", "restore what was deleted (filter state:deleted)"),
    ),
    with(Permission::AuditRead, bind(Models, C::EntriesOf, &["o"], "entries", "audit entries of this model")),
    bind(Models, C::Export, &["x"], "export", "what is in this list, to a file"),
    with(Permission::ModelWrite, bind(Models, C::Upload, &["I"], "", "upload a file as a new version")),
    with(Permission::ModelWrite, bind(Model, C::PointAlias, &["p"], "alias", "point an alias at this version")),
    bind(Model, C::Compare, &["d"], "compare", "compare with the version before, or with the marked one"),
    bind(Model, C::Download, &["w"], "download", "its files, to this folder"),
    with(Permission::ModelModerate, bind(Model, C::Deprecate, &["X"], "deprecate", "hand it out with a warning")),
    with(Permission::ModelDelete, bind(Model, C::Restore, &["U"], "restore", "restore this version")),
    with(Permission::ModelDelete, bind(Model, C::Delete, &["D"], "delete", "delete this version, restorably")),
    with(Permission::ModelWrite, bind(Model, C::Edit, &["e"], "edit", "description and tags of the model")),
    bind(Model, C::Mark, &["Space"], "mark", "mark for a comparison, or no longer"),
    bind(Model, C::Filter, &["/"], "find", "go to a version: its number, or an alias that points to it"),
    with(Permission::AuditRead, bind(Model, C::EntriesOf, &["o"], "entries", "audit entries of this model")),
    bind(Model, C::CopyDigest, &["c"], "", "copy the digest; of several files a line each"),
    bind(Model, C::Export, &["x"], "export", "the versions, to a file"),
    bind(Compared, C::AllFields, &["a"], "all fields", "equal fields too, or no longer"),
    bind(Compared, C::NextHit, &["n"], "next", "the next difference"),
    bind(Compared, C::LastHit, &["N"], "", "the difference before"),
    bind(Compared, C::Export, &["x"], "export", "the comparison, to a file here"),
    with(Permission::ModelWrite, bind(Compared, C::PointAlias, &["p"], "alias", "point an alias at the newer version")),
    bind(Audit, C::Follow, &["f"], "follow", "follow the log, or hold the rows still"),
    bind(
        Audit,
        C::Filter,
        &["/"],
        "filter",
        "actor: action: outcome: target: ip: since: until: index>N; -actor:eve leaves out",
    ),
    bind(Audit, C::SameActor, &["a"], "actor", "only entries of this actor"),
    bind(Audit, C::OpenTarget, &["o"], "target", "open the model it is about"),
    bind(Queue, C::Mark, &["Space"], "", "mark, or no longer: r and D are about all that are marked"),
    bind(Queue, C::MarkRange, &["v"], "", "mark from the last mark to here"),
    bind(Queue, C::MarkAll, &["*"], "", "mark all that match the filter; again: none"),
    with(Permission::IngestManage, bind(Queue, C::Retry, &["r"], "retry", "try it again now")),
    with(Permission::IngestManage, bind(Queue, C::Discard, &["D"], "discard", "give it up; no file is deleted")),
    with(Permission::IngestManage, bind(Queue, C::Pause, &["P"], "pause", "pause the intake, or resume it")),
    bind(Quarantine, C::Mark, &["Space"], "", "mark, or no longer: r, A and X are about all that are marked"),
    bind(Quarantine, C::MarkRange, &["v"], "", "mark from the last mark to here"),
    bind(Quarantine, C::MarkAll, &["*"], "", "mark all that match the filter; again: none"),
    with(Permission::ModelModerate, bind(Quarantine, C::Rescan, &["r"], "rescan", "inspect it by the rules of now")),
    with(Permission::ModelModerate, bind(Quarantine, C::Release, &["A"], "release", "hand it out in spite of it")),
    with(Permission::ModelModerate, bind(Quarantine, C::Block, &["X"], "reject", "never hand it out")),
    with(
        Permission::ModelModerate,
        bind(Quarantine, C::Note, &["n"], "note", "note something; it is kept with it and logged"),
    ),
    bind(
        Quarantine,
        C::Filter,
        &["/"],
        "filter",
        "words of the name; rule:pickle.* sender:dave, -verdict:suspicious leaves out",
    ),
    bind(Quarantine, C::NextFinding, &["Tab"], "finding", "the next finding; Enter shows the octets round it"),
    bind(Quarantine, C::LastFinding, &["S-Tab"], "", "the finding before"),
    bind(Queue, C::OpenTarget, &["o"], "result", "open the version it came to"),
    bind(Queue, C::Filter, &["/"], "filter", "words of the path; state:failed, any of several; -state:done"),
    bind(Queue, C::Sort, &["s"], "sort", "next sort: as it is worked on, file, last change"),
    bind(Queue, C::Reverse, &["S"], "", "the other way round"),
    bind(Queue, C::Follow, &["f"], "", "hold the rows still, or follow them again"),
    bind(Queue, C::CopyDigest, &["c"], "", "copy the digest"),
    bind(Queue, C::Export, &["x"], "", "the items, to a file"),
    bind(Quarantine, C::CopyDigest, &["c"], "", "copy the digest; of several files a line each"),
    bind(Quarantine, C::Export, &["x"], "", "what is held, to a file"),
    bind(Quarantine, C::OpenTarget, &["o"], "open", "open its item of the drop folder, or the version"),
    bind(Quarantine, C::Blocked, &["b"], "blocked", "those blocked for good, or those that wait"),
    bind(Audit, C::GoToTime, &["t"], "time", "go to a time, such as 12:02 or 2026-07-22T12:02:00Z"),
    bind(Audit, C::Verification, &["V"], "verify", "how the log is verified, and what is pinned"),
    bind(Audit, C::Mark, &["Space"], "", "mark, or no longer; the rows stay then"),
    bind(Audit, C::MarkRange, &["v"], "", "mark from the last mark to here"),
    bind(Audit, C::MarkAll, &["*"], "", "mark all that match the filter; again: none"),
    bind(Audit, C::Export, &["x"], "export", "entries to a file: CSV, JSON lines, or with proofs"),
    bind(Audit, C::Acknowledge, &["A"], "", "acknowledge that the log's verification failed, with a reason"),
    bind(Audit, C::TrustKey, &["T"], "", "trust the log's key, once it was compared by another way"),
    bind(Users, C::Mark, &["Space"], "", "mark, or no longer: L, E, F and D are about all that are marked"),
    bind(Users, C::MarkRange, &["v"], "", "mark from the last mark to here"),
    bind(Users, C::MarkAll, &["*"], "", "mark all that match the filter; again: none"),
    with(Permission::UserManage, bind(Users, C::AddUser, &["a"], "add", "add a user with a one-time password")),
    with(Permission::UserManage, bind(Users, C::Role, &["R"], "role", "give another role")),
    with(Permission::UserManage, bind(Users, C::Grants, &["e"], "grants", "what they may do by models' names")),
    with(
        Permission::UserManage,
        bind(Users, C::OneTimePassword, &["P"], "password", "a one-time password, shown once"),
    ),
    with(Permission::UserManage, bind(Users, C::Lock, &["L"], "lock", "lock, or unlock")),
    with(Permission::UserManage, bind(Users, C::Tokens, &["T"], "tokens", "API tokens and sessions")),
    with(Permission::UserManage, bind(Users, C::Sessions, &["E"], "", "end all sessions, and revoke all API tokens")),
    with(Permission::UserManage, bind(Users, C::ResetTotp, &["F"], "", "take the second factor away")),
    with(Permission::UserManage, bind(Users, C::Delete, &["D"], "delete", "delete for good")),
    with(Permission::AuditRead, bind(Users, C::EntriesOf, &["o"], "entries", "audit entries of this user")),
    bind(Users, C::Filter, &["/"], "filter", "words of the name; role:admin state:locked, -role:viewer leaves out"),
    bind(Users, C::Sort, &["s"], "sort", "next sort: name, role, last login, created"),
    bind(Users, C::Reverse, &["S"], "", "the other way round"),
    bind(Users, C::Export, &["x"], "export", "the users, to a file"),
    bind(Health, C::Filter, &["/"], "filter log", "only lines of the diagnostics with this in them"),
    bind(Health, C::Follow, &["f"], "hold log", "hold the diagnostics still, or follow them again"),
    bind(Health, C::OpenSubject, &["o"], "open", "the screen of what the selected check is about"),
    bind(Health, C::Export, &["x"], "export", "write the report to a file here"),
    bind(Everywhere, C::Refresh, &["C-r"], "refresh", "read again"),
    bind(Everywhere, C::Go(Screen::Models), &["1"], "", "models"),
    with(Permission::AuditRead, bind(Everywhere, C::Go(Screen::Audit), &["2"], "", "audit log")),
    with(Permission::ModelRead, bind(Everywhere, C::Go(Screen::Queue), &["3"], "", "queue: the drop folder")),
    with(Permission::QuarantineRead, bind(Everywhere, C::Go(Screen::Quarantine), &["4"], "", "quarantine")),
    with(Permission::UserManage, bind(Everywhere, C::Go(Screen::Users), &["5"], "", "users")),
    bind(Everywhere, C::Go(Screen::Health), &["6"], "", "health of the daemon"),
    bind(Everywhere, C::LastScreen, &["-"], "", "the screen before this"),
    bind(Everywhere, C::GoBack, &["["], "", "back through the screens"),
    bind(Everywhere, C::GoForward, &["]"], "", "forward again"),
    bind(Everywhere, C::Palette, &[":"], "", "all commands, by name"),
    bind(Everywhere, C::Undo, &["u"], "", "undo the last action, while its message offers it"),
    bind(Everywhere, C::OwnTokens, &["K"], "", "your own API tokens"),
    bind(Everywhere, C::SecondFactor, &["C-k"], "", "set up a second factor for your own sign-ins"),
    bind(Everywhere, C::Jobs, &["J"], "", "what runs in the background; its failures"),
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
    pub const ALL: [Self; 10] = [Everywhere, Lists, Models, Model, Compared, Audit, Queue, Quarantine, Users, Health];

    /// The contexts whose commands apply in this one, its own first.
    fn reach(self) -> &'static [Self] {
        match self {
            Everywhere => &[Everywhere],
            Lists => &[Lists, Everywhere],
            Models => &[Models, Lists, Everywhere],
            Model => &[Model, Lists, Everywhere],
            Compared => &[Compared, Lists, Everywhere],
            Audit => &[Audit, Lists, Everywhere],
            Queue => &[Queue, Lists, Everywhere],
            Quarantine => &[Quarantine, Lists, Everywhere],
            Users => &[Users, Lists, Everywhere],
            Health => &[Health, Lists, Everywhere],
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
    // `gg` is one, `Up` is a name.
    let mut characters = key.chars();
    let (first, second) = (characters.next(), characters.next());
    first.is_some() && first == second && characters.next().is_none()
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
        assert!(matches!(keys.lookup(Context::Models, "z"), Meaning::None));
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
