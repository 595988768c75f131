//! Jinja chat templates: programs that turn a conversation into a prompt. They run wherever the model is served, by default
//! in a sandbox that has been escaped before. A template is cut into tokens ([`lexer`]) and judged by what it names; it is
//! not evaluated, so what it would print is not known here.
//!
//! The ways out of the sandbox go through attributes that begin with an underscore, by their name, by a text, or by a text
//! that is put together. Anything outside what templates of real models use is told as unknown.

use std::collections::HashSet;
use std::fmt::Display;

use self::lexer::{Broken, Kind, Text, Token};
use super::Level;
use super::facts::cut;
use super::rules::Rule;
use super::scan::{Place, Scan};

mod lexer;
mod names;

/// A way out of the sandbox.
const ESCAPE: Rule = Rule {
    id: "jinja.escape",
    level: Level::Malicious,
    meaning: "A chat template reaches for Python's internals, which is how templates run commands on the machine that serves \
              the model. No template of a real model needs this.",
};
/// Something that templates do not use.
const UNKNOWN: Rule = Rule {
    id: "jinja.unknown",
    level: Level::Suspicious,
    meaning: "A chat template calls a function, filter or test that templates of known models don't use, or puts names \
              together from parts. What it does depends on the program that runs it.",
};
/// No template.
const BROKEN: Rule = Rule {
    id: "jinja.broken",
    level: Level::Unscannable,
    meaning: "A chat template that Jinja would refuse or that is too long to be one; another engine may read it in another way.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[ESCAPE, UNKNOWN, BROKEN];

/// Octets of a template. Those of real models have at most 30 KiB.
pub(super) const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// Findings of each level in one template; more tell nothing new.
const TOLD_MAX: u32 = 20;

/// Looks into a chat template. Offsets are within its text.
pub(super) fn scan_template(scan: &mut Scan, template: &str, place: &Place) {
    if template.len() as u64 > TEMPLATE_BYTES_MAX {
        return too_long(scan, place, template.len() as u64);
    }
    let mut tokens = Vec::new();
    let cut = lexer::cut(template, &mut tokens);
    let own = Own::of(&tokens);
    let mut judge = Judge { scan, place, tokens: &tokens, own, escapes: 0, unknown: 0 };
    judge.texts();
    judge.walk();
    if let Err(Broken { what, at }) = cut {
        scan.find(&BROKEN, place, Some(at as u64), format_args!("the template can't be read: {what}"));
    }
}

/// Tells of a template that is not looked into for its length.
pub(super) fn too_long(scan: &mut Scan, place: &Place, octets: u64) {
    scan.find(&BROKEN, place, None, format_args!("a template of {octets} octets is not looked into"));
}

/// The names a template gives to values and macros of its own.
#[derive(Default)]
struct Own<'t> {
    names: HashSet<&'t str>,
    macros: HashSet<&'t str>,
    /// Those of texts that are put together, as names of attributes may be.
    composed: HashSet<&'t str>,
    /// Those of lists and dictionaries of such texts.
    containers: HashSet<&'t str>,
    /// Macros that take a key as a parameter.
    indexing: HashSet<&'t str>,
}

