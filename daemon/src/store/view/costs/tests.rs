//! What a page looks at, counted and not timed: it must not grow with the registry. And pages hold what a look at everything
//! finds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use common::api::State;
use common::name::{Alias, ModelId, ModelName, Version};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::tests::{model, put, tree};
use super::{COUNT_ROWS_MAX, KvRecords, matches};
use crate::store::overlay::{Kv, Pairs};
use crate::store::records::{AliasRecord, DeletionRecord, LatestRecord, ModelRecord};
use crate::store::{ModelQuery, ModelSort, ModelUnlike, NamesWanted, Read, Records};

const SORTS: [ModelSort; 6] = [
    ModelSort::NameUp,
    ModelSort::NameDown,
    ModelSort::UpdatedUp,
    ModelSort::UpdatedDown,
    ModelSort::CreatedUp,
    ModelSort::CreatedDown,
];

/// Counts what is asked of another: look-ups, and pairs that iterations give.
struct Counting<'k, K: Kv> {
    of: &'k K,
    count: Cell<usize>,
}

impl<K: Kv> Counting<'_, K> {
    fn one_more(&self) {
        self.count.set(self.count.get() + 1);
    }
}

impl<K: Kv> Kv for Counting<'_, K> {
    fn get(&self, key: &[u8]) -> Read<Option<sled::IVec>> {
        self.one_more();
        self.of.get(key)
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
        self.one_more();
        Box::new(self.of.range(from, to, down).inspect(|_pair| self.one_more()))
    }
}

/// One of many: every tenth is of a common kind, and of three the last is rare.
fn one_of_many(number: u32, of: u32) -> ModelRecord {
    let is_rare = number % (of / 3) == of / 6;
    let (format, uploader, state, verdict) = match number {
        _ if is_rare => ("rare", "rose", State::Quarantined, "suspicious"),
        _ if number.is_multiple_of(10) => ("onnx", "carol", State::Available, "clean"),
        _ => ("safetensors", "bob", State::Available, "clean"),
    };
    let version: Version = 1.try_into().unwrap();
    let latest = LatestRecord {
        version,
        state,
        format: format.to_owned(),
        size: 1,
        uploader: uploader.to_owned(),
        verdict: Some(verdict.to_owned()),
        parameters: Some(1),
        dtypes: vec!["F32".to_owned()],
    };
    let alias = AliasRecord { version, set_at_ms: 0, set_by: "ana".to_owned(), index: 0 };
    let prod: Alias = "prod".parse().unwrap();
    ModelRecord {
        name: format!("team-{}/model-{number:05}", number % 7).parse().unwrap(),
        description: if is_rare { "a curious one".to_owned() } else { "one as any other".to_owned() },
        latest: Some(latest),
        aliases: if is_rare { BTreeMap::from([(prod, alias)]) } else { BTreeMap::new() },
        updated_at_ms: i64::from(number * 7919 % 10_007),
        ..model(number, &[("stage", if is_rare { "rare" } else { "dev" })])
    }
}

fn queries() -> Vec<(String, ModelQuery)> {
    let any = ModelQuery { limit: 50, ..ModelQuery::default() };
    let tag = |value: &str| vec![("stage".to_owned(), value.to_owned())];
    let text = |text: &str| ModelQuery { text: Some(text.to_owned()), ..any.clone() };
    let filters = [
        ("all", any.clone()),
        ("tag of many", ModelQuery { tags: tag("dev"), ..any.clone() }),
        ("tag of few", ModelQuery { tags: tag("rare"), ..any.clone() }),
        ("tag of none", ModelQuery { tags: tag("none"), ..any.clone() }),
        ("format of many", ModelQuery { format: Some("safetensors".into()), ..any.clone() }),
        ("format of few", ModelQuery { format: Some("rare".into()), ..any.clone() }),
        ("format of none", ModelQuery { format: Some("none".into()), ..any.clone() }),
        ("uploader of few", ModelQuery { uploader: Some("rose".into()), ..any.clone() }),
        ("uploader of none", ModelQuery { uploader: Some("none".into()), ..any.clone() }),
        ("state of few", ModelQuery { state: Some(State::Quarantined), ..any.clone() }),
        ("state of none", ModelQuery { state: Some(State::Deprecated), ..any.clone() }),
        ("verdict of few", ModelQuery { verdict: Some("suspicious".into()), ..any.clone() }),
        ("alias of few", ModelQuery { alias: Some("prod".parse().unwrap()), ..any.clone() }),
        ("alias of none", ModelQuery { alias: Some("none".parse().unwrap()), ..any.clone() }),
        ("many and few", ModelQuery { tags: tag("dev"), format: Some("rare".into()), ..any.clone() }),
        ("few and few", ModelQuery { tags: tag("rare"), format: Some("rare".into()), ..any.clone() }),
        ("text of few", text("curious")),
        ("text of none", text("zqxjkv")),
    ];
    let with_sort = |(name, query): &(&str, ModelQuery)| {
        SORTS.map(|sort| (format!("{name}, {sort:?}"), ModelQuery { sort, ..query.clone() }))
    };
    filters.iter().flat_map(with_sort).collect()
}

/// What pages of each query look at, with so many models: the first, the last, and the one after the first.
fn costs(models: u32) -> Vec<(String, usize)> {
    let tree = tree();
    for begin in (0..models).step_by(500) {
        put(&tree, (begin..(begin + 500).min(models)).map(|number| one_of_many(number, models)));
    }
    let mut costs = Vec::new();
    for (name, query) in queries() {
        let count = |query: &ModelQuery| {
            let counting = Counting { of: &tree, count: Cell::new(0) };
            let page = KvRecords(&counting).models(query).unwrap();
            (counting.count.get(), page)
        };
        let (first, page) = count(&query);
        costs.push((format!("{name}, first page"), first));
        costs.push((format!("{name}, last page"), count(&ModelQuery { backward: true, ..query.clone() }).0));
        if let Some(next) = page.next {
            costs.push((format!("{name}, second page"), count(&ModelQuery { after: Some(next), ..query }).0));
        }
    }
    costs
}

