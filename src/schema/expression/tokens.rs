//! The text of a condition, cut into words.

use crate::error::{Error, Result};

/// Characters of a condition, at most.
pub const MAX_CHARACTERS: usize = 4096;

/// What a condition is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A bare word: a keyword, a column, or true and false.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A text in single quotes.
    Text(String),
    /// A number, and how it was written.
    Number(f64, String),
    /// `= != < <= > >= ( ) ,`
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// A token with the place of its first character, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub token: Token,
    pub at: usize,
}

/// Longer ones stand before their beginnings.
const SYMBOLS: [(&str, &str); 11] = [
    ("!=", "!="),
    ("<>", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("==", "="),
    ("=", "="),
    ("<", "<"),
    (">", ">"),
    ("(", "("),
    (")", ")"),
    (",", ","),
];

/// Cuts a condition into tokens; the last one is [`Token::End`].
///
/// # Errors
/// Usage error, naming the place, for a text that is too long, a quote that is not closed, or a character that means
/// nothing.
pub fn tokens(text: &str) -> Result<Vec<Placed>> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > MAX_CHARACTERS {
        return Err(Error::usage(format!("the condition has {} characters", characters.len()))
            .expected(format!("at most {MAX_CHARACTERS}"))
            .remedy("say it with fewer words, such as `in (...)` or `between`"));
    }
    let mut tokens = Vec::new();
    let mut next = 0;
    while next < characters.len() {
        if characters[next].is_whitespace() {
            next += 1;
            continue;
        }
        let at = next + 1;
        let (token, length) = token(&characters[next..], at)?;
        tokens.push(Placed { token, at });
        next += length;
    }
    tokens.push(Placed { token: Token::End, at: characters.len() + 1 });
    Ok(tokens)
}

/// An error at a place of the condition.
pub fn wrong(at: usize, what: impl std::fmt::Display) -> Error {
    Error::usage(format!("the condition cannot be read at character {at}: {what}"))
        .remedy("write it like: age >= 65 and readmitted = '<30'; `synthward generate --help` has the grammar")
}

fn token(rest: &[char], at: usize) -> Result<(Token, usize)> {
    let first = rest[0];
    if first == '\'' || first == '"' {
        let (content, length) = quoted(rest, first).ok_or_else(|| wrong(at, "a quote is opened and never closed"))?;
        return Ok((if first == '"' { Token::Name(content) } else { Token::Text(content) }, length));
    }
    let starts = |symbol: &str| symbol.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    if let Some((written, symbol)) = SYMBOLS.iter().find(|(written, _)| starts(written)) {
        return Ok((Token::Symbol(symbol), written.len()));
    }
    let digit = |i: usize| rest.get(i).is_some_and(char::is_ascii_digit);
    if digit(0) || (matches!(first, '+' | '-' | '.') && (digit(1) || (rest.get(1) == Some(&'.') && digit(2)))) {
        return number(rest, at);
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest.iter().take_while(|&&c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).count();
        return Ok((Token::Word(rest[..length].iter().collect()), length));
    }
    Err(wrong(at, "the character means nothing here"))
}

/// The content between quotes, which are doubled inside, and the length with them.
fn quoted(rest: &[char], quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut next = 1;
    loop {
        let c = *rest.get(next)?;
        next += 1;
        if c == quote {
            if rest.get(next) != Some(&quote) {
                return Some((content, next));
            }
            next += 1;
        }
        content.push(c);
    }
}

fn number(rest: &[char], at: usize) -> Result<(Token, usize)> {
    let mut length = 1;
    while let Some(&c) = rest.get(length) {
        let signs_an_exponent = matches!(c, '+' | '-') && matches!(rest[length - 1], 'e' | 'E');
        if !c.is_alphanumeric() && !matches!(c, '.' | '_') && !signs_an_exponent {
            break;
        }
        length += 1;
    }
    let written: String = rest[..length].iter().collect();
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value, written), length)),
        _ => Err(wrong(at, "this begins like a number and is none; a column's name goes in double quotes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|placed| placed.token).collect()
    }

    #[test]
    fn words_quotes_numbers_and_symbols() {
        let word = |text: &str| Token::Word(text.into());
        assert_eq!(
            read("glyburide-metformin<>'it''s' \"a \"\"b\"\"\">= -1.5e-3"),
            [
                word("glyburide-metformin"),
                Token::Symbol("!="),
                Token::Text("it's".into()),
                Token::Name("a \"b\"".into()),
                Token::Symbol(">="),
                Token::Number(-0.0015, "-1.5e-3".into()),
                Token::End,
            ]
        );
        assert_eq!(read("größe=07").len(), 4);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_with_its_place() {
        for (text, place) in [("a = 'x", 5), ("a = 1x", 5), ("a ; b", 3), ("a = 1e999", 5), ("\"a", 1), ("é = ☃", 5)]
        {
            let e = tokens(text).unwrap_err();
            assert!(e.what.contains(&format!("character {place}:")) && e.remedy.is_some(), "{text}: {e}");
            assert_eq!(e.kind.exit_code(), 2);
        }
        assert!(tokens(&"a".repeat(MAX_CHARACTERS + 1)).is_err());
    }
}
