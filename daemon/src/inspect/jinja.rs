//! Jinja chat templates.

use super::rules::{self, Rule};
use super::scan::{Place, Scan};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[];

/// Looks into a chat template.
pub(super) fn scan_template(scan: &mut Scan, _template: &str, place: &Place) {
    scan.find(&rules::UNREAD, place, None, "not looked into");
}
