//! The columns that keys and indexes are made of, by table and number.

use super::read;
use crate::error::{Error, Kind, Result};
use crate::model::{Address, AddressMap, Oid, Rows, ident};
use serde::Deserialize;

/// One column, as keys and indexes see it.
#[derive(Debug, Deserialize)]
pub(super) struct KeyColumn {
    relation: Oid,
    number: i32,
    name: String,
    /// The type whose operator classes an index on it has by default.
    pub(super) indexed_as: Oid,
    /// `attcollation`.
    #[serde(rename = "collation_oid")]
    pub(super) collation: Oid,
}

impl KeyColumn {
    /// Its name, quoted.
    pub(super) fn ident(&self) -> String {
        ident(&self.name)
    }
}

/// The columns of all tables and materialized views.
pub(super) struct KeyColumns(AddressMap<KeyColumn>);

impl KeyColumns {
    /// From the answer to `table::COLUMNS`.
    pub(super) fn of(answer: &Rows) -> Result<Self> {
        let columns = read::<KeyColumn>(std::slice::from_ref(answer))?;
        Ok(KeyColumns(columns.into_iter().map(|c| (Address::column(c.relation, c.number), c)).collect()))
    }

    /// The columns with these numbers, in their order. `of` is whose they are, for the error.
    ///
    /// Errors: one is not there.
    pub(super) fn get(&self, relation: Oid, numbers: &[i32], of: impl Fn() -> String) -> Result<Vec<&KeyColumn>> {
        let found = numbers.iter().map(|&number| self.0.get(&Address::column(relation, number)));
        found
            .collect::<Option<_>>()
            .ok_or_else(|| Error::new(Kind::Internal, "the catalogs lack a column that something is made of").on(of()))
    }

    /// The quoted names of these columns, separated by commas.
    pub(super) fn names(&self, relation: Oid, numbers: &[i32], of: impl Fn() -> String) -> Result<String> {
        let columns = self.get(relation, numbers, of)?;
        Ok(columns.iter().map(|column| column.ident()).collect::<Vec<_>>().join(", "))
    }
}
