//! Names in the drop folder, by tables and by properties.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use common::name::ModelName;
use proptest::prelude::*;

use super::{NameKind, Place, Root, checksum_of, kind_of, kind_within, namespace_of, sidecar_of};

fn place(namespace: Option<&str>, name: &str) -> Place {
    Place { root: Root::Incoming, namespace: namespace.map(str::to_owned), name: name.into() }
}

fn sidecar(name: &str) -> NameKind {
    NameKind::Sidecar(name.into())
}

fn checksum(name: &str) -> NameKind {
    NameKind::Checksum(name.into())
}

/// What each name is, in a watched folder.
#[test]
fn names_are_told() {
    use NameKind::{Complete, Ignored, Item, Namespace, Temporary};
    for (name, kind) in [
        ("model.bin", Item),
        ("model", Item),
        ("part", Item),
        ("tmp", Item),
        ("~model", Item),
        ("#1", Item),
        ("##", Item),
        ("model.part1", Item),
        ("model.json", Item),
        ("mreg.json", Item),
        ("sha256", Item),
        ("nfs0123456789abcdef", Item),
        (" ", Item),
        (".model.bin.Xy12Zz", Temporary),
        (".env", Temporary),
        (".part", Temporary),
        ("model.bin.part", Temporary),
        ("model.bin.filepart", Temporary),
        ("MODEL.BIN.FilePart", Temporary),
        ("model.tmp", Temporary),
        ("model.crdownload", Temporary),
        ("model.partial", Temporary),
        ("model.swp", Temporary),
        ("model.swx", Temporary),
        ("model.download", Temporary),
        ("model.incomplete", Temporary),
        ("model.upload", Temporary),
        ("model~", Temporary),
        ("~", Temporary),
        ("#model#", Temporary),
        (".nfs-model.bin.Xy12Zz", Temporary),
        (".nfs", Temporary),
        (".nfs0123456789abcdef00000001", Ignored),
        (".DS_Store", Ignored),
        ("Thumbs.db", Ignored),
        ("desktop.ini", Ignored),
        ("Desktop.INI", Ignored),
        ("lost+found", Ignored),
        ("", Ignored),
        (".", Ignored),
        ("..", Ignored),
        (".mreg-complete", Complete),
        (".MREG-Complete", Complete),
        ("_SUCCESS", Complete),
        ("_success", Item),
        (".mreg-namespace", Namespace),
    ] {
        assert_eq!(kind_of(OsStr::new(name)), kind, "{name:?}");
    }
}

/// What lies beside something follows it, and is never an item.
#[test]
fn what_lies_beside_follows() {
    use NameKind::{Ignored, Temporary};
    for (name, kind) in [
        ("model.bin.mreg.json", sidecar("model.bin")),
        ("Model.BIN.MREG.Json", sidecar("Model.BIN")),
        ("folder.mreg.json", sidecar("folder")),
        ("model.bin.sha256", checksum("model.bin")),
        ("model.bin.SHA256", checksum("model.bin")),
        ("a.mreg.json.mreg.json", sidecar("a.mreg.json")),
        ("a.mreg.json.sha256", checksum("a.mreg.json")),
        ("a.sha256.mreg.json", sidecar("a.sha256")),
        ("a.sha256.sha256", checksum("a.sha256")),
        ("sha256.sha256", checksum("sha256")),
        ("_success.sha256", checksum("_success")),
        (".mreg.json", Temporary),
        (".sha256", Temporary),
        (".a.mreg.json.Xy12Zz", Temporary),
        ("a.mreg.json.part", Temporary),
        ("a.part.mreg.json", Temporary),
        ("a.part.mreg.json.sha256", Temporary),
        ("a~.sha256", Temporary),
        (".mreg.json.sha256", Temporary),
        ("Thumbs.db.sha256", Ignored),
        ("_SUCCESS.sha256", Ignored),
        (".mreg-complete.mreg.json", Ignored),
    ] {
        assert_eq!(kind_of(OsStr::new(name)), kind, "{name:?}");
    }
}

