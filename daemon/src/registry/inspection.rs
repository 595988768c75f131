//! What becomes of an inspection: the one way into it, and what a version keeps of what came out. Knows files, findings and
//! facts; refuses to know what is done about them (`policy.rs`), and how a format is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::api::Origin;
use common::digest::Digest;
use common::name::ArtifactPath;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::inspect::{self, Facts, Finding, Format, Inspection, Level, Ruleset, Taken, Verdict, Wanted};
use crate::inspection::{Inspector, Subject};
use crate::registry::Inner;
use crate::registry::error::RegistryError;
use crate::store::records::{
    ArtifactRecord, FindingRecord, InspectionRecord, LatestRecord, MetadatumRecord, RuleRecord, VersionRecord,
};
use crate::traces;

/// Findings that are kept of one version: more than there are rules.
const FINDINGS_MAX: usize = 200;
/// Rules that an entry names.
const RULES_SAID_MAX: usize = 50;
/// Files looked into at once at least, however few processors there are.
const AT_ONCE_MIN: usize = 2;

/// What inspections are done by, and how many at once.
pub(crate) struct Inspections {
    inspector: Arc<dyn Inspector>,
    permits: Semaphore,
}

impl Inspections {
    pub(crate) fn new(inspector: Arc<dyn Inspector>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { inspector, permits: Semaphore::new(cores.max(AT_ONCE_MIN)) }
    }

    /// The rules they are done by.
    pub(crate) fn ruleset(&self) -> &Ruleset {
        self.inspector.ruleset()
    }

    /// Ends those under way, without a verdict, and refuses others.
    pub(crate) fn stop(&self) {
        self.inspector.stop();
    }
}

impl Inner {
    /// Looks into one file, staged or stored, off the async threads, and gives it back. All inspection goes through here.
    ///
    /// # Errors
    /// `Internal`: it couldn't be read, which is no verdict.
    pub(crate) async fn inspect_file<S>(&self, source: S, name: &ArtifactPath) -> Result<(S, Inspection), RegistryError>
    where
        S: Subject + Send + 'static,
    {
        let permit = self.inspections.permits.acquire().await.map_err(|error| RegistryError::Internal(error.into()))?;
        let (inspector, name) = (Arc::clone(&self.inspections.inspector), name.clone());
        let step = traces::step!("inspect");
        let task = tokio::task::spawn_blocking(move || {
            let _step = step.enter();
            let inspection = inspector.inspect(&source, name.as_str());
            inspection.map(|inspection| (source, inspection))
        });
        let inspected = task.await.map_err(|error| RegistryError::Internal(error.into()))?;
        drop(permit);
        inspected.map_err(|error| RegistryError::Internal(error.into()))
    }
}

impl Inner {
    /// The octets round a place inside one stored file, off the async threads. None: there are none to be shown there.
    ///
    /// # Errors
    /// `Internal`: it couldn't be read.
    pub(crate) async fn excerpt_of<S>(
        &self,
        source: S,
        name: &ArtifactPath,
        wanted: Wanted,
    ) -> Result<Option<Taken>, RegistryError>
    where
        S: Subject + Send + 'static,
    {
        let permit = self.inspections.permits.acquire().await.map_err(|error| RegistryError::Internal(error.into()))?;
        let (inspector, name) = (Arc::clone(&self.inspections.inspector), name.clone());
        let task = tokio::task::spawn_blocking(move || inspector.excerpt(&source, name.as_str(), &wanted));
        let taken = task.await.map_err(|error| RegistryError::Internal(error.into()))?;
        drop(permit);
        taken.map_err(|error| RegistryError::Internal(error.into()))
    }
}

/// What is known of a version's files after all of them were looked into.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    /// Each file's path, digest, format and verdict.
    files: BTreeMap<ArtifactPath, (Digest, &'static str, Verdict)>,
    /// The gravest verdict.
    pub(crate) verdict: Verdict,
    /// What was found, the gravest first; of each rule the gravest at least, so that what follows from these follows from all.
    pub(crate) findings: Vec<FindingRecord>,
    findings_total: u64,
    facts: Facts,
}

