//! What the rows of many kinds share: names and addresses inside them, and the words that follow from these.
//!
//! Not a kind. Questions return names unquoted, as [`Named`], wherever the server has no cast that names the thing.

use crate::model::{Address, Belongs, Grantable, Item, Oid, Target, class, ident, literal, qualified};
use serde::Deserialize;

/// A name inside a row, `json_build_object('schema', ..., 'name', ...)`; both unquoted.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    schema: String,
    name: String,
}

impl Named {
    /// `schema.name`, quoted where it must be.
    pub(super) fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// The schema, unquoted.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// The bare name, unquoted.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `OPERATOR(schema.+)`. The name of an operator is made of symbols and is never quoted.
    pub(super) fn operator(&self) -> String {
        format!("OPERATOR({}.{})", ident(&self.schema), self.name)
    }
}

/// An operator of an operator class or family.
#[derive(Debug, Deserialize)]
pub(super) struct OperatorMember {
    strategy: i32,
    /// With its operand types, as `regoperator` writes it.
    operator: String,
    /// The family that sorts what an ordering operator gives.
    order_by: Option<Named>,
}

impl OperatorMember {
    /// The words inside CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY.
    pub(super) fn sql(&self) -> String {
        let order_by =
            self.order_by.as_ref().map(|family| format!(" FOR ORDER BY {}", family.sql())).unwrap_or_default();
        format!("OPERATOR {} {}{order_by}", self.strategy, self.operator)
    }
}

/// An address inside a row, `json_build_object('class', ..., 'object', ...)`.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    class: Oid,
    object: Oid,
}

/// The addresses of all of them.
pub(super) fn addresses(places: &[Place]) -> Vec<Address> {
    places.iter().map(|place| Address::new(place.class, place.object)).collect()
}

/// The addresses of rows of one catalog; oid 0 means that there is none.
pub(super) fn addresses_in(class: Oid, objects: impl IntoIterator<Item = Oid>) -> Vec<Address> {
    objects.into_iter().filter(|object| object.0 != 0).map(|object| Address::new(class, object)).collect()
}

/// Taken along with its schema and with nothing else.
pub(super) fn in_schema(schema: &str) -> Belongs {
    Belongs { schema: Some(schema.to_owned()), ..Belongs::default() }
}

/// A target whose words are `word` and the name; `name` is SQL text without its schema, such as `f(integer)`.
pub(super) fn target(address: Address, word: &str, schema: Option<&str>, name: &str) -> Target {
    let on = match schema {
        Some(schema) => format!("{word} {}.{name}", ident(schema)),
        None => format!("{word} {name}"),
    };
    Target { address, on, tag: format!("{word} {name}"), grant: None, columns: None }
}

/// The row type of a relation, which is made with it and can have a comment and privileges of its own all the same.
pub(super) fn row_type_target(oid: Oid, schema: &str, name: &str, owner: Option<&str>) -> Option<Target> {
    let target = target(Address::new(class::TYPE, oid), "TYPE", Some(schema), &ident(name));
    let grant = owner.map(|owner| Grantable { on: target.on.clone(), owner: owner.to_owned() });
    (oid != Oid(0)).then_some(Target { grant, ..target })
}

/// `name=value` of `reloptions` as a setting. The value is quoted unless it is a plain word, for it may hold anything.
pub(super) fn option_setting(namespace: &str, option: &str) -> String {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let value = if ident(value) == value { value.to_owned() } else { literal(value) };
    format!("{namespace}{}={value}", ident(name))
}

/// `SET (...)` from a column's `attoptions`, or nothing where none is a user's: minor releases since November 2026 keep a
/// version of the column's definition there as `pg_attver`, which their own pg_dump leaves out and older servers refuse.
pub(super) fn own_settings(options: &[String]) -> Option<String> {
    let options = options.iter().filter(|option| !option.starts_with("pg_attver="));
    let settings: Vec<String> = options.map(|option| option_setting("", option)).collect();
    (!settings.is_empty()).then(|| format!("SET ({})", settings.join(", ")))
}

/// ` OPTIONS (...)` from an array of `name=value` as foreign-data objects store them, or nothing if there are none.
/// Only the first `=` separates, for a name cannot hold one (`transformRelOptions`, `access/common/reloptions.c`).
pub(super) fn options_clause(options: &[String]) -> String {
    if options.is_empty() {
        return String::new();
    }
    let options: Vec<String> = options
        .iter()
        .map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            format!("{} {}", ident(name), literal(value))
        })
        .collect();
    format!(" OPTIONS (\n    {}\n)", options.join(",\n    "))
}

/// `(\n    a,\n    b\n)`, the parenthesised list of settings that many CREATE statements take.
pub(super) fn settings(settings: &[String]) -> String {
    format!("(\n    {}\n)", settings.join(",\n    "))
}

/// How a type opens inside a loop with its own functions: a shell, which is enough for functions to name the type, then
/// the type itself, once they exist. Both provide the type's row, for both put it there: what is inside the loop may be
/// content with the shell, what is outside needs the type. `built_on` is what only the full type needs.
pub(super) fn shell_and_type(whole: &Item, built_on: &[Address]) -> Vec<Item> {
    let name = qualified(whole.schema.as_deref().unwrap_or_default(), &whole.tag);
    let shell = Item {
        desc: "SHELL TYPE",
        create: format!("CREATE TYPE {name};\n"),
        drop: String::new(),
        provides: vec![whole.address],
        ignores: built_on.to_vec(),
        ..whole.clone()
    };
    let mut full = whole.clone();
    full.needs.extend(built_on);
    vec![shell, full]
}

#[cfg(test)]
mod tests {
    use super::options_clause;

    #[test]
    fn only_the_first_equals_sign_parts_an_option() {
        let options = ["host=a=b".to_owned(), "Pass word=it's".to_owned()];
        assert_eq!(options_clause(&options), " OPTIONS (\n    host 'a=b',\n    \"Pass word\" 'it''s'\n)");
        assert_eq!(options_clause(&[]), "");
    }
}
