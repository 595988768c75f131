//! What the signed-in user may do now, and the words for what not. Three answers: allowed; not allowed, with the reason;
//! not now, because of what the thing is or how the console stands. Truth is the daemon's answer to "who am I"; names of
//! roles are only ever shown. Nothing here is sent or painted.

use common::api::State as VersionState;
use common::grant::{Grant, GrantTold, allowed_by, allowed_somewhere};
use common::known::{Known, Word};
use common::name::ModelName;
use common::role::{Permission, Role};

use crate::keymap::{Binding, Command};
use crate::state::deeds::{Change, Deed, Object, can_be_discarded, can_be_retried};
use crate::state::{Screen, State, Who};

/// Whether something can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Allowed,
    /// This user may not.
    NotAllowed(String),
    /// It can't be done as things stand.
    NotNow(String),
}

impl Access {
    /// Why it can't be done; none if it can.
    pub fn refusal(self) -> Option<String> {
        match self {
            Self::Allowed => None,
            Self::NotAllowed(why) | Self::NotNow(why) => Some(why),
        }
    }
}

/// Why this user may not; none if they may, or if nobody is signed in yet.
pub fn refusal(who: Option<&Who>, permission: Option<Permission>) -> Option<String> {
    let (who, permission) = (who?, permission?);
    // For which models a grant gives it, `refusal_on` says.
    if who.has(permission) || allowed_somewhere(None, &known(&who.grants), permission) {
        return None;
    }
    let of_role = who.role.known().is_some_and(|role| role.allows(permission));
    if let Some(label) = who.api_token.as_ref().filter(|_| of_role) {
        return Some(format!(
            "the scope of the API token {label} lacks {permission}: add-token --permissions makes one with it, or sign in"
        ));
    }
    let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| role.allows(permission)).map(Role::as_str).collect();
    let strange = strange(&who.grants, |_| permission.is_of_models());
    Some(format!("needs {permission} ({}); you are {}{strange}", roles.join(" or "), who.role))
}

/// The grants of which nothing is unknown: by the others nothing is decided here.
fn known(grants: &[GrantTold]) -> Vec<Grant> {
    grants.iter().filter_map(GrantTold::known).collect()
}

/// That a grant which might give it is not understood here; nothing where there is none.
fn strange(grants: &[GrantTold], fits: impl Fn(&GrantTold) -> bool) -> String {
    let grant = grants.iter().find(|grant| grant.known().is_none() && fits(grant));
    grant.map_or_else(String::new, |grant| format!("; what {grant} gives isn't known to this mreg"))
}

/// Why what depends on a state, or on another such word, can't be done: a newer daemon has more of them. None where the word is
/// known.
pub fn unknown<T: Word>(what: &str, word: &Known<T>) -> Option<String> {
    word.known().is_none().then(|| format!("{what} `{word}` isn't known to this mreg"))
}

/// Why this user may not do it to the model of a name; none if they may, or if nobody is signed in yet.
pub fn refusal_on(who: Option<&Who>, permission: Option<Permission>, name: &str) -> Option<String> {
    if let Some(why) = refusal(who, permission) {
        return Some(why);
    }
    let (who, permission) = (who?, permission.filter(|permission| permission.is_of_models())?);
    // What is no name is a reference that the daemon must read.
    let name: ModelName = name.parse().ok()?;
    if who.grants.is_empty() || allowed_by(who.has(permission), &known(&who.grants), permission, &name) {
        return None;
    }
    let strange = strange(&who.grants, |grant| grant.pattern.matches(&name));
    Some(format!("needs {permission} for {name}; your role and grants don't give it there{strange}"))
}

/// Why this user may not make a change to the thing it is about.
pub fn refusal_of(who: Option<&Who>, change: &Change) -> Option<String> {
    match &change.object {
        Object::Model { name, .. } if is_protected(who, change) => {
            let why = refusal_on(who, Some(Permission::ProtectedAlias), name);
            why.map(|why| format!("it is a protected alias: {why}"))
                .or_else(|| refusal_on(who, Some(change.permission()), name))
        }
        Object::Model { name, .. } | Object::Version { name, .. } => refusal_on(who, Some(change.permission()), name),
        Object::User(_)
        | Object::Token { .. }
        | Object::Item { .. }
        | Object::Intake
        | Object::Webhook(_)
        | Object::Quota { .. }
        | Object::Rule(_) => refusal(who, Some(change.permission())),
    }
}

