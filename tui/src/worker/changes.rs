//! Performs changes and reads what they are about. Idempotency keys and one-time passwords are made here, each from its
//! number and a seed of this process: a repetition has the same key and the same body, and state holds no secret.

use common::api::quota::QuotaKind;
use common::api::{
    AcknowledgeAlarm, ApiTokenMade, ModelPatch, Release, RotateApiToken, State, UserPatch, WebhookPatch,
};
use common::audit::Receipt;
use common::client::{Client, ClientError, Condition, IngestQuery, Reply, VersionVerb};
use common::name::{HookId, ItemId, Version};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::action::Outcome;
use crate::secret::Secret;
use crate::state::deeds::{Base, Change, Deed, Object};
use crate::trust::Said;

/// Letters of a one-time password: none that is taken for another.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
/// Letters of a one-time password; five bits each, 100 in all.
const PASSWORD_LETTERS: usize = 20;

/// Where keys and passwords come from.
pub(super) struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A seed from the system's generator.
    ///
    /// # Errors
    /// What the system says where it has no randomness.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(std::io::Error::other)?;
        Ok(Self(seed))
    }

    fn derive(&self, what: &str, number: u64) -> Zeroizing<[u8; 32]> {
        let mut hasher = Sha256::new();
        hasher.update(self.0.as_ref());
        hasher.update(what.as_bytes());
        hasher.update(number.to_be_bytes());
        Zeroizing::new(hasher.finalize().into())
    }

    fn key(&self, number: u64) -> String {
        let octets = self.derive("key", number);
        let hex: String = octets.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
        format!("mreg-{hex}")
    }

    /// Twenty letters in groups of five.
    fn password(&self, number: u64) -> Secret {
        let octets = self.derive("password", number);
        let mut text = String::with_capacity(PASSWORD_LETTERS + 3);
        for (place, octet) in octets.iter().take(PASSWORD_LETTERS).enumerate() {
            if place > 0 && place % 5 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(octet % 32)]));
        }
        Secret::new(text)
    }
}

/// Tells the daemon why an alarm may go. Sent again it is recorded once: its key is that of what was said.
pub(super) async fn acknowledge(client: &Client, said: &Said) -> Result<Reply<Receipt>, ClientError> {
    let alarm = AcknowledgeAlarm {
        reason: said.reason.clone(),
        kind: said.kind.clone(),
        what: said.what.clone(),
        entry: said.entry,
        found_at: Some(crate::time::rfc3339(said.found_at)),
    };
    let condition = Condition { key: Some(said.key.clone()), ..Condition::default() };
    Ok(client.acknowledge_alarm(&alarm, &condition).await?.map(|told| told.receipt))
}

/// Reads a thing.
pub(super) async fn look(client: &Client, object: &Object) -> Result<Reply<Base>, ClientError> {
    Ok(match object {
        Object::Model { id, .. } => client.model(id).await?.map(|info| Base::Model(Box::new(info))),
        Object::Version { id, version, .. } => {
            client.version_info(id, *version).await?.map(|info| Base::Version(Box::new(info)))
        }
        Object::User(name) => client.user(name).await?.map(|info| Base::User(Box::new(info.user))),
        Object::Token { id, .. } => client.api_token(id).await?.map(|token| Base::Token(Box::new(token))),
        Object::Item { id, .. } => client.ingest_item(item(id)?).await?.map(|item| Base::Item(Box::new(item))),
        Object::Intake => {
            let reply = client.ingest(&IngestQuery { limit: Some(1), ..IngestQuery::default() }).await?;
            if reply.body.intake.is_none() {
                return Err(ClientError::Address("no drop folder is set".to_owned()));
            }
            reply.map(|page| Base::Intake(Box::new(page.intake.unwrap_or_default())))
        }
        Object::Webhook(id) => client.webhook(hook(id)?).await?.map(|hook| Base::Webhook(Box::new(hook))),
        Object::Quota { kind, name } => client.quota(*kind, name).await?.map(|quota| Base::Quota(Box::new(quota))),
        Object::Rule(name) => client.retention_rule(name).await?.map(|rule| Base::Rule(Box::new(rule))),
    })
}

/// An item's id, as the daemon gave it.
fn item(id: &str) -> Result<ItemId, ClientError> {
    id.parse().map_err(|_odd| ClientError::Protocol(format!("{id:?} is no id of an item")))
}

fn with_receipt<T>(reply: Reply<T>, receipt: impl FnOnce(T) -> Receipt) -> Reply<Outcome> {
    reply.map(|body| Outcome { receipt: Some(receipt(body)), ..Outcome::default() })
}

fn wrong(change: &Change) -> ClientError {
    ClientError::Address(format!("there is no way to {} {}", change.verb(), change.object.kind()))
}

