//! API tokens of a user and how many sessions they have, over whatever is on the screen; and what is typed for a new one,
//! read. Secrets are not among it.

use common::api::{ApiToken, ApiTokenState, NewApiToken, SessionInfo};
use common::pattern::NamePattern;
use common::role::Permission;
use serde_json::Value;

use crate::action::RequestId;

/// Most tokens that are read: the daemon lets no user have more.
pub const TOKENS_MAX: u32 = 200;

/// The tokens of a user.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Whose.
    pub user: String,
    /// Whether that is a service account, for which others make them; none until it is known.
    pub is_service: Option<bool>,
    /// What is known of them; none until they are read.
    pub rows: Option<Vec<ApiToken>>,
    /// Live sessions, where this user may know them.
    pub sessions: Option<Vec<SessionInfo>>,
    /// The selected token.
    pub selected: usize,
    /// The requests it waits for: tokens, and the user.
    pub waits: [Option<RequestId>; 2],
    /// Why they could not be read.
    pub failed: Option<String>,
}

impl Tokens {
    /// The selected token.
    pub fn token(&self) -> Option<&ApiToken> {
        self.rows.as_ref()?.get(self.selected)
    }
}

/// The state of a token, as it is shown: one of a locked user says what that user's row says.
pub fn standing(token: &ApiToken) -> &str {
    match token.state.known() {
        Some(ApiTokenState::Disabled) => "locked",
        Some(ApiTokenState::Live | ApiTokenState::Expired) | None => token.state.as_str(),
    }
}

/// What is asked for of a new token, from what was typed: which field is wrong, and why.
///
/// # Errors
/// The number of the field (label, permissions, names, life), and a sentence.
pub fn wanted(user: &str, label: &str, may: &str, names: &str, life: &str) -> Result<NewApiToken, (usize, String)> {
    let label = label.trim().to_owned();
    if label.is_empty() {
        return Err((0, "say what it is for".to_owned()));
    }
    let permissions = list(may).map(permission).collect::<Result<Vec<_>, _>>().map_err(|why| (1, why))?;
    let pattern = |text: &str| text.parse::<NamePattern>().map_err(|why| format!("{text} {why}"));
    let names = list(names).map(pattern).collect::<Result<Vec<_>, _>>().map_err(|why| (2, why))?;
    let (expires_in, never_expires) = self::life(life).map_err(|why| (3, why))?;
    Ok(NewApiToken {
        label,
        user: Some(user.to_owned()),
        permissions: Some(permissions).filter(|list| !list.is_empty()),
        names: Some(names).filter(|list| !list.is_empty()),
        expires_in,
        never_expires,
    })
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|piece| !piece.is_empty())
}

fn permission(text: &str) -> Result<Permission, String> {
    serde_json::from_value(Value::from(text)).map_err(|_unknown| format!("{text} is no permission, such as model.read"))
}

/// `90d`, `12h`, `30m`, `never`; nothing for what the daemon takes.
pub fn life(text: &str) -> Result<(Option<u64>, bool), String> {
    let wrong = || format!("{text} is no time, such as 90d, 12h or never");
    match text.trim() {
        "" => Ok((None, false)),
        "never" => Ok((None, true)),
        text => {
            let units = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];
            let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
            let (number, seconds): (&str, u64) = found.ok_or_else(wrong)?;
            let is_number = !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit());
            let number: Option<u64> = if is_number { number.parse().ok() } else { None };
            let life = number.and_then(|number| number.checked_mul(seconds)).filter(|seconds| *seconds > 0);
            Ok((Some(life.ok_or_else(wrong)?), false))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::role::Permission;
    use proptest::prelude::{any, proptest};

    use super::{life, wanted};

    /// What is typed is what is asked for; what can't be read is told by its field.
    #[test]
    fn typed() {
        let new = wanted("svc", " ci ", "model.read, model.write", "team/*", "30d").unwrap();
        assert_eq!((new.label.as_str(), new.expires_in, new.never_expires), ("ci", Some(30 * 24 * 3600), false));
        assert_eq!(new.permissions, Some(vec![Permission::ModelRead, Permission::ModelWrite]));
        assert_eq!(new.names.unwrap()[0].as_str(), "team/*");
        let new = wanted("svc", "ci", "", " ", "never").unwrap();
        assert_eq!((new.permissions, new.names, new.never_expires), (None, None, true));
        for (place, typed) in [
            (0, [" ", "", "", ""]),
            (1, ["x", "model.fly", "", ""]),
            (2, ["x", "", "a?b", ""]),
            (3, ["x", "", "", "0d"]),
            (3, ["x", "", "", "1.5h"]),
            (3, ["x", "", "", "99999999999999999d"]),
        ] {
            let [label, may, names, life] = typed;
            assert_eq!(wanted("svc", label, may, names, life).unwrap_err().0, place, "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_life(text in any::<String>()) {
            drop(life(&text));
        }
    }
}
