//! The fuzz targets without a fuzzer: every input that is kept, and a bounded number of damaged ones, the same each time.
//! `fuzz/`, the targets and the corpus are held in step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tests::daemon::workspace;
use tests::fuzz::mutate::{Random, mutated};
use tests::fuzz::{TARGETS, seeds};

/// Damaged inputs a target gets, of all its seeds together.
const MUTATIONS: usize = 3000;

/// Those of a target that inspects, which takes longer.
const MUTATIONS_OF_INSPECTIONS: usize = 500;

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn corpus() -> PathBuf {
    workspace().join("fuzz/corpus")
}

/// The files of a target below `fuzz/corpus` or `fuzz/artifacts`, with their names.
fn inputs(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

/// Each target is a program of cargo-fuzz and has a corpus, and nothing else is or has.
#[test]
fn targets_are_in_step() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _target)| (*name).to_owned()).collect();
    assert_eq!(names(&corpus()), targets, "fuzz/corpus has a directory for each target");
    let programs: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&workspace().join("fuzz/fuzz_targets")), programs);
    let manifest = fs::read_to_string(workspace().join("fuzz/Cargo.toml")).unwrap();
    let built: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    assert_eq!(built, targets, "fuzz/Cargo.toml");
    for name in &targets {
        let program = fs::read_to_string(workspace().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        let called = program.split_once("tests::fuzz::").unwrap().1;
        assert!(called.starts_with(name.as_str()), "{name} calls {called}");
    }
}

/// The seeds are what `seeds` makes; beside them stands what was found.
#[test]
fn seeds_are_in_step() {
    let mut with = BTreeSet::new();
    for (target, name, octets) in seeds::all() {
        let path = corpus().join(target).join(&name);
        assert!(fs::read(&path).is_ok_and(|there| there == octets), "{}: write_seeds makes it anew", path.display());
        assert!(with.insert((target, name.clone())), "{target} has two seeds {name}");
    }
}

/// `cargo test -p tests --test it -- --ignored fuzz::write_seeds`
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_seeds() {
    for (target, name, octets) in seeds::all() {
        let dir = corpus().join(target);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), octets).unwrap();
    }
}

fn replay(name: &str) {
    let (_name, target) = *TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let kept = inputs(&corpus().join(name));
    assert!(!kept.is_empty(), "{name} has no corpus");
    let artifacts = workspace().join("fuzz/artifacts").join(name);
    let found = if artifacts.is_dir() { inputs(&artifacts) } else { Vec::new() };
    // The input of a target that fails is shown.
    let run = |what: &str, octets: &[u8]| {
        if let Err(panic) = std::panic::catch_unwind(|| target(octets)) {
            eprintln!("{name}: {what}: {}", octets.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    };
    for (file, octets) in kept.iter().chain(&found) {
        run(file, octets);
    }
    let mut random = Random::of(name.as_bytes());
    let mutations = if name.starts_with("inspect") { MUTATIONS_OF_INSPECTIONS } else { MUTATIONS };
    for round in 0..mutations {
        let (file, seed) = &kept[round % kept.len()];
        let (_, other) = &kept[random.below(kept.len())];
        run(&format!("{file}, damaged in round {round}"), &mutated(seed, other, &mut random));
    }
}

macro_rules! replays {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        /// Each target is replayed.
        #[test]
        fn all_are_replayed() {
            assert_eq!([$(stringify!($name)),*], TARGETS.map(|(name, _target)| name));
        }
    };
}

replays!(
    certificate,
    checksum,
    consistency,
    drop_name,
    forwarded,
    inspect,
    inspect_compressed,
    inspect_gguf,
    inspect_hdf5,
    inspect_jinja,
    inspect_json,
    inspect_keras,
    inspect_lightgbm,
    inspect_media,
    inspect_msgpack,
    inspect_npy,
    inspect_onnx,
    inspect_pickle,
    inspect_safetensors,
    inspect_saved_model,
    inspect_sentencepiece,
    inspect_tar,
    inspect_text,
    inspect_tflite,
    inspect_ubjson,
    inspect_xml,
    inspect_yaml,
    inspect_zip,
    journal,
    leaf,
    note,
    policy,
    proof,
    record,
    route,
    sidecar,
    sse,
    tile,
    tus,
    witness
);
