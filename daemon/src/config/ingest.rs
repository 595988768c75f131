//! Settings of the drop folder. Knows their grammar, and which user of the machine has which number; refuses to know what
//! they do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::name::{MODEL_SEGMENT_OCTETS_MAX, UserName};
use common::role::Role;

use super::settings::{echo, must};
use crate::ingest::names::namespace_of;
use crate::operator::uid_in;

/// The shortest time that a file must rest, milliseconds: below it, a slow writer's pauses would pass for its end.
const SETTLE_MS_MIN: u64 = 100;

/// The longest, milliseconds.
const SETTLE_MS_MAX: u64 = 3_600_000;

/// The user that the kernel shows for an owner it has no number for, and NFS servers for root: no one in particular.
pub(super) const UID_NOBODY: u32 = 65_534;

/// The drop folder's settings; there is one where `MREG_DROP_DIR` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropFolder {
    /// `MREG_DROP_DIR`: the folder; absolute.
    pub dir: PathBuf,
    /// `MREG_DROP_SETTLE`: how long a file must rest, 0.1 s to an hour.
    pub settle: Duration,
    /// `MREG_DROP_POLL`: how often the folder is walked; none: 60 s where the kernel tells of changes, else 5 s.
    pub poll: Option<Duration>,
    /// `MREG_DROP_EVENTS`: whether the kernel's events are used; `false` for file systems that have none.
    pub events: bool,
    /// `MREG_DROP_USERS`: who acts for files of a user of the machine, by uid.
    pub users: BTreeMap<u32, UserName>,
    /// `MREG_DROP_ROLE`: the role of `watcher`, who acts for everybody else; none: their files are refused.
    pub role: Option<Role>,
    /// `MREG_DROP_NAMESPACES`: folders that are namespaces, made at start; no two alike but for case.
    pub namespaces: BTreeSet<String>,
    /// `MREG_DROP_DONE`: whether files are kept in `done/` once they are in the registry.
    pub keep_done: bool,
    /// `MREG_DROP_PARALLEL`: items at work at once, 1 to 32.
    pub parallel: usize,
}

impl DropFolder {
    /// One that every row of the table overwrites with its default.
    pub(super) fn blank() -> Self {
        Self {
            dir: PathBuf::new(),
            settle: Duration::ZERO,
            poll: None,
            events: false,
            users: BTreeMap::new(),
            role: None,
            namespaces: BTreeSet::new(),
            keep_done: false,
            parallel: 0,
        }
    }
}

/// Seconds with up to three decimals: a time that a file must rest.
pub(super) fn settle(text: &str) -> Result<Duration, String> {
    let wrong = || must("be a number of seconds from 0.1 to 3600, such as 2 or 0.5", text);
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let whole_ms = whole.parse().ok().and_then(|seconds: u64| seconds.checked_mul(1000)).ok_or_else(wrong)?;
    let fraction_ms: u64 = format!("{fraction:0<3}").parse().map_err(|_never| wrong())?;
    match whole_ms.checked_add(fraction_ms) {
        Some(ms @ SETTLE_MS_MIN..=SETTLE_MS_MAX) => Ok(Duration::from_millis(ms)),
        Some(_) | None => Err(wrong()),
    }
}

/// The same time as [`settle`] takes it.
pub(super) fn show_settle(settle: Duration) -> String {
    let text = format!("{}.{:03}", settle.as_secs(), settle.subsec_millis());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Who acts for whose files: `1001=alice,deploy=ci-bot`, or `none`. Names are looked up in `/etc/passwd`.
pub(super) fn users(text: &str) -> Result<BTreeMap<u32, UserName>, String> {
    // Without the file, no name is known, and each is told as such.
    users_by(text, || fs::read_to_string("/etc/passwd").unwrap_or_default())
}

fn users_by(text: &str, passwd: impl FnOnce() -> String) -> Result<BTreeMap<u32, UserName>, String> {
    let mut users = BTreeMap::new();
    if text == "none" {
        return Ok(users);
    }
    let pairs: Vec<&str> = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).collect();
    if pairs.is_empty() {
        return Err(must("be pairs such as 1001=alice,deploy=ci-bot, or none", text));
    }
    let is_number = |who: &str| !who.is_empty() && who.bytes().all(|octet| octet.is_ascii_digit());
    let named = |pair: &&str| !pair.split_once('=').is_some_and(|(who, _)| is_number(who.trim()));
    let passwd = if pairs.iter().any(named) { passwd() } else { String::new() };
    for pair in pairs {
        let Some((who, user)) = pair.split_once('=') else {
            return Err(must("be pairs such as 1001=alice,deploy=ci-bot", pair));
        };
        let (who, user) = (who.trim(), user.trim());
        let uid = if is_number(who) {
            // The last number is none: the kernel says it where it means nobody.
            who.parse()
                .ok()
                .filter(|uid| *uid != u32::MAX)
                .ok_or_else(|| format!("{} is not a user's number", echo(who)))?
        } else {
            uid_in(&passwd, who).ok_or_else(|| {
                format!("{} is not a user in /etc/passwd of this machine; write the user's number (`id -u`)", echo(who))
            })?
        };
        let user: UserName = user.parse().map_err(|error| format!("{}: {error}", echo(pair)))?;
        if users.insert(uid, user).is_some() {
            return Err(format!("has the user {uid} of this machine twice, the second time as {}", echo(who)));
        }
    }
    Ok(users)
}

