//! The drop folder: every way a file may come, what is waited for, what is refused and why, who acts, and that each becomes
//! one version and no second, whatever happens in between.

mod arrive;
mod beside;
mod folders;
mod hostile;
mod killed;
mod long;
mod machine;
mod manage;
mod who;
