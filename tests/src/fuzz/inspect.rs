//! What must hold of an inspection, whatever the octets and the name are: of the whole, which tells the format itself, and of
//! each format's reader, which gets octets that are not of its format too. Work is counted in what the reader asks of its
//! source; the clock is no measure. Refuses to know what verdict is right: the corpus of files knows that.

use std::cell::Cell;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use daemon::inspect::{
    self, DETAIL_BYTES_MAX, Format, Inspection, Level, Limits, ReadAt, Ruleset, Verdict, recognise, rule,
};

/// Names that make an inspection take another way; the first octet chooses one.
pub const NAMES: [&str; 24] = [
    "model.bin",
    "config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "model.safetensors",
    "model.gguf",
    "model.pkl",
    "model.npy",
    "model.onnx",
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "model.tflite",
    "model.h5",
    "model.keras",
    "model.msgpack",
    "model.pt",
    "params.yaml",
    "README.md",
    "chat_template.jinja",
    "model.xml",
    "handler.py",
    "data.jsonl",
    "archive.tar.gz",
];

/// Octets that an inspection may ask of its source, for each that there is and at least: a search and the walks that tell
/// formats apart go over the same octets again, but not without end.
const READ_PER_OCTET: u64 = 1 << 10;
const READ_AT_LEAST: u64 = 16 << 20;

/// Longest place: a path, and where in it.
const PLACE_BYTES_MAX: usize = 1024 + 32;

/// Longest facts as JSON text.
const FACTS_BYTES_MAX: usize = 512 << 10;

/// Smaller than what a service has, so that what needs much shows. Only the time is long, as it hangs on the machine.
static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    depth: 8,
    members: 10_000,
    inflated_bytes: 16 << 20,
    held_bytes: 16 << 20,
    opcodes: 200_000,
    globals: 20_000,
    time: Duration::from_secs(600),
    time_per_gb: Duration::ZERO,
});

static RULES: LazyLock<Ruleset> = LazyLock::new(Ruleset::default);

/// Octets, and how many of them were asked for.
struct Counted<'a> {
    octets: &'a [u8],
    read: Cell<u64>,
}

impl ReadAt for Counted<'_> {
    fn len(&self) -> u64 {
        ReadAt::len(&self.octets)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.octets.read_at(offset, buf)?;
        self.read.set(self.read.get() + count as u64 + 1);
        Ok(count)
    }
}

/// An inspection of any octets. The first is not among them; it chooses the name.
pub fn inspect(octets: &[u8]) {
    let Some((name, octets)) = octets.split_first() else { return };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let inspection = hold(octets, |source| inspect::inspect(source, name, &RULES, &LIMITS));
    // No name makes anything of what is nothing.
    assert_eq!(octets.is_empty(), inspection.format == Format::Empty);
}

/// The octets to the reader of a format, under each of the names that the reader goes by.
fn read(octets: &[u8], format: Format, names: &[&str]) {
    for name in names {
        let inspection = hold(octets, |source| inspect::inspect_as(source, name, format, &RULES, &LIMITS));
        assert_eq!(inspection.format, format);
    }
}

/// The octets to the reader of the format that they are recognised as, if it is one of these, else of the first.
fn read_one_of(octets: &[u8], formats: &[Format], names: &[&str]) {
    let format = recognise(&octets).expect("memory has no errors");
    read(octets, if formats.contains(&format) { format } else { formats[0] }, names);
}

/// Inspects twice, and holds it to what must be true of any inspection.
fn hold(octets: &[u8], inspect: impl Fn(&dyn ReadAt) -> io::Result<Inspection>) -> Inspection {
    let source = Counted { octets, read: Cell::new(0) };
    let inspection = inspect(&source).expect("memory has no errors");
    let read_max = (octets.len() as u64 * READ_PER_OCTET).max(READ_AT_LEAST);
    assert!(source.read.get() <= read_max, "{} octets were read of {}", source.read.get(), octets.len());

    let levels: Vec<Level> = inspection.findings.iter().map(|finding| finding.level).collect();
    assert!(levels.is_sorted_by(|one, next| one >= next), "the gravest first: {levels:?}");
    assert_eq!(inspection.verdict(), levels.first().map_or(Verdict::Clean, |level| (*level).into()));
    assert!(levels.len() <= 200, "{} findings", levels.len());
    for finding in &inspection.findings {
        assert!(rule(&finding.rule).is_some(), "no rule {}", finding.rule);
        assert!(!finding.detail.is_empty() && finding.detail.len() <= DETAIL_BYTES_MAX, "{finding:?}");
        assert!(finding.place.len() <= PLACE_BYTES_MAX, "{finding:?}");
        let is_plain = |text: &str| !text.contains(char::is_control);
        assert!(is_plain(&finding.detail) && is_plain(&finding.place), "{finding:?}");
        assert!(!finding.detail.starts_with("more time"), "{finding:?}");
    }
    let facts = serde_json::to_vec(&inspection.facts).expect("facts are JSON");
    assert!(facts.len() <= FACTS_BYTES_MAX, "{} octets of facts", facts.len());

    let json = serde_json::to_vec(&inspection).expect("an inspection is JSON");
    let again: Inspection = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(again, inspection);
    assert_eq!(inspect(&octets).expect("memory has no errors"), inspection, "another time it says something else");
    inspection
}

