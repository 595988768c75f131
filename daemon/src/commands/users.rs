//! `mregd user …`, whether the daemon runs or not. Knows what is asked and told; refuses to know rules.

use common::api::{Page, User, UserKind, UserPatch};
use common::grant::{Effect, Grant, GrantTold};
use common::name::UserName;
use common::pattern::NamePattern;
use common::role::Role;
use http::Method;
use serde_json::json;

use super::way::{Way, ask, ask_tagged, failed, here};
use super::{Failed, exit_of_secret, runtime, say};
use crate::cli::{Exit, PasswordSource, UserCommand};
use crate::config::{Config, Secret};
use crate::registry::cursor::Seek;
use crate::registry::users::Account;
use crate::registry::users::listing::UserListing;

/// Users asked for at once.
const PAGE: usize = 500;

pub(super) fn user(config: &Config, command: UserCommand) -> Result<(), Failed> {
    // Read before anything is opened: it may wait for a person.
    let command = Asked::read(command)?;
    let text = runtime()?.block_on(async {
        let mut way = Way::open(config).await?;
        let result = command.perform(&mut way).await;
        way.close().await;
        result
    })?;
    say(&text)
}

/// A command with its password read.
enum Asked {
    Add { name: UserName, role: Role, password: Password },
    AddService { name: UserName, role: Role },
    Passwd { name: UserName, password: Password },
    ResetTotp { name: UserName },
    Grant { name: UserName, grant: Grant },
    Ungrant { name: UserName, pattern: NamePattern, effect: Option<Effect> },
    List { json: bool },
}

struct Password {
    secret: Secret,
    generated: bool,
}

impl Password {
    fn read(source: &PasswordSource) -> Result<Self, Failed> {
        match source.read() {
            Ok(Some(secret)) => Ok(Self { secret, generated: false }),
            Ok(None) => match Secret::generate() {
                Ok(secret) => Ok(Self { secret, generated: true }),
                Err(error) => Err(Failed::new(Exit::Io, format_args!("no randomness: {error}"))),
            },
            Err(error) => {
                let from = source.password_file.as_ref().map_or("standard input".into(), |path| path.to_string_lossy());
                Err(Failed::new(exit_of_secret(&error), format_args!("the password from {from}: {error}")))
            }
        }
    }

    /// What the person needs to be told of it.
    fn shown(&self) -> String {
        if self.generated { format!("password: {} (shown this once)\n", self.secret.expose()) } else { String::new() }
    }
}

impl Asked {
    fn read(command: UserCommand) -> Result<Self, Failed> {
        let user_name = |name: String| {
            name.parse::<UserName>().map_err(|error| Failed::new(Exit::Usage, format_args!("{name:?}: {error}")))
        };
        Ok(match command {
            UserCommand::Add { name, role, service, password } => {
                let (name, role) = (user_name(name)?, role.parse().map_err(|error| Failed::new(Exit::Usage, error))?);
                if service {
                    Self::AddService { name, role }
                } else {
                    Self::Add { name, role, password: Password::read(&password)? }
                }
            }
            UserCommand::Passwd { name, password } => {
                Self::Passwd { name: user_name(name)?, password: Password::read(&password)? }
            }
            UserCommand::ResetTotp { name } => Self::ResetTotp { name: user_name(name)? },
            UserCommand::Grant { name, pattern, what } => {
                let grant = Grant { pattern: name_pattern(&pattern)?, effect: effect(&what)? };
                Self::Grant { name: user_name(name)?, grant }
            }
            UserCommand::Ungrant { name, pattern, what } => Self::Ungrant {
                name: user_name(name)?,
                pattern: name_pattern(&pattern)?,
                effect: what.as_deref().map(effect).transpose()?,
            },
            UserCommand::List { json } => Self::List { json },
        })
    }

    async fn perform(&self, way: &mut Way) -> Result<String, Failed> {
        match self {
            Self::Add { name, role, password } => {
                way.add(name, *role, &password.secret).await?;
                Ok(format!("created {name}, {role}\n{}", password.shown()))
            }
            Self::AddService { name, role } => {
                way.add_service(name, *role).await?;
                Ok(format!("created service account {name}, {role}; `mregd token create` makes a token for it\n"))
            }
            Self::Passwd { name, password } => {
                way.passwd(name, &password.secret).await?;
                Ok(format!("set the password of {name}; it must be changed at the next sign-in\n{}", password.shown()))
            }
            Self::ResetTotp { name } => {
                way.reset_totp(name).await?;
                Ok(format!("took the second factor of {name} away; the password alone is asked for next\n"))
            }
            Self::Grant { name, grant } => {
                let (mut grants, tag) = way.grants(name).await?;
                if grants.contains(grant) {
                    return Ok(format!("{name} has {grant} already\n"));
                }
                grants.push(grant.clone());
                let user = way.set_grants(name, grants, tag.as_deref()).await?;
                Ok(format!("granted {grant} to {name}\n{}", grants_shown(&user)))
            }
            Self::Ungrant { name, pattern, effect } => {
                let (mut grants, tag) = way.grants(name).await?;
                let before = grants.len();
                let is_meant = |grant: &Grant| {
                    grant.pattern.is_same(pattern) && effect.is_none_or(|effect| grant.effect == effect)
                };
                grants.retain(|grant| !is_meant(grant));
                if grants.len() == before {
                    let what = effect.map_or_else(|| pattern.to_string(), |effect| format!("{pattern}:{effect}"));
                    return Err(Failed::new(Exit::Usage, format_args!("{name} has no grant {what}")));
                }
                let user = way.set_grants(name, grants, tag.as_deref()).await?;
                Ok(format!("took back what {name} had on {pattern}\n{}", grants_shown(&user)))
            }
            Self::List { json } => {
                let users = way.list().await?;
                if *json {
                    return Ok(format!("{:#}\n", json!(users)));
                }
                let width = users.iter().map(|user| user.username.as_str().len()).max().unwrap_or(0);
                let line = |user: &User| {
                    let service = if user.kind == UserKind::Service { "  service" } else { "" };
                    let totp = if user.totp { "  2FA" } else { "" };
                    let disabled = if user.disabled { "  disabled" } else { "" };
                    let locked = user.locked_until.as_ref().map(|until| format!("  locked until {until}"));
                    let locked = locked.unwrap_or_default();
                    let first = if user.must_change_password { "  must change the password" } else { "" };
                    let grants: String = user.grants.iter().map(|grant| format!("  {grant}")).collect();
                    let name = user.username.as_str();
                    format!("{name:width$}  {}{service}{totp}{disabled}{locked}{first}{grants}\n", user.role)
                };
                Ok(users.iter().map(line).collect())
            }
        }
    }
}

