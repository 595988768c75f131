//! The drop folder: what lies in it becomes model versions, each once. A face of the registry like HTTP, and no more: names,
//! rights, inspection, limits and entries are the registry's.
//!
//! | module | what it does |
//! |---|---|
//! | `names` | what a name in the folder says: an item, a sidecar, something unfinished |
//! | `lanes` | the folder on disk: looking, taking, finishing, refusing. The only one that touches files |
//! | `sidecar` | what `NAME.mreg.json` and `NAME.sha256` say |
//! | `settle` | when something is complete: a pure state machine |
//! | `watch` | the kernel's hints |
//! | `jobs` | what is done with the folder on blocking threads, in batches |
//! | `schedule` | whose turn it is |
//! | `process` | one taken item on its way to a version |
//! | `documents` | what is left beside a file when it is decided |
//! | `table`, `queue` | all items and where they stand, for whoever asks, and what people do about them |
//! | `engine` | the task: it alone knows each item's next step |
//!
//! The way of a file: seen in `incoming/` → settled → renamed into `processing/<item>/` → hashed into the blob store →
//! inspected, recorded (one commit with its item) → renamed into `done/<date>/`, beside its receipt. What is refused goes
//! to `rejected/<date>/`, beside a problem document. Nothing is deleted that was not committed.
//!
//! Events are hints, walks are the truth: every decision is made on what a look at the folder shows.

mod documents;
mod engine;
mod jobs;
pub mod lanes;
pub mod names;
mod process;
pub mod queue;
mod schedule;
pub mod settle;
pub mod sidecar;
mod table;
pub mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ingest::DropFolder;
use crate::http::server::Stop;
use crate::ingest::engine::Engine;
use crate::ingest::lanes::Lanes;
use crate::ingest::queue::{Handle, Shared};
use crate::registry::Registry;

/// The drop folder, ready to run.
pub struct Ingest {
    engine: Engine,
    handle: Handle,
}

impl Ingest {
    /// Opens the folder: makes what is missing, and locks it. Blocks.
    ///
    /// # Errors
    /// `WouldBlock`: another daemon has it. Else what the file system says, with the path.
    pub fn open(registry: Arc<Registry>, settings: DropFolder) -> io::Result<Self> {
        let lanes = Lanes::open(&settings.dir)?;
        let lanes = if settings.events { lanes } else { lanes.written_elsewhere() };
        let (shared, commands) = Shared::new(registry);
        let handle = Handle::new(Arc::clone(&shared));
        Ok(Self { engine: Engine::new(shared, commands, settings, lanes), handle })
    }

    /// What other faces see of it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes in what is dropped until the stop begins, then lets what is at work end for as long as `grace`. What does not
    /// is left in `processing/`, and the next start goes on with it.
    pub async fn run(self, stop: Stop, grace: Duration) {
        self.engine.run(stop, grace).await;
    }
}
