//! `mregd log accept-rollback`: shows what was lost, asks, and goes on under a new name. Only on the stopped registry. Knows
//! the person at the terminal; refuses to know how it is done.

use std::fmt::Write as _;
use std::io::{self, BufRead as _};

use common::audit::Hash;

use crate::cli::{self, AcceptRollbackOptions, Exit};
use crate::commands::way::operator_data;
use crate::commands::{Failed, runtime, say};
use crate::config::Config;
use crate::store::Store as _;
use crate::store::sled::{Acceptance, LostHead, RolledBack};

/// Octets of the longest reason.
const REASON_OCTETS_MAX: usize = 1000;

pub(super) fn accept_rollback(config: &Config, options: &AcceptRollbackOptions) -> Result<(), Failed> {
    let reason = options.reason.trim();
    if reason.is_empty() || reason.len() > REASON_OCTETS_MAX {
        return Err(Failed::new(Exit::Usage, format_args!("--reason must have 1 to {REASON_OCTETS_MAX} octets")));
    }
    let store_options = crate::store_options(config);
    let rolled_back = RolledBack::open(&store_options)?;
    cli::err(&what_it_means(&rolled_back));
    if !rolled_back.is_signed_by_our_keys()? {
        cli::err(
            "None of the keys that are there ever signed this data: it is from before the last rotation of keys, or it is\n\
             another registry's. Make sure of it before you go on.\n",
        );
    }
    if !options.yes {
        confirm(&rolled_back.new_origin())?;
    }
    let acceptance = Acceptance { reason: reason.to_owned(), operator: operator_data() };
    let store = rolled_back.accept(acceptance)?;
    let identity = store.identity();
    runtime()?.block_on(store.close());
    say(&format!(
        "log:     {}\nlog key: {}\nGive the key to everybody who verifies the log, and tell them its new name and what was lost.\n{}",
        identity.origin,
        identity.vkey,
        super::WITNESSES
    ))
}

fn what_it_means(rolled_back: &RolledBack) -> String {
    let here = rolled_back.here();
    let dir = rolled_back.data_dir().display();
    let mut text = match rolled_back.restored() {
        Some(restored) => format!(
            "The data in {dir} was restored from the backup {}, made at {}.\nNothing tells what was signed after that.\n\n",
            restored.generation, restored.made_at
        ),
        None => format!("The data in {dir} is older than what was signed, or other data.\n\n"),
    };
    let mut fact = |name: &str, origin: &str, size: u64, root: &str| {
        let _ = writeln!(text, "  {name:<16} {size:>12} entries  root {root}  {origin}");
    };
    fact("here", &here.origin, here.size, &Hash(here.root).to_string());
    for LostHead { what, head, here } in rolled_back.lost() {
        fact(what, &head.origin, head.size, &head.root.to_string());
        if let Some(root) = here {
            fact("as many here", "", head.size, &root.to_string());
        }
    }
    let _ = write!(
        text,
        "\nWhat was recorded beyond is lost: models, users and entries that were acknowledged. Receipts and checkpoints of it\n\
         are still good, and prove to whoever holds one that it was lost. If the newer data exists anywhere, restore it and\n\
         don't go on here: the keys of the old name are destroyed, and the newer data could not be carried on.\n\n\
         The log goes on as {:?}, with a new key; this is recorded in it for ever, with your reason.\n",
        rolled_back.new_origin()
    );
    text
}

/// Asks for the new name, which nobody types by accident.
fn confirm(name: &str) -> Result<(), Failed> {
    cli::err(&format!("Type {name} to go on:"));
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failed::new(Exit::Io, format_args!("standard input can't be read: {error}")))?;
    if line.trim() == name {
        Ok(())
    } else {
        Err(Failed::new(Exit::Usage, "not confirmed; nothing was changed. --yes goes on without asking"))
    }
}
