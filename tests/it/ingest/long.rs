//! What takes minutes: a file of gigabytes that comes slowly over the network.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use common::api::IngestState;
use sha2::{Digest as _, Sha256};
use tests::daemon::variable;
use tests::drop::{DropFolder, Sshd};
use tests::samples;

fn number(name: &str, default: u64) -> u64 {
    variable(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Writes a safetensors file of so many octets; its digest.
fn make(path: &Path, octets: u64) -> String {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let mut file = fs::File::create(path).unwrap();
    let mut digest = Sha256::new();
    let mut write = |octets: &[u8]| {
        digest.update(octets);
        file.write_all(octets).unwrap();
    };
    write(&u64::try_from(header.len()).unwrap().to_le_bytes());
    write(header.as_bytes());
    let mut block = samples::large_safetensors(1 << 20, 3);
    block.truncate(1 << 20);
    let mut left = octets;
    for at in 0_u64.. {
        if left == 0 {
            break;
        }
        // No two blocks alike.
        block[..8].copy_from_slice(&at.to_le_bytes());
        let octets = usize::try_from(left.min(block.len() as u64)).unwrap();
        write(&block[..octets]);
        left -= octets as u64;
    }
    hex::encode(digest.finalize())
}

fn digest_of(path: &Path) -> String {
    let (mut file, mut digest, mut block) = (fs::File::open(path).unwrap(), Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block).unwrap() {
            0 => return hex::encode(digest.finalize()),
            octets => digest.update(&block[..octets]),
        }
    }
}

/// A large file that scp brings slowly through a real sshd is taken in only when it is whole, and small ones pass it:
/// `MREG_DROP_LONG_BYTES` (4 GiB) in `MREG_DROP_LONG_SECONDS` (300).
#[test]
#[ignore = "takes many minutes and 12 GiB of disk"]
fn slowly_by_scp() {
    let (octets, seconds) = (number("MREG_DROP_LONG_BYTES", 4 << 30), number("MREG_DROP_LONG_SECONDS", 300));
    let Some(sshd) = Sshd::start() else { return };
    let folder = DropFolder::with(&[("MREG_MAX_UPLOAD_BYTES", "16 GiB"), ("MREG_DROP_SETTLE", "2")]);
    let source = folder.outside().join("source");
    let digest = make(&source, octets);
    let path = folder.incoming().join("huge.safetensors");
    let began = Instant::now();
    let kilobits = (octets * 8 / 1000 / seconds).max(1);
    let mut command = sshd.client("scp");
    let mut copying = command.args(["-l", &kilobits.to_string()]).arg(&source).arg(sshd.remote(&path)).spawn().unwrap();
    let (mut looks, mut small) = (0, 0);
    let whole = fs::metadata(&source).unwrap().len();
    while copying.try_wait().unwrap().is_none() {
        if let Some(item) = folder.item("huge.safetensors") {
            let written = fs::metadata(&path).map_or(whole, |metadata| metadata.len());
            assert!(
                matches!(item.state.known(), Some(IngestState::Seen | IngestState::Waiting)) || written == whole,
                "{item:?} with {written} of {whole} octets"
            );
            looks += 1;
        }
        if looks % 20 == 1 {
            let name = format!("small{small}.safetensors");
            folder.copy(&name, &samples::safetensors(small));
            folder.arrives(&name);
            small += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let copied = Instant::now();
    assert!(copying.wait().unwrap().success());
    let version = loop {
        let item = folder.item("huge.safetensors").expect("it is on the list");
        match item.state.known() {
            Some(IngestState::Done | IngestState::Quarantined) => break item,
            Some(IngestState::Rejected | IngestState::Failed) => panic!("{item:#?}"),
            _ => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    };
    let shown = version.digest.expect("a single file has a digest").to_string();
    assert_eq!(shown, format!("sha256:{digest}"));
    assert_eq!(digest_of(&folder.dir().join(&version.place)), digest);
    let versions = folder.admin().value("/models/huge/versions")["items"].as_array().unwrap().len();
    assert_eq!(versions, 1);
    println!(
        "{octets} octets by scp in {:.0} s, looked at {looks} times, {small} small files passed it; whole and available {:.1} s \
         after the copy ended",
        (copied - began).as_secs_f64(),
        copied.elapsed().as_secs_f64()
    );
}
