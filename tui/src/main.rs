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
use tui::config::{Arguments, Configuration, Profiles, state_folder};
use tui::terminal::{Guard, give_back, is_interactive};
use tui::{cli, run, worker};

fn main() -> ExitCode {
    common::tls::install();
    std::panic::set_hook(Box::new(defect));
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    match arguments.command.take() {
        Some(command) => cli::run(arguments, command),
        None if arguments.plain => cli::plain(arguments),
        None => console(arguments),
    }
}

/// Help and version are asked for; the rest is a mistake, told in the form that was asked for.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // With stdout gone there is nobody left to tell.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let why = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        drop(writeln!(io::stderr(), "{}", cli::error_document(why, status::USAGE)));
    } else {
        drop(error.print());
    }
    ExitCode::from(status::USAGE)
}

fn console(arguments: Arguments) -> ExitCode {
    let usage = |why: &dyn std::fmt::Display| fail(status::USAGE, why);
    let guard = match Guard::open() {
        Ok(guard) if is_interactive() || arguments.connection.password_stdin => guard,
        Ok(_) | Err(_) => {
            return usage(&format_args!(
                "the console needs a terminal; without one there are: {}",
                cli::commands().join(", ")
            ));
        }
    };
    let configuration = Configuration::read();
    let complaint = configuration.complaint();
    // A profile that was asked for by name may be in the part that can't be read.
    if let (Some(why), true) = (&complaint, arguments.names_profile()) {
        return usage(why);
    }
    let file = configuration.file.unwrap_or_default();
    let (slow, clipboard) = (arguments.slow || file.ui.slow, file.ui.clipboard);
    #[cfg(debug_assertions)]
    let defect = arguments.defect;
    #[cfg(not(debug_assertions))]
    let defect = false;
    let profiles = Profiles::new(arguments, file);
    let opening = match profiles.chosen() {
        Ok(opening) => opening,
        Err(why) => return usage(&why),
    };
    let complaint = complaint.or_else(|| profiles.complaint());
    let settings = opening.as_ref().map_or_else(|| profiles.settings(), |opening| opening.settings.clone());
    match run::run(guard, run::Begin { profiles, opening, settings, complaint, slow, clipboard, defect }) {
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
    if let Some(size) = tui::terminal::size() {
        writeln!(report, "terminal {}x{}", size.width, size.height).expect("writing to a String can't fail");
    }
    writeln!(report, "last events: {}", run::recent_events().join(" ")).expect("writing to a String can't fail");
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
