//! The suite of the promise [`Blobs`] makes, for every leaf: run [`blob_contract`] on each. It knows only the trait, so what
//! it cannot see from there (layout, modes, power cuts) the leaves test themselves.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Barrier;

use common::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobError, BlobReader, Blobs};

/// Runs every check. `make` must return a fresh, empty store at each call.
///
/// # Panics
/// At the first promise that is not kept, naming it.
pub fn blob_contract(make: impl Fn() -> Box<dyn Blobs>) {
    kept_blobs_read_back_and_others_are_not_there(&*make());
    a_reader_reads_at_the_edges(&*make());
    a_staged_blob_reads_what_was_written(&*make());
    pieces_are_written_in_their_order(&*make());
    a_dropped_upload_leaves_nothing(&*make());
    keeping_again_is_no_error(&*make());
    replacing_is_keeping(&*make());
    concurrent_keeps_of_one_digest_all_succeed(&*make());
    removing_is_durable_and_idempotent(&*make());
    a_listing_visits_each_blob_once(&*make());
    a_sweep_takes_orphans_only(&*make());
    what_is_partial_goes_on(&*make());
    space_is_plausible(&*make());
}

/// Sizes at which implementations change their mind: nothing, one octet, around pages and buffers.
const SIZES: [usize; 7] = [0, 1, 4095, 4096, 4097, 256 << 10, (1 << 20) + 1];

/// Octets of this length that differ from each other and from those of other lengths.
fn octets(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251 + len) % 251).unwrap_or(0)).collect()
}

fn digest(octets: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(octets).into())
}

fn keep(blobs: &dyn Blobs, octets: &[u8]) -> Digest {
    let digest = digest(octets);
    let mut staged = blobs.stage().expect("stage");
    // In uneven pieces, as they come from a network.
    for piece in octets.chunks(65_521) {
        staged.write(piece).expect("write");
    }
    staged.keep(&digest).expect("keep");
    digest
}

fn read(reader: &dyn BlobReader) -> Vec<u8> {
    let len = usize::try_from(reader.len()).expect("small");
    let mut whole = vec![0; len];
    assert_eq!(reader.read_at(0, &mut whole).expect("read"), len);
    whole
}

fn listing(blobs: &dyn Blobs) -> BTreeMap<Digest, u64> {
    let mut all = BTreeMap::new();
    blobs
        .list(&mut |digest, bytes| assert_eq!(all.insert(digest, bytes), None, "'{digest}' visited twice"))
        .expect("list");
    all
}

fn kept_blobs_read_back_and_others_are_not_there(blobs: &dyn Blobs) {
    for len in SIZES {
        let octets = octets(len);
        let digest = digest(&octets);
        assert_eq!(blobs.contains(&digest).expect("contains"), None);
        assert!(matches!(blobs.open(&digest), Err(BlobError::NotFound(missing)) if missing == digest));
        keep(blobs, &octets);
        assert_eq!(blobs.contains(&digest).expect("contains"), Some(len as u64));
        let reader = blobs.open(&digest).expect("open");
        assert_eq!((reader.len(), reader.is_empty()), (len as u64, len == 0));
        assert!(read(&*reader) == octets, "{len} octets read back differently");
    }
}

fn a_reader_reads_at_the_edges(blobs: &dyn Blobs) {
    let octets = octets(10_000);
    let reader = blobs.open(&keep(blobs, &octets)).expect("open");
    for offset in [0, 1, 4095, 4096, 9_999, 10_000, 10_001, 1 << 40, i64::MAX as u64, u64::MAX - 1, u64::MAX] {
        for wanted in [0, 1, 4096, 20_000] {
            let expected = usize::try_from(offset).ok().and_then(|offset| octets.get(offset..)).unwrap_or_default();
            let expected = &expected[..expected.len().min(wanted)];
            let mut buf = vec![0xee; wanted];
            let count = reader.read_at(offset, &mut buf).expect("read");
            assert!(buf[..count] == *expected, "{wanted} octets at {offset}: {count} came");
            assert!(buf[count..].iter().all(|octet| *octet == 0xee), "octets behind the count were touched");

            let mut buf = vec![0; wanted];
            if let Some(count) = reader.try_read_cached(offset, &mut buf) {
                let count = count.expect("cached read");
                assert!(expected.starts_with(&buf[..count]), "{wanted} cached octets at {offset} differ");
                assert_eq!(count == 0, expected.is_empty(), "0 means the end");
            }
        }
    }
}

