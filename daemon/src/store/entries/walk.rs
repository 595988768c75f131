//! How a page of entries is found: the filters as sets of chains, walked downwards together. Only rows are read on the way; a
//! leaf is read where all chains meet. Knows rows and chains; refuses to know what a leaf says.

use super::{Row, Rows, column};
use crate::store::overlay::Kv;
use crate::store::view::{Chain, Head, chain_mark, head, heads_with_prefix, subject_kinds, user_name};
use crate::store::{EntryUnlike, Read, StoreError};

/// Rows that are read at once; entries of a chain with many of them are near each other.
const BLOCK_ROWS: u64 = 64;
/// Blocks of rows that are kept while a page is found: those of each chain, mostly.
const BLOCKS_KEPT: usize = 16;
/// Rows that are walked before a mark of the chain is looked for.
const STEPS_BEFORE_MARK: usize = 32;
/// Rows that are read in the time of one leaf.
pub(super) const LEAF_ROWS: u64 = 8;
/// A chain so many times as long as the shortest is not walked: reading what is left of the others costs less.
const LONGER_MAX: u64 = 16;
/// Chains of one filter: more, and it is checked on the leaves.
const LINES_MAX: usize = 256;

/// What finding a page has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Rows that were looked at.
    pub(super) rows: u64,
    /// Leaves that were read.
    pub(super) leaves: u64,
    /// Look-ups in the view.
    pub(super) lookups: u64,
}

impl Cost {
    /// In rows.
    pub(super) fn of_all(self) -> u64 {
        self.rows + LEAF_ROWS * (self.leaves + self.lookups)
    }
}

/// Reads rows block by block.
pub(super) struct RowReader<'r> {
    rows: &'r Rows,
    /// Rows there are.
    size: u64,
    /// By their number modulo [`BLOCKS_KEPT`]: first row, octets.
    blocks: Vec<(u64, Vec<u8>)>,
    pub(super) cost: Cost,
}

impl<'r> RowReader<'r> {
    pub(super) fn new(rows: &'r Rows, size: u64) -> Self {
        Self { rows, size, blocks: Vec::new(), cost: Cost::default() }
    }

    pub(super) fn row(&mut self, index: u64) -> Read<Row> {
        self.cost.rows += 1;
        if index >= self.size {
            return self.rows.row(index);
        }
        self.blocks.resize_with(BLOCKS_KEPT, || (u64::MAX, Vec::new()));
        let first = index - index % BLOCK_ROWS;
        let slot = usize::try_from(index / BLOCK_ROWS).unwrap_or(0) % BLOCKS_KEPT;
        let Some(block) = self.blocks.get_mut(slot) else { return self.rows.row(index) };
        if block.0 != first {
            // If reading fails, it is none.
            block.0 = u64::MAX;
            self.rows.read_block(first, BLOCK_ROWS.min(self.size - first), &mut block.1)?;
            block.0 = first;
        }
        Rows::row_in(&block.1, index, first)
    }
}

/// One chain, and how far down it is walked.
struct Line {
    value: String,
    head: Head,
    at: Option<u64>,
}

/// What a filter asks for: the entries of some chains of a kind.
pub(super) struct Members<'f, K: Kv + ?Sized> {
    kv: &'f K,
    chain: Chain,
    lines: Vec<Line>,
    /// Whether these are all entries that the filter fits, and no others.
    pub(super) is_exact: bool,
}

impl<'f, K: Kv + ?Sized> Members<'f, K> {
    fn of(kv: &'f K, chain: Chain, values: impl IntoIterator<Item = String>, is_exact: bool) -> Read<Self> {
        let mut lines = Vec::new();
        for value in values {
            if let Some(head) = head(kv, chain, &value)? {
                lines.push(Line { value, head, at: Some(head.last) });
            }
        }
        Ok(Self { kv, chain, lines, is_exact })
    }

