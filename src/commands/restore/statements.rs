//! The statements around an entry's own: owner, tablespace, access method, drop. The words are pg_restore's
//! (`pg_backup_archiver.c`, `_getObjectDescription` and `_printTocEntry`).

use super::choose::{Choice, Phase, Plan, Step};
use crate::archive::toc::TocEntry;
use crate::commands::source::oids_of_group;
use crate::model::{ident, literal, qualified};

/// All statements of a step, in order: placement, its own, its owner.
pub(crate) fn of_step(step: &Step, choice: &Choice, is_partial: bool, placement: &mut Placement) -> Vec<String> {
    let mut statements = placement.statements(&step.entry);
    statements.extend(of_entry(step, choice, is_partial));
    statements
}

/// The statements of a step but for its placement.
pub(super) fn of_entry(step: &Step, choice: &Choice, is_partial: bool) -> Vec<String> {
    let mut statements: Vec<String> = create(&step.entry, is_partial).into_iter().collect();
    if !choice.no_table_access_method {
        statements.extend(access_method(&step.entry));
    }
    if !choice.no_owner {
        statements.extend(owner(&step.entry));
    }
    statements
}

/// What drops everything that the plan makes, last first, each with the label of what it drops.
pub(crate) fn drops(plan: &Plan, if_exists: bool) -> Vec<(String, String)> {
    let wanted = |step: &Step| {
        // Dropping the system's own schema would take its privileges along; everything in it goes by name.
        let is_public = step.entry.desc == "SCHEMA" && step.entry.tag == "public";
        step.phase != Phase::Database && !is_public && !(step.entry.desc == "EXTENSION" && plan.is_partial)
    };
    let steps = plan.steps.iter().rev().filter(|step| wanted(step));
    steps.filter_map(|step| Some((step.label(), drop(&step.entry, if_exists)?))).collect()
}

/// The role that an entry's object will be given to, if it has an owner of its own.
pub(super) fn owner_of(entry: &TocEntry) -> Option<&str> {
    owner(entry).and(entry.owner.as_deref())
}

/// `ALTER ... OWNER TO ...`, for an entry that has an owner of its own.
fn owner(entry: &TocEntry) -> Option<String> {
    let owner = entry.owner.as_deref().filter(|owner| !owner.is_empty())?;
    let drop = entry.drop.as_deref().filter(|drop| !drop.is_empty())?;
    let object = match entry.desc.as_str() {
        "COLLATION"
        | "CONVERSION"
        | "DOMAIN"
        | "FOREIGN TABLE"
        | "MATERIALIZED VIEW"
        | "SEQUENCE"
        | "STATISTICS"
        | "TABLE"
        | "TEXT SEARCH DICTIONARY"
        | "TEXT SEARCH CONFIGURATION"
        | "TYPE"
        | "VIEW" => {
            format!("{} {}", entry.desc, qualified(entry.schema.as_deref()?, &entry.tag))
        }
        "DATABASE"
        | "EVENT TRIGGER"
        | "FOREIGN DATA WRAPPER"
        | "PUBLICATION"
        | "SCHEMA"
        | "SERVER"
        | "SUBSCRIPTION" => {
            format!("{} {}", entry.desc, ident(&entry.tag))
        }
        "PROCEDURAL LANGUAGE" => format!("LANGUAGE {}", ident(&entry.tag)),
        "BLOB" => format!("LARGE OBJECT {}", entry.oid),
        "BLOB METADATA" => {
            let one = |oid: &str| format!("ALTER LARGE OBJECT {oid} OWNER TO {};", ident(owner));
            return Some(oids_of_group(entry).map(one).collect::<Vec<_>>().join("\n"));
        }
        // Their names need argument types, which the drop statement spells.
        "AGGREGATE" | "FUNCTION" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY" | "PROCEDURE" => {
            drop.trim_end().trim_end_matches(';').strip_prefix("DROP ")?.to_owned()
        }
        _ => return None,
    };
    Some(format!("ALTER {object} OWNER TO {};", ident(owner)))
}

/// The session settings that an entry's statement relies on, where they differ from what the session has.
#[derive(Debug, Default, Clone)]
pub(crate) struct Placement {
    tablespace: Option<String>,
    access_method: Option<String>,
    no_tablespaces: bool,
    no_access_methods: bool,
}

impl Placement {
    /// For a session that was just opened: what it has may be the database's setting, so nothing is taken for granted.
    pub(crate) fn of(choice: &Choice) -> Self {
        Placement {
            no_tablespaces: choice.no_tablespaces,
            no_access_methods: choice.no_table_access_method,
            ..Placement::default()
        }
    }

    /// What to run before the entry; remembers it for the next one.
    pub(super) fn statements(&mut self, entry: &TocEntry) -> Vec<String> {
        let mut statements = Vec::new();
        if let Some(tablespace) = entry.tablespace.as_ref().filter(|_| !self.no_tablespaces)
            && self.tablespace.as_ref() != Some(tablespace)
        {
            let value = if tablespace.is_empty() { "''".to_owned() } else { ident(tablespace) };
            statements.push(format!("SET default_tablespace = {value};"));
            self.tablespace = Some(tablespace.clone());
        }
        // A partitioned table has no storage; its method is one of its properties ([`access_method`]).
        if let Some(method) =
            entry.access_method.as_ref().filter(|method| !method.is_empty() && !self.no_access_methods)
            && entry.relkind != Some(PARTITIONED)
            && self.access_method.as_ref() != Some(method)
        {
            statements.push(format!("SET default_table_access_method = {};", ident(method)));
            self.access_method = Some(method.clone());
        }
        statements
    }
}

