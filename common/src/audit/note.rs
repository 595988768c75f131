//! Signed notes, keys and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature).
//!
//! Knows the texts, what a signature covers, and how a note is opened with pinned keys. Refuses to know where keys are
//! kept, when a checkpoint may be signed, and which keys deserve trust.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::tile::parse_decimal;
use super::tree::{Hash, empty_root};

/// Octets of the longest note that is read: what Go's reader accepts, too.
pub const NOTE_LEN_MAX: usize = 1_000_000;

/// The most signature lines of a note that is read.
pub const SIGNATURES_MAX: usize = 100;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_PREFIX: &str = "— ";

/// What the private half of a key begins with.
const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Type 0x01: Ed25519 over the text of the note. Logs sign so.
    Ed25519,
    /// Type 0x04: Ed25519 over the time and the checkpoint. Witnesses sign so.
    CosignatureV1,
}

impl KeyType {
    /// The octet that names the type in keys and key identifiers.
    fn octet(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Ed25519, Self::CosignatureV1].into_iter().find(|kind| kind.octet() == octet)
    }
}

/// The short identifier of a key: the first four octets of SHA-256(name ‖ 0x0A ‖ type ‖ public key). It tells keys of one
/// name apart; it proves nothing. Displays as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn new(name: &str, kind: KeyType, public: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name);
        hasher.update([0x0a, kind.octet()]);
        hasher.update(public);
        let hash: [u8; 32] = hasher.finalize().into();
        Self([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Whether a text can name a key or a log: not empty, no white space, no `+`, no control characters.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// The public half of a key, as pinned by whoever verifies. Parses from and displays as a vkey:
/// `<name>+<8 hex>+<base64(type ‖ public key)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: KeyId,
    kind: KeyType,
    key: VerifyingKey,
}

impl Verifier {
    fn new(name: &str, kind: KeyType, key: VerifyingKey) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), id: KeyId::new(name, kind, key.as_bytes()), kind, key })
    }

    /// The name of the key: for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identifier in its signature lines.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// How it signs.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The 32 octets of the public key. Two vkeys of one public key are one key, whatever their names.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Checks a signature over the text of a note, and gives the time a cosignature states, in seconds since
    /// 1970-01-01T00:00:00Z.
    fn verify(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        match self.kind {
            KeyType::Ed25519 => {
                let signature = Ed25519Signature::from_slice(signature).ok()?;
                self.key.verify_strict(text.as_bytes(), &signature).ok()?;
                Some(None)
            }
            KeyType::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                let signature = Ed25519Signature::from_slice(signature).ok()?;
                self.key.verify_strict(cosigned_message(time, text).as_bytes(), &signature).ok()?;
                Some(Some(time))
            }
        }
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        // Base64 may itself contain `+`: only the first two separate.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let (kind, key) = decode_key(key)?;
        let key = VerifyingKey::from_bytes(&key).ok().ok_or(KeyError::Key)?;
        let verifier = Self::new(name, kind, key)?;
        if verifier.id.to_string() == id { Ok(verifier) } else { Err(KeyError::Id) }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.id, *encode_key(self.kind, self.key.as_bytes()))
    }
}

/// Why a text is not a key, or cannot name one. The text is never repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The name is empty, or has white space, control characters or `+`.
    #[error("key name is empty or has white space, control characters or `+`")]
    Name,
    /// Its parts are missing.
    #[error("key is not of the form `name+id+base64`, or `PRIVATE+KEY+name+id+base64` for a private one")]
    Form,
    /// Its base64 is not a key of a known type.
    #[error("key is not the base64 of a known key type and 32 octets")]
    Key,
    /// Its identifier does not belong to its name and key.
    #[error("key identifier does not fit name and key")]
    Id,
    /// It is a key of another use: a log's for a witness, or the reverse.
    #[error("key is of a type for another use")]
    Use,
}

fn decode_key(text: &str) -> Result<(KeyType, Zeroizing<[u8; 32]>), KeyError> {
    let octets = Zeroizing::new(STANDARD.decode(text).ok().ok_or(KeyError::Key)?);
    let (kind, key) = octets.split_first().ok_or(KeyError::Key)?;
    let kind = KeyType::from_octet(*kind).ok_or(KeyError::Key)?;
    let mut out = Zeroizing::new([0; 32]);
    if key.len() != out.len() {
        return Err(KeyError::Key);
    }
    out.copy_from_slice(key);
    Ok((kind, out))
}

