//! Tests of the rule: case by case, and against what it says in words.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use serde_json::json;

use super::{Effect, GRANTS_MAX, Grant, GrantTold, allowed, allowed_everywhere, allowed_somewhere, check, within};
use crate::name::ModelName;
use crate::role::{Permission, Role};

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What people grant, and what comes of it.
#[test]
fn cases() {
    use Permission::{AuditRead, ModelDelete, ModelRead, ModelWrite, QuarantineRead, UserManage};
    for (role, given, permission, name, is) in [
        (Role::Viewer, &[][..], ModelRead, "a/m", true),
        (Role::Viewer, &["team/*:contributor"], ModelWrite, "Team/m", true),
        (Role::Viewer, &["TEAM/*:contributor"], ModelWrite, "team/m", true),
        (Role::Viewer, &["team/*:contributor"], ModelWrite, "other/m", false),
        (Role::Viewer, &["team/*:contributor"], ModelRead, "other/m", true),
        // Nothing but one folder.
        (Role::Viewer, &["*:none", "team/*:contributor"], ModelRead, "other/m", false),
        (Role::Viewer, &["*:none", "team/*:contributor"], ModelRead, "team/m", true),
        // Less in one folder.
        (Role::Contributor, &["prod/*:none", "prod/*:viewer"], ModelWrite, "prod/m", false),
        (Role::Contributor, &["prod/*:none", "prod/*:viewer"], ModelRead, "prod/m", true),
        (Role::Contributor, &["prod/*:none", "prod/*:viewer"], ModelWrite, "dev/m", true),
        // Deny wins, however general or special, first or last.
        (Role::Admin, &["secret/*:deny"], ModelRead, "secret/m", false),
        (Role::Admin, &["secret/m:admin", "secret/*:deny"], ModelRead, "secret/m", false),
        (Role::Viewer, &["*:deny", "team/m:admin"], ModelRead, "team/m", false),
        // What two grants allow is added up.
        (Role::Viewer, &["t/*:auditor", "*-x:contributor"], QuarantineRead, "t/m-x", true),
        (Role::Viewer, &["t/*:auditor", "*-x:contributor"], ModelWrite, "t/m-x", true),
        (Role::Viewer, &["t/*:auditor", "*-x:contributor"], ModelDelete, "t/m-x", false),
        // Nothing but models.
        (Role::Viewer, &["*:admin"], ModelDelete, "m", true),
        (Role::Viewer, &["*:admin"], UserManage, "m", false),
        (Role::Viewer, &["*:admin"], AuditRead, "m", false),
        (Role::Auditor, &["*:deny"], AuditRead, "m", true),
    ] {
        let name: ModelName = name.parse().unwrap();
        assert_eq!(allowed(Some(role), &grants(given), permission, &name), is, "{role} {given:?} {permission} {name}");
    }
    assert!(!allowed(None, &grants(&["*:deny"]), ModelRead, &"m".parse().unwrap()));
}

/// Where nothing can be, as far as patterns tell.
#[test]
fn beginnings_of_names() {
    let of = |texts: &[&str]| within(&grants(texts));
    assert_eq!(of(&["team/*:viewer"]), None);
    assert_eq!(of(&["*:none", "*-x:viewer"]), None);
    assert_eq!(of(&["*:none"]), Some(Vec::new()));
    assert_eq!(of(&["**:none", "B/*:viewer", "a/m:admin", "b/c*:viewer"]), Some(vec!["a/m".into(), "b/".into()]));
}

