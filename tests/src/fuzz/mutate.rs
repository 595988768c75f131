//! Damaging octets, the same way each time: a small generator whose numbers follow from its seed, and the usual ways in
//! which a file or a message goes wrong.

/// Numbers that follow from a seed (xorshift64*). Not for secrets.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers that follow from some octets (FNV-1a).
    pub fn of(octets: &[u8]) -> Self {
        let hash = octets
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
        Self(hash | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.number() % bound).expect("below a usize")
    }
}

/// Octets that parsers care about.
const PIECES: [&[u8]; 16] = [
    b"\n",
    b"\n\n",
    b" ",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"/",
    b"%2F",
    b"+",
    b"=",
    b"\"",
    b"\\u0041",
    b"0",
    b"18446744073709551615",
    b"{}",
    b"\xe2\x80\x94 ",
];

/// One to four damages of `seed`: bits flipped, octets replaced, cut, doubled, inserted, or spliced from `other`.
pub fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut octets = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(octets.len() + 1);
        let until = (at + random.below(32)).min(octets.len());
        match random.below(8) {
            0 | 1 => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(octet) = octets.get_mut(at) {
                    [*octet, ..] = random.number().to_le_bytes();
                }
            }
            3 => octets.truncate(at),
            4 => drop(octets.drain(at..until)),
            5 => {
                let copy = octets[at..until].to_vec();
                drop(octets.splice(at..at, copy));
            }
            6 => drop(octets.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            _ => {
                let from = random.below(other.len() + 1);
                octets.truncate(at);
                octets.extend_from_slice(&other[from..]);
            }
        }
    }
    octets
}
