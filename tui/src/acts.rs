//! Changes given in words: `delete team/x`, `role eve auditor`. Each is a command of the one table, with the permission and
//! the help it has there; what is particular here is how its things and its values are written. Nothing is looked up:
//! what a name stands for, the daemon says. `mreg do` and the plain console run these lines.

use common::api::quota::{QuotaKind, QuotaLimits};
use common::api::retention::{RetentionAction, RetentionRule};
use common::api::{NewWebhook, State};
use common::client::Sweep;
use common::grant::{Grant, check};
use common::name::{Alias, HookId, ModelId, ModelName, UserName, Version};
use common::pattern::NamePattern;
use common::role::{Permission, Role};
use common::token::TokenId;

use crate::config::nearest;
use crate::edit::LINE_OCTETS_MAX;
use crate::export::Kind;
use crate::keymap::{Command, Context, TABLE, VERBS};
use crate::state::deeds::{Change, Deed, Object, Tier};
use crate::state::tokens::wanted;

/// A change given in words.
#[derive(Debug)]
pub struct Act {
    /// Its word.
    pub word: &'static str,
    /// What follows.
    pub words: &'static str,
    /// The command it is.
    of: Of,
    shape: Shape,
}

/// What an act is in the table of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The row of a context; for `upload` and `alias` the verb of that word is the command.
    Row(Context, Command),
    /// None: of what it is about there is no screen. What it takes, and a line for the help.
    NoScreen(Permission, &'static str),
}

/// How what follows is read.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `MODEL VERSION|none NAME`.
    Alias,
    /// `MODEL`, and what it is to be from options.
    Edit,
    /// Models or versions, one or more.
    Models(fn() -> Deed),
    /// Versions, one or more.
    Versions(fn() -> Deed),
    /// Users, one or more.
    Users(fn() -> Deed),
    /// `USER ROLE`.
    Role,
    /// `USER`, and all grants or `none`.
    Grants,
    /// `NAME ROLE`.
    AddUser,
    /// Items of the drop folder, one or more.
    Items(fn() -> Deed),
    /// Nothing follows.
    Intake(fn() -> Deed),
    /// `MODEL:VERSION`, and a text.
    Note,
    /// `USER LABEL`, and what it may from options.
    AddToken,
    /// Ids of API tokens, one or more.
    Tokens(fn() -> Deed),
    /// `FILE NAME`.
    Upload,
    /// Nothing but the reason.
    Acknowledge,
    /// `URL ACTION...`, and names of models from an option.
    AddWebhook,
    /// Webhooks by id, one or more.
    Webhooks(fn() -> Deed),
    /// `ID INDEX`.
    PassOver,
    /// `user:NAME|namespace:NAME` and limits.
    SetQuota,
    /// Accounts, one or more.
    Quotas(fn() -> Deed),
    /// `NAME PATTERN delete|purge` and conditions.
    SetRule,
    /// Rules by name, one or more.
    Rules(fn() -> Deed),
}

