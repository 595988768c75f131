//! kill -9 while files are taken in, at any moment and while it starts: in the end the files that were dropped, the versions,
//! the receipts and the log agree, each once. What is compared is read from disk and from the log by code that is not the
//! daemon's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::audit::Receipt;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use tests::daemon::variable;
use tests::drop::{DropFolder, fill, tree};
use tests::oracle::{self, Log};
use tests::samples::{self, sha256};

/// Kills of the short form.
const KILLS: u32 = 6;
/// Kills of the long form, unless `MREG_DROP_KILLS` says another number.
const KILLS_LONG: u32 = 300;
/// How long all that was dropped may take in the end, without kills.
const END: Duration = Duration::from_secs(300);

/// Something that was dropped.
#[derive(Debug, Clone)]
struct Dropped {
    /// Its path below `incoming/`.
    path: String,
    /// The inode it has, wherever it goes.
    inode: u64,
    /// Path in the version and SHA-256 of each file; none if it must be refused.
    files: Option<BTreeMap<String, String>>,
}

/// The next of a sequence that is random enough to hit any step.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Drops one thing after another until told to stop: files by rename and in place, of a model each and of a few models
/// together, small and large, with sidecars and without, folders, files in a namespace, the same name again, and what must be
/// refused. Nothing that lies there is ever overwritten.
struct Feeder<'f> {
    folder: &'f Paths,
    dropped: &'f Mutex<Vec<Dropped>>,
}

/// Where things are brought to, apart from the daemon that is started and killed meanwhile.
struct Paths {
    incoming: PathBuf,
    outside: PathBuf,
}

impl Feeder<'_> {
    fn drop_one(&self, at: u32) {
        let octets = if at.is_multiple_of(10) {
            samples::large_safetensors(1_500_000, (at / 10 % 250) as u8)
        } else {
            Vec::new()
        };
        // A seed is never used twice, so that all bytes differ.
        let octets = [samples::safetensors(at), octets].concat();
        let small = samples::safetensors(at);
        match at % 12 {
            0 | 1 => self.place(&format!("own{at}.safetensors"), &small),
            2 => self.write(&format!("copied{at}.safetensors"), &small),
            3 => {
                let name = format!("shared{at}.safetensors");
                let sidecar = format!(r#"{{"name": "shared-{}", "description": "{at}"}}"#, at / 12 % 3);
                fs::write(self.folder.incoming.join(format!("{name}.mreg.json")), sidecar).unwrap();
                self.place(&name, &small);
            }
            4 => {
                let files = ["a.safetensors", "sub/b.safetensors", "sub/c.json"];
                let contents =
                    [small.clone(), samples::safetensors(at + 500_000), format!("{{\"at\":{at}}}").into_bytes()];
                let made = self.folder.outside.join(format!("folder{at}"));
                let pairs: Vec<(&str, &[u8])> = files.iter().copied().zip(contents.iter().map(Vec::as_slice)).collect();
                fill(&made, &pairs);
                fs::write(made.join(".mreg-complete"), "").unwrap();
                let files = files.iter().zip(&contents).map(|(path, octets)| ((*path).to_owned(), sha256(octets)));
                self.bring(made, &format!("folder{at}"), Some(files.collect()));
            }
            5 => self.place(&format!("team/in{at}.safetensors"), &small),
            6 => self.write(&format!("team/copied{at}.safetensors"), &small),
            // Refused if the one before it is still there.
            7 => self.place("again.safetensors", &small),
            8 => {
                let link = self.folder.outside.join(format!("link{at}"));
                symlink("/etc/passwd", &link).unwrap();
                self.bring(link, &format!("link{at}.safetensors"), None);
            }
            9 => {
                let name = format!("wrong{at}.safetensors");
                fs::write(self.folder.incoming.join(format!("{name}.mreg.json")), "{\"no\": 1}").unwrap();
                let made = self.folder.outside.join(&name);
                fs::write(&made, &small).unwrap();
                self.bring(made, &name, None);
            }
            10 => self.place(&format!("large{at}.bin"), &octets),
            _ => self.write(&format!("pickle{at}.pkl"), &[samples::harmless_pickle(1), small].concat()),
        }
    }

    /// Writes elsewhere and renames in.
    fn place(&self, path: &str, octets: &[u8]) {
        let made = self.folder.outside.join(path.replace('/', "-"));
        fs::write(&made, octets).unwrap();
        let name = path.rsplit('/').next().unwrap().to_owned();
        self.bring(made, path, Some([(name, sha256(octets))].into()));
    }

    /// Writes where it is to be.
    fn write(&self, path: &str, octets: &[u8]) {
        let mut file = fs::File::create_new(self.folder.incoming.join(path)).unwrap();
        let inode = file.metadata().unwrap().ino();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let files = Some([(name, sha256(octets))].into());
        self.dropped.lock().unwrap().push(Dropped { path: path.to_owned(), inode, files });
        for part in octets.chunks(octets.len().div_ceil(3)) {
            std::io::Write::write_all(&mut file, part).unwrap();
        }
    }

    /// Renames in, unless something of that name is there.
    fn bring(&self, made: PathBuf, path: &str, files: Option<BTreeMap<String, String>>) {
        let inode = fs::symlink_metadata(&made).unwrap().ino();
        let to = self.folder.incoming.join(path);
        if renameat_with(CWD, &made, CWD, to, RenameFlags::NOREPLACE).is_ok() {
            self.dropped.lock().unwrap().push(Dropped { path: path.to_owned(), inode, files });
        } else if made.is_dir() {
            fs::remove_dir_all(made).unwrap();
        } else {
            fs::remove_file(made).unwrap();
        }
    }
}

