//! Tests of the drop folder on disk.

pub(super) fn step() {}
