//! Costs held against sums that were done by hand.

use super::prices::Prices;
use super::{Hidden, Plan, Shape, Starts, plan, reading, stored};
use crate::error::Kind;
use crate::keep::{Age, Rules};
use jiff::SignedDuration;
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= expected.abs() * 0.02 + 1e-9, "{found} instead of {expected}");
}

/// Ten GiB in ten objects every night, kept for 30 days.
fn nightly(class: &str, transitions: &[(u32, &str)]) -> (Plan, Shape) {
    let plan = Plan {
        name: class.to_owned(),
        class: class.to_owned(),
        transitions: transitions.iter().map(|(days, class)| (*days, (*class).to_owned())).collect(),
        expire_days: None,
        hidden: Hidden::Gone,
        starts: Starts::per_day(1),
        verify: false,
        rules: Rules { within: Some(Age::days(30)), ..Rules::default() },
    };
    (plan, Shape { objects: vec![GIB; 10], parts: 0, manifest: 0 })
}

#[test]
fn what_is_stored_is_billed_by_class_with_its_minimum_size() {
    let prices = Prices::built_in();
    let objects = BTreeMap::from([
        ("STANDARD".to_owned(), vec![100 * GIB]),
        ("STANDARD_IA".to_owned(), vec![100 * GIB, 1, 1]),
        ("GLACIER".to_owned(), vec![0; 1000]),
    ]);
    let costs = stored(&objects, &prices).expect("prices");
    close(costs["STANDARD"], 2.3);
    close(costs["STANDARD_IA"], 1.25);
    // A thousand empty objects are billed 32 KiB each, and 8 KiB in STANDARD.
    close(costs["GLACIER"], 1000.0 * (32_768.0 * 0.0036 + 8_192.0 * 0.023) / 1_073_741_824.0);
    // INTELLIGENT_TIERING watches objects of 128 KiB and more, and bills nothing for watching smaller ones.
    for (size, bytes, watching) in [(131_071, 131_071.0, 0.0), (131_072, 131_072.0, 0.0025)] {
        let objects = BTreeMap::from([("INTELLIGENT_TIERING".to_owned(), vec![size; 1000])]);
        let costs = stored(&objects, &prices).expect("prices");
        close(costs["INTELLIGENT_TIERING"], 1000.0 * bytes * 0.023 / 1_073_741_824.0 + watching);
    }
    let unknown = BTreeMap::from([("COLDEST".to_owned(), vec![1])]);
    assert_eq!(stored(&unknown, &prices).expect_err("no price").kind(), Kind::Usage);
}

#[test]
fn thirty_days_in_standard_cost_thirty_one_backups() {
    let (given, shape) = nightly("STANDARD", &[]);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(monthly.backups, 31.0);
    close(monthly.storage, 31.0 * 10.0 * 0.023);
    // Eleven uploads, and to prune, for each backup there is, one listing and two questions for its manifest.
    close(monthly.requests, 30.0 * (11.0 * 0.005 + 31.0 * (0.005 + 2.0 * 0.0004)) / 1000.0);
    assert!(monthly.early == 0.0 && monthly.transitions == 0.0 && monthly.growing.is_none(), "{monthly:?}");
}

#[test]
fn a_class_with_a_minimum_duration_bills_what_is_deleted_too_early() {
    let (given, shape) = nightly("STANDARD_IA", &[]);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert!(monthly.early == 0.0, "31 days are enough: {monthly:?}");
    let (mut given, shape) = nightly("GLACIER_IR", &[]);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    // 30 backups a month go after 31 days instead of 90.
    close(monthly.early, 30.0 * 10.0 * 0.004 * 59.0 / 30.0);
    given.rules.within = Some(Age::days(120));
    assert!(plan(&given, &shape, &Prices::built_in()).expect("a plan").early == 0.0);
}

#[test]
fn a_transition_is_billed_once_for_each_object_that_reaches_it() {
    let (mut given, shape) = nightly("STANDARD", &[(30, "STANDARD_IA")]);
    given.rules.within = Some(Age::days(60));
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(monthly.transitions, 30.0 * 10.0 * 0.01 / 1000.0);
    // 30 days at one price, 31 at the other.
    close(monthly.storage, 30.0 * 10.0 * 0.023 + 31.0 * 10.0 * 0.0125);
}

#[test]
fn a_grandfathers_plan_holds_what_its_rules_keep() {
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.rules = Rules { daily: 7, weekly: 4, monthly: 12, ..Rules::default() };
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert!((19.0..=23.0).contains(&monthly.backups) && monthly.growing.is_none(), "{monthly:?}");
    let without = monthly.backups;
    given.rules.yearly = 5;
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    // This year and the last one are among the months.
    assert!((2.9..=3.1).contains(&(monthly.backups - without)) && monthly.growing.is_none(), "{monthly:?}");
    given.rules.yearly = 100;
    assert_eq!(plan(&given, &shape, &Prices::built_in()).expect("a plan").growing, Some(20 * 365));
}