fn name_pattern(text: &str) -> Result<NamePattern, Failed> {
    text.parse().map_err(|error| Failed::new(Exit::Usage, format_args!("{text:?}: {error}")))
}

fn effect(text: &str) -> Result<Effect, Failed> {
    text.parse().map_err(|error: String| Failed::new(Exit::Usage, error))
}

/// All grants of a user, one a line.
fn grants_shown(user: &User) -> String {
    if user.grants.is_empty() {
        return format!("{} has no grants left: the role {} holds for all models\n", user.username, user.role);
    }
    user.grants.iter().map(|grant| format!("  {grant}\n")).collect()
}

impl Way {
    /// A user's grants, and the tag that the user has with them.
    async fn grants(&mut self, name: &UserName) -> Result<(Vec<Grant>, Option<String>), Failed> {
        // All of them are sent back: none may be left out because it is not known here.
        let known = |grant: &GrantTold| {
            let why = || Failed::new(Exit::Internal, format_args!("{name} has {grant}, which is not known here"));
            grant.known().ok_or_else(why)
        };
        match self {
            Self::Running(operator) => {
                let target = format!("/users/{name}");
                let (user, tag) = ask_tagged::<User>(operator, Method::GET, &target, None, "try again", None).await?;
                Ok((user.grants.iter().map(known).collect::<Result<_, _>>()?, tag))
            }
            // Nobody else is at it.
            Self::Stopped(registry) => {
                let user = registry.user(&here(), name).await.map_err(failed)?.value.value.user;
                Ok((user.grants.iter().map(known).collect::<Result<_, _>>()?, None))
            }
        }
    }

    async fn set_grants(&mut self, name: &UserName, grants: Vec<Grant>, tag: Option<&str>) -> Result<User, Failed> {
        match self {
            Self::Running(operator) => {
                let (target, body) = (format!("/users/{name}"), json!({"grants": grants}));
                let (user, _tag) = ask_tagged(operator, Method::PATCH, &target, Some(&body), "try again", tag).await?;
                Ok(user)
            }
            Self::Stopped(registry) => {
                let patch = UserPatch { grants: Some(grants), ..UserPatch::default() };
                Ok(registry.patch_user(&here(), name, patch).await.map_err(failed)?.value.value)
            }
        }
    }

    async fn add(&mut self, name: &UserName, role: Role, password: &Secret) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let body = json!({"username": name, "password": password.expose(), "role": role});
                ask::<User>(operator, Method::POST, "/register", Some(&body), "try again").await.map(drop)
            }
            Self::Stopped(registry) => {
                registry.register(&here(), name.as_str(), password.clone(), Some(role)).await.map(drop).map_err(failed)
            }
        }
    }

    async fn add_service(&mut self, name: &UserName, role: Role) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let body = json!({"username": name, "role": role, "kind": UserKind::Service});
                ask::<User>(operator, Method::POST, "/register", Some(&body), "try again").await.map(drop)
            }
            Self::Stopped(registry) => {
                let made = registry.register_with(&here(), name.as_str(), Account::Service, Some(role)).await;
                made.map(drop).map_err(failed)
            }
        }
    }

    async fn passwd(&mut self, name: &UserName, password: &Secret) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let body = json!({"password": password.expose()});
                ask::<User>(operator, Method::POST, &format!("/users/{name}/password"), Some(&body), "try again")
                    .await
                    .map(drop)
            }
            Self::Stopped(registry) => {
                registry.set_password(&here(), name, password.clone()).await.map(drop).map_err(failed)
            }
        }
    }

    async fn reset_totp(&mut self, name: &UserName) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let target = format!("/users/{name}/totp/reset");
                ask::<User>(operator, Method::POST, &target, None, "try again").await.map(drop)
            }
            Self::Stopped(registry) => registry.reset_totp(&here(), name).await.map(drop).map_err(failed),
        }
    }

    async fn list(&mut self) -> Result<Vec<User>, Failed> {
        let mut users = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page: Page<User> = match self {
                Self::Running(operator) => {
                    let cursor = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                    ask(operator, Method::GET, &format!("/users?limit={PAGE}{cursor}"), None, "try again").await?
                }
                Self::Stopped(registry) => {
                    let seek = Seek::of(cursor.take(), None).map_err(|error| failed(error.into()))?;
                    let listing = UserListing { limit: PAGE, seek, ..UserListing::default() };
                    registry.list_users(&here(), listing).await.map_err(failed)?.value
                }
            };
            users.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(users);
            }
        }
    }
}
