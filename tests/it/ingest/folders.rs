//! Folders: when one is closed, that it comes whole, and folders that are namespaces.

use std::fs;

use common::api::{IngestItem, IngestKind, IngestState};
use tests::drop::{DropFolder, SETTLE_TIME, Sshd, fill, has};
use tests::samples::{self, sha256};

/// What is in the folders here.
fn files() -> [(&'static str, Vec<u8>); 3] {
    [
        ("config.json", br#"{"architectures":["BertModel"]}"#.to_vec()),
        ("model.safetensors", samples::large_safetensors(20_000, 1)),
        ("tokenizer/vocab.txt", b"[PAD]\n[UNK]\nthe\n".to_vec()),
    ]
}

fn fill_in(folder: &std::path::Path) {
    let files = files();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, octets)| (*path, octets.as_slice())).collect();
    fill(folder, &files);
}

/// Whether it is neither under way nor decided.
fn is_open(item: &IngestItem) -> bool {
    matches!(item.state.known(), Some(IngestState::Seen | IngestState::Waiting))
}

/// Waits for a folder to be one version with all its files, folders kept.
#[track_caller]
fn is_whole(folder: &DropFolder, path: &str) {
    let arrived = folder.arrives(path);
    assert_eq!(arrived.version(), format!("{path}:1"));
    let mut artifacts = arrived.artifacts();
    artifacts.sort();
    assert_eq!(artifacts, files().map(|(path, _)| path.to_owned()), "{path}");
    for (file, octets) in files() {
        let got = folder.admin().get(&format!("/models/{}/versions/1/files/{file}", path.replace('/', "%2F")));
        assert_eq!(sha256(&got.expect(200).body), sha256(&octets), "{path}/{file}");
        assert_eq!(fs::read(arrived.place.join(file)).unwrap(), octets, "kept in done/");
    }
    let item = folder.reaches(path, IngestState::Done);
    assert_eq!((item.kind, item.files), (IngestKind::Folder.into(), 3), "{path}");
}

/// A folder that is renamed in is one version, folders kept: from elsewhere, or from a temporary name in place.
#[test]
fn by_rename() {
    let folder = DropFolder::start();
    fill_in(&folder.outside().join("moved"));
    fs::rename(folder.outside().join("moved"), folder.incoming().join("moved")).unwrap();
    fill_in(&folder.incoming().join("inside.tmp"));
    std::thread::sleep(SETTLE_TIME * 2);
    fs::rename(folder.incoming().join("inside.tmp"), folder.incoming().join("inside")).unwrap();
    fill_in(&folder.incoming().join(".hidden"));
    fs::rename(folder.incoming().join(".hidden"), folder.incoming().join("hidden")).unwrap();
    for name in ["moved", "inside", "hidden"] {
        is_whole(&folder, name);
    }
    folder.is_at_rest();
}

/// Programs that set a folder's times when all of it is written close it by that.
#[test]
fn sealed_by_its_times() {
    let folder = DropFolder::start();
    for name in ["cp-a", "tar", "rsync-a"] {
        fill_in(&folder.outside().join(name));
    }
    // Old enough that the times of a copy lie before its making.
    folder.shell("find . -exec touch -d '2024-05-06 07:08:09' {} +");
    folder.shell("cp -a cp-a $IN/");
    is_whole(&folder, "cp-a");
    folder.shell("tar -cf ball.tar tar && tar -xf ball.tar -C $IN");
    is_whole(&folder, "tar");
    if has("rsync", "folders that rsync brings") {
        folder.shell("rsync -a rsync-a $IN/");
        is_whole(&folder, "rsync-a");
    }
    if let Some(sshd) = Sshd::start() {
        fill_in(&folder.outside().join("scp-rp"));
        folder.shell("find scp-rp -exec touch -d '2024-05-06 07:08:09' {} +");
        let source = folder.outside().join("scp-rp");
        sshd.run(sshd.client("scp").arg("-rp").arg(source).arg(sshd.remote(&folder.incoming())));
        is_whole(&folder, "scp-rp");
    }
}

/// A folder that nothing closes waits, and says what to do; a marker makes it a version, and is no part of it.
#[test]
fn a_marker() {
    let folder = DropFolder::start();
    fill_in(&folder.outside().join("bert"));
    folder.shell("cp -r bert $IN/bert");
    let waits = folder.shows("bert", "to wait for a marker", |item| {
        is_open(item) && item.reason.as_deref().is_some_and(|text| text.contains(".mreg-complete"))
    });
    let reason = waits.reason.unwrap();
    assert!(reason.contains("bert") && reason.contains(".mreg-namespace"), "{reason}");
    std::thread::sleep(SETTLE_TIME * 3);
    assert_eq!(folder.admin().value("/models")["total"], 0);
    assert!(folder.incoming().join("bert/model.safetensors").exists());
    fs::write(folder.incoming().join("bert/.mreg-complete"), "").unwrap();
    is_whole(&folder, "bert");
    // As Hadoop and Spark mark theirs.
    fill_in(&folder.incoming().join("spark"));
    fs::write(folder.incoming().join("spark/_SUCCESS"), "").unwrap();
    is_whole(&folder, "spark");
    assert_eq!(folder.admin().value("/models")["total"], 2);
}

/// A folder that waits is watched: its marker is noticed when it comes, not when it is next looked at.
#[test]
fn a_marker_is_noticed() {
    // A folder that waits is looked at again after as long as it must rest.
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "6")]);
    fill_in(&folder.incoming().join("bert"));
    folder.reaches("bert", IngestState::Waiting);
    fs::write(folder.incoming().join("bert/.mreg-complete"), "").unwrap();
    let marked = std::time::Instant::now();
    folder.reaches("bert", IngestState::Seen);
    assert!(marked.elapsed() < std::time::Duration::from_secs(4), "noticed after {:?}", marked.elapsed());
    is_whole(&folder, "bert");
}

