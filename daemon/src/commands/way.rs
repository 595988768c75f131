//! How an operator's command reaches the registry: through the running daemon's control socket, or at the registry itself
//! while it is stopped; never two writers. Knows both ways; refuses to know what is asked for.

use std::collections::BTreeMap;
use std::io;

use common::problem::Problem;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failed, runtime};
use crate::StartError;
use crate::cli::Exit;
use crate::config::Config;
use crate::http::control::Operator;
use crate::registry::Registry;
use crate::registry::access::{Actor, Caller, Person};
use crate::store::sled::OpenError;

/// How the registry is reached.
pub(super) enum Way {
    Running(Operator),
    Stopped(std::sync::Arc<Registry>),
}

impl Way {
    pub(super) async fn open(config: &Config) -> Result<Self, Failed> {
        let dir = config.data_dir.display();
        if let Some(operator) = running(config).await? {
            return Ok(Self::Running(operator));
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

    pub(super) async fn close(self) {
        if let Self::Stopped(registry) = self {
            registry.close().await;
        }
    }
}

/// The operator, at the registry itself.
pub(super) fn here() -> Caller {
    Caller { actor: Actor::operator(Person::here()), request: None }
}

pub(super) fn failed(failure: crate::registry::error::Failure) -> Failed {
    failure.error.into()
}

/// Asks the running daemon; a problem document becomes the command's error. `unanswered` says what to do where it isn't known
/// whether it was done.
pub(super) async fn ask<T: DeserializeOwned>(
    operator: &mut Operator,
    method: Method,
    target: &str,
    body: Option<&serde_json::Value>,
    unanswered: &str,
) -> Result<T, Failed> {
    let (value, _tag) = ask_tagged(operator, method, target, body, unanswered, None).await?;
    Ok(value)
}

/// The same of a thing that others may change meanwhile: only as long as it has the tag, where one is given. Returns the tag
/// that it has now, too.
pub(super) async fn ask_tagged<T: DeserializeOwned>(
    operator: &mut Operator,
    method: Method,
    target: &str,
    body: Option<&serde_json::Value>,
    unanswered: &str,
    tag: Option<&str>,
) -> Result<(T, Option<String>), Failed> {
    let lost = |error: &dyn std::fmt::Display| {
        Failed::new(Exit::TempFail, format_args!("the running daemon didn't answer: {error}; {unanswered}"))
    };
    let body = body.map(|body| body.to_string().into_bytes());
    let asked = operator.ask_tagged(method, target, body, tag).await;
    let (status, tag, octets) = asked.map_err(|error| lost(&error))?;
    if status.is_success() {
        return Ok((serde_json::from_slice(&octets).map_err(|error| lost(&error))?, tag));
    }
    Err(told(status, &octets))
}

/// What the running daemon's refusal means for the command.
pub(super) fn told(status: StatusCode, octets: &[u8]) -> Failed {
    let detail = serde_json::from_slice::<Problem>(octets).map_or_else(|_| status.to_string(), |it| it.detail);
    let exit = match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::TempFail,
        status if status.is_server_error() => Exit::Internal,
        _ => Exit::Usage,
    };
    Failed::new(exit, detail)
}

/// The running daemon; none where none answers.
pub(super) async fn running(config: &Config) -> Result<Option<Operator>, Failed> {
    Operator::connect(&config.data_dir).await.map_err(|error| {
        let dir = config.data_dir.display();
        match error.kind() {
            // It listened until then.
            io::ErrorKind::ConnectionReset => {
                Failed::new(Exit::TempFail, format_args!("the daemon of {dir} ended just now; try again"))
            }
            _ => {
                Failed::new(super::exit_of(&error), format_args!("the control socket in {dir} can't be used: {error}"))
            }
        }
    })
}

/// Does something at the running daemon, without which it can't be done.
pub(super) fn with_daemon<T>(
    config: &Config,
    work: impl AsyncFnOnce(&mut Operator) -> Result<T, Failed>,
) -> Result<T, Failed> {
    runtime()?.block_on(async {
        let Some(mut operator) = running(config).await? else {
            let dir = config.data_dir.display();
            let message = format_args!("no daemon runs on {dir}; start it, or name another with --data-dir");
            return Err(Failed::new(Exit::TempFail, message));
        };
        work(&mut operator).await
    })
}

/// Who asks, as the entry of something that is done without a registry says it.
pub(super) fn operator_data() -> BTreeMap<String, Value> {
    let person = serde_json::to_value(Person::here()).unwrap_or_default();
    BTreeMap::from([("operator".to_owned(), person)])
}
