//! Quotas and retention rules, and what they come to. Who may set them is the daemon's affair.

use http::Method;

use super::{Client, ClientError, Condition, Paging, Reply, Target, to_json};
use crate::api::quota::{NO_NAMESPACE, QuotaChanged, QuotaInfo, QuotaKind, QuotaLimits};
use crate::api::retention::{RetentionPreview, RetentionRule, RetentionRuleChanged, RetentionRuleInfo};
use crate::api::{Deleted, Page};

fn of_account(kind: QuotaKind, name: &str) -> Target {
    Target::new(&["quotas", kind.segment(), if name.is_empty() { NO_NAMESPACE } else { name }])
}

/// Errors of all: [`ClientError::Problem`] with `forbidden` for others than admins, `not-found`, `invalid`; those of every call.
impl Client {
    /// `GET /me/quota`: the caller's own.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn own_quota(&self) -> Result<Reply<QuotaInfo>, ClientError> {
        self.read(Target::new(&["me", "quota"])).await
    }

    /// `GET /quotas/{kind}/{account}`; the empty namespace is that of models whose names have no slash.
    ///
    /// # Errors
    /// As of all here.
    pub async fn quota(&self, kind: QuotaKind, name: &str) -> Result<Reply<QuotaInfo>, ClientError> {
        self.read(of_account(kind, name)).await
    }

    /// `GET /quotas`: namespaces by name, then users.
    ///
    /// # Errors
    /// As of all here.
    pub async fn quotas(&self, page: &Paging) -> Result<Reply<Page<QuotaInfo>>, ClientError> {
        self.read(Target::new(&["quotas"]).page(page)).await
    }

    /// `PUT /quotas/{kind}/{account}`.
    ///
    /// # Errors
    /// As of all here.
    pub async fn set_quota(
        &self,
        kind: QuotaKind,
        name: &str,
        limits: &QuotaLimits,
    ) -> Result<Reply<QuotaChanged>, ClientError> {
        self.change(Method::PUT, of_account(kind, name), Some(to_json(limits)?), &Condition::default()).await
    }

    /// `DELETE /quotas/{kind}/{account}`: the default holds again.
    ///
    /// # Errors
    /// As of all here.
    pub async fn clear_quota(&self, kind: QuotaKind, name: &str) -> Result<Reply<QuotaChanged>, ClientError> {
        self.change(Method::DELETE, of_account(kind, name), None, &Condition::default()).await
    }

    /// `GET /retention`.
    ///
    /// # Errors
    /// As of all here.
    pub async fn retention_rules(&self) -> Result<Reply<Page<RetentionRuleInfo>>, ClientError> {
        self.read(Target::new(&["retention"])).await
    }

    /// `GET /retention/{rule}`.
    ///
    /// # Errors
    /// As of all here.
    pub async fn retention_rule(&self, name: &str) -> Result<Reply<RetentionRuleInfo>, ClientError> {
        self.read(Target::new(&["retention", name])).await
    }

    /// `PUT /retention/{rule}`.
    ///
    /// # Errors
    /// `precondition-failed`; as of all here.
    pub async fn set_retention_rule(
        &self,
        name: &str,
        rule: &RetentionRule,
        condition: &Condition,
    ) -> Result<Reply<RetentionRuleChanged>, ClientError> {
        self.change(Method::PUT, Target::new(&["retention", name]), Some(to_json(rule)?), condition).await
    }

    /// `DELETE /retention/{rule}`.
    ///
    /// # Errors
    /// `precondition-failed`; as of all here.
    pub async fn delete_retention_rule(
        &self,
        name: &str,
        condition: &Condition,
    ) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, Target::new(&["retention", name]), None, condition).await
    }

    /// `POST /retention/{rule}/run`: it is carried out soon.
    ///
    /// # Errors
    /// As of all here.
    pub async fn run_retention_rule(&self, name: &str) -> Result<Reply<RetentionRuleChanged>, ClientError> {
        self.change(Method::POST, Target::new(&["retention", name, "run"]), None, &Condition::default()).await
    }

    /// `GET /retention/{rule}/preview`: a page of what a rule would take now.
    ///
    /// # Errors
    /// As of all here.
    pub async fn preview_retention(&self, name: &str, page: &Paging) -> Result<Reply<RetentionPreview>, ClientError> {
        self.read(Target::new(&["retention", name, "preview"]).page(page)).await
    }

    /// `POST /retention/preview`: the same of a rule that is not set.
    ///
    /// # Errors
    /// As of all here.
    pub async fn preview_unsaved(
        &self,
        rule: &RetentionRule,
        page: &Paging,
    ) -> Result<Reply<RetentionPreview>, ClientError> {
        let target = Target::new(&["retention", "preview"]).page(page);
        self.change(Method::POST, target, Some(to_json(rule)?), &Condition::default()).await
    }
}
