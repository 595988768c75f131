//! A leaf read without allocating: its octets are walked once, member by member in their only order.
//!
//! Accepts nothing that [`Entry::parse`](crate::audit::Entry::parse) refuses. What it does not accept may still be an
//! entry, with rarities such as a quote in a key: the caller asks the parser, which also has the words for what is wrong.

use std::borrow::Cow;

use crate::audit::action::is_well_formed;
use crate::audit::canonical::{DEPTH_MAX, INTEGER_MAX, write_string};
use crate::audit::leaf::{Entry, LEAF_LEN_MAX, LeafError, Outcome, USER_AGENT_LEN_MAX};
use crate::audit::timestamp::{self, TIMESTAMP_LEN};

/// What is checked against other entries. Texts are raw: as between their quotes, which is one spelling for each text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    pub(super) seq: u64,
    pub(super) prev: Option<u64>,
    /// Sorts as the times do.
    pub(super) ts: [u8; TIMESTAMP_LEN],
    pub(super) id: Cow<'a, [u8]>,
    /// 64 lower-case hex digits.
    pub(super) salt: [u8; 64],
    pub(super) action: Cow<'a, str>,
    pub(super) target: Option<Subject<'a>>,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject<'a> {
    pub(super) kind: Cow<'a, [u8]>,
    pub(super) id: Cow<'a, [u8]>,
}

/// The facts of a leaf, if it is the canonical octets of an entry.
pub(super) fn read(leaf: &[u8]) -> Result<Facts<'_>, LeafError> {
    match scan(leaf) {
        Some(facts) => Ok(facts),
        None => parse(leaf),
    }
}

/// The long way.
fn parse(leaf: &[u8]) -> Result<Facts<'static>, LeafError> {
    let entry = Entry::parse(leaf)?;
    let mut salt = [0; 64];
    hex::encode_to_slice(entry.salt, &mut salt).expect("64 digits hold 32 octets");
    Ok(Facts {
        seq: entry.seq,
        prev: entry.prev,
        ts: timestamp::octets(entry.ts)?,
        id: raw(&entry.id),
        salt,
        action: Cow::Owned(entry.action.as_str().to_owned()),
        target: entry.target.map(|target| Subject { kind: raw(&target.kind), id: raw(&target.id) }),
    })
}

/// A text as between its quotes.
fn raw(text: &str) -> Cow<'static, [u8]> {
    let mut octets = Vec::with_capacity(text.len() + 2);
    write_string(&mut octets, text);
    octets.pop();
    octets.remove(0);
    Cow::Owned(octets)
}

