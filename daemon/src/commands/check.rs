//! `mregd check`.

use super::Failed;
use crate::cli::{CheckOptions, Exit};
use crate::config::Config;

pub(super) fn check(_config: &Config, _options: CheckOptions) -> Result<(), Failed> {
    Err(Failed::new(Exit::Unavailable, "this build has only the command's frame"))
}