#[test]
fn what_removes_nothing_is_told_as_it_is_after_a_year() {
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.rules = Rules::default();
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert_eq!(monthly.growing, Some(365));
    assert!((345.0..=365.0).contains(&monthly.backups), "{monthly:?}");
    given.expire_days = Some(14);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(monthly.backups, 14.0);
    assert_eq!(monthly.growing, None, "a lifecycle rule removes them");
}

#[test]
fn a_lifecycle_rule_that_comes_before_retention_removes_first() {
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.expire_days = Some(10);
    close(plan(&given, &shape, &Prices::built_in()).expect("a plan").backups, 10.0);
    given.expire_days = Some(100);
    close(plan(&given, &shape, &Prices::built_in()).expect("a plan").backups, 31.0);
}

#[test]
fn hidden_versions_cost_until_they_go_and_count_for_the_minimum_duration() {
    let (mut given, shape) = nightly("GLACIER_IR", &[]);
    given.hidden = Hidden::Days(10);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(monthly.storage, 41.0 * 10.0 * 0.004);
    close(monthly.early, 30.0 * 10.0 * 0.004 * 49.0 / 30.0);
    close(monthly.bytes, 41.0 * 10.0 * 1_073_741_824.0);
    given.hidden = Hidden::ForEver;
    assert_eq!(plan(&given, &shape, &Prices::built_in()).expect("a plan").growing, Some(365));
}

#[test]
fn small_objects_stay_where_they_were_uploaded_and_nothing_moves_up() {
    let (mut given, _) = nightly("STANDARD", &[(30, "GLACIER_IR")]);
    given.rules.within = Some(Age::days(60));
    let small = Shape { objects: vec![64 << 10; 16 * 1024], parts: 0, manifest: 0 };
    let monthly = plan(&given, &small, &Prices::built_in()).expect("a plan");
    assert!(monthly.transitions == 0.0, "{monthly:?}");
    close(monthly.storage, 61.0 * 0.023);
    let (mut given, shape) = nightly("GLACIER_IR", &[(30, "STANDARD_IA")]);
    given.rules.within = Some(Age::days(60));
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert!(monthly.transitions == 0.0, "{monthly:?}");
    close(monthly.storage, 61.0 * 10.0 * 0.004);
}

#[test]
fn uploads_in_parts_and_verifying_are_billed() {
    let (mut given, mut shape) = nightly("STANDARD_IA", &[]);
    let before = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert!(before.verifying == 0.0);
    (shape.parts, given.verify) = (1290, true);
    let after = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(after.requests - before.requests, 30.0 * 1.29 * 0.01);
    close(after.verifying, 30.0 * (10.0 * 0.01 + 0.011 * 0.001));
}

#[test]
fn backups_are_counted_as_they_are_made() {
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.starts = Starts::per_day(4);
    close(plan(&given, &shape, &Prices::built_in()).expect("a plan").backups, 30.0 * 4.0 + 1.0);
    // Once a week: four or five are within 30 days.
    let week = SignedDuration::from_hours(24 * 7);
    given.starts = Starts::at(move |after| Some(after + week));
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    assert!((4.0..=5.5).contains(&monthly.backups), "{monthly:?}");
}

#[test]
fn reading_back_has_a_price_for_each_way() {
    let shape = Shape { objects: vec![GIB; 1000], parts: 0, manifest: 0 };
    let prices = Prices::built_in();
    let standard = reading(&shape, "STANDARD", &prices).expect("a price");
    assert!(standard.ways.is_empty());
    close(standard.transfer, 90.0);
    let glacier = reading(&shape, "GLACIER", &prices).expect("a price");
    let amounts: Vec<f64> = glacier.ways.iter().map(|(_, amount)| *amount).collect();
    close(amounts[0], 0.0);
    close(amounts[1], 10.05);
    let deep = reading(&shape, "DEEP_ARCHIVE", &prices).expect("a price");
    close(deep.ways[0].1, 2.525);
    close(deep.copies_a_day, 1000.0 * 0.023 / 30.0);
    assert!(standard.copies_a_day == 0.0);
}

#[test]
fn a_table_of_prices_is_checked() {
    assert!(!Prices::built_in().date.is_empty() && !Prices::built_in().source.is_empty());
    let text = super::prices::BUILT_IN;
    for (from, to) in [("0.023", "-1"), ("\"date\"", "\"dat\""), ("{", "["), ("\"STANDARD\"", "\"USUAL\"")] {
        assert_eq!(Prices::parse(&text.replacen(from, to, 1)).expect_err(to).kind(), Kind::Usage);
    }
}
