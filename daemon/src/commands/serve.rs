//! `mregd serve`: the places to listen, the certificate, the signals, and what the person at the terminal is told. Knows the process; refuses to know
//! what is served.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::shown::shown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failed, exit_of, runtime};
use crate::cli::{self, Exit};
use crate::config::network::{Listen, TlsFiles};
use crate::config::{Config, Options, Secret};
use crate::http::server::Stop;
use crate::http::server::listen::{Listener, Socket};
use crate::registry::Seeded;
use crate::tls::{Identity, Protocols, Tls};
use crate::{Front, Opened, clock, durable, error_chain, notify, passed, url_of};

/// Characters of a certificate's names that are shown.
const NAMES_CHARS_MAX: usize = 160;
/// Connections that may wait to be accepted; the kernel has its own bound besides (net.core.somaxconn).
const BACKLOG: i32 = 1024;

pub(super) fn serve(config: &Config, options: &Options, passed: Vec<passed::Socket>) -> Result<(), Failed> {
    // Before anything is created: neither a second daemon at the same place nor one without its certificate should leave a
    // trace.
    let tls = config.tls.as_ref().map(certificate).transpose()?.map(Arc::new);
    let bound = if passed.is_empty() { Some(bind(config.bind)?) } else { None };
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let Signals { stop, hangups } = signals("SIGHUP: the settings are read again")?;
        let mut places = Vec::new();
        let mut shown = Vec::new();
        if let Some(bound) = bound {
            let (listener, address) = listener(bound, config.bind)?;
            shown.push(url_of(address, tls.is_some()));
            places.push(tcp(listener, tls.as_ref()));
        }
        for place in &config.listen {
            let (place, url) = open(place, config.socket_mode)?;
            places.push(place);
            shown.push(url);
        }
        for socket in passed {
            let (place, url) = take_over(socket, tls.as_ref())?;
            places.push(place);
            shown.push(url);
        }
        let opened = tokio::select! {
            opened = notify::while_starting(crate::open(config)) => opened?,
            // Recovery can be interrupted anywhere: it begins anew at the next start.
            () = asked_to_stop(stop.clone()) => return Ok(()),
        };
        let greeting = greeting(config, &opened, &shown, tls.as_deref());
        let announce = move || {
            // Nobody may be listening to standard output; the registry serves all the same.
            let _said = cli::out(&greeting);
        };
        let front = Front { listeners: places, tls, options: options.clone(), reload: hangups };
        crate::run(config, opened.registry, opened.cosigning, opened.ingest, front, stop, announce).await?;
        Ok(())
    });
    // Blocking work that is still running is a scan or a read: nothing waits for it any more.
    runtime.shutdown_background();
    result
}

