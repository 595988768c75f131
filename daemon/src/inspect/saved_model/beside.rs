//! The files that TensorFlow writes beside `saved_model.pb`: fingerprints, descriptions of layers, and checkpoints, which are
//! an index of tensors and raw numbers. None has a signature at its beginning, so their names say what to try; a file that is
//! not what its name says stays unknown. The numbers are read by no one but through the index, and say nothing else.

use super::{NUMBERS, metadata};
use crate::inspect::cursor::{Cursor, Stop};
use crate::inspect::protobuf::{Event, Fault, Walk};
use crate::inspect::scan::{Place, Scan, Slice};
use crate::inspect::{ReadAt, names, read_up_to};

/// Octets of a fingerprint; it holds a few numbers.
const FINGERPRINT_BYTES_MAX: u64 = 4 << 10;
/// Octets of a block of an index. TensorFlow ends one at 256 KiB.
const BLOCK_BYTES_MAX: u64 = 16 << 20;
/// Octets of a tensor's name.
const KEY_BYTES_MAX: usize = 64 << 10;
/// What ends an index: the magic number of LevelDB's tables.
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
/// Octets of an index's end: two places of blocks, padding, and the magic number.
const FOOTER_BYTES: u64 = 48;

/// Looks into a file of no known format, if it is one of these. Whether it is.
pub(in crate::inspect) fn beside(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    name: &str,
) -> Result<bool, Stop> {
    let name = names::last(name);
    let known = match name {
        "fingerprint.pb" => is_fingerprint(scan, source, place),
        "keras_metadata.pb" => return metadata(scan, source, place).map(|()| true),
        _ if name.ends_with(".index") => index(scan, source, place),
        _ if is_shard(name) => {
            scan.find(&NUMBERS, place, None, "the numbers of a checkpoint, by its name");
            return Ok(true);
        }
        _ => return Ok(false),
    };
    match known {
        Ok(known) => Ok(known),
        Err(Fault::Broken(_) | Fault::Stop(Stop::End)) => Ok(false),
        Err(Fault::Stop(stop)) => Err(stop),
    }
}

/// Raw numbers of a checkpoint: `variables.data-00000-of-00001`.
fn is_shard(name: &str) -> bool {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|octet| octet.is_ascii_digit());
    name.rsplit_once(".data-")
        .and_then(|(_, numbers)| numbers.split_once("-of-"))
        .is_some_and(|(number, count)| is_number(number) && is_number(count) && number < count)
}

