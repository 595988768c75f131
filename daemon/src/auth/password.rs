//! Passwords: what they must be, and argon2id. Knows octets and PHC strings; refuses to know whose password it is, and on
//! which thread it runs: hashing takes some 15 ms and 19 MiB, so callers keep it off the async threads and few at a time.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::config::secret::Secret;

/// Shortest password, in octets (rest-api.md §2).
pub const PASSWORD_OCTETS_MIN: usize = 12;
/// Longest password, in octets (rest-api.md §2).
pub const PASSWORD_OCTETS_MAX: usize = 1024;

/// Memory of one hash in KiB. With [`PASSES`] and one lane: OWASP's parameters, measured in limits.md §5.
const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// How long memory is kept for the next hash.
const SPARE_FOR: Duration = Duration::from_secs(10);
/// Octets of salt (RFC 9106 §3.1 recommends 16).
const SALT_OCTETS: usize = 16;
/// Fewer different characters than these make no password, however often they come.
const DISTINCT_MIN: usize = 5;

/// The list of common passwords and base words, see the head of the file.
const COMMON: &str = include_str!("common_passwords.txt");

static COMMON_SET: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| COMMON.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect());

/// Blocks of 1 KiB that are reserved for one hash, of which only those that are needed are ever touched. The C library maps
/// what is over 32 MiB for itself and unmaps it when it is freed; the 19 MiB alone it would keep in the arena of whichever
/// thread hashed, and a flood of sign-ins would leave that behind for each arena: kept, a single one would be most of an
/// idle daemon's memory (mallopt(3), M_MMAP_THRESHOLD).
const BLOCKS_RESERVED: usize = 33 * 1024;

fn params() -> Params {
    Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are constants within argon2's bounds")
}

/// The argon2id output for these. Blocks.
fn output(params: &Params, password: &Secret, salt: &[u8], octets: usize) -> Result<Output, Error> {
    let count = params.block_count();
    let mut blocks = spare().pop().map_or_else(Vec::new, |(blocks, _since)| blocks);
    if blocks.capacity() < count.max(BLOCKS_RESERVED) {
        blocks = Vec::new();
        blocks.try_reserve_exact(count.max(BLOCKS_RESERVED)).map_err(|_no_memory| Error::OutOfMemory)?;
    }
    blocks.resize(count, Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut out = [0; Output::MAX_LENGTH];
    let out = out.get_mut(..octets).ok_or(Error::OutputSize)?;
    argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, out, blocks.as_mut_slice())?;
    spare().push((blocks, Instant::now()));
    Ok(Output::new(out)?)
}

/// Memory that was hashed in, and when: for the next hash, as getting it anew takes nearly as long as the hash itself. No
/// more than there are threads that hash.
fn spare() -> MutexGuard<'static, Vec<(Vec<Block>, Instant)>> {
    static SPARE: Mutex<Vec<(Vec<Block>, Instant)>> = Mutex::new(Vec::new());
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives memory back that no hash has needed for a while. To be called now and then.
pub fn give_back() {
    // The last one used is the first to be used again, so the old ones are those that are too many.
    spare().retain(|(_blocks, since)| since.elapsed() < SPARE_FOR);
}

/// The PHC string of a password, with a fresh salt. Blocks.
///
/// # Errors
/// No randomness, or no memory.
pub fn hash(password: &Secret) -> Result<String, Error> {
    let mut salt = [0; SALT_OCTETS];
    getrandom::fill(&mut salt).map_err(|_cause: getrandom::Error| Error::RngFailure)?;
    let params = params();
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(Salt::new(&salt)?),
        hash: Some(output(&params, password, &salt, Params::DEFAULT_OUTPUT_LEN)?),
    };
    Ok(hash.to_string())
}

/// Whether a password is the one of a PHC string. Blocks for as long whatever the answer.
///
/// # Errors
/// The string is not one of ours, or there is no memory.
pub fn verify(password: &Secret, phc: &str) -> Result<bool, Error> {
    let kept = PasswordHash::new(phc)?;
    if kept.algorithm != Algorithm::Argon2id.ident() || kept.version != Some(Version::V0x13.into()) {
        return Err(Error::Algorithm);
    }
    let (Some(salt), Some(hash)) = (&kept.salt, &kept.hash) else { return Err(Error::PasswordInvalid) };
    // Outputs are compared in constant time.
    Ok(output(&Params::try_from(&kept)?, password, salt, hash.len())? == *hash)
}

