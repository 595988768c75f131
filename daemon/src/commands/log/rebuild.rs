//! `mregd log rebuild`: everything derived, derived again from the journal, and proven equal to a second derivation. Only on
//! the stopped registry. Knows the terminal; refuses to know what is derived.

use std::cell::RefCell;

use crate::commands::check;
use crate::commands::progress::Progress;
use crate::commands::way::operator_data;
use crate::commands::{Failed, runtime, say};
use crate::config::Config;
use crate::store::Store as _;
use crate::store::sled::SledStore;

pub(super) fn rebuild(config: &Config) -> Result<(), Failed> {
    let options = crate::store_options(config);
    let progress = RefCell::new(Progress::new());
    let store =
        SledStore::rebuild(&options, operator_data(), &|done, of| progress.borrow_mut().show("rebuilding", done, of))?;
    let checkpoint = store.checkpoints().borrow().clone();
    runtime()?.block_on(store.close());
    // The locks go with it.
    drop(store);
    progress.borrow_mut().clear();
    say(&format!("rebuilt from {} entries, root {}\n", checkpoint.size, checkpoint.root))?;
    check::stopped(config, false, None, false)
}