    /// The entries that a filter fits; none where chains don't say it.
    pub(super) fn fitting(kv: &'f K, filter: &EntryUnlike) -> Read<Option<Self>> {
        Ok(match filter {
            EntryUnlike::Actor(actor) if actor.starts_with("usr_") => {
                // A user keeps the name; of one that is gone, the name is gone.
                let name = user_name(kv, actor)?;
                name.map(|name| Self::of(kv, Chain::Actor, [name], false)).transpose()?
            }
            EntryUnlike::Actor(actor) => Some(Self::of(kv, Chain::Actor, [actor.clone()], true)?),
            EntryUnlike::Action(action) => match action.strip_suffix('*') {
                None => Some(Self::of(kv, Chain::Action, [action.clone()], true)?),
                Some(prefix) => {
                    let all = heads_with_prefix(kv, Chain::Action, prefix, LINES_MAX)?;
                    all.map(|values| Self::of(kv, Chain::Action, values, true)).transpose()?
                }
            },
            EntryUnlike::Target(id) => {
                let kinds = subject_kinds(kv, LINES_MAX)?;
                let subjects = kinds.map(|kinds| kinds.into_iter().map(|kind| format!("{kind}/{id}")));
                subjects.map(|subjects| Self::of(kv, Chain::Target, subjects, true)).transpose()?
            }
            EntryUnlike::Outcome(outcome) => Some(Self::of(kv, Chain::Outcome, [outcome.as_str().to_owned()], true)?),
            EntryUnlike::Ip(ip) => Some(Self::of(kv, Chain::Ip, [ip.clone()], true)?),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.lines.iter().map(|line| line.head.count).sum()
    }

    /// The newest of them that is not above an index. Indices must go down.
    pub(super) fn newest_until(&mut self, index: u64, rows: &mut RowReader<'_>) -> Read<Option<u64>> {
        let column = column(self.chain);
        for line in &mut self.lines {
            let mut steps = 0;
            while let Some(at) = line.at.filter(|&at| at > index) {
                if steps == STEPS_BEFORE_MARK {
                    rows.cost.lookups += 1;
                    let mark = chain_mark(self.kv, self.chain, &line.value, index)?;
                    line.at = mark.filter(|&mark| mark < at).or(line.at);
                    steps += 1;
                    continue;
                }
                line.at = rows.row(at)?.before[column];
                if line.at.is_some_and(|before| before >= at) {
                    return Err(StoreError::Corrupt(format!("the index row of entry {at} leads upwards")));
                }
                steps += 1;
            }
        }
        Ok(self.lines.iter().filter_map(|line| line.at).max())
    }
}

/// What comes next in a walk.
pub(super) enum Next {
    /// An entry that all chains lead to.
    Entry(u64),
    /// Nothing.
    End,
    /// A page may look at no more; what is below this index was not looked at.
    Cut(u64),
}

/// All filters of a query, walked down together.
pub(super) struct Walk<'f, K: Kv + ?Sized> {
    required: Vec<Members<'f, K>>,
    forbidden: Vec<Members<'f, K>>,
    pub(super) rows: RowReader<'f>,
    /// The lowest index that counts.
    low: u64,
    /// The next index to look at.
    at: Option<u64>,
    /// What may be spent, in rows.
    most: u64,
    has_begun: bool,
}

impl<'f, K: Kv + ?Sized> Walk<'f, K> {
    /// From below `high` down to `low`, among `size` entries.
    pub(super) fn new(
        (required, forbidden): (Vec<Members<'f, K>>, Vec<Members<'f, K>>),
        (low, high): (u64, u64),
        rows: RowReader<'f>,
        most: u64,
    ) -> Self {
        let (required, forbidden) = worth(required, forbidden, rows.size);
        Self { required, forbidden, rows, low, at: high.checked_sub(1), most, has_begun: false }
    }

    /// The next entry that the chains don't rule out.
    pub(super) fn next(&mut self) -> Read<Next> {
        while let Some(mut index) = self.at.filter(|&index| index >= self.low) {
            if self.has_begun && self.rows.cost.of_all() >= self.most {
                return Ok(Next::Cut(index + 1));
            }
            self.has_begun = true;
            // Down to where all chains meet: each says what is the next below the others.
            loop {
                let before = index;
                for members in &mut self.required {
                    let next = members.newest_until(index, &mut self.rows)?.filter(|&next| next >= self.low);
                    let Some(next) = next else {
                        self.at = None;
                        return Ok(Next::End);
                    };
                    index = next;
                }
                if before == index {
                    break;
                }
                if self.rows.cost.of_all() >= self.most {
                    return Ok(Next::Cut(index + 1));
                }
            }
            self.at = index.checked_sub(1);
            let mut is_forbidden = false;
            for members in self.forbidden.iter_mut().filter(|members| members.is_exact) {
                is_forbidden |= members.newest_until(index, &mut self.rows)? == Some(index);
            }
            if !is_forbidden {
                return Ok(Next::Entry(index));
            }
        }
        Ok(Next::End)
    }
}

/// Leaves the chains that are worth walking: none that is far longer than the shortest, or than all entries that are left.
fn worth<'f, K: Kv + ?Sized>(
    required: Vec<Members<'f, K>>,
    forbidden: Vec<Members<'f, K>>,
    size: u64,
) -> (Vec<Members<'f, K>>, Vec<Members<'f, K>>) {
    let shortest = required.iter().map(Members::count).min().unwrap_or(size);
    let is_worth = |members: &Members<'f, K>| members.count() / LONGER_MAX <= shortest;
    let mut required: Vec<_> = required.into_iter().filter(is_worth).collect();
    required.sort_by_key(Members::count);
    (required, forbidden.into_iter().filter(is_worth).collect())
}
