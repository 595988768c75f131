//! Old data opens for ever: directories that released versions wrote are checked in under `data/`, trimmed to what is not
//! derived, and must open with the same answers. A version's directory is never changed after its release.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tests::daemon::{Daemon, workspace};
use tests::wait;

/// Copies a tree as its owner's alone; git keeps no such modes.
fn copy_private(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_private(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// What 0.1.0 wrote: users, versions, an alias that moved, a quarantine, a deletion.
#[test]
fn version_0_1_0() {
    let mut daemon = Daemon::prepared(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let written = workspace().join("tests/data/0.1.0");
    copy_private(&written.join("data"), &daemon.data_dir());
    copy_private(&written.join("keys"), &daemon.key_dir());
    // Nothing derived was kept, so the view is made anew, and said to be.
    daemon.restart();
    let admin = daemon.admin();
    let kept = admin.value("/models/team%2Fkept@prod");
    assert_eq!(kept["tags"], json!({"team": "nlp"}));
    assert_eq!(kept["selected"]["version"], 2);
    assert_eq!(kept["versions"], 2);
    let first = admin.value("/models/team%2Fkept/versions/1");
    assert_eq!((&first["state"], &first["state_reason"]), (&json!("quarantined"), &json!("kept for later")));
    assert_eq!(first["metadata"]["accuracy"], json!({"value": 0.93, "origin": "claimed"}));
    let history = admin.value("/models/team%2Fkept/aliases/prod/history");
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    assert_eq!(admin.value("/models?state=deleted")["items"][0]["name"], "gone");
    assert_eq!(admin.value("/users/vera")["role"], "viewer");
    let octets = admin.get("/models/team%2Fkept/download").expect(200);
    let digest = kept["selected"]["artifacts"][0]["digest"].as_str().unwrap();
    assert_eq!(octets.need("etag"), format!("\"{digest}\""));

    // It was never inspected with rules that were kept: that comes behind the scenes, and is shown from then on.
    assert_eq!((&first["inspection"], &kept["selected"]["inspection"]), (&Value::Null, &Value::Null));
    let stale = admin.value("/status")["rescan"]["stale"].as_u64().unwrap();
    assert!(stale >= 2);
    daemon.stop();
    daemon.set("MREG_RESCAN_BYTES_PER_SECOND", "1 GiB");
    daemon.restart();
    let admin = daemon.admin();
    wait::until_true("all are inspected", || admin.value("/status")["rescan"]["stale"] == 0);
    let first = admin.value("/models/team%2Fkept/versions/1");
    assert_eq!((&first["state"], &first["state_reason"]), (&json!("quarantined"), &json!("kept for later")));
    assert_eq!(first["inspection"]["ruleset"], admin.value("/version")["ruleset"]);
    assert_eq!(first["metadata"]["accuracy"], json!({"value": 0.93, "origin": "claimed"}));
}
