//! XML.

use super::ReadAt;
use super::cursor::Stop;
use super::rules::{self, Rule};
use super::scan::{Place, Scan};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, _source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    scan.find(&rules::UNREAD, place, None, "not looked into");
    Ok(())
}
