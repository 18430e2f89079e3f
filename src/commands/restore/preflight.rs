//! What the archive needs and the target lacks, asked in a few questions before anything is touched, and all of it said
//! at once.
//!
//! Always true here: only what would certainly fail is called lacking; what an extension may bring along is left to it.

mod abilities;
mod collations;
mod database;
mod locales;
pub(super) mod rights;

use super::RestoreOptions;
use super::choose::Plan;
use super::{globals, statements};
use crate::archive::manifest::{DatabaseFacts, ExtensionFacts};
use crate::archive::script::{self, keyword, leading_name};
use crate::archive::toc::TocEntry;
use crate::commands::source::Source;
use crate::error::{Error, Kind, Result};
use crate::model::{Question, Section, ident, literal};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Something that the archive needs and the target lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What, and what needs it: `role ann (table public.t and 2 more)`.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Lack {
    /// For a report: `role ann (table public.t): make it ...`.
    pub fn line(&self) -> String {
        format!("{}: {}", self.what, self.hint)
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) lacks: Vec<Lack>,
    pub(super) warnings: Vec<String>,
}

/// The refusal that names everything.
pub(super) fn refusal(lacks: &[Lack], session: &Session) -> Error {
    let lines: Vec<String> = lacks.iter().map(|lack| format!("\n  {}", lack.line())).collect();
    Error::new(Kind::Target, format!("the target lacks what the backup needs; nothing was touched{}", lines.concat()))
        .on(session.settings().describe())
        .hint("--keep-going restores what can be restored without")
}

/// Who needs a thing: the first one's label, and how many.
type Users = BTreeMap<String, (String, usize)>;

fn note(users: &mut Users, name: &str, entry: &TocEntry) {
    users.entry(name.to_owned()).or_insert_with(|| (entry.label(), 0)).1 += 1;
}

fn used_by((first, count): &(String, usize)) -> String {
    match count {
        1 => first.clone(),
        more => format!("{first} and {} more", more - 1),
    }
}

/// What the chosen entries need from outside of the archive.
#[derive(Debug, Default)]
struct Needs {
    owners: Users,
    roles: Users,
    tablespaces: Users,
    extensions: Users,
    languages: Users,
    access_methods: Users,
    libraries: Users,
    /// An extension that may bring languages and access methods along under names of its own.
    has_extensions: bool,
}

impl Needs {
    fn of(plan: &Plan, options: &RestoreOptions) -> Self {
        let mut needs = Needs::default();
        let (mut made_languages, mut made_methods) = (HashSet::new(), HashSet::new());
        for step in &plan.steps {
            let entry = &step.entry;
            let create = entry.create.as_deref().unwrap_or_default();
            if !options.choice.no_owner
                && let Some(owner) = statements::owner_of(entry)
            {
                note(&mut needs.owners, owner, entry);
            }
            if let Some(tablespace) =
                entry.tablespace.as_deref().filter(|name| !name.is_empty() && !options.choice.no_tablespaces)
            {
                note(&mut needs.tablespaces, tablespace, entry);
            }
            if let Some(method) =
                entry.access_method.as_deref().filter(|name| !name.is_empty() && !options.choice.no_table_access_method)
            {
                note(&mut needs.access_methods, method, entry);
            }
            match entry.desc.as_str() {
                "EXTENSION" => {
                    note(&mut needs.extensions, &entry.tag, entry);
                    needs.has_extensions |= entry.tag != "plpgsql";
                }
                "PROCEDURAL LANGUAGE" => {
                    made_languages.insert(entry.tag.clone());
                }
                "ACCESS METHOD" => {
                    made_methods.insert(entry.tag.clone());
                }
                "FUNCTION" | "PROCEDURE" => needs.function(entry, create),
                _ => roles_in(entry, create).iter().for_each(|role| note(&mut needs.roles, role, entry)),
            }
        }
        needs.languages.retain(|name, _| !made_languages.contains(name));
        needs.access_methods.retain(|name, _| !made_methods.contains(name));
        needs
    }

