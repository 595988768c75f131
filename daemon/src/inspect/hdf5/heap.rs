//! HDF5's heaps and trees: where a group's links and an object's attributes are when they are too many or too long for its
//! header, and where strings of variable length are. Knows how to list what is in them; not what it means.

use super::fields::{Fault, Fields, File, until_zero};
use crate::inspect::scan::{Place, Scan};

/// Levels of a tree; each has at least twice the nodes of the one above.
const LEVELS_MAX: u64 = 32;
/// Octets of a record of a tree; the longest that are listed have 24.
const RECORD_BYTES_MAX: u64 = 64;
/// Octets of a name that are kept.
const NAME_BYTES_MAX: usize = 1024;
/// Octets of names in one group of the old kind.
const NAMES_BYTES_MAX: u64 = 32 << 20;

/// An entry of a group of the old kind.
pub(super) struct Symbol {
    pub(super) name: Vec<u8>,
    /// Where the object's header is.
    pub(super) header: u64,
    /// It is a soft link, and has no header.
    pub(super) is_soft: bool,
}

/// The entries of a group of the old kind: a B-tree of version 1 over symbol table nodes, with names in a local heap. At
/// most `max` entries.
pub(super) fn symbols(
    file: &File<'_>,
    scan: &mut Scan,
    place: &Place,
    tree: u64,
    heap: u64,
    max: usize,
) -> Result<Vec<Symbol>, Fault> {
    let header = file.signed(scan, place, heap, file.width(1, 2, 8), b"HEAP")?;
    let mut fields = file.fields(&header[8..]);
    let (size, _, segment) = (fields.length()?, fields.length()?, fields.address()?);
    if size > NAMES_BYTES_MAX {
        return Err(Fault::Broken("the names of a group are longer than any"));
    }
    let names = file.read(scan, place, segment, size)?;
    let mut symbols = Vec::new();
    // Nodes of the tree with the level they must have.
    let mut pending = vec![(tree, None)];
    let mut nodes = 0;
    while let Some((address, level)) = pending.pop() {
        let head = file.signed(scan, place, address, file.width(2, 0, 8), b"TREE")?;
        let mut fields = file.fields(&head[4..]);
        let (kind, own, used) = (fields.octet()?, u64::from(fields.octet()?), u64::from(fields.short()?));
        if kind != 0 || own >= LEVELS_MAX || level.is_some_and(|level| level != own) {
            return Err(Fault::Broken("a group's tree is of another kind or depth"));
        }
        let pairs = used * file.width(1, 1, 0);
        let pairs = file.read(scan, place, address.saturating_add(file.width(2, 0, 8)), pairs)?;
        let mut fields = file.fields(&pairs);
        for _ in 0..used {
            let (_, child) = (fields.length()?, fields.address()?);
            if own > 0 {
                pending.push((child, Some(own - 1)));
            } else {
                entries(file, scan, place, child, &names, &mut symbols)?;
            }
            nodes += 1;
            if symbols.len() > max || nodes > max {
                return Err(Fault::Broken("a group has more entries than a file can have objects"));
            }
        }
    }
    Ok(symbols)
}

/// The entries of one symbol table node.
fn entries(
    file: &File<'_>,
    scan: &mut Scan,
    place: &Place,
    address: u64,
    names: &[u8],
    symbols: &mut Vec<Symbol>,
) -> Result<(), Fault> {
    let head = file.signed(scan, place, address, 8, b"SNOD")?;
    let count = u64::from(u16::from_le_bytes([head[6], head[7]]));
    let octets = file.read(scan, place, address.saturating_add(8), count * file.width(2, 0, 24))?;
    let mut fields = file.fields(&octets);
    for _ in 0..count {
        let (at, header, cached) = (fields.address()?, fields.address()?, fields.number(4)?);
        fields.take(20)?;
        let name = usize::try_from(at).ok().and_then(|at| names.get(at..));
        let name = name.ok_or(Fault::Broken("a name is outside its group's names"))?;
        let name = until_zero(&name[..name.len().min(NAME_BYTES_MAX)]);
        symbols.push(Symbol { name: name.to_vec(), header, is_soft: cached == 2 });
    }
    Ok(())
}

