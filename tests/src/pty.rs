//! The real `mreg` in a pseudo-terminal: keys go in, the screen comes out as text, and every octet is counted. Which modes
//! the console switched on is followed in its octets, so that a test can say whether the terminal was given back. Knows
//! nothing of what the console should show.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use tempfile::TempDir;

use crate::daemon::{build, variable};
use crate::wait::{DEADLINE, until};

/// Octets read from the terminal at once.
const READ_OCTETS: usize = 64 * 1024;
/// Without a new octet for so long a frame counts as complete. Frames are one write each.
const SETTLED: Duration = Duration::from_millis(120);

/// The console under test: `MREG_BIN`, or built once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match variable("MREG_BIN") {
        Some(path) => path.into(),
        None => build("tui", "mreg"),
    })
}

/// How a console is started: in a home of its own, with nothing of our environment.
#[derive(Debug)]
pub struct Setup {
    home: Arc<TempDir>,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    rows: u16,
    columns: u16,
    octets_per_second: Option<u32>,
    delay: Duration,
    program: Option<Vec<String>>,
}

impl Setup {
    /// 100x30, a terminal of 256 colours that speaks UTF-8.
    pub fn new() -> Self {
        Self::at(Arc::new(TempDir::with_prefix("mreg-home-").unwrap()))
    }

