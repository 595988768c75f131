//! What a large transfer costs, counted and not timed: memory, and how often each octet passes through a file.

use std::fs;

use tests::daemon::Daemon;
use tests::http::Response;

const MIB: u64 = 1 << 20;
/// Octets of the large file.
const LARGE: u64 = 256 * MIB;
/// Octets of the one before it, which brings what is needed for any file into memory.
const WARM: u64 = 24 * MIB;
/// What memory may grow by for one transfer. The queue of an upload is 1 MiB and a download has some pieces of 256 KiB; the
/// rest is the allocator's. Anything that hangs on the size would be far beyond.
const GROWTH_MAX: u64 = 48 * MIB;

/// What the kernel has counted of a process.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// Octets that it read from files (proc_pid_io(5)); what comes from sockets by `recv` is not among them.
    read: u64,
    /// Octets that it wrote, by `write` and `writev`.
    written: u64,
    /// The most memory since it was asked to forget, octets.
    peak: u64,
}

fn figure(daemon: &Daemon, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/{file}", daemon.pid().as_raw_nonzero())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn counted(daemon: &Daemon) -> Counted {
    Counted {
        read: figure(daemon, "io", "rchar"),
        written: figure(daemon, "io", "wchar"),
        peak: figure(daemon, "status", "VmHWM") * 1024,
    }
}

/// Counts what some work takes: octets read, octets written, and memory on top of what there was.
fn cost(daemon: &Daemon, work: impl FnOnce()) -> Counted {
    // The mark of earlier work is forgotten (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{}/clear_refs", daemon.pid().as_raw_nonzero()), "5").unwrap();
    let before = counted(daemon);
    work();
    let after = counted(daemon);
    Counted {
        read: after.read - before.read,
        written: after.written - before.written,
        peak: after.peak.saturating_sub(before.peak),
    }
}

/// Sends a safetensors file of about so many octets between these, as the body of a request.
fn send(daemon: &Daemon, line: &str, kind: &str, octets: u64, before: &str, after: &str) -> Response {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let mut head = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    head.extend_from_slice(header.as_bytes());
    let length = before.len() + head.len() + usize::try_from(octets).unwrap() + after.len();
    let mut connection = daemon.client().connect();
    let fields = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
        daemon.admin().token()
    );
    connection.write(&[fields.as_bytes(), before.as_bytes(), &head].concat()).unwrap();
    let mut chunk = vec![0x5a; usize::try_from(MIB).unwrap()];
    for serial in 0..octets / MIB {
        chunk[..8].copy_from_slice(&serial.to_le_bytes());
        connection.write(&chunk).unwrap();
    }
    connection.write(after.as_bytes()).unwrap();
    connection.read_response(line.split(' ').next().unwrap()).unwrap().expect(201)
}

fn put(daemon: &Daemon, name: &str, octets: u64) {
    let line = format!("PUT /models/{name}/artifact?filename=m.safetensors");
    send(daemon, &line, "application/octet-stream", octets, "", "");
}

fn post(daemon: &Daemon, name: &str, octets: u64) {
    let before = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n{name}\r\n--XX\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"m.safetensors\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    send(daemon, "POST /models", "multipart/form-data; boundary=XX", octets, &before, "\r\n--XX--\r\n");
}

/// Fetches a model and keeps nothing of it.
fn fetch(daemon: &Daemon, name: &str) {
    let mut connection = daemon.client().connect();
    let token = daemon.admin().token().to_owned();
    let head = format!("GET /models/{name}/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write(head.as_bytes()).unwrap();
    let (status, headers) = connection.read_head().unwrap();
    assert_eq!(status, 200);
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    let mut left: usize = length.1.parse().unwrap();
    while left > 0 {
        left -= connection.read_exact(left.min(1 << 20)).unwrap().len();
    }
}

/// Memory does not hang on the size of a transfer. An upload is written once and read by nobody in the daemon; a download is
/// read once.
#[test]
fn large_transfers_cost_no_memory_and_one_pass() {
    // The scrubber reads, too, whenever it is its time.
    let daemon = Daemon::with(&[("MREG_SCRUB_BYTES_PER_SECOND", "4096")]);
    // The first sign-in takes memory of its own.
    daemon.admin();
    // Each is a little larger than the one before: the same octets again would be no new blob.
    type Work = fn(&Daemon, &str, u64);
    for (name, work) in [("raw", put as Work), ("form", post)] {
        work(&daemon, &format!("{name}-warm"), WARM);
        fetch(&daemon, &format!("{name}-warm"));
        let octets = LARGE + if name == "raw" { 0 } else { MIB };
        let upload = cost(&daemon, || work(&daemon, name, octets));
        println!("{name}: {upload:?}");
        assert!(upload.peak <= GROWTH_MAX, "{name}: {upload:?}");
        assert!(upload.written >= octets && upload.written <= octets + octets / 4, "{name}: {upload:?}");
        assert!(upload.read <= octets / 4, "{name}: {upload:?}");
        let download = cost(&daemon, || fetch(&daemon, name));
        println!("{name}, back: {download:?}");
        assert!(download.peak <= GROWTH_MAX, "{name}: {download:?}");
        assert!(download.read >= octets && download.read <= octets + octets / 4, "{name}: {download:?}");
        assert!(download.written <= octets + octets / 4, "{name}: {download:?}");
    }
}
