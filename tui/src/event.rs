//! All that can make the console act, as plain values. Nothing here knows where a key or a reply comes from.

use std::fmt;

use common::client::{ClientError, LogEvent};

use crate::action::{Answer, FilePurpose, LogAnswer, Report, RequestId, TimerId};

/// When an event happened. The only clock `update` and `draw` know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Milliseconds since the console started; never goes back.
    pub ms: u64,
    /// Wall time in seconds since the epoch.
    pub wall_seconds: i64,
}

/// Columns and rows of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: EventKind,
}

/// What may happen.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size now.
    Resize(Size),
    /// A request ended.
    Reply {
        /// Which.
        id: RequestId,
        /// How. Boxed: an event is moved often.
        result: Box<Result<Answer, ClientError>>,
    },
    /// Something of the log's stream.
    Tail {
        /// Which stream.
        epoch: u64,
        /// What.
        event: TailEvent,
    },
    /// The daemon's clock, as an answer said it: seconds since the epoch.
    Date(i64),
    /// A file was written, or not.
    Written {
        /// What for.
        purpose: FilePurpose,
        /// Its path, or what the system says.
        result: Result<String, String>,
    },
    /// Local files whose names begin so.
    Names {
        /// As it was typed.
        typed: String,
        /// With the folder as it was typed, each folder with a `/` at its end.
        names: Vec<String>,
    },
    /// A timer ran out.
    Timer(TimerId),
    /// The system asks to suspend (SIGTSTP).
    SuspendAsked,
    /// A job in the background stands so.
    Job {
        /// Which.
        id: RequestId,
        /// How.
        report: Report,
    },
    /// The terminal is ours again.
    Resumed(Size),
    /// The process was continued (SIGCONT), perhaps after somebody else stopped it.
    Continued,
    /// The mouse did something; only while it is asked for.
    Mouse(Mouse),
    /// The terminal has the focus, or no longer.
    Focus(bool),
    /// Something went wrong that belongs to no request; a sentence.
    Said(String),
    /// A frame was written: what it shows can be seen. Its number.
    Drawn(u64),
}

impl EventKind {
    /// Whether it comes from the keyboard's lane, which is read first and never waits.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Paste(_) | Self::Resize(_) | Self::Mouse(_) | Self::Focus(_))
    }

    /// Whether somebody waits for the frame that shows it. All other frames share a budget.
    pub fn is_asked(&self) -> bool {
        match self {
            Self::Key(_)
            | Self::Paste(_)
            | Self::Resize(_)
            | Self::Mouse(_)
            | Self::Resumed(_)
            | Self::Names { .. } => true,
            // What verification asks for by itself belongs to the tail; only pages of entries are waited for.
            Self::Reply { result, .. } => !matches!(
                **result,
                Ok(Answer::Log(
                    LogAnswer::Checkpoint(_)
                        | LogAnswer::Keys(_)
                        | LogAnswer::Proof { .. }
                        | LogAnswer::Tiles(_)
                        | LogAnswer::Witnessed { .. }
                ))
            ),
            Self::Timer(id) => matches!(id, TimerId::Digit | TimerId::Typing | TimerId::Rest | TimerId::Lock),
            _ => false,
        }
    }

    /// Its name, for the report about a defect; nothing of what it carries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "Key",
            Self::Paste(_) => "Paste",
            Self::Resize(_) => "Resize",
            Self::Reply { .. } => "Reply",
            Self::Timer(_) => "Timer",
            Self::SuspendAsked => "SuspendAsked",
            Self::Job { .. } => "Job",
            Self::Resumed(_) => "Resumed",
            Self::Continued => "Continued",
            Self::Mouse(_) => "Mouse",
            Self::Focus(_) => "Focus",
            Self::Said(_) => "Said",
            Self::Tail { .. } => "Tail",
            Self::Written { .. } => "Written",
            Self::Names { .. } => "Names",
            Self::Drawn(_) => "Drawn",
            Self::Date(_) => "Date",
        }
    }
}

/// What the mouse did, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mouse {
    /// What.
    pub what: Gesture,
    /// The column.
    pub x: u16,
    /// The row.
    pub y: u16,
}

/// What a mouse can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a gesture says its name")]
pub enum Gesture {
    Click,
    WheelUp,
    WheelDown,
}

/// What a stream of the log brings.
#[derive(Debug, Clone)]
pub enum TailEvent {
    /// It is there; this entry records it.
    Opened(u64),
    /// Events, in their order.
    News(Vec<LogEvent>),
    /// It has ended: with an error, or as a body ends.
    Ended(Option<Box<ClientError>>),
}

/// A key, as far as the console tells keys apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Which.
    pub code: Code,
    /// With Control.
    pub ctrl: bool,
}

/// The keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a key says its name")]
pub enum Code {
    Char(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
}

const NAMES: [(&str, Code); 15] = [
    ("Enter", Code::Enter),
    ("Esc", Code::Esc),
    ("Tab", Code::Tab),
    ("S-Tab", Code::BackTab),
    ("Backspace", Code::Backspace),
    ("Delete", Code::Delete),
    ("Up", Code::Up),
    ("Down", Code::Down),
    ("Left", Code::Left),
    ("Right", Code::Right),
    ("Home", Code::Home),
    ("End", Code::End),
    ("PgUp", Code::PageUp),
    ("PgDn", Code::PageDown),
    ("Space", Code::Char(' ')),
];

/// As in the key table: `j`, `C-d`, `PgDn`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("C-")?;
        }
        match (self.code, NAMES.iter().find(|(_, code)| *code == self.code)) {
            (_, Some((name, _))) => f.write_str(name),
            (Code::Char(character), None) => write!(f, "{character}"),
            (_, None) => Ok(()),
        }
    }
}

/// Whether a text is a key as [`Key`] shows it, or a letter twice, such as `gg`.
pub fn is_key(text: &str) -> bool {
    let mut characters = text.chars();
    let plain = |character: char| character.is_ascii_graphic() && !character.is_ascii_digit();
    match (characters.next(), characters.next(), characters.next()) {
        (Some(one), None, _) => plain(one) || one.is_ascii_digit(),
        (Some(one), Some(same), None) if one == same => one.is_ascii_alphabetic(),
        (Some('C'), Some('-'), Some(one)) => one.is_ascii_lowercase() && characters.next().is_none(),
        _ => NAMES.iter().any(|(name, _)| *name == text),
    }
}

/// Keys from text, names in angle brackets: `2kkG/denied<Enter>`. None where a name is not one.
pub fn keys(text: &str) -> Option<Vec<Key>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|inner| inner.split_once('>'));
        if let Some((name, after)) = named {
            let (ctrl, name) = name.strip_prefix("C-").map_or((false, name), |name| (true, name));
            let mut characters = name.chars();
            let code = match (NAMES.iter().find(|(known, _)| *known == name), characters.next(), characters.next()) {
                (Some((_, code)), _, _) => *code,
                (None, Some(single), None) => Code::Char(single),
                (None, _, _) => return None,
            };
            found.push(Key { code, ctrl });
            rest = after;
        } else {
            found.push(Key { code: Code::Char(first), ctrl: false });
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn keys_from_text_and_back() {
        let shown: Vec<String> =
            keys("2k<C-d>/<Enter><PgDn><Space>").into_iter().flatten().map(|key| key.to_string()).collect();
        assert_eq!(shown, ["2", "k", "C-d", "/", "Enter", "PgDn", "Space"]);
        assert_eq!(keys("<Nope>"), None);
    }
}