fn a_staged_blob_reads_what_was_written(blobs: &dyn Blobs) {
    let mut staged = blobs.stage().expect("stage");
    assert!(staged.is_empty());
    assert_eq!(staged.read_at(0, &mut [0; 4]).expect("read"), 0);
    staged.write(b"").expect("write");
    staged.write(b"abc").expect("write");
    staged.write(b"defg").expect("write");
    assert_eq!(staged.len(), 7);
    let mut buf = [0; 16];
    assert_eq!((staged.read_at(2, &mut buf).expect("read"), &buf[..5]), (5, &b"cdefg"[..]));
    assert_eq!(staged.read_at(7, &mut buf).expect("read"), 0);
    assert_eq!(staged.read_at(u64::MAX, &mut buf).expect("read"), 0);
    staged.write(b"h").expect("reading does not move where writing goes on");
    let digest = digest(b"abcdefgh");
    staged.keep(&digest).expect("keep");
    assert_eq!(read(&*blobs.open(&digest).expect("open")), b"abcdefgh");
}

/// More of them than one system call takes (IOV_MAX), of all sizes, none included.
fn pieces_are_written_in_their_order(blobs: &dyn Blobs) {
    let pieces: Vec<Vec<u8>> = (0..3000).map(|at| octets(at % 7)).collect();
    let whole = pieces.concat();
    let mut staged = blobs.stage().expect("stage");
    staged.write_pieces(&mut []).expect("nothing to write");
    for part in pieces.chunks(1500) {
        let mut part: Vec<IoSlice<'_>> = part.iter().map(|piece| IoSlice::new(piece)).collect();
        staged.write_pieces(&mut part).expect("write");
    }
    assert_eq!(staged.len(), whole.len() as u64);
    let digest = digest(&whole);
    staged.keep(&digest).expect("keep");
    assert!(read(&*blobs.open(&digest).expect("open")) == whole);
}

fn a_dropped_upload_leaves_nothing(blobs: &dyn Blobs) {
    let octets = octets(100_000);
    let mut staged = blobs.stage().expect("stage");
    staged.write(&octets).expect("write");
    assert_eq!(blobs.contains(&digest(&octets)).expect("contains"), None, "visible before it was kept");
    drop(staged);
    assert_eq!((listing(blobs), blobs.sweep_staging().expect("sweep")), (BTreeMap::new(), 0));
}

fn keeping_again_is_no_error(blobs: &dyn Blobs) {
    for len in [0, 5_000] {
        let octets = octets(len);
        let before = blobs.open(&keep(blobs, &octets)).expect("open");
        let again = keep(blobs, &octets);
        assert!(read(&*before) == octets, "a reader from before reads on");
        assert!(read(&*blobs.open(&again).expect("open")) == octets);
    }
    assert_eq!(listing(blobs).len(), 2);
    assert_eq!(blobs.sweep_staging().expect("sweep"), 0, "the second copy was discarded");
}

fn replacing_is_keeping(blobs: &dyn Blobs) {
    let octets = octets(4097);
    // Whether it is there or not; damage itself only a leaf can do.
    for _there in [false, true] {
        let mut staged = blobs.stage().expect("stage");
        staged.write(&octets).expect("write");
        staged.replace(&digest(&octets)).expect("replace");
        assert!(read(&*blobs.open(&digest(&octets)).expect("open")) == octets);
    }
    assert_eq!((listing(blobs).len(), blobs.sweep_staging().expect("sweep")), (1, 0));
}

fn concurrent_keeps_of_one_digest_all_succeed(blobs: &dyn Blobs) {
    const UPLOADS: usize = 24;
    let (same, barrier) = (octets(100_000), Barrier::new(UPLOADS));
    std::thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (same, barrier) = (&same, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let digest = keep(blobs, same);
                assert!(read(&*blobs.open(&digest).expect("open")) == *same, "kept, but not whole");
                // And different ones beside them.
                keep(blobs, &octets(1_000 + number));
            });
        }
    });
    assert_eq!(listing(blobs).len(), 1 + UPLOADS);
    assert_eq!(blobs.sweep_staging().expect("sweep"), 0);
}

