//! What can be done to a thing, as plain data: which thing, what to do, how grave it is, what it will come to, how it is
//! taken back, and whether it has happened. How it is asked for and sent is not known here.

use std::collections::BTreeMap;
use std::fmt;

use common::api::quota::{QuotaInfo, QuotaKind, QuotaLimits};
use common::api::retention::{RetentionAction, RetentionRule, RetentionRuleInfo, RetentionRuleTold};
use common::api::{
    ApiToken, ApiTokenState, IngestItem, IngestState, IntakeStatus, ModelInfo, NewApiToken, NewWebhook,
    State as VersionState, User, UserKind, VersionInfo, Webhook,
};
use common::grant::{Grant, GrantTold};
use common::known::Known;
use common::name::{Alias, Version};
use common::role::{Permission, Role};

use crate::access::unknown;
use crate::state::Who;
use crate::time::{bytes, counted, grouped};

/// A change of more things than this at once is asked about by its number.
pub const BULK_ASKED: usize = 20;

/// A thing that can be changed. It is named when the question is asked, and stays that one whatever the list does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A model.
    Model {
        /// Its id.
        id: String,
        /// Its name, as it was then.
        name: String,
    },
    /// A version of a model.
    Version {
        /// The model's id.
        id: String,
        /// The model's name, as it was then.
        name: String,
        /// The number.
        version: Version,
    },
    /// A user, by name. Names are not given to others.
    User(String),
    /// An API token.
    Token {
        /// Its id.
        id: String,
        /// What it is for.
        label: String,
        /// Whose it is.
        user: String,
    },
    /// An item of the drop folder.
    Item {
        /// Its id.
        id: String,
        /// Its path, as it was then.
        path: String,
    },
    /// The drop folder as a whole.
    Intake,
    /// A webhook, by id; one that is not there yet by its receiver's address.
    Webhook(String),
    /// How much a user or a namespace may keep.
    Quota {
        /// Of which of the two.
        kind: QuotaKind,
        /// The name; `-` for the models whose names have no slash.
        name: String,
    },
    /// A rule by which versions go, by name.
    Rule(String),
}

impl Object {
    /// The true text by which people know it.
    pub fn name(&self) -> String {
        match self {
            Self::Model { name, .. } | Self::User(name) | Self::Webhook(name) | Self::Rule(name) => name.clone(),
            Self::Version { name, version, .. } => format!("{name}:{version}"),
            Self::Quota { kind, name } => format!("{kind}:{name}"),
            Self::Item { path, .. } => path.clone(),
            Self::Token { label, .. } => label.clone(),
            Self::Intake => "intake".to_owned(),
        }
    }

    /// What can always be typed for it.
    pub fn id(&self) -> String {
        match self {
            Self::Model { id, .. } | Self::Item { id, .. } | Self::Token { id, .. } => id.clone(),
            Self::Version { id, version, .. } => format!("{id}:{version}"),
            Self::User(name) | Self::Webhook(name) | Self::Rule(name) => name.clone(),
            Self::Quota { .. } => self.name(),
            Self::Intake => "intake".to_owned(),
        }
    }

    /// What it is: `model`, `version`, `user`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Model { .. } => "model",
            Self::Version { .. } => "version",
            Self::User(_) => "user",
            Self::Item { .. } => "item",
            Self::Token { .. } => "API token",
            Self::Intake => "drop folder",
            Self::Webhook(_) => "webhook",
            Self::Quota { .. } => "quota",
            Self::Rule(_) => "retention rule",
        }
    }

    /// Name of the audit log for it.
    pub fn target(&self) -> String {
        match self {
            Self::Model { id, .. } | Self::Version { id, .. } | Self::Item { id, .. } | Self::Token { id, .. } => {
                id.clone()
            }
            Self::User(name) | Self::Webhook(name) | Self::Rule(name) | Self::Quota { name, .. } => name.clone(),
            Self::Intake => "intake".to_owned(),
        }
    }
}

/// A thing as the daemon last showed it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Base {
    Model(Box<ModelInfo>),
    Version(Box<VersionInfo>),
    User(Box<User>),
    Item(Box<IngestItem>),
    Intake(Box<IntakeStatus>),
    Token(Box<ApiToken>),
    Webhook(Box<Webhook>),
    Quota(Box<QuotaInfo>),
    Rule(Box<RetentionRuleInfo>),
}

/// A thing as it was seen, with the entity tag of that.
pub type Seen = (Base, Option<String>);

