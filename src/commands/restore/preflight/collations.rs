//! Collations: whether the target has what they are made from, whether it has those of the system that definitions name,
//! and whether it sorts by them as the source did.

use super::locales::{Tried, options, try_collation, try_libc};
use super::{Found, Lack, Users, note, used_by};
use crate::archive::manifest::CollationFacts;
use crate::archive::script::{keyword, leading_name};
use crate::archive::toc::TocEntry;
use crate::commands::restore::choose::Plan;
use crate::error::Result;
use crate::model::{literal, qualified};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::HashMap;

/// Where the collations will be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The encoding of the database that is asked.
    pub(super) asked: &'a str,
    /// The encoding of the database that is restored into.
    pub(super) wanted: &'a str,
}

impl Place<'_> {
    /// Whether the answers about collations of libc hold, which a database has for its own encoding only.
    pub(super) fn same_encoding(self) -> bool {
        self.asked == self.wanted
    }

    /// Whether the answers about other providers hold. They know no encoding but UTF-8, and those of ICU.
    pub(super) fn knows_all(self) -> bool {
        self.same_encoding() || self.asked == "UTF8"
    }
}

/// Looks for everything of this sort.
pub(super) async fn look(
    session: &Session,
    plan: &Plan,
    facts: &[CollationFacts],
    place: Place<'_>,
    found: &mut Found,
) -> Result<()> {
    let facts: HashMap<(&str, &str), &str> =
        facts.iter().map(|fact| ((fact.schema.as_str(), fact.name.as_str()), fact.version.as_str())).collect();
    let mut differing = |schema: &str, name: &str, ours: Option<&str>, users: &str| {
        if let (Some(theirs), Some(ours)) = (facts.get(&(schema, name)), ours)
            && *theirs != ours
        {
            found.warnings.push(other_version(
                &format!("collation {} ({users})", qualified(schema, name)),
                theirs,
                ours,
            ));
        }
    };
    let mut tried: HashMap<&str, Option<String>> = HashMap::new();
    for entry in plan.steps.iter().map(|step| step.entry.as_ref()).filter(|entry| entry.desc == "COLLATION") {
        let Some(settings) = settings(entry) else { continue };
        if !tried.contains_key(settings) {
            let version = match try_settings(session, settings, place).await? {
                Tried::Known(version) => version,
                Tried::NotAsked => None,
                Tried::Refused(why) => {
                    found.lacks.push(Lack {
                        what: format!("the locale of {}", entry.label()),
                        hint: format!("install it on the target's server, or make the collation yourself ({why})"),
                    });
                    None
                }
            };
            tried.insert(settings, version);
        }
        let version = tried.get(settings).and_then(Option::as_deref);
        differing(entry.schema.as_deref().unwrap_or_default(), &entry.tag, version, "in the backup");
    }
    let named = named(plan.steps.iter().map(|step| step.entry.as_ref()));
    let known = of_the_system(session, &named, place).await?;
    for (name, users) in &named {
        match known.get(name) {
            Some(version) => differing("pg_catalog", name, version.as_deref(), &used_by(users)),
            None => found.lacks.push(missing(name, users)),
        }
    }
    Ok(())
}

/// That text may sort otherwise.
pub(super) fn other_version(what: &str, theirs: &str, ours: &str) -> String {
    format!(
        "the {what} has version {theirs} in the source and {ours} in the target: text may sort otherwise, which matters \
         to partitions by range and to checks on order; indexes are built anew and are right"
    )
}

fn missing(name: &str, users: &(String, usize)) -> Lack {
    let hint = if name.ends_with("-x-icu") {
        "it needs a server that was built with ICU and knows this language"
    } else {
        "install its locale on the target's server and have it found with SELECT \
         pg_import_system_collations('pg_catalog') there, or restore to a newer server if it came with that"
    };
    Lack { what: format!("collation {} ({})", qualified("pg_catalog", name), used_by(users)), hint: hint.to_owned() }
}

/// Whether a collation of these settings can be made where it is wanted.
async fn try_settings(session: &Session, settings: &str, place: Place<'_>) -> Result<Tried> {
    let options = options(settings.trim_start_matches('('));
    let value = |wanted: &str| options.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let is_libc = value("provider").is_none_or(|provider| provider == "libc");
    if place.same_encoding() || (!is_libc && place.knows_all()) {
        return try_collation(session, &options).await;
    }
    if is_libc {
        for locale in ["locale", "lc_collate", "lc_ctype"].into_iter().filter_map(value) {
            if let Tried::Refused(why) = try_libc(session, locale).await? {
                return Ok(Tried::Refused(why));
            }
        }
    }
    Ok(Tried::NotAsked)
}

