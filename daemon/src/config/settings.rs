//! The table of settings: the name, default, manual and meaning of every variable, one row each.
//!
//! Knows: how the text of one setting becomes a typed value and back. Refuses to know: where the text came from
//! (`sources.rs`), and rules between settings (`config.rs`).
//!
//! `config show`, `.env.sample` and the settings reference are all made from this table, so none of them can forget a
//! row.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::database::DatabaseAddress;
use super::ingest::{self, DropFolder};
use super::live::LIVE;
use super::network::{self, ForwardedBy, TlsFiles};
use super::s3::{self, Place};
use super::scan::{self, ScanPolicies};
use super::secret::{KEY_BYTES_MIN, Secret};
use super::traces::{self, Sampler};
use super::webhooks::Allowed;
use super::{
    AuditClientIp, AuditReads, Config, Database, Draft, JwtSecret, LogFormat, LogHashAccess, RequireTotp, WitnessMode,
};

/// The largest size anyone can ask for: integers in the audit log end at 2^53 − 1 (audit-log.md §1).
const SIZE_BYTES_MAX: u64 = (1 << 53) - 1;

/// Slower than this, no pass would come to an end.
pub(crate) const SCRUB_BYTES_PER_SECOND_MIN: u64 = 4096;

/// The shortest password of the first administrator, in octets (rest-api.md §2).
const PASSWORD_BYTES_MIN: usize = 12;

/// The longest password, in octets: argon2 takes them whole.
const PASSWORD_BYTES_MAX: usize = 1024;

/// How much of a wrong value is repeated in a message, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// One variable.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the environment.
    pub name: &'static str,
    /// What holds when it is not set.
    pub default: Default,
    /// What becomes of its value.
    pub kind: Kind,
    /// The manual: what it does, and what it takes.
    pub doc: &'static str,
}

/// The value of a setting that nobody set.
#[derive(Debug)]
pub enum Default {
    /// This text, parsed like any other.
    Text(&'static str),
    /// Found from other settings.
    Derived {
        /// How it is found, in words.
        rule: &'static str,
        /// What it comes to when nothing at all is set.
        example: &'static str,
    },
    /// Nothing.
    Unset,
}

/// What a variable is to this version.
#[derive(Debug)]
pub enum Kind {
    /// A value that may be seen.
    Plain {
        /// Text into the draft; the error is a sentence that says what to do, without the variable's name.
        apply: fn(&mut Draft, &str) -> Result<(), String>,
        /// The effective value, in a form that `apply` takes.
        show: fn(&Config) -> String,
    },
    /// A value that may not be seen, and may come from a file or a credential. Errors of `apply` never repeat it.
    Secret {
        /// As for `Plain`.
        apply: fn(&mut Draft, &str) -> Result<(), String>,
        /// What can be said of it: set, or what happens instead.
        show: fn(&Config) -> String,
    },
    /// Known, not honoured yet: setting it is a mistake, because what was asked for would not happen.
    Unavailable,
}

/// A heading and the settings under it.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The settings, in reading order.
    pub settings: &'static [Setting],
}

