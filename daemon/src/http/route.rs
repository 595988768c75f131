//! The whole interface on one screen: [`Route`], the closed enum of all that can be asked, and [`parse`], which reads one
//! from a method and a path. What each route means to others (who may, what it answers, how it is recorded) is in
//! `route/table.rs`. Parameters are percent-decoded text: whether there is such a model is not known here, and a
//! reference that can't exist is answered like one that doesn't, with 404.

pub(crate) mod table;

use std::borrow::Cow;

use common::audit::{BundlePath, Target, TilePath, TilePathError, TileResource};
use http::Method;
use percent_encoding::percent_decode_str;
use thiserror::Error;

pub use table::{Access, Audit, Body, Content, Endpoint, Param, Place, ResponseHeader, Shape, Success};

/// One request's endpoint, with its parameters as the path gave them, percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `GET /`
    Index,
    /// `GET /livez`
    Live,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `GET /version`
    BuildInfo,
    /// `GET /status`
    Status,
    /// `GET /openapi.json`
    OpenApi,
    /// `GET /docs` and below; the asset is empty for the page itself.
    Docs {
        /// Path below `/docs`.
        asset: String,
    },
    /// `GET /redoc` and below; the asset is empty for the page itself.
    Redoc {
        /// Path below `/redoc`.
        asset: String,
    },
    /// `GET /problems`
    Problems,
    /// `GET /problems/{slug}`
    Problem {
        /// The problem type's slug.
        slug: String,
    },

    /// `POST /login`
    Login,
    /// `POST /token/refresh`
    Refresh,
    /// `POST /logout`
    Logout,
    /// `GET /me`
    Me,
    /// `POST /me/password`
    ChangeOwnPassword,
    /// `POST /me/totp`
    EnrolTotp,
    /// `POST /me/totp/confirm`
    ConfirmTotp,
    /// `POST /me/totp/disable`
    DisableTotp,
    /// `POST /register`
    Register,
    /// `GET /roles`
    ListRoles,
    /// `GET /users`
    ListUsers,
    /// `GET /users/{name}`
    ShowUser {
        /// User name.
        name: String,
    },
    /// `PATCH /users/{name}`
    PatchUser {
        /// User name.
        name: String,
    },
    /// `DELETE /users/{name}`
    DeleteUser {
        /// User name.
        name: String,
    },
    /// `POST /users/{name}/sessions/revoke`
    RevokeSessions {
        /// User name.
        name: String,
    },
    /// `POST /users/{name}/password`
    SetPassword {
        /// User name.
        name: String,
    },
    /// `POST /users/{name}/totp/reset`
    ResetTotp {
        /// User name.
        name: String,
    },

    /// `GET /tokens`
    ListTokens,
    /// `POST /tokens`
    CreateToken,
    /// `GET /tokens/{token}`
    ShowToken {
        /// Id of the API token.
        token: String,
    },
    /// `DELETE /tokens/{token}`
    RevokeToken {
        /// Id of the API token.
        token: String,
    },
    /// `POST /tokens/{token}/rotate`
    RotateToken {
        /// Id of the API token.
        token: String,
    },

    /// `GET /me/quota`
    ShowOwnQuota,
    /// `GET /quotas`
    ListQuotas,
    /// `GET /quotas/{kind}/{account}`
    ShowQuota {
        /// `users` or `namespaces`.
        kind: String,
        /// User name or namespace.
        account: String,
    },
    /// `PUT /quotas/{kind}/{account}`
    SetQuota {
        /// `users` or `namespaces`.
        kind: String,
        /// User name or namespace.
        account: String,
    },
    /// `DELETE /quotas/{kind}/{account}`
    ClearQuota {
        /// `users` or `namespaces`.
        kind: String,
        /// User name or namespace.
        account: String,
    },

    /// `GET /retention`
    ListRetention,
    /// `POST /retention/preview`
    PreviewUnsaved,
    /// `GET /retention/{rule}`
    ShowRetention {
        /// Name of the rule.
        rule: String,
    },
    /// `PUT /retention/{rule}`
    SetRetention {
        /// Name of the rule.
        rule: String,
    },
    /// `DELETE /retention/{rule}`
    DeleteRetention {
        /// Name of the rule.
        rule: String,
    },
    /// `GET /retention/{rule}/preview`
    PreviewRetention {
        /// Name of the rule.
        rule: String,
    },
    /// `POST /retention/{rule}/run`
    RunRetention {
        /// Name of the rule.
        rule: String,
    },

    /// `GET /models`
    ListModels,
    /// `DELETE /models`
    DeleteModels,
    /// `POST /models:restore`
    RestoreModels,
    /// `POST /models`
    Publish,
    /// `PUT /models/{name}/artifact`
    PublishFile {
        /// Model name.
        name: String,
    },
    /// `GET /models/{id}`
    ShowModel {
        /// Reference to a model or a version of it.
        model: String,
    },
    /// `PATCH /models/{id}`
    PatchModel {
        /// Reference to a model.
        model: String,
    },
    /// `DELETE /models/{id}`
    DeleteModel {
        /// Reference to a model.
        model: String,
    },
    /// `POST /models/{id}/restore`
    RestoreModel {
        /// Reference to a model.
        model: String,
    },
    /// `GET /models/{id}/download`
    Download {
        /// Reference to a model or a version of it.
        model: String,
    },
    /// `GET /models/{id}/versions`
    ListVersions {
        /// Reference to a model.
        model: String,
    },
    /// `GET /models/{id}/versions/{v}`
    ShowVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `GET /models/{id}/versions/{v}/card`
    ShowCard {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `PATCH /models/{id}/versions/{v}`
    PatchVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `DELETE /models/{id}/versions/{v}`
    DeleteVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/restore`
    RestoreVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/release`
    ReleaseVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/quarantine`
    QuarantineVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/block`
    BlockVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/rescan`
    RescanVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/deprecate`
    DeprecateVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `GET /models/{id}/versions/{v}/review`
    ShowReview {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `POST /models/{id}/versions/{v}/notes`
    AddNote {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `GET /models/{id}/versions/{v}/excerpt`
    ShowExcerpt {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `GET /models/{id}/versions/{v}/download`
    DownloadVersion {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
    },
    /// `GET /models/{id}/versions/{v}/files/{path}`
    DownloadFile {
        /// Reference to a model.
        model: String,
        /// Number of the version.
        version: String,
        /// Path of the artifact; its slashes may come encoded or not.
        path: String,
    },
    /// `PUT /models/{id}/aliases/{alias}`
    SetAlias {
        /// Reference to a model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// `DELETE /models/{id}/aliases/{alias}`
    ClearAlias {
        /// Reference to a model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// `GET /models/{id}/aliases/{alias}/history`
    AliasHistory {
        /// Reference to a model.
        model: String,
        /// The alias.
        alias: String,
    },

    /// `GET /quarantine`
    ListQuarantine,
    /// `GET /scan/rules`
    ListScanRules,

    /// `OPTIONS /uploads`
    UploadOptions,
    /// `OPTIONS /uploads/{upload}`
    UploadOptionsOf {
        /// Id of the upload, there or not.
        upload: String,
    },
    /// `GET /uploads`
    ListUploads,
    /// `POST /uploads`
    CreateUpload,
    /// `GET /uploads/{upload}`
    ShowUpload {
        /// Id of the upload.
        upload: String,
    },
    /// `PATCH /uploads/{upload}`
    AppendUpload {
        /// Id of the upload.
        upload: String,
    },
    /// `DELETE /uploads/{upload}`
    EndUpload {
        /// Id of the upload.
        upload: String,
    },

    /// `GET /ingest`
    ListIngest,
    /// `GET /ingest/{item}`
    ShowIngest {
        /// Id of the item.
        item: String,
    },
    /// `POST /ingest/{item}/retry`
    RetryIngest {
        /// Id of the item.
        item: String,
    },
    /// `POST /ingest/{item}/discard`
    DiscardIngest {
        /// Id of the item.
        item: String,
    },
    /// `POST /ingest/pause`
    PauseIngest,
    /// `POST /ingest/resume`
    ResumeIngest,

    /// `GET /webhooks`
    ListWebhooks,
    /// `POST /webhooks`
    CreateWebhook,
    /// `GET /webhooks/{hook}`
    ShowWebhook {
        /// Id of the webhook.
        hook: String,
    },
    /// `PATCH /webhooks/{hook}`
    PatchWebhook {
        /// Id of the webhook.
        hook: String,
    },
    /// `DELETE /webhooks/{hook}`
    DeleteWebhook {
        /// Id of the webhook.
        hook: String,
    },
    /// `POST /webhooks/{hook}/test`
    TestWebhook {
        /// Id of the webhook.
        hook: String,
    },
    /// `POST /webhooks/{hook}/rotate-secret`
    RotateWebhookSecret {
        /// Id of the webhook.
        hook: String,
    },
    /// `POST /webhooks/{hook}/replay`
    ReplayWebhook {
        /// Id of the webhook.
        hook: String,
    },
    /// `GET /webhooks/{hook}/deliveries`
    ListDeliveries {
        /// Id of the webhook.
        hook: String,
    },
    /// `POST /webhooks/{hook}/deliveries/{delivery}/replay`
    ReplayDelivery {
        /// Id of the webhook.
        hook: String,
        /// Id of the message.
        delivery: String,
    },

    /// `GET /audit-logs`
    ListAudit,
    /// `GET /audit-logs/{index}`
    ShowAuditEntry {
        /// Index of the entry.
        index: String,
    },
    /// `GET /log/checkpoint`
    LogCheckpoint,
    /// `GET /log/checkpoint.witnessed`
    LogWitnessed,
    /// `GET /log/vkeys`
    LogVkeys,
    /// `GET /log/tile/{level}/{tile}`
    LogTile {
        /// The tile.
        tile: TilePath,
    },
    /// `GET /log/tile/entries/{tile}`
    LogBundle {
        /// The bundle.
        bundle: BundlePath,
    },
    /// `GET /log/consistency/{old}/{new}`
    LogConsistency {
        /// The smaller size.
        old: String,
        /// The larger size.
        new: String,
    },
    /// `GET /log/proof/{index}`
    LogProof {
        /// Index of the entry.
        index: String,
    },
    /// `POST /log/rotate-key`
    RotateLogKey,
    /// `POST /check`
    Check,
    /// `POST /gc`
    Collect,
    /// `POST /backup/hold`
    HoldBackup,
    /// `POST /backup/report`
    ReportBackup,
    /// `GET /audit-logs/stream`
    StreamAudit,
    /// `GET /audit-logs/position`
    LocateAudit,
    /// `POST /audit-logs/acknowledge`
    AcknowledgeAlarm,
}

impl Route {
    /// What it acts on, as far as the path tells: for the entry of a request that fails before the registry knows better.
    pub fn target(&self) -> Target {
        let of_model = |model: &str| Target::new("model", bounded(model));
        let of_version = |model: &str, version: &str| Target {
            version: Some(bounded(version).to_owned()),
            ..Target::new("version", bounded(model))
        };
        match self {
            Self::ShowUser { name }
            | Self::PatchUser { name }
            | Self::DeleteUser { name }
            | Self::RevokeSessions { name }
            | Self::SetPassword { name }
            | Self::ResetTotp { name } => Target::new("user", bounded(name)),
            Self::Register
            | Self::ListUsers
            | Self::Me
            | Self::ChangeOwnPassword
            | Self::EnrolTotp
            | Self::ConfirmTotp
            | Self::DisableTotp => Target::new("user", ""),
            Self::ListTokens | Self::CreateToken => Target::new("token", ""),
            Self::ShowToken { token } | Self::RevokeToken { token } | Self::RotateToken { token } => {
                Target::new("token", bounded(token))
            }
            Self::Login | Self::Refresh | Self::Logout => Target::new("session", ""),
            Self::ListModels
            | Self::DeleteModels
            | Self::RestoreModels
            | Self::ListQuarantine
            | Self::Publish
            | Self::CreateUpload
            | Self::ListUploads => Target::new("model", ""),
            Self::ShowUpload { upload } | Self::AppendUpload { upload } | Self::EndUpload { upload } => {
                Target::new("upload", bounded(upload))
            }
            Self::ListQuotas | Self::ShowOwnQuota => Target::new("quota", ""),
            Self::ShowQuota { kind, account }
            | Self::SetQuota { kind, account }
            | Self::ClearQuota { kind, account } => {
                Target::new(if kind == "users" { "user" } else { "namespace" }, bounded(account))
            }
            Self::ListRetention | Self::PreviewUnsaved => Target::new("retention", ""),
            Self::ShowRetention { rule }
            | Self::SetRetention { rule }
            | Self::DeleteRetention { rule }
            | Self::PreviewRetention { rule }
            | Self::RunRetention { rule } => Target::new("retention", bounded(rule)),
            Self::ListIngest => Target::new("item", ""),
            Self::PublishFile { name } => of_model(name),
            Self::ShowModel { model }
            | Self::PatchModel { model }
            | Self::DeleteModel { model }
            | Self::RestoreModel { model }
            | Self::Download { model }
            | Self::ListVersions { model } => of_model(model),
            Self::ShowVersion { model, version }
            | Self::ShowCard { model, version }
            | Self::PatchVersion { model, version }
            | Self::DeleteVersion { model, version }
            | Self::RestoreVersion { model, version }
            | Self::ReleaseVersion { model, version }
            | Self::QuarantineVersion { model, version }
            | Self::BlockVersion { model, version }
            | Self::RescanVersion { model, version }
            | Self::DeprecateVersion { model, version }
            | Self::ShowReview { model, version }
            | Self::AddNote { model, version }
            | Self::ShowExcerpt { model, version }
            | Self::DownloadVersion { model, version }
            | Self::DownloadFile { model, version, path: _ } => of_version(model, version),
            Self::SetAlias { model, alias: _ }
            | Self::ClearAlias { model, alias: _ }
            | Self::AliasHistory { model, alias: _ } => Target::new("alias", bounded(model)),
            Self::ShowIngest { item } | Self::RetryIngest { item } | Self::DiscardIngest { item } => {
                Target::new("item", bounded(item))
            }
            Self::PauseIngest | Self::ResumeIngest => Target::new("intake", "drop"),
            Self::ListWebhooks | Self::CreateWebhook => Target::new("webhook", ""),
            Self::ShowWebhook { hook }
            | Self::PatchWebhook { hook }
            | Self::DeleteWebhook { hook }
            | Self::TestWebhook { hook }
            | Self::RotateWebhookSecret { hook }
            | Self::ReplayWebhook { hook }
            | Self::ListDeliveries { hook }
            | Self::ReplayDelivery { hook, delivery: _ } => Target::new("webhook", bounded(hook)),
            Self::ListAudit
            | Self::StreamAudit
            | Self::LocateAudit
            | Self::ShowAuditEntry { .. }
            | Self::LogBundle { .. }
            | Self::LogProof { .. } => Target::new("log", "entries"),
            Self::AcknowledgeAlarm | Self::RotateLogKey | Self::Check | Self::HoldBackup | Self::ReportBackup => {
                Target::new("log", "")
            }
            Self::Collect => Target::new("blobs", "all"),
            Self::Index
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::BuildInfo
            | Self::Status
            | Self::OpenApi
            | Self::Docs { .. }
            | Self::Redoc { .. }
            | Self::Problems
            | Self::Problem { .. }
            | Self::ListRoles
            | Self::ListScanRules
            | Self::UploadOptions
            | Self::UploadOptionsOf { .. }
            | Self::LogCheckpoint
            | Self::LogWitnessed
            | Self::LogVkeys
            | Self::LogTile { .. }
            | Self::LogConsistency { .. } => Target::new("service", ""),
        }
    }
}

/// Octets of a path's parameter that an entry keeps; the rest says nothing about what can exist.
const TARGET_OCTETS_MAX: usize = 256;

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TARGET_OCTETS_MAX)]
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RouteError {
    /// No such path: 404.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path exists, but not with this method: 405 with `Allow` (RFC 9110 §15.5.6).
    #[error("the resource doesn't know this method, only {allow}")]
    MethodNotAllowed {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// The path's percent-encoding is broken or isn't UTF-8: 400.
    #[error("the path is not valid percent-encoded UTF-8")]
    Malformed,
}

/// Reads a route. The path is the raw one of the request line, without its query. It is split first and decoded after, so
/// `team%2Fmodel` is one segment. One trailing slash is accepted. HEAD is GET here.
///
/// Below `/log/tile/` nothing of that holds: a tile has one address, in canonical form (audit-log.md §4), so that caches
/// and copies can't disagree about it.
pub fn parse(method: &Method, path: &str) -> Result<Route, RouteError> {
    if let Some(tile) = path.strip_prefix("/log/").filter(|below| below.starts_with("tile/")) {
        return self::tile(method, tile);
    }
    let decoded = split(path)?;
    let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let own = |text: &&str| String::from(*text);
    let allow = |allow| Err(RouteError::MethodNotAllowed { allow });

    Ok(match (segments.as_slice(), method) {
        ([], "GET") => Route::Index,
        (["livez"], "GET") => Route::Live,
        (["readyz"], "GET") => Route::Ready,
        (["metrics"], "GET") => Route::Metrics,
        (["version"], "GET") => Route::BuildInfo,
        (["status"], "GET") => Route::Status,
        (["openapi.json"], "GET") => Route::OpenApi,
        (["docs", asset @ ..], "GET") => Route::Docs { asset: asset.join("/") },
        (["redoc", asset @ ..], "GET") => Route::Redoc { asset: asset.join("/") },
        (["problems"], "GET") => Route::Problems,
        (["problems", slug], "GET") => Route::Problem { slug: own(slug) },
        ([] | ["livez" | "readyz" | "metrics" | "version" | "status" | "openapi.json"], _) => {
            return allow("GET, HEAD");
        }
        (["docs" | "redoc", ..] | ["problems"] | ["problems", _], _) => return allow("GET, HEAD"),

        (["login"], "POST") => Route::Login,
        (["token", "refresh"], "POST") => Route::Refresh,
        (["logout"], "POST") => Route::Logout,
        (["register"], "POST") => Route::Register,
        (["me", "password"], "POST") => Route::ChangeOwnPassword,
        (["me", "totp"], "POST") => Route::EnrolTotp,
        (["me", "totp", "confirm"], "POST") => Route::ConfirmTotp,
        (["me", "totp", "disable"], "POST") => Route::DisableTotp,
        (["login" | "logout" | "register"] | ["token", "refresh"] | ["me", "password"], _) => return allow("POST"),
        (["me", "totp"] | ["me", "totp", "confirm" | "disable"], _) => return allow("POST"),
        (["me", "quota"], "GET") => Route::ShowOwnQuota,
        (["me", "quota"], _) => return allow("GET, HEAD"),
        (["quotas"], "GET") => Route::ListQuotas,
        (["quotas"], _) => return allow("GET, HEAD"),
        (["quotas", kind, account], "GET") => Route::ShowQuota { kind: own(kind), account: own(account) },
        (["quotas", kind, account], "PUT") => Route::SetQuota { kind: own(kind), account: own(account) },
        (["quotas", kind, account], "DELETE") => Route::ClearQuota { kind: own(kind), account: own(account) },
        (["quotas", _, _], _) => return allow("GET, HEAD, PUT, DELETE"),

        (["retention"], "GET") => Route::ListRetention,
        (["retention"], _) => return allow("GET, HEAD"),
        (["retention", "preview"], "POST") => Route::PreviewUnsaved,
        (["retention", "preview"], _) => return allow("POST"),
        (["retention", rule], "GET") => Route::ShowRetention { rule: own(rule) },
        (["retention", rule], "PUT") => Route::SetRetention { rule: own(rule) },
        (["retention", rule], "DELETE") => Route::DeleteRetention { rule: own(rule) },
        (["retention", _], _) => return allow("GET, HEAD, PUT, DELETE"),
        (["retention", rule, "preview"], "GET") => Route::PreviewRetention { rule: own(rule) },
        (["retention", _, "preview"], _) => return allow("GET, HEAD"),
        (["retention", rule, "run"], "POST") => Route::RunRetention { rule: own(rule) },
        (["retention", _, "run"], _) => return allow("POST"),

        (["me"], "GET") => Route::Me,
        (["roles"], "GET") => Route::ListRoles,
        (["users"], "GET") => Route::ListUsers,
        (["me" | "roles" | "users"], _) => return allow("GET, HEAD"),

        (["users", name], "GET") => Route::ShowUser { name: own(name) },
        (["users", name], "PATCH") => Route::PatchUser { name: own(name) },
        (["users", name], "DELETE") => Route::DeleteUser { name: own(name) },
        (["users", _], _) => return allow("GET, HEAD, PATCH, DELETE"),
        (["users", name, "sessions", "revoke"], "POST") => Route::RevokeSessions { name: own(name) },
        (["users", name, "password"], "POST") => Route::SetPassword { name: own(name) },
        (["users", name, "totp", "reset"], "POST") => Route::ResetTotp { name: own(name) },
        (["users", _, "sessions", "revoke"] | ["users", _, "password"] | ["users", _, "totp", "reset"], _) => {
            return allow("POST");
        }

        (["tokens"], "GET") => Route::ListTokens,
        (["tokens"], "POST") => Route::CreateToken,
        (["tokens"], _) => return allow("GET, HEAD, POST"),
        (["tokens", token], "GET") => Route::ShowToken { token: own(token) },
        (["tokens", token], "DELETE") => Route::RevokeToken { token: own(token) },
        (["tokens", _], _) => return allow("GET, HEAD, DELETE"),
        (["tokens", token, "rotate"], "POST") => Route::RotateToken { token: own(token) },
        (["tokens", _, "rotate"], _) => return allow("POST"),

        (["webhooks"], "GET") => Route::ListWebhooks,
        (["webhooks"], "POST") => Route::CreateWebhook,
        (["webhooks"], _) => return allow("GET, HEAD, POST"),
        (["webhooks", hook], "GET") => Route::ShowWebhook { hook: own(hook) },
        (["webhooks", hook], "PATCH") => Route::PatchWebhook { hook: own(hook) },
        (["webhooks", hook], "DELETE") => Route::DeleteWebhook { hook: own(hook) },
        (["webhooks", _], _) => return allow("GET, HEAD, PATCH, DELETE"),
        (["webhooks", hook, "test"], "POST") => Route::TestWebhook { hook: own(hook) },
        (["webhooks", hook, "rotate-secret"], "POST") => Route::RotateWebhookSecret { hook: own(hook) },
        (["webhooks", hook, "replay"], "POST") => Route::ReplayWebhook { hook: own(hook) },
        (["webhooks", _, "test" | "rotate-secret" | "replay"], _) => return allow("POST"),
        (["webhooks", hook, "deliveries"], "GET") => Route::ListDeliveries { hook: own(hook) },
        (["webhooks", _, "deliveries"], _) => return allow("GET, HEAD"),
        (["webhooks", hook, "deliveries", delivery, "replay"], "POST") => {
            Route::ReplayDelivery { hook: own(hook), delivery: own(delivery) }
        }
        (["webhooks", _, "deliveries", _, "replay"], _) => return allow("POST"),

        (["models"], "GET") => Route::ListModels,
        (["models"], "POST") => Route::Publish,
        (["models"], "DELETE") => Route::DeleteModels,
        (["models"], _) => return allow("GET, HEAD, POST, DELETE"),
        (["models:restore"], "POST") => Route::RestoreModels,
        (["models:restore"], _) => return allow("POST"),
        (["models", model], "GET") => Route::ShowModel { model: own(model) },
        (["models", model], "PATCH") => Route::PatchModel { model: own(model) },
        (["models", model], "DELETE") => Route::DeleteModel { model: own(model) },
        (["models", _], _) => return allow("GET, HEAD, PATCH, DELETE"),
        (["models", name, "artifact"], "PUT") => Route::PublishFile { name: own(name) },
        (["models", _, "artifact"], _) => return allow("PUT"),
        (["models", model, "restore"], "POST") => Route::RestoreModel { model: own(model) },
        (["models", _, "restore"], _) => return allow("POST"),
        (["models", model, "download"], "GET") => Route::Download { model: own(model) },
        (["models", model, "versions"], "GET") => Route::ListVersions { model: own(model) },
        (["models", _, "download" | "versions"], _) => return allow("GET, HEAD"),

        (["models", model, "versions", v], "GET") => Route::ShowVersion { model: own(model), version: own(v) },
        (["models", model, "versions", v], "PATCH") => Route::PatchVersion { model: own(model), version: own(v) },
        (["models", model, "versions", v], "DELETE") => Route::DeleteVersion { model: own(model), version: own(v) },
        (["models", _, "versions", _], _) => return allow("GET, HEAD, PATCH, DELETE"),
        (
            [
                "models",
                model,
                "versions",
                v,
                verb @ ("restore" | "release" | "quarantine" | "block" | "rescan" | "deprecate"),
            ],
            "POST",
        ) => {
            let (model, version) = (own(model), own(v));
            match *verb {
                "restore" => Route::RestoreVersion { model, version },
                "release" => Route::ReleaseVersion { model, version },
                "quarantine" => Route::QuarantineVersion { model, version },
                "block" => Route::BlockVersion { model, version },
                "rescan" => Route::RescanVersion { model, version },
                _deprecate => Route::DeprecateVersion { model, version },
            }
        }
        (["models", _, "versions", _, "restore" | "release" | "quarantine" | "block" | "rescan" | "deprecate"], _) => {
            return allow("POST");
        }
        (["models", model, "versions", v, "notes"], "POST") => Route::AddNote { model: own(model), version: own(v) },
        (["models", _, "versions", _, "notes"], _) => return allow("POST"),
        (["models", model, "versions", v, "review"], "GET") => Route::ShowReview { model: own(model), version: own(v) },
        (["models", model, "versions", v, "excerpt"], "GET") => {
            Route::ShowExcerpt { model: own(model), version: own(v) }
        }
        (["models", model, "versions", v, "card"], "GET") => Route::ShowCard { model: own(model), version: own(v) },
        (["models", model, "versions", v, "download"], "GET") => {
            Route::DownloadVersion { model: own(model), version: own(v) }
        }
        (["models", model, "versions", v, "files", path @ ..], "GET") if !path.is_empty() => {
            Route::DownloadFile { model: own(model), version: own(v), path: path.join("/") }
        }
        (
            ["models", _, "versions", _, "download" | "card" | "review" | "excerpt"]
            | ["models", _, "versions", _, "files", _, ..],
            _,
        ) => {
            return allow("GET, HEAD");
        }

        (["models", model, "aliases", alias], "PUT") => Route::SetAlias { model: own(model), alias: own(alias) },
        (["models", model, "aliases", alias], "DELETE") => Route::ClearAlias { model: own(model), alias: own(alias) },
        (["models", _, "aliases", _], _) => return allow("PUT, DELETE"),
        (["models", model, "aliases", alias, "history"], "GET") => {
            Route::AliasHistory { model: own(model), alias: own(alias) }
        }
        (["models", _, "aliases", _, "history"], _) => return allow("GET, HEAD"),

        (["quarantine"], "GET") => Route::ListQuarantine,
        (["scan", "rules"], "GET") => Route::ListScanRules,
        (["quarantine"] | ["scan", "rules"], _) => return allow("GET, HEAD"),

        (["uploads"], "OPTIONS") => Route::UploadOptions,
        (["uploads"], "GET") => Route::ListUploads,
        (["uploads"], "POST") => Route::CreateUpload,
        (["uploads"], _) => return allow("OPTIONS, GET, HEAD, POST"),
        (["uploads", upload], "OPTIONS") => Route::UploadOptionsOf { upload: own(upload) },
        (["uploads", upload], "GET") => Route::ShowUpload { upload: own(upload) },
        (["uploads", upload], "PATCH") => Route::AppendUpload { upload: own(upload) },
        (["uploads", upload], "DELETE") => Route::EndUpload { upload: own(upload) },
        (["uploads", _], _) => return allow("OPTIONS, GET, HEAD, PATCH, DELETE"),

        (["ingest"], "GET") => Route::ListIngest,
        (["ingest"], _) => return allow("GET, HEAD"),
        (["ingest", "pause"], "POST") => Route::PauseIngest,
        (["ingest", "resume"], "POST") => Route::ResumeIngest,
        (["ingest", "pause" | "resume"], _) => return allow("POST"),
        (["ingest", item], "GET") => Route::ShowIngest { item: own(item) },
        (["ingest", _], _) => return allow("GET, HEAD"),
        (["ingest", item, "retry"], "POST") => Route::RetryIngest { item: own(item) },
        (["ingest", item, "discard"], "POST") => Route::DiscardIngest { item: own(item) },
        (["ingest", _, "retry" | "discard"], _) => return allow("POST"),

        (["audit-logs"], "GET") => Route::ListAudit,
        (["audit-logs", "stream"], "GET") => Route::StreamAudit,
        (["audit-logs", "position"], "GET") => Route::LocateAudit,
        (["audit-logs", "acknowledge"], "POST") => Route::AcknowledgeAlarm,
        (["audit-logs", "acknowledge"], _) => return allow("POST"),
        (["audit-logs", index], "GET") => Route::ShowAuditEntry { index: own(index) },
        (["log", "checkpoint"], "GET") => Route::LogCheckpoint,
        (["log", "checkpoint.witnessed"], "GET") => Route::LogWitnessed,
        (["log", "vkeys"], "GET") => Route::LogVkeys,
        (["log", "consistency", old, new], "GET") => Route::LogConsistency { old: own(old), new: own(new) },
        (["log", "proof", index], "GET") => Route::LogProof { index: own(index) },
        (["audit-logs"] | ["audit-logs", _], _) => return allow("GET, HEAD"),
        (
            ["log", "checkpoint" | "checkpoint.witnessed" | "vkeys"]
            | ["log", "consistency", _, _]
            | ["log", "proof", _],
            _,
        ) => {
            return allow("GET, HEAD");
        }
        (["log", "rotate-key"], "POST") => Route::RotateLogKey,
        (["check"], "POST") => Route::Check,
        (["gc"], "POST") => Route::Collect,
        (["backup", "hold"], "POST") => Route::HoldBackup,
        (["backup", "report"], "POST") => Route::ReportBackup,
        (["log", "rotate-key"] | ["check"] | ["gc"] | ["backup", "hold" | "report"], _) => return allow("POST"),

        _ => return Err(RouteError::NotFound),
    })
}

/// Reads the route of a path below `/log/`, from `tile/` on.
fn tile(method: &Method, path: &str) -> Result<Route, RouteError> {
    let resource: TileResource = path.parse().map_err(|_no_tile: TilePathError| RouteError::NotFound)?;
    if method != Method::GET && method != Method::HEAD {
        return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" });
    }
    Ok(match resource {
        TileResource::Hashes(tile) => Route::LogTile { tile },
        TileResource::Entries(bundle) => Route::LogBundle { bundle },
    })
}

/// The segments of a path, percent-decoded. None for `/`.
fn split(path: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    // `*` and absolute forms have no leading slash left by now, or never had a path: nothing is there.
    let path = path.strip_prefix('/').ok_or(RouteError::NotFound)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/').map(decode).collect()
}

/// Strict where the crate is lenient: a `%` without two hex digits is an error and not itself.
fn decode(segment: &str) -> Result<Cow<'_, str>, RouteError> {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|octet| *octet == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            Some(_) | None => return Err(RouteError::Malformed),
        }
    }
    percent_decode_str(segment).decode_utf8().map_err(|_not_utf8: std::str::Utf8Error| RouteError::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::{BTreeMap, BTreeSet};

    use http::Method;
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::{Route, RouteError, parse};

    fn get(path: &str) -> Result<Route, RouteError> {
        parse(&Method::GET, path)
    }

    /// A path of an endpoint, with something in its braces.
    fn sample(template: &str) -> String {
        template.replace("{level}", "0").replace("{tile}", "x001/067").replace(['{', '}'], "")
    }

    #[test]
    fn every_endpoint_is_reached_by_its_template() {
        for endpoint in Route::ALL {
            let method: Method = endpoint.method.parse().unwrap();
            let path = sample(endpoint.template);
            for path in [path.clone(), format!("{path}/")] {
                if path == "//" {
                    continue;
                }
                if endpoint.template.starts_with("/log/tile/") && path.ends_with('/') {
                    assert_eq!(parse(&method, &path), Err(RouteError::NotFound), "{path}");
                    continue;
                }
                let route = parse(&method, &path).unwrap();
                assert!(std::ptr::eq(route.endpoint(), endpoint), "{method} {path} is {}", route.endpoint().id);
                if method == Method::GET {
                    assert_eq!(parse(&Method::HEAD, &path), Ok(route));
                }
            }
        }
    }

    #[test]
    fn allow_names_what_the_table_has() {
        let mut methods: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for endpoint in Route::ALL {
            let allowed = methods.entry(sample(endpoint.template)).or_default();
            allowed.insert(endpoint.method);
            if endpoint.method == "GET" {
                allowed.insert("HEAD");
            }
        }
        for (path, allowed) in methods {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
                match parse(&method.parse().unwrap(), &path) {
                    Ok(_) => assert!(allowed.contains(method), "{method} {path}"),
                    Err(RouteError::MethodNotAllowed { allow }) => {
                        assert!(!allowed.contains(method), "{method} {path}");
                        assert_eq!(allow.split(", ").collect::<BTreeSet<_>>(), allowed, "{path}");
                    }
                    Err(error) => panic!("{method} {path}: {error}"),
                }
            }
        }
    }

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        let model = |path| match get(path).unwrap() {
            Route::ShowModel { model } => model,
            other => panic!("{other:?}"),
        };
        assert_eq!(model("/models/team%2fnlp"), "team/nlp");
        assert_eq!(model("/models/team%2Fnlp/"), "team/nlp");
        assert_eq!(model("/models/a%25b"), "a%b");
        assert_eq!(model("/models/n%40prod"), "n@prod");
        assert_eq!(model("/models/n:3"), "n:3");
        assert_eq!(model("/models/%C3%A9"), "é");
        assert_eq!(model("/models/.."), "..");
        let file = |path| match get(path).unwrap() {
            Route::DownloadFile { path, .. } => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(file("/models/m/versions/1/files/a.bin"), "a.bin");
        assert_eq!(file("/models/m/versions/1/files/a/b%20c/d"), "a/b c/d");
        assert_eq!(file("/models/m/versions/1/files/a%2Fb"), "a/b");
        assert_eq!(file("/models/m/versions/1/files/a//b"), "a//b");
        assert_eq!(get("/docs/"), Ok(Route::Docs { asset: String::new() }));
        assert_eq!(get("/docs/page.js"), Ok(Route::Docs { asset: "page.js".into() }));
    }

    #[test]
    fn what_is_not_there() {
        for path in ["*", "", "/nothing", "/models/a/b", "/Models", "/models/m/versions/1/files", "/me/x", "/%2F"] {
            assert_eq!(get(path), Err(RouteError::NotFound), "{path}");
        }
        for path in ["/models/%", "/models/%2", "/models/%zz", "/models/%ff", "/models/a%2"] {
            assert_eq!(get(path), Err(RouteError::Malformed), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_path_is_answered(path in "(/(models|versions|users|files|aliases|%|%2F|%[0-9a-f]{2}|[ -~]{0,4}|\\PC)){0,8}/?") {
            for method in [Method::GET, Method::DELETE] {
                let _answered = parse(&method, &path);
            }
        }

        #[test]
        fn any_octets_are_answered(octets in any::<Vec<u8>>(), method in "[A-Z]{1,8}") {
            let path = format!("/{}", String::from_utf8_lossy(&octets));
            let _answered = parse(&method.parse().unwrap(), &path);
        }
    }
}
