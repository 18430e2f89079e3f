//! Retention by example and by property: whatever the rules, some backups stay.

use super::{Candidate, Condition, Reason, Rules, Verdict, decide};
use crate::archive::BackupId;
use crate::keep::Age;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn candidate(moment: Timestamp, tail: u32, condition: Condition) -> Candidate {
    let id = BackupId::parse(&format!("{}-{tail:06x}", moment.strftime("%Y%m%dT%H%M%SZ"))).expect("an id");
    Candidate { id, condition }
}

fn good(text: &str) -> Candidate {
    candidate(at(text), 0, Condition::Good)
}

/// One backup a night at two, so many of them, the newest first.
fn nights(newest: &str, count: i64) -> Vec<Candidate> {
    let night = |n| candidate(at(newest) - SignedDuration::from_hours(24 * n), 0, Condition::Good);
    (0..count).map(night).collect()
}

/// The days (or the ids, where a day is not enough) that stay.
fn kept(backups: &[Candidate], rules: &Rules, now: &str) -> Vec<String> {
    let verdicts = decide(backups, rules, at(now));
    let stays = backups.iter().zip(verdicts).filter(|(_, verdict)| verdict.stays());
    stays.map(|(backup, _)| backup.id.created().strftime("%Y-%m-%d").to_string()).collect()
}

#[test]
fn grandfather_father_and_son_keep_the_newest_of_each_period() {
    let backups = nights("2026-11-24T02:00:00Z", 800);
    let rules = Rules { daily: 3, weekly: 2, monthly: 3, yearly: 3, ..Rules::default() };
    let expected = ["2026-11-24", "2026-11-23", "2026-11-22", "2026-10-31", "2026-09-30", "2025-12-31", "2024-12-31"];
    assert_eq!(kept(&backups, &rules, "2026-11-24T03:00:00Z"), expected);
}

#[test]
fn every_line_has_its_reasons() {
    let backups = nights("2026-11-24T02:00:00Z", 3);
    let rules = Rules { last: 1, daily: 2, within: Some(Age::hours(12)), ..Rules::default() };
    let lines: Vec<String> =
        decide(&backups, &rules, at("2026-11-24T03:00:00Z")).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["newest good one, last 1 of 1, within 12h, daily 2026-11-24", "daily 2026-11-23", "no rule keeps it"]
    );
}

#[test]
fn ages_count_from_the_newest_backup_so_that_nothing_ages_away_when_backups_stop() {
    let backups = nights("2026-11-24T02:00:00Z", 40);
    let rules = Rules { within: Some(Age::days(30)), ..Rules::default() };
    assert_eq!(kept(&backups, &rules, "2026-11-24T03:00:00Z").len(), 31);
    assert_eq!(kept(&backups, &rules, "2027-11-24T03:00:00Z").len(), 31);
}

#[test]
fn the_floor_holds_where_rules_keep_less() {
    let backups = nights("2026-11-24T02:00:00Z", 10);
    let rules = Rules { last: 1, floor: 4, ..Rules::default() };
    assert_eq!(kept(&backups, &rules, "2026-11-24T03:00:00Z").len(), 4);
    let rules = Rules { last: 1, floor: 0, ..Rules::default() };
    assert_eq!(kept(&backups, &rules, "2026-11-24T03:00:00Z").len(), 1);
}

#[test]
fn a_damaged_backup_takes_no_place_and_goes_when_all_that_stays_is_newer() {
    let mut backups = nights("2026-11-24T02:00:00Z", 5);
    backups[0].condition = Condition::Damaged;
    backups[4].condition = Condition::Damaged;
    let rules = Rules { last: 2, ..Rules::default() };
    let verdicts = decide(&backups, &rules, at("2026-11-24T03:00:00Z"));
    assert_eq!(verdicts[0], Verdict::Keep(vec![Reason::Damaged]));
    assert_eq!(verdicts[1], Verdict::Keep(vec![Reason::Newest, Reason::Last(1, 2)]));
    assert_eq!(verdicts[3..], [Verdict::Remove, Verdict::RemoveDamaged]);
    // Where nothing is good, nothing goes.
    for backup in &mut backups {
        backup.condition = Condition::Damaged;
    }
    assert!(decide(&backups, &rules, at("2026-11-24T03:00:00Z")).iter().all(Verdict::stays));
}

