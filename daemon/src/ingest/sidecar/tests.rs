//! Sidecars and checksum files, by tables and by properties.

use common::digest::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CHECKSUM_OCTETS_MAX, SIDECAR_DEPTH_MAX, SIDECAR_OCTETS_MAX, Sidecar, parse, parse_checksum};

fn digest(octet: u8) -> Digest {
    Digest::from_bytes([octet; 32])
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err()
}

/// Everything that can be said, and that nothing need be.
#[test]
fn sidecars_are_read() {
    let text = json!({
        "name": "team/bert",
        "description": "what\nit is",
        "tags": {"task": "nlp", "lang": ""},
        "alias": "Prod",
        "sha256": format!("SHA256:{}", digest(0xab).to_hex().to_uppercase()),
        "metadata": {"f1": 0.9, "layers": [1, -2, null, true, {"deep": "x"}]},
    });
    let read = parse(text.to_string().as_bytes()).unwrap();
    assert_eq!(read.name.unwrap().as_str(), "team/bert");
    assert_eq!(read.description.unwrap(), "what\nit is");
    assert_eq!(
        read.tags.unwrap().into_iter().collect::<Vec<_>>(),
        [("lang", ""), ("task", "nlp")].map(|(k, v)| (k.into(), v.into()))
    );
    assert_eq!(read.alias.unwrap().as_str(), "prod");
    assert_eq!(read.sha256, Some(digest(0xab)));
    assert_eq!(Value::Object(read.metadata.unwrap()), text["metadata"]);
    let silent =
        "\u{feff}\r\n{\"name\": null, \"tags\": null, \"alias\": null, \"metadata\": null, \"description\": null}\n";
    for nothing in ["{}", " {\n} ", silent] {
        assert_eq!(parse(nothing.as_bytes()), Ok(Sidecar::default()), "{nothing:?}");
    }
    let digits = digest(1).to_hex();
    assert_eq!(parse(json!({"sha256": digits}).to_string().as_bytes()).unwrap().sha256, Some(digest(1)));
}

/// Each mistake is told with its place and what is accepted.
#[test]
fn mistakes_are_told() {
    for (text, said) in [
        ("", "sidecar: is not a JSON object: EOF while parsing a value at line 1 column 0"),
        ("[]", "sidecar: is not a JSON object"),
        ("null", "sidecar: is not a JSON object"),
        ("{} {}", "sidecar: is not a JSON object: trailing characters"),
        ("{\"name\": \"a\",}", "sidecar: is not a JSON object: trailing comma"),
        ("{\"name\": \"a\"", "sidecar: is not a JSON object: EOF"),
        ("// no\n{}", "sidecar: is not a JSON object: expected value"),
        ("{\"name\": \"a\", \"name\": \"b\"}", "the key `name` is given twice"),
        ("{\"metadata\": {\"a\": [{\"k\": 1, \"k\": 1}]}}", "the key `k` is given twice"),
        (
            "{\"nome\": \"a\"}",
            "sidecar.nome: is not known here: name, description, tags, alias, sha256 and metadata are",
        ),
        ("{\"Name\": \"a\"}", "sidecar.Name: is not known here"),
        ("{\"version\": 3}", "sidecar.version: is not known here: the drop folder gives each model its next number"),
        ("{\"a\\nb\\u202e\": 1}", "sidecar.a\\nb\\u{202e}: is not known here"),
        ("{\"name\": 1}", "sidecar.name: is not a text"),
        ("{\"name\": \"../x\"}", "sidecar.name: \"../x\" is not a model name: use `name` or `namespace/name`"),
        ("{\"name\": \"\"}", "sidecar.name: \"\" is not a model name"),
        ("{\"alias\": \"7\"}", "sidecar.alias: \"7\" is not an alias"),
        ("{\"description\": []}", "sidecar.description: is not a text"),
        ("{\"description\": \"\\u0007\"}", "sidecar.description: a description has no control character"),
        ("{\"tags\": [\"a\"]}", "sidecar.tags: is not a JSON object of texts"),
        ("{\"tags\": \"a:b\"}", "sidecar.tags: is not a JSON object of texts"),
        ("{\"tags\": {\"a\": 1}}", "sidecar.tags: is not a JSON object of texts: that of `a` is none"),
        ("{\"tags\": {\"\": \"x\"}}", "sidecar.tags: a tag's key has 1 to 64 octets"),
        ("{\"metadata\": \"{}\"}", "sidecar.metadata: is not a JSON object"),
        ("{\"metadata\": {\"\": 1}}", "sidecar.metadata: a metadata field's name has 1 to 128 octets"),
        ("{\"sha256\": null}", "sidecar.sha256: is not a text"),
        ("{\"sha256\": \"\"}", "sidecar.sha256: is not a SHA-256 digest: 64 hex digits, with or without `sha256:`"),
        ("{\"sha256\": \"12\"}", "sidecar.sha256: is not a SHA-256 digest"),
        ("{\"metadata\": {\"a\": 1e999}}", "sidecar: is not a JSON object: number out of range"),
    ] {
        let error = refused(text);
        assert!(error.contains(said), "{text}: {error}");
    }
    assert!(parse(b"{\"name\": \"\xff\"}").is_err());
    assert!(parse("{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()).is_err());
    assert_eq!(
        refused("{\"alias\": 1, \"name\": 2, \"x\": 3}"),
        "sidecar.alias: is not a text; sidecar.name: is not a text; \
         sidecar.x: is not known here: name, description, tags, alias, sha256 and metadata are",
        "all at once"
    );
}

/// Size, depth and the number of mistakes that are told are bounded.
#[test]
fn sidecars_are_bounded() {
    let long = "{}".to_owned() + &" ".repeat(usize::try_from(SIDECAR_OCTETS_MAX).unwrap());
    assert_eq!(refused(&long), format!("sidecar: is longer than {SIDECAR_OCTETS_MAX} octets"));
    let nested = |depth: usize| format!("{{\"metadata\":{{\"a\":{}{}}}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(SIDECAR_DEPTH_MAX - 2).as_bytes()).is_ok());
    for depth in [SIDECAR_DEPTH_MAX - 1, 100_000] {
        assert!(refused(&nested(depth)).contains("more than 32 objects and arrays within each other"), "{depth}");
    }
    let many: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("k{n:05}"), json!(n))).collect();
    let error = refused(&Value::Object(many).to_string());
    assert_eq!(error.matches("is not known here").count(), 20);
    let tags: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("k={n}"), json!("\n"))).collect();
    let error = refused(&json!({"tags": tags}).to_string());
    assert_eq!(error.matches("sidecar.tags").count(), 3, "{error}");
}

