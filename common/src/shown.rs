//! Text from elsewhere, made fit to be shown in one line. Knows which characters steer a terminal or deceive a reader, and
//! that length must end; refuses to know who shows it.

/// The text with at most so many of its characters, and a sign where there were more. Controls of both sets, ends of lines,
/// bidirectional and invisible formatting are spelled out: no text can begin a line of its own.
///
/// ```
/// use common::shown::shown;
/// assert_eq!(shown("a\npassed\u{1b}[2K\u{9b}\u{202e}é", 100), "a\\npassed\\u{1b}[2K\\u{9b}\\u{202e}é");
/// assert_eq!(shown("long", 3), "lon…");
/// ```
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == chars_max {
            shown.push('…');
            break;
        }
        if is_deceptive(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same for a text of several lines, which stay lines: of the controls, line feeds and tabs are left as they are, and the
/// carriage returns before line feeds vanish.
///
/// ```
/// use common::shown::shown_lines;
/// assert_eq!(shown_lines("# a\r\n\tb\u{1b}[2J\r"), "# a\n\tb\\u{1b}[2J\\r");
/// ```
pub fn shown_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\r' if rest.peek() == Some(&'\n') => {}
            character if is_deceptive(character) => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

/// Characters that have no place in a text that people read: controls, bidirectional overrides, and what is not seen, such as
/// invisible formatting, fillers, and selectors of variants.
///
/// ```
/// use common::shown::is_deceptive;
/// assert!("\u{34f}\u{1160}\u{180b}\u{2800}\u{3164}\u{fe0f}\u{ffa0}\u{1d173}\u{e0100}".chars().all(is_deceptive));
/// assert!(!"a é 名 ٣ ~".chars().any(is_deceptive));
/// ```
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