/// The certificate to begin with. One that has expired is served all the same: nobody is better off without a registry.
fn certificate(files: &TlsFiles) -> Result<Tls, Failed> {
    let identity = Identity::load(files, Protocols::Both)
        .map_err(|error| Failed::new(Exit::Config, format_args!("TLS: {}", error_chain(&error))))?;
    Ok(Tls::new(files.clone(), identity))
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Failed> {
    std::net::TcpListener::bind(address)
        .and_then(|listener| {
            // The standard library's 128 is less than the connections that are served: those over it would wait a second
            // for their next SYN.
            rustix::net::listen(&listener, BACKLOG)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .map_err(|error| cannot_listen(address, &error))
}

fn listener(bound: std::net::TcpListener, asked: SocketAddr) -> Result<(TcpListener, SocketAddr), Failed> {
    let listener = TcpListener::from_std(bound).map_err(|error| cannot_listen(asked, &error))?;
    let address = listener.local_addr().map_err(|error| cannot_listen(asked, &error))?;
    Ok((listener, address))
}

/// TCP, in TLS if there is any.
fn tcp(listener: TcpListener, tls: Option<&Arc<Tls>>) -> Listener {
    match tls {
        Some(tls) => Listener::Tls(listener, Arc::clone(tls)),
        None => Listener::Tcp(listener),
    }
}

/// Serves at a socket that was passed on; how that is shown.
fn take_over(passed: passed::Socket, tls: Option<&Arc<Tls>>) -> Result<(Listener, String), Failed> {
    let passed::Socket { place, socket } = passed;
    let failed = |error: io::Error| {
        Failed::new(Exit::Unavailable, format_args!("can't serve at {}, which was passed on: {error}", place.at))
    };
    match &place.at {
        Listen::Tcp(address) => {
            let tls = tls.filter(|_tls| place.is_tls(true));
            let listener = TcpListener::from_std(socket.into()).map_err(failed)?;
            Ok((tcp(listener, tls), url_of(*address, tls.is_some())))
        }
        Listen::Unix(_path) => {
            let socket = Socket::passed(socket.into()).map_err(failed)?;
            Ok((Listener::Unix(socket), place.at.to_string()))
        }
    }
}

/// Listens at a further place; how that is shown.
fn open(place: &Listen, socket_mode: u32) -> Result<(Listener, String), Failed> {
    match place {
        Listen::Tcp(asked) => {
            let (listener, address) = listener(bind(*asked)?, *asked)?;
            Ok((Listener::Tcp(listener), url_of(address, false)))
        }
        Listen::Unix(path) => {
            let socket = Socket::bind(path, socket_mode).map_err(|error| {
                let exit = if error.kind() == io::ErrorKind::AddrInUse { Exit::Unavailable } else { exit_of(&error) };
                Failed::new(exit, format_args!("can't listen on {place}: {error}"))
            })?;
            Ok((Listener::Unix(socket), place.to_string()))
        }
    }
}

async fn asked_to_stop(mut stop: Stop) {
    crate::http::server::raised(&mut stop.begun).await;
}

/// What signals ask for.
pub(super) struct Signals {
    pub(super) stop: Stop,
    /// How often there was a SIGHUP.
    pub(super) hangups: watch::Receiver<u64>,
}

/// SIGTERM or SIGINT begins the stop, a second one ends it at once. SIGHUP ends nothing: a closed terminal must not end the
/// daemon; `hangup_means` is said.
pub(super) fn signals(hangup_means: &'static str) -> Result<Signals, Failed> {
    let listen = |kind| signal(kind).map_err(|error| Failed::new(Exit::Io, format_args!("no signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let (begin, begun) = watch::channel(false);
    let (cut, at_once) = watch::channel(false);
    let (hung_up, hangups) = watch::channel(0);
    tokio::spawn(async move {
        let mut again = false;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    tracing::info!("{hangup_means}");
                    hung_up.send_modify(|count| *count += 1);
                    continue;
                }
            };
            tracing::info!(signal = name, again, "asked to stop");
            begin.send_replace(true);
            cut.send_replace(again);
            again = true;
        }
    });
    Ok(Signals { stop: Stop { begun, at_once }, hangups })
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
fn greeting(config: &Config, opened: &Opened, places: &[String], tls: Option<&Tls>) -> String {
    // There is at least one: what is passed on, or else MREG_BIND.
    let first = places.first().cloned().unwrap_or_default();
    let certificate = tls.map(|tls| tls.current().certificate.clone());
    // The examples work under a name that the certificate is for.
    let name = certificate.as_ref().and_then(|certificate| certificate.names.first());
    let url = match (name, first.strip_prefix("https://").and_then(|address| address.rsplit_once(':'))) {
        (Some(name), Some((_ip, port))) if !name.contains(':') && !name.starts_with('*') => {
            format!("https://{name}:{port}")
        }
        _ if first.starts_with("unix:") => {
            format!("--unix-socket {} http://localhost", first.trim_start_matches("unix:"))
        }
        _ => first.clone(),
    };
    let identity = opened.registry.identity();
    let admin = &config.admin_username;
    let mut text = format!("{first}\n\nmregd {} is serving.\n\n", env!("CARGO_PKG_VERSION"));
    let mut fact = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    for place in places.iter().skip(1) {
        fact("also at", place);
    }
    if let Some(certificate) = &certificate {
        let days = certificate.days_left(clock::now_ms().div_euclid(clock::SECOND_MS));
        let names = shown(&certificate.names.join(", "), NAMES_CHARS_MAX);
        fact("certificate", &format_args!("{names}, good for {days} days"));
        fact("its key", &certificate.key);
    }
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
    let trust = match &certificate {
        Some(_) => "  # where this machine doesn't trust who issued the certificate: curl --cacert FILE\n",
        None => "",
    };
    let is_new = matches!(&opened.seeded, Seeded::Created { generated_password: Some(_) });
    let _ = write!(
        text,
        "\nTry it:\n\n{trust}  \
         TOKEN=$(curl -sS {url}/login -d 'username={admin}' --data-urlencode 'password={password}' \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n"
    );
    if is_new {
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
