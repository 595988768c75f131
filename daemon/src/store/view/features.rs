//! Features of models: rules that found something in a version of theirs, and the licences of their versions. Models are found
//! and counted by each. A version that is deleted has none; a model has those of its versions, and is counted while it is neither
//! deleted nor purged. Knows versions' records; refuses to know what is asked of them.

use std::collections::BTreeSet;

use common::name::ModelId;
use serde_json::Value;

use super::{id, is_live, key, model_id, record, set_count};
use crate::store::overlay::{Kv, Overlay, prefixed};
use crate::store::records::{ModelRecord, VersionRecord};
use crate::store::{Feature, Read};

/// The facts that name a licence, the one that is measured or claimed first.
const LICENCE_FACTS: [&str; 3] = ["license", "card.license", "card.license_name"];
/// Licences of one version, at most; the rest is not found by.
const LICENCES_MAX: usize = 8;

/// Where a model is found by a feature.
pub(super) fn prefix(feature: &Feature) -> Vec<u8> {
    key(b'V', &[feature.as_str().as_bytes(), b"\0"])
}

/// How many versions of a model have a feature.
fn of_model(model: ModelId, feature: &str) -> Vec<u8> {
    key(b'p', &[&id(model), feature.as_bytes()])
}

fn count_key(feature: &str) -> Vec<u8> {
    key(b'B', &[feature.as_bytes()])
}

/// How many models that are neither deleted nor purged have a feature.
pub(super) fn count(kv: &(impl Kv + ?Sized), feature: &Feature) -> Read<u64> {
    Ok(record(kv, &count_key(feature.as_str()))?.unwrap_or_default())
}

/// Whether a model has a feature.
pub(super) fn has(kv: &(impl Kv + ?Sized), model: ModelId, feature: &Feature) -> Read<bool> {
    Ok(kv.get(&of_model(model, feature.as_str()))?.is_some())
}

/// The model at the end of a key.
pub(super) fn model_at(prefix: &[u8], at: &[u8]) -> Read<ModelId> {
    model_id(at.get(prefix.len()..).unwrap_or_default())
}

