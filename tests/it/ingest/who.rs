//! Who acts for a file, what that one may, and what the same bytes, many versions and dangerous contents come to: the same
//! as for an upload.

use std::fs;
use std::os::unix::fs::chown;

use common::api::IngestState;
use common::role::Role;
use serde_json::json;
use tests::drop::{DropFolder, fill, is_root};
use tests::samples::{self, sha256};

const CARL: u32 = 4301;
const VERA: u32 = 4302;
const GONE: u32 = 4303;
const NOBODY: u32 = 4304;
/// The beginning of a program, and nothing behind it that could run.
const ELF: &[u8] = b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00\x01\x00\x00\x00";

/// The owner of a file acts for it with that user's rights: a contributor publishes, a viewer and a disabled user are
/// refused with the reason, and for everybody else there is the watcher.
#[test]
fn the_owner_acts() {
    if !is_root() {
        return println!("SKIPPED: only root may give files away, so owners were NOT tested");
    }
    let users = format!("{CARL}=carl,{VERA}=vera,{GONE}=gone,4305=never-there");
    let folder = DropFolder::with(&[("MREG_DROP_USERS", &users)]);
    let _carl = folder.daemon.user("carl", Role::Contributor);
    let _vera = folder.daemon.user("vera", Role::Viewer);
    let _gone = folder.daemon.user("gone", Role::Contributor);
    folder.admin().patch("/users/gone", &json!({"disabled": true})).expect(200);
    for (name, uid) in [("carl", CARL), ("vera", VERA), ("gone", GONE), ("anyone", NOBODY), ("never", 4305)] {
        let path = folder.outside().join(name);
        fs::write(&path, samples::safetensors(uid)).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        fs::rename(path, folder.incoming().join(format!("of-{name}.safetensors"))).unwrap();
    }
    let arrived = folder.arrives("of-carl.safetensors");
    assert_eq!((arrived.by(), &arrived.entry["actor"]["name"]), ("carl", &json!("carl")));
    assert_eq!(arrived.entry["actor"]["role"], "contributor");
    assert_eq!(arrived.entry["data"]["drop"]["owner_uid"], CARL);
    let arrived = folder.arrives("of-anyone.safetensors");
    assert_eq!((arrived.by(), &arrived.entry["actor"]["id"]), ("watcher", &json!("watcher")));
    let refused = folder.is_refused("of-vera.safetensors");
    assert_eq!(refused.problem(), "forbidden");
    assert!(
        refused.says("contributor") || refused.says("model.upload") || refused.says("role"),
        "{}",
        refused.document
    );
    for name in ["gone", "never"] {
        let refused = folder.is_refused(&format!("of-{name}.safetensors"));
        assert!(refused.says(name), "{}", refused.document);
    }
    assert_eq!(folder.admin().value("/models")["total"], 2);
    let item = folder.reaches("of-vera.safetensors", IngestState::Rejected);
    assert_eq!((item.owner_uid, item.by.as_deref()), (VERA, Some("vera")));
    assert_eq!(item.problem.as_deref(), Some("/problems/forbidden"));
}

/// All that is in a folder must belong to one user: nobody adds to another's version.
#[test]
fn a_folder_of_two_owners() {
    if !is_root() {
        return println!("SKIPPED: only root may give files away, so a folder of two owners was NOT tested");
    }
    let folder = DropFolder::start();
    let made = folder.outside().join("mixed");
    fill(&made, &[("a.safetensors", &samples::safetensors(1)), ("b.safetensors", &samples::safetensors(2))]);
    chown(made.join("b.safetensors"), Some(CARL), None).unwrap();
    fs::rename(made, folder.incoming().join("mixed")).unwrap();
    let refused = folder.is_refused("mixed");
    assert!(refused.says("owner") && refused.says("b.safetensors"), "{}", refused.document);
}

/// The watcher has the role it is given, and none if it is given none.
#[test]
fn the_watchers_role() {
    for (role, problem) in [("viewer", Some("forbidden")), ("none", Some("forbidden")), ("contributor", None)] {
        let mut folder = DropFolder::with(&[("MREG_DROP_ROLE", role)]);
        folder.daemon.expect_line("MREG_DROP_ROLE lets nobody publish");
        folder.copy("m.safetensors", &samples::safetensors(1));
        match problem {
            Some(problem) => {
                let refused = folder.is_refused("m.safetensors");
                assert_eq!(refused.problem(), problem, "{role}: {}", refused.document);
                assert_eq!(folder.admin().value("/models")["total"], 0);
            }
            None => assert_eq!(folder.arrives("m.safetensors").version(), "m:1"),
        }
    }
}

