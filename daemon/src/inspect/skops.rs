//! The schema of a skops archive: every type it names is looked up and built when it is loaded. Knows how such types stand;
//! the archive around is a zip like any other.

use super::config::{Judge, Type};
use super::cursor::Stop;
use super::pickle::globals::{Standing, standing};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Format, Level};

const TYPE: Rule = Rule {
    id: "skops.type",
    level: Level::Suspicious,
    meaning: "The skops schema names a type or function that is on no list, or one that runs code or opens files: loading \
              looks it up and builds it.",
};
const BROKEN: Rule = Rule {
    id: "skops.broken",
    level: Level::Unscannable,
    meaning: "The schema of a skops archive has not the keys that skops reads, so nothing can be said about its types.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[TYPE, BROKEN];

/// Judges the types that a JSON document named, if it is a schema.
pub(super) fn judge(scan: &mut Scan, judge: &Judge, place: &Place, name: &str) -> Result<(), Stop> {
    let schema = name.rsplit('/').next() == Some("schema.json") && place.container() == Some(Format::Skops);
    let says_so = judge.has_top("_skops_version") || judge.has_top("__loader__");
    if schema && !says_so {
        scan.find(&BROKEN, place, None, "a skops schema that names no loader and no version");
    }
    for named in &judge.types {
        scan.global(place)?;
        one(scan, named, place, schema || says_so);
    }
    Ok(())
}

/// One type. Outside a schema nothing is known to look it up, so only what no data would name counts.
fn one(scan: &mut Scan, named: &Type, place: &Place, schema: bool) {
    let Type { module, class, loader } = named;
    // It has a node of its own, and what it wraps is named by itself.
    let is_wrapper = (module.as_str(), class.as_str(), loader.as_str()) == ("functools", "partial", "PartialNode");
    let trusted = ["sklearn", "numpy", "scipy"]
        .iter()
        .any(|prefix| module.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    match standing(scan.rules, module, class) {
        Standing::Denied if !is_wrapper => {
            let detail = format_args!("the schema names {module}.{class}, which runs code or opens files");
            scan.find_as(Level::Malicious, &TYPE, place, None, detail);
        }
        Standing::Unknown | Standing::Denied if schema && !trusted => {
            scan.find(&TYPE, place, None, format_args!("the schema names {module}.{class}, which is on no list"));
        }
        Standing::Unknown | Standing::Denied | Standing::Allowed | Standing::Library => {}
    }
}
