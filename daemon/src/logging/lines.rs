//! Lines on their way to standard error. Those about requests, of which there may be many thousands a second, are gathered for
//! some milliseconds, so that a write is not the dearest part of a small request; all others are written at once, and take with
//! them what was gathered before. Lines are neither lost nor out of order, but for what was gathered last when the process is
//! killed or its reader is gone. Knows lines; refuses to know what is in them.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How late a line about a request may be.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// How long it is waited for a reader who has no room.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// Octets that are gathered at most; who brings more writes them all.
const GATHERED_MAX: usize = 64 * 1024;

/// The lines of the process.
static LINES: Lines = Lines::new();

/// Lines that were gathered, and the way out for them.
pub(super) struct Lines {
    gathered: Mutex<Gathered>,
    /// Told when the first line is gathered.
    some: Condvar,
    /// Held by who writes, so that lines stay in order: the octets that are being written.
    out: Mutex<Vec<u8>>,
}

struct Gathered {
    octets: Vec<u8>,
    /// Whether there is somebody to write them.
    has_writer: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lines {
    const fn new() -> Self {
        Self {
            gathered: Mutex::new(Gathered { octets: Vec::new(), has_writer: false }),
            some: Condvar::new(),
            out: Mutex::new(Vec::new()),
        }
    }

    /// Takes a line, and whether it is to be written at once.
    fn take(&self, line: &[u8], can_wait: bool, to: &mut dyn Write) -> io::Result<()> {
        let mut gathered = lock(&self.gathered);
        let is_first = gathered.octets.is_empty();
        gathered.octets.extend_from_slice(line);
        if can_wait && gathered.has_writer && gathered.octets.len() < GATHERED_MAX {
            drop(gathered);
            if is_first {
                self.some.notify_one();
            }
            return Ok(());
        }
        drop(gathered);
        self.write(to)
    }

    /// Writes what was gathered.
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut octets = lock(&self.out);
        octets.clear();
        std::mem::swap(&mut *octets, &mut lock(&self.gathered).octets);
        let mut left = octets.as_slice();
        while !left.is_empty() {
            match to.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever started us may have made it so that it doesn't block. It is waited for all the same.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_from_time_to_time(&self, to: &mut dyn Write) {
        loop {
            let gathered = lock(&self.gathered);
            drop(self.some.wait_while(gathered, |gathered| gathered.octets.is_empty()));
            thread::sleep(GATHERED_FOR);
            // As with any line: whoever should read it is gone.
            let _ = self.write(to);
        }
    }
}

/// Begins to gather. Without a thread for it every line is written at once.
pub(super) fn gather() {
    let writer = thread::Builder::new().name("mregd-lines".to_owned());
    let has_writer = writer.spawn(|| LINES.write_from_time_to_time(&mut io::stderr())).is_ok();
    lock(&LINES.gathered).has_writer = has_writer;
}

/// Writes what was gathered; for the end of the process.
pub fn flush() {
    let _ = LINES.write(&mut io::stderr());
}

/// Standard error, by way of [`LINES`].
pub(super) struct Stderr;

/// One line to it.
pub(super) struct ToStderr {
    can_wait: bool,
}

impl<'w> MakeWriter<'w> for Stderr {
    type Writer = ToStderr;

    fn make_writer(&'w self) -> ToStderr {
        ToStderr { can_wait: false }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> ToStderr {
        ToStderr { can_wait: super::is_of_request(metadata) && *metadata.level() >= Level::INFO }
    }
}

impl Write for ToStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.take(line, self.can_wait, &mut io::stderr())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::{self, Write};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::sink::Sink;
    use super::{GATHERED_MAX, Lines, lock};

    /// What can wait waits for what can't, and both come in order. Without a writer nothing waits.
    #[test]
    fn order() {
        let (lines, sink) = (Lines::new(), Sink::default());
        let take = |line: &str, can_wait| lines.take(line.as_bytes(), can_wait, &mut sink.clone()).unwrap();
        take("a\n", true);
        assert_eq!(sink.text(), "a\n");
        lock(&lines.gathered).has_writer = true;
        take("b\n", true);
        take("c\n", true);
        assert_eq!(sink.text(), "a\n");
        take("d\n", false);
        assert_eq!(sink.text(), "a\nb\nc\nd\n");
    }

    /// A reader who takes little at a time, and sometimes nothing, gets all of it.
    #[test]
    fn slow_readers() {
        struct Slow(Sink, usize);

        impl Write for Slow {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                if self.1.is_multiple_of(2) {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    self.0.write(&octets[..1])
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (lines, sink) = (Lines::new(), Sink::default());
        lines.take(b"one\n", false, &mut Slow(sink.clone(), 0)).unwrap();
        lines.take(b"two\n", false, &mut Slow(sink.clone(), 1)).unwrap();
        assert_eq!(sink.text(), "one\ntwo\n");
    }

    /// They have a bound.
    #[test]
    fn bounded() {
        let (lines, sink) = (Lines::new(), Sink::default());
        lock(&lines.gathered).has_writer = true;
        let line = [b'x'; 1024];
        for _ in 0..GATHERED_MAX / line.len() {
            assert!(lock(&lines.gathered).octets.len() < GATHERED_MAX);
            lines.take(&line, true, &mut sink.clone()).unwrap();
        }
        assert_eq!(sink.text().len(), GATHERED_MAX);
    }

    /// What waits is written without anything else happening; of several threads, each line whole and each thread's in order.
    #[test]
    fn from_time_to_time() {
        static LINES: Lines = Lines::new();
        let sink = Sink::default();
        lock(&LINES.gathered).has_writer = true;
        let mut to = sink.clone();
        thread::spawn(move || LINES.write_from_time_to_time(&mut to));
        thread::scope(|scope| {
            for writer in 0..4 {
                let mut to = sink.clone();
                scope.spawn(move || {
                    for number in 0..500 {
                        LINES.take(format!("{writer} {number}\n").as_bytes(), number % 7 > 0, &mut to).unwrap();
                    }
                });
            }
        });
        let begun = Instant::now();
        while sink.text().lines().count() < 2000 && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        let text = sink.text();
        for writer in 0..4 {
            let prefix = format!("{writer} ");
            let numbers: Vec<usize> = text
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .map(|number| number.parse().unwrap())
                .collect();
            assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        }
    }
}
