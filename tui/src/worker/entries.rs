//! Entries of the log to a new file, newest first: as CSV, as JSON lines, or each with the proof that it is in the log. Proofs
//! are made here from the tree's tiles, at one checkpoint that a known key signed, and checked before they are written.
//! Memory is constant: entries come one by one, and some tiles are held.

use std::collections::{HashMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use common::api::{AuditEntry, AuditRow};
use common::audit::{
    Checkpoint, Hash, LEAF_LEN_MAX, Nodes, ProveError, Receipt, TILE_LEVEL_MAX, TilePath, TlogProof, Verifier,
    canonical_json, inclusion_proof, leaf_hash, node_hash, verify_inclusion,
};
use common::client::{AuditQuery, Client, ClientError, Download};

use super::jobs::Teller;
use super::log;
use crate::action::{Entries, LogAnswer, LogCall, Report};
use crate::export::{Form, Kind, flat_entry, head, row};
use crate::tail::PAGE;
use crate::time::counted;
use crate::transfer::TransferError;
use crate::transfer::part::Part;

/// Octets of the longest line: an entry as JSON has the length of its leaf, and its index and hash stand around it.
const LINE_OCTETS_MAX: usize = 2 * LEAF_LEN_MAX;
/// Tiles that are held, with all nodes below them: 16 KiB each.
const TILES_MAX: usize = 64;
/// How often an export that was cut is gone on with before anything new came.
const TRIES: u32 = 4;
/// The wait before that, each time longer.
const PAUSE: Duration = Duration::from_millis(500);

/// What is exported, how, and where to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Which entries.
    pub(crate) entries: Entries,
    /// In which form.
    pub(crate) form: Form,
    /// The log's keys: what is proved is proved by one of them.
    pub(crate) keys: Vec<Verifier>,
    /// The file.
    pub(crate) path: String,
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn unverified(what: impl Into<String>) -> TransferError {
    TransferError::NotVerified(what.into())
}

/// Writes the file; a sentence on what is in it.
///
/// # Errors
/// A sentence. Nothing is left behind then.
pub(crate) async fn export<F: Fn(Report)>(
    client: &Client,
    asked: Asked,
    tell: &mut Teller<F>,
) -> Result<String, String> {
    to_file(client, asked, tell).await.map_err(words)
}

/// As [`export`], with what kind of failure it was.
///
/// # Errors
/// Those of the calls, of the file; `NotVerified` where something is not what the log committed to.
pub(crate) async fn to_file<F: Fn(Report)>(
    client: &Client,
    asked: Asked,
    tell: &mut Teller<F>,
) -> Result<String, TransferError> {
    let Asked { entries, form, keys, path } = asked;
    let target = PathBuf::from(&path);
    // What can't be proved is known before a file is made.
    let mut prover = match form {
        Form::Proofs => Some(Prover::at_newest(client, &keys).await?),
        Form::Rows(_) => None,
    };
    let part = Part::create(&target)?;
    let mut file =
        File { out: BufWriter::new(part.file.try_clone().map_err(words)?), path: &path, form, count: 0, client };
    if let Form::Rows(format) = form {
        file.write(&head(Kind::Entries, format))?;
    }
    match entries {
        Entries::Held(rows) => {
            for row in rows {
                file.put(row, prover.as_mut()).await?;
            }
        }
        Entries::Marked(indices) => {
            let total = indices.len() as u64;
            for run in runs(indices) {
                for row in marked(client, &run).await? {
                    file.put(row, prover.as_mut()).await?;
                }
                tell.at(file.count, Some(total));
            }
        }
        Entries::Matching { query, total } => {
            let mut query = *query;
            if let Some(prover) = &prover {
                let size = prover.checkpoint.size;
                query.before = Some(query.before.map_or(size, |before| before.min(size)));
            }
            matching(client, query, total, &mut file, &mut prover, tell).await?;
        }
    }
    let File { mut out, count, .. } = file;
    out.flush().map_err(|cause| format!("can't write {path}: {cause}"))?;
    drop(out);
    part.finish(&target).await?;
    let proved = prover
        .map_or(String::new(), |prover| format!(", each proved in the log of {} entries", prover.checkpoint.size));
    Ok(format!("{} in {path}{proved}", counted(count, "entry")))
}

/// The file as it is written.
struct File<'a> {
    out: BufWriter<std::fs::File>,
    path: &'a str,
    form: Form,
    count: u64,
    client: &'a Client,
}

impl File<'_> {
    fn write(&mut self, text: &str) -> Result<(), String> {
        self.out.write_all(text.as_bytes()).map_err(|cause| format!("can't write {}: {cause}", self.path))
    }

    async fn put(&mut self, row_of: AuditRow, prover: Option<&mut Prover>) -> Result<(), TransferError> {
        self.count += 1;
        let text = match (self.form, prover) {
            (Form::Rows(format), _) => row(Kind::Entries, format, &flat_entry(&row_of, format)),
            (Form::Proofs, Some(prover)) => {
                let receipt = prover.prove(self.client, &row_of).await?;
                let line = AuditEntry { row: row_of, receipt };
                serde_json::to_string(&line).map_err(words)? + "\n"
            }
            (Form::Proofs, None) => return Err(unverified("nothing is known to prove it by")),
        };
        Ok(self.write(&text)?)
    }
}

