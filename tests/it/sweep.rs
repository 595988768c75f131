//! Many models changed at once on a disk that fills meanwhile: what was done is told as done, each other as refused with the
//! reason, and done when there is room again; by `do` and in the console.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::pty::Setup;
use tests::small_disk::{SmallDisk, UNMOUNTED};

use crate::cli::{Shell, documents};

/// Models that are changed: their entries take more than what is left free.
const MODELS: u64 = 300;
/// Below so much free the log takes what is urgent alone, on a disk of this size.
const LEAST: u64 = 8 << 20;
/// Fills the disk until so much is free.
fn fill(dir: &Path, left: u64) -> PathBuf {
    let filler = dir.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let disk = rustix::fs::statvfs(dir).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    let octets = free.checked_sub(left).unwrap();
    file.write_all(&vec![7; usize::try_from(octets).unwrap()]).unwrap();
    filler
}

fn available(admin: &Client) -> u64 {
    admin.value("/models?q=old/&limit=1000")["items"].as_array().unwrap().len() as u64
}

fn delete_all(admin: &Client) {
    let told = admin.delete(&format!("/models?q=old/&expected={MODELS}")).expect(200).text();
    assert_eq!(documents(&told).last().unwrap()["total"]["done"], MODELS);
}

#[test]
fn on_a_disk_that_fills() {
    let mut daemon = Daemon::prepared(&[]);
    let Some(_disk) = SmallDisk::mount(&daemon.data_dir(), "64m") else {
        println!("{UNMOUNTED}");
        return;
    };
    daemon.restart();
    let admin = daemon.admin();
    for number in 0..MODELS {
        admin.upload(&format!("old/m{number:03}"), "config.json", format!("{{\"n\": {number}}}").as_bytes());
    }
    daemon.expect_line("audited requests are refused until it can");
    let shell = Shell::new(&daemon, &admin);
    // How much is written for each, the store says, and when: with one of these it ends in the middle.
    let (mut filler, mut came, mut told) = (PathBuf::new(), json!({}), String::new());
    let is_half = (0..8).any(|power| {
        delete_all(&admin);
        filler = fill(&daemon.data_dir(), LEAST + ((32 << 10) << power));
        let output = shell.run(&format!("do restore --filter old/ --yes {MODELS} --json"));
        told = String::from_utf8(output.stderr).unwrap();
        came = documents(&String::from_utf8(output.stdout).unwrap()).remove(0);
        if came["done"] != 0 && came["failed"] != 0 {
            assert_eq!(output.status.code(), Some(1), "what was refused is known to be: {told}");
            return true;
        }
        fs::remove_file(&filler).unwrap();
        if came["done"] == 0 {
            shell.out(&format!("do restore --filter old/ --yes {MODELS}"));
        }
        false
    });
    assert!(is_half, "{came}");
    let (done, failed) = (came["done"].as_u64().unwrap(), came["failed"].as_u64().unwrap());
    assert_eq!(done + failed, MODELS, "all of them are told: {came}");
    assert_eq!((&came["outcome"], available(&admin)), (&json!("failed"), done));
    let named =
        told.lines().filter(|line| line.starts_with("mreg: old/m") && line.contains("disk full: ")).count() as u64;
    assert_eq!(named, failed, "{told}");
    assert!(told.contains(&format!("{failed} changes refused")), "{told}");

    // With room again the same goes on with what is left.
    fs::remove_file(&filler).unwrap();
    let line = shell.out(&format!("do restore --filter old/ --yes {failed}"));
    assert!(line.starts_with(&format!("{failed} of {failed} restored")), "{line}");
    assert_eq!(available(&admin), MODELS);

    // The console lists what was refused, and tries it again.
    delete_all(&admin);
    let url = format!("http://{}", daemon.address());
    let mut console = Setup::new().size(120, 40).args(&["--url", &url, "--user", ADMIN]).start();
    console.wait_for("Password");
    console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
    console.wait_for("admin admin");
    console.press("/state:deleted old/m0<Enter>");
    console.wait_for("of 100   filter: state:deleted");
    console.press("*");
    console.wait_for("all 100 marked");
    console.press("U");
    console.wait_for("Restore 100 models");
    let filler = fill(&daemon.data_dir(), LEAST / 2);
    console.press("100<Enter>");
    console.wait_for("0 of 100 restored, 100 refused");
    fs::remove_file(&filler).unwrap();
    console.press("J");
    console.wait_for("disk full: ");
    console.press("r");
    console.wait_for("100 of 100 done");
    assert_eq!(available(&admin), 100);
    console.press("<Esc>");
    console.wait_for("nothing matches the filter");
    console.press("<Esc>");
    console.wait_for("filter: none");
    console.quit();
    // It stops before its disk goes.
    drop(daemon);
}
