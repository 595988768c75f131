//! Grants: what a user may do with models by their names, beside the role. [`allowed`] is the whole rule, for the daemon that
//! decides and for the console that shows what would be decided. Who has which grants is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::known::Known;
use crate::name::ModelName;
use crate::pattern::NamePattern;
use crate::role::{Permission, Role};

/// Grants that a user can have.
pub const GRANTS_MAX: usize = 64;

/// The word for a grant that takes the user's own role away.
const NONE: &str = "none";
/// The word for a grant that denies everything.
const DENY: &str = "deny";

/// What a user may do with the models whose names fit a pattern. As text it is `team-nlp/*:contributor`, `*:none` or
/// `secret/*:deny`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "GrantBody", into = "GrantBody")]
pub struct Grant {
    /// Which names.
    pub pattern: NamePattern,
    /// What holds there.
    pub effect: Effect,
}

/// What a grant does where it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// What this role may do with models may be done here, too.
    Role(Role),
    /// The user's own role counts for nothing here; other grants do.
    NoRole,
    /// Nothing may be done here, whatever else fits: nothing here is even seen.
    Deny,
}

impl Effect {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role(role) => role.as_str(),
            Self::NoRole => NONE,
            Self::Deny => DENY,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Effect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            NONE => Ok(Self::NoRole),
            DENY => Ok(Self::Deny),
            role => role.parse().map(Self::Role).map_err(|_unknown: String| {
                format!("{role:?} is none of viewer, contributor, auditor, admin, none, deny")
            }),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pattern, self.effect)
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, effect) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?} is not PATTERN:ROLE, such as `team-nlp/*:contributor`"))?;
        let pattern = pattern.trim();
        let named = |why: String| format!("{pattern:?}: {why}");
        Ok(Self { pattern: pattern.parse().map_err(named)?, effect: effect.trim().parse()? })
    }
}

/// A grant in a body: `{"pattern": "team-nlp/*", "role": "contributor"}` or `{"pattern": "secret/*", "deny": true}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Grant)]
pub struct GrantBody {
    /// The names it is about; `*` stands for any characters, slashes too. Case doesn't matter.
    #[schema(value_type = String, max_length = 255, pattern = r"^[A-Za-z0-9._/*-]+$")]
    pattern: NamePattern,
    /// What this role may do with models may be done with these, too; `none`: the user's own role counts for nothing with
    /// these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<GrantedRole>,
    /// Whether nothing may be done with these, whatever other grants say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deny: bool,
}

/// A role, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum GrantedRole {
    /// The user's own role counts for nothing.
    None,
    /// As [`Role::Viewer`].
    Viewer,
    /// As [`Role::Contributor`].
    Contributor,
    /// As [`Role::Auditor`].
    Auditor,
    /// As [`Role::Admin`].
    Admin,
}

impl TryFrom<GrantBody> for Grant {
    type Error = String;

    fn try_from(body: GrantBody) -> Result<Self, String> {
        let effect = match (body.role, body.deny) {
            (None, true) => Effect::Deny,
            (Some(GrantedRole::None), false) => Effect::NoRole,
            (Some(GrantedRole::Viewer), false) => Effect::Role(Role::Viewer),
            (Some(GrantedRole::Contributor), false) => Effect::Role(Role::Contributor),
            (Some(GrantedRole::Auditor), false) => Effect::Role(Role::Auditor),
            (Some(GrantedRole::Admin), false) => Effect::Role(Role::Admin),
            (None, false) | (Some(_), true) => {
                return Err("a grant has either a `role`, which may be `none`, or `\"deny\": true`".to_owned());
            }
        };
        Ok(Self { pattern: body.pattern, effect })
    }
}

impl From<Grant> for GrantBody {
    fn from(grant: Grant) -> Self {
        let role = match grant.effect {
            Effect::Role(Role::Viewer) => Some(GrantedRole::Viewer),
            Effect::Role(Role::Contributor) => Some(GrantedRole::Contributor),
            Effect::Role(Role::Auditor) => Some(GrantedRole::Auditor),
            Effect::Role(Role::Admin) => Some(GrantedRole::Admin),
            Effect::NoRole => Some(GrantedRole::None),
            Effect::Deny => None,
        };
        Self { pattern: grant.pattern, role, deny: grant.effect == Effect::Deny }
    }
}

/// A [`Grant`] in an answer, of a daemon that may know of more roles and of grants that say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ToldBody", into = "ToldBody")]
pub struct GrantTold {
    /// Which names.
    pub pattern: NamePattern,
    /// What holds there.
    pub effect: Known<Effect>,
    /// What it says besides, which is not known here: a condition, or an end.
    more: BTreeMap<String, Value>,
}

impl GrantTold {
    /// The grant; none where something of it is not known.
    pub fn known(&self) -> Option<Grant> {
        let effect = self.effect.known().filter(|_| self.more.is_empty())?;
        Some(Grant { pattern: self.pattern.clone(), effect })
    }
}

impl From<Grant> for GrantTold {
    fn from(grant: Grant) -> Self {
        Self { pattern: grant.pattern, effect: grant.effect.into(), more: BTreeMap::new() }
    }
}

/// No [`Grant`] reads as one that is not known, whatever its role is called: a role named `deny` is no denial.
impl fmt::Display for GrantTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = &self.pattern;
        match (&self.effect, self.more.is_empty()) {
            (Known::Known(effect), true) => write!(f, "{pattern}:{effect}"),
            (Known::Known(effect), false) => write!(f, "{pattern}:{effect} (and more)"),
            (Known::Other(word), true) => write!(f, "{pattern}:\"{word}\" (unknown role)"),
            (Known::Other(word), false) => write!(f, "{pattern}:\"{word}\" (unknown role, and more)"),
        }
    }
}

