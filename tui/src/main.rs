//! Arguments, the choice between screen and command, exit codes, and what happens on a defect.

use std::backtrace::Backtrace;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tui::cli::status;
use tui::config::{Arguments, state_folder};
use tui::terminal::{Guard, give_back, is_interactive};
use tui::{cli, run, worker};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(defect));
    let arguments = Arguments::parse();
    match arguments.command {
        Some(command) => cli::run(&arguments.connection, command),
        None => console(&arguments),
    }
}

fn console(arguments: &Arguments) -> ExitCode {
    let usage = |why: &dyn std::fmt::Display| fail(status::USAGE, why);
    let guard = match Guard::open() {
        Ok(guard) if is_interactive() || arguments.connection.password_stdin => guard,
        Ok(_) | Err(_) => {
            return usage(&"the console needs a terminal; without one there are: ls, show, audit, whoami, fetch");
        }
    };
    let client = match arguments.connection.client() {
        Ok(client) => client,
        Err(error) => return usage(&error),
    };
    let credential = match arguments.connection.credential(&client) {
        Ok(credential) => credential,
        Err(error) => return usage(&error),
    };
    let settings = match arguments.settings(&client) {
        Ok(settings) => settings,
        Err(why) => return usage(&why),
    };
    match run::run(guard, client, settings, credential) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(status::FAILED, &error),
    }
}

fn fail(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    // With stderr gone there is nobody left to tell.
    drop(writeln!(io::stderr(), "mreg: {why}"));
    ExitCode::from(code)
}

/// The terminal first, then a report, then the end. A panic in a request is that request's failure alone.
fn defect(about: &PanicHookInfo<'_>) {
    if std::thread::current().name() == Some(worker::THREAD_NAME) {
        return;
    }
    give_back();
    let mut report = format!("mreg {}: {about}\n", env!("CARGO_PKG_VERSION"));
    write!(report, "{}", Backtrace::force_capture()).expect("writing to a String can't fail");
    let told = match write_report(&report) {
        Some(path) => format!("a report is in {}", path.display()),
        None => report,
    };
    drop(writeln!(io::stderr(), "mreg: a defect ended the console: {about}\n{told}"));
    std::process::exit(status::DEFECT.into());
}

fn write_report(report: &str) -> Option<PathBuf> {
    let folder = state_folder()?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let path = folder.join(format!("defect-{}.txt", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
    file.write_all(report.as_bytes()).ok()?;
    Some(path)
}
