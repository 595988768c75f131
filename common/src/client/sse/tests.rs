//! The parser against the examples of the standard, octets cut anywhere, and what nobody should send; the order of entries;
//! a live tail from a scripted server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{BOM, Bye, EVENT_OCTETS_MAX, Event, FIELD_OCTETS_MAX, LINE_OCTETS_MAX, LogEvent, Order, Parser, SseError};
use crate::client::{Client, ClientError};

fn parse(octets: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Parser::default().push(octets, |event| events.push(event)).unwrap();
    events
}

fn event(name: &str, data: &str, last_id: &str) -> Event {
    Event { name: name.into(), data: data.into(), last_id: last_id.into() }
}

/// The examples of WHATWG HTML §9.2.6.
#[test]
fn examples_of_the_standard() {
    assert_eq!(
        parse(b"data: YHOO\ndata: +2\ndata: 10\n\n"),
        [event("message", "YHOO\n+2\n10", "")],
        "lines of data are joined"
    );
    assert_eq!(
        parse(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"),
        [event("message", "first event", "1"), event("message", "second event", "")],
        "the last is not complete"
    );
    assert_eq!(parse(b"data\n\ndata\ndata\n\ndata:"), [event("message", "", ""), event("message", "\n", "")]);
    assert_eq!(parse(b"data:test\n\ndata: test\n\n"), [event("message", "test", ""), event("message", "test", "")]);
}

/// Ends of lines, the mark at the beginning, ids with NUL, unknown fields, `retry`, names without data.
#[test]
fn corners() {
    let events = [event("a", "x\ny", "1")];
    for end in ["\n", "\r", "\r\n"] {
        let stream = ["event: a", "id: 1", "data: x", "data: y", "", ""].join(end);
        assert_eq!(parse(stream.as_bytes()), events, "{end:?}");
        assert_eq!(parse(&[BOM, stream.as_bytes()].concat()), events, "{end:?}");
    }
    assert_eq!(parse("data: a\n\n\u{feff}data: b\n\n".as_bytes()), [event("message", "a", "")], "no mark later on");
    assert_eq!(parse(b"id: 1\nid: 2\0\ndata: x\n\n"), [event("message", "x", "1")]);
    assert_eq!(parse(b"Data: x\n data: x\ndate: x\ndata: y\n\n"), [event("message", "y", "")]);
    assert_eq!(parse(b"event: a\n\ndata: x\n\n"), [event("message", "x", "")], "a name is forgotten with its event");
    assert_eq!(parse(b"data: a\xffb\n\n"), [event("message", "a\u{fffd}b", "")]);
    let mut parser = Parser::default();
    let mut retry = |octets: &[u8]| {
        parser.push(octets, |_| panic!("no event")).unwrap();
        parser.retry().map(|time| time.as_millis())
    };
    assert_eq!(retry(b"retry: 2000\n"), Some(2000));
    assert_eq!(retry(b"retry: -1\nretry: 1.5\nretry\nretry: 99999999999999999999999\n"), Some(2000));
    assert_eq!(retry(b"retry:7\n\n"), Some(7));
}

/// Limits are held at the octet that breaks them, and nothing is read after that.
#[test]
fn limits() {
    let none = |_| panic!("no event");
    let mut parser = Parser::default();
    parser.push(&vec![b'x'; LINE_OCTETS_MAX], none).unwrap();
    assert_eq!(parser.push(b"x", none), Err(SseError::LineTooLong));
    assert_eq!(parser.push(b"\n\ndata: x\n\n", none), Err(SseError::LineTooLong));

    let mut parser = Parser::default();
    let line = format!("data:{}\n", "x".repeat(1023));
    for _ in 0..EVENT_OCTETS_MAX / 1024 {
        parser.push(line.as_bytes(), none).unwrap();
    }
    assert_eq!(parser.push(b"data:\n", none), Err(SseError::EventTooLong));
    for _ in 0..10_000 {
        // Comments and unknown fields leave nothing behind.
        parser = Parser::default();
        parser.push(b": comment\nunknown: field\n", none).unwrap();
    }
}

/// A long id is no multiple of itself in every event, and a frame of many small events is held as octets: beside the frame
/// there is one event, and what the parser keeps.
#[test]
fn a_frame_is_not_multiplied() {
    let long = "7".repeat(LINE_OCTETS_MAX - 10);
    let frame = format!("id:{long}\nevent:{long}\n{}", "data\n\n".repeat(20_000));
    let (mut parser, mut rest, mut count) = (Parser::default(), frame.as_bytes(), 0);
    while let Some(event) = parser.take(&mut rest).unwrap() {
        count += 1;
        assert_eq!(rest.len(), (20_000 - count) * "data\n\n".len(), "nothing behind the event was read");
        let held = event.name.capacity() + event.data.capacity() + event.last_id.capacity();
        assert!(held <= 3 * FIELD_OCTETS_MAX, "{held}");
        let kept = parser.line.capacity() + parser.name.capacity() + parser.data.capacity() + parser.id.capacity();
        assert!(kept <= 2 * (LINE_OCTETS_MAX + EVENT_OCTETS_MAX), "{kept}");
    }
    assert_eq!(count, 20_000);
    let id = "7".repeat(FIELD_OCTETS_MAX);
    assert_eq!(parse(format!("id:{id}\nid:{id}8\ndata\n\n").as_bytes()), [event("message", "", &id)]);
}

/// Pieces of which streams are made: fields and ends of lines, whole and broken.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data".to_vec()),
        Just(b"id: 7".to_vec()),
        Just(b"id".to_vec()),
        Just(b"event: entry".to_vec()),
        Just(b":".to_vec()),
        Just(b"retry: 1".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(BOM.to_vec()),
        vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Another reading of the standard, of the whole at once.
fn model(octets: &[u8]) -> Vec<Event> {
    let octets = octets.strip_prefix(BOM).unwrap_or(octets);
    let text: Vec<u8> = octets.to_vec();
    let (mut lines, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        match text[at] {
            b'\r' => {
                lines.push(std::mem::take(&mut line));
                at += usize::from(text.get(at + 1) == Some(&b'\n'));
            }
            b'\n' => lines.push(std::mem::take(&mut line)),
            other => line.push(other),
        }
        at += 1;
    }
    let (mut events, mut id, mut name) = (Vec::new(), String::new(), String::new());
    let mut data: Vec<String> = Vec::new();
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                let name = if name.is_empty() { "message" } else { &name };
                events.push(event(name, &data.join("\n"), &id));
            }
            (name, data) = (String::new(), Vec::new());
            continue;
        }
        let mut parts = line.splitn(2, |octet| *octet == b':');
        let field = parts.next().unwrap().to_vec();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = String::from_utf8_lossy(value).into_owned();
        match field.as_slice() {
            b"data" => data.push(text),
            b"event" | b"id" if value.len() > FIELD_OCTETS_MAX => {}
            b"event" => name = text,
            b"id" if !value.contains(&0) => id = text,
            _ => {}
        }
    }
    events
}

