//! How scenes look, theme by theme: one letter for each style, blank for what is blank. And the rules that hold for all scenes:
//! what is told by a colour is told by a word or a sign as well, whichever the theme.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use tui::view::pen::MARKER;
use tui::view::theme::Theme;
use unicode_width::UnicodeWidthStr as _;

use crate::pictures::check;
use crate::scenes::{Scene, all};

/// Where they are looked at.
const SIZE: (u16, u16) = (80, 24);

/// What the letters mean.
const LETTERS: &[(char, &str)] = &[
    ('.', "as the terminal has it"),
    ('d', "dim: less important"),
    ('b', "bold"),
    ('v', "reversed: the current one"),
    ('B', "bold and reversed"),
    ('g', "green: as it should be"),
    ('Y', "yellow and bold: to be looked at"),
    ('R', "red and bold: wrong"),
    ('!', "red, bold and reversed: the alarm"),
    ('G', "green and bold: the colour of a profile"),
];

/// The letter of a colour; none for the terminal's own. Each theme has numbers of its own for the same.
fn colour(colour: Color) -> Option<char> {
    Some(match colour {
        Color::Reset => return None,
        Color::Green | Color::Indexed(114 | 22) => 'g',
        Color::Yellow | Color::Indexed(221 | 58) => 'y',
        Color::Red | Color::Indexed(210 | 124) => 'r',
        Color::Indexed(246 | 240) => 'd',
        other => panic!("{other} has no letter"),
    })
}

fn letter(cell: &Cell) -> char {
    let is = |modifier| cell.modifier == modifier;
    match colour(cell.fg) {
        None if is(Modifier::empty()) => '.',
        None if is(Modifier::DIM) => 'd',
        None if is(Modifier::BOLD) => 'b',
        None if is(Modifier::REVERSED) => 'v',
        None if is(Modifier::BOLD | Modifier::REVERSED) => 'B',
        Some(letter) if is(Modifier::empty()) => letter,
        Some(letter) if is(Modifier::BOLD) => letter.to_ascii_uppercase(),
        Some('r') if is(Modifier::BOLD | Modifier::REVERSED) => '!',
        _ => panic!("{:?} {:?} has no letter", cell.fg, cell.modifier),
    }
}

fn looks(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let letters = (0..buffer.area.width).map(|x| match letter(&buffer[(x, y)]) {
            '.' if buffer[(x, y)].symbol() == " " => ' ',
            letter => letter,
        });
        let _ = writeln!(text, "{}", letters.collect::<String>().trim_end());
    }
    text
}

/// A scene in some themes.
fn in_themes<const N: usize>(scene: &Scene, themes: [Theme; N]) -> [Buffer; N] {
    let mut console = scene.at(SIZE.0, SIZE.1);
    themes.map(|theme| {
        console.state.settings.theme = theme;
        console.buffer()
    })
}

/// The six screens, and where colour says something.
pub(crate) fn is_styled(scene: &Scene) -> bool {
    let screens = ["models", "audit", "queue", "quarantine", "users", "health"];
    match scene.state {
        "normal" => {
            screens.contains(&scene.place)
                || ["held", "entry", "alarm", "daemons", "compared-text", "delete", "palette"].contains(&scene.place)
        }
        "stale" | "denied" | "broken" | "troubled" | "touched" | "pending" | "late" => screens.contains(&scene.place),
        "error" => ["messages", "jobs", "login"].contains(&scene.place),
        _ => false,
    }
}

/// The file of a scene's styles.
pub(crate) fn name(scene: &Scene) -> String {
    format!("{}/{}.styles.txt", scene.place, scene.state)
}