/// Every setting, in the order of the manual.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The manual.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Storage",
        settings: &[
            Setting {
                name: "MREG_DATA_DIR",
                default: Default::Text("./mreg-data"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.data_dir = PathBuf::from(text);
                        Ok(())
                    },
                    show: |config| config.data_dir.display().to_string(),
                },
                doc: "The directory that holds everything on local disk: artifacts, records and the audit log. \
                    Also --data-dir.",
            },
            Setting {
                name: "DATABASE_URL",
                default: Default::Derived {
                    rule: "the embedded store in MREG_DATA_DIR",
                    example: "sled:///./mreg-data",
                },
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.database = database_url(text)?;
                        Ok(())
                    },
                    show: |config| format!("sled://{}", config.data_dir.display()),
                },
                doc: "Another way to name MREG_DATA_DIR: sled:///absolute/path or sled:///./relative/path. \
                    sqlite:///path \
                      means the embedded store in mreg-data beside that path; a SQLite file itself cannot be read.",
            },
            Setting {
                name: "MREG_DATABASE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.shared_database = Some(DatabaseAddress::parse(text)?);
                        Ok(())
                    },
                    show: |config| match &config.database {
                        Some(database) => database.address.to_string(),
                        None => "-".to_owned(),
                    },
                },
                doc: "The PostgreSQL database of a log that several daemons share: \
                    postgres://user@host:5432/name?sslmode=verify-full&sslrootcert=ca.pem, or \
                    postgres://user@/name?host=/run/postgresql for a socket. Several servers, of which one is the primary \
                    and the others its standbys, stand with commas between them. sslmode is disable, require or verify-full, \
                    which is the default unless the server is on this machine. MREG_DATA_DIR is then this daemon's own \
                    replica of the log. All daemons need the same signing keys, JWT_SECRET_KEY, MREG_LOG_ORIGIN and \
                    artifacts: one bucket in MREG_BLOBS, or one directory that all see as MREG_DATA_DIR/blobs, from \
                    which the bytes of what is purged are not removed. Drop folder and resumable uploads are each \
                    daemon's own: what is in front must send all that is asked below /uploads, and the request that \
                    publishes it, to the daemon where it began. Unset, the embedded store is used alone.",
            },
            Setting {
                name: "MREG_DATABASE_PASSWORD",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.database_password = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.database_password.as_ref()),
                },
                doc: "The password of the database's user, where the server asks for one.",
            },
            Setting {
                name: "MREG_KEY_DIR",
                default: Default::Derived {
                    rule: "beside MREG_DATA_DIR, the same name with -keys in place of -data or at its end",
                    example: "./mreg-keys",
                },
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.key_dir = PathBuf::from(text);
                        Ok(())
                    },
                    show: |config| config.key_dir.display().to_string(),
                },
                doc: "The directory of the log's signing key, its high-water mark and the generated keys of tokens and webhooks. \
                    It must lie \
                      outside MREG_DATA_DIR, so that neither a copy nor an older state of the data brings keys or mark \
                      along.",
            },
            Setting {
                name: "MREG_MAX_UPLOAD_BYTES",
                default: Default::Text("64 GiB"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.upload_bytes_max = bytes(text, 1)?;
                        Ok(())
                    },
                    show: |config| show_bytes(config.upload_bytes_max),
                },
                doc: "The largest artifact that may be uploaded: bytes, or a number with KiB, MiB, GiB or TiB.",
            },
            Setting {
                name: "MREG_MIN_FREE_BYTES",
                default: Default::Text("1 GiB"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.free_bytes_min = bytes(text, 0)?;
                        Ok(())
                    },
                    show: |config| show_bytes(config.free_bytes_min),
                },
                doc: "Uploads are refused when they would leave less than this free on the disk of MREG_DATA_DIR.",
            },
            Setting {
                name: "MREG_UPLOAD_EXPIRY",
                default: Default::Text("1d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.upload_expiry = span(text)?;
                        Ok(())
                    },
                    show: |config| show_span(config.upload_expiry),
                },
                doc: "How long a resumable upload is kept to which nothing is appended: a number and s, m, h or d. Then \
                      it is over, and its octets go.",
            },
            Setting {
                name: "MREG_UPLOADS_PER_USER",
                default: Default::Text("100"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.uploads_per_user_max = number(text, 1..=10_000)?;
                        Ok(())
                    },
                    show: |config| config.uploads_per_user_max.to_string(),
                },
                doc: "How many resumable uploads one user may have open, 1 to 10000.",
            },
            Setting {
                name: "MREG_UPLOAD_BYTES_PER_USER",
                default: Default::Text("256 GiB"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.upload_bytes_per_user_max = bytes(text, 1)?;
                        Ok(())
                    },
                    show: |config| show_bytes(config.upload_bytes_per_user_max),
                },
                doc: "What the open resumable uploads of one user may come to, by the lengths they announced: bytes, or a \
                      number with KiB, MiB, GiB or TiB. All that is announced and not yet sent counts as used when \
                      another is created.",
            },
            Setting {
                name: "MREG_QUOTA_BYTES_PER_USER",
                default: Default::Text("off"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.quota_bytes_per_user = bytes_or_off(text)?;
                        Ok(())
                    },
                    show: |config| show_bytes_or_off(config.quota_bytes_per_user),
                },
                doc: "What one user may keep, unless PUT /quotas/users/NAME says otherwise: the octets of all versions that \
                      the user published and that are not purged, each counted in full. Bytes, or a number with KiB, MiB, \
                      GiB or TiB, or off. Where several daemons share a log, all of them need the same.",
            },
            Setting {
                name: "MREG_QUOTA_BYTES_PER_NAMESPACE",
                default: Default::Text("off"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.quota_bytes_per_namespace = bytes_or_off(text)?;
                        Ok(())
                    },
                    show: |config| show_bytes_or_off(config.quota_bytes_per_namespace),
                },
                doc: "The same of a namespace, the part of a model's name before the slash, whoever published: models \
                      without one count together. PUT /quotas/namespaces/NAME says otherwise.",
            },
            Setting {
                name: "MREG_RESTORE_DAYS",
                default: Default::Text("30"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.restore_days = number(text, 0..=3650)?;
                        Ok(())
                    },
                    show: |config| config.restore_days.to_string(),
                },
                doc: "For how many days a deleted model can be restored before its artifacts may be removed.",
            },
            Setting {
                name: "MREG_RETENTION_GRACE",
                default: Default::Text("1d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.retention_grace = span(text)?;
                        Ok(())
                    },
                    show: |config| show_span(config.retention_grace),
                },
                doc: "How long a retention rule does nothing by itself after it was set or changed, so that a mistake can \
                      be seen in its preview: a number and s, m, h or d.",
            },
            Setting {
                name: "MREG_RETENTION_INTERVAL",
                default: Default::Text("1d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.retention_interval = span(text)?;
                        Ok(())
                    },
                    show: |config| show_span(config.retention_interval),
                },
                doc: "How often each retention rule is carried out: a number and s, m, h or d from the end of one run to \
                      the next.",
            },
            Setting {
                name: "MREG_GC_INTERVAL",
                default: Default::Text("7d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.gc_interval = span_or_off(text)?;
                        Ok(())
                    },
                    show: |config| config.gc_interval.map_or_else(|| "off".to_owned(), show_span),
                },
                doc: "How often stored bytes that no version needs are looked for and removed, and it is seen what is \
                      missing: a number and s, m, h or d, or off. What a purge frees goes at once all the same; this \
                      finds what crashes left.",
            },
            Setting {
                name: "MREG_GC_MIN_AGE",
                default: Default::Text("1d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.gc_min_age = span(text)?;
                        Ok(())
                    },
                    show: |config| show_span(config.gc_min_age),
                },
                doc: "What was stored less long ago is left alone then, for it may be about to be needed: a number and s, \
                      m, h or d.",
            },
            Setting {
                name: "MREG_SCRUB_INTERVAL",
                default: Default::Text("7d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scrub_interval = span_or_off(text)?;
                        Ok(())
                    },
                    show: |config| config.scrub_interval.map_or_else(|| "off".to_owned(), show_span),
                },
                doc: "How often every stored artifact is read again and compared with its digest, in the background: a \
                      number and s, m, h or d from the beginning of one pass to the next, or off. What is damaged or \
                      missing is quarantined.",
            },
            Setting {
                name: "MREG_SCRUB_BYTES_PER_SECOND",
                default: Default::Text("32 MiB"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scrub_bytes_per_second = bytes(text, SCRUB_BYTES_PER_SECOND_MIN)?;
                        Ok(())
                    },
                    show: |config| show_bytes(config.scrub_bytes_per_second),
                },
                doc: "How much of the disk's bandwidth that may take, at least 4 KiB: bytes, or a number with KiB, MiB, \
                      GiB or TiB. A pass that takes longer than MREG_SCRUB_INTERVAL is followed by the next at once.",
            },
        ],
    },
    Group {
        title: "Where artifacts are kept",
        settings: &[
            Setting {
                name: "MREG_BLOBS",
                default: Default::Text("disk"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.blobs = s3::place(text)?;
                        Ok(())
                    },
                    show: |config| config.blobs.to_string(),
                },
                doc: "Where artifacts are kept: disk, below MREG_DATA_DIR, or in a bucket of an object store that speaks S3, as s3://bucket/prefix. Records and the audit log stay in MREG_DATA_DIR.",
            },
            Setting {
                name: "MREG_BLOBS_OLD",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.blobs_old = optional(text, s3::place)?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.blobs_old.as_ref()),
                },
                doc: "Where artifacts were kept before, disk or s3://bucket/prefix: they are read from there as well, until `mregd migrate-blobs` has copied them to MREG_BLOBS and this is unset again.",
            },
            Setting {
                name: "S3_BUCKET_NAME",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.bucket = optional(text, s3::bucket)?;
                        Ok(())
                    },
                    show: |config| match &config.blobs {
                        Place::S3 { bucket, prefix } if prefix.is_empty() => bucket.clone(),
                        Place::S3 { .. } | Place::Disk => "none".to_owned(),
                    },
                },
                doc: "Another way to say MREG_BLOBS=s3://NAME.",
            },
            Setting {
                name: "AWS_ENDPOINT_URL",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.endpoint = optional(text, s3::endpoint)?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.object_store.endpoint.as_ref()),
                },
                doc: "The address of another S3 server than Amazon's, http:// or https://.",
            },
            Setting {
                name: "AWS_REGION",
                default: Default::Derived { rule: "us-east-1", example: "us-east-1" },
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.region = Some(s3::region(text)?);
                        Ok(())
                    },
                    show: |config| config.object_store.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
                },
                doc: "The region of the bucket.",
            },
            Setting {
                name: "AWS_ACCESS_KEY_ID",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.object_store.key_id = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.object_store.key_id.as_ref()),
                },
                doc: "The id of the access key of the bucket. Without one, the profile files of AWS's tools, a web identity or a container's role say who mregd is (AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE and the like, in the real environment).",
            },
            Setting {
                name: "AWS_SECRET_ACCESS_KEY",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.object_store.secret = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.object_store.secret.as_ref()),
                },
                doc: "The secret of that key.",
            },
            Setting {
                name: "AWS_SESSION_TOKEN",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.object_store.session_token = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.object_store.session_token.as_ref()),
                },
                doc: "The session token of a temporary key.",
            },
            Setting {
                name: "MREG_S3_CREDENTIALS",
                default: Default::Text("local"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.asks_instance = match text {
                            "local" => false,
                            "instance" => true,
                            _ => return Err(must("be local or instance", text)),
                        };
                        Ok(())
                    },
                    show: |config| if config.object_store.asks_instance { "instance" } else { "local" }.to_owned(),
                },
                doc: "Whether the instance's metadata service may be asked for credentials where nothing else has any: instance, or local for no.",
            },
            Setting {
                name: "MREG_S3_PATH_STYLE",
                default: Default::Text("auto"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.path_style = match text {
                            "auto" => None,
                            _ => Some(boolean(text)?),
                        };
                        Ok(())
                    },
                    show: |config| {
                        config.object_store.path_style.map_or_else(|| "auto".to_owned(), |style| style.to_string())
                    },
                },
                doc: "Whether the bucket's name goes into the path of an address instead of its host: true, false, or auto, which is true where AWS_ENDPOINT_URL is set.",
            },
            Setting {
                name: "MREG_S3_CHECKSUMS",
                default: Default::Text("sha256"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.sends_checksums = match text {
                            "sha256" => true,
                            "none" => false,
                            _ => return Err(must("be sha256 or none", text)),
                        };
                        Ok(())
                    },
                    show: |config| if config.object_store.sends_checksums { "sha256" } else { "none" }.to_owned(),
                },
                doc: "Which checksum is sent along for the store to compare and keep: sha256, or none for stores that refuse it. The octets are covered by the requests' signatures either way.",
            },
            Setting {
                name: "MREG_S3_CA_FILE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.ca_file = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| show_or_none(config.object_store.ca_file.as_ref().map(|path| path.display())),
                },
                doc: "A file of certificates in PEM: the authorities to trust for the object store, instead of those that the machine trusts.",
            },
            Setting {
                name: "MREG_S3_REDIRECT",
                default: Default::Text("off"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.redirect = s3::redirect(text)?;
                        Ok(())
                    },
                    show: |config| config.object_store.redirect.map_or_else(|| "off".to_owned(), show_span),
                },
                doc: "Whether downloads of single files are redirected to the object store, once they are allowed and recorded: off, or for how long such an address is valid, from 10s to 1h. Whoever has the address has the file for that time.",
            },
            Setting {
                name: "MREG_S3_GRACE",
                default: Default::Text("off"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.object_store.grace = s3::grace(text)?;
                        Ok(())
                    },
                    show: |config| config.object_store.grace.map_or_else(|| "off".to_owned(), show_span),
                },
                doc: "Where several daemons share the log and the bucket: how old an object must be to be removed because nothing points to it, from 2h to 30d, and the same for all of them. off: this daemon is alone. With MREG_DATABASE and a bucket in MREG_BLOBS it is 1d where it isn't set, and not off.",
            },
        ],
    },
    Group {
        title: "Signing in",
        settings: &[
            Setting {
                name: "JWT_SECRET_KEY",
                default: Default::Derived { rule: "generated in MREG_KEY_DIR", example: "" },
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.jwt_secret = JwtSecret::Given(key(text)?);
                        Ok(())
                    },
                    show: |config| match &config.jwt_secret {
                        JwtSecret::Given(secret) => secret.to_string(),
                        JwtSecret::Generate => "(generated in MREG_KEY_DIR)".to_owned(),
                    },
                },
                doc: "The key that signs access tokens, at least 32 bytes; `mregd gen-secret` makes one. It \
                    must be given \
                      when MREG_BIND is reachable from other machines.",
            },
            Setting {
                name: "JWT_SECRET_KEY_PREVIOUS",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.jwt_secret_previous = Some(key(text)?);
                        Ok(())
                    },
                    show: |config| show_optional(config.jwt_secret_previous.as_ref()),
                },
                doc: "The key before this one: tokens it signed are still accepted, new ones are not signed \
                    with it. Unset \
                      it once they have expired.",
            },
            Setting {
                name: "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
                default: Default::Text("30"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.access_token_minutes = number(text, 1..=1440)?;
                        Ok(())
                    },
                    show: |config| config.access_token_minutes.to_string(),
                },
                doc: "For how many minutes an access token is valid, 1 to 1440.",
            },
            Setting {
                name: "MREG_SESSION_HOURS",
                default: Default::Text("12"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.session_hours = number(text, 1..=168)?;
                        Ok(())
                    },
                    show: |config| config.session_hours.to_string(),
                },
                doc: "For how many hours after signing in a token can be refreshed, 1 to 168; then the password \
                    is needed again.",
            },
            Setting {
                name: "MREG_API_TOKEN_DAYS_MAX",
                default: Default::Text("365"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.api_token_days_max = days_or_unlimited(text)?;
                        Ok(())
                    },
                    show: |config| {
                        config.api_token_days_max.map_or_else(|| "unlimited".to_owned(), |days| days.to_string())
                    },
                },
                doc: "For how many days an API token may be made at most, 1 to 3650, or unlimited: then also for ever. \
                    Tokens that are there keep their end.",
            },
            Setting {
                name: "ADMIN_USERNAME",
                default: Default::Text("admin"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.admin_username = user_name(text)?;
                        Ok(())
                    },
                    show: |config| config.admin_username.clone(),
                },
                doc: "The first administrator, created when the registry is. Changing it later changes nothing.",
            },
            Setting {
                name: "ADMIN_PASSWORD",
                default: Default::Derived { rule: "generated, shown once on the terminal, to be changed", example: "" },
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.admin_password = Some(password(text)?);
                        Ok(())
                    },
                    show: |config| show_optional(config.admin_password.as_ref()),
                },
                doc: "The first administrator's password, 12 to 1024 bytes. Changing it later resets nothing.",
            },
            Setting {
                name: "MREG_OPEN_REGISTRATION",
                default: Default::Text("false"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.open_registration = boolean(text)?;
                        Ok(())
                    },
                    show: |config| config.open_registration.to_string(),
                },
                doc: "Whether anyone may create an account for themselves; such accounts are viewers. true or false.",
            },
            Setting {
                name: "MREG_REQUIRE_TOTP",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.require_totp = match text {
                            "none" => RequireTotp::None,
                            "admins" => RequireTotp::Admins,
                            "all" => RequireTotp::All,
                            _ => return Err(must("be none, admins or all", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.require_totp.as_str().to_owned(),
                },
                doc: "Who must have a second factor: none, admins or all. Who must and has none can still sign in, and then do \
                      nothing but set one up. API tokens are not concerned. Anybody may have one.",
            },
            Setting {
                name: "MREG_TOTP_KEY",
                default: Default::Derived { rule: "generated in MREG_KEY_DIR", example: "" },
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.totp_key = Some(key(text)?);
                        Ok(())
                    },
                    show: |config| match &config.totp_key {
                        Some(secret) => secret.to_string(),
                        None => "(generated in MREG_KEY_DIR)".to_owned(),
                    },
                },
                doc: "The key that the secrets of second factors are made with, at least 32 bytes; `mregd gen-secret` makes \
                      one. Several daemons with MREG_DATABASE need the same. With another key no code is right any more: \
                      recovery codes still are, and `mregd user reset-totp` takes a factor away.",
            },
        ],
    },
    Group {
        title: "Network",
        settings: &[
            Setting {
                name: "MREG_BIND",
                default: Default::Text("127.0.0.1:8000"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.bind = socket_address(text)?;
                        Ok(())
                    },
                    show: |config| config.bind.to_string(),
                },
                doc: "The address and port to listen on; port 0 takes a free one. Also --bind.",
            },
            Setting {
                name: "MREG_MAX_CONNECTIONS",
                default: Default::Text("1024"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.connections_max = number(text, 1..=65_536)?;
                        Ok(())
                    },
                    show: |config| config.connections_max.to_string(),
                },
                doc: "How many connections are served at once. For one more, the one that has been idle longest gives way; where \
                      none is idle, it is answered 503 and closed.",
            },
            Setting {
                name: "MREG_MAX_CONNECTIONS_PER_ADDRESS",
                default: Default::Text("256"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.connections_per_address_max = number(text, 1..=65_536)?;
                        Ok(())
                    },
                    show: |config| config.connections_per_address_max.to_string(),
                },
                doc: "How many of them one address may have (of IPv6, a /64); further ones are answered 429 and closed. Proxies \
                      that are named in MREG_TRUSTED_PROXIES may have all.",
            },
            Setting {
                name: "MREG_MAX_REQUESTS",
                default: Default::Text("1024"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.requests_max = number(text, 1..=65_536)?;
                        Ok(())
                    },
                    show: |config| config.requests_max.to_string(),
                },
                doc: "How many requests are answered at once, over all connections; further ones get 503. Probes, signing in, and \
                      what ends or revokes something have places of their own.",
            },
            Setting {
                name: "MREG_MAX_REQUESTS_PER_CLIENT",
                default: Default::Text("256"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.requests_per_client_max = number(text, 1..=65_536)?;
                        Ok(())
                    },
                    show: |config| config.requests_per_client_max.to_string(),
                },
                doc: "How many of them one user may have, or one address where nobody signed in; further ones get 429.",
            },
            Setting {
                name: "MREG_HEADER_TIMEOUT_SECONDS",
                default: Default::Text("15"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.header_timeout = seconds(text, 1..=600)?;
                        Ok(())
                    },
                    show: |config| config.header_timeout.as_secs().to_string(),
                },
                doc: "How long a client may take to send the head of a request, and for the handshake of TLS before it.",
            },
            Setting {
                name: "MREG_BODY_IDLE_SECONDS",
                default: Default::Text("60"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.body_idle_timeout = seconds(text, 1..=3600)?;
                        Ok(())
                    },
                    show: |config| config.body_idle_timeout.as_secs().to_string(),
                },
                doc: "How long a body may stand still, in either direction, before the connection is closed.",
            },
            Setting {
                name: "MREG_MIN_BYTES_PER_SECOND",
                default: Default::Text("512"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.bytes_per_second_min = number(text, 0..=1_048_576)?;
                        Ok(())
                    },
                    show: |config| config.bytes_per_second_min.to_string(),
                },
                doc: "How many octets of a body a client must send or take in a second in the long run: whoever is slower is cut \
                      once they are MREG_BODY_IDLE_SECONDS behind. 0: as slow as they like.",
            },
            Setting {
                name: "MREG_SHUTDOWN_SECONDS",
                default: Default::Text("30"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.shutdown_timeout = seconds(text, 0..=3600)?;
                        Ok(())
                    },
                    show: |config| config.shutdown_timeout.as_secs().to_string(),
                },
                doc: "How long requests that are running at shutdown may take to finish before they are cut.",
            },
            Setting {
                name: "MREG_LISTEN",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.listen = network::listen(text)?;
                        Ok(())
                    },
                    show: |config| network::show_listen(&config.listen),
                },
                doc: "Further places to listen, in clear, separated by commas: unix:/path for a socket of this machine, or a \
                      loopback address and a port.",
            },
            Setting {
                name: "MREG_SOCKET_MODE",
                default: Default::Text("0660"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.socket_mode = network::socket_mode(text)?;
                        Ok(())
                    },
                    show: |config| format!("0{:o}", config.socket_mode),
                },
                doc: "The mode of such sockets: who of this machine may connect. Whoever does still needs a token.",
            },
            Setting {
                name: "MREG_TLS_CERT",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.tls_files().cert = path_or_none(text);
                        Ok(())
                    },
                    show: |config| of_tls(config, |files| &files.cert),
                },
                doc: "The file of the certificate chain (PEM, the daemon's own certificate first). With it MREG_BIND is \
                      https://, HTTP/1.1 and HTTP/2. It is read again when it changes and on SIGHUP; what can't be used is \
                      refused, and the one before stays.",
            },
            Setting {
                name: "MREG_TLS_KEY",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.tls_files().key = path_or_none(text);
                        Ok(())
                    },
                    show: |config| of_tls(config, |files| &files.key),
                },
                doc: "The file of that certificate's key (PEM), which only its owner may be able to read.",
            },
            Setting {
                name: "MREG_REQUIRE_TLS",
                default: Default::Text("false"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.require_tls = boolean(text)?;
                        Ok(())
                    },
                    show: |config| config.require_tls.to_string(),
                },
                doc: "Whether it is a mistake to be reachable from other machines without TLS, and not only worth a warning. \
                      true or false. Also --require-tls.",
            },
            Setting {
                name: "MREG_TRUSTED_PROXIES",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        let proxies = &mut draft.config.proxies;
                        (proxies.networks, proxies.unix) = network::proxies(text)?;
                        Ok(())
                    },
                    show: |config| config.proxies.to_string(),
                },
                doc: "The proxies that are believed about whom they ask for, and with which request id: addresses and networks \
                      separated by commas, such as 127.0.0.1,10.0.0.0/8, and unix for whoever connects over a socket of \
                      MREG_LISTEN. Nobody else is.",
            },
            Setting {
                name: "MREG_FORWARDED_BY",
                default: Default::Text("x-forwarded-for"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.proxies.by = ForwardedBy::parse(text)?;
                        Ok(())
                    },
                    show: |config| config.proxies.by.as_str().to_owned(),
                },
                doc: "Where those proxies say it: x-forwarded-for (and X-Forwarded-Proto), or forwarded, as RFC 7239 has it. \
                      The other header is not read, for a proxy hands it on as anyone sent it.",
            },
            Setting {
                name: "MREG_SEND_FILE",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.send_file = network::send_file(text)?;
                        Ok(())
                    },
                    show: |config| {
                        config
                            .send_file
                            .as_ref()
                            .map_or_else(|| "none".to_owned(), |prefix| format!("x-accel:{prefix}"))
                    },
                },
                doc: "Who sends the bytes of a download: none, that is mregd itself; or x-accel: nginx, where it is one of \
                      MREG_TRUSTED_PROXIES and has the blobs at /internal-blobs/, or at another place as x-accel:/path/ \
                      (systemd/nginx.conf.sample).",
            },
        ],
    },
    Group {
        title: "Drop folder",
        settings: &[
            Setting {
                name: "MREG_DROP_DIR",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().dir = if text == "none" { PathBuf::new() } else { PathBuf::from(text) };
                        Ok(())
                    },
                    show: |config| {
                        let dir = config.drop.as_ref().map(|drop| drop.dir.display().to_string());
                        dir.filter(|dir| !dir.is_empty()).unwrap_or_else(|| "none".to_owned())
                    },
                },
                doc: "The folder whose files become versions: what is put there, or into incoming/ below it, is taken in once \
                      it is complete, and lies in done/ or rejected/ afterwards, beside a receipt or the reason. It is made \
                      at start if its parent is there, lies outside MREG_DATA_DIR and MREG_KEY_DIR, and is one registry's \
                      alone. Without it there is none, and the settings below are mistakes.",
            },
            Setting {
                name: "MREG_DROP_SETTLE",
                default: Default::Text("2"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().settle = ingest::settle(text)?;
                        Ok(())
                    },
                    show: |config| of_drop_folder(config, |drop| ingest::show_settle(drop.settle)),
                },
                doc: "For how many seconds a file must have rested before it counts as complete, 0.1 to 3600, with up to three \
                      decimals. Where the file system can't tell who still has a file open, it is five times that.",
            },
            Setting {
                name: "MREG_DROP_POLL",
                default: Default::Text("auto"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().poll = match text {
                            "auto" => None,
                            _ => Some(seconds(text, 1..=86_400).map_err(|problem| format!("{problem}; or auto"))?),
                        };
                        Ok(())
                    },
                    show: |config| {
                        of_drop_folder(config, |drop| {
                            drop.poll.map_or_else(|| "auto".to_owned(), |poll| poll.as_secs().to_string())
                        })
                    },
                },
                doc: "Seconds between walks through the folder, 1 to 86400, for what the kernel does not tell of. auto: 60 \
                      where it tells of changes, 5 where it does not.",
            },
            Setting {
                name: "MREG_DROP_EVENTS",
                default: Default::Text("true"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().events = boolean(text)?;
                        Ok(())
                    },
                    show: |config| of_drop_folder(config, |drop| drop.events.to_string()),
                },
                doc: "Whether the kernel is asked to tell of changes. Say false for a network file system (NFS, CIFS) that \
                      other machines write to: nothing is told of what they do. true or false.",
            },
            Setting {
                name: "MREG_DROP_USERS",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().users = ingest::users(text)?;
                        Ok(())
                    },
                    show: |config| of_drop_folder(config, |drop| ingest::show_users(&drop.users)),
                },
                doc: "Which user of the registry acts for the files of a user of this machine, separated by commas: \
                      1001=alice,deploy=ci-bot. Left of the sign is a number, or a name of /etc/passwd, which is looked up at \
                      start. For the files of everybody else, watcher acts.",
            },
            Setting {
                name: "MREG_DROP_ROLE",
                default: Default::Text("contributor"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().role = ingest::role(text)?;
                        Ok(())
                    },
                    show: |config| {
                        of_drop_folder(config, |drop| drop.role.map_or("none", common::role::Role::as_str).to_owned())
                    },
                },
                doc: "The role of watcher, who acts for files of users that MREG_DROP_USERS does not name: viewer, \
                      contributor or admin. none, or a role that may not publish: those files are rejected.",
            },
            Setting {
                name: "MREG_DROP_NAMESPACES",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().namespaces = ingest::namespaces(text)?;
                        Ok(())
                    },
                    show: |config| of_drop_folder(config, |drop| or_none(drop.namespaces.iter().cloned().collect())),
                },
                doc: "Folders in incoming/ that are namespaces, separated by commas: each file in one becomes a version of a \
                      model of that namespace. They are made at start. Other folders are namespaces if they hold a file \
                      .mreg-namespace.",
            },
            Setting {
                name: "MREG_DROP_DONE",
                default: Default::Text("keep"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().keep_done = match text {
                            "keep" => true,
                            "remove" => false,
                            _ => return Err(must("be keep or remove", text)),
                        };
                        Ok(())
                    },
                    show: |config| {
                        of_drop_folder(config, |drop| if drop.keep_done { "keep" } else { "remove" }.to_owned())
                    },
                },
                doc: "What becomes of a file once its version is recorded: keep leaves it in done/, where nothing removes it; \
                      remove removes it. The receipt stays either way.",
            },
            Setting {
                name: "MREG_DROP_PARALLEL",
                default: Default::Text("4"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.drop_folder().parallel = number(text, 1..=32)?;
                        Ok(())
                    },
                    show: |config| of_drop_folder(config, |drop| drop.parallel.to_string()),
                },
                doc: "How many items are read, inspected and stored at once, 1 to 32. Large ones get at most half of the \
                      places.",
            },
        ],
    },
    Group {
        title: "Rules",
        settings: &[
            Setting {
                name: "MREG_SCAN_POLICY",
                default: Default::Text("default"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scan_policies = ScanPolicies::parse(text)?;
                        Ok(())
                    },
                    show: |config| config.scan_policies.to_string(),
                },
                doc: "What is done about what inspection finds. default quarantines uploads that are suspicious, malicious \
                      or could not be looked into; strict quarantines every pickle as well; flag lets what is suspicious \
                      through, with its findings shown; report lets everything through, with its findings shown; \
                      refuse-malicious does not take malicious uploads in at all, and is like default otherwise. For some \
                      models another policy can be said: default; team-nlp/*=strict; *-tmp=flag. In patterns * stands for \
                      any characters; the first pattern that fits the model's name decides, and the policy without a \
                      pattern is for all others.",
            },
            Setting {
                name: "MREG_RELEASE_APPROVALS",
                default: Default::Text("1"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.release_approvals = number(text, 1..=APPROVALS_MAX)?;
                        Ok(())
                    },
                    show: |config| config.release_approvals.to_string(),
                },
                doc: "How many people it takes to release a version from quarantine. With 2, the first release only records \
                      an approval, and another admin's is what releases it. A service account counts for nobody.",
            },
            Setting {
                name: "MREG_SCAN_ALLOW_GLOBALS",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scan_allow_globals = scan::globals(text)?;
                        Ok(())
                    },
                    show: |config| {
                        let pairs = config.scan_allow_globals.iter().map(|(module, name)| format!("{module}.{name}"));
                        or_none(pairs.collect())
                    },
                },
                doc: "Classes and functions that pickles may name besides those that are built in, as module.name, \
                      separated by commas. They are run when such a pickle is loaded: allow only what you have read. A \
                      change is an entry in the audit log, and all versions are inspected anew.",
            },
            Setting {
                name: "MREG_SCAN_ALLOW_PREFIXES",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scan_allow_prefixes = scan::prefixes(text)?;
                        Ok(())
                    },
                    show: |config| or_none(config.scan_allow_prefixes.iter().cloned().collect()),
                },
                doc: "Modules below which every class (a name that begins with a capital letter) may be named by pickles, \
                      separated by commas, such as mylib.models. Never numpy, torch, pandas or builtins.",
            },
            Setting {
                name: "MREG_SCAN_TIMEOUT",
                default: Default::Text("60"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.scan_timeout = seconds(text, 1..=3600)?;
                        Ok(())
                    },
                    show: |config| config.scan_timeout.as_secs().to_string(),
                },
                doc: "Seconds that the inspection of a file may take, and 10 more for each GB. What takes longer is held \
                      as not to be looked into.",
            },
            Setting {
                name: "MREG_RESCAN_BYTES_PER_SECOND",
                default: Default::Text("64 MiB"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.rescan_bytes_per_second = bytes(text, 0)?;
                        Ok(())
                    },
                    show: |config| show_bytes(config.rescan_bytes_per_second),
                },
                doc: "How fast versions are inspected anew after the rules have changed, by the size of their files. 0: \
                      they are not, unless somebody asks for it.",
            },
            Setting {
                name: "MREG_PROTECTED_ALIASES",
                default: Default::Text("prod,production"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.protected_aliases = aliases(text)?;
                        Ok(())
                    },
                    show: |config| match config.protected_aliases.as_slice() {
                        [] => "none".to_owned(),
                        aliases => aliases.join(","),
                    },
                },
                doc: "The aliases that only an administrator may move, separated by commas; none protects no alias.",
            },
        ],
    },
    Group {
        title: "Audit log",
        settings: &[
            Setting {
                name: "MREG_LOG_ORIGIN",
                default: Default::Text("mreg.local/log"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.log_origin = origin(text)?;
                        Ok(())
                    },
                    show: |config| config.log_origin.clone(),
                },
                doc: "The name under which the audit log signs its checkpoints: a host and path of yours, \
                    without a scheme, \
                      such as registry.example.org/log. It belongs to the log from its first entry on; choose it \
                      before.",
            },
            Setting {
                name: "MREG_AUDIT_READS",
                default: Default::Text("content"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.audit_reads = match text {
                            "content" => AuditReads::Content,
                            "all" => AuditReads::All,
                            _ => return Err(must("be content or all", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.audit_reads.as_str().to_owned(),
                },
                doc: "Which reads are recorded: content records every download, all records reading metadata \
                    and lists as well. \
                      Changes, refusals and sign-ins are always recorded.",
            },
            Setting {
                name: "MREG_AUDIT_CLIENT_IP",
                default: Default::Text("full"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.audit_client_ip = match text {
                            "full" => AuditClientIp::Full,
                            "truncated" => AuditClientIp::Truncated,
                            "none" => AuditClientIp::None,
                            _ => return Err(must("be full, truncated or none", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.audit_client_ip.as_str().to_owned(),
                },
                doc: "How client addresses are recorded: full, truncated (to /24, or /48 for IPv6) or none.",
            },
            Setting {
                name: "MREG_LOG_HASH_ACCESS",
                default: Default::Text("public"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.log_hash_access = match text {
                            "public" => LogHashAccess::Public,
                            "authenticated" => LogHashAccess::Authenticated,
                            _ => return Err(must("be public or authenticated", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.log_hash_access.as_str().to_owned(),
                },
                doc: "Who may fetch the audit log's checkpoint and hashes, which is all it takes to check that nothing \
                      was altered: public, or authenticated for whoever has a live token. They reveal how many \
                      entries there are and when they came, and nothing else.",
            },
            Setting {
                name: "MREG_WITNESS_MODE",
                default: Default::Text("off"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.witness_mode = match text {
                            "off" => WitnessMode::Off,
                            "background" => WitnessMode::Background,
                            "required" => {
                                return Err("required is not offered in this version: no answer waits for witnesses; \
                                            say background, or off"
                                    .to_owned());
                            }
                            _ => return Err(must("be off or background", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.witness_mode.as_str().to_owned(),
                },
                doc: "Whether witnesses are asked to cosign the audit log's checkpoints: off, or background, which asks \
                      them after an entry is answered, at most every two seconds. The newest checkpoint that enough of \
                      them cosigned is at /log/checkpoint.witnessed.",
            },
            Setting {
                name: "MREG_WITNESS_POLICY",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.witness_policy = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| {
                        let path = config.witness_policy.as_ref();
                        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
                    },
                },
                doc: "The file that says which witnesses are asked, where they are, and how many must have cosigned: a \
                      policy as c2sp.org/tlog-policy has it. Addresses begin with https:// or http://. `mregd witness` is \
                      a witness.",
            },
            Setting {
                name: "MREG_WITNESS_CA_FILE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.witness_ca_file = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| {
                        let path = config.witness_ca_file.as_ref();
                        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
                    },
                },
                doc: "The file of the authorities (PEM) that are trusted for https:// witnesses, in place of those that this \
                      machine trusts.",
            },
        ],
    },
    Group {
        title: "Webhooks",
        settings: &[
            Setting {
                name: "MREG_WEBHOOK_KEY",
                default: Default::Derived { rule: "generated in MREG_KEY_DIR", example: "" },
                kind: Kind::Secret {
                    apply: |draft, text| {
                        draft.config.webhooks.key = Some(key(text)?);
                        Ok(())
                    },
                    show: |config| match &config.webhooks.key {
                        Some(secret) => secret.to_string(),
                        None => "(generated in MREG_KEY_DIR)".to_owned(),
                    },
                },
                doc: "The key that the secrets of webhooks are made with, at least 32 bytes; `mregd gen-secret` makes one. \
                      Several daemons with MREG_DATABASE need the same. With another key each webhook needs a new secret.",
            },
            Setting {
                name: "MREG_WEBHOOK_ALLOW",
                default: Default::Text("none"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.webhooks.allow = Allowed::parse(text)?;
                        Ok(())
                    },
                    show: |config| config.webhooks.allow.to_string(),
                },
                doc: "Where webhooks may lead besides public addresses: networks such as 10.0.0.0/8, addresses, and names of \
                      hosts, separated by commas. A name that is listed may have any address. Without this nothing is sent to \
                      private, local and other special addresses, nor to ports below 1024 but 80 and 443.",
            },
            Setting {
                name: "MREG_WEBHOOK_CA_FILE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.webhooks.ca_file = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| {
                        let path = config.webhooks.ca_file.as_ref();
                        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
                    },
                },
                doc: "The file of the authorities (PEM) that are trusted for receivers of webhooks at https://, in place of \
                      those that this machine trusts.",
            },
            Setting {
                name: "MREG_WEBHOOK_GIVE_UP",
                default: Default::Text("3d"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.webhooks.give_up = span(text)?;
                        Ok(())
                    },
                    show: |config| show_span(config.webhooks.give_up),
                },
                doc: "For how long a message that a receiver doesn't take is tried again before its webhook is disabled: a \
                      number and s, m, h or d. Nothing is lost: enabled again, it goes on with that message.",
            },
        ],
    },
    Group {
        title: "Diagnostics",
        settings: &[
            Setting {
                name: "MREG_LOG_FORMAT",
                default: Default::Text("text"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.logging.format = match text {
                            "text" => LogFormat::Text,
                            "json" => LogFormat::Json,
                            _ => return Err(must("be text or json", text)),
                        };
                        Ok(())
                    },
                    show: |config| config.logging.format.as_str().to_owned(),
                },
                doc: "The form of the diagnostics on standard error: text or json.",
            },
            Setting {
                name: "MREG_LOG_LEVEL",
                default: Default::Text("info"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.logging.filter = log_filter(text)?;
                        Ok(())
                    },
                    show: |config| config.logging.filter.clone(),
                },
                doc: "How much is said there: error, warn, info, debug or trace, also per module, such as \
                    info,daemon::http=debug.",
            },
        ],
    },
    Group {
        title: "Traces",
        settings: &[
            Setting {
                name: "OTEL_EXPORTER_OTLP_ENDPOINT",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.endpoint = optional(text, traces::endpoint)?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.traces.endpoint.as_ref()),
                },
                doc: "Where spans are sent, as OTLP over HTTP in protobuf: the collector's address, such as \
                      http://127.0.0.1:4318, to which /v1/traces is added. Unset, there are no traces.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.traces_endpoint = optional(text, traces::endpoint)?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.traces.traces_endpoint.as_ref()),
                },
                doc: "The same with its path, as it is; it wins.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_PROTOCOL",
                default: Default::Text("http/protobuf"),
                kind: Kind::Plain {
                    apply: |_draft, text| match text {
                        "http/protobuf" => Ok(()),
                        _ => Err(must("be http/protobuf, the only one that is spoken", text)),
                    },
                    show: |_config| "http/protobuf".to_owned(),
                },
                doc: "How the collector is spoken to: http/protobuf and nothing else.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_HEADERS",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        traces::headers(text)?;
                        draft.config.traces.headers = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.traces.headers.as_ref()),
                },
                doc: "Headers that the collector asks for: name=value pairs with commas between them, the values \
                      percent-encoded, such as authorization=Bearer%20TOKEN.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                default: Default::Unset,
                kind: Kind::Secret {
                    apply: |draft, text| {
                        traces::headers(text)?;
                        draft.config.traces.traces_headers = Some(Secret::new(text.to_owned()));
                        Ok(())
                    },
                    show: |config| show_optional(config.traces.traces_headers.as_ref()),
                },
                doc: "The same for traces alone; then these are all.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_TIMEOUT",
                default: Default::Text("10000"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.timeout = traces::timeout(text)?;
                        Ok(())
                    },
                    show: |config| config.traces.timeout.as_millis().to_string(),
                },
                doc: "How long the collector has for one batch, in milliseconds. No request waits for it.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.traces_timeout = optional(text, traces::timeout)?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.traces.traces_timeout.map(|timeout| timeout.as_millis())),
                },
                doc: "The same for traces alone; it wins.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_CERTIFICATE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.ca_file = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| {
                        let path = config.traces.ca_file.as_ref();
                        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
                    },
                },
                doc: "The file of the authorities (PEM) that are trusted for a collector at https://, in place of \
                      those that this machine trusts.",
            },
            Setting {
                name: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.traces_ca_file = (text != "none").then(|| PathBuf::from(text));
                        Ok(())
                    },
                    show: |config| {
                        let path = config.traces.traces_ca_file.as_ref();
                        path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
                    },
                },
                doc: "The same for traces alone; it wins.",
            },
            Setting {
                name: "OTEL_SERVICE_NAME",
                default: Default::Derived {
                    rule: "service.name of OTEL_RESOURCE_ATTRIBUTES, else mregd",
                    example: "mregd",
                },
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.service_name = Some(text.to_owned());
                        Ok(())
                    },
                    show: |config| {
                        config.traces.service_name.clone().unwrap_or_else(|| traces::SERVICE_NAME.to_owned())
                    },
                },
                doc: "What traces call this daemon.",
            },
            Setting {
                name: "OTEL_RESOURCE_ATTRIBUTES",
                default: Default::Unset,
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.resource =
                            optional(text, |text| traces::pairs(text).map(|_pairs| text.to_owned()))?;
                        Ok(())
                    },
                    show: |config| show_or_none(config.traces.resource.as_ref()),
                },
                doc: "What else is said of this daemon with all spans: name=value pairs with commas between them, such \
                      as deployment.environment.name=production.",
            },
            Setting {
                name: "OTEL_TRACES_SAMPLER",
                default: Default::Text("parentbased_always_on"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.sampler = Sampler::parse(text)?;
                        Ok(())
                    },
                    show: |config| config.traces.sampler.as_str().to_owned(),
                },
                doc: "Of which requests there are spans: always_on, always_off, traceidratio, or one of these after \
                      parentbased_ where a request that belongs to a trace already goes by what was decided there. \
                      Whoever can send requests can decide then.",
            },
            Setting {
                name: "OTEL_TRACES_SAMPLER_ARG",
                default: Default::Text("1"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        traces::ratio(text)?;
                        draft.config.traces.sampler_arg = text.to_owned();
                        Ok(())
                    },
                    show: |config| config.traces.sampler_arg.clone(),
                },
                doc: "The share of traceidratio and parentbased_traceidratio, 0 to 1.",
            },
            Setting {
                name: "OTEL_SDK_DISABLED",
                default: Default::Text("false"),
                kind: Kind::Plain {
                    apply: |draft, text| {
                        draft.config.traces.disabled = boolean(text)?;
                        Ok(())
                    },
                    show: |config| config.traces.disabled.to_string(),
                },
                doc: "Whether there are no traces, whatever else is set.",
            },
        ],
    },
    Group {
        title: "Not available in this version",
        settings: &[unavailable("MREG_WEBHOOK_URL", "Where events are posted.")],
    },
];

