//! Settings that can change while the daemon serves: which those are, what another configuration would change, and a digest
//! of what is in effect. Pure; refuses to know who is told, and how.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::settings::{self, Kind};
use super::{Config, Database, Draft, JwtSecret, Mistake, Secret, s3};

/// The settings that a reload takes over. All others are read at the start alone: they open, bind or start something.
pub const LIVE: &[&str] = &[
    "MREG_MAX_UPLOAD_BYTES",
    "MREG_MIN_FREE_BYTES",
    "MREG_UPLOAD_EXPIRY",
    "MREG_UPLOADS_PER_USER",
    "MREG_UPLOAD_BYTES_PER_USER",
    "MREG_RESTORE_DAYS",
    "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
    "MREG_SESSION_HOURS",
    "MREG_OPEN_REGISTRATION",
    "MREG_REQUIRE_TOTP",
    "MREG_MAX_CONNECTIONS",
    "MREG_MAX_CONNECTIONS_PER_ADDRESS",
    "MREG_MAX_REQUESTS",
    "MREG_MAX_REQUESTS_PER_CLIENT",
    "MREG_HEADER_TIMEOUT_SECONDS",
    "MREG_BODY_IDLE_SECONDS",
    "MREG_MIN_BYTES_PER_SECOND",
    "MREG_SHUTDOWN_SECONDS",
    "MREG_SCAN_POLICY",
    "MREG_RELEASE_APPROVALS",
    "MREG_PROTECTED_ALIASES",
    "MREG_AUDIT_READS",
    "MREG_AUDIT_CLIENT_IP",
    "MREG_LOG_HASH_ACCESS",
    "MREG_LOG_LEVEL",
];

/// What another configuration comes to while the daemon serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// What is in effect then: the one before, with the live settings of the other.
    pub config: Config,
    /// Names of the live settings that are other than before.
    pub changed: Vec<&'static str>,
    /// Names of the settings that are other as well, and stay as they are until a restart.
    pub pending: Vec<&'static str>,
}

impl Config {
    /// What taking over another configuration, which is valid, comes to.
    ///
    /// # Errors
    /// [`Mistake`]: its live settings don't go together with what stays as it is.
    pub fn taking_over(&self, other: &Self) -> Result<Change, Mistake> {
        let mut draft =
            Draft { config: self.clone(), database: Database::Embedded, shared_database: None, bucket: None };
        let mut changed = Vec::new();
        let mut pending = Vec::new();
        for setting in settings::all() {
            let Some((before, after)) = shown(setting, self, other) else { continue };
            let is_same = before == after && secret_of(self, setting.name) == secret_of(other, setting.name);
            match setting.kind {
                _ if is_same => {}
                Kind::Plain { apply, .. } if LIVE.contains(&setting.name) => {
                    apply(&mut draft, &after).map_err(|problem| Mistake::new(setting.name, problem))?;
                    changed.push(setting.name);
                }
                _ => pending.push(setting.name),
            }
        }
        // What is in the file, and not only which it is.
        if self.witnesses != other.witnesses && !pending.contains(&"MREG_WITNESS_POLICY") {
            pending.push("MREG_WITNESS_POLICY");
        }
        let config = draft.config;
        if config.blobs.is_s3() && config.upload_bytes_max > s3::BLOB_BYTES_MAX {
            let why = "is more than an object of the object store in use can have; restart with the other MREG_BLOBS";
            return Err(Mistake::new("MREG_MAX_UPLOAD_BYTES", why));
        }
        Ok(Change { config, changed, pending })
    }

    /// SHA-256 of the settings in effect, as `NAME=value` lines in the order of the manual. Of a secret it says only whether
    /// there is one: a digest of it would let somebody try guesses.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut text = String::new();
        for setting in settings::all() {
            if let Kind::Plain { show, .. } | Kind::Secret { show, .. } = setting.kind {
                // Writing to a text can't fail.
                let _ = writeln!(text, "{}={}", setting.name, show(self));
            }
        }
        format!("sha256:{}", hex::encode(Sha256::digest(text)))
    }
}

/// A setting's value in two configurations, as far as it may be seen; none if this version has no such setting.
fn shown(setting: &settings::Setting, one: &Config, other: &Config) -> Option<(String, String)> {
    match setting.kind {
        Kind::Plain { show, .. } | Kind::Secret { show, .. } => Some((show(one), show(other))),
        Kind::Unavailable => None,
    }
}