/// Whether it moves an alias that takes a permission of its own.
fn is_protected(who: Option<&Who>, change: &Change) -> bool {
    match &change.deed {
        Deed::Alias { alias, .. } => who.is_some_and(|who| who.protected_aliases.contains(alias)),
        _ => false,
    }
}

/// The names of the models that a command on this screen would be about.
fn models_meant(state: &State, command: Command) -> Vec<String> {
    let one = |name: Option<String>| name.into_iter().collect();
    match (state.screen, &state.models.open) {
        // These are about no model that is there.
        _ if matches!(command, Command::Upload | Command::Undo | Command::Export) => Vec::new(),
        (Screen::Models, None) if !state.models.marks.is_empty() => state.models.marks.values().cloned().collect(),
        (Screen::Models, None) => one(state.models.list.selected().map(|row| row.name.to_string())),
        (Screen::Models, Some(open)) => one(open.versions.selected().map(|version| version.name.to_string())),
        (Screen::Quarantine, _) if !state.quarantine.marks.objects.is_empty() && command != Command::Note => {
            let names = state.quarantine.marks.objects.values().filter_map(|object| match object {
                Object::Version { name, .. } => Some(name.clone()),
                _ => None,
            });
            names.collect()
        }
        (Screen::Quarantine, _) => one(state.quarantine.list.selected().map(|item| item.name.to_string())),
        (Screen::Audit | Screen::Queue | Screen::Users | Screen::Health, _) => Vec::new(),
    }
}

/// Whether something that takes this permission can be sent; `changes` if it changes something.
pub fn may(state: &State, permission: Option<Permission>, changes: bool) -> Access {
    if let Some(why) = refusal(state.who.as_ref(), permission) {
        return Access::NotAllowed(why);
    }
    if changes && state.settings.readonly {
        return Access::NotNow("this profile is read-only".to_owned());
    }
    if changes && state.offline {
        return Access::NotNow(format!("the daemon is not reached; {} tries again", state.key_or("C-r", "refresh")));
    }
    Access::Allowed
}

/// Whether a command can be given, with the thing that is selected.
pub fn access(state: &State, binding: &Binding) -> Access {
    match may(state, binding.permission, binding.command.changes()) {
        Access::Allowed => {
            let meant = models_meant(state, binding.command);
            let refusals = || meant.iter().filter_map(|name| refusal_on(state.who.as_ref(), binding.permission, name));
            // Of several those are left out that it may not be done to.
            match (refusals().next(), not_fitting(state, binding.command)) {
                (Some(why), _) if refusals().count() == meant.len() => Access::NotAllowed(why),
                (_, Some(why)) => Access::NotNow(why),
                (_, None) => Access::Allowed,
            }
        }
        refused => refused,
    }
}

/// Whether the list that is shown has a selected row.
fn has_row(state: &State) -> bool {
    match (state.screen, &state.models.open) {
        (Screen::Models, Some(open)) => open.compared.is_some() || open.versions.selected().is_some(),
        (Screen::Models, None) => state.models.list.selected().is_some(),
        (Screen::Audit, _) => state.audit.list.selected().is_some(),
        (Screen::Queue, _) => state.queue.list.selected().is_some(),
        (Screen::Quarantine, _) => state.quarantine.list.selected().is_some(),
        (Screen::Users, _) => state.users.list.selected().is_some(),
        (Screen::Health, _) => true,
    }
}

