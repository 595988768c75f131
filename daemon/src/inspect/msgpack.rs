//! MessagePack: values that each begin with an octet for their type, as Flax writes parameters. All of it is walked to the
//! last octet, with a stack of its own; texts and octets are stepped over. What types of an application's own mean is not
//! known here, but two readers of arrays in MessagePack unpickle octets that stand in it: those are looked for.

use super::cursor::{Cursor, Stop};
use super::pickle::{self, Evidence};
use super::rules::Rule;
use super::scan::{Place, Scan, Slice};
use super::{Level, ReadAt, dispatch};

/// Types of an application.
const EXTENSION: Rule = Rule {
    id: "msgpack.extension",
    level: Level::Note,
    meaning: "The file has values of types that only the writing application knows, as Flax has for arrays; their octets \
              were not looked into.",
};
/// No sound document.
const BROKEN: Rule = Rule {
    id: "msgpack.broken",
    level: Level::Unscannable,
    meaning: "The file is cut short or damaged, so what a lenient reader would find in it is not known.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[EXTENSION, BROKEN];

/// Containers within each other.
const DEPTH_MAX: usize = 512;
/// Opcodes that trying octets as a pickle is charged with.
const TRY_OPCODES: u64 = 10_000;
/// Types that Flax has for arrays, complex numbers and scalars of numpy.
const FLAX: &[i8] = &[1, 2, 3];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk { source, cursor: Cursor::over(source), extensions: [0; 256] };
    let why = match walk.value(scan, place) {
        Ok(None) => {
            walk.conclude(scan, place);
            return dispatch::outside(scan, source, walk.cursor.position(), source.len(), place);
        }
        Ok(Some(why)) => why,
        Err(Stop::End) => "the file ends within a value",
        Err(stop) => return Err(stop),
    };
    scan.find(&BROKEN, place, Some(walk.cursor.position()), why);
    Ok(())
}

struct Walk<'a> {
    source: &'a dyn ReadAt,
    cursor: Cursor<'a>,
    /// How many values there are of each type of an application.
    extensions: [u64; 256],
}

impl Walk<'_> {
    /// Walks one value with all that is in it. What is wrong, if anything is.
    fn value(&mut self, scan: &mut Scan, place: &Place) -> Result<Option<&'static str>, Stop> {
        // How many values are left in each container that is open.
        let mut open: Vec<u64> = vec![1];
        while let Some(left) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            scan.tick(place)?;
            let marker = self.cursor.octet()?;
            let values = match marker {
                // A map has two values for each entry.
                0x80..=0x8f => u64::from(marker & 15) * 2,
                0x90..=0x9f => u64::from(marker & 15),
                0xdc => self.count(2)?,
                0xdd => self.count(4)?,
                0xde => self.count(2)? * 2,
                0xdf => self.count(4)? * 2,
                0xc1 => return Ok(Some("a value is of the type that is never used")),
                _ => {
                    self.leaf(scan, place, marker)?;
                    continue;
                }
            };
            if open.len() > DEPTH_MAX {
                return Ok(Some("containers are nested too deep"));
            }
            open.push(values);
        }
        Ok(None)
    }

    /// A value with no values in it.
    fn leaf(&mut self, scan: &mut Scan, place: &Place, marker: u8) -> Result<(), Stop> {
        let length = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 0,
            0xa0..=0xbf => u64::from(marker & 31),
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 => 2,
            0xca | 0xce | 0xd2 => 4,
            0xcb | 0xcf | 0xd3 => 8,
            0xc4 | 0xc7 | 0xd9 => self.count(1)?,
            0xc5 | 0xc8 | 0xda => self.count(2)?,
            0xc6 | 0xc9 | 0xdb => self.count(4)?,
            // 1, 2, 4, 8 and 16 octets of an application's type.
            0xd4..=0xd8 => 1 << (marker - 0xd4),
            0x80..=0x9f | 0xc1 | 0xdc..=0xdf => 0,
        };
        if matches!(marker, 0xc7..=0xc9 | 0xd4..=0xd8) {
            let kind = usize::from(self.cursor.octet()?);
            self.extensions[kind] += 1;
        }
        let start = self.cursor.position();
        self.cursor.skip(length)?;
        if length > 2 && matches!(marker, 0xa0..=0xbf | 0xc4..=0xc9 | 0xd9..=0xdb) {
            self.pickle(scan, place, start, length)?;
        }
        Ok(())
    }

    /// Octets that may be a pickle to what reads them.
    fn pickle(&mut self, scan: &mut Scan, place: &Place, start: u64, length: u64) -> Result<(), Stop> {
        let octets = Slice::new(self.source, start, start + length);
        let mut head = [0; 2];
        octets.read_at(0, &mut head)?;
        if matches!(head, [0x80, 2..=5]) {
            scan.opcodes(place, TRY_OPCODES)?;
            if pickle::examine(&octets)? == Evidence::Sound {
                pickle::scan(scan, &octets, &place.part(start))?;
            }
        }
        Ok(())
    }

    fn count(&mut self, width: u32) -> Result<u64, Stop> {
        let mut count = 0;
        for _ in 0..width {
            count = count << 8 | u64::from(self.cursor.octet()?);
        }
        Ok(count)
    }

    fn conclude(&self, scan: &mut Scan, place: &Place) {
        for kind in i8::MIN..=i8::MAX {
            let count = self.extensions[usize::from(kind.cast_unsigned())];
            if count > 0 && FLAX.contains(&kind) {
                scan.facts.set("arrays", count);
            } else if count > 0 && kind != -1 {
                let detail = format_args!("{count} values of the application's type {kind}");
                scan.find(&EXTENSION, place, None, detail);
            }
        }
    }
}
