//! Tricks of zip archives, each with the rule that finds it, and archives as writers make them, in which nothing is found.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;

use flate2::Crc;
use flate2::read::DeflateEncoder;
use proptest::prelude::{any, proptest};

use crate::inspect::{Format, Inspection, Level, Limits, ReadAt, Ruleset, inspect};

/// A pickle of protocol 2 that is nothing but `None`.
const PICKLE: &[u8] = b"\x80\x02N.";

/// A member to be written.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    local_name: Vec<u8>,
    data: Vec<u8>,
    method: u16,
    local_method: u16,
    flags: u16,
    local_flags: u16,
    crc: u32,
    unpacked: u32,
    mode: u16,
    extra: Vec<u8>,
}

fn stored(name: &str, data: &[u8]) -> Entry {
    let mut crc = Crc::new();
    crc.update(data);
    Entry {
        name: name.into(),
        local_name: name.into(),
        data: data.into(),
        method: 0,
        local_method: 0,
        flags: 0,
        local_flags: 0,
        crc: crc.sum(),
        unpacked: u32::try_from(data.len()).unwrap(),
        mode: 0,
        extra: Vec::new(),
    }
}

fn deflated(name: &str, data: &[u8]) -> Entry {
    let mut packed = Vec::new();
    io::copy(&mut DeflateEncoder::new(data, flate2::Compression::best()), &mut packed).unwrap();
    Entry { data: packed, method: 8, local_method: 8, ..stored(name, data) }
}

/// Members, and where each begins.
fn members(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
    let (mut octets, mut offsets) = (Vec::new(), Vec::new());
    for entry in entries {
        offsets.push(octets.len());
        octets.extend(b"PK\x03\x04\x14\0");
        octets.extend(entry.local_flags.to_le_bytes());
        octets.extend(entry.local_method.to_le_bytes());
        octets.extend([0; 4]);
        octets.extend(entry.crc.to_le_bytes());
        octets.extend(u32::try_from(entry.data.len()).unwrap().to_le_bytes());
        octets.extend(entry.unpacked.to_le_bytes());
        octets.extend(u16::try_from(entry.local_name.len()).unwrap().to_le_bytes());
        octets.extend([0; 2]);
        octets.extend(&entry.local_name);
        octets.extend(&entry.data);
    }
    (octets, offsets)
}

/// The directory of members at these offsets, and the end record.
fn directory(entries: &[Entry], offsets: &[usize], at: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for (entry, offset) in entries.iter().zip(offsets) {
        octets.extend(b"PK\x01\x02\x14\x03\x14\0");
        octets.extend(entry.flags.to_le_bytes());
        octets.extend(entry.method.to_le_bytes());
        octets.extend([0; 4]);
        octets.extend(entry.crc.to_le_bytes());
        octets.extend(u32::try_from(entry.data.len()).unwrap().to_le_bytes());
        octets.extend(entry.unpacked.to_le_bytes());
        octets.extend(u16::try_from(entry.name.len()).unwrap().to_le_bytes());
        octets.extend(u16::try_from(entry.extra.len()).unwrap().to_le_bytes());
        octets.extend([0; 8]);
        octets.extend(entry.mode.to_le_bytes());
        octets.extend(u32::try_from(*offset).unwrap().to_le_bytes());
        octets.extend(&entry.name);
        octets.extend(&entry.extra);
    }
    let bytes = u32::try_from(octets.len()).unwrap();
    let count = u16::try_from(entries.len() & 0xffff).unwrap().to_le_bytes();
    octets.extend(b"PK\x05\x06\0\0\0\0");
    octets.extend([count, count].concat());
    octets.extend(bytes.to_le_bytes());
    octets.extend(u32::try_from(at).unwrap().to_le_bytes());
    octets.extend([0; 2]);
    octets
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let (octets, offsets) = members(entries);
    let directory = directory(entries, &offsets, octets.len());
    [octets, directory].concat()
}

fn looked_at(octets: &[u8]) -> Inspection {
    inspect(&octets, "m", &Ruleset::default(), &Limits::default()).unwrap()
}

