//! Trust policies (C2SP tlog-policy): which logs are accepted, and which witnesses must have cosigned a checkpoint.
//!
//! Knows the text of a policy and whether a note meets it. Refuses to know where a policy is kept, how witnesses are
//! reached, and what time it is: whether the times that cosignatures state are plausible is for the caller to judge.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::note::{Checkpoint, KeyType, NoteError, SignedCheckpoint, Verifier};
use super::tile::parse_decimal;

/// Octets of the longest policy that is read.
pub const POLICY_LEN_MAX: usize = 64 * 1024;

/// The most logs, the most witnesses and the most groups of a policy. C2SP recommends support for 32 of each; so many
/// witnesses still fit into the signature lines of one note.
pub const POLICY_ITEMS_MAX: usize = 64;

/// The most mistakes that are told of one policy.
const MISTAKES_MAX: usize = 20;

/// The latest time a cosignature may state (C2SP tlog-cosignature): 2^63 − 1 seconds.
const COSIGNED_AT_MAX: u64 = (1 << 63) - 1;

/// A policy. A checkpoint is valid under it if one of its logs signed it and a quorum of its witnesses cosigned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// A log of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, whose name is the log's origin.
    pub key: Verifier,
    url: Option<Vec<u8>>,
}

/// A witness of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    name: Vec<u8>,
    /// Its key.
    pub key: Verifier,
    url: Option<Vec<u8>>,
    /// The line of the policy that defines it, from 1.
    pub line: usize,
}

impl PolicyLog {
    /// Where the log is, if the policy says so. What is not UTF-8 is replaced.
    pub fn url(&self) -> Option<Cow<'_, str>> {
        self.url.as_deref().map(String::from_utf8_lossy)
    }
}

impl PolicyWitness {
    /// Its name within the policy, for people: names are octets, and what is not UTF-8 is replaced.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// Its submission prefix (C2SP tlog-witness), if the policy says so. What is not UTF-8 is replaced.
    pub fn url(&self) -> Option<Cow<'_, str>> {
        self.url.as_deref().map(String::from_utf8_lossy)
    }
}

/// So many of these must have witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Invariant: 1 to the number of members.
    threshold: usize,
    members: Vec<Member>,
}

/// What a name stands for. Groups come after what they are made of, so there are no circles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Index into the witnesses.
    Witness(usize),
    /// Index into the groups.
    Group(usize),
    /// Its line is wrong, which is told once and not again wherever it is used. Never in a policy that was read.
    Broken,
}

/// Who must have witnessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    /// Nobody.
    None,
    /// This witness or group.
    Of(Member),
}

/// A checkpoint that meets a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// The checkpoint, with the signatures of logs and witnesses of the policy that were verified.
    pub signed: SignedCheckpoint,
    /// The witnesses that cosigned: index into [`Policy::witnesses`], and the time stated, in seconds since
    /// 1970-01-01T00:00:00Z. The time is what the witness says: whether it is plausible is for the caller to judge.
    pub cosigned: Vec<(usize, u64)>,
}

