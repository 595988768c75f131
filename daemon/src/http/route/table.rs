//! What each route means: one [`Endpoint`] each, from which come the access check, the audit entry of a failure, metrics
//! labels, the OpenAPI description and the tests. The texts are the interface's manual.
//! How an endpoint does what it says is not known here.

use common::audit::Action;
use common::problem::ProblemType;
use common::role::Permission;

use crate::http::route::Route;

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique name in snake_case: the operation's id and the metrics label.
    pub id: &'static str,
    /// The method; HEAD comes with GET.
    pub method: &'static str,
    /// The path, with parameters in braces. Entries of the audit log carry this and never a raw path.
    pub template: &'static str,
    /// The group it is shown in.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What a caller must know; Markdown, may be empty.
    pub text: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What of it is recorded.
    pub audit: Audit,
    /// Query parameters and header fields it understands, beyond the path's.
    pub params: &'static [Param],
    /// What it takes.
    pub body: Body,
    /// What it answers when all is well, the usual one first.
    pub answers: &'static [Success],
    /// Problems beyond those that follow from the rest (access, body, parameters).
    pub problems: &'static [ProblemType],
}

impl Endpoint {
    /// The status of its usual success.
    pub fn ok_status(&self) -> u16 {
        self.answers.first().map_or(200, |answer| answer.status)
    }

    /// The parameters in its template's braces, in order.
    pub fn path_params(&self) -> impl Iterator<Item = &'static Param> {
        self.template.split('/').filter_map(|segment| match segment.strip_prefix('{')?.strip_suffix('}')? {
            "name" if self.template.starts_with("/models/") => Some(&MODEL_NAME),
            name => PATH_PARAMS.iter().find(|param| param.name == name),
        })
    }

    /// Whether it refuses every query. An unknown parameter is a mistake that is better told (422): it may be a filter
    /// with a slip, or meant for another method. Only operations let it pass, for what probes and browsers add.
    pub fn takes_no_query(&self) -> bool {
        !self.is_lenient() && self.params.iter().all(|param| param.place != Place::Query)
    }

    /// Whether its answer depends on what is in the registry. The others answer also while that can't be asked.
    pub fn asks_the_registry(&self) -> bool {
        !(matches!(self.access, Access::Public) && matches!(self.audit, Audit::Never))
    }

    /// Whether it lets unknown parameters pass.
    pub fn is_lenient(&self) -> bool {
        self.tag == OPERATIONS
    }

    /// Whether an answer to it waits for the log, but for what a setting may add.
    pub fn is_recorded(&self) -> bool {
        self.is_change() || matches!(self.audit, Audit::Always(_))
    }

    /// Whether it changes something, so that it is under idempotency and preconditions.
    pub fn is_change(&self) -> bool {
        !matches!(self.method, "GET" | "OPTIONS")
    }
}

/// Who may call an endpoint. The registry decides; this says the same to tests and readers, and is asked first so that
/// nobody without a token learns from a 422 what a 401 hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Any live token, even one whose user must change the password first.
    Session,
    /// Any live token.
    SignedIn,
    /// Anyone, or any live token, as `MREG_LOG_HASH_ACCESS` says.
    Hashes,
    /// Whoever has the permission.
    Permission(Permission),
    /// The operator of this machine, at the control socket; nobody over the network.
    Operator,
}

