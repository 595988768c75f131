//! Two versions side by side: which fields differ, which files, and the texts of small files that were asked for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::api::{Artifact, VersionInfo};
use common::name::ArtifactPath;
use serde_json::Value;

use crate::action::RequestId;
use crate::time::grouped;

/// Largest file whose text is compared, in octets.
pub const TEXT_OCTETS_MAX: u64 = 256 * 1024;
/// Lines round a change that are shown with it.
pub const CONTEXT_LINES: usize = 3;

/// The text of one file on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Texts {
    /// One or both are on their way: the requests, and what has come.
    Coming {
        /// The requests, left and right.
        asked: [Option<RequestId>; 2],
        /// What has come.
        came: [Option<Vec<u8>>; 2],
    },
    /// The unified difference.
    Lines(Vec<(Sign, String)>),
    /// Why there is none.
    Failed(String),
}

/// What a line of a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a sign says its name")]
pub enum Sign {
    Hunk,
    Same,
    Gone,
    New,
}

/// How a field or file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The same on both sides.
    Equal,
    /// Another on the right.
    Changed,
    /// Only on the right.
    New,
    /// Only on the left.
    Gone,
}

/// A line of the comparison that can be selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffRow {
    /// A heading.
    Head(String),
    /// A field.
    Field {
        /// Its name.
        name: String,
        /// Its value, left and right.
        values: [String; 2],
        /// The difference of numbers, signed.
        delta: String,
        /// How it stands.
        standing: Standing,
    },
    /// A file.
    File {
        /// Its path.
        path: ArtifactPath,
        /// Its size, left and right.
        sizes: [Option<u64>; 2],
        /// How it stands.
        standing: Standing,
    },
    /// A line of a text.
    Text(Sign, String),
}

impl DiffRow {
    /// Whether `n` stops here.
    pub fn is_hit(&self) -> bool {
        match self {
            Self::Head(_) => false,
            Self::Field { standing, .. } | Self::File { standing, .. } => *standing != Standing::Equal,
            Self::Text(sign, _) => *sign == Sign::Hunk,
        }
    }
}

/// Two versions that are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The older.
    pub left: VersionInfo,
    /// The newer.
    pub right: VersionInfo,
    /// Equal fields are shown too.
    pub all: bool,
    /// The selected row.
    pub selected: usize,
    /// Texts that were asked for.
    pub texts: BTreeMap<ArtifactPath, Texts>,
}

impl Compared {
    /// Two versions; the older is put on the left.
    pub fn new(one: VersionInfo, other: VersionInfo) -> Self {
        let (left, right) = if one.version <= other.version { (one, other) } else { (other, one) };
        Self { left, right, all: false, selected: 0, texts: BTreeMap::new() }
    }

    /// How many fields differ, of how many.
    pub fn counts(&self) -> (usize, usize) {
        let fields = fields(&self.left, &self.right);
        (fields.iter().filter(|field| field.is_hit()).count(), fields.len())
    }

    /// The rows: fields that differ first, then files, then the texts that were asked for.
    pub fn rows(&self) -> Vec<DiffRow> {
        let all = fields(&self.left, &self.right);
        let mut rows: Vec<DiffRow> = all.iter().filter(|field| field.is_hit()).cloned().collect();
        if rows.is_empty() {
            rows.push(DiffRow::Head("no field differs".to_owned()));
        }
        if self.all {
            rows.extend(all.into_iter().filter(|field| !field.is_hit()));
        }
        rows.push(DiffRow::Head("FILES".to_owned()));
        rows.extend(files(&self.left, &self.right));
        for (path, texts) in &self.texts {
            rows.push(DiffRow::Head(path.to_string()));
            match texts {
                Texts::Coming { .. } => rows.push(DiffRow::Text(Sign::Same, "loading".to_owned())),
                Texts::Failed(why) => rows.push(DiffRow::Text(Sign::Same, why.clone())),
                Texts::Lines(lines) => {
                    rows.extend(lines.iter().map(|(sign, text)| DiffRow::Text(*sign, text.clone())));
                }
            }
        }
        rows
    }

    /// The file on each side.
    pub fn sides(&self, path: &ArtifactPath) -> [Option<&Artifact>; 2] {
        [&self.left, &self.right].map(|version| version.artifacts.iter().find(|artifact| artifact.path == *path))
    }
}

fn standing(left: Option<&String>, right: Option<&String>) -> Standing {
    match (left, right) {
        (Some(left), Some(right)) if left == right => Standing::Equal,
        (Some(_), Some(_)) | (None, None) => Standing::Changed,
        (None, Some(_)) => Standing::New,
        (Some(_), None) => Standing::Gone,
    }
}

fn fields(left: &VersionInfo, right: &VersionInfo) -> Vec<DiffRow> {
    let facts = [left, right].map(facts);
    let mut names: Vec<&String> = facts[0].iter().chain(&facts[1]).map(|(name, _)| name).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert((*name).clone()));
    let of = |side: usize, name: &str| facts[side].iter().find(|(known, _)| known == name).map(|(_, value)| value);
    names
        .into_iter()
        .map(|name| {
            let values = [of(0, name), of(1, name)];
            DiffRow::Field {
                name: name.clone(),
                delta: delta(values[0].map(String::as_str), values[1].map(String::as_str)),
                standing: standing(values[0], values[1]),
                values: values.map(|value| value.cloned().unwrap_or_else(|| "-".to_owned())),
            }
        })
        .collect()
}

