//! `mreg`, the registry's terminal console. Events in, actions out: `update` decides, `view` paints, `worker` asks the
//! daemon, `terminal` is all that touches the tty. Read in this order: `run`, `event`, `action`, `state`, `keymap`,
//! `update`, `layout`, `view`, `worker`, `terminal`; then `acts` and `cli`, which need no screen. `window`, `filter`, `clean`, `tail`, `trust`,
//! `time`, `access` know nothing of terminals or sockets; `config` alone reads arguments and environment.

pub mod access;
pub mod action;
pub mod acts;
pub mod clean;
pub mod cli;
pub mod config;
pub mod edit;
pub mod event;
pub mod export;
pub mod filter;
pub mod keymap;
pub mod lanes;
pub mod layout;
pub mod run;
pub mod secret;
pub mod state;
pub mod tail;
pub mod terminal;
pub mod time;
mod transfer;
pub mod trust;
pub mod update;
pub mod view;
pub mod window;
pub mod worker;
