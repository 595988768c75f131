//! mregd, the registry daemon. Modules in reading order.
