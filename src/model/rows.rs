//! Answers of the server as text, held in one piece, and read into types whose fields are the columns.

use serde::de::value::{Error as Mismatch, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
use std::str::{FromStr, SplitAsciiWhitespace};

/// What stands for NULL among the lengths; no field of PostgreSQL is as long (`MaxAllocSize`, `memutils.h`: 1 GiB).
const NULL: u32 = u32::MAX;

/// The rows of one answer. One text holds all fields, so that a catalog of many objects does not cost an allocation a field.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    columns: Vec<String>,
    text: String,
    lengths: Vec<u32>,
}

impl Rows {
    /// An answer without rows yet, with these columns.
    pub fn with_columns(columns: impl IntoIterator<Item = String>) -> Self {
        Rows { columns: columns.into_iter().collect(), ..Rows::default() }
    }

    /// Adds the next field, row by row in the order of the columns.
    pub fn push(&mut self, field: Option<&str>) {
        let length = field.map_or(NULL, |text| u32::try_from(text.len()).unwrap_or(NULL));
        self.text.push_str(field.unwrap_or_default());
        self.lengths.push(length);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.lengths.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether one of these columns has a field like that.
    pub fn has(&self, columns: fn(&str) -> bool, field: fn(&str) -> bool) -> bool {
        let wanted: Vec<bool> = self.columns.iter().map(|name| columns(name)).collect();
        let mut wanted = wanted.iter().cycle();
        self.fields().any(|found| wanted.next() == Some(&true) && found.is_some_and(field))
    }

    /// Every field, row after row; `None` is NULL.
    pub fn fields(&self) -> impl Iterator<Item = Option<&str>> {
        let mut rest = self.text.as_str();
        self.lengths.iter().map(move |&length| {
            let (field, after) = rest.split_at(if length == NULL { 0 } else { length as usize });
            rest = after;
            (length != NULL).then_some(field)
        })
    }

    /// Reads row after row. Numbers, booleans, texts and arrays are as the server writes them as text; what is an object,
    /// or an array of anything but texts and numbers, is JSON.
    ///
    /// Errors: the row does not have the shape of `R`. The message names types and columns and never quotes a value where
    /// the value is a text.
    pub fn read<R: DeserializeOwned>(&self) -> impl Iterator<Item = Result<R, Mismatch>> {
        let mut start = 0;
        self.lengths.chunks_exact(self.columns.len().max(1)).map(move |lengths| {
            let mut row = Row { columns: &self.columns, lengths, text: &self.text[start..], at: 0, field: None };
            start += lengths.iter().filter(|&&length| length != NULL).map(|&length| length as usize).sum::<usize>();
            R::deserialize(&mut row)
        })
    }
}

/// Reads a list whose column is NULL where it has no elements, which spares the server to write many empty ones.
pub fn list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One row, as a map from columns to fields.
struct Row<'r> {
    columns: &'r [String],
    lengths: &'r [u32],
    text: &'r str,
    at: usize,
    field: Option<Field<'r>>,
}

impl<'de> Deserializer<'de> for &mut Row<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_map(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Row<'_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, &length)) = self.columns.get(self.at).zip(self.lengths.get(self.at)) else { return Ok(None) };
        self.at += 1;
        self.field = Some(Field(if length == NULL {
            None
        } else {
            let (field, rest) = self.text.split_at(length as usize);
            self.text = rest;
            Some(field)
        }));
        let name: StrDeserializer<'_, Mismatch> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let named = |error: Mismatch| de::Error::custom(format_args!("column {}: {error}", self.columns[self.at - 1]));
        seed.deserialize(self.field.take().unwrap_or(Field(None))).map_err(named)
    }
}

/// One field, or one element of an array; `None` is NULL.
#[derive(Clone, Copy)]
struct Field<'r>(Option<&'r str>);

impl<'r> Field<'r> {
    fn text(self) -> Result<&'r str, Mismatch> {
        self.0.ok_or_else(|| de::Error::custom("it is null"))
    }

    fn parsed<T: FromStr>(self) -> Result<T, Mismatch> {
        self.text()?.parse().map_err(|_| de::Error::custom("it is not a number"))
    }
}

