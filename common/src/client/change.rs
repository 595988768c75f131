//! Changes of models, versions, aliases and users. Each takes its [`Condition`]: which of its two parts a call knows is
//! the daemon's affair (rest-api.md §1), and known here.

use http::Method;
use zeroize::Zeroizing;

use super::{Client, ClientError, Condition, Reply, Target, to_json};
use crate::api::{
    AcknowledgeAlarm, AlarmAcknowledged, AliasChanged, AliasEvent, AliasSet, Deleted, Excerpt, ModelChanged,
    ModelPatch, NewNote, NewPassword, NoteAdded, Page, Reason, Register, Release, Rescanned, ReviewInfo, UserChanged,
    UserInfo, UserKind, UserPatch, VersionChanged, VersionInfo,
};
use crate::name::Version;
use crate::role::Role;

/// What may be done to the state of a version, with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionVerb {
    /// Hands it out with a warning.
    Deprecate,
    /// Holds it back.
    Quarantine,
    /// Holds it back for good.
    Block,
}

impl VersionVerb {
    fn segment(self) -> &'static str {
        match self {
            Self::Deprecate => "deprecate",
            Self::Quarantine => "quarantine",
            Self::Block => "block",
        }
    }
}

impl Condition {
    /// For calls that know `If-Match` only.
    pub(super) fn state(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// For calls that know `Idempotency-Key` only.
    pub(super) fn key(&self) -> Self {
        Self { if_match: None, ..self.clone() }
    }
}

fn of_version(reference: &str, version: Version, rest: &[&str]) -> Target {
    let number = version.to_string();
    let mut segments = vec!["models", reference, "versions", &number];
    segments.extend(rest);
    Target::new(&segments)
}

/// Errors of all: [`ClientError::Problem`] with `precondition-failed` where the thing has changed, `conflict` where its
/// state forbids it, `forbidden`, `not-found`, `invalid`; those of every call.
impl Client {
    /// `GET /models/{id}/versions/{v}`.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn version_info(&self, reference: &str, version: Version) -> Result<Reply<VersionInfo>, ClientError> {
        self.read(of_version(reference, version, &[])).await
    }

