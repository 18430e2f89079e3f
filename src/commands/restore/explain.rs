//! What lies behind some refusals of a target, and what to do about it.

use crate::error::Error;
use crate::model::{ident, literal};
use crate::postgres::{Session, context, sqlstate};
use serde::Deserialize;

/// `undefined_table`, `undefined_function`, `undefined_object`, `invalid_schema_name`.
const NOT_FOUND: [&str; 4] = ["42P01", "42883", "42704", "3F000"];
/// `lock_not_available`.
const LOCKED: &str = "55P03";

#[derive(Debug, Deserialize)]
struct FunctionRow {
    schema: String,
    signature: String,
}

/// Adds what to do: about a function that looks names up by a search path that a restore does not have, and about locks.
pub(super) async fn explain(session: &Session, error: Error) -> Error {
    match sqlstate(&error) {
        Some(LOCKED) => error.hint(
            "somebody holds a lock on it: wait longer with --lock-timeout, or end that session; --resume goes on where this one stopped",
        ),
        Some(code) if NOT_FOUND.contains(&code) => {
            let Some(name) = context(&error).and_then(function_of) else { return error };
            let found: Vec<FunctionRow> = session.question(&functions_named(&name)).await.unwrap_or_default();
            match found.first() {
                Some(function) => error.hint(words(function)),
                None => error,
            }
        }
        _ => error,
    }
}

/// The function that the innermost line of a refusal's context names: `PL/pgSQL function s.f(integer) line 1 at RETURN`, `SQL function
/// "f" during inlining`. Its name alone, for signatures are written differently.
fn function_of(context: &str) -> Option<String> {
    let of_line = |line: &str| {
        if let Some(rest) = line.strip_prefix("PL/pgSQL function ") {
            // The name ends where the arguments begin, and a quoted one may hold anything.
            let mut quoted = false;
            let end = rest.find(|c| {
                quoted ^= c == '"';
                c == '(' && !quoted
            })?;
            let mut name = &rest[..end];
            if let Some(dot) = rest[..end]
                .char_indices()
                .filter(|(_, c)| *c == '.')
                .map(|(at, _)| at)
                .find(|&at| rest[..at].matches('"').count() % 2 == 0)
            {
                name = &rest[dot + 1..end];
            }
            let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
            return Some(inner.map_or_else(|| name.to_owned(), |inner| inner.replace("\"\"", "\"")));
        }
        let rest = line.strip_prefix("SQL function \"")?;
        let end = ["\" during ", "\" statement "].iter().filter_map(|end| rest.find(end)).min()?;
        Some(rest[..end].to_owned())
    };
    context.lines().find_map(of_line)
}

/// Functions of this name that say nothing of a search path.
fn functions_named(name: &str) -> String {
    format!(
        "SELECT n.nspname AS schema, p.oid::pg_catalog.regprocedure::pg_catalog.text AS signature
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE p.proname = {} AND p.oid >= 16384
           AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) AS s(setting) WHERE s.setting LIKE 'search_path=%')
         ORDER BY p.oid LIMIT 1",
        literal(name)
    )
}

fn words(function: &FunctionRow) -> String {
    let FunctionRow { schema, signature } = function;
    let path = if schema == "public" { "public".to_owned() } else { format!("{}, public", ident(schema)) };
    format!(
        "function {signature} leaves out schemas and relies on the search path, which is empty in a restore: say in the target \
         ALTER FUNCTION {signature} SET search_path = {path}, pg_temp (or the schemas that it means), then --resume"
    )
}

#[cfg(test)]
mod tests {
    use super::{FunctionRow, function_of, words};

    #[test]
    fn the_function_that_failed_is_the_innermost() {
        let of = |context| function_of(context);
        let context =
            "PL/pgSQL function public.\"strip (\"\" a.b\"(text) line 1 at RETURN\nSQL function \"outer\" statement 1";
        assert_eq!(of(context).as_deref(), Some("strip (\" a.b"));
        assert_eq!(of("SQL statement \"x\"\nPL/pgSQL function f() line 3 at SQL statement").as_deref(), Some("f"));
        assert_eq!(of("SQL function \"label \"of\" during inlining").as_deref(), Some("label \"of"));
        assert_eq!(of("COPY t, line 1"), None);
        assert_eq!(of("PL/pgSQL function inline_code_block line 1"), None);
    }

    #[test]
    fn the_way_out_names_the_function_and_its_schema() {
        let said = words(&FunctionRow { schema: "S".to_owned(), signature: "\"S\".f(text)".to_owned() });
        assert!(said.contains("ALTER FUNCTION \"S\".f(text) SET search_path = \"S\", public, pg_temp"), "{said}");
    }
}
