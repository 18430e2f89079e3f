//! Range types, each with its multirange type, its constructor functions and its cast, which come and go with it.
//!
//! A canonical function takes the range itself, a loop: opened, a shell type comes first.

use super::words::{Named, Place};
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "range types", questions: &[QUESTION], objects };

/// `also_provides` are the rows that CREATE TYPE makes besides the two types: constructors of the range and, from 14 on,
/// the multirange, its array, its constructors and the cast from the range to it. Constructors keep their names and schemas
/// when the type gets others, and their owner is whoever made the type.
const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, n.nspname AS schema, t.typname AS name,
  pg_get_userbyid(t.typowner) AS owner,
  format_type(r.rngsubtype, NULL) AS subtype,
  (SELECT json_build_object('schema', mn.nspname, 'name', m.typname) -- <14: NULL::json
    FROM pg_type m JOIN pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = r.rngmultitypid) -- <14:
    AS multirange,
  r.rngmultitypid AS multirange_oid, -- <14: 0 AS multirange_oid,
  (SELECT json_build_object('schema', rn.nspname, 'name', o.opcname)
    FROM pg_opclass o JOIN pg_namespace rn ON rn.oid = o.opcnamespace
    WHERE o.oid = r.rngsubopc AND NOT o.opcdefault) AS operator_class,
  (SELECT json_build_object('schema', cn.nspname, 'name', c.collname)
    FROM pg_collation c JOIN pg_namespace cn ON cn.oid = c.collnamespace
    WHERE c.oid = r.rngcollation AND r.rngcollation <> s.typcollation) AS collation,
  nullif(r.rngcanonical::oid, 0)::regproc::text AS canonical,
  nullif(r.rngsubdiff::oid, 0)::regproc::text AS difference,
  coalesce((SELECT json_agg(json_build_object('class', d.classid, 'object', d.objid))
    FROM pg_depend d
    WHERE d.refclassid = 'pg_type'::regclass AND d.deptype = 'i'
      AND d.classid IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_cast'::regclass)
      AND d.refobjid IN (r.rngtypid, r.rngmultitypid)), '[]') AS also_provides, -- <14: AND d.refobjid = r.rngtypid), '[]') AS also_provides,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d
    WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid <> 'pg_namespace'::regclass
      AND d.deptype = 'n'), '[]') AS built_on,
  coalesce((SELECT json_agg(json_build_object('oid', p.oid, 'schema', pn.nspname, 'name', p.proname,
      'arguments', pg_get_function_identity_arguments(p.oid), 'of_range', d.refobjid = r.rngtypid) ORDER BY p.oid)
    FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace pn ON pn.oid = p.pronamespace
    WHERE d.refclassid = 'pg_type'::regclass AND d.deptype = 'i' AND d.classid = 'pg_proc'::regclass
      AND d.refobjid IN (r.rngtypid, r.rngmultitypid)), '[]') AS constructors, -- <14: AND d.refobjid = r.rngtypid), '[]') AS constructors,
  (SELECT json_build_object('oid', c.oid, 'source', format_type(c.castsource, NULL), 'target', format_type(c.casttarget, NULL)) -- <14: NULL::json AS own_cast
    FROM pg_cast c WHERE c.castsource = r.rngtypid AND c.casttarget = r.rngmultitypid) AS own_cast -- <14:
FROM pg_type t JOIN pg_range r ON r.rngtypid = t.oid JOIN pg_type s ON s.oid = r.rngsubtype
  JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.typname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    array_type: Oid,
    schema: String,
    name: String,
    owner: String,
    subtype: String,
    multirange: Option<Named>,
    multirange_oid: Oid,
    operator_class: Option<Named>,
    collation: Option<Named>,
    canonical: Option<String>,
    difference: Option<String>,
    also_provides: Vec<Place>,
    built_on: Vec<Place>,
    constructors: Vec<Constructor>,
    own_cast: Option<OwnCast>,
}

/// A function that CREATE TYPE makes.
#[derive(Deserialize)]
struct Constructor {
    oid: Oid,
    schema: String,
    name: String,
    /// `None` if the type was dropped after the snapshot was taken.
    arguments: Option<String>,
    /// Of the range, else of the multirange.
    of_range: bool,
}

