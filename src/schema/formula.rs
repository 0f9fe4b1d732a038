//! The language of `formula`: arithmetic over the numbers of a row.
//!
//! `weight / (height / 100)^2`, `floor(age / 10) * 10`, `(first + second) / 2`. A moment counts in days. What is computed
//! from a missing cell is missing.

use crate::error::{Error, Result};

/// Characters of a formula, at most.
const MAX_CHARACTERS: usize = 1024;
/// Parentheses and signs inside each other, at most.
const MAX_DEPTH: usize = 64;

/// A formula over columns, named or told by their place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Formula<C = String> {
    Number(f64),
    Column(C),
    Two(Operator, Box<Formula<C>>, Box<Formula<C>>),
    Call(Function, Vec<Formula<C>>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Floor,
    Round,
    Sqrt,
    Ln,
    Exp,
    Min,
    Max,
}

impl Function {
    const ALL: [(&str, Self); 7] = [
        ("floor", Self::Floor),
        ("round", Self::Round),
        ("sqrt", Self::Sqrt),
        ("ln", Self::Ln),
        ("exp", Self::Exp),
        ("min", Self::Min),
        ("max", Self::Max),
    ];

    /// Whether it takes two numbers or more; else it takes one.
    fn takes_several(self) -> bool {
        matches!(self, Self::Min | Self::Max)
    }
}

impl<C> Formula<C> {
    /// The number that the row gives, NaN where one of its cells is.
    pub fn value(&self, cell: &impl Fn(&C) -> f64) -> f64 {
        match self {
            Self::Number(x) => *x,
            Self::Column(column) => cell(column),
            Self::Two(operator, left, right) => {
                let (x, y) = (left.value(cell), right.value(cell));
                match operator {
                    Operator::Plus => x + y,
                    Operator::Minus => x - y,
                    Operator::Times => x * y,
                    Operator::Over => x / y,
                    // Of a missing cell the zeroth power is missing, too.
                    Operator::Power if x.is_nan() => x,
                    Operator::Power => x.powf(y),
                }
            }
            Self::Call(function, parts) => {
                let values = parts.iter().map(|part| part.value(cell));
                // Rounding forgives what the last digits of a float make of a whole number.
                let slack = |x: f64| 1e-9 * x.abs().max(1.0);
                let one = |f: fn(f64) -> f64| parts.first().map_or(f64::NAN, |part| f(part.value(cell)));
                let missing_too =
                    |f: fn(f64, f64) -> f64| move |x: f64, y: f64| if (x + y).is_nan() { f64::NAN } else { f(x, y) };
                match function {
                    Function::Floor => parts.first().map_or(f64::NAN, |part| {
                        let x = part.value(cell);
                        (x + slack(x)).floor()
                    }),
                    Function::Round => one(f64::round),
                    Function::Sqrt => one(f64::sqrt),
                    Function::Ln => one(f64::ln),
                    Function::Exp => one(f64::exp),
                    Function::Min => values.reduce(missing_too(f64::min)).unwrap_or(f64::NAN),
                    Function::Max => values.reduce(missing_too(f64::max)).unwrap_or(f64::NAN),
                }
            }
        }
    }

    /// The columns, each once, in the order in which they stand there.
    pub fn columns(&self) -> Vec<&C>
    where
        C: PartialEq,
    {
        let mut found: Vec<&C> = match self {
            Self::Number(_) => Vec::new(),
            Self::Column(column) => vec![column],
            Self::Two(_, left, right) => [left.columns(), right.columns()].concat(),
            Self::Call(_, parts) => parts.iter().flat_map(Self::columns).collect(),
        };
        let mut seen: Vec<&C> = Vec::new();
        found.retain(|column| {
            let is_new = !seen.contains(column);
            seen.push(column);
            is_new
        });
        found
    }

