//! The scanner against the corpus: what `mregd scan` says of each sample is what the manifest expects (scanning.md §9).
//!
//! `tests/corpus/make.py` made the samples and says of each what it is; hostile ones carry inert payloads. Nothing in it
//! is loaded here: the files are unpacked, scanned and thrown away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tests::daemon::{binary, workspace};

/// Files one process is given: several processes, so that one that dies does not take all answers with it.
const FILES_PER_PROCESS: usize = 100;

/// A line of the manifest.
struct Sample {
    /// Path in the archive: `hostile/` or `harmless/`, and the file's name.
    name: String,
    /// The verdict, or `not-clean` for any other than clean.
    expected: String,
    /// The format's name, or `*` where the specification does not settle it.
    format: String,
    what: String,
}

impl Sample {
    fn is_hostile(&self) -> bool {
        self.name.starts_with("hostile/")
    }

    /// What is wrong with a verdict. A hostile sample may be judged harder than expected, and never be clean; a harmless
    /// one is judged exactly as expected.
    fn complaint(&self, verdict: &str) -> Option<String> {
        let right = match self.expected.as_str() {
            "malicious" => verdict == "malicious",
            _ if self.is_hostile() => ["suspicious", "unscannable", "malicious"].contains(&verdict),
            expected => verdict == expected,
        };
        (!right).then(|| format!("{verdict}, expected {}", self.expected))
    }
}

/// The corpus on disk.
struct Corpus {
    root: TempDir,
    samples: Vec<Sample>,
}

impl Corpus {
    fn unpack() -> Self {
        let directory = workspace().join("tests/corpus");
        let root = tempfile::tempdir().unwrap();
        let output =
            Command::new("tar").arg("-xzf").arg(directory.join("files.tar.gz")).arg("-C").arg(root.path()).output();
        let output = output.expect("tar runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = fs::read_to_string(directory.join("manifest.tsv")).unwrap();
        let samples = manifest.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let fields = line.split('\t').collect::<Vec<_>>();
            let [name, expected, format, _executes, what] = fields[..] else { panic!("five fields: {line}") };
            Sample { name: name.into(), expected: expected.into(), format: format.into(), what: what.into() }
        });
        Self { samples: samples.collect(), root }
    }

    fn path(&self, sample: &Sample) -> PathBuf {
        self.root.path().join(&sample.name)
    }
}

/// Runs `mregd scan --json` on files.
fn scan(files: &[PathBuf]) -> Output {
    Command::new(binary()).args(["scan", "--json"]).args(files).env_clear().output().expect("mregd runs")
}

/// The answers of one process by file, one JSON object a line.
fn answers(output: &Output) -> BTreeMap<PathBuf, Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|answer| Some((PathBuf::from(answer["file"].as_str()?), answer))).collect()
}

/// What is wrong with the form of an answer: every finding is whole, and the verdict is that of the gravest one.
fn malformed(answer: &Value) -> Option<String> {
    const LEVELS: [&str; 4] = ["note", "suspicious", "unscannable", "malicious"];
    if answer["ruleset"].as_str().is_none_or(str::is_empty) {
        return Some("no ruleset".into());
    }
    let Some(findings) = answer["findings"].as_array() else { return Some("no findings".into()) };
    let mut gravest = 0;
    for finding in findings {
        let Some(level) = LEVELS.iter().position(|level| finding["level"] == *level) else {
            return Some(format!("no level: {finding}"));
        };
        gravest = gravest.max(level);
        if ["rule", "where", "detail"].iter().any(|field| !finding[field].is_string()) {
            return Some(format!("not whole: {finding}"));
        }
        if finding["detail"].as_str().is_some_and(|detail| detail.len() > 200) {
            return Some(format!("longer than 200 octets: {finding}"));
        }
    }
    let verdict = if gravest == 0 { "clean" } else { LEVELS[gravest] };
    (answer["verdict"] != verdict).then(|| format!("{}, but the gravest finding says {verdict}", answer["verdict"]))
}

/// The rules that fired, for a message.
fn rules(answer: &Value) -> String {
    let findings = answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rules = findings.iter().filter_map(|finding| finding["rule"].as_str()).collect::<Vec<_>>();
    rules.dedup();
    rules.join(" ")
}

/// Every sample gets the verdict and the format that the manifest expects; all that is wrong is said at once.
#[test]
fn verdicts_are_as_expected() {
    let corpus = Corpus::unpack();
    let hostile = corpus.samples.iter().filter(|sample| sample.is_hostile()).count();
    assert!(hostile >= 280 && corpus.samples.len() - hostile >= 100, "the corpus is whole");

    let mut wrong = Vec::new();
    for samples in corpus.samples.chunks(FILES_PER_PROCESS) {
        let files = samples.iter().map(|sample| corpus.path(sample)).collect::<Vec<_>>();
        let output = scan(&files);
        if !output.stderr.is_empty() {
            wrong.push(format!("diagnostics: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let answers = answers(&output);
        for sample in samples {
            let Some(answer) = answers.get(&corpus.path(sample)) else {
                wrong.push(format!("{}: no answer ({})", sample.name, sample.what));
                continue;
            };
            let verdict = answer["verdict"].as_str().unwrap_or("no verdict");
            let format = answer["format"].as_str().unwrap_or("no format");
            let other_format = (sample.format != "*" && sample.format != format)
                .then(|| format!("format {format}, expected {}", sample.format));
            for complaint in [sample.complaint(verdict), other_format, malformed(answer)].into_iter().flatten() {
                wrong.push(format!("{}: {complaint} [{}] ({})", sample.name, rules(answer), sample.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} samples:\n{}", wrong.len(), corpus.samples.len(), wrong.join("\n"));
}

/// The exit code says the verdict, so that a script needs no JSON; of several files it is that of the gravest.
#[test]
fn exit_code_is_the_verdict() {
    let corpus = Corpus::unpack();
    let of = |name: &str| {
        let sample = corpus.samples.iter().find(|sample| sample.name == name).expect("the sample is there");
        corpus.path(sample)
    };
    let clean = of("harmless/one.safetensors");
    let suspicious = of("hostile/unknown-user-function.pkl");
    let unscannable = of("hostile/opaque-seven.7z");
    let malicious = of("hostile/call-os-system.pkl");
    let cases: [(&[&Path], i32); 6] = [
        (&[&clean], 0),
        (&[&suspicious], 10),
        (&[&unscannable], 11),
        (&[&malicious], 12),
        (&[&suspicious, &clean], 10),
        (&[&malicious, &unscannable, &clean], 12),
    ];
    for (files, code) in cases {
        let output = scan(&files.iter().map(|file| file.to_path_buf()).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(code), "{files:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A file that isn't there is an error and no verdict.
#[test]
fn missing_file_is_an_error() {
    let output = scan(&[PathBuf::from("/nonexistent/model.pkl")]);
    let code = output.status.code().expect("it ends by itself");
    assert!(![0, 10, 11, 12].contains(&code), "{code}");
    assert!(!output.stderr.is_empty(), "it says why");
}
