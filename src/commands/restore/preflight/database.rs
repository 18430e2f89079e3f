//! What `-C` needs of the server: the right to make a database, its encoding, its tablespace, its locale with the provider,
//! and the words to ask for them.

use super::collations::{Place, other_version};
use super::locales::{Tried, options, try_collation, try_libc};
use super::{Found, Lack, Target, default_collation};
use crate::archive::manifest::DatabaseFacts;
use crate::commands::restore::choose::Plan;
use crate::error::Result;
use crate::model::{ident, literal};
use crate::postgres::Session;
use serde::Deserialize;

/// The options of `CREATE DATABASE`, each with the first server that knows it (its documentation, version by version).
const SINCE: [(&str, u32); 8] = [
    ("LOCALE", 13),
    ("LOCALE_PROVIDER", 15),
    ("ICU_LOCALE", 15),
    ("STRATEGY", 15),
    ("COLLATION_VERSION", 15),
    ("OID", 15),
    ("ICU_RULES", 16),
    ("BUILTIN_LOCALE", 17),
];

const MAKE_IT_YOURSELF: &str = "make the database yourself, as this server can, and restore into it without -C";

#[derive(Debug, Deserialize)]
struct Rights {
    may_create: bool,
    knows_encoding: bool,
}

/// Looks for everything of this sort.
pub(super) async fn look(
    session: &Session,
    plan: &Plan,
    target: &Target,
    facts: Option<&DatabaseFacts>,
    found: &mut Found,
) -> Result<()> {
    let Some(step) = plan.steps.iter().find(|step| step.entry.desc == "DATABASE") else { return Ok(()) };
    let create = step.entry.create.as_deref().unwrap_or_default();
    let Some((_, behind)) = create.split_once(" WITH ") else { return Ok(()) };
    let options = options(behind);
    let value = |wanted: &str| options.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let label = step.label();
    let mut lack = |what: String, hint: String| found.lacks.push(Lack { what: format!("{what} ({label})"), hint });
    let encoding = value("ENCODING").unwrap_or(&target.encoding);
    let question = format!(
        "SELECT r.rolsuper OR r.rolcreatedb AS may_create, pg_catalog.pg_char_to_encoding({}) >= 0 AS knows_encoding
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
        literal(encoding)
    );
    let rights: Vec<Rights> = session.question(&question).await?;
    if rights.iter().any(|rights| !rights.may_create) {
        lack(
            "the right to make databases".to_owned(),
            "connect as a role that has CREATEDB, or have the database made and restore into it without -C".to_owned(),
        );
    }
    if rights.iter().any(|rights| !rights.knows_encoding) {
        lack(format!("encoding {encoding}"), MAKE_IT_YOURSELF.to_owned());
    }
    if let Some(tablespace) = value("TABLESPACE").filter(|name| !target.tablespaces.contains(*name)) {
        lack(
            format!("tablespace {}", ident(tablespace)),
            "make it, bring it along with --globals, or make the database yourself and restore into it without -C"
                .to_owned(),
        );
    }
    let unknown = SINCE.iter().filter(|(option, since)| value(option).is_some() && session.version().major() < *since);
    if let Some((option, since)) = unknown.max_by_key(|(_, since)| *since) {
        lack(
            format!("a server that makes databases with {option}, which is PostgreSQL {since} or newer"),
            MAKE_IT_YOURSELF.to_owned(),
        );
        return Ok(());
    }
    let place = Place { asked: &target.encoding, wanted: encoding };
    match locale(session, &value, place).await? {
        Tried::Refused(why) => lack(
            "the locale".to_owned(),
            format!("install it on the target's server, or {MAKE_IT_YOURSELF} (the server says: {why})"),
        ),
        Tried::Known(Some(ours)) => {
            if let Some(facts) = facts
                && let Some(theirs) = facts.collation_version.as_ref().filter(|theirs| **theirs != ours)
            {
                found.warnings.push(other_version(&default_collation(facts), theirs, &ours));
            }
        }
        Tried::Known(None) | Tried::NotAsked => {}
    }
    Ok(())
}

/// Whether the server has the locale, and which version of it.
async fn locale<'v>(session: &Session, value: &dyn Fn(&str) -> Option<&'v str>, place: Place<'_>) -> Result<Tried> {
    let libc = |option: &str| value(option).or_else(|| value("LOCALE"));
    let (collate, ctype) = (libc("LC_COLLATE"), libc("LC_CTYPE"));
    for locale in [collate, ctype].into_iter().flatten() {
        if let Tried::Refused(why) = try_libc(session, locale).await? {
            return Ok(Tried::Refused(why));
        }
    }
    let text = |name: &str, value: Option<&str>| value.map(|value| (name.to_owned(), value.to_owned()));
    let (provider, settings) = match value("LOCALE_PROVIDER").unwrap_or("libc") {
        "icu" => {
            ("icu", vec![text("locale", value("ICU_LOCALE").or(value("LOCALE"))), text("rules", value("ICU_RULES"))])
        }
        "builtin" => ("builtin", vec![text("locale", value("BUILTIN_LOCALE").or(value("LOCALE")))]),
        "libc" => ("libc", vec![text("lc_collate", collate), text("lc_ctype", ctype)]),
        _ => return Ok(Tried::NotAsked),
    };
    if if provider == "libc" { !place.same_encoding() } else { !place.knows_all() } {
        return Ok(Tried::NotAsked);
    }
    let mut settings: Vec<(String, String)> = settings.into_iter().flatten().collect();
    if settings.is_empty() {
        return Ok(Tried::NotAsked);
    }
    settings.insert(0, ("provider".to_owned(), provider.to_owned()));
    try_collation(session, &settings).await
}
