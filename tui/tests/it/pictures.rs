//! Each scene at each of its sizes, compared with the picture of it: `pictures/models/stale.txt` has them one below the other.
//! `MREG_UPDATE_PICTURES=1` draws all anew, and removes what is no picture any more.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::console::{Console, Registry};
use crate::scenes::{Scene, all};
use crate::styles::{self, is_styled};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures")
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the program")]
fn draws_anew() -> bool {
    std::env::var_os("MREG_UPDATE_PICTURES").is_some()
}

/// The file of a scene.
fn name(scene: &Scene) -> String {
    format!("{}/{}.txt", scene.place, scene.state)
}

/// Compares what was drawn with its file.
pub(crate) fn check(name: &str, drawn: &str) {
    let path = folder().join(name);
    if draws_anew() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, drawn).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(drawn == expected, "{name} is not as its picture; MREG_UPDATE_PICTURES=1 accepts this:\n{drawn}");
}

/// Draws one part in so many of all scenes: each part is a test of its own, so that they run beside each other.
fn part(which: usize) {
    for scene in all().iter().skip(which).step_by(PARTS) {
        let mut drawn = String::new();
        for (width, height) in scene.sizes {
            let _ = writeln!(drawn, "==== {width}x{height} ====");
            drawn.push_str(&scene.at(*width, *height).screen());
        }
        check(&name(scene), &drawn);
    }
}

const PARTS: usize = 4;

#[test]
fn scenes_1_of_4() {
    part(0);
}

#[test]
fn scenes_2_of_4() {
    part(1);
}

#[test]
fn scenes_3_of_4() {
    part(2);
}

#[test]
fn scenes_4_of_4() {
    part(3);
}

/// Every file is the picture of a scene, and each scene has one of its own.
#[test]
fn nothing_is_left_behind() {
    let scenes = all();
    let mut drawn: BTreeSet<PathBuf> = scenes.iter().map(|scene| folder().join(name(scene))).collect();
    assert_eq!(drawn.len(), scenes.len(), "two scenes have one name");
    drawn.extend(scenes.iter().filter(|scene| is_styled(scene)).map(|scene| folder().join(styles::name(scene))));
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let files = entries(&folder()).into_iter().flat_map(|path| if path.is_dir() { entries(&path) } else { vec![path] });
    for path in files.filter(|path| !drawn.contains(path)) {
        if draws_anew() {
            std::fs::remove_file(&path).unwrap();
        } else {
            panic!("{} is no picture of any scene", path.display());
        }
    }
}

/// With --ascii nothing of ours and nothing of others is above 0x7f.
#[test]
fn ascii() {
    let mut console = Console::signed_in(100, 30, Registry { hostile: true, ..Registry::default() });
    console.state.settings.ascii = true;
    for keys in ["", "<Enter>", "2", "<Enter>", "?"] {
        console.press(keys).wait(400);
        assert!(console.screen().is_ascii(), "{}", console.screen());
    }
}
