//! mregd as a library: the registry, its store and blobs, its faces. `main` starts it, tests start it too. Modules in
//! reading order.

pub mod cli;
pub mod config;
pub mod logging;
pub mod store;
pub mod blobs;
pub mod durable;
pub mod clock;

use std::error::Error;

/// An error with all its causes, for the log.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
