//! Octets that are two things at once, octets outside formats, and what names say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::{any, proptest};

use super::outside;
use crate::inspect::scan::{Place, Scan};
use crate::inspect::{Finding, Format, Level, Limits, Ruleset, Verdict, inspect};

fn findings(octets: &[u8], name: &str) -> Vec<Finding> {
    inspect(&octets, name, &Ruleset::default(), &Limits::default()).unwrap().findings
}

fn rules(octets: &[u8], name: &str) -> Vec<String> {
    findings(octets, name).into_iter().map(|finding| finding.rule).collect()
}

#[track_caller]
fn finds(octets: &[u8], name: &str, rule: &str) {
    let rules = rules(octets, name);
    assert!(rules.iter().any(|found| found == rule), "{rule} is not among {rules:?}");
}

/// A zip archive without members.
const ARCHIVE: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A zip archive with the member `../x`.
const SLIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0../xPK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0../xPK\x05\x06\0\0\0\0\x01\0\x01\0\x32\0\0\0\x22\0\0\0\0\0";

/// What a search finds in `octets` behind one of a format.
fn searched(octets: &[u8]) -> Vec<Finding> {
    let source = [b"x", octets].concat();
    let (rules, limits) = (Ruleset::default(), Limits::default());
    let mut scan = Scan::new(&rules, &limits, source.len() as u64);
    let _ = outside(&mut scan, &source.as_slice(), 1, source.len() as u64, &Place::file());
    scan.finish(Format::Text).findings
}

#[test]
fn octets_outside_a_format_are_searched() {
    let noise: Vec<u8> = (0..5000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let elf = b"\x7fELF\x02\x01\x01\0";
    assert_eq!(searched(b""), []);
    assert_eq!(searched(b"text").len(), 1, "only that it is there");
    assert_eq!(searched(elf)[0].rule, "code.native");
    // At any place, near the beginning and near the end.
    for octets in [[&noise[..], SLIP, b"."].concat(), [SLIP, &noise].concat(), [&noise[..], SLIP, &noise].concat()] {
        let found = searched(&octets);
        assert!(found.iter().any(|one| one.rule == "path.traversal" && one.level == Level::Malicious), "{found:?}");
        assert!(found.iter().any(|one| one.rule == "trailing.data"));
    }
    let far = [vec![0xff; 3 << 20], SLIP.to_vec(), vec![0xff; 1 << 19]].concat();
    let found = searched(&far);
    let slip = found.iter().find(|one| one.rule == "path.traversal").unwrap();
    assert!(slip.place.starts_with(&format!("#+{}@", 1 + (3 << 20))), "{}", slip.place);
    // A pickle with a header, wherever it stands.
    for pickle in
        [&b"\x80\x02N."[..], b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.", b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R."]
    {
        let found = searched(&[&[0xff; 100][..], pickle].concat());
        assert!(found.iter().any(|one| one.place.starts_with("#+101")), "{found:?}");
    }
    // So many that not all are looked into: that is said.
    let many = searched(&[&[0xff; 9][..], &b"\x80\x02N.\xff".repeat(100)].concat());
    assert!(many.iter().any(|one| one.rule == "content.unread" && one.place == "@1"), "{many:?}");
}

#[test]
fn searches_within_searches_end() {
    // Archives, each with octets behind it that are one too.
    let nested = searched(&[&SLIP.repeat(500)[..], b"."].concat());
    assert!(nested.iter().any(|one| one.level == Level::Malicious));
    let mut octets = SLIP.to_vec();
    for _ in 0..30 {
        octets = [&b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\0\0\0\0"[..], &octets, b"#"].concat();
    }
    assert!(findings(&octets, "m").len() > 1);
}

#[test]
fn what_is_two_things_is_looked_at_as_both() {
    // A pickle, and an archive at its end.
    let both = [b"\x80\x02N.", SLIP].concat();
    let inspection = inspect(&both.as_slice(), "m", &Ruleset::default(), &Limits::default()).unwrap();
    assert_eq!((inspection.format, inspection.verdict()), (Format::Pickle, Verdict::Malicious));
    finds(&both, "m", "path.traversal");
    finds(&both, "m", "zip.prefix");
    // Anything that begins as something else and ends as an archive.
    for front in [&b"GGUF\x03\0\0\0"[..], b"\x89PNG\r\n\x1a\n", b"{\"a\": 1}\n", b"#!/bin/sh\n", b"\x7fELF"] {
        finds(&[front, SLIP].concat(), "m", "path.traversal");
    }
    finds(&[b"text ", ARCHIVE].concat(), "m", "zip.prefix");
    // HDF5 behind octets that its readers skip.
    let mut user_block = b"some text".to_vec();
    user_block.resize(512, b' ');
    user_block.extend(b"\x89HDF\r\n\x1a\n");
    finds(&[&b"\x7fELF"[..], &user_block[4..]].concat(), "m", "format.ambiguous");
    // The name of the first member of a tar archive as the opcodes of a pickle.
    let mut tar = vec![0; 1536];
    let name = b"(cposix\nsystem\nS'true'\no.";
    tar[..name.len()].copy_from_slice(name);
    tar[124..136].copy_from_slice(b"00000000000\0");
    tar[148..156].fill(b' ');
    let sum: u32 = tar.iter().map(|octet| u32::from(*octet)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let inspection = inspect(&tar.as_slice(), "m", &Ruleset::default(), &Limits::default()).unwrap();
    assert_eq!(inspection.format, Format::Tar);
    finds(&tar, "m", "format.ambiguous");
}

#[test]
fn names_are_held_against_the_content() {
    finds(b"\x80\x02N.", "README.txt", "type.mismatch");
    finds(b"text", "a/logo.png", "type.mismatch");
    finds(b"import os\n", "handler.py", "code.source");
    finds(b"{}", "notebook.ipynb", "code.source");
    finds(b"#!/bin/sh\n", "m", "code.source");
    finds(b"\x7fELF", "lib.so", "code.native");
    finds(b"\xac\xed\0\x05sr", "m", "code.serialized");
    for name in ["m.bin", "m.pt", "m.ckpt", "m", "m.dat", "m.pkl"] {
        assert!(!rules(b"\x80\x02N.", name).iter().any(|rule| rule == "type.mismatch"));
    }
    assert_eq!(rules(b"", "weights.safetensors"), [""; 0]);
}

proptest! {
    #[test]
    fn no_octets_outside_a_format_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        searched(&octets);
        searched(&[&octets[..], SLIP, &octets].concat());
    }
}
