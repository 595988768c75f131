//! mregd as a library: the registry, its store and blobs, its faces. `main` starts it, tests start it too.

pub mod clock;
pub mod config;
pub mod durable;
pub mod blobs;
pub mod store;
pub mod auth;
pub mod registry;