impl<'t> Own<'t> {
    fn of(tokens: &[Token<'t>]) -> Self {
        let mut own = Self::default();
        // Twice: a loop may use what is set further down.
        for _ in 0..2 {
            let mut parameters: (&str, HashSet<&str>) = Default::default();
            for (at, token) in tokens.iter().enumerate() {
                match (&token.kind, tokens.get(at + 1), tokens.get(at + 2)) {
                    (Kind::Statement, ..) => {
                        let statement = &tokens[at + 1..];
                        let end = statement.iter().position(|token| token.kind == Kind::End).unwrap_or(statement.len());
                        own.statement(&statement[..end]);
                        match statement.first().map(|tag| &tag.kind) {
                            Some(Kind::Name("macro")) => parameters = self::parameters(&statement[..end]),
                            Some(Kind::Name("endmacro")) => parameters = Default::default(),
                            _ => {}
                        }
                    }
                    (
                        Kind::Op("["),
                        Some(Token { kind: Kind::Name(key), .. }),
                        Some(Token { kind: Kind::Op("]"), .. }),
                    ) if parameters.1.contains(key) => {
                        own.indexing.insert(parameters.0);
                    }
                    _ => {}
                }
            }
        }
        own
    }

    fn statement(&mut self, tokens: &[Token<'t>]) {
        let Some((Token { kind: Kind::Name(tag), .. }, tokens)) = tokens.split_first() else { return };
        let stop = match *tag {
            "for" => Kind::Name("in"),
            "set" | "with" => Kind::Op("="),
            // The macro's own name, and its parameters.
            "macro" => Kind::Op(")"),
            _ => return,
        };
        let stop = tokens.iter().position(|token| token.kind == stop).unwrap_or(tokens.len());
        let (targets, value) = tokens.split_at(stop);
        let name = |token: &Token<'t>| if let Kind::Name(name) = token.kind { Some(name) } else { None };
        self.names.extend(targets.iter().filter_map(name));
        if *tag == "macro" {
            return self.macros.extend(targets.first().and_then(name));
        }
        let spells = *tag == "for" && matches!(value.get(1), Some(Token { kind: Kind::Text(_), .. }));
        if value.is_empty() || spells || self.composes(value) {
            // Of `ns.key` it is the key. A value that is a block may be any text.
            let is_owner = |at: usize| targets.get(at + 1).is_some_and(|token| token.kind == Kind::Op("."));
            let targets = targets.iter().enumerate().filter(|(at, _)| !is_owner(*at)).filter_map(|(_, t)| name(t));
            match value.get(1) {
                Some(Token { kind: Kind::Op("[" | "{"), .. }) => self.containers.extend(targets),
                _ => self.composed.extend(targets),
            }
            self.arguments(value);
        }
    }

    /// What is put together and handed over by name: `namespace(key='a' ~ 'b')`.
    fn arguments(&mut self, value: &[Token<'t>]) {
        for (at, pair) in value.windows(2).enumerate() {
            if let [Token { kind: Kind::Name(name), .. }, Token { kind: Kind::Op("="), .. }] = pair {
                let value = argument(&value[at + 1..]);
                if self.composes(value) {
                    self.composed.insert(name);
                }
            }
        }
    }

    /// Whether an expression, with the operator before it, puts a text together or hands on one that is.
    fn composes(&self, expression: &[Token<'t>]) -> bool {
        let handed_on = expression.iter().enumerate().any(|(at, token)| {
            let next = expression.get(at + 1).map(|token| &token.kind);
            let goes_on = matches!(next, Some(Kind::Op("." | "[" | "(" | "=")));
            let is_attribute =
                at.checked_sub(1).and_then(|at| expression.get(at)).is_some_and(|token| token.kind == Kind::Op("."));
            match token.kind {
                Kind::Name(name) if !is_attribute => {
                    !goes_on && self.composed.contains(name) || self.containers.contains(name)
                }
                _ => false,
            }
        });
        handed_on
            || is_sliced(expression)
            || expression.windows(3).any(|window| match [&window[0].kind, &window[1].kind, &window[2].kind] {
                [_, Kind::Op("~"), _] => true,
                // A part of a text, or of what is one.
                [Kind::Text(_), Kind::Op("[" | "."), _] => true,
                [Kind::Text(_), Kind::Op("+" | "*" | "%"), _] | [_, Kind::Op("+" | "*"), Kind::Text(_)] => true,
                [_, Kind::Op("|" | "."), Kind::Name(name)] => names::COMPOSING.contains(name),
                [_, Kind::Name(name), Kind::Op("(")] => self.macros.contains(name),
                _ => false,
            })
    }
}

/// The name of a macro and those of its parameters.
fn parameters<'t>(statement: &[Token<'t>]) -> (&'t str, HashSet<&'t str>) {
    let mut names =
        statement.iter().filter_map(|token| if let Kind::Name(name) = token.kind { Some(name) } else { None });
    // The first is the tag.
    let name = names.nth(1).unwrap_or_default();
    (name, names.collect())
}

/// The tokens of an argument, up to the comma or bracket that ends it.
fn argument<'s, 't>(tokens: &'s [Token<'t>]) -> &'s [Token<'t>] {
    let mut depth = 0_u32;
    let end = tokens.iter().position(|token| match token.kind {
        Kind::Op("(" | "[" | "{") => {
            depth += 1;
            false
        }
        Kind::Op(",") => depth == 0,
        Kind::Op(")" | "]" | "}") if depth == 0 => true,
        Kind::Op(")" | "]" | "}") => {
            depth -= 1;
            false
        }
        _ => false,
    });
    &tokens[..end.unwrap_or(tokens.len())]
}

