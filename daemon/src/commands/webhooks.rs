//! `mregd webhook …`, at the running daemon, for that is what delivers. A secret is the whole of standard output, so that a
//! script can take it; what there is to say about it goes to standard error. Refuses to know rules.

use std::io::Read as _;
use std::path::Path;

use common::api::{
    Deleted, NewWebhook, Page, Webhook, WebhookAttempt, WebhookChanged, WebhookPatch, WebhookReplay, WebhookRotate,
    WebhookSecret, WebhookTried,
};
use common::name::HookId;
use common::shown::shown;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::way::{ask, with_daemon};
use super::{Failed, say};
use crate::cli::{self, Exit, WebhookCommand, WebhookReplayed};
use crate::config::Config;
use crate::http::control::Operator;

/// Octets of the largest file that can be an address.
const URL_FILE_OCTETS_MAX: u64 = 4096;
/// Characters of what somebody else said, on a line.
const SAID_CHARS_MAX: usize = 300;
/// What is to be done where it isn't known whether a change was made.
const UNANSWERED: &str = "`mregd webhook list` tells whether it was done; if not, try again";
/// The same of a webhook whose secret was to be shown.
const SECRET_LOST: &str = "`mregd webhook list` tells whether it was made; if so, give it another secret with \
                           `mregd webhook rotate-secret`";

pub(super) fn webhook(config: &Config, command: WebhookCommand) -> Result<(), Failed> {
    // Read before anything is asked: it may wait for a person.
    let asked = Asked::read(command)?;
    let told = with_daemon(config, async |operator| asked.perform(operator).await)?;
    told.said.iter().for_each(|line| cli::err(line));
    say(&told.text)?;
    told.failure.map_or(Ok(()), Err)
}

/// What a command tells.
#[derive(Default)]
struct Told {
    /// For standard output.
    text: Zeroizing<String>,
    /// For standard error.
    said: Vec<String>,
    /// Why it is no success although it was done.
    failure: Option<Failed>,
}

impl Told {
    fn text(text: String) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn said(line: String) -> Self {
        Self { said: vec![line], ..Self::default() }
    }

    /// The secret alone on its line.
    fn secret(secret: &str, line: String) -> Self {
        Self { text: Zeroizing::new(format!("{secret}\n")), said: vec![line], failure: None }
    }
}

/// A command with its words and files read.
enum Asked {
    List { json: bool },
    Show(HookId),
    Create(NewWebhook),
    Update(HookId, WebhookPatch),
    Delete(HookId),
    Rotate(HookId, WebhookRotate),
    Test { id: HookId, json: bool },
    Replay(HookId, WebhookReplay),
    Redeliver { id: HookId, message: String },
    Deliveries { id: HookId, json: bool },
}

impl Asked {
    fn read(command: WebhookCommand) -> Result<Self, Failed> {
        let able = |enabled| WebhookPatch { enabled: Some(enabled), ..WebhookPatch::default() };
        Ok(match command {
            WebhookCommand::List { json } => Self::List { json },
            WebhookCommand::Show { id } => Self::Show(id),
            WebhookCommand::Create(new) => Self::Create(NewWebhook {
                url: address(new.url, new.url_file.as_deref())?.unwrap_or_default(),
                description: new.description,
                actions: new.actions,
                models: new.models,
                outcomes: new.outcomes,
                enabled: !new.disabled,
            }),
            WebhookCommand::Update(edit) => {
                let patch = WebhookPatch {
                    url: address(edit.url, edit.url_file.as_deref())?,
                    description: edit.description,
                    actions: edit.actions,
                    models: if edit.any_model { Some(Vec::new()) } else { edit.models },
                    outcomes: edit.outcomes,
                    enabled: None,
                };
                Self::Update(edit.id, patch)
            }
            WebhookCommand::Enable { id } => Self::Update(id, able(true)),
            WebhookCommand::Disable { id } => Self::Update(id, able(false)),
            WebhookCommand::Delete { id } => Self::Delete(id),
            WebhookCommand::RotateSecret { id, overlap, void } => {
                let overlap_seconds = if void { Some(0) } else { overlap.map(|overlap| overlap.as_secs()) };
                Self::Rotate(id, WebhookRotate { overlap_seconds })
            }
            WebhookCommand::Test { id, json } => Self::Test { id, json },
            WebhookCommand::Replay(WebhookReplayed { id, from: Some(from), message: _ }) => {
                Self::Replay(id, WebhookReplay { from })
            }
            WebhookCommand::Replay(WebhookReplayed { id, from: None, message }) => {
                Self::Redeliver { id, message: message.unwrap_or_default() }
            }
            WebhookCommand::Deliveries { id, json } => Self::Deliveries { id, json },
        })
    }

