//! Keys from the terminal, on a thread of their own, in the console's own words. Releases, and keys the console doesn't
//! know are dropped here.

use std::fs::File;
use std::io::{Read, Write};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind, read};
use zeroize::Zeroizing;

use crate::edit::LINE_OCTETS_MAX;
use crate::event::{Code, EventKind, Gesture, Key, Mouse, Size};
use crate::lanes::Sender;
use crate::secret::Secret;

/// Reads until the terminal or the loop is gone.
///
/// # Errors
/// What the system says where no thread can be started.
pub fn start(events: Sender) -> std::io::Result<()> {
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        while let Ok(event) = read() {
            if let Some(event) = translate(event)
                && events.send(event).is_err()
            {
                return;
            }
        }
    })?;
    Ok(())
}

/// Longest line that is read where there is no screen, in octets; the rest of a longer one is dropped.
const TYPED_OCTETS_MAX: usize = 16 * 1024;

/// Reads lines on a thread of its own, from a terminal that is as it was found: each comes as a text that is pasted, the end
/// of all as C-d.
///
/// # Errors
/// What the system says where no thread can be started.
pub fn start_lines(tty: &File, events: Sender) -> std::io::Result<()> {
    let mut tty = tty.try_clone()?;
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut typed = Zeroizing::new(Vec::with_capacity(TYPED_OCTETS_MAX));
        let mut octets = Zeroizing::new([0; 4096]);
        loop {
            let count = match tty.read(octets.as_mut()) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_gone) => break,
            };
            for octet in octets.iter().take(count) {
                if *octet != b'\n' {
                    if typed.len() < TYPED_OCTETS_MAX {
                        typed.push(*octet);
                    }
                    continue;
                }
                let line = String::from_utf8_lossy(&typed).into_owned();
                typed.clear();
                if events.send(EventKind::Paste(line)).is_err() {
                    return;
                }
            }
        }
        // With the loop gone nobody waits for the end.
        drop(events.send(EventKind::Key(Key { code: Code::Char('d'), ctrl: true })));
    })?;
    Ok(())
}

fn translate(event: Event) -> Option<EventKind> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
            if key.modifiers.contains(KeyModifiers::ALT) {
                return None;
            }
            let code = match key.code {
                KeyCode::Char(character) if ctrl => Code::Char(character.to_ascii_lowercase()),
                KeyCode::Char(character) => Code::Char(character),
                KeyCode::Enter => Code::Enter,
                KeyCode::Esc => Code::Esc,
                KeyCode::Tab => Code::Tab,
                KeyCode::BackTab => Code::BackTab,
                KeyCode::Backspace => Code::Backspace,
                KeyCode::Delete => Code::Delete,
                KeyCode::Up => Code::Up,
                KeyCode::Down => Code::Down,
                KeyCode::Left => Code::Left,
                KeyCode::Right => Code::Right,
                KeyCode::Home => Code::Home,
                KeyCode::End => Code::End,
                KeyCode::PageUp => Code::PageUp,
                KeyCode::PageDown => Code::PageDown,
                _ => return None,
            };
            Some(EventKind::Key(Key { code, ctrl }))
        }
        Event::Paste(text) => Some(EventKind::Paste(text)),
        Event::Resize(width, height) => Some(EventKind::Resize(Size { width, height })),
        Event::Mouse(mouse) => {
            let what = match mouse.kind {
                MouseEventKind::Down(MouseButton::Left) => Gesture::Click,
                MouseEventKind::ScrollUp => Gesture::WheelUp,
                MouseEventKind::ScrollDown => Gesture::WheelDown,
                _ => return None,
            };
            Some(EventKind::Mouse(Mouse { what, x: mouse.column, y: mouse.row }))
        }
        Event::FocusGained => Some(EventKind::Focus(true)),
        Event::FocusLost => Some(EventKind::Focus(false)),
        Event::Key(_) => None,
    }
}

/// Asks for one line on a terminal in raw mode. None if it is given up (`C-c`, `C-d`).
///
/// # Errors
/// What the terminal says.
pub fn read_line(mut tty: &File, question: &str, shown: bool) -> std::io::Result<Option<Secret>> {
    tty.write_all(question.as_bytes())?;
    let mut typed = Zeroizing::new(Vec::with_capacity(LINE_OCTETS_MAX));
    let mut octet = [0];
    let line = loop {
        if tty.read(&mut octet)? == 0 {
            break None;
        }
        match octet[0] {
            b'\r' | b'\n' => break Some(()),
            0x03 | 0x04 => break None,
            0x08 | 0x7f => {
                // One character, however many octets it has.
                while typed.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
                if shown {
                    tty.write_all(b"\r\x1b[K")?;
                    tty.write_all(question.as_bytes())?;
                    tty.write_all(&typed)?;
                }
            }
            0x15 => typed.clear(),
            control if control < 0x20 => {}
            plain if typed.len() < LINE_OCTETS_MAX => {
                typed.push(plain);
                if shown {
                    tty.write_all(&octet)?;
                }
            }
            _ => {}
        }
    };
    tty.write_all(b"\r\n")?;
    let text = std::str::from_utf8(&typed).map_err(std::io::Error::other)?;
    Ok(line.map(|()| Secret::new(text.to_owned())))
}
