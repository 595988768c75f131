//! What TLS and HTTP/2 cost: the same transfers as in clear HTTP/1.1, by curl, which speaks all of them; and an upload over a
//! line on which an octet takes long, where a window bounds what HTTP/2 can have on its way.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::child::Daemon;
use crate::figures::{cpu_us_of, heading, median, scratch};
use crate::{GIB, Pattern};

/// One way on the long line.
const DELAY: Duration = Duration::from_millis(25);
/// Octets that may be on their way on it.
const ON_THE_WAY_MAX: usize = 128 << 20;

/// How a transfer is made.
struct Kind {
    name: &'static str,
    scheme: &'static str,
    version: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { name: "clear HTTP/1.1", scheme: "http", version: "--http1.1" },
    Kind { name: "TLS HTTP/1.1", scheme: "https", version: "--http1.1" },
    Kind { name: "clear HTTP/2", scheme: "http", version: "--http2-prior-knowledge" },
    Kind { name: "TLS HTTP/2", scheme: "https", version: "--http2" },
];

pub(crate) fn lines(octets: u64, long_octets: u64, rounds: usize) {
    if ["curl", "openssl"].iter().any(|tool| Command::new(tool).arg("--version").output().is_err()) {
        return println!("SKIPPED: TLS and HTTP/2 need curl and openssl");
    }
    let dir = scratch();
    let (cert, key) = certificate(dir.path());
    let daemon = Daemon::start(&[("MREG_TLS_CERT", &cert), ("MREG_TLS_KEY", &key), ("MREG_LISTEN", "127.0.0.1:0")]);
    let tls = daemon.tls.expect("it speaks TLS");
    let gib = octets as f64 / GIB;
    heading(format_args!("transfers of {gib:.2} GiB by curl; GiB/s, and processor time of the daemon"));
    let mut figures: Vec<[Vec<f64>; 4]> = KINDS.iter().map(|_kind| Default::default()).collect();
    for round in 0..rounds {
        for (at, kind) in KINDS.iter().enumerate() {
            let address = if kind.scheme == "https" { tls } else { daemon.address };
            // A file of its own each time: what is there already is not stored again.
            let file = dir.path().join("file");
            write(&file, octets);
            let name = format!("line-{round}-{at}");
            let measured = |arguments: &[&str]| {
                let (began, cpu) = (Instant::now(), cpu_us_of(daemon.pid()));
                curl(&daemon, kind, arguments);
                let rate = gib / began.elapsed().as_secs_f64();
                (rate, (cpu_us_of(daemon.pid()) - cpu) as f64 / 1e6 / gib)
            };
            let up = measured(&["-T", &file.display().to_string(), &artifact(kind, address, &name)]);
            let down = measured(&["-o", "/dev/null", &format!("{}://{address}/models/{name}/download", kind.scheme)]);
            for (figures, figure) in figures[at].iter_mut().zip([up.0, up.1, down.0, down.1]) {
                figures.push(figure);
            }
        }
    }
    let clear: Vec<f64> = figures[0].iter().map(|figures| median(figures)).collect();
    for (kind, figures) in KINDS.iter().zip(&figures) {
        let of: Vec<f64> = figures.iter().map(|figures| median(figures)).collect();
        println!(
            "{:15} upload {:.2} ({:.2} CPU s/GiB, {:.2} × clear)   download {:.2} ({:.2} CPU s/GiB, {:.2} × clear)",
            kind.name,
            of[0],
            of[1],
            of[1] / clear[1],
            of[2],
            of[3],
            of[3] / clear[3]
        );
    }

    heading(format_args!(
        "an upload of {} MiB over a line of {} ms there and back",
        long_octets >> 20,
        2 * DELAY.as_millis()
    ));
    for kind in &KINDS {
        let address = if kind.scheme == "https" { tls } else { daemon.address };
        let line = LongLine::to(address);
        let file = dir.path().join("file");
        write(&file, long_octets);
        let began = Instant::now();
        let name = format!("long-{}", kind.name.replace([' ', '/', '.'], "-"));
        curl(&daemon, kind, &["-T", &file.display().to_string(), &artifact(kind, line.address, &name)]);
        let seconds = began.elapsed().as_secs_f64();
        let on_the_way = long_octets as f64 / (1 << 20) as f64 / seconds * 2.0 * DELAY.as_secs_f64();
        println!(
            "{:15} {:7.1} MiB/s, {on_the_way:.1} MiB on their way",
            kind.name,
            long_octets as f64 / f64::from(1 << 20) / seconds
        );
    }
}

fn artifact(kind: &Kind, address: SocketAddr, name: &str) -> String {
    format!("{}://{address}/models/{name}/artifact?filename=model.safetensors", kind.scheme)
}

fn curl(daemon: &Daemon, kind: &Kind, arguments: &[&str]) {
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--insecure", kind.version])
        .args(["-H", &format!("Authorization: Bearer {}", daemon.token)])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {output:?}", kind.name);
}

/// A file of the pattern.
fn write(path: &Path, octets: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    Pattern::new(octets).each(|octets| file.write_all(octets)).unwrap();
}

/// A certificate that signs itself, and its key.
fn certificate(dir: &Path) -> (String, String) {
    let (cert, key) = (dir.join("cert.pem").display().to_string(), dir.join("key.pem").display().to_string());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (cert, key)
}

/// A relay in which every octet takes its time, and as many as there are.
struct LongLine {
    address: SocketAddr,
}

impl LongLine {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            // One connection is all that is asked for.
            let (client, _) = listener.accept().unwrap();
            let daemon = TcpStream::connect(target).unwrap();
            for end in [&client, &daemon] {
                end.set_nodelay(true).unwrap();
            }
            let (up, down) = ((client.try_clone().unwrap(), daemon.try_clone().unwrap()), (daemon, client));
            for (from, to) in [up, down] {
                std::thread::spawn(move || carry(from, to));
            }
        });
        Self { address }
    }
}

/// What is on its way, and when it is due; empty octets are the end.
type OnTheWay = (Mutex<(VecDeque<(Instant, Vec<u8>)>, usize)>, Condvar);

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let line: Arc<OnTheWay> = Arc::default();
    let ahead = Arc::clone(&line);
    std::thread::spawn(move || {
        loop {
            let mut octets = vec![0; 256 * 1024];
            let count = from.read(&mut octets).unwrap_or_default();
            octets.truncate(count);
            let state = ahead.0.lock().unwrap();
            let mut state = ahead.1.wait_while(state, |state| state.1 > ON_THE_WAY_MAX).unwrap();
            state.1 += count;
            state.0.push_back((Instant::now() + DELAY, octets));
            drop(state);
            ahead.1.notify_all();
            if count == 0 {
                return;
            }
        }
    });
    loop {
        let state = line.0.lock().unwrap();
        let mut state = line.1.wait_while(state, |state| state.0.is_empty()).unwrap();
        let (due, octets) = state.0.pop_front().unwrap();
        state.1 -= octets.len();
        drop(state);
        line.1.notify_all();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if octets.is_empty() || to.write_all(&octets).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}