const fn unavailable(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, default: Default::Unset, kind: Kind::Unavailable, doc }
}

/// The whole of `.env.sample`.
#[must_use]
pub fn sample() -> String {
    let mut text = String::from(
        "# Settings of mregd. Copy this file to .env in the working directory, or name it with --env-file.\n\
         # Variables of the real environment win over this file; --bind and --data-dir win over both.\n\
         # Every line is a comment: without any setting, mregd serves 127.0.0.1:8000 and keeps its data in\n\
         # ./mreg-data.\n\
         # A secret may come from a file of mode 0600 instead (NAME_FILE=/path), or from a systemd credential NAME.\n\
         # What a reload (SIGHUP) takes over says so; all else needs a restart.\n\
         # `mregd config check` tells what is wrong, `mregd config show` what holds and where it comes from.\n",
    );
    for group in GROUPS {
        text += &format!("\n\n# ==== {} ====\n", group.title);
        for setting in group.settings {
            text.push('\n');
            for line in wrap(&manual(setting), 98) {
                text += &format!("# {line}\n");
            }
            let example = match &setting.default {
                Default::Text(default) => default,
                Default::Derived { rule, example } => {
                    text += &format!("# Default: {rule}.\n");
                    example
                }
                Default::Unset => "",
            };
            text += &format!("#{}={example}\n", setting.name);
        }
    }
    text
}

