//! A file system that is soon full: a tmpfs, where mounting one is permitted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is said where it can't be had.
pub const UNMOUNTED: &str = "SKIPPED: mounting a tmpfs isn't permitted here, so a full disk was NOT tested";

/// A small file system in memory; gone with this.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting isn't permitted.
    pub fn mount(at: &Path, octets: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={octets},mode=0700"), "mreg-test"]).arg(at);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            // The daemon's directory could not be removed around it.
            let is_ours = |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mreg-"));
            let _left = self.0.ancestors().find(is_ours).map(fs::remove_dir_all);
        }
    }
}