    async fn perform(self, operator: &mut Operator) -> Result<Told, Failed> {
        match self {
            Self::List { json } => {
                let page: Page<Webhook> = ask(operator, Method::GET, "/webhooks", None, "try again").await?;
                let text = if json { document(&page.items) } else { page.items.iter().map(line).collect() };
                Ok(Told::text(text))
            }
            Self::Show(id) => {
                let hook: Webhook = ask(operator, Method::GET, &of(id, ""), None, "try again").await?;
                Ok(Told::text(document(&hook)))
            }
            Self::Create(new) => {
                let body = Some(json!(new));
                let made: WebhookSecret = ask(operator, Method::POST, "/webhooks", body.as_ref(), SECRET_LOST).await?;
                let WebhookSecret { webhook, secret, receipt: _ } = made;
                let secret = Zeroizing::new(secret);
                let line = format!(
                    "created webhook {}: it is {}; the secret is shown this once",
                    webhook.id,
                    webhook.state.as_str()
                );
                Ok(Told::secret(&secret, line))
            }
            Self::Update(id, patch) => {
                let done: WebhookChanged =
                    ask(operator, Method::PATCH, &of(id, ""), Some(&json!(patch)), UNANSWERED).await?;
                Ok(Told::text(line(&done.webhook)))
            }
            Self::Delete(id) => {
                let gone: Deleted = ask(operator, Method::DELETE, &of(id, ""), None, UNANSWERED).await?;
                Ok(Told::said(format!("deleted webhook {}", gone.id)))
            }
            Self::Rotate(id, asked) => {
                let target = of(id, "/rotate-secret");
                let unanswered = "give it another secret once more";
                let made: WebhookSecret = ask(operator, Method::POST, &target, Some(&json!(asked)), unanswered).await?;
                let WebhookSecret { webhook, secret, receipt: _ } = made;
                let secret = Zeroizing::new(secret);
                let old = match &webhook.previous_secret_until {
                    Some(until) => format!("the old one signs, too, until {until}"),
                    None => "the old one is void".to_owned(),
                };
                Ok(Told::secret(&secret, format!("webhook {id} has a new secret, shown this once; {old}")))
            }
            Self::Test { id, json } => {
                let tried = ask(operator, Method::POST, &of(id, "/test"), None, "try again").await?;
                Ok(outcome(&tried, json))
            }
            Self::Replay(id, from) => {
                let done: WebhookChanged =
                    ask(operator, Method::POST, &of(id, "/replay"), Some(&json!(from)), UNANSWERED).await?;
                Ok(Told::text(line(&done.webhook)))
            }
            Self::Redeliver { id, message } => {
                let message = utf8_percent_encode(&message, NON_ALPHANUMERIC);
                let target = of(id, &format!("/deliveries/{message}/replay"));
                let tried = ask(operator, Method::POST, &target, None, "try again").await?;
                Ok(outcome(&tried, false))
            }
            Self::Deliveries { id, json } => {
                let page: Page<WebhookAttempt> =
                    ask(operator, Method::GET, &of(id, "/deliveries"), None, "try again").await?;
                let text = if json { document(&page.items) } else { page.items.iter().map(attempt_line).collect() };
                Ok(Told::text(text))
            }
        }
    }
}

fn of(id: HookId, rest: &str) -> String {
    format!("/webhooks/{id}{rest}")
}

