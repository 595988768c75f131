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
//! | `process` | one taken item on its way to a version |
//! | `queue` | all items and where they stand, for whoever asks |
//!
//! The way of a file: seen in `incoming/` → settled → renamed into `processing/<item>/` → hashed into the blob store →
//! inspected, recorded (one commit with its item) → renamed into `done/<date>/`, beside its receipt. What is refused goes
//! to `rejected/<date>/`, beside a problem document. Nothing is deleted that was not committed.
//!
//! Events are hints, walks are the truth: every decision is made on what a look at the folder shows.

pub mod lanes;
pub mod names;
pub mod process;
pub mod queue;
pub mod settle;
pub mod sidecar;
pub mod watch;
