//! The example that `pgstow config init` writes, and the published schema; tests hold both against the tables.

/// A commented `pgstow.toml`.
pub const EXAMPLE: &str = include_str!("example.toml");

#[cfg(test)]
mod tests {
    use super::EXAMPLE;
    use crate::jobs::tables::FileTable;
    use crate::jobs::{Config, Lookup};
    use serde_json::Value;

    const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/pgstow.schema.json");

    fn schema() -> Value {
        let mut schema = serde_json::to_value(schemars::schema_for!(FileTable)).expect("JSON");
        schema["title"] = "pgstow.toml".into();
        schema
    }

    /// Every key of every table in the schema.
    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Object(properties)) = fields.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                fields.values().for_each(|value| keys(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_published_schema_is_the_one_of_the_tables() {
        let now = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
        if std::env::var_os("PGSTOW_BLESS").is_some() {
            std::fs::write(SCHEMA, &now).expect("written");
        }
        let published = std::fs::read_to_string(SCHEMA).expect("schema/pgstow.schema.json");
        assert_eq!(published, now, "PGSTOW_BLESS=1 cargo test --lib published_schema writes it anew");
    }

    #[test]
    fn the_example_mentions_every_key() {
        let mut found = Vec::new();
        keys(&schema(), &mut found);
        assert!(found.len() > 20, "{found:?}");
        let missing: Vec<&String> = found
            .iter()
            .filter(|key| {
                let words = [
                    format!("{key} = "),
                    format!("[{key}."),
                    format!("[{key}]"),
                    format!(".{key}]"),
                    format!(".{key}."),
                ];
                !words.iter().any(|word| EXAMPLE.contains(word.as_str()))
            })
            .collect();
        assert_eq!(missing, Vec::<&String>::new());
    }

    #[test]
    fn the_example_can_be_read_as_it_is_and_with_its_comments_taken_away() {
        let lookup: Lookup<'_> = &|name| (name == "HOME").then(|| "/nonexistent".to_owned());
        let config = Config::parse(EXAMPLE, "example").expect("the example");
        let error = config.job("shop", lookup).expect_err("its secrets are not here");
        assert!(error.to_string().contains("/run/secrets/shop-password"), "{error}");
        let bare: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.contains(" = ")) {
                Some(rest) => format!("{rest}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let config = Config::parse(&bare, "example").expect("the example without comments");
        assert_eq!(config.names(), ["orders", "shop"]);
    }
}