/// All of them, in the order of the screens.
pub const ACTS: &[Act] = &[
    act("alias", "MODEL VERSION|none NAME", (Context::Models, Command::PointAlias), Shape::Alias),
    act("edit", "MODEL", (Context::Models, Command::Edit), Shape::Edit),
    act(
        "delete",
        "MODEL[:VERSION]...|--filter FILTER",
        (Context::Models, Command::Delete),
        Shape::Models(|| Deed::Delete),
    ),
    act(
        "restore",
        "MODEL[:VERSION]...|--filter FILTER",
        (Context::Models, Command::Restore),
        Shape::Models(|| Deed::Restore),
    ),
    act(
        "deprecate",
        "MODEL:VERSION...",
        (Context::Model, Command::Deprecate),
        Shape::Versions(|| Deed::Deprecate { reason: String::new() }),
    ),
    act("upload", "FILE NAME", (Context::Models, Command::Upload), Shape::Upload),
    act("retry", "ITEM...", (Context::Queue, Command::Retry), Shape::Items(|| Deed::Retry)),
    act(
        "discard",
        "ITEM...",
        (Context::Queue, Command::Discard),
        Shape::Items(|| Deed::Discard { reason: String::new() }),
    ),
    act("pause", "", (Context::Queue, Command::Pause), Shape::Intake(|| Deed::Pause { reason: String::new() })),
    act("resume", "", (Context::Queue, Command::Pause), Shape::Intake(|| Deed::Resume { reason: String::new() })),
    act("rescan", "MODEL:VERSION...", (Context::Quarantine, Command::Rescan), Shape::Versions(|| Deed::Rescan)),
    act(
        "release",
        "MODEL:VERSION...",
        (Context::Quarantine, Command::Release),
        Shape::Versions(|| Deed::Release { reason: String::new(), override_block: false }),
    ),
    act(
        "reject",
        "MODEL:VERSION...",
        (Context::Quarantine, Command::Block),
        Shape::Versions(|| Deed::Block { reason: String::new() }),
    ),
    act("note", "MODEL:VERSION TEXT...", (Context::Quarantine, Command::Note), Shape::Note),
    act("acknowledge", "", (Context::Audit, Command::Acknowledge), Shape::Acknowledge),
    act("add-user", "NAME ROLE", (Context::Users, Command::AddUser), Shape::AddUser),
    act("role", "USER ROLE", (Context::Users, Command::Role), Shape::Role),
    act("grants", "USER none|PATTERN:ROLE...", (Context::Users, Command::Grants), Shape::Grants),
    act("password", "USER...", (Context::Users, Command::OneTimePassword), Shape::Users(|| Deed::OneTimePassword)),
    act("lock", "USER...", (Context::Users, Command::Lock), Shape::Users(|| Deed::Lock(true))),
    act("unlock", "USER...", (Context::Users, Command::Lock), Shape::Users(|| Deed::Lock(false))),
    act("revoke", "USER...", (Context::Users, Command::Sessions), Shape::Users(|| Deed::Revoke)),
    act("reset-totp", "USER...", (Context::Users, Command::ResetTotp), Shape::Users(|| Deed::ResetTotp)),
    act("add-token", "USER LABEL", (Context::Everywhere, Command::OwnTokens), Shape::AddToken),
    act("rotate-token", "ID...", (Context::Everywhere, Command::OwnTokens), Shape::Tokens(|| Deed::RotateToken)),
    act("revoke-token", "ID...", (Context::Everywhere, Command::OwnTokens), Shape::Tokens(|| Deed::RevokeToken)),
    act("delete-user", "USER...", (Context::Users, Command::Delete), Shape::Users(|| Deed::Delete)),
    own(
        "add-webhook",
        "URL ACTION...",
        (Permission::UserManage, "tell a receiver of what happens; its secret is shown once"),
        Shape::AddWebhook,
    ),
    own(
        "test-webhook",
        "ID...",
        (Permission::UserManage, "send a message to see whether it arrives"),
        Shape::Webhooks(|| Deed::TestWebhook),
    ),
    own(
        "pause-webhook",
        "ID...",
        (Permission::UserManage, "deliver no longer; it can go on where it had come to"),
        Shape::Webhooks(|| Deed::DeliverTo(false)),
    ),
    own(
        "resume-webhook",
        "ID...",
        (Permission::UserManage, "deliver again"),
        Shape::Webhooks(|| Deed::DeliverTo(true)),
    ),
    own(
        "pass-over",
        "ID INDEX",
        (Permission::UserManage, "go on with a webhook at an entry, whatever was not delivered"),
        Shape::PassOver,
    ),
    own("delete-webhook", "ID...", (Permission::UserManage, "send nothing more"), Shape::Webhooks(|| Deed::Delete)),
    own(
        "set-quota",
        "user:NAME|namespace:NAME bytes=10GiB|versions=N|models=N...",
        (Permission::UserManage, "how much may be kept; what is not named has no limit"),
        Shape::SetQuota,
    ),
    own(
        "clear-quota",
        "user:NAME|namespace:NAME...",
        (Permission::UserManage, "the default says again how much may be kept"),
        Shape::Quotas(|| Deed::ClearQuota),
    ),
    own(
        "set-rule",
        "NAME PATTERN delete|purge [keep=N] [days=N] [state=S,...] [protect=K=V] [off]",
        (Permission::ModelDelete, "a rule by which versions go"),
        Shape::SetRule,
    ),
    own("run-rule", "NAME...", (Permission::ModelDelete, "carry a rule out, soon"), Shape::Rules(|| Deed::RunRule)),
    own("delete-rule", "NAME...", (Permission::ModelDelete, "take a rule away"), Shape::Rules(|| Deed::Delete)),
];

const fn act(word: &'static str, words: &'static str, of: (Context, Command), shape: Shape) -> Act {
    Act { word, words, of: Of::Row(of.0, of.1), shape }
}

