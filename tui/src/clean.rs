//! Text of others, made safe to show: what a terminal would obey, and what would deceive an eye, is spelled out. Also
//! the width of text in columns, and cutting by graphemes. Nothing here knows what the text means.

use std::fmt::Write as _;

use unicode_normalization::char::is_public_assigned;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Combining marks that a base may carry; more are counted instead of shown.
const MARKS_MAX: usize = 4;
/// Ends a text that was cut.
const CUT: &str = "~";
/// Columns of a name that its namespace has to leave it, so that it is whole.
const NAME_COLUMNS: usize = 6;
/// Columns of a namespace that is cut, which its name has to leave it.
const NAMESPACE_COLUMNS: usize = 5;

/// Invisible or direction-changing characters and such without agreed meaning: format characters (Cf), separators of
/// lines and paragraphs, fillers, variation selectors, tags, private use, noncharacters, and what Unicode has not assigned.
pub fn is_spelled_out(character: char) -> bool {
    let is_hidden = matches!(character,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}');
    is_hidden || !(character.is_ascii() || is_public_assigned(character))
}

/// Octets that should be text: what is not is spelled out as `<FF>`, and the rest is as it stands.
pub fn octets(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        for octet in chunk.invalid() {
            write!(text, "<{octet:02X}>").expect("writing to a String can't fail");
        }
    }
    text
}

/// JSON in which characters that disturb a terminal or an eye are escaped; its value is the same.
pub fn escaped(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_spelled_out(character) || character == '\u{7f}' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("writing to a String can't fail");
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The text with nothing left in it that is not plainly visible. C0 characters and DEL become their pictures, newline
/// `⏎`, tab one blank; what [`is_spelled_out`] lists becomes `<U+202E>`; combining marks beyond four are `<+n>`.
/// Cleaning what is clean changes nothing.
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut marks, mut surplus) = (0, 0);
    for character in text.chars() {
        let is_mark = !character.is_ascii() && unicode_width::UnicodeWidthChar::width(character) == Some(0);
        if is_mark && !is_spelled_out(character) {
            marks += 1;
            if marks > MARKS_MAX || shown.is_empty() {
                surplus += 1;
                continue;
            }
            shown.push(character);
            continue;
        }
        end_marks(&mut shown, &mut marks, &mut surplus);
        match character {
            '\t' => shown.push(' '),
            '\n' => shown.push('⏎'),
            '\u{7f}' => shown.push('␡'),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(character))),
            hidden if is_spelled_out(hidden) => spell(&mut shown, hidden),
            plain => shown.push(plain),
        }
    }
    end_marks(&mut shown, &mut marks, &mut surplus);
    shown
}

fn end_marks(shown: &mut String, marks: &mut usize, surplus: &mut usize) {
    if *surplus > 0 {
        write!(shown, "<+{surplus}>").expect("writing to a String can't fail");
    }
    (*marks, *surplus) = (0, 0);
}

fn spell(shown: &mut String, character: char) {
    write!(shown, "<U+{:04X}>", u32::from(character)).expect("writing to a String can't fail");
}

/// Every character above 0x7f as its nearest ASCII or spelled out, for terminals that show nothing else.
pub fn to_ascii(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            plain if plain.is_ascii() => shown.push(plain),
            '▌' => shown.push('>'),
            '│' => shown.push('|'),
            '█' => shown.push('#'),
            '─' => shown.push('-'),
            '┌' | '┐' | '└' | '┘' => shown.push('+'),
            '…' => shown.push_str("..."),
            '⏎' => shown.push(' '),
            other => spell(&mut shown, other),
        }
    }
    shown
}

/// Columns that clean text takes.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// Clean text in at most `columns` columns; what was cut off is marked by `~`. A wide character never straddles the end.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(CUT.len()) else { return String::new() };
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used > room {
            break;
        }
        kept.push_str(grapheme);
    }
    kept.push_str(CUT);
    kept
}

/// Clean text in at most `columns` columns; what was taken out of its middle is marked by `~`. More is kept of the end.
pub fn cut_inside(text: &str, columns: usize) -> String {
    cut_behind(text, columns, columns / 2)
}

