//! Making everything derived anew, on demand (`mregd log rebuild`). Knows in which order it is removed, so that a stop at
//! any point leaves what the next start completes; recovery does the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::audit::{Action, Actor, ActorKind};
use serde_json::Value;

use super::look::look;
use super::recover::{Stance, recover};
use super::{Locks, OpenError, SledOptions, SledStore, replica};
use crate::durable;
use crate::store::sequencer::own_entry;
use crate::store::shared::writer::Writer;
use crate::store::{Decide, Moment, Records};

/// What a removed view is called until it is gone.
const REMOVED: &str = "view.removed-";

impl SledStore {
    /// Removes hashes, rows and view, derives them again from the journal, and writes `store.rebuild`. `operator` is who
    /// asked for it, as an entry says it.
    ///
    /// # Errors
    /// [`OpenError`]; where the data contradicts its checkpoint or mark, it is refused as at any start.
    pub fn rebuild(
        options: &SledOptions,
        operator: BTreeMap<String, Value>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Self, OpenError> {
        if !options.log_dir().is_dir() {
            return Err(OpenError::Refused(format!("there is no registry in {}", options.data_dir.display())));
        }
        let locks = Locks::take(options)?;
        let shared = match &options.shared {
            Some(database) => {
                let mut writer = Writer::open(database)?;
                let head = replica::pull(options, &mut writer)?;
                Some((writer, head))
            }
            None => {
                replica::refuse_alone(options)?;
                None
            }
        };
        // Nothing is removed that could not be derived again.
        look(options, Stance::Refuse)?;
        remove_derived(&options.data_dir, &options.log_dir())?;
        let mut recovered = recover(options, Stance::Refuse, shared.as_ref().map(|(_writer, head)| head), progress)?;
        recovered.sequencer.shared = shared.map(|(writer, _head)| writer);
        let origin = recovered.sequencer.shown.keys.borrow().origin.clone();
        let mut data = operator;
        data.insert("on_demand".to_owned(), true.into());
        recovered.opening = vec![by_operator(own_entry(Action::StoreRebuild, &origin, data))];
        Self::start(options, locks, recovered)
    }
}

/// First what says how much of it is good: without that, whatever is left is derived again from the beginning.
fn remove_derived(data_dir: &Path, log_dir: &Path) -> Result<(), OpenError> {
    let derived = log_dir.join("derived");
    durable::remove(&derived).map_err(OpenError::path(&derived))?;
    remove_view(data_dir)?;
    for entry in fs::read_dir(log_dir).map_err(OpenError::path(log_dir))? {
        let entry = entry.map_err(OpenError::path(log_dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "entries" || name.strip_prefix("hash.").is_some_and(|level| level.parse::<u8>().is_ok()) {
            durable::remove(&entry.path()).map_err(OpenError::path(&entry.path()))?;
        }
    }
    Ok(())
}

/// Removes the view. It counts as a whole or not at all: it gets another name in one step.
pub(super) fn remove_view(data_dir: &Path) -> Result<(), OpenError> {
    let view = data_dir.join("view");
    if view.is_dir() {
        let removed = data_dir.join(format!("{REMOVED}{}", uuid::Uuid::now_v7()));
        durable::rename(&view, &removed).map_err(OpenError::path(&view))?;
    }
    for entry in fs::read_dir(data_dir).map_err(OpenError::path(data_dir))? {
        let entry = entry.map_err(OpenError::path(data_dir))?;
        if entry.file_name().to_string_lossy().starts_with(REMOVED) {
            fs::remove_dir_all(entry.path()).map_err(OpenError::path(&entry.path()))?;
        }
    }
    Ok(())
}

/// The operator, as an entry names one.
pub(super) fn operator() -> Actor {
    Actor {
        id: "system".to_owned(),
        name: Some("operator".to_owned()),
        kind: ActorKind::System,
        role: Some("admin".to_owned()),
        cred: None,
    }
}

fn by_operator(decide: Decide) -> Decide {
    Box::new(move |records: &dyn Records, moment: Moment| {
        let mut decision = decide(records, moment)?;
        decision.draft.actor = operator();
        Ok(decision)
    })
}
