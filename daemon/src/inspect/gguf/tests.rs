//! Files of every version and byte order, and each way in which they lie.

use proptest::prelude::{any, prop_assert, proptest};

use super::super::{Format, Inspection, Level, Limits, Ruleset, Verdict, inspect};
use super::TENSOR_TYPES;

/// Writes a file as its parts are given.
#[derive(Clone)]
struct Writer {
    octets: Vec<u8>,
    big_endian: bool,
    wide: bool,
}

impl Writer {
    fn new(version: u32, big_endian: bool, tensors: u64, entries: u64) -> Self {
        Self { octets: b"GGUF".to_vec(), big_endian, wide: version > 1 }.number(version).length(tensors).length(entries)
    }

    fn bytes(mut self, octets: &[u8]) -> Self {
        if self.big_endian {
            self.octets.extend(octets.iter().rev());
        } else {
            self.octets.extend(octets);
        }
        self
    }

    fn number(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn length(self, number: u64) -> Self {
        if self.wide { self.bytes(&number.to_le_bytes()) } else { self.number(u32::try_from(number).unwrap()) }
    }

    fn text(self, text: &str) -> Self {
        let mut this = self.length(text.len() as u64);
        this.octets.extend(text.as_bytes());
        this
    }

    fn entry_text(self, key: &str, value: &str) -> Self {
        self.text(key).number(8).text(value)
    }

    fn entry_number(self, key: &str, value: u32) -> Self {
        self.text(key).number(4).number(value)
    }

    fn tensor(self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let this = self.text(name).number(u32::try_from(shape.len()).unwrap());
        let this = shape.iter().fold(this, |this, extent| this.length(*extent));
        this.number(kind).bytes(&offset.to_le_bytes())
    }

    /// Pads, and adds data.
    fn data(mut self, octets: usize) -> Vec<u8> {
        let at = self.octets.len().next_multiple_of(32);
        self.octets.resize(at + octets, 0);
        self.octets
    }
}

fn looked_at(octets: &[u8]) -> Inspection {
    inspect(&octets, "model.gguf", &Ruleset::default(), &Limits::default()).unwrap()
}

fn rules_of(octets: &[u8]) -> Vec<String> {
    let inspection = looked_at(octets);
    assert_eq!(inspection.format, Format::Gguf);
    let mut rules: Vec<String> = inspection.findings.into_iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

/// In the manner of what llama.cpp writes.
fn sample(version: u32, big_endian: bool) -> Vec<u8> {
    let writer = Writer::new(version, big_endian, 2, 9)
        .entry_text("general.architecture", "llama")
        .entry_text("general.name", "tiny")
        .entry_text("general.license", "mit")
        .entry_number("general.file_type", 15)
        .entry_number("llama.context_length", 4096)
        .entry_number("llama.attention.head_count", 8)
        .entry_text("tokenizer.ggml.model", "gpt2")
        .entry_text("tokenizer.chat_template", "{{ messages[0].content }}")
        .text("tokenizer.ggml.tokens")
        .number(9)
        .number(8)
        .length(3);
    let writer = ["a", "", "ccc"].iter().fold(writer, |writer, token| writer.text(token));
    writer.tensor("embedding", &[256, 2], 12, 0).tensor("norm", &[3], 0, 288).data(288 + 12)
}

#[test]
fn sound_files_are_clean_and_described() {
    for (version, big_endian) in [(1, false), (2, false), (3, false), (3, true), (1, true)] {
        let inspection = looked_at(&sample(version, big_endian));
        assert_eq!(inspection.findings, [], "version {version}");
        let facts = inspection.facts;
        assert_eq!((facts.tensors, facts.parameters), (2, 515));
        assert_eq!(facts.dtypes.into_iter().collect::<Vec<_>>(), [("F32".to_owned(), 3), ("Q4_K".to_owned(), 512)]);
        assert_eq!(facts.largest, Some(("embedding".to_owned(), vec![2, 256])));
        let values = serde_json::to_value(facts.values).unwrap();
        assert_eq!(
            values,
            serde_json::json!({
                "architecture": "llama", "name": "tiny", "license": "mit", "quantization": "Q4_K_M", "context_length": 4096,
                "head_count": 8, "tokenizer": "gpt2", "chat_template": true, "vocabulary_size": 3,
            })
        );
    }
    // Padded at its end, with nothing in it, and with another alignment.
    let mut padded = sample(3, false);
    padded.resize(padded.len().next_multiple_of(32), 0);
    assert_eq!(looked_at(&padded).findings, []);
    assert_eq!(looked_at(&Writer::new(3, false, 0, 0).octets).findings, []);
    let aligned = Writer::new(3, false, 1, 1).entry_number("general.alignment", 8).tensor("t", &[], 24, 8).octets;
    let at = aligned.len().next_multiple_of(8) + 9;
    let mut aligned = aligned;
    aligned.resize(at, 0);
    assert_eq!(rules_of(&aligned), ["trailing.data"], "eight octets before the first tensor");
}

#[test]
fn every_tensor_type_has_its_size() {
    for (kind, name, elements, octets) in TENSOR_TYPES.iter().copied() {
        let file = Writer::new(3, false, 1, 0).tensor("t", &[2 * elements, 3], kind, 0);
        let size = usize::try_from(6 * octets).unwrap();
        assert_eq!(looked_at(&file.clone().data(size)).findings, [], "{name}");
        assert_eq!(rules_of(&file.data(size - 1)), ["gguf.layout"], "{name}");
        if elements > 1 {
            let uneven = Writer::new(3, false, 1, 0).tensor("t", &[elements + 1], kind, 0).data(4096);
            assert_eq!(rules_of(&uneven), ["gguf.layout"], "{name}");
        }
    }
}

#[test]
fn each_trick_has_its_rule() {
    let empty = || Writer::new(3, false, 0, 1);
    let one = || Writer::new(3, false, 1, 0);
    let nested = |depth: u32| {
        let mut writer = empty().text("k").number(9);
        for _ in 1..depth {
            writer = writer.number(9).length(1);
        }
        writer.number(0).length(1).bytes(&[7]).data(0)
    };
    assert_eq!(rules_of(&nested(4)), [""; 0]);
    let long_key = "k".repeat(70_000);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        // Counts and lengths beyond the file.
        (Writer::new(3, false, 0, 1 << 60).data(64), "gguf.layout"),
        (Writer::new(3, false, 1 << 60, 0).data(64), "gguf.layout"),
        (Writer::new(3, false, u64::MAX, u64::MAX).data(64), "gguf.layout"),
        (Writer::new(3, false, 3, 0).data(64), "gguf.layout"),
        (b"GGUF\x03\0\0\0".to_vec(), "gguf.layout"),
        (empty().length(u64::MAX).data(64), "gguf.layout"),
        (empty().text(&long_key).number(0).bytes(&[0]).data(64), "gguf.layout"),
        (empty().text("k").number(8).length(1 << 40).data(64), "gguf.layout"),
        (empty().text("k").number(9).number(4).length(1 << 40).data(64), "gguf.layout"),
        (empty().text("k").number(9).number(4).length(u64::MAX / 4 + 2).data(64), "gguf.layout"),
        (empty().text("k").number(9).number(8).length(1 << 40).data(64), "gguf.layout"),
        (empty().text("k").number(9).number(9).length(1 << 40).data(64), "gguf.layout"),
        (empty().text("k").number(10).octets, "gguf.layout"),
        (nested(5), "gguf.layout"),
        (nested(1000), "gguf.layout"),
        (empty().text("k").number(7).bytes(&[2]).data(0), "gguf.layout"),
        // Alignment.
        (empty().entry_number("general.alignment", 0).data(0), "gguf.layout"),
        (empty().entry_number("general.alignment", 4).data(0), "gguf.layout"),
        (empty().entry_number("general.alignment", 48).data(0), "gguf.layout"),
        (empty().entry_text("general.alignment", "32").data(0), "gguf.layout"),
        (empty().text("general.alignment").number(10).bytes(&64_u64.to_le_bytes()).data(0), "gguf.layout"),
        // Tensors.
        (one().tensor("t", &[1, 1, 1, 1, 1], 0, 0).data(32), "gguf.layout"),
        (one().text("t").number(u32::MAX).data(32), "gguf.layout"),
        (one().tensor("t", &[1 << 32, 1 << 32], 0, 0).data(32), "gguf.layout"),
        (one().tensor("t", &[1 << 61, 4], 24, 0).data(32), "gguf.layout"),
        (one().tensor("t", &[1 << 62], 0, 0).data(32), "gguf.layout"),
        (one().tensor("t", &[u64::MAX], 24, 0).data(32), "gguf.layout"),
        (one().tensor("t", &[8], 0, 4).data(64), "gguf.layout"),
        (one().tensor("t", &[8], 0, 64).data(64), "gguf.layout"),
        (one().tensor("t", &[8], 0, u64::MAX - 31).data(64), "gguf.layout"),
        (Writer::new(3, false, 2, 0).tensor("a", &[16], 0, 0).tensor("b", &[8], 0, 32).data(64), "gguf.layout"),
        (Writer::new(3, false, 2, 0).tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32).data(64), "gguf.layout"),
        // Later versions, or lies.
        (one().tensor("t", &[8], 4, 0).data(64), "gguf.unknown"),
        (one().tensor("t", &[8], 1000, 0).data(64), "gguf.unknown"),
        (empty().text("k").number(13).data(64), "gguf.unknown"),
        (empty().text("k").number(9).number(99).length(1).data(64), "gguf.unknown"),
        // Octets that belong to nothing.
        (one().tensor("t", &[8], 0, 0).data(65), "trailing.data"),
        (one().tensor("t", &[8], 0, 64).data(96), "trailing.data"),
        (Writer::new(3, false, 0, 2).entry_number("k", 1).entry_number("k", 2).data(0), "gguf.duplicate"),
        // Templates.
        (empty().entry_text("tokenizer.chat_template", "{{ x.__class__ }}").data(0), "jinja.escape"),
        (empty().entry_text("tokenizer.chat_template.tool_use", "{{ x|attr('y') }}").data(0), "jinja.escape"),
        (
            empty().text("tokenizer.chat_template").number(9).number(8).length(1).text("{{ lipsum }}").data(0),
            "jinja.escape",
        ),
        (empty().entry_text("tokenizer.chat_template", &"x".repeat((1 << 20) + 1)).data(0), "jinja.broken"),
    ];
    for (octets, rule) in cases {
        let shown = octets[..octets.len().min(100)].escape_ascii().to_string();
        assert_eq!(rules_of(&octets), [rule], "{shown}");
    }
    let inspection = looked_at(&one().tensor("t", &[8], 0, 4).data(64));
    assert_eq!((inspection.findings[0].level, inspection.findings[0].place.as_str()), (Level::Malicious, "@24"));
}