/// What there is to say about a setting, and whether it can change while the daemon serves.
fn manual(setting: &Setting) -> String {
    let live = if LIVE.contains(&setting.name) { " A reload takes it over." } else { "" };
    format!("{}{live}", setting.doc)
}

/// The settings as a Markdown table for the reference manual.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for setting in all() {
        let default = match (&setting.kind, &setting.default) {
            (Kind::Unavailable, _) => "not available in this version".to_owned(),
            (_, Default::Text(default)) => format!("`{default}`"),
            (_, Default::Derived { rule, .. }) => (*rule).to_owned(),
            (_, Default::Unset) => "none".to_owned(),
        };
        let file = if matches!(setting.kind, Kind::Secret { .. }) { " (or a file, or a credential)" } else { "" };
        let _ = writeln!(text, "| `{}`{file} | {default} | {} |", setting.name, manual(setting));
    }
    text
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Repeats a value that is not secret: quoted, without control characters, cut.
pub(super) fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

pub(super) fn must(what: &str, text: &str) -> String {
    format!("must {what}, not {}", echo(text))
}

fn number<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<N, String> {
    let wrong = || must(&format!("be a whole number from {} to {}", range.start(), range.end()), text);
    digits(text).filter(|number| range.contains(number)).and_then(|number| N::try_from(number).ok()).ok_or_else(wrong)
}

