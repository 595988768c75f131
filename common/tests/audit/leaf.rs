//! The entry and its octets.

use std::collections::BTreeMap;

use common::audit::{
    Action, Actor, ActorKind, Entry, LEAF_LEN_MAX, LeafError, Outcome, RequestInfo, Target, USER_AGENT_LEN_MAX,
    canonical_json, format_timestamp, parse_timestamp,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn entry() -> Entry {
    Entry {
        seq: 7,
        id: "018f".to_owned(),
        ts: 1_782_907_200_000,
        node: "n1".to_owned(),
        salt: [0xab; 32],
        action: Action::ModelUpload,
        outcome: Outcome::Ok,
        actor: Actor {
            id: "usr_1".to_owned(),
            name: Some("alice".to_owned()),
            kind: ActorKind::User,
            role: Some("admin".to_owned()),
            cred: Some("sid_1".to_owned()),
        },
        change: Some([0xcd; 32]),
        prev: Some(3),
        target: Some(Target {
            version: Some("1".to_owned()),
            digest: Some(format!("sha256:{}", "0".repeat(64))),
            size: Some(9),
            ..Target::new("version", "mdl_1")
        }),
        req: Some(RequestInfo {
            id: "req_1".to_owned(),
            method: "POST".to_owned(),
            route: "/models/{id}".to_owned(),
            status: 201,
            ip: Some("203.0.113.7".to_owned()),
            ua: Some("curl/8".to_owned()),
        }),
        data: BTreeMap::new(),
    }
}

fn with_data(data: Value) -> Entry {
    let Value::Object(data) = data else { panic!("data is an object") };
    Entry { data: data.into_iter().collect(), ..entry() }
}

fn leaf_text(entry: &Entry) -> String {
    String::from_utf8(entry.to_leaf().unwrap()).unwrap()
}

#[test]
fn every_known_action_is_read_back_as_itself() {
    for action in Action::KNOWN {
        assert_eq!(action.as_str().parse::<Action>().unwrap(), *action);
        assert!(!matches!(action, Action::Other(_)));
    }
    let newer: Action = "model.some_new_2.thing".parse().unwrap();
    assert!(matches!(newer, Action::Other(_)));
    assert_eq!(newer.to_string(), "model.some_new_2.thing");
    let long = format!("a.{}", "b".repeat(63));
    for bad in
        ["", "model", ".model", "model.", "model..x", "Model.x", "model.2", "model.a-b", "modél.x", "a.b\n", &long]
    {
        assert!(bad.parse::<Action>().is_err(), "{bad:?}");
    }
}

#[test]
fn optional_members_are_left_out() {
    let bare = Entry { actor: Actor::system(), change: None, prev: None, target: None, req: None, ..entry() };
    let expected = format!(
        r#"{{"action":"model.upload","actor":{{"id":"system","kind":"system"}},"data":{{}},"id":"018f","node":"n1","outcome":"ok","salt":"{}","seq":7,"ts":"2026-07-01T12:00:00.000Z","v":1}}"#,
        "ab".repeat(32)
    );
    assert_eq!(leaf_text(&bare), expected);
    assert_eq!(Entry::parse(expected.as_bytes()).unwrap(), bare);
}

#[test]
fn delete_is_not_escaped_and_controls_are() {
    let leaf = leaf_text(&with_data(json!({ "k": "\u{7f}\u{80}\u{0}\u{1f}\u{8}\t\n\u{c}\r\"\\/é\u{2028}\u{10ffff}" })));
    assert!(leaf.contains("\"\u{7f}\u{80}\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/é\u{2028}\u{10ffff}\""), "{leaf}");
}

#[test]
fn what_is_not_canonical_is_refused() {
    let leaf = leaf_text(&with_data(json!({ "a": [1, { "b": "é\n" }], "n": 10 })));
    let replaced = |from: &str, to: &str| {
        assert!(leaf.contains(from), "{from}");
        Entry::parse(leaf.replacen(from, to, 1).as_bytes())
    };
    assert!(Entry::parse(leaf.as_bytes()).is_ok());
    // Same meaning, other octets.
    let spellings = [
        ("\"seq\":7", "\"seq\": 7"),
        ("é", "\\u00e9"),
        ("\\n", "\\u000a"),
        ("\"v\":1}", "\"v\":1}\n"),
        ("\"v\":1}", "\"v\":1,\"v\":1}"),
        ("\"seq\":7", "\"seq\":6,\"seq\":7"),
        ("{\"action\"", "\u{feff}{\"action\""),
        ("{\"action\"", " {\"action\""),
        ("POST", "P\\u004fST"),
        ("/models", "\\/models"),
        ("\"id\":\"018f\",\"node\":\"n1\"", "\"node\":\"n1\",\"id\":\"018f\""),
    ];
    for (from, to) in spellings {
        let error = replaced(from, to).unwrap_err();
        assert!(matches!(error, LeafError::NotCanonical { .. } | LeafError::Json(_)), "{to}: {error}");
    }
    let numbers =
        ["10.0", "1e1", "-0", "1E400", "010", "9007199254740992", "-9007199254740992", "99999999999999999999"];
    for number in numbers {
        assert!(replaced("\"n\":10", &format!("\"n\":{number}")).is_err(), "{number}");
    }
    for number in ["0", "-1", "9007199254740991", "-9007199254740991"] {
        assert!(replaced("\"n\":10", &format!("\"n\":{number}")).is_ok(), "{number}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let leaf = leaf_text(&entry());
    let cases = [
        ("\"v\":1", "\"v\":2", "entry is of schema 2, this version reads 1"),
        ("\"v\":1", "\"w\":1", "`v` is not an integer from 0"),
        ("\"v\":1", "\"v\":1,\"z\":0", "`z` is not a member of an entry"),
        ("\"kind\":\"user\"", "\"kind\":\"robot\"", "`actor.kind` is not `user`, `service`, `system` or `anonymous`"),
        ("\"outcome\":\"ok\"", "\"outcome\":\"fine\"", "`outcome` is not `ok`, `denied` or `error`"),
        ("\"status\":201", "\"status\":70000", "`req.status` is not an HTTP status"),
        ("\"status\":201", "\"status\":\"201\"", "`req.status` is not an integer from 0"),
        ("\"seq\":7", "\"seq\":-7", "`seq` is not an integer from 0"),
        ("\"prev\":3", "\"prev\":null", "`prev` is not an integer from 0"),
        ("sha256:0", "sha512:0", "`target.digest` is not `sha256:` and 64 lower-case hex digits"),
        ("\"salt\":\"ab", "\"salt\":\"AB", "`salt` is not 64 lower-case hex digits"),
        ("\"data\":{}", "\"data\":[]", "`data` is not an object"),
        ("\"data\":{},", "", "`data` is not an object"),
        ("\"name\":\"alice\"", "\"nick\":\"alice\"", "`actor.nick` is not a member of an entry"),
        ("\"id\":\"018f\",", "", "`id` is not a string"),
        ("model.upload", "upload", "action `upload` is not lower-case words joined by dots"),
        ("2026-07-01T", "2026-07-01t", "time is not of the form `YYYY-MM-DDThh:mm:ss.mmmZ`"),
    ];
    for (from, to, message) in cases {
        assert!(leaf.contains(from), "{from}");
        let error = Entry::parse(leaf.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let long_ua = leaf.replace("curl/8", &"u".repeat(201));
    assert_eq!(Entry::parse(long_ua.as_bytes()).unwrap_err().to_string(), "`req.ua` is not at most 200 octets");
    for text in ["null", "[]", "1", "\"\""] {
        assert!(matches!(Entry::parse(text.as_bytes()), Err(LeafError::Member { .. })), "{text}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let message = |entry: Entry| entry.to_leaf().unwrap_err().to_string();
    assert_eq!(message(with_data(json!({ "a": { "b": 0.5 } }))), "`data.a.b` is a number but not an integer");
    assert_eq!(message(with_data(json!({ "a": [1_u64 << 53] }))), "`data.a` is an integer beyond 2^53 - 1");
    assert_eq!(message(with_data(json!({ "é": 1 }))), "key `data.é` is not printable ASCII");
    assert_eq!(message(Entry { seq: 1 << 53, ..entry() }), "`seq` is an integer beyond 2^53 - 1");
    assert!(matches!(Entry { ts: i64::MAX, ..entry() }.to_leaf(), Err(LeafError::Time)));
    let target = Target { digest: Some("sha256:xyz".to_owned()), ..Target::new("file", "f") };
    assert_eq!(
        message(Entry { target: Some(target), ..entry() }),
        "`target.digest` is not `sha256:` and 64 lower-case hex digits"
    );
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    assert!(with_data(json!({ "a": nested(14) })).to_leaf().is_ok());
    assert!(matches!(with_data(json!({ "a": nested(15) })).to_leaf(), Err(LeafError::Depth)));
    // Read and written alike.
    let leaf = leaf_text(&with_data(json!({ "a": nested(14) })));
    assert!(Entry::parse(leaf.as_bytes()).is_ok());
    assert!(matches!(Entry::parse(leaf.replace("[1]", "[[1]]").as_bytes()), Err(LeafError::Depth)));
}

#[test]
fn long_text_is_cut_largest_first() {
    let (large, larger, small) = ("a".repeat(20_000), "\"".repeat(20_001), "c".repeat(1000));
    let data = json!({ "large": large, "nested": [{ "larger": larger }], "small": small, "n": 1 });
    let leaf = with_data(data).to_leaf().unwrap();
    assert!(leaf.len() <= LEAF_LEN_MAX);
    let read = Entry::parse(&leaf).unwrap();
    let cut = json!({ "len": 20_001, "sha256": hex::encode(Sha256::digest(&larger)) });
    assert_eq!(read.data["nested"], json!([{ "larger": cut }]));
    assert_eq!(read.data["large"], json!(large), "nothing is cut that need not be");
    assert_eq!(read.data["small"], json!(small));
    assert_eq!(read.to_leaf().unwrap(), leaf);

    // A leaf of exactly the limit stays whole; one octet more does not.
    let base = with_data(json!({ "t": "" })).to_leaf().unwrap().len();
    let fits = "x".repeat(LEAF_LEN_MAX - base);
    assert_eq!(with_data(json!({ "t": fits })).to_leaf().unwrap().len(), LEAF_LEN_MAX);
    assert!(with_data(json!({ "t": format!("{fits}x") })).to_leaf().unwrap().len() < 1000);

    let many_short: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    assert!(matches!(with_data(json!({ "t": many_short })).to_leaf(), Err(LeafError::TooLong { .. })));
    let named = Entry { id: "x".repeat(LEAF_LEN_MAX), ..entry() };
    assert!(matches!(named.to_leaf(), Err(LeafError::TooLong { .. })), "only data is cut");
}

#[test]
fn user_agent_is_cut_between_characters() {
    let req = RequestInfo { ua: Some(format!("x{}", "é".repeat(150))), ..entry().req.unwrap() };
    let leaf = Entry { req: Some(req), ..entry() }.to_leaf().unwrap();
    let ua = Entry::parse(&leaf).unwrap().req.unwrap().ua.unwrap();
    assert_eq!(ua, format!("x{}", "é".repeat(99)));
    assert!(ua.len() <= USER_AGENT_LEN_MAX);
}

#[test]
fn timestamps_known_and_refused() {
    assert_eq!(format_timestamp(0).unwrap(), "1970-01-01T00:00:00.000Z");
    assert_eq!(format_timestamp(-1).unwrap(), "1969-12-31T23:59:59.999Z");
    assert_eq!(format_timestamp(951_782_400_001).unwrap(), "2000-02-29T00:00:00.001Z");
    assert_eq!(parse_timestamp("0000-01-01T00:00:00.000Z").unwrap(), -62_167_219_200_000);
    assert!(format_timestamp(-62_167_219_200_001).is_err());
    assert!(format_timestamp(i64::MIN).is_err() && format_timestamp(i64::MAX).is_err());
    let bad = [
        "",
        "2026-07-01T12:00:00Z",
        "2026-07-01T12:00:00.000+",
        "2026-07-01 12:00:00.000Z",
        "2026-07-01T12:00:60.000Z",
        "2026-02-29T12:00:00.000Z",
        "2026-13-01T12:00:00.000Z",
        "2026-07-01T24:00:00.000Z",
        "+026-07-01T12:00:00.000Z",
        "2026-07-01T12:00:00.00éZ",
        "2026-07-01T12:00:00,000Z",
    ];
    for text in bad {
        assert!(parse_timestamp(text).is_err(), "{text}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,40}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let integer = -(1_i64 << 53) + 1..1 << 53;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer.prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[ -~]{0,8}", inner, 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let text = || option::of(any_text());
    let integer = || 0..1_u64 << 53;
    let action = proptest::sample::select(Action::KNOWN);
    let actor = (any_text(), text(), 0..4_usize, text(), text()).prop_map(|(id, name, kind, role, cred)| {
        let kind = [ActorKind::User, ActorKind::Service, ActorKind::System, ActorKind::Anonymous][kind];
        Actor { id, name, kind, role, cred }
    });
    let digest = option::of("sha256:[0-9a-f]{64}");
    let target = (any_text(), any_text(), text(), digest, option::of(integer()))
        .prop_map(|(kind, id, version, digest, size)| Target { kind, id, version, digest, size });
    let req = (any_text(), any_text(), any_text(), any::<u16>(), text(), option::of("[ -~]{0,200}"))
        .prop_map(|(id, method, route, status, ip, ua)| RequestInfo { id, method, route, status, ip, ua });
    let head = (integer(), any_text(), -62_167_219_200_000..253_402_000_000_000_i64, any_text(), any::<[u8; 32]>());
    let rest = (any::<Option<[u8; 32]>>(), option::of(integer()), option::of(target), option::of(req));
    let data = btree_map("[ -~]{0,8}", any_json(), 0..5);
    (head, action, 0..3_usize, actor, rest, data).prop_map(|(head, action, outcome, actor, rest, data)| {
        let (seq, id, ts, node, salt) = head;
        let (change, prev, target, req) = rest;
        let outcome = [Outcome::Ok, Outcome::Denied, Outcome::Error][outcome];
        Entry { seq, id, ts, node, salt, action, outcome, actor, change, prev, target, req, data }
    })
}

proptest! {
    #[test]
    fn entries_survive_their_leaf(entry in any_entry()) {
        let leaf = entry.to_leaf().unwrap();
        prop_assert!(leaf.len() <= LEAF_LEN_MAX);
        // serde_json over sorted maps writes the same octets where no float is involved.
        let value: Value = serde_json::from_slice(&leaf).unwrap();
        prop_assert_eq!(&serde_json::to_vec(&value).unwrap(), &leaf);
        prop_assert_eq!(&canonical_json(&value).unwrap(), &leaf);
        prop_assert_eq!(Entry::parse(&leaf).unwrap(), entry);
    }

    #[test]
    fn timestamps_survive_their_text(unix_ms in -62_167_219_200_000..253_402_000_000_000_i64) {
        prop_assert_eq!(parse_timestamp(&format_timestamp(unix_ms).unwrap()).unwrap(), unix_ms);
    }

    /// Whatever is done to a leaf: what is still accepted is written back as it was read.
    #[test]
    fn whatever_parses_is_canonical(entry in any_entry(), edits in vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4)) {
        let mut leaf = entry.to_leaf().unwrap();
        for (at, octet, edit) in edits {
            let at = at.index(leaf.len());
            match edit {
                0 => leaf[at] = octet,
                1 => leaf.insert(at, octet),
                _ => drop(leaf.remove(at)),
            }
        }
        if let Ok(read) = Entry::parse(&leaf) {
            prop_assert_eq!(read.to_leaf().unwrap(), leaf);
        }
    }
}
