//! What is done about a verdict (scanning.md §1): which policy goes for a model, and what it decides. Knows verdicts and
//! rules by name; refuses to know how they were found.

use common::api::State;
use common::name::ModelName;

use crate::inspect::Verdict;
use crate::registry::inspection::{gravity, verdict_of};
use crate::registry::settings::{ScanPolicies, ScanPolicy};
use crate::store::Moment;
use crate::store::records::{FindingRecord, RuleRecord, VersionRecord};

/// What a policy decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It may be handed out.
    Open,
    /// It is held.
    Held {
        /// Why.
        why: String,
        /// Whether what was found is the reason, and not what kind of file it is.
        for_findings: bool,
    },
    /// It is not taken in at all.
    Refused,
}

impl Ruling {
    /// Holds a version that is handed out or new, if that is what it says.
    pub(crate) fn apply(self, version: &mut VersionRecord, moment: Moment) {
        let (why, for_findings) = match self {
            Self::Open => return,
            Self::Held { why, for_findings } => (why, for_findings),
            Self::Refused => ("inspection: malicious".to_owned(), true),
        };
        version.state = State::Quarantined;
        version.state_at_ms = moment.at_ms;
        version.state_reason = Some(why);
        version.held_by_inspection = for_findings;
    }
}

impl ScanPolicies {
    /// The policy of a model: the first whose pattern fits its name, else the general one.
    pub(crate) fn of(&self, name: &ModelName) -> ScanPolicy {
        let first = self.patterns.iter().find(|(pattern, _policy)| pattern.matches(name));
        first.map_or(self.general, |(_pattern, policy)| *policy)
    }
}

/// What a policy says to findings. The gate of bytes (`download.rs`) asks for a version's state only; this is where the state
/// comes from.
pub(crate) fn rule(policy: ScanPolicy, findings: &[&FindingRecord], has_pickle: bool) -> Ruling {
    let verdict = verdict_of(findings.iter().copied());
    let held = || {
        let rule = findings.first().map_or("no rule", |finding| finding.rule.as_str());
        Ruling::Held { why: format!("inspection: {} ({rule})", verdict.as_str()), for_findings: true }
    };
    match (policy, verdict) {
        (ScanPolicy::Report, _) => Ruling::Open,
        (ScanPolicy::Flag, Verdict::Clean | Verdict::Suspicious) => Ruling::Open,
        (ScanPolicy::RefuseMalicious, Verdict::Malicious) => Ruling::Refused,
        (ScanPolicy::Strict, Verdict::Clean) if has_pickle => Ruling::Held {
            why: "policy strict: a pickle may run code when it is loaded".to_owned(),
            for_findings: false,
        },
        (_, Verdict::Clean) => Ruling::Open,
        (_, Verdict::Suspicious | Verdict::Unscannable | Verdict::Malicious) => held(),
    }
}

/// The findings that a release didn't overrule: of rules that hadn't found anything then, or nothing as grave.
pub(crate) fn not_overruled<'f>(findings: &'f [FindingRecord], over: &[RuleRecord]) -> Vec<&'f FindingRecord> {
    let overruled = |finding: &FindingRecord| {
        over.iter().any(|one| one.rule == finding.rule && gravity(&finding.level) <= gravity(&one.level))
    };
    findings.iter().filter(|finding| !overruled(finding)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Ruling, not_overruled, rule};
    use crate::registry::settings::{ScanPolicies, ScanPolicy};
    use crate::store::records::{FindingRecord, RuleRecord};

    fn finding(rule: &str, level: &str) -> FindingRecord {
        FindingRecord { rule: rule.into(), level: level.into(), place: String::new(), detail: "x".into() }
    }

    /// Every policy against every verdict.
    #[test]
    fn policies() {
        use ScanPolicy::{Default, Flag, RefuseMalicious, Report, Strict};
        let levels = ["note", "suspicious", "unscannable", "malicious"];
        let ruled = |policy, has_pickle| {
            levels.map(|level| match rule(policy, &[&finding("a.b", level)], has_pickle) {
                Ruling::Open => 'o',
                Ruling::Held { why, for_findings } => {
                    assert!(why.contains(if for_findings { "inspection" } else { "strict" }), "{why}");
                    'h'
                }
                Ruling::Refused => 'r',
            })
        };
        for has_pickle in [false, true] {
            assert_eq!(ruled(Default, has_pickle), ['o', 'h', 'h', 'h']);
            assert_eq!(ruled(Report, has_pickle), ['o', 'o', 'o', 'o']);
            assert_eq!(ruled(Flag, has_pickle), ['o', 'o', 'h', 'h']);
            assert_eq!(ruled(RefuseMalicious, has_pickle), ['o', 'h', 'h', 'r']);
        }
        assert_eq!(ruled(Strict, false), ['o', 'h', 'h', 'h']);
        assert_eq!(ruled(Strict, true), ['h', 'h', 'h', 'h']);
        assert_eq!(rule(Default, &[], true), Ruling::Open);
    }

    /// A release overrules what had been found, and nothing new or graver.
    #[test]
    fn overruling() {
        let over = [RuleRecord { rule: "a.b".into(), level: "suspicious".into() }];
        let findings = [
            finding("a.b", "malicious"),
            finding("a.b", "suspicious"),
            finding("a.b", "note"),
            finding("c.d", "suspicious"),
        ];
        let left = not_overruled(&findings, &over);
        assert_eq!(left, [&findings[0], &findings[3]]);
    }

    /// The first pattern that fits decides, whatever the case; else the general policy.
    #[test]
    fn of_a_model() {
        let policies = ScanPolicies {
            general: ScanPolicy::Flag,
            patterns: vec![("Team/*".parse().unwrap(), ScanPolicy::Strict), ("*".parse().unwrap(), ScanPolicy::Report)],
        };
        let of = |name: &str| policies.of(&name.parse().unwrap());
        assert_eq!((of("team/m"), of("TEAM/m"), of("m")), (ScanPolicy::Strict, ScanPolicy::Strict, ScanPolicy::Report));
        assert_eq!(ScanPolicies { patterns: Vec::new(), ..policies }.of(&"m".parse().unwrap()), ScanPolicy::Flag);
    }
}
