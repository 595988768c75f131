//! Compressed files: gzip, bzip2, xz, lzma, zlib, zstd, lz4. Unwraps and starts again with what comes out. Knows where the
//! compressed streams end and what stands behind them; how they are decompressed is `inflate.rs`.

use super::cursor::Stop;
use super::inflate::{Method, unpack};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Format, Level, ReadAt, archive, dispatch, names, read_up_to};

/// A stream that can't be decompressed to its end.
const BROKEN: Rule = Rule {
    id: "compressed.broken",
    level: Level::Unscannable,
    meaning: "A compressed stream is damaged or ends early: what came out was looked at, what a more tolerant reader makes of \
              the rest is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

/// Zeros behind a stream that readers take for padding.
const PADDING_BYTES_MAX: u64 = 64 << 10;

/// Beyond so many octets, so much of what is there at most.
const RATIO_BYTES_MIN: u64 = 10 << 20;
const RATIO_MAX: u64 = 250;

/// Looks into a source that was recognised as this format.
pub(super) fn scan(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    name: &str,
    format: Format,
) -> Result<(), Stop> {
    let method = match format {
        Format::Gzip => Method::Gzip,
        Format::Bzip2 => Method::Bzip2,
        Format::Xz => Method::Xz,
        Format::Lzma => Method::Lzma,
        Format::Zstd => Method::Zstd,
        Format::Lz4 => Method::Lz4,
        _ => Method::Zlib,
    };
    let inner_name = inner_name(names::last(name));
    let inner = place.member(format, &inner_name);
    let unpacked = unpack(scan, &inner, source, method, u64::MAX)?;
    if let Some(fault) = &unpacked.broken {
        scan.find(&BROKEN, place, Some(unpacked.consumed), format_args!("the {format} stream is broken: {fault}"));
    }
    judge_ratio(scan, place, unpacked.consumed, unpacked.content.len());
    dispatch::member(scan, &unpacked.content, &inner, &inner_name)?;
    if unpacked.broken.is_none() && !is_padding(source, unpacked.consumed)? {
        dispatch::outside(scan, source, unpacked.consumed, source.len(), place)?;
    }
    Ok(())
}

/// Reports where much came out of little.
pub(super) fn judge_ratio(scan: &mut Scan, place: &Place, packed: u64, unpacked: u64) {
    if unpacked > RATIO_BYTES_MIN && unpacked / packed.max(1) > RATIO_MAX {
        scan.find(&archive::RATIO, place, None, format_args!("{packed} octets decompress to {unpacked}"));
    }
}

/// Whether there is nothing from `start` on but some zeros.
pub(super) fn is_padding(source: &dyn ReadAt, start: u64) -> Result<bool, Stop> {
    let rest = source.len().saturating_sub(start);
    Ok(rest <= PADDING_BYTES_MAX && read_up_to(source, start, rest)?.iter().all(|octet| *octet == 0))
}

/// The name without what compressing it put behind.
fn inner_name(name: &str) -> String {
    let Some((stem, extension)) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) else {
        return if name.is_empty() { "content".to_owned() } else { name.to_owned() };
    };
    match extension.to_ascii_lowercase().as_str() {
        "gz" | "bz2" | "xz" | "lzma" | "zst" | "zstd" | "lz4" | "z" | "zlib" => stem.to_owned(),
        "tgz" | "tbz" | "tbz2" | "txz" | "tzst" => format!("{stem}.tar"),
        _ => name.to_owned(),
    }
}