    /// The same in a home that another console has, or had.
    pub fn at(home: Arc<TempDir>) -> Self {
        let path = |name: &str| home.path().join(name).display().to_string();
        let environment = [
            ("HOME", home.path().display().to_string()),
            ("XDG_CONFIG_HOME", path("config")),
            ("XDG_STATE_HOME", path("state")),
            ("XDG_RUNTIME_DIR", path("runtime")),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("TERM", "xterm-256color".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let runtime = home.path().join("runtime");
        std::fs::create_dir_all(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self {
            home,
            arguments: Vec::new(),
            environment,
            rows: 30,
            columns: 100,
            octets_per_second: None,
            delay: Duration::ZERO,
            program: None,
        }
    }

    /// The size of the terminal.
    pub fn size(mut self, columns: u16, rows: u16) -> Self {
        (self.columns, self.rows) = (columns, rows);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sets a variable; an empty value takes it away.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.remove(name);
        if !value.is_empty() {
            self.environment.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Writes the console's configuration file.
    pub fn config(self, text: &str) -> Self {
        let folder = self.home.path().join("config/mreg");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
        self
    }

    /// The line to the terminal carries so many octets a second.
    pub fn line(mut self, octets_per_second: u32) -> Self {
        self.octets_per_second = Some(octets_per_second);
        self
    }

    /// Octets of the console arrive so much later than they were sent.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Runs another program in the terminal (`sh -c …`); `MREG` in its environment is the console's path.
    pub fn program(mut self, program: &[&str]) -> Self {
        self.program = Some(program.iter().map(|part| (*part).to_owned()).collect());
        self
    }

    /// The home folder; it lives as long as a console in it.
    pub fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// Runs the console without a terminal, to its end.
    pub fn output(self, arguments: &[&str], input: &str) -> std::process::Output {
        let mut child = std::process::Command::new(binary())
            .args(&self.arguments)
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.home.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses before it reads closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Starts it.
    pub fn start(self) -> Console {
        let Self { home, arguments, environment, rows, columns, octets_per_second, delay, program } = self;
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = match program.as_deref() {
            None => CommandBuilder::new(binary()),
            Some([name, rest @ ..]) => {
                let mut command = CommandBuilder::new(name);
                command.args(rest);
                command
            }
            Some([]) => panic!("a program has a name"),
        };
        command.args(&arguments);
        command.env_clear();
        for (name, value) in &environment {
            command.env(name, value);
        }
        command.env("MREG", binary());
        command.cwd(home.path());
        let tty = pair.master.tty_name().unwrap();
        let reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let seen = Arc::new(Mutex::new(Seen::new(rows, columns)));
        let closing = Arc::new(AtomicBool::new(false));
        let held = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (sink, stop, hold) = (Arc::clone(&seen), Arc::clone(&closing), Arc::clone(&held));
        let mut way = Way { sink, delay, late: None };
        let reading = std::thread::spawn(move || read(reader, &mut way, &stop, &hold, octets_per_second));
        Console {
            home: Some(home),
            child,
            line: Some(Line { master: pair.master, writer, reading }),
            tty,
            seen,
            closing,
            held,
            began,
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// What has come out of the console so far.
struct Seen {
    octets: Vec<u8>,
    screen: vt100::Parser,
    newest: Instant,
    ended: bool,
    /// Octets that were counted and let go.
    forgotten: usize,
}

impl Seen {
    fn new(rows: u16, columns: u16) -> Self {
        let screen = vt100::Parser::new(rows, columns, 0);
        Self { octets: Vec::new(), screen, newest: Instant::now(), ended: false, forgotten: 0 }
    }

    fn arrived(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        self.screen.process(octets);
        self.newest = Instant::now();
    }
}

/// The way of octets to the screen.
struct Way {
    sink: Arc<Mutex<Seen>>,
    delay: Duration,
    /// Takes octets that are on their way, each with the moment they arrive.
    late: Option<std::sync::mpsc::Sender<(Instant, Vec<u8>)>>,
}

impl Way {
    fn put(&mut self, octets: &[u8]) {
        if self.delay.is_zero() {
            return self.sink.lock().unwrap().arrived(octets);
        }
        let sink = &self.sink;
        let late = self.late.get_or_insert_with(|| {
            let (late, under_way) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
            let sink = Arc::clone(sink);
            // Ends with the reader, which has the other end.
            std::thread::spawn(move || {
                for (due, octets) in under_way {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let mut seen = sink.lock().unwrap();
                    // Nothing at all is the end.
                    seen.ended |= octets.is_empty();
                    seen.arrived(&octets);
                }
            });
            late
        });
        // The receiver lives as long as this end of it.
        let _ = late.send((Instant::now() + self.delay, octets.to_vec()));
    }

    /// Nothing more comes, once what is under way has come.
    fn end(&mut self) {
        match &self.late {
            Some(late) => drop(late.send((Instant::now() + self.delay, Vec::new()))),
            None => self.sink.lock().unwrap().ended = true,
        }
    }
}

fn read(
    mut reader: Box<dyn Read + Send>,
    way: &mut Way,
    stop: &AtomicBool,
    hold: &AtomicBool,
    octets_per_second: Option<u32>,
) {
    let mut octets = vec![0; octets_per_second.map_or(READ_OCTETS, |rate| (rate / 20).max(1) as usize)];
    loop {
        let count = reader.read(&mut octets).unwrap_or(0);
        while hold.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if count == 0 || stop.load(Ordering::SeqCst) {
            return way.end();
        }
        way.put(&octets[..count]);
        if let Some(rate) = octets_per_second {
            let took = u32::try_from(count).unwrap();
            // The line itself: this much time is what so many octets take on it.
            std::thread::sleep(Duration::from_secs(1) * took / rate);
        }
    }
}

struct Line {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    reading: std::thread::JoinHandle<()>,
}

/// What is switched on in the terminal, as its octets say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// The alternate screen is shown.
    pub alternate: bool,
    /// The cursor is hidden.
    pub cursor_hidden: bool,
    /// Paste comes in brackets.
    pub paste: bool,
    /// The mouse is reported.
    pub mouse: bool,
    /// Focus is reported.
    pub focus: bool,
    /// A synchronized update is open.
    pub update: bool,
    /// Lines outside a region don't scroll.
    pub region: bool,
    /// Text would be drawn with colours or attributes.
    pub attributes: bool,
}

/// The console, running in its terminal.
pub struct Console {
    home: Option<Arc<TempDir>>,
    child: Box<dyn Child + Send + Sync>,
    line: Option<Line>,
    tty: PathBuf,
    seen: Arc<Mutex<Seen>>,
    closing: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    began: Instant,
}

impl Console {
    /// When it was started.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        self.home.as_ref().expect("the home is there until the console goes").path()
    }

    /// The process in the terminal.
    pub fn pid(&self) -> Pid {
        let pid = self.child.process_id().expect("the child is there");
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    // ---- in ---------------------------------------------------------------------------------------------------------

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) {
        let line = self.line.as_mut().expect("the line is open");
        line.writer.write_all(octets).unwrap();
        line.writer.flush().unwrap();
    }

    /// Presses keys, names in angle brackets: `2kkG/denied<Enter>`, `<C-z>`.
    pub fn press(&mut self, keys: &str) {
        self.send(&octets_of(keys));
    }

    /// Pastes text, as a terminal does that was asked for brackets.
    pub fn paste(&mut self, text: &str) {
        self.send(format!("\x1b[200~{text}\x1b[201~").as_bytes());
    }

    /// Makes the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.seen.lock().unwrap().screen.screen_mut().set_size(rows, columns);
        self.line.as_ref().expect("the line is open").master.resize(size).unwrap();
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is there");
    }

    /// The other end of the line goes: a lost connection, a closed window.
    pub fn close(&mut self) {
        let Some(Line { master, writer, reading }) = self.line.take() else { return };
        self.closing.store(true, Ordering::SeqCst);
        // The reader waits for an octet; one from the other end wakes it.
        if let Ok(mut tty) = self.tty_file() {
            let _ = tty.write_all(b" ");
            // A line that is lost says nothing more: without this its writer would type an end of file first.
            if let Ok(mut modes) = tcgetattr(&tty) {
                modes.special_codes[SpecialCodeIndex::VEOF] = 0;
                let _ = tcsetattr(&tty, OptionalActions::Now, &modes);
            }
        }
        reading.join().unwrap();
        drop(writer);
        drop(master);
    }

    /// Takes no octet any more from the console, as a line that hangs; or takes them again.
    pub fn hang(&self, on: bool) {
        self.held.store(on, Ordering::SeqCst);
    }

    // ---- out --------------------------------------------------------------------------------------------------------

    /// Octets so far.
    pub fn count(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.forgotten + seen.octets.len()
    }

    /// The octets from a place on, which were not let go.
    pub fn octets_from(&self, from: usize) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        seen.octets[from - seen.forgotten..].to_vec()
    }

    /// Lets go of the octets so far, which stay counted: for a console that runs for hours. What is switched on can't be told
    /// any more afterwards.
    pub fn forget(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.forgotten += seen.octets.len();
        seen.octets.clear();
    }

    /// When the last octet came.
    pub fn newest(&self) -> Instant {
        self.seen.lock().unwrap().newest
    }

    /// Colours that were used, by their parameters.
    pub fn colours(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let all = sequences(&seen.octets).into_iter().filter(|(private, _, last)| private.is_none() && *last == b'm');
        let is_colour =
            |part: &str| part.parse().is_ok_and(|n: u8| matches!(n, 30..=38 | 40..=48 | 90..=97 | 100..=107));
        all.map(|(_, parameters, _)| parameters).filter(|parameters| parameters.split(';').any(is_colour)).collect()
    }

    /// The screen as lines, without blanks at their ends.
    pub fn screen(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let (_, columns) = seen.screen.screen().size();
        let mut text = String::new();
        for row in seen.screen.screen().rows(0, columns) {
            writeln!(text, "{}", row.trim_end()).unwrap();
        }
        text
    }

    /// A line of the screen, counted from 0.
    pub fn row(&self, row: usize) -> String {
        self.screen().lines().nth(row).unwrap_or_default().to_owned()
    }

    /// Whether the screen shows this now.
    pub fn shows(&self, text: &str) -> bool {
        self.screen().contains(text)
    }

    /// Waits until the screen shows this; how long that took.
    pub fn wait_for(&mut self, text: &str) -> Duration {
        self.wait_until(&format!("{text:?} on the screen"), |screen| screen.contains(text))
    }

    /// Waits until the screen no longer shows this.
    pub fn wait_gone(&mut self, text: &str) -> Duration {
        self.wait_until(&format!("{text:?} to leave the screen"), |screen| !screen.contains(text))
    }

    /// Waits until the screen fits; how long that took.
    pub fn wait_until(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if fits(&screen) {
                return began.elapsed();
            }
            let status = self.child.try_wait().unwrap();
            let gone = status.is_some() && self.seen.lock().unwrap().ended;
            assert!(!gone, "the console ended ({status:?}) before there was {what}:\n{screen}");
            assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until nothing new has come for a moment: what was asked for is drawn. Octets so far.
    pub fn settle(&self) -> usize {
        let began = Instant::now();
        loop {
            let (count, rest) = {
                let seen = self.seen.lock().unwrap();
                // What was asked for just now may not have been read here yet.
                (seen.forgotten + seen.octets.len(), seen.newest.elapsed().min(began.elapsed()))
            };
            if rest >= SETTLED {
                return count;
            }
            assert!(began.elapsed() < DEADLINE, "the console draws without end:\n{}", self.screen());
            std::thread::sleep(SETTLED - rest);
        }
    }

    /// What is switched on.
    pub fn modes(&self) -> Modes {
        modes(&self.seen.lock().unwrap().octets)
    }

    /// Questions the console asked the terminal; there should be none.
    pub fn queries(&self) -> Vec<String> {
        queries(&self.seen.lock().unwrap().octets)
    }

    /// Whether the terminal hands over each key at once and shows none of them.
    pub fn is_raw(&self) -> bool {
        let tty = self.tty_file().unwrap();
        let local = tcgetattr(&tty).unwrap().local_modes;
        !local.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// How the terminal treats what is typed.
    pub fn local_modes(&self) -> LocalModes {
        tcgetattr(self.tty_file().unwrap()).unwrap().local_modes
    }

    /// Fails unless the terminal is as it was found.
    pub fn assert_given_back(&self) {
        let modes = self.modes();
        assert_eq!(modes, Modes::default(), "left switched on; the end was {:?}", self.tail());
        if self.line.is_some() {
            assert!(!self.is_raw(), "the terminal was left raw");
        }
    }

    /// The last octets, readable.
    pub fn tail(&self) -> String {
        let seen = self.seen.lock().unwrap();
        String::from_utf8_lossy(&seen.octets[seen.octets.len().saturating_sub(200)..]).escape_debug().to_string()
    }

    fn tty_file(&self) -> std::io::Result<File> {
        let flags = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).map_err(std::io::Error::other)?;
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(&self.tty)
    }

    // ---- its end ----------------------------------------------------------------------------------------------------

    /// Waits for the end; the exit status and how long it took.
    pub fn wait_end(&mut self) -> (u32, Duration) {
        let began = Instant::now();
        let status = until("the console's end", || self.child.try_wait().unwrap());
        let took = began.elapsed();
        assert_eq!(status.signal(), None, "the console was killed: {status:?}");
        if self.line.is_some() {
            // All that it wrote has arrived when the reader has seen the end.
            until("the last octets", || self.seen.lock().unwrap().ended.then_some(()));
        }
        (status.exit_code(), took)
    }

    /// Leaves by `q`, which must be one step from the top, and checks that all is as it was.
    pub fn quit(&mut self) {
        self.press("q");
        let (status, _) = self.wait_end();
        assert_eq!(status, 0, "{}", self.screen());
        self.assert_given_back();
    }

    /// Waits for the end of the process alone: its last octets may still be on the way.
    pub fn wait_exit(&mut self) -> (u32, Duration) {
        let began = Instant::now();
        let status = until("the console's end", || self.child.try_wait().unwrap());
        (status.exit_code(), began.elapsed())
    }

    /// Octets the process has written so far, wherever to.
    pub fn written(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.pid().as_raw_nonzero())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        line.trim().parse().unwrap()
    }

    /// Whether the process is stopped (`T` in `/proc`).
    pub fn is_stopped(&self) -> bool {
        proc_state(self.pid()) == Some('T')
    }

    /// Voluntary and other context switches of all threads so far: how often it woke up.
    pub fn wakeups(&self) -> u64 {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid().as_raw_nonzero()));
        let folders = std::fs::read_dir(tasks).unwrap().flatten();
        let texts = folders.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        let count = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok();
        texts.flat_map(|text| text.lines().filter_map(count).collect::<Vec<_>>()).sum()
    }

    /// Processor time of all its threads so far, to the nanosecond (proc_pid_schedstat(5)).
    pub fn processor(&self) -> Duration {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid().as_raw_nonzero()));
        let folders = std::fs::read_dir(tasks).unwrap().flatten();
        let texts = folders.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
        let nanoseconds = texts.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory now, in octets.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The part of it that is its own: not the pages of the program and its libraries, which come as code is first run.
    pub fn anonymous(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

fn proc_state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // A failed test: the child is ours, and nobody else's.
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            println!("the screen at last:\n{}", self.screen());
        }
        self.held.store(false, Ordering::SeqCst);
        if let Some(line) = self.line.take() {
            // Its reader ends with the last process that has the terminal open.
            drop(line.writer);
            drop(line.master);
        }
    }
}

/// Keys from text, as a terminal sends them.
fn octets_of(keys: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|inner| inner.split_once('>'));
        let Some((name, after)) = named.filter(|(name, _)| !name.is_empty()) else {
            octets.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let known: &[u8] = match name {
            "Enter" => b"\r",
            "Esc" => b"\x1b",
            "Tab" => b"\t",
            "S-Tab" => b"\x1b[Z",
            "Backspace" => b"\x7f",
            "Delete" => b"\x1b[3~",
            "Up" => b"\x1b[A",
            "Down" => b"\x1b[B",
            "Right" => b"\x1b[C",
            "Left" => b"\x1b[D",
            "Home" => b"\x1b[H",
            "End" => b"\x1b[F",
            "PgUp" => b"\x1b[5~",
            "PgDn" => b"\x1b[6~",
            "Space" => b" ",
            other => {
                let letter = other.strip_prefix("C-").and_then(|letter| letter.bytes().next());
                let letter = letter.unwrap_or_else(|| panic!("<{other}> is no key"));
                octets.push(letter & 0x1f);
                rest = after;
                continue;
            }
        };
        octets.extend_from_slice(known);
        rest = after;
    }
    octets
}