fn document(value: &impl Serialize) -> String {
    format!("{:#}\n", json!(value))
}

/// An address from where it was said to be; none where nothing was said.
fn address(url: Option<String>, file: Option<&Path>) -> Result<Option<String>, Failed> {
    let Some(file) = file else { return Ok(url) };
    let name = file.display();
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(URL_FILE_OCTETS_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(URL_FILE_OCTETS_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failed::new(Exit::NoInput, format_args!("{name}: {error}")))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A row of the list, its columns by tabs.
fn line(hook: &Webhook) -> String {
    let (id, state, behind) = (hook.id, hook.state.as_str(), hook.behind);
    let last = hook.last_delivered_at.as_deref().unwrap_or("never");
    let (actions, place) = (hook.actions.join(","), place(&hook.url));
    let because = hook.disabled_because.as_deref().or(hook.last_error.as_deref());
    let because = because.map_or_else(String::new, |why| format!("\t{}", shown(why, SAID_CHARS_MAX)));
    format!("{id}\t{state}\t{behind} behind\t{last}\t{actions}\t{}{because}\n", shown(place, SAID_CHARS_MAX))
}

/// Of an address no more than where it is: many have a secret in the path. `show` has all of it.
fn place(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// A row of attempts.
fn attempt_line(attempt: &WebhookAttempt) -> String {
    let kind = json!(attempt.kind);
    let kind = kind.as_str().unwrap_or_default();
    let WebhookAttempt { at, attempt: number, took_ms, event, id, .. } = attempt;
    let status = attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let why = attempt.error.as_deref().map_or_else(String::new, |why| format!("\t{}", shown(why, SAID_CHARS_MAX)));
    format!("{at}\t{kind}\t{number}\t{status}\t{took_ms} ms\t{event}\t{id}{why}\n")
}

/// What became of a message, and a failure where the receiver didn't take it.
fn outcome(tried: &WebhookTried, json: bool) -> Told {
    let attempt = &tried.attempt;
    let text = if json { document(tried) } else { attempt_line(attempt) };
    let failure = (!attempt.delivered).then(|| {
        let why = attempt.error.as_deref().unwrap_or("it didn't say why");
        Failed::new(Exit::TempFail, format_args!("the receiver didn't take it: {why}"))
    });
    Told { failure, ..Told::text(text) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::{WebhookAttempt, WebhookAttemptKind};

    use super::{address, attempt_line, place};

    /// An address is the first line of a file, whatever ends it.
    #[test]
    fn addresses() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, "https://h/x?key=1\r\n").unwrap();
        assert_eq!(address(None, Some(&file)).unwrap().unwrap(), "https://h/x?key=1");
        assert_eq!(address(Some("https://h/".to_owned()), None).unwrap().unwrap(), "https://h/");
        assert_eq!(address(None, None).unwrap(), None);
        assert!(address(None, Some(&dir.path().join("none"))).is_err());
    }

    /// What may be a secret is on no list.
    #[test]
    fn places() {
        for (url, shown) in [
            ("https://h.example:8443/services/T0/secret", "https://h.example:8443"),
            ("http://[::1]:9/x?key=1", "http://[::1]:9"),
            ("https://h?key=1", "https://h"),
            ("https://h", "https://h"),
        ] {
            assert_eq!(place(url), shown);
        }
    }

    /// What a receiver said can't be taken for a row of ours.
    #[test]
    fn attempts() {
        let attempt = WebhookAttempt {
            id: "msg_1".to_owned(),
            event: "webhook.test".to_owned(),
            index: None,
            kind: WebhookAttemptKind::Test.into(),
            attempt: 1,
            at: "T".to_owned(),
            took_ms: 3,
            delivered: false,
            status: None,
            error: Some("no\n\u{1b}[2J".to_owned()),
        };
        assert_eq!(attempt_line(&attempt), "T\ttest\t1\t-\t3 ms\twebhook.test\tmsg_1\tno\\n\\u{1b}[2J\n");
    }
}
