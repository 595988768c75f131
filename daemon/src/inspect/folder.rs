//! What the files of a version say together: one set of facts out of those of each, and whether what one names is there.
//! Knows how weights are laid out in files; it reads no file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::facts::cut;
use super::rules::Rule;
use super::{DETAIL_BYTES_MAX, Facts, Finding, Format, Inspection};

const MISSING: Rule = Rule {
    id: "index.missing",
    level: super::Level::Note,
    meaning: "An index of weights names files that the version does not have, so loaders can't load all of it.",
};

/// The rules of whole versions.
pub(super) const RULES: &[Rule] = &[MISSING];

/// The facts of a version and what is found about its files together. Each file comes with its path in the version.
///
/// Parameters are counted once: the numbered parts of one set are added, and so are sets of one format in several folders, as
/// pipelines have them; of the same weights in several formats, precisions or quantisations the largest set counts. Named
/// facts come from the configuration first, then the card, then the weights that were counted, then anything else.
#[must_use]
pub fn folder(files: &[(String, Inspection)]) -> (Facts, Vec<Finding>) {
    let chosen = weights(files);
    let mut facts = Facts::default();
    for (_, inspection) in chosen.iter().map(|at| &files[*at]) {
        let counted = Facts { values: BTreeMap::new(), ..inspection.facts.clone() };
        facts.absorb(counted);
    }
    let mut order: Vec<usize> = (0..files.len()).collect();
    let is_chosen: BTreeSet<usize> = chosen.into_iter().collect();
    order.sort_by_key(|at| (rank(&files[*at].0, is_chosen.contains(at)), depth(&files[*at].0), *at));
    for (path, inspection) in order.iter().map(|at| &files[*at]) {
        for (name, value) in &inspection.facts.values {
            // What concerns one file only.
            if !name.starts_with("index.") {
                facts.set(name, value.clone());
            }
        }
        if last(path).eq_ignore_ascii_case("readme.md") {
            for (from, to) in [("card.license", "license"), ("card.base_model", "base_model"), ("card.task", "task")] {
                facts.set(to, inspection.facts.values.get(from).cloned().unwrap_or_default());
            }
        }
    }
    (facts, missing(files))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn depth(path: &str) -> usize {
    path.matches('/').count()
}

/// How much a file's named facts count, best first.
fn rank(path: &str, is_chosen: bool) -> u8 {
    match last(path).to_ascii_lowercase().as_str() {
        // The configuration of a pipeline stands at its top, those of its parts below.
        "model_index.json" => 0,
        "config.json" => 1,
        "adapter_config.json" => 2,
        "readme.md" => 3,
        "tokenizer_config.json" | "generation_config.json" => 4,
        _ if is_chosen => 5,
        _ => 6,
    }
}

/// The files whose tensors count.
fn weights(files: &[(String, Inspection)]) -> Vec<usize> {
    // By format, by folder, by set: a set is one file, or the numbered parts of one.
    let mut formats: BTreeMap<Format, BTreeMap<&str, BTreeMap<String, Set>>> = BTreeMap::new();
    for (at, (path, inspection)) in files.iter().enumerate().filter(|(_, (_, one))| one.facts.tensors > 0) {
        let (folder, base) = path.rsplit_once('/').unwrap_or(("", path));
        let set =
            formats.entry(inspection.format).or_default().entry(folder).or_default().entry(stem(base)).or_default();
        set.parameters = set.parameters.saturating_add(inspection.facts.parameters);
        set.files.push(at);
    }
    let of_format = |(format, folders): (Format, BTreeMap<&str, BTreeMap<String, Set>>)| {
        let sets = folders.into_values().filter_map(|sets| sets.into_values().reduce(Set::larger));
        // Folders of GGUF hold one quantisation each, not one part each.
        if format == Format::Gguf { sets.reduce(Set::larger) } else { sets.reduce(Set::and) }
    };
    formats.into_iter().filter_map(of_format).reduce(Set::larger).map_or_else(Vec::new, |set| set.files)
}

/// Weights that belong together.
#[derive(Default)]
struct Set {
    parameters: u64,
    files: Vec<usize>,
}

impl Set {
    /// The larger of two, the first if they are of one size.
    fn larger(self, other: Self) -> Self {
        if other.parameters > self.parameters { other } else { self }
    }

    fn and(mut self, other: Self) -> Self {
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.files.extend(other.files);
        self
    }
}

/// A name without the number of its part: `model-00001-of-00003.safetensors`, `pytorch_model-00001.bin`.
fn stem(base: &str) -> String {
    let mut stem = base;
    let mut end = "";
    if let Some((front, extension)) = base.rsplit_once('.') {
        (stem, end) = (front, extension);
    }
    let without_digits = |text: &'_ str| {
        let short = text.trim_end_matches(|one: char| one.is_ascii_digit());
        (text.len() - short.len() >= 4).then(|| short.to_owned())
    };
    let front = match without_digits(stem) {
        None => stem.to_owned(),
        Some(front) => match front.strip_suffix("-of-").and_then(without_digits) {
            Some(front) => front,
            None => front,
        },
    };
    format!("{front}.{end}")
}

