//! `mregd check`: at the running daemon, or on the stopped registry, of which nothing is changed. Knows how it is told to a
//! person or a program; refuses to know what is checked.

use common::api::{CheckLine, CheckRequest, CheckTotal};
use http::Method;
use serde_json::json;

use super::telling::Telling;
use super::{Failed, runtime, say, way};
use crate::cli::{CheckOptions, Exit};
use crate::config::Config;
use crate::http::check::line;
use crate::registry::check::Checking;
use crate::store::sled::check_stopped;

pub(super) fn check(config: &Config, options: CheckOptions) -> Result<(), Failed> {
    let runtime = runtime()?;
    match runtime.block_on(way::running(config))? {
        Some(mut operator) => {
            let body =
                serde_json::to_vec(&CheckRequest { blobs: options.blobs, bytes_per_second: options.bytes_per_second })
                    .ok();
            let mut report = Report::new(options.json);
            let mut each = |octets: &[u8]| {
                if let Ok(line) = serde_json::from_slice(octets) {
                    report.take(line);
                }
            };
            let asked = runtime.block_on(operator.ask_lines(Method::POST, "/check", body, &mut each));
            match asked {
                Ok((status, octets)) if !status.is_success() => return Err(way::told(status, &octets)),
                Ok(_) | Err(_) => {}
            }
            report.finish()
        }
        None => stopped(config, options.blobs, options.bytes_per_second, options.json),
    }
}

/// Checks the stopped registry.
pub(super) fn stopped(
    config: &Config,
    read_blobs: bool,
    bytes_per_second: Option<u64>,
    json: bool,
) -> Result<(), Failed> {
    let options = crate::store_options(config);
    if !config.data_dir.join("log").is_dir() {
        let dir = config.data_dir.display();
        let message = format_args!("there is no registry in {dir}; MREG_DATA_DIR or --data-dir names another");
        return Err(Failed::new(Exit::Config, message));
    }
    let blobs = crate::open_places(config, None, None)?;
    let mut report = Report::new(json);
    let mut checking = Checking::stopped(&*blobs, read_blobs, bytes_per_second, |told| {
        report.take(line(told));
        true
    });
    let checked = check_stopped(&options, &mut checking)?;
    checking.unreferenced(&*blobs, |_digest| false);
    checking.finish(checked);
    report.finish()
}

struct Report {
    told: Telling,
    total: Option<CheckTotal>,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { told: Telling::new(json), total: None }
    }

    fn take(&mut self, line: CheckLine) {
        match line {
            CheckLine::Progress { step, done, of } => self.told.progress.show(&step, done, of),
            CheckLine::Failure { place, what } => self.told.failure(&place, &what),
            CheckLine::Remark { what } => self.told.remark(what),
            CheckLine::Total(total) => self.total = Some(total),
        }
    }

    fn finish(mut self) -> Result<(), Failed> {
        self.told.progress.clear();
        let Some(total) = self.total else {
            return Err(Failed::new(Exit::TempFail, "the check was cut off before its end; try again"));
        };
        let failures = total.failures;
        let text = if self.told.json {
            let value = json!({
                "passed": failures == 0,
                "failures": self.told.failures,
                "remarks": self.told.remarks,
                "total": total,
            });
            format!("{value:#}\n")
        } else {
            let read = if total.blobs_read > 0 { format!(" ({} read)", total.blobs_read) } else { String::new() };
            let extra = match total.unreferenced {
                0 => String::new(),
                count => format!(", {count} unreferenced"),
            };
            let CheckTotal { entries, root, keys, artifacts, blobs, .. } = &total;
            format!(
                "checked {entries} entries with the root {root}, {keys} keys of the state, {artifacts} artifacts, {blobs} \
                 blobs{read}{extra}: {}\n",
                if failures == 0 { "all is well".to_owned() } else { format!("{failures} failures") }
            )
        };
        say(&text)?;
        match failures {
            0 => Ok(()),
            count => Err(Failed::new(Exit::Data, format_args!("the check found {count} failures"))),
        }
    }
}