/// `pg_class.relkind` of a partitioned table.
const PARTITIONED: char = 'p';

/// The access method that the partitions of a partitioned table will have (`_printTableAccessMethodNoStorage`).
fn access_method(entry: &TocEntry) -> Option<String> {
    let method = entry.access_method.as_ref().filter(|method| !method.is_empty())?;
    (entry.relkind == Some(PARTITIONED)).then(|| {
        let table = qualified(entry.schema.as_deref().unwrap_or_default(), &entry.tag);
        format!("ALTER TABLE {table} SET ACCESS METHOD {};", ident(method))
    })
}

/// The entry's drop statement, with IF EXISTS when asked.
pub(crate) fn drop(entry: &TocEntry, if_exists: bool) -> Option<String> {
    if entry.desc == "BLOB METADATA" {
        // Stock never minds a large object of a group that is not there.
        return Some(format!(
            "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY ('{}');",
            oid_array(entry)
        ));
    }
    let drop = entry.drop.as_deref().map(str::trim).filter(|drop| {
        ["DROP ", "ALTER ", "SELECT ", "CREATE OR REPLACE "].iter().any(|word| drop.starts_with(word))
    })?;
    if !if_exists {
        return Some(drop.to_owned());
    }
    if drop.starts_with("CREATE OR REPLACE ") {
        // Something that was filled late becomes empty again, if it is there at all; its own DROP follows.
        let attempt = format!("BEGIN EXECUTE {}; EXCEPTION WHEN OTHERS THEN NULL; END", literal(drop));
        return Some(format!("DO {};", literal(&attempt)));
    }
    if entry.desc == "BLOB" {
        let oid = &entry.oid;
        return Some(format!(
            "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '{oid}';"
        ));
    }
    let is_constraint = entry.desc.ends_with("CONSTRAINT");
    let marker = if is_constraint { "DROP CONSTRAINT ".to_owned() } else { format!("DROP {} ", entry.desc) };
    let Some(position) = drop.find(&marker) else { return Some(drop.to_owned()) };
    let mut text = drop.to_owned();
    text.insert_str(position + marker.len(), "IF EXISTS ");
    if text.starts_with("ALTER TABLE ") {
        text.insert_str("ALTER TABLE ".len(), "IF EXISTS ");
    }
    Some(text)
}

/// `{1,2}`, as an array of oids is written in a literal; nothing but digits gets in.
fn oid_array(entry: &TocEntry) -> String {
    format!("{{{}}}", oids_of_group(entry).collect::<Vec<_>>().join(","))
}

/// What makes the object. For a partial restore, a schema that is there already is what the user expects.
fn create(entry: &TocEntry, is_partial: bool) -> Option<String> {
    let create = entry.create.as_deref().filter(|create| !create.trim().is_empty())?;
    if entry.desc == "BLOB METADATA" {
        return Some(format!(
            "SELECT pg_catalog.lo_create(o) FROM pg_catalog.unnest('{}'::pg_catalog.oid[]) AS o;",
            oid_array(entry)
        ));
    }
    if is_partial && entry.desc == "SCHEMA" && !create.starts_with("CREATE SCHEMA IF NOT EXISTS ") {
        return Some(create.replacen("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ", 1));
    }
    Some(create.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{drop, owner};
    use crate::archive::toc::TocEntry;
    use crate::model::{Address, Item};

    fn entry(desc: &'static str, tag: &str, drop: &str) -> TocEntry {
        let item = Item {
            drop: drop.into(),
            owner: Some("shop owner".into()),
            ..Item::new(desc, Address::default(), Some("Sales"), tag)
        };
        TocEntry::of_item(item, 1, Vec::new(), None)
    }

    #[test]
    fn the_owner_is_set_by_the_words_that_fit_the_kind() {
        let table = entry("TABLE", "t", "DROP TABLE \"Sales\".t;\n");
        assert_eq!(owner(&table).as_deref(), Some("ALTER TABLE \"Sales\".t OWNER TO \"shop owner\";"));
        let function = entry("FUNCTION", "f(integer)", "DROP FUNCTION \"Sales\".f(integer);\n");
        assert_eq!(owner(&function).as_deref(), Some("ALTER FUNCTION \"Sales\".f(integer) OWNER TO \"shop owner\";"));
        assert_eq!(owner(&entry("INDEX", "i", "DROP INDEX \"Sales\".i;\n")), None);
    }

    #[test]
    fn if_exists_goes_where_the_grammar_wants_it() {
        let key = entry("CONSTRAINT", "t t_pkey", "ALTER TABLE ONLY \"Sales\".t DROP CONSTRAINT t_pkey;\n");
        let expected = "ALTER TABLE IF EXISTS ONLY \"Sales\".t DROP CONSTRAINT IF EXISTS t_pkey;";
        assert_eq!(drop(&key, true).as_deref(), Some(expected));
        let view = entry("VIEW", "v", "DROP VIEW \"Sales\".v;\n");
        assert_eq!(drop(&view, true).as_deref(), Some("DROP VIEW IF EXISTS \"Sales\".v;"));
        assert_eq!(drop(&view, false).as_deref(), Some("DROP VIEW \"Sales\".v;"));
    }
}