/// What is done to a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Point an alias of a model at a version, or at none.
    Alias {
        /// The alias.
        alias: Alias,
        /// Where it points then.
        to: Option<Version>,
    },
    /// Say something else about a model. What is none stays.
    Edit {
        /// The description.
        description: Option<String>,
        /// All tags.
        tags: Option<BTreeMap<String, String>>,
    },
    /// Delete a model or a version, restorably; a user for good.
    Delete,
    /// Take the deletion of a model or a version back.
    Restore,
    /// Hand a version out with a warning.
    Deprecate {
        /// Why.
        reason: String,
    },
    /// Hand a version out again that was held back or deprecated.
    Release {
        /// Why.
        reason: String,
        /// Although it was blocked for good.
        override_block: bool,
    },
    /// Never hand a version out.
    Block {
        /// Why.
        reason: String,
    },
    /// Note something of a version that is held.
    Note {
        /// What.
        text: String,
    },
    /// Inspect a version anew.
    Rescan,
    /// Give a user a role.
    Role(Role),
    /// Replace what a user may do with models by their names.
    Grants(Vec<Grant>),
    /// Lock a user, or unlock.
    Lock(bool),
    /// Give a user a password that must be changed at the next sign-in. The worker makes it up.
    OneTimePassword,
    /// End all sessions of a user.
    Revoke,
    /// Take a user's second factor away.
    ResetTotp,
    /// Add a user with a one-time password.
    Register(Role),
    /// Make an API token for a user. The daemon makes it up.
    NewToken(Box<NewApiToken>),
    /// Give an API token another secret; the old one is void at once.
    RotateToken,
    /// Revoke an API token.
    RevokeToken,
    /// Try an item of the drop folder again, at once.
    Retry,
    /// Give an item of the drop folder up.
    Discard {
        /// Why.
        reason: String,
    },
    /// Take nothing in any more.
    Pause {
        /// Why.
        reason: String,
    },
    /// Take files in again.
    Resume {
        /// Why.
        reason: String,
    },
    /// Tell a receiver of what happens.
    NewWebhook(Box<NewWebhook>),
    /// Send a webhook's receiver a message to see whether it arrives.
    TestWebhook,
    /// Deliver to a webhook, or no longer. It goes on where it had come to.
    DeliverTo(bool),
    /// Go on with a webhook at an entry of the log, whatever of those before it was not delivered.
    PassOver(u64),
    /// Say how much may be kept.
    SetQuota(QuotaLimits),
    /// Let the default say again how much may be kept.
    ClearQuota,
    /// Set a rule by which versions go.
    SetRule(Box<RetentionRule>),
    /// Carry a rule out, soon.
    RunRule,
}

/// How much a deed is asked about (console.md §12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Not at all: it can be taken back.
    Free,
    /// By one key.
    Asked,
    /// By typing the name, or the number of things.
    Named,
}

/// A deed and the thing it is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The thing.
    pub object: Object,
    /// What is done.
    pub deed: Deed,
}

impl Change {
    /// A change.
    pub fn new(object: Object, deed: Deed) -> Self {
        Self { object, deed }
    }

    /// What it takes.
    pub fn permission(&self) -> Permission {
        match self.deed {
            Deed::Alias { .. } | Deed::Edit { .. } => Permission::ModelWrite,
            Deed::Delete if matches!(self.object, Object::User(_) | Object::Webhook(_)) => Permission::UserManage,
            Deed::NewWebhook(_) | Deed::TestWebhook | Deed::DeliverTo(_) | Deed::PassOver(_) => Permission::UserManage,
            Deed::SetQuota(_) | Deed::ClearQuota => Permission::UserManage,
            Deed::SetRule(_) | Deed::RunRule => Permission::ModelDelete,
            Deed::Delete | Deed::Restore => Permission::ModelDelete,
            Deed::Deprecate { .. } | Deed::Release { .. } | Deed::Block { .. } | Deed::Note { .. } | Deed::Rescan => {
                Permission::ModelModerate
            }
            Deed::Role(_)
            | Deed::Grants(_)
            | Deed::Lock(_)
            | Deed::OneTimePassword
            | Deed::Revoke
            | Deed::ResetTotp
            | Deed::Register(_) => Permission::UserManage,
            // Everybody may deal with the own ones; about those of others the daemon decides.
            Deed::NewToken(_) | Deed::RotateToken | Deed::RevokeToken => Permission::ModelRead,
            Deed::Retry | Deed::Discard { .. } | Deed::Pause { .. } | Deed::Resume { .. } => Permission::IngestManage,
        }
    }

    /// How much it is asked about, before a strict profile lifts it.
    pub fn tier(&self, who: Option<&Who>) -> Tier {
        let is_self = matches!(&self.object, Object::User(name) if who.is_some_and(|who| who.username == *name));
        match self.deed {
            Deed::Edit { .. } | Deed::Register(_) | Deed::Note { .. } | Deed::NewToken(_) => Tier::Free,
            Deed::Delete
            | Deed::PassOver(_)
            | Deed::SetRule(_)
            | Deed::RunRule
            | Deed::Release { .. }
            | Deed::Block { .. }
            | Deed::Revoke
            | Deed::RevokeToken
            | Deed::ResetTotp => Tier::Named,
            Deed::Role(_) | Deed::Grants(_) | Deed::Lock(_) if is_self => Tier::Named,
            Deed::Alias { .. }
            | Deed::Restore
            | Deed::Deprecate { .. }
            | Deed::Rescan
            | Deed::Role(_)
            | Deed::Grants(_)
            | Deed::Lock(_)
            | Deed::OneTimePassword
            | Deed::RotateToken
            | Deed::Retry
            | Deed::Discard { .. }
            | Deed::Pause { .. }
            | Deed::NewWebhook(_)
            | Deed::TestWebhook
            | Deed::DeliverTo(_)
            | Deed::SetQuota(_)
            | Deed::ClearQuota
            | Deed::Resume { .. } => Tier::Asked,
        }
    }