/// The PHC string of a password that nobody has: it is verified where there is no user, so that it takes as long.
///
/// # Errors
/// No randomness, or no memory.
pub fn hash_of_nobody() -> Result<String, Error> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(|_cause: getrandom::Error| Error::RngFailure)?;
    hash(&Secret::new(hex::encode(octets)))
}

/// Whether a password may be set for a user of this name; else the sentence that says why not. The password is not in it.
pub fn check_strength(username: &str, password: &Secret) -> Result<(), String> {
    let text = password.expose();
    if text.len() < PASSWORD_OCTETS_MIN {
        return Err(format!("the password has fewer than {PASSWORD_OCTETS_MIN} octets"));
    }
    if text.len() > PASSWORD_OCTETS_MAX {
        return Err(format!("the password has more than {PASSWORD_OCTETS_MAX} octets"));
    }
    let folded = text.to_lowercase();
    if folded == username.to_lowercase() {
        return Err("the password equals the user name".into());
    }
    if is_common(&folded) {
        return Err("the password is among the commonly chosen ones; several unrelated words are better".into());
    }
    Ok(())
}

/// On the list, a word of the list with digits or signs around it, a repetition, a run, or few different characters.
fn is_common(folded: &str) -> bool {
    let is_listed = |word: &str| {
        COMMON_SET.contains(word)
            || COMMON_SET.contains(word.trim_matches(|character: char| !character.is_alphabetic()))
    };
    let characters: Vec<char> = folded.chars().collect();
    let distinct: HashSet<&char> = characters.iter().collect();
    is_listed(folded) || distinct.len() < DISTINCT_MIN || is_run(&characters) || repeats(&characters, is_listed)
}

/// Whether each character follows the one before by the same step of one, as in `abcdefghijkl` or `987654321098`.
fn is_run(characters: &[char]) -> bool {
    let follows = |first: char, second: char| match (first.to_digit(10), second.to_digit(10)) {
        (Some(first), Some(second)) => (first + 1) % 10 == second,
        _ => u32::from(first) + 1 == u32::from(second),
    };
    let up = characters.windows(2).all(|pair| follows(pair[0], pair[1]));
    let down = characters.windows(2).all(|pair| follows(pair[1], pair[0]));
    up || down
}

/// Whether it is one short or common unit over and over, as in `dragondragon` or `ab1!ab1!ab1!`.
fn repeats(characters: &[char], is_listed: impl Fn(&str) -> bool) -> bool {
    /// Units up to this length are guessed however they read.
    const SHORT: usize = 4;
    (1..=characters.len() / 2).filter(|length| characters.len().is_multiple_of(*length)).any(|length| {
        let unit = &characters[..length];
        characters.chunks(length).all(|chunk| chunk == unit)
            && (length <= SHORT || is_listed(&unit.iter().collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{check_strength, hash, hash_of_nobody, verify};
    use crate::config::secret::Secret;

    /// What is refused and what is not.
    #[test]
    fn strength() {
        let check = |password: &str| check_strength("alice-in-chains", &Secret::new(password.into()));
        for weak in [
            "short",
            "elevenchars",
            "alice-in-chains",
            "Alice-In-Chains",
            "Password12345!",
            "qwertyuiopasdfghjklzxcvbnm",
            "aaaaaaaaaaaaaaa",
            "dragondragon",
            "abcdefghijkl",
            "123456789012",
            "x1y2x1y2x1y2",
            "!!welcome2024!!",
        ] {
            assert!(check(weak).is_err(), "{weak}");
        }
        assert!(check(&"long".repeat(300)).is_err());
        for fine in ["viewer-password-1", "blue tractor fjord", "Z9#kq2!mVx0p", "пароль из слов"] {
            assert!(check(fine).is_ok(), "{fine}");
        }
    }

    /// Right and wrong passwords; the parameters stand in the string; nobody's password verifies as wrong.
    #[test]
    fn hashing() {
        let right = Secret::new("blue tractor fjord".into());
        let wrong = Secret::new("blue tractor fjorD".into());
        let phc = hash(&right).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&right, &phc).unwrap());
        assert!(!verify(&wrong, &phc).unwrap());
        assert!(!verify(&wrong, &hash_of_nobody().unwrap()).unwrap());
        assert!(verify(&right, "not a hash").is_err());
    }
}
