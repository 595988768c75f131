//! The witnesses that are asked for cosignatures: the policy's file, and the addresses in it (audit-log.md §9).
//!
//! Knows what a usable policy is: readable, strict, with addresses that can be reached by what is spoken here. Refuses to
//! know witnesses' protocol, and whether the log is the policy's: that shows when the log is open.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::audit::{POLICY_LEN_MAX, Policy, PolicyWitness};
use http::Uri;

/// A policy, and how to reach its witnesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnesses {
    /// The policy.
    pub policy: Policy,
    /// Those that have an address, at least one.
    pub reached: Vec<Address>,
    /// The file of the authorities that are trusted for those in TLS; none: the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Where a witness is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index into the policy's witnesses.
    pub witness: usize,
    /// Whether it is spoken to in TLS.
    pub is_tls: bool,
    /// Host and port as the policy has them, for the Host header.
    pub authority: String,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path of the submission prefix, without a slash at its end.
    pub prefix: String,
}

/// Reads a policy for a log that asks its witnesses itself. Gives what is worth a warning, too.
///
/// # Errors
/// What is wrong, each a sentence with its line.
pub(super) fn read(path: &Path) -> Result<(Witnesses, Vec<String>), Vec<String>> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(POLICY_LEN_MAX as u64 + 1).read_to_end(&mut text))
        .map_err(|error| vec![format!("{} can't be read: {error}", path.display())])?;
    let policy = Policy::parse(&text).map_err(|mistakes| {
        mistakes.iter().map(|mistake| format!("{}, {mistake}", path.display())).collect::<Vec<_>>()
    })?;
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    let mut reached = Vec::new();
    for (index, witness) in policy.witnesses().iter().enumerate() {
        let at = || format!("{}, line {}", path.display(), witness.line);
        match address(index, witness) {
            Ok(Some(address)) => reached.push(address),
            Ok(None) => warnings.push(format!("{}: the witness has no address, so it is never asked", at())),
            Err(problem) => mistakes.push(format!("{}: {problem}", at())),
        }
    }
    if mistakes.is_empty() {
        if !policy.is_quorum(|index| reached.iter().any(|address| address.witness == index)) {
            mistakes.push(format!("{}: the witnesses that have an address are no quorum", path.display()));
        } else if reached.is_empty() {
            mistakes.push(format!("{}: no witness has an address, so there is nobody to ask", path.display()));
        }
    }
    if policy.asks_nobody() {
        warnings.push(format!("{}: with `quorum none` every checkpoint counts as witnessed", path.display()));
    }
    if mistakes.is_empty() { Ok((Witnesses { policy, reached, ca_file: None }, warnings)) } else { Err(mistakes) }
}

fn address(witness: usize, of: &PolicyWitness) -> Result<Option<Address>, &'static str> {
    let Some(url) = of.url() else { return Ok(None) };
    let uri: Uri = url.parse().ok().ok_or("the witness's address is not a URL such as http://witness.example:8001")?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("the witness's address must begin with https:// or http://"),
    };
    if uri.query().is_some() {
        return Err("the witness's address must not have a query");
    }
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    let authority = authority.ok_or("the witness's address must have a host and no user")?;
    Ok(Some(Address {
        witness,
        is_tls,
        authority: authority.as_str().to_owned(),
        host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
        prefix: uri.path().trim_end_matches('/').to_owned(),
    }))
}
