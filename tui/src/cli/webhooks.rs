//! `mreg get webhooks|webhook|deliveries`: webhooks and what was tried, as text or JSON. They are few, so they are read whole.

use common::api::{Webhook, WebhookAttempt, WebhookState};
use common::client::{Client, ClientError, Reply};
use common::name::HookId;

use super::columns::within;
use super::get::What;
use super::{CliError, document, facts};
use crate::clean::clean;
use crate::terminal::output_columns;
use crate::time::counted;

/// Octets of an address on a line.
const URL_OCTETS_MAX: usize = 60;

/// An id of a webhook.
///
/// # Errors
/// A sentence on what is none.
pub(super) fn hook(id: &str) -> Result<HookId, String> {
    id.parse().map_err(|_none| format!("{id} is no id of a webhook; `mreg get webhooks` lists them"))
}

/// Gets them, as text and as JSON.
pub(super) async fn get(client: &Client, what: What, id: &str) -> Result<(String, String), CliError> {
    // The token may have run out since it was kept.
    match once(client, what, id).await {
        Err(CliError::Client(error)) if error.wants_sign_in() && client.refresh().await.is_ok() => {
            once(client, what, id).await
        }
        got => got,
    }
}

async fn once(client: &Client, what: What, id: &str) -> Result<(String, String), CliError> {
    if what == What::Webhooks {
        let hooks = body(client.webhooks().await)?.items;
        return Ok((within(&list(&hooks), output_columns()), lines(&hooks)?));
    }
    let hook = hook(id).map_err(CliError::Usage)?;
    if what == What::Deliveries {
        let attempts = body(client.deliveries(hook).await)?.items;
        return Ok((within(&table(&attempts), output_columns()), lines(&attempts)?));
    }
    let hook = body(client.webhook(hook).await)?;
    Ok((text(&hook), document(&hook)?))
}

fn body<T>(reply: Result<Reply<T>, ClientError>) -> Result<T, CliError> {
    Ok(reply?.body)
}

/// A document a line, as of other lists.
fn lines<T: serde::Serialize>(rows: &[T]) -> Result<String, CliError> {
    Ok(rows.iter().map(document).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn list(hooks: &[Webhook]) -> String {
    let mut text = format!("{:26} {:9} {:>8} {:24} RECEIVER\n", "WEBHOOK", "STATE", "BEHIND", "LAST DELIVERED");
    for hook in hooks {
        let last = hook.last_delivered_at.as_deref().unwrap_or("-");
        let url = clean(&hook.url);
        let url = &url[..url.floor_char_boundary(URL_OCTETS_MAX)];
        let id = hook.id.to_string();
        text.push_str(&format!(
            "{id:26} {:9} {:>8} {:24} {url}\n",
            clean(hook.state.as_str()),
            hook.behind,
            clean(last)
        ));
    }
    text
}

fn table(attempts: &[WebhookAttempt]) -> String {
    let mut text = format!("{:24} {:7} {:>3} {:>6} {:>7} {:20} MESSAGE\n", "AT", "KIND", "TRY", "STATUS", "MS", "TYPE");
    for attempt in attempts {
        let kind = clean(attempt.kind.as_str());
        let status = attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        text.push_str(&format!(
            "{:24} {kind:7} {:>3} {status:>6} {:>7} {:20} {}\n",
            clean(&attempt.at),
            attempt.attempt,
            attempt.took_ms,
            clean(&attempt.event),
            clean(&attempt.id),
        ));
        if let Some(error) = &attempt.error {
            text.push_str(&format!("  {}\n", clean(error)));
        }
    }
    text
}

fn text(hook: &Webhook) -> String {
    let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let models: Vec<&str> = hook.models.iter().map(|pattern| pattern.as_str()).collect();
    let mut all = vec![
        ("webhook", hook.id.to_string()),
        ("receiver", hook.url.clone()),
        ("state", hook.state.as_str().to_owned()),
        ("actions", hook.actions.join(" ")),
        ("models", if models.is_empty() { "all".to_owned() } else { models.join(" ") }),
        ("outcomes", hook.outcomes.join(" ")),
        ("next entry", hook.next_index.to_string()),
        ("behind", hook.behind.to_string()),
        ("delivered", optional(&hook.last_delivered_at)),
        ("created", format!("{} by {}", hook.created_at, hook.created_by)),
        ("updated", hook.updated_at.clone()),
    ];
    if let Some(why) = &hook.disabled_because {
        all.push(("because", why.clone()));
    }
    if hook.state == WebhookState::Failing {
        all.push((
            "failed",
            format!("{}; next attempt {}", counted(hook.failures.into(), "time"), optional(&hook.next_attempt_at)),
        ));
    }
    if let Some(error) = &hook.last_error {
        all.push(("last error", error.clone()));
    }
    if let Some(until) = &hook.previous_secret_until {
        all.push(("old secret", format!("signs until {until}")));
    }
    if !hook.description.is_empty() {
        all.push(("about", hook.description.clone()));
    }
    facts(&all)
}
