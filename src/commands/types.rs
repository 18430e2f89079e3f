//! How values of the server's types lie in binary, as its catalogs tell.

use crate::error::Result;
use crate::postgres::Session;
use crate::stream::binary::{Element, Layout};
use serde::Deserialize;
use std::collections::HashMap;

/// Every type but rows, arrays of rows and pseudo-types, and the C functions of its text and of its binary form where they
/// are the server's own (language `internal`).
const TYPES: &str = "
SELECT t.oid, t.typtype = 'd' AS is_domain, t.typbasetype AS base, t.typelem AS element, t.typdelim = ',' AS has_commas,
  i.prosrc AS input, r.prosrc AS receive, o.prosrc AS output, s.prosrc AS send
FROM pg_catalog.pg_type t
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
LEFT JOIN pg_catalog.pg_proc i ON i.oid = t.typinput AND i.prolang = 12
LEFT JOIN pg_catalog.pg_proc r ON r.oid = t.typreceive AND r.prolang = 12
LEFT JOIN pg_catalog.pg_proc o ON o.oid = t.typoutput AND o.prolang = 12
LEFT JOIN pg_catalog.pg_proc s ON s.oid = t.typsend AND s.prolang = 12
WHERE t.typtype IN ('b', 'd', 'e') AND e.typtype IS DISTINCT FROM 'c'";

#[derive(Debug, Deserialize)]
struct TypeRow {
    oid: u32,
    is_domain: bool,
    base: u32,
    element: u32,
    has_commas: bool,
    input: Option<String>,
    receive: Option<String>,
    output: Option<String>,
    send: Option<String>,
}

/// The types of one database.
#[derive(Debug)]
pub(crate) struct Types(HashMap<u32, TypeRow>);

/// Which way values go.
#[derive(Debug, Clone, Copy)]
enum Way {
    ToServer,
    FromServer,
}

/// Domains over domains, arrays of arrays by way of domains: nobody has so many, and a damaged catalog might have a circle.
const DEEPEST: usize = 32;

impl Types {
    /// Asks the server.
    pub(crate) async fn ask(session: &Session) -> Result<Self> {
        Ok(Types(session.question::<TypeRow>(TYPES).await?.into_iter().map(|row| (row.oid, row)).collect()))
    }

    /// How values of this type lie on their way to the server; `None` for those that have to go as text.
    pub(crate) fn received(&self, oid: u32) -> Option<Layout> {
        self.layout(oid, Way::ToServer, 0)
    }

    /// How values of this type come from the server; `None` for those that have to come as text.
    pub(crate) fn sent(&self, oid: u32) -> Option<Layout> {
        self.layout(oid, Way::FromServer, 0)
    }

    fn layout(&self, oid: u32, way: Way, depth: usize) -> Option<Layout> {
        let row = self.0.get(&oid).filter(|_| depth < DEEPEST)?;
        if row.is_domain {
            // `domain_recv` takes what the base type takes, and its values are the base type's.
            return self.layout(row.base, way, depth + 1);
        }
        let functions = match way {
            Way::ToServer => (row.input.as_deref()?, row.receive.as_deref()?),
            Way::FromServer => (row.output.as_deref()?, row.send.as_deref()?),
        };
        match (way, functions) {
            (Way::ToServer, ("array_in", "array_recv")) | (Way::FromServer, ("array_out", "array_send")) => {
                let layout = self.layout(row.element, way, depth + 1)?;
                let is_plain = !matches!(layout, Layout::Array(_)) && self.0.get(&row.element)?.has_commas;
                is_plain.then(|| Layout::Array(Box::new(Element { oid: row.element, layout })))
            }
            (Way::ToServer, (input, receive)) => Layout::received(input, receive),
            (Way::FromServer, (output, send)) => Layout::sent(output, send),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TypeRow, Types};
    use crate::stream::binary::{Element, Layout};

    fn row(oid: u32, is_domain: bool, base: u32, element: u32, functions: &str) -> (u32, TypeRow) {
        let function = |end: &str| Some(format!("{functions}{end}"));
        let (input, receive, output, send) = (function("in"), function("recv"), function("out"), function("send"));
        (oid, TypeRow { oid, is_domain, base, element, has_commas: true, input, receive, output, send })
    }

    #[test]
    fn domains_are_their_base_and_arrays_their_elements() {
        let types = Types(
            [
                row(1, false, 0, 0, "int4"),
                row(2, true, 1, 0, "domain_"),
                row(3, false, 0, 2, "array_"),
                row(4, true, 3, 0, "domain_"),
                row(5, false, 0, 4, "array_"),
                row(6, true, 6, 0, "domain_"),
                row(7, false, 0, 0, "tsvector"),
                row(8, false, 0, 7, "array_"),
            ]
            .into(),
        );
        let array = Layout::Array(Box::new(Element { oid: 2, layout: Layout::Int4 }));
        let expected = [Some(Layout::Int4), Some(Layout::Int4), Some(array.clone()), Some(array)];
        for of in [Types::received, Types::sent] {
            let found: Vec<_> = (1..=9).map(|oid| of(&types, oid)).collect();
            assert_eq!(found[..4], expected);
            assert_eq!(found[4..], [None, None, None, None, None]);
        }
    }
}