/// The control sequences in octets: private marker, parameters, final octet.
fn sequences(octets: &[u8]) -> Vec<(Option<u8>, String, u8)> {
    let mut found = Vec::new();
    let mut rest = octets;
    while let Some(start) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        rest = &rest[start + 2..];
        let Some(end) = rest.iter().position(|octet| (0x40..=0x7e).contains(octet)) else { break };
        let private = rest.first().copied().filter(|octet| (b'<'..=b'?').contains(octet));
        let parameters =
            String::from_utf8_lossy(&rest[usize::from(private.is_some())..end.max(usize::from(private.is_some()))]);
        found.push((private, parameters.into_owned(), rest[end]));
        rest = &rest[end + 1..];
    }
    found
}

fn modes(octets: &[u8]) -> Modes {
    let mut modes = Modes::default();
    for (private, parameters, last) in sequences(octets) {
        match (private, last) {
            (Some(b'?'), b'h' | b'l') => {
                let on = last == b'h';
                for number in parameters.split(';') {
                    match number {
                        "1049" | "1047" | "47" => modes.alternate = on,
                        "25" => modes.cursor_hidden = !on,
                        "2004" => modes.paste = on,
                        "1000" | "1002" | "1003" | "1006" | "1015" => modes.mouse = on,
                        "1004" => modes.focus = on,
                        "2026" => modes.update = on,
                        _ => {}
                    }
                }
            }
            (None, b'r') => modes.region = !parameters.is_empty(),
            (None, b'm') => modes.attributes = !matches!(parameters.as_str(), "" | "0"),
            _ => {}
        }
    }
    modes
}

