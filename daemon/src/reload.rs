//! SIGHUP: the settings are read again and those that can change are taken into use, all of them or none. Knows what has to
//! be ready before anything changes, and the order; refuses to know which settings those are (`config/live.rs`), and what
//! they do.
//!
//! Everything that can fail comes first: the sources are read and checked as at the start, the certificate is read and
//! checked, and the entry that says what changes is made durable. What follows can't fail: each part is swapped as a whole.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

use crate::config::live::Change;
use crate::config::{Config, Loaded, Mistake, Options, Refused};
use crate::http::Shared;
use crate::registry::error::RegistryError;
use crate::registry::lifecycle::SettingsChange;
use crate::tls::{Identity, Tls, TlsFileError};
use crate::{Keys, StartError, error_chain, limits, logging, notify, registry_settings};

/// Why everything stays as it was.
#[derive(Debug, Error)]
enum ReloadError {
    #[error("{}", listed(.0))]
    Refused(Vec<Mistake>),
    #[error("the certificate")]
    Certificate(#[source] TlsFileError),
    #[error(transparent)]
    Setting(#[from] StartError),
    #[error("the change can't be recorded")]
    Unrecorded(#[source] RegistryError),
    #[error("reading the settings failed")]
    Panicked(#[source] tokio::task::JoinError),
}

fn listed(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; ")
}

/// What reads the settings again.
pub struct Reloader {
    options: Options,
    /// What is in effect.
    config: Config,
    shared: Arc<Shared>,
    tls: Option<Arc<Tls>>,
}

impl Reloader {
    /// For a daemon that serves with this configuration, which came from these options.
    #[must_use]
    pub fn new(options: Options, config: Config, shared: Arc<Shared>, tls: Option<Arc<Tls>>) -> Self {
        Self { options, config, shared, tls }
    }

    /// Reads the settings again whenever `asked` changes; several in a row may be one.
    pub async fn run(mut self, mut asked: watch::Receiver<u64>) {
        while asked.changed().await.is_ok() {
            notify::reloading();
            let status = match self.reload().await {
                Ok(status) => status,
                Err(error) => {
                    let why = error_chain(&error);
                    tracing::error!(error = why, "the settings stay as they were; correct them and reload again");
                    format!("serving; the last reload was refused: {why}")
                }
            };
            notify::reloaded(&status);
        }
    }

    /// All or nothing; in a few words what came of it.
    async fn reload(&mut self) -> Result<String, ReloadError> {
        let (options, tls) = (self.options.clone(), self.tls.clone());
        let reading = tokio::task::spawn_blocking(move || read_again(&options, tls.as_deref()));
        let (loaded, identity) = reading.await.map_err(ReloadError::Panicked)??;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let change = self.config.taking_over(&loaded.config).map_err(|mistake| ReloadError::Refused(vec![mistake]))?;
        let Change { config, changed, pending } = change;
        if !changed.is_empty() {
            let registry = &self.shared.registry;
            let settings = registry_settings(&config, Keys::of(&registry.settings()))?;
            let said = SettingsChange {
                digest_from: self.config.digest(),
                digest_to: config.digest(),
                changed: changed.iter().map(ToString::to_string).collect(),
                pending: pending.iter().map(ToString::to_string).collect(),
            };
            registry.change_settings(settings, said).await.map_err(ReloadError::Unrecorded)?;
            self.shared.limits.set(limits(&config));
            if let Err(error) = logging::set_filter(&config.logging) {
                // It was parsed before, so this is a process without diagnostics, which nobody reads.
                tracing::error!(error = error_chain(&error), "the log level stays as it was");
            }
            self.config = config;
        }
        if let (Some(tls), Some(identity)) = (&self.tls, identity) {
            tls.take_into_use(identity);
        }
        let mut status = "serving".to_owned();
        if changed.is_empty() {
            tracing::info!("the settings were read again: those that can change while the daemon serves are the same");
        } else {
            let changed = changed.join(", ");
            tracing::info!(changed, digest = self.config.digest(), "settings were taken into use");
        }
        if !pending.is_empty() {
            let pending = pending.join(", ");
            tracing::warn!(
                pending,
                "settings were changed that are read at the start alone; restart to take them into use"
            );
            status.push_str("; a restart is needed for ");
            status.push_str(&pending);
        }
        Ok(status)
    }
}

/// Reads and checks all there is to be read. Blocks.
fn read_again(options: &Options, tls: Option<&Tls>) -> Result<(Loaded, Option<Identity>), ReloadError> {
    let loaded = Config::of_process(options).map_err(|Refused { mistakes, .. }| ReloadError::Refused(mistakes))?;
    let identity = tls.map(Tls::read_again).transpose().map_err(ReloadError::Certificate)?;
    Ok((loaded, identity))
}