impl Policy {
    /// Reads a policy, strictly: no octet that C2SP forbids, no line without its newline, no name used twice.
    ///
    /// # Errors
    /// What is wrong, each with its line; at least one and at most 20.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyMistakes> {
        if text.len() > POLICY_LEN_MAX {
            return Err(PolicyMistakes(vec![PolicyMistake { line: 1, problem: Problem::TooLong }]));
        }
        let mut reading = Reading::default();
        let mut mistakes = Vec::new();
        let mut lines: Vec<&[u8]> = text.split(|octet| *octet == b'\n').collect();
        // What follows the last newline: nothing, in a file that is whole.
        let rest = lines.pop().unwrap_or_default();
        let count = lines.len();
        for (number, line) in (1..).zip(lines) {
            if let Err(problem) = reading.line(number, line) {
                mistakes.push(PolicyMistake { line: number, problem });
            }
        }
        if !rest.is_empty() {
            mistakes.push(PolicyMistake { line: count + 1, problem: Problem::NoNewline });
        } else if reading.quorum.is_none() && mistakes.is_empty() {
            // Where something else is wrong, that may be the line.
            mistakes.push(PolicyMistake { line: count.max(1), problem: Problem::NoQuorum });
        }
        match reading.quorum {
            Some(quorum) if mistakes.is_empty() => {
                Ok(Self { logs: reading.logs, witnesses: reading.witnesses, groups: reading.groups, quorum })
            }
            _ => {
                mistakes.truncate(MISTAKES_MAX);
                Err(PolicyMistakes(mistakes))
            }
        }
    }

    /// The logs, in the order of the text. Empty: they are known from elsewhere.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of the text.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether no cosignature is asked for: `quorum none`.
    pub fn asks_nobody(&self) -> bool {
        self.quorum == Quorum::None
    }

    /// Whether these witnesses are a quorum. `cosigned` is asked with indices into [`Policy::witnesses`].
    pub fn is_quorum(&self, cosigned: impl Fn(usize) -> bool) -> bool {
        let Quorum::Of(quorum) = self.quorum else { return true };
        // Groups refer only to what comes before them.
        let mut met: Vec<bool> = Vec::with_capacity(self.groups.len());
        let has = |member: &Member, met: &[bool]| match *member {
            Member::Witness(index) => cosigned(index),
            Member::Group(index) => met.get(index).copied().unwrap_or(false),
            Member::Broken => false,
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| has(member, &met)).count();
            met.push(count >= group.threshold);
        }
        has(&quorum, &met)
    }

    /// Checks that a note is a checkpoint which a log of the policy signed and a quorum of its witnesses cosigned.
    /// `logs` are log keys known from elsewhere; they count only where the policy lists no log.
    ///
    /// # Errors
    /// [`UnmetPolicy`].
    pub fn satisfied_by(&self, note: &[u8], logs: &[Verifier]) -> Result<Witnessed, UnmetPolicy> {
        let mut pinned: Vec<Verifier> = self.logs.iter().map(|log| log.key.clone()).collect();
        if pinned.is_empty() {
            pinned.extend(logs.iter().filter(|key| key.kind() == KeyType::Ed25519).cloned());
        }
        pinned.extend(self.witnesses.iter().map(|witness| witness.key.clone()));
        let signed = Checkpoint::open(note, &pinned)?;
        let of = |index: usize| {
            let key = &self.witnesses.get(index)?.key;
            let signature = signed.signatures.iter().find(|one| one.name == key.name() && one.id == key.id())?;
            signature.cosigned_at.filter(|at| *at <= COSIGNED_AT_MAX)
        };
        if !self.is_quorum(|index| of(index).is_some()) {
            let have = (0..self.witnesses.len()).filter(|index| of(*index).is_some()).count();
            return Err(UnmetPolicy::Quorum { have, of: self.witnesses.len() });
        }
        let cosigned = (0..self.witnesses.len()).filter_map(|index| Some((index, of(index)?))).collect();
        Ok(Witnessed { signed, cosigned })
    }
}

/// A policy in the making.
#[derive(Default)]
struct Reading {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// Each name: what it stands for, and whether a group has it already.
    names: BTreeMap<Vec<u8>, (Member, bool)>,
    quorum: Option<Quorum>,
}

impl Reading {
    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        if let Some(octet) = line.iter().find(|octet| **octet == 0x7f || (**octet < 0x20 && **octet != b'\t')) {
            return Err(Problem::Octet(*octet));
        }
        let items: Vec<&[u8]> =
            line.split(|octet| matches!(octet, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(rest),
            [b"witness", rest @ ..] => self.witness(number, rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(rest),
            [other, ..] => Err(Problem::Keyword(shown(other))),
        }
    }

    fn log(&mut self, items: &[&[u8]]) -> Result<(), Problem> {
        let (vkey, url) = match items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(url.to_vec())),
            _ => return Err(Problem::Form("log <vkey> [<url>]")),
        };
        let key = key(vkey, KeyType::Ed25519)?;
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(Problem::SameKey("log"));
        }
        if self.logs.len() == POLICY_ITEMS_MAX {
            return Err(Problem::TooMany("logs"));
        }
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, line: usize, items: &[&[u8]]) -> Result<(), Problem> {
        let (name, vkey, url) = match items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(url.to_vec())),
            _ => return Err(Problem::Form("witness <name> <vkey> [<url>]")),
        };
        self.define(name)?;
        let key = key(vkey, KeyType::CosignatureV1)?;
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(Problem::SameKey("witness"));
        }
        if self.witnesses.len() == POLICY_ITEMS_MAX {
            return Err(Problem::TooMany("witnesses"));
        }
        self.names.insert(name.to_vec(), (Member::Witness(self.witnesses.len()), false));
        self.witnesses.push(PolicyWitness { name: name.to_vec(), key, url, line });
        Ok(())
    }

    fn group(&mut self, items: &[&[u8]]) -> Result<(), Problem> {
        let [name, threshold, members @ ..] = items else {
            return Err(Problem::Form("group <name> any|all|<number> <name>..."));
        };
        self.define(name)?;
        if members.is_empty() {
            return Err(Problem::Form("group <name> any|all|<number> <name>..."));
        }
        let threshold = match *threshold {
            b"any" => 1,
            b"all" => members.len(),
            number => std::str::from_utf8(number)
                .ok()
                .and_then(parse_decimal)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=members.len()).contains(number))
                .ok_or_else(|| Problem::Threshold { threshold: shown(number), members: members.len() })?,
        };
        let mut found = Vec::with_capacity(members.len());
        for &member in members {
            if member == b"none" {
                return Err(Problem::None);
            }
            let (known, is_taken) = self.names.get_mut(member).ok_or_else(|| Problem::Undefined(shown(member)))?;
            if *is_taken || member == *name {
                return Err(Problem::Taken(shown(member)));
            }
            *is_taken = true;
            found.push(*known);
        }
        if self.groups.len() == POLICY_ITEMS_MAX {
            return Err(Problem::TooMany("groups"));
        }
        self.names.insert(name.to_vec(), (Member::Group(self.groups.len()), false));
        self.groups.push(Group { threshold, members: found });
        Ok(())
    }

    fn quorum(&mut self, items: &[&[u8]]) -> Result<(), Problem> {
        let [name] = items else { return Err(Problem::Form("quorum <name>|none")) };
        if self.quorum.is_some() {
            return Err(Problem::SecondQuorum);
        }
        self.quorum = Some(match *name {
            b"none" => Quorum::None,
            name => {
                let (member, _) = self.names.get(name).ok_or_else(|| Problem::Undefined(shown(name)))?;
                Quorum::Of(*member)
            }
        });
        Ok(())
    }

    /// Takes a name, as broken until all of its line has been understood.
    fn define(&mut self, name: &[u8]) -> Result<(), Problem> {
        if name == b"none" {
            return Err(Problem::None);
        }
        if self.names.contains_key(name) {
            return Err(Problem::SecondName(shown(name)));
        }
        self.names.insert(name.to_vec(), (Member::Broken, false));
        Ok(())
    }
}