/// In a folder that becomes one version, what lies beside is part of it, and so are names with a dot that are usual there.
#[test]
fn names_within_a_folder() {
    use NameKind::{Complete, Ignored, Item, Namespace, Temporary};
    for (name, kind) in [
        ("model.bin", Item),
        ("model.bin.sha256", Item),
        ("model.bin.mreg.json", Item),
        ("Thumbs.db.sha256", Item),
        (".gitattributes", Item),
        (".part-00000.crc", Item),
        ("._SUCCESS.crc", Item),
        (".crc", Temporary),
        (".model.bin.Xy12Zz", Temporary),
        (".git", Temporary),
        ("model.part", Temporary),
        ("model.part.sha256", Temporary),
        ("Thumbs.db", Ignored),
        ("..", Ignored),
        ("_SUCCESS", Complete),
        (".mreg-complete", Complete),
        (".mreg-namespace", Namespace),
        ("incoming", Item),
    ] {
        assert_eq!(kind_within(OsStr::new(name)), kind, "{name:?}");
    }
}

/// The lanes are nobody's items where they are lanes, and names like others elsewhere.
#[test]
fn lanes_are_left_out_at_the_top() {
    for lane in ["incoming", "processing", "done", "rejected"] {
        let at = |root, namespace: Option<&str>| Place { root, ..place(namespace, lane) }.kind();
        assert_eq!(at(Root::Top, None), NameKind::Ignored);
        assert_eq!(at(Root::Incoming, None), NameKind::Item);
        assert_eq!(at(Root::Top, Some("team")), NameKind::Item);
    }
    assert_eq!(Place { root: Root::Top, ..place(None, "Done") }.kind(), NameKind::Item);
    assert_eq!(Place { root: Root::Top, ..place(None, "done.part") }.kind(), NameKind::Temporary);
}

/// A file's model is its stem, a folder's the whole name as far as it can be.
#[test]
fn models_are_named() {
    for (name, of_file, of_folder) in [
        ("model.tar.gz", "model", "model.tar.gz"),
        ("bert-base.v2", "bert-base", "bert-base.v2"),
        ("My model (v2.1)", "My-model-v2", "My-model-v2.1"),
        ("llama 3.1 8B", "llama-3", "llama-3.1-8B"),
        ("größe.onnx", "grosse", "grosse.onnx"),
        ("u\u{308}mlaut_\u{fb01}n².bin", "umlaut_fin2", "umlaut_fin2.bin"),
        ("a — b ©.bin", "a-b", "a-b-.bin"),
        ("-x-.bin", "x", "x-.bin"),
        ("bert.", "bert", "bert."),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "model-01ARZ3NDEKTSV4RRFFQ69G5FAV", "model-01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ] {
        for namespace in [None, Some("team.nlp")] {
            let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
            let place = place(namespace, name);
            let file = format!("{prefix}{of_file}");
            assert_eq!(place.model_name().unwrap().as_str(), file, "{name:?}");
            assert_eq!(place.folder_model_name().unwrap().as_str(), format!("{prefix}{of_folder}"), "{name:?}");
            assert_eq!(place.shown(), format!("{prefix}{name}"));
        }
    }
    for name in ["模型", "---", "…"] {
        let error = place(None, name).model_name().unwrap_err().to_string();
        assert!(error.contains("send a `name`"), "{error}");
        assert_eq!(place(None, name).folder_model_name().unwrap_err().to_string(), error);
    }
    // No letter is lost without a word: what is left is proposed.
    for (name, left) in [("模型-v2", "v2"), ("bert-малый", "bert")] {
        for named in [place(None, name).model_name(), place(None, name).folder_model_name()] {
            let error = named.unwrap_err().to_string();
            assert!(error.contains(&format!("such as `{left}`")), "{error}");
        }
    }
    let long = "x".repeat(300);
    assert_eq!(place(None, &long).folder_model_name().unwrap().as_str().len(), 96);
}

