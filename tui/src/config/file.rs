//! The configuration file: what may be in it, and what is wrong with one. Every mistake is named with its line; a file with
//! a mistake is not used at all, for half of what somebody meant may be worse than nothing. Pure: it is given the text.

use std::collections::BTreeMap;
use std::fmt;

use common::audit::Verifier;
use common::certificate::KeyPin;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::filter::distance;
use crate::keymap::Keys;
use crate::state::Highlight;
use crate::terminal::clipboard::Way as Clipboard;
use crate::time::Way;
use crate::view::theme::{Accent, Theme};

/// Largest configuration file, in octets.
pub const FILE_OCTETS_MAX: usize = 256 * 1024;
/// Longest name of a profile, in characters: it names files.
const PROFILE_NAME_MAX: usize = 64;

/// A mistake, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// What the file says; where it says nothing, what holds then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// The profile that is opened if none is named.
    pub default: Option<String>,
    /// `[ui]`.
    pub ui: Ui,
    /// `[keys]`.
    pub keys: Keys,
    /// `[profiles.…]`.
    pub profiles: BTreeMap<String, Profile>,
}

/// How it looks and behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the file, and described in console.md §10")]
pub struct Ui {
    pub theme: Theme,
    pub highlight: Highlight,
    pub mouse: bool,
    pub slow: bool,
    pub cursor_on_selection: bool,
    pub clipboard: Clipboard,
    pub time: Way,
    pub title: bool,
    pub bell: bool,
}

/// A daemon and how it is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its address.
    pub url: String,
    /// Who signs in.
    pub user: Option<String>,
    /// The colour of its name in the header.
    pub accent: Option<Accent>,
    /// Every action is confirmed by typing a name.
    pub strict: bool,
    /// Nothing that changes anything is sent.
    pub readonly: bool,
    /// The session is kept between two runs.
    pub remember: bool,
    /// Seconds without a key after which the console locks itself.
    pub lock_after_seconds: Option<u64>,
    /// The key of the audit log, as its checkpoints name it, or a file with it.
    pub log_key: Option<String>,
    /// The line of that.
    pub log_key_line: usize,
    /// Keys of witnesses.
    pub witnesses: Vec<String>,
    /// How many of them must have signed.
    pub quorum: Option<u32>,
    /// A file with a token.
    pub token_file: Option<String>,
    /// Passwords and tokens may cross a network in clear.
    pub allow_plain_http: bool,
    /// A file of authorities that are trusted in place of this machine's.
    pub ca_file: Option<String>,
    /// The key that the daemon's certificate must have.
    pub tls_pin: Option<KeyPin>,
    /// Where the session is kept, instead of the runtime folder.
    pub cache_dir: Option<String>,
}

