//! mreg.
pub mod blobs;
pub mod durable;
pub mod inspect;