/// A name that was said stays in the folder's namespace, unless it says its own.
#[test]
fn names_that_are_said() {
    let said = |namespace, name: &str| place(namespace, "x.bin").in_namespace(name.parse().unwrap()).unwrap();
    assert_eq!(said(None, "a").as_str(), "a");
    assert_eq!(said(None, "b/a").as_str(), "b/a");
    assert_eq!(said(Some("team"), "a").as_str(), "team/a");
    assert_eq!(said(Some("team"), "b/a").as_str(), "b/a");
}

/// Namespaces are first segments of model names, and items.
#[test]
fn namespaces_are_told() {
    for (name, is_one) in [
        ("team-nlp", true),
        ("Team.2", true),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
        ("my team", false),
        ("-team", false),
        ("a/b", false),
        ("", false),
        ("team.part", false),
        ("team.sha256", false),
        (".team", false),
        ("lost+found", false),
    ] {
        assert_eq!(namespace_of(OsStr::new(name)), is_one.then_some(name), "{name:?}");
    }
    assert_eq!(namespace_of(OsStr::new(&"x".repeat(97))), None);
    assert_eq!(namespace_of(OsStr::from_bytes(b"te\xffam")), None);
}

/// A long chain of suffixes ends nothing: no name has that many, but no stack is asked for it.
#[test]
fn long_names_are_told() {
    let name = OsString::from_vec([b"a".as_slice(), &b".sha256".repeat(500_000)].concat());
    assert!(matches!(kind_of(&name), NameKind::Checksum(_)));
}

/// Octets that look like names of this grammar, and others.
fn any_name() -> impl Strategy<Value = OsString> {
    let piece = prop_oneof![
        Just(b".mreg.json".to_vec()),
        Just(b".SHA256".to_vec()),
        Just(b".part".to_vec()),
        Just(b"~".to_vec()),
        Just(b"#".to_vec()),
        Just(b".".to_vec()),
        Just(b".nfs0123456789".to_vec()),
        Just(b"_SUCCESS".to_vec()),
        Just("é".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        "[a-zA-Z0-9 -]{1,6}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| OsString::from_vec(pieces.concat()))
}

proptest! {
    /// Whatever the octets: an answer, the same in any case, and an item's sidecar and checksum lead back to it.
    #[test]
    fn any_octets_are_told(name in any_name()) {
        let kind = kind_of(&name);
        kind_within(&name);
        let upper = OsString::from_vec(name.as_bytes().to_ascii_uppercase());
        let same = std::mem::discriminant(&kind_of(&upper)) == std::mem::discriminant(&kind);
        prop_assert!(same || upper.as_bytes().windows(8).any(|piece| piece == b"_SUCCESS"));
        if kind == NameKind::Item {
            prop_assert_eq!(kind_of(&sidecar_of(&name)), NameKind::Sidecar(name.clone()));
            prop_assert_eq!(kind_of(&checksum_of(&name)), NameKind::Checksum(name.clone()));
            let hidden = OsString::from_vec([b".".as_slice(), name.as_bytes(), b".aB3xYz"].concat());
            prop_assert_eq!(kind_of(&hidden), NameKind::Temporary, "as rsync names it");
        }
        if kind == NameKind::Temporary {
            prop_assert_eq!(kind_of(&sidecar_of(&name)), NameKind::Temporary);
        }
    }

    /// Whatever the octets: a model name by the rules, in the namespace, or a sentence.
    #[test]
    fn any_octets_are_named(name in any_name(), in_namespace in any::<bool>()) {
        let place = Place { name, ..place(in_namespace.then_some("team"), "") };
        for named in [place.model_name(), place.folder_model_name()] {
            match named {
                Ok(model) => {
                    prop_assert_eq!(model.as_str().parse::<ModelName>(), Ok(model.clone()));
                    prop_assert_eq!(model.as_str().starts_with("team/"), in_namespace, "{}", model);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
        if let Some(namespace) = namespace_of(&place.name) {
            prop_assert_eq!(OsStr::new(namespace), place.name.as_os_str());
            let model: ModelName = format!("{namespace}/x").parse().unwrap();
            prop_assert_eq!(model.as_str().split('/').next(), Some(namespace));
        }
    }
}
