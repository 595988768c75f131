//! `mregd token …`, whether the daemon runs or not. A token is the whole of standard output, so that a script can take it;
//! what there is to say about it goes to standard error. Refuses to know rules.

use common::api::{ApiToken, ApiTokenMade, Deleted, NewApiToken, Page, RotateApiToken};
use common::name::UserName;
use common::pattern::NamePattern;
use common::role::{Permission, Role};
use common::token::{TokenError, TokenId};
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::way::{Way, ask, failed, here};
use super::{Failed, runtime, say};
use crate::cli::{self, Exit, TokenCommand, TokenLife};
use crate::config::Config;
use crate::registry::cursor::Seek;
use crate::registry::tokens::Whose;

/// Tokens asked for at once.
const PAGE: usize = 500;
/// What to do where it isn't known whether a token was made.
const UNANSWERED: &str = "`mregd token list` tells whether it was done; if so, revoke it and try again";

pub(super) fn token(config: &Config, command: TokenCommand) -> Result<(), Failed> {
    let asked = Asked::read(command)?;
    let told = runtime()?.block_on(async {
        let mut way = Way::open(config).await?;
        let result = asked.perform(&mut way).await;
        way.close().await;
        result
    })?;
    told.said.iter().for_each(|line| cli::err(line));
    say(&told.text)
}

/// What a command tells.
struct Told {
    /// For standard output.
    text: Zeroizing<String>,
    /// For standard error.
    said: Vec<String>,
}

/// A command with its words read.
enum Asked {
    Create(NewApiToken),
    List { user: Option<UserName>, json: bool },
    Rotate { id: TokenId, asked: RotateApiToken },
    Revoke { id: TokenId },
}

impl Asked {
    fn read(command: TokenCommand) -> Result<Self, Failed> {
        let token_id = |text: String| -> Result<TokenId, Failed> {
            text.parse().map_err(|_shape: TokenError| {
                let what =
                    format_args!("{text:?} is no id of a token: those have 16 characters, as `mregd token list` shows");
                Failed::new(Exit::Usage, what)
            })
        };
        Ok(match command {
            TokenCommand::Create { user, label, permissions, names, life } => {
                let permissions = permissions.iter().map(|name| permission(name)).collect::<Result<Vec<_>, _>>()?;
                let names = names.iter().map(|name| pattern(name)).collect::<Result<Vec<_>, _>>()?;
                let (expires_in, never_expires) = of_life(&life);
                Self::Create(NewApiToken {
                    label,
                    user: Some(user),
                    permissions: Some(permissions).filter(|list| !list.is_empty()),
                    names: Some(names).filter(|list| !list.is_empty()),
                    expires_in,
                    never_expires,
                })
            }
            TokenCommand::List { user, json } => {
                let read = |name: String| {
                    name.parse::<UserName>()
                        .map_err(|error| Failed::new(Exit::Usage, format_args!("{name:?}: {error}")))
                };
                Self::List { user: user.map(read).transpose()?, json }
            }
            TokenCommand::Rotate { id, overlap, life } => {
                let (expires_in, never_expires) = of_life(&life);
                let overlap = overlap.map(|overlap| overlap.as_secs());
                Self::Rotate { id: token_id(id)?, asked: RotateApiToken { overlap, expires_in, never_expires } }
            }
            TokenCommand::Revoke { id } => Self::Revoke { id: token_id(id)? },
        })
    }

    async fn perform(self, way: &mut Way) -> Result<Told, Failed> {
        match self {
            Self::Create(new) => {
                let (text, info) = way.create(new).await?;
                Ok(Told {
                    text,
                    said: vec![format!("made token {}: {}; it is shown this once", info.id, terms(&info))],
                })
            }
            Self::Rotate { id, asked } => {
                let (text, info) = way.rotate(&id, asked).await?;
                let old = match &info.old_secret_until {
                    Some(until) => format!("the old secret is accepted until {until}"),
                    None => "the old secret is void".to_owned(),
                };
                let said = format!("rotated token {id}: {}; {old}; it is shown this once", terms(&info));
                Ok(Told { text, said: vec![said] })
            }
            Self::Revoke { id } => {
                way.revoke(&id).await?;
                Ok(Told { text: Zeroizing::default(), said: vec![format!("revoked token {id}")] })
            }
            Self::List { user, json } => {
                let tokens = way.tokens(user.as_ref()).await?;
                let text = if json { format!("{:#}\n", json!(tokens)) } else { tokens.iter().map(line).collect() };
                Ok(Told { text: text.into(), said: Vec::new() })
            }
        }
    }
}