fn encode_key(kind: KeyType, key: &[u8; 32]) -> Zeroizing<String> {
    let mut octets = Zeroizing::new([0; 33]);
    octets[0] = kind.octet();
    octets[1..].copy_from_slice(key);
    Zeroizing::new(STANDARD.encode(*octets))
}

/// Signs notes.
///
/// `sign` gives one complete signature line, `— <name> <base64(id ‖ signature)>` and a newline, over exactly the text
/// given. It signs whatever it is given: that the state a checkpoint describes is durable, and extends all that was signed
/// before, is for the caller to see to, or for a signer that insists on proof. It may block, for a key may live in
/// another process or a device. A line is only returned where [`Signer::verifier`] verifies it.
pub trait Signer: Send + Sync {
    /// The public half.
    fn verifier(&self) -> &Verifier;

    /// Signs the text of a note.
    ///
    /// # Errors
    /// [`SignError`] where the key cannot be reached, or refuses.
    fn sign(&self, text: &str) -> Result<String, SignError>;
}

/// Why a note was not signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// No key was given: a note without a signature is not a note.
    #[error("no key to sign with")]
    NoKey,
    /// The key is not that of the log: its name is not the origin.
    #[error("key `{key}` cannot sign for log `{origin}`")]
    Origin {
        /// The name of the key.
        key: String,
        /// The origin of the checkpoint.
        origin: String,
    },
    /// The signer could not be reached, or refused.
    #[error("signer did not sign")]
    Signer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An Ed25519 key held in memory: the log's own. Wiped when dropped, never displayed.
pub struct Ed25519Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl Ed25519Signer {
    /// The key of that name made from 32 random octets. The caller wipes its copy.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let (key, verifier) = key_pair(name, KeyType::Ed25519, seed)?;
        Ok(Self { key, verifier })
    }

    /// Reads Go's form, `PRIVATE+KEY+<name>+<8 hex>+<base64(0x01 ‖ seed)>`, without a newline.
    ///
    /// # Errors
    /// [`KeyError`] where it is anything else.
    pub fn parse(secret: &str) -> Result<Self, KeyError> {
        let (key, verifier) = parse_secret(secret, KeyType::Ed25519)?;
        Ok(Self { key, verifier })
    }

    /// Writes Go's form, to be kept in a file of mode 0600.
    pub fn to_secret(&self) -> Zeroizing<String> {
        format_secret(&self.key, &self.verifier)
    }
}

impl Signer for Ed25519Signer {
    fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn sign(&self, text: &str) -> Result<String, SignError> {
        Ok(signature_line(&self.verifier, &self.key.sign(text.as_bytes()).to_bytes()))
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer").field("verifier", &self.verifier.to_string()).finish_non_exhaustive()
    }
}

/// The key of a witness, which signs checkpoints together with the time it saw them. Wiped when dropped.
pub struct Cosigner {
    key: SigningKey,
    verifier: Verifier,
}

impl Cosigner {
    /// The key of that name made from 32 random octets. The caller wipes its copy.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let (key, verifier) = key_pair(name, KeyType::CosignatureV1, seed)?;
        Ok(Self { key, verifier })
    }

    /// Reads `PRIVATE+KEY+<name>+<8 hex>+<base64(0x04 ‖ seed)>`, without a newline.
    ///
    /// # Errors
    /// [`KeyError`] where it is anything else.
    pub fn parse(secret: &str) -> Result<Self, KeyError> {
        let (key, verifier) = parse_secret(secret, KeyType::CosignatureV1)?;
        Ok(Self { key, verifier })
    }

    /// Writes what [`Cosigner::parse`] reads, to be kept in a file of mode 0600.
    pub fn to_secret(&self) -> Zeroizing<String> {
        format_secret(&self.key, &self.verifier)
    }

    /// The public half.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The cosignature line of a checkpoint's text, seen at that time in seconds since 1970-01-01T00:00:00Z.
    pub fn cosign(&self, text: &str, unix_s: u64) -> String {
        let mut signature = [0; 72];
        signature[..8].copy_from_slice(&unix_s.to_be_bytes());
        signature[8..].copy_from_slice(&self.key.sign(cosigned_message(unix_s, text).as_bytes()).to_bytes());
        signature_line(&self.verifier, &signature)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigner").field("verifier", &self.verifier.to_string()).finish_non_exhaustive()
    }
}