/// Digits alone: `u64::from_str` would take a sign too.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Days, or no bound.
fn days_or_unlimited(text: &str) -> Result<Option<u32>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let wrong = |_no_number: String| must("be a whole number from 1 to 3650, or unlimited", text);
    number(text, 1..=3650).map(Some).map_err(wrong)
}

fn seconds(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    number(text, range)
        .map(Duration::from_secs)
        .map_err(|error| error.replace("whole number", "number of whole seconds"))
}

/// Most people that a release can take.
const APPROVALS_MAX: u64 = 9;

/// The longest time that can be said: ten years.
const SPAN_S_MAX: u64 = 3653 * 24 * 3600;

/// Units of a time, in seconds.
const SPANS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// A time as a number and its unit: `90s`, `15m`, `12h`, `30d`.
///
/// # Errors
/// A sentence that says what it must be.
pub fn span(text: &str) -> Result<Duration, String> {
    let unit = SPANS.iter().find_map(|(unit, unit_s)| Some((text.strip_suffix(*unit)?, *unit_s)));
    let (number, unit_s) = unit.ok_or("must be a number and s, m, h or d, such as 30d")?;
    let seconds = digits(number).and_then(|number| number.checked_mul(unit_s));
    match seconds {
        Some(seconds @ 1..=SPAN_S_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be from 1s to 3653d".to_owned()),
    }
}

fn show_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let unit = SPANS.iter().find(|(_unit, unit_s)| seconds.is_multiple_of(*unit_s));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, unit_s)| format!("{}{unit}", seconds / unit_s))
}

