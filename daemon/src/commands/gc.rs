//! `mregd gc`: at the running daemon, or at the registry itself while it is stopped. Knows how it is told to a person or a
//! program; refuses to know what is collected.

use common::api::gc::{GcLine, GcRequest, GcTotal};
use http::Method;
use serde_json::{Value, json};

use super::telling::Telling;
use super::way::{self, Way, failed, here};
use super::{Failed, runtime, say};
use crate::cli::{Exit, GcOptions};
use crate::config::Config;

/// Orphans that a JSON object lists; the total has all, and as text there is no limit.
const ORPHANS_MAX: usize = 100_000;

pub(super) fn gc(config: &Config, options: GcOptions) -> Result<(), Failed> {
    let request =
        GcRequest { dry_run: options.dry_run, min_age_seconds: options.min_age.map(|min_age| min_age.as_secs()) };
    let mut report = Report::new(options.json);
    runtime()?.block_on(async {
        let mut way = Way::open(config).await?;
        let asked = collect(&mut way, request, &mut report).await;
        way.close().await;
        asked
    })?;
    report.finish()
}

async fn collect(way: &mut Way, request: GcRequest, report: &mut Report) -> Result<(), Failed> {
    match way {
        Way::Running(operator) => {
            let body = serde_json::to_vec(&request).ok();
            let mut each = |octets: &[u8]| {
                if let Ok(line) = serde_json::from_slice(octets) {
                    report.take(line);
                }
            };
            match operator.ask_lines(Method::POST, "/gc", body, &mut each).await {
                Ok((status, octets)) if !status.is_success() => Err(way::told(status, &octets)),
                // Cut off, it has no total.
                Ok(_) | Err(_) => Ok(()),
            }
        }
        Way::Stopped(registry) => {
            let mut told = registry.collect(&here(), request).await.map_err(failed)?;
            while let Some(line) = told.recv().await {
                report.take(line);
            }
            Ok(())
        }
    }
}

struct Report {
    told: Telling,
    orphans: Vec<Value>,
    total: Option<GcTotal>,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { told: Telling::new(json), orphans: Vec::new(), total: None }
    }

    fn take(&mut self, line: GcLine) {
        match line {
            GcLine::Progress { step, done } => self.told.progress.show(&step, done, done),
            GcLine::Orphan { digest, size, removed } if self.told.json => {
                if self.orphans.len() < ORPHANS_MAX {
                    self.orphans.push(json!({"digest": digest, "size": size, "removed": removed}));
                }
            }
            GcLine::Orphan { digest, size, removed } => {
                let what = if removed { "unneeded" } else { "left" };
                self.told.print(&format!("{what}: {digest} of {size} octets\n"));
            }
            GcLine::Failure { place, what } => self.told.failure(&place, &what),
            GcLine::Remark { what } => self.told.remark(what),
            GcLine::Total(total) => self.total = Some(total),
        }
    }

    fn finish(mut self) -> Result<(), Failed> {
        self.told.progress.clear();
        let Some(total) = self.total else {
            let why = self.told.remarks.last().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(Failed::new(Exit::TempFail, format_args!("it was cut off before its end{why}; try again")));
        };
        let GcTotal { stored, orphans, removed, removed_bytes, left, missing, wrong_size, miscounted, .. } = total;
        let wrong = missing + wrong_size + miscounted;
        if self.told.json {
            let value = json!({
                "orphans": self.orphans,
                "failures": self.told.failures,
                "remarks": self.told.remarks,
                "total": total,
            });
            say(&format!("{value:#}\n"))?;
        } else {
            let verb = if total.dry_run { "would be removed" } else { "removed" };
            say(&format!(
                "{stored} blobs, {orphans} unneeded: {removed} of {removed_bytes} octets {verb}, {left} left for now; \
                 {missing} missing, {wrong_size} of a wrong size, {miscounted} miscounted\n"
            ))?;
        }
        match wrong {
            0 => Ok(()),
            count => Err(Failed::new(Exit::Data, format_args!("{count} blobs are wrong; run `mregd check --blobs`"))),
        }
    }
}
