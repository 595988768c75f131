//! `mregd log rebuild`.

use crate::cli::Exit;
use crate::commands::Failed;
use crate::config::Config;

pub(super) fn rebuild(_config: &Config) -> Result<(), Failed> {
    Err(Failed::new(Exit::Unavailable, "this build has only the command's frame"))
}
