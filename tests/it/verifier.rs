//! The oracle itself: it notices every kind of damage, so that its silence means something.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::role::Role;
use tests::daemon::Daemon;
use tests::{oracle, samples};

fn journal(data: &Path) -> PathBuf {
    data.join(format!("log/journal-{:020}.log", 0))
}

fn is_noticed(data: &Path) -> bool {
    catch_unwind(AssertUnwindSafe(|| oracle::read(data))).is_err()
}

/// A flipped octet anywhere in the journal, a cut log, another checkpoint, a changed blob: none goes unseen.
#[test]
fn notices_damage() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let log = daemon.log();
    let data = daemon.data_dir();
    let whole = fs::read(journal(&data)).unwrap();
    let used = whole.iter().rposition(|octet| *octet != 0).unwrap() + 1;
    for at in (0..used).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(journal(&data), &changed).unwrap();
        assert!(is_noticed(&data), "octet {at} was flipped");
    }
    // The last batch gone as if it had never been.
    let marker = &whole[8..16];
    let last = whole[..used].windows(8).rposition(|octets| octets == marker).unwrap();
    let mut cut = whole.clone();
    cut[last..].fill(0);
    fs::write(journal(&data), &cut).unwrap();
    assert!(is_noticed(&data), "the last batch is gone");
    fs::write(journal(&data), &whole).unwrap();

    let checkpoint = data.join("log/checkpoint");
    let note = oracle::checkpoint(&data);
    let size = log.entries.len();
    for forged in [
        note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1),
        note.replace(&STANDARD.encode(oracle::root(&log.hashes)), &STANDARD.encode([7; 32])),
        note[..note.len() - 8].to_owned() + "AAAAAA=\n",
    ] {
        assert_ne!(forged, note);
        fs::write(&checkpoint, &forged).unwrap();
        assert!(is_noticed(&data), "the checkpoint was forged: {forged}");
    }
    fs::write(&checkpoint, &note).unwrap();
    assert!(!is_noticed(&data), "all is as it was");

    let missing = u64::try_from(size).unwrap();
    let hash = STANDARD.encode(log.hashes[0]);
    assert!(catch_unwind(|| log.has(missing, &hash)).is_err(), "an entry that isn't there");
    assert!(catch_unwind(|| log.has(1, &hash)).is_err(), "another entry");

    let hex = samples::sha256(&samples::safetensors(1));
    let blob = data.join("blobs/sha256").join(&hex[..2]).join(&hex[2..]);
    let octets = fs::read(&blob).unwrap();
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"something else").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| oracle::blobs(&data))).is_err(), "a blob was changed");
    fs::write(&blob, octets).unwrap();
}
