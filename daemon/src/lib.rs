//! mreg.
pub mod blobs;
pub mod durable;