const fn own(word: &'static str, words: &'static str, of: (Permission, &'static str), shape: Shape) -> Act {
    Act { word, words, of: Of::NoScreen(of.0, of.1), shape }
}

/// What a change is to be, besides its things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Why; the log keeps it.
    pub reason: Option<String>,
    /// A model's description.
    pub description: Option<String>,
    /// All of a model's tags, as `key=value, key=value`.
    pub tags: Option<String>,
    /// A release goes over a block for good.
    pub override_block: bool,
    /// What a new API token may do, by commas.
    pub permissions: Option<String>,
    /// On models of which names, by commas.
    pub names: Option<String>,
    /// How long it lives.
    pub expires: Option<String>,
    /// All models that match this, in place of names.
    pub filter: Option<String>,
}

/// A thing as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// What it is, is known from the words.
    Known(Object),
    /// A model by id.
    Model(String),
    /// A version by `name@alias`, digest, or an id and a number.
    Version(String),
    /// An item of the drop folder by id or path.
    Item(String),
    /// An API token by id.
    Token(String),
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The same deed on each of these.
    Change(Deed, Vec<Named>),
    /// A file as a new version.
    Upload {
        /// The file.
        path: String,
        /// The model's name.
        name: String,
    },
    /// All models that match a filter.
    Sweep(Sweep, String),
    /// What was found about the log was looked into; the reason is an option.
    Acknowledge,
}

/// The act of a word.
///
/// # Errors
/// A sentence that names the nearest.
pub fn find(word: &str) -> Result<&'static Act, String> {
    ACTS.iter().find(|act| act.word == word).ok_or_else(|| {
        let known: Vec<&str> = ACTS.iter().map(|act| act.word).collect();
        let near = nearest(word, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("{word:?} is no command that changes something{near}")
    })
}

impl Act {
    /// What it takes.
    pub fn permission(&self) -> Option<Permission> {
        self.binding().and_then(|(permission, _)| permission)
    }

