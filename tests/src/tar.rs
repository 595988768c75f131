//! Reads tar streams (POSIX ustar with pax records), as strictly as a test should.

use std::collections::BTreeMap;

/// The files of a tar stream: path and octets, in the stream's order. Panics where the stream is not what POSIX says.
pub fn read(stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut pax: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = stream;
    loop {
        let (header, tail) = rest.split_at(512);
        if header.iter().all(|octet| *octet == 0) {
            assert!(
                tail.len() >= 512 && tail.iter().all(|octet| *octet == 0),
                "a tar stream ends with two empty blocks"
            );
            return files;
        }
        assert_eq!(&header[257..262], b"ustar", "magic");
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(at, octet)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*octet) })
            .sum();
        assert_eq!(u64::from(sum), octal(&header[148..156]), "checksum");
        let mut size = octal(&header[124..136]);
        let kind = header[156];
        if kind != b'x'
            && let Some(told) = pax.get("size")
        {
            size = told.parse().unwrap();
        }
        let size = usize::try_from(size).unwrap();
        let padded = size.div_ceil(512) * 512;
        let (data, tail) = tail.split_at(padded);
        assert!(data[size..].iter().all(|octet| *octet == 0), "padding");
        let data = &data[..size];
        match kind {
            b'x' => pax = records(data),
            b'0' | 0 => {
                let mut path = text(&header[..100]);
                let prefix = text(&header[345..500]);
                if !prefix.is_empty() {
                    path = format!("{prefix}/{path}");
                }
                files.push((pax.remove("path").unwrap_or(path), data.to_vec()));
                pax.clear();
            }
            other => panic!("an entry of type {:?}", char::from(other)),
        }
        rest = tail;
    }
}

fn octal(field: &[u8]) -> u64 {
    let digits: String = field.iter().map(|octet| char::from(*octet)).filter(char::is_ascii_digit).collect();
    if digits.is_empty() { 0 } else { u64::from_str_radix(&digits, 8).unwrap() }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|octet| *octet == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).unwrap()
}

/// `LEN KEY=VALUE\n`, where LEN counts all of it.
fn records(mut data: &[u8]) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let space = data.iter().position(|octet| *octet == b' ').unwrap();
        let len: usize = std::str::from_utf8(&data[..space]).unwrap().parse().unwrap();
        let (record, tail) = data.split_at(len);
        assert_eq!(record.last(), Some(&b'\n'), "a pax record ends with a newline");
        let record = std::str::from_utf8(&record[space + 1..len - 1]).unwrap();
        let (key, value) = record.split_once('=').unwrap();
        records.insert(key.to_owned(), value.to_owned());
        data = tail;
    }
    records
}
