//! Bodies of `/webhooks`: what a webhook is, how far it has come, and what was tried. What is sent to receivers is no body
//! of this interface and not here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Receipt;
use crate::known::Known;
use crate::name::HookId;
use crate::pattern::NamePattern;

fn yes() -> bool {
    true
}

/// Body of `POST /webhooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are posted: an `https://` or `http://` address without user and fragment, at most 2048 characters.
    #[schema(max_length = 2048)]
    pub url: String,
    /// What it is for, at most 1000 characters.
    #[serde(default)]
    pub description: String,
    /// Which entries of the audit log are events, by action: names such as `model.upload`, groups such as `model.*`, or `*`.
    #[schema(min_items = 1, max_items = 32)]
    pub actions: Vec<String>,
    /// Only those about models whose names fit one of these patterns; without any, whatever they are about.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 32)]
    pub models: Vec<NamePattern>,
    /// Only those with these outcomes: `ok`, `denied`, `error`. Without any, `ok`.
    #[serde(default)]
    pub outcomes: Vec<String>,
    /// Whether it is delivered to.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Body of `PATCH /webhooks/{hook}`: what is not there stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    /// As in [`NewWebhook`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub url: Option<String>,
    /// As in [`NewWebhook`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As in [`NewWebhook`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 32)]
    pub actions: Option<Vec<String>>,
    /// As in [`NewWebhook`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, max_items = 32)]
    pub models: Option<Vec<NamePattern>>,
    /// As in [`NewWebhook`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<String>>,
    /// Whether it is delivered to. Enabled again, it goes on where it had come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How a webhook is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    /// All that there is has been delivered, or is being delivered.
    Working,
    /// The last attempt failed; it is tried again.
    Failing,
    /// Somebody, or a receiver that failed for too long, disabled it.
    Disabled,
    /// Its secret was made with another key than this daemon has: it needs a new secret, or the daemon its key.
    Keyless,
    /// Another daemon delivers.
    Elsewhere,
}

impl WebhookState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
            Self::Keyless => "keyless",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// Its id.
    pub id: HookId,
    /// Where events are posted.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which actions are events.
    pub actions: Vec<String>,
    /// Patterns of names of models; none: whatever they are about.
    #[schema(value_type = Vec<String>)]
    pub models: Vec<NamePattern>,
    /// With which outcomes.
    pub outcomes: Vec<String>,
    /// Whether it is delivered to.
    pub enabled: bool,
    /// Why it is not, where the daemon disabled it.
    pub disabled_because: Option<String>,
    /// How it is doing.
    #[schema(value_type = WebhookState)]
    pub state: Known<WebhookState>,
    /// Index of the entry of the log that is looked at next, as far as this daemon knows.
    pub next_index: u64,
    /// Entries between that and the end of the log; not all of them may be events.
    pub behind: u64,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Why the last of them did.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub next_attempt_at: Option<String>,
    /// When the receiver last took an event.
    pub last_delivered_at: Option<String>,
    /// Until when the secret before this one signs, too.
    pub previous_secret_until: Option<String>,
    /// When it was created.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// A [`Webhook`] after a change, with the receipt of its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookChanged {
    /// The webhook as it is now.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// A [`Webhook`] and its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSecret {
    /// The webhook as it is now.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// What its messages are signed with: `whsec_` and base64.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    pub secret: String,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// Body of `POST /webhooks/{hook}/rotate-secret`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRotate {
    /// For how long the secret before signs, too, in seconds: 0 to 604 800 (7 days); 86 400 (a day) where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 604_800)]
    pub overlap_seconds: Option<u64>,
}

/// Body of `POST /webhooks/{hook}/replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookReplay {
    /// Index of the entry to go on from. What was delivered from there on is delivered again, under the same ids; what lies
    /// before it and was not delivered is passed over.
    pub from: u64,
}

/// What made the daemon send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookAttemptKind {
    /// An entry of the log.
    Event,
    /// Somebody wanted to see whether it arrives.
    Test,
    /// Somebody wanted an entry sent again.
    Replay,
}

impl WebhookAttemptKind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Test => "test",
            Self::Replay => "replay",
        }
    }
}

/// One attempt to deliver a message: a row of `GET /webhooks/{hook}/deliveries`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookAttempt {
    /// The message's id, as the receiver sees it in `webhook-id`: the same for each attempt at an entry.
    pub id: String,
    /// Its type: the entry's action, or `webhook.test`.
    #[serde(rename = "type")]
    pub event: String,
    /// The entry's index; none for a test.
    pub index: Option<u64>,
    /// What made the daemon send it.
    #[schema(value_type = WebhookAttemptKind)]
    pub kind: Known<WebhookAttemptKind>,
    /// The how manieth attempt in a row it was, from 1.
    pub attempt: u32,
    /// When it began.
    pub at: String,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// Whether the receiver took it.
    pub delivered: bool,
    /// What the receiver answered; none where it didn't.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<String>,
}

/// What became of a test or of a message that was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTried {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: WebhookAttempt,
    /// Proof that it is in the audit log that it was asked for.
    pub receipt: Receipt,
}

/// The webhooks' part of `GET /status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhooksStatus {
    /// How many there are.
    pub hooks: u64,
    /// Those that are disabled.
    pub disabled: u64,
    /// Those whose last attempt failed, or that can't be signed for.
    pub failing: u64,
    /// Entries that the one furthest behind has yet to look at.
    pub behind: u64,
    /// Whether this daemon delivers; another does where it doesn't.
    pub delivers_here: bool,
    /// Messages that receivers took since this daemon started.
    pub delivered: u64,
    /// Attempts that failed since then.
    pub failed: u64,
    /// What is wrong with the delivering itself; none where nothing is.
    pub problem: Option<String>,
}