proptest! {
    /// However the octets are cut, the events are the same, and those that the standard says.
    #[test]
    fn any_split(stream in pieces(), cuts in vec(any::<proptest::sample::Index>(), 0..12)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut events, mut parser) = (Vec::new(), Parser::default());
        for pair in cuts.windows(2) {
            parser.push(&stream[pair[0]..pair[1]], |event| events.push(event)).unwrap();
        }
        prop_assert_eq!(&events, &parse(&stream));
        prop_assert_eq!(events, model(&stream));
    }

    /// Octet by octet it is the same too.
    #[test]
    fn octet_by_octet(stream in pieces()) {
        let (mut events, mut parser) = (Vec::new(), Parser::default());
        for octet in &stream {
            parser.push(&[*octet], |event| events.push(event)).unwrap();
        }
        prop_assert_eq!(events, parse(&stream));
    }

    /// Whatever comes, what is kept is bounded.
    #[test]
    fn bounded(chunks in vec((prop_oneof![Just(b'x'), Just(b':'), Just(b'\n'), any::<u8>()], 0..20_000_usize), 0..40)) {
        let mut parser = Parser::default();
        for (octet, count) in chunks {
            let done = parser.push(&vec![octet; count], |event| assert!(event.data.len() < EVENT_OCTETS_MAX * 3));
            prop_assert!(parser.line.len() <= LINE_OCTETS_MAX && parser.data.len() <= EVENT_OCTETS_MAX * 3);
            if done.is_err() {
                break;
            }
        }
    }
}

