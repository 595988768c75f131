//! What must hold of names and of what lies beside items in the drop folder.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use common::digest::Digest;
use common::name::ModelName;
use daemon::ingest::names::{NameKind, Place, Root, checksum_of, kind_of, kind_within, namespace_of, sidecar_of};
use daemon::ingest::sidecar::{CHECKSUM_OCTETS_MAX, SIDECAR_DEPTH_MAX, SIDECAR_OCTETS_MAX, parse, parse_checksum};
use serde_json::{Value, json};

/// Octets that any sentence about a sidecar or a checksum may have: 20 mistakes, with a foreign key or name in each.
const SENTENCE_OCTETS_MAX: usize = 20 * 1024;

/// Names: what lies beside an item leads back to it, what lies beside something temporary is temporary, and every model's
/// name is one. The first octet chooses where it lies.
pub fn drop_name(octets: &[u8]) {
    let Some((mode, name)) = octets.split_first() else { return };
    let root = if mode & 2 == 0 { Root::Incoming } else { Root::Top };
    let namespace = (mode & 1 != 0).then(|| "team".to_owned());
    let place = Place { root, namespace, name: OsString::from_vec(name.to_vec()) };
    let (kind, within) = (kind_of(&place.name), kind_within(&place.name));
    assert!(place.kind() == kind || (place.kind() == NameKind::Ignored && root == Root::Top));
    assert!(!matches!(within, NameKind::Sidecar(_) | NameKind::Checksum(_)), "in a folder they are files");
    let (sidecar, checksum) = (sidecar_of(&place.name), checksum_of(&place.name));
    match &kind {
        NameKind::Item | NameKind::Sidecar(_) | NameKind::Checksum(_) => {
            assert_eq!(kind_of(&sidecar), NameKind::Sidecar(place.name.clone()));
            assert_eq!(kind_of(&checksum), NameKind::Checksum(place.name.clone()));
            assert!(!name.starts_with(b".") && !name.ends_with(b"~"));
        }
        NameKind::Temporary => {
            assert_eq!((kind_of(&sidecar), kind_of(&checksum)), (NameKind::Temporary, NameKind::Temporary));
        }
        // Of nothing, what lies beside it has a name with a dot in front.
        NameKind::Complete | NameKind::Namespace | NameKind::Ignored => {
            let expected = if name.is_empty() { NameKind::Temporary } else { NameKind::Ignored };
            assert_eq!((kind_of(&sidecar), kind_of(&checksum)), (expected.clone(), expected));
        }
    }
    if let NameKind::Sidecar(of) | NameKind::Checksum(of) = kind {
        assert!(!of.is_empty() && name.starts_with(of.as_bytes()));
    }
    for model in [place.model_name(), place.folder_model_name()].into_iter().flatten() {
        assert_eq!(model.as_str().parse::<ModelName>().as_ref(), Ok(&model));
        assert_eq!(model.as_str().starts_with("team/"), place.namespace.is_some());
    }
    if let Some(namespace) = namespace_of(&place.name) {
        assert_eq!(OsStr::new(namespace), place.name);
        assert!(format!("{namespace}/x").parse::<ModelName>().is_ok());
    }
    assert!(place.shown().len() <= name.len() * 3 + 5);
}

/// Sidecars: what is read says again the same, and a reader that is not strict reads the same; every mistake has its place
/// and few words.
pub fn sidecar(octets: &[u8]) {
    let said = match parse(octets) {
        Ok(said) => said,
        Err(sentence) => {
            assert!(sentence.starts_with("sidecar") && sentence.len() <= SENTENCE_OCTETS_MAX, "{sentence}");
            assert!(!sentence.contains(['\n', '\u{1b}', '\u{202e}']), "{sentence:?}");
            return;
        }
    };
    assert!(octets.len() as u64 <= SIDECAR_OCTETS_MAX);
    let mut again = json!({
        "name": said.name,
        "description": said.description,
        "tags": said.tags,
        "metadata": said.metadata,
        "alias": said.alias,
    });
    if let Some(digest) = &said.sha256 {
        again["sha256"] = json!(digest);
    }
    assert!(depth(&again) <= SIDECAR_DEPTH_MAX);
    let octets = octets.strip_prefix("\u{feff}".as_bytes()).unwrap_or(octets);
    let loose: Value = serde_json::from_slice(octets).expect("what is read is JSON");
    for key in ["name", "description", "tags", "metadata"] {
        assert_eq!(loose.get(key).unwrap_or(&Value::Null), &again[key], "{key}");
    }
    assert_eq!(loose.get("sha256").is_some(), said.sha256.is_some());
    assert_eq!(parse(&serde_json::to_vec(&again).unwrap()).as_ref(), Ok(&said));
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Checksum files: what is read stands there, as digits, and a line more of the same changes nothing; of another digest it
/// is refused. The name comes first, and ends with a zero.
pub fn checksum(octets: &[u8]) {
    let Some(end) = octets.iter().position(|octet| *octet == 0) else { return };
    let (Ok(name), text) = (str::from_utf8(&octets[..end]), &octets[end + 1..]) else { return };
    match parse_checksum(text, name) {
        Err(sentence) => {
            assert!(sentence.starts_with("checksum") && sentence.len() <= SENTENCE_OCTETS_MAX, "{sentence}")
        }
        Ok(digest) => {
            let digits = digest.to_hex();
            assert!(text.to_ascii_lowercase().windows(64).any(|piece| piece == digits.as_bytes()));
            let with = |digest: Digest| {
                let line = format!("\nSHA256 ({name}) = {}\n", digest.to_hex());
                parse_checksum(&[text, line.as_bytes()].concat(), name)
            };
            let other = Digest::from_bytes(digest.as_bytes().map(|octet| !octet));
            let fits = (text.len() + name.len() + 100) as u64 <= CHECKSUM_OCTETS_MAX;
            if fits && !name.is_empty() && !name.contains('\n') {
                assert_eq!(with(digest), Ok(digest));
                // The name alone counts before one behind a path.
                let answer = with(other);
                assert!(answer.is_err() || answer == Ok(other), "{answer:?}");
            }
        }
    }
}