impl Inspected {
    /// Of files, each with its digest and its inspection.
    pub(crate) fn of(files: Vec<(ArtifactPath, Digest, Inspection)>) -> Self {
        let several = files.len() > 1;
        let verdicts: BTreeMap<_, _> = files
            .iter()
            .map(|(path, digest, one)| (path.clone(), (*digest, one.format.as_str(), one.verdict())))
            .collect();
        let named: Vec<(String, Inspection)> =
            files.into_iter().map(|(path, _digest, one)| (path.as_str().to_owned(), one)).collect();
        let (facts, of_the_folder) = inspect::folder(&named);
        let of_files = named.iter().flat_map(|(path, one)| one.findings.iter().map(move |found| (path, found)));
        let mut findings: Vec<FindingRecord> = of_files.map(|(path, found)| kept(path, found, several)).collect();
        findings.extend(of_the_folder.iter().map(|found| kept("", found, false)));
        // The gravest first, so that they are not the ones cut off.
        findings.sort_by_key(|finding| std::cmp::Reverse(gravity(&finding.level)));
        let of_files = named.iter().map(|(_path, one)| one.findings_total.max(one.findings.len() as u64));
        let findings_total = of_files.fold(of_the_folder.len() as u64, u64::saturating_add);
        let findings = shortened(findings);
        let verdict = of_the_folder.iter().map(|found| found.level.into()).chain(verdicts.values().map(|(_, _, v)| *v));
        let verdict = verdict.max().unwrap_or(Verdict::Clean);
        Self { files: verdicts, verdict, findings, findings_total, facts }
    }

    /// Whether it is these files that were looked into.
    pub(crate) fn is_of(&self, artifacts: &[ArtifactRecord]) -> bool {
        let looked_into = |artifact: &ArtifactRecord| {
            self.files.get(&artifact.path).is_some_and(|(digest, _, _)| *digest == artifact.digest)
        };
        self.files.len() == artifacts.len() && artifacts.iter().all(looked_into)
    }

    /// Whether a file is a pickle or holds one.
    pub(crate) fn has_pickle(&self) -> bool {
        let is_pickle = |format: &str| ["pickle", "pytorch", "torch"].iter().any(|family| format.starts_with(family));
        self.files.values().any(|(_digest, format, _verdict)| is_pickle(format))
            || self.findings.iter().any(|finding| finding.rule.starts_with("pickle."))
    }

    /// Notes format and verdict of each file.
    pub(crate) fn describe(&self, artifacts: &mut [ArtifactRecord]) {
        for artifact in artifacts {
            if let Some((_digest, format, verdict)) = self.files.get(&artifact.path) {
                (*format).clone_into(&mut artifact.format);
                artifact.verdict = Some(verdict.as_str().to_owned());
            }
        }
    }

    /// What the version says of the inspection.
    pub(crate) fn record(&self, ruleset: &Ruleset, policy: &str, at_ms: i64) -> InspectionRecord {
        InspectionRecord {
            ruleset: ruleset.id().to_owned(),
            verdict: self.verdict.as_str().to_owned(),
            at_ms,
            findings_total: self.findings_total,
            policy: policy.to_owned(),
        }
    }

    /// The fields that were read from the bytes.
    pub(crate) fn measured(&self, artifacts: &[ArtifactRecord]) -> BTreeMap<String, MetadatumRecord> {
        let facts = &self.facts;
        let mut fields: BTreeMap<&str, Value> =
            facts.values.iter().map(|(key, value)| (&**key, value.clone())).collect();
        // After the named facts, which the file chooses: these are always what they say.
        fields.insert("files", json!(artifacts.len()));
        fields.insert("format", json!(format_of(artifacts)));
        fields.insert("size_bytes", json!(artifacts.iter().map(|artifact| artifact.size).sum::<u64>()));
        if facts.tensors > 0 {
            fields.insert("tensors", json!(facts.tensors));
            fields.insert("parameters", json!(facts.parameters));
            fields.insert("dtypes", json!(facts.dtypes));
        }
        if let Some((name, shape)) = &facts.largest {
            fields.insert("largest_tensor", json!({"name": name, "shape": shape}));
        }
        let field = |value: Value| MetadatumRecord { json: value.to_string(), origin: Origin::Measured };
        fields.into_iter().map(|(key, value)| (key.to_owned(), field(value))).collect()
    }
}