/// The short way.
pub(super) fn scan(leaf: &[u8]) -> Option<Facts<'_>> {
    if leaf.len() > LEAF_LEN_MAX || str::from_utf8(leaf).is_err() {
        return None;
    }
    let mut at = Scanner { rest: leaf };
    at.literal(b"{\"action\":\"")?;
    let action = str::from_utf8(at.string()?).ok().filter(|name| is_well_formed(name))?;

    at.literal(b",\"actor\":{")?;
    if at.has(b"\"cred\":\"") {
        at.string()?;
        at.literal(b",")?;
    }
    at.literal(b"\"id\":\"")?;
    at.string()?;
    at.literal(b",\"kind\":\"")?;
    if !matches!(at.string()?, b"user" | b"service" | b"system" | b"anonymous") {
        return None;
    }
    at.optional_string(b",\"name\":\"")?;
    at.optional_string(b",\"role\":\"")?;
    at.literal(b"},")?;

    if at.has(b"\"change\":\"") {
        at.hex()?;
        at.literal(b",")?;
    }
    at.literal(b"\"data\":{")?;
    // The entry itself is the first level.
    at.members(DEPTH_MAX - 1)?;
    at.literal(b",\"id\":\"")?;
    let id = at.string()?;
    at.literal(b",\"node\":\"")?;
    at.string()?;
    at.literal(b",\"outcome\":\"")?;
    Outcome::parse(str::from_utf8(at.string()?).ok()?)?;
    at.literal(b",")?;

    let mut prev = None;
    if at.has(b"\"prev\":") {
        prev = Some(at.integer()?);
        at.literal(b",")?;
    }
    if at.has(b"\"req\":{\"id\":\"") {
        at.request()?;
    }
    at.literal(b"\"salt\":\"")?;
    let salt = *at.hex()?;
    at.literal(b",\"seq\":")?;
    let seq = at.integer()?;
    at.literal(b",")?;
    let target = if at.has(b"\"target\":{") { Some(at.target()?) } else { None };
    at.literal(b"\"ts\":\"")?;
    let ts: [u8; TIMESTAMP_LEN] = at.string()?.try_into().ok()?;
    if !is_time(&ts) {
        return None;
    }
    at.literal(b",\"v\":1}")?;
    if !at.rest.is_empty() {
        return None;
    }
    Some(Facts { seq, prev, ts, id: Cow::Borrowed(id), salt, action: Cow::Borrowed(action), target })
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn has(&mut self, text: &[u8]) -> bool {
        self.literal(text).is_some()
    }

    /// The rest of a string whose opening quote is behind us, and its closing quote.
    fn string(&mut self) -> Option<&'a [u8]> {
        let all = self.rest;
        let mut len = 0;
        loop {
            len += all.get(len..)?.iter().position(|octet| *octet < 0x20 || matches!(octet, b'"' | b'\\'))?;
            match all[len] {
                b'"' => {
                    self.rest = &all[len + 1..];
                    return Some(&all[..len]);
                }
                b'\\' => len += escape(&all[len + 1..])? + 1,
                _control => return None,
            }
        }
    }

    fn optional_string(&mut self, opening: &[u8]) -> Option<()> {
        if self.has(opening) {
            self.string()?;
        }
        Some(())
    }

    /// 64 lower-case hex digits and the closing quote.
    fn hex(&mut self) -> Option<&'a [u8; 64]> {
        let (digits, rest) = self.rest.split_first_chunk::<64>()?;
        if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        self.rest = rest.strip_prefix(b"\"")?;
        Some(digits)
    }

    /// An integer from 0.
    fn integer(&mut self) -> Option<u64> {
        let len = self.rest.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(len);
        // 16 digits hold the largest that is allowed, and cannot overflow.
        if digits.is_empty() || digits.len() > 16 || (digits.len() > 1 && digits[0] == b'0') {
            return None;
        }
        let value = digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        self.rest = rest;
        (value <= INTEGER_MAX).then_some(value)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'"' => {
                self.literal(b"\"")?;
                self.string().map(drop)
            }
            b'{' => {
                self.literal(b"{")?;
                self.members(depth)
            }
            b'[' => {
                self.literal(b"[")?;
                let depth = depth.checked_sub(1)?;
                if self.has(b"]") {
                    return Some(());
                }
                loop {
                    self.value(depth)?;
                    if !self.has(b",") {
                        return self.literal(b"]");
                    }
                }
            }
            b'-' => {
                self.literal(b"-")?;
                // There is no negative zero.
                self.integer().filter(|magnitude| *magnitude > 0).map(drop)
            }
            b'0'..=b'9' => self.integer().map(drop),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _other => None,
        }
    }

    /// The members of an object whose opening brace is behind us, and its closing brace.
    fn members(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if self.has(b"}") {
            return Some(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            self.literal(b"\"")?;
            let key = self.string()?;
            // A key with an escape sorts by what it stands for: that is for the parser.
            if !key.iter().all(|octet| (0x20..0x7f).contains(octet) && *octet != b'\\') {
                return None;
            }
            if before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
            self.literal(b":")?;
            self.value(depth)?;
            if !self.has(b",") {
                return self.literal(b"}");
            }
        }
    }

    /// The request from the text of its id on, and the comma behind it.
    fn request(&mut self) -> Option<()> {
        self.string()?;
        self.optional_string(b",\"ip\":\"")?;
        self.literal(b",\"method\":\"")?;
        self.string()?;
        self.literal(b",\"route\":\"")?;
        self.string()?;
        self.literal(b",\"status\":")?;
        if self.integer()? > u16::MAX.into() {
            return None;
        }
        // Escaped it is longer than it is: what is short raw is short.
        if self.has(b",\"ua\":\"") && self.string()?.len() > USER_AGENT_LEN_MAX {
            return None;
        }
        self.literal(b"},")
    }

    /// The target whose opening brace is behind us, and the comma behind it.
    fn target(&mut self) -> Option<Subject<'a>> {
        if self.has(b"\"digest\":\"sha256:") {
            self.hex()?;
            self.literal(b",")?;
        }
        self.literal(b"\"id\":\"")?;
        let id = self.string()?;
        self.literal(b",\"kind\":\"")?;
        let kind = self.string()?;
        if self.has(b",\"size\":") {
            self.integer()?;
        }
        self.optional_string(b",\"version\":\"")?;
        self.literal(b"},")?;
        Some(Subject { kind: Cow::Borrowed(kind), id: Cow::Borrowed(id) })
    }
}