/// Findings about the archive itself, and not about what is in it.
fn found(octets: &[u8]) -> Vec<(String, Level)> {
    let families = ["zip.", "path.", "archive.", "trailing.", "limit", "format.", "torchscript."];
    let findings = looked_at(octets).findings.into_iter();
    let ours = findings.filter(|one| families.iter().any(|family| one.rule.starts_with(family)));
    ours.map(|one| (one.rule, one.level)).collect()
}

#[track_caller]
fn finds(octets: &[u8], rule: &str, level: Level) {
    let found = found(octets);
    assert!(found.contains(&(rule.to_owned(), level)), "{rule} {level:?} is not among {found:?}");
}

#[test]
fn nothing_is_found_in_archives_as_they_are_written() {
    let names = ["a.txt", "v1..2/x", "..hidden", "a/b c"];
    let entries: Vec<Entry> = names.iter().map(|name| stored(name, b"text\n")).collect();
    assert_eq!(found(&archive(&entries)), []);
    assert_eq!(found(&archive(&[deflated("a.txt", &b"text\n".repeat(2000)), stored("folder/", b"")])), []);
    assert_eq!(found(&archive(&[])), []);
    let mut commented = archive(&[stored("a", b"text")]);
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&[4, 0]);
    commented.extend(b"fine");
    assert_eq!(found(&commented), []);
    // A small archive in one, whose end record is near the end of both.
    assert_eq!(found(&archive(&[stored("a.zip", &archive(&[stored("a", b"text")]))])), []);
    // More members than the count of the end record can say.
    let many: Vec<Entry> = (0..65_540).map(|n| stored(&format!("{n}"), b"")).collect();
    assert_eq!(found(&archive(&many)), []);
    // Written by torch.save of PyTorch: sizes behind the data, an alignment field, a zip64 end record.
    assert_eq!(found(TORCH), []);
    assert_eq!(looked_at(TORCH).format, Format::PytorchZip);
    assert_eq!(looked_at(TORCH).facts.values["framework"], "torch");
}