#[test]
fn a_backup_from_the_future_does_not_push_out_the_newest() {
    let backups = [good("2027-01-01T00:00:00Z"), good("2026-11-24T02:00:00Z"), good("2026-11-23T02:00:00Z")];
    let rules = Rules { last: 1, ..Rules::default() };
    let verdicts = decide(&backups, &rules, at("2026-11-24T03:00:00Z"));
    assert_eq!(verdicts[0], Verdict::Keep(vec![Reason::Future]));
    assert!(verdicts[1].stays() && !verdicts[2].stays());
    // A clock that says 1970 removes nothing.
    assert!(decide(&backups, &rules, Timestamp::UNIX_EPOCH).iter().all(Verdict::stays));
}

#[test]
fn days_begin_in_the_zone_and_a_repeated_hour_counts_twice() {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    // 23:30 UTC is half past midnight of the next day in Berlin.
    let backups = [good("2026-11-24T01:00:00Z"), good("2026-11-23T23:30:00Z"), good("2026-11-23T22:30:00Z")];
    let now = "2026-11-24T03:00:00Z";
    let daily = Rules { daily: 9, zone: zone.clone(), ..Rules::default() };
    assert_eq!(kept(&backups, &daily, now), ["2026-11-24", "2026-11-23"]);
    assert_eq!(kept(&backups, &Rules { daily: 9, ..Rules::default() }, now), ["2026-11-24", "2026-11-23"]);
    // The clocks of Berlin went back at 01:00 UTC on 25 October 2026: both of these are half past two.
    let twice = [good("2026-10-25T01:30:00Z"), good("2026-10-25T00:30:00Z")];
    assert_eq!(kept(&twice, &Rules { hourly: 9, zone, ..Rules::default() }, now).len(), 2);
}

#[test]
fn weeks_are_those_of_iso_across_the_turn_of_the_year() {
    // Thursday, 31 December 2026 and Friday, 1 January 2027 lie in one week, 2026-W53.
    let backups = [good("2027-01-04T02:00:00Z"), good("2027-01-01T02:00:00Z"), good("2026-12-31T02:00:00Z")];
    let rules = Rules { weekly: 9, ..Rules::default() };
    assert_eq!(kept(&backups, &rules, "2027-01-05T00:00:00Z"), ["2027-01-04", "2027-01-01"]);
}

/// Backups over some three years, crowded enough to share hours and seconds, in no order.
fn some_backups() -> impl Strategy<Value = Vec<Candidate>> {
    let condition = prop_oneof![
        8 => Just(Condition::Good),
        1 => Just(Condition::Damaged),
        1 => Just(Condition::Unreadable)
    ];
    let moment = prop_oneof![0i64..100_000_000, (0i64..4000).prop_map(|n| n * 21_600)];
    let backup = (moment, 0u32..0x0100_0000, condition).prop_map(|(second, tail, condition)| {
        let moment = Timestamp::from_second(1_700_000_000 + second).expect("a time");
        candidate(moment, tail, condition)
    });
    prop::collection::vec(backup, 0..60).prop_map(|mut backups| {
        let mut seen = std::collections::HashSet::new();
        backups.retain(|backup| seen.insert(backup.id.clone()));
        backups
    })
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let within = prop_oneof![Just(None), (1i32..2000).prop_map(|days| Some(Age::days(days)))];
    let zone = prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("America/New_York"), Just("Asia/Kathmandu")];
    (0u32..5, within, 0u32..5, 0u32..5, 0u32..5, (0u32..5, 0u32..5), 0u32..6, zone).prop_map(
        |(last, within, hourly, daily, weekly, (monthly, yearly), floor, zone)| {
            let zone = TimeZone::get(zone).expect("a zone");
            Rules { last, within, hourly, daily, weekly, monthly, yearly, floor, zone }
        },
    )
}