/// As many as are kept, of findings the gravest of which come first: of each rule the first, then the gravest of the rest.
fn shortened(findings: Vec<FindingRecord>) -> Vec<FindingRecord> {
    if findings.len() <= FINDINGS_MAX {
        return findings;
    }
    let mut rules = BTreeSet::new();
    let (mut kept, rest): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| rules.insert(finding.rule.clone()));
    kept.extend(rest);
    kept.truncate(FINDINGS_MAX);
    kept.sort_by_key(|finding| std::cmp::Reverse(gravity(&finding.level)));
    kept
}

/// A finding as it is kept, with the path of its file in front of its place where that says something.
fn kept(path: &str, finding: &Finding, several: bool) -> FindingRecord {
    let place = match (several || !finding.place.is_empty(), finding.place.is_empty()) {
        (false, _) => String::new(),
        (true, true) => path.to_owned(),
        (true, false) if path.is_empty() => finding.place.clone(),
        // An octet or a part of the file itself, else a member of it.
        (true, false) if finding.place.starts_with(['@', '#']) => format!("{path}{}", finding.place),
        (true, false) => format!("{path}/{}", finding.place),
    };
    let level = finding.level.as_str().to_owned();
    FindingRecord { rule: finding.rule.clone(), level, place, detail: finding.detail.clone() }
}

/// How grave a level is, least first.
pub(crate) fn gravity(level: &str) -> usize {
    [Level::Note, Level::Suspicious, Level::Unscannable, Level::Malicious]
        .iter()
        .position(|one| one.as_str() == level)
        .unwrap_or(0)
}

/// The verdict that findings come to.
pub(crate) fn verdict_of<'f>(findings: impl IntoIterator<Item = &'f FindingRecord>) -> Verdict {
    match findings.into_iter().map(|finding| gravity(&finding.level)).max().unwrap_or(0) {
        0 => Verdict::Clean,
        1 => Verdict::Suspicious,
        2 => Verdict::Unscannable,
        _ => Verdict::Malicious,
    }
}

/// The rules that found something, in the order of their ids, each with its gravest level.
pub(crate) fn rules_of(findings: &[FindingRecord]) -> Vec<RuleRecord> {
    let mut rules: BTreeMap<&str, &str> = BTreeMap::new();
    for finding in findings {
        let level = rules.entry(&finding.rule).or_insert(&finding.level);
        if gravity(&finding.level) > gravity(level) {
            *level = &finding.level;
        }
    }
    let record = |(rule, level): (&str, &str)| RuleRecord { rule: rule.to_owned(), level: level.to_owned() };
    rules.into_iter().map(record).collect()
}

/// The same for an entry: id to level.
pub(crate) fn said(rules: &[RuleRecord]) -> Value {
    let pairs = rules.iter().take(RULES_SAID_MAX).map(|one| (one.rule.clone(), one.level.clone().into()));
    Value::Object(pairs.collect())
}

/// Claims beside what is measured: nobody can claim what the bytes say themselves.
pub(crate) fn with_claims(
    measured: BTreeMap<String, MetadatumRecord>,
    claims: Option<&Map<String, Value>>,
    warnings: &mut Vec<String>,
) -> BTreeMap<String, MetadatumRecord> {
    let mut fields = measured;
    for (key, value) in claims.into_iter().flatten() {
        if fields.contains_key(key) {
            warnings.push(format!("the claim `{key}` was ignored: it is measured"));
        } else {
            fields.insert(key.clone(), MetadatumRecord { json: value.to_string(), origin: Origin::Claimed });
        }
    }
    fields
}

/// Formats of what lies beside a model: its card, configuration, vocabulary, pictures.
const COMPANIONS: [Format; 5] = [Format::Text, Format::Json, Format::Media, Format::Source, Format::Empty];

/// Whether it is the format of what lies beside a model.
pub(crate) fn is_companion(format: &str) -> bool {
    COMPANIONS.iter().any(|one| one.as_str() == format)
}