/// One object of a global heap: a string of variable length, at most `max` octets.
pub(super) fn global(
    file: &File<'_>,
    scan: &mut Scan,
    place: &Place,
    collection: u64,
    index: u64,
    max: u64,
) -> Result<Vec<u8>, Fault> {
    let head = file.signed(scan, place, collection, file.width(0, 1, 8), b"GCOL")?;
    let size = file.fields(&head[8..]).length()?;
    let end = collection.saturating_add(size);
    let mut at = collection.saturating_add(file.width(0, 1, 8));
    let object = file.width(0, 1, 8);
    while at.saturating_add(object) <= end {
        let head = file.read(scan, place, at, object)?;
        let mut fields = file.fields(&head);
        let own = u64::from(fields.short()?);
        fields.take(6)?;
        let size = fields.length()?;
        if own == index && own != 0 {
            if size > max {
                return Err(Fault::Broken("a text is longer than what is read of one"));
            }
            return file.read(scan, place, at.saturating_add(object), size);
        }
        if own == 0 {
            break;
        }
        let padded = size.checked_next_multiple_of(8).ok_or(Fault::Broken("a global heap's object is too long"))?;
        at = at.saturating_add(object).saturating_add(padded);
    }
    Err(Fault::Broken("a text is not in the heap it should be in"))
}

/// The records of a B-tree of version 2, at most `max` of them, each as its octets.
pub(super) fn records(
    file: &File<'_>,
    scan: &mut Scan,
    place: &Place,
    tree: u64,
    max: usize,
) -> Result<Vec<Vec<u8>>, Fault> {
    let head = file.signed(scan, place, tree, file.width(1, 1, 22), b"BTHD")?;
    let mut fields = file.fields(&head[6..]);
    let (node, record, depth) = (fields.number(4)?, fields.number(2)?, fields.number(2)?);
    fields.take(2)?;
    let (root, root_records) = (fields.address()?, fields.number(2)?);
    if file.is_undefined(root) {
        return Ok(Vec::new());
    }
    if depth >= LEVELS_MAX || !(1..=RECORD_BYTES_MAX).contains(&record) || node < 16 {
        return Err(Fault::Broken("a tree is of no shape that a writer makes"));
    }
    // How wide the counts in pointers to children are hangs on how many records a node of each level can have.
    let mut records_max = (node - 10) / record;
    let count_width = width_for(records_max);
    let mut total_max = records_max;
    // Pointer width for children of each level above the leaves: their count, and the count of all below.
    let mut total_widths = vec![0];
    for _ in 0..depth {
        let below = total_widths.last().copied().unwrap_or(0);
        let pointer = file.address_width as u64 + count_width as u64 + below as u64;
        records_max = node.saturating_sub(10 + pointer) / (record + pointer);
        total_max = records_max.saturating_add(1).saturating_mul(total_max).saturating_add(records_max);
        total_widths.push(width_for(total_max));
    }
    let mut found = Vec::new();
    let mut pending = vec![(root, root_records, depth)];
    while let Some((address, count, level)) = pending.pop() {
        let octets = file.signed(scan, place, address, node, if level == 0 { b"BTLF" } else { b"BTIN" })?;
        let mut fields = file.fields(&octets[6..]);
        let size = usize::try_from(record).unwrap_or(usize::MAX);
        for _ in 0..count {
            found.push(fields.take(size)?.to_vec());
        }
        if level > 0 {
            let below = usize::try_from(level - 1).ok().and_then(|level| total_widths.get(level)).copied().unwrap_or(0);
            for _ in 0..=count {
                let (child, records) = (fields.address()?, fields.number(count_width)?);
                fields.take(below)?;
                pending.push((child, records, level - 1));
            }
        }
        if found.len() > max || pending.len() > max {
            return Err(Fault::Broken("a tree has more entries than a file can have objects"));
        }
    }
    Ok(found)
}

/// Octets that a number up to `max` takes.
fn width_for(max: u64) -> usize {
    max.checked_ilog2().unwrap_or(0) as usize / 8 + 1
}

/// A fractal heap: where links and attributes of dense storage are.
pub(super) struct Fractal {
    huge_tree: u64,
    width: u64,
    block_start: u64,
    block_max: u64,
    offset_width: usize,
    length_width: usize,
    root: u64,
    root_rows: u64,
}

impl Fractal {
    pub(super) fn read(file: &File<'_>, scan: &mut Scan, place: &Place, address: u64) -> Result<Self, Fault> {
        let octets = file.signed(scan, place, address, file.width(3, 12, 22), b"FRHP")?;
        let mut fields = file.fields(&octets[5..]);
        let (_, filters, _, managed_max) = (fields.short()?, fields.short()?, fields.octet()?, fields.number(4)?);
        if filters != 0 {
            return Err(Fault::Broken("a heap is compressed"));
        }
        fields.length()?;
        let huge_tree = fields.address()?;
        fields.length()?;
        fields.address()?;
        for _ in 0..8 {
            fields.length()?;
        }
        let (width, block_start, block_max) = (fields.number(2)?, fields.length()?, fields.length()?);
        let (bits, _, root, root_rows) = (fields.number(2)?, fields.short()?, fields.address()?, fields.number(2)?);
        let sound = width.is_power_of_two()
            && block_start.is_power_of_two()
            && block_max.is_power_of_two()
            && block_start <= block_max
            && block_max < 1 << 32
            && (1..=64).contains(&bits);
        if !sound {
            return Err(Fault::Broken("a heap is of no shape that a writer makes"));
        }
        let offset_width = usize::try_from(bits.div_ceil(8)).unwrap_or(8);
        let length_width = (block_max.ilog2() as usize).div_ceil(8).min(width_for(managed_max));
        Ok(Self { huge_tree, width, block_start, block_max, offset_width, length_width, root, root_rows })
    }

