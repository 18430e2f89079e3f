//! What keys and indexes share: the columns that they are made of, by table and number, and which of them come first.

use super::read;
use crate::error::{Error, Kind, Result};
use crate::model::{Address, AddressMap, Oid, Question, Rows, class, ident};
use serde::Deserialize;
use std::collections::HashMap;

/// The indexes that must not be there before another one of the same columns, `first`, which a foreign key rests on: of
/// several, the server takes the one that was made first (`transformFkeyCheckAttrs`, `src/backend/commands/tablecmds.c`).
/// Where foreign keys rest on both, no order brings that back, and none is asked for.
pub(super) const RIVALS: Question = Question(
    "WITH chosen AS MATERIALIZED (
    SELECT i.indrelid, i.indexrelid, (i.indkey::smallint[])[0:i.indnkeyatts - 1] AS keys
    FROM pg_catalog.pg_index i
    WHERE i.indexrelid IN (SELECT k.conindid FROM pg_catalog.pg_constraint k WHERE k.contype = 'f')
)
SELECT i.indexrelid AS oid, min(c.indexrelid) AS first
FROM chosen c
JOIN pg_catalog.pg_index i ON i.indrelid = c.indrelid AND (i.indisunique OR i.indisexclusion)
    AND i.indpred IS NULL AND i.indexprs IS NULL
    AND (i.indkey::smallint[])[0:i.indnkeyatts - 1] @> c.keys AND (i.indkey::smallint[])[0:i.indnkeyatts - 1] <@ c.keys
LEFT JOIN chosen itself ON itself.indexrelid = i.indexrelid
WHERE itself.indexrelid IS NULL
GROUP BY i.indexrelid",
);

#[derive(Debug, Deserialize)]
struct RivalRow {
    oid: Oid,
    first: Oid,
}

/// For an index that has to wait, the one that comes first.
pub(super) struct Rivals(HashMap<Oid, Oid>);

impl Rivals {
    /// From the answer to [`RIVALS`].
    pub(super) fn of(answer: &Rows) -> Result<Self> {
        let rows = read::<RivalRow>(std::slice::from_ref(answer))?;
        Ok(Rivals(rows.into_iter().map(|row| (row.oid, row.first)).collect()))
    }

    /// What has to be there before this index.
    pub(super) fn before(&self, index: Oid) -> Option<Address> {
        self.0.get(&index).map(|first| Address::new(class::RELATION, *first))
    }
}

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
