//! A log of the made-up registry: leaves, their tree, notes that a key signed, and the tiles that prove them.

use std::sync::OnceLock;

use common::audit::{
    Checkpoint, Ed25519Signer, Frontier, Hash, Nodes, Signer as _, TilePath, TlogProof, Verifier, consistency_proof,
    inclusion_proof, leaf_hash, root_at,
};
use common::client::LogEvent;
use tui::action::{LogAnswer, LogCall};
use tui::event::TailEvent;
use tui::trust::edge_paths;

use crate::console::Registry;

/// What the log calls itself.
pub(crate) const ORIGIN: &str = "registry.example/log";
/// Entries that the stream brings behind the first checkpoint.
const STREAMED: u64 = 8;

/// The log's key.
pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap()
}

/// A log in memory.
pub(crate) struct MadeLog {
    leaves: Vec<Vec<u8>>,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
}

impl Nodes for MadeLog {
    type Error = ();
    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        let nodes = self.levels.get(usize::from(level)).ok_or(())?;
        nodes.get(usize::try_from(index).unwrap()).copied().ok_or(())
    }
}

impl MadeLog {
    /// That of a registry: made once, for it takes long.
    pub(crate) fn of(registry: &Registry) -> &'static Self {
        static LOGS: [OnceLock<MadeLog>; 2] = [const { OnceLock::new() }; 2];
        let log = LOGS[usize::from(registry.hostile)].get_or_init(|| {
            let mut log = Self { leaves: Vec::new(), frontier: Frontier::new(), levels: vec![Vec::new(); 64] };
            for index in 0..registry.entries {
                let leaf = registry.leaf(index);
                let levels = &mut log.levels;
                log.frontier.append(leaf_hash(&leaf), |level, _, hash| levels[usize::from(level)].push(hash));
                log.leaves.push(leaf);
            }
            log
        });
        assert_eq!(log.frontier.size(), registry.entries, "all registries with a log have one size");
        log
    }

    /// The key it is signed with.
    pub(crate) fn verifier() -> Verifier {
        signer().verifier().clone()
    }

    fn note(&self, size: u64) -> String {
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: root_at(size, self).unwrap() };
        checkpoint.sign(&[&signer()]).unwrap()
    }

    fn tile(&self, path: TilePath) -> (TilePath, Vec<u8>) {
        let nodes = path.nodes();
        let nodes =
            (nodes.start..nodes.start + u64::from(nodes.count)).map(|index| self.node(nodes.level, index).unwrap());
        (path, nodes.flat_map(|hash| *hash.as_bytes()).collect())
    }

    /// The answer to a question.
    pub(crate) fn answer(&self, call: LogCall) -> LogAnswer {
        let tiles = |paths: Vec<TilePath>| paths.into_iter().map(|path| self.tile(path)).collect();
        match call {
            LogCall::Checkpoint => LogAnswer::Checkpoint(self.note(self.frontier.size() - STREAMED).into_bytes()),
            LogCall::Keys => LogAnswer::Keys(Self::verifier().to_string()),
            LogCall::Proof { size, from } => {
                let growth = from.map(|from| consistency_proof(from, size, self).unwrap());
                LogAnswer::Proof { size, growth, tiles: tiles(edge_paths(size)) }
            }
            LogCall::Tiles(paths) => LogAnswer::Tiles(tiles(paths)),
            LogCall::Entries(range) => {
                let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                LogAnswer::Entries { range, leaves: Some(self.leaves[part].to_vec()) }
            }
            LogCall::Witnessed(size) => LogAnswer::Witnessed { size, note: Vec::new(), growth: Vec::new() },
            LogCall::Rotations => LogAnswer::Rotations(Vec::new()),
            LogCall::Receipt(index) => {
                let size = self.frontier.size();
                let path = inclusion_proof(index, size, self).unwrap();
                LogAnswer::Receipt(index, TlogProof { index, path, checkpoint: self.note(size) }.to_text())
            }
        }
    }

    /// What the stream behind an entry tells: those that follow, and the checkpoint that covers them.
    pub(crate) fn stream(&self, after: u64) -> Vec<TailEvent> {
        let size = self.frontier.size();
        let entry = |index| LogEvent::Entry { index, leaf: self.leaves[usize::try_from(index).unwrap()].clone() };
        let mut news: Vec<LogEvent> = (after + 1..size).map(entry).collect();
        news.push(LogEvent::Checkpoint(self.note(size)));
        vec![TailEvent::Opened(after + 1), TailEvent::News(news)]
    }
}