proptest! {
    #[test]
    fn the_newest_good_backup_and_the_floor_stay_whatever_the_rules(
        backups in some_backups(), rules in some_rules(), now in 1_690_000_000i64..1_900_000_000
    ) {
        let now = Timestamp::from_second(now).expect("a time");
        let verdicts = decide(&backups, &rules, now);
        prop_assert_eq!(verdicts.len(), backups.len());
        let of = |condition| backups.iter().zip(&verdicts).filter(move |(backup, _)| backup.condition == condition);
        let latest = of(Condition::Good).filter(|(backup, _)| backup.id.created() <= now).max_by_key(|(b, _)| b.id.clone());
        prop_assert!(latest.is_none_or(|(_, verdict)| verdict.stays()), "the newest good one goes");
        let all = of(Condition::Good).count();
        let stay = of(Condition::Good).filter(|(_, verdict)| verdict.stays()).count();
        prop_assert!(stay >= all.min(usize::try_from(rules.floor.max(1)).expect("small")), "{} of {} stay", stay, all);
        prop_assert!(of(Condition::Unreadable).all(|(_, verdict)| verdict.stays()));
    }

    #[test]
    fn deciding_again_over_what_stays_changes_nothing(
        backups in some_backups(), rules in some_rules(), now in 1_690_000_000i64..1_900_000_000
    ) {
        let now = Timestamp::from_second(now).expect("a time");
        let verdicts = decide(&backups, &rules, now);
        let stay: Vec<Candidate> =
            backups.into_iter().zip(verdicts).filter(|(_, verdict)| verdict.stays()).map(|(backup, _)| backup).collect();
        prop_assert!(decide(&stay, &rules, now).iter().all(Verdict::stays));
    }

    #[test]
    fn a_wider_rule_never_removes_more(
        backups in some_backups(), rules in some_rules(), now in 1_690_000_000i64..1_900_000_000
    ) {
        let now = Timestamp::from_second(now).expect("a time");
        let wider = Rules {
            last: rules.last + 1, hourly: rules.hourly + 1, daily: rules.daily + 1, weekly: rules.weekly + 1,
            monthly: rules.monthly + 1, yearly: rules.yearly + 1, floor: rules.floor + 1, ..rules.clone()
        };
        let (narrow, wide) = (decide(&backups, &rules, now), decide(&backups, &wider, now));
        for ((narrow, wide), backup) in narrow.iter().zip(&wide).zip(&backups) {
            prop_assert!(backup.condition == Condition::Damaged || wide.stays() || !narrow.stays());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over leap days, ends of months and years, and changes of clocks: what goes one night is never missed later.
    #[test]
    fn pruning_every_night_comes_to_what_pruning_once_would_have_kept(
        rules in some_rules(), start in 1_690_000_000i64..1_900_000_000, nights in 1i64..800, every in 20i64..29
    ) {
        let nights = (0..nights).map(|night| Timestamp::from_second(start + night * every * 3600).expect("a time"));
        let all: Vec<Candidate> = nights.map(|moment| candidate(moment, 0, Condition::Good)).collect();
        let mut kept: Vec<Candidate> = Vec::new();
        for backup in &all {
            kept.push(backup.clone());
            let verdicts = decide(&kept, &rules, backup.id.created());
            let mut stays = verdicts.iter().map(Verdict::stays);
            kept.retain(|_| stays.next().unwrap_or(false));
        }
        let now = all.last().map_or(Timestamp::UNIX_EPOCH, |backup| backup.id.created());
        let verdicts = decide(&all, &rules, now);
        let once: Vec<&Candidate> =
            all.iter().zip(&verdicts).filter(|(_, verdict)| verdict.stays()).map(|(backup, _)| backup).collect();
        prop_assert_eq!(kept.iter().collect::<Vec<_>>(), once);
    }
}
