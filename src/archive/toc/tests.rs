//! Rules of the table of contents: stock's bytes, round trips, and no panic on anything.

use super::{Compression, Toc, TocEntry, created_fields};
use crate::error::Kind;
use crate::model::{Address, Item, Oid, Payload, Section, TableData, class};
use proptest::prelude::*;
use std::sync::Arc;

fn entry(id: i32) -> TocEntry {
    TocEntry {
        id,
        had_dumper: false,
        table_oid: "1259".to_owned(),
        oid: "16384".to_owned(),
        tag: "t".to_owned(),
        desc: "TABLE".to_owned(),
        section: Section::PreData,
        create: Some("CREATE TABLE public.t (\n    a integer\n);\n".to_owned()),
        drop: Some("DROP TABLE public.t;\n".to_owned()),
        copy: None,
        schema: Some("public".to_owned()),
        tablespace: Some(String::new()),
        access_method: Some("heap".to_owned()),
        relkind: Some('r'),
        owner: Some("postgres".to_owned()),
        needs: vec![],
        file: None,
    }
}

fn toc(version: (u8, u8, u8), compression: Compression, entries: Vec<TocEntry>) -> Toc {
    Toc {
        version,
        compression,
        created: [11, 47, 23, 23, 10, 126, 0],
        database: "shop".to_owned(),
        server_version: "18.4".to_owned(),
        dumper_version: "pgstow 0.1.0".to_owned(),
        entries: entries.into_iter().map(Arc::new).collect(),
    }
}

#[test]
fn the_header_has_stocks_bytes() {
    let zstd = toc(Compression::Zstd.version(), Compression::Zstd, vec![]).encode().expect("encodes");
    assert_eq!(zstd[..12], *b"PGDMP\x01\x0f\x00\x04\x08\x03\x03");
    let gzip = toc(Compression::Gzip(-1).version(), Compression::Gzip(-1), vec![]).encode().expect("encodes");
    assert_eq!(gzip[..16], *b"PGDMP\x01\x0e\x00\x04\x08\x03\x01\x01\x00\x00\x00");
}

/// What stock `pg_dump` 15.18, 16.14 and 18.4 wrote for a database with one table and one large object.
const BY_STOCK: [(u8, &[u8]); 3] = [
    (14, include_bytes!("stock-1.14.dat")),
    (15, include_bytes!("stock-1.15.dat")),
    (16, include_bytes!("stock-1.16.dat")),
];

#[test]
fn what_stock_wrote_is_understood_and_written_again_byte_for_byte() {
    for (minor, bytes) in BY_STOCK {
        let toc = Toc::decode(bytes).expect("decodes");
        assert_eq!(
            (toc.version, toc.compression, toc.database.as_str()),
            ((1, minor, 0), Compression::Gzip(-1), "shop")
        );
        assert!(toc.encode().expect("encodes") == bytes, "1.{minor}");
        let by_desc = |desc: &str| toc.entries.iter().find(|entry| entry.desc == desc).expect(desc);
        let (table, data) = (by_desc("TABLE"), by_desc("TABLE DATA"));
        assert_eq!((table.label().as_str(), table.section), ("table public.t", Section::PreData));
        assert_eq!(table.access_method.as_deref(), Some("heap"));
        assert_eq!(table.relkind, (minor >= 16).then_some('r'));
        assert_eq!(data.copy.as_deref(), Some("COPY public.t (id, v) FROM stdin;\n"));
        assert_eq!((data.needs.as_slice(), data.section), (&[table.id][..], Section::Data));
        assert_eq!(data.file, Some(format!("{}.dat", data.id)));
        assert_eq!(by_desc("COMMENT").create.as_deref(), Some("COMMENT ON TABLE public.t IS 'zwölf';\n"));
        assert_eq!(by_desc("BLOBS").had_dumper, by_desc("BLOBS").file.is_some());
    }
}

#[test]
fn what_a_version_has_no_place_for_is_left_out() {
    for (version, access_method, relkind) in [
        ((1, 13, 0), None, None),
        ((1, 14, 0), Some("heap"), None),
        ((1, 15, 0), Some("heap"), None),
        ((1, 16, 0), Some("heap"), Some('r')),
    ] {
        let bytes = toc(version, Compression::None, vec![entry(3)]).encode().expect("encodes");
        let read = Toc::decode(&bytes).expect("decodes");
        assert_eq!(read.entries[0].access_method.as_deref(), access_method);
        assert_eq!(read.entries[0].relkind, relkind);
    }
}