/// Reads a file; what is wrong with it, all at once.
///
/// # Errors
/// The mistakes, in the order of their lines.
pub fn parse(text: &str) -> Result<File, Vec<Mistake>> {
    let mut reader = Reader { text, mistakes: Vec::new() };
    if text.len() > FILE_OCTETS_MAX {
        return Err(vec![Mistake { line: 1, text: format!("the file is larger than {FILE_OCTETS_MAX} octets") }]);
    }
    let file = match DeTable::parse(text) {
        Ok(table) => reader.file(table.get_ref()),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            reader.mistake(start, error.message().to_owned());
            File::default()
        }
    };
    let Reader { mut mistakes, .. } = reader;
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn mistake(&mut self, at: usize, text: String) {
        let line = self.line(at);
        self.mistakes.push(Mistake { line, text });
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|octet| **octet == b'\n').count()
    }

    /// The key of a log: a file is looked into later, but what looks like a key must be one.
    fn log_key(&mut self, name: &str, value: &Value<'_>) -> Option<String> {
        let text = self.text_of("log_key", value)?;
        if let (true, Err(why)) = (looks_like_key(&text), text.parse::<Verifier>()) {
            self.mistake(value.span().start, format!("log_key of the profile {name}: {why}"));
        }
        Some(text)
    }

    /// Keys of witnesses, each with its own place.
    fn witnesses(&mut self, name: &str, value: &Value<'_>) -> Vec<String> {
        let keys = self.texts("witnesses", value);
        if let DeValue::Array(items) = value.get_ref() {
            for item in items.iter() {
                if let DeValue::String(key) = item.get_ref()
                    && let Err(why) = key.parse::<Verifier>()
                {
                    self.mistake(item.span().start, format!("a witness key of the profile {name}: {why}"));
                }
            }
        }
        keys
    }

    fn file(&mut self, table: &DeTable<'_>) -> File {
        let mut file = File::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "default" => file.default = self.text_of("default", value),
                "ui" => file.ui = self.ui(value),
                "keys" => file.keys = self.keys(value),
                "profiles" => {
                    for (name, value) in self.table("profiles", value) {
                        let name_text = name.get_ref().to_string();
                        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                        let is_name = !name_text.starts_with('.') && name_text.chars().all(fits);
                        if !is_name
                            || name_text.starts_with("_")
                            || name_text.is_empty()
                            || name_text.len() > PROFILE_NAME_MAX
                        {
                            self.mistake(
                                name.span().start,
                                format!(
                                    "{name_text:?} is no name of a profile: letters, digits, - _ and ., 64 at most"
                                ),
                            );
                        }
                        let profile = self.profile(&name_text, name.span().start, value);
                        file.profiles.insert(name_text, profile);
                    }
                }
                other => self.unknown(key, other, &["default", "ui", "keys", "profiles"], ""),
            }
        }
        if let Some(name) = &file.default
            && !file.profiles.contains_key(name)
        {
            let at = table.get("default").map_or(0, |value| value.span().start);
            let known: Vec<&str> = file.profiles.keys().map(String::as_str).collect();
            self.mistake(at, format!("there is no profile {name:?}{}", hint(name, &known)));
        }
        file
    }

    fn ui(&mut self, value: &Value<'_>) -> Ui {
        let mut ui = Ui::default();
        for (key, value) in self.table("ui", value) {
            match key.get_ref().as_ref() {
                "theme" => ui.theme = self.one_of("theme", value, &Theme::ALL).unwrap_or_default(),
                "highlight" => ui.highlight = self.one_of("highlight", value, &Highlight::ALL).unwrap_or_default(),
                "mouse" => ui.mouse = self.flag("mouse", value),
                "slow" => ui.slow = self.flag("slow", value),
                "cursor" => {
                    ui.cursor_on_selection =
                        self.one_of("cursor", value, &[("hidden", false), ("selection", true)]).unwrap_or_default();
                }
                "clipboard" => {
                    let ways = [("raw", Clipboard::Raw), ("tmux", Clipboard::Tmux), ("off", Clipboard::Off)];
                    ui.clipboard = self.one_of("clipboard", value, &ways).unwrap_or_default();
                }
                "time" => ui.time = self.one_of("time", value, &Way::ALL).unwrap_or_default(),
                "title" => ui.title = self.flag("title", value),
                "bell" => ui.bell = self.flag("bell", value),
                other => {
                    let known = ["theme", "highlight", "mouse", "time", "slow", "cursor", "clipboard", "title", "bell"];
                    self.unknown(key, other, &known, " in [ui]");
                }
            }
        }
        ui
    }

    fn keys(&mut self, value: &Value<'_>) -> Keys {
        let mut keys = Keys::default();
        let mut at = value.span().start;
        for (key, value) in self.table("keys", value) {
            let name = key.get_ref().to_string();
            let chosen = self.texts(&name, value);
            at = key.span().start;
            if let Err(why) = keys.set(&name, chosen) {
                self.mistake(at, why);
            }
        }
        if let Err(why) = keys.check() {
            self.mistake(at, why);
        }
        keys
    }

    fn profile(&mut self, name: &str, at: usize, value: &Value<'_>) -> Profile {
        let mut profile = Profile::default();
        for (key, value) in self.table(name, value) {
            match key.get_ref().as_ref() {
                "url" => profile.url = self.text_of("url", value).unwrap_or_default(),
                "user" => profile.user = self.text_of("user", value),
                "accent" => profile.accent = self.one_of("accent", value, &Accent::ALL),
                "confirm" => {
                    let levels = [("normal", false), ("strict", true)];
                    profile.strict = self.one_of("confirm", value, &levels).unwrap_or_default();
                }
                "readonly" => profile.readonly = self.flag("readonly", value),
                "remember" => profile.remember = self.flag("remember", value),
                "lock_after" => {
                    let text = self.text_of("lock_after", value).unwrap_or_default();
                    profile.lock_after_seconds = seconds(&text);
                    if profile.lock_after_seconds.is_none() {
                        self.mistake(value.span().start, format!("lock_after = {text:?} is no time such as \"15m\""));
                    }
                }
                "log_key" => {
                    profile.log_key = self.log_key(name, value);
                    profile.log_key_line = self.line(value.span().start);
                }
                "witnesses" => profile.witnesses = self.witnesses(name, value),
                "quorum" => match value.get_ref() {
                    DeValue::Integer(number) if number.radix() == 10 && number.as_str().parse::<u32>().is_ok() => {
                        profile.quorum = number.as_str().parse().ok();
                    }
                    _ => self.mistake(value.span().start, "quorum must be a number of witnesses".to_owned()),
                },
                "token_file" => profile.token_file = self.text_of("token_file", value),
                "allow_plain_http" => profile.allow_plain_http = self.flag("allow_plain_http", value),
                "cache_dir" => profile.cache_dir = self.text_of("cache_dir", value),
                "ca_file" => profile.ca_file = self.text_of("ca_file", value),
                "tls_pin" => {
                    let text = self.text_of("tls_pin", value).unwrap_or_default();
                    match text.parse() {
                        Ok(pin) => profile.tls_pin = Some(pin),
                        Err(why) => self.mistake(value.span().start, format!("tls_pin = {text:?}: {why}")),
                    }
                }
                other => {
                    let known = [
                        "url",
                        "user",
                        "accent",
                        "confirm",
                        "readonly",
                        "remember",
                        "lock_after",
                        "log_key",
                        "witnesses",
                        "quorum",
                        "token_file",
                        "allow_plain_http",
                        "cache_dir",
                        "ca_file",
                        "tls_pin",
                    ];
                    self.unknown(key, other, &known, " in a profile");
                }
            }
        }
        if profile.url.is_empty() {
            self.mistake(at, format!("the profile {name} needs a url"));
        }
        let is_tls = profile.url.starts_with("https://");
        if !is_tls && (profile.ca_file.is_some() || profile.tls_pin.is_some()) && !profile.url.is_empty() {
            self.mistake(at, format!("the profile {name} has ca_file or tls_pin, which are for an https:// url"));
        }
        if usize::try_from(profile.quorum.unwrap_or(0)).is_ok_and(|quorum| quorum > profile.witnesses.len()) {
            self.mistake(at, format!("the profile {name} wants more witnesses than it names"));
        }
        profile
    }

    // ---- values -----------------------------------------------------------------------------------------------------

    fn unknown(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, name: &str, known: &[&str], place: &str) {
        self.mistake(key.span().start, format!("{name:?} is not known{place}{}", hint(name, known)));
    }

    fn table<'v>(
        &mut self,
        name: &str,
        value: &'v Value<'v>,
    ) -> Vec<(&'v Spanned<std::borrow::Cow<'v, str>>, &'v Value<'v>)> {
        match value.get_ref() {
            DeValue::Table(table) => table.iter().collect(),
            other => {
                self.mistake(value.span().start, format!("{name} must be a table, and is a {}", other.type_str()));
                Vec::new()
            }
        }
    }

    fn text_of(&mut self, name: &str, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            other => {
                self.mistake(value.span().start, format!("{name} must be a text, and is a {}", other.type_str()));
                None
            }
        }
    }

    fn texts(&mut self, name: &str, value: &Value<'_>) -> Vec<String> {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.text_of(name, item)).collect(),
            other => {
                let why = format!("{name} must be a list of texts, and is a {}", other.type_str());
                self.mistake(value.span().start, why);
                Vec::new()
            }
        }
    }

    fn flag(&mut self, name: &str, value: &Value<'_>) -> bool {
        match value.get_ref() {
            DeValue::Boolean(on) => *on,
            other => {
                let why = format!("{name} must be true or false, and is a {}", other.type_str());
                self.mistake(value.span().start, why);
                false
            }
        }
    }

    fn one_of<T: Copy>(&mut self, name: &str, value: &Value<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text_of(name, value)?;
        let found = choices.iter().find(|(choice, _)| *choice == text).map(|(_, meant)| *meant);
        if found.is_none() {
            let known: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            self.mistake(value.span().start, format!("{name} = {text:?} is none of {}", known.join(", ")));
        }
        found
    }
}