/// Names that indices have and the version has not.
fn missing(files: &[(String, Inspection)]) -> Vec<Finding> {
    let present: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let mut findings = Vec::new();
    for (path, inspection) in files {
        let Some(Value::Array(named)) = inspection.facts.values.get("index.files") else { continue };
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let names = named.iter().filter_map(Value::as_str).flat_map(all).map(|name| format!("{folder}{name}"));
        let absent: Vec<String> = names.filter(|name| !present.contains(name.as_str())).collect();
        let Some((first, others)) = absent.split_first() else { continue };
        let detail = match others.len() {
            0 => format!("the index of weights names {first:?}, which is not there"),
            others => format!("the index of weights names {first:?} and {others} more, which are not there"),
        };
        let detail = cut(&detail, DETAIL_BYTES_MAX).to_owned();
        findings.push(Finding { rule: MISSING.id.to_owned(), level: MISSING.level, place: path.clone(), detail });
    }
    findings
}

/// The names that an entry of an index stands for: itself, or a complete set (`transformers.rs` writes it).
fn all(entry: &str) -> Vec<String> {
    let set = entry.split_once("-{1..").and_then(|(stem, rest)| {
        let (total, rest) = rest.split_once("}-of-")?;
        let end = rest.get(5..)?;
        expand(stem, total.parse().ok()?, end)
    });
    set.map_or_else(|| vec![entry.to_owned()], Iterator::collect)
}

/// The names of a complete set of numbered parts. None if there are more than any model has.
pub(super) fn expand(stem: &str, total: usize, end: &str) -> Option<impl Iterator<Item = String>> {
    // The number has five digits.
    (total <= 99_999).then(|| (1..=total).map(move |part| format!("{stem}-{part:05}-of-{total:05}{end}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Facts, Format, Inspection, folder, stem};

    fn weights(path: &str, format: Format, parameters: u64) -> (String, Inspection) {
        let mut facts = Facts::default();
        facts.add_tensor(path, "F32", &[parameters]);
        (path.to_owned(), Inspection { format, findings: Vec::new(), findings_total: 0, facts })
    }

    fn named(path: &str, values: &[(&str, serde_json::Value)]) -> (String, Inspection) {
        let mut facts = Facts::default();
        for (name, value) in values {
            facts.set(name, value.clone());
        }
        (path.to_owned(), Inspection { format: Format::Json, findings: Vec::new(), findings_total: 0, facts })
    }

    #[test]
    fn parts_are_added_and_the_same_weights_in_two_formats_are_not() {
        let files = [
            weights("model-00001-of-00002.safetensors", Format::Safetensors, 60),
            weights("model-00002-of-00002.safetensors", Format::Safetensors, 40),
            weights("model.fp16.safetensors", Format::Safetensors, 99),
            weights("pytorch_model.bin", Format::PytorchZip, 90),
            weights("model.Q4.gguf", Format::Gguf, 95),
        ];
        let (facts, findings) = folder(&files);
        assert_eq!((facts.tensors, facts.parameters), (2, 100));
        assert_eq!(facts.largest.unwrap().0, "model-00001-of-00002.safetensors");
        assert!(findings.is_empty());
    }

    #[test]
    fn parts_of_a_pipeline_are_added_and_quantisations_are_not() {
        let files = [
            weights("unet/model.safetensors", Format::Safetensors, 60),
            weights("vae/model.safetensors", Format::Safetensors, 40),
            weights("vae/model.fp16.safetensors", Format::Safetensors, 40),
        ];
        assert_eq!(folder(&files).0.parameters, 100);
        let files = [weights("q4/m.gguf", Format::Gguf, 60), weights("q8/m.gguf", Format::Gguf, 60)];
        assert_eq!(folder(&files).0.parameters, 60);
        assert_eq!(folder(&[]).0, Facts::default());
    }

    #[test]
    fn configuration_comes_first_then_the_card_then_the_weights() {
        let mut gguf = weights("m.gguf", Format::Gguf, 10);
        gguf.1.facts.set("architecture", "from gguf");
        gguf.1.facts.set("context_length", 1);
        gguf.1.facts.set("license", "from gguf");
        let files = [
            gguf,
            named("README.md", &[("card.license", json!("mit")), ("architecture", json!("from card"))]),
            named("sub/config.json", &[("architecture", json!("below"))]),
            named("config.json", &[("architecture", json!("from config"))]),
        ];
        let values = folder(&files).0.values;
        assert_eq!(values["architecture"], "from config");
        assert_eq!(values["license"], "mit");
        assert_eq!(values["context_length"], 1);
    }

    #[test]
    fn an_index_names_files_that_are_not_there() {
        let index = |files| named("m/model.safetensors.index.json", &[("index.files", files)]);
        let set = json!(["model-{1..2}-of-00002.safetensors"]);
        let first = weights("m/model-00001-of-00002.safetensors", Format::Safetensors, 1);
        let second = weights("m/model-00002-of-00002.safetensors", Format::Safetensors, 1);
        let (facts, findings) = folder(&[index(set.clone()), first.clone(), second]);
        assert!(findings.is_empty());
        assert!(facts.values.is_empty(), "what an index names is no fact of the version");
        let findings = folder(&[index(set), first]).1;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].rule, "index.missing");
        assert!(findings[0].detail.contains("model-00002-of-00002.safetensors"));
        assert!(folder(&[index(json!(["a", "b"]))]).1[0].detail.contains("1 more"));
    }

    #[test]
    fn numbers_of_parts_are_told_from_other_numbers() {
        assert_eq!(stem("model-00001-of-00003.safetensors"), stem("model-00003-of-00003.safetensors"));
        assert_eq!(stem("pytorch_model-00001.bin"), stem("pytorch_model-00002.bin"));
        assert_ne!(stem("model-1.bin"), stem("model-2.bin"));
        assert_ne!(stem("a.bin"), stem("a.safetensors"));
    }
}
