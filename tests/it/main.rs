//! The black-box suite: one binary, one module per feature.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic, and documents itself by its first line")]

mod recovery;
mod store_contract;

use tests::oracle;
