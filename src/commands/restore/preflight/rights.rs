//! What the connected role may not do in the target: foreseen, named, and left out where the user asks for that
//! (`--no-superuser`).
//!
//! Always true here: only what is sure to be refused is foreseen. Roles of a provider that may do more than they seem to
//! (`rds_superuser` and its like) are believed to.

use super::{Lack, names_after};
use crate::archive::script;
use crate::archive::toc::TocEntry;
use crate::commands::restore::choose::{Plan, Step};
use crate::commands::restore::statements;
use crate::commands::restore::{RestoreOptions, globals};
use crate::error::{Error, Kind, Result};
use crate::model::{Question, ident};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// So many names are in one line.
const NAMES_SHOWN: usize = 20;

/// How some reasons begin.
const OF_ROLES: &str = "roles that are not there";
const TO_GIVE: &str = "the right to give objects to role";

/// What is about one thing, and belongs to whoever owns that.
const HANGING: [&str; 17] = [
    "ACL",
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS DATA",
    "TABLE DATA",
    "TRIGGER",
];

/// The role, and what is there already.
const FACTS: Question = Question(
    "SELECT r.rolname AS role, r.rolsuper AS is_superuser,
pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
EXISTS (SELECT FROM pg_catalog.pg_roles p WHERE pg_catalog.pg_has_role(p.oid, 'MEMBER') AND p.rolname IN ('rds_superuser',
'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', 'neon_superuser'))
OR coalesce(pg_catalog.current_setting('supautils.privileged_role', true) = r.rolname, false) AS is_providers,
EXISTS (SELECT FROM pg_catalog.pg_roles p WHERE p.rolname = 'pg_create_subscription'
AND pg_catalog.pg_has_role(p.oid, 'USAGE')) AS may_subscribe,
(SELECT pg_catalog.json_agg(p.rolname) FROM pg_catalog.pg_roles p) AS roles,
(SELECT pg_catalog.json_agg(p.rolname) FROM pg_catalog.pg_roles p WHERE pg_catalog.pg_has_role(p.oid, 'MEMBER')) AS usable,
(SELECT pg_catalog.json_object_agg(coalesce(a.name, x.extname), pg_catalog.json_build_object('schema', n.nspname,
'mine', coalesce(pg_catalog.pg_has_role(x.extowner, 'USAGE'), true),
'comment', CASE WHEN x.oid IS NULL THEN a.comment ELSE pg_catalog.obj_description(x.oid, 'pg_extension') END,
'for_all', EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v WHERE v.name = a.name
AND v.version = a.default_version AND (NOT v.superuser OR v.trusted)))) -- <13: AND v.version = a.default_version AND NOT v.superuser)))
FROM pg_catalog.pg_available_extensions a FULL JOIN pg_catalog.pg_extension x ON x.extname = a.name
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace) AS extensions,
(SELECT pg_catalog.json_object_agg(n.nspname, pg_catalog.json_build_object('mine', pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
'may_create', pg_catalog.has_schema_privilege(n.oid, 'CREATE'))) FROM pg_catalog.pg_namespace n) AS schemas,
(SELECT pg_catalog.json_object_agg(p.pubname, pg_catalog.pg_has_role(p.pubowner, 'USAGE'))
FROM pg_catalog.pg_publication p) AS publications,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(o.kind, n.nspname, o.name)) FROM (
SELECT 'relation' AS kind, c.relnamespace AS namespace, c.relname AS name, c.relowner AS owner FROM pg_catalog.pg_class c
UNION ALL SELECT 'type', t.typnamespace, t.typname, t.typowner FROM pg_catalog.pg_type t
UNION ALL SELECT 'function', p.pronamespace, p.proname, p.proowner FROM pg_catalog.pg_proc p
) o JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT pg_catalog.pg_has_role(o.owner, 'USAGE')) AS others
FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER",
);

