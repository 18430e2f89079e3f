//! The connection service file: named groups of connection settings.
//!
//! Source: PostgreSQL documentation, "The Connection Service File"; `parseServiceFile` in
//! `src/interfaces/libpq/fe-connect.c`.

use super::conninfo::{Values, usage};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// Adds the service's settings to those that are not given yet.
///
/// `chosen` is the user's file when one was named: it must exist. Otherwise `candidates` are tried, in order, and those
/// that are missing are passed over. The first file that has the service wins.
pub(super) fn apply(service: &str, chosen: Option<&Path>, candidates: &[PathBuf], values: &mut Values) -> Result<()> {
    if let Some(path) = chosen {
        let text = std::fs::read_to_string(path)
            .map_err(|error| usage("cannot read the service file").on(path.display().to_string()).because(error))?;
        if apply_text(&text, path, service, values)? {
            return Ok(());
        }
    }
    for path in candidates {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(usage("cannot read the service file").on(path.display().to_string()).because(error));
            }
        };
        if apply_text(&text, path, service, values)? {
            return Ok(());
        }
    }
    let places: Vec<String> = chosen
        .into_iter()
        .chain(candidates.iter().map(PathBuf::as_path))
        .map(|path| path.display().to_string())
        .collect();
    Err(usage(format!("the connection service {service:?} is not defined"))
        .hint(format!("looked for [{service}] in {}", places.join(", "))))
}

/// Whether the text defines the service; if so its settings are applied. Errors name file and line, never a value.
fn apply_text(text: &str, path: &Path, service: &str, values: &mut Values) -> Result<bool> {
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            // A service ends where the next group starts; a second group of the same name is never read.
            if inside {
                return Ok(true);
            }
            inside = header.strip_suffix(']') == Some(service);
            continue;
        }
        if !inside {
            continue;
        }
        let place = || format!("{}:{}", path.display(), index + 1);
        let Some((name, value)) = line.split_once('=') else {
            return Err(usage("a line of the service file has no \"=\"").on(place()));
        };
        let name = name.trim_end();
        if matches!(name, "service" | "servicefile") {
            return Err(usage("a service cannot name another service").on(place()));
        }
        values.set_if_absent(name, value.to_owned()).map_err(|error| error.on(place()))?;
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::{Values, apply, apply_text};
    use std::path::Path;

    const TEXT: &str =
        "# services\n[other]\nhost=no\n\n[shop]\nhost=db.example\n port = 5433 \npassword=a=b\n[shop]\nuser=no\n";

    #[test]
    fn a_service_fills_only_what_is_missing() {
        let mut values = Values::default();
        values.set("port", "1".to_owned()).expect("known");
        assert!(apply_text(TEXT, Path::new("f"), "shop", &mut values).expect("read"));
        assert_eq!(values.get("host"), Some("db.example"));
        assert_eq!(values.get("port"), Some("1"));
        assert_eq!(values.get("password"), Some("a=b"));
        assert_eq!(values.get("user"), None);
    }

    #[test]
    fn a_service_that_is_nowhere_is_an_error_that_names_it() {
        let error = apply("shop", None, &["/nonexistent/f".into()], &mut Values::default()).expect_err("missing");
        assert!(error.to_string().contains("\"shop\""), "{error}");
    }

    #[test]
    fn a_bad_line_is_named_by_its_place() {
        for text in ["[s]\nhostt=x", "[s]\nsesame", "[s]\nservice=t"] {
            let error = apply_text(text, Path::new("f"), "s", &mut Values::default()).expect_err("bad");
            assert!(error.to_string().starts_with("f:2: "), "{error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
