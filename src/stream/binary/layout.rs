//! How values lie in binary COPY: what the receive function of a type takes, and its send function gives.

/// The signs of a numeric (`numeric.c`).
pub(super) const POSITIVE: u16 = 0;
pub(super) const NEGATIVE: u16 = 0x4000;
pub(super) const NOT_A_NUMBER: u16 = 0xC000;
pub(super) const INFINITE: u16 = 0xD000;
pub(super) const NEGATIVE_INFINITE: u16 = 0xF000;

/// Times are in microseconds; so many of them are a second, and so on.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// Days from 1 March of the year 0 to 1 January 2000, from which dates count.
pub(super) const EPOCH: i64 = 730_425;

/// How the values of a column lie; named by the receive functions, what send functions give is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `boolrecv`: a byte.
    Bool,
    /// `int2recv`.
    Int2,
    /// `int4recv`.
    Int4,
    /// `int8recv`.
    Int8,
    /// `oidrecv`.
    Oid,
    /// `float4recv`.
    Float4,
    /// `float8recv`.
    Float8,
    /// `numeric_recv`.
    Numeric,
    /// `textrecv` and others that take the text as it is.
    Text,
    /// `jsonb_recv`: a version, and the text.
    Jsonb,
    /// `bytearecv`.
    Bytea,
    /// `uuid_recv`.
    Uuid,
    /// `date_recv`: days since 2000-01-01.
    Date,
    /// `time_recv`: microseconds.
    Time,
    /// `timestamp_recv`: microseconds since 2000-01-01.
    Timestamp,
    /// `timestamptz_recv`: microseconds since 2000-01-01 in UTC.
    TimestampTz,
    /// `interval_recv`: microseconds, days, months.
    Interval,
    /// `array_recv`.
    Array(Box<Element>),
}

/// What an array holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The elements' type in the server that receives or sends.
    pub oid: u32,
    /// How they lie.
    pub layout: Layout,
}

impl Layout {
    /// The layout of a base type, by the C functions of its input and its receive function, both of the server itself;
    /// `None` for those that have to be sent as text. Whose types they are does not matter: citext, say, is received by
    /// `textrecv`.
    pub fn received(input: &str, receive: &str) -> Option<Self> {
        Some(match (input, receive) {
            ("boolin", "boolrecv") => Layout::Bool,
            ("int2in", "int2recv") => Layout::Int2,
            ("int4in", "int4recv") => Layout::Int4,
            ("int8in", "int8recv") => Layout::Int8,
            ("oidin", "oidrecv") => Layout::Oid,
            ("float4in", "float4recv") => Layout::Float4,
            ("float8in", "float8recv") => Layout::Float8,
            ("numeric_in", "numeric_recv") => Layout::Numeric,
            ("textin", "textrecv")
            | ("varcharin", "varcharrecv")
            | ("bpcharin", "bpcharrecv")
            | ("json_in", "json_recv")
            | ("enum_in", "enum_recv") => Layout::Text,
            ("jsonb_in", "jsonb_recv") => Layout::Jsonb,
            ("byteain", "bytearecv") => Layout::Bytea,
            ("uuid_in", "uuid_recv") => Layout::Uuid,
            ("date_in", "date_recv") => Layout::Date,
            ("time_in", "time_recv") => Layout::Time,
            ("timestamp_in", "timestamp_recv") => Layout::Timestamp,
            ("timestamptz_in", "timestamptz_recv") => Layout::TimestampTz,
            ("interval_in", "interval_recv") => Layout::Interval,
            _ => return None,
        })
    }
    /// The layout of a base type, by the C functions of its output and its send function, both of the server itself; `None`
    /// for those that have to be read as text.
    pub fn sent(output: &str, send: &str) -> Option<Self> {
        Some(match (output, send) {
            ("boolout", "boolsend") => Layout::Bool,
            ("int2out", "int2send") => Layout::Int2,
            ("int4out", "int4send") => Layout::Int4,
            ("int8out", "int8send") => Layout::Int8,
            ("oidout", "oidsend") => Layout::Oid,
            ("float4out", "float4send") => Layout::Float4,
            ("float8out", "float8send") => Layout::Float8,
            ("numeric_out", "numeric_send") => Layout::Numeric,
            ("textout", "textsend")
            | ("varcharout", "varcharsend")
            | ("bpcharout", "bpcharsend")
            | ("nameout", "namesend")
            | ("json_out", "json_send")
            | ("enum_out", "enum_send") => Layout::Text,
            ("jsonb_out", "jsonb_send") => Layout::Jsonb,
            ("byteaout", "byteasend") => Layout::Bytea,
            ("uuid_out", "uuid_send") => Layout::Uuid,
            ("date_out", "date_send") => Layout::Date,
            ("time_out", "time_send") => Layout::Time,
            ("timestamp_out", "timestamp_send") => Layout::Timestamp,
            ("timestamptz_out", "timestamptz_send") => Layout::TimestampTz,
            ("interval_out", "interval_send") => Layout::Interval,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn a_type_is_known_by_both_of_its_functions() {
        assert_eq!(Layout::received("textin", "textrecv"), Some(Layout::Text));
        assert_eq!(Layout::received("textin", "bytearecv"), None);
        assert_eq!(Layout::received("tsvectorin", "tsvectorrecv"), None);
        assert_eq!(Layout::sent("textout", "textsend"), Some(Layout::Text));
        assert_eq!(Layout::sent("byteaout", "textsend"), None);
        assert_eq!(Layout::sent("tsvectorout", "tsvectorsend"), None);
    }
}