/// Performs a change.
pub(super) async fn perform(
    client: &Client,
    seed: &Seed,
    change: &Change,
    if_match: Option<String>,
    key: u64,
) -> Result<Reply<Outcome>, ClientError> {
    let condition = Condition { if_match, key: Some(seed.key(key)) };
    match &change.object {
        Object::Model { id, .. } => of_model(client, change, id, &condition).await,
        Object::Version { id, version, .. } => of_version(client, change, id, *version, &condition).await,
        Object::User(name) => of_user(client, seed, change, name, key, &condition).await,
        Object::Token { id, .. } => of_token(client, change, id, &condition).await,
        Object::Item { id, .. } => of_item(client, change, item(id)?).await,
        Object::Intake => of_intake(client, change).await,
        Object::Webhook(id) => of_webhook(client, change, id, &condition).await,
        Object::Quota { kind, name } => of_quota(client, change, *kind, name).await,
        Object::Rule(name) => of_rule(client, change, name, &condition).await,
    }
}

/// A webhook's id, as it was typed or as the daemon gave it.
fn hook(id: &str) -> Result<HookId, ClientError> {
    id.parse().map_err(|_odd| ClientError::Address(format!("{id:?} is no id of a webhook")))
}

async fn of_webhook(
    client: &Client,
    change: &Change,
    id: &str,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    let patch = |enabled| WebhookPatch { enabled: Some(enabled), ..WebhookPatch::default() };
    Ok(match &change.deed {
        // No key: the answer that would be kept under it is the secret.
        Deed::NewWebhook(new) => client.create_webhook(new, &Condition::default()).await?.map(|made| Outcome {
            receipt: Some(made.receipt),
            password: Some(Secret::new(made.secret)),
            said: Some(format!("its id is {}", made.webhook.id)),
            ..Outcome::default()
        }),
        Deed::TestWebhook => client.test_webhook(hook(id)?).await?.map(|tried| {
            let answered = tried.attempt.status.map(|status| format!("the receiver answered {status}"));
            let said = match (tried.attempt.delivered, tried.attempt.error) {
                (true, _) | (false, None) => answered.unwrap_or_else(|| "there was no answer".to_owned()),
                (false, Some(error)) => format!("NOT delivered: {error}"),
            };
            let said = format!("{said}, {} ms", tried.attempt.took_ms);
            let is_in_vain = !tried.attempt.delivered;
            Outcome { receipt: Some(tried.receipt), said: Some(said), is_in_vain, ..Outcome::default() }
        }),
        Deed::DeliverTo(on) => {
            with_receipt(client.patch_webhook(hook(id)?, &patch(*on), condition).await?, |changed| changed.receipt)
        }
        Deed::PassOver(from) => {
            with_receipt(client.replay_webhook(hook(id)?, *from, condition).await?, |changed| changed.receipt)
        }
        Deed::Delete => client.delete_webhook(hook(id)?, condition).await?.map(gone),
        _ => return Err(wrong(change)),
    })
}

/// Quotas know neither keys nor entity tags: what is set again is as it was.
async fn of_quota(
    client: &Client,
    change: &Change,
    kind: QuotaKind,
    name: &str,
) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::SetQuota(limits) => with_receipt(client.set_quota(kind, name, limits).await?, |changed| changed.receipt),
        Deed::ClearQuota => with_receipt(client.clear_quota(kind, name).await?, |changed| changed.receipt),
        _ => return Err(wrong(change)),
    })
}

async fn of_rule(
    client: &Client,
    change: &Change,
    name: &str,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::SetRule(rule) => {
            let set = client.set_retention_rule(name, rule, &Condition::default()).await?;
            set.map(|changed| {
                let said = if changed.rule.rule.enabled {
                    format!("it does nothing before {}", changed.rule.first_run_at)
                } else {
                    "it is not enabled: carried out on demand only".to_owned()
                };
                Outcome { receipt: Some(changed.receipt), said: Some(said), ..Outcome::default() }
            })
        }
        Deed::Delete => client.delete_retention_rule(name, condition).await?.map(gone),
        Deed::RunRule => with_receipt(client.run_retention_rule(name).await?, |changed| changed.receipt),
        _ => return Err(wrong(change)),
    })
}

/// The secret comes with the answer and is nowhere else.
fn with_token(reply: Reply<ApiTokenMade>) -> Reply<Outcome> {
    reply.map(|made| Outcome {
        receipt: Some(made.receipt),
        password: Some(Secret::new(made.token)),
        ..Outcome::default()
    })
}

async fn of_token(
    client: &Client,
    change: &Change,
    id: &str,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::RevokeToken => client.revoke_token(id, condition).await?.map(gone),
        Deed::RotateToken => with_token(client.rotate_token(id, &RotateApiToken::default(), condition).await?),
        _ => return Err(wrong(change)),
    })
}

/// Changes of the drop folder know neither keys nor entity tags: doing one again is refused, for it is done.
async fn of_item(client: &Client, change: &Change, id: ItemId) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::Retry => with_receipt(client.retry_item(id).await?, |changed| changed.receipt),
        Deed::Discard { reason } => with_receipt(client.discard_item(id, reason).await?, |changed| changed.receipt),
        _ => return Err(wrong(change)),
    })
}

async fn of_intake(client: &Client, change: &Change) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::Pause { reason } => with_receipt(client.pause_intake(reason).await?, |changed| changed.receipt),
        Deed::Resume { reason } => with_receipt(client.resume_intake(Some(reason)).await?, |changed| changed.receipt),
        _ => return Err(wrong(change)),
    })
}

