//! Casts. They have no schema, no owner and no name, only their two types.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, class};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "casts", questions: &[QUESTION], objects };

/// A function may take what the source is only binary-coercible to, and give what is binary-coercible to the target; older
/// servers keep no dependency on the casts that make it so, hence `leans_on`.
///
/// The cast from a range to its multirange comes with the range type. Oids below 16384 are initdb's.
const QUESTION: Question = Question(
    "SELECT c.oid, format_type(c.castsource, NULL) AS source, format_type(c.casttarget, NULL) AS target,
  CASE WHEN c.castfunc <> 0 THEN c.castfunc::regprocedure::text END AS function, c.castcontext AS context,
  c.castmethod AS method,
  coalesce((SELECT json_agg(b.oid) FROM pg_cast b
    WHERE c.castmethod = 'f' AND b.castmethod = 'b' AND (b.castsource = c.castsource OR b.casttarget = c.casttarget)),
    '[]') AS leans_on
FROM pg_cast c
WHERE c.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_range r WHERE r.rngtypid = c.castsource AND r.rngmultitypid = c.casttarget) -- <14:
ORDER BY 2, 3",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    source: String,
    target: String,
    function: Option<String>,
    /// `pg_cast.castcontext`: `e` explicit, `a` also in assignments, `i` anywhere.
    context: char,
    /// `pg_cast.castmethod`: `f` function, `i` input and output functions, `b` none.
    method: char,
    leans_on: Vec<Oid>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::CAST, row.oid);
        let types = format!("({} AS {})", row.source, row.target);
        let how = match (row.method, row.function) {
            ('f', Some(function)) => format!("WITH FUNCTION {function}"),
            ('i', _) => "WITH INOUT".to_owned(),
            _ => "WITHOUT FUNCTION".to_owned(),
        };
        let context = match row.context {
            'a' => " AS ASSIGNMENT",
            'i' => " AS IMPLICIT",
            _ => "",
        };
        let whole = Item {
            create: format!("CREATE CAST {types} {how}{context};\n"),
            drop: format!("DROP CAST {types};\n"),
            needs: words::addresses_in(class::CAST, row.leans_on),
            ..Item::new("CAST", address, None, format!("CAST {types}"))
        };
        let target = words::target(address, "CAST", None, &types);
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
