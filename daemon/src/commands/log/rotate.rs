//! `mregd log rotate-key`.

use crate::cli::Exit;
use crate::cli::RotateKeyOptions;
use crate::commands::Failed;
use crate::config::Config;

pub(super) fn rotate_key(_config: &Config, _options: &RotateKeyOptions) -> Result<(), Failed> {
    Err(Failed::new(Exit::Unavailable, "this build has only the command's frame"))
}
