//! mreg.

pub mod audit;
