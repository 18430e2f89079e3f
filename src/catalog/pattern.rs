//! Name patterns as psql and `pg_dump` read them: `*`, `?`, double quotes, a dot between database, schema and name, upper
//! case folded outside quotes, and otherwise a regular expression (`processSQLNamePattern`, `fe_utils/string_utils.c`).
//!
//! The server would match with its own regular expressions; here it is `regex-lite`, which agrees on what such patterns
//! use in practice: classes, alternatives, groups and repetitions.

use crate::error::{Error, Kind, Result};
use regex_lite::Regex;
use std::fmt;

/// A pattern for names, with up to three parts.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    /// The database, taken literally.
    database: Option<String>,
    /// The part before the last dot.
    schema: Option<Regex>,
    /// The last part.
    name: Regex,
}

impl Pattern {
    /// Reads a pattern; `Kind::Usage` when it has more than three parts or is no regular expression.
    pub fn parse(text: &str) -> Result<Pattern> {
        let mut parts = split(text).into_iter().rev();
        let wrong = |message: &str| Error::new(Kind::Usage, message).on(format!("pattern {text}"));
        let compile = |part: Part| {
            Regex::new(&format!("(?s)^(?:{})$", part.expression))
                .map_err(|error| wrong("this is not a usable pattern").because(error))
        };
        let name = parts.next().map(compile).transpose()?.ok_or_else(|| wrong("the pattern is empty"))?;
        let schema = parts.next().map(compile).transpose()?;
        let database = parts.next().map(|part| part.literal);
        if parts.next().is_some() {
            return Err(wrong("a name has at most three parts: database.schema.name"));
        }
        Ok(Pattern { text: text.to_owned(), database, schema, name })
    }

    /// Whether a relation's name fits. A pattern without schema fits in every schema, and one with a schema fits nothing
    /// whose schema is not given.
    pub fn matches(&self, schema: Option<&str>, name: &str) -> bool {
        let schema_fits = match (&self.schema, schema) {
            (None, _) => true,
            (Some(pattern), Some(schema)) => pattern.is_match(schema),
            (Some(_), None) => false,
        };
        schema_fits && self.name.is_match(name)
    }

    /// Whether the pattern, read as one for schemas, fits this schema.
    pub fn matches_schema(&self, schema: &str) -> bool {
        self.name.is_match(schema)
    }

    /// Whether the pattern, one for schemas or tables, asks for something in a schema of the server's own.
    pub(super) fn fits_the_system(&self, what: &str) -> bool {
        let schema = match what {
            "schema" => Some(&self.name),
            "table" => self.schema.as_ref(),
            _ => None,
        };
        schema.is_some_and(|schema| {
            ["pg_catalog", "pg_toast", "information_schema"].iter().any(|name| schema.is_match(name))
        })
    }

    /// Whether the pattern says in which schema to look.
    pub fn has_schema(&self) -> bool {
        self.schema.is_some()
    }

    /// Refuses a pattern with a dot, for names that live in no schema: databases, extensions.
    pub(crate) fn check_plain(&self) -> Result<()> {
        if self.schema.is_none() {
            return Ok(());
        }
        Err(Error::new(Kind::Usage, "this name has one part only").on(format!("pattern {}", self.text)))
    }

