//! The content of a zip archive's members: gets at it by every view that records give of it, checks its checksum and size,
//! and hands it to what reads its format. Knows methods of compression by number, and PyTorch's names.

use std::collections::HashSet;

use flate2::Crc;

use super::records::Header;
use super::{BROKEN, CRC, METHOD, MISMATCH, OPERATOR};
use crate::inspect::cursor::Stop;
use crate::inspect::inflate::{Method, unpack};
use crate::inspect::pickle::{self, Evidence};
use crate::inspect::rules;
use crate::inspect::scan::{Place, Scan, Slice, whole};
use crate::inspect::{Format, ReadAt, compressed, dispatch, read_up_to};

/// A stored member of at most so many octets is read for its checksum.
const CHECKED_BYTES_MAX: u64 = 16 << 20;

/// A member as the records say.
pub(super) struct Member {
    pub(super) name: String,
    /// Where its data is and how it is packed: more than one where records disagree.
    pub(super) views: Vec<View>,
    pub(super) is_sealed: bool,
}

/// One view of a member's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) start: u64,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    pub(super) method: u16,
    pub(super) crc: u32,
    /// LZMA ends with a mark.
    pub(super) has_mark: bool,
    /// Sizes and checksum are known.
    pub(super) is_exact: bool,
}

impl View {
    /// What a header says, of data that begins at `start`.
    pub(super) fn new(header: &Header, start: u64) -> Self {
        let (packed, unpacked) = (header.packed, header.unpacked);
        let has_mark = header.flags & 2 != 0;
        Self { start, packed, unpacked, method: header.method, crc: header.crc, has_mark, is_exact: true }
    }

    /// How it is decompressed; `None` if it is stored.
    fn method(&self) -> Option<Result<Method, u16>> {
        Some(Ok(match self.method {
            0 => return None,
            8 => Method::Deflate,
            12 => Method::Bzip2,
            14 => Method::ZipLzma((!self.has_mark && self.is_exact).then_some(self.unpacked)),
            93 | 20 => Method::Zstd,
            95 => Method::Xz,
            other => return Some(Err(other)),
        }))
    }
}

/// Looks at a member's content in every view. `seen` are views that were looked at: members may share data.
pub(super) fn scan(
    scan: &mut Scan,
    source: &dyn ReadAt,
    place: &Place,
    format: Format,
    member: &Member,
    seen: &mut HashSet<(u64, u64, u16)>,
) -> Result<(), Stop> {
    let inner = place.member(format, &member.name);
    for view in &member.views {
        if !seen.insert((view.start, view.packed, view.method)) {
            // It is a member all the same.
            scan.enter(&inner)?;
            continue;
        }
        if view.start.checked_add(view.packed).is_none_or(|end| end > source.len()) {
            scan.find(&BROKEN, place, Some(view.start), format_args!("{:?} reaches beyond the file", member.name));
        }
        let data = Slice::new(source, view.start, view.start.saturating_add(view.packed));
        one(scan, &data, &inner, format, member, view)?;
    }
    Ok(())
}

fn one(
    scan: &mut Scan,
    data: &Slice<'_>,
    inner: &Place,
    format: Format,
    member: &Member,
    view: &View,
) -> Result<(), Stop> {
    let is_directory = member.name.ends_with('/') && data.is_empty();
    if is_directory || (view.method == 0 && is_storage(format, &member.name) && !is_disguised(data)?) {
        return scan.enter(inner);
    }
    match view.method() {
        None => {
            if view.is_exact {
                check_stored(scan, data, inner, view)?;
            }
            read(scan, data, inner, format, member)
        }
        Some(Err(method)) => {
            scan.find(&METHOD, inner, None, format_args!("compressed by method {method}"));
            scan.enter(inner)
        }
        Some(Ok(method)) => unpacked(scan, data, inner, format, member, view, method),
    }
}