/// A hundred times as many models, and a page looks at as much: at most at what may be counted to say how many there are, and
/// a search at its blocks, of which there is one for some dozens of models.
#[test]
fn a_page_looks_at_no_more_of_a_larger_registry() {
    let (few, many) = (200, 20_000);
    let small: BTreeMap<String, usize> = costs(few).into_iter().collect();
    for (name, cost) in costs(many) {
        let more = if name.starts_with("text") { many as usize / 40 } else { 0 };
        let known = small.get(&name).copied().unwrap_or(250);
        // Each row that is counted is a pair and a record.
        let counted =
            if name.contains("many and few") || name.contains("few and few") { 2 * COUNT_ROWS_MAX } else { 0 };
        // Shown with --nocapture.
        println!("{name}: {known} of {few}, {cost} of {many}");
        assert!(cost <= known + known / 4 + counted + more, "{name}: {cost}, and with {few} models {known}");
    }
}

#[derive(Debug, Clone)]
struct Change {
    number: u32,
    name: String,
    description: String,
    format: Option<u8>,
    gone: u8,
}

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "ab", "Ba", "aaa", "ü", "Σ", " "], 0..8)
        .prop_map(|words| words.concat())
}

fn change() -> impl Strategy<Value = Change> {
    (0..300_u32, "[abAB]{1,4}", words(), any::<Option<u8>>(), 0..12_u8)
        .prop_map(|(number, name, description, format, gone)| Change { number, name, description, format, gone })
}

fn changed(change: &Change) -> ModelRecord {
    let latest = change.format.map(|format| LatestRecord {
        version: 1.try_into().unwrap(),
        state: if format % 5 == 0 { State::Quarantined } else { State::Available },
        format: format!("f{}", format % 3),
        size: 1,
        uploader: format!("u{}", format % 4),
        verdict: Some(if format % 7 == 0 { "suspicious" } else { "clean" }.to_owned()),
        parameters: None,
        dtypes: Vec::new(),
    });
    let deletion = DeletionRecord { at_ms: 1, restorable_until_ms: 2, by: "x".into(), state_before: State::Available };
    ModelRecord {
        id: ModelId::from_u128(u128::from(change.number) + 1),
        // No two models have a name.
        name: format!("{}/{:03}", change.name, change.number).parse().unwrap(),
        description: change.description.clone(),
        latest,
        deleted: (change.gone == 1).then_some(deletion),
        purged: change.gone == 0,
        updated_at_ms: i64::from(change.number % 17),
        ..model(0, &[])
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    /// Whatever was made, renamed, deleted and purged: all pages of a query, from either end, hold what a look at each model
    /// finds, and the total says how many that is.
    #[test]
    fn pages_hold_what_matches(
        changes in proptest::collection::vec(change(), 0..500),
        text in proptest::option::of(words()),
        mark in 0..7_u8,
    ) {
        let tree = tree();
        let mut all: BTreeMap<ModelId, ModelRecord> = BTreeMap::new();
        for some in changes.chunks(20) {
            for change in some {
                let model = changed(change);
                // What is purged stays so.
                if all.get(&model.id).is_some_and(|old| old.purged) {
                    continue;
                }
                all.insert(model.id, model.clone());
                put(&tree, [model]);
            }
        }
        let query = ModelQuery {
            text,
            format: (mark == 1).then(|| "f1".to_owned()),
            uploader: matches!(mark, 1 | 2 | 6).then(|| "u3".to_owned()),
            state: match mark {
                3 => Some(State::Quarantined),
                4 => Some(State::Deleted),
                _ => None,
            },
            names: (mark >= 5).then(|| NamesWanted {
                fits: Arc::new(|name: &ModelName| name.folded().starts_with('a')),
                within: (mark == 5).then(|| vec!["a".to_owned()]),
            }),
            not: if mark == 2 { vec![ModelUnlike::Format("f1".to_owned())] } else { Vec::new() },
            limit: 7,
            ..ModelQuery::default()
        };
        let mut wanted: Vec<&ModelRecord> = all.values().filter(|model| matches(&query, model)).collect();
        for sort in SORTS {
            wanted.sort_by_key(|model| match sort {
                ModelSort::NameUp | ModelSort::NameDown => (0, model.name.folded(), model.id),
                ModelSort::UpdatedUp | ModelSort::UpdatedDown => (model.updated_at_ms, String::new(), model.id),
                ModelSort::CreatedUp | ModelSort::CreatedDown => (0, String::new(), model.id),
            });
            if matches!(sort, ModelSort::NameDown | ModelSort::UpdatedDown | ModelSort::CreatedDown) {
                wanted.reverse();
            }
            let ids: Vec<ModelId> = wanted.iter().map(|model| model.id).collect();
            for backward in [false, true] {
                let mut asked = ModelQuery { sort, backward, ..query.clone() };
                let mut found = Vec::new();
                loop {
                    let page = KvRecords(&tree).models(&asked).unwrap();
                    if asked.after.is_none() {
                        prop_assert_eq!(page.total, Some(ids.len() as u64), "{:?}", asked);
                    }
                    let of_page: Vec<ModelId> = page.models.iter().map(|model| model.id).collect();
                    if backward { found.splice(0..0, of_page); } else { found.extend(of_page); }
                    let Some(next) = page.next else { break };
                    asked.after = Some(next);
                }
                prop_assert_eq!(&found, &ids, "{:?} backward {}", sort, backward);
            }
        }
    }
}
