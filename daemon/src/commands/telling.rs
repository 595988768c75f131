//! What a command tells that goes through all that is stored: how far it is, failures and remarks. As text each is said at once;
//! for a JSON object they are kept until its end. Refuses to know what is gone through.

use serde_json::{Value, json};

use super::progress::Progress;
use crate::cli;

/// What was told so far.
pub(super) struct Telling {
    pub(super) json: bool,
    pub(super) progress: Progress,
    /// Kept for a JSON object.
    pub(super) failures: Vec<Value>,
    /// Kept for a JSON object.
    pub(super) remarks: Vec<String>,
}

impl Telling {
    pub(super) fn new(json: bool) -> Self {
        Self { json, progress: Progress::new(), failures: Vec::new(), remarks: Vec::new() }
    }

    pub(super) fn failure(&mut self, place: &str, what: &str) {
        if self.json {
            self.failures.push(json!({"place": place, "what": what}));
        } else {
            self.print(&format!("failure: {place}: {what}\n"));
        }
    }

    pub(super) fn remark(&mut self, what: String) {
        if self.json {
            self.remarks.push(what);
        } else {
            self.print(&format!("note: {what}\n"));
        }
    }

    pub(super) fn print(&mut self, text: &str) {
        self.progress.clear();
        // A reader that left ends nothing: the exit code still says something.
        let _said = cli::out(text);
    }
}
