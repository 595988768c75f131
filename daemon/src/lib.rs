//! mregd, the registry daemon. Modules in reading order.

pub mod blobs;
pub mod config;
pub mod durable;
pub mod store;
