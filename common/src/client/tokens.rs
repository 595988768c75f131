//! API tokens: listing, making, rotating, revoking. The token that a client itself shows is not among what this file knows.

use http::Method;

use super::{Client, ClientError, Condition, Paging, Reply, Target, to_json};
use crate::api::{ApiToken, ApiTokenMade, Deleted, NewApiToken, Page, RotateApiToken};

/// Whose API tokens, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenQuery {
    /// This user's; empty: one's own.
    pub user: String,
    /// Everybody's.
    pub all: bool,
    /// Which page.
    pub page: Paging,
}

impl Client {
    /// `GET /tokens`.
    ///
    /// # Errors
    /// `forbidden` for those of others without `user.manage`; those of every call.
    pub async fn tokens(&self, query: &TokenQuery) -> Result<Reply<Page<ApiToken>>, ClientError> {
        let target = Target::new(&["tokens"]).param("user", &query.user);
        let target = if query.all { target.param("all", "true") } else { target };
        self.read(target.page(&query.page)).await
    }

    /// `GET /tokens/{token}`.
    ///
    /// # Errors
    /// `not-found`; those of every call.
    pub async fn api_token(&self, id: &str) -> Result<Reply<ApiToken>, ClientError> {
        self.read(Target::new(&["tokens", id])).await
    }

    /// `POST /tokens`. It takes no idempotency key, for what is kept for a repetition would be the secret: where the answer
    /// was lost, the label is taken, and the token is there to be revoked.
    ///
    /// # Errors
    /// `conflict` where the label is taken, `invalid`; those of every call.
    pub async fn create_token(&self, new: &NewApiToken) -> Result<Reply<ApiTokenMade>, ClientError> {
        self.change(Method::POST, Target::new(&["tokens"]), Some(to_json(new)?), &Condition::default()).await
    }

    /// `POST /tokens/{token}/rotate`: another secret for the same token. It takes no idempotency key either.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn rotate_token(
        &self,
        id: &str,
        rotate: &RotateApiToken,
        condition: &Condition,
    ) -> Result<Reply<ApiTokenMade>, ClientError> {
        let target = Target::new(&["tokens", id, "rotate"]);
        self.change(Method::POST, target, Some(to_json(rotate)?), &condition.state()).await
    }

    /// `DELETE /tokens/{token}`.
    ///
    /// # Errors
    /// As of all changes.
    pub async fn revoke_token(&self, id: &str, condition: &Condition) -> Result<Reply<Deleted>, ClientError> {
        self.change(Method::DELETE, Target::new(&["tokens", id]), None, &condition.state()).await
    }
}