/// The format of a version: that of its files, or `mixed`. Companions don't count where there is something else, so that
/// weights with their card are found by the format of the weights.
pub(crate) fn format_of(artifacts: &[ArtifactRecord]) -> String {
    let all: BTreeSet<&str> = artifacts.iter().map(|artifact| artifact.format.as_str()).collect();
    let weights: BTreeSet<&str> = all.iter().copied().filter(|format| !is_companion(format)).collect();
    let formats = if weights.is_empty() { all } else { weights };
    match (formats.first(), formats.len()) {
        (Some(one), 1) => (*one).to_owned(),
        _ => "mixed".to_owned(),
    }
}

/// What lists show of a version, if it is the latest.
pub(crate) fn latest_of(version: &VersionRecord) -> LatestRecord {
    let measured = |key: &str| {
        let field = version.metadata.get(key).filter(|field| field.origin == Origin::Measured)?;
        serde_json::from_str::<Value>(&field.json).ok()
    };
    let dtypes = measured("dtypes");
    let mut dtypes: Vec<(&String, u64)> = dtypes
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .map(|(dtype, elements)| (dtype, elements.as_u64().unwrap_or(0)))
        .collect();
    dtypes.sort_by_key(|(_dtype, elements)| std::cmp::Reverse(*elements));
    LatestRecord {
        version: version.version,
        state: version.state,
        format: format_of(&version.artifacts),
        size: version.artifacts.iter().map(|artifact| artifact.size).sum(),
        uploader: version.created_by.clone(),
        verdict: version.inspection.as_ref().map(|inspection| inspection.verdict.clone()),
        parameters: measured("parameters").and_then(|parameters| parameters.as_u64()),
        dtypes: dtypes.into_iter().map(|(dtype, _elements)| dtype.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;

    use super::{FINDINGS_MAX, Inspected, rules_of};
    use crate::inspect::{Facts, Finding, Format, Inspection, Level, RULES};
    use crate::store::records::ArtifactRecord;

    fn finding(rule: &str, level: Level) -> Finding {
        Finding { rule: rule.to_owned(), level, place: String::new(), detail: "x".to_owned() }
    }

    fn inspected(findings: Vec<Finding>) -> Inspected {
        let inspection = Inspection { format: Format::Zip, findings, findings_total: 7000, facts: Facts::default() };
        Inspected::of(vec![("a.zip".parse().unwrap(), Digest::from_bytes([1; 32]), inspection)])
    }

    /// However much else is found: no rule is lost, nor the gravest level it was found at, and all are counted.
    #[test]
    fn shortening_loses_no_rule() {
        assert!(RULES.iter().map(|family| family.len()).sum::<usize>() < FINDINGS_MAX);
        let mut findings: Vec<_> = (0..300).map(|_| finding("zip.crc", Level::Suspicious)).collect();
        findings.extend((0..300).map(|_| finding("pickle.global.library", Level::Note)));
        findings.push(finding("pickle.global.library", Level::Suspicious));
        findings.push(finding("pickle.present", Level::Note));
        let inspected = inspected(findings);
        assert_eq!((inspected.findings.len(), inspected.findings_total), (FINDINGS_MAX, 7000));
        assert!(inspected.has_pickle());
        let rules: Vec<_> = rules_of(&inspected.findings).into_iter().map(|one| (one.rule, one.level)).collect();
        let expected = [("pickle.global.library", "suspicious"), ("pickle.present", "note"), ("zip.crc", "suspicious")];
        assert_eq!(rules, expected.map(|(rule, level)| (rule.to_owned(), level.to_owned())));
        assert_eq!(inspected.findings.last().unwrap().level, "note", "the gravest come first");
    }

    /// An inspection is of these paths with these octets, and of no others.
    #[test]
    fn whose_it_is() {
        let artifact = |path: &str, octet| ArtifactRecord {
            path: path.parse().unwrap(),
            size: 1,
            digest: Digest::from_bytes([octet; 32]),
            format: String::new(),
            verdict: None,
        };
        let inspected = inspected(Vec::new());
        assert!(inspected.is_of(&[artifact("a.zip", 1)]));
        assert!(!inspected.is_of(&[artifact("a.zip", 2)]), "other octets");
        assert!(!inspected.is_of(&[artifact("b.zip", 1)]), "another path");
        assert!(!inspected.is_of(&[artifact("a.zip", 1), artifact("b.zip", 1)]), "a file more");
        assert!(!inspected.is_of(&[]));
    }
}