#[test]
fn scenes() {
    for scene in all().iter().filter(|scene| is_styled(scene)) {
        let drawn = in_themes(scene, Theme::ALL.map(|(_, theme)| theme));
        let is_the_terminals = |buffer: &Buffer| buffer.content.iter().all(|cell| cell.bg == Color::Reset);
        assert!(drawn.iter().all(is_the_terminals), "{}: a background", name(scene));
        let drawn: Vec<(&str, String)> =
            Theme::ALL.iter().zip(&drawn).map(|((theme, _), buffer)| (*theme, looks(buffer))).collect();
        let used: BTreeSet<char> = drawn.iter().flat_map(|(_, text)| text.chars()).collect();
        let mut text = String::new();
        for (letter, meaning) in LETTERS.iter().filter(|(letter, _)| used.contains(letter)) {
            let _ = writeln!(text, "{letter} {meaning}");
        }
        // Themes that look the same, but for their colours, have one picture.
        for group in drawn.chunk_by(|(_, one), (_, next)| one == next) {
            let names: Vec<&str> = group.iter().map(|(theme, _)| *theme).collect();
            let _ = write!(text, "==== {}x{} {} ====\n{}", SIZE.0, SIZE.1, names.join(", "), group[0].1);
        }
        for letter in used.iter().filter(|letter| !letter.is_whitespace()) {
            assert!(LETTERS.iter().any(|(one, _)| one == letter), "{letter} has no meaning");
        }
        check(&name(scene), &text);
    }
}

/// What holds for all scenes. Without colours the same text is at the same place. What is reversed in a list is in the selected row, which has its marker. And what has the colour of
/// trouble, or of the opposite, says so: nowhere in a part of a place do the same words stand without
/// that colour.
#[test]
fn no_meaning_by_colour_alone() {
    // By place, part of the screen and words: in which styles they stand, and where first.
    let mut seen: BTreeMap<(&str, u16, String), BTreeMap<char, &str>> = BTreeMap::new();
    for scene in all() {
        let [auto, mono] = in_themes(&scene, [Theme::Auto, Theme::Mono]);
        let at = format!("{}/{}", scene.place, scene.state);
        let is_plain = |(one, plain): (&Cell, &Cell)| {
            one.symbol() == plain.symbol() && plain.fg == Color::Reset && !plain.modifier.contains(Modifier::DIM)
        };
        assert!(auto.content.iter().zip(&mono.content).all(is_plain), "{at}: mono is not auto without its colours");
        for y in 0..auto.area.height {
            for (text, letter) in pieces(&auto, y) {
                // The header, the line below it, and the rest.
                seen.entry((scene.place, y.min(2), text)).or_default().entry(letter).or_insert(scene.state);
            }
            let row: Vec<&Cell> = (0..auto.area.width).map(|x| &auto[(x, y)]).collect();
            let is_reversed = row.iter().any(|cell| "vB".contains(letter(cell)));
            let has_marker = row.iter().any(|cell| cell.symbol() == MARKER);
            // The header has the current screen, and a form what the next letter takes the place of.
            let is_other = y == 0 || ["alias", "add-token", "role"].contains(&scene.place);
            assert!(has_marker || !is_reversed || is_other, "{at}: no marker in line {y}");
        }
    }
    let means = |letter: &char| "gYR!".contains(*letter);
    let says_itself = |text: &str| {
        // Sentences about what went wrong, words for waiting, and signs.
        ["could not be read", "Not ready", "Not allowed", "loading", "entry 1190"]
            .iter()
            .any(|begin| text.starts_with(begin))
            || !text.contains(char::is_alphanumeric)
    };
    let bad: Vec<String> = seen
        .iter()
        .filter(|((_, _, text), styles)| styles.len() > 1 && styles.keys().any(means) && !says_itself(text))
        .map(|((place, _, text), styles)| format!("{place}: {text:?} {styles:?}"))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Pieces of a line in one style each, without the blanks round them. What has no colour is parted into columns.
fn pieces(buffer: &Buffer, y: u16) -> Vec<(String, char)> {
    let mut found: Vec<(String, char)> = Vec::new();
    let mut x = 0;
    while x < buffer.area.width {
        let cell = &buffer[(x, y)];
        match found.last_mut() {
            Some((text, letter)) if *letter == self::letter(cell) => text.push_str(cell.symbol()),
            _ => found.push((cell.symbol().to_owned(), self::letter(cell))),
        }
        x += u16::try_from(cell.symbol().width()).unwrap().max(1);
    }
    let columns = |(text, letter): &(String, char)| -> Vec<(String, char)> {
        let parts: Vec<&str> = if "gYR!".contains(*letter) { vec![text] } else { text.split("  ").collect() };
        parts.iter().map(|part| (part.trim().to_owned(), *letter)).filter(|(part, _)| !part.is_empty()).collect()
    };
    found.iter().flat_map(columns).collect()
}