/// Checks size and, if it is not too long to be read for it, checksum of what is stored as it is.
fn check_stored(scan: &mut Scan, data: &dyn ReadAt, inner: &Place, view: &View) -> Result<(), Stop> {
    if view.packed != view.unpacked {
        scan.find(&MISMATCH, inner, None, "stored as it is, and of another size than it should have");
    }
    if data.len() > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let mut crc = Crc::new();
    let mut at = 0;
    while at < data.len() {
        let chunk = read_up_to(data, at, 64 << 10)?;
        crc.update(&chunk);
        at += chunk.len() as u64;
        scan.tick(inner)?;
    }
    judge_checksum(scan, inner, crc.sum(), view);
    Ok(())
}

fn judge_checksum(scan: &mut Scan, inner: &Place, found: u32, view: &View) {
    if found != view.crc {
        let said = view.crc;
        scan.find(&CRC, inner, None, format_args!("its checksum is {found:08x}, and should be {said:08x}"));
    }
}

/// Decompresses a member, at most one octet more than it should have, and looks at what comes out.
fn unpacked(
    scan: &mut Scan,
    data: &Slice<'_>,
    inner: &Place,
    format: Format,
    member: &Member,
    view: &View,
    method: Method,
) -> Result<(), Stop> {
    let max = if view.is_exact { view.unpacked.saturating_add(1) } else { u64::MAX };
    let unpacked = unpack(scan, inner, data, method, max)?;
    let length = unpacked.content.len();
    match &unpacked.broken {
        // What comes out of a cipher text is noise.
        Some(_) if member.is_sealed => return scan.enter(inner),
        Some(fault) => {
            scan.find(&BROKEN, inner, Some(unpacked.consumed), format_args!("can't be decompressed: {fault}"))
        }
        None if !view.is_exact => {}
        None if length != view.unpacked => {
            let said = view.unpacked;
            let what = if length > said { "more" } else { "less" };
            scan.find(
                &MISMATCH,
                inner,
                None,
                format_args!("decompresses to {what} than the {said} octets it should have"),
            );
        }
        None => {
            judge_checksum(scan, inner, unpacked.crc, view);
            dispatch::outside(scan, data, unpacked.consumed, data.len(), inner)?;
        }
    }
    compressed::judge_ratio(scan, inner, unpacked.consumed, length);
    read(scan, &unpacked.content, inner, format, member)
}

fn read(scan: &mut Scan, content: &dyn ReadAt, inner: &Place, format: Format, member: &Member) -> Result<(), Stop> {
    if format == Format::Torchscript && member.name.ends_with(".py") {
        script(scan, content, inner)?;
    }
    dispatch::member(scan, content, inner, &member.name)?;
    Ok(())
}

/// TorchScript has no imports and no Python, but some of its operators reach files.
fn script(scan: &mut Scan, content: &dyn ReadAt, inner: &Place) -> Result<(), Stop> {
    let Some(code) = whole(content, scan.limits.held_bytes)? else {
        scan.find(&rules::UNREAD, inner, None, "TorchScript that is too long to be looked through");
        return Ok(());
    };
    for operator in ["torch.from_file", "torch.save", "ops.aten.save", "ops.aten.from_file"] {
        let at = code.windows(operator.len()).position(|window| window == operator.as_bytes());
        if let Some(at) = at {
            scan.find(&OPERATOR, inner, Some(at as u64), format_args!("uses {operator}, which reads or writes files"));
        }
    }
    Ok(())
}

/// Whether PyTorch takes a member for the raw numbers of a tensor: `<folder>/data/<number>` and its like.
fn is_storage(format: Format, name: &str) -> bool {
    let Some((folder, file)) = name.rsplit_once('/') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    match format {
        Format::PytorchZip | Format::Torchscript => {
            is_number(file) && matches!(folder.rsplit('/').next(), Some("data" | "constants" | "tensors"))
        }
        Format::TorchPackage => folder.ends_with(".data") && file.strip_suffix(".storage").is_some_and(is_number),
        _ => false,
    }
}

/// Whether raw numbers begin as something that a loader would make more of.
fn is_disguised(data: &dyn ReadAt) -> Result<bool, Stop> {
    let head = read_up_to(data, 0, 4)?;
    Ok(head.starts_with(b"PK\x03\x04") || pickle::examine(data)? == Evidence::Sound)
}
