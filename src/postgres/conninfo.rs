//! Connection strings: libpq's URI, its keyword strings, and the list of keywords it knows.
//!
//! Source: PostgreSQL documentation, "Connection Strings" and "Parameter Key Words"; `conninfo_parse`,
//! `conninfo_uri_parse_options` and `PQconninfoOptions` in `src/interfaces/libpq/fe-connect.c`.
//!
//! No error here repeats text that could be part of a password: a stray space or an unescaped `@` shifts a password
//! into the place of another field.

use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;

/// What pgstow does with a keyword of libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It has its effect.
    Used,
    /// It has no effect here, and leaving it out harms nobody.
    Ignored,
    /// It asks for a safeguard, or for something else, that pgstow lacks: an error rather than a connection without it.
    Refused(&'static str),
}

/// A keyword, the environment variable that stands in for it, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) treatment: Treatment,
}

const fn used(name: &'static str, variable: &'static str) -> Keyword {
    Keyword { name, variable: Some(variable), treatment: Treatment::Used }
}

const fn used_without_variable(name: &'static str) -> Keyword {
    Keyword { name, variable: None, treatment: Treatment::Used }
}

const fn ignored(name: &'static str) -> Keyword {
    Keyword { name, variable: None, treatment: Treatment::Ignored }
}

const fn refused(name: &'static str, variable: Option<&'static str>, reason: &'static str) -> Keyword {
    Keyword { name, variable, treatment: Treatment::Refused(reason) }
}

