//! Where an object lives in the catalogs: the pair or triple that `pg_depend` uses.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// An object identifier. Read from JSON as a number or as decimal digits, because PostgreSQL writes `oid` as text there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Oid(pub u32);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Oid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object identifier")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Oid, E> {
                u32::try_from(number).map(Oid).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Oid, E> {
                u32::try_from(number).map(Oid).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Oid, E> {
                text.parse().map(Oid).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The catalog, the row in it, and the column number of a relation (0 for the object as a whole).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Address {
    /// The oid of the catalog, one of [`class`]; 0 where there is none.
    pub class: Oid,
    /// The oid of the row in it.
    pub object: Oid,
    /// A column's `attnum`, or 0.
    pub sub: i32,
}

impl Address {
    /// The object as a whole.
    pub fn new(class: Oid, object: Oid) -> Self {
        Address { class, object, sub: 0 }
    }

    /// One column of a relation.
    pub fn column(object: Oid, sub: i32) -> Self {
        Address { class: class::RELATION, object, sub }
    }

    /// The same without the column.
    #[must_use]
    pub fn whole(self) -> Self {
        Address { sub: 0, ..self }
    }
}

/// A map by address. There are many addresses in a large database, and all come from its server's counters, so a hash that is
/// quick does for them.
pub type AddressMap<V> = HashMap<Address, V, BuildHasherDefault<QuickHash>>;
/// A set of addresses; see [`AddressMap`].
pub type AddressSet = HashSet<Address, BuildHasherDefault<QuickHash>>;

/// Multiplies and turns.
#[derive(Debug, Default, Clone, Copy)]
pub struct QuickHash(u64);

impl Hasher for QuickHash {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 by the golden ratio, which spreads numbers that follow one another.
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_i32(&mut self, number: i32) {
        self.write_u32(number.cast_unsigned());
    }
}

/// The oids of the catalogs themselves; fixed in every server (`src/include/catalog/pg_*.h`, `CATALOG(...)`).
pub mod class {
    use super::Oid;

    /// `pg_class`
    pub const RELATION: Oid = Oid(1259);
    /// `pg_proc`
    pub const FUNCTION: Oid = Oid(1255);
    /// `pg_type`
    pub const TYPE: Oid = Oid(1247);
    /// `pg_namespace`
    pub const SCHEMA: Oid = Oid(2615);
    /// `pg_constraint`
    pub const CONSTRAINT: Oid = Oid(2606);
    /// `pg_attrdef`
    pub const DEFAULT: Oid = Oid(2604);
    /// `pg_trigger`
    pub const TRIGGER: Oid = Oid(2620);
    /// `pg_rewrite`
    pub const RULE: Oid = Oid(2618);
    /// `pg_policy`
    pub const POLICY: Oid = Oid(3256);
    /// `pg_statistic_ext`
    pub const STATISTICS: Oid = Oid(3381);
    /// `pg_extension`
    pub const EXTENSION: Oid = Oid(3079);
    /// `pg_default_acl`
    pub const DEFAULT_ACL: Oid = Oid(826);
    /// `pg_largeobject` (comments and privileges name it, not `pg_largeobject_metadata`)
    pub const LARGE_OBJECT: Oid = Oid(2613);
    /// `pg_database`
    pub const DATABASE: Oid = Oid(1262);
    /// `pg_language`
    pub const LANGUAGE: Oid = Oid(2612);
    /// `pg_cast`
    pub const CAST: Oid = Oid(2605);
    /// `pg_collation`
    pub const COLLATION: Oid = Oid(3456);
    /// `pg_conversion`
    pub const CONVERSION: Oid = Oid(2607);
    /// `pg_operator`
    pub const OPERATOR: Oid = Oid(2617);
    /// `pg_opclass`
    pub const OPERATOR_CLASS: Oid = Oid(2616);
    /// `pg_opfamily`
    pub const OPERATOR_FAMILY: Oid = Oid(2753);
    /// `pg_amop`, part of an operator class or family
    pub const OPERATOR_OF_FAMILY: Oid = Oid(2602);
    /// `pg_amproc`, part of an operator class or family
    pub const FUNCTION_OF_FAMILY: Oid = Oid(2603);
    /// `pg_am`
    pub const ACCESS_METHOD: Oid = Oid(2601);
    /// `pg_ts_config`
    pub const TS_CONFIGURATION: Oid = Oid(3602);
    /// `pg_ts_dict`
    pub const TS_DICTIONARY: Oid = Oid(3600);
    /// `pg_ts_parser`
    pub const TS_PARSER: Oid = Oid(3601);
    /// `pg_ts_template`
    pub const TS_TEMPLATE: Oid = Oid(3764);
    /// `pg_foreign_data_wrapper`
    pub const FOREIGN_DATA_WRAPPER: Oid = Oid(2328);
    /// `pg_foreign_server`
    pub const FOREIGN_SERVER: Oid = Oid(1417);
    /// `pg_user_mapping`
    pub const USER_MAPPING: Oid = Oid(1418);
    /// `pg_event_trigger`
    pub const EVENT_TRIGGER: Oid = Oid(3466);
    /// `pg_publication`
    pub const PUBLICATION: Oid = Oid(6104);
    /// `pg_publication_rel`
    pub const PUBLICATION_TABLE: Oid = Oid(6106);
    /// `pg_publication_namespace`
    pub const PUBLICATION_SCHEMA: Oid = Oid(6237);
    /// `pg_subscription`
    pub const SUBSCRIPTION: Oid = Oid(6100);
    /// `pg_transform`
    pub const TRANSFORM: Oid = Oid(3576);
}