    /// The object of an id, at most `max` octets.
    pub(super) fn object(
        &self,
        file: &File<'_>,
        scan: &mut Scan,
        place: &Place,
        id: &[u8],
        max: u64,
    ) -> Result<Vec<u8>, Fault> {
        let mut fields = file.fields(id);
        let first = fields.octet()?;
        let (address, length) = match first >> 4 & 3 {
            0 => {
                let (offset, length) = (fields.number(self.offset_width)?, fields.number(self.length_width)?);
                (self.managed(file, scan, place, offset)?, length)
            }
            1 => self.huge(file, scan, place, fields)?,
            2 => {
                // Up to 16 octets stand in the id itself; a longer id has a longer length.
                let extended = id.len() > 17;
                let length = usize::from(first & 15) + 1;
                let length =
                    if extended { (usize::from(first & 15) << 8 | usize::from(fields.octet()?)) + 1 } else { length };
                return Ok(fields.take(length)?.to_vec());
            }
            _ => return Err(Fault::Broken("an object of a heap is of an unknown kind")),
        };
        if length > max {
            return Err(Fault::Broken("an attribute is longer than what is read of one"));
        }
        file.read(scan, place, address, length)
    }

    /// Where an object too large for the heap's blocks is.
    fn huge(&self, file: &File<'_>, scan: &mut Scan, place: &Place, mut id: Fields<'_>) -> Result<(u64, u64), Fault> {
        // The id itself says it where there is room for address and length.
        if id.octets.len() >= file.address_width + file.length_width {
            return Ok((id.address()?, id.length()?));
        }
        let key = id.number(id.octets.len().min(file.length_width))?;
        for record in records(file, scan, place, self.huge_tree, 100_000)? {
            let mut fields = file.fields(&record);
            let (address, length, own) = (fields.address()?, fields.length()?, fields.length()?);
            if own == key {
                return Ok((address, length));
            }
        }
        Err(Fault::Broken("an object is not in the heap it should be in"))
    }

    /// Where an offset of the heap is in the file: blocks stand in rows of a table, each row from the third on with blocks
    /// twice as large as those of the row before.
    fn managed(&self, file: &File<'_>, scan: &mut Scan, place: &Place, offset: u64) -> Result<u64, Fault> {
        const OUTSIDE: Fault = Fault::Broken("an object is outside its heap");
        // Octets before a block's contents are part of its space: magic, version, heap, offset, and a checksum at the end.
        let head = file.width(1, 0, 5 + self.offset_width);
        let direct_rows = u64::from(self.block_max.ilog2() - self.block_start.ilog2()) + 2;
        let (mut block, mut rows, mut left) = (self.root, self.root_rows, offset);
        if rows == 0 {
            file.signed(scan, place, block, head, b"FHDB")?;
            return if left < self.block_max { block.checked_add(left).ok_or(OUTSIDE) } else { Err(OUTSIDE) };
        }
        for _ in 0..LEVELS_MAX {
            // Row and size of the block that holds the offset.
            let (mut row, mut size) = (0, self.block_start);
            loop {
                if row >= rows || row > 64 {
                    return Err(OUTSIDE);
                }
                let row_size = size.checked_mul(self.width).ok_or(OUTSIDE)?;
                if left < row_size {
                    break;
                }
                left -= row_size;
                row += 1;
                if row > 1 {
                    size = size.checked_mul(2).ok_or(OUTSIDE)?;
                }
            }
            let index = row * self.width + left / size;
            left %= size;
            file.signed(scan, place, block, head, b"FHIB")?;
            let at = head + index * file.address_width as u64;
            let child = file.read(scan, place, block.saturating_add(at), file.address_width as u64)?;
            block = file.fields(&child).address()?;
            if file.is_undefined(block) {
                return Err(OUTSIDE);
            }
            if row < direct_rows {
                file.signed(scan, place, block, head, b"FHDB")?;
                return block.checked_add(left).ok_or(OUTSIDE);
            }
            let first = (self.block_start.ilog2() + self.width.ilog2()).min(63);
            rows = u64::from(size.ilog2().checked_sub(first).ok_or(OUTSIDE)?) + 1;
        }
        Err(OUTSIDE)
    }
}
