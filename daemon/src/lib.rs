//! mreg.
pub mod config;