#[derive(Debug, Deserialize)]
struct Facts {
    role: String,
    is_superuser: bool,
    may_create: bool,
    /// A provider lets it do some of what is for superusers.
    is_providers: bool,
    may_subscribe: bool,
    roles: HashSet<String>,
    /// Those that it may become.
    usable: HashSet<String>,
    extensions: Option<HashMap<String, Extension>>,
    schemas: HashMap<String, Schema>,
    /// Whether each is its own.
    publications: Option<HashMap<String, bool>>,
    /// Sort, schema and name of what belongs to others.
    others: Option<HashSet<(String, String, String)>>,
}

#[derive(Debug, Deserialize)]
struct Extension {
    /// Where it is; nothing where it is only available.
    schema: Option<String>,
    mine: bool,
    comment: Option<String>,
    /// Who is no superuser may make it.
    for_all: bool,
}

#[derive(Debug, Deserialize)]
struct Schema {
    mine: bool,
    may_create: bool,
}

/// Why something is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    why: String,
    /// It is there already, so that what needs it can be made.
    is_there: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "it is the answer of whoever judges, who may find nothing")]
fn missing(why: impl Into<String>) -> Option<Refused> {
    Some(Refused { why: why.into(), is_there: false })
}

#[expect(clippy::unnecessary_wraps, reason = "it is the answer of whoever judges, who may find nothing")]
fn there(why: impl Into<String>) -> Option<Refused> {
    Some(Refused { why: why.into(), is_there: true })
}

/// What the role may not do, by reason.
#[derive(Debug, Default)]
pub(in crate::commands::restore) struct Refusals {
    role: String,
    /// Comments on extensions that have them already.
    said: HashSet<i32>,
    /// Each with the labels of what it keeps from being made.
    reasons: BTreeMap<String, Vec<String>>,
}

impl Refusals {
    fn add(&mut self, why: &str, step: &Step) {
        self.reasons.entry(why.to_owned()).or_default().push(step.label());
    }

    /// The plan without what the target has already, where nothing else is left out.
    pub(in crate::commands::restore) fn without_said(&self, plan: &Plan) -> Option<Plan> {
        let steps = || plan.steps.iter().filter(|step| !self.said.contains(&step.entry.id)).cloned();
        (!self.said.is_empty()).then(|| Plan { steps: steps().collect(), ..plan.clone() })
    }

    /// As what the target lacks.
    pub(in crate::commands::restore) fn lacks(&self) -> Vec<Lack> {
        let lack = |(why, labels): (&String, &Vec<String>)| Lack {
            what: format!("{why} ({})", shown(labels)),
            hint: "restore as a superuser, or leave out what this role may not do with --no-superuser".to_owned(),
        };
        // Roles that are not there, and owners that cannot be, are found for superusers, too.
        let is_own = |why: &str| !why.starts_with(OF_ROLES) && !why.starts_with(TO_GIVE) && !why.starts_with("role ");
        self.reasons.iter().filter(|(why, _)| is_own(why)).map(lack).collect()
    }

    /// As what was left out.
    pub(in crate::commands::restore) fn warnings(&self) -> Vec<String> {
        let role = ident(&self.role);
        let line = |(why, labels): (&String, &Vec<String>)| {
            format!("left out, for role {role} lacks {why}: {}", shown(labels))
        };
        self.reasons.iter().map(line).collect()
    }
}

fn shown(labels: &[String]) -> String {
    let (first, more) = labels.split_at(labels.len().min(NAMES_SHOWN));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", first.join(", "))
}

/// The plan without what the role may not do, and what that is. With `-C` the
/// database is made first, and so the role's.
pub(in crate::commands::restore) async fn look(
    session: &Session,
    plan: &Plan,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
) -> Result<(Plan, Refusals)> {
    let [mut facts] = session
        .question::<Facts>(&FACTS.for_server(session.version()))
        .await?
        .try_into()
        .map_err(|_| Error::new(Kind::Internal, "the connected role is not in its own catalog"))?;
    if let Some(globals) = globals {
        facts.roles.extend(globals.makes("ROLE"));
    }
    if options.create {
        facts.may_create = true;
        facts.schemas.clear();
        (facts.publications, facts.others) = (None, None);
        for extension in facts.extensions.iter_mut().flat_map(HashMap::values_mut) {
            (extension.schema, extension.mine) = (None, true);
        }
    }
    Ok(facts.allowed(plan, options.choice.no_owner))
}

