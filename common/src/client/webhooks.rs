//! Calls of `/webhooks`. Secrets are answered once, to whoever made them; nothing is kept of them here.

use http::Method;

use super::{Client, ClientError, Condition, Reply, Target, to_json};
use crate::api::{
    Deleted, NewWebhook, Page, Webhook, WebhookAttempt, WebhookChanged, WebhookPatch, WebhookReplay, WebhookRotate,
    WebhookSecret, WebhookTried,
};
use crate::name::HookId;

impl Client {
    /// `GET /webhooks`: all of them, oldest first.
    ///
    /// # Errors
    /// `forbidden` without `user.manage`; those of every call.
    pub async fn webhooks(&self) -> Result<Reply<Page<Webhook>>, ClientError> {
        self.read(Target::new(&["webhooks"])).await
    }

    /// `GET /webhooks/{hook}`.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn webhook(&self, hook: HookId) -> Result<Reply<Webhook>, ClientError> {
        self.read(of(hook, &[])).await
    }

    /// `GET /webhooks/{hook}/deliveries`: the newest attempts, newest first.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn deliveries(&self, hook: HookId) -> Result<Reply<Page<WebhookAttempt>>, ClientError> {
        self.read(of(hook, &["deliveries"])).await
    }

    /// `POST /webhooks`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn create_webhook(
        &self,
        new: &NewWebhook,
        condition: &Condition,
    ) -> Result<Reply<WebhookSecret>, ClientError> {
        self.change(Method::POST, Target::new(&["webhooks"]), Some(to_json(new)?), &condition.key()).await
    }

    /// `PATCH /webhooks/{hook}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn patch_webhook(
        &self,
        hook: HookId,
        patch: &WebhookPatch,
        condition: &Condition,
    ) -> Result<Reply<WebhookChanged>, ClientError> {
        self.change(Method::PATCH, of(hook, &[]), Some(to_json(patch)?), &condition.state()).await
    }

    /// `DELETE /webhooks/{hook}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn delete_webhook(&self, hook: HookId, condition: &Condition) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, of(hook, &[]), None, &condition.state()).await
    }

    /// `POST /webhooks/{hook}/rotate-secret`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn rotate_webhook_secret(
        &self,
        hook: HookId,
        overlap_seconds: Option<u64>,
        condition: &Condition,
    ) -> Result<Reply<WebhookSecret>, ClientError> {
        let body = to_json(&WebhookRotate { overlap_seconds })?;
        self.change(Method::POST, of(hook, &["rotate-secret"]), Some(body), &condition.key()).await
    }

    /// `POST /webhooks/{hook}/replay`: it goes on from this entry.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn replay_webhook(
        &self,
        hook: HookId,
        from: u64,
        condition: &Condition,
    ) -> Result<Reply<WebhookChanged>, ClientError> {
        let body = to_json(&WebhookReplay { from })?;
        self.change(Method::POST, of(hook, &["replay"]), Some(body), &condition.key()).await
    }

    /// `POST /webhooks/{hook}/test`. That the receiver didn't take it is no error: the answer says so.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn test_webhook(&self, hook: HookId) -> Result<Reply<WebhookTried>, ClientError> {
        self.change(Method::POST, of(hook, &["test"]), None, &Condition::default()).await
    }

    /// `POST /webhooks/{hook}/deliveries/{delivery}/replay`. That the receiver didn't take it is no error, either.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn replay_delivery(&self, hook: HookId, delivery: &str) -> Result<Reply<WebhookTried>, ClientError> {
        let target = of(hook, &["deliveries", delivery, "replay"]);
        self.change(Method::POST, target, None, &Condition::default()).await
    }
}

fn of(hook: HookId, below: &[&str]) -> Target {
    let hook = hook.to_string();
    Target::new(&[&["webhooks", &hook], below].concat())
}
