//! From words to an expression.

use super::tokens::{Placed, Token, tokens, wrong};
use crate::error::Result;

/// Parentheses and `not`s inside each other, at most.
const MAX_DEPTH: usize = 64;

/// A condition as it was written; with other tests than those, what was made of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression<T = Test> {
    All(Vec<Expression<T>>),
    Any(Vec<Expression<T>>),
    Not(Box<Expression<T>>),
    Test(T),
}

/// What is asked of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub column: String,
    /// Place of the column's name in the text.
    pub at: usize,
    /// The opposite is asked; missing cells satisfy neither.
    pub negated: bool,
    pub asked: Asked,
}

/// The question, without its negation.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Equal(Literal),
    Less(Literal),
    LessOrEqual(Literal),
    In(Vec<Literal>),
    Between(Literal, Literal),
    Null,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    pub value: Value,
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64, String),
    Text(String),
    Boolean(bool),
}

/// Words that are no column unless they stand in double quotes.
const KEYWORDS: [&str; 9] = ["and", "or", "not", "in", "between", "is", "null", "true", "false"];

/// Reads a condition.
///
/// # Errors
/// Usage error, naming the place, when it is malformed, too long or nested too deep.
pub fn parse(text: &str) -> Result<Expression> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0 };
    let expression = parser.any(0)?;
    match parser.peek() {
        Placed { token: Token::End, .. } => Ok(expression),
        placed => Err(wrong(placed.at, "expected `and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Placed {
        // The last token is the end, and it is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Placed {
        let placed = self.peek().clone();
        self.next += 1;
        placed
    }

    /// Passes a keyword if it stands here.
    fn keyword(&mut self, keyword: &str) -> bool {
        let here = matches!(&self.peek().token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.next += usize::from(here);
        here
    }

    /// Passes a symbol if it stands here.
    fn symbol(&mut self, symbol: &str) -> bool {
        let here = matches!(self.peek().token, Token::Symbol(s) if s == symbol);
        self.next += usize::from(here);
        here
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(wrong(self.peek().at, format_args!("expected `{symbol}`"))) }
    }

    fn any(&mut self, depth: usize) -> Result<Expression> {
        let first = self.all(depth)?;
        let mut parts = vec![first];
        while self.keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Expression> {
        let first = self.part(depth)?;
        let mut parts = vec![first];
        while self.keyword("and") {
            parts.push(self.part(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn part(&mut self, depth: usize) -> Result<Expression> {
        let at = self.peek().at;
        if depth > MAX_DEPTH {
            return Err(wrong(at, format_args!("parentheses and `not` are nested deeper than {MAX_DEPTH}")));
        }
        if self.keyword("not") {
            return Ok(Expression::Not(Box::new(self.part(depth + 1)?)));
        }
        if self.symbol("(") {
            let inner = self.any(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.test().map(Expression::Test)
    }

    fn test(&mut self) -> Result<Test> {
        let Placed { token, at } = self.take();
        let column = match token {
            Token::Name(name) => name,
            Token::Word(word) if !KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) => word,
            Token::Text(_) => {
                return Err(wrong(at, "expected a column; its name goes in double quotes, not in single ones"));
            }
            _ => return Err(wrong(at, "expected the name of a column")),
        };
        let (negated, asked) = self.question()?;
        Ok(Test { column, at, negated, asked })
    }

    fn question(&mut self) -> Result<(bool, Asked)> {
        if self.keyword("is") {
            let negated = self.keyword("not");
            return if self.keyword("null") {
                Ok((negated, Asked::Null))
            } else {
                Err(wrong(self.peek().at, "expected `null` after `is`"))
            };
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            self.expect("(")?;
            let mut literals = vec![self.literal()?];
            while self.symbol(",") {
                literals.push(self.literal()?);
            }
            self.expect(")")?;
            return Ok((negated, Asked::In(literals)));
        }
        if self.keyword("between") {
            let from = self.literal()?;
            if !self.keyword("and") {
                return Err(wrong(self.peek().at, "expected `and` between the ends of `between`"));
            }
            return Ok((negated, Asked::Between(from, self.literal()?)));
        }
        let Placed { token, at } = self.take();
        let Token::Symbol(symbol) = token else {
            return Err(wrong(at, "expected a comparison: =, !=, <, <=, >, >=, in, between or is null"));
        };
        if negated {
            return Err(wrong(at, "expected `in` or `between` after `not`"));
        }
        // What is greater is not less or equal; a missing cell is neither.
        let (negated, question): (bool, fn(Literal) -> Asked) = match symbol {
            "=" => (false, Asked::Equal),
            "!=" => (true, Asked::Equal),
            "<" => (false, Asked::Less),
            ">=" => (true, Asked::Less),
            "<=" => (false, Asked::LessOrEqual),
            ">" => (true, Asked::LessOrEqual),
            _ => return Err(wrong(at, "expected a comparison: =, !=, <, <=, >, >=, in, between or is null")),
        };
        Ok((negated, question(self.literal()?)))
    }

    fn literal(&mut self) -> Result<Literal> {
        let Placed { token, at } = self.take();
        let value = match token {
            Token::Number(value, written) => Value::Number(value, written),
            Token::Text(text) => Value::Text(text),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => {
                return Err(wrong(at, "nothing is equal to null; write `is null` or `is not null`"));
            }
            _ => return Err(wrong(at, "expected a number, true, false, or a text in single quotes")),
        };
        Ok(Literal { value, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        let Expression::Any(parts) = parse("NOT a = 1 AND b < 'x' or c is NOT null").unwrap() else { panic!() };
        let Expression::All(both) = &parts[0] else { panic!() };
        assert!(matches!(&both[0], Expression::Not(_)));
        assert!(matches!(&both[1], Expression::Test(Test { negated: false, asked: Asked::Less(_), .. })));
        assert!(matches!(&parts[1], Expression::Test(Test { negated: true, asked: Asked::Null, at: 26, .. })));
    }

    #[test]
    fn between_keeps_its_own_and() {
        let Expression::All(parts) = parse("a between 1 and 2 and \"not\" not in (3, true)").unwrap() else { panic!() };
        assert!(matches!(&parts[0], Expression::Test(Test { asked: Asked::Between(..), .. })));
        let Expression::Test(Test { column, negated: true, asked: Asked::In(list), .. }) = &parts[1] else { panic!() };
        assert_eq!((column.as_str(), list.len()), ("not", 2));
    }

    #[test]
    fn malformed_conditions_are_refused_with_their_place() {
        for (text, place) in [
            ("", 1),
            ("age", 4),
            ("age >=", 7),
            ("age >= 65 and", 14),
            ("age >= 65 readmitted = 'x'", 11),
            ("(age >= 65", 11),
            ("age >= 65)", 10),
            ("age = null", 7),
            ("age in ()", 9),
            ("age in 3", 8),
            ("age between 3, 4", 14),
            ("'age' = 3", 1),
            ("age not = 3", 9),
            ("and = 3", 1),
            ("age is 3", 8),
            ("age ( 3", 5),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.what.contains(&format!("character {place}:")), "{text}: {e}");
            assert_eq!(e.kind.exit_code(), 2);
        }
    }

    #[test]
    fn hostile_nesting_is_refused() {
        assert!(parse(&format!("{}a = 1{}", "(".repeat(60), ")".repeat(60))).is_ok());
        for open in ["(", "not "] {
            let e = parse(&open.repeat(1000)).unwrap_err();
            assert!(e.what.contains("nested deeper"), "{e}");
        }
        let long = vec!["a=1"; 500].join(" or ");
        assert!(parse(&long).is_ok());
    }
}