impl Facts {
    /// Judges each step; pure.
    fn allowed(&self, plan: &Plan, no_owner: bool) -> (Plan, Refusals) {
        let mut refusals = Refusals { role: self.role.clone(), ..Refusals::default() };
        // Entries that are left out: their schema, and whether they are there already.
        let mut gone: HashMap<i32, (Option<&str>, bool)> = HashMap::new();
        let used = self.used_from_elsewhere(plan);
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let entry = &step.entry;
            if self.says_what_is_there(entry) && !self.is_superuser {
                refusals.said.insert(entry.id);
                continue;
            }
            let refused = if self.is_superuser {
                self.refuses_elsewhere(entry, &used)
            } else {
                self.refuses(entry, &used, plan.is_partial)
            };
            let refused = refused.or_else(|| {
                let lost = entry.needs.iter().filter_map(|need| gone.get(need));
                let hangs = HANGING.contains(&entry.desc.as_str());
                let is_lost = |(schema, is_there): &(Option<&str>, bool)| {
                    !is_there || (hangs && *schema == entry.schema.as_deref())
                };
                let (_, is_there) = lost.copied().find(is_lost)?;
                let why =
                    if is_there { "the ownership of what they are about" } else { "what they need, which is left out" };
                Some(Refused { why: why.to_owned(), is_there: false })
            });
            if let Some(Refused { why, is_there }) = refused {
                refusals.add(&why, step);
                gone.insert(entry.id, (entry.schema.as_deref(), is_there));
                continue;
            }
            if self.is_superuser {
                steps.push(step.clone());
                continue;
            }
            let granted = self.granted(entry);
            if let Some((_, lost)) = &granted {
                refusals.add(&format!("{OF_ROLES}, for privileges: {lost}"), step);
            }
            let foreign_owner = statements::owner_of(entry).filter(|owner| !no_owner && !self.usable.contains(*owner));
            if let Some(owner) = foreign_owner {
                refusals.add(&format!("{TO_GIVE} {}", ident(owner)), step);
            }
            if granted.is_none() && foreign_owner.is_none() {
                steps.push(step.clone());
                continue;
            }
            let mut changed = TocEntry::clone(entry);
            if foreign_owner.is_some() {
                changed.owner = None;
            }
            match granted {
                Some((rest, _)) if rest.is_empty() => continue,
                Some((rest, _)) => changed.create = Some(rest),
                None => {}
            }
            steps.push(Step { entry: Arc::new(changed), ..step.clone() });
        }
        (Plan { steps, ..plan.clone() }, refusals)
    }

    /// The extensions in another schema that something of the plan looks for where they were.
    fn used_from_elsewhere(&self, plan: &Plan) -> HashSet<i32> {
        let elsewhere = plan.steps.iter().filter(|step| self.elsewhere(&step.entry).is_some());
        let ids: HashSet<i32> = elsewhere.map(|step| step.entry.id).collect();
        let uses =
            plan.steps.iter().filter(|step| !["COMMENT", "ACL", "TABLE DATA"].contains(&step.entry.desc.as_str()));
        uses.flat_map(|step| &step.entry.needs).filter(|need| ids.contains(need)).copied().collect()
    }

    /// The schema in which the target has an extension, where it is another one than in the source.
    fn elsewhere(&self, entry: &TocEntry) -> Option<&str> {
        let create = entry.create.as_deref().filter(|_| entry.desc == "EXTENSION")?;
        let has = self.extension(&entry.tag)?.schema.as_deref()?;
        let at = script::keyword(create, "SCHEMA")?;
        let (wanted, _) = script::leading_name(create[at + "SCHEMA".len()..].trim_start())?;
        (wanted != has).then_some(has)
    }

    fn extension(&self, name: &str) -> Option<&Extension> {
        self.extensions.as_ref()?.get(name)
    }

    /// A comment on an extension that has it already.
    fn says_what_is_there(&self, entry: &TocEntry) -> bool {
        comment_on_extension(entry).is_some_and(|(name, text)| {
            self.extension(&name).is_some_and(|extension| extension.comment.as_deref() == Some(text.as_str()))
        })
    }

    fn refuses(&self, entry: &TocEntry, used: &HashSet<i32>, is_partial: bool) -> Option<Refused> {
        let create = entry.create.as_deref().unwrap_or_default();
        let says = |word| script::keyword(create, word).is_some();
        let is_superusers = |what: &str| missing(format!("the right to make {what}"));
        match entry.desc.as_str() {
            "EXTENSION" => return self.refuses_extension(entry, used),
            // Where the schema may be there, that is said by the statement, or by nobody for `public`.
            "SCHEMA" if is_partial || !create.starts_with("CREATE SCHEMA ") || says("EXISTS") => return None,
            "SCHEMA" => {
                return match self.schemas.get(&entry.tag) {
                    Some(schema) if schema.mine => None,
                    Some(_) => there("the ownership of schemas that are there already"),
                    None if self.may_create => None,
                    None => missing("the right to make schemas"),
                };
            }
            "COMMENT" => {
                let (name, _) = comment_on_extension(entry)?;
                let owned = self.extension(&name).is_none_or(|extension| extension.mine);
                return if owned { None } else { missing("the ownership of extensions that they are about") };
            }
            "EVENT TRIGGER" if !self.is_providers => return is_superusers("event triggers"),
            "PUBLICATION" if self.publications.as_ref().is_some_and(|known| known.get(&entry.tag) == Some(&false)) => {
                return there("the ownership of publications that are there already");
            }
            "PUBLICATION" if create.contains(" FOR ALL ") && !self.is_providers => {
                return is_superusers("publications of all tables");
            }
            "PUBLICATION" if !self.may_create => return is_superusers("publications"),
            "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" => return self.refuses_member(entry, create),
            "SUBSCRIPTION" if !self.may_subscribe && !self.is_providers => return is_superusers("subscriptions"),
            "FOREIGN DATA WRAPPER" if !self.is_providers => return is_superusers("foreign-data wrappers"),
            "ACCESS METHOD" => return is_superusers("access methods"),
            "OPERATOR CLASS" | "OPERATOR FAMILY" => return is_superusers("operator classes and families"),
            "TEXT SEARCH PARSER" | "TEXT SEARCH TEMPLATE" => return is_superusers("text search parsers and templates"),
            "TYPE" if says("INPUT") => return is_superusers("base types"),
            "FUNCTION" | "PROCEDURE" if is_in_c(create) => return is_superusers("functions in C"),
            "DEFAULT ACL" if entry.owner.as_ref().is_some_and(|owner| !self.usable.contains(owner)) => {
                return missing("the right to set default privileges of other roles");
            }
            "ACL" if says("AUTHORIZATION") => return missing("the right to grant on behalf of other roles"),
            "POLICY" => {
                let roles = names_after(create, "TO");
                let lost = roles.iter().find(|role| !self.roles.contains(*role));
                if let Some(role) = lost {
                    return missing(format!("role {}", ident(role)));
                }
            }
            "USER MAPPING" => {
                let roles = names_after(create, "FOR");
                if let Some(role) = roles.iter().find(|role| !self.roles.contains(*role)) {
                    return missing(format!("role {}", ident(role)));
                }
            }
            _ => {}
        }
        self.refuses_in_schema(entry)
    }

    fn refuses_extension(&self, entry: &TocEntry, used: &HashSet<i32>) -> Option<Refused> {
        match self.extension(&entry.tag) {
            None => missing("the packages of extensions"),
            Some(_) if used.contains(&entry.id) => self.refuses_elsewhere(entry, used),
            Some(extension) if extension.schema.is_some() || self.is_providers => None,
            Some(extension) if extension.for_all && self.may_create => None,
            Some(_) => missing("the right to make extensions"),
        }
    }

    /// An extension that is not where everything looks for it.
    fn refuses_elsewhere(&self, entry: &TocEntry, used: &HashSet<i32>) -> Option<Refused> {
        let has = self.elsewhere(entry).filter(|_| used.contains(&entry.id))?;
        missing(format!("extension {} where it was, for it is in schema {}", ident(&entry.tag), ident(has)))
    }

    fn refuses_member(&self, entry: &TocEntry, create: &str) -> Option<Refused> {
        let publication = names_after(create, "PUBLICATION").into_iter().next()?;
        let foreign = self.publications.as_ref().is_some_and(|known| known.get(&publication) == Some(&false));
        if foreign {
            return missing("the ownership of publications that are there already");
        }
        (entry.desc != "PUBLICATION TABLE" && !self.is_providers)
            .then(|| Refused { why: "the right to publish schemas".to_owned(), is_there: false })
    }

    /// What others have under this name, or in a schema of theirs.
    fn refuses_in_schema(&self, entry: &TocEntry) -> Option<Refused> {
        let schema = entry.schema.as_deref()?;
        let sort = match entry.desc.as_str() {
            "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE" => "relation",
            "TYPE" | "DOMAIN" => "type",
            "FUNCTION" | "PROCEDURE" | "AGGREGATE" => "function",
            _ => "",
        };
        let name = if sort == "function" {
            entry.tag.rsplit_once('(').map_or(&*entry.tag, |(name, _)| name)
        } else {
            &entry.tag
        };
        let name =
            script::leading_name(name).filter(|(_, rest)| rest.is_empty()).map_or(name.to_owned(), |(name, _)| name);
        let is_there =
            self.others.as_ref().is_some_and(|others| others.contains(&(sort.to_owned(), schema.to_owned(), name)));
        if is_there {
            return there("the ownership of what is there already");
        }
        let closed = self.schemas.get(schema).is_some_and(|schema| !schema.may_create);
        let is_made = !sort.is_empty() || !HANGING.contains(&entry.desc.as_str());
        (closed && is_made).then(|| Refused {
            why: format!("the right to make anything in schema {}", ident(schema)),
            is_there: false,
        })
    }

    /// The statements of privileges without those for roles that are not there, and those roles; nothing where all are.
    fn granted(&self, entry: &TocEntry) -> Option<(String, String)> {
        let create = entry.create.as_deref().filter(|_| matches!(entry.desc.as_str(), "ACL" | "DEFAULT ACL"))?;
        let (mut rest, mut lost) = (String::new(), Vec::new());
        // What cannot be taken apart is not judged; the server will.
        for statement in script::statements(create).ok()? {
            let names = ["TO", "FROM"].into_iter().flat_map(|word| names_after(statement, word));
            let unknown: Vec<String> = names.filter(|name| !self.roles.contains(name)).collect();
            if unknown.is_empty() {
                rest += &format!("{statement};\n");
            }
            lost.extend(unknown.iter().map(|name| ident(name)));
        }
        lost.sort();
        lost.dedup();
        (!lost.is_empty()).then(|| (rest, lost.join(", ")))
    }
}

/// The extension and the text of a comment on one.
fn comment_on_extension(entry: &TocEntry) -> Option<(String, String)> {
    let create = entry.create.as_deref().filter(|_| entry.desc == "COMMENT")?;
    let (name, rest) = script::leading_name(create.strip_prefix("COMMENT ON EXTENSION ")?)?;
    let (text, _) = script::leading_literal(rest.strip_prefix(" IS ")?)?;
    Some((name, text))
}

fn is_in_c(create: &str) -> bool {
    let language = script::keyword(create, "LANGUAGE").map(|at| create[at + "LANGUAGE".len()..].trim_start());
    language.and_then(script::leading_name).is_some_and(|(language, _)| language == "c" || language == "internal")
}

/// `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Whether the server refused a step because the role may not do that, which nobody could foresee.
pub(in crate::commands::restore) fn is_refused(error: &Error) -> bool {
    Session::sqlstate(error) == Some(INSUFFICIENT_PRIVILEGE)
}

/// What is said of the steps that were.
pub(in crate::commands::restore) fn words(labels: &[String]) -> Option<String> {
    (!labels.is_empty()).then(|| format!("left out, for the server refused it to this role: {}", shown(labels)))
}
