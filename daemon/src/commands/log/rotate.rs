//! `mregd log rotate-key`, whether the daemon runs or not. Knows what is asked and told; refuses to know how keys follow one
//! another.

use common::api::LogKeyRotated;
use http::Method;
use serde_json::json;

use super::WITNESSES;
use crate::cli::RotateKeyOptions;
use crate::clock;
use crate::commands::way::{Way, ask, failed, here};
use crate::commands::{Failed, runtime, say};
use crate::config::Config;
use crate::registry::keys::{Rotated, Rotation};

/// A second rotation on top of one that was done would be one too many.
const UNANSWERED: &str = "it may have been done; look at /log/vkeys before trying again";

pub(super) fn rotate_key(config: &Config, options: &RotateKeyOptions) -> Result<(), Failed> {
    let rotated = runtime()?.block_on(async {
        let mut way = Way::open(config).await?;
        let result = perform(&mut way, options).await;
        way.close().await;
        result
    })?;
    say(&text(&rotated))
}

async fn perform(way: &mut Way, options: &RotateKeyOptions) -> Result<Rotated, Failed> {
    match way {
        Way::Running(operator) => {
            let body = if options.compromised {
                json!({"compromised": true})
            } else {
                json!({"overlap_seconds": options.overlap.as_secs()})
            };
            let answer: LogKeyRotated = ask(operator, Method::POST, "/log/rotate-key", Some(&body), UNANSWERED).await?;
            let overlap_until_ms = answer.overlap_until.as_deref().and_then(clock::parse_rfc3339);
            Ok(Rotated { origin: answer.origin, vkey: answer.vkey, vkeys: answer.vkeys, overlap_until_ms })
        }
        Way::Stopped(registry) => {
            let how = if options.compromised { Rotation::Compromised } else { Rotation::Overlap(options.overlap) };
            Ok(registry.rotate_log_key(&here(), how).await.map_err(failed)?.value)
        }
    }
}

fn text(rotated: &Rotated) -> String {
    let then = match rotated.overlap_until_ms {
        Some(until_ms) => format!(
            "Checkpoints carry the signatures of both keys until {}; then the old key is destroyed.\n\
             Give the new one to everybody who verifies the log before that.\n",
            clock::rfc3339(until_ms)
        ),
        None => {
            "The old key signs no more, and will be destroyed. What was signed with it before stays provable only to those\n\
                 who kept a checkpoint or receipt from before it got into wrong hands.\n\
                 Give the new key to everybody who verifies the log, and tell them the log's new name.\n"
                .to_owned()
        }
    };
    format!("log:     {}\nlog key: {}\n{then}{WITNESSES}", rotated.origin, rotated.vkey)
}
