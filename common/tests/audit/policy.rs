//! Policies: what C2SP allows is read and means what it says, everything else is refused with its line.

use std::collections::BTreeSet;

use common::audit::{Checkpoint, Cosigner, Ed25519Signer, Hash, Policy, Signer, UnmetPolicy, Verifier, empty_root};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

const ORIGIN: &str = "registry.example/log";

fn log() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/w{number}"), &[number; 32]).unwrap()
}

/// A note that the log signed and these witnesses cosigned.
fn note(witnesses: &[u8]) -> String {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: Hash([7; 32]) };
    let mut note = checkpoint.sign(&[&log()]).unwrap();
    for &number in witnesses {
        note += &witness(number).cosign(&checkpoint.to_text(), 1_700_000_000 + u64::from(number));
    }
    note
}

fn witness_lines(numbers: impl IntoIterator<Item = u8>) -> String {
    numbers.into_iter().map(|n| format!("witness w{n} {} http://127.0.0.1:{n}\n", witness(n).verifier())).collect()
}

fn parse(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap()
}

/// The mistakes, one a line.
fn mistakes(text: impl AsRef<[u8]>) -> Vec<String> {
    Policy::parse(text.as_ref()).unwrap_err().iter().map(ToString::to_string).collect()
}

/// The example of C2SP: two organisations, two of three here and one of three there.
#[test]
fn two_levels_of_groups() {
    let policy = parse(&format!(
        "# who must have seen it\n\nlog {}\n{}\tgroup X-witnesses 2 w2 w3 w4  \n{}group Y-witnesses any w5 w6 w7\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log().verifier(),
        witness_lines(2..5),
        witness_lines(5..8),
    ));
    assert_eq!(policy.logs()[0].key, *log().verifier());
    assert_eq!(policy.witnesses()[1].name(), "w3");
    assert_eq!(policy.witnesses()[1].url().as_deref(), Some("http://127.0.0.1:3"));
    assert_eq!(policy.witnesses()[0].line, 4);
    let met = policy.satisfied_by(note(&[4, 2, 6]).as_bytes(), &[]).unwrap();
    assert_eq!(met.signed.checkpoint.size, 7);
    assert_eq!(met.cosigned, [(0, 1_700_000_002), (2, 1_700_000_004), (4, 1_700_000_006)]);
    for too_few in [&[2, 3, 4][..], &[2, 5, 6, 7], &[], &[9, 10, 11]] {
        let unmet = policy.satisfied_by(note(too_few).as_bytes(), &[]).unwrap_err();
        assert!(matches!(unmet, UnmetPolicy::Quorum { of: 6, .. }), "{unmet}");
    }
}

/// A witness alone, nobody at all, logs known from elsewhere.
#[test]
fn small_policies() {
    let one = parse(&format!("{}quorum w2\n", witness_lines([2, 3])));
    let own = [log().verifier().clone()];
    assert!(one.satisfied_by(note(&[2]).as_bytes(), &own).is_ok());
    assert!(one.satisfied_by(note(&[3]).as_bytes(), &own).is_err());
    assert!(matches!(one.satisfied_by(note(&[2]).as_bytes(), &[]), Err(UnmetPolicy::Note(_))));
    // A witness's key does not make a log.
    let not_a_log = [witness(2).verifier().clone()];
    assert!(matches!(one.satisfied_by(note(&[2]).as_bytes(), &not_a_log), Err(UnmetPolicy::Note(_))));

    let nobody = parse("quorum none\n");
    assert!(nobody.asks_nobody() && nobody.satisfied_by(note(&[]).as_bytes(), &own).unwrap().cosigned.is_empty());
    // Where the policy lists logs, others don't count.
    let other = Ed25519Signer::from_seed(ORIGIN, &[9; 32]).unwrap();
    let listed = parse(&format!("log {} https://log.example\nquorum none\n", other.verifier()));
    assert_eq!(listed.logs()[0].url().as_deref(), Some("https://log.example"));
    assert!(listed.satisfied_by(note(&[]).as_bytes(), &own).is_err());
}

/// A cosignature that is there and not valid, and one from the end of time.
#[test]
fn false_cosignatures() {
    let policy = parse(&format!("{}quorum w2\n", witness_lines([2])));
    let own = [log().verifier().clone()];
    let other = Checkpoint { origin: ORIGIN.to_owned(), size: 8, root: Hash([7; 32]) };
    let moved = note(&[]) + &witness(2).cosign(&other.to_text(), 1);
    assert!(matches!(policy.satisfied_by(moved.as_bytes(), &own), Err(UnmetPolicy::Note(_))));
    let text = Checkpoint { size: 7, ..other }.to_text();
    for (time, counts) in [((1 << 63) - 1, true), (1 << 63, false)] {
        let noted = note(&[]) + &witness(2).cosign(&text, time);
        assert_eq!(policy.satisfied_by(noted.as_bytes(), &own).is_ok(), counts, "{time}");
    }
}

