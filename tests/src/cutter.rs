//! A way between two that a test can cut, slow down or hold: it listens on a port and passes everything on to a socket. Knows
//! octets; what they mean it knows only as far as a test names some that it waits for.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is to happen to the octets of the one who connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// They are passed on.
    Pass,
    /// Each piece is passed on so much later, both ways.
    Slow(Duration),
    /// New connections are refused, old ones are cut.
    Refuse,
    /// Octets are swallowed both ways, of old connections and new ones, and nobody hears why: a machine that is switched off.
    Silent,
    /// The first piece with these octets is dropped, and the connection cut; then as before.
    CutBefore(Vec<u8>),
    /// The first piece with these octets is passed on; what comes back then is dropped, and the connection cut.
    CutAfter(Vec<u8>),
    /// The first piece with these octets is passed on, and nothing comes back any more on that connection.
    HoldAfter(Vec<u8>),
}

/// The way.
#[derive(Debug)]
pub struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: PathBuf,
    mode: Mutex<Mode>,
    /// Connections that are open, to be cut.
    open: Mutex<Vec<TcpStream>>,
    cuts: Mutex<u32>,
}

impl Cutter {
    /// A way to a socket, which passes everything.
    pub fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to: socket.to_owned(),
            mode: Mutex::new(Mode::Pass),
            open: Mutex::default(),
            cuts: Mutex::new(0),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                if *shared.mode.lock().unwrap() == Mode::Refuse {
                    continue;
                }
                // The server may be down.
                let Ok(server) = UnixStream::connect(&shared.to) else { continue };
                shared.open.lock().unwrap().push(client.try_clone().unwrap());
                std::thread::spawn(move || shared.pass(client, server));
            }
        });
        Self { port, shared }
    }

    /// The port it listens on, of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is to happen from now on.
    pub fn set(&self, mode: Mode) {
        let refuse = mode == Mode::Refuse;
        *self.shared.mode.lock().unwrap() = mode;
        if refuse {
            self.cut();
        }
    }

    /// Cuts what is open now. New connections are treated as before.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// How often a cut that waited for octets was made.
    pub fn cuts(&self) -> u32 {
        *self.shared.cuts.lock().unwrap()
    }
}

impl Shared {
    fn pass(self: Arc<Self>, mut client: TcpStream, mut server: UnixStream) {
        client.set_nodelay(true).unwrap();
        let held = Arc::new(Mutex::new(None::<Mode>));
        let back = {
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let (held, shared) = (Arc::clone(&held), Arc::clone(&self));
            std::thread::spawn(move || {
                let mut octets = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from.read(&mut octets) {
                    let now = held.lock().unwrap().clone();
                    match now {
                        // The answer is there, and nobody hears it.
                        Some(Mode::CutAfter(_)) => break,
                        Some(_) => continue,
                        None => {}
                    }
                    if shared.is_silent() {
                        continue;
                    }
                    shared.wait();
                    if to.write_all(&octets[..read]).is_err() {
                        break;
                    }
                }
                let _gone = to.shutdown(Shutdown::Both);
            })
        };
        let mut octets = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = client.read(&mut octets) {
            let piece = &octets[..read];
            let hit = {
                let mut mode = self.mode.lock().unwrap();
                let waited_for = match &*mode {
                    Mode::CutBefore(part) | Mode::CutAfter(part) | Mode::HoldAfter(part) => Some(part.clone()),
                    Mode::Pass | Mode::Slow(_) | Mode::Refuse | Mode::Silent => None,
                };
                let hit = waited_for.is_some_and(|part| piece.windows(part.len()).any(|window| window == part));
                hit.then(|| std::mem::replace(&mut *mode, Mode::Pass))
            };
            if let Some(mode) = hit {
                *self.cuts.lock().unwrap() += 1;
                let before = matches!(mode, Mode::CutBefore(_));
                *held.lock().unwrap() = Some(mode);
                if before {
                    break;
                }
            }
            if self.is_silent() {
                continue;
            }
            self.wait();
            if server.write_all(piece).is_err() {
                break;
            }
        }
        let _gone = server.shutdown(Shutdown::Both);
        let _gone = client.shutdown(Shutdown::Both);
        let _ended = back.join();
    }

    fn is_silent(&self) -> bool {
        *self.mode.lock().unwrap() == Mode::Silent
    }

    fn wait(&self) {
        let slow = match *self.mode.lock().unwrap() {
            Mode::Slow(time) => time,
            _ => return,
        };
        std::thread::sleep(slow);
    }
}
