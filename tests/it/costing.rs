//! What backups cost, read from a store that knows classes, and from a bucket that has rules.

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
    assert!((72.0..73.5).contains(&monthly(0)) && (40.0..41.5).contains(&monthly(1)), "{report}");
    let said = pgstow(&s3, &[cost.as_slice(), &plans].concat()).fine().stdout;
    let second = said.lines().find(|line| line.ends_with("class=STANDARD_IA keep-within=30d")).unwrap();
    assert!(said.contains("prices of 20") && second.contains(" 56%  "), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("prices.json");
    let printed = pgstow(&s3, &["cost", "--print-prices"]).fine().stdout;
    std::fs::write(&table, printed.replace("0.0125", "0.125").replace("USD", "EUR")).unwrap();
    let own = pgstow(&s3, &[cost.as_slice(), &plans, &["--json", "--prices", table.to_str().unwrap()]].concat());
    let own = own.fine().json();
    assert_eq!(own["currency"], "EUR");
    assert!(own["plans"][1]["monthly"].as_f64().unwrap() > 380.0, "{own}");
    pgstow(&s3, &["cost", "--from", &place, "--plan", "class=COLDEST"]).failed(2, &["COLDEST"]);
}

#[test]
fn a_jobs_plan_is_what_its_retention_its_schedule_and_its_bucket_make_of_it() {
    let base = moto();
    let s3 = pgstow_parts::S3 { bucket: base.fresh_prefix("pgstow-job-cost").to_lowercase(), ..base.clone() };
    let place = s3.location("db");
    let database = Database::fresh(&server(18), "jobcost");
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pgstow.toml");
    let text = format!(
        "[job.shop]\nsource = \"{}\"\nstore = \"{place}\"\nstorage_class = \"STANDARD_IA\"\nschedule = \"30 2 * * sun\"\n\
         timezone = \"Europe/Madrid\"\n[job.shop.retention]\nkeep_last = 60\n",
        database.url()
    );
    std::fs::write(&config, text).unwrap();
    let init = ["bucket", "init", "--to", &place, "--transition", "30:GLACIER_IR", "--hidden-days", "20", "--yes"];
    pgstow(&s3, &init).fine();
    let cost = ["cost", "shop", "--config", config.to_str().unwrap()];
    let said = pgstow(&s3, &cost).fine().stdout;
    assert!(said.contains("note: the job has no backup yet to calculate its plan for"), "{said}");
    pgstow(&s3, &["dump", "-d", &database.url(), "--to", &place]).fine();
    let asked = ["--size", "100G", "--json", "--plan", "class=STANDARD_IA keep-last=60"];
    let report = pgstow(&s3, &[cost.as_slice(), &asked].concat()).fine().json();
    let plan = &report["plans"][0];
    assert_eq!(plan["plan"], "job shop");
    let number = |key: &str| plan[key].as_f64().unwrap();
    assert!((59.5..=60.5).contains(&number("backups")), "{plan}");
    // Sixty weeks: 30 days of each 100 GB in STANDARD_IA, the rest and 20 hidden days in GLACIER_IR.
    let (first, rest) = (30.0 / 7.0 * 100.0 * 0.0125, (390.0 + 20.0) / 7.0 * 100.0 * 0.004);
    assert!((number("storage") - first - rest).abs() < 0.8, "{} instead of {}", number("storage"), first + rest);
    assert!(number("transitions") > 0.0 && plan["growing_after_days"].is_null(), "{plan}");
    assert_eq!(report["notes"], serde_json::json!([]));
}