#[test]
fn arrays_are_stepped_over_within_bounds() {
    // Every element an empty array, three deep.
    let mut writer = Writer::new(3, false, 0, 1).text("k").number(9).number(9).length(1000);
    for _ in 0..1000 {
        writer = writer.number(9).length(20);
        for _ in 0..20 {
            writer = writer.number(9).length(0);
        }
    }
    assert_eq!(looked_at(&writer.data(0)).findings, []);
    let mut writer = Writer::new(3, false, 0, 1).text("tokenizer.ggml.tokens").number(9).number(8).length(20_000);
    for token in 0..20_000 {
        writer = writer.text(&"t".repeat(token % 11));
    }
    let inspection = looked_at(&writer.data(0));
    assert_eq!(inspection.findings, []);
    assert_eq!(inspection.facts.values["vocabulary_size"], 20_000);
}

proptest! {
    #[test]
    fn no_mutation_makes_it_panic_and_a_cut_is_never_clean(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<proptest::sample::Index>(),
        big_endian in any::<bool>(),
    ) {
        let sound = sample(3, big_endian);
        let mut octets = sound.clone();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        looked_at(&octets);
        prop_assert!(looked_at(&sound[..cut.index(sound.len())]).verdict() > Verdict::Clean || cut.index(sound.len()) == 0);
    }
}