fn removing_is_durable_and_idempotent(blobs: &dyn Blobs) {
    let (gone, stays) = (octets(3_000), octets(4_000));
    let (gone_digest, stays_digest) = (keep(blobs, &gone), keep(blobs, &stays));
    let open = blobs.open(&gone_digest).expect("open");
    blobs.remove(&gone_digest).expect("remove");
    blobs.remove(&gone_digest).expect("remove what is not there");
    blobs.remove(&Digest::from_bytes([9; 32])).expect("remove what never was there");
    assert_eq!(blobs.contains(&gone_digest).expect("contains"), None);
    assert!(matches!(blobs.open(&gone_digest), Err(BlobError::NotFound(_))));
    let mut buf = vec![0; gone.len()];
    match open.read_at(0, &mut buf) {
        Ok(count) => assert!(buf[..count] == gone, "an open reader reads the old octets or fails"),
        Err(BlobError::NotFound(_) | BlobError::Unavailable(_)) => {}
        Err(error) => panic!("an open reader reads the old octets or fails as missing, not so: {error}"),
    }
    assert_eq!(listing(blobs), BTreeMap::from([(stays_digest, 4_000)]));
    assert_eq!(keep(blobs, &gone), gone_digest);
    assert!(read(&*blobs.open(&gone_digest).expect("open")) == gone, "what was removed can be kept again");
}

fn a_listing_visits_each_blob_once(blobs: &dyn Blobs) {
    assert_eq!(listing(blobs), BTreeMap::new());
    let mut expected = BTreeMap::new();
    for len in (2..40).chain(SIZES) {
        expected.insert(keep(blobs, &octets(len)), len as u64);
    }
    let staged = blobs.stage().expect("stage");
    assert_eq!(listing(blobs), expected);
    drop(staged);
}

fn a_sweep_takes_orphans_only(blobs: &dyn Blobs) {
    let kept = keep(blobs, &octets(10));
    for _ in 0..3 {
        let mut orphan = blobs.stage().expect("stage");
        orphan.write(b"what a crash leaves").expect("write");
        std::mem::forget(orphan);
    }
    assert_eq!(blobs.sweep_staging().expect("sweep"), 3);
    assert_eq!(blobs.sweep_staging().expect("sweep"), 0);
    assert_eq!(listing(blobs), BTreeMap::from([(kept, 10)]));
}

fn what_is_partial_goes_on(blobs: &dyn Blobs) {
    let octets = octets(300_000);
    let names = |blobs: &dyn Blobs| {
        let mut all = BTreeMap::new();
        blobs.partials(&mut |name, bytes| assert_eq!(all.insert(name.to_owned(), bytes), None)).expect("partials");
        all
    };
    assert!(blobs.stage_partial("one").is_err(), "nothing is there to be staged");
    assert!(blobs.partial("two").expect("partial").is_empty());
    for piece in octets.chunks(70_001) {
        let mut partial = blobs.partial("one").expect("partial");
        let known = partial.len();
        // What came since the last sync means nothing to whoever opens it next.
        partial.write(b"what a crash may leave or not").expect("write");
        partial.cut(known).expect("cut");
        partial.write(piece).expect("write");
        partial.sync().expect("sync");
    }
    assert!(blobs.partial("one").expect("partial").cut(octets.len() as u64 + 1).is_err(), "it is not that long");
    assert_eq!(names(blobs), BTreeMap::from([("one".to_owned(), octets.len() as u64), ("two".to_owned(), 0)]));
    assert_eq!((blobs.sweep_staging().expect("sweep"), listing(blobs)), (0, BTreeMap::new()));

    // Staged and given up, it is still there; staged and kept, it is a blob, and goes by itself.
    drop(blobs.stage_partial("one").expect("stage"));
    let staged = blobs.stage_partial("one").expect("stage again");
    let mut begin = [0; 16];
    assert_eq!((staged.len(), staged.read_at(0, &mut begin).expect("read")), (octets.len() as u64, 16));
    assert_eq!(begin, octets[..16]);
    let digest = digest(&octets);
    staged.keep(&digest).expect("keep");
    assert!(read(&*blobs.open(&digest).expect("open")) == octets);
    blobs.stage_partial("one").expect("stage once more").keep(&digest).expect("keep what is there");
    blobs.remove_partial("one").expect("remove");
    blobs.remove_partial("one").expect("remove what is not there");
    assert!(read(&*blobs.open(&digest).expect("open")) == octets, "the blob stays");
    assert_eq!((blobs.sweep_staging().expect("sweep"), names(blobs).len()), (0, 1));
    assert_eq!(listing(blobs), BTreeMap::from([(digest, octets.len() as u64)]));
}

fn space_is_plausible(blobs: &dyn Blobs) {
    let space = blobs.space().expect("space");
    assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
}