/// Every keyword of libpq 18 (`PQconninfoOptions`), in groups.
pub(super) const KEYWORDS: &[Keyword] = &[
    used("service", "PGSERVICE"),
    used("servicefile", "PGSERVICEFILE"),
    used("host", "PGHOST"),
    used("hostaddr", "PGHOSTADDR"),
    used("port", "PGPORT"),
    used("dbname", "PGDATABASE"),
    used("user", "PGUSER"),
    used("password", "PGPASSWORD"),
    used("passfile", "PGPASSFILE"),
    used("options", "PGOPTIONS"),
    used("application_name", "PGAPPNAME"),
    used_without_variable("fallback_application_name"),
    used("connect_timeout", "PGCONNECT_TIMEOUT"),
    used_without_variable("tcp_user_timeout"),
    used_without_variable("keepalives"),
    used_without_variable("keepalives_idle"),
    used_without_variable("keepalives_interval"),
    used_without_variable("keepalives_count"),
    used("target_session_attrs", "PGTARGETSESSIONATTRS"),
    used("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    used("sslmode", "PGSSLMODE"),
    used("sslnegotiation", "PGSSLNEGOTIATION"),
    used("sslrootcert", "PGSSLROOTCERT"),
    used("sslcert", "PGSSLCERT"),
    used("sslkey", "PGSSLKEY"),
    used("sslcrl", "PGSSLCRL"),
    used("sslcertmode", "PGSSLCERTMODE"),
    used("sslsni", "PGSSLSNI"),
    used("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    used("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    used("channel_binding", "PGCHANNELBINDING"),
    used("gssencmode", "PGGSSENCMODE"),
    // pgstow sets the encoding itself, per database.
    ignored("client_encoding"),
    ignored("sslcompression"),
    ignored("sslkeylogfile"),
    ignored("krbsrvname"),
    ignored("gsslib"),
    ignored("gssdelegation"),
    ignored("min_protocol_version"),
    ignored("max_protocol_version"),
    ignored("oauth_issuer"),
    ignored("oauth_client_id"),
    ignored("oauth_client_secret"),
    ignored("oauth_scope"),
    refused("require_auth", Some("PGREQUIREAUTH"), "the allowed login methods cannot be restricted"),
    refused("requirepeer", Some("PGREQUIREPEER"), "the owner of the server process cannot be checked"),
    refused("sslcrldir", Some("PGSSLCRLDIR"), "use sslcrl with one file instead"),
    refused("sslpassword", None, "encrypted client keys cannot be read; decrypt the key file with openssl"),
    refused("scram_client_key", None, "use password instead"),
    refused("scram_server_key", None, "use password instead"),
    refused("replication", None, "pgstow reads through ordinary sessions"),
];

/// Finds a keyword by its name.
pub(super) fn keyword(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// Values by keyword. May hold a password, so it has no `Debug`.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Sets a value, refusing keywords that libpq does not have or that pgstow cannot honour.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<()> {
        let Some(keyword) = keyword(name) else {
            return Err(unknown_keyword(name));
        };
        if let Treatment::Refused(reason) = keyword.treatment
            && !value.is_empty()
        {
            return Err(usage(format!("the connection setting {name} is not supported: {reason}")));
        }
        self.0.insert(keyword.name, value);
        Ok(())
    }

    /// Sets a value unless there is one already.
    pub(super) fn set_if_absent(&mut self, name: &str, value: String) -> Result<()> {
        if self.0.contains_key(name) { Ok(()) } else { self.set(name, value) }
    }

    /// The value, if it was given and is not empty: libpq takes an empty value for "the default".
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the keyword was given at all, even as an empty value, which still hides the environment's.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// An error about arguments, environment or a file of settings.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

fn unknown_keyword(name: &str) -> Error {
    let printable = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let message = if printable {
        format!("unknown connection setting {name:?}")
    } else {
        "unknown connection setting (its name is not repeated here, for it could be part of a password)".to_owned()
    };
    usage(message).hint("the settings are those of libpq: host, port, dbname, user, password, sslmode, ...")
}

/// Parses a URI, a keyword string, or a bare database name.
pub(super) fn parse(text: &str) -> Result<Values> {
    let mut values = Values::default();
    if let Some(rest) = uri_rest(text) {
        parse_uri(rest, &mut values)?;
    } else if text.contains('=') {
        parse_keywords(text, &mut values)?;
    } else if !text.is_empty() {
        values.set("dbname", text.to_owned())?;
    }
    Ok(values)
}

fn uri_rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// `keyword = value` pairs between blanks; values may stand in single quotes; a backslash takes the next character as
/// it is, inside quotes and outside.
fn parse_keywords(text: &str, values: &mut Values) -> Result<()> {
    let mut characters = text.chars().enumerate().peekable();
    loop {
        while characters.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let Some(&(start, _)) = characters.peek() else { return Ok(()) };
        let mut name = String::new();
        while let Some((_, c)) = characters.next_if(|(_, c)| *c != '=' && !c.is_ascii_whitespace()) {
            name.push(c);
        }
        while characters.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        if characters.next_if(|(_, c)| *c == '=').is_none() {
            return Err(usage(format!(
                "missing \"=\" after the word at character {} of the connection string",
                start + 1
            ))
            .hint("put a value with blanks in single quotes"));
        }
        while characters.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let mut value = String::new();
        if characters.next_if(|(_, c)| *c == '\'').is_some() {
            loop {
                match characters.next() {
                    Some((_, '\'')) => break,
                    Some((_, '\\')) => value.extend(characters.next().map(|(_, c)| c)),
                    Some((_, c)) => value.push(c),
                    None => return Err(usage("unterminated quoted value in the connection string")),
                }
            }
        } else {
            while let Some((_, c)) = characters.next_if(|(_, c)| !c.is_ascii_whitespace()) {
                if c == '\\' {
                    value.extend(characters.next().map(|(_, c)| c));
                } else {
                    value.push(c);
                }
            }
        }
        values.set(&name, value)?;
    }
}

/// What follows the scheme: `[user[:password]@][host[:port],...][/dbname][?keyword=value&...]`.
fn parse_uri(mut rest: &str, values: &mut Values) -> Result<()> {
    // Credentials end at the first @ that comes before any slash.
    let authority_end = rest.find('/').unwrap_or(rest.len());
    if let Some(at) = rest[..authority_end].find('@') {
        let (user, password) = match rest[..at].split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (&rest[..at], None),
        };
        if !user.is_empty() {
            values.set("user", decode(user)?)?;
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            values.set("password", decode(password)?)?;
        }
        rest = &rest[at + 1..];
    }

    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    loop {
        let (host, after) = if let Some(bracketed) = rest.strip_prefix('[') {
            let Some((address, after)) = bracketed.split_once(']') else {
                return Err(usage("missing \"]\" after an IPv6 address in the connection URI"));
            };
            if address.is_empty() {
                return Err(usage("an IPv6 address in the connection URI is empty"));
            }
            if !(after.is_empty() || after.starts_with([':', ',', '/', '?'])) {
                return Err(usage("unexpected text after an IPv6 address in the connection URI"));
            }
            (address, after)
        } else {
            let end = rest.find([':', ',', '/', '?']).unwrap_or(rest.len());
            rest.split_at(end)
        };
        hosts.push(decode(host)?);
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            let end = after.find([',', '/', '?']).unwrap_or(after.len());
            ports.push(decode(&after[..end])?);
            rest = &after[end..];
        } else {
            ports.push(String::new());
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        values.set("host", hosts.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        values.set("port", ports.join(","))?;
    }

    let (path, parameters) = match rest.split_once('?') {
        Some((path, parameters)) => (path, Some(parameters)),
        None => (rest, None),
    };
    if let Some(name) = path.strip_prefix('/').filter(|name| !name.is_empty()) {
        values.set("dbname", decode(name)?)?;
    }
    for parameter in parameters.into_iter().flat_map(|parameters| parameters.split('&')) {
        if parameter.is_empty() {
            continue;
        }
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(usage("a parameter in the connection URI has no \"=\""));
        };
        if value.contains('=') {
            return Err(usage("a parameter in the connection URI has more than one \"=\"")
                .hint("write %3D for an equals sign inside a value"));
        }
        let (name, value) = (decode(name)?, decode(value)?);
        // The spelling of JDBC, which libpq accepts as well.
        if name == "ssl" && value == "true" {
            values.set("sslmode", "require".to_owned())?;
        } else {
            values.set(&name, value)?;
        }
    }
    Ok(())
}

/// Percent-decoding. A plus sign is itself, and a zero byte is refused, as in libpq.
fn decode(text: &str) -> Result<String> {
    let hint = "write a percent sign itself as %25";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(
                usage("a percent sign in the connection URI is not followed by two hexadecimal digits").hint(hint)
            );
        };
        let decoded = u8::try_from(high * 16 + low).unwrap_or_default();
        if decoded == 0 {
            return Err(usage("%00 is not allowed in the connection URI"));
        }
        bytes.push(decoded);
    }
    String::from_utf8(bytes).map_err(|_| usage("the connection URI is not UTF-8 after percent-decoding").hint(hint))
}

