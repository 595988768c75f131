//! `mregd log …`: one file below for each sub-command. Knows which there are; refuses to know what they do.

mod accept;
mod export;
mod faults;
mod rebuild;
mod rotate;
mod source;
mod tail;
mod verify;
mod whole;

pub(super) use export::export;
pub(super) use source::pins;
pub(super) use tail::tail;
pub(super) use verify::verify;

use super::Failed;
use crate::cli::{Exit, LogCommand};
use crate::config::Config;

/// What follows a new key or name where there are witnesses: else the next start or the next cosignature is refused.
const WITNESSES: &str = "Where witnesses are asked: add a `log` line with the new key to the policy (MREG_WITNESS_POLICY), and start each\n\
     witness with a --log for it as well.\n";

pub(super) fn log(config: &Config, command: LogCommand) -> Result<(), Failed> {
    match command {
        LogCommand::RotateKey(options) => rotate::rotate_key(config, &options),
        LogCommand::AcceptRollback(options) => accept::accept_rollback(config, &options),
        LogCommand::Rebuild => rebuild::rebuild(config),
        // They need no configuration: main does them.
        LogCommand::Verify(_) | LogCommand::Export(_) | LogCommand::Tail(_) => {
            Err(Failed::new(Exit::Usage, "this command reads a log"))
        }
    }
}