    /// `GET /users/{name}`.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn user(&self, name: &str) -> Result<Reply<UserInfo>, ClientError> {
        self.read(Target::new(&["users", name])).await
    }

    /// `GET /models/{id}/versions/{v}/review`.
    ///
    /// # Errors
    /// `forbidden` without `quarantine.read`, `not-found`; those of every call.
    pub async fn review(&self, reference: &str, version: Version) -> Result<Reply<ReviewInfo>, ClientError> {
        self.read(of_version(reference, version, &["review"])).await
    }

    /// `GET /models/{id}/versions/{v}/excerpt`: octets round a finding, as its `where` says the place.
    ///
    /// # Errors
    /// `forbidden` without `model.moderate`, `not-found`, `conflict` where it isn't held; those of every call.
    pub async fn excerpt(&self, reference: &str, version: Version, place: &str) -> Result<Reply<Excerpt>, ClientError> {
        // An empty place is one too.
        let mut target = of_version(reference, version, &["excerpt"]);
        target.0.push_str("?where=");
        super::encode(place, &mut target.0);
        self.read(target).await
    }

    /// `POST /models/{id}/versions/{v}/notes`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn add_note(
        &self,
        reference: &str,
        version: Version,
        text: &str,
        condition: &Condition,
    ) -> Result<Reply<NoteAdded>, ClientError> {
        let body = to_json(&NewNote { text: text.to_owned() })?;
        self.change(Method::POST, of_version(reference, version, &["notes"]), Some(body), &condition.key()).await
    }

    /// `GET /models/{id}/aliases/{alias}/history`, newest first.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn alias_history(
        &self,
        reference: &str,
        alias: &str,
        limit: u32,
    ) -> Result<Reply<Page<AliasEvent>>, ClientError> {
        let target = Target::new(&["models", reference, "aliases", alias, "history"]);
        self.read(target.number("limit", Some(limit.into()))).await
    }

    /// `PUT /models/{id}/aliases/{alias}`; `If-Match` is held against the model.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn set_alias(
        &self,
        reference: &str,
        alias: &str,
        version: Version,
        condition: &Condition,
    ) -> Result<Reply<AliasChanged>, ClientError> {
        let body = to_json(&AliasSet { version })?;
        let target = Target::new(&["models", reference, "aliases", alias]);
        self.change(Method::PUT, target, Some(body), &condition.state()).await
    }

    /// `DELETE /models/{id}/aliases/{alias}`; `If-Match` is held against the model.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn clear_alias(
        &self,
        reference: &str,
        alias: &str,
        condition: &Condition,
    ) -> Result<Reply<AliasChanged>, ClientError> {
        let target = Target::new(&["models", reference, "aliases", alias]);
        self.change(Method::DELETE, target, None, &condition.state()).await
    }

    /// `POST /audit-logs/acknowledge`: what was found wrong with the log, and why it may go on.
    ///
    /// # Errors
    /// `invalid`; those of every call.
    pub async fn acknowledge_alarm(
        &self,
        alarm: &AcknowledgeAlarm,
        condition: &Condition,
    ) -> Result<Reply<AlarmAcknowledged>, ClientError> {
        let target = Target::new(&["audit-logs", "acknowledge"]);
        self.change(Method::POST, target, Some(to_json(alarm)?), &condition.key()).await
    }

    /// `PATCH /models/{id}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn patch_model(
        &self,
        reference: &str,
        patch: &ModelPatch,
        condition: &Condition,
    ) -> Result<Reply<ModelChanged>, ClientError> {
        let target = Target::new(&["models", reference]);
        self.change(Method::PATCH, target, Some(to_json(patch)?), &condition.state()).await
    }

    /// `DELETE /models/{id}`, restorably.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn delete_model(&self, reference: &str, condition: &Condition) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, Target::new(&["models", reference]), None, &condition.state()).await
    }

    /// `POST /models/{id}/restore`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn restore_model(
        &self,
        reference: &str,
        condition: &Condition,
    ) -> Result<Reply<ModelChanged>, ClientError> {
        self.change(Method::POST, Target::new(&["models", reference, "restore"]), None, condition).await
    }

    /// `DELETE /models/{id}/versions/{v}`, restorably.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn delete_version(
        &self,
        reference: &str,
        version: Version,
        condition: &Condition,
    ) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, of_version(reference, version, &[]), None, &condition.state()).await
    }

    /// `POST /models/{id}/versions/{v}/restore`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn restore_version(
        &self,
        reference: &str,
        version: Version,
        condition: &Condition,
    ) -> Result<Reply<VersionChanged>, ClientError> {
        self.change(Method::POST, of_version(reference, version, &["restore"]), None, condition).await
    }

    /// `POST /models/{id}/versions/{v}/release`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn release_version(
        &self,
        reference: &str,
        version: Version,
        release: &Release,
        condition: &Condition,
    ) -> Result<Reply<VersionChanged>, ClientError> {
        let target = of_version(reference, version, &["release"]);
        self.change(Method::POST, target, Some(to_json(release)?), condition).await
    }

    /// `POST /models/{id}/versions/{v}/deprecate`, `…/quarantine`, `…/block`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn mark_version(
        &self,
        reference: &str,
        version: Version,
        verb: VersionVerb,
        reason: &str,
        condition: &Condition,
    ) -> Result<Reply<VersionChanged>, ClientError> {
        let body = to_json(&Reason { reason: reason.to_owned() })?;
        self.change(Method::POST, of_version(reference, version, &[verb.segment()]), Some(body), condition).await
    }

    /// `POST /models/{id}/versions/{v}/rescan`. It takes no idempotency key: doing it again is doing it again.
    ///
    /// # Errors
    /// As of all changes; `too-many-requests`.
    pub async fn rescan_version(
        &self,
        reference: &str,
        version: Version,
        condition: &Condition,
    ) -> Result<Reply<Rescanned>, ClientError> {
        self.change(Method::POST, of_version(reference, version, &["rescan"]), None, &condition.state()).await
    }

    /// `PATCH /users/{name}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn patch_user(
        &self,
        name: &str,
        patch: &UserPatch,
        condition: &Condition,
    ) -> Result<Reply<UserChanged>, ClientError> {
        let target = Target::new(&["users", name]);
        self.change(Method::PATCH, target, Some(to_json(patch)?), &condition.state()).await
    }

    /// `DELETE /users/{name}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn delete_user(&self, name: &str, condition: &Condition) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, Target::new(&["users", name]), None, &condition.state()).await
    }

    /// `POST /users/{name}/sessions/revoke`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn revoke_sessions(&self, name: &str, condition: &Condition) -> Result<Reply<UserChanged>, ClientError> {
        self.change(Method::POST, Target::new(&["users", name, "sessions", "revoke"]), None, &condition.key()).await
    }

    /// `POST /users/{name}/totp/reset`: takes a user's second factor away, and ends the user's sessions.
    ///
    /// # Errors
    /// [`Conflict`](crate::problem::ProblemType::Conflict) where there is none; those of every change.
    pub async fn reset_totp(&self, name: &str, condition: &Condition) -> Result<Reply<UserChanged>, ClientError> {
        self.change(Method::POST, Target::new(&["users", name, "totp", "reset"]), None, &condition.key()).await
    }

    /// `POST /users/{name}/password`: it must be changed at the next sign-in.
    ///
    /// # Errors
    /// As of all changes; `weak-password`.
    pub async fn set_password(
        &self,
        name: &str,
        password: &str,
        condition: &Condition,
    ) -> Result<Reply<UserChanged>, ClientError> {
        let body = NewPassword { password: password.to_owned() };
        let json = to_json(&body);
        drop(Zeroizing::new(body.password));
        self.change(Method::POST, Target::new(&["users", name, "password"]), Some(json?), &condition.key()).await
    }

    /// `POST /register`, with a password that must be changed at the first sign-in.
    ///
    /// # Errors
    /// As of all changes; `weak-password`.
    pub async fn register(
        &self,
        name: &str,
        password: &str,
        role: Role,
        condition: &Condition,
    ) -> Result<Reply<UserChanged>, ClientError> {
        let body = Register {
            username: name.to_owned(),
            password: Some(password.to_owned()),
            role: Some(role),
            kind: UserKind::Person,
            must_change_password: true,
        };
        let json = to_json(&body);
        drop(body.password.map(Zeroizing::new));
        self.change(Method::POST, Target::new(&["register"]), Some(json?), &condition.key()).await
    }

    /// `POST /register` of a service account, which has no password.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn register_service(
        &self,
        name: &str,
        role: Role,
        condition: &Condition,
    ) -> Result<Reply<UserChanged>, ClientError> {
        let body = Register {
            username: name.to_owned(),
            password: None,
            role: Some(role),
            kind: UserKind::Service,
            must_change_password: false,
        };
        self.change(Method::POST, Target::new(&["register"]), Some(to_json(&body)?), &condition.key()).await
    }
}