/// What is recorded of an endpoint (audit-log.md §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Nothing.
    Never,
    /// Refusals (401, 403, 429); with `MREG_AUDIT_READS=all` the rest as well.
    Refusals(&'static Action),
    /// Every call, however it ends.
    Always(&'static Action),
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path; always required.
    Path,
    /// In the query.
    Query,
    /// A header field.
    Header,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub text: &'static str,
    /// What it may be.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text; what can't be understood is passed over.
    Any,
    /// Text of so many characters.
    Text {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
    /// Text that matches a regular expression (ECMA 262, anchored by itself).
    Pattern(&'static str),
    /// Repeatable; each matches a regular expression.
    Patterns(&'static str),
    /// An integer.
    Integer {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
        /// What its absence means, where that is a number.
        default: Option<u64>,
    },
    /// `true` or `false`.
    Flag,
    /// RFC 3339 time.
    Time,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// What an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing; a body is not read.
    None,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON or a form of this schema.
    JsonOrForm(&'static str),
    /// `multipart/form-data` of this schema, streamed.
    Multipart(&'static str),
    /// The octets of a file.
    Octets,
    /// Octets that belong somewhere in a file, of the tus protocol's media type.
    Part,
}

/// One successful answer.
#[derive(Debug, Clone, Copy)]
pub struct Success {
    /// Status code.
    pub status: u16,
    /// What it means.
    pub text: &'static str,
    /// The body, per media type.
    pub content: &'static [Content],
    /// Header fields worth knowing, beyond `X-Request-Id`.
    pub headers: &'static [ResponseHeader],
}

/// A media type an answer may have, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// `application/json` of this schema.
    Json(&'static str),
    /// Octets or text of this media type.
    Octets(&'static str),
}

/// A header field of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResponseHeader {
    /// `ETag`.
    ETag,
    /// `Location`.
    Location,
    /// `Link`, the next page.
    Link,
    /// `Mregd-Log-Index` and `Mregd-Log-Leaf`.
    Logged,
    /// `Accept-Ranges`.
    AcceptRanges,
    /// `Content-Range`.
    ContentRange,
    /// `Content-Disposition`.
    ContentDisposition,
    /// `Repr-Digest` (RFC 9530).
    ReprDigest,
    /// `Last-Modified`.
    LastModified,
    /// `Tus-Resumable` and `Tus-Version`.
    Tus,
    /// `Tus-Extension`, `Tus-Max-Size`, `Tus-Checksum-Algorithm`.
    TusOptions,
    /// `Upload-Offset` and `Upload-Expires`.
    UploadOffset,
    /// `Upload-Length`, `Upload-Defer-Length`, `Upload-Metadata`.
    UploadLength,
}

use Access::{Hashes, Operator, Public, Session, SignedIn};
use Audit::{Always, Never, Refusals};
use ProblemType as P;
use ResponseHeader as H;

const READ: Access = Access::Permission(Permission::ModelRead);
const WRITE: Access = Access::Permission(Permission::ModelWrite);
const DELETE: Access = Access::Permission(Permission::ModelDelete);
const MODERATE: Access = Access::Permission(Permission::ModelModerate);
const USERS: Access = Access::Permission(Permission::UserManage);
const QUARANTINE: Access = Access::Permission(Permission::QuarantineRead);
const AUDIT: Access = Access::Permission(Permission::AuditRead);
const INGEST: Access = Access::Permission(Permission::IngestManage);

const fn query(name: &'static str, shape: Shape, text: &'static str) -> Param {
    Param { name, place: Place::Query, text, shape, required: false }
}

const fn header(name: &'static str, shape: Shape, text: &'static str) -> Param {
    Param { name, place: Place::Header, text, shape, required: false }
}

const fn path(name: &'static str, shape: Shape, text: &'static str) -> Param {
    Param { name, place: Place::Path, text, shape, required: true }
}

/// What may stand in the braces of a template. Only what must be known to call the endpoint: values of another shape
/// are not refused but not found.
const PATH_PARAMS: [Param; 20] = [
    path(
        "id",
        Shape::Text { min: 1, max: 512 },
        "The model's id, its name (a slash percent-encoded), `name:3`, `name@alias`, or `sha256:<64 hex>` of an artifact.",
    ),
    path("name", Shape::Text { min: 1, max: 256 }, "The user's name."),
    path("v", Shape::Integer { min: 1, max: 4_294_967_295, default: None }, "The version's number."),
    path("path", Shape::Text { min: 1, max: 1024 }, "The artifact's path; slashes may be percent-encoded or not."),
    path("kind", Shape::OneOf(&["users", "namespaces"]), "What the quota is of."),
    path(
        "account",
        Shape::Text { min: 1, max: 256 },
        "The user's name, or the namespace: the part of a model's name before the slash. `-` is the namespace of the models \
         whose names have none.",
    ),
    path("rule", Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"), "The rule's name."),
    path("alias", Shape::Pattern("^[A-Za-z][A-Za-z0-9._-]{0,63}$"), "The alias."),
    path("item", Shape::Pattern("^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"), "The item's id."),
    path("upload", Shape::Pattern("^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"), "The upload's id."),
    path("token", Shape::Pattern("^[0-9a-hjkmnp-tv-z]{16}$"), "The API token's id, which is no secret."),
    path("hook", Shape::Pattern("^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"), "The webhook's id."),
    path("delivery", Shape::Text { min: 1, max: 128 }, "The message's id, as in `webhook-id`."),
    path("slug", Shape::Text { min: 1, max: 64 }, "The last segment of a problem's `type`."),
    path("asset", Shape::Text { min: 1, max: 64 }, "A file of the page."),
    path("index", Shape::Integer { min: 0, max: INDEX_MAX, default: None }, "The entry's index in the log, from 0."),
    path("level", Shape::Integer { min: 0, max: 7, default: None }, "The tile's level: 0 for leaf hashes."),
    path(
        "tile",
        Shape::Pattern("^(x[0-9]{3}/)*[0-9]{3}(\\.p/[1-9][0-9]{0,2})?$"),
        "The number in groups of three digits, all but the last with an `x` in front (1234067 is `x001/x234/067`); \
         `.p/` and a width from 1 to 255 for a partial one. No other spelling is found.",
    ),
    path("old", Shape::Integer { min: 1, max: INDEX_MAX, default: None }, "The smaller size of the log."),
    path("new", Shape::Integer { min: 1, max: INDEX_MAX, default: None }, "The larger size of the log."),
];

/// The largest index and size of a log: integers end at 2^53 − 1 (audit-log.md §1).
const INDEX_MAX: u64 = common::audit::INTEGER_MAX;

/// The `name` of a path that makes the model.
const MODEL_NAME: Param = path(
    "name",
    Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"),
    "The model's name; its slash percent-encoded. The model is made if it isn't there.",
);

const LIMIT: Param =
    query("limit", Shape::Integer { min: 1, max: 1000, default: Some(50) }, "At most so many rows on a page.");
const CURSOR: Param = query(
    "cursor",
    Shape::Text { min: 1, max: 2048 },
    "`next_cursor` of the page before; opaque, and bound to the query.",
);
const BEFORE: Param = query(
    "before",
    Shape::Text { min: 1, max: 2048 },
    "`prev_cursor` of the page after, instead of `cursor`; or the word `end` for the last page.",
);
const ONWARD: [Param; 2] = [LIMIT, CURSOR];

/// Parameters and more of them; `N` is how many those are together.
const fn beside<const A: usize, const B: usize, const N: usize>(first: [Param; A], more: [Param; B]) -> [Param; N] {
    let mut all = [LIMIT; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { first[at] } else { more[at - A] };
        at += 1;
    }
    all
}
const PAGE: [Param; 3] = [LIMIT, CURSOR, BEFORE];

/// A list of entity tags, or `*` (RFC 9110 §13.1.1).
const ENTITY_TAGS: Shape = Shape::Pattern("^(\\*|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$");
const IF_NONE_MATCH: Param =
    header("If-None-Match", Shape::Any, "Entity tags the caller holds; answered with 304 if one is current.");
const IF_MATCH: Param =
    header("If-Match", ENTITY_TAGS, "Entity tags of the state the change was made for; 412 if none is current.");
const IDEMPOTENCY_KEY: Param = header(
    "Idempotency-Key",
    Shape::Pattern("^[!-~]{1,255}$"),
    "Makes a retry safe: the same key, user and body within 24 hours get the first answer.",
);
const PURGE: Param = query("purge", Shape::Flag, "Delete for good: the bytes go when nothing else points at them.");
const PURGE_REASON: Param =
    query("reason", Shape::Text { min: 1, max: 1000 }, "Why; required with `purge=true`, kept in the audit log.");

const DOWNLOAD_PARAMS: [Param; 6] = [
    header(
        "Prefer",
        Shape::Any,
        "`no-redirect`: the octets are to come from here, never from another address (RFC 7240).",
    ),
    header(
        "Range",
        Shape::Any,
        "One range of octets (`bytes=0-99`, `bytes=100-`, `bytes=-100`). Anything else is ignored, as is a range of a \
         tar stream: the whole is sent.",
    ),
    header(
        "If-Range",
        Shape::Any,
        "The entity tag or date for which `Range` holds; the whole is sent if it is not current.",
    ),
    header("If-Match", ENTITY_TAGS, "Entity tags that will do; 412 if none is current."),
    IF_NONE_MATCH,
    header(
        "If-Modified-Since",
        Shape::Any,
        "An HTTP date; answered with 304 if the version is not newer. Ignored beside `If-None-Match`.",
    ),
];

const fn json(status: u16, schema: &'static [Content], headers: &'static [H], text: &'static str) -> Success {
    Success { status, text, content: schema, headers }
}

const NOT_MODIFIED: Success =
    Success { status: 304, text: "What the caller holds is current.", content: &[], headers: &[H::ETag] };

const DOWNLOAD_ANSWERS: [Success; 4] = [
    Success {
        status: 200,
        text: "The file as it is, or several files as a tar stream (POSIX pax). The octets of a file are what its \
               `ETag` and `Repr-Digest` say.",
        content: &[Content::Octets("application/octet-stream"), Content::Octets("application/x-tar")],
        headers: &[H::ETag, H::AcceptRanges, H::ContentDisposition, H::ReprDigest, H::LastModified, H::Logged],
    },
    Success {
        status: 206,
        text: "The range that was asked for.",
        content: &[Content::Octets("application/octet-stream")],
        headers: &[
            H::ETag,
            H::AcceptRanges,
            H::ContentRange,
            H::ContentDisposition,
            H::ReprDigest,
            H::LastModified,
            H::Logged,
        ],
    },
    Success {
        status: 307,
        text: "Where the file can be fetched for a short time, without a token; only where the operator wants it so                (MREG_S3_REDIRECT). Who has the address has the file: it is not to be kept or passed on.",
        content: &[],
        headers: &[H::Location, H::Logged],
    },
    NOT_MODIFIED,
];

const UPLOAD_PROBLEMS: [P; 15] = [
    P::QuotaExceeded,
    P::NotFound,
    P::UploadGone,
    P::UploadBusy,
    P::RequestTimeout,
    P::Conflict,
    P::ContentTooLarge,
    P::UnsupportedMediaType,
    P::Invalid,
    P::DigestMismatch,
    P::MaliciousContent,
    P::IdempotencyKeyReused,
    P::TooManyRequests,
    P::StorageUnavailable,
    P::StorageFull,
];

const PUBLISHED: [Success; 2] = [
    json(201, &[Content::Json("Published")], &[H::Location, H::ETag, H::Logged], "The new version."),
    json(
        200,
        &[Content::Json("Published")],
        &[H::Location, H::ETag, H::Logged],
        "The latest version has the same bytes already (`already_present`), or the answer to a repeated \
         `Idempotency-Key`.",
    ),
];

const OPERATIONS: &str = "operations";
const SIGN_IN: &str = "signing in";
const USERS_TAG: &str = "users";
const TOKENS_TAG: &str = "tokens";
const KEEPING: &str = "quotas and retention";
const MODELS: &str = "models";
const VERSIONS: &str = "versions";
const ALIASES: &str = "aliases";
const UPLOADS: &str = "resumable uploads";
const INGEST_TAG: &str = "drop folder";
const WEBHOOKS: &str = "webhooks";
const AUDIT_TAG: &str = "audit";
const LOG_TAG: &str = "log";

/// The groups, with a sentence on each, in reading order.
pub(crate) const TAGS: [(&str, &str); 13] = [
    (SIGN_IN, "Tokens, sessions, one's own account."),
    (MODELS, "Publish, find, describe, delete and fetch models."),
    (VERSIONS, "The immutable versions of a model, their states and their files."),
    (ALIASES, "Names that move from version to version."),
    (USERS_TAG, "Accounts and roles."),
    (
        TOKENS_TAG,
        "Credentials for programs: `mreg_<id>_<secret>`, sent as `Authorization: Bearer` like any other token.",
    ),
    (KEEPING, "How much may be kept, and what goes when."),
    (UPLOADS, "Files that come in parts, by the tus protocol 1.0.0, and survive a lost connection and a restart."),
    (INGEST_TAG, "Files that were copied to the daemon's machine, on their way to versions."),
    (WEBHOOKS, "What is told to other services, when something is written to the audit log."),
    (AUDIT_TAG, "What was done, by whom, provably."),
    (LOG_TAG, "The log as a Merkle tree (C2SP tlog-tiles, height 8), to be checked with anybody's tools."),
    (OPERATIONS, "Health, metrics, documentation."),
];

/// What most endpoints are not.
const PLAIN: Endpoint = Endpoint {
    id: "",
    method: "GET",
    template: "",
    tag: OPERATIONS,
    summary: "",
    text: "",
    access: Public,
    audit: Never,
    params: &[],
    body: Body::None,
    answers: &[],
    problems: &[],
};

// ---- operations -----------------------------------------------------------------------------------------------------

static INDEX: Endpoint = Endpoint {
    id: "index",
    template: "/",
    summary: "What this is",
    answers: &[json(200, &[Content::Json("Index")], &[], "Name, version, and where the documentation is.")],
    ..PLAIN
};
static LIVE: Endpoint = Endpoint {
    id: "live",
    template: "/livez",
    summary: "Is the process alive",
    answers: &[Success {
        status: 200,
        text: "It is.",
        content: &[Content::Octets("text/plain; charset=utf-8")],
        headers: &[],
    }],
    ..PLAIN
};
static READY: Endpoint = Endpoint {
    id: "ready",
    template: "/readyz",
    summary: "Can it serve",
    text: "Names each dependency and what was seen of it.",
    answers: &[
        json(200, &[Content::Json("Ready")], &[], "It can."),
        json(503, &[Content::Json("Ready")], &[], "It can't; the check that failed says why."),
    ],
    ..PLAIN
};
static METRICS: Endpoint = Endpoint {
    id: "metrics",
    template: "/metrics",
    summary: "Metrics in Prometheus' text format",
    answers: &[Success {
        status: 200,
        text: "Counters, gauges and histograms.",
        content: &[Content::Octets("text/plain; version=0.0.4; charset=utf-8")],
        headers: &[],
    }],
    ..PLAIN
};
static BUILD_INFO: Endpoint = Endpoint {
    id: "build_info",
    template: "/version",
    summary: "Name and version of the daemon",
    answers: &[json(200, &[Content::Json("BuildInfo")], &[], "They are.")],
    ..PLAIN
};
static STATUS: Endpoint = Endpoint {
    id: "status",
    template: "/status",
    summary: "How the daemon is doing",
    text: "Storage, log, requests, uploads: what the console's health screen shows.",
    access: SignedIn,
    answers: &[json(200, &[Content::Json("Status")], &[], "How it is doing.")],
    ..PLAIN
};
static OPENAPI: Endpoint = Endpoint {
    id: "openapi",
    template: "/openapi.json",
    summary: "This description",
    params: &[IF_NONE_MATCH],
    answers: &[json(200, &[Content::Json("OpenApi")], &[H::ETag], "An OpenAPI 3.1 document."), NOT_MODIFIED],
    ..PLAIN
};
static DOCS: Endpoint = Endpoint {
    id: "docs",
    template: "/docs",
    summary: "Documentation to try things in (Swagger UI)",
    params: &[IF_NONE_MATCH],
    answers: &[
        Success {
            status: 200,
            text: "The page.",
            content: &[Content::Octets("text/html; charset=utf-8")],
            headers: &[H::ETag],
        },
        NOT_MODIFIED,
    ],
    ..PLAIN
};
static DOCS_ASSET: Endpoint = Endpoint {
    id: "docs_asset",
    template: "/docs/{asset}",
    summary: "A file of the page",
    params: &[IF_NONE_MATCH],
    answers: &[ASSET, NOT_MODIFIED],
    problems: &[P::NotFound],
    ..PLAIN
};
static REDOC: Endpoint = Endpoint {
    id: "redoc",
    template: "/redoc",
    summary: "Documentation to read (Redoc)",
    params: &[IF_NONE_MATCH],
    answers: &[
        Success {
            status: 200,
            text: "The page.",
            content: &[Content::Octets("text/html; charset=utf-8")],
            headers: &[H::ETag],
        },
        NOT_MODIFIED,
    ],
    ..PLAIN
};
static REDOC_ASSET: Endpoint = Endpoint {
    id: "redoc_asset",
    template: "/redoc/{asset}",
    summary: "A file of the page",
    params: &[IF_NONE_MATCH],
    answers: &[ASSET, NOT_MODIFIED],
    problems: &[P::NotFound],
    ..PLAIN
};
const ASSET: Success = Success {
    status: 200,
    text: "The file.",
    content: &[
        Content::Octets("text/css; charset=utf-8"),
        Content::Octets("text/javascript; charset=utf-8"),
        Content::Octets("image/png"),
    ],
    headers: &[H::ETag],
};
static PROBLEMS: Endpoint = Endpoint {
    id: "problems",
    template: "/problems",
    summary: "Every problem type",
    answers: &[Success {
        status: 200,
        text: "URI, status and title of each, a line each.",
        content: &[Content::Octets("text/plain; charset=utf-8")],
        headers: &[],
    }],
    ..PLAIN
};
static PROBLEM: Endpoint = Endpoint {
    id: "problem",
    template: "/problems/{slug}",
    summary: "What a problem type means",
    text: "The `type` of every problem document leads here.",
    answers: &[Success {
        status: 200,
        text: "Title, status, when it occurs and what to do.",
        content: &[Content::Octets("text/plain; charset=utf-8")],
        headers: &[],
    }],
    problems: &[P::NotFound],
    ..PLAIN
};

// ---- signing in -----------------------------------------------------------------------------------------------------

static LOGIN: Endpoint = Endpoint {
    id: "login",
    method: "POST",
    template: "/login",
    tag: SIGN_IN,
    summary: "Sign in",
    text: "Wrong user and wrong password get the same answer in the same time. After 5 failures in 15 minutes the user \
           is blocked from that network for 15 minutes. Where the user has a second factor and the password is right, `otp` \
           is asked for: a code works once, and missing and wrong ones count as failures, too.",
    audit: Always(&Action::AuthLogin),
    body: Body::JsonOrForm("Login"),
    answers: &[json(200, &[Content::Json("Token")], &[H::Logged], "A token, to be sent as `Authorization: Bearer`.")],
    problems: &[P::BadCredentials, P::SecondFactorRequired, P::TooManyRequests],
    ..PLAIN
};
static REFRESH: Endpoint = Endpoint {
    id: "refresh",
    method: "POST",
    template: "/token/refresh",
    tag: SIGN_IN,
    summary: "A fresh token for the same session",
    text: "At most until the session ends, 12 hours after login by default.",
    access: Session,
    audit: Always(&Action::AuthRefresh),
    answers: &[json(200, &[Content::Json("Token")], &[H::Logged], "The fresh token.")],
    ..PLAIN
};
static LOGOUT: Endpoint = Endpoint {
    id: "logout",
    method: "POST",
    template: "/logout",
    tag: SIGN_IN,
    summary: "End this session at once",
    access: Session,
    audit: Always(&Action::AuthLogout),
    answers: &[Success {
        status: 204,
        text: "No token of the session is accepted any more.",
        content: &[],
        headers: &[H::Logged],
    }],
    ..PLAIN
};
static ME: Endpoint = Endpoint {
    id: "me",
    template: "/me",
    tag: SIGN_IN,
    summary: "Who am I",
    access: Session,
    audit: Refusals(&Action::UserRead),
    answers: &[json(200, &[Content::Json("Me")], &[], "Name, role, permissions, expiry.")],
    ..PLAIN
};
static CHANGE_OWN_PASSWORD: Endpoint = Endpoint {
    id: "change_own_password",
    method: "POST",
    template: "/me/password",
    tag: SIGN_IN,
    summary: "Change one's own password",
    text: "Ends one's other sessions.",
    access: Session,
    audit: Always(&Action::UserPassword),
    body: Body::Json("OwnPassword"),
    answers: &[Success { status: 204, text: "Changed.", content: &[], headers: &[H::Logged] }],
    problems: &[P::BadCredentials, P::WeakPassword, P::TooManyRequests],
    ..PLAIN
};
static ENROL_TOTP: Endpoint = Endpoint {
    id: "enrol_totp",
    method: "POST",
    template: "/me/totp",
    tag: SIGN_IN,
    summary: "Make a secret for one's second factor",
    text: "TOTP by RFC 6238: SHA-1, 6 digits, 30 seconds. The secret is shown this once, and replaces one that was not \
           confirmed. It is asked for at a sign-in once a code of it has come to `POST /me/totp/confirm`.",
    access: Session,
    audit: Always(&Action::UserTotpEnrol),
    body: Body::Json("EnrolTotp"),
    answers: &[json(200, &[Content::Json("TotpSecret")], &[H::Logged], "The secret.")],
    problems: &[P::BadCredentials, P::Conflict, P::Forbidden, P::TooManyRequests],
    ..PLAIN
};
static CONFIRM_TOTP: Endpoint = Endpoint {
    id: "confirm_totp",
    method: "POST",
    template: "/me/totp/confirm",
    tag: SIGN_IN,
    summary: "Turn one's second factor on",
    text: "By a code of the secret that was made last. Ends one's other sessions. The recovery codes are shown this once; each \
           is good for one sign-in without the authenticator.",
    access: Session,
    audit: Always(&Action::UserTotpEnable),
    body: Body::Json("ConfirmTotp"),
    answers: &[json(200, &[Content::Json("RecoveryCodes")], &[H::Logged], "The recovery codes.")],
    problems: &[P::Conflict, P::Forbidden, P::TooManyRequests],
    ..PLAIN
};
static DISABLE_TOTP: Endpoint = Endpoint {
    id: "disable_totp",
    method: "POST",
    template: "/me/totp/disable",
    tag: SIGN_IN,
    summary: "Give one's second factor up",
    text: "Ends one's other sessions. Where the registry demands a second factor, another has to be set up next.",
    access: Session,
    audit: Always(&Action::UserTotpDisable),
    body: Body::Json("DisableTotp"),
    answers: &[Success { status: 204, text: "It is not asked for any more.", content: &[], headers: &[H::Logged] }],
    problems: &[P::BadCredentials, P::SecondFactorRequired, P::Conflict, P::Forbidden, P::TooManyRequests],
    ..PLAIN
};
static REGISTER: Endpoint = Endpoint {
    id: "register",
    method: "POST",
    template: "/register",
    tag: SIGN_IN,
    summary: "Create a user",
    text: "Admins only, unless open registration is on: then anyone may, as `viewer`. With `\"kind\": \"service\"` and no \
           password it is a service account, for admins to make tokens for.",
    audit: Always(&Action::UserCreate),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("Register"),
    answers: &[
        json(201, &[Content::Json("UserChanged")], &[H::Location, H::ETag, H::Logged], "The new user."),
        json(
            200,
            &[Content::Json("UserChanged")],
            &[H::Location, H::ETag, H::Logged],
            "The answer to a repeated `Idempotency-Key`.",
        ),
    ],
    problems: &[P::Unauthenticated, P::Forbidden, P::Conflict, P::WeakPassword, P::TooManyRequests],
    ..PLAIN
};
static LIST_ROLES: Endpoint = Endpoint {
    id: "list_roles",
    template: "/roles",
    tag: USERS_TAG,
    summary: "The roles and what each allows",
    access: SignedIn,
    answers: &[json(200, &[Content::Json("RolePage")], &[], "All of them.")],
    ..PLAIN
};

// ---- users ----------------------------------------------------------------------------------------------------------

static LIST_USERS: Endpoint = Endpoint {
    id: "list_users",
    template: "/users",
    tag: USERS_TAG,
    summary: "List users",
    text: "By name.",
    access: USERS,
    audit: Refusals(&Action::UserList),
    params: &[
        query(
            "q",
            Shape::Text { min: 1, max: 64 },
            "Words that must all be in the name, ignoring case; several between double quotes are one.",
        ),
        query("role", Shape::OneOf(&["viewer", "contributor", "auditor", "admin"]), "With this role."),
        query("state", Shape::OneOf(&["active", "disabled"]), "Those who may sign in, or those who may not."),
        query(
            "not",
            Shape::Patterns("^role:(viewer|contributor|auditor|admin)$"),
            "What users must not be, such as `role:viewer`; repeat it, at most 16 times: none may hold.",
        ),
        query(
            "sort",
            Shape::OneOf(&[
                "name",
                "-name",
                "role",
                "-role",
                "last_login_at",
                "-last_login_at",
                "created_at",
                "-created_at",
            ]),
            "The order; `-` turns it round. Without it, by name.",
        ),
        LIMIT,
        CURSOR,
        BEFORE,
    ],
    answers: &[json(200, &[Content::Json("UserPage")], &[H::Link], "A page of users.")],
    ..PLAIN
};
static SHOW_USER: Endpoint = Endpoint {
    id: "show_user",
    template: "/users/{name}",
    tag: USERS_TAG,
    summary: "Show a user",
    access: USERS,
    audit: Refusals(&Action::UserRead),
    params: &[IF_NONE_MATCH],
    answers: &[json(200, &[Content::Json("UserInfo")], &[H::ETag], "The user."), NOT_MODIFIED],
    problems: &[P::NotFound],
    ..PLAIN
};
static PATCH_USER: Endpoint = Endpoint {
    id: "patch_user",
    method: "PATCH",
    template: "/users/{name}",
    tag: USERS_TAG,
    summary: "Change a user's role or grants, or disable or enable the user",
    text: "Takes effect on the user's very next request. The last enabled admin can't be demoted or disabled.\n\n\
           `grants` replaces all grants of the user. A grant says what may be done with the models whose names fit its \
           `pattern`, in which `*` stands for any characters, slashes too, and case doesn't matter. For a model of some name \
           the grants that fit it are put together; their order doesn't matter, nor which pattern is longer:\n\n\
           1. `\"deny\": true` wins over everything: the models are as if they weren't there.\n\
           2. Else what a granted `role` may do with models may be done,\n\
           3. and what the user's own role may do, unless a grant of the role `none` fits.\n\n\
           So `team-nlp/*` with `contributor` lets a viewer publish there; `*` with `none` besides leaves nothing but that; \
           `prod/*` with `none` and `prod/*` with `viewer` make a contributor a viewer there. What isn't about models hangs on \
           the user's own role alone: a grant never gives users, the audit log or the drop folder, and who may read the log \
           reads all of it. Grants end no session.",
    access: USERS,
    audit: Always(&Action::UserUpdate),
    params: &[IF_MATCH],
    body: Body::Json("UserPatch"),
    answers: &[json(200, &[Content::Json("UserChanged")], &[H::ETag, H::Logged], "The user as it is now.")],
    problems: &[P::NotFound, P::Conflict],
};
static DELETE_USER: Endpoint = Endpoint {
    id: "delete_user",
    method: "DELETE",
    template: "/users/{name}",
    tag: USERS_TAG,
    summary: "Delete a user",
    text: "For good, and with all sessions and API tokens. What the user did stays under the name. The last enabled admin can't be deleted.",
    access: USERS,
    audit: Always(&Action::UserDelete),
    params: &[IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Deleted.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static REVOKE_SESSIONS: Endpoint = Endpoint {
    id: "revoke_sessions",
    method: "POST",
    template: "/users/{name}/sessions/revoke",
    tag: USERS_TAG,
    summary: "End all sessions of a user, and all API tokens",
    text: "Nothing of theirs is accepted any more, from the next request on: the API tokens are gone for good. A person can \
           sign in again; who shouldn't is to be disabled first.",
    access: USERS,
    audit: Always(&Action::UserRevokeSessions),
    params: &[IDEMPOTENCY_KEY],
    answers: &[json(200, &[Content::Json("UserChanged")], &[H::ETag, H::Logged], "The user, with no session left.")],
    problems: &[P::NotFound, P::IdempotencyKeyReused],
    ..PLAIN
};
static SET_PASSWORD: Endpoint = Endpoint {
    id: "set_password",
    method: "POST",
    template: "/users/{name}/password",
    tag: USERS_TAG,
    summary: "Set a user's password",
    text: "The user must change it after the next sign-in. Ends all of the user's sessions; API tokens stay, for they have \
           nothing of the password. A service account has none.",
    access: USERS,
    audit: Always(&Action::UserPassword),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("NewPassword"),
    answers: &[json(200, &[Content::Json("UserChanged")], &[H::ETag, H::Logged], "The user.")],
    problems: &[P::NotFound, P::Conflict, P::WeakPassword],
};

static RESET_TOTP: Endpoint = Endpoint {
    id: "reset_totp",
    method: "POST",
    template: "/users/{name}/totp/reset",
    tag: USERS_TAG,
    summary: "Take a user's second factor away",
    text: "For who has lost authenticator and recovery codes. Ends all of the user's sessions; the password alone is asked for \
           next, and where the registry demands a second factor, another has to be set up then. API tokens stay.",
    access: USERS,
    audit: Always(&Action::UserTotpReset),
    params: &[IDEMPOTENCY_KEY],
    answers: &[json(200, &[Content::Json("UserChanged")], &[H::ETag, H::Logged], "The user.")],
    problems: &[P::NotFound, P::Conflict, P::IdempotencyKeyReused],
    ..PLAIN
};

// ---- API tokens -----------------------------------------------------------------------------------------------------

static LIST_TOKENS: Endpoint = Endpoint {
    id: "list_tokens",
    template: "/tokens",
    tag: TOKENS_TAG,
    summary: "List API tokens",
    text: "One's own; with `user.manage` also those of others. The oldest first, expired ones included, never with a secret.",
    access: SignedIn,
    audit: Refusals(&Action::UserRead),
    params: &[
        query("user", Shape::Text { min: 1, max: 64 }, "Those of this user. Needs `user.manage`, but for one's own."),
        query("all", Shape::Flag, "Those of all users. Needs `user.manage`."),
        LIMIT,
        CURSOR,
        BEFORE,
    ],
    answers: &[json(200, &[Content::Json("ApiTokenPage")], &[H::Link], "A page of tokens.")],
    problems: &[P::Forbidden, P::NotFound],
    ..PLAIN
};
static CREATE_TOKEN: Endpoint = Endpoint {
    id: "create_token",
    method: "POST",
    template: "/tokens",
    tag: TOKENS_TAG,
    summary: "Make an API token",
    text: "For oneself, signed in with a password, or with `user.manage` for a service account. The token stands in the \
           answer, once; only a hash of it is kept. It can do at most what its user may at the time of each request, less \
           what its scope leaves out. A token for some names has permissions about models alone, unless others are named \
           (`audit.read` is of the whole log). `user.manage` must be named to be in any, and is as good as being an admin: without it no \
           API token makes, lists, rotates or revokes any. There is no `Idempotency-Key` here: the answer can't be given \
           again. A user has at most 50 tokens.",
    access: SignedIn,
    audit: Always(&Action::TokenCreate),
    body: Body::Json("NewApiToken"),
    answers: &[json(201, &[Content::Json("ApiTokenMade")], &[H::Location, H::ETag, H::Logged], "The new token.")],
    problems: &[P::Forbidden, P::NotFound, P::Conflict],
    ..PLAIN
};
static SHOW_TOKEN: Endpoint = Endpoint {
    id: "show_token",
    template: "/tokens/{token}",
    tag: TOKENS_TAG,
    summary: "Show an API token",
    text: "One's own; with `user.manage` also those of others.",
    access: SignedIn,
    audit: Refusals(&Action::UserRead),
    params: &[IF_NONE_MATCH],
    answers: &[json(200, &[Content::Json("ApiToken")], &[H::ETag], "The token, without its secret."), NOT_MODIFIED],
    problems: &[P::Forbidden, P::NotFound],
    ..PLAIN
};
static REVOKE_TOKEN: Endpoint = Endpoint {
    id: "revoke_token",
    method: "DELETE",
    template: "/tokens/{token}",
    tag: TOKENS_TAG,
    summary: "Revoke an API token",
    text: "For good, and from the next request on. One's own; with `user.manage` also those of others.",
    access: SignedIn,
    audit: Always(&Action::TokenRevoke),
    params: &[IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Revoked.")],
    problems: &[P::Forbidden, P::NotFound],
    ..PLAIN
};
static ROTATE_TOKEN: Endpoint = Endpoint {
    id: "rotate_token",
    method: "POST",
    template: "/tokens/{token}/rotate",
    tag: TOKENS_TAG,
    summary: "Give an API token another secret",
    text: "Id, label and scope stay. The old secret ends at once, or is accepted beside the new one for as long as `overlap` \
           says, at most a week. The token lives as long again as it was made for, unless the body says otherwise. Whose it \
           must be is as for making one.",
    access: SignedIn,
    audit: Always(&Action::TokenRotate),
    params: &[IF_MATCH],
    body: Body::Json("RotateApiToken"),
    answers: &[json(200, &[Content::Json("ApiTokenMade")], &[H::ETag, H::Logged], "The token, with its new secret.")],
    problems: &[P::Forbidden, P::NotFound, P::Conflict],
};

// ---- webhooks -------------------------------------------------------------------------------------------------------

const WEBHOOK_SECRET: &[Content] = &[Content::Json("WebhookSecret")];
static LIST_WEBHOOKS: Endpoint = Endpoint {
    id: "list_webhooks",
    template: "/webhooks",
    tag: WEBHOOKS,
    summary: "List webhooks",
    text: "All of them, oldest first: there are 64 at most.",
    access: USERS,
    audit: Refusals(&Action::WebhookList),
    answers: &[json(200, &[Content::Json("WebhookPage")], &[], "The webhooks and how they are doing.")],
    ..PLAIN
};
static CREATE_WEBHOOK: Endpoint = Endpoint {
    id: "create_webhook",
    method: "POST",
    template: "/webhooks",
    tag: WEBHOOKS,
    summary: "Create a webhook",
    text: "Each entry of the audit log that fits, from here on, is posted to the address: in order, at least once, signed \
           as the Standard Webhooks specification says (`webhook-id`, `webhook-timestamp`, `webhook-signature`). The id \
           stays the same however often a message is sent, so that a receiver can pass over what it had. Only 200 to 299 \
           within 15 seconds says that it was taken; otherwise it is sent again after growing waits, and the webhook is \
           disabled when that went on for `MREG_WEBHOOK_GIVE_UP`, or at once with 410. `Retry-After` of 429 and 503 is \
           kept to, and redirects are not followed. Nothing is sent to private and other special addresses, unless \
           `MREG_WEBHOOK_ALLOW` says so.\n\nThe secret is shown this once.",
    access: USERS,
    audit: Always(&Action::WebhookCreate),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("NewWebhook"),
    answers: &[
        json(201, WEBHOOK_SECRET, &[H::Location, H::ETag, H::Logged], "The new webhook, with its secret."),
        json(200, WEBHOOK_SECRET, &[H::Location, H::ETag, H::Logged], "The answer to a repeated `Idempotency-Key`."),
    ],
    problems: &[P::Conflict],
};
static SHOW_WEBHOOK: Endpoint = Endpoint {
    id: "show_webhook",
    template: "/webhooks/{hook}",
    tag: WEBHOOKS,
    summary: "Show a webhook",
    text: "The entity tag is of what can be changed, and not of how far it has come.",
    access: USERS,
    audit: Refusals(&Action::WebhookRead),
    answers: &[json(200, &[Content::Json("Webhook")], &[H::ETag], "The webhook.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static PATCH_WEBHOOK: Endpoint = Endpoint {
    id: "patch_webhook",
    method: "PATCH",
    template: "/webhooks/{hook}",
    tag: WEBHOOKS,
    summary: "Change a webhook, or disable or enable it",
    text: "Enabled again, it goes on with the first entry that was not taken. Whatever is changed, what waits for another \
           attempt is tried at once.",
    access: USERS,
    audit: Always(&Action::WebhookUpdate),
    params: &[IF_MATCH],
    body: Body::Json("WebhookPatch"),
    answers: &[json(200, &[Content::Json("WebhookChanged")], &[H::ETag, H::Logged], "The webhook as it is now.")],
    problems: &[P::NotFound],
};
static DELETE_WEBHOOK: Endpoint = Endpoint {
    id: "delete_webhook",
    method: "DELETE",
    template: "/webhooks/{hook}",
    tag: WEBHOOKS,
    summary: "Delete a webhook",
    text: "For good. Nothing more is sent, not even what waits.",
    access: USERS,
    audit: Always(&Action::WebhookDelete),
    params: &[IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Deleted.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static TEST_WEBHOOK: Endpoint = Endpoint {
    id: "test_webhook",
    method: "POST",
    template: "/webhooks/{hook}/test",
    tag: WEBHOOKS,
    summary: "Send a test to a webhook's receiver",
    text: "A message of the type `webhook.test`, signed like any other, once, with 8 seconds of time. Where it is taken, \
           what waits for the same receiver is tried at once. Also of a webhook that is disabled.",
    access: USERS,
    audit: Always(&Action::WebhookTest),
    answers: &[json(200, &[Content::Json("WebhookTried")], &[H::Logged], "What became of it: `delivered` tells.")],
    problems: &[P::NotFound, P::Conflict, P::TooManyRequests],
    ..PLAIN
};
static ROTATE_WEBHOOK_SECRET: Endpoint = Endpoint {
    id: "rotate_webhook_secret",
    method: "POST",
    template: "/webhooks/{hook}/rotate-secret",
    tag: WEBHOOKS,
    summary: "Give a webhook a new secret",
    text: "For `overlap_seconds`, a day if nothing is said, messages carry two signatures, of the new secret and of the one \
           before, so that the receiver can change over at any time in between. The new secret is shown this once.",
    access: USERS,
    audit: Always(&Action::WebhookRotateSecret),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("WebhookRotate"),
    answers: &[json(200, WEBHOOK_SECRET, &[H::ETag, H::Logged], "The webhook, with its new secret.")],
    problems: &[P::NotFound, P::Conflict],
};
static REPLAY_WEBHOOK: Endpoint = Endpoint {
    id: "replay_webhook",
    method: "POST",
    template: "/webhooks/{hook}/replay",
    tag: WEBHOOKS,
    summary: "Say where in the log a webhook goes on",
    text: "All that fits from the entry `from` on is sent, also what was sent before, under the same ids; a receiver that \
           passes over what it had does so. With an index beyond what a receiver can't take, it is passed over.",
    access: USERS,
    audit: Always(&Action::WebhookReplay),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("WebhookReplay"),
    answers: &[json(200, &[Content::Json("WebhookChanged")], &[H::ETag, H::Logged], "The webhook as it is now.")],
    problems: &[P::NotFound],
};
static LIST_DELIVERIES: Endpoint = Endpoint {
    id: "list_deliveries",
    template: "/webhooks/{hook}/deliveries",
    tag: WEBHOOKS,
    summary: "List the newest attempts to deliver",
    text: "The newest 100 by this daemon, newest first, across restarts. Which entries there were, the audit log tells.",
    access: USERS,
    audit: Refusals(&Action::WebhookRead),
    answers: &[json(200, &[Content::Json("WebhookAttemptPage")], &[], "Attempts, also failed ones.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static REPLAY_DELIVERY: Endpoint = Endpoint {
    id: "replay_delivery",
    method: "POST",
    template: "/webhooks/{hook}/deliveries/{delivery}/replay",
    tag: WEBHOOKS,
    summary: "Send a message again",
    text: "Once, now, under the same id and with a new signature, with 8 seconds of time. The message may be older than the \
           list: any entry that fits the webhook has one, `msg_`, the webhook's id, `_`, the entry's index, `_` and the first 12 \
           hexadecimal digits of its leaf hash. Where the webhook goes on stays as it is.",
    access: USERS,
    audit: Always(&Action::WebhookReplay),
    answers: &[json(200, &[Content::Json("WebhookTried")], &[H::Logged], "What became of it: `delivered` tells.")],
    problems: &[P::NotFound, P::Conflict, P::TooManyRequests],
    ..PLAIN
};

// ---- resumable uploads ----------------------------------------------------------------------------------------------

const TUS_RESUMABLE: Param =
    header("Tus-Resumable", Shape::OneOf(&["1.0.0"]), "The version of the protocol. It must be sent, but to look.");
const UPLOAD_CHECKSUM: Param = header(
    "Upload-Checksum",
    Shape::Pattern("^(sha1|sha256) [A-Za-z0-9+/]+=*$"),
    "Algorithm, blank, and the base64 of the checksum of this request's octets; they are discarded where it differs.",
);
const LENGTH_MAX: u64 = common::audit::INTEGER_MAX;

const TUS_OPTIONS: [Success; 1] = [Success {
    status: 204,
    text: "The versions, extensions and checksums that are understood, and the largest upload.",
    content: &[],
    headers: &[H::Tus, H::TusOptions],
}];
static UPLOAD_OPTIONS: Endpoint = Endpoint {
    id: "upload_options",
    method: "OPTIONS",
    template: "/uploads",
    tag: UPLOADS,
    summary: "What is understood of the tus protocol",
    answers: &TUS_OPTIONS,
    ..PLAIN
};
static UPLOAD_OPTIONS_OF: Endpoint = Endpoint {
    id: "upload_options_of",
    method: "OPTIONS",
    template: "/uploads/{upload}",
    tag: UPLOADS,
    summary: "The same",
    answers: &TUS_OPTIONS,
    ..PLAIN
};
static LIST_UPLOADS: Endpoint = Endpoint {
    id: "list_uploads",
    template: "/uploads",
    tag: UPLOADS,
    summary: "One's own uploads that are not over",
    text: "Oldest first, all of them.",
    access: WRITE,
    audit: Refusals(&Action::ModelUpload),
    answers: &[json(200, &[Content::Json("UploadPage")], &[H::Tus], "The uploads.")],
    ..PLAIN
};
static CREATE_UPLOAD: Endpoint = Endpoint {
    id: "create_upload",
    method: "POST",
    template: "/uploads",
    tag: UPLOADS,
    summary: "Create a resumable upload",
    text: "tus 1.0.0, extensions creation, creation-defer-length and creation-with-upload: octets may come along, as \
           `application/offset+octet-stream`. Right, size, free space and your share (`MREG_UPLOADS_PER_USER`, \
           `MREG_UPLOAD_BYTES_PER_USER`) are judged before `100 Continue`. Of `Upload-Metadata` are understood `filename` (the artifact's path), `model` (its name) \
           and `sha256` (64 hex digits of the whole); other keys are given back. When all octets are there, `POST /models` \
           with `upload_id` makes a version of it. Nothing is recorded in the log until then, or until it is given up.",
    access: WRITE,
    audit: Refusals(&Action::ModelUpload),
    params: &[
        TUS_RESUMABLE,
        header("Upload-Length", Shape::Integer { min: 0, max: LENGTH_MAX, default: None }, "Octets of the whole."),
        header("Upload-Defer-Length", Shape::OneOf(&["1"]), "In place of `Upload-Length`, where that is said later."),
        header("Upload-Metadata", Shape::Text { min: 0, max: 8192 }, "Keys and base64 values, separated by commas."),
        UPLOAD_CHECKSUM,
    ],
    body: Body::Part,
    answers: &[json(
        201,
        &[Content::Json("UploadInfo")],
        &[H::Tus, H::Location, H::UploadOffset],
        "Created; `Location` is where its octets go.",
    )],
    problems: &[
        P::QuotaExceeded,
        P::RequestTimeout,
        P::Conflict,
        P::TusVersion,
        P::ContentTooLarge,
        P::UnsupportedMediaType,
        P::ChecksumMismatch,
        P::StorageFull,
    ],
};
static SHOW_UPLOAD: Endpoint = Endpoint {
    id: "show_upload",
    template: "/uploads/{upload}",
    tag: UPLOADS,
    summary: "How far an upload is",
    text: "By HEAD, as tus has it: `Upload-Offset` is how many octets are durable. GET tells the same as JSON. Uploads of others are not found.",
    access: WRITE,
    audit: Refusals(&Action::ModelUpload),
    params: &[TUS_RESUMABLE],
    answers: &[json(
        200,
        &[Content::Json("UploadInfo")],
        &[H::Tus, H::UploadOffset, H::UploadLength],
        "How far it is.",
    )],
    problems: &[P::NotFound, P::UploadGone, P::TusVersion],
    ..PLAIN
};
static APPEND_UPLOAD: Endpoint = Endpoint {
    id: "append_upload",
    method: "PATCH",
    template: "/uploads/{upload}",
    tag: UPLOADS,
    summary: "Append octets to an upload",
    text: "The answer comes when they are durable: an offset that was told is never lost, whatever happens to the daemon. Of \
           a request that is cut, what came is kept, but with `Upload-Checksum`, where all must come. A newer request takes \
           over from one that still runs.",
    access: WRITE,
    audit: Refusals(&Action::ModelUpload),
    params: &[
        TUS_RESUMABLE,
        Param {
            required: true,
            ..header(
                "Upload-Offset",
                Shape::Integer { min: 0, max: LENGTH_MAX, default: None },
                "Where the octets belong: the upload's offset.",
            )
        },
        header(
            "Upload-Length",
            Shape::Integer { min: 0, max: LENGTH_MAX, default: None },
            "Where it was deferred: octets of the whole.",
        ),
        UPLOAD_CHECKSUM,
    ],
    body: Body::Part,
    answers: &[Success { status: 204, text: "They are durable.", content: &[], headers: &[H::Tus, H::UploadOffset] }],
    problems: &[
        P::QuotaExceeded,
        P::NotFound,
        P::RequestTimeout,
        P::Conflict,
        P::UploadGone,
        P::TusVersion,
        P::ContentTooLarge,
        P::UnsupportedMediaType,
        P::UploadBusy,
        P::ChecksumMismatch,
        P::StorageFull,
    ],
};
static END_UPLOAD: Endpoint = Endpoint {
    id: "end_upload",
    method: "DELETE",
    template: "/uploads/{upload}",
    tag: UPLOADS,
    summary: "Give an upload up",
    text: "Its octets go. That is recorded, as is an upload that expires.",
    access: WRITE,
    audit: Refusals(&Action::ModelUpload),
    params: &[TUS_RESUMABLE],
    answers: &[Success { status: 204, text: "It is over.", content: &[], headers: &[H::Tus, H::Logged] }],
    problems: &[P::NotFound, P::UploadGone, P::TusVersion, P::UploadBusy],
    ..PLAIN
};

// ---- models ---------------------------------------------------------------------------------------------------------

/// Which models, and in what order.
const MODELS_WANTED: [Param; 14] = [
    query(
        "q",
        Shape::Text { min: 1, max: 200 },
        "Words that must all be in the name or the description, ignoring case; \
         several between double quotes are one.",
    ),
    query("tag", Shape::Patterns("^[^:]{1,64}:.{0,256}$"), "`key:value`; repeat it: all must be there."),
    query(
        "state",
        Shape::OneOf(&["available", "quarantined", "deprecated", "deleted"]),
        "State of the row. Without it, all but deleted models.",
    ),
    query("format", Shape::Pattern("^[a-z0-9._+-]{1,64}$"), "Format of the latest version, such as `safetensors`."),
    query(
        "params",
        Shape::Patterns(
            "^(>=|<=|>|<)? ?[0-9.]{1,20}([eE][+]?[0-9]{1,2})?[kKmMbBtT]?$|^[0-9.eEkKmMbBtT+]*[.][.][0-9.eEkKmMbBtT+]*$",
        ),
        "Parameters of the latest version: `>1e9`, `<=7B`, or a range such as `1e9..8e9`. `params%3E1e9` means the same as `params=%3E1e9`.",
    ),
    query(
        "dtype",
        Shape::Patterns("^[A-Za-z0-9._-]{1,64}$"),
        "An element type of the latest version, such as `BF16`; repeat it: all must be there.",
    ),
    query(
        "verdict",
        Shape::OneOf(&["clean", "suspicious", "unscannable", "malicious"]),
        "What the inspection of the latest version came to.",
    ),
    query("alias", Shape::Pattern("^[A-Za-z][A-Za-z0-9._-]{0,63}$"), "Models that have this alias."),
    query("uploader", Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), "Who published the latest version."),
    query("since", Shape::Time, "Changed at or after."),
    query(
        "rule",
        Shape::Pattern("^[a-z0-9._-]{1,128}([.][*])?$"),
        "A rule of inspection that found something in a version that is not deleted, such as `pickle.call`, or a family of rules such as `pickle.*`.",
    ),
    query(
        "license",
        Shape::Text { min: 1, max: 128 },
        "The licence of a version that is not deleted, whole and in any case, such as `apache-2.0`.",
    ),
    query(
        "not",
        Shape::Patterns("^(tag:[^:]{1,64}|state|verdict|format|alias|uploader):.{1,256}$"),
        "What models must not be, as `field:value`, such as `state:deprecated` or `tag:lang:de`; repeat it, at most 16 times: none may hold.",
    ),
    query(
        "sort",
        Shape::OneOf(&["name", "-name", "updated_at", "-updated_at", "created_at", "-created_at"]),
        "The order; `-` turns it round. Without it, by name.",
    ),
];
const LISTED: [Param; 16] = beside(MODELS_WANTED, [LIMIT, CURSOR, BEFORE]);
const CHANGED: [Param; 17] = beside(
    MODELS_WANTED,
    [
        query(
            "expected",
            Shape::Integer { min: 0, max: 100_000, default: None },
            "How many models are meant. If not as many match by now, nothing is done (409).",
        ),
        query(
            "set",
            Shape::Pattern("^[0-9a-fA-F]{64}$"),
            "Which they are: `set` of the answer that said how many. If others match by now, nothing is done (409).",
        ),
        query("dry_run", Shape::Flag, "Do nothing and only tell how many match, and which, in the last line."),
    ],
);
static LIST_MODELS: Endpoint = Endpoint {
    id: "list_models",
    template: "/models",
    tag: MODELS,
    summary: "List and search models",
    text: "One row per model, with its latest version.",
    access: READ,
    audit: Refusals(&Action::ModelList),
    params: &LISTED,
    answers: &[json(200, &[Content::Json("ModelPage")], &[H::Link], "A page of models.")],
    ..PLAIN
};
static DELETE_MODELS: Endpoint = Endpoint {
    id: "delete_models",
    method: "DELETE",
    template: "/models",
    tag: MODELS,
    summary: "Delete all models that match",
    text: "Restorably, each by its own entry of the audit log, as if it had been named alone. Which they are is fixed before \
           the first goes; at most 100 000. Whoever stops reading stops what is not under way yet, and whoever loses the right \
           loses it for those that are left. `expected` and `set` are the conditions here, and the same request again does no \
           harm: `If-Match` and `Idempotency-Key` are not for it.",
    access: DELETE,
    audit: Refusals(&Action::ModelDelete),
    params: &CHANGED,
    answers: &[BULK],
    problems: &[P::Conflict],
    ..PLAIN
};
static RESTORE_MODELS: Endpoint = Endpoint {
    id: "restore_models",
    method: "POST",
    template: "/models:restore",
    tag: MODELS,
    summary: "Undo the deletion of all models that match",
    text: "Of those that are deleted; else as `DELETE /models`.",
    access: DELETE,
    audit: Refusals(&Action::ModelRestore),
    params: &CHANGED,
    answers: &[BULK],
    problems: &[P::Conflict],
    ..PLAIN
};
const BULK: Success = Success {
    status: 200,
    text: "One JSON object a line, of one member: `done` `{id, name, log_index, restorable_until}`, `failed` `{id, name, type, \
           detail}`, and at the end `total` `{matched, done, failed, set}`. Without a total it was cut off, or the log failed in \
           the middle of one: what it doesn't tell of may have been changed or not. Empty lines only say that it goes on.",
    content: &[Content::Octets("application/x-ndjson")],
    headers: &[],
};
static PUBLISH: Endpoint = Endpoint {
    id: "publish",
    method: "POST",
    template: "/models",
    tag: MODELS,
    summary: "Publish a version of a model",
    text: "`curl -F file=@model.pkl` is enough: the name is the file's stem, the version the next number, the format what \
           the bytes say. Parts come in any order; several `file` parts make one version of several artifacts and keep \
           their folders. A file that came by a resumable upload is named by a part `upload_id`, which may be repeated, and \
           be beside `file` parts. Sending the same bytes again changes nothing and answers 200. Permission and size are \
           judged before `100 Continue`.",
    access: WRITE,
    audit: Always(&Action::ModelUpload),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Multipart("PublishForm"),
    answers: &PUBLISHED,
    problems: &UPLOAD_PROBLEMS,
};
static PUBLISH_FILE: Endpoint = Endpoint {
    id: "publish_file",
    method: "PUT",
    template: "/models/{name}/artifact",
    tag: MODELS,
    summary: "Publish a version of one file, the fastest way",
    text: "The body is the file: `curl -T model.gguf 'http://…/models/my-model/artifact?filename=model.gguf'`, with \
           `Content-Length` or chunked.",
    access: WRITE,
    audit: Always(&Action::ModelUpload),
    params: &[
        query("filename", Shape::Text { min: 1, max: 1024 }, "The artifact's path; the model's name without it."),
        query(
            "version",
            Shape::Integer { min: 1, max: 4_294_967_295, default: None },
            "The number the version must get.",
        ),
        query("description", Shape::Text { min: 0, max: 16_384 }, "What this version is."),
        query(
            "tags",
            Shape::Patterns("^[^:,]{1,64}:[^,]{0,256}(,[^:,]{1,64}:[^,]{0,256})*$"),
            "`k:v,k2:v2`, set on the model.",
        ),
        query("metadata", Shape::Text { min: 2, max: 65_536 }, "A JSON object of facts you claim."),
        query("alias", Shape::Pattern("^[A-Za-z][A-Za-z0-9._-]{0,63}$"), "An alias to point at the version."),
        query("sha256", Shape::Pattern("^(sha256:)?[0-9a-fA-F]{64}$"), "The digest the bytes must have."),
        query("force_new_version", Shape::Flag, "Make a version even if the latest has the same bytes."),
    ],
    body: Body::Octets,
    answers: &PUBLISHED,
    problems: &[
        P::QuotaExceeded,
        P::NotFound,
        P::RequestTimeout,
        P::Conflict,
        P::LengthRequired,
        P::ContentTooLarge,
        P::Invalid,
        P::DigestMismatch,
        P::TooManyRequests,
        P::StorageUnavailable,
        P::StorageFull,
    ],
};
static SHOW_MODEL: Endpoint = Endpoint {
    id: "show_model",
    template: "/models/{id}",
    tag: MODELS,
    summary: "Show a model",
    text: "With its aliases, its newest versions, and the version that the reference selects.\n\n`as_of` answers with the \
           entry of the audit log that set the alias and the proof that it is there; those who may read the log get the \
           entry itself, which is recorded; such an answer has no entity tag. An alias that was not set then is a 404 that names the \
           entry which cleared it.",
    access: READ,
    audit: Refusals(&Action::ModelRead),
    params: &[
        query("as_of", Shape::Time, "With `name@alias`: the version the alias pointed to at that time."),
        IF_NONE_MATCH,
    ],
    answers: &[json(200, &[Content::Json("ModelInfo")], &[H::ETag, H::Logged], "The model."), NOT_MODIFIED],
    problems: &[P::NotFound],
    ..PLAIN
};
static PATCH_MODEL: Endpoint = Endpoint {
    id: "patch_model",
    method: "PATCH",
    template: "/models/{id}",
    tag: MODELS,
    summary: "Change description, tags or owner",
    access: WRITE,
    audit: Always(&Action::ModelUpdate),
    params: &[IF_MATCH],
    body: Body::Json("ModelPatch"),
    answers: &[json(200, &[Content::Json("ModelChanged")], &[H::ETag, H::Logged], "The model as it is now.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static DELETE_MODEL: Endpoint = Endpoint {
    id: "delete_model",
    method: "DELETE",
    template: "/models/{id}",
    tag: MODELS,
    summary: "Delete a model",
    text: "It can be restored until `restorable_until`. With `purge=true` it is gone for good and its name is free; a \
           tombstone stays under its id.",
    access: DELETE,
    audit: Always(&Action::ModelDelete),
    params: &[PURGE, PURGE_REASON, IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Deleted.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static RESTORE_MODEL: Endpoint = Endpoint {
    id: "restore_model",
    method: "POST",
    template: "/models/{id}/restore",
    tag: MODELS,
    summary: "Undo the deletion of a model",
    access: DELETE,
    audit: Always(&Action::ModelRestore),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    answers: &[json(200, &[Content::Json("ModelChanged")], &[H::ETag, H::Logged], "The model as it is now.")],
    problems: &[P::NotFound, P::Conflict, P::IdempotencyKeyReused],
    ..PLAIN
};
static DOWNLOAD: Endpoint = Endpoint {
    id: "download",
    template: "/models/{id}/download",
    tag: MODELS,
    summary: "Fetch the version that the reference selects",
    text: "`name:3`, `name@alias`, else the latest available version. The entry of the audit log is written before the \
           first octet leaves.",
    access: READ,
    audit: Always(&Action::ModelDownload),
    params: &DOWNLOAD_PARAMS,
    answers: &DOWNLOAD_ANSWERS,
    problems: &[P::NotFound, P::ModelQuarantined, P::PreconditionFailed, P::RangeNotSatisfiable, P::StorageUnavailable],
    ..PLAIN
};

// ---- versions -------------------------------------------------------------------------------------------------------

static LIST_VERSIONS: Endpoint = Endpoint {
    id: "list_versions",
    template: "/models/{id}/versions",
    tag: VERSIONS,
    summary: "List the versions of a model",
    text: "Newest first.",
    access: READ,
    audit: Refusals(&Action::ModelRead),
    params: &PAGE,
    answers: &[json(200, &[Content::Json("VersionPage")], &[H::Link], "A page of versions.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static SHOW_VERSION: Endpoint = Endpoint {
    id: "show_version",
    template: "/models/{id}/versions/{v}",
    tag: VERSIONS,
    summary: "Show a version",
    access: READ,
    audit: Refusals(&Action::ModelRead),
    params: &[IF_NONE_MATCH],
    answers: &[json(200, &[Content::Json("VersionInfo")], &[H::ETag], "The version."), NOT_MODIFIED],
    problems: &[P::NotFound],
    ..PLAIN
};
static SHOW_CARD: Endpoint = Endpoint {
    id: "show_card",
    template: "/models/{id}/versions/{v}/card",
    tag: VERSIONS,
    summary: "Show a version's model card as text",
    text: "The README.md, MODEL_CARD.md, README.txt or README of its folder, at most the first 256 KiB. Characters that steer \
           a terminal or deceive a reader are spelled out. It is content: the entry of the audit log is written first.",
    access: READ,
    audit: Always(&Action::ModelDownload),
    answers: &[json(200, &[Content::Json("Card")], &[H::Logged], "The card.")],
    problems: &[P::NotFound, P::ModelQuarantined, P::StorageUnavailable],
    ..PLAIN
};
static PATCH_VERSION: Endpoint = Endpoint {
    id: "patch_version",
    method: "PATCH",
    template: "/models/{id}/versions/{v}",
    tag: VERSIONS,
    summary: "Change a version's description",
    access: WRITE,
    audit: Always(&Action::ModelUpdate),
    params: &[IF_MATCH],
    body: Body::Json("VersionPatch"),
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static DELETE_VERSION: Endpoint = Endpoint {
    id: "delete_version",
    method: "DELETE",
    template: "/models/{id}/versions/{v}",
    tag: VERSIONS,
    summary: "Delete a version",
    text: "It can be restored until `restorable_until`; with `purge=true` it is gone for good. The number is never given \
           again.",
    access: DELETE,
    audit: Always(&Action::ModelDelete),
    params: &[PURGE, PURGE_REASON, IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Deleted.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static RESTORE_VERSION: Endpoint = Endpoint {
    id: "restore_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/restore",
    tag: VERSIONS,
    summary: "Undo the deletion of a version",
    text: "It goes back to the state it had.",
    access: DELETE,
    audit: Always(&Action::ModelRestore),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict, P::IdempotencyKeyReused],
    ..PLAIN
};
static RELEASE_VERSION: Endpoint = Endpoint {
    id: "release_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/release",
    tag: VERSIONS,
    summary: "Release a version from quarantine",
    text: "Its findings stay; who released it, why, and over which findings is shown in `review` and in the audit log. A later \
           inspection that finds something new, or something graver, holds it again. What was blocked needs \
           `override_block`. Where `MREG_RELEASE_APPROVALS` asks for several people, all calls but the last only record an \
           approval (`model.approve`): the version stays as it is, and `GET …/review` says who approved. Approvals are void \
           once it is held anew or other things are found in it; the same person's second one is a 409.",
    access: MODERATE,
    audit: Always(&Action::ModelRelease),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    body: Body::Json("Release"),
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict],
};
static QUARANTINE_VERSION: Endpoint = Endpoint {
    id: "quarantine_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/quarantine",
    tag: VERSIONS,
    summary: "Hold a version back",
    text: "Its bytes are not handed out from the next request on.",
    access: MODERATE,
    audit: Always(&Action::ModelQuarantine),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    body: Body::Json("Reason"),
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict],
};
static BLOCK_VERSION: Endpoint = Endpoint {
    id: "block_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/block",
    tag: VERSIONS,
    summary: "Hold a version back for good",
    text: "Its bytes are not handed out from the next request on, and it is not offered for review any more. To release it \
           all the same takes `override_block`. A version that comes in later with one of its files is held, too.",
    access: MODERATE,
    audit: Always(&Action::ModelBlock),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    body: Body::Json("Reason"),
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict],
};
static RESCAN_VERSION: Endpoint = Endpoint {
    id: "rescan_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/rescan",
    tag: VERSIONS,
    summary: "Inspect a version anew",
    text: "The stored files are looked into again, with the rules of now; the answer comes when that is done. It may hold the \
           version, if there are findings that no release overruled. It never releases one: a version that is held and has \
           nothing found in it any more shows `cleared`, and waits for an admin.",
    access: WRITE,
    audit: Always(&Action::ModelRescan),
    params: &[IF_MATCH],
    body: Body::None,
    answers: &[json(200, &[Content::Json("Rescanned")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict, P::TooManyRequests, P::StorageUnavailable],
};
static SHOW_REVIEW: Endpoint = Endpoint {
    id: "show_review",
    template: "/models/{id}/versions/{v}/review",
    tag: VERSIONS,
    summary: "What helps to decide over a version",
    text: "What was noted of it while it was held, who approved its release and how many that takes, and how the rest of \
           what its sender published stands.",
    access: QUARANTINE,
    audit: Refusals(&Action::ModelRead),
    answers: &[json(200, &[Content::Json("ReviewInfo")], &[], "Notes, approvals, sender.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static ADD_NOTE: Endpoint = Endpoint {
    id: "add_note",
    method: "POST",
    template: "/models/{id}/versions/{v}/notes",
    tag: VERSIONS,
    summary: "Note something of a version that is held",
    text: "The text is kept with the version and in the audit log. Nothing of the version changes, nor its entity tag.",
    access: MODERATE,
    audit: Always(&Action::ModelNote),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("NewNote"),
    answers: &[json(201, &[Content::Json("NoteAdded")], &[H::Logged], "The note.")],
    problems: &[P::NotFound, P::Conflict],
};
static SHOW_EXCERPT: Endpoint = Endpoint {
    id: "show_excerpt",
    template: "/models/{id}/versions/{v}/excerpt",
    tag: VERSIONS,
    summary: "Octets round a finding in a version that is held",
    text: "At most 4096 octets, as hexadecimal digits in JSON, with the finding in the middle; those of a member of an \
           archive as they are once unpacked. Only places where something was found can be asked for. Each call is an entry \
           of the audit log, written before the answer.",
    access: MODERATE,
    audit: Always(&Action::ModelExamine),
    params: &[Param {
        required: true,
        ..query("where", Shape::Text { min: 0, max: 4096 }, "The place of a finding, as its `where` says it.")
    }],
    answers: &[json(200, &[Content::Json("Excerpt")], &[H::Logged], "The octets.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static LIST_QUARANTINE: Endpoint = Endpoint {
    id: "list_quarantine",
    template: "/quarantine",
    tag: VERSIONS,
    summary: "Versions that wait for a decision",
    text: "Those that are held, the longest held first, with what was found; release or block them. Where many are filtered, \
           `total` is null.",
    access: QUARANTINE,
    audit: Refusals(&Action::ModelList),
    params: &[
        query("blocked", Shape::Flag, "Those that were blocked for good instead."),
        query(
            "q",
            Shape::Text { min: 1, max: 200 },
            "Words that must all be in the model's name, ignoring case; several between double quotes are one.",
        ),
        query(
            "rule",
            Shape::Pattern("^[a-z0-9._-]{1,64}([.][*])?$"),
            "A rule that found something in it, such as `pickle.call`, or a family of rules such as `pickle.*`.",
        ),
        query(
            "verdict",
            Shape::OneOf(&["clean", "suspicious", "unscannable", "malicious"]),
            "What inspection came to.",
        ),
        query("sender", Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), "Who published it."),
        query(
            "not",
            Shape::Patterns("^(rule|verdict|sender):[A-Za-z0-9._*-]{1,66}$"),
            "What they must not be, as `field:value`, such as `verdict:suspicious` or `rule:pickle.*`; repeat it, at most 16 times: none may hold.",
        ),
        LIMIT,
        CURSOR,
        BEFORE,
    ],
    answers: &[json(200, &[Content::Json("QuarantinePage")], &[H::Link], "A page of versions.")],
    ..PLAIN
};
static LIST_SCAN_RULES: Endpoint = Endpoint {
    id: "list_scan_rules",
    template: "/scan/rules",
    tag: VERSIONS,
    summary: "The rules of inspection",
    text: "Each with its usual level and what it means; what the operator allows besides; and the id of the set, which every \
           verdict names.",
    access: SignedIn,
    answers: &[json(200, &[Content::Json("ScanRules")], &[], "All of them.")],
    ..PLAIN
};
static LIST_INGEST: Endpoint = Endpoint {
    id: "list_ingest",
    template: "/ingest",
    tag: INGEST_TAG,
    summary: "Items of the drop folder",
    text: "Of done and rejected items only the newest are kept here; the audit log and the receipts \
           beside the files have them all. `intake` tells of the folder as a whole, and is null where none is set.",
    access: READ,
    audit: Refusals(&Action::ModelList),
    params: &[
        query(
            "state",
            Shape::Patterns("^(seen|waiting|hashing|scanning|storing|done|quarantined|rejected|failed)$"),
            "In one of these states; repeatable.",
        ),
        query(
            "q",
            Shape::Text { min: 1, max: 200 },
            "Words that must all be in the path, ignoring case; several between double quotes are one.",
        ),
        query(
            "sort",
            Shape::OneOf(&["work", "-work", "path", "-path", "state_since", "-state_since"]),
            "The order; `-` turns it round. `work`, which it is without: at work first, then waiting, failed, rejected, done; \
             within these the longest there first, but for what is done: the newest first. `path` ignores case. \
             `state_since` is when an item came to its state.",
        ),
        LIMIT,
        CURSOR,
        BEFORE,
    ],
    answers: &[json(200, &[Content::Json("IngestPage")], &[H::Link], "A page of items.")],
    ..PLAIN
};
static SHOW_INGEST: Endpoint = Endpoint {
    id: "show_ingest",
    template: "/ingest/{item}",
    tag: INGEST_TAG,
    summary: "Show an item of the drop folder",
    access: READ,
    audit: Refusals(&Action::ModelRead),
    answers: &[json(200, &[Content::Json("IngestItem")], &[], "The item.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static RETRY_INGEST: Endpoint = Endpoint {
    id: "retry_ingest",
    method: "POST",
    template: "/ingest/{item}/retry",
    tag: INGEST_TAG,
    summary: "Try an item again at once",
    text: "One that failed, or was rejected and lies where it can be taken up again. What is under way or done can't be.",
    access: INGEST,
    audit: Always(&Action::IngestRetry),
    answers: &[json(200, &[Content::Json("IngestChanged")], &[H::Logged], "The item as it is now.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static DISCARD_INGEST: Endpoint = Endpoint {
    id: "discard_ingest",
    method: "POST",
    template: "/ingest/{item}/discard",
    tag: INGEST_TAG,
    summary: "Give an item up",
    text: "It goes to `rejected/`, beside the reason, and is not tried again; no file is deleted. One that lies there already \
           only leaves the list. What is under way or done can't be given up.",
    access: INGEST,
    audit: Always(&Action::IngestDiscard),
    body: Body::Json("Reason"),
    answers: &[json(200, &[Content::Json("IngestChanged")], &[H::Logged], "The item as it was at last.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static PAUSE_INGEST: Endpoint = Endpoint {
    id: "pause_ingest",
    method: "POST",
    template: "/ingest/pause",
    tag: INGEST_TAG,
    summary: "Take nothing more in",
    text: "What is under way ends. Files may still be dropped; they wait. It stays so over restarts, until it is resumed.",
    access: INGEST,
    audit: Always(&Action::IngestPause),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("Reason"),
    answers: &[json(200, &[Content::Json("IntakeChanged")], &[H::Logged], "The drop folder as it is now.")],
    problems: &[P::NotFound],
};
static RESUME_INGEST: Endpoint = Endpoint {
    id: "resume_ingest",
    method: "POST",
    template: "/ingest/resume",
    tag: INGEST_TAG,
    summary: "Take files in again",
    access: INGEST,
    audit: Always(&Action::IngestResume),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("IngestResume"),
    answers: &[json(200, &[Content::Json("IntakeChanged")], &[H::Logged], "The drop folder as it is now.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static DEPRECATE_VERSION: Endpoint = Endpoint {
    id: "deprecate_version",
    method: "POST",
    template: "/models/{id}/versions/{v}/deprecate",
    tag: VERSIONS,
    summary: "Advise against a version",
    text: "It is still handed out.",
    access: MODERATE,
    audit: Always(&Action::ModelDeprecate),
    params: &[IDEMPOTENCY_KEY, IF_MATCH],
    body: Body::Json("Reason"),
    answers: &[json(200, &[Content::Json("VersionChanged")], &[H::ETag, H::Logged], "The version as it is now.")],
    problems: &[P::NotFound, P::Conflict],
};
static DOWNLOAD_VERSION: Endpoint = Endpoint {
    id: "download_version",
    template: "/models/{id}/versions/{v}/download",
    tag: VERSIONS,
    summary: "Fetch a version",
    text: "The entry of the audit log is written before the first octet leaves.",
    access: READ,
    audit: Always(&Action::ModelDownload),
    params: &DOWNLOAD_PARAMS,
    answers: &DOWNLOAD_ANSWERS,
    problems: &[P::NotFound, P::ModelQuarantined, P::PreconditionFailed, P::RangeNotSatisfiable, P::StorageUnavailable],
    ..PLAIN
};
static DOWNLOAD_FILE: Endpoint = Endpoint {
    id: "download_file",
    template: "/models/{id}/versions/{v}/files/{path}",
    tag: VERSIONS,
    summary: "Fetch one file of a version",
    text: "The entry of the audit log is written before the first octet leaves.",
    access: READ,
    audit: Always(&Action::ModelDownload),
    params: &DOWNLOAD_PARAMS,
    answers: &DOWNLOAD_ANSWERS,
    problems: &[P::NotFound, P::ModelQuarantined, P::PreconditionFailed, P::RangeNotSatisfiable, P::StorageUnavailable],
    ..PLAIN
};

// ---- aliases --------------------------------------------------------------------------------------------------------

static SET_ALIAS: Endpoint = Endpoint {
    id: "set_alias",
    method: "PUT",
    template: "/models/{id}/aliases/{alias}",
    tag: ALIASES,
    summary: "Point an alias at a version",
    text: "One version holds it at a time. Protected aliases are moved by admins only.",
    access: WRITE,
    audit: Always(&Action::AliasSet),
    body: Body::Json("AliasSet"),
    answers: &[json(200, &[Content::Json("AliasChanged")], &[H::Logged], "Where it points now, and pointed before.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static CLEAR_ALIAS: Endpoint = Endpoint {
    id: "clear_alias",
    method: "DELETE",
    template: "/models/{id}/aliases/{alias}",
    tag: ALIASES,
    summary: "Take an alias away",
    text: "Its history stays.",
    access: WRITE,
    audit: Always(&Action::AliasClear),
    answers: &[json(200, &[Content::Json("AliasChanged")], &[H::Logged], "Where it pointed before.")],
    problems: &[P::NotFound, P::Conflict],
    ..PLAIN
};
static ALIAS_HISTORY: Endpoint = Endpoint {
    id: "alias_history",
    template: "/models/{id}/aliases/{alias}/history",
    tag: ALIASES,
    summary: "Where an alias pointed, and when",
    text: "Newest first.",
    access: READ,
    audit: Refusals(&Action::ModelRead),
    params: &ONWARD,
    answers: &[json(200, &[Content::Json("AliasEventPage")], &[H::Link], "A page of steps.")],
    problems: &[P::NotFound],
    ..PLAIN
};

// ---- audit ----------------------------------------------------------------------------------------------------------

static LIST_AUDIT: Endpoint = Endpoint {
    id: "list_audit",
    template: "/audit-logs",
    tag: AUDIT_TAG,
    summary: "Read or export the audit log",
    text: "Newest first. Reading is recorded too. `ndjson` and `csv` are streamed and hold every entry that matches, or \
           the first `limit` of them. `ndjson` has one row a line, as JSON pages have them. The columns of `csv` are \
           `index, ts, action, outcome, actor_id, actor_name, actor_kind, actor_role, target_kind, target_id, \
           target_version, target_digest, req_id, req_method, req_route, req_status, req_ip, req_ua, data, leaf_hash`; \
           a cell that a spreadsheet would take for a formula begins with `'`.",
    access: AUDIT,
    audit: Always(&Action::AuditRead),
    params: &[
        query("after", Shape::Integer { min: 0, max: u64::MAX, default: None }, "Only indices above."),
        query("before", Shape::Integer { min: 0, max: u64::MAX, default: None }, "Only indices below."),
        query("actor", Shape::Text { min: 1, max: 512 }, "Name or id of who did it."),
        query(
            "action",
            Shape::Pattern("^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)*(\\.\\*)?$"),
            "What was done, such as `model.upload`; `model.*` for all that begin so.",
        ),
        query("target", Shape::Text { min: 1, max: 512 }, "Id of what it was done to."),
        query("outcome", Shape::OneOf(&["ok", "denied", "error"]), "How it ended."),
        query("ip", Shape::Text { min: 1, max: 512 }, "The client's address, as it was logged."),
        query("since", Shape::Time, "At or after."),
        query("until", Shape::Time, "At or before."),
        query(
            "not",
            Shape::Patterns("^(actor|action|target|outcome|ip):.{1,512}$"),
            "What entries must not be, as `field:value`, such as `actor:watcher` or `action:model.*`; repeat it, at most 16 times: none may hold.",
        ),
        query(
            "format",
            Shape::OneOf(&["json", "ndjson", "csv"]),
            "The form of the answer; without it what `Accept` prefers, else `json`.",
        ),
        query(
            "limit",
            Shape::Integer { min: 1, max: 1000, default: None },
            "At most so many rows: on a page (50 without it), or in all of an export (no limit without it).",
        ),
        CURSOR,
    ],
    answers: &[json(
        200,
        &[
            Content::Json("AuditPage"),
            Content::Octets("application/x-ndjson"),
            Content::Octets("text/csv; charset=utf-8"),
        ],
        &[H::Link, H::Logged],
        "Entries.",
    )],
    problems: &[P::NotAcceptable],
    ..PLAIN
};

static SHOW_AUDIT_ENTRY: Endpoint = Endpoint {
    id: "show_audit_entry",
    template: "/audit-logs/{index}",
    tag: AUDIT_TAG,
    summary: "Read one entry with its receipt",
    text: "The receipt is made against the newest checkpoint. Reading is recorded too.",
    access: AUDIT,
    audit: Always(&Action::AuditRead),
    answers: &[json(200, &[Content::Json("AuditEntry")], &[H::Logged], "The entry and the proof that it is there.")],
    problems: &[P::NotFound],
    ..PLAIN
};

// ---- log ------------------------------------------------------------------------------------------------------------

const TEXT: Content = Content::Octets("text/plain; charset=utf-8");
const OCTETS: Content = Content::Octets("application/octet-stream");
/// Of what may be public or not.
const HASHES_PROBLEMS: [P; 5] =
    [P::NotFound, P::Unauthenticated, P::PasswordChangeRequired, P::SecondFactorEnrolment, P::TooManyRequests];

static LOG_CHECKPOINT: Endpoint = Endpoint {
    id: "log_checkpoint",
    template: "/log/checkpoint",
    tag: LOG_TAG,
    summary: "The newest published checkpoint",
    text: "A signed note (C2SP tlog-checkpoint): origin, size, root, signature.",
    access: Hashes,
    params: &[IF_NONE_MATCH],
    answers: &[Success { status: 200, text: "The note.", content: &[TEXT], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &HASHES_PROBLEMS,
    ..PLAIN
};
static LOG_WITNESSED: Endpoint = Endpoint {
    id: "log_checkpoint_witnessed",
    template: "/log/checkpoint.witnessed",
    tag: LOG_TAG,
    summary: "The newest checkpoint that enough witnesses cosigned",
    text: "The signed note with the cosignatures (C2SP tlog-cosignature) that meet the witness policy. Whoever holds it \
           knows that the witnesses saw this history and no other. 404 where no witness is asked, or none has cosigned yet.",
    access: Hashes,
    params: &[IF_NONE_MATCH],
    answers: &[Success { status: 200, text: "The note.", content: &[TEXT], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &HASHES_PROBLEMS,
    ..PLAIN
};
static LOG_TILE: Endpoint = Endpoint {
    id: "log_tile",
    template: "/log/tile/{level}/{tile}",
    tag: LOG_TAG,
    summary: "Hashes of the tree",
    text: "32 octets each: of level 0 the leaf hashes, of level l the roots of full tiles of level l − 1. Every width that \
           is published is there, and never changes.",
    access: Hashes,
    params: &[IF_NONE_MATCH],
    answers: &[Success { status: 200, text: "The hashes.", content: &[OCTETS], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &HASHES_PROBLEMS,
    ..PLAIN
};
static LOG_BUNDLE: Endpoint = Endpoint {
    id: "log_bundle",
    template: "/log/tile/entries/{tile}",
    tag: LOG_TAG,
    summary: "Entries in a bundle",
    text: "For each entry its length as uint16, big endian, and its exact octets. Reading is recorded, before the first \
           octet leaves.",
    access: AUDIT,
    audit: Always(&Action::AuditRead),
    answers: &[Success { status: 200, text: "The entries.", content: &[OCTETS], headers: &[H::Logged] }],
    problems: &[P::NotFound],
    ..PLAIN
};
static LOG_CONSISTENCY: Endpoint = Endpoint {
    id: "log_consistency",
    template: "/log/consistency/{old}/{new}",
    tag: LOG_TAG,
    summary: "Proof that the log only grew",
    text: "RFC 6962 §2.1.2, one hash in base64 a line; nothing where both sizes are the same.",
    access: Hashes,
    params: &[IF_NONE_MATCH],
    answers: &[Success { status: 200, text: "The proof.", content: &[TEXT], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &HASHES_PROBLEMS,
    ..PLAIN
};
static LOG_PROOF: Endpoint = Endpoint {
    id: "log_proof",
    template: "/log/proof/{index}",
    tag: LOG_TAG,
    summary: "Proof that an entry is in the log",
    text: "C2SP tlog-proof: index, inclusion proof, signed checkpoint. For those who may read the log, and for whoever \
           did what the entry says. It shows hashes alone, so only a refusal is recorded.",
    access: SignedIn,
    audit: Refusals(&Action::AuditRead),
    params: &[
        query(
            "size",
            Shape::Integer { min: 0, max: INDEX_MAX, default: None },
            "Prove it against the checkpoint of this earlier size, and not the newest.",
        ),
        IF_NONE_MATCH,
    ],
    answers: &[Success { status: 200, text: "The proof.", content: &[TEXT], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &[P::NotFound, P::Forbidden],
    ..PLAIN
};
static LOG_VKEYS: Endpoint = Endpoint {
    id: "log_vkeys",
    template: "/log/vkeys",
    tag: LOG_TAG,
    summary: "The keys of the checkpoints",
    text: "One a line. A convenience: a key that comes from where the log comes from proves nothing.",
    access: Hashes,
    params: &[IF_NONE_MATCH],
    answers: &[Success { status: 200, text: "The keys.", content: &[TEXT], headers: &[H::ETag] }, NOT_MODIFIED],
    problems: &HASHES_PROBLEMS,
    ..PLAIN
};

static ROTATE_LOG_KEY: Endpoint = Endpoint {
    id: "rotate_log_key",
    method: "POST",
    template: "/log/rotate-key",
    tag: AUDIT_TAG,
    summary: "Give the log a new signing key",
    text: "Checkpoints carry both keys' signatures for a while; then the old key is destroyed.",
    access: Operator,
    audit: Always(&Action::LogKeyRotate),
    body: Body::Json("RotateLogKey"),
    answers: &[json(200, &[Content::Json("LogKeyRotated")], &[H::Logged], "The log's name and keys from now on.")],
    problems: &[P::Conflict],
    ..PLAIN
};

static CHECK: Endpoint = Endpoint {
    id: "check",
    method: "POST",
    template: "/check",
    tag: AUDIT_TAG,
    summary: "Check everything that is stored",
    text: "One line a finding, as it is found, and a total at the end. Takes as long as reading all there is, at a low \
           priority; one runs at a time.",
    access: Operator,
    audit: Refusals(&Action::AuditRead),
    body: Body::Json("CheckRequest"),
    answers: &[Success {
        status: 200,
        text: "One JSON object a line, of one member: `progress` `{step, done, of}`, `failure` `{place, what}`, `remark` \
               `{what}`, and at the end `total`. Without a total it was cut off.",
        content: &[Content::Octets("application/x-ndjson")],
        headers: &[],
    }],
    problems: &[P::Conflict],
    ..PLAIN
};

// ---- quotas and retention -------------------------------------------------------------------------------------------

static SHOW_OWN_QUOTA: Endpoint = Endpoint {
    id: "show_own_quota",
    template: "/me/quota",
    tag: KEEPING,
    summary: "How much the caller may keep, and keeps",
    access: SignedIn,
    audit: Refusals(&Action::QuotaRead),
    answers: &[json(200, &[Content::Json("QuotaInfo")], &[], "The quota.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static LIST_QUOTAS: Endpoint = Endpoint {
    id: "list_quotas",
    template: "/quotas",
    tag: KEEPING,
    summary: "List quotas and what is used of them",
    text: "Namespaces by name, then users in the order of their creation: all of which something is kept, or for which a \
           quota was set.",
    access: USERS,
    audit: Refusals(&Action::QuotaRead),
    params: &ONWARD,
    answers: &[json(200, &[Content::Json("QuotaPage")], &[H::Link], "A page of quotas.")],
    ..PLAIN
};
static SHOW_QUOTA: Endpoint = Endpoint {
    id: "show_quota",
    template: "/quotas/{kind}/{account}",
    tag: KEEPING,
    summary: "How much somebody may keep, and keeps",
    access: USERS,
    audit: Refusals(&Action::QuotaRead),
    answers: &[json(200, &[Content::Json("QuotaInfo")], &[], "The quota.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static SET_QUOTA: Endpoint = Endpoint {
    id: "set_quota",
    method: "PUT",
    template: "/quotas/{kind}/{account}",
    tag: KEEPING,
    summary: "Set how much somebody may keep",
    text: "In place of the daemon's default, as a whole: what is absent has no limit. Nothing that is kept goes because of it; \
           a quota below what is used lets nothing in until something is purged.",
    access: USERS,
    audit: Always(&Action::QuotaSet),
    body: Body::Json("QuotaLimits"),
    answers: &[json(200, &[Content::Json("QuotaChanged")], &[H::Logged], "The quota as it is now.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static CLEAR_QUOTA: Endpoint = Endpoint {
    id: "clear_quota",
    method: "DELETE",
    template: "/quotas/{kind}/{account}",
    tag: KEEPING,
    summary: "Go back to the default",
    access: USERS,
    audit: Always(&Action::QuotaSet),
    answers: &[json(200, &[Content::Json("QuotaChanged")], &[H::Logged], "The quota as it is now.")],
    problems: &[P::NotFound],
    ..PLAIN
};

static LIST_RETENTION: Endpoint = Endpoint {
    id: "list_retention",
    template: "/retention",
    tag: KEEPING,
    summary: "List the rules by which versions go",
    access: DELETE,
    audit: Refusals(&Action::RetentionRead),
    answers: &[json(200, &[Content::Json("RetentionRulePage")], &[], "All rules, by name; there are 100 at most.")],
    ..PLAIN
};
static SHOW_RETENTION: Endpoint = Endpoint {
    id: "show_retention",
    template: "/retention/{rule}",
    tag: KEEPING,
    summary: "Show a rule, when it is carried out next, and what the last run came to",
    text: "The entity tag is of what the rule says, and not of its runs.",
    access: DELETE,
    audit: Refusals(&Action::RetentionRead),
    answers: &[json(200, &[Content::Json("RetentionRuleInfo")], &[H::ETag], "The rule.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static SET_RETENTION: Endpoint = Endpoint {
    id: "set_retention",
    method: "PUT",
    template: "/retention/{rule}",
    tag: KEEPING,
    summary: "Set a rule",
    text: "A new or changed rule does nothing by itself before `first_run_at` (`MREG_RETENTION_GRACE`), so that a mistake can \
           be seen in its preview. Never go, whatever it says: versions that an alias points to, the newest available \
           version of a model, versions blocked for good, and models with the tag `keep=true`.",
    access: DELETE,
    audit: Always(&Action::RetentionSet),
    params: &[IF_MATCH],
    body: Body::Json("RetentionRule"),
    answers: &[json(200, &[Content::Json("RetentionRuleChanged")], &[H::ETag, H::Logged], "The rule as it is now.")],
    problems: &[P::Conflict],
};
static DELETE_RETENTION: Endpoint = Endpoint {
    id: "delete_retention",
    method: "DELETE",
    template: "/retention/{rule}",
    tag: KEEPING,
    summary: "Remove a rule",
    text: "What went by it stays deleted, and can be restored as usual.",
    access: DELETE,
    audit: Always(&Action::RetentionDelete),
    params: &[IF_MATCH],
    answers: &[json(200, &[Content::Json("Deleted")], &[H::Logged], "Removed.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static PREVIEW_RETENTION: Endpoint = Endpoint {
    id: "preview_retention",
    template: "/retention/{rule}/preview",
    tag: KEEPING,
    summary: "What a rule would take",
    text: "Exactly what a run at this moment would: both are judged by the same function. A page may be short, even empty, \
           and yet have a next one.",
    access: DELETE,
    audit: Refusals(&Action::RetentionRead),
    params: &ONWARD,
    answers: &[json(200, &[Content::Json("RetentionPreview")], &[H::Link], "A page of versions.")],
    problems: &[P::NotFound],
    ..PLAIN
};
static PREVIEW_UNSAVED: Endpoint = Endpoint {
    id: "preview_unsaved",
    method: "POST",
    template: "/retention/preview",
    tag: KEEPING,
    summary: "What a rule would take that is not set",
    text: "As for a rule that is set; send the same body for the next page.",
    access: DELETE,
    audit: Refusals(&Action::RetentionRead),
    params: &ONWARD,
    body: Body::Json("RetentionRule"),
    answers: &[json(200, &[Content::Json("RetentionPreview")], &[H::Link], "A page of versions.")],
    ..PLAIN
};
static RUN_RETENTION: Endpoint = Endpoint {
    id: "run_retention",
    method: "POST",
    template: "/retention/{rule}/run",
    tag: KEEPING,
    summary: "Have a rule carried out at once",
    text: "Whatever the clock says, and whether the rule is enabled or not. The daemon that does the upkeep begins within \
           seconds; `last_run` of the rule tells when it has ended. One run takes 10 000 versions at most.",
    access: DELETE,
    audit: Always(&Action::RetentionRequest),
    params: &[IF_MATCH],
    answers: &[json(202, &[Content::Json("RetentionRuleChanged")], &[H::ETag, H::Logged], "It will be.")],
    problems: &[P::NotFound],
    ..PLAIN
};

static COLLECT: Endpoint = Endpoint {
    id: "collect",
    method: "POST",
    template: "/gc",
    tag: AUDIT_TAG,
    summary: "Remove stored bytes that nothing points to",
    text: "What crashes and failed removals left, while everything else goes on; and it is told what is missing. One line a \
           finding, as it is found, and a total at the end. One runs at a time, at a low priority.",
    access: Operator,
    audit: Refusals(&Action::BlobsCollect),
    body: Body::Json("GcRequest"),
    answers: &[Success {
        status: 200,
        text: "One JSON object a line, of one member: `progress` `{step, done}`, `orphan` `{digest, size, removed}`, `failure` \
               `{place, what}`, `remark` `{what}`, and at the end `total`. Without a total it was cut off.",
        content: &[Content::Octets("application/x-ndjson")],
        headers: &[],
    }],
    problems: &[P::Conflict],
    ..PLAIN
};

static HOLD_BACKUP: Endpoint = Endpoint {
    id: "hold_backup",
    method: "POST",
    template: "/backup/hold",
    tag: AUDIT_TAG,
    summary: "Name a checkpoint and keep all bytes that its records point to",
    text: "For `mregd backup`. It lasts as long as the answer is being read; whatever is deleted or purged meanwhile loses its \
           bytes afterwards.",
    access: Operator,
    audit: Refusals(&Action::BackupCreate),
    answers: &[Success {
        status: 200,
        text: "One JSON object, `{checkpoint, size, node, vkeys}`, on the first line; then empty lines until whoever asked \
               leaves.",
        content: &[Content::Octets("application/x-ndjson")],
        headers: &[],
    }],
    ..PLAIN
};

static REPORT_BACKUP: Endpoint = Endpoint {
    id: "report_backup",
    method: "POST",
    template: "/backup/report",
    tag: AUDIT_TAG,
    summary: "Record that a backup was made, or read whole",
    text: "For `mregd backup` and `mregd restore --verify`. One that is not of this log is refused.",
    access: Operator,
    audit: Always(&Action::BackupCreate),
    body: Body::Json("BackupReport"),
    answers: &[Success { status: 204, text: "It is in the log.", content: &[], headers: &[H::Logged] }],
    problems: &[P::Conflict],
    ..PLAIN
};

static STREAM_AUDIT: Endpoint = Endpoint {
    id: "stream_audit",
    template: "/audit-logs/stream",
    tag: AUDIT_TAG,
    summary: "Follow the audit log",
    text: "Server-sent events, oldest first, without gap or repetition:\n\n\
           - `entry`: `id` is the index, `data` the exact octets of the leaf in base64.\n\
           - `checkpoint`: `data` is the newest signed note, line by line, when all entries it covers have been sent; \
           at most four a second, and within a quarter of a second when there is nothing more to send.\n\
           - `bye`: `data` says why the stream ends: `expired` (the token), `revoked` (the session, or the right), \
           `stopping` (the daemon). Every other end is a cut.\n\n\
           Events of other names may be added; pass over what you don't know. A comment comes every 15 seconds. To go on \
           after a cut, send the last index as `Last-Event-ID`, as browsers do, or as `after`. Without either, the stream \
           begins behind the entry that `Mregd-Log-Index` names. Beginning and end of a stream are entries; a reader that \
           takes nothing for `MREG_BODY_IDLE_SECONDS` is cut. One user has at most 32 streams at once, all together 256.",
    access: AUDIT,
    audit: Always(&Action::AuditRead),
    params: &[
        query(
            "after",
            Shape::Integer { min: 0, max: u64::MAX, default: None },
            "Begin behind this index, which must be in the log.",
        ),
        header("Last-Event-ID", Shape::Pattern("^([0-9]{1,20})?$"), "The same; it wins over `after`."),
    ],
    answers: &[Success {
        status: 200,
        text: "Events, until one of the two ends it.",
        content: &[Content::Octets("text/event-stream")],
        headers: &[H::Logged],
    }],
    problems: &[P::NotAcceptable, P::Unavailable],
    ..PLAIN
};

static LOCATE_AUDIT: Endpoint = Endpoint {
    id: "locate_audit",
    template: "/audit-logs/position",
    tag: AUDIT_TAG,
    summary: "Find the entry of a time",
    text: "The index of the first entry that is not before `time`: what to ask `/audit-logs` for. It is looked for in \
           logarithmic time, for the times of entries never go down. It shows a number alone, so only a refusal is recorded.",
    access: AUDIT,
    audit: Refusals(&Action::AuditRead),
    params: &[Param { required: true, ..query("time", Shape::Time, "The time.") }],
    answers: &[json(200, &[Content::Json("AuditPosition")], &[], "Where it is.")],
    ..PLAIN
};

static ACKNOWLEDGE_ALARM: Endpoint = Endpoint {
    id: "acknowledge_alarm",
    method: "POST",
    template: "/audit-logs/acknowledge",
    tag: AUDIT_TAG,
    summary: "Say why an alarm about the log may go",
    text: "Whoever verifies the log, such as a console, may find that it is not what was signed. What was found, and why \
           a person lets it go on, becomes an entry. It changes nothing: what the log is, is shown by verifying it.",
    access: SignedIn,
    audit: Always(&Action::AuditAcknowledge),
    params: &[IDEMPOTENCY_KEY],
    body: Body::Json("AcknowledgeAlarm"),
    answers: &[json(200, &[Content::Json("AlarmAcknowledged")], &[H::Logged], "The proof that it was said.")],
    ..PLAIN
};

impl Route {
    /// Every endpoint, in reading order.
    pub const ALL: [&'static Endpoint; 118] = [
        &LOGIN,
        &REFRESH,
        &LOGOUT,
        &ME,
        &CHANGE_OWN_PASSWORD,
        &ENROL_TOTP,
        &CONFIRM_TOTP,
        &DISABLE_TOTP,
        &REGISTER,
        &LIST_MODELS,
        &DELETE_MODELS,
        &RESTORE_MODELS,
        &PUBLISH,
        &PUBLISH_FILE,
        &SHOW_MODEL,
        &PATCH_MODEL,
        &DELETE_MODEL,
        &RESTORE_MODEL,
        &DOWNLOAD,
        &LIST_VERSIONS,
        &SHOW_VERSION,
        &SHOW_CARD,
        &PATCH_VERSION,
        &DELETE_VERSION,
        &RESTORE_VERSION,
        &RELEASE_VERSION,
        &QUARANTINE_VERSION,
        &BLOCK_VERSION,
        &RESCAN_VERSION,
        &SHOW_REVIEW,
        &ADD_NOTE,
        &SHOW_EXCERPT,
        &DEPRECATE_VERSION,
        &DOWNLOAD_VERSION,
        &DOWNLOAD_FILE,
        &SET_ALIAS,
        &CLEAR_ALIAS,
        &ALIAS_HISTORY,
        &UPLOAD_OPTIONS,
        &LIST_UPLOADS,
        &CREATE_UPLOAD,
        &UPLOAD_OPTIONS_OF,
        &SHOW_UPLOAD,
        &APPEND_UPLOAD,
        &END_UPLOAD,
        &LIST_QUARANTINE,
        &LIST_SCAN_RULES,
        &LIST_INGEST,
        &SHOW_INGEST,
        &RETRY_INGEST,
        &DISCARD_INGEST,
        &PAUSE_INGEST,
        &RESUME_INGEST,
        &LIST_USERS,
        &SHOW_USER,
        &PATCH_USER,
        &DELETE_USER,
        &REVOKE_SESSIONS,
        &SET_PASSWORD,
        &RESET_TOTP,
        &LIST_ROLES,
        &LIST_TOKENS,
        &CREATE_TOKEN,
        &SHOW_TOKEN,
        &REVOKE_TOKEN,
        &ROTATE_TOKEN,
        &LIST_WEBHOOKS,
        &CREATE_WEBHOOK,
        &SHOW_WEBHOOK,
        &PATCH_WEBHOOK,
        &DELETE_WEBHOOK,
        &TEST_WEBHOOK,
        &ROTATE_WEBHOOK_SECRET,
        &REPLAY_WEBHOOK,
        &LIST_DELIVERIES,
        &REPLAY_DELIVERY,
        &SHOW_OWN_QUOTA,
        &LIST_QUOTAS,
        &SHOW_QUOTA,
        &SET_QUOTA,
        &CLEAR_QUOTA,
        &LIST_RETENTION,
        &SHOW_RETENTION,
        &SET_RETENTION,
        &DELETE_RETENTION,
        &PREVIEW_RETENTION,
        &PREVIEW_UNSAVED,
        &RUN_RETENTION,
        &LIST_AUDIT,
        &STREAM_AUDIT,
        &SHOW_AUDIT_ENTRY,
        &LOCATE_AUDIT,
        &ACKNOWLEDGE_ALARM,
        &LOG_CHECKPOINT,
        &LOG_WITNESSED,
        &LOG_TILE,
        &LOG_BUNDLE,
        &LOG_CONSISTENCY,
        &LOG_PROOF,
        &LOG_VKEYS,
        &ROTATE_LOG_KEY,
        &CHECK,
        &COLLECT,
        &HOLD_BACKUP,
        &REPORT_BACKUP,
        &INDEX,
        &LIVE,
        &READY,
        &METRICS,
        &BUILD_INFO,
        &STATUS,
        &OPENAPI,
        &DOCS,
        &DOCS_ASSET,
        &REDOC,
        &REDOC_ASSET,
        &PROBLEMS,
        &PROBLEM,
    ];

    /// What the route means.
    pub fn endpoint(&self) -> &'static Endpoint {
        match self {
            Self::Index => &INDEX,
            Self::Live => &LIVE,
            Self::Ready => &READY,
            Self::Metrics => &METRICS,
            Self::BuildInfo => &BUILD_INFO,
            Self::Status => &STATUS,
            Self::OpenApi => &OPENAPI,
            Self::Docs { asset } if asset.is_empty() => &DOCS,
            Self::Docs { .. } => &DOCS_ASSET,
            Self::Redoc { asset } if asset.is_empty() => &REDOC,
            Self::Redoc { .. } => &REDOC_ASSET,
            Self::Problems => &PROBLEMS,
            Self::Problem { .. } => &PROBLEM,
            Self::Login => &LOGIN,
            Self::Refresh => &REFRESH,
            Self::Logout => &LOGOUT,
            Self::Me => &ME,
            Self::ChangeOwnPassword => &CHANGE_OWN_PASSWORD,
            Self::EnrolTotp => &ENROL_TOTP,
            Self::ConfirmTotp => &CONFIRM_TOTP,
            Self::DisableTotp => &DISABLE_TOTP,
            Self::Register => &REGISTER,
            Self::ListRoles => &LIST_ROLES,
            Self::ListUsers => &LIST_USERS,
            Self::ShowUser { .. } => &SHOW_USER,
            Self::PatchUser { .. } => &PATCH_USER,
            Self::DeleteUser { .. } => &DELETE_USER,
            Self::RevokeSessions { .. } => &REVOKE_SESSIONS,
            Self::SetPassword { .. } => &SET_PASSWORD,
            Self::ResetTotp { .. } => &RESET_TOTP,
            Self::ListTokens => &LIST_TOKENS,
            Self::CreateToken => &CREATE_TOKEN,
            Self::ShowToken { .. } => &SHOW_TOKEN,
            Self::RevokeToken { .. } => &REVOKE_TOKEN,
            Self::RotateToken { .. } => &ROTATE_TOKEN,
            Self::ShowOwnQuota => &SHOW_OWN_QUOTA,
            Self::ListQuotas => &LIST_QUOTAS,
            Self::ShowQuota { .. } => &SHOW_QUOTA,
            Self::SetQuota { .. } => &SET_QUOTA,
            Self::ClearQuota { .. } => &CLEAR_QUOTA,
            Self::ListRetention => &LIST_RETENTION,
            Self::PreviewUnsaved => &PREVIEW_UNSAVED,
            Self::ShowRetention { .. } => &SHOW_RETENTION,
            Self::SetRetention { .. } => &SET_RETENTION,
            Self::DeleteRetention { .. } => &DELETE_RETENTION,
            Self::PreviewRetention { .. } => &PREVIEW_RETENTION,
            Self::RunRetention { .. } => &RUN_RETENTION,
            Self::ListModels => &LIST_MODELS,
            Self::DeleteModels => &DELETE_MODELS,
            Self::RestoreModels => &RESTORE_MODELS,
            Self::Publish => &PUBLISH,
            Self::PublishFile { .. } => &PUBLISH_FILE,
            Self::ShowModel { .. } => &SHOW_MODEL,
            Self::PatchModel { .. } => &PATCH_MODEL,
            Self::DeleteModel { .. } => &DELETE_MODEL,
            Self::RestoreModel { .. } => &RESTORE_MODEL,
            Self::Download { .. } => &DOWNLOAD,
            Self::ListVersions { .. } => &LIST_VERSIONS,
            Self::ShowVersion { .. } => &SHOW_VERSION,
            Self::ShowCard { .. } => &SHOW_CARD,
            Self::PatchVersion { .. } => &PATCH_VERSION,
            Self::DeleteVersion { .. } => &DELETE_VERSION,
            Self::RestoreVersion { .. } => &RESTORE_VERSION,
            Self::ReleaseVersion { .. } => &RELEASE_VERSION,
            Self::QuarantineVersion { .. } => &QUARANTINE_VERSION,
            Self::BlockVersion { .. } => &BLOCK_VERSION,
            Self::RescanVersion { .. } => &RESCAN_VERSION,
            Self::ShowReview { .. } => &SHOW_REVIEW,
            Self::AddNote { .. } => &ADD_NOTE,
            Self::ShowExcerpt { .. } => &SHOW_EXCERPT,
            Self::DeprecateVersion { .. } => &DEPRECATE_VERSION,
            Self::DownloadVersion { .. } => &DOWNLOAD_VERSION,
            Self::DownloadFile { .. } => &DOWNLOAD_FILE,
            Self::SetAlias { .. } => &SET_ALIAS,
            Self::ClearAlias { .. } => &CLEAR_ALIAS,
            Self::AliasHistory { .. } => &ALIAS_HISTORY,
            Self::ListQuarantine => &LIST_QUARANTINE,
            Self::ListScanRules => &LIST_SCAN_RULES,
            Self::UploadOptions => &UPLOAD_OPTIONS,
            Self::UploadOptionsOf { .. } => &UPLOAD_OPTIONS_OF,
            Self::ListUploads => &LIST_UPLOADS,
            Self::CreateUpload => &CREATE_UPLOAD,
            Self::ShowUpload { .. } => &SHOW_UPLOAD,
            Self::AppendUpload { .. } => &APPEND_UPLOAD,
            Self::EndUpload { .. } => &END_UPLOAD,
            Self::ListIngest => &LIST_INGEST,
            Self::ShowIngest { .. } => &SHOW_INGEST,
            Self::RetryIngest { .. } => &RETRY_INGEST,
            Self::DiscardIngest { .. } => &DISCARD_INGEST,
            Self::PauseIngest => &PAUSE_INGEST,
            Self::ResumeIngest => &RESUME_INGEST,
            Self::ListWebhooks => &LIST_WEBHOOKS,
            Self::CreateWebhook => &CREATE_WEBHOOK,
            Self::ShowWebhook { .. } => &SHOW_WEBHOOK,
            Self::PatchWebhook { .. } => &PATCH_WEBHOOK,
            Self::DeleteWebhook { .. } => &DELETE_WEBHOOK,
            Self::TestWebhook { .. } => &TEST_WEBHOOK,
            Self::RotateWebhookSecret { .. } => &ROTATE_WEBHOOK_SECRET,
            Self::ReplayWebhook { .. } => &REPLAY_WEBHOOK,
            Self::ListDeliveries { .. } => &LIST_DELIVERIES,
            Self::ReplayDelivery { .. } => &REPLAY_DELIVERY,
            Self::ListAudit => &LIST_AUDIT,
            Self::StreamAudit => &STREAM_AUDIT,
            Self::LocateAudit => &LOCATE_AUDIT,
            Self::AcknowledgeAlarm => &ACKNOWLEDGE_ALARM,
            Self::ShowAuditEntry { .. } => &SHOW_AUDIT_ENTRY,
            Self::LogCheckpoint => &LOG_CHECKPOINT,
            Self::LogWitnessed => &LOG_WITNESSED,
            Self::LogVkeys => &LOG_VKEYS,
            Self::LogTile { .. } => &LOG_TILE,
            Self::LogBundle { .. } => &LOG_BUNDLE,
            Self::LogConsistency { .. } => &LOG_CONSISTENCY,
            Self::LogProof { .. } => &LOG_PROOF,
            Self::RotateLogKey => &ROTATE_LOG_KEY,
            Self::Check => &CHECK,
            Self::Collect => &COLLECT,
            Self::HoldBackup => &HOLD_BACKUP,
            Self::ReportBackup => &REPORT_BACKUP,
        }
    }
}