/// Compares what was dropped with the log and with the lanes.
fn agree(folder: &DropFolder, log: &Log, dropped: &[Dropped]) {
    let blobs = oracle::blobs(&folder.daemon.data_dir());
    // What the log says of items that it decided.
    let mut decided: BTreeMap<(String, u64), Vec<&Value>> = BTreeMap::new();
    let is_version = |entry: &Value| entry["action"] == "model.upload" && entry["outcome"] == "ok";
    let mut rejected: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for entry in &log.entries {
        if entry["data"]["drop"].is_object() && is_version(entry) {
            let item = &entry["data"]["drop"];
            let key = (item["path"].as_str().unwrap().to_owned(), item["inode"].as_u64().unwrap());
            decided.entry(key).or_default().push(entry);
        } else if entry["action"] == "ingest.reject" {
            // It has no inode: what is refused here has names of its own.
            rejected.entry(entry["data"]["path"].as_str().unwrap().to_owned()).or_default().push(entry);
        }
    }
    // What the lanes hold: receipts and documents by item id, everything else by inode.
    let (mut papers, mut things): (BTreeMap<String, Value>, BTreeMap<u64, PathBuf>) = Default::default();
    for lane in ["done", "rejected"] {
        for path in tree(&folder.dir().join(lane)) {
            let path = folder.dir().join(lane).join(path);
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".receipt.json") || name.ends_with(".rejected.json") {
                let paper: Value = serde_json::from_slice(&fs::read(&path).unwrap())
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let item = paper["item"].as_str().unwrap().to_owned();
                assert!(papers.insert(item, paper).is_none(), "two papers of one item: {}", path.display());
            } else {
                things.insert(fs::symlink_metadata(&path).unwrap().ino(), path);
            }
        }
    }
    let mut versions = BTreeSet::new();
    for Dropped { path, inode, files } in dropped {
        let mut entries = decided.remove(&(path.clone(), *inode)).unwrap_or_default();
        entries.extend(rejected.remove(path).unwrap_or_default());
        let [entry] = entries.as_slice() else { panic!("{path}: {} decisions: {entries:#?}", entries.len()) };
        let index = entry["seq"].as_u64().unwrap();
        let item = if files.is_some() { &entry["data"]["drop"]["item"] } else { &entry["target"]["id"] };
        let item = item.as_str().unwrap_or_else(|| panic!("{path}: {entry}"));
        let paper = papers.remove(item).unwrap_or_else(|| panic!("{path}: no paper; {entry}"));
        assert_eq!(paper["path"], path.as_str());
        assert_eq!(paper["log_index"], index, "{path}");
        let receipt: Receipt = serde_json::from_value(paper["receipt"].clone()).unwrap();
        let leaf = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &receipt.leaf).unwrap();
        assert_eq!(leaf, log.leaves[usize::try_from(index).unwrap()], "{path}: the receipt is of another entry");
        receipt.verify(&[folder.daemon.ledger().vkey()]).unwrap_or_else(|error| panic!("{path}: {error}"));
        let lies = things.remove(inode).unwrap_or_else(|| panic!("{path} is neither in done/ nor in rejected/"));
        let lane = lies.strip_prefix(folder.dir()).unwrap().iter().next().unwrap();
        match files {
            None => {
                assert_eq!((&entry["action"], lane.to_str()), (&"ingest.reject".into(), Some("rejected")), "{path}");
            }
            Some(files) => {
                assert_eq!(
                    (&entry["action"], lane.to_str()),
                    (&"model.upload".into(), Some("done")),
                    "{path}: {entry}"
                );
                let version = (entry["target"]["id"].to_string(), entry["target"]["version"].to_string());
                assert!(versions.insert(version), "{path}: its version is another item's: {entry}");
                let artifacts = paper["version"]["artifacts"].as_array().unwrap().iter();
                let artifacts: BTreeMap<String, String> = artifacts
                    .map(|artifact| {
                        let digest = artifact["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
                        (artifact["path"].as_str().unwrap().to_owned(), digest.to_owned())
                    })
                    .collect();
                assert_eq!(&artifacts, files, "{path}");
                for (file, digest) in files {
                    assert!(blobs.contains(digest), "{path}: {file} has no blob");
                    let kept = if lies.is_dir() { lies.join(file) } else { lies.clone() };
                    assert_eq!(&sha256(&fs::read(kept).unwrap()), digest, "{path}: {file} has changed");
                }
            }
        }
    }
    assert_eq!(decided, BTreeMap::new(), "versions of what was never dropped");
    assert_eq!(rejected, BTreeMap::new(), "refusals of what was never dropped");
    assert_eq!(papers.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "papers of what was never dropped");
    let left = tree(&folder.dir().join("processing"));
    assert!(left.is_empty(), "in processing/: {left:?}");
    let left: Vec<String> = tree(&folder.incoming());
    assert_eq!(left, ["team", "team/.mreg-namespace"], "in incoming/");
}

