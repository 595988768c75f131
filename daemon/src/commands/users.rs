//! `mregd user …`: through the running daemon's control socket, or on the registry itself while it is stopped; never two
//! writers. Knows both ways; refuses to know rules.

use common::api::{Page, User};
use common::name::UserName;
use common::problem::Problem;
use common::role::Role;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Failed, runtime};
use crate::StartError;
use crate::cli::{self, Exit, PasswordSource, UserCommand};
use crate::config::{Config, Secret};
use crate::http::control::Operator;
use crate::registry::Registry;
use crate::registry::access::{Actor, Caller};
use crate::store::sled::OpenError;

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
    match cli::out(&text) {
        Exit::Ok => Ok(()),
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}

/// A command with its password read.
enum Asked {
    Add { name: UserName, role: Role, password: Password },
    Passwd { name: UserName, password: Password },
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
                Err(Failed::new(Exit::Usage, format_args!("the password from {from}: {error}")))
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
            UserCommand::Add { name, role, password } => Self::Add {
                name: user_name(name)?,
                role: role.parse().map_err(|error| Failed::new(Exit::Usage, error))?,
                password: Password::read(&password)?,
            },
            UserCommand::Passwd { name, password } => {
                Self::Passwd { name: user_name(name)?, password: Password::read(&password)? }
            }
            UserCommand::List { json } => Self::List { json },
        })
    }

    async fn perform(&self, way: &mut Way) -> Result<String, Failed> {
        match self {
            Self::Add { name, role, password } => {
                way.add(name, *role, &password.secret).await?;
                Ok(format!("created {name}, {role}\n{}", password.shown()))
            }
            Self::Passwd { name, password } => {
                way.passwd(name, &password.secret).await?;
                Ok(format!("set the password of {name}; it must be changed at the next sign-in\n{}", password.shown()))
            }
            Self::List { json } => {
                let users = way.list().await?;
                if *json {
                    return Ok(format!("{:#}\n", json!(users)));
                }
                let width = users.iter().map(|user| user.username.as_str().len()).max().unwrap_or(0);
                let line = |user: &User| {
                    let disabled = if user.disabled { "  disabled" } else { "" };
                    format!("{:width$}  {}{disabled}\n", user.username.as_str(), user.role)
                };
                Ok(users.iter().map(line).collect())
            }
        }
    }
}

/// How the registry is reached.
enum Way {
    Running(Operator),
    Stopped(std::sync::Arc<Registry>),
}

impl Way {
    async fn open(config: &Config) -> Result<Self, Failed> {
        let dir = config.data_dir.display();
        match Operator::connect(&config.data_dir).await {
            Ok(Some(operator)) => return Ok(Self::Running(operator)),
            Ok(None) => {}
            Err(error) => {
                let message = format_args!("the control socket in {dir} can't be used: {error}");
                return Err(Failed::new(super::exit_of(&error), message));
            }
        }
        if !config.data_dir.join("log").is_dir() {
            let message = format_args!(
                "there is no registry in {dir}; `mregd init-db` creates one, MREG_DATA_DIR or --data-dir names another"
            );
            return Err(Failed::new(Exit::Config, message));
        }
        match crate::open(config).await {
            Ok(opened) => Ok(Self::Stopped(opened.registry)),
            Err(StartError::Store(OpenError::Locked { dir, pid })) => {
                let by = pid.map(|pid| format!(" by process {pid}")).unwrap_or_default();
                let dir = dir.display();
                let message = format_args!(
                    "{dir} is in use{by}, which doesn't answer at its control socket: it is starting or stopping; try again"
                );
                Err(Failed::new(Exit::TempFail, message))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn add(&mut self, name: &UserName, role: Role, password: &Secret) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let body = json!({"username": name, "password": password.expose(), "role": role});
                ask::<User>(operator, Method::POST, "/register", Some(&body)).await.map(drop)
            }
            Self::Stopped(registry) => {
                registry.register(&here(), name.as_str(), password.clone(), Some(role)).await.map(drop).map_err(failed)
            }
        }
    }

    async fn passwd(&mut self, name: &UserName, password: &Secret) -> Result<(), Failed> {
        match self {
            Self::Running(operator) => {
                let body = json!({"password": password.expose()});
                ask::<User>(operator, Method::POST, &format!("/users/{name}/password"), Some(&body)).await.map(drop)
            }
            Self::Stopped(registry) => {
                registry.set_password(&here(), name, password.clone()).await.map(drop).map_err(failed)
            }
        }
    }

    async fn list(&mut self) -> Result<Vec<User>, Failed> {
        let mut users = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page: Page<User> = match self {
                Self::Running(operator) => {
                    let cursor = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                    ask(operator, Method::GET, &format!("/users?limit={PAGE}{cursor}"), None).await?
                }
                Self::Stopped(registry) => {
                    registry.list_users(&here(), PAGE, cursor.as_deref()).await.map_err(failed)?.value
                }
            };
            users.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(users);
            }
        }
    }

    async fn close(self) {
        if let Self::Stopped(registry) = self {
            registry.close().await;
        }
    }
}

/// The operator, at the registry itself.
fn here() -> Caller {
    Caller { actor: Actor::operator(), request: None }
}

fn failed(failure: crate::registry::error::Failure) -> Failed {
    failure.error.into()
}

/// Asks the running daemon; a problem document becomes the command's error.
async fn ask<T: DeserializeOwned>(
    operator: &mut Operator,
    method: Method,
    target: &str,
    body: Option<&serde_json::Value>,
) -> Result<T, Failed> {
    let lost = |error: &dyn std::fmt::Display| {
        Failed::new(Exit::TempFail, format_args!("the running daemon didn't answer: {error}; try again"))
    };
    let body = body.map(|body| body.to_string().into_bytes());
    let (status, octets) = operator.ask(method, target, body).await.map_err(|error| lost(&error))?;
    if status.is_success() {
        return serde_json::from_slice(&octets).map_err(|error| lost(&error));
    }
    let detail = serde_json::from_slice::<Problem>(&octets).map_or_else(|_| status.to_string(), |it| it.detail);
    let exit = match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::TempFail,
        status if status.is_server_error() => Exit::Internal,
        _ => Exit::Usage,
    };
    Err(Failed::new(exit, detail))
}