    /// The word for it: `delete`.
    pub fn verb(&self) -> String {
        match &self.deed {
            Deed::Alias { alias, to: Some(to) } => format!("point {alias} at v{to} of"),
            Deed::Alias { alias, to: None } => format!("clear the alias {alias} of"),
            Deed::Edit { .. } => "edit".to_owned(),
            Deed::Delete => "delete".to_owned(),
            Deed::Restore => "restore".to_owned(),
            Deed::Deprecate { .. } => "deprecate".to_owned(),
            Deed::Release { .. } => "release".to_owned(),
            Deed::Block { .. } => "reject".to_owned(),
            Deed::Note { .. } => "note something of".to_owned(),
            Deed::Rescan => "rescan".to_owned(),
            Deed::Role(role) => format!("give the role {role} to"),
            Deed::Grants(grants) if grants.is_empty() => "take all grants from".to_owned(),
            Deed::Grants(grants) => format!("give {} to", counted(grants.len() as u64, "grant")),
            Deed::Lock(true) => "lock".to_owned(),
            Deed::Lock(false) => "unlock".to_owned(),
            Deed::OneTimePassword => "give a one-time password to".to_owned(),
            Deed::Revoke => "end all sessions and API tokens of".to_owned(),
            Deed::ResetTotp => "take the second factor away from".to_owned(),
            Deed::Register(role) => format!("add as {role}"),
            Deed::NewToken(_) => "make an API token for".to_owned(),
            Deed::RotateToken => "rotate".to_owned(),
            Deed::RevokeToken => "revoke".to_owned(),
            Deed::Retry => "retry".to_owned(),
            Deed::Discard { .. } => "discard".to_owned(),
            Deed::Pause { .. } => "pause".to_owned(),
            Deed::Resume { .. } => "resume".to_owned(),
            Deed::NewWebhook(_) => "add".to_owned(),
            Deed::TestWebhook => "test".to_owned(),
            Deed::DeliverTo(true) => "deliver again to".to_owned(),
            Deed::DeliverTo(false) => "deliver no longer to".to_owned(),
            Deed::PassOver(index) => format!("go on at entry {index} with"),
            Deed::SetQuota(_) => "set".to_owned(),
            Deed::ClearQuota => "clear".to_owned(),
            Deed::SetRule(_) => "set".to_owned(),
            Deed::RunRule => "carry out".to_owned(),
        }
    }

    /// That it is done: `deleted team-nlp/x`.
    pub fn done(&self) -> String {
        let name = self.object.name();
        match &self.deed {
            Deed::Alias { alias, to: Some(to) } => format!("{name}: {alias} = v{to}"),
            Deed::Alias { alias, to: None } => format!("{name}: {alias} cleared"),
            Deed::Edit { .. } => format!("{name} edited"),
            Deed::Delete => format!("deleted {name}"),
            Deed::Restore => format!("restored {name}"),
            Deed::Deprecate { .. } => format!("deprecated {name}"),
            Deed::Release { .. } => format!("released {name}"),
            Deed::Block { .. } => format!("rejected {name}"),
            Deed::Note { .. } => format!("noted of {name}"),
            Deed::Rescan => format!("rescanned {name}"),
            Deed::Role(role) => format!("{name} is {role}"),
            Deed::Grants(grants) => format!("{name} has {}", grants_in_words(grants)),
            Deed::Lock(true) => format!("{name} is locked"),
            Deed::Lock(false) => format!("{name} is unlocked"),
            Deed::OneTimePassword => format!("{name} has a one-time password"),
            Deed::Revoke => format!("all sessions and API tokens of {name} have ended"),
            Deed::ResetTotp => format!("{name} has no second factor any more"),
            Deed::Register(role) => format!("added {name} as {role}"),
            Deed::NewToken(new) => format!("made the API token {} for {name}", new.label),
            Deed::RotateToken => format!("the API token {name} has another secret"),
            Deed::RevokeToken => format!("revoked the API token {name}"),
            Deed::Retry => format!("{name} is tried again"),
            Deed::Discard { .. } => format!("discarded {name}"),
            Deed::Pause { .. } => "the intake is paused".to_owned(),
            Deed::Resume { .. } => "the intake goes on".to_owned(),
            Deed::NewWebhook(_) => format!("added a webhook to {name}"),
            Deed::TestWebhook => format!("tested {name}"),
            Deed::DeliverTo(true) => format!("{name} is delivered to again"),
            Deed::DeliverTo(false) => format!("{name} is paused"),
            Deed::PassOver(index) => format!("{name} goes on at entry {index}"),
            Deed::SetQuota(_) => format!("set the quota of {name}"),
            Deed::ClearQuota => format!("the default is the quota of {name}"),
            Deed::SetRule(_) => format!("set the rule {name}"),
            Deed::RunRule => format!("{name} is carried out soon"),
        }
    }

    /// Whether a reason goes with it, which the log keeps.
    pub fn reason(&mut self) -> Option<&mut String> {
        match &mut self.deed {
            Deed::Deprecate { reason }
            | Deed::Release { reason, .. }
            | Deed::Block { reason }
            | Deed::Discard { reason }
            | Deed::Pause { reason }
            | Deed::Resume { reason } => Some(reason),
            _ => None,
        }
    }

    /// Whether there is a thing to be read before.
    pub fn has_base(&self) -> bool {
        !matches!(
            self.deed,
            Deed::Register(_) | Deed::Note { .. } | Deed::NewToken(_) | Deed::NewWebhook(_) | Deed::SetRule(_)
        )
    }

    /// Whether its answer has a secret that is nowhere else.
    pub fn makes_secret(&self) -> bool {
        matches!(self.deed, Deed::NewToken(_) | Deed::RotateToken | Deed::NewWebhook(_))
    }

    /// Whether it may be sent again without reading first: it carries an idempotency key.
    pub fn is_repeatable(&self) -> bool {
        match self.deed {
            Deed::Restore
            | Deed::Deprecate { .. }
            | Deed::Release { .. }
            | Deed::Block { .. }
            | Deed::Note { .. }
            | Deed::OneTimePassword
            | Deed::Revoke
            | Deed::ResetTotp
            | Deed::Register(_) => true,
            Deed::Alias { .. }
            | Deed::Edit { .. }
            | Deed::Delete
            | Deed::Rescan
            | Deed::Role(_)
            | Deed::Grants(_)
            | Deed::Lock(_) => false,
            Deed::Retry | Deed::Discard { .. } | Deed::Pause { .. } | Deed::Resume { .. } => false,
            Deed::NewToken(_) | Deed::RotateToken | Deed::RevokeToken => false,
            Deed::PassOver(_) => true,
            Deed::NewWebhook(_)
            | Deed::TestWebhook
            | Deed::DeliverTo(_)
            | Deed::SetQuota(_)
            | Deed::ClearQuota
            | Deed::SetRule(_)
            | Deed::RunRule => false,
        }
    }

