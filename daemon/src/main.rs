//! mregd
fn main() {}