fn queries(octets: &[u8]) -> Vec<String> {
    let mut asked: Vec<String> = sequences(octets)
        .into_iter()
        .filter(|(private, parameters, last)| {
            let reports_size = *last == b't'
                && parameters
                    .split(';')
                    .next()
                    .and_then(|first| first.parse::<u8>().ok())
                    .is_some_and(|first| (11..24).contains(&first));
            matches!(last, b'c' | b'n' | b'x') || (*private == Some(b'?') && *last == b'u') || reports_size
        })
        .map(|(private, parameters, last)| {
            format!(
                "CSI {}{parameters}{}",
                private.map_or(String::new(), |octet| char::from(octet).to_string()),
                char::from(last)
            )
        })
        .collect();
    let text = String::from_utf8_lossy(octets);
    asked.extend(text.match_indices("\x1bP+q").map(|_| "DCS +q".to_owned()));
    asked.extend(
        text.match_indices("\x1b]1")
            .filter(|(at, _)| text[*at..].starts_with("\x1b]10;?") || text[*at..].starts_with("\x1b]11;?"))
            .map(|_| "OSC 10 ?".to_owned()),
    );
    asked
}

#[cfg(test)]
mod tests {
    use super::{Modes, modes, octets_of, queries};

    /// A harness that sees nothing would let everything pass.
    #[test]
    fn modes_and_queries_are_seen() {
        let taken = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[?1000;1006hx\x1b[2;5r\x1b[1;31m\x1b[?2026h\x1b[?1004h";
        let all = Modes {
            alternate: true,
            cursor_hidden: true,
            paste: true,
            mouse: true,
            focus: true,
            update: true,
            region: true,
            attributes: true,
        };
        assert_eq!(modes(taken), all);
        let given = b"\x1b[?2026l\x1b[?1004l\x1b[?1000;1006l\x1b[?2004l\x1b[0m\x1b[r\x1b[?25h\x1b[?1049l";
        assert_eq!(modes(&[&taken[..], &given[..]].concat()), Modes::default());
        assert_eq!(queries(taken), Vec::<String>::new());
        assert_eq!(queries(b"\x1b[6n\x1b[c\x1b[?u\x1b[18t").len(), 4);
        assert_eq!(octets_of("2k<C-d><Enter><Up>"), b"2k\x04\r\x1b[A");
    }
}
