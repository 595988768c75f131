//! Tokens of a Jinja template, cut as Jinja itself cuts them: the text around blocks is left out, and so are comments and raw
//! blocks. Texts are unescaped. It knows nothing of what the tokens mean.

/// A token, with its place in the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) at: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// `{%`.
    Statement,
    /// `{{`.
    Print,
    /// The end of either.
    End,
    Name(&'t str),
    /// A text literal.
    Text(Text),
    Number(&'t str),
    /// An operator or bracket.
    Op(&'static str),
}

/// A text literal, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// An underscore was written as an escape.
    pub(super) hidden_underscore: bool,
    /// A character was written by its name in Unicode, of which only the underscore's is known here.
    pub(super) named: bool,
}

/// A template that Jinja refuses: what is wrong and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// Operators, the longer before those that they begin with.
const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",",
];

/// Cuts a template. What was cut before something that Jinja refuses stays in `tokens`.
pub(super) fn cut<'t>(template: &'t str, tokens: &mut Vec<Token<'t>>) -> Result<(), Broken> {
    let mut at = 0;
    while let Some(found) = template[at..].find('{') {
        let begin = at + found;
        let rest = &template[begin..];
        if let Some(comment) = rest.strip_prefix("{#") {
            let Some(end) = comment.find("#}") else {
                return Err(Broken { what: "a comment has no end", at: begin });
            };
            at = begin + 2 + end + 2;
        } else if let Some(raw) = tag(rest, "raw") {
            let body = begin + raw;
            let Some(end) = end_of_raw(&template[body..]) else {
                return Err(Broken { what: "a raw block has no end", at: begin });
            };
            at = body + end;
        } else if let Some((kind, close)) = opening(rest) {
            tokens.push(Token { kind, at: begin });
            // A sign behind the opening is about blanks.
            let signed = rest.as_bytes().get(2).is_some_and(|sign| matches!(sign, b'-' | b'+'));
            at = block(template, begin + 2 + usize::from(signed), close, tokens)?;
        } else {
            at = begin + 1;
        }
    }
    Ok(())
}

/// The kind of block that begins here, and what closes it.
fn opening(rest: &str) -> Option<(Kind<'static>, &'static str)> {
    match rest.as_bytes() {
        [b'{', b'%', ..] => Some((Kind::Statement, "%}")),
        [b'{', b'{', ..] => Some((Kind::Print, "}}")),
        _ => None,
    }
}

/// The length of a tag that is nothing but `name`, if `rest` begins with it.
fn tag(rest: &str, name: &str) -> Option<usize> {
    let inner = rest.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
    let inner = inner.strip_prefix(name)?.trim_start();
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).strip_prefix("%}")?;
    Some(rest.len() - inner.len())
}

/// Where what follows a raw block begins.
fn end_of_raw(body: &str) -> Option<usize> {
    body.match_indices("{%").find_map(|(at, _)| Some(at + tag(&body[at..], "endraw")?))
}

/// Cuts what is in a block, up to its end that is not in brackets, and returns where the block ends.
fn block<'t>(template: &'t str, mut at: usize, close: &str, tokens: &mut Vec<Token<'t>>) -> Result<usize, Broken> {
    // Brackets that are open.
    let mut open: Vec<&str> = Vec::new();
    loop {
        let blanks = template[at..].trim_start();
        at = template.len() - blanks.len();
        let rest = &template[at..];
        let Some(first) = rest.chars().next() else {
            return Err(Broken { what: "a block has no end", at: template.len() });
        };
        if open.is_empty() {
            let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if let Some(behind) = unsigned.strip_prefix(close) {
                tokens.push(Token { kind: Kind::End, at });
                return Ok(template.len() - behind.len());
            }
        }
        let (kind, length) = if first == '\'' || first == '"' {
            let Some(length) = text_end(rest, first) else {
                return Err(Broken { what: "a text has no end", at });
            };
            (Kind::Text(unescape(&rest[1..length - 1])), length)
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (Kind::Number(&rest[..length]), length)
        } else if first == '_' || first.is_alphanumeric() {
            let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            (Kind::Name(&rest[..length]), length)
        } else if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            match *op {
                "(" | "[" | "{" => open.push(op),
                ")" | "]" | "}" => {
                    let pair = match open.pop() {
                        Some("(") => ")",
                        Some("[") => "]",
                        _ => "}",
                    };
                    if pair != *op {
                        return Err(Broken { what: "brackets do not match", at });
                    }
                }
                _ => {}
            }
            (Kind::Op(op), op.len())
        } else {
            return Err(Broken { what: "a character that no expression has", at });
        };
        tokens.push(Token { kind, at });
        at += length;
    }
}

/// The length of a text literal with its quotes.
fn text_end(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(at + 1);
        }
        if c == '\\' {
            chars.next();
        }
    }
    None
}

/// As Python's `unicode-escape` reads it.
fn unescape(literal: &str) -> Text {
    let (mut text, mut hidden_underscore, mut named) = (String::with_capacity(literal.len()), false, false);
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else { break };
        let behind = &rest[escape.len_utf8()..];
        let (c, behind) = match escape {
            'n' => (Some('\n'), behind),
            't' => (Some('\t'), behind),
            'r' => (Some('\r'), behind),
            'a' => (Some('\x07'), behind),
            'b' => (Some('\x08'), behind),
            'f' => (Some('\x0c'), behind),
            'v' => (Some('\x0b'), behind),
            '\\' | '\'' | '"' => (Some(escape), behind),
            // A line that goes on.
            '\n' => (None, behind),
            'x' => number(behind, 16, 2),
            'u' => number(behind, 16, 4),
            'U' => number(behind, 16, 8),
            '0'..='7' => number(rest, 8, 3),
            'N' => {
                named = true;
                match behind.strip_prefix('{').and_then(|name| name.split_once('}')) {
                    Some((name, behind)) if name.eq_ignore_ascii_case("low line") => (Some('_'), behind),
                    Some((_, behind)) => (Some(char::REPLACEMENT_CHARACTER), behind),
                    None => (Some(char::REPLACEMENT_CHARACTER), behind),
                }
            }
            // No escape: both characters stand.
            other => {
                text.push('\\');
                (Some(other), behind)
            }
        };
        hidden_underscore |= c == Some('_') && escape != '_';
        text.extend(c);
        rest = behind;
    }
    text.push_str(rest);
    Text { text, hidden_underscore, named }
}

/// A character by its number of at most `most` digits.
fn number(rest: &str, radix: u32, most: usize) -> (Option<char>, &str) {
    let length = rest.chars().take(most).take_while(|c| c.is_digit(radix)).count();
    let (digits, behind) = rest.split_at(length);
    let c = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    (Some(c.unwrap_or(char::REPLACEMENT_CHARACTER)), behind)
}