/// Reads from bytes, since what is read outlives the text.
fn json(text: &str) -> serde_json::Deserializer<serde_json::de::IoRead<&[u8]>> {
    serde_json::Deserializer::from_reader(text.as_bytes())
}

/// An error that tells the kind of mistake and its place, never the text.
fn not_json(error: &serde_json::Error) -> Mismatch {
    de::Error::custom(format_args!(
        "not the JSON that was expected, at byte {}: {:?}",
        error.column(),
        error.classify()
    ))
}

macro_rules! numbers {
    ($($method:ident $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            visitor.$visit(self.parsed()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Some(text) => visitor.visit_str(text),
            None => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_some() { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.text()? {
            "t" | "true" => visitor.visit_bool(true),
            "f" | "false" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("it is not a boolean")),
        }
    }

    numbers! {
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32, deserialize_i64 visit_i64,
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
        deserialize_f32 visit_f32, deserialize_f64 visit_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let text = self.text()?;
        match text.as_bytes().first() {
            Some(b'[') => json(text).deserialize_seq(visitor).map_err(|error| not_json(&error)),
            Some(b'{') => visitor.visit_seq(Elements::of(text)?),
            // `int2vector` and `oidvector`.
            _ => visitor.visit_seq(Words(text.split_ascii_whitespace())),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        json(self.text()?).deserialize_map(visitor).map_err(|error| not_json(&error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let mut json = json(self.text()?);
        json.deserialize_struct(name, fields, visitor).map_err(|error| not_json(&error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let text: StrDeserializer<'_, Mismatch> = self.text()?.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct identifier ignored_any }
}

/// The elements of an `int2vector` or `oidvector`.
struct Words<'r>(SplitAsciiWhitespace<'r>);

impl<'de> SeqAccess<'de> for Words<'_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        self.0.next().map(|word| seed.deserialize(Field(Some(word)))).transpose()
    }
}

/// What is left of an array of one dimension (`array_out`, `src/backend/utils/adt/arrayfuncs.c`), without its braces.
struct Elements<'r>(&'r str);

impl<'r> Elements<'r> {
    fn of(text: &'r str) -> Result<Self, Mismatch> {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        inner.map(Elements).ok_or_else(not_an_array)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (element, after) = match self.0.strip_prefix('"') {
            Some(quoted) => {
                let (element, after) = unquoted(quoted).ok_or_else(not_an_array)?;
                (Some(Cow::Owned(element)), after)
            }
            None => {
                let (word, after) = self.0.split_at(self.0.find(',').unwrap_or(self.0.len()));
                if word.is_empty() || word.contains(['{', '}', '"', '\\']) {
                    return Err(not_an_array());
                }
                (if word.eq_ignore_ascii_case("null") { None } else { Some(Cow::Borrowed(word)) }, after)
            }
        };
        self.0 = match after.strip_prefix(',') {
            Some(more) if !more.is_empty() => more,
            None if after.is_empty() => after,
            _ => return Err(not_an_array()),
        };
        seed.deserialize(Field(element.as_deref())).map(Some)
    }
}

fn not_an_array() -> Mismatch {
    de::Error::custom("it is not an array of one dimension")
}

/// What stands before the closing quote, without backslashes, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((element, &text[at + 1..])),
            '\\' => element.push(characters.next()?.1),
            _ => element.push(character),
        }
    }
    None
}

