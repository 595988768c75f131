//! `mreg`, the registry's terminal console. Events in, actions out: `update` decides, `view` paints, `worker` asks the
//! daemon, `terminal` is all that touches the tty. Modules in reading order, `run` first where the program is followed.

pub mod config;
pub mod run;
pub mod event;
pub mod action;
pub mod state;
pub mod keymap;
pub mod access;
pub mod update;
pub mod layout;
pub mod view;
pub mod worker;
pub mod terminal;
pub mod cli;
pub mod window;
pub mod filter;
pub mod clean;
pub mod edit;
pub mod secret;
