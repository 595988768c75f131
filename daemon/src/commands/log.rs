//! `mregd log …`: one file below for each sub-command. Knows which there are; refuses to know what they do.

mod accept;
mod rebuild;
mod rotate;

use super::Failed;
use crate::cli::LogCommand;
use crate::config::Config;

pub(super) fn log(config: &Config, command: LogCommand) -> Result<(), Failed> {
    match command {
        LogCommand::RotateKey(options) => rotate::rotate_key(config, &options),
        LogCommand::AcceptRollback(options) => accept::accept_rollback(config, &options),
        LogCommand::Rebuild => rebuild::rebuild(config),
    }
}