/// A secret, to compare and nothing else.
fn secret_of<'a>(config: &'a Config, name: &str) -> Option<&'a Secret> {
    match name {
        "MREG_DATABASE_PASSWORD" => config.database_password.as_ref(),
        "AWS_ACCESS_KEY_ID" => config.object_store.key_id.as_ref(),
        "AWS_SECRET_ACCESS_KEY" => config.object_store.secret.as_ref(),
        "AWS_SESSION_TOKEN" => config.object_store.session_token.as_ref(),
        "JWT_SECRET_KEY" => match &config.jwt_secret {
            JwtSecret::Given(secret) => Some(secret),
            JwtSecret::Generate => None,
        },
        "JWT_SECRET_KEY_PREVIOUS" => config.jwt_secret_previous.as_ref(),
        "OTEL_EXPORTER_OTLP_HEADERS" => config.traces.headers.as_ref(),
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS" => config.traces.traces_headers.as_ref(),
        "ADMIN_PASSWORD" => config.admin_password.as_ref(),
        "MREG_WEBHOOK_KEY" => config.webhooks.key.as_ref(),
        "MREG_TOTP_KEY" => config.totp_key.as_ref(),
        _not_a_secret => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::ffi::OsString;
    use std::path::Path;

    use super::{Kind, LIVE, secret_of, settings};
    use crate::config::{Config, Options};

    fn config(lines: &[(&str, &str)]) -> Config {
        let environment = lines.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::load(&Options::default(), environment, Path::new("/nowhere")).unwrap().config
    }

    /// Live settings are taken over, others wait for a restart and are named, and none is half applied.
    #[test]
    fn live_and_pending() {
        let before = config(&[]);
        let secret = "0123456789abcdef0123456789abcdef";
        let other = config(&[
            ("MREG_MAX_UPLOAD_BYTES", "1 MiB"),
            ("MREG_SCAN_POLICY", "strict"),
            ("MREG_LOG_LEVEL", "debug"),
            ("MREG_BIND", "127.0.0.1:9999"),
            ("JWT_SECRET_KEY", secret),
        ]);
        let change = before.taking_over(&other).unwrap();
        assert_eq!(change.changed, ["MREG_MAX_UPLOAD_BYTES", "MREG_SCAN_POLICY", "MREG_LOG_LEVEL"]);
        assert_eq!(change.pending, ["JWT_SECRET_KEY", "MREG_BIND"]);
        assert_eq!(change.config.upload_bytes_max, 1 << 20);
        assert_eq!(change.config.logging.filter, "debug");
        assert_eq!(change.config.bind, before.bind);
        assert_eq!(change.config.jwt_secret, before.jwt_secret);
        assert_ne!(change.config.digest(), before.digest());
        // Nothing more is left to take over, and going back leads to where it was.
        assert_eq!(change.config.taking_over(&other).unwrap().changed, [""; 0]);
        let back = change.config.taking_over(&before).unwrap();
        assert_eq!((back.pending.len(), back.config.digest()), (0, before.digest()));
        // Another secret of the same kind is seen, and is not in the digest.
        let rotated = config(&[("JWT_SECRET_KEY", "fedcba9876543210fedcba9876543210")]);
        let given = config(&[("JWT_SECRET_KEY", secret)]);
        assert_eq!(given.taking_over(&rotated).unwrap().pending, ["JWT_SECRET_KEY"]);
        assert_eq!(given.digest(), rotated.digest());
    }

    /// Each live setting is one that can be shown, and what is shown is understood.
    #[test]
    fn live_settings_are_settings() {
        let config = config(&[]);
        for name in LIVE {
            let setting = settings::all().find(|setting| setting.name == *name).unwrap();
            let Kind::Plain { apply, show } = setting.kind else { panic!("{name} is not plain") };
            let mut draft = super::Draft::blank();
            apply(&mut draft, &show(&config)).unwrap();
            assert_eq!(show(&draft.config), show(&config), "{name}");
        }
    }

    /// A secret that is not compared would change without a word.
    #[test]
    fn secrets_are_compared() {
        let secret = "0123456789abcdef0123456789abcdef";
        let config = config(&[
            ("MREG_BLOBS", "s3://bucket"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_SESSION_TOKEN", secret),
            ("MREG_DATABASE_PASSWORD", secret),
            ("JWT_SECRET_KEY", secret),
            ("JWT_SECRET_KEY_PREVIOUS", "fedcba9876543210fedcba9876543210"),
            ("ADMIN_PASSWORD", secret),
            ("MREG_WEBHOOK_KEY", secret),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=2"),
            ("MREG_WEBHOOK_KEY", secret),
            ("MREG_TOTP_KEY", secret),
        ]);
        for setting in settings::all().filter(|setting| matches!(setting.kind, Kind::Secret { .. })) {
            assert!(secret_of(&config, setting.name).is_some(), "{} is not compared", setting.name);
        }
    }
}
