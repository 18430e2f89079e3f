//! `${NAME}` and `file:`: text and secrets whose values lie elsewhere.

use crate::error::{Error, Kind, Result};
use crate::model::Secret;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Looks up one environment variable.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// A secrets file larger than this is something else.
const LARGEST_SECRET: u64 = 64 << 10;

/// A secret as it is written in the file: itself, or where it lies. `Debug` shows stars.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transparent))]
pub(super) struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    /// serde's own error would repeat a value that has the wrong type, such as a password of digits without quotes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        macro_rules! refuse {
            ($($method:ident: $type:ty,)*) => {$(
                fn $method<E: serde::de::Error>(self, _: $type) -> Result<SecretText, E> {
                    Err(E::custom("this must be a text in quotes"))
                }
            )*};
        }
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SecretText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(text.to_owned()))
            }

            refuse! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl SecretText {
    /// Whether the secret stands in the file itself, so that whoever reads the file has it.
    pub(super) fn is_literal(&self) -> bool {
        !self.0.starts_with("file:") && !self.0.contains("${")
    }

    /// The secret: read from the file that `file:/path` names, without the line break at its end, or the text with its
    /// variables replaced.
    pub(super) fn settle(&self, lookup: Lookup<'_>) -> Result<Secret> {
        let Some(path) = self.0.strip_prefix("file:") else { return expand(&self.0, lookup).map(Secret::new) };
        let path = expand(path, lookup)?;
        let failed = |message: &str| Error::new(Kind::Usage, message).on(format!("secret file {path}"));
        let size = std::fs::metadata(&path).map_err(|error| failed("cannot be read").because(error))?.len();
        if size > LARGEST_SECRET {
            return Err(failed("is too large to be a secret"));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed("cannot be read").because(error))?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        if text.is_empty() {
            return Err(failed("is empty"));
        }
        Ok(Secret::new(text))
    }
}

/// Replaces `${NAME}` by the variable and `$$` by a dollar sign; any other dollar sign stays. A variable that is not set
/// is an error, because an empty host or bucket would be something else than was meant.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| Error::new(Kind::Usage, "a ${ is not closed").hint("write $$ for one dollar sign"))?;
            if !super::env_file::is_name(name) {
                return Err(Error::new(Kind::Usage, "what stands in ${} is not the name of a variable")
                    .hint("only ${NAME} is replaced; defaults and the like, as in a shell, are not known here"));
            }
            let value = lookup(name).ok_or_else(|| {
                Error::new(Kind::Usage, "is not set, and the configuration needs it")
                    .on(format!("environment variable {name}"))
            })?;
            out.push_str(&value);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{SecretText, expand};

    fn lookup(name: &str) -> Option<String> {
        (name == "PASS").then(|| "ge$$heim${X}".to_owned())
    }

    #[test]
    fn variables_are_replaced_once_and_dollars_stay() {
        for (text, expected) in [
            ("a${PASS}b", "age$$heim${X}b"),
            ("$$", "$"),
            ("$${PASS}", "${PASS}"),
            ("cost: 5$ or $PASS", "cost: 5$ or $PASS"),
            ("$", "$"),
        ] {
            assert_eq!(expand(text, &lookup).expect(text), expected);
        }
        for text in ["${PASS", "${NONE}", "${PASS:-x}", "${}"] {
            expand(text, &lookup).expect_err(text);
        }
    }

    #[test]
    fn a_secret_is_read_from_its_file_without_the_last_line_break() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let secret = SecretText(format!("file:{}", path.display()));
        for (content, expected) in [("geheim\n", "geheim"), ("geheim\r\n", "geheim"), (" two\nlines ", " two\nlines ")]
        {
            std::fs::write(&path, content).expect("written");
            assert_eq!(secret.settle(&lookup).expect("a secret").expose(), expected);
        }
        std::fs::write(&path, "\n").expect("written");
        secret.settle(&lookup).expect_err("an empty secret");
        assert_eq!(format!("{:?}", SecretText("geheim".into())), "***");
    }
}