fn features(version: &VersionRecord) -> BTreeSet<Feature> {
    let mut found = BTreeSet::new();
    for finding in &version.findings {
        found.extend(Feature::rule(&finding.rule));
        // A family is a feature of its own, so that it is counted like a rule.
        for (dot, _) in finding.rule.match_indices('.') {
            found.extend(Feature::rule(&format!("{}.*", &finding.rule[..dot])));
        }
    }
    let facts = LICENCE_FACTS.iter().filter_map(|name| version.metadata.get(*name));
    let values = facts.filter_map(|fact| serde_json::from_str(&fact.json).ok());
    let texts = values.flat_map(|value| match value {
        Value::String(text) => vec![text],
        Value::Array(all) => {
            let texts = all.into_iter().filter_map(|one| if let Value::String(text) = one { Some(text) } else { None });
            texts.take(LICENCES_MAX).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    });
    found.extend(texts.filter_map(|text| Feature::licence(&text)).take(LICENCES_MAX));
    found
}

/// Moves a version in the index by features.
pub(super) fn index(overlay: &mut Overlay<'_>, old: Option<&VersionRecord>, new: Option<&VersionRecord>) -> Read<()> {
    let live = |version: &&VersionRecord| version.deleted.is_none();
    let (old, new) = (old.filter(live), new.filter(live));
    // Most changes of a version are not of what inspection found.
    if let (Some(old), Some(new)) = (old, new)
        && old.findings == new.findings
        && old.metadata == new.metadata
    {
        return Ok(());
    }
    let (before, after) = (old.map(features).unwrap_or_default(), new.map(features).unwrap_or_default());
    if before == after {
        return Ok(());
    }
    let Some(model) = old.or(new).map(|version| version.model) else { return Ok(()) };
    let of_live = record::<ModelRecord>(overlay, &key(b'm', &[&id(model)]))?.as_ref().is_some_and(is_live);
    for feature in before.symmetric_difference(&after) {
        let joins = after.contains(feature);
        let at = of_model(model, feature.as_str());
        let count: u64 = record(overlay, &at)?.unwrap_or_default();
        let count_now = if joins { count + 1 } else { count.saturating_sub(1) };
        set_count(overlay, at, count_now)?;
        if (count == 0) == (count_now == 0) {
            continue;
        }
        let found_at = [&prefix(feature)[..], &id(model)[..]].concat();
        if joins {
            overlay.put(found_at, Vec::new());
        } else {
            overlay.delete(found_at);
        }
        if of_live {
            count_one(overlay, feature.as_str(), joins)?;
        }
    }
    Ok(())
}

fn count_one(overlay: &mut Overlay<'_>, feature: &str, joins: bool) -> Read<()> {
    let at = count_key(feature);
    let count: u64 = record(overlay, &at)?.unwrap_or_default();
    set_count(overlay, at, if joins { count + 1 } else { count.saturating_sub(1) })
}

/// Counts the features of a model that comes, is deleted or is restored.
pub(super) fn count_of_model(overlay: &mut Overlay<'_>, model: ModelId, joins: bool) -> Read<()> {
    let prefix = key(b'p', &[&id(model)]);
    let mut all = Vec::new();
    for pair in prefixed(&*overlay, &prefix, false) {
        all.push(String::from_utf8_lossy(pair?.0.get(prefix.len()..).unwrap_or_default()).into_owned());
    }
    for feature in all {
        count_one(overlay, &feature, joins)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::api::State;
    use common::name::ModelId;
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::super::tests::{model, tree, version, write};
    use super::super::{KvRecords, SORTED_ROWS_MAX};
    use crate::store::packed::PackedTree;
    use crate::store::records::{DeletionRecord, FindingRecord, MetadatumRecord, ModelRecord, VersionRecord, Write};
    use crate::store::{Feature, ModelQuery, ModelSort, Records as _};

    fn deletion() -> DeletionRecord {
        DeletionRecord { at_ms: 1, restorable_until_ms: 2, by: "ana".into(), state_before: State::Available }
    }

    fn found(of: u32, number: u32, rules: &[&str], licence: Option<&str>) -> VersionRecord {
        let finding = |rule: &&str| FindingRecord {
            rule: (*rule).to_owned(),
            level: "note".into(),
            place: String::new(),
            detail: String::new(),
        };
        let fact = |json: &str| MetadatumRecord { json: json.to_owned(), origin: common::api::Origin::Measured };
        VersionRecord {
            model: ModelId::from_u128(u128::from(of) + 1),
            findings: rules.iter().map(finding).collect(),
            metadata: licence.map(|json| ("license".to_owned(), fact(json))).into_iter().collect(),
            ..version(number, State::Available, None)
        }
    }

    fn put(of: u32, number: u32, rules: &[&str], licence: Option<&str>) -> Write {
        Write::PutVersion(found(of, number, rules, licence))
    }

    fn listed(tree: &PackedTree, feature: Option<Feature>) -> (Option<u64>, Vec<u128>) {
        let query = ModelQuery { features: vec![feature.unwrap()], limit: 1000, ..ModelQuery::default() };
        let page = KvRecords(tree).models(&query).unwrap();
        (page.total, page.models.iter().map(|model| model.id.as_u128() - 1).collect())
    }

    /// Models are found by what was found in their versions, by families of rules, and by licences in any case; what is deleted,
    /// restored and purged goes and comes.
    #[test]
    fn by_rule_and_licence() {
        let tree = tree();
        let models = (0..3).map(|number| Write::PutModel(model(number, &[])));
        write(&tree, &models.collect::<Vec<_>>());
        write(
            &tree,
            &[put(0, 1, &["pickle.call", "pickle.call"], Some("\"MIT\"")), put(1, 1, &["pickle.global.denied"], None)],
        );
        write(
            &tree,
            &[put(2, 1, &["pickles.x"], Some("[\"apache-2.0\", \"mit\", 7]")), put(0, 2, &["pickle.call"], None)],
        );
        let rule = |text: &str| listed(&tree, Feature::rule(text));
        let licence = |text: &str| listed(&tree, Feature::licence(text));
        assert_eq!(rule("pickle.call"), (Some(1), vec![0]));
        assert_eq!(rule("pickle.*"), (Some(2), vec![0, 1]));
        assert_eq!(rule("pickle.global.*"), (Some(1), vec![1]));
        assert_eq!(rule("pickle"), (Some(0), vec![]));
        assert_eq!(licence(" Mit"), (Some(2), vec![0, 2]));
        assert_eq!(licence("APACHE-2.0"), (Some(1), vec![2]));
        assert_eq!(Feature::licence("a\0b"), None);
        // One of two versions goes; then the other.
        write(&tree, &[Write::DeleteVersion { model: ModelId::from_u128(1), version: 1.try_into().unwrap() }]);
        assert_eq!((rule("pickle.call"), licence("mit")), ((Some(1), vec![0]), (Some(1), vec![2])));
        let second = found(0, 2, &["pickle.call"], None);
        write(&tree, &[Write::PutVersion(VersionRecord { deleted: Some(deletion()), ..second.clone() })]);
        assert_eq!(rule("pickle.*"), (Some(1), vec![1]));
        write(&tree, &[Write::PutVersion(second)]);
        // What an inspection anew no longer finds is gone; what it finds is there.
        write(&tree, &[put(1, 1, &["new.rule"], None)]);
        assert_eq!((rule("pickle.*"), rule("new.rule")), ((Some(1), vec![0]), (Some(1), vec![1])));
        let gone = ModelRecord { deleted: Some(deletion()), ..model(0, &[]) };
        write(&tree, &[Write::PutModel(gone.clone())]);
        assert_eq!(rule("pickle.call"), (Some(0), vec![]));
        write(&tree, &[Write::PutModel(model(0, &[]))]);
        assert_eq!(rule("pickle.call"), (Some(1), vec![0]));
        let purge = Write::DeleteVersion { model: ModelId::from_u128(1), version: 2.try_into().unwrap() };
        write(&tree, &[Write::PutModel(gone), purge, Write::PutModel(ModelRecord { purged: true, ..model(0, &[]) })]);
        assert_eq!(rule("pickle.call"), (Some(0), vec![]));
    }

    /// Every order, forward and back, page by page, has the same rows whether they are sorted or walked.
    #[test]
    fn pages() {
        let tree = tree();
        let many = u32::try_from(SORTED_ROWS_MAX).unwrap() + 300;
        let models = (0..many).map(|number| Write::PutModel(model(number, &[])));
        write(&tree, &models.collect::<Vec<_>>());
        let versions = (0..many).map(|number| {
            let rules: &[&str] = if number % 13 == 0 { &["common.x", "rare.x"] } else { &["common.x"] };
            put(number, 1, rules, None)
        });
        write(&tree, &versions.collect::<Vec<_>>());
        for sort in [
            ModelSort::NameUp,
            ModelSort::NameDown,
            ModelSort::UpdatedUp,
            ModelSort::UpdatedDown,
            ModelSort::CreatedUp,
            ModelSort::CreatedDown,
        ] {
            let walk = |rules: &[&str], backward: bool| {
                let features = rules.iter().map(|rule| Feature::rule(rule).unwrap()).collect();
                let mut query = ModelQuery { features, sort, backward, limit: 7, ..ModelQuery::default() };
                let mut all = Vec::new();
                loop {
                    let page = KvRecords(&tree).models(&query).unwrap();
                    let ids = page.models.iter().map(|model| model.id);
                    if backward {
                        all.splice(0..0, ids.collect::<Vec<_>>());
                    } else {
                        all.extend(ids)
                    }
                    let Some(next) = page.next else { return all };
                    query.after = Some(next);
                }
            };
            let sorted = walk(&["rare.x", "common.x"], false);
            assert_eq!(sorted.len(), usize::try_from(many.div_ceil(13)).unwrap());
            for rules in [&["rare.x"][..], &["common.x", "rare.x"]] {
                assert_eq!(
                    (walk(rules, false), walk(rules, true)),
                    (sorted.clone(), sorted.clone()),
                    "{sort:?} {rules:?}"
                );
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Version { model: u32, number: u32, rules: u8, deleted: bool },
        Gone { model: u32, number: u32 },
        Model { model: u32, deleted: bool },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let at = || (0..3_u32, 1..4_u32);
        proptest::collection::vec(
            prop_oneof![
                4 => (at(), 0..8_u8, any::<bool>()).prop_map(|((model, number), rules, deleted)| Step::Version { model, number, rules, deleted }),
                1 => at().prop_map(|(model, number)| Step::Gone { model, number }),
                2 => (0..3_u32, any::<bool>()).prop_map(|(model, deleted)| Step::Model { model, deleted }),
            ],
            0..40,
        )
    }

    proptest! {
        /// Whatever comes and goes in whatever order: what is found and counted is what a look at all versions finds.
        #[test]
        fn what_is_there(steps in steps()) {
            const RULES: [&str; 3] = ["a.x", "a.y", "b.z.w"];
            let tree = tree();
            let mut versions: BTreeMap<(u32, u32), (u8, bool)> = BTreeMap::new();
            let mut models: BTreeMap<u32, bool> = BTreeMap::new();
            for step in steps {
                let one = match step {
                    Step::Version { model, number, rules, deleted } => {
                        versions.insert((model, number), (rules, deleted));
                        let rules: Vec<&str> = (0..3).filter(|bit| rules & (1 << bit) != 0).map(|bit| RULES[bit]).collect();
                        let deleted = deleted.then(deletion);
                        Write::PutVersion(VersionRecord { deleted, ..found(model, number, &rules, None) })
                    }
                    Step::Gone { model, number } => {
                        versions.remove(&(model, number));
                        Write::DeleteVersion { model: ModelId::from_u128(u128::from(model) + 1), version: number.try_into().unwrap() }
                    }
                    Step::Model { model: which, deleted } => {
                        models.insert(which, deleted);
                        Write::PutModel(ModelRecord { deleted: deleted.then(deletion), ..model(which, &[]) })
                    }
                };
                write(&tree, &[one]);
            }
            for (text, bits) in [("a.x", 1), ("a.y", 2), ("b.z.w", 4), ("a.*", 3), ("b.*", 4), ("b.z.*", 4)] {
                let has = |which: u32| versions.iter().any(|((of, _), (rules, deleted))| *of == which && !deleted && rules & bits != 0);
                let wanted: Vec<u128> = models.iter().filter(|(which, deleted)| !**deleted && has(**which)).map(|(which, _)| u128::from(*which)).collect();
                prop_assert_eq!(listed(&tree, Feature::rule(text)), (Some(wanted.len() as u64), wanted), "{}", text);
            }
        }
    }
}
