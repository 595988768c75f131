//! Pictures and sounds: walked by their structure to the last octet, so that nothing else stands in them or behind them.
//! PNG, JPEG, GIF and RIFF (WAV, WebP) are; of other media it is only known what they are. Nothing is decoded.

use super::cursor::{Cursor, Stop};
use super::rules::{Rule, UNREAD};
use super::scan::{Place, Scan};
use super::{Level, ReadAt, dispatch, read_up_to};

/// Damage.
const BROKEN: Rule = Rule {
    id: "media.broken",
    level: Level::Unscannable,
    meaning: "A picture or sound whose structure is damaged or ends early, so that what its octets are is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

/// Whether a file begins as one.
pub(super) fn is_media(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 9] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF87a",
        b"GIF89a",
        b"fLaC",
        b"OggS\0",
        b"%PDF-",
        b"ID3\x03",
        b"ID3\x04",
    ];
    MAGIC.iter().any(|magic| head.starts_with(magic))
        || head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"WAVE" | b"WEBP" | b"AVI "))
        || head.get(4..8) == Some(b"ftyp")
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let head = read_up_to(source, 0, 12)?;
    let mut cursor = Cursor::over(source);
    let walk = match head.as_slice() {
        [0x89, ..] => png(scan, &mut cursor, place),
        [0xff, ..] => jpeg(scan, &mut cursor, place),
        [b'G', ..] => gif(scan, &mut cursor, place),
        [b'R', ..] => riff(scan, &mut cursor, place),
        _ => {
            scan.find(&UNREAD, place, None, "a medium that is not looked into");
            return Ok(());
        }
    };
    match walk {
        Ok(true) => dispatch::outside(scan, source, cursor.position(), source.len(), place),
        Ok(false) | Err(Stop::End | Stop::Budget) => {
            scan.find(&BROKEN, place, Some(cursor.position()), "its structure is damaged or ends early");
            dispatch::search(scan, source, cursor.position(), source.len(), place)
        }
        Err(stop) => Err(stop),
    }
}

/// Chunks of length, type, data and CRC, from IHDR to IEND. Whether it is sound.
fn png(scan: &mut Scan, cursor: &mut Cursor<'_>, place: &Place) -> Result<bool, Stop> {
    cursor.skip(8)?;
    let mut is_first = true;
    loop {
        scan.tick(place)?;
        let length = u32::from_be_bytes(cursor.array()?);
        let kind: [u8; 4] = cursor.array()?;
        if !kind.iter().all(u8::is_ascii_alphabetic) || is_first != (&kind == b"IHDR") {
            return Ok(false);
        }
        is_first = false;
        cursor.skip(u64::from(length) + 4)?;
        if &kind == b"IEND" {
            return Ok(length == 0);
        }
    }
}

/// Segments with a marker and a length, and behind a start of scan coded octets up to the next marker, from SOI to EOI.
fn jpeg(scan: &mut Scan, cursor: &mut Cursor<'_>, place: &Place) -> Result<bool, Stop> {
    cursor.skip(2)?;
    loop {
        scan.tick(place)?;
        if cursor.octet()? != 0xff {
            return Ok(false);
        }
        let mut marker = cursor.octet()?;
        while marker == 0xff {
            marker = cursor.octet()?;
        }
        match marker {
            0xd9 => return Ok(true),
            0x01 | 0xd0..=0xd7 => continue,
            0xc0..=0xfe => {}
            _ => return Ok(false),
        }
        let length = u16::from_be_bytes(cursor.array()?);
        let Some(length) = length.checked_sub(2) else { return Ok(false) };
        cursor.skip(u64::from(length))?;
        if marker == 0xda && !coded(scan, cursor, place)? {
            return Ok(false);
        }
    }
}

/// Steps over coded octets to before the next marker. A zero behind 0xff belongs to them, and so do restart markers.
fn coded(scan: &mut Scan, cursor: &mut Cursor<'_>, place: &Place) -> Result<bool, Stop> {
    let mut last = 0;
    loop {
        // By the octet: so that the clock is looked at now and then.
        if cursor.position().is_multiple_of(64) {
            scan.tick(place)?;
        }
        let octet = cursor.octet()?;
        if last == 0xff && !matches!(octet, 0 | 0xff | 0xd0..=0xd7) {
            return Ok(cursor.back(2));
        }
        last = octet;
    }
}

/// The screen, then blocks of pictures and extensions, from the header to the trailer.
fn gif(scan: &mut Scan, cursor: &mut Cursor<'_>, place: &Place) -> Result<bool, Stop> {
    let screen: [u8; 13] = cursor.array()?;
    cursor.skip(palette(screen[10]))?;
    loop {
        match cursor.octet()? {
            b';' => return Ok(true),
            b'!' => cursor.skip(1)?,
            b',' => {
                let picture: [u8; 9] = cursor.array()?;
                // Behind the palette, how wide codes are.
                cursor.skip(palette(picture[8]) + 1)?;
            }
            _ => return Ok(false),
        }
        loop {
            scan.tick(place)?;
            match cursor.octet()? {
                0 => break,
                length => cursor.skip(u64::from(length))?,
            }
        }
    }
}

/// Octets of a palette by the flags before it.
fn palette(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Chunks of type, length and data, which together are as long as the first one says.
fn riff(scan: &mut Scan, cursor: &mut Cursor<'_>, place: &Place) -> Result<bool, Stop> {
    cursor.skip(4)?;
    let length = u64::from(u32::from_le_bytes(cursor.array()?));
    let end = cursor.position() + length;
    cursor.skip(4)?;
    while cursor.position() < end {
        scan.tick(place)?;
        let kind: [u8; 4] = cursor.array()?;
        if !kind.iter().all(|octet| octet.is_ascii_graphic() || *octet == b' ') {
            return Ok(false);
        }
        let length = u64::from(u32::from_le_bytes(cursor.array()?));
        // Padded to even length.
        cursor.skip(length)?;
        if length % 2 == 1 && cursor.position() < end {
            cursor.skip(1)?;
        }
    }
    Ok(cursor.position() == end)
}