/// What is wrong is told with its line, all of it at once.
#[test]
fn mistakes_have_lines() {
    let (w2, w3) = (witness(2).verifier().to_string(), witness(3).verifier().to_string());
    let log_key = log().verifier().to_string();
    // The same public key under another name.
    let again = Cosigner::from_seed("other", &[2; 32]).unwrap().verifier().to_string();
    let log_again = Ed25519Signer::from_seed("other", &[1; 32]).unwrap().verifier().to_string();
    for (text, line, part) in [
        ("".to_owned(), 1, "there is no quorum"),
        ("# nothing\n".to_owned(), 1, "there is no quorum"),
        ("quorum none".to_owned(), 1, "newline"),
        ("quorum none\r\n".to_owned(), 1, "0x0d"),
        ("quorum none\n# \u{7f}\n".to_owned(), 2, "0x7f"),
        ("quorum none\nquorum none\n".to_owned(), 2, "quorum already"),
        ("quorum\n".to_owned(), 1, "quorum <name>"),
        ("quorum a b\n".to_owned(), 1, "quorum <name>"),
        ("quorum a\n".to_owned(), 1, "defines `a`"),
        ("Quorum none\nquorum none\n".to_owned(), 1, "`Quorum`"),
        (format!("witness a {w2}\nquorum A\n"), 2, "defines `A`"),
        (format!("quorum a\nwitness a {w2}\n"), 1, "defines `a`"),
        (format!("witness a {log_key}\nquorum a\n"), 1, "vkey of a witness"),
        (format!("witness a {w2} u v\nquorum none\n"), 1, "witness <name>"),
        (format!("witness none {w2}\nquorum none\n"), 1, "`none`"),
        (format!("witness a {w2}\nwitness a {w3}\nquorum a\n"), 2, "defined already"),
        (format!("witness a {w2}\nwitness b {again}\nquorum a\n"), 2, "same public key"),
        (format!("log {log_key}\nlog {log_again}\nquorum none\n"), 2, "same public key"),
        (format!("log {w2}\nquorum none\n"), 1, "vkey of a log"),
        ("log\nquorum none\n".to_owned(), 1, "log <vkey>"),
        (format!("witness a {w2}\ngroup g any\nquorum a\n"), 2, "group <name>"),
        (format!("witness a {w2}\ngroup g 0 a\nquorum a\n"), 2, "1 to 1"),
        (format!("witness a {w2}\ngroup g 2 a\nquorum a\n"), 2, "1 to 1"),
        (format!("witness a {w2}\ngroup g 01 a\nquorum a\n"), 2, "1 to 1"),
        (format!("witness a {w2}\ngroup g some a\nquorum a\n"), 2, "1 to 1"),
        (format!("witness a {w2}\ngroup g all a a\nquorum a\n"), 2, "once"),
        (format!("witness a {w2}\ngroup g all a\ngroup h all a\nquorum a\n"), 3, "once"),
        (format!("witness a {w2}\ngroup g any g\nquorum a\n"), 2, "once"),
        (format!("witness a {w2}\ngroup g any none\nquorum a\n"), 2, "`none`"),
        (format!("witness a {w2}\ngroup a any a\nquorum a\n"), 2, "defined already"),
        (format!("group g any a\nwitness a {w2}\nquorum a\n"), 1, "defines `a`"),
    ] {
        let told = mistakes(&text);
        assert_eq!(told.len(), 1, "{text:?}: {told:?}");
        assert!(told[0].starts_with(&format!("line {line}: ")) && told[0].contains(part), "{text:?}: {told:?}");
    }
    // A name whose line is wrong is not told again where it is used.
    let told = mistakes("witness a nonsense\nwitness b more\ngroup g any a b\nquorum g\n");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(mistakes("x\n".repeat(1000)).len(), 20);
    assert_eq!(mistakes(vec![b'#'; 64 * 1024 + 1]).len(), 1);
}

/// Names are octets: not text, not normalised.
#[test]
fn names_are_octets() {
    let key = |n: u8| witness(n).verifier().to_string().into_bytes();
    let mut text = b"witness \xff\xfe ".to_vec();
    text.extend(key(2));
    text.extend(b" http://\xff/\nwitness \xe2\x84\xaa ");
    text.extend(key(3));
    text.extend(b"\nwitness K ");
    text.extend(key(4));
    text.extend(b"\n# \x80\ngroup #g all \xff\xfe \xe2\x84\xaa\nquorum #g\n");
    let policy = Policy::parse(&text).unwrap();
    assert!(policy.is_quorum(|index| index < 2));
    assert!(!policy.is_quorum(|index| index > 0));
}

