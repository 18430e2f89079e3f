//! What backups cost, read from a store that knows classes.

use pgstow_parts::{Database, moto, server};

use crate::support::pgstow;

#[test]
fn what_is_stored_is_counted_by_class_and_plans_are_compared() {
    let s3 = moto();
    let place = s3.location(&s3.fresh_prefix("cost"));
    let database = Database::fresh(&server(18), "cost");
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let url = database.url();
    pgstow(&s3, &["dump", "-d", &url, "--to", &place, "--storage-class", "STANDARD_IA"]).fine();
    let plans = ["--plan", "keep-within=30d", "--plan", "class=STANDARD_IA keep-within=30d", "--size", "100G"];
    let cost = ["cost", "--from", &place];
    let report = pgstow(&s3, &[cost.as_slice(), &plans, &["--json"]].concat()).fine().json();
    let classes: Vec<&str> =
        report["stored"].as_array().unwrap().iter().map(|s| s["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["STANDARD", "STANDARD_IA"], "the manifest is in STANDARD: {report}");
    assert_eq!(report["restore"][0]["ways"][0]["name"], "at once");
    let monthly = |nth: usize| report["plans"][nth]["monthly"].as_f64().unwrap();
    assert!((70.0..73.0).contains(&monthly(0)) && (38.0..40.0).contains(&monthly(1)), "{report}");
    let said = pgstow(&s3, &[cost.as_slice(), &plans].concat()).fine().stdout;
    assert!(said.contains("prices of 20") && said.contains("class=STANDARD_IA keep-within=30d"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("prices.json");
    let printed = pgstow(&s3, &["cost", "--print-prices"]).fine().stdout;
    std::fs::write(&table, printed.replace("0.0125", "0.125").replace("USD", "EUR")).unwrap();
    let own = pgstow(&s3, &[cost.as_slice(), &plans, &["--json", "--prices", table.to_str().unwrap()]].concat());
    let own = own.fine().json();
    assert_eq!(own["currency"], "EUR");
    assert!(own["plans"][1]["monthly"].as_f64().unwrap() > 380.0, "{own}");
    pgstow(&s3, &["cost", "--from", &place, "--plan", "class=STANDARD"]).failed(2, &["keep-within"]);
}