/// How many octets a canonical escape has behind its backslash.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => Some(1),
        [b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
            // Those with a short form have no other.
            let has_short_form = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
            (matches!(low, b'0'..=b'9' | b'a'..=b'f') && !has_short_form).then_some(5)
        }
        _other => None,
    }
}

/// Whether this is `YYYY-MM-DDThh:mm:ss.mmmZ`, of the years 1 to 9998: the parser has the last word about the others.
fn is_time(ts: &[u8; TIMESTAMP_LEN]) -> bool {
    let shape = b"0000-00-00T00:00:00.000Z";
    let fits = ts.iter().zip(shape).all(|(octet, of)| if *of == b'0' { octet.is_ascii_digit() } else { octet == of });
    if !fits {
        return false;
    }
    let number = |at: usize, len: usize| {
        ts[at..at + len].iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _thirty_one => 31,
    };
    (1..=9998).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
        && number(11, 2) < 24
        && number(14, 2) < 60
        && number(17, 2) < 60
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::{parse, scan};
    use crate::audit::{Action, Actor, ActorKind, Entry, Outcome, RequestInfo, Target};

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9-]{0,12}", "[\\x00-\\x7f]{0,8}", "\\PC{0,6}"]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
            (-20_i64..20).prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map("[a-z_ ]{0,3}", inner, 0..4).prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let actor = (text(), option::of(text()), option::of(text()), option::of(text()))
            .prop_map(|(id, name, role, cred)| Actor { id, name, kind: ActorKind::Service, role, cred });
        let target = (text(), text(), option::of(text()), any::<bool>(), option::of(0..1_u64 << 53)).prop_map(
            |(kind, id, version, digest, size)| Target {
                kind,
                id,
                version,
                digest: digest.then(|| format!("sha256:{}", "0a".repeat(32))),
                size,
            },
        );
        let req = (text(), text(), any::<u16>(), option::of(text()), option::of("[a-zü]{0,250}")).prop_map(
            |(id, route, status, ip, ua)| RequestInfo { id, method: "GET".to_owned(), route, status, ip, ua },
        );
        let data = btree_map("[a-z]{1,4}", value(), 0..4);
        // Years 1 to 9998.
        let ts = -62_135_596_800_000_i64..253_370_764_800_000;
        (
            (0..1_u64 << 53, ts, text(), any::<[u8; 32]>()),
            (actor, option::of(any::<[u8; 32]>()), option::of(0..1_u64 << 53)),
            (option::of(target), option::of(req), data),
        )
            .prop_map(|((seq, ts, id, salt), (actor, change, prev), (target, req, data))| Entry {
                seq,
                id,
                ts,
                node: "n".to_owned(),
                salt,
                action: Action::ModelUpload,
                outcome: Outcome::Denied,
                actor,
                change,
                prev,
                target,
                req,
                data,
            })
    }

    fn plain(data: Value) -> Vec<u8> {
        let Value::Object(data) = data else { panic!("data is an object") };
        Entry {
            seq: 7,
            id: "i".to_owned(),
            ts: 1_782_907_200_000,
            node: "n".to_owned(),
            salt: [1; 32],
            action: Action::AuthLogin,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            change: None,
            prev: Some(3),
            target: Some(Target::new("user", "u")),
            req: None,
            data: data.into_iter().collect::<BTreeMap<_, _>>(),
        }
        .to_leaf()
        .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        /// Everything the daemon writes is read the short way, and says the same as the parser.
        #[test]
        fn takes_what_is_written(entry in entry()) {
            let leaf = entry.to_leaf().unwrap();
            let facts = scan(&leaf);
            prop_assert!(facts.is_some(), "{}", String::from_utf8_lossy(&leaf));
            prop_assert_eq!(facts.unwrap(), parse(&leaf).unwrap());
        }

        /// However a leaf is damaged, what is accepted the short way is accepted by the parser, as the same.
        #[test]
        fn never_takes_more(entry in entry(), at in any::<Index>(), octet in any::<u8>(), how in 0..4_u8, with in 0..24_usize) {
            const PIECES: [&[u8]; 24] = [b" ", b"\n", b"\"", b"\\", b"\\u0041", b"\\u001f", b"\\u000a", b"\\u001F", b"\\/",
                b"-0", b"0", b"00", b"1.0", b"1e3", b"9007199254740992", b"{}", b"[]", b",", b":", b"null", b"\"a\":1,",
                b"\xff", b"\xc3\xa9", b"\x7f"];
            let mut leaf = entry.to_leaf().unwrap();
            let at = at.index(leaf.len());
            match how {
                0 => leaf[at] = octet,
                1 => leaf[at] ^= 1 << (octet % 8),
                2 => drop(leaf.splice(at..at, PIECES[with].iter().copied())),
                _ => drop(leaf.remove(at)),
            }
            let short = scan(&leaf);
            match parse(&leaf) {
                // Left to the parser, as a user agent that is short only once its escapes are read.
                Ok(facts) => prop_assert!(short.is_none_or(|short| short == facts)),
                Err(_) => prop_assert_eq!(short, None),
            }
        }
    }

    /// Nesting ends where the parser's does; keys with quotes are left to it.
    #[test]
    fn edges() {
        for depth in 12..20 {
            let open = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
            let inner = serde_json::to_string(&open(depth)).unwrap();
            let leaf =
                String::from_utf8(plain(json!({"a": 1}))).unwrap().replace("{\"a\":1}", &format!("{{\"a\":{inner}}}"));
            assert_eq!(scan(leaf.as_bytes()).is_some(), parse(leaf.as_bytes()).is_ok(), "depth {depth}");
        }
        let quoted = plain(json!({"a\"b": 1}));
        assert!(scan(&quoted).is_none() && parse(&quoted).is_ok());
        for (from, to) in [
            ("2026-07-01T12:00:00.000Z", "2026-02-29T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2028-02-29T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2100-02-29T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2026-06-31T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2026-07-01T24:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2026-07-01T23:59:60.000Z"),
            ("2026-07-01T12:00:00.000Z", "2026-13-01T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "2026-00-01T12:00:00.000Z"),
            ("2026-07-01T12:00:00.000Z", "9998-12-31T23:59:59.999Z"),
            ("\"v\":1", "\"v\":2"),
            ("\"kind\":\"system\"", "\"kind\":\"king\""),
            ("auth.login", "auth"),
        ] {
            let leaf = String::from_utf8(plain(json!({}))).unwrap();
            let changed = leaf.replacen(from, to, 1);
            assert_ne!(leaf, changed, "{from}");
            assert_eq!(scan(changed.as_bytes()).is_some(), parse(changed.as_bytes()).is_ok(), "{to}");
        }
    }
}