fn key_pair(name: &str, kind: KeyType, seed: &[u8; 32]) -> Result<(SigningKey, Verifier), KeyError> {
    let key = SigningKey::from_bytes(seed);
    let verifier = Verifier::new(name, kind, key.verifying_key())?;
    Ok((key, verifier))
}

fn parse_secret(secret: &str, kind: KeyType) -> Result<(SigningKey, Verifier), KeyError> {
    let rest = secret.strip_prefix(SECRET_PREFIX).ok_or(KeyError::Form)?;
    let mut parts = rest.splitn(3, '+');
    let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let (found, seed) = decode_key(seed)?;
    if found != kind {
        return Err(KeyError::Use);
    }
    let (key, verifier) = key_pair(name, kind, &seed)?;
    if verifier.id.to_string() == id { Ok((key, verifier)) } else { Err(KeyError::Id) }
}

fn format_secret(key: &SigningKey, verifier: &Verifier) -> Zeroizing<String> {
    let mut seed = key.to_bytes();
    let encoded = encode_key(verifier.kind, &seed);
    seed.zeroize();
    Zeroizing::new(format!("{SECRET_PREFIX}{}+{}+{}", verifier.name, verifier.id, *encoded))
}

/// What a witness signs: the time, then the text of the checkpoint.
fn cosigned_message(unix_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{text}")
}

fn signature_line(verifier: &Verifier, signature: &[u8]) -> String {
    let octets = [&verifier.id.0, signature].concat();
    format!("{SIGNATURE_PREFIX}{} {}\n", verifier.name, STANDARD.encode(octets))
}

/// A note taken apart. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<Signature<'a>>,
}

/// A signature line of a note, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature<'a> {
    name: &'a str,
    id: KeyId,
    octets: Vec<u8>,
}

/// A signature of a note that a pinned key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The name of the key.
    pub name: String,
    /// Its identifier.
    pub id: KeyId,
    /// How it signed: a log's own signature, or a witness's.
    pub kind: KeyType,
    /// When a witness saw the checkpoint, in seconds since 1970-01-01T00:00:00Z.
    pub cosigned_at: Option<u64>,
}

impl<'a> Note<'a> {
    /// Takes a note apart: a text, an empty line, and at least one signature line.
    ///
    /// # Errors
    /// [`NoteError`] where it is malformed or beyond the limits.
    pub fn parse(note: &'a [u8]) -> Result<Self, NoteError> {
        if note.len() > NOTE_LEN_MAX {
            return Err(NoteError::TooLong);
        }
        let note = str::from_utf8(note).ok().ok_or(NoteError::Characters)?;
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Characters);
        }
        // The last empty line separates: the text may have some of its own.
        let split = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(Signature::parse(line).ok_or(NoteError::SignatureLine)?);
        }
        Ok(Self { text, signatures })
    }

    /// The text that is signed, with its final newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Who says to have signed: name and identifier of each signature's key, unverified.
    pub fn signers(&self) -> Vec<(&'a str, KeyId)> {
        self.signatures.iter().map(|signature| (signature.name, signature.id)).collect()
    }

    /// The signatures that pinned keys made, in the order of the note, one for each key. Lines of unknown keys are passed
    /// over.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] where a line bears a pinned key's name and identifier but not its signature;
    /// [`NoteError::NoKnownKey`] where no line does.
    pub fn verify(&self, pinned: &[Verifier]) -> Result<Vec<VerifiedSignature>, NoteError> {
        let mut verified: Vec<VerifiedSignature> = Vec::new();
        for signature in &self.signatures {
            let mut known = pinned.iter().filter(|v| v.name == signature.name && v.id == signature.id).peekable();
            if known.peek().is_none() {
                continue;
            }
            let bad = || NoteError::BadSignature { name: signature.name.to_owned(), id: signature.id };
            let (verifier, cosigned_at) =
                known.find_map(|v| Some((v, v.verify(self.text, &signature.octets)?))).ok_or_else(bad)?;
            if verified.iter().all(|seen| (seen.name.as_str(), seen.id) != (signature.name, signature.id)) {
                let name = verifier.name.clone();
                verified.push(VerifiedSignature { name, id: verifier.id, kind: verifier.kind, cosigned_at });
            }
        }
        if verified.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(verified) }
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let octets = STANDARD.decode(base64).ok()?;
        let (id, signature) = octets.split_first_chunk()?;
        if !is_key_name(name) || signature.is_empty() {
            return None;
        }
        Some(Self { name, id: KeyId(*id), octets: signature.to_vec() })
    }
}