/// A closed folder with something unfinished in it, or with a writer, waits for that too.
#[test]
fn unfinished_inside() {
    let folder = DropFolder::start();
    let made = folder.outside().join("half");
    fill_in(&made);
    fs::rename(made.join("model.safetensors"), made.join("model.safetensors.part")).unwrap();
    fs::rename(&made, folder.incoming().join("half")).unwrap();
    folder.shows("half", "to wait for what is unfinished", |item| {
        item.reason.as_deref().is_some_and(|reason| reason.contains("model.safetensors.part"))
    });
    let inside = folder.incoming().join("half");
    let writer = fs::OpenOptions::new().append(true).open(inside.join("config.json")).unwrap();
    fs::rename(inside.join("model.safetensors.part"), inside.join("model.safetensors")).unwrap();
    std::thread::sleep(SETTLE_TIME * 3);
    assert!(inside.exists(), "taken while a file in it was open for writing");
    drop(writer);
    is_whole(&folder, "half");
}

/// A folder that says it is a namespace is none to take: each file in it becomes a model of its own, before and after.
#[test]
fn a_namespace() {
    let folder = DropFolder::start();
    folder.shell("mkdir $IN/team-nlp");
    folder.copy("team-nlp/one.safetensors", &samples::safetensors(1));
    folder.shows("team-nlp", "to wait", |item| {
        is_open(item) && item.reason.as_deref().is_some_and(|text| text.contains(".mreg-namespace"))
    });
    fs::write(folder.incoming().join("team-nlp/.mreg-namespace"), "").unwrap();
    let arrived = folder.arrives("team-nlp/one.safetensors");
    assert_eq!(arrived.version(), "team-nlp/one:1");
    assert!(arrived.place.ends_with("team-nlp/one.safetensors"), "{}", arrived.place.display());
    tests::wait::until_true("the folder to leave the list", || folder.item("team-nlp").is_none());
    folder.copy("team-nlp/two.safetensors", &samples::safetensors(2));
    assert_eq!(folder.arrives("team-nlp/two.safetensors").version(), "team-nlp/two:1");
    // A folder in a namespace is one version, by the same rules.
    fill_in(&folder.outside().join("bert"));
    folder.shell("mv bert $IN/team-nlp/bert");
    is_whole(&folder, "team-nlp/bert");
    assert_eq!(folder.admin().value("/models?q=team-nlp")["total"], 3);
    folder.is_at_rest();
}

/// An empty folder is a namespace: the daemon says so in it. Those of the settings are there from the start.
#[test]
fn namespaces_by_themselves() {
    let folder = DropFolder::with(&[("MREG_DROP_NAMESPACES", "vision,team.audio")]);
    assert!(folder.incoming().join("vision/.mreg-namespace").exists());
    folder.copy("vision/resnet.safetensors", &samples::safetensors(1));
    folder.copy("team.audio/asr.safetensors", &samples::safetensors(2));
    fs::create_dir(folder.incoming().join("fresh")).unwrap();
    tests::wait::until_true("the folder to be marked", || folder.incoming().join("fresh/.mreg-namespace").exists());
    folder.copy("fresh/m.safetensors", &samples::safetensors(3));
    assert_eq!(folder.arrives("vision/resnet.safetensors").version(), "vision/resnet:1");
    assert_eq!(folder.arrives("team.audio/asr.safetensors").version(), "team.audio/asr:1");
    assert_eq!(folder.arrives("fresh/m.safetensors").version(), "fresh/m:1");
    assert!(folder.incoming().join("fresh").exists(), "a namespace stays");
}

/// A folder with no file in it, or with a link in it, is refused with the reason and in one piece.
#[test]
fn folders_that_cannot_be() {
    let folder = DropFolder::start();
    let hollow = folder.outside().join("hollow");
    fill(&hollow, &[(".mreg-complete", b"")]);
    fs::create_dir(hollow.join("sub")).unwrap();
    fs::rename(&hollow, folder.incoming().join("hollow")).unwrap();
    let refused = folder.is_refused("hollow");
    assert_eq!(refused.problem(), "invalid", "{}", refused.document);
    fill_in(&folder.outside().join("linked"));
    std::os::unix::fs::symlink("/etc/passwd", folder.outside().join("linked/passwd")).unwrap();
    folder.shell("mv linked $IN/linked");
    let refused = folder.is_refused("linked");
    assert!(refused.says("passwd") && refused.says("link"), "{}", refused.document);
    assert!(fs::symlink_metadata(refused.place.join("passwd")).unwrap().is_symlink());
    assert!(refused.place.join("model.safetensors").exists());
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// A folder whose name is a sidecar's has a sidecar like a file.
#[test]
fn a_folder_with_a_sidecar() {
    let folder = DropFolder::start();
    fill_in(&folder.outside().join("bert"));
    folder.shell("echo '{\"alias\": \"live\", \"description\": \"of a folder\"}' > $IN/bert.mreg.json; mv bert $IN/");
    let arrived = folder.arrives("bert");
    assert_eq!(arrived.receipt.version.description, "of a folder");
    assert_eq!(folder.admin().value("/models/bert@live")["name"], "bert");
}

/// An archive is one file: it is never unpacked.
#[test]
fn an_archive_is_a_file() {
    let folder = DropFolder::start();
    fill_in(&folder.outside().join("bert"));
    folder.shell("tar -czf bert.tar.gz bert && mv bert.tar.gz $IN/");
    let arrived = folder.arrives("bert.tar.gz");
    assert_eq!((arrived.version().as_str(), arrived.artifacts().len()), ("bert:1", 1));
}