    /// A line for the help.
    pub fn help(&self) -> &'static str {
        match self.word {
            // One key does both: the words tell them apart.
            "resume" => "take files in again",
            "pause" => "take nothing in any more",
            "lock" => "lock: they can't sign in, all sessions end",
            "unlock" => "unlock: they can sign in again",
            "add-token" => "make an API token for yourself or a service account; it is shown once",
            "rotate-token" => "give API tokens another secret, shown once; the old one is void",
            "revoke-token" => "revoke API tokens",
            _ => self.binding().map_or("", |(_, help)| help),
        }
    }

    fn binding(&self) -> Option<(Option<Permission>, &'static str)> {
        if let Some(verb) = VERBS.iter().find(|verb| verb.word == self.word) {
            return Some((verb.permission, verb.help));
        }
        let (context, command) = match self.of {
            Of::Row(context, command) => (context, command),
            Of::NoScreen(permission, help) => return Some((Some(permission), help)),
        };
        let row = TABLE.iter().find(|binding| binding.context == context && binding.command == command)?;
        Some((row.permission, row.help))
    }

    /// How much it is asked about where one thing is named, before a strict profile lifts it.
    pub fn tier(&self) -> Tier {
        let of = |object: Object, deed: Deed| Change::new(object, deed).tier(None);
        let version = || Object::Version { id: String::new(), name: String::new(), version: Version::FIRST };
        let model = || Object::Model { id: String::new(), name: String::new() };
        let user = || Object::User(String::new());
        match self.shape {
            Shape::Upload | Shape::Acknowledge => Tier::Free,
            Shape::Edit => of(model(), Deed::Edit { description: None, tags: None }),
            Shape::Alias => Tier::Asked,
            Shape::Models(deed) => of(model(), deed()),
            Shape::Versions(deed) => of(version(), deed()),
            Shape::Users(deed) => of(user(), deed()),
            Shape::Role => of(user(), Deed::Role(Role::Viewer)),
            Shape::Grants => of(user(), Deed::Grants(Vec::new())),
            Shape::AddUser => of(user(), Deed::Register(Role::Viewer)),
            Shape::AddToken => Tier::Free,
            Shape::Tokens(deed) => of(token(String::new()), deed()),
            Shape::Items(deed) => of(Object::Item { id: String::new(), path: String::new() }, deed()),
            Shape::Intake(deed) => of(Object::Intake, deed()),
            Shape::Note => of(version(), Deed::Note { text: String::new() }),
            Shape::AddWebhook | Shape::SetQuota => Tier::Asked,
            Shape::Webhooks(deed) => of(Object::Webhook(String::new()), deed()),
            Shape::PassOver => of(Object::Webhook(String::new()), Deed::PassOver(0)),
            Shape::Quotas(deed) => of(Object::Quota { kind: QuotaKind::User, name: String::new() }, deed()),
            Shape::SetRule => Tier::Named,
            Shape::Rules(deed) => of(Object::Rule(String::new()), deed()),
        }
    }

    /// Whether a reason goes with it.
    pub fn wants_reason(&self) -> bool {
        let deed = match self.shape {
            Shape::Models(deed)
            | Shape::Versions(deed)
            | Shape::Users(deed)
            | Shape::Items(deed)
            | Shape::Tokens(deed)
            | Shape::Webhooks(deed)
            | Shape::Quotas(deed)
            | Shape::Rules(deed)
            | Shape::Intake(deed) => deed(),
            Shape::Acknowledge => return true,
            Shape::Alias
            | Shape::Edit
            | Shape::Role
            | Shape::Grants
            | Shape::AddUser
            | Shape::AddToken
            | Shape::Upload
            | Shape::AddWebhook
            | Shape::PassOver
            | Shape::SetQuota
            | Shape::SetRule
            | Shape::Note => {
                return false;
            }
        };
        Change::new(Object::Intake, deed).reason().is_some()
    }

    /// Of which lists the rows are that can stand for its words, and for which word alone, where not for each.
    pub fn rows(&self) -> (&'static [Kind], Option<usize>) {
        match self.shape {
            Shape::Alias | Shape::Edit => (&[Kind::Models], Some(0)),
            Shape::Upload => (&[Kind::Models], Some(1)),
            Shape::Models(_) => (&[Kind::Models, Kind::Versions, Kind::Quarantine], None),
            Shape::Versions(_) => (&[Kind::Versions, Kind::Quarantine], None),
            Shape::Note => (&[Kind::Versions, Kind::Quarantine], Some(0)),
            Shape::Users(_) => (&[Kind::Users], None),
            Shape::Role | Shape::Grants | Shape::AddToken => (&[Kind::Users], Some(0)),
            Shape::Items(_) => (&[Kind::Queue], None),
            Shape::Tokens(_) => (&[Kind::Tokens], None),
            Shape::AddUser
            | Shape::Intake(_)
            | Shape::Acknowledge
            | Shape::AddWebhook
            | Shape::Webhooks(_)
            | Shape::PassOver
            | Shape::SetQuota
            | Shape::Quotas(_)
            | Shape::SetRule
            | Shape::Rules(_) => (&[], None),
        }
    }

    /// How it is written.
    pub fn usage(&self) -> String {
        let reason = if self.wants_reason() { " --reason TEXT" } else { "" };
        let more = match self.shape {
            Shape::Edit => " [--description TEXT] [--tags K=V,...]",
            Shape::AddWebhook => " [--names PATTERN,...]",
            Shape::AddToken => " [--permissions P,...] [--names PATTERN,...] [--expires TIME|never]",
            _ if self.word == "release" => " [--override]",
            _ => "",
        };
        format!("{} {}{reason}{more}", self.word, self.words).trim_end().to_owned().replace("  ", " ")
    }

    /// What a line asks for.
    ///
    /// # Errors
    /// A sentence on what is wrong with the words.
    pub fn wish(&self, words: &[String], options: &Options) -> Result<Wish, String> {
        let usage = || format!("it is written: {}", self.usage());
        if options.reason.is_some() && !self.wants_reason() {
            return Err(format!("no reason goes with {}", self.word));
        }
        if (options.description.is_some() || options.tags.is_some()) && !matches!(self.shape, Shape::Edit) {
            return Err(format!("{} changes neither description nor tags", self.word));
        }
        if options.override_block && self.word != "release" {
            return Err(format!("{} overrides nothing", self.word));
        }
        let has_names = options.names.is_some() && !matches!(self.shape, Shape::AddWebhook);
        let has_scope = options.permissions.is_some() || has_names || options.expires.is_some();
        if has_scope && !matches!(self.shape, Shape::AddToken) {
            return Err(format!("{} makes no API token", self.word));
        }
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some(filter) = &options.filter {
            return match (self.word, texts.is_empty()) {
                ("delete", true) => Ok(Wish::Sweep(Sweep::Delete, filter.clone())),
                ("restore", true) => Ok(Wish::Sweep(Sweep::Restore, filter.clone())),
                ("delete" | "restore", false) => Err("name models, or give --filter: not both".to_owned()),
                (word, _) => Err(format!("--filter goes with delete and restore, not with {word}")),
            };
        }
        let each = |deed: Deed, named: fn(&str) -> Result<Named, String>| {
            if texts.is_empty() {
                return Err(usage());
            }
            let things: Result<Vec<Named>, String> = texts.iter().map(|text| named(text)).collect();
            let things = things?;
            if let Some(twice) = (1..things.len()).find(|place| things[..*place].contains(&things[*place])) {
                return Err(format!("{} is there twice", texts[twice]));
            }
            Ok(Wish::Change(deed, things))
        };
        match (self.shape, texts.as_slice()) {
            (Shape::Alias, [name, version, alias]) => {
                let to = match *version {
                    "none" => None,
                    number => Some(version_of(number)?),
                };
                let alias: Alias = alias.parse().map_err(|why| format!("{why}"))?;
                Ok(Wish::Change(Deed::Alias { alias, to }, vec![model(name)?]))
            }
            (Shape::Edit, [name]) => {
                let tags = options.tags.as_deref().map(crate::update::tags_of).transpose()?;
                let description = options.description.clone();
                if description.is_none() && tags.is_none() {
                    return Err(usage());
                }
                Ok(Wish::Change(Deed::Edit { description, tags }, vec![model(name)?]))
            }
            (Shape::Models(deed), _) => each(deed(), model_or_version),
            (Shape::Versions(deed), _) => {
                let mut deed = deed();
                if let Deed::Release { override_block, .. } = &mut deed {
                    *override_block = options.override_block;
                }
                each(deed, version)
            }
            (Shape::Users(deed), _) => each(deed(), user),
            (Shape::Items(deed), _) => each(deed(), |text| Ok(Named::Item(text.to_owned()))),
            (Shape::Role, [name, role]) => Ok(Wish::Change(Deed::Role(role.parse()?), vec![user(name)?])),
            (Shape::Grants, [name, "none"]) => Ok(Wish::Change(Deed::Grants(Vec::new()), vec![user(name)?])),
            (Shape::Grants, [name, texts @ ..]) if !texts.is_empty() => {
                let grants = grants_of(texts.iter().copied()).map_err(|(_place, why)| why)?;
                Ok(Wish::Change(Deed::Grants(grants), vec![user(name)?]))
            }
            (Shape::AddUser, [name, role]) => Ok(Wish::Change(Deed::Register(role.parse()?), vec![user(name)?])),
            (Shape::AddToken, [name, label]) => {
                let text = |option: &Option<String>| option.clone().unwrap_or_default();
                let (may, names, life) = (text(&options.permissions), text(&options.names), text(&options.expires));
                let named = user(name)?;
                let new = wanted(&name.to_lowercase(), label, &may, &names, &life).map_err(|(_, why)| why)?;
                Ok(Wish::Change(Deed::NewToken(Box::new(new)), vec![named]))
            }
            (Shape::Tokens(deed), _) => each(deed(), |id| {
                let id: TokenId = id.parse().map_err(|_shape| format!("{id} is no id of an API token"))?;
                Ok(Named::Token(id.to_string()))
            }),
            (Shape::Intake(deed), []) => Ok(Wish::Change(deed(), vec![Named::Known(Object::Intake)])),
            (Shape::Note, [held, text @ ..]) if !text.is_empty() => {
                let text = text.join(" ").trim().to_owned();
                if text.is_empty() || text.len() > LINE_OCTETS_MAX || text.chars().any(char::is_control) {
                    return Err(format!("a note is one line of at most {LINE_OCTETS_MAX} octets"));
                }
                Ok(Wish::Change(Deed::Note { text }, vec![version(held)?]))
            }
            (Shape::AddWebhook, [url, actions @ ..]) if !actions.is_empty() => {
                let names =
                    options.names.iter().flat_map(|text| text.split([',', ' '])).filter(|text| !text.is_empty());
                let models = names.map(|text| text.parse::<NamePattern>().map_err(|why| format!("{text} {why}")));
                let new = NewWebhook {
                    url: (*url).to_owned(),
                    description: String::new(),
                    actions: actions.iter().map(|action| (*action).to_owned()).collect(),
                    models: models.collect::<Result<_, _>>()?,
                    outcomes: Vec::new(),
                    enabled: true,
                };
                Ok(Wish::Change(
                    Deed::NewWebhook(Box::new(new)),
                    vec![Named::Known(Object::Webhook((*url).to_owned()))],
                ))
            }
            (Shape::Webhooks(deed), _) => each(deed(), hook),
            (Shape::PassOver, [id, index]) => {
                let index = index.parse().map_err(|_odd| format!("{index} is no index of an entry"))?;
                Ok(Wish::Change(Deed::PassOver(index), vec![hook(id)?]))
            }
            (Shape::SetQuota, [of, limits @ ..]) if !limits.is_empty() => {
                Ok(Wish::Change(Deed::SetQuota(limits_of(limits)?), vec![account(of)?]))
            }
            (Shape::Quotas(deed), _) => each(deed(), account),
            (Shape::SetRule, [name, pattern, action, conditions @ ..]) => {
                let rule = rule_of(pattern, action, conditions)?;
                Ok(Wish::Change(Deed::SetRule(Box::new(rule)), vec![Named::Known(Object::Rule((*name).to_owned()))]))
            }
            (Shape::Rules(deed), _) => each(deed(), |name| Ok(Named::Known(Object::Rule(name.to_owned())))),
            (Shape::Acknowledge, []) => Ok(Wish::Acknowledge),
            (Shape::Upload, [path, name]) => Ok(Wish::Upload { path: (*path).to_owned(), name: (*name).to_owned() }),
            _ => Err(usage()),
        }
    }
}