/// The limits: 64 of each kind, and no more.
#[test]
fn many() {
    let lines = |count: u8| witness_lines(1..=count);
    assert_eq!(parse(&format!("{}quorum w1\n", lines(64))).witnesses().len(), 64);
    let told = mistakes(format!("{}quorum w1\n", lines(65)));
    assert_eq!(told, ["line 65: there are more than 64 witnesses"]);
    // A note with the signatures of all of them is still read.
    let policy = parse(&format!(
        "{}group all-of-them all {}\nquorum all-of-them\n",
        lines(64),
        (1..=64).map(|n| format!("w{n} ")).collect::<String>()
    ));
    let all: Vec<u8> = (1..=64).collect();
    let own = [log().verifier().clone()];
    assert!(policy.satisfied_by(note(&all).as_bytes(), &own).is_ok());
    assert!(policy.satisfied_by(note(&all[1..]).as_bytes(), &own).is_err());
}

/// A tree of groups as text, and who it is made of.
fn random_policy() -> impl Strategy<Value = (String, Vec<(usize, Vec<String>)>)> {
    (1_usize..9, vec((any::<u16>(), any::<u16>()), 0..6)).prop_map(|(witnesses, groups)| {
        let mut text = witness_lines((0..witnesses).map(|n| u8::try_from(n + 1).unwrap()));
        let mut free: Vec<String> = (1..=witnesses).map(|n| format!("w{n}")).collect();
        let mut made = Vec::new();
        for (number, (take, threshold)) in groups.into_iter().enumerate() {
            let take = usize::from(take) % free.len() + 1;
            let members: Vec<String> = free.drain(..take).collect();
            let threshold = usize::from(threshold) % members.len() + 1;
            text += &format!("group g{number} {threshold} {}\n", members.join(" "));
            free.push(format!("g{number}"));
            made.push((threshold, members));
        }
        text += &format!("quorum {}\n", free.last().unwrap());
        (text, made)
    })
}

/// The same by plain recursion over names.
fn holds(name: &str, groups: &[(usize, Vec<String>)], cosigned: &BTreeSet<usize>) -> bool {
    let number: usize = name[1..].parse().unwrap();
    match name.as_bytes()[0] {
        b'w' => cosigned.contains(&(number - 1)),
        _ => {
            let (threshold, members) = &groups[number];
            members.iter().filter(|member| holds(member, groups, cosigned)).count() >= *threshold
        }
    }
}

proptest! {
    /// Whatever it is, it is read or refused, and what is refused names a line that is there.
    #[test]
    fn hostile_octets(text in vec(any::<u8>(), 0..300)) {
        if let Err(mistakes) = Policy::parse(&text) {
            let lines = text.split(|octet| *octet == b'\n').count();
            prop_assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
        }
    }

    /// The same near to policies.
    #[test]
    fn hostile_lines(words in vec(vec("(log|witness|group|quorum|none|any|all|[0-3]|a|b|[#\t \r])", 0..6), 0..8)) {
        let text: String = words.iter().map(|line| line.join(" ") + "\n").collect();
        let _ = Policy::parse(text.as_bytes());
    }

    /// A quorum is what its words say.
    #[test]
    fn quorums((text, groups) in random_policy(), cosigned in vec(0_usize..9, 0..9)) {
        let policy = parse(&text);
        let cosigned: BTreeSet<usize> = cosigned.into_iter().collect();
        let quorum = text.trim_end().rsplit(' ').next().unwrap();
        prop_assert_eq!(policy.is_quorum(|index| cosigned.contains(&index)), holds(quorum, &groups, &cosigned));
    }

    /// No octet of a note that meets a policy can be changed in what it says.
    #[test]
    fn damaged_notes(at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let policy = parse(&format!("{}group both all w2 w3\nquorum both\n", witness_lines([2, 3])));
        let own: [Verifier; 1] = [log().verifier().clone()];
        let mut octets = note(&[2, 3]).into_bytes();
        let at = at.index(octets.len());
        octets[at] ^= mask;
        prop_assert!(policy.satisfied_by(&octets, &own).is_err());
    }
}

/// An empty log can be witnessed, too.
#[test]
fn empty_log() {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: empty_root() };
    let note = checkpoint.sign(&[&log()]).unwrap() + &witness(2).cosign(&checkpoint.to_text(), 5);
    let policy = parse(&format!("log {}\n{}quorum w2\n", log().verifier(), witness_lines([2])));
    assert_eq!(policy.satisfied_by(note.as_bytes(), &[]).unwrap().cosigned, [(0, 5)]);
}
