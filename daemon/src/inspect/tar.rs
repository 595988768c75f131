//! Tar archives, plain and as PyTorch wrote them before 0.1.10 and NeMo does: names, links, devices, and the members' content.
//!
//! Headers are read as Python's and GNU's readers do, with long names of both kinds (GNU and pax). Where the two names of a
//! member differ, both are judged. Knows what unpacking writes where; what is in a member is for its format's reader.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;

use super::cursor::{Cursor, Stop};
use super::rules::{Rule, UNREAD};
use super::scan::{Place, Scan, Slice};
use super::{Format, Level, ReadAt, archive, compressed, dispatch};

/// Damage.
const BROKEN: Rule = Rule {
    id: "tar.broken",
    level: Level::Unscannable,
    meaning: "A tar archive is damaged or ends early: what stands behind the damage was searched, not read member by member.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

const BLOCK_BYTES: u64 = 512;

/// Longest name, link target or pax header.
const NAME_BYTES_MAX: u64 = 1 << 20;

/// Zeros behind the end that are looked through.
const ZEROS_MAX: u64 = 1 << 20;

/// Longest path that a system takes.
const PATH_BYTES_MAX: usize = 4096;

/// Members of which the name is looked at to tell the kind of archive, and octets read for that.
const MEMBERS_MAX: u32 = 256;
const EXAMINED_BYTES_MAX: u64 = 1 << 20;

/// What kind of archive `source`, which begins as one, is.
///
/// # Errors
/// Those of the source.
pub(super) fn examine(source: &dyn ReadAt) -> io::Result<Format> {
    let mut reader = Reader::new(source, EXAMINED_BYTES_MAX);
    let (mut storages, mut config, mut weights) = (0, false, false);
    for _ in 0..MEMBERS_MAX {
        match reader.next() {
            Ok(Next::Member(member)) => match archive::components(&member.name).last() {
                Some(b"pickle" | b"storages" | b"tensors" | b"sys_info") => storages += 1,
                Some(b"model_config.yaml") => config = true,
                Some(b"model_weights.ckpt" | b"model_weights") => weights = true,
                _ => {}
            },
            Ok(Next::End(_) | Next::Broken(..)) | Err(Stop::End | Stop::Budget | Stop::Limit) => break,
            Err(Stop::Io(error)) => return Err(error),
        }
    }
    Ok(match (storages, config && weights) {
        (3.., _) => Format::PytorchTar,
        (_, true) => Format::Nemo,
        _ => Format::Tar,
    })
}

/// Looks into a source that is this kind of archive.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, format: Format) -> Result<(), Stop> {
    match format {
        Format::PytorchTar => scan.facts.set("framework", "torch"),
        Format::Nemo => scan.facts.set("framework", "nemo"),
        _ => {}
    }
    let mut reader = Reader::new(source, u64::MAX);
    let mut links = Links::default();
    loop {
        scan.tick(place)?;
        match reader.next() {
            Ok(Next::Member(member)) => self::member(scan, source, place, format, &member, &mut links)?,
            // Both blocks of the end, then zeros up to the size of a record. Behind them may begin the next archive.
            Ok(Next::End(at)) => {
                let at = reader.behind_zeros(at)?;
                if !compressed::is_padding(source, at)? {
                    dispatch::outside(scan, source, at, source.len(), place)?;
                }
                return Ok(());
            }
            Ok(Next::Broken(at, why)) => {
                scan.find(&BROKEN, place, Some(at), why);
                return dispatch::outside(scan, source, at, source.len(), place);
            }
            Err(Stop::End | Stop::Budget) => {
                scan.find(&BROKEN, place, None, "the archive ends in the middle of a header");
                return Ok(());
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// The symbolic links so far, as paths without what means nothing.
#[derive(Default)]
struct Links {
    paths: HashSet<Vec<u8>>,
    bytes: u64,
}

impl Links {
    /// Whether a path leads through one of them.
    fn leads_through(&self, path: &[u8]) -> bool {
        let mut folder = Vec::new();
        let path = &path[..path.len().min(PATH_BYTES_MAX)];
        !self.paths.is_empty()
            && archive::components(path).any(|component| {
                let is_through = self.paths.contains(&folder);
                folder.push(b'/');
                folder.extend_from_slice(component);
                is_through
            })
    }

    fn insert(&mut self, path: &[u8]) {
        let mut whole = Vec::new();
        for component in archive::components(path) {
            whole.push(b'/');
            whole.extend_from_slice(component);
        }
        self.bytes += whole.len() as u64;
        self.paths.insert(whole);
    }
}

fn member(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    format: Format,
    member: &Member,
    links: &mut Links,
) -> Result<(), Stop> {
    let at = Some(member.at);
    let name = String::from_utf8_lossy(&member.name).into_owned();
    if [&member.name, &member.short_name].into_iter().any(|name| archive::leads_out(name)) {
        scan.find(&archive::TRAVERSAL, place, at, format_args!("the member {name:?} leads out of the archive"));
    }
    if links.leads_through(&member.name) {
        scan.find(&archive::LINK, place, at, format_args!("the member {name:?} is unpacked through a link"));
    }
    let inner = place.member(format, &name);
    match member.kind {
        b'1' => {
            scan.find(&archive::LINK, place, at, format_args!("the member {name:?} is a hard link"));
        }
        b'2' => {
            if archive::link_leads_out(&member.name, &member.target) {
                let target = String::from_utf8_lossy(&member.target);
                scan.find(&archive::LINK, place, at, format_args!("the link {name:?} leads out, to {target:?}"));
            }
            links.insert(&member.name);
            if links.bytes > scan.limits.held_bytes {
                return Err(scan.reached(place, "longer names of links than are looked at"));
            }
        }
        b'3' | b'4' | b'6' => {
            scan.find(&archive::DEVICE, place, at, format_args!("the member {name:?} is a device or a pipe"));
        }
        _ => {}
    }
    if member.is_sparse {
        scan.find(&UNREAD, place, at, format_args!("{name:?} has holes, and is looked at without them"));
    }
    let end = member.start.saturating_add(member.size);
    if end > source.len() {
        scan.find(&BROKEN, place, at, format_args!("{name:?} reaches beyond the file"));
    }
    // Directories, links and devices have no content; where one has, it is looked at.
    if member.size == 0 {
        return scan.enter(&inner);
    }
    dispatch::member(scan, &Slice::new(source, member.start, end), &inner, &name)?;
    Ok(())
}

/// A member by its header.
struct Member {
    /// Where its header is.
    at: u64,
    name: Vec<u8>,
    /// The name in the header itself, which a reader without extensions takes.
    short_name: Vec<u8>,
    target: Vec<u8>,
    kind: u8,
    is_sparse: bool,
    /// Where its content is.
    start: u64,
    size: u64,
}

/// What comes next.
enum Next {
    Member(Member),
    /// The blocks of the end, and what is behind them begins here.
    End(u64),
    /// No header, at an octet.
    Broken(u64, &'static str),
}

/// What extended headers say of the members that follow.
#[derive(Default, Clone)]
struct Extended {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

/// Reads headers one after the other.
struct Reader<'a> {
    cursor: Cursor<'a>,
    global: Extended,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn ReadAt, budget: u64) -> Self {
        Self { cursor: Cursor::new(source, 0, source.len(), budget), global: Extended::default() }
    }

    fn next(&mut self) -> Result<Next, Stop> {
        let mut extended = self.global.clone();
        loop {
            let at = self.cursor.position();
            // Without the blocks of the end it ends all the same, to most readers.
            if self.cursor.at_end() {
                return Ok(Next::End(at));
            }
            if self.cursor.left() < BLOCK_BYTES {
                return Ok(Next::Broken(at, "the archive ends in the middle of a block"));
            }
            let block: [u8; 512] = self.cursor.array()?;
            if block.iter().all(|octet| *octet == 0) {
                return Ok(Next::End(at));
            }
            if !is_header(&block) {
                return Ok(Next::Broken(at, "the checksum of a header is wrong"));
            }
            let Some(size) = number(&block[124..136]) else {
                return Ok(Next::Broken(at, "the size of a member is no number"));
            };
            let kind = block[156];
            match kind {
                b'L' | b'K' | b'x' | b'g' => {
                    if size > NAME_BYTES_MAX {
                        return Ok(Next::Broken(at, "an extended header is longer than any writer makes it"));
                    }
                    let content = self.cursor.take(size)?;
                    self.pad(size)?;
                    match kind {
                        b'L' => extended.name = Some(until_zero(&content)),
                        b'K' => extended.target = Some(until_zero(&content)),
                        b'x' => pax(&content, &mut extended),
                        _ => {
                            pax(&content, &mut self.global);
                            extended = self.global.clone();
                        }
                    }
                    // Python takes a sparse map's size from there; the member is reported, so what it is does not matter.
                }
                _ => return self.member(at, &block, kind, size, extended).map(Next::Member),
            }
        }
    }

    /// Steps over blocks of zeros from `at` on, as many as a writer may put there, and returns where something else begins.
    fn behind_zeros(&mut self, at: u64) -> Result<u64, Stop> {
        let mut reach = at;
        while self.cursor.left() >= BLOCK_BYTES && reach - at < ZEROS_MAX {
            reach = self.cursor.position();
            let block: [u8; 512] = self.cursor.array()?;
            if block.iter().any(|octet| *octet != 0) {
                return Ok(reach);
            }
            reach = self.cursor.position();
        }
        Ok(reach)
    }

    fn member(&mut self, at: u64, block: &[u8; 512], kind: u8, size: u64, extended: Extended) -> Result<Member, Stop> {
        let mut short_name = until_zero(&block[..100]);
        let prefix = until_zero(&block[345..500]);
        // GNU's own headers have other fields there.
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            short_name = [prefix.as_slice(), b"/", &short_name].concat();
        }
        let mut is_sparse = extended.is_sparse;
        if kind == b'S' {
            is_sparse = true;
            // The map goes on in further blocks while the last one says so.
            let mut goes_on = block[482] != 0;
            while goes_on {
                let block: [u8; 512] = self.cursor.array()?;
                goes_on = block[504] != 0;
            }
        }
        // Links and devices have no content, whatever their header says; pax allows hard links to have it.
        let has_content = !matches!(kind, b'2'..=b'6');
        let size = if has_content { extended.size.unwrap_or(size) } else { 0 };
        let start = self.cursor.position();
        // What reaches beyond the file ends it.
        if self.cursor.skip(size).is_err() || self.pad(size).is_err() {
            let left = self.cursor.left();
            self.cursor.skip(left)?;
        }
        Ok(Member {
            at,
            name: extended.name.unwrap_or_else(|| short_name.clone()),
            short_name,
            target: extended.target.unwrap_or_else(|| until_zero(&block[157..257])),
            kind,
            is_sparse,
            start,
            size,
        })
    }

    /// Steps over what fills the last block of so many octets.
    fn pad(&mut self, size: u64) -> Result<(), Stop> {
        self.cursor.skip(size.next_multiple_of(BLOCK_BYTES) - size)
    }
}

/// Whether a block has the checksum of a header: the sum of its octets, its own field as spaces. Old writers summed signed
/// octets, and readers take both.
pub(super) fn is_header(block: &[u8; 512]) -> bool {
    let Some(stated) = number(&block[148..156]) else { return false };
    let others = || block[..148].iter().chain(&block[156..]);
    let unsigned = others().map(|octet| u64::from(*octet)).sum::<u64>() + 8 * u64::from(b' ');
    let signed = others().map(|octet| i64::from(octet.cast_signed())).sum::<i64>() + 8 * i64::from(b' ');
    stated == unsigned || i64::try_from(stated) == Ok(signed)
}

/// A number in octal digits, or in base 256 if the first bit is set; nothing is zero.
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |value, octet| value.checked_mul(256)?.checked_add(u64::from(*octet)));
    }
    let end = field.iter().position(|octet| *octet == 0).unwrap_or(field.len());
    let digits = std::str::from_utf8(&field[..end]).ok()?.trim();
    // As Python takes them: with a sign, the mark of the base, and underscores.
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let digits = digits.strip_prefix("0o").or_else(|| digits.strip_prefix("0O")).unwrap_or(digits).replace('_', "");
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(&digits, 8).ok() }
}

fn until_zero(field: &[u8]) -> Vec<u8> {
    field.split(|octet| *octet == 0).next().unwrap_or_default().to_vec()
}

/// Takes what matters from the records of a pax header: `<length> <key>=<value>\n`, the length counting all of it.
fn pax(content: &[u8], extended: &mut Extended) {
    let mut rest = content;
    while let Some(space) = rest.iter().position(|octet| *octet == b' ') {
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(record) = length.and_then(|length| rest.get(space + 1..length)) else { return };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = record.iter().position(|octet| *octet == b'=') {
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" | b"GNU.sparse.name" => extended.name = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => extended.size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()),
                _ if key.starts_with(b"GNU.sparse.") => extended.is_sparse = true,
                _ => {}
            }
        }
        rest = length.and_then(|length| rest.get(length..)).unwrap_or_default();
    }
}
