//! `mregd serve`: the port, the signals, and what the person at the terminal is told. Knows the process; refuses to know
//! what is served.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failed, runtime};
use crate::cli::{self, Exit};
use crate::config::{Config, Secret};
use crate::durable;
use crate::http::server::Stop;
use crate::registry::Seeded;
use crate::{Opened, notify, url_of};

/// Connections that may wait to be accepted; the kernel has its own bound besides (net.core.somaxconn).
const BACKLOG: i32 = 1024;

pub(super) fn serve(config: &Config) -> Result<(), Failed> {
    // Before anything is created: a second daemon on the same port should leave no trace.
    let listener = std::net::TcpListener::bind(config.bind)
        .and_then(|listener| {
            // The standard library's 128 is less than the connections that are served: those over it would wait a second
            // for their next SYN.
            rustix::net::listen(&listener, BACKLOG)?;
            Ok(listener)
        })
        .map_err(|error| cannot_listen(config.bind, &error))?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stop = signals()?;
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener))
            .map_err(|error| cannot_listen(config.bind, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_listen(config.bind, &error))?;
        let opened = tokio::select! {
            opened = notify::while_starting(crate::open(config)) => opened?,
            // Recovery can be interrupted anywhere: it begins anew at the next start.
            () = asked_to_stop(stop.clone()) => return Ok(()),
        };
        let greeting = greeting(config, &opened, address);
        let announce = move || {
            // Nobody may be listening to standard output; the registry serves all the same.
            let _said = cli::out(&greeting);
        };
        crate::run(config, opened.registry, opened.cosigning, opened.ingest, listener, stop, announce).await?;
        Ok(())
    });
    // Blocking work that is still running is a scan or a read: nothing waits for it any more.
    runtime.shutdown_background();
    result
}

async fn asked_to_stop(mut stop: Stop) {
    crate::http::server::raised(&mut stop.begun).await;
}

/// SIGTERM or SIGINT begins the stop, a second one ends it at once. SIGHUP means nothing: a closed terminal must not end
/// the daemon.
pub(super) fn signals() -> Result<Stop, Failed> {
    let listen = |kind| signal(kind).map_err(|error| Failed::new(Exit::Io, format_args!("no signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let (begin, begun) = watch::channel(false);
    let (cut, at_once) = watch::channel(false);
    tokio::spawn(async move {
        let mut again = false;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP means nothing here");
                    continue;
                }
            };
            tracing::info!(signal = name, again, "asked to stop");
            begin.send_replace(true);
            cut.send_replace(again);
            again = true;
        }
    });
    Ok(Stop { begun, at_once })
}

pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failed {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another with --bind or MREG_BIND"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a right; choose another with --bind or MREG_BIND",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another with --bind or MREG_BIND",
        _ => "choose another with --bind or MREG_BIND",
    };
    Failed::new(Exit::Unavailable, format_args!("can't listen on {address} ({error}): {advice}"))
}

/// Where standard output is a socket, it is the service manager's journal, which keeps what it is told and shows it to
/// others. There a generated password goes to a file instead, whose place is returned. None if it may be shown, which it
/// also is where the file can't be written: nobody could sign in otherwise.
fn keep_from_the_journal(config: &Config, password: &Secret) -> Option<PathBuf> {
    let output = rustix::fs::fstat(std::io::stdout()).ok()?;
    if rustix::fs::FileType::from_raw_mode(output.st_mode) != rustix::fs::FileType::Socket {
        return None;
    }
    let place = config.key_dir.join("admin-password");
    match durable::write_file(&place, format!("{}\n", password.expose()).as_bytes(), durable::MODE_FILE) {
        Ok(()) => Some(place),
        Err(error) => {
            tracing::warn!(%error, place = %place.display(), "the generated password can't be put into a file");
            None
        }
    }
}

/// What is said on standard output. The first line is the address and nothing else, for scripts.
fn greeting(config: &Config, opened: &Opened, address: SocketAddr) -> String {
    let url = url_of(address);
    let identity = opened.registry.identity();
    let admin = &config.admin_username;
    let mut text = format!("{url}\n\nmregd {} is serving.\n\n", env!("CARGO_PKG_VERSION"));
    let mut fact = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    fact("data", &config.data_dir.display());
    fact("keys", &config.key_dir.display());
    fact("log key", &identity.vkey);
    for leaving in identity.vkeys.iter().skip(1) {
        fact("beside it", leaving);
    }
    fact("manual", &format_args!("{url}/docs"));
    let mut password = "<password>";
    match &opened.seeded {
        Seeded::AlreadyThere => {}
        Seeded::Created { generated_password: None } => {
            fact("admin user", &format_args!("{admin}, with the password of ADMIN_PASSWORD"));
        }
        Seeded::Created { generated_password: Some(generated) } => {
            fact("admin user", admin);
            match keep_from_the_journal(config, generated) {
                None => {
                    password = generated.expose();
                    fact("password", &format_args!("{password}   (shown this once)"));
                }
                Some(place) => {
                    fact("password", &format_args!("in {}; remove the file once it is changed", place.display()))
                }
            }
        }
    }
    let first = matches!(&opened.seeded, Seeded::Created { generated_password: Some(_) });
    let _ = write!(
        text,
        "\nTry it:\n\n  \
         TOKEN=$(curl -s {url}/login -d 'username={admin}' --data-urlencode 'password={password}' \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n"
    );
    if first {
        let _ = write!(
            text,
            "  curl {url}/me/password -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n       \
             -d '{{\"old_password\":\"{password}\",\"new_password\":\"<your own, 12 characters or more>\"}}'\n"
        );
    }
    let _ = write!(
        text,
        "  curl {url}/models -H \"Authorization: Bearer $TOKEN\" -F file=@model.pkl\n  \
         curl {url}/models -H \"Authorization: Bearer $TOKEN\"\n  \
         curl {url}/models/model/download -H \"Authorization: Bearer $TOKEN\" -OJ\n\n"
    );
    text
}