/// A value, or the word for nothing.
fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}

/// The same, as [`optional`] takes it.
fn show_or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// A time, or nothing.
pub(super) fn span_or_off(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = |why: String| format!("{why}; or off. It is {}", echo(text));
    span(text).map(Some).map_err(wrong)
}

const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// A number of octets: digits, and a unit if it has one.
pub(crate) fn bytes(text: &str, min: u64) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, shift)| {
        let at = text.len().checked_sub(unit.len())?;
        let (number, suffix) = (text.get(..at)?, text.get(at..)?);
        suffix.eq_ignore_ascii_case(unit).then_some((number.trim_end(), *shift))
    });
    let (number, shift) = unit.unwrap_or((text, 0));
    digits(number)
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| (min..=SIZE_BYTES_MAX).contains(bytes))
        .ok_or_else(|| must("be a number of bytes, such as 1073741824, 512 MiB or 64 GiB", text))
}

/// A number of octets, or nothing.
fn bytes_or_off(text: &str) -> Result<Option<u64>, String> {
    if text == "off" {
        return Ok(None);
    }
    bytes(text, 0).map(Some).map_err(|why| format!("{why}; or off"))
}

fn show_bytes_or_off(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "off".to_owned(), show_bytes)
}

fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(must("be true or false", text)),
    }
}

