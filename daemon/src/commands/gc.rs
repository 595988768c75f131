//! `mregd gc`: at the running daemon, or at the registry itself while it is stopped. Knows how it is told to a person or a
//! program; refuses to know what is collected.

use common::api::gc::{GcLine, GcRequest, GcTotal};
use http::Method;
use serde_json::{Value, json};

use super::progress::Progress;
use super::way::{self, Way, failed, here};
use super::{Failed, runtime, say};
use crate::cli::{self, Exit, GcOptions};
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

/// What was told so far.
struct Report {
    json: bool,
    progress: Progress,
    orphans: Vec<Value>,
    failures: Vec<Value>,
    remarks: Vec<String>,
    total: Option<GcTotal>,
}

impl Report {
    fn new(json: bool) -> Self {
        let (orphans, failures, remarks) = (Vec::new(), Vec::new(), Vec::new());
        Self { json, progress: Progress::new(), orphans, failures, remarks, total: None }
    }

    fn take(&mut self, line: GcLine) {
        match line {
            GcLine::Progress { step, done } => self.progress.show(&step, done, done),
            GcLine::Orphan { digest, size, removed } if self.json => {
                if self.orphans.len() < ORPHANS_MAX {
                    self.orphans.push(json!({"digest": digest, "size": size, "removed": removed}));
                }
            }
            GcLine::Orphan { digest, size, removed } => {
                let what = if removed { "unneeded" } else { "left" };
                self.print(&format!("{what}: {digest} of {size} octets\n"));
            }
            GcLine::Failure { place, what } if self.json => self.failures.push(json!({"place": place, "what": what})),
            GcLine::Failure { place, what } => self.print(&format!("failure: {place}: {what}\n")),
            GcLine::Remark { what } if self.json => self.remarks.push(what),
            GcLine::Remark { what } => self.print(&format!("note: {what}\n")),
            GcLine::Total(total) => self.total = Some(total),
        }
    }

    fn print(&mut self, text: &str) {
        self.progress.clear();
        // A reader that left doesn't end it: its exit code still says something.
        let _said = cli::out(text);
    }

    fn finish(mut self) -> Result<(), Failed> {
        self.progress.clear();
        let Some(total) = self.total else {
            let why = self.remarks.last().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(Failed::new(Exit::TempFail, format_args!("it was cut off before its end{why}; try again")));
        };
        let GcTotal { stored, orphans, removed, removed_bytes, left, missing, wrong_size, miscounted, .. } = total;
        let wrong = missing + wrong_size + miscounted;
        if self.json {
            let value = json!({
                "orphans": self.orphans,
                "failures": self.failures,
                "remarks": self.remarks,
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
