//! A line to a daemon that can be narrowed, cut and led elsewhere: a relay of TCP connections. It lets through so many octets
//! in the direction of the daemon and then waits, so that a test knows where a transfer stands.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Debug)]
struct State {
    target: Option<SocketAddr>,
    allowed: u64,
    passed: u64,
    open: Vec<TcpStream>,
    over: bool,
}

/// The relay; over when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Relay {
    /// A line to a daemon, as wide as can be.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { target: Some(target), allowed: u64::MAX, passed: 0, open: Vec::new(), over: false };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let line = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let target = {
                    let state = line.0.lock().unwrap();
                    if state.over {
                        return;
                    }
                    state.target
                };
                // Nobody there: closed at once, as by a machine without the service.
                let Some(daemon) = target.and_then(|target| TcpStream::connect(target).ok()) else { continue };
                let ends = [client.try_clone().unwrap(), daemon.try_clone().unwrap()];
                line.0.lock().unwrap().open.extend(ends);
                let (up, down) = ((client.try_clone().unwrap(), daemon.try_clone().unwrap()), (daemon, client));
                let narrow = Arc::clone(&line);
                std::thread::spawn(move || carry(up.0, up.1, Some(&narrow)));
                std::thread::spawn(move || carry(down.0, down.1, None));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections elsewhere, or nowhere.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        self.shared.0.lock().unwrap().target = target;
    }

    /// From now on so many octets go through to the daemon; then it waits.
    pub fn allow(&self, octets: u64) {
        let mut state = self.shared.0.lock().unwrap();
        (state.allowed, state.passed) = (octets, 0);
        self.shared.1.notify_all();
    }

    /// Whether as many octets went through as are allowed.
    pub fn is_narrow(&self) -> bool {
        let state = self.shared.0.lock().unwrap();
        state.passed >= state.allowed
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        let mut state = self.shared.0.lock().unwrap();
        for end in state.open.drain(..) {
            let _gone = end.shutdown(Shutdown::Both);
        }
        self.shared.1.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let mut state = self.shared.0.lock().unwrap();
            (state.over, state.allowed) = (true, u64::MAX);
        }
        self.cut();
        // The thread that accepts looks up once more.
        let _woken = TcpStream::connect(self.address);
    }
}

/// Carries octets one way to the end, through the narrow place if there is one.
fn carry(mut from: TcpStream, mut to: TcpStream, narrow: Option<&(Mutex<State>, Condvar)>) {
    let mut octets = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut octets) {
        if count == 0 {
            break;
        }
        let mut rest = &octets[..count];
        while !rest.is_empty() {
            let some = match narrow {
                None => rest.len(),
                Some((state, changed)) => {
                    let mut state = changed
                        .wait_while(state.lock().unwrap(), |state| state.passed >= state.allowed && !gone(&from))
                        .unwrap();
                    let left = usize::try_from(state.allowed - state.passed).unwrap_or(usize::MAX);
                    let some = rest.len().min(left);
                    state.passed += some as u64;
                    some
                }
            };
            if some == 0 || to.write_all(&rest[..some]).is_err() {
                let _gone = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
                return;
            }
            rest = &rest[some..];
        }
    }
    let _done = to.shutdown(Shutdown::Write);
}

/// Whether a connection was cut on our side.
fn gone(stream: &TcpStream) -> bool {
    stream.take_error().is_err() || stream.peer_addr().is_err()
}
