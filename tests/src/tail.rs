//! A reader of the live tail, event by event. It holds the daemon to consecutive indices and to checkpoints that cover
//! exactly what came before them.

use std::collections::VecDeque;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::client::{Event, Parser};

use crate::http::{Client, Connection, Response};
use crate::oracle;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An entry: index and leaf.
    Entry(u64, Vec<u8>),
    /// A checkpoint: its size.
    Checkpoint(u64),
    /// A goodbye.
    Bye(String),
    /// The end of the body, in order.
    End,
}

/// An open stream.
#[derive(Debug)]
pub struct Tail {
    /// The connection it comes over.
    pub connection: Connection,
    /// The head of the answer.
    pub head: Response,
    parser: Parser,
    events: VecDeque<Event>,
    /// The index that must come next.
    pub next: u64,
    vkey: String,
    /// Comments and other octets count too.
    pub octets: usize,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Behind now.
    Now,
    /// Behind an index, said in the query.
    After(u64),
    /// Behind an index, said as browsers do, which wins over what the query says.
    LastEventId(u64),
}

/// Asks for a stream.
pub fn ask(client: &Client, from: From) -> (Connection, io::Result<Response>) {
    let request = match from {
        From::Now => client.request("GET", "/audit-logs/stream"),
        From::After(index) => client.request("GET", &format!("/audit-logs/stream?after={index}")),
        From::LastEventId(index) => {
            client.request("GET", "/audit-logs/stream?after=0").header("Last-Event-ID", &index.to_string())
        }
    };
    let mut connection = client.connect();
    connection.write(&request.head_octets()).unwrap();
    let response = connection.read_opening();
    (connection, response)
}

impl Tail {
    /// Opens a stream, which must be let in.
    pub fn open(client: &Client, from: From) -> Self {
        let (connection, head) = ask(client, from);
        let head = head.unwrap().expect(200);
        let next = match from {
            From::Now => head.log_index() + 1,
            From::After(index) | From::LastEventId(index) => index + 1,
        };
        let vkey = client.ledger().vkey().to_string();
        Self { connection, head, parser: Parser::default(), events: VecDeque::new(), next, vkey, octets: 0 }
    }

    /// What comes next; waits for it.
    pub fn told(&mut self) -> Told {
        self.try_told().unwrap()
    }

    /// The same; an error where the connection breaks.
    pub fn try_told(&mut self) -> io::Result<Told> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(self.meaning(event));
            }
            let Some(chunk) = self.connection.read_chunk()? else { return Ok(Told::End) };
            self.octets += chunk.len();
            let events = &mut self.events;
            self.parser.push(&chunk, |event| events.push_back(event)).unwrap();
        }
    }

    fn meaning(&mut self, event: Event) -> Told {
        match event.name.as_str() {
            "entry" => {
                assert_eq!(event.last_id, self.next.to_string(), "a gap or a double");
                self.next += 1;
                Told::Entry(self.next - 1, STANDARD.decode(event.data).expect("base64"))
            }
            "checkpoint" => {
                let (size, _root) = oracle::open_note(&event.data, &self.vkey);
                let size = u64::try_from(size).unwrap();
                assert_eq!(size, self.next, "a checkpoint covers what came before it, and nothing else");
                Told::Checkpoint(size)
            }
            "bye" => Told::Bye(event.data),
            other => panic!("an event named {other}"),
        }
    }

    /// Reads up to an entry; the leaves from where it stands on.
    pub fn up_to(&mut self, index: u64) -> Vec<(u64, Vec<u8>)> {
        let mut entries = Vec::new();
        while self.next <= index {
            match self.told() {
                Told::Entry(index, leaf) => entries.push((index, leaf)),
                Told::Checkpoint(_) => {}
                other => panic!("{other:?} before entry {index}"),
            }
        }
        entries
    }

    /// Reads up to the goodbye, behind which nothing may come.
    pub fn bye(&mut self) -> String {
        loop {
            if let Told::Bye(reason) = self.told() {
                assert_eq!(self.told(), Told::End);
                return reason;
            }
        }
    }
}
