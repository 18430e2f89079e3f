//! `--filter`: a file of what to include and exclude, one a line, in the format of `pg_dump` 17 and newer
//! (`src/bin/pg_dump/filter.c`; PostgreSQL documentation, `pg_dump`, "--filter").
//!
//! `include` or `exclude`, a sort of object, a pattern; `#` begins a comment outside of quotes. Within double quotes `\n`
//! is a line break and `\\` a backslash, and a quoted name may go on over lines.

use super::pattern::Pattern;
use super::selection::Selection;
use crate::error::{Error, Kind, Result};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Include, or else exclude.
    pub include: bool,
    /// `table`, `table_data_and_children` and so on, in lower case.
    pub sort: String,
    /// The pattern, spaces around its parts taken away.
    pub pattern: String,
    /// The number of its line.
    line: usize,
}

impl Rule {
    /// The error of a rule that the command has no use for.
    pub fn refused(&self, file: &str) -> Error {
        let verb = if self.include { "include" } else { "exclude" };
        wrong(file, self.line, &format!("{verb} {} is not possible here", self.sort))
    }
}

impl Selection {
    /// Adds what a filter file includes and excludes.
    pub fn add_filter(&mut self, file: &str) -> Result<()> {
        for rule in read(file)? {
            let list = match (rule.include, rule.sort.as_str()) {
                (true, "schema") => &mut self.schemas,
                (false, "schema") => &mut self.exclude_schemas,
                (true, "table") => &mut self.tables,
                (true, "table_and_children") => &mut self.tables_and_children,
                (false, "table") => &mut self.exclude_tables,
                (false, "table_and_children") => &mut self.exclude_tables_and_children,
                (false, "table_data") => &mut self.exclude_table_data,
                (false, "table_data_and_children") => &mut self.exclude_table_data_and_children,
                (true, "foreign_data") => &mut self.foreign_data,
                (false, "database") => &mut self.exclude_databases,
                (true, "extension") => &mut self.extensions,
                (false, "extension") => &mut self.exclude_extensions,
                _ => return Err(rule.refused(file)),
            };
            list.push(Pattern::parse(&rule.pattern)?);
        }
        Ok(())
    }
}

const SORTS: [&str; 11] = [
    "database",
    "extension",
    "foreign_data",
    "function",
    "index",
    "schema",
    "table",
    "table_and_children",
    "table_data",
    "table_data_and_children",
    "trigger",
];

/// Reads the file; `-` is standard input.
///
/// Errors: [`Kind::Usage`] for a file that cannot be read, or a line that cannot be understood.
pub fn read(file: &str) -> Result<Vec<Rule>> {
    let text = if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text =
        text.map_err(|error| Error::new(Kind::Usage, "cannot be read").on(format!("filter {file}")).because(error))?;
    parse(&text, file)
}

fn parse(text: &str, file: &str) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        let (verb, rest) = keyword(line);
        let include = match verb.to_ascii_lowercase().as_str() {
            "include" => true,
            "exclude" => false,
            _ => return Err(wrong(file, number, "it has to begin with include or exclude")),
        };
        let (sort, rest) = keyword(rest);
        let sort = sort.to_ascii_lowercase();
        if !SORTS.contains(&sort.as_str()) {
            return Err(wrong(file, number, &format!("{sort:?} is no sort of object that a filter knows")));
        }
        let pattern = pattern(rest, || lines.next().map(|(_, line)| line))
            .ok_or_else(|| wrong(file, number, "a quoted name has no end"))?;
        if pattern.is_empty() {
            return Err(wrong(file, number, "a pattern is missing"));
        }
        rules.push(Rule { include, sort, pattern, line: number });
    }
    Ok(rules)
}

fn wrong(file: &str, line: usize, message: &str) -> Error {
    Error::new(Kind::Usage, message).on(format!("filter {file}, line {line}"))
}

fn keyword(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// A pattern as the server writes names: one space between words, one behind a comma, none around dots and parentheses.
/// `None` when a quoted name does not end.
fn pattern<'t>(text: &'t str, mut next_line: impl FnMut() -> Option<&'t str>) -> Option<String> {
    let mut pattern = String::new();
    let mut characters = text.trim_start().chars();
    let (mut space, mut no_space_here) = (false, true);
    while let Some(character) = characters.next() {
        match character {
            '#' => break,
            c if c.is_whitespace() => space = true,
            ',' => {
                pattern.push_str(", ");
                (space, no_space_here) = (false, true);
            }
            '.' | '(' | ')' => {
                pattern.push(character);
                (space, no_space_here) = (false, true);
            }
            _ => {
                if space && !no_space_here {
                    pattern.push(' ');
                }
                (space, no_space_here) = (false, false);
                pattern.push(character);
                if character == '"' {
                    quoted(&mut characters, &mut pattern, &mut next_line)?;
                }
            }
        }
    }
    Some(pattern)
}

/// The rest of a quoted name up to its closing mark. A doubled mark closes one name and opens the next, which comes to the
/// same.
fn quoted<'t>(
    characters: &mut std::str::Chars<'t>,
    pattern: &mut String,
    next_line: &mut impl FnMut() -> Option<&'t str>,
) -> Option<()> {
    loop {
        match characters.next() {
            Some('"') => {
                pattern.push('"');
                return Some(());
            }
            Some('\\') => match characters.next() {
                Some('n') => pattern.push('\n'),
                Some('\\') => pattern.push('\\'),
                // As stock: the backslash and what it stands before are dropped.
                Some(_) | None => {}
            },
            Some(character) => pattern.push(character),
            None => {
                *characters = next_line()?.chars();
                pattern.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, parse};

    fn rules(text: &str) -> Vec<(bool, String, String)> {
        let parsed = parse(text, "f").expect("a filter");
        parsed.into_iter().map(|Rule { include, sort, pattern, .. }| (include, sort, pattern)).collect()
    }

    fn check(line: &str, include: bool, sort: &str, pattern: &str) {
        assert_eq!(rules(line), [(include, sort.to_owned(), pattern.to_owned())], "{line}");
    }

    #[test]
    fn a_line_has_a_verb_a_sort_and_a_pattern() {
        check("include table public.t*", true, "table", "public.t*");
        check("  EXCLUDE  Table_Data   s . \"My Table\"  # why", false, "table_data", "s.\"My Table\"");
        check("include function f ( integer,text )", true, "function", "f(integer, text)");
        check("exclude schema \"#1\"", false, "schema", "\"#1\"");
        check("include table \"a\"\"b\"", true, "table", "\"a\"\"b\"");
    }

    #[test]
    fn a_quoted_name_may_hold_line_breaks_in_two_ways() {
        check("include table \"a\\nb\\\\c\"", true, "table", "\"a\nb\\c\"");
        check("include table \"a\nb\"", true, "table", "\"a\nb\"");
    }

    #[test]
    fn comments_and_empty_lines_are_nothing() {
        assert_eq!(rules("\n# all\n   # of it\n\n"), []);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for bad in ["table t", "include", "include tables t", "include table", "include table # t", "include table \"t"]
        {
            let error = parse(&format!("\n{bad}"), "f").expect_err("a bad filter");
            assert!(error.to_string().starts_with("filter f, line 2: "), "{error}");
        }
    }
}