fn permission(name: &str) -> Result<Permission, Failed> {
    serde_json::from_value(Value::from(name)).map_err(|_unknown| {
        let known: Vec<&str> = Role::Admin.permissions().iter().map(|one| one.as_str()).collect();
        Failed::new(Exit::Usage, format_args!("{name:?} is no permission; there are {}", known.join(", ")))
    })
}

fn pattern(text: &str) -> Result<NamePattern, Failed> {
    text.parse().map_err(|why: String| Failed::new(Exit::Usage, format_args!("{text:?} {why}")))
}

fn of_life(life: &TokenLife) -> (Option<u64>, bool) {
    (life.expires.map(|span| span.as_secs()), life.never_expires)
}

/// `ci of svc-ci, model.read, until …`.
fn terms(info: &ApiToken) -> String {
    let until = info.expires_at.as_ref().map_or("never ends".to_owned(), |at| format!("until {at}"));
    format!("{} of {}, {}, {until}", label(info), info.user, scope(info))
}

fn scope(info: &ApiToken) -> String {
    let may = match &info.permissions {
        Some(list) => list.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","),
        None => "all its user may but user.manage".to_owned(),
    };
    match &info.names {
        Some(names) => format!("{may} on {}", names.iter().map(NamePattern::as_str).collect::<Vec<_>>().join(",")),
        None => may,
    }
}

/// The label, fit for a terminal.
fn label(info: &ApiToken) -> String {
    common::shown::shown(&info.label, usize::MAX)
}

/// A row of the list, its columns by tabs: labels may have blanks.
fn line(info: &ApiToken) -> String {
    let or = |time: &Option<String>, word: &str| time.clone().unwrap_or_else(|| word.to_owned());
    let (ends, used) = (or(&info.expires_at, "never ends"), or(&info.last_used_at, "never used"));
    format!("{}\t{}\t{}\t{}\t{ends}\t{used}\t{}\n", info.id, info.user, label(info), info.state.as_str(), scope(info))
}

type Made = (Zeroizing<String>, ApiToken);

impl Way {
    async fn create(&mut self, new: NewApiToken) -> Result<Made, Failed> {
        match self {
            Self::Running(operator) => {
                ask(operator, Method::POST, "/tokens", Some(&json!(new)), UNANSWERED).await.map(made)
            }
            Self::Stopped(registry) => {
                let done = registry.create_token(&here(), new).await.map_err(failed)?.value;
                Ok((shown(done.text.expose()), done.info.value))
            }
        }
    }

    async fn rotate(&mut self, id: &TokenId, asked: RotateApiToken) -> Result<Made, Failed> {
        match self {
            Self::Running(operator) => {
                let target = format!("/tokens/{id}/rotate");
                ask(operator, Method::POST, &target, Some(&json!(asked)), UNANSWERED).await.map(made)
            }
            Self::Stopped(registry) => {
                let done = registry.rotate_token(&here(), id, asked).await.map_err(failed)?.value;
                Ok((shown(done.text.expose()), done.info.value))
            }
        }
    }

    async fn revoke(&mut self, id: &TokenId) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                ask::<Deleted>(operator, Method::DELETE, &format!("/tokens/{id}"), None, "try again").await.map(drop)
            }
            Self::Stopped(registry) => registry.revoke_token(&here(), id).await.map(drop).map_err(failed),
        }
    }

    async fn tokens(&mut self, user: Option<&UserName>) -> Result<Vec<ApiToken>, Failed> {
        let mut tokens = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page: Page<ApiToken> = match self {
                Self::Running(operator) => {
                    let whose = user.map_or_else(|| "all=true".to_owned(), |name| format!("user={name}"));
                    let cursor = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                    let target = format!("/tokens?{whose}&limit={PAGE}{cursor}");
                    ask(operator, Method::GET, &target, None, "try again").await?
                }
                Self::Stopped(registry) => {
                    let seek = Seek::of(cursor.take(), None).map_err(|error| failed(error.into()))?;
                    let whose = user.map_or(Whose::All, |name| Whose::Of(name.clone()));
                    registry.list_tokens(&here(), whose, PAGE, seek).await.map_err(failed)?.value
                }
            };
            tokens.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tokens);
            }
        }
    }
}

fn made(answer: ApiTokenMade) -> Made {
    let token = Zeroizing::new(answer.token);
    (shown(&token), answer.info)
}

/// The token alone on its line.
fn shown(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{token}\n"))
}
