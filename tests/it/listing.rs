//! `pgstow list` and `show` tell what lies in the store, in which class, whether it is whole, and which rule keeps it.

use jiff::Timestamp;
use pgstow::commands::list::{ListOptions, list};
use pgstow::keep::Rules;
use pgstow_parts::{Database, moto, server};
use serde_json::json;

use crate::past::{Past, november};
use crate::support::{Backup, pgstow};

#[tokio::test]
async fn one_backup_that_broke_hides_no_other_and_each_says_which_rule_keeps_it() {
    let store = november(4).await;
    store.put("shop/20261103T020000Z-0000ff/manifest.json", "{".into(), None).await.unwrap();
    store.delete(&["shop/20261102T020000Z-0000ff/toc.dat".to_owned()]).await.unwrap();
    Past::get().write(store.as_ref(), "other", "20261101T030000Z", |_| {}).await;
    let unfinished = Past::leave(store.as_ref(), "shop", "20261104T030000Z").await;
    let now: Timestamp = "2026-11-04T12:00:00Z".parse().unwrap();
    let rules = Some((Rules { daily: 1, ..Rules::default() }, Some("shop".to_owned())));
    let options = ListOptions { store: store.clone(), databases: Vec::new(), rules, now };
    let listing = list(&options).await.unwrap();
    let told: Vec<(String, bool, String, String)> = listing
        .backups
        .iter()
        .map(|backup| {
            let kept = backup.verdict.as_ref().map(ToString::to_string).unwrap_or_default();
            let day = backup.place.id.to_string()[..8].to_owned();
            (format!("{}/{day}", backup.place.database), backup.facts.is_some(), backup.wrong.join(", "), kept)
        })
        .collect();
    let expected = [
        ("shop/20261104", true, "", "newest good one, daily 2026-11-04"),
        ("shop/20261103", false, "?", "its manifest cannot be read: please look"),
        ("shop/20261102", true, "toc.dat is missing", "damaged, and every backup that stays is newer"),
        ("other/20261101", true, "", ""),
        ("shop/20261101", true, "", "no rule keeps it"),
    ];
    for (told, expected) in told.iter().zip(expected) {
        let wrong = if expected.2 == "?" { told.2.as_str() } else { expected.2 };
        assert_eq!(
            (told.0.as_str(), told.1, told.2.as_str(), told.3.as_str()),
            (expected.0, expected.1, wrong, expected.3)
        );
    }
    assert_eq!((told.len(), listing.unfinished[0].folder.as_str()), (5, unfinished.as_str()));
    assert!(told[1].2.contains("manifest"), "{told:?}");
}

#[test]
fn a_list_says_class_and_verification_in_a_line_that_a_narrow_terminal_holds() {
    let (s3, database) = (moto(), Database::fresh(&server(18), "listed"));
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 1234567) n");
    let backup = Backup::make(&s3, &database, &["--storage-class", "STANDARD_IA"]);
    let run = |arguments: &[&str]| pgstow(&s3, &[arguments, &["--from", &backup.store()]].concat()).fine();
    let lines: Vec<String> = run(&["list", "--keep-last", "2"]).stdout.lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with(&format!("{}: 1 backup, ", database.name)), "{lines:?}");
    assert!(lines[0].ends_with(" in STANDARD_IA, all verified by size"), "{lines:?}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["backup", "age", "took", "tables", "rows", "stored", "kept", "by"]);
    assert!(lines[2].starts_with(&backup.id) && lines[2].contains("  1,234,567  "), "{lines:?}");
    assert!(lines[2].ends_with("  newest good one, last 1 of 2") && lines.len() == 3, "{lines:?}");
    assert!(run(&["list"]).stdout.lines().skip(1).all(|line| line.chars().count() <= 80), "{lines:?}");
    let document = run(&["list", "--json"]).json();
    let entry = &document["backups"][0];
    assert_eq!(
        json!([entry["storage_classes"], entry["verified"], entry["kept_by"], document["unreadable"]]),
        json!([["STANDARD_IA"], "quick", null, []])
    );
    let shown = run(&["show", "latest"]).stdout;
    assert!(shown.contains(", took ") && shown.contains("data in STANDARD_IA"), "{shown}");
    let table = run(&["show", "latest", "--json"]).json()["tables"][0]["object"]["key"].clone();
    s3.delete(&format!("{}/{}/{}/{}", backup.prefix, database.name, backup.id, table.as_str().unwrap())).unwrap();
    let shown = run(&["show", "latest"]).stdout;
    assert!(shown.contains(&format!("verified  BROKEN: {} is missing", table.as_str().unwrap())), "{shown}");
}