/// Numbers that tell two models apart: 1 to 5, the version, and an id.
fn is_fingerprint(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<bool, Fault> {
    if source.len() > FINGERPRINT_BYTES_MAX {
        return Ok(false);
    }
    let mut walk = Walk::over(source, ());
    while let Some(event) = walk.next(scan, place)? {
        let known = match event {
            Event::Number { field, .. } => field <= 5,
            Event::Octets { field, .. } => field <= 7,
            Event::Leave(()) => true,
        };
        if !known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The index of a checkpoint: a table of LevelDB's, from names to where a tensor is in the numbers. Whether all of it is.
fn index(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<bool, Fault> {
    let Some(footer_at) = source.len().checked_sub(FOOTER_BYTES) else { return Ok(false) };
    let footer = read_up_to(source, footer_at, FOOTER_BYTES).map_err(Stop::Io)?;
    if !footer.ends_with(&MAGIC) {
        return Ok(false);
    }
    let mut cursor = Cursor::new(source, footer_at, source.len() - 8, FOOTER_BYTES);
    let _metaindex = handle(&mut cursor)?;
    let blocks = handle(&mut cursor)?;
    let mut places = Vec::new();
    entries(scan, source, place, blocks, |_, _, value| {
        places.push(handle(&mut Cursor::over(&value))?);
        Ok(())
    })?;
    for block in places {
        entries(scan, source, place, block, |scan, key, value| {
            // The first entry, with no name, is about the checkpoint as a whole.
            if key.is_empty() { Ok(()) } else { tensor(scan, place, key, value) }
        })?;
    }
    Ok(true)
}

/// Where a block is: offset and size.
fn handle(cursor: &mut Cursor<'_>) -> Result<(u64, u64), Fault> {
    const NONE: Fault = Fault::Broken("a block has no sound place");
    Ok((cursor.varint()?.ok_or(NONE)?, cursor.varint()?.ok_or(NONE)?))
}

/// The entries of a block. A name is written as how much of the one before it shares, and the rest.
fn entries(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    (start, size): (u64, u64),
    mut take: impl FnMut(&mut Scan, &[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    const BROKEN: Fault = Fault::Broken("a block of an index is damaged");
    let end = start.checked_add(size).filter(|end| *end < source.len() && size <= BLOCK_BYTES_MAX).ok_or(BROKEN)?;
    let octets = read_up_to(source, start, size + 1).map_err(Stop::Io)?;
    let [octets @ .., 0] = octets.as_slice() else { return Err(Fault::Broken("a block of an index is compressed")) };
    // The places where names begin anew stand at the end, behind them their number.
    let (_, restarts) =
        octets.split_last_chunk::<4>().map(|(rest, count)| (rest, u32::from_le_bytes(*count))).ok_or(BROKEN)?;
    let tail = u64::from(restarts).checked_mul(4).and_then(|tail| tail.checked_add(4)).ok_or(BROKEN)?;
    let entries_end = end.checked_sub(tail).filter(|entries_end| *entries_end >= start).ok_or(BROKEN)?;
    let block = Slice::new(source, start, entries_end);
    let mut cursor = Cursor::over(&block);
    let mut key = Vec::new();
    while !cursor.at_end() {
        scan.tick(place)?;
        let (shared, rest, value) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let (Some(shared), Some(rest), Some(value)) = (shared, rest, value) else { return Err(BROKEN) };
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= key.len()).ok_or(BROKEN)?;
        key.truncate(shared);
        key.extend(cursor.take(rest)?);
        if key.len() > KEY_BYTES_MAX {
            return Err(BROKEN);
        }
        let value = cursor.take(value)?;
        take(scan, &key, &value)?;
    }
    Ok(())
}

/// Where a tensor is, with its type and shape.
fn tensor(scan: &mut Scan, place: &Place, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    #[derive(Clone, Copy)]
    enum Message {
        Entry,
        Shape,
        Dimension,
    }
    let (mut dtype, mut shape) = (0, Vec::new());
    let mut walk = Walk::over(&value, Message::Entry);
    while let Some(event) = walk.next(scan, place)? {
        match event {
            Event::Number { within: Message::Entry, field: 1, value } => dtype = value,
            Event::Number { within: Message::Dimension, field: 1, value } => {
                if let Some(extent) = shape.last_mut() {
                    *extent = value;
                }
            }
            Event::Octets { within: Message::Entry, field: 2, .. } => walk.enter(Message::Shape)?,
            Event::Octets { within: Message::Shape, field: 2, .. } => {
                shape.push(0);
                walk.enter(Message::Dimension)?;
            }
            _ => {}
        }
    }
    let name = String::from_utf8_lossy(key);
    // Texts are no numbers: the graph of objects, and names. What training needs is no part of the model.
    if dtype != 7 && !name.contains(".OPTIMIZER_SLOT") && !name.starts_with("optimizer/") {
        scan.facts.add_tensor(&name, self::dtype(dtype), &shape);
    }
    Ok(())
}

fn dtype(number: u64) -> &'static str {
    match number {
        1 => "F32",
        2 => "F64",
        3 => "I32",
        4 => "U8",
        5 => "I16",
        6 => "I8",
        8 => "C64",
        9 => "I64",
        10 => "BOOL",
        14 => "BF16",
        17 => "U16",
        18 => "C128",
        19 => "F16",
        22 => "U32",
        23 => "U64",
        _ => "other",
    }
}