// ---- where entries come from ----------------------------------------------------------------------------------------

/// All that match, as one stream. Where it is cut it is gone on with below the last that came.
async fn matching<F: Fn(Report)>(
    client: &Client,
    mut query: AuditQuery,
    total: Option<u64>,
    file: &mut File<'_>,
    prover: &mut Option<Prover>,
    tell: &mut Teller<F>,
) -> Result<(), TransferError> {
    let mut tries = 0;
    loop {
        let cut = match client.audit_export(&query).await {
            Ok(body) => {
                let mut lines = Lines { body, octets: Vec::new(), at: 0 };
                loop {
                    match lines.next().await {
                        Ok(Some(row)) => {
                            tries = 0;
                            if query.before.is_some_and(|before| row.index >= before) {
                                let what = format!("entry {} came where one below was to come", row.index);
                                return Err(ClientError::Protocol(what).into());
                            }
                            query.before = Some(row.index);
                            file.put(row, prover.as_mut()).await?;
                            tell.at(file.count, total);
                        }
                        Ok(None) => return Ok(()),
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        let is_passing = matches!(cut, ClientError::Offline { .. } | ClientError::Timeout { .. })
            || matches!(cut.status(), Some(429 | 503))
            || cut.wants_sign_in();
        if !is_passing || tries == TRIES {
            return Err(cut.into());
        }
        tries += 1;
        tokio::time::sleep(PAUSE * tries).await;
        if cut.wants_sign_in() {
            client.refresh().await?;
        }
    }
}

/// Rows of an export, as they arrive.
struct Lines {
    body: Download,
    octets: Vec<u8>,
    /// Where the next line begins.
    at: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<AuditRow>, ClientError> {
        let odd = |why: String| ClientError::Protocol(format!("an export that is none: {why}"));
        loop {
            let rest = self.octets.get(self.at..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
                let row = serde_json::from_slice(&rest[..end]).map_err(|error| odd(words(error)))?;
                self.at += end + 1;
                return Ok(Some(row));
            }
            if rest.len() > LINE_OCTETS_MAX {
                return Err(odd(format!("a line of more than {LINE_OCTETS_MAX} octets")));
            }
            self.octets.drain(..self.at);
            self.at = 0;
            match self.body.chunk().await? {
                Some(chunk) => self.octets.extend_from_slice(&chunk),
                None if self.octets.is_empty() => return Ok(None),
                None => return Err(odd("its last line has no end".to_owned())),
            }
        }
    }
}

/// Marked indices by bundle, newest first: one reading each.
fn runs(mut indices: Vec<u64>) -> Vec<Vec<u64>> {
    indices.sort_unstable();
    indices.dedup();
    let mut runs: Vec<Vec<u64>> = Vec::new();
    for index in indices.into_iter().rev() {
        match runs.last_mut() {
            Some(run) if run.first().is_some_and(|first| first / PAGE == index / PAGE) => run.push(index),
            _ => runs.push(vec![index]),
        }
    }
    runs
}

/// Entries of one bundle.
async fn marked(client: &Client, run: &[u64]) -> Result<Vec<AuditRow>, TransferError> {
    let (Some(newest), Some(oldest)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
    let range = *oldest..newest.saturating_add(1);
    let leaves = match log::perform(client, LogCall::Entries(range)).await? {
        LogAnswer::Entries { leaves: Some(leaves), .. } => leaves,
        _ => return Err(unverified(format!("the bundle of the entries {oldest} to {newest} cannot be cut"))),
    };
    let row = |index: &u64| {
        let place = usize::try_from(index - oldest).map_err(words)?;
        let leaf = leaves.get(place).ok_or_else(|| unverified(format!("entry {index} was not given")))?;
        let entry =
            serde_json::from_slice(leaf).map_err(|error| unverified(format!("entry {index} is no entry: {error}")))?;
        Ok(AuditRow { index: *index, entry, leaf_hash: leaf_hash(leaf).to_string() })
    };
    run.iter().map(row).collect()
}

// ---- proofs ---------------------------------------------------------------------------------------------------------

/// A tile with all complete nodes below its root, lowest first.
struct Tile(Vec<Vec<Hash>>);

impl Tile {
    fn new(octets: &[u8], width: u16) -> Option<Self> {
        let (hashes, rest) = octets.as_chunks::<32>();
        if hashes.len() != usize::from(width) || !rest.is_empty() {
            return None;
        }
        let mut levels = vec![hashes.iter().copied().map(Hash).collect::<Vec<_>>()];
        while let Some(below) = levels.last().filter(|below| below.len() > 1 && levels.len() < 8) {
            let level = below.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(level);
        }
        Some(Self(levels))
    }
}

/// Makes proofs at one checkpoint.
struct Prover {
    checkpoint: Checkpoint,
    note: String,
    tiles: HashMap<TilePath, Tile>,
    order: VecDeque<TilePath>,
}

/// What is read of the tree: an error is the tile that is needed first.
impl Nodes for Prover {
    type Error = Option<TilePath>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let (path, range) = TilePath::of_node(level, index, self.checkpoint.size).ok_or(None)?;
        let tile = self.tiles.get(&path).ok_or(Some(path))?;
        let above = level % 8;
        tile.0.get(usize::from(above)).and_then(|nodes| nodes.get(range.start >> above)).copied().ok_or(None)
    }
}

impl Prover {
    /// At the newest checkpoint.
    async fn at_newest(client: &Client, keys: &[Verifier]) -> Result<Self, TransferError> {
        if keys.is_empty() {
            return Err(TransferError::Local("the log's key is not known, so nothing can be proved".to_owned()));
        }
        let note = match log::perform(client, LogCall::Checkpoint).await? {
            LogAnswer::Checkpoint(note) => note,
            _ => return Err(unverified("there is no checkpoint")),
        };
        let signed = Checkpoint::open(&note, keys)
            .map_err(|error| unverified(format!("the checkpoint is not accepted: {error}")))?;
        let note = String::from_utf8(note).map_err(words)?;
        Ok(Self { checkpoint: signed.checkpoint, note, tiles: HashMap::new(), order: VecDeque::new() })
    }

    /// The receipt of an entry, checked.
    async fn prove(&mut self, client: &Client, row: &AuditRow) -> Result<Receipt, TransferError> {
        let (index, Checkpoint { origin, size, root }) = (row.index, self.checkpoint.clone());
        let leaf =
            canonical_json(&row.entry).map_err(|error| unverified(format!("entry {index} is no entry: {error}")))?;
        // A path needs one tile a level, and perhaps those of the right edge.
        for _ in 0..=2 * (usize::from(TILE_LEVEL_MAX) + 1) {
            match inclusion_proof(index, size, self) {
                Ok(path) => {
                    verify_inclusion(&leaf_hash(&leaf), index, size, &path, &root).map_err(|error| {
                        let what = format!("entry {index} is not the one that the log of {size} entries committed to");
                        unverified(format!("{what}: {error}"))
                    })?;
                    return Ok(Receipt::new(&origin, &leaf, &TlogProof { index, path, checkpoint: self.note.clone() }));
                }
                Err(ProveError::Nodes(Some(path))) => self.fetch(client, path).await?,
                Err(ProveError::NotInTree { .. }) => {
                    let what = format!("entry {index} is newer than the newest checkpoint");
                    return Err(TransferError::Local(what));
                }
                Err(_) => return Err(unverified(format!("the tree of {size} entries has no path to entry {index}"))),
            }
        }
        Err(unverified(format!("the tiles do not lead to entry {index}")))
    }

    async fn fetch(&mut self, client: &Client, path: TilePath) -> Result<(), TransferError> {
        let got = match log::perform(client, LogCall::Tiles(vec![path])).await? {
            LogAnswer::Tiles(tiles) => tiles.into_iter().next(),
            _ => None,
        };
        let tile = got.and_then(|(_, octets)| Tile::new(&octets, path.width()));
        let tile = tile.ok_or_else(|| unverified(format!("{path} has not {} hashes", path.width())))?;
        if self.order.len() == TILES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.tiles.remove(&oldest);
        }
        self.tiles.insert(path, tile);
        self.order.push_back(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::audit::{Checkpoint, Nodes as _, TilePath, inclusion_proof, root_at};
    use std::collections::{HashMap, VecDeque};

    use super::{Prover, Tile, runs};
    use crate::trust::tests::{Log, ORIGIN};

    /// Marks of one bundle are one reading, newest first.
    #[test]
    fn by_bundle() {
        assert_eq!(runs(vec![5, 300, 255, 256, 5]), [vec![300, 256], vec![255, 5]]);
        assert!(runs(Vec::new()).is_empty());
    }

    /// Paths made from tiles are those of the tree, at sizes on and beside the borders of tiles.
    #[test]
    fn paths_from_tiles() {
        for size in [1, 2, 255, 256, 257, 600, 65_536 + 300] {
            let log = Log::new(size, 1);
            let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: root_at(size, &log).unwrap() };
            let tiles: HashMap<TilePath, Tile> =
                TilePath::all_of(size).map(|path| (path, Tile::new(&log.tile(path), path.width()).unwrap())).collect();
            let prover = Prover { checkpoint, note: String::new(), tiles, order: VecDeque::new() };
            for index in [0, 1, size / 2, size - 1].into_iter().filter(|index| *index < size) {
                let (ours, theirs) = (inclusion_proof(index, size, &prover), inclusion_proof(index, size, &log));
                assert_eq!(ours.ok(), theirs.ok(), "{index} of {size}");
                assert_eq!(prover.node(0, index).ok(), log.node(0, index).ok());
            }
        }
        assert!(Tile::new(&[0; 33], 1).is_none() && Tile::new(&[0; 32], 2).is_none());
    }
}