/// What is known of a version, by name, in the order of interest.
fn facts(version: &VersionInfo) -> Vec<(String, String)> {
    let size = version.artifacts.iter().map(|artifact| artifact.size).fold(0u64, u64::saturating_add);
    let mut facts = vec![
        ("state".to_owned(), version.state.as_str().to_owned()),
        ("size".to_owned(), grouped(size)),
        ("files".to_owned(), version.artifacts.len().to_string()),
        (
            "verdict".to_owned(),
            version.inspection.as_ref().map_or("-".to_owned(), |inspection| inspection.verdict.clone()),
        ),
    ];
    if let [only] = version.artifacts.as_slice() {
        facts.insert(0, ("digest".to_owned(), only.digest.to_string()));
        facts.push(("format".to_owned(), only.format.clone()));
    }
    for finding in &version.findings {
        facts.push((format!("finding {}", finding.rule), format!("{} {}", finding.level, finding.place)));
    }
    for (key, datum) in &version.metadata {
        flatten(key, &datum.value, &mut facts);
    }
    facts.push(("description".to_owned(), version.description.clone()));
    facts.push(("published by".to_owned(), format!("{} ({})", version.created_by, version.source)));
    facts
}

/// Metadata objects become one field per member, one level deep: a metric each.
fn flatten(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => into.push((key.to_owned(), text.clone())),
        Value::Object(members) => {
            for (name, member) in members {
                let text = member.as_str().map_or_else(|| member.to_string(), str::to_owned);
                into.push((format!("{key}.{name}"), text));
            }
        }
        other => into.push((key.to_owned(), other.to_string())),
    }
}

/// `+684`, `-2`, `+0.006`; nothing where a side is no number.
fn delta(left: Option<&str>, right: Option<&str>) -> String {
    let (Some(left), Some(right)) = (left, right) else { return String::new() };
    if left == right {
        return String::new();
    }
    let plain = |text: &str| text.replace(' ', "");
    let (left, right) = (plain(left), plain(right));
    if let (Ok(left), Ok(right)) = (left.parse::<i128>(), right.parse::<i128>()) {
        let change = right - left;
        let digits = grouped(u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX));
        return format!("{}{digits}", if change < 0 { '-' } else { '+' });
    }
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left_number), Ok(right_number)) if left_number.is_finite() && right_number.is_finite() => {
            let places = |text: &str| text.split_once('.').map_or(0, |(_, after)| after.len().min(9));
            let places = places(&left).max(places(&right));
            format!("{:+.places$}", right_number - left_number)
        }
        _ => String::new(),
    }
}

fn files(left: &VersionInfo, right: &VersionInfo) -> Vec<DiffRow> {
    let of = |version: &VersionInfo| -> BTreeMap<ArtifactPath, (u64, String)> {
        let all = version.artifacts.iter();
        all.map(|artifact| (artifact.path.clone(), (artifact.size, artifact.digest.to_string()))).collect()
    };
    let sides = [of(left), of(right)];
    let paths: BTreeSet<&ArtifactPath> = sides[0].keys().chain(sides[1].keys()).collect();
    paths
        .into_iter()
        .map(|path| {
            let (left, right) = (sides[0].get(path), sides[1].get(path));
            DiffRow::File {
                path: path.clone(),
                sizes: [left.map(|file| file.0), right.map(|file| file.0)],
                standing: standing(left.map(|file| &file.1), right.map(|file| &file.1)),
            }
        })
        .collect()
}

/// The unified difference of two texts, or why there is none.
pub fn unified(left: &[u8], right: &[u8]) -> Texts {
    let (Ok(left), Ok(right)) = (std::str::from_utf8(left), std::str::from_utf8(right)) else {
        return Texts::Failed("it is not text (not UTF-8)".to_owned());
    };
    let mut lines = Vec::new();
    let diff = similar::TextDiff::configure().timeout(std::time::Duration::from_millis(200)).diff_lines(left, right);
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        lines.push((Sign::Hunk, hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                similar::ChangeTag::Equal => Sign::Same,
                similar::ChangeTag::Delete => Sign::Gone,
                similar::ChangeTag::Insert => Sign::New,
            };
            let text = change.value().trim_end_matches(['\n', '\r']).to_owned();
            lines.push((sign, text));
        }
    }
    if lines.is_empty() {
        return Texts::Failed("the texts are equal".to_owned());
    }
    Texts::Lines(lines)
}

#[cfg(test)]
mod tests {
    use super::{Sign, Texts, delta, unified};

    #[test]
    fn differences_of_numbers() {
        for (left, right, shown) in [
            ("24 118 220", "24 118 904", "+684"),
            ("14", "12", "-2"),
            ("0.907", "0.913", "+0.006"),
            ("1", "1", ""),
            ("a", "2", ""),
            ("18446744073709551615", "0", "-18 446 744 073 709 551 615"),
        ] {
            assert_eq!(delta(Some(left), Some(right)), shown, "{left} {right}");
        }
    }

    /// A text difference has its hunks with context; what is no text, or equal, says so.
    #[test]
    fn texts() {
        let left: String = (0..20).map(|line| format!("line {line}\n")).collect();
        let right = left.replace("line 10\n", "line ten\n");
        let Texts::Lines(lines) = unified(left.as_bytes(), right.as_bytes()) else { panic!("they differ") };
        assert_eq!(lines.len(), 1 + 3 + 2 + 3);
        assert_eq!(lines[4..6], [(Sign::Gone, "line 10".to_owned()), (Sign::New, "line ten".to_owned())]);
        assert!(matches!(unified(b"\xff", b"x"), Texts::Failed(_)));
        assert!(matches!(unified(b"x", b"x"), Texts::Failed(why) if why.contains("equal")));
    }
}