/// The same, with so many columns of its beginning, the mark included.
pub fn cut_behind(text: &str, columns: usize, front: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let front = cut(text, front.min(columns));
    let room = columns.saturating_sub(width(&front));
    let mut kept: Vec<&str> = Vec::new();
    let mut used = 0;
    for grapheme in text.graphemes(true).rev() {
        used += grapheme.width();
        if used > room {
            break;
        }
        kept.push(grapheme);
    }
    kept.reverse();
    front + &kept.concat()
}

/// What an entry is about, clean, in at most `columns` columns: `fraud/toxicity-0283 v2`, maybe behind a word for its kind. That
/// word goes first, then the middle of the name; where little would be left of that, the end of the namespace goes before. Whose it
/// is and which one stay readable.
pub fn cut_target(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let text = match text.split_once(' ') {
        Some((kind, rest)) if rest.contains('/') && !kind.contains('/') => rest,
        _ => text,
    };
    let Some((namespace, rest)) = text.split_once('/').filter(|_| width(text) > columns) else {
        return cut_inside(text, columns);
    };
    let (name, version) = rest.split_at(version_at(rest));
    let room = columns.saturating_sub(width(version) + 1);
    let least = width(name).min(NAME_COLUMNS);
    let most = room.saturating_sub(least);
    let of_namespace = if most >= width(namespace) {
        width(namespace)
    } else {
        room.saturating_sub(width(name)).max(NAMESPACE_COLUMNS).min(most)
    };
    if of_namespace == 0 {
        return cut_inside(rest, columns);
    }
    let namespace = cut(namespace, of_namespace);
    let name = cut_inside(name, room - width(&namespace));
    format!("{namespace}/{name}{version}")
}

/// Where a version begins behind a name, such as ` v12`; the end where there is none: the path of a file may have blanks too.
fn version_at(text: &str) -> usize {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    text.rfind(" v").filter(|at| is_number(&text[at + 2..])).unwrap_or(text.len())
}

/// The words of a text, parted by single blanks. A number with its digits in groups, such as `10 000`, is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let blanks = all.match_indices(' ').map(|(at, _blank)| at);
        let end = blanks.into_iter().find(|at| {
            let (before, after) = (&all.as_bytes()[..*at], &all.as_bytes()[at + 1..]);
            let digits = after.iter().take_while(|octet| octet.is_ascii_digit()).count();
            !(before.last().is_some_and(u8::is_ascii_digit) && digits == 3)
        });
        let (word, left) = match end {
            Some(at) => (&all[..at], Some(&all[at + 1..])),
            None => (all, None),
        };
        rest = left;
        Some(word)
    })
}

/// Clean text in lines of at most `columns` columns (2 at least), broken at blanks, but for those in numbers; a word too long
/// for a line is broken between graphemes.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let mut line = String::new();
    for (place, word) in words(text).enumerate() {
        if place > 0 && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        } else if place > 0 {
            line.push(' ');
        }
        if width(word) <= columns {
            line.push_str(word);
            continue;
        }
        for grapheme in word.graphemes(true) {
            if width(&line) + grapheme.width() > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(grapheme);
        }
    }
    lines.push(line);
    lines
}