    fn function(&mut self, entry: &TocEntry, create: &str) {
        let Some(at) = keyword(create, "LANGUAGE") else { return };
        let Some((language, rest)) = leading_name(create[at + "LANGUAGE".len()..].trim_start()) else { return };
        if language == "c"
            && let Some(at) = keyword(rest, "AS")
            && let Some(library) = rest[at + "AS".len()..].trim_start().strip_prefix('\'')
            && let Some((library, _)) = library.split_once('\'')
        {
            note(&mut self.libraries, library, entry);
        }
        note(&mut self.languages, &language, entry);
    }
}

/// The roles that a statement names beside the owner.
fn roles_in(entry: &TocEntry, create: &str) -> Vec<String> {
    let mut roles = Vec::new();
    match entry.desc.as_str() {
        "ACL" | "DEFAULT ACL" => {
            // What cannot be taken apart is not judged; the server will.
            for statement in script::statements(create).unwrap_or_default() {
                for word in ["AUTHORIZATION", "ROLE", "TO", "FROM"] {
                    roles.extend(names_after(statement, word));
                }
            }
        }
        "POLICY" => roles.extend(names_after(create, "TO")),
        "USER MAPPING" => roles.extend(names_after(create, "FOR")),
        "DATABASE PROPERTIES" => {
            for statement in script::statements(create).unwrap_or_default() {
                if statement.starts_with("ALTER ROLE ") {
                    roles.extend(names_after(statement, "ROLE"));
                }
            }
        }
        _ => {}
    }
    roles
}

/// The names in the list behind the first such word; `PUBLIC` and the like are no roles.
fn names_after(statement: &str, word: &str) -> Vec<String> {
    let mut names = Vec::new();
    let Some(at) = keyword(statement, word) else { return names };
    let mut rest = &statement[at + word.len()..];
    loop {
        rest = rest.trim_start();
        let is_word = !rest.starts_with('"');
        let Some((name, after)) = leading_name(rest) else { return names };
        let is_no_role = is_word && matches!(name.to_uppercase().as_str(), "PUBLIC" | "CURRENT_USER" | "SESSION_USER");
        if !is_no_role {
            names.push(name);
        }
        match after.trim_start().strip_prefix(',') {
            Some(after) => rest = after,
            None => return names,
        }
    }
}

/// What the target has.
#[derive(Debug, Deserialize)]
struct Target {
    roles: HashSet<String>,
    /// Those that the user may give objects to.
    usable: HashSet<String>,
    is_superuser: bool,
    tablespaces: HashSet<String>,
    extensions: HashMap<String, Versions>,
    languages: HashSet<String>,
    access_methods: HashSet<String>,
    encoding: String,
    collate: Option<String>,
    provider: Option<String>,
    collation_version: Option<String>,
}

/// Which version of an extension there would be.
#[derive(Debug, Deserialize)]
struct Versions {
    /// The one that the database has.
    installed: Option<String>,
    /// The one that would be made.
    usual: Option<String>,
}