    /// Whether the thing can't be found any more afterwards.
    pub fn has_gone(&self) -> bool {
        let goes = matches!(self.object, Object::User(_) | Object::Webhook(_) | Object::Rule(_));
        let is_discard = matches!(self.deed, Deed::Discard { .. });
        is_discard || self.deed == Deed::RevokeToken || (self.deed == Deed::Delete && goes)
    }

    /// What it depends on and is not known here: a newer daemon has states that this console knows nothing of.
    fn not_known(&self, base: &Base) -> Option<String> {
        match (&self.deed, base) {
            (Deed::Delete | Deed::Restore, Base::Model(info)) => unknown("its state", &info.model.state),
            (
                Deed::Delete | Deed::Restore | Deed::Deprecate { .. } | Deed::Release { .. } | Deed::Block { .. },
                Base::Version(info),
            ) => unknown("its state", &info.state).or_else(|| {
                let review = info.review.as_ref().filter(|_| matches!(self.deed, Deed::Release { .. }));
                unknown("its last decision", &review?.decision)
            }),
            (Deed::Retry | Deed::Discard { .. }, Base::Item(item)) => unknown("its state", &item.state),
            (Deed::OneTimePassword, Base::User(user)) => unknown("its kind", &user.kind),
            (Deed::RotateToken, Base::Token(token)) => unknown("its state", &token.state),
            (Deed::RunRule, Base::Rule(info)) => unknown("its action", &info.rule.action),
            _ => None,
        }
    }

    /// Why there is nothing to do, seen what the thing is now.
    pub fn not_now(&self, base: &Base) -> Option<String> {
        let is = |what: &str| Some(format!("already {what}"));
        if let Some(why) = self.not_known(base) {
            return Some(why);
        }
        match (&self.deed, base) {
            (Deed::Delete, Base::Model(info)) if info.model.state == VersionState::Deleted => is("deleted"),
            (Deed::Delete, Base::Version(info)) if info.state == VersionState::Deleted => is("deleted"),
            (Deed::Delete, Base::Version(info)) if !info.aliases.is_empty() => {
                let aliases: Vec<&str> = info.aliases.iter().map(Alias::as_str).collect();
                Some(format!("{} points to it: move it first", aliases.join(", ")))
            }
            (Deed::Restore, Base::Model(info)) if info.model.state != VersionState::Deleted => {
                Some("not deleted".to_owned())
            }
            (Deed::Restore, Base::Version(info)) if info.state != VersionState::Deleted => {
                Some("not deleted".to_owned())
            }
            (Deed::Deprecate { .. }, Base::Version(info)) if info.state == VersionState::Deprecated => is("deprecated"),
            (Deed::Alias { alias, to }, Base::Model(info)) => {
                let now = info.model.aliases.iter().find(|held| held.alias == *alias).map(|held| held.version);
                match (now, to) {
                    (Some(now), Some(to)) if now == *to => Some(format!("already {alias} = v{to}")),
                    (None, None) => Some(format!("there is no alias {alias}")),
                    _ => None,
                }
            }
            (Deed::Edit { description: None, tags: Some(tags) }, Base::Model(info)) if *tags == info.model.tags => {
                is("tagged so")
            }
            (Deed::Role(role), Base::User(user)) if user.role == *role => is(role.as_str()),
            (Deed::Grants(grants), Base::User(user)) if are_granted(user, grants) => is("so"),
            (Deed::Lock(true), Base::User(user)) if user.disabled => is("locked"),
            (Deed::Lock(false), Base::User(user)) if !user.disabled => Some("not locked".to_owned()),
            (Deed::Revoke, Base::User(user)) if user.sessions == 0 && user.tokens == 0 => {
                Some("no session is open, and there is no API token".to_owned())
            }
            (Deed::ResetTotp, Base::User(user)) if !user.totp => Some("there is no second factor".to_owned()),
            (Deed::OneTimePassword, Base::User(user)) if user.kind == UserKind::Service => {
                Some("a service account has no password".to_owned())
            }
            (Deed::RotateToken, Base::Token(token)) if token.state == ApiTokenState::Expired => is("expired"),
            (Deed::Release { .. }, Base::Version(info)) if info.state == VersionState::Available => is("released"),
            (Deed::Release { .. } | Deed::Block { .. }, Base::Version(info)) if info.state == VersionState::Deleted => {
                is("deleted")
            }
            (Deed::Block { .. }, Base::Version(info)) if is_blocked(info) => is("blocked for good"),
            (Deed::Release { override_block: false, .. }, Base::Version(info)) if is_blocked(info) => {
                let by = info.review.as_ref().map(|review| format!(" by {} ({})", review.by, review.reason));
                Some(format!(
                    "blocked for good{}; do release --override goes over that, or A among those that b lists",
                    by.unwrap_or_default()
                ))
            }
            (Deed::Retry, Base::Item(item)) if !can_be_retried(&item.state) => {
                Some(format!("it is {}: only what failed or was rejected is tried again", item.state.as_str()))
            }
            (Deed::Discard { .. }, Base::Item(item)) if !can_be_discarded(&item.state) => {
                Some(format!("it is {}: that is not given up here", item.state.as_str()))
            }
            (Deed::Pause { .. }, Base::Intake(intake)) if intake.paused => is("paused"),
            (Deed::Resume { .. }, Base::Intake(intake)) if !intake.paused => Some("not paused".to_owned()),
            (Deed::DeliverTo(false), Base::Webhook(hook)) if !hook.enabled => is("paused"),
            (Deed::DeliverTo(true), Base::Webhook(hook)) if hook.enabled => Some("not paused".to_owned()),
            (Deed::SetQuota(limits), Base::Quota(quota)) if quota.is_own && quota.limits == *limits => is("so"),
            (Deed::ClearQuota, Base::Quota(quota)) if !quota.is_own => Some("it is the default".to_owned()),
            (Deed::RunRule, Base::Rule(rule)) if rule.requested_at.is_some() => is("asked for"),
            _ => None,
        }
    }