/// The first of some lines of at most `columns` columns; that there would be more is marked by `~`.
pub fn first_lines(lines: &mut Vec<String>, room: usize, columns: usize) {
    if lines.len() <= room {
        return;
    }
    lines.truncate(room);
    if let Some(last) = lines.last_mut() {
        *last = if width(last) < columns { format!("{last}{CUT}") } else { cut(&format!("{last}{CUT}"), columns) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use unicode_segmentation::UnicodeSegmentation as _;

    use super::{clean, cut, cut_inside, cut_target, escaped, is_spelled_out, octets, to_ascii, width, wrap};

    #[test]
    fn spelled_out() {
        for (text, shown) in [
            ("plain-name_1.0", "plain-name_1.0"),
            ("a\u{1b}[2Jb", "a␛[2Jb"),
            ("a\nb\tc\rd", "a⏎b c␍d"),
            ("safe\u{202e}gpj.exe", "safe<U+202E>gpj.exe"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("zero\u{200b}width", "zero<U+200B>width"),
            ("e\u{301}", "e\u{301}"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}x", "e\u{301}\u{301}\u{301}\u{301}<+2>x"),
            ("\u{301}x", "<+1>x"),
            ("日本", "日本"),
            ("a\u{378}b\u{e001}", "a<U+0378>b<U+E001>"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    /// Whose it is and which one stay readable: the kind goes first, then the middle of the name, or the end of the namespace.
    #[test]
    fn targets_are_cut_where_it_matters_least() {
        for (text, columns, shown) in [
            ("fraud/toxicity-0283", 19, "fraud/toxicity-0283"),
            ("model fraud/toxicity-0283", 24, "fraud/toxicity-0283"),
            ("fraud/toxicity-0283", 16, "fraud/toxi~-0283"),
            ("file fraud/toxicity-0283", 16, "fraud/toxi~-0283"),
            ("fraud/toxicity-0283 v2", 16, "fraud/to~0283 v2"),
            ("team-nlp/intent-router v12", 20, "team-nlp/in~uter v12"),
            ("team-nlp/intent-router v12", 16, "team~/in~ter v12"),
            ("team-speech/asr-large v1", 19, "team-~/asr-large v1"),
            ("team-speech/asr-large v1", 16, "team~/as~arge v1"),
            ("team-nlp/asr v2", 14, "team-n~/asr v2"),
            ("team-nlp/asr v2", 8, "~/asr v2"),
            ("team-nlp/asr v2", 7, "asr v2"),
            ("user somebody-with-a-name", 16, "user so~h-a-name"),
            ("team-nlp/asr v2", 0, ""),
            ("item incoming/my model of the whole team.safetensors", 24, "incoming/my mod~etensors"),
            ("incoming/weights version", 20, "incoming/weig~ersion"),
        ] {
            assert_eq!(cut_target(text, columns), shown, "{text} in {columns}");
        }
    }

    /// Octets that are no text are spelled out one by one; those around them are as they stand.
    #[test]
    fn no_text() {
        assert_eq!(octets(b"a\xff\xc3\xa9\xe2\x82b"), "a<FF>é<E2><82>b");
        assert_eq!(clean(&octets(b"\x1b[\x9b")), "␛[<9B>");
    }

    #[test]
    fn json_is_escaped_and_keeps_its_value() {
        let text = "a\u{202e}b\u{9b}\u{e0001}\u{7f}é";
        let json = escaped(&serde_json::json!(text).to_string());
        assert_eq!(json, "\"a\\u202eb\\u009b\\udb40\\udc01\\u007fé\"");
        assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text));
    }

    #[test]
    fn cuts_and_wraps() {
        assert_eq!((cut("abcdef", 4).as_str(), cut("abcd", 4).as_str(), cut("abc", 0).as_str()), ("abc~", "abcd", ""));
        assert_eq!(cut("日本語", 4), "日~");
        assert_eq!((cut_inside("abcdefgh", 6).as_str(), cut_inside("abcdef", 6).as_str()), ("ab~fgh", "abcdef"));
        assert_eq!((cut_inside("日本語日本語", 7).as_str(), cut_inside("abc", 1).as_str()), ("日~本語", "c"));
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        // A number stays whole, and what only looks like one is none.
        assert_eq!(wrap("up to 10 000 entries", 9), ["up to", "10 000", "entries"]);
        assert_eq!(wrap("1 234 567 rows, 3 1234", 10), ["1 234 567", "rows, 3", "1234"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 10), [""]);
    }

    proptest! {
        /// What comes out holds nothing a terminal obeys, has the width it promises, and is not changed by cleaning again.
        #[test]
        fn promises(text in any::<String>(), columns in 0usize..60) {
            let shown = clean(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_spelled_out(c)));
            prop_assert_eq!(&clean(&shown), &shown);
            prop_assert!(width(&cut(&shown, columns)) <= columns);
            prop_assert!(width(&cut_inside(&shown, columns)) <= columns);
            prop_assert!(width(&cut_target(&shown, columns)) <= columns);
            let target = format!("model a/{shown} {shown}");
            prop_assert!(width(&cut_target(&target, columns)) <= columns);
            prop_assert!(to_ascii(&shown).is_ascii());
            // A cluster of letters is not taken apart, however wide it is.
            let widest = shown.graphemes(true).map(width).max().unwrap_or(0);
            for line in wrap(&shown, columns) {
                prop_assert!(width(&line) <= columns.max(2).max(widest));
            }
        }
    }
}
