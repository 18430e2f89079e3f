//! Settings that the catalogs keep (`pg_db_role_setting.setconfig`), said as SET says them.

use super::name::{ident, literal};

/// Settings whose value is a list of identifiers, so that it was stored with its own quoting
/// (`variable_is_guc_list_quote()`, `src/bin/pg_dump/dumputils.c`; `GUC_LIST_QUOTE` in `guc_tables.c`).
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `SET name TO value` for a stored `name=value`; `None` for text that has no equals sign.
pub fn set_clause(stored: &str) -> Option<String> {
    let (name, value) = stored.split_once('=')?;
    Some(format!("SET {} TO {}", ident(name), setting_value(name, value)))
}

/// A setting's value as SET takes it.
fn setting_value(name: &str, value: &str) -> String {
    if QUOTED_LISTS.iter().any(|list| list.eq_ignore_ascii_case(name))
        && let Some(elements) = split_identifier_list(value)
        && !elements.is_empty()
    {
        return elements.iter().map(|element| literal(element)).collect::<Vec<_>>().join(", ");
    }
    literal(value)
}

/// Takes a comma-separated list of identifiers apart as the server does (`SplitGUCList`, `utils/adt/varlena.c`): white space
/// around elements is ignored, quoted ones keep theirs and double their quote marks. Case stays as it is, for file names
/// may be in such lists. `None` when the list is malformed.
pub fn split_identifier_list(text: &str) -> Option<Vec<String>> {
    let mut elements = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let element;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut content = String::new();
            loop {
                let end = quoted.find('"')?;
                content.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        content.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            element = content;
            rest = quoted.trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let bare = rest[..end].trim_end();
            if bare.is_empty() || bare.contains(char::is_whitespace) {
                return None;
            }
            element = bare.to_owned();
            rest = &rest[end..];
        }
        elements.push(element);
        match rest.strip_prefix(',') {
            Some(after) if !after.trim().is_empty() => rest = after.trim_start(),
            None if rest.is_empty() => {}
            _ => return None,
        }
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::{set_clause, split_identifier_list};

    #[test]
    fn identifier_lists_come_apart_at_commas_outside_quotes() {
        let split = |text| split_identifier_list(text).map(|elements| elements.join("|"));
        assert_eq!(split(r#""$user", public"#).as_deref(), Some("$user|public"));
        assert_eq!(split(r#""a,""b" ,c"#).as_deref(), Some("a,\"b|c"));
        assert_eq!(split(r#""""#).as_deref(), Some(""));
        assert_eq!(split(""), Some(String::new()));
        for malformed in ["a,", "a b", "\"a", ",a", "\"a\"b"] {
            assert_eq!(split(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn a_list_of_names_is_set_name_by_name_and_anything_else_as_one_text() {
        let clause = |stored| set_clause(stored).expect("a stored setting");
        assert_eq!(clause("search_path=\"$user\", app"), "SET search_path TO '$user', 'app'");
        assert_eq!(clause("my.text=it's"), "SET \"my.text\" TO 'it''s'");
        assert_eq!(clause("my.text=a=b"), "SET \"my.text\" TO 'a=b'");
        assert_eq!(set_clause("work_mem"), None);
    }
}