/// The two forms of a grant, and what is none.
#[test]
fn forms() {
    for (text, json) in [
        ("team-nlp/*:contributor", r#"{"pattern":"team-nlp/*","role":"contributor"}"#),
        ("*:none", r#"{"pattern":"*","role":"none"}"#),
        ("secret/*:deny", r#"{"pattern":"secret/*","deny":true}"#),
    ] {
        let grant: Grant = text.parse().unwrap();
        assert_eq!(grant.to_string(), text);
        assert_eq!(serde_json::to_string(&grant).unwrap(), json);
        assert_eq!(serde_json::from_str::<Grant>(json).unwrap(), grant);
    }
    assert_eq!("a/* : viewer".parse::<Grant>().unwrap().to_string(), "a/*:viewer");
    for text in ["", "a", "a:", ":viewer", "a b:viewer", "a:root", "a:Viewer"] {
        assert!(text.parse::<Grant>().is_err(), "{text}");
    }
    for json in [
        r#"{"pattern":"a"}"#,
        r#"{"pattern":"a","deny":false}"#,
        r#"{"pattern":"a","role":"viewer","deny":true}"#,
        r#"{"pattern":"a b","role":"viewer"}"#,
        r#"{"pattern":"a","role":"root"}"#,
        r#"{"pattern":"a","role":"viewer","more":1}"#,
        r#"{"role":"viewer"}"#,
    ] {
        assert!(serde_json::from_str::<Grant>(json).is_err(), "{json}");
    }
}

/// A list has a limit, and nothing in it twice.
#[test]
fn lists() {
    let many: Vec<Grant> = (0..=GRANTS_MAX).map(|n| format!("m{n}:viewer").parse().unwrap()).collect();
    assert!(check(&many[..GRANTS_MAX]).is_ok());
    assert_eq!(check(&many).unwrap_err()[0].0, GRANTS_MAX);
    assert!(check(&grants(&["a/*:none", "a/*:viewer", "a/*:deny"])).is_ok());
    assert_eq!(check(&grants(&["a/*:none", "b:deny", "A/*:none"])).unwrap_err()[0].0, 2);
}

fn role() -> impl Strategy<Value = Option<Role>> {
    prop::option::of(prop::sample::select(Role::ALL.to_vec()))
}

fn permission() -> impl Strategy<Value = Permission> {
    prop::sample::select(Role::Admin.permissions().to_vec())
}

fn name() -> impl Strategy<Value = ModelName> {
    "[abA]{1,2}(/[abA]{1,2})?".prop_map(|name| name.parse().unwrap())
}

fn grant() -> impl Strategy<Value = Grant> {
    let effects = [
        Effect::NoRole,
        Effect::Deny,
        Effect::Role(Role::Viewer),
        Effect::Role(Role::Contributor),
        Effect::Role(Role::Auditor),
        Effect::Role(Role::Admin),
    ];
    ("[abA]{0,2}\\*?(/[abA]{0,2}\\*?)?", prop::sample::select(effects.to_vec()))
        .prop_filter_map("no pattern", |(pattern, effect)| Some(Grant { pattern: pattern.parse().ok()?, effect }))
}

fn list() -> impl Strategy<Value = Vec<Grant>> {
    prop::collection::vec(grant(), 0..6)
}

proptest! {
    /// The rule is what it says in words.
    #[test]
    fn as_said(role in role(), grants in list(), permission in permission(), name in name()) {
        let fitting: Vec<&Grant> = grants.iter().filter(|grant| grant.pattern.matches(&name)).collect();
        let own = role.is_some_and(|role| role.allows(permission));
        let has = |effect| fitting.iter().any(|grant| grant.effect == effect);
        let by_grant = Role::ALL.into_iter().any(|role| role.allows(permission) && has(Effect::Role(role)));
        let said = if permission.is_of_models() {
            !has(Effect::Deny) && (by_grant || own && !has(Effect::NoRole))
        } else {
            own
        };
        prop_assert_eq!(allowed(role, &grants, permission, &name), said);
    }

    /// Order and repetition change nothing; a denial more allows nothing more, a role more nothing less.
    #[test]
    fn predictable(role in role(), grants in list(), permission in permission(), name in name(), one in grant()) {
        let is = |grants: &[Grant]| allowed(role, grants, permission, &name);
        let mut turned = grants.clone();
        turned.reverse();
        prop_assert_eq!(is(&grants), is(&turned));
        let twice = [&grants[..], &grants[..]].concat();
        prop_assert_eq!(is(&grants), is(&twice));
        let more = [&grants[..], std::slice::from_ref(&one)].concat();
        match one.effect {
            Effect::Role(_) => prop_assert!(is(&more) || !is(&grants)),
            Effect::NoRole | Effect::Deny => prop_assert!(is(&grants) || !is(&more)),
        }
    }

    /// What is said of all names holds of each.
    #[test]
    fn bounds(role in role(), grants in list(), permission in permission(), name in name()) {
        let is = allowed(role, &grants, permission, &name);
        prop_assert!(!is || allowed_somewhere(role, &grants, permission));
        prop_assert!(is || !allowed_everywhere(role, &grants, permission));
        // Whatever may be done, it may be seen.
        prop_assert!(!is || !permission.is_of_models() || allowed(role, &grants, Permission::ModelRead, &name));
        if let (true, Some(heads)) = (is && permission.is_of_models(), within(&grants)) {
            prop_assert!(heads.iter().any(|head| name.folded().starts_with(head.as_str())));
            prop_assert!(heads.windows(2).all(|two| two[0] < two[1] && !two[1].starts_with(two[0].as_str())));
        }
    }

    /// A grant that was written is read again.
    #[test]
    fn written_and_read(grant in grant()) {
        prop_assert_eq!(grant.to_string().parse::<Grant>().unwrap(), grant.clone());
        prop_assert_eq!(serde_json::from_str::<Grant>(&serde_json::to_string(&grant).unwrap()).unwrap(), grant);
    }

    /// No text makes it panic.
    #[test]
    fn any_text(text in ".{0,40}") {
        let _ = text.parse::<Grant>();
        let _ = serde_json::from_str::<Grant>(&text);
    }
}

/// Answers of newer daemons have grants that are not known here: they are shown, written as they came but for what is not
/// known of their form, and are no grants.
#[test]
fn told() {
    let read = |value: serde_json::Value| serde_json::from_value::<GrantTold>(value);
    for text in ["team/*:contributor", "*:none", "secret/*:deny"] {
        let grant: Grant = text.parse().unwrap();
        let wire = serde_json::to_value(&grant).unwrap();
        let told = read(wire.clone()).unwrap();
        assert_eq!((told.known(), told.to_string().as_str()), (Some(grant.clone()), text));
        assert_eq!((told.clone(), serde_json::to_value(&told).unwrap()), (GrantTold::from(grant), wire));
    }
    // A role may be called as a grant that denies is written, and is none.
    for word in ["curator", "deny", " deny", "DENY", "None", "viewer ", "a \"b\":deny"] {
        let unknown = json!({"pattern": "team/*", "role": word});
        let told = read(unknown.clone()).unwrap();
        let shown = format!("team/*:\"{word}\" (unknown role)");
        assert_eq!((told.known(), told.to_string()), (None, shown.clone()));
        assert!(shown.parse::<Grant>().is_err(), "{shown}");
        assert_eq!(serde_json::to_value(&told).unwrap(), unknown);
    }
    let told = read(json!({"pattern": "team/*", "role": "deny", "until": "2027-01-01"})).unwrap();
    assert_eq!(told.to_string(), "team/*:\"deny\" (unknown role, and more)");
    for more in [
        json!({"pattern": "team/*", "role": "admin", "until": "2027-01-01"}),
        json!({"pattern": "team/*", "deny": true, "unless": {"from": "10.0.0.0/8"}}),
    ] {
        let told = read(more.clone()).unwrap();
        assert_eq!(told.known(), None, "{told}: what it says besides may be what matters");
        assert!(told.to_string().ends_with(" (and more)") && told.to_string().parse::<Grant>().is_err());
        assert!(serde_json::from_value::<Grant>(more).is_err(), "what is asked for is known or refused");
    }
    for (value, why) in [
        (json!({"pattern": "team/*"}), "either a `role` or"),
        (json!({"pattern": "team/*", "role": "viewer", "deny": true}), "either a `role` or"),
        (json!({"pattern": "a b", "role": "viewer"}), ""),
        (json!({"pattern": "team/*", "role": 7}), "a word"),
    ] {
        assert!(read(value).unwrap_err().to_string().contains(why));
    }
}
