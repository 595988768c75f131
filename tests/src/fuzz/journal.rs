//! Files of the journal with any octets: what opening accepts, and what the checker's reader makes of the same files. The
//! checksums, which nobody meets by chance, can be set right first; the layout for that is known here from its
//! description, and not by the daemon's code.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use daemon::durable::Disk;
use daemon::store::StoreError;
use daemon::store::journal::{FILE_ENTRIES_MAX, Journal, Record, Spare};
use daemon::store::sled::read_journal;
use tempfile::TempDir;

use crate::oracle::crc32c;

/// The first octet of an input: checksums and markers are set right.
pub const REPAIRED: u8 = 1;
/// The first octet of an input: there are two files, and the octets of the first follow as a u32.
pub const TWO_FILES: u8 = 2;

const FILE_HEADER: usize = 64;
const BATCH_HEADER: usize = 28;

/// Index, leaf and change.
type Found = (u64, Vec<u8>, Vec<u8>);

/// Opening finds damage or accepts; what it accepts, the checker reads as the same records without a fault, and the next
/// entry can be written behind it. Neither fails in another way, nor reads more than there is.
pub fn journal(octets: &[u8]) {
    thread_local! {
        static DIR: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    let Some((mode, rest)) = octets.split_first() else { return };
    let dir = DIR.take().unwrap_or_else(super::temporary);
    for entry in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut files = vec![rest.to_vec()];
    if mode & TWO_FILES != 0
        && let Some((octets, rest)) = rest.split_first_chunk()
    {
        let octets = usize::try_from(u32::from_le_bytes(*octets)).unwrap().min(rest.len());
        files = vec![rest[..octets].to_vec(), rest[octets..].to_vec()];
    }
    for (position, file) in files.iter_mut().enumerate() {
        if mode & REPAIRED != 0 {
            repair(file);
        }
        let first = u64_at(file, 24).filter(|_| position > 0).unwrap_or(0);
        fs::write(dir.path().join(format!("journal-{first:020}.log")), file).unwrap();
    }
    let size = files.iter().map(Vec::len).sum();

    // Damaged or not, the checker comes to an end.
    let (all, faults) = checked(dir.path(), None, size);
    match Journal::open(&Disk::default(), dir.path(), FILE_ENTRIES_MAX) {
        Err(StoreError::Corrupt(_)) => {}
        Err(error) => panic!("damage is not told as that: {error:?}"),
        Ok(journal) => opened(journal, dir.path(), size, &all, &faults),
    }
    DIR.set(Some(dir));
}

fn opened(mut journal: Journal, dir: &Path, size: usize, all: &[Found], faults: &[(String, String)]) {
    let mut found: Vec<Found> = Vec::new();
    let reader = journal.reader();
    let scanned = journal.scan_from(0, &mut |record| {
        assert_eq!(reader.leaf(record.index, record.place).unwrap(), record.leaf);
        found.push((record.index, record.leaf.to_vec(), record.change.to_vec()));
        Ok(())
    });
    // Of files before the last two only the ends are compared on opening; there are no more than two here.
    scanned.expect("what was opened can be read");
    assert_eq!(found.len() as u64, journal.next_index());
    assert!(found.iter().enumerate().all(|(position, record)| record.0 == position as u64));
    assert_eq!(journal.first_leaf().unwrap().as_ref(), found.first().map(|(_, leaf, _)| leaf));

    let (read, damage) = checked(dir, Some(journal.next_index()), size);
    assert_eq!((&read, damage), (&found, Vec::new()), "the checker reads what opening accepts");
    // What stands behind may be a torn batch, or two of which neither is whole.
    assert!(all.starts_with(&found));
    assert!(all.len() == found.len() || !faults.is_empty(), "records that opening does not count: {faults:?}");

    let leaf: std::sync::Arc<[u8]> = b"leaf".as_slice().into();
    journal.cut_tail().unwrap();
    let record = Record { leaf: leaf.clone(), change: b"change".to_vec() };
    let place = journal.append(&[record], Spare::Use).unwrap()[0];
    drop(journal);
    // The zeros that are written ahead take long to search, and say nothing.
    let last = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let file = fs::OpenOptions::new().write(true).open(last).unwrap();
    file.set_len(place.offset + u64::from(place.octets)).unwrap();
    found.push((found.len() as u64, leaf.to_vec(), b"change".to_vec()));
    let again = Journal::open(&Disk::default(), dir, FILE_ENTRIES_MAX).expect("what was appended can be opened");
    assert_eq!(again.next_index(), found.len() as u64);
    assert_eq!(checked(dir, None, usize::MAX), (found, Vec::new()), "after one more entry");
}

/// What the checker reads of files of so many octets, and the damage it names.
fn checked(dir: &Path, end: Option<u64>, size: usize) -> (Vec<Found>, Vec<(String, String)>) {
    let mut found = Vec::new();
    let faults = read_journal(dir, end, &mut |record| {
        found.push((record.index, record.leaf.to_vec(), record.change.to_vec()));
    });
    let faults = faults.expect("damage is no failure");
    assert!(found.len() <= size / 12, "more records than fit");
    // A record's own, and two for each batch or file that can't be read.
    assert!(faults.len() <= size / 12 + 8, "{} faults in {size} octets", faults.len());
    (found, faults)
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(octets.get(at..at + 8)?.try_into().ok()?))
}

fn put(octets: &mut [u8], at: usize, crc: u32) {
    octets[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Sets magic, markers and checksums right, batch behind batch as far as their lengths lead.
pub fn repair(file: &mut [u8]) {
    if file.len() < FILE_HEADER {
        return;
    }
    file[..8].copy_from_slice(b"mregjnl1");
    file[32..60].fill(0);
    put(file, 60, crc32c(&[&file[..60]]));
    let nonce: [u8; 16] = file[8..24].try_into().expect("16 octets");
    let mut at = FILE_HEADER;
    while at + BATCH_HEADER <= file.len() && file[at..at + BATCH_HEADER].iter().any(|octet| *octet != 0) {
        file[at..at + 8].copy_from_slice(&nonce[..8]);
        put(file, at + 24, crc32c(&[&nonce, &file[at..at + 24]]));
        let body = at + BATCH_HEADER;
        let end = u32_at(file, at + 8).and_then(|octets| body.checked_add(usize::try_from(octets).ok()?));
        let Some(end) = end.filter(|end| *end <= file.len()) else { return };
        let mut record = body;
        while let Some(len) = u32_at(&file[..end], record).and_then(|len| usize::try_from(len).ok()) {
            let Some(after) = record.checked_add(8 + len).filter(|after| *after <= end) else { break };
            put(file, record + 4, crc32c(&[&file[record + 8..after]]));
            record = after;
        }
        at = end;
    }
}

/// A journal file of batches of records, its checksums left zero.
pub(super) fn file(first: u64, batches: &[&[(&[u8], &[u8])]]) -> Vec<u8> {
    let le = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut file = [b"mregjnl1".as_slice(), &[0xa5; 16], &first.to_le_bytes(), &[0; 32]].concat();
    let mut index = first;
    for batch in batches {
        let mut body = Vec::new();
        for (leaf, change) in *batch {
            body.extend([le(4 + leaf.len() + change.len()), [0; 4], le(leaf.len())].concat());
            body.extend([*leaf, change].concat());
        }
        file.extend([&[0xa5; 8], le(body.len()).as_slice(), &le(batch.len()), &index.to_le_bytes(), &[0; 4]].concat());
        file.extend(body);
        index = index.wrapping_add(batch.len() as u64);
    }
    file
}