    /// Whether it has happened, as far as the thing shows it; none where it doesn't. By a state that is not known here nothing
    /// has: what it would undo is left alone.
    pub fn has_happened(&self, base: &Base) -> Option<bool> {
        match (&self.deed, base) {
            (Deed::Delete, Base::Model(info)) => Some(info.model.state == VersionState::Deleted),
            (Deed::Delete, Base::Version(info)) => Some(info.state == VersionState::Deleted),
            (Deed::Delete, Base::User(_)) => Some(false),
            (Deed::Restore, Base::Model(info)) => Some(is_there(&info.model.state)),
            (Deed::Restore, Base::Version(info)) => Some(is_there(&info.state)),
            (Deed::Deprecate { .. }, Base::Version(info)) => Some(info.state == VersionState::Deprecated),
            (Deed::Release { .. }, Base::Version(info)) => Some(info.state == VersionState::Available),
            (Deed::Alias { alias, to }, Base::Model(info)) => {
                Some(info.model.aliases.iter().find(|held| held.alias == *alias).map(|held| held.version) == *to)
            }
            (Deed::Edit { description, tags }, Base::Model(info)) => Some(
                description.as_ref().is_none_or(|text| *text == info.model.description)
                    && tags.as_ref().is_none_or(|tags| *tags == info.model.tags),
            ),
            (Deed::Role(role), Base::User(user)) => Some(user.role == *role),
            (Deed::Grants(grants), Base::User(user)) => Some(are_granted(user, grants)),
            (Deed::Lock(on), Base::User(user)) => Some(user.disabled == *on),
            (Deed::Revoke, Base::User(user)) => Some(user.sessions == 0 && user.tokens == 0),
            (Deed::ResetTotp, Base::User(user)) => Some(!user.totp),
            (Deed::RevokeToken, Base::Token(_)) => Some(false),
            (Deed::Register(_), Base::User(_)) => Some(true),
            (Deed::Block { .. }, Base::Version(info)) => Some(is_blocked(info)),
            (Deed::Retry, Base::Item(item)) => item.state.known().map(|_| !can_be_retried(&item.state)),
            (Deed::Discard { .. }, Base::Item(item)) => Some(item.state == IngestState::Rejected),
            (Deed::Pause { .. }, Base::Intake(intake)) => Some(intake.paused),
            (Deed::Resume { .. }, Base::Intake(intake)) => Some(!intake.paused),
            (Deed::DeliverTo(on), Base::Webhook(hook)) => Some(hook.enabled == *on),
            (Deed::Delete, Base::Webhook(_) | Base::Rule(_)) => Some(false),
            (Deed::SetQuota(limits), Base::Quota(quota)) => Some(quota.is_own && quota.limits == *limits),
            (Deed::ClearQuota, Base::Quota(quota)) => Some(!quota.is_own),
            (Deed::SetRule(rule), Base::Rule(info)) => Some(info.rule == RetentionRuleTold::from((**rule).clone())),
            (Deed::RunRule, Base::Rule(info)) => Some(info.requested_at.is_some()),
            _ => None,
        }
    }

    /// Whether it has come true, seen what the thing was before and is now; none where that doesn't show it.
    pub fn came_true(&self, before: Option<&Base>, now: &Base) -> Option<bool> {
        // What a state means that isn't known here can't be told.
        let is_known = match now {
            Base::Model(info) => info.model.state.known().is_some(),
            Base::Version(info) => info.state.known().is_some(),
            Base::Item(item) => item.state.known().is_some(),
            Base::User(_) | Base::Intake(_) | Base::Token(_) | Base::Webhook(_) | Base::Quota(_) | Base::Rule(_) => {
                true
            }
        };
        let is_of_state = !matches!(self.deed, Deed::Alias { .. } | Deed::Edit { .. });
        if is_of_state && !is_known {
            return None;
        }
        match (&self.deed, before, now) {
            // One that was refused leaves the list when it is given up.
            (Deed::Discard { .. }, Some(Base::Item(before)), Base::Item(_))
                if before.state == IngestState::Rejected =>
            {
                Some(false)
            }
            // It may have been tried, and have failed again.
            (Deed::Retry, Some(Base::Item(before)), Base::Item(now)) if can_be_retried(&now.state) => {
                let stands_still = before.history == now.history && before.state_since == now.state_since;
                Some(!stands_still)
            }
            _ => self.has_happened(now),
        }
    }