const TARGET: Question = Question(
    "SELECT (SELECT pg_catalog.json_agg(r.rolname) FROM pg_catalog.pg_roles r) AS roles,
(SELECT pg_catalog.json_agg(r.rolname) FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER')) AS usable,
(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS is_superuser,
(SELECT pg_catalog.json_agg(t.spcname) FROM pg_catalog.pg_tablespace t) AS tablespaces,
(SELECT pg_catalog.json_object_agg(coalesce(a.name, x.extname),
pg_catalog.json_build_object('installed', x.extversion, 'usual', a.default_version))
FROM pg_catalog.pg_available_extensions a FULL JOIN pg_catalog.pg_extension x ON x.extname = a.name) AS extensions,
(SELECT pg_catalog.json_agg(l.lanname) FROM pg_catalog.pg_language l) AS languages,
(SELECT pg_catalog.json_agg(m.amname) FROM pg_catalog.pg_am m WHERE m.amtype = 't') AS access_methods,
pg_catalog.pg_encoding_to_char(b.encoding) AS encoding, b.datcollate AS collate,
CASE b.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS provider, -- <15: 'libc' AS provider,
pg_catalog.pg_database_collation_actual_version(b.oid) AS collation_version -- <15: NULL::text AS collation_version
FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()",
);

/// Asks the target what the chosen part of the archive needs. Roles and tablespaces that the restore itself makes first
/// count as there.
pub(super) async fn look(
    session: &Session,
    source: &Source,
    plan: &Plan,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
) -> Result<Found> {
    let mut found = Found { lacks: Vec::new(), warnings: super::target::warnings(session, source) };
    let [mut target] = session
        .question::<Target>(&TARGET.for_server(session.version()))
        .await?
        .try_into()
        .map_err(|_| Error::new(Kind::Internal, "the target database is not in its own catalog"))?;
    if let Some(globals) = globals {
        target.roles.extend(globals.makes("ROLE"));
        target.usable.extend(globals.makes("ROLE"));
        target.tablespaces.extend(globals.makes("TABLESPACE"));
    }
    let needs = Needs::of(plan, options);
    lacking(&needs, &target, &mut found.lacks);
    abilities::lacking(session, plan, &mut found.lacks).await?;
    let facts = source.manifest.as_ref().map(|manifest| &manifest.database);
    let encoding = encoding(source);
    let place = collations::Place {
        asked: &target.encoding,
        wanted: if options.create { &encoding } else { &target.encoding },
    };
    collations::look(session, plan, facts.map_or(&[], |facts| &facts.collations), place, &mut found).await?;
    if options.create {
        database::look(session, plan, &target, facts, &mut found).await?;
    }
    if target.is_superuser {
        if options.dry_run {
            // To load a library runs what is in it.
            found.warnings.extend(
                needs.libraries.keys().map(|name| format!("library {name} was not tried, for a dry run loads nothing")),
            );
        } else {
            libraries(session, &needs, &mut found.lacks).await?;
        }
    }
    found.warnings.extend(older_extensions(
        &needs,
        facts.map_or(&[], |facts| &facts.extensions),
        &target,
        options.create,
    ));
    if !options.create && plan.steps.iter().any(|step| step.entry.section != Section::None) {
        found.warnings.extend(text_warnings(source, &target));
    }
    Ok(found)
}

/// Compares; pure.
fn lacking(needs: &Needs, target: &Target, lacks: &mut Vec<Lack>) {
    let mut add = |what: String, hint: &str| lacks.push(Lack { what, hint: hint.to_owned() });
    let named: BTreeSet<&String> = needs.owners.keys().chain(needs.roles.keys()).collect();
    for role in named {
        let (owns, users) = match (needs.owners.get(role), needs.roles.get(role)) {
            (Some(users), _) => (true, users),
            (None, Some(users)) => (false, users),
            (None, None) => continue,
        };
        let what = format!("role {} ({})", ident(role), used_by(users));
        if !target.roles.contains(role) {
            let hint = if owns {
                "make it, bring it along with --globals, or leave out owners and privileges with -O -x"
            } else {
                "make it, bring it along with --globals, or leave out privileges with -x"
            };
            add(what, hint);
        } else if owns && !target.usable.contains(role) {
            add(
                format!("the right to give objects to {what}"),
                "restore as a superuser or a member of it, or leave out owners with -O",
            );
        }
    }
    for (name, users) in needs.tablespaces.iter().filter(|(name, _)| !target.tablespaces.contains(*name)) {
        add(
            format!("tablespace {} ({})", ident(name), used_by(users)),
            "make it, bring it along with --globals, or restore with --no-tablespaces",
        );
    }
    for name in needs.extensions.keys().filter(|name| !target.extensions.contains_key(*name)) {
        add(format!("extension {}", ident(name)), "install its package on the target's server");
    }
    if !needs.has_extensions {
        for (name, users) in needs.languages.iter().filter(|(name, _)| !target.languages.contains(*name)) {
            add(format!("language {} ({})", ident(name), used_by(users)), "make it with CREATE EXTENSION first");
        }
        for (name, users) in needs.access_methods.iter().filter(|(name, _)| !target.access_methods.contains(*name)) {
            add(
                format!("table access method {} ({})", ident(name), used_by(users)),
                "make it with CREATE EXTENSION or CREATE ACCESS METHOD first, or restore with --no-table-access-method",
            );
        }
    }
    if let Some(users) = needs.languages.get("c").filter(|_| !target.is_superuser) {
        add(format!("the right to make functions in C ({})", used_by(users)), "restore as a superuser");
    }
}

/// Loads each library that a function in C names, as making the function would. They are few, whatever the number of
/// functions.
async fn libraries(session: &Session, needs: &Needs, lacks: &mut Vec<Lack>) -> Result<()> {
    for (library, users) in &needs.libraries {
        match session.execute(&format!("LOAD {}", literal(library))).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Database => lacks.push(Lack {
                what: format!("library {library} ({})", used_by(users)),
                hint: format!("install it on the target's server ({})", error.message()),
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Extensions of which the target has an older version: what came later fails there.
fn older_extensions(needs: &Needs, facts: &[ExtensionFacts], target: &Target, create: bool) -> Vec<String> {
    let wanted = facts.iter().filter(|fact| needs.extensions.contains_key(&fact.name));
    let older = wanted.filter_map(|ExtensionFacts { name, version: theirs }| {
        let Versions { installed, usual } = target.extensions.get(name)?;
        let ours = installed.as_ref().filter(|_| !create).or(usual.as_ref())?;
        (number(ours)? < number(theirs)?).then(|| {
            format!(
                "extension {} has version {theirs} in the source, and the target's is {ours}: what came in between will \
                 fail; install a newer package on the target's server",
                ident(name)
            )
        })
    });
    older.collect()
}

/// A version as numbers to compare; nothing when it has other characters.
fn number(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// The encoding of the database that was dumped.
fn encoding(source: &Source) -> String {
    let of_stock = || source.toc.charset().name().to_owned();
    source.manifest.as_ref().map_or_else(of_stock, |manifest| manifest.database.encoding.clone())
}

/// For messages. What another provider than libc sorts by is not the name that libc knows.
fn default_collation(facts: &DatabaseFacts) -> String {
    match facts.locale_provider.as_deref() {
        Some(provider) if provider != "libc" => format!("default collation ({provider})"),
        _ => format!("default collation {}", facts.collate),
    }
}

/// What may turn out otherwise in the target, but need not fail.
fn text_warnings(source: &Source, target: &Target) -> Vec<String> {
    let mut warnings = Vec::new();
    let encoding = encoding(source);
    if encoding == "SQL_ASCII" && target.encoding != "SQL_ASCII" {
        warnings.push(format!(
            "the source has no encoding (SQL_ASCII), the target has {}: bytes that are not valid in it will be refused",
            target.encoding
        ));
    } else if encoding != target.encoding && !matches!(target.encoding.as_str(), "UTF8" | "SQL_ASCII") {
        warnings.push(format!(
            "the source is in {encoding}, the target in {}: characters that it lacks will be refused",
            target.encoding
        ));
    }
    if let Some(manifest) = &source.manifest
        && let (Some(theirs), Some(ours)) = (&manifest.database.collation_version, &target.collation_version)
        && manifest.database.locale_provider == target.provider
        && Some(&manifest.database.collate) == target.collate.as_ref()
        && theirs != ours
    {
        warnings.push(collations::other_version(&default_collation(&manifest.database), theirs, ours));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::{names_after, number};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(number("1.9") < number("1.10") && number("3") < number("3.1"));
        assert_eq!(number("1.0-beta"), None);
    }

    #[test]
    fn roles_are_found_where_statements_name_them_and_nowhere_else() {
        for (statement, word, expected) in [
            ("GRANT SELECT ON TABLE public.\"a TO b\" TO \"x \"\"y\" WITH GRANT OPTION", "TO", &["x \"y"][..]),
            ("REVOKE ALL ON SCHEMA public FROM PUBLIC", "FROM", &[]),
            ("GRANT ALL ON SCHEMA public TO \"PUBLIC\"", "TO", &["PUBLIC"]),
            ("CREATE POLICY p ON public.t TO a, \"B c\", PUBLIC USING ((x = ' TO d'::text))", "TO", &["a", "B c"]),
            ("CREATE POLICY p ON public.t USING (true)", "TO", &[]),
            ("CREATE USER MAPPING FOR bob SERVER s", "FOR", &["bob"]),
            ("SET SESSION AUTHORIZATION \"a'b\"", "AUTHORIZATION", &["a'b"]),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE r IN SCHEMA s GRANT SELECT ON TABLES TO g", "ROLE", &["r"]),
        ] {
            assert_eq!(names_after(statement, word), expected, "{statement}");
        }
    }
}