fn key(vkey: &[u8], kind: KeyType) -> Result<Verifier, Problem> {
    let key: Verifier = std::str::from_utf8(vkey).ok().and_then(|vkey| vkey.parse().ok()).ok_or(Problem::Key(kind))?;
    if key.kind() == kind { Ok(key) } else { Err(Problem::Key(kind)) }
}

/// A word of the text for a message: bounded, for a policy may hold anything.
fn shown(word: &[u8]) -> String {
    const CHARS_MAX: usize = 64;
    String::from_utf8_lossy(word).chars().take(CHARS_MAX).collect()
}

/// All that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PolicyMistakes(Vec<PolicyMistake>);

impl PolicyMistakes {
    /// Each of them, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyMistake> {
        self.0.iter()
    }
}

impl fmt::Display for PolicyMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct PolicyMistake {
    /// The line, from 1.
    pub line: usize,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Problem {
    #[error("the policy is longer than {POLICY_LEN_MAX} octets")]
    TooLong,
    #[error("octet 0x{0:02x} may not stand in a policy; only tabs, newlines and printable characters may")]
    Octet(u8),
    #[error("the last line does not end in a newline; the file may have been cut off")]
    NoNewline,
    #[error("`{0}` begins no line; log, witness, group, quorum and # do")]
    Keyword(String),
    #[error("the line must be `{0}`")]
    Form(&'static str),
    #[error("{}", match .0 {
        KeyType::Ed25519 => "that is not the vkey of a log (type 0x01, Ed25519)",
        KeyType::CosignatureV1 => "that is not the vkey of a witness (type 0x04, Ed25519 cosignature)",
    })]
    Key(KeyType),
    #[error("another {0} has the same public key")]
    SameKey(&'static str),
    #[error("there are more than {POLICY_ITEMS_MAX} {0}")]
    TooMany(&'static str),
    #[error("the name `none` means that nobody must cosign; it can only stand behind `quorum`")]
    None,
    #[error("the name `{0}` is defined already")]
    SecondName(String),
    #[error("no line above defines `{0}`")]
    Undefined(String),
    #[error("`{0}` is a member already; each name can be a member once")]
    Taken(String),
    #[error("`{threshold}` is not any, all, or a number from 1 to {members}, the count of members")]
    Threshold { threshold: String, members: usize },
    #[error("there is a quorum already")]
    SecondQuorum,
    #[error("there is no quorum; end the policy with `quorum <name>` or `quorum none`")]
    NoQuorum,
}

/// Why a note does not meet a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnmetPolicy {
    /// It is not a checkpoint that one of the logs signed, or a signature in it is not valid.
    #[error("the note is not a checkpoint of a log of the policy")]
    Note(#[from] NoteError),
    /// Too few witnesses, or the wrong ones.
    #[error("{have} of {of} witnesses cosigned, which is not the quorum")]
    Quorum {
        /// How many of the policy's witnesses cosigned.
        have: usize,
        /// How many it has.
        of: usize,
    },
}
