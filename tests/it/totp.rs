//! Second factors: setting one up, signing in with it, losing it. The authenticator here shares no code with the daemon.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::{Client, Response};

const STEP_S: u64 = 30;

/// An authenticator: it never shows the same code twice, and waits where it would have to.
struct Authenticator {
    secret: Vec<u8>,
    last: u64,
}

impl Authenticator {
    fn new(base32: &str) -> Self {
        let mut bits = String::new();
        for char in base32.chars() {
            let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(char).expect("base32");
            bits.push_str(&format!("{value:05b}"));
        }
        let secret = bits.as_bytes().chunks_exact(8);
        let secret = secret.map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap()).collect();
        Self { secret, last: 0 }
    }

    #[expect(clippy::disallowed_methods, reason = "an authenticator has a clock of its own")]
    fn now_s() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    /// A code that the daemon takes, if it asks within the step or the next.
    fn code(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(3 * STEP_S);
        loop {
            let now = Self::now_s() / STEP_S;
            let step = now.max(self.last + 1);
            if step <= now + 1 {
                self.last = step;
                return self.code_of(step);
            }
            assert!(Instant::now() < deadline, "the clock stands still");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn code_of(&self, step: u64) -> String {
        let hash = hmac_sha1(&self.secret, &step.to_be_bytes());
        let at = usize::from(hash[19] % 16);
        let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) % (1 << 31);
        format!("{:06}", number % 1_000_000)
    }

    /// One that is of no step near now.
    fn wrong(&self) -> String {
        let now = Self::now_s() / STEP_S;
        let near: Vec<String> = (now - 3..now + 5).map(|step| self.code_of(step)).collect();
        (0..).map(|code| format!("{code:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut padded = [0; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner = sha1(&[&padded.map(|octet| octet ^ 0x36)[..], message].concat());
    sha1(&[&padded.map(|octet| octet ^ 0x5c)[..], &inner].concat())
}

/// FIPS 180-4 §6.1.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut octets = message.to_vec();
    octets.push(0x80);
    while octets.len() % 64 != 56 {
        octets.push(0);
    }
    octets.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in octets.chunks_exact(64) {
        let mut words: Vec<u32> =
            block.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for at in 16..80 {
            words.push((words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut hash = [0; 20];
    for (octets, word) in hash.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

fn login(daemon: &Daemon, name: &str, password: &str, otp: &str) -> Response {
    daemon.client().post("/login", &json!({"username": name, "password": password, "otp": otp}))
}

/// Asks for a secret; what was told of it must be in no file of the daemon's.
fn enrol(client: &Client, password: &str) -> Authenticator {
    let told = client.post("/me/totp", &json!({"password": password})).expect(200);
    assert_eq!(told.need("cache-control"), "no-store");
    let told = told.json();
    let (secret, uri) = (told["secret"].as_str().unwrap(), told["uri"].as_str().unwrap());
    client.ledger().add_secret(secret);
    assert_eq!(secret.len(), 32);
    assert!(uri.starts_with("otpauth://totp/mreg:") && uri.contains(&format!("secret={secret}&")), "{uri}");
    Authenticator::new(secret)
}

/// Sets a second factor up; the recovery codes with it.
fn set_up(client: &Client, password: &str) -> (Authenticator, Vec<String>) {
    let mut authenticator = enrol(client, password);
    let code = authenticator.code();
    let told = client.post("/me/totp/confirm", &json!({"code": code})).expect(200).json();
    let codes: Vec<String> =
        told["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    for code in &codes {
        client.ledger().add_secret(code);
    }
    assert_eq!(codes.len(), 10);
    (authenticator, codes)
}

/// The arithmetic of this file is that of the standards: FIPS 180-4, RFC 6238 appendix B.
#[test]
fn authenticator() {
    assert_eq!(sha1(b"abc")[..4], [0xa9, 0x99, 0x3e, 0x36]);
    let authenticator = Authenticator::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_eq!(authenticator.code_of(59 / STEP_S), "287082");
    assert_eq!(authenticator.code_of(1_111_111_109 / STEP_S), "081804");
}

/// From the first secret to giving it up: nothing is asked for before a code was shown, then no sign-in goes without; a code
/// and a recovery code work once, over a restart too; API tokens are not concerned.
#[test]
fn a_second_factor() {
    let mut daemon = Daemon::start();
    let (carl, password) = (daemon.user("carl", Role::Contributor), Daemon::password_of("carl"));
    let elsewhere = daemon.client().signed_in("carl", &password);
    let token = carl.post("/tokens", &json!({"label": "ci"})).expect(201).json();
    daemon.ledger().add_secret(token["token"].as_str().unwrap());
    let program = daemon.client().with_token(token["token"].as_str().unwrap());

    carl.post("/me/totp", &json!({"password": "not-the-password-1"})).problem("bad-credentials");
    carl.post("/me/totp/confirm", &json!({"code": "000000"})).problem("conflict");
    carl.post("/me/totp/disable", &json!({"password": password, "code": "000000"})).problem("conflict");
    program.post("/me/totp", &json!({"password": password})).problem("forbidden");
    let first = enrol(&carl, &password);
    daemon.client().login("carl", &password).expect(200);
    let unconfirmed = enrol(&carl, &password);
    assert_ne!(first.secret, unconfirmed.secret);
    carl.post("/me/totp/confirm", &json!({"code": first.code_of(Authenticator::now_s() / STEP_S)}))
        .invalid("body.code");
    assert_eq!(carl.value("/me")["totp"], false);

    let (mut authenticator, codes) = set_up(&carl, &password);
    elsewhere.get("/me").problem("unauthenticated");
    assert_eq!(carl.value("/me")["totp"], true);
    assert_eq!(program.value("/me")["totp"], true);
    assert_eq!(daemon.admin().value("/users/carl")["totp"], true);
    let all = daemon.admin().value("/users");
    let with = |item: &&Value| item["totp"] == true;
    assert_eq!(all["items"].as_array().unwrap().iter().filter(with).count(), 1, "{all}");
    carl.post("/me/totp", &json!({"password": password})).problem("conflict");

    let missing = daemon.client().login("carl", &password);
    missing.problem("second-factor-required");
    assert!(!missing.text().contains("access_token"));
    login(&daemon, "carl", &password, &authenticator.wrong()).problem("second-factor-required");
    login(&daemon, "carl", "not-the-password-1", &codes[9]).problem("bad-credentials");
    let code = authenticator.code();
    let form = format!("username=carl&password={password}&otp={}+{}", &code[..3], &code[3..]);
    let request = daemon.client().request("POST", "/login").body("application/x-www-form-urlencoded", form);
    request.send().expect(200);
    login(&daemon, "carl", &password, &code).problem("second-factor-required");

    login(&daemon, "carl", &password, &codes[0].to_uppercase().replace('-', " ")).expect(200);
    login(&daemon, "carl", &password, &codes[0]).problem("second-factor-required");
    daemon.stop();
    daemon.restart();
    let carl = carl.at(daemon.address());
    login(&daemon, "carl", &password, &codes[0]).problem("second-factor-required");
    login(&daemon, "carl", &password, &code).problem("second-factor-required");
    login(&daemon, "carl", &password, &codes[1]).expect(200);

    let disable =
        |password: &str, code: &str| carl.post("/me/totp/disable", &json!({"password": password, "code": code}));
    disable("not-the-password-1", &codes[2]).problem("bad-credentials");
    disable(&password, &codes[1]).problem("second-factor-required");
    disable(&password, &authenticator.code()).expect(204);
    assert_eq!(carl.value("/me")["totp"], false);
    daemon.client().login("carl", &password).expect(200);
    login(&daemon, "carl", &password, "whatever").expect(200);
    assert_ne!(enrol(&carl, &password).secret, authenticator.secret, "no secret comes twice");

    let log = daemon.log();
    for action in ["user.totp_enrol", "user.totp_enable", "user.totp_disable"] {
        assert!(log.of(action).iter().any(|entry| entry["outcome"] == "ok"), "{action}");
    }
    let logins = log.of("auth.login");
    let data = |key: &str, value: &str| logins.iter().filter(|entry| entry["data"][key] == value).count();
    assert_eq!((data("second_factor", "code"), data("second_factor", "recovery code")), (1, 2));
    assert_eq!((data("second_factor", "missing"), data("reason", "second-factor-required")), (1, 6));
    let left: Vec<u64> = logins.iter().filter_map(|entry| entry["data"]["recovery_codes_left"].as_u64()).collect();
    assert_eq!(left, [9, 8]);
}

/// Guesses with the right password lock the user out like wrong passwords, and signing in elsewhere in between is no help.
#[test]
fn guesses_are_counted() {
    let daemon = Daemon::start();
    let (vera, password) = (daemon.user("vera", Role::Viewer), Daemon::password_of("vera"));
    let (authenticator, codes) = set_up(&vera, &password);
    for _ in 0..4 {
        login(&daemon, "vera", &password, &authenticator.wrong()).problem("second-factor-required");
    }
    // A right password alone doesn't begin the count anew.
    vera.post("/me/totp/disable", &json!({"password": password, "code": authenticator.wrong()}))
        .problem("second-factor-required");
    login(&daemon, "vera", &password, &codes[0]).problem("too-many-requests");
    vera.post("/me/totp/disable", &json!({"password": password, "code": codes[0]})).problem("too-many-requests");
    assert_eq!(daemon.admin().value("/users/vera")["failed_logins"], 5);
    assert_eq!(vera.value("/me")["totp"], true);
}

/// Who lost everything gets in again by an admin, or by the operator of the machine; nobody else helps.
#[test]
fn reset() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let (vera, password) = (daemon.user("vera", Role::Viewer), Daemon::password_of("vera"));
    let _factor = set_up(&vera, &password);
    vera.post_empty("/users/vera/totp/reset").problem("forbidden");
    let told = admin.post_empty("/users/vera/totp/reset").expect(200).json();
    assert_eq!((&told["totp"], &told["sessions"]), (&json!(false), &json!(0)));
    vera.get("/me").problem("unauthenticated");
    admin.post_empty("/users/vera/totp/reset").problem("conflict");
    admin.post_empty("/users/nobody/totp/reset").problem("not-found");

    let vera = daemon.client().signed_in("vera", &password);
    let _factor = set_up(&vera, &password);
    daemon.client().login("vera", &password).problem("second-factor-required");
    let done = daemon.run(&["user", "reset-totp", "vera"], "");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    daemon.client().login("vera", &password).expect(200);
    // A user who comes again under the same name has nothing of the one before.
    let vera = daemon.client().signed_in("vera", &password);
    let _factor = set_up(&vera, &password);
    admin.delete("/users/vera").expect(200);
    daemon.user("vera", Role::Viewer);
    assert_eq!(daemon.log().of("user.totp_reset").iter().filter(|entry| entry["outcome"] == "ok").count(), 2);
}

/// Where it is demanded of admins, one that has none gets in, and may do nothing but set one up; others are not concerned.
#[test]
fn demanded() {
    let mut daemon = Daemon::start();
    let vera = daemon.user("vera", Role::Viewer);
    let before = daemon.admin();
    daemon.stop();
    daemon.set("MREG_REQUIRE_TOTP", "admins");
    daemon.restart();
    let (vera, before) = (vera.at(daemon.address()), before.at(daemon.address()));
    assert_eq!(vera.value("/me")["must_enrol_totp"], false);
    vera.get("/models").expect(200);
    before.get("/users").problem("second-factor-enrolment");

    let told = daemon.client().login(ADMIN, ADMIN_PASSWORD).expect(200).json();
    assert_eq!(told["must_enrol_totp"], true);
    let admin = daemon.client().with_token(told["access_token"].as_str().unwrap());
    assert_eq!(admin.value("/me")["must_enrol_totp"], true);
    admin.get("/models").problem("second-factor-enrolment");
    admin.post("/tokens", &json!({"label": "x"})).problem("second-factor-enrolment");
    admin.post_empty("/token/refresh").expect(200);
    let (_authenticator, codes) = set_up(&admin, ADMIN_PASSWORD);
    admin.get("/users").expect(200);
    let told = login(&daemon, ADMIN, ADMIN_PASSWORD, &codes[0]).expect(200).json();
    assert_eq!(told["must_enrol_totp"], false);
}
