//! A tar stream, POSIX pax interchange format (IEEE Std 1003.1, `pax`): the octets around the files' own, and how many
//! there will be. The same files make the same octets. Knows paths, sizes and one time; refuses to know where the files'
//! octets come from.

/// Octets of a block; everything is a multiple of it.
const BLOCK: usize = 512;
/// Two blocks of zeros end the archive.
pub(super) const TRAILER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The longest path that fits into a header's `name`, octets.
const NAME_MAX: usize = 100;
/// The largest size that eleven octal digits can say, octets.
const SIZE_MAX: u64 = 0o777_7777_7777;

/// What stands before a file's octets: its header, and before it an extended one where the path or the size needs it.
pub(super) fn header(path: &str, size: u64, mtime_s: u64) -> Vec<u8> {
    let mut octets = Vec::with_capacity(3 * BLOCK);
    let records = records(path, size);
    if !records.is_empty() {
        let length = records.len() as u64;
        octets.extend_from_slice(&block("PaxHeader", length, mtime_s, b'x'));
        octets.extend_from_slice(records.as_bytes());
        octets.resize(octets.len() + padding(length), 0);
    }
    let size = if size > SIZE_MAX { 0 } else { size };
    octets.extend_from_slice(&block(&path[..path.floor_char_boundary(NAME_MAX)], size, mtime_s, b'0'));
    octets
}

/// Zeros after `size` octets of a file.
pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("a remainder of 512 is small");
    (BLOCK - over) % BLOCK
}

/// Octets of the whole archive of these paths and sizes.
pub(super) fn total<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    files.fold(TRAILER.len() as u64, |sum, (path, size)| {
        let around = header(path, size, 0).len() + padding(size);
        sum.saturating_add(size).saturating_add(around as u64)
    })
}

/// Extended header records, for what a header can't say.
fn records(path: &str, size: u64) -> String {
    let mut records = String::new();
    if path.len() > NAME_MAX || !path.is_ascii() {
        records.push_str(&record("path", path));
    }
    if size > SIZE_MAX {
        records.push_str(&record("size", &size.to_string()));
    }
    records
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// A ustar header block.
fn block(name: &str, size: u64, mtime_s: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, octets: &[u8]| block[at..at + octets.len()].copy_from_slice(octets);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", mtime_s.min(SIZE_MAX)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|octet| u32::from(*octet)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{BLOCK, SIZE_MAX, TRAILER, header, padding, record, total};

    /// Reads an archive by the standard: paths, sizes, octets.
    fn read(mut archive: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
        let octal = |field: &[u8]| {
            u64::from_str_radix(std::str::from_utf8(field).unwrap().trim_matches(['\0', ' ']), 8).unwrap()
        };
        let text =
            |field: &[u8]| String::from_utf8(field.iter().copied().take_while(|octet| *octet != 0).collect()).unwrap();
        let mut files = Vec::new();
        let mut extended: Vec<(String, String)> = Vec::new();
        while archive[..BLOCK].iter().any(|octet| *octet != 0) {
            let (head, rest) = archive.split_at(BLOCK);
            let sum: u32 = head
                .iter()
                .enumerate()
                .map(|(at, octet)| if (148..156).contains(&at) { 32 } else { u32::from(*octet) })
                .sum();
            assert_eq!(octal(&head[148..156]), u64::from(sum));
            assert_eq!(&head[257..265], b"ustar\x0000");
            let take = |name: &str| extended.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            let size = take("size").map_or_else(|| octal(&head[124..136]), |size| size.parse().unwrap());
            let (octets, rest) = rest.split_at(usize::try_from(size).unwrap());
            archive = &rest[padding(size)..];
            if head[156] == b'x' {
                let mut records = std::str::from_utf8(octets).unwrap();
                while !records.is_empty() {
                    let (length, _) = records.split_once(' ').unwrap();
                    let (record, rest) = records.split_at(length.parse().unwrap());
                    let (key, value) = record[length.len() + 1..].strip_suffix('\n').unwrap().split_once('=').unwrap();
                    extended.push((key.to_owned(), value.to_owned()));
                    records = rest;
                }
            } else {
                let path = take("path").unwrap_or_else(|| text(&head[..100]));
                extended.clear();
                files.push((path, octal(&head[136..148]), octets.to_vec()));
            }
        }
        assert_eq!(archive, TRAILER);
        files
    }

    fn write(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (path, octets) in files {
            let size = octets.len() as u64;
            archive.extend(header(path, size, 1_769_860_800));
            archive.extend(octets);
            archive.resize(archive.len() + padding(size), 0);
        }
        archive.extend(TRAILER);
        archive
    }

    proptest! {
        /// What is written is read, whatever the names, and is as long as was said.
        #[test]
        fn round_trip(files in proptest::collection::vec(("[a-zé/._ -]{1,300}", proptest::collection::vec(0_u8..=255, 0..1500)), 0..5)) {
            let archive = write(&files);
            prop_assert_eq!(archive.len() as u64, total(files.iter().map(|(path, octets)| (path.as_str(), octets.len() as u64))));
            let found = read(&archive);
            prop_assert_eq!(found.len(), files.len());
            for ((path, octets), (found_path, mtime, found_octets)) in files.iter().zip(found) {
                prop_assert_eq!(path, &found_path);
                prop_assert_eq!(octets, &found_octets);
                prop_assert_eq!(mtime, 1_769_860_800);
            }
        }
    }

    #[test]
    fn a_record_counts_itself() {
        for length in [1, 88, 89, 90, 91, 92, 93, 94, 95, 985, 986, 987, 988, 989, 990, 991, 992] {
            let record = record("path", &"x".repeat(length));
            let (said, _) = record.split_once(' ').unwrap();
            assert_eq!(said.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn sizes_beyond_octal_are_in_a_record() {
        assert_eq!(header("a", SIZE_MAX, 0).len(), BLOCK);
        let large = header("a", SIZE_MAX + 1, 0);
        assert_eq!(large.len(), 3 * BLOCK);
        assert!(large[BLOCK..].starts_with(b"19 size=8589934592\n"));
        assert_eq!(total([("a", u64::MAX)].into_iter()), u64::MAX, "nonsense does not wrap");
    }
}
