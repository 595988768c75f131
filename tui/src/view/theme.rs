//! What a tone or an accent looks like. Colour only repeats what words and signs say already; the background is always the
//! terminal's own.

use ratatui::style::{Color, Modifier, Style};

use crate::view::pen::Tone;

/// Which colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// The terminal's own sixteen.
    #[default]
    Auto,
    /// Of 256, for a dark background.
    Dark,
    /// Of 256, for a light background.
    Light,
    /// None: bold, reverse and signs.
    Mono,
}

/// The colour a profile is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a colour says its name")]
pub enum Accent {
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Accent {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("red", Self::Red),
        ("green", Self::Green),
        ("yellow", Self::Yellow),
        ("blue", Self::Blue),
        ("magenta", Self::Magenta),
        ("cyan", Self::Cyan),
    ];

    /// Its number among the 256 colours, for a dark and for a light background, and among the terminal's own.
    fn numbers(self) -> (u8, u8, Color) {
        match self {
            Self::Red => (210, 124, Color::Red),
            Self::Green => (114, 22, Color::Green),
            Self::Yellow => (221, 58, Color::Yellow),
            Self::Blue => (111, 25, Color::Blue),
            Self::Magenta => (213, 90, Color::Magenta),
            Self::Cyan => (80, 23, Color::Cyan),
        }
    }
}

/// Grey for what is less important, for a dark and for a light background.
const DIM: (u8, u8) = (246, 240);

impl Theme {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("dark", Self::Dark), ("light", Self::Light), ("mono", Self::Mono)];

    /// What a tone looks like.
    pub fn style(self, tone: Tone) -> Style {
        let bold = Modifier::BOLD;
        match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => match self {
                Self::Auto => Style::new().add_modifier(Modifier::DIM),
                Self::Dark => Style::new().fg(Color::Indexed(DIM.0)),
                Self::Light => Style::new().fg(Color::Indexed(DIM.1)),
                Self::Mono => Style::new(),
            },
            Tone::Bold => Style::new().add_modifier(bold),
            Tone::Good => self.accent(Accent::Green),
            Tone::Warn => self.accent(Accent::Yellow).add_modifier(bold),
            Tone::Bad => self.accent(Accent::Red).add_modifier(bold),
            Tone::Alarm => self.accent(Accent::Red).add_modifier(bold | Modifier::REVERSED),
            Tone::Current => Style::new().add_modifier(Modifier::REVERSED),
            Tone::Accent(accent) => self.accent(accent).add_modifier(bold),
        }
    }

    fn accent(self, accent: Accent) -> Style {
        let (dark, light, own) = accent.numbers();
        match self {
            Self::Auto => Style::new().fg(own),
            Self::Dark => Style::new().fg(Color::Indexed(dark)),
            Self::Light => Style::new().fg(Color::Indexed(light)),
            Self::Mono => Style::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Color;

    use super::{Accent, Theme};
    use crate::view::pen::Tone;

    /// Red, green and blue of a colour of the cube or the greys.
    fn rgb(number: u8) -> [u8; 3] {
        let step = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
        match number {
            232.. => [8 + 10 * (number - 232); 3],
            16.. => [step((number - 16) / 36), step((number - 16) / 6 % 6), step((number - 16) % 6)],
            _ => panic!("{number} is one of the terminal's own"),
        }
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: [u8; 3]) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = colour.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// Every colour can be read, on black as on a dark grey, on white as on a light grey.
    #[test]
    fn contrasts() {
        let tones = [Tone::Dim, Tone::Good, Tone::Warn, Tone::Bad];
        let all = tones.into_iter().chain(Accent::ALL.map(|(_, accent)| Tone::Accent(accent)));
        let grounds = [(Theme::Dark, [[0; 3], rgb(235)]), (Theme::Light, [[255; 3], rgb(254)])];
        for tone in all {
            for (theme, grounds) in grounds {
                let Some(Color::Indexed(number)) = theme.style(tone).fg else { panic!("{tone:?} has no colour") };
                for ground in grounds {
                    let contrast = contrast(rgb(number), ground);
                    assert!(contrast >= 4.5, "{theme:?} {tone:?}: {number} on {ground:?} has {contrast:.2}");
                }
            }
        }
    }

    /// Without colour there is none at all.
    #[test]
    fn mono_has_no_colour() {
        for tone in [Tone::Dim, Tone::Good, Tone::Warn, Tone::Bad, Tone::Current, Tone::Accent(Accent::Red)] {
            let style = Theme::Mono.style(tone);
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
    }
}