async fn of_model(
    client: &Client,
    change: &Change,
    id: &str,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::Alias { alias, to: Some(to) } => {
            with_receipt(client.set_alias(id, alias.as_str(), *to, condition).await?, |moved| moved.receipt)
        }
        Deed::Alias { alias, to: None } => {
            with_receipt(client.clear_alias(id, alias.as_str(), condition).await?, |moved| moved.receipt)
        }
        Deed::Edit { description, tags } => {
            let patch = ModelPatch { description: description.clone(), tags: tags.clone(), owner: None };
            with_receipt(client.patch_model(id, &patch, condition).await?, |changed| changed.receipt)
        }
        Deed::Delete => client.delete_model(id, condition).await?.map(gone),
        Deed::Restore => with_receipt(client.restore_model(id, condition).await?, |changed| changed.receipt),
        _ => return Err(wrong(change)),
    })
}

fn gone(deleted: common::api::Deleted) -> Outcome {
    Outcome { receipt: Some(deleted.receipt), restorable_until: deleted.restorable_until, ..Outcome::default() }
}

async fn of_version(
    client: &Client,
    change: &Change,
    id: &str,
    version: Version,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    let mark = |verb, reason| client.mark_version(id, version, verb, reason, condition);
    Ok(match &change.deed {
        Deed::Delete => client.delete_version(id, version, condition).await?.map(gone),
        Deed::Restore => with_receipt(client.restore_version(id, version, condition).await?, |changed| changed.receipt),
        Deed::Deprecate { reason } => {
            with_receipt(mark(VersionVerb::Deprecate, reason).await?, |changed| changed.receipt)
        }
        Deed::Block { reason } => with_receipt(mark(VersionVerb::Block, reason).await?, |changed| changed.receipt),
        Deed::Release { reason, override_block } => {
            let release = Release { reason: reason.clone(), override_block: *override_block };
            let reply = client.release_version(id, version, &release, condition).await?;
            // Where it takes several people, it is still held after all but the last.
            reply.map(|changed| Outcome {
                receipt: Some(changed.receipt),
                only_approved: changed.version.state == State::Quarantined,
                ..Outcome::default()
            })
        }
        Deed::Note { text } => {
            with_receipt(client.add_note(id, version, text, condition).await?, |added| added.receipt)
        }
        Deed::Rescan => {
            with_receipt(client.rescan_version(id, version, condition).await?, |rescanned| rescanned.receipt)
        }
        _ => return Err(wrong(change)),
    })
}

async fn of_user(
    client: &Client,
    seed: &Seed,
    change: &Change,
    name: &str,
    key: u64,
    condition: &Condition,
) -> Result<Reply<Outcome>, ClientError> {
    Ok(match &change.deed {
        Deed::Role(role) => {
            let patch = UserPatch { role: Some(*role), ..UserPatch::default() };
            with_receipt(client.patch_user(name, &patch, condition).await?, |changed| changed.receipt)
        }
        Deed::Grants(grants) => {
            let patch = UserPatch { grants: Some(grants.clone()), ..UserPatch::default() };
            with_receipt(client.patch_user(name, &patch, condition).await?, |changed| changed.receipt)
        }
        Deed::Lock(on) => {
            let patch = UserPatch { disabled: Some(*on), ..UserPatch::default() };
            with_receipt(client.patch_user(name, &patch, condition).await?, |changed| changed.receipt)
        }
        Deed::NewToken(new) => with_token(client.create_token(new).await?),
        Deed::Delete => client.delete_user(name, condition).await?.map(gone),
        Deed::Revoke => with_receipt(client.revoke_sessions(name, condition).await?, |changed| changed.receipt),
        Deed::ResetTotp => with_receipt(client.reset_totp(name, condition).await?, |changed| changed.receipt),
        Deed::OneTimePassword => {
            let password = seed.password(key);
            let reply = client.set_password(name, password.expose(), condition).await?;
            with_receipt(reply, |changed| changed.receipt)
                .map(|outcome| Outcome { password: Some(password), ..outcome })
        }
        Deed::Register(role) => {
            let password = seed.password(key);
            let reply = client.register(name, password.expose(), *role, condition).await?;
            with_receipt(reply, |changed| changed.receipt)
                .map(|outcome| Outcome { password: Some(password), ..outcome })
        }
        _ => return Err(wrong(change)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::Seed;

    /// A number always gives the same key and password, another gives others, and another process gives others still.
    #[test]
    fn keys_and_passwords() {
        let (seed, other) = (Seed::new().unwrap(), Seed::new().unwrap());
        assert_eq!(seed.key(1), seed.key(1));
        assert_eq!(seed.password(1).expose(), seed.password(1).expose());
        assert!(seed.key(1) != seed.key(2) && seed.key(1) != other.key(1));
        assert!(seed.password(1) != seed.password(2) && seed.password(1) != other.password(1));
        let password = seed.password(7);
        assert_eq!(password.expose().len(), 23);
        assert!(password.expose().bytes().all(|octet| octet == b'-' || super::LETTERS.contains(&octet)));
    }
}