    /// What takes it back, seen what the thing was before; none where nothing does.
    pub fn undo(&self, before: Option<&Base>) -> Option<Self> {
        let deed = match (&self.deed, before?) {
            (Deed::Alias { alias, .. }, Base::Model(info)) => {
                let to = info.model.aliases.iter().find(|held| held.alias == *alias).map(|held| held.version);
                Deed::Alias { alias: alias.clone(), to }
            }
            (Deed::Edit { description, tags }, Base::Model(info)) => Deed::Edit {
                description: description.as_ref().map(|_| info.model.description.clone()),
                tags: tags.as_ref().map(|_| info.model.tags.clone()),
            },
            (Deed::Delete, Base::Model(_) | Base::Version(_)) => Deed::Restore,
            (Deed::Restore, Base::Model(_) | Base::Version(_)) => Deed::Delete,
            (Deed::Role(_), Base::User(user)) => Deed::Role(user.role.known()?),
            (Deed::Grants(_), Base::User(user)) => {
                Deed::Grants(user.grants.iter().map(GrantTold::known).collect::<Option<_>>()?)
            }
            (Deed::Lock(on), Base::User(_)) => Deed::Lock(!on),
            _ => return None,
        };
        Some(Self { object: self.object.clone(), deed })
    }

    /// The same of several things.
    pub fn of_many(&self) -> &'static [&'static str] {
        match (&self.deed, &self.object) {
            (Deed::Block { .. }, _) => &["They are never handed out. Only a release over the block takes that back."],
            (Deed::Release { .. }, _) => &["They are handed out from then on, whatever inspection found."],
            (Deed::Discard { .. }, _) => {
                &["They become no versions. No file is deleted: refused ones lie in rejected/."]
            }
            (Deed::Lock(true), _) => &["Their sessions end at once, and they can't sign in."],
            (Deed::Delete, Object::User(_)) => &["For good: nobody gets these names again."],
            (Deed::Delete, Object::Model { .. }) => {
                &["Their versions are no longer handed out. They can be restored for a time."]
            }
            _ => &[],
        }
    }

    /// What will happen, and what can be done about it later; one sentence a line.
    pub fn consequences(&self, base: Option<&Base>) -> Vec<String> {
        let mut said = Vec::new();
        match (&self.deed, base) {
            (Deed::Delete, Some(Base::Model(info))) => {
                let model = &info.model;
                let aliases: Vec<String> =
                    model.aliases.iter().map(|held| format!("{} = v{}", held.alias, held.version)).collect();
                said.push(format!("{} no longer handed out.", are(model.versions.into(), "version")));
                if !aliases.is_empty() {
                    said.push(format!("Its aliases: {}.", aliases.join(", ")));
                }
                said.push("It can be restored until the daemon removes it for good; the answer says when.".to_owned());
            }
            (Deed::Delete, Some(Base::Version(info))) => {
                said.push(match info.artifacts.len() {
                    1 => "Its file is no longer handed out.".to_owned(),
                    more => format!("Its {more} files are no longer handed out."),
                });
                said.push("It can be restored until the daemon removes it for good; the answer says when.".to_owned());
            }
            (Deed::Delete, Some(Base::User(user))) => {
                said.push(match user.sessions {
                    0 => format!("{}, without a session.", user.role),
                    sessions => format!("{}. {} at once.", user.role, end(sessions.into())),
                });
                said.push("This can't be undone. What they did stays in the log.".to_owned());
            }
            (Deed::Restore, _) => said.push("It is handed out again as before.".to_owned()),
            (Deed::Deprecate { .. }, _) => {
                said.push("It is still handed out, with a warning. do release takes that back.".to_owned())
            }
            (Deed::Release { override_block, .. }, base) => {
                if let Some(Base::Version(info)) = base {
                    said.extend(distrust(info));
                }
                if *override_block {
                    said.push("It was blocked for good: this goes over that decision.".to_owned());
                }
                said.push("It is handed out although inspection distrusts it.".to_owned());
                said.push("It can be held back again, but not from those who have loaded it by then.".to_owned());
            }
            (Deed::Block { .. }, Some(Base::Version(info))) => {
                said.extend(distrust(info));
                said.push("It is never handed out. Only a release over the block takes that back.".to_owned());
            }
            (Deed::Block { .. }, _) => said.push("It is never handed out.".to_owned()),
            (Deed::Retry, Some(Base::Item(item))) => {
                said.push(format!(
                    "It is taken in again at once; it was tried {}.",
                    counted(item.attempts.into(), "time")
                ));
            }
            (Deed::Discard { .. }, Some(Base::Item(item))) if item.state == IngestState::Rejected => {
                said.push("It leaves this list. Its file stays where it is.".to_owned());
            }
            (Deed::Discard { .. }, _) => {
                said.push("It becomes no version. Its file goes to rejected/ and is not deleted.".to_owned());
            }
            (Deed::Pause { .. }, _) => {
                said.push("Nothing more is taken in until somebody resumes it.".to_owned());
                said.push("What is under way is brought to its end; what is put there waits.".to_owned());
            }
            (Deed::Resume { .. }, Some(Base::Intake(intake))) => {
                let by = intake.paused_by.as_deref().unwrap_or("somebody");
                let why = intake.pause_reason.as_deref().unwrap_or("no reason given");
                said.push(format!("{by} paused it: {why}"));
                said.push("What waits is taken in.".to_owned());
            }
            (Deed::Rescan, _) => said.push("It is inspected with the rules of now.".to_owned()),
            (Deed::Alias { alias, to }, Some(Base::Model(info))) => {
                let held = info.model.aliases.iter().find(|held| held.alias == *alias);
                let word =
                    |version: Option<Version>| version.map_or("none".to_owned(), |version| format!("v{version}"));
                said.push(format!("{alias}: {} -> {}", word(held.map(|held| held.version)), word(*to)));
                if held.is_some_and(|held| held.protected) {
                    said.push("It is protected: only admins may move it.".to_owned());
                }
                said.push(if held.is_some() {
                    "Whoever asks for the alias gets the other version at once. It can be moved back.".to_owned()
                } else {
                    "Whoever asks for the alias gets this version at once.".to_owned()
                });
            }
            (Deed::Role(role), Some(Base::User(user))) => {
                said.push(format!("{} -> {role}, at once: their sessions end.", user.role));
                // Of a role that is not known here nobody can say what it gave.
                let before = user.role.known();
                said.extend(unknown("the role", &user.role));
                let gained = role.permissions().iter().filter(|may| before.is_some_and(|before| !before.allows(**may)));
                let lost = before.map(Role::permissions).unwrap_or_default().iter().filter(|may| !role.allows(**may));
                for (word, list) in [
                    ("Gains", gained.map(ToString::to_string).collect::<Vec<_>>()),
                    ("Loses", lost.map(ToString::to_string).collect()),
                ] {
                    if !list.is_empty() {
                        said.push(format!("{word} {}.", list.join(", ")));
                    }
                }
            }
            (Deed::Grants(grants), Some(Base::User(user))) => {
                let grants: Vec<GrantTold> = grants.iter().cloned().map(GrantTold::from).collect();
                let listed = |of: &mut dyn Iterator<Item = &GrantTold>| {
                    of.map(GrantTold::to_string).collect::<Vec<_>>().join(", ")
                };
                let gained = listed(&mut grants.iter().filter(|grant| !user.grants.contains(grant)));
                let lost = listed(&mut user.grants.iter().filter(|grant| !grants.contains(grant)));
                for (word, list) in [("New", gained), ("Gone", lost)] {
                    if !list.is_empty() {
                        said.push(format!("{word}: {list}."));
                    }
                }
                said.push("It holds from the next request on; no session ends.".to_owned());
            }
            (Deed::Lock(true), Some(Base::User(user))) => {
                said.push(match user.sessions {
                    0 => "They can't sign in. It can be undone.".to_owned(),
                    sessions => format!("{} at once, and they can't sign in. It can be undone.", end(sessions.into())),
                });
                if user.tokens > 0 {
                    let tokens = counted(user.tokens.into(), "API token");
                    let (is, they) = if user.tokens == 1 { ("is", "it is") } else { ("are", "they are") };
                    said.push(format!(
                        "{tokens} {is} refused while they are locked, and {they} good again afterwards."
                    ));
                }
            }
            (Deed::Lock(false), Some(Base::User(user))) if user.tokens > 0 => {
                let good = if user.tokens == 1 { "is good again" } else { "are good again" };
                said.push(format!("They can sign in again; {} {good}.", counted(user.tokens.into(), "API token")));
            }
            (Deed::Lock(false), _) => said.push("They can sign in again.".to_owned()),
            (Deed::OneTimePassword, _) => {
                said.push("The password they have no longer works, and their sessions end.".to_owned());
                said.push("The new one is shown once, here; it must be changed at the next sign-in.".to_owned());
            }
            (Deed::Revoke, Some(Base::User(user))) => {
                let then = if user.disabled { "they stay locked" } else { "they can sign in again" };
                said.push(format!("{} at once; {then}.", end(user.sessions.into())));
                if user.tokens > 0 {
                    said.push(format!("{} for good.", ends(user.tokens.into(), "API token")));
                }
            }
            (Deed::ResetTotp, Some(Base::User(user))) => {
                said.push(format!("{} at once; the password alone is asked for next.", end(user.sessions.into())));
                said.push("Be sure who asks for it: this is how a second factor is talked away.".to_owned());
            }
            (Deed::RotateToken, Some(Base::Token(token))) => {
                said.push(format!("Of {}. Whatever has the secret of now is refused at once.", token.user));
                said.push("The new one is shown once, here.".to_owned());
            }
            (Deed::RevokeToken, Some(Base::Token(token))) => {
                let used = token.last_used_at.as_deref().unwrap_or("never");
                said.push(format!("Of {}, last used: {used}.", token.user));
                said.push("Whatever has it is refused at once. This can't be undone.".to_owned());
            }
            (Deed::NewWebhook(new), _) => {
                said.push(format!("It is told of {}, from the next entry on.", new.actions.join(", ")));
                said.push("Its secret is shown once, here.".to_owned());
            }
            (_, Some(Base::Webhook(hook))) => {
                said.push(format!("To {}, {}.", hook.url, hook.state.as_str()));
                match self.deed {
                    Deed::Delete => said.push("Nothing more is sent. This can't be undone.".to_owned()),
                    Deed::TestWebhook => said.push("A message of the type webhook.test is sent at once.".to_owned()),
                    Deed::DeliverTo(false) => {
                        said.push("What happens meanwhile is delivered when it is resumed.".to_owned());
                    }
                    Deed::DeliverTo(true) => {
                        said.push(format!("It goes on at entry {}, {} behind.", hook.next_index, hook.behind));
                    }
                    Deed::PassOver(index) if index > hook.next_index => said.push(format!(
                        "Entries {} to {} are not delivered any more.",
                        hook.next_index,
                        index.saturating_sub(1)
                    )),
                    Deed::PassOver(index) => said.push(format!(
                        "It is at entry {}: what was delivered from {index} on is delivered again.",
                        hook.next_index
                    )),
                    _ => {}
                }
            }
            (Deed::SetQuota(limits), Some(Base::Quota(quota))) => {
                let (now, used) = (&quota.limits, &quota.used);
                for (what, limit, now, used) in [
                    ("octets", limits.bytes, now.bytes, used.bytes),
                    ("versions", limits.versions, now.versions, used.versions),
                    ("models", limits.models, now.models, used.models),
                ] {
                    let number = |count| if what == "octets" { bytes(count) } else { grouped(count) };
                    let words = |limit: Option<u64>| limit.map_or("no limit".to_owned(), number);
                    if limit != now {
                        said.push(format!("{what}: {} -> {}; used: {}.", words(now), words(limit), number(used)));
                    }
                }
            }
            (Deed::ClearQuota, Some(Base::Quota(_))) => said.push("The daemon's default holds again.".to_owned()),
            (Deed::SetRule(rule), _) => {
                let does = match rule.action {
                    RetentionAction::Delete => "deletes, restorably,",
                    RetentionAction::Purge => "removes for good what was deleted",
                };
                said.push(format!("It {does} in {}, by the clock; a rule of this name is replaced.", rule.pattern));
                said.push(
                    "It does nothing before its first run: get preview NAME shows what it would take.".to_owned(),
                );
            }
            (Deed::RunRule, Some(Base::Rule(info))) => {
                said.extend(info.rule.action.known().map(|action| match action {
                    RetentionAction::Delete => format!("Versions in {} are deleted, restorably.", info.rule.pattern),
                    RetentionAction::Purge => format!("Versions in {} are removed for good.", info.rule.pattern),
                }));
                said.push(format!("get preview {} shows which.", info.name));
            }
            (Deed::Delete, Some(Base::Rule(_))) => said.push("It takes nothing more.".to_owned()),
            _ => {}
        }
        said
    }

    /// How the thing differs now from what it was, in what this deed is about and what a person would want to know.
    pub fn differences(before: &Base, now: &Base) -> Vec<String> {
        let mut said = Vec::new();
        let mut tell = |what: &str, before: String, now: String| {
            if before != now {
                said.push(format!("{what}: {before} -> {now}"));
            }
        };
        match (before, now) {
            (Base::Model(before), Base::Model(now)) => {
                let (before, now) = (&before.model, &now.model);
                let aliases = |row: &common::api::ModelRow| {
                    let all: Vec<String> =
                        row.aliases.iter().map(|held| format!("{}=v{}", held.alias, held.version)).collect();
                    all.join(" ")
                };
                let tags = |row: &common::api::ModelRow| {
                    let all: Vec<String> = row.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    all.join(" ")
                };
                tell("state", before.state.as_str().to_owned(), now.state.as_str().to_owned());
                tell("aliases", aliases(before), aliases(now));
                tell("versions", before.versions.to_string(), now.versions.to_string());
                tell("owner", before.owner.clone(), now.owner.clone());
                tell("tags", tags(before), tags(now));
                tell("description", before.description.clone(), now.description.clone());
            }
            (Base::Version(before), Base::Version(now)) => {
                let aliases =
                    |version: &VersionInfo| version.aliases.iter().map(Alias::as_str).collect::<Vec<_>>().join(" ");
                tell("state", before.state.as_str().to_owned(), now.state.as_str().to_owned());
                tell("aliases", aliases(before), aliases(now));
                tell("description", before.description.clone(), now.description.clone());
            }
            (Base::User(before), Base::User(now)) => {
                tell("role", before.role.to_string(), now.role.to_string());
                tell("grants", grants_in_words(&before.grants), grants_in_words(&now.grants));
                tell("locked", before.disabled.to_string(), now.disabled.to_string());
                tell("sessions", before.sessions.to_string(), now.sessions.to_string());
            }
            _ => {}
        }
        said
    }
}

