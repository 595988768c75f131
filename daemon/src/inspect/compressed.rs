//! Compressed files: gzip, bzip2, xz, lzma, zlib, zstd, lz4. Unwraps and starts again with what comes out.

use super::cursor::Stop;
use super::rules::{self, Rule};
use super::scan::{Place, Scan};
use super::{Format, ReadAt};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(
    scan: &mut Scan,
    _source: &dyn ReadAt,
    place: &Place,
    _name: &str,
    _format: Format,
) -> Result<(), Stop> {
    scan.find(&rules::UNREAD, place, None, "not looked into");
    Ok(())
}