#[test]
fn what_stock_would_misread_is_not_written() {
    let cases: [(&str, Toc); 7] = [
        ("zstd before 1.15", toc((1, 14, 0), Compression::Zstd, vec![])),
        ("gzip at level 0", toc((1, 14, 0), Compression::Gzip(0), vec![])),
        ("a version from the future", toc((1, 17, 0), Compression::None, vec![])),
        ("id 0", toc((1, 15, 0), Compression::None, vec![entry(0)])),
        ("an id twice", toc((1, 15, 0), Compression::None, vec![entry(1), entry(1)])),
        ("data without a file", toc((1, 15, 0), Compression::None, vec![TocEntry { had_dumper: true, ..entry(1) }])),
        ("a zero byte", toc((1, 15, 0), Compression::None, vec![TocEntry { tag: "a\0b".to_owned(), ..entry(1) }])),
    ];
    for (case, toc) in cases {
        assert!(toc.encode().is_err(), "{case}");
    }
}

#[test]
fn what_is_written_piece_by_piece_is_what_is_written_at_once() {
    let toc = toc((1, 15, 0), Compression::Zstd, vec![entry(2), entry(1), entry(7)]);
    let mut encoder = toc.encoder(3).expect("a version that can be written");
    let mut bytes = Vec::new();
    for entry in &toc.entries {
        encoder.add(entry).expect("a good entry");
        bytes.extend(encoder.take());
        assert_eq!(encoder.waiting(), 0);
    }
    bytes.extend(encoder.finish().expect("as many as promised"));
    assert_eq!(bytes, toc.encode().expect("encodes"));
    let mut short = toc.encoder(3).expect("a version that can be written");
    short.add(&entry(1)).expect("a good entry");
    assert!(short.finish().is_err());
}

#[test]
fn a_newer_archive_is_refused_with_a_hint_and_other_formats_by_name() {
    let good = toc((1, 15, 0), Compression::Zstd, vec![entry(1)]).encode().expect("encodes");
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Toc::decode(&bytes).expect_err("refused")
    };
    assert_eq!(changed(6, 17).hint_text(), Some("use a newer pgstow"));
    assert_eq!(changed(5, 2).hint_text(), Some("use a newer pgstow"));
    assert_eq!(changed(6, 11).hint_text(), None);
    assert!(changed(10, 1).message().contains("another format"));
    assert!(changed(11, 4).message().contains("unknown compression"));
    for error in [changed(0, b'x'), changed(6, 17), changed(10, 1), changed(11, 4)] {
        assert_eq!((error.kind(), error.object()), (Kind::Archive, Some("toc.dat")));
    }
}

#[test]
fn a_string_that_is_not_utf8_is_an_error_that_names_the_entry() {
    let mut bytes = toc((1, 15, 0), Compression::Zstd, vec![entry(5)]).encode().expect("encodes");
    let at = bytes.windows(8).position(|window| window == b"postgres").expect("the owner");
    bytes[at] = 0xe9;
    let error = Toc::decode(&bytes).expect_err("not text");
    assert_eq!(error.object(), Some("entry 5 (table t)"));
    assert!(error.to_string().contains("not text in UTF8"), "{error}");
}

