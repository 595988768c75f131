//! What lies beside an item and speaks of it: sidecars and checksum files, before and after it, right, wrong and foreign.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::json;
use tests::drop::{DropFolder, SETTLE_TIME, is_root};
use tests::samples::{self, sha256};

/// All that a sidecar may say is said of the version, whether it came before its file or after it; and it goes along.
#[test]
fn before_and_after() {
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "1")]);
    let (one, two) = (samples::safetensors(1), samples::safetensors(2));
    let says = |name: &str, octets: &[u8]| {
        json!({
            "name": name, "description": "from the sidecar", "tags": {"team": "nlp"}, "alias": "live",
            "sha256": sha256(octets), "metadata": {"metric": {"f1": 0.913}},
        })
        .to_string()
    };
    folder.copy("one.safetensors.mreg.json", says("team/first", &one).as_bytes());
    folder.copy("one.safetensors", &one);
    folder.copy("two.safetensors", &two);
    folder.copy("two.safetensors.mreg.json", says("second", &two).as_bytes());
    for (file, name) in [("one.safetensors", "team/first"), ("two.safetensors", "second")] {
        let arrived = folder.arrives(file);
        assert_eq!(arrived.version(), format!("{name}:1"));
        assert_eq!(arrived.receipt.version.description, "from the sidecar");
        let model = folder.admin().value(&format!("/models/{}", name.replace('/', "%2F")));
        assert_eq!(model["tags"]["team"], "nlp", "{model}");
        assert_eq!(model["aliases"][0]["alias"], "live", "{model}");
        let version = folder.admin().value(&format!("/models/{}/versions/1", name.replace('/', "%2F")));
        assert_eq!(version["metadata"]["metric"], json!({"value": {"f1": 0.913}, "origin": "claimed"}), "{version}");
        let beside = arrived.place.with_file_name(format!("{file}.mreg.json"));
        assert!(beside.exists(), "the sidecar lies beside it in done/");
    }
    folder.is_at_rest();
    let left = tests::drop::tree(&folder.incoming());
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(folder.admin().value("/models")["total"], 2);
}