/// The cast from the range to its multirange.
#[derive(Deserialize)]
struct OwnCast {
    oid: Oid,
    source: String,
    target: String,
}

impl Row {
    /// Gives the constructors the names and schemas that they have: the definitions of others may say them.
    fn renames(&self) -> String {
        let mut statements = String::new();
        for constructor in &self.constructors {
            let multirange = self.multirange.as_ref().filter(|_| !constructor.of_range);
            // Those of the multirange are made in the schema of the range, too.
            let made = (self.schema.as_str(), multirange.map_or(self.name.as_str(), Named::name));
            let arguments = constructor.arguments.as_deref().unwrap_or_default();
            if made.0 != constructor.schema {
                let function = qualified(made.0, made.1);
                statements +=
                    &format!("ALTER FUNCTION {function}({arguments}) SET SCHEMA {};\n", ident(&constructor.schema));
            }
            if made.1 != constructor.name {
                let function = qualified(&constructor.schema, made.1);
                statements +=
                    &format!("ALTER FUNCTION {function}({arguments}) RENAME TO {};\n", ident(&constructor.name));
            }
        }
        statements
    }

    /// The functions and the cast can have comments, and the functions privileges.
    fn targets_made_along(&self) -> impl Iterator<Item = Target> {
        let functions = self.constructors.iter().map(|constructor| {
            let signature =
                format!("{}({})", ident(&constructor.name), constructor.arguments.as_deref().unwrap_or_default());
            let address = Address::new(class::FUNCTION, constructor.oid);
            let target = words::target(address, "FUNCTION", Some(&constructor.schema), &signature);
            let grant = Some(Grantable { on: target.on.clone(), owner: String::new() });
            Target { grant, ..target }
        });
        let cast = self.own_cast.as_ref().map(|cast| {
            let types = format!("({} AS {})", cast.source, cast.target);
            words::target(Address::new(class::CAST, cast.oid), "CAST", None, &types)
        });
        functions.chain(cast)
    }

    fn create(&self) -> String {
        let mut lines = vec![format!("subtype = {}", self.subtype)];
        for (word, value) in [
            ("multirange_type_name", self.multirange.as_ref().map(Named::sql)),
            ("subtype_opclass", self.operator_class.as_ref().map(Named::sql)),
            ("collation", self.collation.as_ref().map(Named::sql)),
            ("canonical", self.canonical.clone()),
            ("subtype_diff", self.difference.clone()),
        ] {
            lines.extend(value.map(|value| format!("{word} = {value}")));
        }
        let name = qualified(&self.schema, &self.name);
        format!("CREATE TYPE {name} AS RANGE {};\n{}", words::settings(&lines), self.renames())
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let mut provides = words::addresses_in(class::TYPE, [row.oid, row.array_type]);
        provides.extend(words::addresses(&row.also_provides));
        provides.sort_unstable();
        provides.dedup();
        // The canonical function and the type need each other, so neither goes alone.
        let cascade = if row.canonical.is_some() { " CASCADE" } else { "" };
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: row.create(),
            drop: format!("DROP TYPE {name}{cascade};\n"),
            provides,
            ..Item::new("TYPE", address, Some(&row.schema), &row.name)
        };
        let mut target = words::target(address, "TYPE", Some(&row.schema), &ident(&row.name));
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner.clone() });
        // A multirange can have a comment; its privileges are the range's.
        let multirange = row.multirange.as_ref().map(|name| Target {
            address: Address::new(class::TYPE, row.multirange_oid),
            ..words::target(address, "TYPE", Some(name.schema()), &ident(name.name()))
        });
        let built_on = words::addresses(&row.built_on);
        let opened = if row.canonical.is_some() { words::shell_and_type(&whole, &built_on) } else { Vec::new() };
        let object = Object { opened: opened.into(), ..Object::simple(whole, words::in_schema(&row.schema)) };
        let mut object = object.with_target(target);
        object.targets.extend(multirange);
        object.targets.extend(row.targets_made_along());
        objects.push(object);
        Ok(())
    })
}