    /// The same over other names of the columns; nothing where one has none.
    pub fn map<D>(&self, name: &impl Fn(&C) -> Option<D>) -> Option<Formula<D>> {
        Some(match self {
            Self::Number(x) => Formula::Number(*x),
            Self::Column(column) => Formula::Column(name(column)?),
            Self::Two(operator, left, right) => {
                Formula::Two(*operator, Box::new(left.map(name)?), Box::new(right.map(name)?))
            }
            Self::Call(function, parts) => {
                Formula::Call(*function, parts.iter().map(|part| part.map(name)).collect::<Option<_>>()?)
            }
        })
    }
}

/// The name of a column as it stands in a formula or a condition: in double quotes where it is no plain word.
pub(crate) fn quoted(name: &str) -> String {
    const WORDS: [&str; 9] = ["and", "or", "not", "in", "between", "is", "null", "true", "false"];
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let is_word = WORDS.iter().any(|word| name.eq_ignore_ascii_case(word));
    if is_plain && !is_word { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Reads a formula.
///
/// # Errors
/// Bad input, naming the place, where it is malformed, too long or nested too deep.
pub(crate) fn parse(text: &str) -> Result<Formula> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > MAX_CHARACTERS {
        return Err(Error::bad_input(format!("the formula has {} characters", characters.len()))
            .expected(format!("at most {MAX_CHARACTERS}"))
            .remedy("compute it in steps, or in the table"));
    }
    let mut parser = Parser { characters, next: 0 };
    let formula = parser.sum(0)?;
    match parser.peek() {
        None => Ok(formula),
        Some(_) => Err(parser.wrong("expected an operator or the end")),
    }
}

struct Parser {
    characters: Vec<char>,
    next: usize,
}

impl Parser {
    fn wrong(&self, what: &str) -> Error {
        Error::bad_input(format!("the formula cannot be read at character {}: {what}", self.next + 1))
            .remedy("write it like: weight / (height / 100)^2; names that are no plain words go in double quotes")
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.next).is_some_and(|c| c.is_whitespace()) {
            self.next += 1;
        }
        self.characters.get(self.next).copied()
    }

    fn takes(&mut self, symbol: char) -> bool {
        let is_here = self.peek() == Some(symbol);
        self.next += usize::from(is_here);
        is_here
    }

    fn expect(&mut self, symbol: char) -> Result<()> {
        if self.takes(symbol) { Ok(()) } else { Err(self.wrong(&format!("expected `{symbol}`"))) }
    }

    fn two(operator: Operator, left: Formula, right: Formula) -> Formula {
        Formula::Two(operator, Box::new(left), Box::new(right))
    }

    fn sum(&mut self, depth: usize) -> Result<Formula> {
        let mut left = self.product(depth)?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Plus,
                Some('-') => Operator::Minus,
                _ => return Ok(left),
            };
            self.next += 1;
            left = Self::two(operator, left, self.product(depth)?);
        }
    }

    fn product(&mut self, depth: usize) -> Result<Formula> {
        let mut left = self.signed(depth)?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Times,
                Some('/') => Operator::Over,
                _ => return Ok(left),
            };
            self.next += 1;
            left = Self::two(operator, left, self.signed(depth)?);
        }
    }

    fn signed(&mut self, depth: usize) -> Result<Formula> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(&format!("it is nested deeper than {MAX_DEPTH}")));
        }
        if self.takes('-') {
            return Ok(Self::two(Operator::Minus, Formula::Number(0.0), self.signed(depth + 1)?));
        }
        let base = self.atom(depth)?;
        if self.takes('^') { Ok(Self::two(Operator::Power, base, self.signed(depth + 1)?)) } else { Ok(base) }
    }

    fn atom(&mut self, depth: usize) -> Result<Formula> {
        match self.peek() {
            Some('(') => {
                self.next += 1;
                let inner = self.sum(depth + 1)?;
                self.expect(')')?;
                Ok(inner)
            }
            Some('"') => self.name_in_quotes().map(Formula::Column),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => {
                let word = self.word();
                if self.peek() == Some('(') { self.call(&word, depth) } else { Ok(Formula::Column(word)) }
            }
            _ => Err(self.wrong("expected a number, a column or `(`")),
        }
    }

    fn word(&mut self) -> String {
        let rest = self.characters[self.next..].iter();
        let word: String = rest.take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        self.next += word.chars().count();
        word
    }

    fn name_in_quotes(&mut self) -> Result<String> {
        let mut name = String::new();
        self.next += 1;
        loop {
            let Some(&c) = self.characters.get(self.next) else {
                return Err(self.wrong("a quote is opened and never closed"));
            };
            self.next += 1;
            if c == '"' {
                if self.characters.get(self.next) != Some(&'"') {
                    return Ok(name);
                }
                self.next += 1;
            }
            name.push(c);
        }
    }

    fn number(&mut self) -> Result<Formula> {
        let start = self.next;
        while let Some(&c) = self.characters.get(self.next) {
            let signs_an_exponent = matches!(c, '+' | '-') && matches!(self.characters[self.next - 1], 'e' | 'E');
            if !c.is_ascii_digit() && !matches!(c, '.' | 'e' | 'E') && !signs_an_exponent {
                break;
            }
            self.next += 1;
        }
        let written: String = self.characters[start..self.next].iter().collect();
        match written.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Formula::Number(x)),
            _ => Err(self.wrong("this begins like a number and is none")),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Formula> {
        let Some(&(_, function)) = Function::ALL.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = Function::ALL.iter().map(|(known, _)| *known).collect();
            return Err(self.wrong(&format!("it knows no such function but {}", known.join(", "))));
        };
        self.expect('(')?;
        let mut parts = vec![self.sum(depth + 1)?];
        while function.takes_several() && self.takes(',') {
            parts.push(self.sum(depth + 1)?);
        }
        self.expect(')')?;
        Ok(Formula::Call(function, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> f64 {
        let cell = |name: &String| match name.as_str() {
            "a" => 3.0,
            "b" => 4.0,
            "height in cm" => 180.0,
            _ => f64::NAN,
        };
        parse(text).unwrap().value(&cell)
    }

    #[test]
    fn arithmetic_binds_as_on_paper() {
        for (text, expected) in [
            ("a + b * 2", 11.0),
            ("(a + b) * 2", 14.0),
            ("a - b - 1", -2.0),
            ("-a^2 + b", -5.0),
            ("2^a^2 / 2", 256.0),
            ("81 / (\"height in cm\" / 100)^2", 25.0),
            ("floor(57 / 10) * 10", 50.0),
            ("floor(0.3 * 10)", 3.0),
            ("min(a, b, 2.5) + max(a, b)", 6.5),
            ("round(1.5e1 / 2) + sqrt(b) + ln(exp(1))", 11.0),
        ] {
            assert!((value(text) - expected).abs() < 1e-9, "{text} = {}", value(text));
        }
        assert!(value("a + nobody").is_nan() && value("min(a, nobody)").is_nan() && value("nobody^0").is_nan());
        assert_eq!(parse("b / a + b").unwrap().columns(), ["b", "a"]);
        assert_eq!(
            [quoted("a_1"), quoted("a-b"), quoted("in"), quoted("x\"y")],
            ["a_1", "\"a-b\"", "\"in\"", "\"x\"\"y\""]
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        for (text, place) in
            [("", 1), ("a +", 4), ("a b", 3), ("(a", 3), ("1.2.3", 6), ("sin(a)", 4), ("floor(a, b)", 8)]
        {
            let e = parse(text).unwrap_err();
            assert!(e.what.contains(&format!("character {place}:")) && e.remedy.is_some(), "{text}: {e}");
        }
        assert!(parse(&"(".repeat(500)).is_err() && parse(&"-".repeat(500)).is_err());
        assert!(parse(&"1+".repeat(600)).is_err());
    }
}