/// Why a command doesn't fit what is selected.
fn not_fitting(state: &State, command: Command) -> Option<String> {
    let nothing = || Some("nothing is selected".to_owned());
    let is_of_row = matches!(
        command,
        Command::In
            | Command::Mark
            | Command::MarkRange
            | Command::Export
            | Command::SameActor
            | Command::OpenTarget
            | Command::EntriesOf
            | Command::NextFinding
            | Command::LastFinding
    );
    if is_of_row && !has_row(state) {
        return match command {
            Command::Export => Some("there is nothing in this list".to_owned()),
            _ => nothing(),
        };
    }
    if command == Command::Undo {
        return state.changes.undo.is_none().then(|| "there is nothing to undo".to_owned());
    }
    match (state.screen, command) {
        (Screen::Queue, Command::Pause) => {
            return state.queue.intake.is_none().then(|| "no drop folder is set".to_owned());
        }
        (Screen::Queue, Command::OpenTarget) => {
            let Some(item) = state.queue.list.selected() else { return nothing() };
            let has_come = item.model.is_some() && item.version.is_some();
            return (!has_come).then(|| format!("{} has not come to a version", item.path));
        }
        // Of those that are marked, those are left out that it does not fit.
        (Screen::Queue, Command::Retry | Command::Discard) if !state.queue.marks.objects.is_empty() => return None,
        (Screen::Queue, Command::Retry | Command::Discard) => {
            let Some(item) = state.queue.list.selected() else { return nothing() };
            let can = if command == Command::Retry { can_be_retried } else { can_be_discarded };
            let (path, word) = (&item.path, item.state.as_str());
            return unknown("state", &item.state).or_else(|| (!can(&item.state)).then(|| format!("{path} is {word}")));
        }
        (Screen::Quarantine, Command::Note) if state.quarantine.list.selected().is_none() => return nothing(),
        (Screen::Quarantine, Command::Release | Command::Block | Command::Rescan) => {
            if state.quarantine.list.selected().is_none() {
                return nothing();
            }
            let is_done = command == Command::Block && state.quarantine.blocked;
            return is_done.then(|| "it is blocked for good already".to_owned());
        }
        _ => {}
    }
    let is_object = matches!(
        command,
        Command::Delete
            | Command::Restore
            | Command::Deprecate
            | Command::PointAlias
            | Command::Edit
            | Command::Compare
            | Command::Role
            | Command::Grants
            | Command::Lock
            | Command::OneTimePassword
            | Command::Sessions
            | Command::ResetTotp
            | Command::Tokens
            | Command::Download
    );
    if !is_object {
        return None;
    }
    match (state.screen, &state.models.open) {
        (Screen::Models, None) if !state.models.marks.is_empty() => None,
        (Screen::Models, None) => {
            let Some(row) = state.models.list.selected() else { return nothing() };
            let is_deleted = row.state == VersionState::Deleted;
            match command {
                Command::Restore | Command::Delete | Command::Edit | Command::PointAlias | Command::Download
                    if row.state.known().is_none() =>
                {
                    unknown("state", &row.state)
                }
                Command::Restore if !is_deleted => Some(format!("{} is not deleted", row.name)),
                Command::Delete | Command::Edit | Command::PointAlias if is_deleted => {
                    Some(format!("{} is deleted; {} restores it", row.name, state.key_or("U", "restore")))
                }
                _ => None,
            }
        }
        (Screen::Models, Some(open)) => {
            let Some(version) = open.versions.selected() else { return nothing() };
            let name = format!("{} v{}", version.name, version.version);
            let depends = matches!(
                command,
                Command::Restore | Command::Delete | Command::PointAlias | Command::Deprecate | Command::Download
            );
            let Some(now) = version.state.known() else { return unknown("state", &version.state).filter(|_| depends) };
            match (command, now) {
                (Command::Restore, state) if state != VersionState::Deleted => Some(format!("{name} is not deleted")),
                (Command::Delete | Command::PointAlias | Command::Deprecate, VersionState::Deleted) => {
                    Some(format!("{name} is deleted; {} restores it", state.key_or("U", "restore")))
                }
                (Command::Deprecate, VersionState::Deprecated) => Some(format!("{name} is deprecated already")),
                (Command::Download, VersionState::Quarantined) => {
                    Some(format!("{name} is held in quarantine: its bytes are not handed out"))
                }
                _ => None,
            }
        }
        (Screen::Users, _) if state.users.list.selected().is_none() => nothing(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::grant::Grant;
    use common::known::Known;
    use common::name::Version;
    use common::role::{Permission, Role};

    use super::{Access, may, refusal_of, refusal_on};
    use crate::event::Size;
    use crate::state::deeds::{Change, Deed, Object};
    use crate::state::{Settings, State, Who};

    fn state(role: Role) -> State {
        let mut state = State::new(Settings::default(), Size { width: 80, height: 24 });
        let permissions = role.permissions().iter().copied().map(Known::from).collect();
        state.who = Some(Who {
            id: String::new(),
            username: "bob".into(),
            role: role.into(),
            permissions,
            grants: Vec::new(),
            api_token: None,
            protected_aliases: vec!["prod".parse().unwrap()],
        });
        state
    }

    /// What a grant gives or takes shows where the name is known, and only there.
    #[test]
    fn by_name() {
        let mut viewer = state(Role::Viewer);
        let who = viewer.who.as_mut().unwrap();
        let grants = ["team/*:admin", "team/x:deny", "old/*:none"];
        who.grants = grants.map(|text| text.parse::<Grant>().unwrap().into()).to_vec();
        assert_eq!(may(&viewer, Some(Permission::ModelDelete), true), Access::Allowed);
        assert!(matches!(may(&viewer, Some(Permission::UserManage), true), Access::NotAllowed(_)));
        let on = |permission, name: &str| refusal_on(viewer.who.as_ref(), Some(permission), name);
        assert_eq!(on(Permission::ModelDelete, "team/m"), None);
        assert!(on(Permission::ModelDelete, "m").unwrap().contains("model.delete for m"));
        assert!(on(Permission::ModelRead, "team/x").is_some() && on(Permission::ModelRead, "old/m").is_some());
        assert_eq!(on(Permission::ModelRead, "m"), None);
        let version = |name: &str| Object::Version { id: String::new(), name: name.into(), version: Version::FIRST };
        let change = |name: &str| Change::new(version(name), Deed::Rescan);
        assert!(refusal_of(viewer.who.as_ref(), &change("team/m")).is_none());
        assert!(refusal_of(viewer.who.as_ref(), &change("m")).is_some());
    }

    /// A protected alias takes a permission of its own, there already or not.
    #[test]
    fn protected_aliases() {
        let point = |alias: &str| {
            let object = Object::Model { id: String::new(), name: "team/m".into() };
            Change::new(object, Deed::Alias { alias: alias.parse().unwrap(), to: Some(Version::FIRST) })
        };
        let contributor = state(Role::Contributor);
        let why = refusal_of(contributor.who.as_ref(), &point("prod")).unwrap();
        assert_eq!(why, "it is a protected alias: needs alias.protected (admin); you are contributor");
        assert_eq!(refusal_of(contributor.who.as_ref(), &point("stage")), None);
        assert_eq!(refusal_of(state(Role::Admin).who.as_ref(), &point("prod")), None);
        let mut granted = state(Role::Viewer);
        granted.who.as_mut().unwrap().grants = vec!["team/*:admin".parse::<Grant>().unwrap().into()];
        assert_eq!(refusal_of(granted.who.as_ref(), &point("prod")), None);
    }

    /// The three answers: may, may not with the role that could, not now with the reason.
    #[test]
    fn three_answers() {
        let mut viewer = state(Role::Viewer);
        assert_eq!(may(&viewer, Some(Permission::ModelRead), false), Access::Allowed);
        let Access::NotAllowed(why) = may(&viewer, Some(Permission::ModelDelete), true) else {
            panic!("a viewer may not delete")
        };
        assert_eq!(why, "needs model.delete (admin); you are viewer");
        viewer.offline = true;
        assert!(matches!(may(&viewer, Some(Permission::ModelDelete), true), Access::NotAllowed(_)));
        let mut admin = state(Role::Admin);
        admin.settings.readonly = true;
        assert!(
            matches!(may(&admin, Some(Permission::ModelDelete), true), Access::NotNow(why) if why.contains("read-only"))
        );
        assert_eq!(may(&admin, Some(Permission::ModelRead), false), Access::Allowed);
        admin.settings.readonly = false;
        admin.offline = true;
        assert!(matches!(may(&admin, Some(Permission::ModelDelete), true), Access::NotNow(_)));
    }
    /// Permissions, roles and grants of a newer daemon allow nothing here, whatever they mean there; the reason names them.
    #[test]
    fn what_is_not_known_allows_nothing() {
        let mut state = state(Role::Viewer);
        let who = state.who.as_mut().unwrap();
        who.role = Known::Other("curator".into());
        who.permissions.push(Known::Other("model.dream".into()));
        let grant = |value| serde_json::from_value(value).unwrap();
        who.grants = vec![
            grant(serde_json::json!({"pattern": "team/*", "role": "curator"})),
            grant(serde_json::json!({"pattern": "old/*", "role": "admin", "until": "2027-01-01"})),
            grant(serde_json::json!({"pattern": "own/*", "role": "contributor"})),
        ];
        let on = |permission, name: &str| refusal_on(state.who.as_ref(), Some(permission), name);
        assert_eq!(on(Permission::ModelRead, "team/m"), None, "the daemon said that it may be read");
        assert_eq!(on(Permission::ModelWrite, "own/m"), None, "what is known counts, beside what isn't");
        let why = on(Permission::ModelWrite, "team/m").unwrap();
        assert!(
            why.ends_with("give it there; what team/*:\"curator\" (unknown role) gives isn't known to this mreg"),
            "{why}"
        );
        assert!(on(Permission::ModelWrite, "x/m").unwrap().ends_with("don't give it there"));
        let why = on(Permission::ModelDelete, "old/m").unwrap();
        assert!(
            why.contains("needs model.delete (admin); you are curator; what team/*:\"curator\" (unknown role) gives"),
            "{why}"
        );
        assert!(on(Permission::UserManage, "old/m").unwrap().ends_with("you are curator"));
    }
}