/// Grants, one from each text.
///
/// # Errors
/// The place of the first that is none, and why; or of one too many.
pub fn grants_of<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Grant>, (usize, String)> {
    let read = |(place, text): (usize, &str)| text.parse::<Grant>().map_err(|why| (place, why));
    let grants = texts.enumerate().map(read).collect::<Result<Vec<Grant>, _>>()?;
    check(&grants).map_err(|wrong| wrong.into_iter().next().unwrap_or_default())?;
    Ok(grants)
}

/// A webhook, by id.
fn hook(text: &str) -> Result<Named, String> {
    let id: HookId =
        text.parse().map_err(|_odd| format!("{text} is no id of a webhook; `mreg get webhooks` lists them"))?;
    Ok(Named::Known(Object::Webhook(id.to_string())))
}

/// `user:NAME` or `namespace:NAME`.
fn account(text: &str) -> Result<Named, String> {
    let parts = text.split_once(':').and_then(|(kind, name)| Some((kind.parse::<QuotaKind>().ok()?, name)));
    let (kind, name) = parts.filter(|(_kind, name)| !name.is_empty()).ok_or_else(|| {
        format!("{text}: say user:NAME or namespace:NAME; namespace:- is that of names without a slash")
    })?;
    Ok(Named::Known(Object::Quota { kind, name: name.to_owned() }))
}

