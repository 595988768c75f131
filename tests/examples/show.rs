//! Starts the real `mregd` on a directory with a registry to look at, and loads it until it is interrupted:
//!
//! ```text
//! cargo run -p tests --example show -- DIR --models 1000 --rate 100
//! ```
//!
//! Ten people of all roles, models, versions in quarantine, a drop folder with something in each state, and so many entries
//! a second. It says where it listens and who can sign in. Started again on the same directory it goes on with what is
//! there. `MREGD_BIN` names the daemon; without it, one is built.

#![allow(clippy::print_stdout, reason = "what it says is its result")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::show::{Acts, Load, PEOPLE, dropped, held, models, people};

/// A registry to look at.
#[derive(Debug, Parser)]
struct Options {
    /// The directory; `data`, `keys` and `drop` are made below it.
    dir: PathBuf,
    /// Models.
    #[arg(long, default_value_t = 1_000)]
    models: u64,
    /// Entries a second; 0 for none.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Ends after so many seconds; without it, when it is interrupted.
    #[arg(long)]
    seconds: Option<u64>,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8000")]
    bind: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { dir, models: count, rate, seconds, bind } = Options::parse();
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let is_new = !dir.join("data").exists();
    let path = |name: &str| dir.join(name).display().to_string();
    let mut daemon = Daemon::prepared(&[
        ("MREG_DATA_DIR", &path("data")),
        ("MREG_KEY_DIR", &path("keys")),
        ("MREG_DROP_DIR", &path("drop")),
        ("MREG_BIND", &bind),
    ]);
    // What is held and refused is said as warnings, which is what this is for.
    daemon.expect_line(r#""level":"WARN""#);
    daemon.restart();
    println!("http://{}   process {}", daemon.address(), daemon.pid().as_raw_nonzero());
    println!("log key  {}", daemon.ledger().vkey());
    println!("{ADMIN:8} admin        {ADMIN_PASSWORD}");
    for (name, role) in PEOPLE {
        println!("{name:8} {:12} {}", role.as_str(), Daemon::password_of(name));
    }
    let people = people(&daemon);
    let mut written = None;
    if is_new {
        let began = Instant::now();
        models(&people, count);
        held(&people);
        written = Some(dropped(&dir.join("drop"))?);
        println!("{count} models, and what is held and dropped, in {:.1} s", began.elapsed().as_secs_f64());
    }
    let began = Instant::now();
    let over = || seconds.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds));
    let load = (rate > 0).then(|| Load::start(daemon.address(), Acts::of(&people), rate, u64::MAX));
    while !over() {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(load) = &load
            && began.elapsed().as_secs().is_multiple_of(60)
        {
            println!("{} entries in {} s", load.made(), began.elapsed().as_secs());
        }
    }
    let made = load.map_or(0, Load::stop);
    println!("{made} entries in {:.0} s", began.elapsed().as_secs_f64());
    drop(written);
    Ok(())
}
