//! What is done about what inspection finds, as it is written in settings: policies by model, and what is allowed besides the
//! built-in list. Knows the words; refuses to know what a policy does.

use std::collections::BTreeSet;
use std::fmt;

use common::pattern::NamePattern;

use super::settings::{echo, must};
use crate::inspect;

/// A word of `MREG_SCAN_POLICY` (scanning.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanPolicy {
    /// Suspicious, unscannable and malicious files are held in quarantine; notes are warnings.
    Default,
    /// Every pickle is held, too.
    Strict,
    /// Everything is handed out; findings are shown.
    Report,
    /// Suspicious files are handed out with their findings, the rest is held.
    Flag,
    /// Malicious files are not taken in; the rest as by default.
    RefuseMalicious,
}

impl ScanPolicy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Default, Self::Strict, Self::Report, Self::Flag, Self::RefuseMalicious];

    /// The name it has in settings, entries and the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Report => "report",
            Self::Flag => "flag",
            Self::RefuseMalicious => "refuse-malicious",
        }
    }

    fn of(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == word);
        found.ok_or_else(|| must("be default, strict, report, flag or refuse-malicious", word))
    }
}

/// Which policy goes for which models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPolicies {
    /// For models that no pattern fits.
    pub general: ScanPolicy,
    /// Patterns of names with their policies; the first that fits decides.
    pub patterns: Vec<(NamePattern, ScanPolicy)>,
}

impl From<ScanPolicy> for ScanPolicies {
    fn from(general: ScanPolicy) -> Self {
        Self { general, patterns: Vec::new() }
    }
}

impl ScanPolicies {
    /// Reads `policy; pattern=policy; …`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut general = None;
        let mut patterns: Vec<(NamePattern, ScanPolicy)> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((pattern, word)) = part.split_once('=') else {
                if general.replace(ScanPolicy::of(part)?).is_some() {
                    return Err(format!("names two policies without a pattern, the second is {}", echo(part)));
                }
                continue;
            };
            let pattern = pattern.trim();
            let parsed: NamePattern = pattern
                .parse()
                .map_err(|_what| must("have patterns of letters, digits, `.`, `_`, `-`, `/` and `*`", pattern))?;
            if let Some((all, _)) = patterns.iter().find(|(there, _)| there.is_all()) {
                return Err(format!(
                    "has {} behind {}, which fits every name first",
                    echo(pattern),
                    echo(all.as_str())
                ));
            }
            // Names are compared without regard to case.
            if patterns.iter().any(|(there, _)| there.is_same(&parsed)) {
                return Err(format!("has the pattern {} twice", echo(pattern)));
            }
            patterns.push((parsed, ScanPolicy::of(word.trim())?));
        }
        let general = general.unwrap_or(ScanPolicy::Default);
        Ok(Self { general, patterns })
    }
}

impl fmt::Display for ScanPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.general.as_str())?;
        self.patterns.iter().try_for_each(|(pattern, policy)| write!(f, "; {pattern}={}", policy.as_str()))
    }
}

/// Modules of which nobody may allow everything: code runs through what lies below them.
const NEVER_ALLOWED: [&str; 5] = ["numpy", "torch", "pandas", "builtins", "__builtin__"];

/// `module.name` pairs, separated by commas; `none` for none.
pub(crate) fn globals(text: &str) -> Result<BTreeSet<(String, String)>, String> {
    items(text)
        .map(|item| {
            let pair = item.rsplit_once('.').filter(|_| is_dotted(item));
            let (module, name) = pair.ok_or_else(|| must("name each global as module.name", item))?;
            if inspect::is_denied(module, name) {
                return Err(format!("can't allow {}: what is denied stays denied", echo(item)));
            }
            Ok((module.to_owned(), name.to_owned()))
        })
        .collect()
}

/// Prefixes of modules, separated by commas, each with its dot at the end; `none` for none.
pub(crate) fn prefixes(text: &str) -> Result<BTreeSet<String>, String> {
    items(text)
        .map(|item| {
            let module = item.strip_suffix('.').unwrap_or(item);
            if !is_dotted(module) {
                return Err(must("name modules such as mylib.models.", item));
            }
            let root = module.split('.').next().unwrap_or_default();
            if NEVER_ALLOWED.contains(&root) {
                return Err(format!("can't allow what is below {}: it has functions that run code", echo(root)));
            }
            // Any class stands for all of them.
            if inspect::is_denied(module, "Class") {
                return Err(format!("can't allow what is below {}: what is denied stays denied", echo(module)));
            }
            Ok(format!("{module}."))
        })
        .collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "none")
}

/// Whether it is identifiers with dots between them.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::{ScanPolicies, ScanPolicy, globals, prefixes};

    /// What is read is written the same; the part without a pattern is general wherever it stands.
    #[test]
    fn policies() {
        let read = ScanPolicies::parse(" team-nlp/*=strict ; flag; *-tmp = report ;").unwrap();
        assert_eq!(read.general, ScanPolicy::Flag);
        assert_eq!(read.to_string(), "flag; team-nlp/*=strict; *-tmp=report");
        assert_eq!(ScanPolicies::parse(&read.to_string()).unwrap(), read);
        assert_eq!(ScanPolicies::parse("a=strict").unwrap().general, ScanPolicy::Default);
        for policy in ScanPolicy::ALL {
            assert_eq!(ScanPolicies::parse(policy.as_str()).unwrap(), policy.into());
        }
        for wrong in ["lenient", "default; strict", "=strict", "a b=strict", "a=strict; a=flag", "a=", "a"] {
            assert!(ScanPolicies::parse(wrong).is_err(), "{wrong}");
        }
        // One that decides nothing: its names fit another first.
        for wrong in ["A=strict; a=flag", "*=strict; a=flag", "**=strict; *=flag"] {
            assert!(ScanPolicies::parse(wrong).is_err(), "{wrong}");
        }
        assert!(ScanPolicies::parse("a=flag; *=strict; default").is_ok());
    }

    /// Globals are pairs; prefixes end in a dot, and some are never allowed.
    #[test]
    fn allowed() {
        let read = globals("mylib.models.Net, other.f").unwrap();
        assert!(read.contains(&("mylib.models".into(), "Net".into())) && read.len() == 2);
        assert!(globals("none").unwrap().is_empty());
        for wrong in ["f", "a..f", "a.f()", ".f", "a.", "os system"] {
            assert!(globals(wrong).is_err(), "{wrong}");
        }
        for denied in ["os.system", "a.F, builtins.eval", "__builtin__.eval", "cPickle.loads", "mylib.__init__.f"] {
            assert!(globals(denied).unwrap_err().contains("stays denied"), "{denied}");
        }
        assert!(prefixes("mylib, other.models.").unwrap().iter().eq(["mylib.", "other.models."]));
        for wrong in ["numpy.", "numpy", "torch.nn.", "pandas", "builtins.", "__builtin__", "a..", "*"] {
            assert!(prefixes(wrong).is_err(), "{wrong}");
        }
        for denied in ["os", "os.path.", "cPickle", "mylib., sklearn.utils._joblib."] {
            assert!(prefixes(denied).unwrap_err().contains("stays denied"), "{denied}");
        }
    }
}