/// The tokens in the brackets behind the name at `index`.
fn argument_list<'s, 't>(tokens: &'s [Token<'t>], index: usize) -> &'s [Token<'t>] {
    let rest = tokens.get(index + 1..).unwrap_or_default();
    let mut depth = 0_u32;
    let end = rest.iter().position(|token| match token.kind {
        Kind::Op("(" | "[" | "{") => {
            depth += 1;
            false
        }
        Kind::Op(")" | "]" | "}") => {
            depth = depth.saturating_sub(1);
            depth == 0
        }
        _ => false,
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// Whether an expression takes a range out of something.
fn is_sliced(expression: &[Token<'_>]) -> bool {
    let mut open = Vec::new();
    expression.iter().any(|token| match &token.kind {
        Kind::Op(op @ ("(" | "[" | "{")) => {
            open.push(*op);
            false
        }
        Kind::Op(")" | "]" | "}") => {
            open.pop();
            false
        }
        Kind::Op(":") => open.last() == Some(&"["),
        _ => false,
    })
}

/// What a bracket that is open is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket<'t> {
    /// The arguments of a function, method, filter or test.
    Call { name: &'t str, arguments: u32 },
    /// Behind a value: a key.
    Key,
    /// A group, a list, a dictionary.
    Other,
}

struct Judge<'j, 'r, 't> {
    scan: &'j mut Scan<'r>,
    place: &'j Place,
    tokens: &'j [Token<'t>],
    own: Own<'t>,
    escapes: u32,
    unknown: u32,
}

impl<'j, 't> Judge<'j, '_, 't> {
    fn escape(&mut self, at: usize, detail: impl Display) {
        self.escapes += 1;
        if self.escapes <= TOLD_MAX {
            self.scan.find(&ESCAPE, self.place, Some(at as u64), detail);
        }
    }

    fn unknown(&mut self, at: usize, detail: impl Display) {
        self.unknown += 1;
        if self.unknown <= TOLD_MAX {
            self.scan.find(&UNKNOWN, self.place, Some(at as u64), detail);
        }
    }

    /// The token `by` places from the one at `index`.
    fn near(&self, index: usize, by: isize) -> Option<&'j Kind<'t>> {
        let tokens: &'j [Token<'t>] = self.tokens;
        tokens.get(index.checked_add_signed(by)?).map(|token| &token.kind)
    }

    /// All texts of the template, each alone and joined in their order, whatever stands between: `'__cla' ~ 'ss__'`.
    fn texts(&mut self) {
        let mut joined = String::new();
        // Where in `joined` the text of which place begins.
        let mut begins = Vec::new();
        for token in self.tokens {
            let Kind::Text(Text { text, hidden_underscore, named }) = &token.kind else { continue };
            begins.push((joined.len(), token.at));
            joined.push_str(text);
            if is_fragment(text) {
                self.unknown(token.at, "a text has a part of a name as Python's internals are named");
            }
            if *hidden_underscore {
                self.escape(token.at, "a text writes an underscore as an escape");
            } else if *named {
                self.unknown(token.at, "a text writes a character by its Unicode name");
            }
        }
        joined.make_ascii_lowercase();
        for (at, name) in dunders(&joined) {
            let before = begins.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
            let at = begins.get(before).map_or(0, |(_, at)| *at);
            if names::INTERNALS.contains(&name) {
                self.escape(at, format_args!("a text names Python's __{name}__"));
            } else {
                self.unknown(at, format_args!("a text names __{name}__, as Python's internals are named"));
            }
        }
        // Written backwards, for `[::-1]` and the filter `reverse`.
        let backwards: String = joined.chars().rev().collect();
        for (_, name) in dunders(&backwards) {
            if names::INTERNALS.contains(&name) {
                self.escape(0, format_args!("a text names Python's __{name}__ backwards"));
            }
        }
    }

    /// All tokens, each by what stands around it.
    fn walk(&mut self) {
        let mut brackets: Vec<Bracket<'t>> = Vec::new();
        for (index, Token { kind, at }) in self.tokens.iter().enumerate() {
            match kind {
                Kind::Statement | Kind::Print => brackets.clear(),
                Kind::End | Kind::Number(_) => {}
                Kind::Name(name) => {
                    self.name(name, *at, index, brackets.last());
                    self.in_key(name, *at, index, &brackets);
                }
                Kind::Text(text) => self.text(&text.text, *at, index, brackets.last()),
                Kind::Op(op @ ("(" | "[" | "{")) => {
                    let bracket = bracket(op, self.near(index, -1), self.near(index, -2));
                    self.opens(op, bracket, *at, index);
                    brackets.push(bracket);
                }
                Kind::Op(")" | "]" | "}") => {
                    brackets.pop();
                }
                Kind::Op(op) => {
                    let keys = brackets.iter().filter(|bracket| **bracket == Bracket::Key).count();
                    self.operator(op, *at, index, brackets.last_mut());
                    self.operator_in_key(op, *at, index, keys);
                }
            }
        }
    }

    /// A name: a tag, an attribute, a filter, a test, a function or a variable, by what stands around it.
    fn name(&mut self, name: &str, at: usize, index: usize, bracket: Option<&Bracket<'t>>) {
        let next = self.near(index, 1);
        let called = next == Some(&Kind::Op("("));
        match [self.near(index, -2), self.near(index, -1)] {
            [_, Some(Kind::Statement)] => match name {
                "import" | "from" | "include" | "extends" => {
                    self.escape(at, format_args!("the template loads another one: {name}"));
                }
                _ if names::TAGS.contains(&name) => {}
                _ => self.unknown(at, format_args!("the tag {name:?} is not known")),
            },
            [_, Some(Kind::Op("."))] => {
                self.attribute(name, at);
                if called && name == "format" {
                    self.unknown(at, "a text is put together by format, which reads attributes");
                } else if called && !names::METHODS.contains(&name) {
                    self.unknown(at, format_args!("the method {name:?} is not known"));
                }
            }
            [_, Some(Kind::Op("|"))] | [Some(Kind::Statement), Some(Kind::Name("filter"))] => self.filter(name, at),
            [_, Some(Kind::Name("is"))] | [Some(Kind::Name("is")), Some(Kind::Name("not"))] => {
                if name != "not" && !names::TESTS.contains(&name) {
                    self.unknown(at, format_args!("the test {name:?} is not known"));
                }
            }
            _ => {
                let argument = matches!(bracket, Some(Bracket::Call { .. })) && next == Some(&Kind::Op("="));
                self.variable(name, at, called, argument);
            }
        }
    }

    /// A name within a key, at any depth of brackets, or of a macro that takes one.
    fn in_key(&mut self, name: &str, at: usize, index: usize, brackets: &[Bracket<'t>]) {
        let next = self.near(index, 1);
        let called = next == Some(&Kind::Op("("));
        let goes_on = matches!(next, Some(Kind::Op("." | "[")));
        let composed = self.own.composed.contains(name) && !goes_on || self.own.containers.contains(name);
        let is_key = brackets.contains(&Bracket::Key);
        let hands_over =
            called && self.own.indexing.contains(name) && self.own.composes(argument_list(self.tokens, index));
        if is_key && (composed || called && self.own.macros.contains(name)) || hands_over {
            self.unknown(at, "a key is put together while the template runs");
        }
    }

    /// An operator within a key, at any depth of brackets. `keys`: how many keys it stands in.
    fn operator_in_key(&mut self, op: &str, at: usize, index: usize, keys: usize) {
        let composes = match op {
            "~" => keys > 0,
            "|" => keys > 0 && !matches!(self.near(index, 1), Some(Kind::Name(name)) if names::CHOOSING.contains(name)),
            // A part of something, as a key of something else.
            ":" => keys > 1,
            _ => false,
        };
        if composes {
            self.unknown(at, "a key is put together while the template runs");
        }
    }

    fn variable(&mut self, name: &str, at: usize, called: bool, argument: bool) {
        let own = self.own.names.contains(name);
        let leads_out = names::ESCAPING_OBJECTS.contains(&name)
            || !own && (names::ESCAPING_NAMES.contains(&name) || names::ESCAPING_ATTRIBUTES.contains(&name));
        if name.starts_with('_') && (argument || !own || name.starts_with("__") && name.len() > 2) {
            self.escape(at, format_args!("the name {name:?} begins with an underscore and is not the template's own"));
        } else if argument && name.contains("__") {
            self.unknown(at, format_args!("the argument {name:?} may become a text with a name of Python's internals"));
        } else if leads_out && !argument {
            self.escape(at, format_args!("{name:?} leads to Python's internals"));
        } else if name == "self" && !own {
            self.unknown(at, "the template looks at itself");
        } else if called && !own && !names::FUNCTIONS.contains(&name) && !names::WORDS.contains(&name) {
            self.unknown(at, format_args!("the function {name:?} is not known"));
        }
    }

    fn filter(&mut self, name: &str, at: usize) {
        if name == "attr" || name.starts_with('_') {
            self.escape(at, format_args!("the filter {name:?} reads attributes by a text"));
        } else if !names::FILTERS.contains(&name) {
            self.unknown(at, format_args!("the filter {name:?} is not known"));
        }
    }

    /// An attribute, written with a dot or as a text where one is read.
    fn attribute(&mut self, name: &str, at: usize) {
        if name.split('.').any(|part| part.starts_with('_')) {
            self.escape(at, format_args!("the attribute {name:?} begins with an underscore"));
        } else if name.split('.').any(|part| names::ESCAPING_ATTRIBUTES.contains(&part)) {
            self.escape(at, format_args!("the attribute {name:?} leads to Python's internals"));
        }
    }

    fn test(&mut self, name: &str, at: usize) {
        if !names::TESTS.contains(&name) {
            self.unknown(at, format_args!("the test {name:?} is not known"));
        }
    }

    /// A text, where its place makes it a name.
    fn text(&mut self, text: &str, at: usize, index: usize, bracket: Option<&Bracket<'t>>) {
        let (before, next) = (self.near(index, -1), self.near(index, 1));
        let is_taken_out = matches!(bracket, Some(Bracket::Call { name, arguments: 0 }) if names::TAKING.contains(name))
            && matches!(next, Some(Kind::Op("," | ")")));
        if is_underscores(text) && !is_taken_out {
            self.unknown(at, "a text of underscores alone, of which hidden names are put together");
        }
        match (bracket, before) {
            (Some(Bracket::Key), _) if text.starts_with('_') => self.attribute(text, at),
            (Some(Bracket::Key), Some(Kind::Op("["))) if next == Some(&Kind::Op("]")) => self.attribute(text, at),
            (Some(Bracket::Call { name, .. }), Some(Kind::Op("("))) => match *name {
                "map" => self.filter(text, at),
                "selectattr" | "rejectattr" | "groupby" | "sum" => self.attribute(text, at),
                "select" | "reject" => self.test(text, at),
                _ => {}
            },
            (Some(Bracket::Call { name: "selectattr" | "rejectattr", arguments: 1 }), Some(Kind::Op(","))) => {
                self.test(text, at);
            }
            _ => {}
        }
    }

    /// A bracket opens: what is called, and whether the first argument of what reads attributes says which.
    fn opens(&mut self, op: &str, bracket: Bracket<'t>, at: usize, index: usize) {
        match (op, bracket, self.near(index, -1)) {
            ("(", _, Some(Kind::Op(")" | "]"))) => self.unknown(at, "something is called that has no name"),
            (_, Bracket::Call { name: "map" | "selectattr" | "rejectattr" | "groupby" | "sum", .. }, _)
                if !matches!(
                    self.near(index, 1),
                    Some(Kind::Text(_) | Kind::Name("attribute" | "start") | Kind::Op(")"))
                ) =>
            {
                self.unknown(at, "the name of a filter or attribute is put together while the template runs");
            }
            _ => {}
        }
    }

    fn operator(&mut self, op: &'static str, at: usize, index: usize, bracket: Option<&mut Bracket<'t>>) {
        let (before, next) = (self.near(index, -1), self.near(index, 1));
        let text = |kind: Option<&'j Kind<'t>>| match kind {
            Some(Kind::Text(text)) => Some(text.text.as_str()),
            _ => None,
        };
        let underscores = |kind| text(kind).is_some_and(is_underscores);
        match (op, bracket) {
            (",", Some(Bracket::Call { name, arguments })) => {
                *arguments += 1;
                // Filters that take the name of an attribute at this place.
                let takes = matches!((*name, *arguments), ("join" | "max" | "min" | "unique", 1) | ("sort", 2));
                match next {
                    Some(Kind::Text(text)) if takes => self.attribute(&text.text, at),
                    Some(Kind::Name("attribute")) | None => {}
                    Some(_) if takes => {
                        self.unknown(at, "the name of an attribute is put together while the template runs")
                    }
                    Some(_) => {}
                }
            }
            // `map(attribute=…)` and its like: one text that says it openly, or it is hidden.
            ("=", Some(Bracket::Call { .. })) if before == Some(&Kind::Name("attribute")) => {
                match (next, self.near(index, 2)) {
                    (Some(Kind::Text(text)), Some(Kind::Op("," | ")"))) => self.attribute(&text.text, at),
                    (Some(Kind::Number(_)), _) => {}
                    _ => self.escape(at, "the name of an attribute is put together while the template runs"),
                }
            }
            ("*" | "~" | "+" | "%", _) if underscores(before) || underscores(next) => {
                self.escape(at, "a name with underscores is put together");
            }
            ("%" | "|", _)
                if (op == "%" || next == Some(&Kind::Name("format")))
                    && text(before).is_some_and(|text| text.contains("%c")) =>
            {
                self.escape(at, "characters are written by their numbers");
            }
            ("%", _) if text(before).is_some() => self.unknown(at, "a text is put together by a format"),
            ("*" | "**", _) if matches!(before, Some(Kind::Op("(" | ","))) => {
                self.unknown(at, "arguments are put together while the template runs");
            }
            _ => {}
        }
    }
}

/// Whether two underscores begin a name that does not end as Python's internals do: a part of one.
fn is_fragment(text: &str) -> bool {
    let octets = text.as_bytes();
    text.match_indices("__").any(|(at, _)| {
        let is_begin = at.checked_sub(1).and_then(|at| octets.get(at)).is_none_or(|one| !one.is_ascii_alphanumeric());
        is_begin && octets.get(at + 2).is_some_and(u8::is_ascii_alphabetic)
    }) && dunders(&text.to_ascii_lowercase()).next().is_none()
}

fn is_underscores(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet == b'_')
}

/// What a bracket is for, by what stands before it.
fn bracket<'t>(op: &str, before: Option<&Kind<'t>>, before_that: Option<&Kind<'t>>) -> Bracket<'t> {
    let word = |name: &str| names::WORDS.contains(&name) && before_that != Some(&Kind::Op("."));
    match (op, before) {
        ("(", Some(Kind::Name(name))) if !word(name) => Bracket::Call { name, arguments: 0 },
        ("[", Some(Kind::Name(name))) if !word(name) => Bracket::Key,
        ("[", Some(Kind::Text(_) | Kind::Op(")" | "]" | "}"))) => Bracket::Key,
        _ => Bracket::Other,
    }
}

/// Octets that are looked at behind two underscores.
const DUNDER_BYTES_MAX: usize = 64;

/// The names between two pairs of underscores, with where they begin: letters and digits, and single underscores between them.
fn dunders(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("__").filter_map(|(at, _)| {
        let rest = cut(&text[at + 2..], DUNDER_BYTES_MAX).trim_start_matches('_');
        let name = &rest[..rest.find("__")?];
        let is_name = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
        (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_name)).then_some((at, name))
    })
}

#[cfg(test)]
mod tests;
