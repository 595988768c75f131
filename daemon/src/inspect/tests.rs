//! Samples of every format, the tricky neighbours of each, and the promise that no octets make an inspection panic or read
//! without bound.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::io;

use proptest::prelude::{Just, Strategy as _, any, prop_assert, prop_oneof, proptest};
use proptest::sample::select;

use super::format::UnknownFormat;
use super::{Format, Inspection, Level, Limits, RECOGNISE_BYTES_MAX, ReadAt, Ruleset, Verdict, inspect, recognise};

/// An inspection with the rules and limits that are built in.
fn looked_at(source: &dyn ReadAt) -> io::Result<Inspection> {
    inspect(source, "model", &Ruleset::default(), &Limits::default())
}

fn format_of(octets: &[u8]) -> Format {
    recognise(&octets).unwrap()
}

/// A file of any size: zeros behind a head. Counts what is read.
struct Sparse {
    head: Vec<u8>,
    len: u64,
    read: Cell<u64>,
}

impl Sparse {
    fn new(head: &[u8], len: u64) -> Self {
        Self { head: head.into(), len, read: Cell::new(0) }
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        buf[..count].fill(0);
        self.head.as_slice().read_at(offset, &mut buf[..count])?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// A zip archive of stored, empty members: local headers, directory, end record.
fn zip(names: &[&str]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for name in names {
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        directory.extend(b"PK\x01\x02\x14\x00\x14\x00");
        directory.extend([0; 20]);
        directory.extend(length);
        directory.extend([0; 12]);
        directory.extend(u32::try_from(archive.len()).unwrap().to_le_bytes());
        directory.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04\x14\x00");
        archive.extend([0; 20]);
        archive.extend(length);
        archive.extend([0; 2]);
        archive.extend(name.as_bytes());
    }
    let at = u32::try_from(archive.len()).unwrap();
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(names.len()).unwrap().to_le_bytes();
    archive.extend([count, count].concat());
    archive.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

/// The same with a zip64 end record and locator, and the old record pointing there, as PyTorch writes it.
fn zip64(names: &[&str]) -> Vec<u8> {
    let mut archive = zip(names);
    let end = archive.split_off(archive.len() - 22);
    let bytes = u32::from_le_bytes(*end[12..].first_chunk().unwrap());
    let at = archive.len() as u64;
    archive.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    for number in [names.len() as u64, names.len() as u64, u64::from(bytes), at - u64::from(bytes)] {
        archive.extend(number.to_le_bytes());
    }
    archive.extend(b"PK\x06\x07\0\0\0\0");
    archive.extend(at.to_le_bytes());
    archive.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    archive
}

/// One tar header block for an empty file, and the two zero blocks of the end.
fn tar(magic: &[u8]) -> Vec<u8> {
    tar_of(magic, &["model.bin"])
}

/// The same for several files.
fn tar_of(magic: &[u8], names: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    for name in names {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(b"00000000000\0");
        block[156] = b'0';
        block[257..257 + magic.len()].copy_from_slice(magic);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|octet| u32::from(*octet)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(block);
    }
    archive.extend([0; 1024]);
    archive
}

fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
}

const SAFETENSORS_HEADER: &str =
    r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

fn gguf(version: [u8; 4]) -> Vec<u8> {
    [&b"GGUF"[..], &version, &[0; 16]].concat()
}

fn npy(version: u8) -> Vec<u8> {
    let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length[..] };
    [&b"\x93NUMPY"[..], &[version, 0], length, header, &[0; 4]].concat()
}

/// A field of wire type 2.
fn field(number: u8, octets: &[u8]) -> Vec<u8> {
    // Numbers below 32 have tags of at most eight bits: one octet, or a continued one and its upper bit.
    let tag = match number << 3 | 2 {
        tag @ ..0x80 => vec![tag],
        tag => vec![tag, 1],
    };
    [&tag, &[u8::try_from(octets.len()).unwrap()][..], octets].concat()
}

fn onnx() -> Vec<u8> {
    let node = field(1, &[field(1, b"x"), field(2, b"y"), field(4, b"Relu")].concat());
    let graph = [node, field(2, b"g"), field(11, &field(1, b"x")), field(12, &field(1, b"y"))].concat();
    [b"\x08\x08".to_vec(), field(2, b"pytorch"), field(7, &graph), field(8, b"\x10\x12"), field(25, &field(1, b"f"))]
        .concat()
}

fn saved_model() -> Vec<u8> {
    let meta = [field(1, &field(4, b"serve")), field(2, &field(1, b"node"))].concat();
    [b"\x08\x01".to_vec(), field(2, &meta), field(2, &meta)].concat()
}

fn tflite() -> Vec<u8> {
    [&b"\x1c\0\0\0TFL3"[..], &[0; 32]].concat()
}

/// Every format with samples of it.
fn samples() -> Vec<(Format, Vec<u8>)> {
    let mut samples: Vec<(Format, Vec<u8>)> = vec![
        (Format::Empty, vec![]),
        (Format::Safetensors, safetensors(SAFETENSORS_HEADER)),
        (Format::Safetensors, safetensors(&format!("{SAFETENSORS_HEADER}   "))),
        (Format::Safetensors, safetensors("{}")),
        (Format::Gguf, gguf([3, 0, 0, 0])),
        (Format::Gguf, gguf([0, 0, 0, 3])),
        (Format::PytorchLegacy, LEGACY_2.into()),
        (Format::PytorchLegacy, LEGACY_4.into()),
        (Format::PytorchZip, zip(&["archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/version"])),
        (Format::PytorchZip, zip64(&["m/data.pkl", "m/data/0", "m/version"])),
        (Format::Torchscript, zip64(&["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"])),
        (Format::KerasV3, zip(&["metadata.json", "config.json", "model.weights.h5"])),
        (Format::KerasV3, zip(&["config.json", "model.weights.h5"])),
        (Format::Npz, zip(&["arr_0.npy", "arr_1.npy"])),
        (Format::Skops, zip(&["0.npy", "schema.json"])),
        (Format::Zip, zip(&["readme", "arr_0.npy"])),
        (Format::Zip, zip(&[])),
        (Format::Hdf5, [b"\x89HDF\r\n\x1a\n".as_slice(), &[0; 88]].concat()),
        (Format::Hdf5, [&[0; 1024], b"\x89HDF\r\n\x1a\n".as_slice(), &[0; 88]].concat()),
        (Format::Onnx, onnx()),
        (Format::TfSavedModel, saved_model()),
        (Format::Tflite, tflite()),
        (Format::Tar, tar(b"ustar\x0000")),
        (Format::Tar, tar(b"ustar  \0")),
        (Format::Tar, tar(b"")),
        (Format::PytorchTar, tar_of(b"ustar\x0000", &["./sys_info", "./pickle", "./tensors", "./storages"])),
        (Format::Nemo, tar_of(b"ustar\x0000", &["./model_config.yaml", "./model_weights.ckpt"])),
        (Format::TorchPackage, zip(&["m/model/model.pkl", "m/.data/extern_modules", "m/.data/version"])),
        (Format::TorchserveMar, zip(&["MAR-INF/MANIFEST.json", "model.pt", "handler.py"])),
        (Format::XgboostJson, br#"{"learner":{"attributes":{}},"version":[2,1,0]}"#.into()),
        (Format::XgboostJson, br#" {"version": [2, 1, 0], "learner": {}}"#.into()),
        (Format::Json, br#"{"learner": {}}"#.into()),
        (Format::Json, br#"{"a": {"learner": {}, "version": 1}}"#.into()),
        (Format::XgboostUbj, b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x0aattributes{}}}".into()),
        (Format::XgboostUbj, b"{i\x07version[]}".into()),
        (Format::Lightgbm, b"tree\nversion=v4\nnum_class=1\n".into()),
        (Format::Xml, b"<?xml version=\"1.0\"?>\n<a/>".into()),
        (Format::Xml, b"<PMML xmlns=\"http://www.dmg.org/PMML-4_4\"/>".into()),
        (Format::Xml, b"<net name=\"m\" version=\"11\"/>".into()),
        (Format::Source, b"#!/bin/sh\ntrue\n".into()),
        (Format::JavaSerialized, b"\xac\xed\0\x05sr\0\x11java.util.HashMap".into()),
        (Format::Rdata, b"X\n\0\0\0\x03\0\x04\x03\0\0\x03\x05\0".into()),
        (Format::Rdata, b"RDX3\nX\n\0\0\0\x03".into()),
        (Format::Rdata, b"A\n3\n262912\n197888\n".into()),
        (Format::Text, b"A\n2\n3\n".into()),
        (Format::Media, b"\xff\xd8\xff\xe0\0\x10JFIF\0".into()),
        (Format::Media, b"GIF89a\x01\0\x01\0\0\0\0;".into()),
        (Format::Media, b"RIFF\x04\0\0\0WAVE".into()),
        (Format::Media, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".into()),
        (Format::SevenZip, b"7z\xbc\xaf\x27\x1c\0\x04".into()),
        (Format::Rar, b"Rar!\x1a\x07\x01\0".into()),
        (Format::Gzip, GZIP.into()),
        (Format::Bzip2, BZIP2.into()),
        (Format::Bzip2, BZIP2_EMPTY.into()),
        (Format::Xz, XZ.into()),
        (Format::Lzma, LZMA.into()),
        (Format::Zlib, ZLIB.into()),
        (Format::Zlib, b"\x78\x01\x01\x02\x00\xfd\xff\xc3\xa4\x00\x84\x01\x68".into()),
        (Format::Zstd, b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51".into()),
        (Format::Lz4, b"\x04\x22\x4d\x18\x64\x40\xa7\0\0\0\0\x05\x5d\xcc\x02".into()),
        (Format::Executable, b"\x7fELF\x02\x01\x01\0".into()),
        (Format::Sentencepiece, b"\x0a\x08\x0a\x01a\x15\0\0\x80\xbf".repeat(4)),
        (Format::Executable, [&b"MZ"[..], &[0; 58], b"\x40\0\0\0PE\0\0"].concat()),
        (Format::Executable, b"\xcf\xfa\xed\xfe\x07\0\0\x01".into()),
        (Format::Executable, b"\xca\xfe\xba\xbe\0\0\0\x41".into()),
        (Format::Json, br#" {"model_type": "bert"}"#.into()),
        (Format::Json, "\u{feff}[1, 2]\n".into()),
        (Format::Json, b"{}".into()),
        (Format::Text, "hällo, world\n".into()),
        (Format::Text, b"---\na: 1\n".into()),
        (Format::Text, b"<xml/>".into()),
        (Format::Unknown, vec![0; 600]),
        (Format::Media, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".into()),
    ];
    samples.extend((1..=3).map(|version| (Format::Npy, npy(version))));
    samples.extend(PICKLES.iter().map(|pickle| (Format::Pickle, pickle.to_vec())));
    samples
}

#[test]
fn every_format_is_recognised_by_its_content() {
    let samples = samples();
    for (format, octets) in &samples {
        assert_eq!(format_of(octets), *format, "{:?}", octets.escape_ascii().to_string());
    }
    // MessagePack has nothing to be told by but its name.
    for format in Format::ALL.iter().filter(|format| **format != Format::Msgpack) {
        assert!(samples.iter().any(|(sampled, _)| sampled == format), "no sample of {format}");
    }
    let by_name = inspect(&b"\x81\xa1a\x01".as_slice(), "a.msgpack", &Ruleset::default(), &Limits::default());
    assert_eq!(by_name.unwrap().format, Format::Msgpack);
}

#[test]
fn what_only_looks_like_a_format_is_not_it() {
    let nested = "[".repeat(10_000);
    let late_pickle = [&[b'a'; 100][..], PICKLES[2]].concat();
    let cases: &[(Format, &[u8])] = &[
        // Words that begin with the signature, or with opcodes of protocol 0.
        (Format::Text, b"GGUF is a format"),
        (Format::Text, b"BZh9 is how bzip2 begins"),
        (Format::Text, b"PK is not enough"),
        (Format::Text, b"MZ"),
        (Format::Text, b"7z x archive"),
        (Format::Text, b"x^2 + y^2\n"),
        (Format::Text, b"(this is) a sentence."),
        (Format::Text, b"(if x\n  y)\n.\n"),
        (Format::Text, b"(in-package :foo)\n(defun f () nil)\n"),
        (Format::Text, b"I'm text.\nI1\n."),
        (Format::Text, b"cat\ndog\nfish\n"),
        (Format::Text, b"car\nbus\nVan\n.\n"),
        (Format::Text, b"N.B. nothing here is a pickle"),
        (Format::Text, b"Python\nis a\n language."),
        (Format::Text, b"."),
        (Format::Text, b"(.\n"),
        (Format::Text, b"\n\x0c\n"),
        (Format::Text, b"# code\nimport os\nos.system('x')\n"),
        (Format::Text, b"model,score\na,1\n"),
        (Format::Text, b"3.14"),
        (Format::Text, br#"{"a": 1} {"b": 2}"#),
        (Format::Text, br#"{"a": 1"#),
        (Format::Text, nested.as_bytes()),
        // A pickle that does not stand at the beginning is none to a loader.
        (Format::Unknown, &late_pickle),
        // A header without a single sound opcode behind it; a memo slot never set; a stack too short; a mark missing.
        (Format::Unknown, b"\x80\x04"),
        (Format::Unknown, b"\x80\x04\0\0\0\0"),
        (Format::Unknown, b"\x80\x09N."),
        (Format::Unknown, b"h\xff."),
        (Format::Unknown, b"K\x00\x85\x86."),
        (Format::Unknown, b"K\xfft."),
        (Format::Unknown, b"K\xff.\xff"),
        // Lengths that lie.
        (Format::Unknown, b"\xff\xff\xff\xff\xff\xff\xff\xff{\"a\":{}}"),
        (Format::Unknown, b"\x02\0\0\0\0\0\0\0[]"),
        (Format::Unknown, b"\x0b\0\0\0\0\0\0\0{\"a\":1    }"),
        (Format::Unknown, b"\x93NUMPY\x09\0\x01\0{"),
        (Format::Unknown, b"\xff\xff\0\0TFL3\0\0\0\0"),
        (Format::Unknown, b"GGUF\x09\0\0\0"),
        (Format::Unknown, b"\x08\x08"),
        (Format::Unknown, b"\x08\x08\x3a\x7f\x0a\x00"),
        (Format::Unknown, b"\x08\x01\x12\x02\x58\x01"),
        (Format::Unknown, b"\x1f\x8b\x07\0\0\0\0\0"),
        (Format::Unknown, b"\x5d\0\0\0"),
        // Text with a control character that text does not have, or cut in a character.
        (Format::Unknown, b"text\0text"),
        (Format::Unknown, b"text \xc3"),
    ];
    for (format, octets) in cases {
        assert_eq!(format_of(octets), *format, "{:?}", octets.escape_ascii().to_string());
    }
}

#[test]
fn a_pickle_is_one_however_it_ends() {
    // Raw octets behind it, or in it as joblib puts arrays: a header is enough.
    for &pickle in &PICKLES[2..] {
        assert_eq!(format_of(&[pickle, &[0xff; 50][..]].concat()), Format::Pickle);
        for cut in 5..pickle.len() {
            assert_eq!(format_of(&pickle[..cut.max(16)]), Format::Pickle);
        }
    }
    // Several, of protocol 0 too.
    assert_eq!(format_of(&[PICKLES[0], PICKLES[1], PICKLES[2]].concat()), Format::Pickle);
    // A loader calls this, then fails.
    for broken in [&b"cos\nsystem\n(S'id'\ntR\xff"[..], b"(S'id'\nios\nsystem\n\xff", b"(cos\nsystem\nS'id'\no\xff"] {
        assert_eq!(format_of(broken), Format::Pickle);
    }
    // A pickle in front of an archive, and the other way round: what stands first.
    assert_eq!(format_of(&[PICKLES[2], &zip(&["a"])].concat()), Format::Pickle);
    assert_eq!(format_of(&[&zip(&["a"]), PICKLES[2]].concat()), Format::Zip);
}

#[test]
fn an_archive_is_one_with_octets_before_it_and_with_a_comment() {
    let archive = zip64(&["m/data.pkl"]);
    assert_eq!(format_of(&[b"#!/bin/sh\nexit\n".as_slice(), &archive].concat()), Format::PytorchZip);
    let mut commented = zip(&["x.npy"]);
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&[32, 0]);
    commented.extend(b"PK\x05\x06, said the comment, and so");
    assert_eq!(format_of(&commented), Format::Zip, "begins as one, but no end record closes the file");
    commented[at] = 30;
    assert_eq!(format_of(&commented), Format::Npz);
    // Octets behind: most readers look for the record further up.
    assert_eq!(format_of(&[&archive, &b"behind"[..]].concat()), Format::PytorchZip);
    assert_eq!(format_of(&[b"\xff", &archive[..], b"behind"].concat()), Format::Unknown);
    // Cut short: still what PyTorch would take for an archive.
    assert_eq!(format_of(&archive[..40]), Format::Zip);
}

#[test]
fn safetensors_json_and_pickles_are_told_apart() {
    assert_eq!(format_of(SAFETENSORS_HEADER.as_bytes()), Format::Json);
    // A header longer than the head, of a file of 70 GB.
    let entries: Vec<String> = (0..2000)
        .map(|n| format!(r#""layers.{n}.weight":{{"dtype":"BF16","shape":[4096],"data_offsets":[{n},{n}]}}"#))
        .collect();
    let large = Sparse::new(&safetensors(&format!("{{{}}}", entries.join(","))), 70 << 30);
    assert_eq!(recognise(&large).unwrap(), Format::Safetensors);
    assert!(large.read.get() < 1 << 20, "{} octets read", large.read.get());
    // A length that reads as a protocol header and a value: 0x00580280.
    let padded = format!("{SAFETENSORS_HEADER}{}", " ".repeat(0x0058_0280 - SAFETENSORS_HEADER.len()));
    assert_eq!(format_of(&safetensors(&padded)), Format::Safetensors);
}

#[test]
fn large_files_cost_their_structure_only() {
    // A pickle whose one value is a terabyte.
    let mut pickle = b"\x80\x05\x8e".to_vec();
    pickle.extend((1_u64 << 40).to_le_bytes());
    let long = Sparse::new(&pickle, 1 << 41);
    assert_eq!(recognise(&long).unwrap(), Format::Pickle);
    assert!(long.read.get() < 1 << 18, "{} octets read", long.read.get());
    // Text and JSON beyond what is read.
    assert_eq!(format_of("ä".repeat(1 << 17).as_bytes()), Format::Text);
    assert_eq!(format_of(&[b"x", "ä".repeat(1 << 17).as_bytes()].concat()), Format::Text);
    assert_eq!(format_of(format!("[{}1]", "1,".repeat(1 << 20)).as_bytes()), Format::Json);
    // A million opcodes, without and with a header.
    assert_eq!(format_of(&b"N0".repeat(500_000)), Format::Pickle);
    assert_eq!(format_of(&[&b"\x80\x02"[..], &b"N0".repeat(500_000)].concat()), Format::Pickle);
}

#[test]
fn a_source_that_fails_is_no_verdict_and_one_that_lies_is_no_panic() {
    struct Failing;
    impl ReadAt for Failing {
        fn len(&self) -> u64 {
            100
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    assert!(looked_at(&Failing).is_err());

    /// Says that this many octets came, whatever was asked for.
    struct Lying(u64, usize);
    impl ReadAt for Lying {
        fn len(&self) -> u64 {
            self.0
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Ok(self.1)
        }
    }
    for len in [1, 1 << 20, u64::MAX] {
        assert_eq!(looked_at(&Lying(len, usize::MAX)).unwrap().format, Format::Unknown);
        assert_eq!(looked_at(&Lying(len, 0)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn names_are_stable_unique_and_read_back() {
    let names: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "safetensors gguf pickle pytorch_zip torchscript pytorch_legacy keras_v3 hdf5 npy npz onnx tf_saved_model tflite \
         skops zip tar 7z rar gzip bzip2 xz lzma zlib zstd lz4 pytorch_tar torch_package torchserve_mar nemo \
         xgboost_json xgboost_ubj lightgbm msgpack xml media source java_serialized r_data executable json text empty \
         unknown sentencepiece"
    );
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(*format));
    }
    for wrong in ["", "Pickle", " pickle", "pkl"] {
        assert_eq!(wrong.parse::<Format>(), Err(UnknownFormat));
    }
}

#[test]
fn the_verdict_is_that_of_the_gravest_finding() {
    let mut inspection = looked_at(&b"\x7fELF".as_slice()).unwrap();
    inspection.findings[0].level = Level::Note;
    for (level, verdict) in [
        (Level::Suspicious, Verdict::Suspicious),
        (Level::Note, Verdict::Suspicious),
        (Level::Malicious, Verdict::Malicious),
        (Level::Unscannable, Verdict::Malicious),
    ] {
        let finding = super::Finding { level, ..inspection.findings[0].clone() };
        inspection.findings.push(finding);
        assert_eq!(inspection.verdict(), verdict);
    }
    for (level, name) in [(Level::Note, "note"), (Level::Malicious, "malicious")] {
        assert_eq!(level.as_str(), name);
    }
    assert_eq!(Verdict::from(Level::Unscannable).as_str(), Level::Unscannable.as_str());
}

proptest! {
    #[test]
    fn no_octets_make_it_panic_or_read_without_bound(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let source = Sparse::new(&octets, octets.len() as u64);
        recognise(&source).unwrap();
        prop_assert!(source.read.get() <= RECOGNISE_BYTES_MAX);
    }

    #[test]
    fn no_mutation_of_a_sample_does(
        (_, mut octets) in select(samples()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<proptest::sample::Index>(),
        tail in prop_oneof![Just(0_u64), 0..1_u64 << 20, any::<u64>()],
        front in proptest::collection::vec(any::<u8>(), 0..4).prop_filter("mostly none", |front| front.len() != 1),
    ) {
        if !octets.is_empty() {
            for (at, octet) in changes {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            octets.truncate(octets.len().max(1) - cut.index(octets.len().div_ceil(4)));
        }
        let octets = [front, octets].concat();
        let source = Sparse::new(&octets, (octets.len() as u64).saturating_add(tail));
        recognise(&source).unwrap();
        prop_assert!(source.read.get() <= RECOGNISE_BYTES_MAX, "{} octets read", source.read.get());
    }

    #[test]
    fn nor_does_looking_into_it(
        (_, mut octets) in select(samples()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<proptest::sample::Index>(),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
        name in select(vec!["m", "m.pkl", "m.msgpack", "m.onnx", "saved_model.pb", "m.tar.gz", "m.png", "m.py"]),
    ) {
        if !octets.is_empty() {
            for (at, octet) in changes {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            octets.truncate(octets.len().max(1) - cut.index(octets.len().div_ceil(4)));
        }
        octets.extend(tail);
        let small = Limits { held_bytes: 1 << 10, inflated_bytes: 1 << 20, ..Limits::default() };
        for limits in [Limits::default(), small] {
            inspect(&octets.as_slice(), name, &Ruleset::default(), &limits).unwrap();
        }
    }

    #[test]
    fn nor_any_sequence_of_opcodes(opcodes in proptest::collection::vec(select(
        b"\x80\x02()]}NK\x01M\x01\x02U\x01aX\x01\x00\x00\x00aVa\nI1\nS'a'\np0\ng0\nq\x00h\x00cos\nsystem\nRob0012tlduesa.\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94\x95".to_vec(),
    ), 0..4000)) {
        let source = Sparse::new(&opcodes, opcodes.len() as u64);
        recognise(&source).unwrap();
        prop_assert!(source.read.get() <= RECOGNISE_BYTES_MAX);
    }
}

/// `{'a': [1, 2.5, None, True, b'x', 'é', -70000, 1 << 80], 't': (1, 2, 3, 4), 's': {1, 2},
/// 'd': OrderedDict(k=date(2026, 1, 2))}` by `pickle.dumps` of CPython 3.11, protocols 0 to 5.
const PICKLES: [&[u8]; 6] = [
    b"(dp0\nVa\np1\n(lp2\nI1\naF2.5\naNaI01\nac_codecs\nencode\np3\n(Vx\np4\nVlatin1\np5\ntp6\nRp7\naV\xe9\np8\naI-70000\naL1208925819614629174706176L\nasVt\np9\n(I1\nI2\nI3\nI4\ntp10\nsVs\np11\nc__builtin__\nset\np12\n((lp13\nI1\naI2\natp14\nRp15\nsVd\np16\nccollections\nOrderedDict\np17\n(tRp18\nVk\np19\ncdatetime\ndate\np20\n(g3\n(V\x07\xea\x01\x02\np21\ng5\ntp22\nRp23\ntp24\nRp25\nss.",
    b"}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00NI01\nc_codecs\nencode\nq\x03(X\x01\x00\x00\x00xq\x04X\x06\x00\x00\x00latin1q\x05tq\x06Rq\x07X\x02\x00\x00\x00\xc3\xa9q\x08J\x90\xee\xfe\xffL1208925819614629174706176L\neX\x01\x00\x00\x00tq\x09(K\x01K\x02K\x03K\x04tq\nX\x01\x00\x00\x00sq\x0bc__builtin__\nset\nq\x0c(]q\x0d(K\x01K\x02etq\x0eRq\x0fX\x01\x00\x00\x00dq\x10ccollections\nOrderedDict\nq\x11)Rq\x12X\x01\x00\x00\x00kq\x13cdatetime\ndate\nq\x14(h\x03(X\x05\x00\x00\x00\x07\xc3\xaa\x01\x02q\x15h\x05tq\x16Rq\x17tq\x18Rq\x19su.",
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88c_codecs\nencode\nq\x03X\x01\x00\x00\x00xq\x04X\x06\x00\x00\x00latin1q\x05\x86q\x06Rq\x07X\x02\x00\x00\x00\xc3\xa9q\x08J\x90\xee\xfe\xff\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01eX\x01\x00\x00\x00tq\x09(K\x01K\x02K\x03K\x04tq\nX\x01\x00\x00\x00sq\x0bc__builtin__\nset\nq\x0c]q\x0d(K\x01K\x02e\x85q\x0eRq\x0fX\x01\x00\x00\x00dq\x10ccollections\nOrderedDict\nq\x11)Rq\x12X\x01\x00\x00\x00kq\x13cdatetime\ndate\nq\x14h\x03X\x05\x00\x00\x00\x07\xc3\xaa\x01\x02q\x15h\x05\x86q\x16Rq\x17\x85q\x18Rq\x19su.",
    b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88C\x01xq\x03X\x02\x00\x00\x00\xc3\xa9q\x04J\x90\xee\xfe\xff\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01eX\x01\x00\x00\x00tq\x05(K\x01K\x02K\x03K\x04tq\x06X\x01\x00\x00\x00sq\x07cbuiltins\nset\nq\x08]q\x09(K\x01K\x02e\x85q\nRq\x0bX\x01\x00\x00\x00dq\x0cccollections\nOrderedDict\nq\x0d)Rq\x0eX\x01\x00\x00\x00kq\x0fcdatetime\ndate\nq\x10C\x04\x07\xea\x01\x02q\x11\x85q\x12Rq\x13su.",
    b"\x80\x04\x95\x99\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88C\x01x\x94\x8c\x02\xc3\xa9\x94J\x90\xee\xfe\xff\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01e\x8c\x01t\x94(K\x01K\x02K\x03K\x04t\x94\x8c\x01s\x94\x8f\x94(K\x01K\x02\x90\x8c\x01d\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01k\x94\x8c\x08datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xea\x01\x02\x94\x85\x94R\x94su.",
    b"\x80\x05\x95\x99\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88C\x01x\x94\x8c\x02\xc3\xa9\x94J\x90\xee\xfe\xff\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01e\x8c\x01t\x94(K\x01K\x02K\x03K\x04t\x94\x8c\x01s\x94\x8f\x94(K\x01K\x02\x90\x8c\x01d\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01k\x94\x8c\x08datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xea\x01\x02\x94\x85\x94R\x94su.",
];

/// How the old PyTorch format begins, in protocol 2, its default, and 4.
const LEGACY_2: &[u8] =
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";
const LEGACY_4: &[u8] =
    b"\x80\x04\x95\x0d\x00\x00\x00\x00\x00\x00\x00\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00M\xe9\x03.\x80\x04\x95\x15\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x0dlittle_endian\x94\x88s.";

/// `b'some octets ' * 3` by the modules of CPython 3.11.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03+\xce\xcfMU\xc8O.I-)V(\xc6\xc1\x06\x00\xc7\xcf\xf2\x1e$\x00\x00\x00";
const BZIP2: &[u8] =
    b"BZh91AY&SY} bW\x00\x00\x0e\x91\x80@\x00\n\x02\x8c\x00 \x00\"\xbf\xd5OSi\x08`\"\xaa\xb5\x15\x8f#Z\xf8\xbb\x92)\xc2\x84\x83\xe9\x03\x12\xb8";
const BZIP2_EMPTY: &[u8] = b"BZh9\x17rE8P\x90\x00\x00\x00\x00";
const XZ: &[u8] =
    b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0\x00#\x00\x13]\x009\x9b\xc9\xf2\xe7P\x9bsQ\x93)\xeaJL\xfdZW@\x00\x00\x00\xd8\x8b\xd2\x7f\xd3\xcf\x01\xbd\x00\x01/$\x97i\x99\x0e\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ";
const LZMA: &[u8] =
    b"]\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x009\x9b\xc9\xf2\xe7P\x9bsQ\x93)\xeaJL\xfdbP\x16\xff\xff\xfc@\x90\x00";
const ZLIB: &[u8] = b"x\x9c+\xce\xcfMU\xc8O.I-)V(\xc6\xc1\x06\x00\xfe\xa3\x0d\x93";
