//! The configuration as its users meet it: an environment, a working directory with files, and what comes out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsString;
use std::fs::{Permissions, create_dir, set_permissions, write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::audit::Cosigner;
use common::role::Role;
use proptest::prelude::{any, prop, proptest};
use tempfile::TempDir;

use super::s3::Place as Stored;
use super::secret::{Readers, Secret};
use super::{Config, JwtSecret, Loaded, LogFormat, Options, Refused, Source, edit_distance, scan, settings};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A working directory of its own for each test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> &Self {
        write(self.path(name), text).unwrap();
        set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load_with(&self, options: &Options, environment: &[(&str, &str)]) -> Result<Loaded, Refused> {
        let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::load(options, environment, self.0.path())
    }

    fn load(&self, environment: &[(&str, &str)]) -> Loaded {
        self.load_with(&Options::default(), environment).unwrap()
    }

    fn mistakes(&self, environment: &[(&str, &str)]) -> Vec<String> {
        let refused = self.load_with(&Options::default(), environment).unwrap_err();
        refused.mistakes.iter().map(ToString::to_string).collect()
    }

    fn mistake(&self, environment: &[(&str, &str)]) -> String {
        let mut mistakes = self.mistakes(environment);
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        mistakes.remove(0)
    }
}

fn row(loaded: &Loaded, name: &str) -> (String, String) {
    let row = loaded.rows().into_iter().find(|row| row.name == name).unwrap();
    (row.value, row.source.to_string())
}

/// Without any setting, everything has its documented value, and nothing was created.
#[test]
fn works_out_of_the_box() {
    let place = Place::new();
    let Loaded { config, warnings, notices, sources } = place.load(&[("PATH", "/bin"), ("HOME", "/home/ada")]);
    assert!(warnings.is_empty() && notices.is_empty() && sources.is_empty());
    assert_eq!(config.data_dir, place.path("mreg-data"));
    assert_eq!(config.key_dir, place.path("mreg-keys"));
    assert_eq!(config.bind.to_string(), "127.0.0.1:8000");
    assert_eq!(config.jwt_secret, JwtSecret::Generate);
    assert_eq!(config.admin_username, "admin");
    assert_eq!(config.admin_password, None);
    assert_eq!(config.upload_bytes_max, 64 << 30);
    assert_eq!(config.free_bytes_min, 1 << 30);
    assert_eq!((config.access_token_minutes, config.session_hours, config.restore_days), (30, 12, 30));
    assert_eq!(config.protected_aliases, ["prod", "production"]);
    assert_eq!(config.log_origin, "mreg.local/log");
    assert_eq!(config.scan_policies, scan::ScanPolicy::Default.into());
    assert!(config.scan_allow_globals.is_empty() && config.scan_allow_prefixes.is_empty());
    assert_eq!((config.scan_timeout.as_secs(), config.rescan_bytes_per_second), (60, 64 << 20));
    assert_eq!((config.header_timeout.as_secs(), config.body_idle_timeout.as_secs()), (15, 60));
    assert_eq!((config.shutdown_timeout.as_secs(), config.connections_max), (30, 1024));
    assert_eq!((config.connections_per_address_max, config.bytes_per_second_min), (256, 512));
    assert_eq!((config.requests_max, config.requests_per_client_max), (1024, 256));
    assert_eq!(config.drop, None);
    assert!(!config.open_registration && config.logging.color && config.logging.journal_stream.is_none());
    assert_eq!(place.0.path().read_dir().unwrap().count(), 0);
}

/// Command line, environment, `.env`, default: the first wins, and says so.
#[test]
fn sources_have_an_order() {
    let place = Place::new();
    place.file(
        ".env",
        "\n# one\nexport MREG_BIND='127.0.0.1:1'\r\nMREG_LOG_FORMAT=json # two\nMREG_RESTORE_DAYS=5\n",
        0o644,
    );
    let options = Options { bind: Some("localhost:3".into()), ..Options::default() };
    let loaded = place.load_with(&options, &[("MREG_BIND", "127.0.0.1:2"), ("MREG_RESTORE_DAYS", "7")]).unwrap();
    assert_eq!(row(&loaded, "MREG_BIND"), ("127.0.0.1:3".into(), "command line".into()));
    assert_eq!(row(&loaded, "MREG_RESTORE_DAYS"), ("7".into(), "environment".into()));
    assert_eq!(row(&loaded, "MREG_LOG_FORMAT"), ("json".into(), ".env:4".into()));
    assert_eq!(row(&loaded, "MREG_LOG_LEVEL"), ("info".into(), "default".into()));
    assert_eq!(loaded.config.logging.format, LogFormat::Json);
    assert_eq!(row(&place.load(&[]), "MREG_BIND"), ("127.0.0.1:1".into(), ".env:3".into()));
}

/// `--env-file` takes the place of `.env`, and has to be there.
#[test]
fn a_named_file_must_exist() {
    let place = Place::new();
    place.file(".env", "MREG_RESTORE_DAYS=5", 0o644).file("other", "MREG_SESSION_HOURS=5", 0o644);
    let options = Options { env_file: Some("other".into()), ..Options::default() };
    let loaded = place.load_with(&options, &[]).unwrap();
    assert_eq!(loaded.config.restore_days, 30);
    assert_eq!(row(&loaded, "MREG_SESSION_HOURS"), ("5".into(), "other:1".into()));
    for name in ["missing", "."] {
        let options = Options { env_file: Some(name.into()), ..Options::default() };
        let refused = place.load_with(&options, &[]).unwrap_err();
        assert!(refused.mistakes[0].to_string().starts_with("--env-file: "), "{:?}", refused.mistakes);
    }
    // A directory named .env is not a settings file; an unreadable file is not passed over.
    let place = Place::new();
    create_dir(place.path(".env")).unwrap();
    place.load(&[]);
    let place = Place::new();
    write(place.path(".env"), b"A=1\nB=\xff\n").unwrap();
    assert_eq!(place.mistake(&[]), ".env: \".env\" cannot be read: line 2 is not UTF-8");
}

/// Blank in the environment turns a line of the file off; a placeholder does not.
#[test]
fn blank_and_placeholders_are_unset() {
    let place = Place::new();
    let text = format!(
        "JWT_SECRET_KEY={KEY}\nS3_BUCKET_NAME=your_s3_bucket_name\nAWS_ACCESS_KEY_ID=your_access_key\nMREG_RESTORE_DAYS=3\nMREG_TLS_KEY=\n"
    );
    place.file(".env", &text, 0o600);
    let loaded = place.load(&[("JWT_SECRET_KEY", "your_secret_key"), ("MREG_RESTORE_DAYS", " ")]);
    assert_eq!(loaded.config.jwt_secret, JwtSecret::Given(Secret::new(KEY.into())));
    assert_eq!(loaded.config.restore_days, 30);
    assert_eq!(
        loaded.warnings,
        ["S3_BUCKET_NAME (.env:2), AWS_ACCESS_KEY_ID (.env:3), JWT_SECRET_KEY (environment): still the \
            placeholder of a \
          sample file, which counts as unset"]
    );
}

/// A file copied from a sample and never filled in starts on loopback.
#[test]
fn an_unfilled_sample_works() {
    let place = Place::new();
    let text = "# Database\nDATABASE_URL=sqlite:///./models.db\n\n# JWT\nJWT_SECRET_KEY=your_secret_key\n\
                JWT_ACCESS_TOKEN_EXPIRE_MINUTES=30\n\nADMIN_USERNAME=admin\nADMIN_PASSWORD=secure_password\n\n\
                AWS_ACCESS_KEY_ID=your_access_key\nAWS_SECRET_ACCESS_KEY=your_secret_key\nS3_BUCKET_NAME=your_s3_bucket_name\n";
    place.file(".env", text, 0o600);
    let loaded = place.load(&[]);
    assert_eq!(loaded.config.data_dir, place.path("mreg-data"));
    assert_eq!(loaded.config.admin_password.as_ref().unwrap().expose(), "secure_password");
    assert_eq!(loaded.notices.len(), 1, "{:?}", loaded.notices);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    // Reachable from elsewhere it is refused, for the key and for the password, each by name.
    let mistakes = place.mistakes(&[("MREG_BIND", "0.0.0.0:8000")]);
    assert!(mistakes[0].starts_with("JWT_SECRET_KEY: must be given"), "{mistakes:?}");
    assert!(mistakes[1].starts_with("ADMIN_PASSWORD: is the password of the sample file"), "{mistakes:?}");
}

/// All that is wrong is said at once, with the variable and its source, and without a secret.
#[test]
fn says_all_mistakes_at_once() {
    let place = Place::new();
    place.file(".env", "ADMIN_PASSWORD=hunter2\nMREG_LOG_FORMAT=xml\n", 0o600);
    let mistakes = place.mistakes(&[
        ("JWT_SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "postgresql+asyncpg://hunter2:hunter2@db/x"),
        ("MREG_BIND", "8000"),
        ("MREG_WEBHOOK_URL", "https://x/hunter2"),
        ("MREG_AUDIT_READS", "nothing"),
        ("MREG_SCAN_POLICY", "lenient"),
        ("MREG_SCAN_ALLOW_PREFIXES", "torch."),
    ]);
    let about: Vec<&str> = mistakes.iter().map(|mistake| mistake.split_once(':').unwrap().0).collect();
    assert_eq!(
        about,
        [
            "DATABASE_URL",
            "JWT_SECRET_KEY",
            "ADMIN_PASSWORD",
            "MREG_BIND",
            "MREG_SCAN_POLICY",
            "MREG_SCAN_ALLOW_PREFIXES",
            "MREG_AUDIT_READS",
            "MREG_LOG_FORMAT",
            "MREG_WEBHOOK_URL"
        ]
    );
    assert!(!mistakes.concat().contains("hunter2"));
    assert_eq!(mistakes[7], "MREG_LOG_FORMAT: must be text or json, not \"xml\" (from .env:2)");
    assert_eq!(mistakes[8], "MREG_WEBHOOK_URL: is not available in this version; unset it (from environment)");
}

/// What this version does not have is refused when set, and only then; what belongs to other programs is noted once.
#[test]
fn knows_what_it_does_not_have() {
    let place = Place::new();
    for setting in settings::all().filter(|setting| matches!(setting.kind, settings::Kind::Unavailable)) {
        assert!(place.mistake(&[(setting.name, "x")]).contains("is not available in this version; unset it"));
        place.load(&[(setting.name, ""), (setting.name, "your_value")]);
    }
    assert!(place.load(&[("MREG_SEND_FILE", "none")]).warnings.is_empty());
}

/// Where artifacts are is said in one place, and what belongs together is there together.
#[test]
fn knows_where_artifacts_are() {
    let place = Place::new();
    let bucket = |name: &str, prefix: &str| Stored::S3 { bucket: name.into(), prefix: prefix.into() };
    assert_eq!(place.load(&[]).config.blobs, Stored::Disk);
    assert_eq!(place.load(&[("MREG_BLOBS", "s3://models/mreg")]).config.blobs, bucket("models", "mreg"));
    assert_eq!(place.load(&[("S3_BUCKET_NAME", "models")]).config.blobs, bucket("models", ""));
    place.load(&[("S3_BUCKET_NAME", "models"), ("MREG_BLOBS", "s3://models")]);
    let s3 = ("MREG_BLOBS", "s3://models");
    for (settings, about) in [
        (&[s3, ("S3_BUCKET_NAME", "others")][..], "S3_BUCKET_NAME: and MREG_BLOBS name different places"),
        (&[s3, ("MREG_BLOBS_OLD", "s3://models")], "MREG_BLOBS_OLD: is the same as MREG_BLOBS"),
        (&[s3, ("AWS_ACCESS_KEY_ID", "a")], "AWS_ACCESS_KEY_ID: is set and AWS_SECRET_ACCESS_KEY is not"),
        (&[s3, ("AWS_SECRET_ACCESS_KEY", "hunter2")], "AWS_SECRET_ACCESS_KEY: is set and AWS_ACCESS_KEY_ID is not"),
        (&[s3, ("AWS_SESSION_TOKEN", "hunter2")], "AWS_SESSION_TOKEN: is set and AWS_ACCESS_KEY_ID is not"),
        (&[s3, ("MREG_MAX_UPLOAD_BYTES", "1 TiB")], "MREG_MAX_UPLOAD_BYTES: is more than an object"),
        (
            &[s3, ("MREG_S3_CA_FILE", "ca.pem"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            "MREG_S3_CA_FILE: is set, and AWS_ENDPOINT_URL is not",
        ),
    ] {
        let mistake = place.mistake(settings);
        assert!(mistake.starts_with(about) && !mistake.contains("hunter2"), "{mistake}");
    }
    // Often set for other programs, and nothing to say about it.
    let loaded = place.load(&[("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "a")]);
    assert!(loaded.warnings.is_empty() && loaded.notices.is_empty());
    let loaded = place.load(&[("MREG_S3_REDIRECT", "60s")]);
    assert_eq!(loaded.notices, ["MREG_S3_REDIRECT: without meaning here, because MREG_BLOBS names no bucket"]);
    let loaded = place.load(&[s3, ("AWS_ENDPOINT_URL", "http://10.0.0.1:9000")]);
    assert!(loaded.warnings[0].starts_with("AWS_ENDPOINT_URL is not an https:// address"));
    place.load(&[("MREG_BLOBS_OLD", "s3://models")]);
}

/// Where daemons share a log, what one removes may be what another is about to need: a bucket has a grace then, and from a
/// directory nothing is removed.
#[test]
fn blobs_of_a_shared_log() {
    let place = Place::new();
    let shared = [
        ("MREG_DATABASE", "postgresql://mreg@/mreg?host=/run/postgresql"),
        ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef"),
    ];
    let load = |more: &[(&'static str, &'static str)]| place.load(&[&shared, more].concat());
    let s3 = ("MREG_BLOBS", "s3://models");
    let grace = |loaded: &Loaded| loaded.config.object_store.grace.map(|grace| grace.as_secs());
    let loaded = load(&[s3]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!((grace(&loaded), row(&loaded, "MREG_S3_GRACE").0.as_str()), (Some(86_400), "1d"));
    assert_eq!(grace(&load(&[s3, ("MREG_S3_GRACE", "2h")])), Some(7200));
    let mistake = place.mistake(&[&shared[..], &[s3, ("MREG_S3_GRACE", "off")]].concat());
    assert!(mistake.starts_with("MREG_S3_GRACE: is off, and MREG_DATABASE"), "{mistake}");
    assert_eq!(grace(&place.load(&[s3])), None);
    for more in [&[][..], &[("MREG_BLOBS_OLD", "s3://models")]] {
        let warnings = load(more).warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("MREG_BLOBS is a directory"), "{warnings:?}");
    }
}

/// Mistyped names get a hint; the console's names and everyone else's do not.
#[test]
fn hints_at_mistyped_names() {
    let place = Place::new();
    place.file(".env", "MREG_DATADIR=x\nMREG_TOKEN=x\nOTHER=x", 0o644);
    let loaded = place.load(&[("MREG_BNID", "x"), ("MREG_XYZZY_PLUGH", "x"), ("MREGD_BIN", "x"), ("MREG_URL", "x")]);
    assert_eq!(
        loaded.warnings,
        [
            "MREG_BNID is not a setting; did you mean MREG_BIND?",
            "MREG_XYZZY_PLUGH is not a setting; `mregd config show` lists them",
            "MREG_DATADIR is not a setting; did you mean MREG_DATA_DIR?"
        ]
    );
    assert_eq!(edit_distance("kitten", "sitting"), 3);
    assert_eq!(edit_distance("", "abc"), 3);
}

/// A line that cannot be read is passed over as in the original, unless it was to set something of ours.
#[test]
fn broken_lines_are_named() {
    let place = Place::new();
    place.file(".env", "\nthis is no line\nMREG_RESTORE_DAYS=3\n", 0o644);
    let loaded = place.load(&[]);
    assert_eq!(loaded.config.restore_days, 3);
    assert_eq!(loaded.warnings, [".env:2 is not NAME=value and is skipped"]);
    place.file(".env", "A=1\nJWT_SECRET_KEY=\"hunter2\nJWT_SECRET_KEY_FILE='x' y\n", 0o644);
    let mistakes = place.mistakes(&[]);
    assert!(mistakes[0].starts_with("JWT_SECRET_KEY: .env:2 cannot be read"), "{mistakes:?}");
    assert!(mistakes[1].starts_with("JWT_SECRET_KEY: .env:3 cannot be read"), "{mistakes:?}");
    assert!(!mistakes.concat().contains("hunter2"));
}

/// Secrets come from one place, and from files only their owner can read.
#[test]
fn secrets_come_from_files() {
    let place = Place::new();
    place.file("key", &format!("{KEY}\n"), 0o600);
    let loaded = place.load(&[("JWT_SECRET_KEY_FILE", "key")]);
    assert_eq!(loaded.config.jwt_secret, JwtSecret::Given(Secret::new(KEY.into())));
    assert_eq!(row(&loaded, "JWT_SECRET_KEY"), ("[secret]".into(), format!("file {}", place.path("key").display())));

    let twice = place.mistake(&[("JWT_SECRET_KEY_FILE", "key"), ("JWT_SECRET_KEY", KEY)]);
    assert!(twice.contains("given twice") && !twice.contains(KEY), "{twice}");
    // Unset is unset: these are not given twice.
    place.load(&[("JWT_SECRET_KEY_FILE", "key"), ("JWT_SECRET_KEY", "your_secret_key")]);
    place.load(&[("JWT_SECRET_KEY_FILE", "key"), ("JWT_SECRET_KEY", "")]);

    place.file("key", KEY, 0o640);
    let exposed = place.mistake(&[("JWT_SECRET_KEY_FILE", "key")]);
    assert!(exposed.starts_with("JWT_SECRET_KEY_FILE: ") && exposed.contains("0640"), "{exposed}");
    assert!(place.mistake(&[("ADMIN_PASSWORD_FILE", "none")]).starts_with("ADMIN_PASSWORD_FILE: "));
    // One mistake about one key, even where the key is required.
    place.mistake(&[("JWT_SECRET_KEY_FILE", "key"), ("MREG_BIND", "0.0.0.0:1")]);
    place.file("key", "short", 0o600);
    assert!(place.mistake(&[("JWT_SECRET_KEY_FILE", "key"), ("MREG_BIND", "0.0.0.0:1")]).contains("has 5 bytes"));
}

/// systemd's credentials are found by name, whatever their mode, and lose against a value.
#[test]
fn secrets_come_from_credentials() {
    let place = Place::new();
    create_dir(place.path("credentials")).unwrap();
    place.file("credentials/JWT_SECRET_KEY", KEY, 0o444).file("credentials/MREG_BIND", "0.0.0.0:1", 0o444);
    let dir = place.path("credentials");
    let dir = ("CREDENTIALS_DIRECTORY", dir.to_str().unwrap());
    let loaded = place.load(&[dir]);
    assert_eq!(row(&loaded, "JWT_SECRET_KEY"), ("[secret]".into(), "credential".into()));
    assert_eq!(loaded.config.bind.port(), 8000, "only secrets are credentials");
    assert_eq!(row(&place.load(&[dir, ("JWT_SECRET_KEY", &KEY.repeat(2))]), "JWT_SECRET_KEY").1, "environment");
    // A file of the credentials directory under another name.
    place.file("credentials/other", KEY, 0o444);
    place.load(&[dir, ("JWT_SECRET_KEY_FILE", "credentials/other")]);
    // A folder of them, as systemd names its files; one by itself wins.
    let other = KEY.repeat(3);
    place.file("credentials/mregd_JWT_SECRET_KEY", &other, 0o440);
    place.file("credentials/mregd_ADMIN_PASSWORD", "correct horse battery", 0o440);
    let config = place.load(&[dir]).config;
    assert_eq!(config.jwt_secret, JwtSecret::Given(Secret::new(KEY.to_owned())));
    assert_eq!(config.admin_password, Some(Secret::new("correct horse battery".to_owned())));
    place.file("credentials/JWT_SECRET_KEY", "", 0o400);
    assert!(place.mistake(&[dir]).ends_with("JWT_SECRET_KEY is empty"));
    place.load(&[("CREDENTIALS_DIRECTORY", "/nonexistent")]);
}

/// `DATABASE_URL` and `MREG_DATA_DIR` are two names for one thing.
#[test]
fn one_data_directory() {
    let place = Place::new();
    let data_dir = |environment: &[(&str, &str)]| place.load(environment).config.data_dir;
    assert_eq!(data_dir(&[("DATABASE_URL", "sled:///./x/./y")]), place.path("x/y"));
    assert_eq!(data_dir(&[("DATABASE_URL", "sled:///nonexistent/x")]), Path::new("/nonexistent/x"));
    assert_eq!(data_dir(&[("DATABASE_URL", "sled:///./x"), ("MREG_DATA_DIR", "x")]), place.path("x"));
    assert_eq!(data_dir(&[("DATABASE_URL", "sqlite:///sub/m.db")]), place.path("sub/mreg-data"));
    assert_eq!(data_dir(&[("DATABASE_URL", "sqlite:///m.db"), ("MREG_DATA_DIR", "x")]), place.path("x"));
    assert_eq!(
        place.mistake(&[("DATABASE_URL", "sled:///./x"), ("MREG_DATA_DIR", "y")]),
        "DATABASE_URL: and MREG_DATA_DIR name different directories; unset one of them"
    );
    let loaded = place.load(&[("DATABASE_URL", "sled:///./x")]);
    assert_eq!(row(&loaded, "MREG_DATA_DIR").1, "environment");
    assert_eq!(row(&loaded, "DATABASE_URL").0, format!("sled://{}", place.path("x").display()));

    let options = Options { data_dir: Some("z".into()), ..Options::default() };
    let loaded = place.load_with(&options, &[("DATABASE_URL", "sled:///./x"), ("MREG_DATA_DIR", "y")]).unwrap();
    assert_eq!(loaded.config.data_dir, place.path("z"));
    assert_eq!(row(&loaded, "MREG_DATA_DIR").1, "command line");
    assert_eq!(loaded.notices.len(), 1);
    for dir in ["/", "/..", "/tmp/.."] {
        assert!(place.mistake(&[("MREG_DATA_DIR", dir)]).contains("is the root directory"), "{dir}");
    }
    assert!(
        place.mistake(&[("DATABASE_URL", "postgres://h/d")]).contains("names PostgreSQL, which MREG_DATABASE does")
    );
}

/// Someone else's files are not taken over.
#[test]
fn foreign_files_are_refused() {
    let place = Place::new();
    place.file("m.db", "SQLite format 3\0 and more", 0o644).file("text", "SQLite", 0o644);
    for environment in
        [[("DATABASE_URL", "sqlite:///./m.db")], [("DATABASE_URL", "sled:///./m.db")], [("MREG_DATA_DIR", "m.db")]]
    {
        let mistake = place.mistake(&environment);
        assert!(mistake.starts_with(environment[0].0) && mistake.contains("is a SQLite database"), "{mistake}");
    }
    assert!(place.mistake(&[("MREG_DATA_DIR", "text")]).contains("is not a directory"));
    assert!(place.mistake(&[("MREG_KEY_DIR", "text")]).contains("is not a directory"));
    place.load(&[("DATABASE_URL", "sqlite:///./text")]);
}

/// Keys lie beside the data, never inside, however the path is written.
#[test]
fn keys_lie_outside_the_data() {
    let place = Place::new();
    let key_dir = |dir: &str| place.load(&[("MREG_DATA_DIR", dir)]).config.key_dir;
    assert_eq!(key_dir("x-data"), place.path("x-keys"));
    assert_eq!(key_dir("/var/lib/mregd"), Path::new("/var/lib/mregd-keys"));
    assert_eq!(key_dir("/srv/-data"), Path::new("/srv/-data-keys"));
    create_dir(place.path("data")).unwrap();
    symlink(place.path("data"), place.path("link")).unwrap();
    for inside in ["data", "data/keys", "data/../data/keys", "link/keys", "./data/a/b/c", "none/../data/keys"] {
        let mistake = place.mistake(&[("MREG_DATA_DIR", "data"), ("MREG_KEY_DIR", inside)]);
        assert!(mistake.starts_with("MREG_KEY_DIR: ") && mistake.contains("inside"), "{inside}: {mistake}");
        place.mistake(&[("MREG_DATA_DIR", "link"), ("MREG_KEY_DIR", inside)]);
    }
    place.load(&[("MREG_DATA_DIR", "data"), ("MREG_KEY_DIR", "data2/keys")]);
}

/// Who can reach the daemon decides what it insists on.
#[test]
fn exposed_addresses_need_more() {
    let place = Place::new();
    for bind in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"] {
        let options = Options { require_tls: true, ..Options::default() };
        let loaded = place.load_with(&options, &[("MREG_BIND", bind)]).unwrap();
        assert!(loaded.warnings.is_empty(), "{bind}");
    }
    for bind in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let environment = [("MREG_BIND", bind), ("JWT_SECRET_KEY", KEY)];
        let loaded = place.load(&environment);
        assert!(
            loaded.warnings.len() == 1 && loaded.warnings[0].contains("nothing is encrypted"),
            "{:?}",
            loaded.warnings
        );
        let options = Options { require_tls: true, ..Options::default() };
        let refused = place.load_with(&options, &environment).unwrap_err();
        assert!(refused.mistakes.len() == 1 && refused.mistakes[0].about == "--require-tls");
        let required = [environment[0], environment[1], ("MREG_REQUIRE_TLS", "true")];
        assert!(place.mistake(&required).starts_with("MREG_REQUIRE_TLS: "));
        // TLS is enough; a proxy that is named is somebody's own decision.
        let tls = [environment[0], environment[1], ("MREG_TLS_CERT", "c.pem"), ("MREG_TLS_KEY", "k.pem")];
        assert!(place.load_with(&options, &tls).unwrap().warnings.is_empty());
        let proxied = [environment[0], environment[1], ("MREG_TRUSTED_PROXIES", "10.0.0.0/8")];
        assert!(place.load(&proxied).warnings.is_empty());
        assert!(place.mistake(&environment[..1]).starts_with("JWT_SECRET_KEY: must be given"));
    }
    // The option is blamed where the option was given, and hides what is wrong with the variable.
    let options = Options { bind: Some("0.0.0.0:1".into()), ..Options::default() };
    let refused = place.load_with(&options, &[("MREG_BIND", "nonsense")]).unwrap_err();
    assert!(refused.mistakes.len() == 1 && refused.mistakes[0].problem.contains("--bind 0.0.0.0:1"), "{refused:?}");
    let options = Options { bind: Some("8000".into()), ..Options::default() };
    assert_eq!(place.load_with(&options, &[]).unwrap_err().mistakes[0].about, "--bind");
}

/// The files of TLS are named together, and lie where the working directory says; a key among systemd's credentials may have
/// their mode.
#[test]
fn the_files_of_tls() {
    let place = Place::new();
    assert!(place.load(&[]).config.tls.is_none());
    assert!(place.mistake(&[("MREG_TLS_CERT", "c.pem")]).starts_with("MREG_TLS_KEY: "));
    assert!(place.mistake(&[("MREG_TLS_KEY", "k.pem")]).starts_with("MREG_TLS_CERT: "));
    let given = [("MREG_TLS_CERT", "c.pem"), ("MREG_TLS_KEY", "cred/k.pem"), ("CREDENTIALS_DIRECTORY", "")];
    let files = place.load(&given).config.tls.unwrap();
    assert_eq!((files.cert, files.key), (place.path("c.pem"), place.path("cred/k.pem")));
    assert_eq!(files.key_readers, Readers::Owner);
    let credentials = [given[0], given[1], ("CREDENTIALS_DIRECTORY", "cred")];
    assert_eq!(place.load(&credentials).config.tls.unwrap().key_readers, Readers::Any);
}

/// Further places are each named once, and short enough.
#[test]
fn further_places() {
    let place = Place::new();
    let listen = place.load(&[("MREG_LISTEN", "unix:api.sock,127.0.0.1:0,127.0.0.1:0")]).config.listen;
    assert_eq!(listen[0].to_string(), format!("unix:{}", place.path("api.sock").display()));
    assert_eq!(listen.len(), 3);
    for twice in ["127.0.0.1:8000", "unix:a,unix:./a"] {
        assert!(place.mistake(&[("MREG_LISTEN", twice)]).contains("is named twice"), "{twice}");
    }
    assert!(place.mistake(&[("MREG_LISTEN", &format!("unix:/{}", "x".repeat(96)))]).contains("is too long"));
    assert!(place.mistake(&[("MREG_TRUSTED_PROXIES", "unix")]).contains("names no socket"));
    assert!(place.mistake(&[("MREG_SEND_FILE", "x-accel")]).contains("MREG_TRUSTED_PROXIES"));
    let accel = place.load(&[("MREG_SEND_FILE", "x-accel"), ("MREG_TRUSTED_PROXIES", "127.0.0.1")]);
    assert_eq!(row(&accel, "MREG_SEND_FILE").0, "x-accel:/internal-blobs/");
}

#[test]
fn settings_fit_together() {
    let place = Place::new();
    assert!(place.mistake(&[("JWT_SECRET_KEY_PREVIOUS", KEY)]).contains("JWT_SECRET_KEY is not"));
    assert!(place.mistake(&[("JWT_SECRET_KEY_PREVIOUS", KEY), ("JWT_SECRET_KEY", KEY)]).contains("is the same as"));
    place.mistake(&[("JWT_SECRET_KEY_PREVIOUS", KEY), ("JWT_SECRET_KEY", "short")]);
    let names = [("ADMIN_USERNAME", "administrator"), ("ADMIN_PASSWORD", "Administrator")];
    assert!(place.mistake(&names).contains("is the same as ADMIN_USERNAME"));
    let loaded = place.load(&[("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1440")]);
    assert_eq!(loaded.warnings.len(), 1);
}

/// A `.env` file with a secret that others can read is pointed out; one without is not.
#[test]
fn readable_env_files_are_pointed_out() {
    let place = Place::new();
    place.file(".env", "ADMIN_PASSWORD=correct horse battery\nJWT_SECRET_KEY=your_secret_key", 0o644);
    let loaded = place.load(&[]);
    // One of root's may be open to a group: that of the service.
    let right = if rustix::process::geteuid().is_root() { "0640" } else { "0600" };
    assert_eq!(
        loaded.warnings[0],
        format!(".env holds ADMIN_PASSWORD and has mode 0644, so others may read it; set it to {right}")
    );
    place.file(".env", "MREG_RESTORE_DAYS=1\nADMIN_PASSWORD=", 0o644);
    assert!(place.load(&[]).warnings.is_empty());
}

#[test]
fn surroundings_are_taken_from_the_environment_alone() {
    let place = Place::new();
    place.file(".env", "NO_COLOR=1\nJOURNAL_STREAM=8:1", 0o644);
    let logging = place.load(&[("JOURNAL_STREAM", "9:12345")]).config.logging;
    assert_eq!((logging.journal_stream, logging.color), (Some((9, 12345)), true));
    let logging = place.load(&[("JOURNAL_STREAM", "x"), ("NO_COLOR", "1")]).config.logging;
    assert_eq!((logging.journal_stream, logging.color), (None, false));
}

/// No printed form of anything loaded holds a secret.
#[test]
fn nothing_printed_holds_a_secret() {
    let place = Place::new();
    let previous = KEY.to_uppercase();
    let secrets =
        [("JWT_SECRET_KEY", KEY), ("JWT_SECRET_KEY_PREVIOUS", &previous), ("ADMIN_PASSWORD", "correct horse battery")];
    let loaded = place.load(&secrets);
    let printed = format!("{loaded:?} {:?}", loaded.rows());
    for (name, secret) in secrets {
        assert!(!printed.contains(secret), "{name}");
        assert_eq!(row(&loaded, name).0, "[secret]");
    }
    assert_eq!(loaded.sources["ADMIN_PASSWORD"], Source::Environment);
}

#[test]
fn values_that_are_not_text_are_mistakes() {
    let place = Place::new();
    let environment = [
        (OsString::from("MREG_BIND"), OsString::from_vec(b"\xff".to_vec())),
        (OsString::from_vec(b"\xfe".to_vec()), OsString::new()),
    ];
    let refused = Config::load(&Options::default(), environment, place.0.path()).unwrap_err();
    assert_eq!(refused.mistakes[0].to_string(), "MREG_BIND: is not UTF-8 (from environment)");
}

proptest! {
    /// Any value of any variable gives a configuration or mistakes, never a panic, and no secret in a message.
    #[test]
    fn never_panics(
        index in any::<prop::sample::Index>(),
        value in "\\PC{0,80}",
        file in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let place = Place::new();
        write(place.path(".env"), &file).unwrap();
        let names: Vec<&str> = settings::all().map(|setting| setting.name).collect();
        let name = names[index.index(names.len())];
        match place.load_with(&Options::default(), &[(name, &value.replace('\0', ""))]) {
            Ok(loaded) => assert!(!loaded.rows().is_empty()),
            Err(refused) => {
                assert!(!refused.mistakes.is_empty());
                if name == "JWT_SECRET_KEY" && value.len() > 8 {
                    assert!(refused.mistakes.iter().all(|mistake| !mistake.problem.contains(&value)));
                }
            }
        }
    }
}

/// A folder that is named brings its settings along, each with its documented value; it is not made.
#[test]
fn drop_folder() {
    let place = Place::new();
    let loaded = place.load(&[("MREG_DROP_DIR", "drop")]);
    let drop = loaded.config.drop.as_ref().unwrap();
    assert_eq!((&drop.dir, drop.settle.as_millis(), drop.poll), (&place.path("drop"), 2000, None));
    assert_eq!((drop.events, drop.keep_done, drop.parallel, drop.role), (true, true, 4, Some(Role::Contributor)));
    assert!(drop.users.is_empty() && drop.namespaces.is_empty() && loaded.warnings.is_empty());
    assert_eq!(place.0.path().read_dir().unwrap().count(), 0);

    let set = [
        ("MREG_DROP_DIR", "/srv/drop"),
        ("MREG_DROP_SETTLE", "0.5"),
        ("MREG_DROP_POLL", "7"),
        ("MREG_DROP_EVENTS", "false"),
        ("MREG_DROP_USERS", "1001=alice,1002=ci-bot"),
        ("MREG_DROP_ROLE", "none"),
        ("MREG_DROP_NAMESPACES", "nlp,vision"),
        ("MREG_DROP_DONE", "remove"),
        ("MREG_DROP_PARALLEL", "2"),
    ];
    let loaded = place.load(&set);
    for (name, value) in set {
        assert_eq!(row(&loaded, name), (value.into(), "environment".into()));
    }
    let drop = loaded.config.drop.unwrap();
    assert_eq!((drop.settle.as_millis(), drop.poll.unwrap().as_secs(), drop.parallel), (500, 7, 2));
    assert!(!drop.events && !drop.keep_done && drop.role.is_none());
    assert_eq!((drop.users[&1001].as_str(), drop.namespaces.len()), ("alice", 2));
    // The names of the machine are looked up: root is there everywhere.
    let by_name = [set[0], ("MREG_DROP_USERS", "root=alice")];
    assert_eq!(row(&place.load(&by_name), "MREG_DROP_USERS").0, "0=alice");
}

/// What is wrong with each setting of the folder is said; without a folder they are mistakes themselves.
#[test]
fn drop_folder_mistakes() {
    let place = Place::new();
    let wrong = [
        ("MREG_DROP_SETTLE", "0", "0.1 to 3600"),
        ("MREG_DROP_POLL", "0", "or auto"),
        ("MREG_DROP_EVENTS", "maybe", "true or false"),
        ("MREG_DROP_USERS", "no-such-user-here=alice", "is not a user in /etc/passwd"),
        ("MREG_DROP_ROLE", "auditor", "viewer, contributor, admin or none"),
        ("MREG_DROP_NAMESPACES", "a/b", "be namespaces"),
        ("MREG_DROP_DONE", "forget", "keep or remove"),
        ("MREG_DROP_PARALLEL", "33", "from 1 to 32"),
    ];
    for (name, value, part) in wrong {
        let mistake = place.mistake(&[("MREG_DROP_DIR", "drop"), (name, value)]);
        assert!(mistake.starts_with(&format!("{name}: ")) && mistake.contains(part), "{mistake}");
    }
    for folder in [&[][..], &[("MREG_DROP_DIR", "none")], &[("MREG_DROP_DIR", " ")]] {
        let alone: Vec<_> =
            folder.iter().copied().chain([("MREG_DROP_POLL", "9"), ("MREG_DROP_SETTLE", "1")]).collect();
        let mistakes = place.mistakes(&alone);
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        for (mistake, name) in mistakes.iter().zip(["MREG_DROP_SETTLE", "MREG_DROP_POLL"]) {
            assert!(mistake.starts_with(&format!("{name}: is set, and MREG_DROP_DIR names no folder")), "{mistake}");
        }
    }
    let none = place.load(&[("MREG_DROP_DIR", "none")]);
    assert_eq!((none.config.drop.is_none(), row(&none, "MREG_DROP_DIR").0), (true, "none".into()));
    assert_eq!(row(&none, "MREG_DROP_POLL").0, "-");
}

/// The folder, the data and the keys are three places, however their paths are written.
#[test]
fn drop_folder_lies_apart() {
    let place = Place::new();
    create_dir(place.path("data")).unwrap();
    create_dir(place.path("keys")).unwrap();
    symlink(place.path("data"), place.path("link")).unwrap();
    place.file("file", "", 0o644);
    let with = |dir: &str| {
        place.load_with(
            &Options::default(),
            &[("MREG_DATA_DIR", "data"), ("MREG_KEY_DIR", "keys"), ("MREG_DROP_DIR", dir)],
        )
    };
    for (dir, part) in [
        ("data", "is inside the data directory"),
        ("data/drop", "is inside the data directory"),
        ("link/a/b", "is inside the data directory"),
        ("none/../data/drop", "is inside the data directory"),
        ("keys/drop", "is inside the key directory"),
        (".", "contains the data directory"),
        ("/", "is the root directory"),
        ("/..", "is the root directory"),
        ("file", "is not a directory"),
    ] {
        let mistakes = with(dir).unwrap_err().mistakes;
        assert!(mistakes.len() == 1 && mistakes[0].about == "MREG_DROP_DIR", "{dir}: {mistakes:?}");
        assert!(mistakes[0].problem.contains(part), "{dir}: {mistakes:?}");
    }
    for dir in ["drop", "data2", "data-drop", "keys2/drop", "not/there/yet"] {
        assert!(with(dir).unwrap().warnings.is_empty(), "{dir}");
    }
}

/// Who may act for whom is pointed out where it is nobody, or more than most would want.
#[test]
fn drop_folder_warnings() {
    let place = Place::new();
    for (name, value, part) in [
        ("MREG_DROP_ROLE", "none", "every file will be rejected"),
        ("MREG_DROP_ROLE", "viewer", "every file will be rejected"),
        ("MREG_DROP_ROLE", "admin", "can move protected aliases"),
        ("MREG_DROP_USERS", "65534=alice", "every owner that the kernel"),
    ] {
        let loaded = place.load(&[("MREG_DROP_DIR", "drop"), (name, value)]);
        assert!(loaded.warnings.len() == 1 && loaded.warnings[0].contains(part), "{:?}", loaded.warnings);
    }
    let mapped = [("MREG_DROP_DIR", "drop"), ("MREG_DROP_ROLE", "none"), ("MREG_DROP_USERS", "1001=alice")];
    assert!(place.load(&mapped).warnings.is_empty());
}

/// Witnesses are asked by a policy that can be used; everything that is wrong with it is told at once, with its line.
#[test]
fn witnesses() {
    let place = Place::new();
    let vkey = |seed: u8| Cosigner::from_seed("w", &[seed; 32]).unwrap().verifier().to_string();
    let mode = ("MREG_WITNESS_MODE", "background");
    let asked = [mode, ("MREG_WITNESS_POLICY", "policy")];
    let policy = |text: String| place.file("policy", &text, 0o644);

    policy(format!(
        "witness a {} http://[::1]:81/prefix/\nwitness b {} http://b.example\ngroup both all a b\nquorum both\n",
        vkey(1),
        vkey(2)
    ));
    let loaded = place.load(&asked);
    let reached = loaded.config.witnesses.as_ref().unwrap().reached.clone();
    let parts: Vec<_> = reached.iter().map(|at| (at.host.as_str(), at.port, at.prefix.as_str())).collect();
    assert_eq!(parts, [("::1", 81, "/prefix"), ("b.example", 80, "")]);
    assert_eq!(row(&loaded, "MREG_WITNESS_POLICY").0, place.path("policy").display().to_string());
    assert!(loaded.warnings.is_empty());

    // In TLS, with authorities of one's own.
    policy(format!("witness a {} https://a.example/p\nquorum a\n", vkey(1)));
    let witnesses = place.load(&[asked[0], asked[1], ("MREG_WITNESS_CA_FILE", "ca.pem")]).config.witnesses.unwrap();
    assert!(witnesses.reached[0].is_tls && witnesses.reached[0].port == 443);
    assert_eq!(witnesses.ca_file, Some(place.path("ca.pem")));

    let off = place.load(&asked[1..]);
    assert!(off.config.witnesses.is_none() && off.notices[0].contains("MREG_WITNESS_POLICY is not used"));
    assert!(place.mistake(&[mode]).starts_with("MREG_WITNESS_POLICY: is not set"));
    assert!(place.mistake(&[("MREG_WITNESS_MODE", "required")]).contains("required is not offered"));
    assert!(place.mistake(&[mode, ("MREG_WITNESS_POLICY", "none-here")]).contains("can't be read"));

    policy(format!(
        "witness a {} gopher://a.example\nwitness b {} ftp://b\nwitness c {} http://u@c\nwitness d {} http://d/?q\n\
         witness e {} nowhere\nquorum a\n",
        vkey(1),
        vkey(2),
        vkey(3),
        vkey(4),
        vkey(5)
    ));
    let mistakes = place.mistakes(&asked);
    let parts =
        ["line 1: the witness's address must begin with https://", "line 2: ", "line 3: ", "line 4: ", "line 5: "];
    assert_eq!(mistakes.len(), parts.len(), "{mistakes:?}");
    for (mistake, part) in mistakes.iter().zip(parts) {
        assert!(mistake.starts_with("MREG_WITNESS_POLICY: ") && mistake.contains(part), "{mistake}");
    }

    policy("witness a x\nnonsense\nquorum a\n".to_owned());
    assert_eq!(place.mistakes(&asked).len(), 2);
    policy(format!("witness a {} http://a\nwitness b {}\ngroup both all a b\nquorum both\n", vkey(1), vkey(2)));
    assert!(place.mistake(&asked).contains("no quorum"));
    policy(format!("witness b {}\nquorum none\n", vkey(2)));
    assert!(place.mistake(&asked).contains("nobody to ask"));
    policy(format!("witness a {} http://a\nwitness b {}\nquorum none\n", vkey(1), vkey(2)));
    assert_eq!(place.load(&asked).warnings.len(), 2);
}