#[test]
fn every_trick_has_its_rule() {
    use Level::{Malicious, Suspicious, Unscannable};
    let one = [stored("a", b"text")];
    let fine = &one[0];
    let (data, offsets) = members(&one);
    for name in ["../x", "/x", "C:\\x", "a\\..\\..\\x", "a/..", "a\0b"] {
        finds(&archive(&[stored(name, b"")]), "path.traversal", Malicious);
    }
    finds(&archive(&[Entry { local_name: b"../b".into(), ..fine.clone() }]), "path.traversal", Malicious);
    let field = [&b"\x75\x70\x09\0\x01\0\0\0\0"[..], b"../b"].concat();
    finds(&archive(&[Entry { extra: field, ..fine.clone() }]), "path.traversal", Malicious);
    finds(&archive(&[Entry { mode: 0o120_777, ..fine.clone() }]), "archive.link", Malicious);
    finds(&archive(&[Entry { local_name: b"b".into(), ..fine.clone() }]), "zip.mismatch", Malicious);
    finds(&archive(&[Entry { local_method: 8, ..fine.clone() }]), "zip.mismatch", Suspicious);
    finds(&archive(&[Entry { local_flags: 8, ..fine.clone() }]), "zip.mismatch", Suspicious);
    finds(&archive(&[Entry { unpacked: 3, ..fine.clone() }]), "zip.mismatch", Suspicious);
    finds(&archive(&[Entry { unpacked: 3, ..deflated("a", b"text") }]), "zip.mismatch", Suspicious);
    finds(&archive(&[Entry { unpacked: 5, ..deflated("a", b"text") }]), "zip.mismatch", Suspicious);
    finds(&archive(&[Entry { crc: 1, ..fine.clone() }]), "zip.crc", Suspicious);
    finds(&archive(&[Entry { crc: 1, ..deflated("a", b"text") }]), "zip.crc", Suspicious);
    finds(&archive(&[fine.clone(), fine.clone()]), "zip.duplicate", Suspicious);
    for flags in [1, 1 << 5, 1 << 6, 1 << 13] {
        finds(&archive(&[Entry { flags, ..fine.clone() }]), "zip.encrypted", Unscannable);
        finds(&archive(&[Entry { local_flags: flags, ..fine.clone() }]), "zip.encrypted", Unscannable);
    }
    finds(&archive(&[Entry { method: 9, ..fine.clone() }]), "zip.method", Unscannable);
    finds(&archive(&[Entry { method: 8, local_method: 8, ..fine.clone() }]), "zip.broken", Unscannable);
    finds(&archive(&[deflated("a", &vec![0; 11 << 20])]), "archive.ratio", Suspicious);
    finds(&data, "zip.broken", Unscannable);
    finds(&[data.clone(), directory(&one, &[1], data.len())].concat(), "zip.broken", Unscannable);
    // The same member twice; a member in a member.
    let shared = [data.clone(), directory(&[fine.clone(), fine.clone()], &[0, 0], data.len())].concat();
    finds(&shared, "zip.overlap", Malicious);
    // A member that only the front lists, before, between and behind those of the directory.
    let (three, offsets_3) = members(&[stored("a", b"x"), stored("b", b"y"), stored("c", b"z")]);
    for hidden in 0..3 {
        let all = [stored("a", b"x"), stored("b", b"y"), stored("c", b"z")];
        let (mut listed, mut at) = (all.to_vec(), offsets_3.clone());
        listed.remove(hidden);
        at.remove(hidden);
        finds(&[three.clone(), directory(&listed, &at, three.len())].concat(), "zip.unlisted", Malicious);
    }
    let whole = [data.clone(), directory(&one, &offsets, data.len())].concat();
    finds(&[&b"before"[..], &whole].concat(), "zip.prefix", Suspicious);
    finds(&[&whole[..], b"behind"].concat(), "trailing.data", Suspicious);
    let between = [&data[..], b"between", &directory(&one, &offsets, data.len() + 7)].concat();
    finds(&between, "trailing.data", Suspicious);
    let mut commented = whole.clone();
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&[2, 0]);
    finds(&[&commented[..], b"PK"].concat(), "zip.comment", Suspicious);
    commented[at..].copy_from_slice(&[8, 0]);
    let findings = looked_at(&[&commented[..], b"\x7fELF\x02\x01\x01\0"].concat()).findings;
    assert!(findings.iter().any(|one| one.rule == "code.native"), "{findings:?}");
    // A second directory in the comment, which readers that go by the last signature take.
    let second = directory(&[stored("b", b"")], &[0], whole.len());
    commented[at..].copy_from_slice(&u16::try_from(second.len()).unwrap().to_le_bytes());
    finds(&[&commented[..], &second].concat(), "zip.mismatch", Malicious);
}

#[test]
fn the_content_is_looked_at_whatever_is_wrong_with_the_header() {
    let inner = archive(&[stored("../x", b"")]);
    let fine = stored("archive/x", &inner);
    let plain = [stored("archive/data.pkl", PICKLE), fine.clone()];
    finds(&archive(&plain), "path.traversal", Level::Malicious);
    for entry in [
        Entry { crc: 0, ..fine.clone() },
        Entry { flags: 1, local_flags: 1, ..fine.clone() },
        Entry { unpacked: 2, ..fine.clone() },
        Entry { local_name: b"b".into(), ..fine.clone() },
        Entry { method: 99, ..fine.clone() },
        Entry { local_method: 99, ..fine.clone() },
        deflated("a", &inner),
        Entry { crc: 7, ..deflated("a", &inner) },
        stored("archive/data/0", &inner),
    ] {
        finds(&archive(&[stored("archive/data.pkl", PICKLE), entry.clone()]), "path.traversal", Level::Malicious);
        // Also where there is no directory.
        finds(&members(&[entry.clone(), entry]).0, "path.traversal", Level::Malicious);
    }
}

