//! What holds for archives of every kind: which names of members and targets of links stay below the directory an archive is
//! unpacked into. Knows paths only; it reads no archive.

use super::Level;
use super::rules::Rule;

/// A member that is written outside the directory it is unpacked into.
pub(super) const TRAVERSAL: Rule = Rule {
    id: "path.traversal",
    level: Level::Malicious,
    meaning: "A member whose name leads out of the directory the archive is unpacked into: unpacking it overwrites files \
              elsewhere.",
};
/// A link.
pub(super) const LINK: Rule = Rule {
    id: "archive.link",
    level: Level::Malicious,
    meaning: "A link among the members that leads elsewhere, or a member that is unpacked through one: what is written to it \
              lands outside the archive's directory, what is read from it is not the archive's.",
};
/// A device.
pub(super) const DEVICE: Rule = Rule {
    id: "archive.device",
    level: Level::Malicious,
    meaning: "A device or pipe among the members: no model has one, and unpacking it as the administrator makes it work.",
};
/// Much out of little.
pub(super) const RATIO: Rule = Rule {
    id: "archive.ratio",
    level: Level::Suspicious,
    meaning: "Decompresses to more than 250 times its size and more than 10 MiB, as decompression bombs do and weights don't.",
};

/// The rules of all archives.
pub(super) const RULES: &[Rule] = &[TRAVERSAL, LINK, DEVICE, RATIO];

/// Whether a member of this name would be written outside: absolute, with a drive, with a component `..`, or cut at a NUL.
/// Both kinds of slash count, for what unpacks it may be Windows.
pub(super) fn leads_out(name: &[u8]) -> bool {
    name.starts_with(b"/")
        || name.starts_with(b"\\")
        || matches!(name, [drive, b':', ..] if drive.is_ascii_alphabetic())
        || name.contains(&0)
        || components(name).any(|component| component == b"..")
}

/// Whether a symbolic link at `name` points outside: its target from the directory that the link is in.
pub(super) fn link_leads_out(name: &[u8], target: &[u8]) -> bool {
    let is_absolute =
        target.starts_with(b"/") || target.starts_with(b"\\") || matches!(target, [_, b':', ..]) || target.contains(&0);
    if is_absolute {
        return true;
    }
    let mut depth = components(name).count().saturating_sub(1);
    for component in components(target) {
        if component != b".." {
            depth += 1;
        } else if let Some(above) = depth.checked_sub(1) {
            depth = above;
        } else {
            return true;
        }
    }
    false
}

/// The components of a path that mean something.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|octet| matches!(octet, b'/' | b'\\')).filter(|component| !matches!(*component, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::{leads_out, link_leads_out};

    #[test]
    fn names_that_lead_out_are_told_from_those_that_look_so() {
        for name in
            ["/etc/x", "\\x", "C:x", "c:\\x", "..", "../x", "a/../../x", "a\\..\\x", "a/..", "a\0b", "//x", "./../x"]
        {
            assert!(leads_out(name.as_bytes()), "{name:?}");
        }
        for name in ["x", "a/b", "v1..2/x", "..hidden", "a/..b/c..", "./a", "a//b", "...", "a/.../b", "1:2", ""] {
            assert!(!leads_out(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn links_are_followed_from_where_they_are() {
        for (name, target) in [("a", "../x"), ("a/b", "../../x"), ("a", "/x"), ("a", "C:x"), ("a/b", "c/../../../x")] {
            assert!(link_leads_out(name.as_bytes(), target.as_bytes()), "{name} {target}");
        }
        for (name, target) in
            [("a", "x"), ("a/b", "../x"), ("a/b", "../../a/x".trim_start_matches("../")), ("./a/b", "../c/d")]
        {
            assert!(!link_leads_out(name.as_bytes(), target.as_bytes()), "{name} {target}");
        }
    }
}