/// `bytes=10GiB versions=100 models=none`.
fn limits_of(words: &[&str]) -> Result<QuotaLimits, String> {
    let mut limits = QuotaLimits::default();
    for word in words {
        let wrong = || format!("{word}: a limit is bytes=10GiB, versions=100 or models=20; none for no limit");
        let (what, value) = word.split_once('=').ok_or_else(wrong)?;
        let place = match what {
            "bytes" => &mut limits.bytes,
            "versions" => &mut limits.versions,
            "models" => &mut limits.models,
            _ => return Err(wrong()),
        };
        *place = match value {
            "none" => None,
            _ => Some(if what == "bytes" { octets(value) } else { value.parse().ok() }.ok_or_else(wrong)?),
        };
    }
    Ok(limits)
}

/// `4096`, `10GiB`.
fn octets(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    if number.is_empty() || !number.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A rule from `team/*`, `delete` and such as `keep=5`, `days=30`, `state=deprecated`, `protect=stage=prod`, `off`.
fn rule_of(pattern: &str, action: &str, conditions: &[&str]) -> Result<RetentionRule, String> {
    let action = match action {
        "delete" => RetentionAction::Delete,
        "purge" => RetentionAction::Purge,
        _ => return Err(format!("{action}: a rule deletes or purges")),
    };
    let pattern = pattern.parse::<NamePattern>().map_err(|why| format!("{pattern} {why}"))?;
    let mut rule = RetentionRule {
        pattern,
        action,
        keep_newest: None,
        older_than_days: None,
        states: Vec::new(),
        protect_tags: Vec::new(),
        enabled: true,
    };
    for word in conditions {
        let wrong = || format!("{word}: a condition is keep=5, days=30, state=deprecated, protect=stage=prod or off");
        match word.split_once('=') {
            Some(("keep", count)) => rule.keep_newest = Some(count.parse().map_err(|_odd| wrong())?),
            Some(("days", count)) => rule.older_than_days = Some(count.parse().map_err(|_odd| wrong())?),
            Some(("protect", tag)) if tag.contains('=') => rule.protect_tags.push(tag.to_owned()),
            Some(("state", states)) => {
                for state in states.split(',') {
                    let all = [State::Available, State::Quarantined, State::Deprecated];
                    let known = all.into_iter().find(|known| known.as_str() == state);
                    rule.states.push(known.ok_or_else(|| {
                        format!("{state}: a state of a rule is available, quarantined or deprecated")
                    })?);
                }
            }
            None if *word == "off" => rule.enabled = false,
            Some(_) | None => return Err(wrong()),
        }
    }
    Ok(rule)
}

/// `v3` or `3`.
fn version_of(text: &str) -> Result<Version, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    number.parse().map_err(|_wrong| format!("{text} is no version, such as v3"))
}