/// `team/*:contributor, *:none`, or that there are none.
pub fn grants_in_words<G: fmt::Display>(grants: &[G]) -> String {
    if grants.is_empty() {
        return "no grants".to_owned();
    }
    grants.iter().map(G::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a model or version is not deleted, as far as that is known.
fn is_there(state: &Known<VersionState>) -> bool {
    state.known().is_some_and(|state| state != VersionState::Deleted)
}

fn are_granted(user: &User, grants: &[Grant]) -> bool {
    let now: Option<Vec<Grant>> = user.grants.iter().map(GrantTold::known).collect();
    now.is_some_and(|now| now == grants)
}

fn is_blocked(info: &VersionInfo) -> bool {
    let blocked = |review: &common::api::Review| review.decision == common::api::Decision::Blocked;
    info.state == VersionState::Quarantined && info.review.as_ref().is_some_and(blocked)
}

/// Whether an item of the drop folder in this state is tried again by hand.
pub fn can_be_retried(state: &Known<IngestState>) -> bool {
    matches!(state.known(), Some(IngestState::Failed | IngestState::Rejected))
}

/// Whether an item of the drop folder in this state can be given up.
pub fn can_be_discarded(state: &Known<IngestState>) -> bool {
    use IngestState::{Failed, Rejected, Seen, Waiting};
    matches!(state.known(), Some(Seen | Waiting | Failed | Rejected))
}

/// `1 version is`, `4 versions are`.
fn are(count: u64, one: &str) -> String {
    format!("{} {}", counted(count, one), if count == 1 { "is" } else { "are" })
}

/// `1 session ends`, `4 sessions end`.
fn end(count: u64) -> String {
    ends(count, "session")
}

/// The same of anything.
fn ends(count: u64, one: &str) -> String {
    format!("{} {}", counted(count, one), if count == 1 { "ends" } else { "end" })
}

/// What inspection has against a version, in a sentence.
fn distrust(info: &VersionInfo) -> Option<String> {
    let inspection = info.inspection.as_ref()?;
    let gravest = info.findings.first().map(|finding| format!(", {}", finding.rule)).unwrap_or_default();
    Some(format!("Verdict {}, {}{gravest}.", inspection.verdict, counted(inspection.findings_total, "finding")))
}
