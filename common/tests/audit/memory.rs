//! A tree held in memory, and the vectors as JSON.

use std::cell::Cell;

use common::audit::{Frontier, Hash, Nodes};
use serde_json::Value;

/// Every complete node, one array per binary level, as a store would keep them.
#[derive(Default)]
pub(crate) struct Memory {
    levels: Vec<Vec<Hash>>,
    pub(crate) frontier: Frontier,
    pub(crate) reads: Cell<usize>,
}

impl Memory {
    pub(crate) fn push(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, index, hash| {
            let level = usize::from(level);
            if level == levels.len() {
                levels.push(Vec::new());
            }
            assert_eq!(levels[level].len() as u64, index, "nodes of a level come in order");
            levels[level].push(hash);
        });
    }
}

impl Nodes for Memory {
    type Error = String;

    fn node(&self, level: u8, index: u64) -> Result<Hash, String> {
        self.reads.set(self.reads.get() + 1);
        let row = self.levels.get(usize::from(level));
        let node = row.and_then(|row| row.get(usize::try_from(index).unwrap()));
        node.copied().ok_or_else(|| format!("no node ({level}, {index})"))
    }
}

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/audit-log-vectors.json")).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(|hash| text(hash).parse().unwrap()).collect()
}
