//! Tricks of tar archives, each with the rule that finds it, and archives as writers make them, in which nothing is found.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::{any, proptest};

use crate::inspect::{Finding, Format, Level, Limits, Ruleset, inspect};

/// A header with its checksum, and the content.
fn entry(name: &str, kind: u8, target: &str, data: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    sealed(block, data)
}

fn sealed(mut block: Vec<u8>, data: &[u8]) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|octet| u32::from(*octet)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(data);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn file(name: &str) -> Vec<u8> {
    entry(name, b'0', "", b"text\n")
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// Findings about the archive itself, and not about what is in it.
fn found(octets: &[u8]) -> Vec<Finding> {
    let findings = inspect(&octets, "m.tar", &Ruleset::default(), &Limits::default()).unwrap().findings;
    let families = ["tar.", "path.", "archive.", "trailing.", "limit", "format.", "type."];
    findings.into_iter().filter(|one| families.iter().any(|family| one.rule.starts_with(family))).collect()
}

#[track_caller]
fn finds(octets: &[u8], rule: &str, level: Level) {
    let found = found(octets);
    assert!(found.iter().any(|one| one.rule == rule && one.level == level), "{rule} {level:?} is not among {found:?}");
}

#[test]
fn nothing_is_found_in_archives_as_they_are_written() {
    for entries in [
        vec![file("a.txt"), file("./b/c.txt"), entry("d/", b'5', "", b""), file("..e"), file("f..g/h")],
        vec![file("a/b"), entry("a/c", b'2', "b", b""), entry("a/d", b'2', "../a/b", b"")],
        vec![entry("././@LongLink", b'L', "", &[b"n".repeat(200), b"\0".to_vec()].concat()), file("short")],
        vec![entry("x", b'x', "", b"14 path=a/b.c\n30 mtime=1700000000.123456789\n"), file("short")],
        vec![entry("g", b'g', "", b"20 comment=any text\n"), file("a")],
        vec![],
    ] {
        let octets = archive(&entries);
        let padded = [&octets[..], &vec![0; 10_240 - octets.len() % 10_240][..]].concat();
        if entries.is_empty() {
            continue;
        }
        assert_eq!(found(&octets), []);
        assert_eq!(found(&padded), []);
        assert_eq!(found(&entries.concat()), [], "without the blocks of the end");
    }
    let nemo = archive(&[file("./model_config.yaml"), file("./model_weights.ckpt")]);
    let inspection = inspect(&nemo.as_slice(), "m.nemo", &Ruleset::default(), &Limits::default()).unwrap();
    assert_eq!((inspection.format, inspection.facts.values["framework"].as_str()), (Format::Nemo, Some("nemo")));
}

#[test]
fn every_trick_has_its_rule() {
    use Level::{Malicious, Suspicious, Unscannable};
    for name in ["../x", "/x", "a/../../x", "a\\..\\x", "C:/x"] {
        finds(&archive(&[file("a"), file(name)]), "path.traversal", Malicious);
        let long = entry("././@LongLink", b'L', "", name.as_bytes());
        finds(&archive(&[long, file("short")]), "path.traversal", Malicious);
        let record = format!("path={name}\n");
        let record = format!("{} {record}", record.len() + 3);
        finds(&archive(&[entry("x", b'x', "", record.as_bytes()), file("short")]), "path.traversal", Malicious);
        // The name in the header, which a reader without extensions takes.
        let fine = entry("x", b'x', "", b"10 path=a\n");
        finds(&archive(&[fine, file(name)]), "path.traversal", Malicious);
    }
    let mut prefixed = vec![0; 512];
    prefixed[..1].copy_from_slice(b"x");
    prefixed[124..136].copy_from_slice(b"00000000000\0");
    prefixed[257..265].copy_from_slice(b"ustar\x0000");
    prefixed[345..347].copy_from_slice(b"..");
    finds(&archive(&[sealed(prefixed, b"")]), "path.traversal", Malicious);
    for target in ["/x", "../x", "b/../../x"] {
        finds(&archive(&[entry("a", b'2', target, b"")]), "archive.link", Malicious);
    }
    finds(&archive(&[file("a"), entry("b", b'1', "a", b"")]), "archive.link", Malicious);
    finds(&archive(&[entry("a", b'2', "b", b""), file("./a/c")]), "archive.link", Malicious);
    for kind in [b'3', b'4', b'6'] {
        finds(&archive(&[entry("a", kind, "", b"")]), "archive.device", Malicious);
    }
    finds(&[&archive(&[file("a")])[..], &file("../b")].concat(), "path.traversal", Malicious);
    finds(&[&archive(&[file("a")])[..], b"behind"].concat(), "trailing.data", Suspicious);
    let mut wrong = archive(&[file("a"), file("b")]);
    wrong[1024] ^= 1;
    finds(&wrong, "tar.broken", Unscannable);
    finds(&archive(&[file("a"), file("b")])[..1536 + 2], "tar.broken", Unscannable);
    finds(&archive(&[file("a")])[..514], "tar.broken", Unscannable);
    let long = entry("././@LongLink", b'L', "", &vec![b'n'; 2 << 20]);
    finds(&archive(&[long, file("a")]), "tar.broken", Unscannable);
}

#[test]
fn members_are_looked_into() {
    let elf = entry("w", b'0', "", b"\x7fELF\x02\x01\x01\0");
    let inner = archive(&[file("a"), elf.clone()]);
    for octets in [
        inner.clone(),
        archive(&[entry("b.tar", b'0', "", &inner)]),
        archive(&[file("a"), entry("c", b'9', "", b"\x7fELF")]),
    ] {
        let findings = inspect(&octets.as_slice(), "m", &Ruleset::default(), &Limits::default()).unwrap().findings;
        assert!(findings.iter().any(|one| one.rule == "code.native"), "{findings:?}");
    }
    // Holes are not filled, which is said.
    let sparse = archive(&[entry("a", b'S', "", b"\x7fELF")]);
    let findings = inspect(&sparse.as_slice(), "m", &Ruleset::default(), &Limits::default()).unwrap().findings;
    assert!(findings.iter().any(|one| one.rule == "content.unread"));
    assert!(findings.iter().any(|one| one.rule == "code.native"));
}

proptest! {
    #[test]
    fn no_mutation_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let entries = [
            entry("x", b'x', "", b"14 path=a/b.c\n"),
            entry("a", b'S', "", b"text"),
            entry("b", b'2', "a", b""),
            entry("././@LongLink", b'L', "", b"name"),
            file("c"),
        ];
        // Changed before the checksum is made, so that the change is read.
        let mut octets = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let (block, data) = entry.split_at(512);
            let mut block = block.to_vec();
            if let Some((at, octet)) = changes.get(number) {
                block[at.index(512)] = *octet;
            }
            octets.extend(sealed(block, data));
        }
        octets.truncate(octets.len() - cut.index(octets.len() / 2));
        inspect(&octets.as_slice(), "m", &Ruleset::default(), &Limits::default()).unwrap();
    }
}

#[test]
fn a_header_is_one_however_its_checksum_is_written() {
    let mut block = [0_u8; 512];
    block[..8].copy_from_slice(b"storages");
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(b"00000000000");
    let sum = block.iter().map(|octet| u32::from(*octet)).sum::<u32>() + 8 * 32;
    for stated in [format!("{sum:06o}\0 "), format!("+{sum:o}\0"), format!("0o{sum:o}\0"), format!("{sum:o}_0")] {
        let mut block = block;
        let field = stated.as_bytes();
        block[148..148 + field.len()].copy_from_slice(field);
        assert_eq!(super::is_header(&block), !stated.ends_with("_0"), "{stated:?}");
    }
    let mut nameless = [0_u8; 512];
    nameless[148..154].copy_from_slice(b"000400");
    assert!(super::is_header(&nameless), "readers take a member without a name");
    assert!(!super::is_header(&[0; 512]));
}