/// What programs write, for a name.
#[test]
fn checksums_are_read() {
    let (mine, other) = (digest(0xab).to_hex(), digest(0xcd).to_hex());
    let upper = mine.to_uppercase();
    for text in [
        format!("{mine}  m.bin\n"),
        format!("{mine}  m.bin"),
        format!("{mine} *m.bin\r\n"),
        format!("{mine} m.bin\n"),
        format!("{mine}\tm.bin\n"),
        format!("{upper}  m.bin\n"),
        format!("\u{feff}{mine}  m.bin\n"),
        format!("# made by hand\n\n{mine}  m.bin\n"),
        format!("{other}  other.bin\n{mine}  m.bin\n{other}  m.bin2\n"),
        format!("{mine}  ./m.bin\n"),
        format!("{mine}  /data/models/m.bin\n"),
        format!("{other}  old/m.bin\n{mine}  m.bin\n"),
        format!("{mine}  m.bin\n{mine} *m.bin\n"),
        format!("SHA256 (m.bin) = {mine}\n"),
        format!("SHA256 (other.bin) = {other}\nSHA256 (m.bin) = {mine}\n"),
        format!("SHA256(m.bin)= {mine}\n"),
        format!("SHA2-256(m.bin)= {mine}\n"),
        format!("SHA256 (a/m.bin) = {upper}\n"),
        mine.clone(),
        format!(" {upper} \r\n\r\n"),
        format!("sha256:{mine}\n"),
    ] {
        assert_eq!(parse_checksum(text.as_bytes(), "m.bin"), Ok(digest(0xab)), "{text:?}");
    }
    for (text, name) in [
        (format!("\\{mine}  a\\\\b\n"), "a\\b"),
        (format!("\\{mine}  a\\nb\n"), "a\nb"),
        (format!("\\SHA256 (a\\rb) = {mine}\n"), "a\rb"),
        (format!("{mine}  a\\nb\n"), "a\\nb"),
        (format!("{mine}   m.bin\n"), " m.bin"),
        (format!("{mine}  *m.bin\n"), "*m.bin"),
        (format!("{mine} **m.bin\n"), "*m.bin"),
        (format!("SHA256 (m (1) = x.bin) = {mine}\n"), "m (1) = x.bin"),
        (format!("{mine}  größe\n"), "größe"),
    ] {
        assert_eq!(parse_checksum(text.as_bytes(), name), Ok(digest(0xab)), "{text:?}");
    }
}

