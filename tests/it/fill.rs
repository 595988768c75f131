//! A registry that `tests::fill` made is one like any other: the daemon serves it, its checks find nothing, and the oracle
//! reads its log. So what is measured on a large one is worth something.

use common::role::Role;
use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::fill::made::USERS;
use tests::fill::{Size, fill, places};
use tests::oracle;

const SIZE: Size = Size { models: 70, versions: 201, entries: 1_500, seed: 7 };

/// A daemon on what was filled, not started.
pub(crate) fn filled(dir: &TempDir, size: &Size) -> Daemon {
    let dir = dir.path().join("registry");
    fill(&dir, size, ADMIN_PASSWORD, &|_done, _of| {}).unwrap();
    let (data, keys) = places(&dir);
    Daemon::prepared(&[("MREG_DATA_DIR", &data.display().to_string()), ("MREG_KEY_DIR", &keys.display().to_string())])
}

/// Served, checked while it runs and stopped, and read by the oracle.
#[test]
fn is_a_registry() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = filled(&dir, &SIZE);
    let checked = daemon.run(&["check", "--blobs"], "");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let log = oracle::read(&dir.path().join("registry/data"));
    assert_eq!(log.leaves.len() as u64, SIZE.entries);
    oracle::blobs(&dir.path().join("registry/data"));

    daemon.restart();
    let admin = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
    let status = admin.value("/status");
    assert_eq!(status["store"]["models"], SIZE.models);
    assert_eq!(status["store"]["versions"], SIZE.versions);
    assert_eq!(status["store"]["users"], USERS.len());
    assert_eq!(status["rescan"]["stale"], 0, "{status}");
    let page = admin.value("/models?limit=1000");
    let rows = page["items"].as_array().unwrap();
    assert_eq!(rows.len() as u64, SIZE.models);
    let name = rows[0]["name"].as_str().unwrap().replace('/', "%2F");
    let bytes = admin.get(&format!("/models/{name}/versions/1/files/model.safetensors")).expect(200).body;
    assert!(bytes.len() > 256, "{} octets", bytes.len());
    let (viewer, _role) = USERS.iter().find(|(_name, role)| *role == Role::Viewer).unwrap();
    daemon.client().signed_in(viewer, ADMIN_PASSWORD).delete(&format!("/models/{name}")).expect(403);
    let checked = daemon.run(&["check"], "");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The same size and seed give the same models with the same files, another seed others; nothing is filled twice.
#[test]
fn is_the_same_again() {
    let models = |size: &Size| {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = filled(&dir, size);
        let again = fill(&dir.path().join("registry"), size, ADMIN_PASSWORD, &|_done, _of| {});
        assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::DirectoryNotEmpty);
        daemon.restart();
        let admin = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
        let page = admin.value("/models?limit=1000");
        let model = |row: &serde_json::Value| {
            let name = row["name"].as_str().unwrap();
            let versions = admin.value(&format!("/models/{}/versions?limit=1000", name.replace('/', "%2F")));
            let artifacts: Vec<_> =
                versions["items"].as_array().unwrap().iter().map(|version| version["artifacts"].clone()).collect();
            (row["id"].clone(), name.to_owned(), row["tags"].clone(), artifacts)
        };
        page["items"].as_array().unwrap().iter().map(model).collect::<Vec<_>>()
    };
    let size = Size { models: 12, versions: 40, entries: 100, seed: 3 };
    let (first, second, other) = (models(&size), models(&size), models(&Size { seed: 4, ..size }));
    assert_eq!(first, second);
    assert_ne!(first, other);
}

/// A size that makes no sense is refused before anything is written.
#[test]
fn sizes_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    for size in [
        Size { models: 0, ..SIZE },
        Size { versions: SIZE.models - 1, ..SIZE },
        Size { entries: SIZE.versions, ..SIZE },
    ] {
        let refused = fill(&dir.path().join("registry"), &size, ADMIN_PASSWORD, &|_done, _of| {});
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{size:?}");
    }
    assert!(!dir.path().join("registry").exists());
}
