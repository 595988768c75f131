//! Streams of every method by the tools that write them, what is wrong with them, and content that is too long to be held.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Read as _};

use flate2::read::GzEncoder;
use proptest::prelude::{any, proptest};
use proptest::sample::select;

use crate::inspect::inflate::{Content, Method, is_exhausted, unpack};
use crate::inspect::scan::{Place, Scan};
use crate::inspect::{Format, Inspection, Level, Limits, ReadAt as _, Ruleset, Verdict, inspect, read_up_to};

/// `b'some octets ' * 3` by the modules of CPython 3.11, and by zstd and lz4.
const PLAIN: &[u8] = b"some octets some octets some octets ";
const STREAMS: [(Format, &[u8]); 7] = [
    (Format::Gzip, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03+\xce\xcfMU\xc8O.I-)V(\xc6\xc1\x06\x00\xc7\xcf\xf2\x1e$\x00\x00\x00"),
    (Format::Bzip2, b"BZh91AY&SY} bW\x00\x00\x0e\x91\x80@\x00\n\x02\x8c\x00 \x00\"\xbf\xd5OSi\x08`\"\xaa\xb5\x15\x8f#Z\xf8\xbb\x92)\xc2\x84\x83\xe9\x03\x12\xb8"),
    (Format::Xz, b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0\x00#\x00\x13]\x009\x9b\xc9\xf2\xe7P\x9bsQ\x93)\xeaJL\xfdZW@\x00\x00\x00\xd8\x8b\xd2\x7f\xd3\xcf\x01\xbd\x00\x01/$\x97i\x99\x0e\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"),
    (Format::Lzma, b"]\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x009\x9b\xc9\xf2\xe7P\x9bsQ\x93)\xeaJL\xfdbP\x16\xff\xff\xfc@\x90\x00"),
    (Format::Zlib, b"x\x9c+\xce\xcfMU\xc8O.I-)V(\xc6\xc1\x06\x00\xfe\xa3\x0d\x93"),
    (Format::Zstd, ZSTD),
    (Format::Lz4, LZ4),
];
const ZSTD: &[u8] =
    b"\x28\xb5\x2f\xfd\x20\x24\x95\x00\x00\x60\x73\x6f\x6d\x65\x20\x6f\x63\x74\x65\x74\x73\x20\x01\x00\x07\x4b\x12";
const LZ4: &[u8] = b"\x04\x22\x4d\x18\x68\x40\x24\x00\x00\x00\x00\x00\x00\x00\xec\x16\x00\x00\x00\xcf\x73\x6f\x6d\x65\x20\x6f\x63\x74\x65\x74\x73\x20\x0c\x00\x00\x50\x74\x65\x74\x73\x20\x00\x00\x00\x00";

fn looked_at(octets: &[u8], limits: &Limits) -> Inspection {
    inspect(&octets, "m", &Ruleset::default(), limits).unwrap()
}

fn rules(octets: &[u8]) -> Vec<String> {
    looked_at(octets, &Limits::default()).findings.into_iter().map(|finding| finding.rule).collect()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(octets, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

fn method(format: Format) -> Method {
    match format {
        Format::Gzip => Method::Gzip,
        Format::Bzip2 => Method::Bzip2,
        Format::Xz => Method::Xz,
        Format::Lzma => Method::Lzma,
        Format::Zstd => Method::Zstd,
        Format::Lz4 => Method::Lz4,
        _ => Method::Zlib,
    }
}

/// What comes out, how much was taken, and whether it is broken.
fn unpacked(octets: &[u8], method: Method) -> (Vec<u8>, u64, bool) {
    let (rules, limits) = (Ruleset::default(), Limits::default());
    let mut scan = Scan::new(&rules, &limits, 0);
    let place = Place::file().member(Format::Gzip, "m");
    let unpacked = unpack(&mut scan, &place, &octets, method, u64::MAX).unwrap();
    let content = read_up_to(&unpacked.content, 0, unpacked.content.len()).unwrap();
    (content, unpacked.consumed, unpacked.broken.is_some())
}

#[test]
fn every_method_is_undone_and_ends_where_it_ends() {
    for (format, stream) in STREAMS {
        let length = stream.len() as u64;
        assert_eq!(looked_at(stream, &Limits::default()).format, format);
        assert_eq!(unpacked(stream, method(format)), (PLAIN.to_vec(), length, false), "{format}");
        let followed = [stream, b"behind"].concat();
        assert_eq!(unpacked(&followed, method(format)), (PLAIN.to_vec(), length, false), "{format}");
        assert!(rules(&followed).contains(&"trailing.data".to_owned()), "{format}");
        assert!(!rules(&[stream, &[0; 512]].concat()).contains(&"trailing.data".to_owned()), "padding of {format}");
        // What its readers put together; the others read the first and leave the rest.
        let twice = unpacked(&stream.repeat(2), method(format));
        let is_one = matches!(format, Format::Zlib | Format::Lzma);
        let expected = if is_one { (PLAIN.to_vec(), length, false) } else { (PLAIN.repeat(2), 2 * length, false) };
        assert_eq!(twice, expected, "{format}");
    }
    let skipped = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", ZSTD].concat();
    assert_eq!(unpacked(&skipped, Method::Zstd).0, PLAIN);
}

#[test]
fn what_is_broken_is_said_and_what_came_out_is_looked_at() {
    let elf = gzip(&[b"\x7fELF", &PLAIN.repeat(100)[..]].concat());
    for (cut, change) in [(elf.len(), elf.len() - 6), (elf.len() - 9, 0), (elf.len() - 20, 0)] {
        let mut octets = elf[..cut].to_vec();
        octets[change.max(10)] ^= u8::from(change > 0) * 0x55;
        let inspection = looked_at(&octets, &Limits::default());
        assert_eq!(inspection.verdict(), Verdict::Malicious, "{:?}", inspection.findings);
        assert!(
            inspection.findings.iter().any(|one| one.rule == "compressed.broken" && one.level == Level::Unscannable)
        );
    }
    for (format, stream) in STREAMS {
        let half = rules(&stream[..stream.len() * 2 / 3]);
        assert!(half.contains(&"compressed.broken".to_owned()), "{format}: {half:?}");
    }
}

#[test]
fn bombs_end_at_a_limit() {
    // A ratio of a thousand, below the limits.
    let zeros = gzip(&vec![0; 12 << 20]);
    assert!(rules(&zeros).contains(&"archive.ratio".to_owned()));
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    assert!(looked_at(&zeros, &limits).findings.iter().any(|one| one.rule == "limit"));
    // Within each other.
    let mut nested = b"text".to_vec();
    for _ in 0..500 {
        nested = gzip(&nested);
    }
    assert_eq!(looked_at(&nested, &Limits::default()).findings[0].rule, "limit");
    // A window of 2 GiB, and a dictionary of 256 MiB.
    assert!(rules(b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0").contains(&"limit".to_owned()));
    let mut large = STREAMS[3].1.to_vec();
    large[3..5].copy_from_slice(&[0, 0x10]);
    assert!(rules(&large).contains(&"limit".to_owned()));
}

#[test]
fn long_content_is_read_again_and_not_held() {
    let plain: Vec<u8> = (0..600_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let packed = gzip(&plain);
    let (rules, limits) = (Ruleset::default(), Limits { held_bytes: 1 << 10, ..Limits::default() });
    let mut scan = Scan::new(&rules, &limits, 0);
    let place = Place::file().member(Format::Gzip, "m");
    let source = packed.as_slice();
    let unpacked = unpack(&mut scan, &place, &source, Method::Gzip, u64::MAX).unwrap();
    assert!(matches!(unpacked.content, Content::Again(_)));
    for at in [0, 1_000_000, 999_990, 2_399_990, 5, 262_140] {
        let octets = read_up_to(&unpacked.content, at, 20).unwrap();
        let start = usize::try_from(at).unwrap();
        assert_eq!(octets, plain[start..(start + 20).min(plain.len())], "at {at}");
    }
    assert_eq!(read_up_to(&unpacked.content, 0, u64::MAX).unwrap(), plain);
}

#[test]
fn reading_backwards_for_ever_is_a_limit_of_its_own() {
    let packed = gzip(&vec![1; 24 << 20]);
    let (rules, limits) = (Ruleset::default(), Limits { held_bytes: 1 << 10, ..Limits::default() });
    let mut scan = Scan::new(&rules, &limits, 0);
    let place = Place::file().member(Format::Gzip, "m");
    let source = packed.as_slice();
    let unpacked = unpack(&mut scan, &place, &source, Method::Gzip, u64::MAX).unwrap();
    let mut failed: Option<io::Error> = None;
    for _ in 0..10 {
        for at in (0..24).rev() {
            failed = failed.or(read_up_to(&unpacked.content, at << 20, 1).err());
        }
    }
    assert!(is_exhausted(&failed.unwrap()));
}

proptest! {
    #[test]
    fn no_mutation_makes_it_panic(
        (_, stream) in select(STREAMS.to_vec()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut octets = stream.to_vec();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        let limits = Limits { inflated_bytes: 1 << 24, held_bytes: 8, ..Limits::default() };
        looked_at(&octets, &limits);
    }
}