fn model(text: &str) -> Result<Named, String> {
    if text.contains([':', '@']) {
        return Err(format!("{text} names a version: a model is asked for"));
    }
    if text.parse::<ModelId>().is_ok() {
        return Ok(Named::Model(text.to_owned()));
    }
    // A name is its own reference: the daemon takes it as it takes an id.
    let name: ModelName = text.parse().map_err(|why| format!("{why}"))?;
    Ok(Named::Known(Object::Model { id: name.to_string(), name: name.to_string() }))
}

fn version(text: &str) -> Result<Named, String> {
    match text.rsplit_once(':') {
        Some(("sha256", _)) => Ok(Named::Version(text.to_owned())),
        Some((name, number)) => {
            let version = version_of(number)?;
            if name.parse::<ModelId>().is_ok() {
                return Ok(Named::Version(format!("{name}:{version}")));
            }
            let name: ModelName = name.parse().map_err(|why| format!("{why}"))?;
            Ok(Named::Known(Object::Version { id: name.to_string(), name: name.to_string(), version }))
        }
        None if text.contains('@') => Ok(Named::Version(text.to_owned())),
        None => Err(format!("{text} names no version: write {text}:3, {text}@alias or sha256:...")),
    }
}

fn model_or_version(text: &str) -> Result<Named, String> {
    if text.contains([':', '@']) { version(text) } else { model(text) }
}

/// A token of which no more is known than its id.
fn token(id: String) -> Object {
    Object::Token { label: id.clone(), id, user: String::new() }
}

