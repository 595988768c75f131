//! Patterns of model names, as policies, grants, tokens, quotas and retention rules have them. What they are for is not
//! known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::ModelName;

/// The longest pattern, in octets.
pub const PATTERN_LEN_MAX: usize = 255;

/// A pattern of model names, in which `*` stands for any characters, none and slashes among them. Case doesn't matter, as it
/// doesn't in names; it is kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern {
    written: String,
    folded: String,
}

impl NamePattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether a name is as the pattern says.
    pub fn matches(&self, name: &ModelName) -> bool {
        fits(&self.folded, &name.folded())
    }

    /// The same of a name that is folded already ([`ModelName::folded`]).
    pub fn matches_folded(&self, folded: &str) -> bool {
        fits(&self.folded, folded)
    }

    /// What every name that fits begins with, folded: the pattern up to its first `*`.
    pub fn head(&self) -> &str {
        self.folded.split('*').next().unwrap_or_default()
    }

    /// Whether it fits every name.
    pub fn is_all(&self) -> bool {
        self.folded.bytes().all(|octet| octet == b'*')
    }

    /// Whether another fits the same names because it is written the same but for case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_of_names = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
        if text.is_empty() || !text.chars().all(is_of_names) {
            return Err("must be a pattern of letters, digits, `.`, `_`, `-`, `/` and `*`".to_owned());
        }
        if text.len() > PATTERN_LEN_MAX {
            return Err(format!("must be a pattern of at most {PATTERN_LEN_MAX} characters"));
        }
        Ok(Self { folded: text.to_ascii_lowercase(), written: text.to_owned() })
    }
}

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.written
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    // The leftmost place of each part leaves the most room for those behind it.
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::{NamePattern, PATTERN_LEN_MAX};

    /// Patterns and names.
    #[test]
    fn matches() {
        for (pattern, name, is) in [
            ("m", "m", true),
            ("m", "mm", false),
            ("*", "team/m", true),
            ("team/*", "team/m", true),
            ("Team/*", "tEAM/m", true),
            ("team/*", "team2/m", false),
            ("*-tmp", "team/m-tmp", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("**", "x", true),
        ] {
            let parsed: NamePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&name.parse().unwrap()), is, "{pattern} {name}");
        }
    }

    /// What is no pattern.
    #[test]
    fn refused() {
        for text in ["", "a b", "ä*", "a?b", &"x".repeat(PATTERN_LEN_MAX + 1)] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        assert!("x*".parse::<NamePattern>().is_ok_and(|pattern| !pattern.is_all()));
        assert!("**".parse::<NamePattern>().is_ok_and(|pattern| pattern.is_all()));
    }
}