#[test]
fn torchscript_is_no_python_and_has_operators_that_reach_files() {
    let code = |text: &str| {
        archive(&[
            stored("m/data.pkl", PICKLE),
            stored("m/constants.pkl", PICKLE),
            stored("m/code/__torch__.py", text.as_bytes()),
        ])
    };
    for operator in ["torch.from_file(\"x\")", "torch.save(1, \"x\")", "ops.aten.save(1)", "ops.aten.from_file(1)"] {
        finds(&code(&format!("def forward(self):\n  return {operator}\n")), "torchscript.operator", Level::Suspicious);
    }
    let fine = looked_at(&code("def forward(self, x: Tensor) -> Tensor:\n  return torch.relu(x)\n"));
    assert!(!fine.findings.iter().any(|one| one.rule.starts_with("code.") || one.rule.starts_with("torchscript.")));
    assert_eq!(fine.facts.values["torchscript"], true);
    // Python is reported where it is run.
    for (entry, rule) in [
        (stored("m/.data/extern_modules", b"os\n"), "code.python"),
        (stored("MAR-INF/MANIFEST.json", b"{}"), "code.python"),
        (stored("readme", b"text"), "code.source"),
    ] {
        let findings = looked_at(&archive(&[entry, stored("m/handler.py", b"pass\n")])).findings;
        assert!(findings.iter().any(|one| one.rule == rule && one.level == Level::Suspicious), "{findings:?}");
    }
}

#[test]
fn raw_numbers_are_not_read() {
    /// Counts what is read; zeros where nothing is written.
    struct Counting(Vec<u8>, u64, Vec<u8>, std::cell::Cell<u64>);
    impl ReadAt for Counting {
        fn len(&self) -> u64 {
            self.0.len() as u64 + self.1 + self.2.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            let tail_at = self.0.len() as u64 + self.1;
            self.3.set(self.3.get() + buf.len() as u64);
            if offset >= tail_at {
                return self.2.as_slice().read_at(offset - tail_at, buf);
            }
            let count = buf.len().min(usize::try_from(tail_at - offset).unwrap());
            buf[..count].fill(0);
            self.0.as_slice().read_at(offset, &mut buf[..count])?;
            Ok(count)
        }
    }
    // A storage of 3 GB: only its header is written.
    let entries = [stored("m/data.pkl", PICKLE), stored("m/data/0", b"")];
    let (mut front, offsets) = members(&entries);
    let bytes = 3_000_000_000_u32;
    let sizes = [bytes.to_le_bytes(), bytes.to_le_bytes()].concat();
    let at = offsets[1] + 18;
    front[at..at + 8].copy_from_slice(&sizes);
    let mut back = directory(&entries, &offsets, 0);
    let end = back.len() - 6;
    back[end..end + 4].copy_from_slice(&(u32::try_from(front.len()).unwrap() + bytes).to_le_bytes());
    let second = 46 + entries[0].name.len() + 20;
    back[second..second + 8].copy_from_slice(&sizes);
    let large = Counting(front, u64::from(bytes), back, std::cell::Cell::default());
    let inspection = inspect(&large, "m.pt", &Ruleset::default(), &Limits::default()).unwrap();
    assert_eq!(inspection.format, Format::PytorchZip);
    assert!(!inspection.findings.iter().any(|one| one.rule.starts_with("zip.")), "{:?}", inspection.findings);
    assert!(large.3.get() < 4 << 20, "{} octets read", large.3.get());
}

#[test]
fn a_hundred_thousand_members_are_looked_at_and_one_more_is_a_limit() {
    let mut many: Vec<Entry> = (0..100_000).map(|n| stored(&format!("{n}"), b"")).collect();
    assert_eq!(found(&archive(&many)), []);
    many.push(stored("one more", b""));
    finds(&archive(&many), "limit", Level::Unscannable);
    // All of them at one place.
    let (octets, _) = members(&[stored("0", b"text")]);
    let shared: Vec<Entry> = (0..5000).map(|_| stored("0", b"text")).collect();
    let directory = directory(&shared, &vec![0; shared.len()], octets.len());
    finds(&[octets, directory].concat(), "zip.overlap", Level::Malicious);
}

proptest! {
    #[test]
    fn no_mutation_of_an_archive_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<proptest::sample::Index>(),
    ) {
        let inner = archive(&[deflated("x", &b"text".repeat(100))]);
        let mut octets = archive(&[stored("m/data.pkl", PICKLE), deflated("a.zip", &inner), stored("b", &inner)]);
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets.truncate(octets.len() - cut.index(octets.len() / 3));
        looked_at(&octets);
        looked_at(TORCH);
    }
}

/// `torch.save({'a': torch.zeros(3)}, 't.pt')` of PyTorch.
const TORCH: &[u8] = include_bytes!("torch.pt");
