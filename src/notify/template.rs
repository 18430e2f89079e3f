//! Bodies of the user's: JSON whose texts hold `{{name}}`.
//!
//! The template is read as JSON first and filled then, so that no value can break out of its text. A text that is
//! nothing but one `{{name}}` becomes the value itself, a number for instance; within other text values are written out.

use super::event::Event;
use super::webhook::facts;
use crate::error::{Error, Kind, Result};
use serde_json::Value;

/// A template that was checked.
#[derive(Debug, Clone)]
pub struct Template(Value);

impl Template {
    /// Reads a template.
    ///
    /// Errors: [`Kind::Usage`] when it is not JSON, or names something that no event has.
    pub fn parse(text: &str) -> Result<Template> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            Error::new(Kind::Usage, "the body of the webhook is not JSON")
                .because(error)
                .hint("placeholders stand within texts: {\"text\": \"{{headline}}\", \"rows\": \"{{rows}}\"}")
        })?;
        let known = facts(&Event::test(""))?;
        let template = Template(value);
        for name in template.names() {
            if known.get(&name).is_none() {
                let names = known.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
                return Err(Error::new(Kind::Usage, format!("the body of the webhook has an unknown name {name:?}"))
                    .hint(format!("there are {}", names.unwrap_or_default())));
            }
        }
        Ok(template)
    }

    /// The template with the facts put in; what an event does not have is null, or nothing within other text.
    pub(super) fn fill(&self, facts: &Value) -> Value {
        fill(&self.0, facts)
    }

    fn names(&self) -> Vec<String> {
        let mut waiting = vec![&self.0];
        let mut names = Vec::new();
        while let Some(value) = waiting.pop() {
            match value {
                Value::String(text) => names.extend(pieces(text).into_iter().filter_map(|piece| match piece {
                    Piece::Name(name) => Some(name.to_owned()),
                    Piece::Text(_) => None,
                })),
                Value::Array(values) => waiting.extend(values),
                Value::Object(fields) => waiting.extend(fields.values()),
                _ => {}
            }
        }
        names
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        pieces.push(Piece::Name(name.trim()));
        rest = after;
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    pieces
}

fn fill(template: &Value, facts: &Value) -> Value {
    match template {
        Value::String(text) => match pieces(text).as_slice() {
            [Piece::Name(name)] => facts[*name].clone(),
            pieces => Value::String(pieces.iter().map(|piece| written(piece, facts)).collect()),
        },
        Value::Array(values) => values.iter().map(|value| fill(value, facts)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), fill(value, facts))).collect())
        }
        other => other.clone(),
    }
}

fn written(piece: &Piece<'_>, facts: &Value) -> String {
    match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Name(name) => match &facts[*name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(lines) => lines
                .iter()
                .map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join("\n"),
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn a_template_that_cannot_work_is_refused_when_it_is_read() {
        for text in ["", "{\"a\": {{rows}}}", "{\"a\": \"{{jbo}}\"}", "[\"{{ }}\"]"] {
            assert!(Template::parse(text).expect_err(text).hint_text().is_some());
        }
        Template::parse("{\"a\": \"{{ job }} {{\"}").expect("braces that are not closed are text");
    }
}
