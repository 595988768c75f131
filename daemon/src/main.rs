//! mregd: arguments, configuration, diagnostics, exit code. What the commands do is in the library.

use std::process::ExitCode;

use daemon::cli::{self, Command, Exit, LogCommand};
use daemon::commands;
use daemon::config::{Config, Loaded, Options};
use daemon::logging;
use daemon::manual;
#[cfg(feature = "otlp")]
use daemon::traces;
use daemon::{error_chain, passed};

fn main() -> ExitCode {
    common::tls::install();
    let exit = cli::parse(std::env::args_os()).map_or_else(|exit| exit, |cli| run(&cli.options, cli.command));
    logging::flush();
    exit.into()
}

fn run(options: &Options, command: Option<Command>) -> Exit {
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve(options),
        Command::Config(command) => cli::config(options, &command),
        Command::GenSecret => cli::gen_secret(),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
        Command::Witness(arguments) => commands::witness(options, &arguments),
        Command::Scan(arguments) => commands::scan(&arguments),
        Command::ScanWorker => commands::scan_worker(),
        Command::Log(command @ (LogCommand::Verify(_) | LogCommand::Export(_) | LogCommand::Tail(_))) => {
            commands::read_log(options, command)
        }
        command @ (Command::InitDb
        | Command::User(_)
        | Command::Token(_)
        | Command::Log(_)
        | Command::Check(_)
        | Command::Gc(_)
        | Command::Quota(_)
        | Command::Retention(_)
        | Command::Webhook(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Migrate(_)
        | Command::MigrateBlobs(_)
        | Command::Openapi) => match load(options).and_then(|loaded| diagnose(&loaded, None).map(|()| loaded)) {
            Ok(loaded) => commands::execute(&loaded, command),
            Err(exit) => exit,
        },
    }
}

/// Serves, at the sockets that a service manager passed on if it did: the rules about who can reach us go by those then.
fn serve(options: &Options) -> Exit {
    let passed = match passed::take() {
        Ok(passed) => passed,
        Err(error) => {
            cli::err(&format!("error: {}", error_chain(&error)));
            return Exit::Config;
        }
    };
    let places = passed.iter().map(|socket| socket.place.clone()).collect();
    let options = Options { passed: places, ..options.clone() };
    let loaded = match load(&options) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    #[cfg(feature = "otlp")]
    let traces = match traces::open(&loaded.config.traces) {
        Ok(traces) => traces,
        Err(error) => {
            cli::err(&format!("error: traces: {}", error_chain(&error)));
            return Exit::Config;
        }
    };
    #[cfg(feature = "otlp")]
    let tracer = traces.as_ref().map(traces::Traces::tracer);
    #[cfg(not(feature = "otlp"))]
    let tracer = None;
    if let Err(exit) = diagnose(&loaded, tracer) {
        return exit;
    }
    let exit = commands::serve(&loaded, &options, passed);
    #[cfg(feature = "otlp")]
    if let Some(traces) = traces {
        traces.close();
    }
    exit
}

/// Loads the configuration, or says why not.
fn load(options: &Options) -> Result<Loaded, Exit> {
    Config::of_process(options).map_err(|refused| cli::report_refused(&refused))
}

/// Sets up diagnostics, or says why not.
fn diagnose(loaded: &Loaded, tracer: Option<logging::Tracer>) -> Result<(), Exit> {
    logging::init(&loaded.config.logging, tracer).map_err(|error| {
        cli::err(&format!("error: {error}"));
        Exit::Internal
    })
}