/// A tree head: which log, how many leaves, which root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's origin, which is the name of its key.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the text of a checkpoint. Extension lines are refused: this log has none.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`] names what is not canonical.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let lines = text.strip_suffix('\n').ok_or(NoteError::Checkpoint("end in a newline"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint("have three lines"));
        };
        if !is_key_name(origin) {
            return Err(NoteError::Checkpoint("begin with an origin"));
        }
        let size = parse_decimal(size).ok_or(NoteError::Checkpoint("state the size as a plain number"))?;
        let root = root.parse().ok().ok_or(NoteError::Checkpoint("state the root as base64 of 32 octets"))?;
        if size == 0 && root != empty_root() {
            return Err(NoteError::Checkpoint("have the empty root at size 0"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs the checkpoint with the log's keys: one, or two while keys are rotated. Ed25519 is deterministic, so the
    /// note of a size is reproducible octet for octet.
    ///
    /// Only what has been committed durably may be signed: a crash must lose a signature, never make a fork.
    ///
    /// # Errors
    /// [`SignError`] where there is no key, one is not named as the origin, or a signer fails.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<String, SignError> {
        if signers.is_empty() {
            return Err(SignError::NoKey);
        }
        let text = self.to_text();
        let mut note = text.clone();
        note.push('\n');
        for signer in signers {
            let key = signer.verifier().name();
            if key != self.origin {
                return Err(SignError::Origin { key: key.to_owned(), origin: self.origin.clone() });
            }
            note.push_str(&signer.sign(&text)?);
        }
        Ok(note)
    }

    /// Opens a signed checkpoint with pinned keys. At least one pinned key of the log itself must have signed; witnesses
    /// alone do not make a checkpoint.
    ///
    /// # Errors
    /// [`NoteError`] where the note is malformed, a pinned key's signature is bad, or the log's is missing.
    pub fn open(note: &[u8], pinned: &[Verifier]) -> Result<SignedCheckpoint, NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.text)?;
        let signatures = note.verify(pinned)?;
        if !signatures.iter().any(|s| s.kind == KeyType::Ed25519 && s.name == checkpoint.origin) {
            return Err(NoteError::NoLogSignature { origin: checkpoint.origin });
        }
        Ok(SignedCheckpoint { checkpoint, signatures })
    }
}

/// A checkpoint that pinned keys signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// By which pinned keys: the log's, and those of witnesses.
    pub signatures: Vec<VerifiedSignature>,
}

/// Why a note or checkpoint is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than [`NOTE_LEN_MAX`].
    #[error("note is longer than {NOTE_LEN_MAX} octets")]
    TooLong,
    /// More lines than [`SIGNATURES_MAX`].
    #[error("note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Not UTF-8, or control characters.
    #[error("note is not UTF-8 text, or has control characters")]
    Characters,
    /// Not a text, an empty line, and signature lines.
    #[error("note is not a text, an empty line and signature lines")]
    Form,
    /// A signature line is malformed.
    #[error("note has a malformed signature line")]
    SignatureLine,
    /// A pinned key's name and identifier with another signature: forgery or damage.
    #[error("signature by key `{name}+{id}` is not valid")]
    BadSignature {
        /// The name of the key.
        name: String,
        /// Its identifier.
        id: KeyId,
    },
    /// No line is by a pinned key.
    #[error("note is not signed by a pinned key")]
    NoKnownKey,
    /// Only witnesses signed, or another log.
    #[error("checkpoint is not signed by a pinned key of log `{origin}`")]
    NoLogSignature {
        /// The origin it states.
        origin: String,
    },
    /// The text is not that of a checkpoint.
    #[error("checkpoint does not {0}")]
    Checkpoint(&'static str),
}