#[cfg(test)]
mod tests {
    use super::{KEYWORDS, Values, parse};

    fn shown(values: &Values) -> String {
        values.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" | ")
    }

    fn check(text: &str, expected: &str) {
        let values = parse(text).unwrap_or_else(|error| panic!("{text} must parse, but: {error}"));
        assert_eq!(shown(&values), expected, "for {text}");
    }

    fn check_refused(text: &str, expected: &str) {
        let error = parse(text).err().unwrap_or_else(|| panic!("{text} must be refused"));
        assert!(error.to_string().contains(expected), "{text} is refused with: {error}");
    }

    #[test]
    fn keywords_are_listed_once() {
        for (index, keyword) in KEYWORDS.iter().enumerate() {
            assert!(KEYWORDS[..index].iter().all(|earlier| earlier.name != keyword.name), "{}", keyword.name);
        }
    }

    #[test]
    fn a_text_without_equals_sign_and_scheme_is_a_database_name() {
        check("shop", "dbname=shop");
        check("my shop/2", "dbname=my shop/2");
        check("", "");
    }

    #[test]
    fn keyword_values_may_be_quoted_escaped_and_spaced() {
        check("host=h dbname = shop", "dbname=shop | host=h");
        check(r"password='it\'s a \\ b' user=a", r"password=it's a \ b | user=a");
        check(r"password=a\ b\'c user=''", "password=a b'c | user=");
        check("  \n\thost=h\n", "host=h");
        check("options='-c geqo=off'", "options=-c geqo=off");
    }

    #[test]
    fn the_last_value_of_a_repeated_keyword_wins() {
        check("host=a host=b", "host=b");
    }

    #[test]
    fn a_uri_is_split_and_percent_decoded() {
        check("postgres://", "");
        check("postgresql://localhost", "host=localhost");
        check(
            "postgresql://al%40ice:p%3Aw%2F%25@db.example:5433/my%20shop?application_name=x+y&sslmode=require",
            "application_name=x+y | dbname=my shop | host=db.example | password=p:w/% | port=5433 | sslmode=require | user=al@ice",
        );
        check("postgresql://%2Fvar%2Frun/shop", "dbname=shop | host=/var/run");
        check("postgresql:///shop?host=/tmp&port=5433", "dbname=shop | host=/tmp | port=5433");
        check("postgresql://h?ssl=true", "host=h | sslmode=require");
        check("postgresql://user:@h/", "host=h | user=user");
        check("postgresql://u:p:q@h/", "host=h | password=p:q | user=u");
    }

    #[test]
    fn a_uri_may_name_several_hosts_and_ipv6_addresses() {
        check("postgresql://a:1,b,[2001:db8::1]:3/x", "dbname=x | host=a,b,2001:db8::1 | port=1,,3");
        check("postgresql://[::1]/x", "dbname=x | host=::1");
        check("postgresql://:5433/x", "dbname=x | port=5433");
    }

    #[test]
    fn a_bad_keyword_is_named() {
        check_refused("hostt=a", "\"hostt\"");
        check_refused("postgres://h/d?sslmod=require", "\"sslmod\"");
        check_refused("require_auth=scram-sha-256", "require_auth is not supported");
    }

    #[test]
    fn a_bad_string_is_refused_without_repeating_it() {
        for (text, expected) in [
            ("password=my sesame host=h", "missing \"=\" after the word at character 13"),
            ("password='sesame", "unterminated"),
            ("postgres://u:sesame%zz@h", "hexadecimal"),
            ("postgres://u:%00sesame@h", "%00"),
            ("postgres://u:%ffsesame@h", "UTF-8"),
            ("postgres://[::1/sesame", "missing \"]\""),
            ("postgres://[::1]sesame", "unexpected text"),
            ("postgres://h/d?sesame", "no \"=\""),
            ("postgres://h/d?user=sesame=b", "more than one"),
            ("password=a sésame=x", "unknown connection setting (its name"),
        ] {
            check_refused(text, expected);
            let error = parse(text).err().expect("refused");
            assert!(!error.to_string().contains("same"), "{error}");
        }
    }
}