fn user(text: &str) -> Result<Named, String> {
    let name: UserName = text.parse().map_err(|why| format!("{why}"))?;
    Ok(Named::Known(Object::User(name.to_string())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::role::Role;
    use proptest::prelude::{prop, proptest};

    use super::{ACTS, Named, Of, Options, Wish, find};
    use crate::keymap::{Command, TABLE};
    use crate::state::deeds::{Deed, Object, Tier};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn wish(line: &str) -> Result<Wish, String> {
        let words = words(line);
        find(&words[0])?.wish(&words[1..], &Options::default())
    }

    /// Each is a command of the table, and every command that changes something can be given in words: undo apart, which
    /// is another command by then.
    #[test]
    fn of_the_one_table() {
        for act in ACTS {
            assert!(act.binding().is_some() && !act.help().is_empty(), "{act:?}");
            assert_eq!(ACTS.iter().filter(|other| other.word == act.word).count(), 1, "{act:?}");
            if let Of::Row(context, command) = act.of {
                let needs =
                    TABLE.iter().find(|row| (row.context, row.command) == (context, command)).unwrap().permission;
                assert_eq!(act.permission(), needs, "{act:?}");
            }
        }
        for row in TABLE.iter().filter(|row| row.command.changes() && row.command != Command::Undo) {
            let is_it = |act: &super::Act| matches!(act.of, Of::Row(_, command) if command == row.command);
            assert!(ACTS.iter().any(is_it), "{row:?} can't be given in words");
        }
    }

    #[test]
    fn tiers_and_reasons() {
        for (word, tier, reason) in [
            ("edit", Tier::Free, false),
            ("upload", Tier::Free, false),
            ("alias", Tier::Asked, false),
            ("role", Tier::Asked, false),
            ("note", Tier::Free, false),
            ("pause", Tier::Asked, true),
            ("delete", Tier::Named, false),
            ("release", Tier::Named, true),
            ("revoke", Tier::Named, false),
        ] {
            let act = find(word).unwrap();
            assert_eq!((act.tier(), act.wants_reason()), (tier, reason), "{word}");
        }
    }

    #[test]
    fn things_and_values() {
        let version = |name: &str, number: &str| {
            let (id, name) = (name.to_owned(), name.to_owned());
            Named::Known(Object::Version { id, name, version: number.parse().unwrap() })
        };
        assert_eq!(wish("delete team/x:3").unwrap(), Wish::Change(Deed::Delete, vec![version("team/x", "3")]));
        assert_eq!(wish("delete team/x:v3").unwrap(), wish("delete team/x:3").unwrap());
        assert_eq!(
            wish("rescan team/x@prod").unwrap(),
            Wish::Change(Deed::Rescan, vec![Named::Version("team/x@prod".into())])
        );
        assert_eq!(
            wish("note team/x:3 asked dave, waits").unwrap(),
            Wish::Change(Deed::Note { text: "asked dave, waits".into() }, vec![version("team/x", "3")])
        );
        let eve = Named::Known(Object::User("eve".into()));
        assert_eq!(wish("role eve auditor").unwrap(), Wish::Change(Deed::Role(Role::Auditor), vec![eve.clone()]));
        let given = ["team/*:contributor", "*:none"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(
            wish("grants eve team/*:contributor *:none").unwrap(),
            Wish::Change(Deed::Grants(given), vec![eve.clone()])
        );
        assert_eq!(wish("grants eve none").unwrap(), Wish::Change(Deed::Grants(Vec::new()), vec![eve.clone()]));
        assert_eq!(wish("unlock eve").unwrap(), Wish::Change(Deed::Lock(false), vec![eve]));
        assert!(matches!(
            wish("alias team/x none prod").unwrap(),
            Wish::Change(Deed::Alias { to: None, .. }, things) if things.len() == 1
        ));
        for (line, why) in [
            ("delte x", "did you mean delete?"),
            ("delete", "MODEL[:VERSION]..."),
            ("delete a a", "twice"),
            ("rescan team/x", "names no version"),
            ("rescan team/x:last", "no version"),
            ("alias team/x:3 v3 prod", "a model is asked for"),
            ("role eve king", "king"),
            ("grants eve", "PATTERN:ROLE"),
            ("grants eve team/*", "PATTERN:ROLE"),
            ("grants eve a:deny a:king", "king"),
            ("grants eve a:deny A:deny", "twice"),
            ("pause now", "pause --reason"),
            ("note team/x:3", "MODEL:VERSION TEXT"),
            ("note team/x seen", "names no version"),
            ("edit team/x", "--description"),
            ("add-webhook https://x", "URL ACTION"),
            ("test-webhook hook", "no id of a webhook"),
            ("pass-over 01J9ZZZZZZZZZZZZZZZZZZZZZZ last", "no index"),
            ("set-quota ana bytes=1", "user:NAME"),
            ("set-quota user:ana bytes=1.5GiB", "bytes=10GiB"),
            ("set-quota user:ana octets=1", "bytes=10GiB"),
            ("set-rule old team/* remove", "deletes or purges"),
            ("set-rule old team/* delete age=3", "keep=5"),
            ("set-rule old team/* delete state=gone", "quarantined or deprecated"),
        ] {
            assert!(wish(line).unwrap_err().contains(why), "{line}: {:?}", wish(line));
        }
        let Wish::Change(Deed::SetQuota(limits), of) = wish("set-quota namespace:team bytes=10GiB versions=7").unwrap()
        else {
            panic!("another wish")
        };
        assert_eq!((limits.bytes, limits.versions, limits.models), (Some(10 << 30), Some(7), None));
        assert_eq!(of.len(), 1);
        let Wish::Change(Deed::SetRule(rule), _) =
            wish("set-rule old team/* delete keep=5 days=30 state=deprecated,available protect=stage=prod off")
                .unwrap()
        else {
            panic!("another wish")
        };
        assert_eq!(
            (rule.keep_newest, rule.older_than_days, rule.states.len(), rule.enabled),
            (Some(5), Some(30), 2, false)
        );
        assert_eq!(rule.protect_tags, ["stage=prod"]);
        let options = Options { reason: Some("x".into()), ..Options::default() };
        assert!(find("delete").unwrap().wish(&words("a"), &options).unwrap_err().contains("no reason"));
    }

    proptest! {
        /// No words are too strange to be refused in words.
        #[test]
        fn any_words(place in 0..ACTS.len(), words in prop::collection::vec("[a-z0-9:@/v \u{e9}\u{202e}=,.-]{0,12}", 0..4)) {
            drop(ACTS[place].wish(&words, &Options::default()));
        }
    }
}