fn refused(order: &mut Order, event: Event) -> String {
    match order.check(event) {
        Err(ClientError::Protocol(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Entries come one after another, whole and in base64; what is not known is passed over.
#[test]
fn order() {
    let mut order = Order { next: 5, strict: true };
    assert_eq!(
        order.check(event("entry", "e30=", "5")).unwrap(),
        Some(LogEvent::Entry { index: 5, leaf: b"{}".to_vec() })
    );
    assert_eq!(order.check(event("ingest", "anything", "5")).unwrap(), None);
    assert_eq!(order.check(event("message", "anything", "5")).unwrap(), None);
    assert_eq!(order.check(event("checkpoint", "a\n", "5")).unwrap(), Some(LogEvent::Checkpoint("a\n".into())));
    assert_eq!(order.check(event("bye", "expired", "5")).unwrap(), Some(LogEvent::Bye(Bye::Expired)));
    assert_eq!(order.check(event("bye", "x", "5")).unwrap(), Some(LogEvent::Bye(Bye::Other("x".into()))));
    for id in ["5", "4", "7", "0", "", "six", "-6", "18446744073709551616"] {
        refused(&mut order, event("entry", "e30=", id));
    }
    assert!(refused(&mut order, event("entry", "e30", "6")).contains("base64"));
    refused(&mut order, event("entry", "e30=\n", "6"));
    assert_eq!(order.next, 6);
    let mut last = Order { next: u64::MAX, strict: true };
    refused(&mut last, event("entry", "e30=", &u64::MAX.to_string()));
}

/// Taken as it comes, an index out of order is told and what is no entry is handed on whole; nothing ends the stream.
#[test]
fn as_it_comes() {
    let mut order = Order { next: 5, strict: false };
    for index in [7_u64, 5, 7, 0] {
        let told = order.check(event("entry", "e30=", &index.to_string())).unwrap();
        assert_eq!(told, Some(LogEvent::Entry { index, leaf: b"{}".to_vec() }));
    }
    for (data, id) in [("e30=", ""), ("e30=", "six"), ("e3", "8"), ("e30=", "18446744073709551615")] {
        let told = order.check(event("entry", data, id)).unwrap();
        assert_eq!(told, Some(LogEvent::Malformed { id: id.into(), data: data.into() }));
    }
    assert_eq!(order.next, 8);
}

/// A live tail from a scripted server: what was asked, what came, where to go on.
#[test]
fn stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            std::io::BufRead::read_line(&mut reader, &mut request).unwrap();
        }
        let events = "retry: 2000\n\nevent: entry\nid: 8\ndata: e30=\n\n: comment\n\nevent: new\ndata: x\n\n\
                      event: checkpoint\ndata: a\ndata: 9\ndata: \n\nevent: entry\nid: 10\ndata: e30=\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: r\r\nmregd-log-index: 8\r\n\
                    content-length: ";
        (&stream).write_all(format!("{head}{}\r\n\r\n{events}", events.len()).as_bytes()).unwrap();
        request
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let client = Client::new(&format!("http://{address}"), "test/1", false).unwrap();
        let mut tail = client.audit_stream(Some(7)).await.unwrap();
        assert_eq!((tail.request_id(), tail.log_index(), tail.next_index(), tail.last_index()), ("r", 8, 8, 7));
        assert_eq!(tail.next().await.unwrap(), Some(LogEvent::Entry { index: 8, leaf: b"{}".to_vec() }));
        assert_eq!(tail.next().await.unwrap(), Some(LogEvent::Checkpoint("a\n9\n".into())));
        assert_eq!(tail.retry(), Some(Duration::from_secs(2)));
        let gap = tail.next().await.unwrap_err();
        assert!(matches!(&gap, ClientError::Protocol(why) if why.contains("entry 10 where 9")), "{gap}");
        assert_eq!(tail.last_index(), 8);
        assert_eq!(tail.next().await.unwrap(), None);
    });
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /audit-logs/stream?after=7 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("accept: text/event-stream"), "{request}");
}