/// The same pairs as [`users`] takes them, by number.
pub(super) fn show_users(users: &BTreeMap<u32, UserName>) -> String {
    let pairs: Vec<String> = users.iter().map(|(uid, user)| format!("{uid}={user}")).collect();
    if pairs.is_empty() { "none".to_owned() } else { pairs.join(",") }
}

/// The role of the folder itself. An auditor's would let it do nothing, and look as if it could.
pub(super) fn role(text: &str) -> Result<Option<Role>, String> {
    match text {
        "none" => Ok(None),
        _ => match text.parse() {
            Ok(role @ (Role::Viewer | Role::Contributor | Role::Admin)) => Ok(Some(role)),
            Ok(Role::Auditor) | Err(_) => Err(must("be viewer, contributor, admin or none", text)),
        },
    }
}

/// Names of folders, separated by commas, or `none`.
pub(super) fn namespaces(text: &str) -> Result<BTreeSet<String>, String> {
    let mut namespaces: BTreeSet<String> = BTreeSet::new();
    if text == "none" {
        return Ok(namespaces);
    }
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !is_namespace(name) {
            let what = format!(
                "be namespaces separated by commas, each of letters, digits, dots, dashes and underscores, beginning \
                 with a letter or digit, at most {MODEL_SEGMENT_OCTETS_MAX} long, and without the ending of something \
                 unfinished (`.part`), of a sidecar or of a checksum"
            );
            return Err(must(&what, name));
        }
        if namespaces.iter().any(|there| there.eq_ignore_ascii_case(name)) {
            return Err(format!("has {} twice: names of models are compared without regard to case", echo(name)));
        }
        namespaces.insert(name.to_owned());
    }
    if namespaces.is_empty() { Err(must("be namespaces separated by commas, or none", text)) } else { Ok(namespaces) }
}

/// Whether models may be called `name/…`, and a folder of that name is not taken for something else.
fn is_namespace(name: &str) -> bool {
    namespace_of(OsStr::new(name)).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use common::role::Role;

    use super::{namespaces, role, settle, show_settle, show_users, users_by};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndeploy:x:1002:1002::/home/deploy:/bin/sh\nbroken\n";

    /// Seconds with decimals are taken and shown again; what is out of bounds, signed or finer is not.
    #[test]
    fn times() {
        for (text, ms, shown) in [
            ("2", 2000, "2"),
            ("0.1", 100, "0.1"),
            ("0.25", 250, "0.25"),
            ("3600", 3_600_000, "3600"),
            ("10.0", 10_000, "10"),
        ] {
            assert_eq!(settle(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(show_settle(Duration::from_millis(ms)), shown);
        }
        for text in
            ["", ".", "1.", ".5", "0", "0.09", "3600.001", "-1", "+1", "1.0000", "1e3", "2s", "99999999999999999999"]
        {
            assert!(settle(text).unwrap_err().contains("0.1 to 3600"), "{text}");
        }
    }

    /// Numbers and names of the machine lead to users; what names nobody, or somebody twice, is told.
    #[test]
    fn owners() {
        let users = |text| users_by(text, || PASSWD.to_owned());
        let found = users("1001=Alice, deploy=ci-bot,").unwrap();
        assert_eq!(show_users(&found), "1001=alice,1002=ci-bot");
        assert_eq!(users("none"), Ok(BTreeMap::new()));
        for (text, part) in [
            ("alice", "be pairs such as"),
            (",", "be pairs such as"),
            ("bob=bob", "\"bob\" is not a user in /etc/passwd"),
            ("=bob", "is not a user in /etc/passwd"),
            ("broken=bob", "is not a user in /etc/passwd"),
            ("4294967295=bob", "is not a user's number"),
            ("4294967296=bob", "is not a user's number"),
            ("1001=", "is not a user name"),
            ("1001=a b", "is not a user name"),
            ("1001=watcher", "reserved"),
            ("1001=alice,1001=bob", "the user 1001 of this machine twice"),
            ("deploy=alice,1002=bob", "the user 1002 of this machine twice"),
        ] {
            let problem = users(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    /// The folder itself may be any role but the auditor's.
    #[test]
    fn roles() {
        assert_eq!([role("none"), role("viewer")], [Ok(None), Ok(Some(Role::Viewer))]);
        assert_eq!([role("contributor"), role("admin")], [Ok(Some(Role::Contributor)), Ok(Some(Role::Admin))]);
        for text in ["auditor", "Admin", "", "owner"] {
            assert!(role(text).unwrap_err().contains("viewer, contributor, admin or none"), "{text}");
        }
    }

    /// Namespaces are one segment of a model's name, each once.
    #[test]
    fn names() {
        assert_eq!(namespaces("team-nlp, vision"), Ok(BTreeSet::from(["team-nlp".to_owned(), "vision".to_owned()])));
        assert_eq!(namespaces("none"), Ok(BTreeSet::new()));
        for text in [
            "x.part",
            "x.TMP",
            "x.sha256",
            "x.mreg.json",
            "thumbs.db",
            "",
            ",",
            "a/b",
            ".hidden",
            "a b",
            "..",
            "é",
            &"a".repeat(97),
        ] {
            assert!(namespaces(text).unwrap_err().contains("be namespaces"), "{text}");
        }
        assert!(namespaces("NLP,nlp").unwrap_err().contains("twice"));
    }
}