/// Kills it so often, and compares in the end; the figures.
fn killed(kills: u32) -> String {
    let mut folder = DropFolder::prepared(&[("MREG_DROP_SETTLE", "0.1"), ("MREG_DROP_NAMESPACES", "team")]);
    // After a kill the view may be behind; and refusals are told.
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    let paths = Paths { incoming: folder.incoming(), outside: folder.outside() };
    let (dropped, stop, moments) = (Mutex::new(Vec::new()), AtomicBool::new(false), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let feeder = Feeder { folder: &paths, dropped: &dropped };
            let mut seed = 0x9e37_79b9_7f4a_7c15;
            for at in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                feeder.drop_one(at);
                // No more than it can ever take in between kills.
                let kept_up = moments.load(Ordering::Relaxed) * 40 + 60;
                while dropped.lock().unwrap().len() > kept_up && !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(2));
                }
                std::thread::sleep(Duration::from_micros(random(&mut seed) % 8_000));
            }
        });
        let mut seed = u64::from(std::process::id()) << 20 | 0x2545_f491;
        for kill in 0..kills {
            if kill % 4 == 3 {
                // While it starts.
                let mut starting = folder.daemon.command(&[] as &[&str]);
                let starting = starting.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = starting.spawn().unwrap();
                std::thread::sleep(Duration::from_micros(random(&mut seed) % 400_000));
                child.kill().unwrap();
                child.wait().unwrap();
            } else {
                if kill > 0 {
                    folder.daemon.restart();
                }
                std::thread::sleep(Duration::from_micros(random(&mut seed) % 700_000));
                folder.daemon.kill();
            }
            moments.fetch_add(1, Ordering::Relaxed);
            assert!(!feeding.is_finished(), "the feeder failed");
        }
        stop.store(true, Ordering::Relaxed);
        feeding.join().unwrap();
    });
    let dropped = dropped.into_inner().unwrap();
    let killing = began.elapsed();
    folder.daemon.restart();
    let began = Instant::now();
    let rests =
        |folder: &DropFolder| tree(&folder.dir().join("processing")).is_empty() && tree(&folder.incoming()).len() == 2;
    while !rests(&folder) {
        let items = || folder.items().into_iter().filter(|item| item.log_index.is_none()).collect::<Vec<_>>();
        assert!(
            began.elapsed() < END,
            "it does not come to an end: {:#?} {:?}",
            items(),
            tree(&folder.dir().join("processing"))
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let ending = began.elapsed();
    let log = folder.daemon.log();
    agree(&folder, &log, &dropped);
    // What it shows is what the log says.
    folder.daemon.restart();
    let versions = dropped.iter().filter(|dropped| dropped.files.is_some()).count();
    assert_eq!(
        folder.admin().value("/status")["store"]["versions"].as_u64().unwrap_or(versions as u64),
        versions as u64
    );
    format!(
        "{kills} kills in {:.0} s, {} dropped, {versions} versions, {} refused, the rest taken in {:.1} s: all agree",
        killing.as_secs_f64(),
        dropped.len(),
        dropped.len() - versions,
        ending.as_secs_f64()
    )
}

/// Killed a few times while it takes files in, all comes to agree.
#[test]
fn a_few_times() {
    println!("{}", killed(KILLS));
}

/// The same for as long as one likes: `MREG_DROP_KILLS=300 cargo test -p tests -- --ignored --nocapture killed::again_and_again`.
#[test]
#[ignore = "takes many minutes"]
fn again_and_again() {
    let kills = variable("MREG_DROP_KILLS").and_then(|kills| kills.parse().ok()).unwrap_or(KILLS_LONG);
    println!("{}", killed(kills));
}