/// What inspection holds in quarantine is a version in quarantine, and says so: a receipt, a state, no download.
#[test]
fn quarantine() {
    let folder = DropFolder::start();
    folder.copy("hostile.pkl", &samples::hostile_pickle());
    folder.copy("harmless.pkl", &samples::harmless_pickle(1));
    let arrived = folder.arrives("hostile.pkl");
    assert_eq!(arrived.receipt.version.state, common::api::State::Quarantined);
    assert!(!arrived.receipt.version.findings.is_empty());
    let item = folder.reaches("hostile.pkl", IngestState::Quarantined);
    assert_eq!(item.version.map(|version| version.to_string()).as_deref(), Some("1"));
    folder.admin().get("/models/hostile/download").problem("model-quarantined");
    folder.arrives("harmless.pkl");
    folder.reaches("harmless.pkl", IngestState::Done);
}

/// With the policy that refuses what is malicious, it is refused here too, with what was found.
#[test]
fn malicious_is_refused() {
    let folder = DropFolder::with(&[("MREG_SCAN_POLICY", "refuse-malicious")]);
    folder.copy("lib.so", ELF);
    let refused = folder.is_refused("lib.so");
    assert_eq!(refused.problem(), "malicious-content");
    assert!(!refused.document["findings"].as_array().unwrap().is_empty(), "{}", refused.document);
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// The same bytes as the newest version are that version again: each drop has its receipt, and there is one version.
#[test]
fn the_same_bytes_again() {
    let folder = DropFolder::start();
    let file = samples::safetensors(1);
    folder.admin().upload("m", "m.safetensors", &file);
    folder.copy("m.safetensors", &file);
    let arrived = folder.arrives("m.safetensors");
    assert_eq!((arrived.version().as_str(), arrived.receipt.already_present), ("m:1", true));
    assert_eq!(folder.admin().value("/models/m/versions")["items"].as_array().unwrap().len(), 1);
    // The bytes of another model are stored once and are a version of this one all the same.
    folder.copy("n.safetensors", &file);
    let arrived = folder.arrives("n.safetensors");
    assert_eq!((arrived.version().as_str(), arrived.receipt.already_present), ("n:1", false));
}

/// Files of one model become versions in the order in which they came, large before small too.
#[test]
fn the_order_of_one_model() {
    let folder = DropFolder::with(&[("MREG_DROP_PARALLEL", "8")]);
    // Another suffix each, so that all lie there at once; the first are the largest.
    let suffixes = ["safetensors", "gguf", "onnx", "bin", "pt", "h5"];
    let files: Vec<Vec<u8>> = (1_u8..)
        .zip(suffixes)
        .map(|(seed, _)| samples::large_safetensors(2_000_000 / usize::from(seed).pow(3), seed))
        .collect();
    for (suffix, file) in suffixes.iter().zip(&files) {
        let name = format!("m.{suffix}");
        folder.place(&name, file);
        // The order of taking is what counts, and two that come at once may be taken in any.
        tests::wait::until_true("it to be taken", || !folder.incoming().join(&name).exists());
    }
    for (number, (suffix, file)) in (1..).zip(suffixes.iter().zip(&files)) {
        let arrived = folder.arrives(&format!("m.{suffix}"));
        assert_eq!((arrived.version(), arrived.digest()), (format!("m:{number}"), sha256(file)));
    }
}

/// A file larger than may be uploaded is refused as too large, whoever drops it.
#[test]
fn too_large() {
    let folder = DropFolder::with(&[("MREG_MAX_UPLOAD_BYTES", "100 KiB")]);
    folder.copy("large.safetensors", &samples::large_safetensors(200_000, 1));
    folder.copy("small.safetensors", &samples::large_safetensors(50_000, 1));
    folder.arrives("small.safetensors");
    let refused = folder.is_refused("large.safetensors");
    assert_eq!(refused.problem(), "content-too-large");
    assert_eq!(tests::oracle::staged(&folder.daemon.data_dir()), 0);
}

/// A small file is not held up by large ones, however few places there are.
#[test]
fn small_beside_large() {
    let folder = DropFolder::with(&[("MREG_DROP_PARALLEL", "2")]);
    // Sparse: quickly made, and read like any other.
    for at in 0..3 {
        let path = folder.outside().join(format!("large-{at}.bin"));
        fs::File::create(&path).unwrap().set_len(300 << 20).unwrap();
        fs::rename(path, folder.incoming().join(format!("large-{at}.bin"))).unwrap();
    }
    tests::wait::until_true("a large one to be under way", || {
        folder.items().iter().any(|item| item.state == IngestState::Hashing && item.bytes_done > 0)
    });
    folder.copy("small.safetensors", &samples::safetensors(1));
    folder.arrives("small.safetensors");
    let open = folder.items().iter().filter(|item| item.path.starts_with("large") && item.log_index.is_none()).count();
    assert!(open > 0, "all the large ones were done before it: this shows nothing");
    // What is left is put off to a start that does not come.
    folder.shell("rm -f $IN/large*");
}
