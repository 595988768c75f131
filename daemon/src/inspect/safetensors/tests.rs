//! Headers that are in order, and each way in which they may not be.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::super::{Format, Inspection, Limits, Ruleset, Verdict, inspect};
use super::DTYPES;

fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

fn looked_at(octets: &[u8]) -> Inspection {
    inspect(&octets, "model.safetensors", &Ruleset::default(), &Limits::default()).unwrap()
}

fn rules_of(octets: &[u8]) -> Vec<String> {
    let inspection = looked_at(octets);
    assert_eq!(inspection.format, Format::Safetensors);
    let mut rules: Vec<String> = inspection.findings.into_iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

/// `save_file({'w': float32 (2, 3), 'b': bfloat16 (3,)}, metadata={'format': 'pt', ...})` of safetensors 0.8.
const SAMPLE: &str = r#"{"__metadata__":{"format":"pt","modelspec.title":"tiny","modelspec.license":"mit","step":"7"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]}}    "#;

#[test]
fn a_sound_file_is_clean_and_described() {
    let inspection = looked_at(&file(SAMPLE, 30));
    assert_eq!(inspection.findings, []);
    let facts = inspection.facts;
    assert_eq!((facts.tensors, facts.parameters), (2, 9));
    assert_eq!(facts.dtypes.into_iter().collect::<Vec<_>>(), [("BF16".to_owned(), 3), ("F32".to_owned(), 6)]);
    assert_eq!(facts.largest, Some(("w".to_owned(), vec![2, 3])));
    assert_eq!(facts.values["framework"], "pt");
    assert_eq!(facts.values["name"], "tiny");
    assert_eq!(facts.values["license"], "mit");
    assert_eq!(facts.values["metadata"]["step"], "7");
    // Order in the header is free; empty tensors and scalars are in order, and so is a file without any.
    for (header, data) in [
        (
            r#"{"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#,
            9,
        ),
        (r#"{"e":{"dtype":"F16","shape":[0,7],"data_offsets":[0,0]}}"#, 0),
        (r"{}", 0),
        (r#"{"__metadata__":{}}"#, 0),
        (r#"{"f":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}}"#, 3),
        (r#"{"f":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}"#, 3),
    ] {
        assert_eq!(looked_at(&file(header, data)).findings, [], "{header}");
    }
    for (dtype, bits) in DTYPES {
        let header = format!(r#"{{"t":{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,{bits}]}}}}"#);
        assert_eq!(looked_at(&file(&header, usize::try_from(*bits).unwrap())).findings, [], "{dtype}");
    }
}

#[test]
fn each_trick_has_its_rule() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let two = |first: &str, second: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[8],"data_offsets":{first}}},"b":{{"dtype":"U8","shape":[8],"data_offsets":{second}}}}}"#
        )
    };
    let many = format!("[{}1]", "1,".repeat(2000));
    let cases = [
        // Layouts that lie.
        (two("[0,8]", "[4,12]"), 12, "safetensors.layout"),
        (two("[0,8]", "[0,8]"), 8, "safetensors.layout"),
        (two("[0,8]", "[12,20]"), 20, "safetensors.layout"),
        (one("U8", "[8]", "[4,12]"), 12, "safetensors.layout"),
        (one("U8", "[9]", "[0,8]"), 8, "safetensors.layout"),
        (one("U8", "[8]", "[8,0]"), 0, "safetensors.layout"),
        (one("F32", "[4611686018427387905]", "[0,4]"), 4, "safetensors.layout"),
        (one("F32", "[4294967296,4294967296]", "[0,0]"), 0, "safetensors.layout"),
        (one("F4", "[3]", "[0,2]"), 2, "safetensors.layout"),
        // Headers that cannot be read.
        (one("U8", "[8]", "[0,8]"), 7, "safetensors.header"),
        (one("Q4", "[8]", "[0,8]"), 8, "safetensors.header"),
        (one("U8", "[-8]", "[0,8]"), 8, "safetensors.header"),
        (one("U8", "[8.0]", "[0,8]"), 8, "safetensors.header"),
        (one("U8", "[18446744073709551616]", "[0,8]"), 8, "safetensors.header"),
        (one("U8", "[8]", "[0,8,9]"), 8, "safetensors.header"),
        (one("U8", &many, "[0,1]"), 1, "safetensors.header"),
        (r#"{"t":{"dtype":"U8","shape":[8]}}"#.into(), 8, "safetensors.header"),
        (r#"{"t":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}"#.into(), 8, "safetensors.header"),
        (r#"{"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":0}}"#.into(), 8, "safetensors.header"),
        (
            r#"{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#
                .into(),
            0,
            "safetensors.header",
        ),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "safetensors.header"),
        (r#"{"__metadata__":{"a":"1","\u0061":"2"}}"#.into(), 0, "safetensors.header"),
        (r#"{"__metadata__":{"a":1}}"#.into(), 0, "safetensors.header"),
        (r#"{"__metadata__":{"a":{"b":"c"}}}"#.into(), 0, "safetensors.header"),
        // Octets behind.
        (one("U8", "[8]", "[0,8]"), 9, "trailing.data"),
        ("{}".into(), 1, "trailing.data"),
    ];
    for (header, data, rule) in cases {
        assert_eq!(rules_of(&file(&header, data)), [rule], "{header}");
    }
}

#[test]
fn a_long_header_is_read_as_it_comes() {
    // Names and texts that escapes and characters make look different are what they are.
    let text = "ä".repeat(100_000);
    let header = format!(
        r#"{{"__metadata__":{{"long":"{text}","format":"pt"}},"t":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#
    );
    let inspection = looked_at(&file(&header, 0));
    assert_eq!(inspection.verdict(), Verdict::Clean);
    assert_eq!(inspection.facts.values["framework"], "pt");
    assert!(!inspection.facts.values.contains_key("metadata"));
    let entries: Vec<String> = (0..20_000)
        .map(|n| format!(r#""layers.{n}":{{"dtype":"U8","shape":[2],"data_offsets":[{},{}]}}"#, 2 * n, 2 * n + 2))
        .collect();
    let inspection = looked_at(&file(&format!("{{{}}}", entries.join(",")), 40_000));
    assert_eq!((inspection.findings.as_slice(), inspection.facts.tensors), ([].as_slice(), 20_000));
}

proptest! {
    #[test]
    fn no_mutation_makes_it_panic_and_a_cut_is_never_clean(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in 1_usize..200,
    ) {
        let sound = file(SAMPLE, 30);
        let mut octets = sound.clone();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        looked_at(&octets);
        prop_assert_eq!(looked_at(&sound[..sound.len() - cut.min(30)]).verdict(), Verdict::Unscannable);
    }
}