/// `(provider = icu, ...)`, as the statement has it behind the name.
fn settings(entry: &TocEntry) -> Option<&str> {
    let name = qualified(entry.schema.as_deref()?, &entry.tag);
    let rest = entry.create.as_deref()?.strip_prefix("CREATE COLLATION ")?.strip_prefix(name.as_str())?;
    Some(rest.trim().trim_end_matches(';'))
}

/// The system's collations that definitions name, but for what stands in bodies of functions.
fn named<'a>(entries: impl Iterator<Item = &'a TocEntry>) -> Users {
    let mut users = Users::new();
    for entry in entries.filter(|entry| !matches!(entry.desc.as_str(), "FUNCTION" | "PROCEDURE" | "COLLATION")) {
        let mut names = Vec::new();
        let mut rest = entry.create.as_deref().unwrap_or_default();
        while let Some(at) = keyword(rest, "COLLATE") {
            rest = rest[at + "COLLATE".len()..].trim_start();
            if let Some((name, after)) = rest.strip_prefix("pg_catalog.").and_then(leading_name) {
                rest = after;
                if !names.contains(&name) {
                    note(&mut users, &name, entry);
                    names.push(name);
                }
            }
        }
    }
    users
}

#[derive(Debug, Deserialize)]
struct CollationRow {
    name: String,
    version: Option<String>,
}

/// Those of these collations that the system has for the encoding, each with the version of what sorts by it.
async fn of_the_system(session: &Session, named: &Users, place: Place<'_>) -> Result<HashMap<String, Option<String>>> {
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = named.keys().map(|name| literal(name)).collect();
    let question = format!(
        "SELECT c.collname AS name, pg_catalog.pg_collation_actual_version(c.oid) AS version
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE n.nspname = 'pg_catalog' AND c.collencoding IN (-1, pg_catalog.pg_char_to_encoding({}))
AND c.collname IN ({})",
        literal(place.wanted),
        names.join(", ")
    );
    let rows: Vec<CollationRow> = session.question(&question).await?;
    Ok(rows.into_iter().map(|row| (row.name, row.version)).collect())
}

#[cfg(test)]
mod tests {
    use super::{named, settings};
    use crate::archive::toc::TocEntry;
    use crate::model::{Address, Item};

    fn entry(desc: &'static str, tag: &str, create: &str) -> TocEntry {
        let item = Item { create: create.into(), ..Item::new(desc, Address::default(), Some("Sales"), tag) };
        TocEntry::of_item(item, 1, Vec::new(), None)
    }

    #[test]
    fn the_systems_collations_are_found_where_definitions_name_them_and_nowhere_else() {
        let entries = [
            entry(
                "TABLE",
                "t",
                "CREATE TABLE \"Sales\".t (a text COLLATE pg_catalog.\"de-x-icu\" DEFAULT ' COLLATE pg_catalog.\"x\"', \
                 b text COLLATE pg_catalog.\"de-x-icu\", c text COLLATE \"Sales\".own);\n",
            ),
            entry("INDEX", "i", "CREATE INDEX i ON \"Sales\".t USING btree (a COLLATE pg_catalog.ucs_basic DESC);\n"),
            entry("FUNCTION", "f()", "CREATE FUNCTION f() AS $$ COLLATE pg_catalog.\"y\" $$;\n"),
        ];
        let found: Vec<(String, usize)> =
            named(entries.iter()).into_iter().map(|(name, user)| (name, user.1)).collect();
        assert_eq!(found, [("de-x-icu".to_owned(), 1), ("ucs_basic".to_owned(), 1)]);
    }

    #[test]
    fn a_collation_tells_its_settings() {
        let made = entry("COLLATION", "own", "CREATE COLLATION \"Sales\".own (provider = icu, locale = 'de');\n");
        assert_eq!(settings(&made), Some("(provider = icu, locale = 'de')"));
        assert_eq!(settings(&entry("COLLATION", "other", "CREATE COLLATION \"Sales\".own FROM x;\n")), None);
    }
}