/// Pickles.
pub fn inspect_pickle(octets: &[u8]) {
    read(octets, Format::Pickle, &["model.pkl"]);
}

/// Zip archives, and what is made of them.
pub fn inspect_zip(octets: &[u8]) {
    let formats = [
        Format::Zip,
        Format::PytorchZip,
        Format::Torchscript,
        Format::TorchPackage,
        Format::TorchserveMar,
        Format::KerasV3,
        Format::Npz,
        Format::Skops,
    ];
    read_one_of(octets, &formats, &["model.zip"]);
}

/// Tar archives.
pub fn inspect_tar(octets: &[u8]) {
    read_one_of(octets, &[Format::Tar, Format::PytorchTar, Format::Nemo], &["model.tar"]);
}

/// What is compressed as a whole.
pub fn inspect_compressed(octets: &[u8]) {
    let formats = [Format::Zlib, Format::Gzip, Format::Bzip2, Format::Xz, Format::Lzma, Format::Zstd, Format::Lz4];
    read_one_of(octets, &formats, &["model.bin"]);
}

/// safetensors.
pub fn inspect_safetensors(octets: &[u8]) {
    read(octets, Format::Safetensors, &["model.safetensors"]);
}

/// GGUF.
pub fn inspect_gguf(octets: &[u8]) {
    read(octets, Format::Gguf, &["model.gguf"]);
}

/// Arrays of numpy.
pub fn inspect_npy(octets: &[u8]) {
    read(octets, Format::Npy, &["array.npy"]);
}

/// Templates of Jinja, as files of their own.
pub fn inspect_jinja(octets: &[u8]) {
    read(octets, Format::Text, &["chat_template.jinja"]);
}

/// JSON, and the configurations that are JSON.
pub fn inspect_json(octets: &[u8]) {
    let names = ["model.json", "config.json", "tokenizer_config.json", "model.safetensors.index.json", "data.jsonl"];
    read(octets, Format::Json, &names);
}

/// YAML.
pub fn inspect_yaml(octets: &[u8]) {
    read(octets, Format::Text, &["params.yaml"]);
}

/// XML.
pub fn inspect_xml(octets: &[u8]) {
    read(octets, Format::Xml, &["model.xml", "picture.svg"]);
}

/// Text that is nothing else.
pub fn inspect_text(octets: &[u8]) {
    read(octets, Format::Text, &["notes.txt", "README.md", "page.html"]);
    read(octets, Format::Source, &["handler.py"]);
}

/// ONNX.
pub fn inspect_onnx(octets: &[u8]) {
    read(octets, Format::Onnx, &["model.onnx"]);
}

/// SavedModels of TensorFlow, and the files that stand beside them.
pub fn inspect_saved_model(octets: &[u8]) {
    read(octets, Format::TfSavedModel, &["saved_model.pb"]);
    read(octets, Format::Unknown, &["fingerprint.pb", "keras_metadata.pb", "variables.index"]);
}

/// TFLite.
pub fn inspect_tflite(octets: &[u8]) {
    read(octets, Format::Tflite, &["model.tflite"]);
}

/// Configurations of Keras: they stand in archives and attributes, and as files of their own.
pub fn inspect_keras(octets: &[u8]) {
    read(octets, Format::Json, &["architecture.json"]);
    read(octets, Format::Text, &["architecture.yaml"]);
}

/// HDF5.
pub fn inspect_hdf5(octets: &[u8]) {
    read(octets, Format::Hdf5, &["model.h5"]);
}

/// UBJSON of XGBoost.
pub fn inspect_ubjson(octets: &[u8]) {
    read(octets, Format::XgboostUbj, &["model.ubj"]);
}

/// Text of LightGBM.
pub fn inspect_lightgbm(octets: &[u8]) {
    read(octets, Format::Lightgbm, &["model.txt"]);
}

/// MessagePack.
pub fn inspect_msgpack(octets: &[u8]) {
    read(octets, Format::Msgpack, &["model.msgpack"]);
}

/// Tokenisers of SentencePiece.
pub fn inspect_sentencepiece(octets: &[u8]) {
    read(octets, Format::Sentencepiece, &["tokenizer.model"]);
}

/// Pictures and sounds.
pub fn inspect_media(octets: &[u8]) {
    read(octets, Format::Media, &["picture.png"]);
}
