//! Arrays of every kind that numpy writes, and headers that it does not.

use proptest::prelude::{any, proptest};

use super::super::{Format, Inspection, Limits, Ruleset, inspect};
use super::{Fault, Literal, parse};

fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length[..] };
    [&b"\x93NUMPY"[..], &[version, 0], length, header.as_bytes(), data].concat()
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}          \n")
}

fn looked_at(octets: &[u8]) -> Inspection {
    inspect(&octets, "array.npy", &Ruleset::default(), &Limits::default()).unwrap()
}

fn rules_of(octets: &[u8]) -> Vec<String> {
    let inspection = looked_at(octets);
    assert_eq!(inspection.format, Format::Npy);
    inspection.findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn what_numpy_writes_is_clean_and_described() {
    // As numpy 2.4 spells them.
    for (descr, name, bytes) in [
        ("'<f4'", "F32", 4),
        ("'<f2'", "F16", 2),
        ("'>f8'", "F64", 8),
        ("'<f16'", "F128", 16),
        ("'<i8'", "I64", 8),
        ("'|u1'", "U8", 1),
        ("'|i1'", "I8", 1),
        ("'|b1'", "BOOL", 1),
        ("'<c8'", "C64", 8),
        ("'<U2'", "U2", 8),
        ("'|S3'", "S3", 3),
        ("'|V7'", "V7", 7),
        ("'<V2'", "V2", 2),
        ("'<M8[ns]'", "datetime64", 8),
        ("'<m8'", "timedelta64", 8),
        ("[('a', '<f4'), ('b', '<i8', (2, 3)), ('c', [('d', '|b1')])]", "struct", 53),
        ("[('a', '|i1'), ('', '|V7'), (('title', 'b'), '<i8')]", "struct", 16),
        ("('<f4', (2,))", "F32", 8),
    ] {
        for version in 1..=3 {
            let inspection = looked_at(&file(version, &header(descr, "(2, 3)"), &vec![0; 6 * bytes]));
            assert_eq!(inspection.findings, [], "{descr}");
            assert_eq!(inspection.facts.dtypes.into_iter().collect::<Vec<_>>(), [(name.to_owned(), 6)]);
        }
    }
    for (shape, data) in [("()", 4), ("(0,)", 0), ("(3L, 1L)", 12), ("(0, 5)", 0)] {
        assert_eq!(looked_at(&file(1, &header("'<f4'", shape), &vec![0; data])).findings, [], "{shape}");
    }
}

#[test]
fn objects_are_pickles_wherever_they_stand() {
    for descr in
        ["'|O'", "'O'", "'|O8'", "'object'", "'i4,O'", "[('a', '<i4'), ('b', '|O')]", "[('a', [('b', '|O', (2,))])]"]
    {
        let inspection = looked_at(&file(1, &header(descr, "(1,)"), b"\x80\x04N."));
        assert!(inspection.findings.iter().any(|finding| finding.rule == "npy.object"), "{descr}");
        assert!(inspection.findings.iter().all(|finding| finding.rule != "npy.broken"), "{descr}");
    }
}

#[test]
fn each_trick_has_its_rule() {
    let cases = [
        (header("'<f4'", "(3,)"), 11, "npy.broken"),
        (header("'<f4'", "(3,)"), 13, "trailing.data"),
        (header("'<f4'", "(4294967296, 4294967296)"), 0, "npy.layout"),
        (header("'<f8'", "(2305843009213693952,)"), 0, "npy.layout"),
        (header("'<f4'", "(-1,)"), 12, "npy.layout"),
        (header("'<f4'", "(99999999999999999999999999999999999999999,)"), 12, "npy.layout"),
        (header("'<f4'", "(18446744073709551616,)"), 12, "npy.layout"),
        (header("[('a', '|V4294967295', (4294967295, 4294967295))]", "(1,)"), 12, "npy.layout"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (1,)}".into(), 12, "npy.layout"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}".into(), 12, "npy.broken"),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}".into(), 12, "npy.broken"),
        ("{'descr': '<f4', 'shape': (3,)}".into(), 12, "npy.broken"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}; import os".into(), 12, "npy.broken"),
        ("{'descr': eval('x'), 'fortran_order': False, 'shape': (3,)}".into(), 12, "npy.broken"),
        (header("'<f4'", "[3]"), 12, "npy.broken"),
        (header("'<f4'", "(3.0,)"), 12, "npy.broken"),
        (header("'<f4'", "(3)"), 12, "npy.broken"),
        (header("'\\x4f'", "(1,)"), 8, "npy.broken"),
        (header("'<q7'", "(1,)"), 8, "npy.broken"),
        (header("'<f4", "(1,)"), 8, "npy.broken"),
        (header(&"[".repeat(1000), "(1,)"), 8, "npy.broken"),
    ];
    for (header, data, rule) in cases {
        assert_eq!(rules_of(&file(1, &header, &vec![0; data])), [rule], "{header}");
    }
    let long = header("'<f4'", "(1,)") + &" ".repeat(70_000);
    assert_eq!(rules_of(&file(2, &long, &[0; 4])), ["npy.broken"]);
    assert_eq!(rules_of(&file(2, &header("'<f4'", "(1,)"), &[0; 4])[..30]), ["npy.broken"]);
}

#[test]
fn the_grammar_reads_literals_and_nothing_else() {
    assert_eq!(
        parse(" ( 'a' , \"b'\" , [ ] , -1L , ( 2 ) , ( ) , None ) "),
        Ok(Literal::Tuple(vec![
            Literal::Text("a".into()),
            Literal::Text("b'".into()),
            Literal::List(vec![]),
            Literal::Integer(-1),
            Literal::Integer(2),
            Literal::Tuple(vec![]),
            Literal::Name("None"),
        ]))
    );
    for wrong in
        ["", "a", "'a' 'b'", "(1 2)", "[1,,2]", "{'a'}", "{1: 2}", "{'a': 1 'b': 2}", "(1]", "-", "'\\'", "1+1", "u'a'"]
    {
        assert!(matches!(parse(wrong), Err(Fault::Broken(_))), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_mutation_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut octets = file(1, &header("[('a', '<f4', (2,)), ('b', '|O')]", "(1, 2)"), b"\x80\x04N.");
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        looked_at(&octets);
        looked_at(&octets[..cut.index(octets.len())]);
    }
}
