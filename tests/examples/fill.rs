//! Fills an empty directory with a registry of a given size and leaves it, for `mregd` to be started on:
//!
//! ```text
//! cargo run --release -p tests --example fill -- DIR --models 1000000 --versions 3000000 --entries 10000000 \
//!     --password-file FILE
//! MREG_DATA_DIR=DIR/data MREG_KEY_DIR=DIR/keys mregd
//! ```
//!
//! The users and their roles are those of `tests/src/fill/made.rs`; all have the password of the file, a line that only its
//! owner may read.

#![allow(clippy::print_stdout, reason = "what it did is its result")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use daemon::config::secret::{Readers, read_secret_file};
use tests::fill::{Size, fill, places};

/// Fills an empty directory with a made-up registry.
#[derive(Debug, Parser)]
struct Options {
    /// The directory; `data` and `keys` are made below it.
    dir: PathBuf,
    /// Models.
    #[arg(long, default_value_t = 1_000)]
    models: u64,
    /// Versions of all of them.
    #[arg(long, default_value_t = 3_000)]
    versions: u64,
    /// Entries of the log.
    #[arg(long, default_value_t = 10_000)]
    entries: u64,
    /// Another seed gives other names, files and readers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file with the users' password.
    #[arg(long)]
    password_file: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { dir, models, versions, entries, seed, password_file } = Options::parse();
    let password = read_secret_file(&password_file, Readers::Owner)?;
    let began = Instant::now();
    let progress = |done: u64, of: u64| {
        let rate = done as f64 / began.elapsed().as_secs_f64();
        println!("{done} of {of} entries, {rate:.0}/s");
    };
    fill(&dir, &Size { models, versions, entries, seed }, password.expose(), &progress)?;
    let (data, keys) = places(&dir);
    println!("{models} models, {versions} versions, {entries} entries in {:.1} s", began.elapsed().as_secs_f64());
    println!("MREG_DATA_DIR={} MREG_KEY_DIR={} mregd", data.display(), keys.display());
    Ok(())
}