/// An address and port to listen on.
///
/// # Errors
/// A sentence that says what it must be.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    // Not looked up: a name service must not decide who can reach us.
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    match local {
        Some(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text
            .parse()
            .ok()
            .ok_or_else(|| must("be an address and a port, such as 127.0.0.1:8000 or [::1]:8000", text)),
    }
}

/// Never repeats the URL, which may hold a password.
fn database_url(url: &str) -> Result<Database, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let scheme = scheme.to_ascii_lowercase();
    match scheme.split('+').next().unwrap_or_default() {
        "sled" => {
            let path = rest.strip_prefix("//").filter(|path| path.starts_with('/') && path.len() > 1);
            let path = path.ok_or("must be sled:///absolute/path or sled:///./relative/path")?;
            let relative = &path[1..];
            let is_relative =
                [".", ".."].contains(&relative) || relative.starts_with("./") || relative.starts_with("../");
            Ok(Database::Sled(PathBuf::from(if is_relative { relative } else { path })))
        }
        "sqlite" => {
            // SQLAlchemy: three slashes and a relative path, four and an absolute one; options after `?`.
            let path = rest.strip_prefix("///").unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            if path.is_empty() || path == ":memory:" {
                return Err(
                    "names no file; a registry in memory would keep nothing: leave it unset or use sled:///path".into(),
                );
            }
            Ok(Database::Sqlite(PathBuf::from(path)))
        }
        "postgres" | "postgresql" => {
            Err("names PostgreSQL, which MREG_DATABASE does: set that, and leave DATABASE_URL unset".into())
        }
        _ => Err("must begin with sled:///; leave it unset for the embedded store in MREG_DATA_DIR".into()),
    }
}