/// What says nothing about the name, two things, or what nobody can read is refused.
#[test]
fn wrong_checksums_are_told() {
    let (mine, other) = (digest(0xab).to_hex(), digest(0xcd).to_hex());
    for (text, said) in [
        (String::new(), "checksum: is empty; write what `sha256sum NAME` prints"),
        ("\n# nothing\n".into(), "checksum: is empty"),
        (format!("{other}  other.bin\n"), "checksum: has no line for `m.bin`, only for others"),
        (format!("{other}  m.bin/other\n"), "has no line for `m.bin`"),
        (format!("{other}  am.bin\n"), "has no line for `m.bin`"),
        (format!("{mine}  m.bin\n{other}  m.bin\n"), "checksum: gives two digests of `m.bin`"),
        (format!("{mine}  a/m.bin\n{other}  b/m.bin\n"), "gives two digests"),
        (format!("{mine}\n{other}\n"), "gives two digests"),
        (format!("{mine}\n{other}  m.bin\n"), "gives two digests"),
        (format!("{mine}  m.bin\nrubbish\n"), "checksum line 2: is neither `<64 hex digits>  NAME`"),
        (format!("{mine}m.bin\n"), "checksum line 1"),
        (format!("{mine}  \n{}  m.bin\n", &mine[1..]), "checksum line 2"),
        (format!("\\{mine}  a\\tb\n"), "checksum line 1"),
        (format!("\\{mine}  a\\\n"), "checksum line 1"),
        (format!("MD5 (m.bin) = {}\n", &mine[..32]), "checksum line 1"),
        (format!("SHA512 (m.bin) = {mine}{mine}\n"), "checksum line 1"),
        (format!("SHA256 () = {mine}\n"), "checksum line 1"),
        (format!("SHA256 m.bin = {mine}\n"), "checksum line 1"),
    ] {
        let error = parse_checksum(text.as_bytes(), "m.bin").unwrap_err();
        assert!(error.contains(said), "{text:?}: {error}");
    }
    let long = vec![b'\n'; usize::try_from(CHECKSUM_OCTETS_MAX).unwrap() + 1];
    assert!(parse_checksum(&long, "m.bin").unwrap_err().contains("is longer than 65536 octets"));
    assert!(parse_checksum(b"\xff\xfe", "m.bin").is_err());
}

/// A sidecar that says the same, as JSON.
fn written(sidecar: &Sidecar) -> Value {
    let mut json = serde_json::Map::new();
    if let Some(name) = &sidecar.name {
        json.insert("name".into(), json!(name));
    }
    if let Some(text) = &sidecar.description {
        json.insert("description".into(), json!(text));
    }
    if let Some(tags) = &sidecar.tags {
        json.insert("tags".into(), json!(tags));
    }
    if let Some(metadata) = &sidecar.metadata {
        json.insert("metadata".into(), json!(metadata));
    }
    if let Some(alias) = &sidecar.alias {
        json.insert("alias".into(), json!(alias));
    }
    if let Some(digest) = &sidecar.sha256 {
        json.insert("sha256".into(), json!(digest));
    }
    json.into()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Quarters: the shortest decimals of others may come back as their neighbours.
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        "\\PC{0,6}".prop_map(Value::from),
        Just(Value::from("bert")),
        Just(Value::from("ab".repeat(32))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = "[a-z]{1,2}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Any values of the keys: what is read is what was written, or there is a sentence.
    #[test]
    fn any_values_are_read_or_refused(values in prop::collection::btree_map(
        prop::sample::select(vec!["name", "description", "tags", "alias", "sha256", "metadata", "other"]), any_json(), 0..5,
    )) {
        let json: Value = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        match parse(json.to_string().as_bytes()) {
            Ok(sidecar) => {
                prop_assert!(!values.contains_key("other"));
                for (key, value) in &values {
                    match *key {
                        _ if value.is_null() => prop_assert!(written(&sidecar).get(key).is_none()),
                        "sha256" => prop_assert!(sidecar.sha256.is_some()),
                        "alias" => prop_assert!(sidecar.alias.is_some()),
                        _ => prop_assert_eq!(&written(&sidecar)[key], value),
                    }
                }
                prop_assert_eq!(parse(written(&sidecar).to_string().as_bytes()), Ok(sidecar));
            }
            Err(error) => prop_assert!(error.starts_with("sidecar")),
        }
    }

    /// Octets of any kind are read or refused, in bounded words.
    #[test]
    fn any_octets_end_nothing(octets in prop::collection::vec(any::<u8>(), 0..200), name in "\\PC{0,8}") {
        for error in [parse(&octets).err(), parse_checksum(&octets, &name).err()].into_iter().flatten() {
            prop_assert!((1..20 * 1024).contains(&error.len()));
        }
    }

    /// What `sha256sum` and its kin write of any name is read back, among lines for others.
    #[test]
    fn any_name_is_found(
        name in "[ -~\\n\\r\\\\\u{e4}]{1,12}",
        others in prop::collection::vec("[a-z]{1,4}", 0..4),
        form in 0..3,
        at in 0..5_usize,
    ) {
        prop_assume!(!name.contains('/') && !others.contains(&name));
        let is_escaped = name.contains(['\n', '\r', '\\']);
        let shown = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let (backslash, digits) = (if is_escaped { "\\" } else { "" }, digest(0xab));
        let digits = digits.to_hex();
        let line = match form {
            0 => format!("{backslash}{digits}  {shown}"),
            1 => format!("{backslash}{digits} *{shown}"),
            _ => format!("{backslash}SHA256 ({shown}) = {digits}"),
        };
        let mut lines: Vec<String> =
            others.iter().map(|other| format!("{}  {other}", digest(1).to_hex())).collect();
        lines.insert(at.min(lines.len()), line);
        prop_assert_eq!(parse_checksum((lines.join("\n") + "\n").as_bytes(), &name), Ok(digest(0xab)));
    }
}