    /// Refuses a pattern about another database, and one for schemas that has too many parts. `current` is the name of the
    /// database we are connected to.
    pub(super) fn check(&self, for_schemas: bool, current: &str) -> Result<()> {
        let wrong = |message: String| Err(Error::new(Kind::Usage, message).on(format!("pattern {}", self.text)));
        let database = if for_schemas {
            if self.database.is_some() {
                return wrong("a schema's name has at most two parts: database.schema".to_owned());
            }
            // Of two parts the first is the database, which counts as written.
            split(&self.text).into_iter().rev().nth(1).map(|part| part.literal)
        } else {
            self.database.clone()
        };
        match database {
            Some(database) if database != current => {
                wrong(format!("this is database \"{current}\", and a dump cannot reach into another one"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::str::FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Pattern::parse(text)
    }
}

/// What stands between two dots: as a regular expression, and as it is but for quotes and case.
#[derive(Debug, Default)]
struct Part {
    expression: String,
    literal: String,
}

fn split(text: &str) -> Vec<Part> {
    let mut parts = vec![];
    let mut part = Part::default();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '"' {
            if quoted && characters.next_if_eq(&'"').is_some() {
                part.expression.push('"');
                part.literal.push('"');
            } else {
                quoted = !quoted;
            }
            continue;
        }
        if !quoted && character == '.' {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        let folded = if quoted { character } else { character.to_ascii_lowercase() };
        part.literal.push(folded);
        match character {
            '*' if !quoted => part.expression.push_str(".*"),
            '?' if !quoted => part.expression.push('.'),
            // A dollar is frequent in names and useless in a pattern that is anchored anyway.
            '$' => part.expression.push_str("\\$"),
            // The name of an array type, `integer[]`, rather than an empty class.
            '[' if !quoted && characters.peek() == Some(&']') => part.expression.push_str("\\["),
            '|' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '.' | '^' | '\\' if quoted => {
                part.expression.push('\\');
                part.expression.push(character);
            }
            _ => part.expression.push(folded),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn check(pattern: &str, schema: Option<&str>, name: &str, expected: bool) {
        let pattern = Pattern::parse(pattern).expect("a good pattern");
        assert_eq!(pattern.matches(schema, name), expected, "{pattern} against {schema:?} {name:?}");
    }

    #[test]
    fn stars_and_question_marks_stand_for_any_characters() {
        check("a*", None, "abc", true);
        check("a*", None, "a\nb", true);
        check("a*", None, "ba", false);
        check("a?c", None, "abc", true);
        check("a?c", None, "ac", false);
    }

    #[test]
    fn case_is_folded_outside_quotes_only() {
        check("Customer", None, "customer", true);
        check("Customer", None, "Customer", false);
        check("\"Customer\"", None, "Customer", true);
        check("\"C\"ustomer", None, "Customer", true);
    }

    #[test]
    fn quotes_take_the_meaning_from_special_characters() {
        check("\"a*\"", None, "a*", true);
        check("\"a*\"", None, "ab", false);
        check("\"a.b\"", Some("a"), "b", false);
        check("\"a.b\"", None, "a.b", true);
        check("\"a\"\"b\"", None, "a\"b", true);
        check("\"a\\d\"", None, "a\\d", true);
    }

    #[test]
    fn a_dot_parts_schema_and_name() {
        check("s.t", Some("s"), "t", true);
        check("s.t", Some("x"), "t", false);
        check("s*.*", Some("sales"), "t", true);
        check("t", Some("anything"), "t", true);
        check("s.t", None, "t", false);
    }

    #[test]
    fn the_rest_is_a_regular_expression_over_the_whole_name() {
        check("log_[0-9]+", None, "log_12", true);
        check("log_[0-9]+", None, "log_1x", false);
        check("a|b", None, "b", true);
        check("a|b", None, "ab", false);
        check("a$b", None, "a$b", true);
        check("t[]", None, "t[]", true);
    }

    #[test]
    fn a_bad_pattern_is_refused_with_its_text() {
        for bad in ["a(", "a.b.c.d", "[z"] {
            let error = Pattern::parse(bad).expect_err("a bad pattern");
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn another_database_is_refused() {
        let check = |text: &str, for_schemas| Pattern::parse(text).expect("parses").check(for_schemas, "Shop").is_ok();
        assert!(check("\"Shop\".s.t", false));
        assert!(!check("shop.s.t", false));
        assert!(check("s.t", false));
        assert!(check("s", true));
        assert!(check("\"Shop\".s", true));
        assert!(!check("x.s", true));
        assert!(!check("\"Shop\".s.t", true));
    }
}