fn key(text: &str) -> Result<Secret, String> {
    if text.len() < KEY_BYTES_MIN {
        return Err(format!(
            "has {} bytes and must have at least {KEY_BYTES_MIN}; make one with `mregd gen-secret`",
            text.len()
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

fn password(text: &str) -> Result<Secret, String> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
        return Err(format!(
            "must have {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes; leave it unset to have one generated"
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

/// A setting of the drop folder; a dash where there is none.
fn of_drop_folder(config: &Config, show: impl FnOnce(&DropFolder) -> String) -> String {
    config.drop.as_ref().map_or_else(|| "-".to_owned(), show)
}

/// A path, or none.
fn path_or_none(text: &str) -> PathBuf {
    if text == "none" { PathBuf::new() } else { PathBuf::from(text) }
}

/// A file of TLS; none where there is no TLS.
fn of_tls(config: &Config, path: impl FnOnce(&TlsFiles) -> &PathBuf) -> String {
    let path = config.tls.as_ref().map(path).filter(|path| !path.as_os_str().is_empty());
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

/// A list with commas, or that it is empty.
fn or_none(items: Vec<String>) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(",") }
}

fn show_optional(secret: Option<&Secret>) -> String {
    secret.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// rest-api.md §2: `[a-z0-9][a-z0-9._-]{0,63}` after folding case, and nobody whom the log knows otherwise.
fn user_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    if ["anonymous", "system", "watcher"].contains(&name.as_str()) {
        return Err(format!("{} is a reserved name; choose another", echo(text)));
    }
    if !is_segment(&name, 64) {
        return Err(must(
            "be 1 to 64 letters, digits, dots, dashes or underscores, beginning with a letter or digit",
            text,
        ));
    }
    Ok(name)
}

/// `[A-Za-z0-9][A-Za-z0-9._-]*`, at most `bytes_max` octets.
fn is_segment(text: &str, bytes_max: usize) -> bool {
    let inner = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
    text.len() <= bytes_max
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(inner)
}

fn aliases(text: &str) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let names: Vec<String> =
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    match names.iter().find(|name| !is_segment(name, 96)) {
        Some(wrong) => Err(must("be aliases separated by commas", wrong)),
        None if names.is_empty() => Err(must("be aliases separated by commas, or none", text)),
        None => Ok(names),
    }
}

/// C2SP signed-note: a key name has neither white space nor `+`; tlog-checkpoint: an origin is a URL without scheme.
fn origin(text: &str) -> Result<String, String> {
    let fits = |octet: u8| octet.is_ascii_graphic() && octet != b'+';
    if text.len() > 128 || !text.bytes().all(fits) || text.contains("://") {
        return Err(must("be a name such as registry.example.org/log, without scheme, spaces and plus signs", text));
    }
    Ok(text.to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    // A lone word that is no level would be taken for the name of a module, and silence all others.
    let is_level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| word.trim().eq_ignore_ascii_case(level))
    };
    let is_directive = |part: &str| part.contains(['=', '[']) || is_level(part);
    // Outside ASCII the parser of tracing-subscriber 0.3.23 may cut a character in two, and panic.
    if !text.is_ascii() || !text.split(',').all(is_directive) || EnvFilter::try_new(text).is_err() {
        return Err(must(
            "be error, warn, info, debug or trace, also per module, such as info,daemon::http=debug",
            text,
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::time::Duration;

    use proptest::prelude::{any, proptest};

    use super::{
        Database, Default, Draft, Kind, SIZE_BYTES_MAX, aliases, all, boolean, bytes, database_url, echo, log_filter,
        markdown, origin, sample, show_bytes, show_span, socket_address, span_or_off, user_name,
    };

    /// Each default is text that its own row takes, and shows again.
    #[test]
    fn defaults_are_valid() {
        let mut draft = Draft::blank();
        for setting in all() {
            let Kind::Plain { apply, show } = setting.kind else { continue };
            if let Default::Text(default) = setting.default {
                apply(&mut draft, default).unwrap();
                assert_eq!(show(&draft.config), default, "{}", setting.name);
            }
        }
    }

    /// No name twice, and every row says something in sentences.
    #[test]
    fn the_table_is_whole() {
        let names: BTreeSet<_> = all().map(|setting| setting.name).collect();
        assert_eq!(names.len(), all().count());
        for setting in all() {
            assert!(setting.doc.ends_with('.') && setting.doc.len() > 10, "{}", setting.name);
            assert!(!setting.doc.contains("  ") && !setting.doc.contains('|'), "{}", setting.name);
        }
        assert_eq!(markdown().lines().count(), all().count() + 2);
    }

    /// `.env.sample` is what the table says: every variable with its manual, and nothing else.
    #[test]
    fn the_sample_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.sample");
        let found = std::fs::read_to_string(path).unwrap();
        assert!(found == sample(), "write it anew: cargo run -p daemon -- config sample > .env.sample");
    }

    /// The sample as it is sets nothing; with its lines uncommented it is still a file that parses.
    #[test]
    fn the_sample_is_a_valid_file() {
        let parsed = super::super::dotenv::parse(&sample());
        assert!(parsed.bindings.is_empty() && parsed.unreadable.is_empty());
        let names: Vec<String> = sample()
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' '))?.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(names, all().map(|setting| setting.name).collect::<Vec<_>>());
    }

    #[test]
    fn reads_sizes() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("68719476736", 64 << 30),
            ("64GiB", 64 << 30),
            ("64 gib", 64 << 30),
            ("1 KiB", 1024),
            ("3MiB", 3 << 20),
            ("2 TiB", 2 << 40),
            ("9007199254740991", SIZE_BYTES_MAX),
        ] {
            assert_eq!(bytes(text, 0), Ok(expected), "{text}");
        }
        for text in
            ["", "GiB", "-1", "+1", "1.5 GiB", "1 GB", "1G", "9007199254740992", "99999999999 TiB", "１", "é", "aéiB"]
        {
            bytes(text, 0).unwrap_err();
        }
        bytes("0", 1).unwrap_err();
        assert_eq!(show_bytes(1536 << 20), "1536 MiB");
    }

    #[test]
    fn reads_times() {
        for (text, seconds) in [("7d", 604_800), ("36h", 129_600), ("1m", 60), ("90s", 90)] {
            assert_eq!(span_or_off(text).unwrap(), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(show_span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span_or_off("off"), Ok(None));
        for text in ["", "d", "7", "-1d", "1.5h", "0s", "3654d", "99999999999999999999d", "Off", "７d", "é"] {
            assert!(span_or_off(text).unwrap_err().contains("or off"), "{text}");
        }
    }

    #[test]
    fn reads_addresses() {
        assert_eq!(socket_address("localhost:8000").unwrap().to_string(), "127.0.0.1:8000");
        assert_eq!(socket_address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for text in [
            "8000",
            ":8000",
            "localhost",
            "localhost:",
            "localhost:99999",
            "example.org:80",
            "127.0.0.1",
            "::1:80:",
            "http://127.0.0.1:8000",
        ] {
            assert!(socket_address(text).unwrap_err().contains("127.0.0.1:8000"), "{text}");
        }
    }

    #[test]
    fn reads_database_urls() {
        for (url, path) in [
            ("sled:///var/lib/x", "/var/lib/x"),
            ("sled:///./x", "./x"),
            ("sled:///../x", "../x"),
            ("sled:///.hidden", "/.hidden"),
            ("SLED:///x", "/x"),
        ] {
            assert_eq!(database_url(url), Ok(Database::Sled(PathBuf::from(path))), "{url}");
        }
        for (url, path) in [
            ("sqlite:///./models.db", "./models.db"),
            ("sqlite:///models.db?timeout=3", "models.db"),
            ("sqlite:////srv/models.db", "/srv/models.db"),
            ("sqlite+aiosqlite:///m.db", "m.db"),
        ] {
            assert_eq!(database_url(url), Ok(Database::Sqlite(PathBuf::from(path))), "{url}");
        }
        for url in [
            "postgres://u:hunter2@h/d",
            "postgresql://u:hunter2@h",
            "postgresql+asyncpg://u:hunter2@h",
            "POSTGRESQL+psycopg2://hunter2",
        ] {
            assert_eq!(
                database_url(url).unwrap_err(),
                "names PostgreSQL, which MREG_DATABASE does: set that, and leave DATABASE_URL unset"
            );
        }
        for url in [
            "",
            "x",
            "mysql://u:hunter2@h",
            "sled://x",
            "sled:x",
            "sled:///",
            "sqlite://",
            "sqlite:///:memory:",
            "sqlite:///",
            "/hunter2",
        ] {
            assert!(!database_url(url).unwrap_err().contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn reads_words() {
        assert_eq!(boolean("Yes"), Ok(true));
        assert_eq!(boolean("OFF"), Ok(false));
        boolean("maybe").unwrap_err();
        assert_eq!(user_name("Ada.L"), Ok("ada.l".into()));
        for name in ["", "-a", "a b", "System", "é", "a/b", &"a".repeat(65)] {
            user_name(name).unwrap_err();
        }
        assert_eq!(aliases("prod, live ,"), Ok(vec!["prod".into(), "live".into()]));
        assert_eq!(aliases("none"), Ok(vec![]));
        for text in [",", "a b", "a,-b"] {
            aliases(text).unwrap_err();
        }
        assert_eq!(origin("registry.example.org/log"), Ok("registry.example.org/log".into()));
        for text in ["https://x/log", "a b", "a+b", "a\nb", "é", &"a".repeat(129)] {
            origin(text).unwrap_err();
        }
        for text in ["info", "WARN", "info,daemon::http=debug", "off", "daemon[request]=trace"] {
            assert_eq!(log_filter(text), Ok(text.into()));
        }
        for text in ["infos", "info,daemon", "daemon=loud", "info,,", "3"] {
            log_filter(text).unwrap_err();
        }
        assert_eq!(echo("a\n"), "\"a\\n\"");
        assert_eq!(echo(&"é".repeat(65)).chars().count(), 67);
    }

    /// A filter that once made the library's parser cut a character in two.
    #[test]
    fn a_filter_outside_ascii() {
        assert!(super::log_filter("1/\u{113c9}&\u{1bc9c}\u{468}$.N\u{1f574}~\\=EW\u{2d2d}s").is_err());
    }

    proptest! {
        /// Whatever is typed, every row answers; what a row takes it shows in a form it takes again.
        #[test]
        fn shown_values_are_values(text in any::<String>(), number in any::<u64>()) {
            for text in [text, number.to_string(), format!("{} KiB", number >> 11), format!("sled:///{number}")] {
                for setting in all() {
                    let Kind::Plain { apply, show } = setting.kind else { continue };
                    let mut draft = Draft::blank();
                    let is_path = matches!(setting.name, "DATABASE_URL" | "MREG_DATA_DIR" | "MREG_KEY_DIR");
                    if apply(&mut draft, &text).is_ok() && !is_path {
                        let shown = show(&draft.config);
                        apply(&mut draft, &shown).unwrap();
                        assert_eq!(show(&draft.config), shown, "{}", setting.name);
                    }
                }
            }
        }
    }
}
