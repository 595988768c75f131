//! `mregd migrate-blobs`: all blobs from one store to another. Knows which stores are meant and how it is told; how blobs are
//! copied is `blobs/migrate.rs`.

use std::sync::Mutex;

use serde_json::json;

use super::progress::Progress;
use super::{Failed, say};
use crate::blobs::BlobError;
use crate::blobs::migrate::{Copied, copy_all};
use crate::cli::{Exit, MigrateBlobsOptions};
use crate::config::Config;

pub(super) fn migrate_blobs(config: &Config, options: &MigrateBlobsOptions) -> Result<(), Failed> {
    let to = options.to.clone().unwrap_or_else(|| config.blobs.clone());
    let Some(from) = options.from.clone().or_else(|| config.blobs_old.clone()) else {
        return Err(Failed::new(Exit::Usage, "say from where, with --from or MREG_BLOBS_OLD"));
    };
    if from == to {
        return Err(Failed::new(
            Exit::Usage,
            format_args!("both stores are {to}; --from and --to, or the settings, name two"),
        ));
    }
    // Directories of its own, so that the daemon's start sweeps nothing of ours.
    let source = crate::open_place(config, &from, "s3-migrate-from", None, None)?;
    let target = crate::open_place(config, &to, "s3-migrate-to", None, None)?;
    if to.is_s3() {
        target.sweep_staging().map_err(stopped)?;
    }
    let progress = Mutex::new(Progress::new());
    let copied = copy_all(&*source, &*target, &|done| {
        // A line that is being written is not worth waiting for.
        if let Ok(mut progress) = progress.try_lock() {
            progress.show("blobs", done, 0);
        }
    });
    if let Ok(mut progress) = progress.lock() {
        progress.clear();
    }
    let copied = copied.map_err(stopped)?;
    let text = if options.json {
        let failed: Vec<_> =
            copied.failed.iter().map(|(digest, what)| json!({"digest": digest.to_string(), "what": what})).collect();
        let value = json!({
            "from": from.to_string(),
            "to": to.to_string(),
            "copied": copied.blobs,
            "bytes": copied.bytes,
            "already_there": copied.there,
            "gone": copied.gone,
            "failures": copied.failures,
            "failed": failed,
        });
        format!("{value:#}\n")
    } else {
        told(&copied)
    };
    say(&text)?;
    match copied.failures {
        0 => Ok(()),
        count => Err(Failed::new(Exit::Data, format_args!("{count} blobs could not be copied"))),
    }
}

fn told(copied: &Copied) -> String {
    let mut text: String =
        copied.failed.iter().map(|(digest, what)| format!("failure: blob {digest}: {what}\n")).collect();
    let Copied { blobs, bytes, there, gone, failures, .. } = copied;
    text.push_str(&format!("copied {blobs} blobs of {bytes} octets; {there} were there already"));
    if *gone > 0 {
        text.push_str(&format!("; {gone} are not needed any more"));
    }
    text.push_str(&match failures {
        0 => ": every blob is in the new store. Unset MREG_BLOBS_OLD, restart the daemon, and run `mregd check --blobs`\n"
            .to_owned(),
        count => format!("; {count} FAILED\n"),
    });
    text
}

/// A store failed.
fn stopped(error: BlobError) -> Failed {
    let exit = match error {
        BlobError::Full(_) => Exit::Io,
        _ => Exit::TempFail,
    };
    Failed::new(exit, crate::error_chain(&error)).with_hint("what was copied stays; begin again, and it goes on")
}