#[test]
fn a_length_beyond_the_file_is_an_error_before_anything_is_allocated() {
    let good = toc((1, 15, 0), Compression::Zstd, vec![]).encode().expect("encodes");
    let mut huge_count = good.clone();
    let at = huge_count.len() - 4;
    huge_count[at..].copy_from_slice(&i32::MAX.to_le_bytes());
    assert!(Toc::decode(&huge_count).is_err());
    let mut huge_name = good;
    // Header, compression byte, seven integers, the sign byte of the name's length.
    let at = 12 + 7 * 5 + 1;
    huge_name[at..at + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    assert!(Toc::decode(&huge_name).is_err());
}

#[test]
fn bytes_after_the_last_entry_are_an_error() {
    let mut bytes = toc((1, 15, 0), Compression::Zstd, vec![entry(1)]).encode().expect("encodes");
    bytes.push(0);
    assert!(Toc::decode(&bytes).is_err());
}

#[test]
fn a_moment_is_written_as_struct_tm_has_it() {
    let moment = "2026-11-23T23:47:11Z".parse().expect("a time");
    assert_eq!(created_fields(moment), [11, 47, 23, 23, 10, 126, 0]);
}

#[test]
fn the_entry_of_table_data_has_the_tables_oid_without_a_catalog() {
    let address = Address::new(class::RELATION, Oid(16_384));
    let data = TableData {
        relation: Oid(16_384),
        copy_out: String::new(),
        select: String::new(),
        pages: 0,
        estimated_bytes: 0,
        estimated_rows: 0,
        unlogged: false,
        foreign: false,
    };
    let item = Item {
        section: Section::Data,
        copy: Some("COPY public.t (a) FROM stdin;\n".to_owned()),
        payload: Payload::Table(data),
        ..Item::new("TABLE DATA", address, Some("public"), "t")
    };
    let made = TocEntry::of_item(item.clone(), 9, vec![3], Some("data_9.dat".to_owned()));
    assert_eq!((made.table_oid.as_str(), made.oid.as_str()), ("0", "16384"));
    assert!(made.had_dumper && made.create.is_none() && made.drop.is_none());
    let table = TocEntry::of_item(Item::new("TABLE", address, Some("public"), "t"), 3, vec![], None);
    assert_eq!((table.table_oid.as_str(), table.had_dumper), ("1259", false));
}

fn some_text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn some_entry() -> impl Strategy<Value = TocEntry> {
    let optional = || proptest::option::of(some_text());
    let section =
        prop_oneof![Just(Section::None), Just(Section::PreData), Just(Section::Data), Just(Section::PostData)];
    let file = proptest::option::of(some_text().prop_map(|text| format!("f{text}")));
    (
        (any::<u32>(), some_text(), some_text(), section, proptest::collection::vec(any::<i32>(), 0..4)),
        (optional(), optional(), optional(), optional(), optional()),
        (optional(), proptest::option::of(proptest::char::range('a', 'z')), optional(), file),
    )
        .prop_map(|((oid, tag, desc, section, needs), (create, drop, copy, schema, tablespace), last)| {
            let (access_method, relkind, owner, file) = last;
            TocEntry {
                id: 1,
                had_dumper: file.is_some(),
                table_oid: "0".to_owned(),
                oid: oid.to_string(),
                tag,
                desc,
                section,
                create,
                drop,
                copy,
                schema,
                tablespace,
                access_method,
                relkind,
                owner,
                needs,
                file,
            }
        })
}

fn some_toc() -> impl Strategy<Value = Toc> {
    let compression = prop_oneof![
        Just(((1, 14, 0), Compression::None)),
        (1i32..=9).prop_map(|level| ((1, 14, 0), Compression::Gzip(level))),
        Just(((1, 15, 3), Compression::Gzip(-1))),
        Just(((1, 15, 0), Compression::Zstd)),
        Just(((1, 16, 0), Compression::Lz4)),
    ];
    (compression, some_text(), proptest::collection::vec(some_entry(), 0..5)).prop_map(
        |((version, compression), database, entries)| {
            let mut toc = toc(version, compression, entries);
            toc.database = database;
            for (id, entry) in (1..).zip(&mut toc.entries) {
                let entry = Arc::make_mut(entry);
                entry.id = id;
                entry.relkind = entry.relkind.filter(|_| version.1 >= 16);
            }
            toc
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_of_contents_reads_back_as_written(toc in some_toc()) {
        let bytes = toc.encode().expect("encodes");
        prop_assert_eq!(Toc::decode(&bytes).expect("decodes"), toc);
    }

    #[test]
    fn a_table_of_contents_cut_anywhere_is_an_error(toc in some_toc(), cut in any::<prop::sample::Index>()) {
        let bytes = toc.encode().expect("encodes");
        prop_assert!(Toc::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn nothing_panics_on_damage(toc in some_toc(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
        let mut bytes = toc.encode().expect("encodes");
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Either is right; returning is the rule.
        let _ = Toc::decode(&bytes);
    }

    #[test]
    fn nothing_panics_on_arbitrary_bytes(minor in 12u8..17, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Toc::decode(&rest);
        let mut bytes = b"PGDMP\x01_\x00\x04\x08\x03".to_vec();
        bytes[6] = minor;
        bytes.extend(rest);
        let _ = Toc::decode(&bytes);
    }
}
