//! One file a kind of object: its question to the catalogs, the shape of its row, and its DDL, on one screen.
//!
//! May import: error, model. Always true here: pure functions from rows to [`Object`]s; no connection, no version test
//! outside a question's `-- <N:` lines; kinds never look each other up, for the server names things: with an empty
//! `search_path`, `regclass` casts, `format_type` and the `pg_get_*def` functions return qualified text. Where there are
//! thousands that costs too much, and a kind puts plain definitions together from names that it asks for.
//!
//! Architecture invariant: [`KINDS`] is the only list of kinds. Its order is the restore rank. A new kind is one file and
//! one line here.

mod access_method;
mod aggregate;
mod base_type;
mod cast;
mod collation;
mod composite;
mod constraint;
mod conversion;
pub mod database;
pub mod default_privilege;
mod domain;
mod enum_type;
mod event_trigger;
mod extended_statistics;
mod extension;
mod foreign_data_wrapper;
mod foreign_server;
mod function;
mod index;
mod key;
mod language;
pub mod large_object;
mod operator;
mod operator_class;
mod operator_family;
mod policy;
mod publication;
mod range_type;
mod rule;
pub mod schema;
mod sequence;
pub mod statistics_data;
pub mod subscription;
mod table;
mod text_search_configuration;
mod text_search_dictionary;
mod text_search_parser;
mod text_search_template;
mod transform;
mod trigger;
mod user_mapping;
mod view;
mod words;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{Object, Question, Rows};
use serde::de::DeserializeOwned;

/// A kind of object.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// For messages, plural: `tables`.
    pub name: &'static str,
    /// Asks for every object of the kind outside the system schemas, members of extensions included (the catalog drops
    /// those), most kinds in one question. Columns become the fields of the kind's row. A question that several kinds have is
    /// asked once.
    pub questions: &'static [Question],
    /// Turns the answers, one a question, into objects.
    pub objects: fn(&[Rows]) -> Result<Vec<Object>>,
}

/// Every kind, in the order of restore.
pub const KINDS: &[Kind] = &[
    database::KIND,
    schema::KIND,
    language::KIND,
    collation::KIND,
    extension::KIND,
    enum_type::KIND,
    composite::KIND,
    domain::KIND,
    range_type::KIND,
    base_type::KIND,
    cast::KIND,
    function::KIND,
    transform::KIND,
    aggregate::KIND,
    access_method::KIND,
    operator::KIND,
    operator_family::KIND,
    operator_class::KIND,
    conversion::KIND,
    text_search_parser::KIND,
    text_search_template::KIND,
    text_search_dictionary::KIND,
    text_search_configuration::KIND,
    foreign_data_wrapper::KIND,
    foreign_server::KIND,
    user_mapping::KIND,
    sequence::KIND,
    table::KIND,
    view::KIND,
    large_object::KIND,
    index::KIND,
    constraint::KIND,
    extended_statistics::KIND,
    trigger::KIND,
    rule::KIND,
    policy::KIND,
    default_privilege::KIND,
    publication::KIND,
    subscription::KIND,
    event_trigger::KIND,
    statistics_data::KIND,
];

/// The place of what comes right behind extensions.
pub fn behind_extensions() -> usize {
    KINDS.iter().position(|kind| kind.name == extension::KIND.name).unwrap_or(KINDS.len())
}

/// Reads each row of the answers into the kind's shape and collects what `describe` makes of it.
pub(crate) fn each<R: DeserializeOwned>(
    answers: &[Rows],
    mut describe: impl FnMut(R, &mut Vec<Object>) -> Result<()>,
) -> Result<Vec<Object>> {
    let mut objects = Vec::with_capacity(answers.iter().map(Rows::len).sum());
    for row in answers.iter().flat_map(Rows::read) {
        describe(row.map_err(of_another_shape::<R>)?, &mut objects)?;
    }
    Ok(objects)
}

/// Reads all rows of the answers into one shape.
fn read<R: DeserializeOwned>(answers: &[Rows]) -> Result<Vec<R>> {
    let mut read = Vec::with_capacity(answers.iter().map(Rows::len).sum());
    for row in answers.iter().flat_map(Rows::read) {
        read.push(row.map_err(of_another_shape::<R>)?);
    }
    Ok(read)
}

fn of_another_shape<R>(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "a catalog row does not have the shape that its question promises")
        .on(std::any::type_name::<R>())
        .because(error)
}

/// Answers made of rows that are written as JSON, for tests.
#[cfg(test)]
fn answers<T: AsRef<str>>(rows: &[T]) -> [Rows; 1] {
    let rows: Vec<serde_json::Value> =
        rows.iter().map(|row| serde_json::from_str(row.as_ref()).expect("a row is JSON")).collect();
    [Rows::of_json(&rows)]
}
