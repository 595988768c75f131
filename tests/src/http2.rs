//! HTTP/2 frame by frame (RFC 9113), for what no client library would send. Knows frames and just enough of HPACK (RFC 7541)
//! to ask; answers are looked at by their frames alone.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wait::DEADLINE;

/// What a client with prior knowledge says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames that are sent or looked for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Octets of a body.
    Data = 0,
    /// The head of a request or an answer.
    Headers = 1,
    /// The end of a stream before its end.
    Reset = 3,
    /// Settings.
    Settings = 4,
    /// A sign of life.
    Ping = 6,
    /// The end of a connection.
    GoAway = 7,
    /// More of a head.
    Continuation = 9,
}

/// No more frames of this stream follow.
pub const END_STREAM: u8 = 1;
/// No more of this head follows.
pub const END_HEADERS: u8 = 4;
/// It answers a frame of its type.
pub const ACK: u8 = 1;

/// A frame.
#[must_use]
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind as u8, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as HPACK literals that go into no table.
#[must_use]
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The head of a request, with a token.
#[must_use]
pub fn head(method: &str, path: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    fields(&[
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ])
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn push_length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Opens one, with these settings.
    pub fn open(address: SocketAddr, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let said: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        stream.write_all(&[PREFACE, &frame(Kind::Settings, 0, 0, &said)].concat())?;
        Ok(Self { stream })
    }

    /// Sends octets as they are.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// The next frame: its type, flags, stream and payload. Pings are answered on the way.
    pub fn read(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        if head[3] == Kind::Ping as u8 && head[4] & ACK == 0 {
            self.stream.write_all(&frame(Kind::Ping, ACK, 0, &payload))?;
        }
        Ok((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Whether the daemon has ended it, as far as can be seen within this time. What comes is passed over, pings are answered.
    pub fn is_ended_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        loop {
            match self.read() {
                Ok((kind, ..)) if kind == Kind::GoAway as u8 => return true,
                Ok(_frame) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
    }
}