/// Whether somebody meant a key and not a file: `name+8 hex digits+...`.
fn looks_like_key(text: &str) -> bool {
    let id = text.split('+').nth(1);
    id.is_some_and(|id| id.len() == 8 && id.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

fn hint(name: &str, known: &[&str]) -> String {
    nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// The known word that a misspelt one is nearest to, if it is near at all.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = word.chars().count().div_ceil(3) + 1;
    let found = known.iter().copied().min_by_key(|known| distance(word, known))?;
    (distance(word, found) <= near).then_some(found)
}

/// Seconds of `90s`, `15m`, `2h`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::proptest;

    use super::{File, parse, seconds};
    use crate::keymap::Keys;
    use crate::state::Highlight;
    use crate::view::theme::{Accent, Theme};

    const SAMPLE: &str = r#"
default = "prod-eu"

[ui]
theme = "dark"
highlight = "none"
mouse = true
time = "utc"
slow = true
cursor = "selection"

[keys]
"models.sort" = ["t"]

[profiles.prod-eu]
url = "http://127.0.0.1:8000"
user = "alice"
accent = "red"
confirm = "strict"
readonly = true
lock_after = "15m"
log_key = "registry.example/log+952bc5e7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
witnesses = [
    "registry.example/log+952bc5e7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
    "registry.example/log+952bc5e7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
]
quorum = 1

[profiles.local]
url = "http://127.0.0.1:8001"
remember = true

[profiles.far]
url = "https://registry.example"
ca_file = "/etc/mreg/ca.pem"
tls_pin = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
"#;

    #[test]
    fn what_it_says() {
        let file = parse(SAMPLE).unwrap();
        assert_eq!((file.ui.theme, file.ui.highlight), (Theme::Dark, Highlight::None));
        assert!(file.ui.mouse && file.ui.slow && file.ui.cursor_on_selection);
        let prod = &file.profiles["prod-eu"];
        assert_eq!((prod.accent, prod.strict, prod.readonly), (Some(Accent::Red), true, true));
        assert_eq!((prod.lock_after_seconds, prod.quorum, prod.witnesses.len()), (Some(900), Some(1), 2));
        assert!(file.profiles["local"].remember && !prod.remember);
        let far = &file.profiles["far"];
        assert_eq!(far.ca_file.as_deref(), Some("/etc/mreg/ca.pem"));
        assert!(far.tls_pin.is_some_and(|pin| pin.to_string().ends_with("01")));
        assert_ne!(file.keys, Keys::default());
        assert_eq!(parse("").unwrap(), File::default());
    }

    /// Each mistake is named with its line, and with what may have been meant.
    #[test]
    fn mistakes() {
        for (text, line, part) in [
            ("\nthem = 1\n", 2, "\"them\" is not known"),
            ("[ui]\n\nthme = \"dark\"\n", 3, "did you mean theme?"),
            ("[ui]\ntheme = \"drak\"\n", 2, "none of auto, dark, light, mono"),
            ("[ui]\nmouse = \"yes\"\n", 2, "true or false"),
            ("[ui]\ntime = \"here\"\n", 2, "none of utc"),
            ("ui = 3\n", 1, "must be a table"),
            ("[keys]\n\"models.srt\" = [\"t\"]\n", 2, "did you mean models.sort?"),
            ("[keys]\n\"models.sort\" = [\"F13\"]\n", 2, "is no key"),
            ("[keys]\n\"models.sort\" = []\n", 2, "needs a key"),
            ("[keys]\n\"models.sort\" = [\"j\"]\n", 2, "lists.down"),
            ("[profiles.a]\nuser = \"x\"\n", 1, "needs a url"),
            ("[profiles.a]\nurl = \"http://h\"\ncolour = \"red\"\n", 3, "not known in a profile"),
            ("[profiles.a]\nurl = \"http://h\"\nlock_after = \"soon\"\n", 3, "15m"),
            ("[profiles.a]\nurl = \"http://h\"\nquorum = 1\n", 1, "more witnesses"),
            ("[profiles.a]\nurl = \"https://h\"\ntls_pin = \"x\"\n", 3, "64 hexadecimal digits"),
            ("[profiles.a]\nurl = \"http://h\"\nca_file = \"x\"\n", 1, "for an https:// url"),
            ("[profiles.a]\nurl = \"http://h\"\nlog_key = \"x+2f6a90c1+AAAA\"\n", 3, "log_key of the profile a"),
            ("[profiles.a]\nurl = \"http://h\"\nwitnesses = [\n\"w1\"]\n", 4, "a witness key of the profile a"),
            ("[profiles.\"../x\"]\nurl = \"http://h\"\n", 1, "no name of a profile"),
            ("default = \"prd\"\n[profiles.prod]\nurl = \"http://h\"\n", 1, "did you mean prod?"),
            ("[ui]\nmouse = \n", 2, ""),
        ] {
            let mistakes = parse(text).unwrap_err();
            assert!(mistakes.iter().any(|m| m.line == line && m.text.contains(part)), "{text}: {mistakes:?}");
        }
        assert_eq!(parse("a = 1\nb = 2\n[ui]\nc = 3\n").unwrap_err().len(), 3);
    }

    #[test]
    fn times() {
        for (text, wanted) in [
            ("15m", Some(900)),
            ("90s", Some(90)),
            ("2h", Some(7200)),
            ("", None),
            ("m", None),
            ("0m", None),
            ("5d", None),
            ("ü", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    proptest! {
        /// No text is too strange to be refused in words.
        #[test]
        fn any_text(text in "[a-z\\[\\]=\"'.# \n\u{e9}]{0,80}") {
            drop(parse(&text));
        }
    }
}