#[cfg(test)]
impl Rows {
    /// Rows from JSON objects with the same fields, as the server would have written them.
    pub fn of_json<'v>(rows: impl IntoIterator<Item = &'v serde_json::Value>) -> Self {
        let mut answer = Rows::default();
        for row in rows {
            let row = row.as_object().expect("a row is an object");
            answer.columns = row.keys().cloned().collect();
            for value in row.values() {
                match value {
                    serde_json::Value::Null => answer.push(None),
                    serde_json::Value::String(text) => answer.push(Some(text)),
                    other => answer.push(Some(&other.to_string())),
                }
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use crate::model::Oid;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Everything {
        oid: Oid,
        letter: char,
        name: String,
        yes: bool,
        number: i64,
        fraction: f64,
        absent: Option<String>,
        there: Option<i32>,
        names: Vec<Option<String>>,
        keys: Vec<i32>,
        pairs: Vec<(String, Option<String>)>,
        oids: Vec<Oid>,
        map: BTreeMap<String, Option<i32>>,
    }

    fn rows(fields: &[(&str, Option<&str>)]) -> Rows {
        let mut rows = Rows::with_columns(fields.iter().map(|(name, _)| (*name).to_owned()));
        for (_, field) in fields {
            rows.push(*field);
        }
        rows
    }

    const FIELDS: [(&str, Option<&str>); 14] = [
        ("oid", Some("4294967295")),
        ("unknown", Some("x")),
        ("letter", Some("r")),
        ("name", Some("{not an array}")),
        ("yes", Some("t")),
        ("number", Some("-9223372036854775808")),
        ("fraction", Some("-0.5")),
        ("absent", None),
        ("there", Some("7")),
        ("names", Some(r#"{a,"b,\"c\\",NULL,"NULL","",é}"#)),
        ("keys", Some("1 -2 3")),
        ("pairs", Some(r#"[["a","b"],["c",null]]"#)),
        ("oids", Some(r#"["1",2]"#)),
        ("map", Some(r#"{"a":1,"b":null}"#)),
    ];

    #[test]
    fn every_shape_that_the_server_writes_is_read() {
        let mut twice = rows(&FIELDS);
        for (_, field) in FIELDS {
            twice.push(field);
        }
        let read: Vec<Everything> = twice.read().collect::<Result<_, _>>().expect("the shape of the type");
        let names = ["a", "b,\"c\\", "", "NULL", "", "é"].map(|name| Some(name.to_owned()));
        let expected = || Everything {
            oid: Oid(u32::MAX),
            letter: 'r',
            name: "{not an array}".to_owned(),
            yes: true,
            number: i64::MIN,
            fraction: -0.5,
            absent: None,
            there: Some(7),
            names: names.iter().enumerate().map(|(at, name)| name.clone().filter(|_| at != 2)).collect(),
            keys: vec![1, -2, 3],
            pairs: vec![("a".to_owned(), Some("b".to_owned())), ("c".to_owned(), None)],
            oids: vec![Oid(1), Oid(2)],
            map: BTreeMap::from([("a".to_owned(), Some(1)), ("b".to_owned(), None)]),
        };
        assert_eq!(twice.len(), 2);
        assert_eq!(read, [expected(), expected()]);
    }

    #[test]
    fn an_empty_array_and_an_empty_vector_have_no_elements() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Lists {
            array: Vec<String>,
            vector: Vec<i32>,
            json: Vec<String>,
        }
        let read =
            rows(&[("array", Some("{}")), ("vector", Some("")), ("json", Some("[]"))]).read().next().expect("a row");
        assert_eq!(read, Ok(Lists { array: vec![], vector: vec![], json: vec![] }));
    }

    #[test]
    fn what_has_another_shape_is_an_error_that_names_the_column_and_not_the_text() {
        #[derive(Debug, Deserialize)]
        struct Many {
            #[allow(dead_code)]
            list: Vec<String>,
        }
        #[derive(Debug, Deserialize)]
        struct One {
            #[allow(dead_code)]
            password: i32,
        }
        let error = rows(&[("password", Some("secret"))])
            .read::<One>()
            .next()
            .expect("a row")
            .expect_err("another shape")
            .to_string();
        assert_eq!(error, "column password: it is not a number");
        for broken in ["{a", "{a,}", "{,a}", "{{a}}", "{\"a}", "[1:2]={a,b}", "[\"secret\", 1"] {
            let error = rows(&[("list", Some(broken))])
                .read::<Many>()
                .next()
                .expect("a row")
                .expect_err("another shape")
                .to_string();
            assert!(error.starts_with("column list: ") && !error.contains("secret"), "{broken}: {error}");
        }
    }
}
