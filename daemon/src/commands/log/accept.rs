//! `mregd log accept-rollback`.

use crate::cli::AcceptRollbackOptions;
use crate::cli::Exit;
use crate::commands::Failed;
use crate::config::Config;

pub(super) fn accept_rollback(_config: &Config, _options: &AcceptRollbackOptions) -> Result<(), Failed> {
    Err(Failed::new(Exit::Unavailable, "this build has only the command's frame"))
}
