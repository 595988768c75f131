//! Places in lists as cursors name them. A walk may end at something that its reader is not to see, and then its place, which
//! has names and times in it, is sealed: nobody but a daemon with the same key reads it or makes one. Knows octets; refuses to
//! know what is listed.

use sha2::{Digest as _, Sha256};

use crate::config::secret::Secret;
use crate::registry::error::RegistryError;

/// What a sealed place begins with; an open one is hex.
const SEALED: char = '~';
/// Octets of the tag, which is also what the key stream hangs on.
const TAG_OCTETS: usize = 16;
/// Sealed places are as long as a multiple of this: how long a name is is not told.
const BLOCK_OCTETS: usize = 64;
/// Where what was put behind a place begins.
const PAD: u8 = 0x80;

/// The key under which places are sealed.
pub(crate) struct PlaceKey([u8; 32]);

impl PlaceKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(Sha256::new().chain_update(b"mreg place\0").chain_update(secret.expose()).finalize().into())
    }

    /// A place as a cursor names it.
    pub(crate) fn shown(&self, place: &[u8], sealed: bool) -> String {
        if !sealed {
            return hex::encode(place);
        }
        let mut octets = place.to_vec();
        octets.push(PAD);
        octets.resize(octets.len().next_multiple_of(BLOCK_OCTETS), 0);
        let tag = self.tag(&octets);
        self.stream(&tag, &mut octets);
        format!("{SEALED}{}{}", hex::encode(tag), hex::encode(octets))
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    /// `Invalid` with the place `query.cursor`.
    pub(crate) fn read(&self, text: &str) -> Result<Vec<u8>, RegistryError> {
        let read = match text.strip_prefix(SEALED) {
            Some(sealed) => hex::decode(sealed).ok().and_then(|sealed| self.open(&sealed)),
            None => hex::decode(text).ok(),
        };
        read.ok_or_else(|| RegistryError::invalid("query.cursor", "it is damaged"))
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, octets) = sealed.split_first_chunk::<TAG_OCTETS>()?;
        let mut octets = octets.to_vec();
        self.stream(tag, &mut octets);
        if self.tag(&octets) != *tag {
            return None;
        }
        let end = octets.iter().rposition(|octet| *octet == PAD)?;
        octets.truncate(end);
        Some(octets)
    }

    /// Says of octets that they were sealed here. It hangs on all of them, so no two places share a key stream.
    fn tag(&self, octets: &[u8]) -> [u8; TAG_OCTETS] {
        let mut tag = [0; TAG_OCTETS];
        tag.copy_from_slice(&self.hash(b"tag", octets)[..TAG_OCTETS]);
        tag
    }

    fn stream(&self, tag: &[u8; TAG_OCTETS], octets: &mut [u8]) {
        for (count, block) in octets.chunks_mut(32).enumerate() {
            let of = [&tag[..], &(count as u64).to_be_bytes()].concat();
            block.iter_mut().zip(self.hash(b"stream", &of)).for_each(|(octet, with)| *octet ^= with);
        }
    }

    /// Hashed twice, so that nothing can be appended to what was hashed.
    fn hash(&self, what: &[u8], octets: &[u8]) -> [u8; 32] {
        let inner = Sha256::new().chain_update(self.0).chain_update(what).chain_update(b"\0").chain_update(octets);
        Sha256::new().chain_update(self.0).chain_update(inner.finalize()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::PlaceKey;
    use crate::config::secret::Secret;

    fn key(text: &str) -> PlaceKey {
        PlaceKey::new(&Secret::new(text.to_owned()))
    }

    proptest! {
        /// Every place is read again, and a sealed one by nobody else; nothing of it shows, not even how long it is.
        #[test]
        fn sealed_and_read(place in prop::collection::vec(any::<u8>(), 0..130), flipped in 0_usize..60) {
            let (ours, theirs) = (key("ours"), key("theirs"));
            let sealed = ours.shown(&place, true);
            prop_assert_eq!(ours.read(&sealed).unwrap(), place.clone());
            prop_assert_eq!(ours.read(&ours.shown(&place, false)).unwrap(), place.clone());
            prop_assert!(theirs.read(&sealed).is_err());
            let mut other = sealed.clone().into_bytes();
            other[1 + flipped] ^= 1;
            prop_assert!(ours.read(&String::from_utf8(other).unwrap()).is_err());
            prop_assert_eq!((sealed.len() - 33) % 128, 0);
            prop_assert!(place.len() < 4 || !sealed.contains(&hex::encode(&place)));
        }

        /// No text makes it panic.
        #[test]
        fn any_text(text in "~?[0-9a-f~]{0,80}") {
            let _ = key("ours").read(&text);
        }
    }
}