/// [`GrantBody`], and what else there may be.
#[derive(Serialize, Deserialize)]
struct ToldBody {
    pattern: NamePattern,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Known<Role>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deny: bool,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

impl TryFrom<ToldBody> for GrantTold {
    type Error = &'static str;

    fn try_from(body: ToldBody) -> Result<Self, &'static str> {
        let effect = match (body.role, body.deny) {
            (None, true) => Effect::Deny.into(),
            (Some(Known::Known(role)), false) => Effect::Role(role).into(),
            (Some(Known::Other(word)), false) if *word == *NONE => Effect::NoRole.into(),
            (Some(Known::Other(word)), false) => Known::Other(word),
            (None, false) | (Some(_), true) => return Err("a grant has either a `role` or `\"deny\": true`"),
        };
        Ok(Self { pattern: body.pattern, effect, more: body.more })
    }
}

impl From<GrantTold> for ToldBody {
    fn from(grant: GrantTold) -> Self {
        let role = match grant.effect {
            Known::Known(Effect::Role(role)) => Some(role.into()),
            Known::Known(Effect::NoRole) => Some(Known::Other(NONE.into())),
            Known::Known(Effect::Deny) => None,
            Known::Other(word) => Some(Known::Other(word)),
        };
        Self { pattern: grant.pattern, deny: role.is_none(), role, more: grant.more }
    }
}

/// Whether a user with this role and these grants may do something to the models of a name. The order of the grants doesn't
/// matter, nor which pattern is longer:
///
/// 1. What is not about models (users, the audit log, the drop folder) is the role's alone to allow, and no grant's.
/// 2. A grant that fits and denies is the end of it: nothing is allowed.
/// 3. Else it is allowed by any grant that fits and whose role allows it,
/// 4. or by the user's own role, unless a grant that fits says that there is none.
///
/// So `team-nlp/*:contributor` lets a viewer publish there; `*:none` with `team-nlp/*:contributor` leaves nothing but that;
/// `prod/*:none` with `prod/*:viewer` makes a contributor a viewer there; `secret/*:deny` hides what lies there from anybody.
pub fn allowed(role: Option<Role>, grants: &[Grant], permission: Permission, name: &ModelName) -> bool {
    allowed_by(role.is_some_and(|role| role.allows(permission)), grants, permission, name)
}

/// The same, where it is known whether the user's own role allows it.
pub fn allowed_by(mut own: bool, grants: &[Grant], permission: Permission, name: &ModelName) -> bool {
    if !permission.is_of_models() {
        return own;
    }
    if grants.is_empty() {
        return own;
    }
    let folded = name.folded();
    let mut granted = false;
    for grant in grants.iter().filter(|grant| grant.pattern.matches_folded(&folded)) {
        match grant.effect {
            Effect::Deny => return false,
            Effect::NoRole => own = false,
            Effect::Role(role) => granted |= role.allows(permission),
        }
    }
    own || granted
}

/// Whether it may be allowed for some name: what can be said before a name is known. It may turn out that it is for none.
pub fn allowed_somewhere(role: Option<Role>, grants: &[Grant], permission: Permission) -> bool {
    let own = role.is_some_and(|role| role.allows(permission));
    own || permission.is_of_models()
        && grants.iter().any(|grant| matches!(grant.effect, Effect::Role(role) if role.allows(permission)))
}

/// Whether it is allowed for every name.
pub fn allowed_everywhere(role: Option<Role>, grants: &[Grant], permission: Permission) -> bool {
    let narrows = |grant: &Grant| matches!(grant.effect, Effect::NoRole | Effect::Deny);
    let own = role.is_some_and(|role| role.allows(permission));
    own && (!permission.is_of_models() || !grants.iter().any(narrows))
}

/// Beginnings of names, folded: outside of them nothing is allowed, whatever the permission. In the order of names, none
/// within another; none at all where that can't be said.
pub fn within(grants: &[Grant]) -> Option<Vec<String>> {
    grants.iter().find(|grant| grant.effect == Effect::NoRole && grant.pattern.is_all())?;
    let granted = grants.iter().filter(|grant| matches!(grant.effect, Effect::Role(_)));
    beginnings(granted.map(|grant| &grant.pattern))
}

/// What the names that fit one of these begin with, folded, in the order of names and none within another; none where they
/// may begin with anything.
pub fn beginnings<'p>(patterns: impl Iterator<Item = &'p NamePattern>) -> Option<Vec<String>> {
    let mut heads: Vec<String> = patterns.map(|pattern| pattern.head().to_owned()).collect();
    heads.sort_unstable();
    heads.dedup_by(|one, before| one.starts_with(before.as_str()));
    (!heads.iter().any(String::is_empty)).then_some(heads)
}

/// What is wrong with a list of grants, each with its place in it.
///
/// # Errors
/// The places and what to do.
pub fn check(grants: &[Grant]) -> Result<(), Vec<(usize, String)>> {
    if grants.len() > GRANTS_MAX {
        let what =
            format!("is one too many: a user has at most {GRANTS_MAX} grants; let one pattern stand for several");
        return Err(vec![(GRANTS_MAX, what)]);
    }
    let mut wrong = Vec::new();
    for (place, grant) in grants.iter().enumerate() {
        let is_same = |other: &Grant| other.effect == grant.effect && other.pattern.is_same(&grant.pattern);
        if grants.iter().take(place).any(is_same) {
            wrong.push((place, format!("`{grant}` comes twice")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests;
