//! Text for the clipboard of whoever looks at the terminal: OSC 52, which crosses SSH. Nobody answers, so nobody knows
//! whether it arrived.

use std::fmt::Write as _;

/// Longest encoded text, in octets: what terminals are known to take.
pub const ENCODED_MAX: usize = 74_994;

/// How text reaches the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// As it is; tmux takes it with `set-clipboard on`.
    #[default]
    Raw,
    /// Wrapped for tmux with `allow-passthrough`.
    Tmux,
    /// Not at all.
    Off,
}

/// Whether a text is short enough.
pub fn fits(text: &str) -> bool {
    text.len().div_ceil(3) * 4 <= ENCODED_MAX
}

/// The octets for a text; none if it is too long, or if the clipboard is off.
pub fn sequence(text: &str, way: Way) -> Option<Vec<u8>> {
    if !fits(text) {
        return None;
    }
    let plain = format!("\x1b]52;c;{}\x07", base64(text.as_bytes()));
    match way {
        Way::Raw => Some(plain.into_bytes()),
        Way::Tmux => {
            let mut wrapped = String::from("\x1bPtmux;");
            write!(wrapped, "{}\x1b\\", plain.replace('\x1b', "\x1b\x1b")).expect("writing to a String can't fail");
            Some(wrapped.into_bytes())
        }
        Way::Off => None,
    }
}

fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = group.iter().chain([0, 0].iter()).take(3).fold(0u32, |bits, octet| (bits << 8) | u32::from(*octet));
        for place in 0..4usize {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{ENCODED_MAX, Way, base64, fits, sequence};

    #[test]
    fn encoded() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("ü", "w7w=")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    /// Nothing of the text itself reaches the terminal, and no more than it takes.
    #[test]
    fn sequences() {
        assert_eq!(sequence("a\x1b]b", Way::Raw).as_deref(), Some(&b"\x1b]52;c;YRtdYg==\x07"[..]));
        assert_eq!(sequence("foo", Way::Tmux).as_deref(), Some(&b"\x1bPtmux;\x1b\x1b]52;c;Zm9v\x07\x1b\\"[..]));
        assert_eq!(sequence("foo", Way::Off), None);
        let most = ENCODED_MAX / 4 * 3;
        assert!(fits(&"x".repeat(most)) && !fits(&"x".repeat(most + 1)));
        assert_eq!(sequence(&"x".repeat(most + 1), Way::Raw), None);
    }
}
