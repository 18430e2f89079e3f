//! Costs held against sums that were done by hand.

use super::prices::Prices;
use super::{Plan, Shape, plan, reading, stored};
use crate::error::Kind;
use crate::keep::{Age, Rules};
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
        per_day: 1,
        rules: Rules { within: Some(Age::days(30)), ..Rules::default() },
    };
    (plan, Shape { objects: vec![GIB; 10], manifest: 0 })
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
    // A thousand empty objects are billed 40 KiB each.
    close(costs["GLACIER"], 1000.0 * 40_960.0 / 1_073_741_824.0 * 0.0036);
    let unknown = BTreeMap::from([("COLDEST".to_owned(), vec![1])]);
    assert_eq!(stored(&unknown, &prices).expect_err("no price").kind(), Kind::Usage);
}

#[test]
fn thirty_days_in_standard_cost_thirty_one_backups() {
    let (given, shape) = nightly("STANDARD", &[]);
    let monthly = plan(&given, &shape, &Prices::built_in()).expect("a plan");
    close(monthly.backups, 31.0);
    close(monthly.storage, 31.0 * 10.0 * 0.023);
    close(monthly.requests, 30.0 * 11.0 * 0.005 / 1000.0);
    assert!(monthly.early == 0.0 && monthly.transitions == 0.0 && !monthly.growing, "{monthly:?}");
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
    assert!((19.0..=23.0).contains(&monthly.backups) && !monthly.growing, "{monthly:?}");
    given.rules.yearly = 10;
    assert!(plan(&given, &shape, &Prices::built_in()).expect("a plan").growing);
}

#[test]
fn a_plan_without_an_end_has_no_cost() {
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.rules = Rules::default();
    assert_eq!(plan(&given, &shape, &Prices::built_in()).expect_err("no end").kind(), Kind::Usage);
    let (mut given, shape) = nightly("STANDARD", &[]);
    given.per_day = 0;
    plan(&given, &shape, &Prices::built_in()).expect_err("no backups");
}

#[test]
fn reading_back_has_a_price_for_each_way() {
    let shape = Shape { objects: vec![GIB; 1000], manifest: 0 };
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
}

#[test]
fn a_table_of_prices_is_checked() {
    assert!(!Prices::built_in().date.is_empty() && !Prices::built_in().source.is_empty());
    let text = super::prices::BUILT_IN;
    for (from, to) in [("0.023", "-1"), ("\"date\"", "\"dat\""), ("{", "[")] {
        assert_eq!(Prices::parse(&text.replacen(from, to, 1)).expect_err(to).kind(), Kind::Usage);
    }
}
