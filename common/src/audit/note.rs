//! Signed notes (C2SP signed-note v1), checkpoints (C2SP tlog-checkpoint) and their keys, as in audit-log.md §3. Where
//! keys are kept is not known here.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::audit::tree::Hash;

/// The largest note that is read, in octets.
pub const NOTE_OCTETS_MAX: usize = 1_000_000;
/// The most signatures of a note.
pub const SIGNATURES_MAX: usize = 100;
/// The longest name of a log or key, in octets.
pub const NAME_OCTETS_MAX: usize = 255;
const ED25519: u8 = 0x01;

/// Why a key or a note is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The name of a log or key.
    #[error("a log's name is 1 to {NAME_OCTETS_MAX} printable ASCII characters without space and `+`")]
    Name,
    /// The text of a key.
    #[error("the key's text is malformed")]
    Key,
    /// The form of a note or checkpoint.
    #[error("the note is malformed: {0}")]
    Form(&'static str),
    /// A known key's signature does not fit.
    #[error("the signature of {0} is wrong")]
    Signature(String),
    /// None of the known keys has signed.
    #[error("none of the known keys has signed the note")]
    Unsigned,
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let fits = (1..=NAME_OCTETS_MAX).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'+');
    if fits { Ok(()) } else { Err(NoteError::Name) }
}

/// SHA-256(name ‖ 0x0A ‖ type ‖ public key), its first four octets.
fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn decode_key(text: &str) -> Result<Zeroizing<[u8; 32]>, NoteError> {
    let octets = Zeroizing::new(STANDARD.decode(text).map_err(|_not_base64| NoteError::Key)?);
    match octets.split_first() {
        Some((&ED25519, key)) => key.try_into().map(Zeroizing::new).map_err(|_length| NoteError::Key),
        Some(_) | None => Err(NoteError::Key),
    }
}

/// A key to check signatures with: `name+hex8+base64(0x01 ‖ public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    id: [u8; 4],
    public: VerifyingKey,
}

impl Vkey {
    /// The key's name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn new(name: &str, public: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: key_id(name, public.as_bytes()), public }
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl FromStr for Vkey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        check_name(name)?;
        let public = VerifyingKey::from_bytes(&*decode_key(key)?).map_err(|_point| NoteError::Key)?;
        let vkey = Self::new(name, public);
        if hex::encode(vkey.id) == id { Ok(vkey) } else { Err(NoteError::Key) }
    }
}

/// Signs notes. A file's key is one; a separate process or device can be another.
pub trait NoteSigner: Send + Sync {
    /// The key that checks its signatures, as text.
    fn vkey(&self) -> String;
    /// The signature line of a text, with its newline: `— <name> base64(key id ‖ signature)`.
    fn sign(&self, text: &str) -> String;
}

/// A signing key whose seed lies in a file. Wiped from memory after use.
pub struct FileKey {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FileKey {
    /// The key of a name and a 32-octet seed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The key of Go's text form, `PRIVATE+KEY+<name>+<hex8>+<base64(0x01 ‖ seed)>`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.strip_prefix("PRIVATE+KEY+").ok_or(NoteError::Key)?.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let key = Self::from_seed(name, &*decode_key(seed)?)?;
        if hex::encode(key.public().id) == id { Ok(key) } else { Err(NoteError::Key) }
    }

    /// Go's text form.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut seed = Zeroizing::new(vec![ED25519]);
        seed.extend_from_slice(self.key.as_bytes());
        let seed = Zeroizing::new(STANDARD.encode(&*seed));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{}+{}\n", self.name, hex::encode(self.public().id), &*seed))
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> Vkey {
        Vkey::new(&self.name, self.key.verifying_key())
    }
}

impl NoteSigner for FileKey {
    fn vkey(&self) -> String {
        self.public().to_string()
    }

    fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        let mut octets = self.public().id.to_vec();
        octets.extend_from_slice(&signature.to_bytes());
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(octets))
    }
}

/// Splits a note into its text and its signature lines.
fn split_note(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), NoteError> {
    if note.len() > NOTE_OCTETS_MAX {
        return Err(NoteError::Form("it is too long"));
    }
    if note.bytes().any(|octet| octet < 0x20 && octet != b'\n') {
        return Err(NoteError::Form("it has control characters"));
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Form("no empty line before the signatures"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    let lines = signatures.strip_suffix('\n').ok_or(NoteError::Form("the last line is cut"))?;
    let lines = lines.split('\n').map(SignatureLine::parse).collect::<Result<Vec<_>, _>>()?;
    if lines.len() > SIGNATURES_MAX {
        return Err(NoteError::Form("too many signatures"));
    }
    Ok((text, lines))
}

struct SignatureLine<'n> {
    name: &'n str,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl<'n> SignatureLine<'n> {
    fn parse(line: &'n str) -> Result<Self, NoteError> {
        let bad = NoteError::Form("a signature line is malformed");
        let (name, octets) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(|| bad.clone())?;
        check_name(name).map_err(|_name| bad.clone())?;
        let octets = STANDARD.decode(octets).map_err(|_not_base64| bad.clone())?;
        let (id, signature) = octets.split_first_chunk().filter(|(_id, rest)| !rest.is_empty()).ok_or(bad)?;
        Ok(Self { name, id: *id, signature: signature.to_vec() })
    }
}

/// The text of a note that at least one of the known keys has signed. Unknown signatures are passed over; a known key
/// with a wrong signature is an error.
pub fn open_note<'n>(note: &'n str, known: &[Vkey]) -> Result<&'n str, NoteError> {
    let (text, lines) = split_note(note)?;
    let mut signed = false;
    for line in lines {
        let Some(vkey) = known.iter().find(|vkey| vkey.id == line.id && vkey.name == line.name) else { continue };
        let octets: Result<[u8; 64], _> = line.signature.as_slice().try_into();
        let fits = octets
            .is_ok_and(|octets| vkey.public.verify_strict(text.as_bytes(), &Signature::from_bytes(&octets)).is_ok());
        if !fits {
            return Err(NoteError::Signature(line.name.to_owned()));
        }
        signed = true;
    }
    if signed { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// A checkpoint: which log, how long, which root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The root of them.
    pub root: Hash,
}

impl Checkpoint {
    /// The note's text: three lines, no extensions.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// The signed note.
    pub fn sign(&self, signer: &dyn NoteSigner) -> String {
        let text = self.text();
        let line = signer.sign(&text);
        format!("{text}\n{line}")
    }

    /// The checkpoint of a note's text, in exactly the form of [`Checkpoint::text`].
    pub fn from_text(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Form("a checkpoint has three lines"));
        };
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_unparsable| NoteError::Form("the size is not a number"))?,
            root: root.parse().map_err(|_unparsable| NoteError::Form("the root is not a hash"))?,
        };
        check_name(origin)?;
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(NoteError::Form("not a canonical checkpoint")) }
    }

    /// The checkpoint of a note, its signatures not looked at: for one's own files only.
    pub fn from_note(note: &str) -> Result<Self, NoteError> {
        Self::from_text(split_note(note)?.0)
    }
}

/// The checkpoint of a note that one of the known keys has signed, and whose origin is that key's name.
pub fn verify_checkpoint(note: &str, known: &[Vkey]) -> Result<Checkpoint, NoteError> {
    let checkpoint = Checkpoint::from_text(open_note(note, known)?)?;
    if known.iter().any(|vkey| vkey.name == checkpoint.origin) {
        Ok(checkpoint)
    } else {
        Err(NoteError::Form("it is of another log"))
    }
}