/// A sidecar without its file waits and says for what; when the file comes, it holds.
#[test]
fn a_sidecar_alone() {
    let folder = DropFolder::start();
    folder.copy("m.safetensors.mreg.json", br#"{"description": "early"}"#);
    folder.shows("m.safetensors.mreg.json", "to wait for its file", |item| {
        item.reason.as_deref().is_some_and(|reason| reason.contains("m.safetensors"))
    });
    std::thread::sleep(SETTLE_TIME * 3);
    folder.copy("m.safetensors", &samples::safetensors(1));
    assert_eq!(folder.arrives("m.safetensors").receipt.version.description, "early");
}

/// A sidecar under a temporary name is waited for by nobody; one that is still being written is.
#[test]
fn a_sidecar_that_is_written() {
    let folder = DropFolder::start();
    let path = folder.incoming().join("m.safetensors.mreg.json");
    let mut writer = fs::File::create(&path).unwrap();
    folder.copy("m.safetensors", &samples::safetensors(1));
    std::thread::sleep(SETTLE_TIME * 3);
    assert!(folder.incoming().join("m.safetensors").exists(), "taken while its sidecar was open for writing");
    std::io::Write::write_all(&mut writer, br#"{"description": "slow"}"#).unwrap();
    drop(writer);
    assert_eq!(folder.arrives("m.safetensors").receipt.version.description, "slow");
}

/// A sidecar that can't be read as one has its file refused with the place and what is accepted; nothing is published.
#[test]
fn wrong_sidecars() {
    let folder = DropFolder::start();
    let wrong: &[(&str, &str, &[&str])] = &[
        ("broken", r#"{"description": "#, &["json"]),
        ("list", "[]", &["object"]),
        ("unknown", r#"{"descripton": "typo"}"#, &["descripton", "description"]),
        ("type", r#"{"tags": "nlp"}"#, &["tags"]),
        ("name", r#"{"name": "../../etc"}"#, &["name"]),
        ("digest", r#"{"sha256": "abc"}"#, &["sha256"]),
        ("alias", r#"{"alias": "not an alias"}"#, &["alias"]),
        ("twice", r#"{"name": "one", "name": "two"}"#, &["name"]),
        ("binary", "\u{0}\u{1}", &["json"]),
    ];
    for (name, says, _) in wrong {
        folder.copy(&format!("{name}.safetensors.mreg.json"), says.as_bytes());
        folder.copy(&format!("{name}.safetensors"), &samples::safetensors(1));
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    folder.copy("deep.safetensors.mreg.json", format!(r#"{{"metadata": {deep}}}"#).as_bytes());
    folder.copy("deep.safetensors", &samples::safetensors(1));
    folder.copy("huge.safetensors.mreg.json", format!(r#"{{"description": "{}"}}"#, "x".repeat(2 << 20)).as_bytes());
    folder.copy("huge.safetensors", &samples::safetensors(1));
    for (name, _, words) in wrong {
        let refused = folder.is_refused(&format!("{name}.safetensors"));
        assert_eq!(refused.problem(), "invalid", "{name}: {}", refused.document);
        assert!(refused.says("sidecar"), "{name} does not name the sidecar: {}", refused.document);
        for word in *words {
            assert!(refused.says(word), "{name} does not say {word:?}: {}", refused.document);
        }
        assert!(refused.place.with_file_name(format!("{name}.safetensors.mreg.json")).exists(), "{name}");
    }
    for name in ["deep", "huge"] {
        folder.is_refused(&format!("{name}.safetensors"));
    }
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// A digest beside a file must be its own: in a sidecar, in a checksum file, and the same in both.
#[test]
fn digests() {
    let folder = DropFolder::start();
    let file = samples::safetensors(1);
    let (right, other) = (sha256(&file), sha256(b"other"));
    folder.copy("sum.safetensors.sha256", format!("{right}  sum.safetensors\n").as_bytes());
    folder.copy("bare.safetensors.sha256", format!("{right}\n").as_bytes());
    folder.copy("star.safetensors.sha256", format!("{} *star.safetensors\n", right.to_uppercase()).as_bytes());
    folder.copy("wrong.safetensors.sha256", format!("{other}  wrong.safetensors\n").as_bytes());
    folder.copy("said.safetensors.mreg.json", format!(r#"{{"sha256": "{other}"}}"#).as_bytes());
    folder.copy("two.safetensors.sha256", right.as_bytes());
    folder.copy("two.safetensors.mreg.json", format!(r#"{{"sha256": "{other}"}}"#).as_bytes());
    folder.copy("both.safetensors.sha256", right.as_bytes());
    folder.copy("both.safetensors.mreg.json", format!(r#"{{"sha256": "sha256:{right}"}}"#).as_bytes());
    folder.copy("noise.safetensors.sha256", b"this is no digest\n");
    for name in ["sum", "bare", "star", "wrong", "said", "two", "both", "noise"] {
        folder.copy(&format!("{name}.safetensors"), &file);
    }
    for name in ["sum", "bare", "star", "both"] {
        assert_eq!(folder.arrives(&format!("{name}.safetensors")).digest(), right, "{name}");
    }
    for name in ["wrong", "said"] {
        let refused = folder.is_refused(&format!("{name}.safetensors"));
        assert_eq!(refused.problem(), "digest-mismatch", "{name}: {}", refused.document);
        assert!(refused.says(&right) && refused.says(&other), "{name}: {}", refused.document);
    }
    for name in ["two", "noise"] {
        let refused = folder.is_refused(&format!("{name}.safetensors"));
        assert!(refused.says("sha256"), "{name}: {}", refused.document);
    }
    assert_eq!(folder.admin().value("/models")["total"], 4);
}

/// Somebody else's sidecar speaks for nobody's file.
#[test]
fn a_foreign_sidecar() {
    if !is_root() {
        return println!("SKIPPED: only root may give files away, so a foreign sidecar was NOT tested");
    }
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "1")]);
    folder.copy("m.safetensors.mreg.json", br#"{"name": "taken-over"}"#);
    folder.copy("m.safetensors", &samples::safetensors(1));
    chown(folder.incoming().join("m.safetensors.mreg.json"), Some(4343), None).unwrap();
    let refused = folder.is_refused("m.safetensors");
    assert!(refused.says("mreg.json") && refused.says("4343"), "{}", refused.document);
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// A sidecar of a file in a namespace may name another model there, and by a whole name one elsewhere.
#[test]
fn names_in_a_namespace() {
    let folder = DropFolder::with(&[("MREG_DROP_NAMESPACES", "team")]);
    folder.copy("team/a.safetensors.mreg.json", br#"{"name": "b"}"#);
    folder.copy("team/a.safetensors", &samples::safetensors(1));
    folder.copy("team/c.safetensors.mreg.json", br#"{"name": "other/c"}"#);
    folder.copy("team/c.safetensors", &samples::safetensors(2));
    assert_eq!(folder.arrives("team/a.safetensors").version(), "team/b:1");
    assert_eq!(folder.arrives("team/c.safetensors").version(), "other/c:1");
}

/// Two checksum files, or two sidecars, whose names differ in case alone: nobody can tell which is meant.
#[test]
fn two_of_one_kind() {
    let folder = DropFolder::start();
    let octets = samples::safetensors(1);
    folder.copy("m.safetensors.sha256", sha256(&octets).as_bytes());
    folder.copy("m.safetensors.SHA256", sha256(b"other").as_bytes());
    folder.copy("m.safetensors", &octets);
    let refused = folder.is_refused("m.safetensors");
    assert!(refused.says("several"), "{}", refused.document);
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// A checksum file holds however its ending is written, also where it came long before its file.
#[test]
fn an_ending_in_capitals() {
    let folder = DropFolder::start();
    folder.copy("m.safetensors.SHA256", sha256(b"other").as_bytes());
    folder.shows("m.safetensors.SHA256", "to wait for its file", |item| {
        item.reason.as_deref().is_some_and(|reason| reason.contains("is not there"))
    });
    folder.copy("m.safetensors", &samples::safetensors(1));
    assert_eq!(folder.is_refused("m.safetensors").problem(), "digest-mismatch");
}
