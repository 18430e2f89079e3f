//! Runs that left no backup. A dump that fails removes what it wrote, so nothing but its absence tells of it.
//!
//! Where a schedule is known, each of its times is held against the backups, and one that retention would have removed
//! meanwhile is no loss. Without a schedule, pauses are held against the usual one.

use super::{Candidate, Condition, Rules, Verdict, decide};
use crate::archive::BackupId;
use jiff::{SignedDuration, Timestamp};

/// A run may take so long before its absence is worth a word.
const GRACE: SignedDuration = SignedDuration::from_hours(2);

/// The usual pause is that of so many of the newest backups.
const NEWEST: usize = 14;

/// Fewer pauses than this say nothing of what is usual.
const FEWEST: usize = 3;

/// From where retention has thinned backups out, so many pauses in a row are longer than the usual one.
const THINNED: usize = 3;

/// A time without a backup that should have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The scheduled time, or when the last backup before was begun.
    pub from: Timestamp,
    /// When the next one was begun; absent for a scheduled time.
    pub to: Option<Timestamp>,
}

/// The scheduled times, oldest first, that have no good backup and should have one.
pub fn missed_slots(backups: &[Candidate], slots: &[Timestamp], rules: Option<&Rules>, now: Timestamp) -> Vec<Missed> {
    let mut begun: Vec<Timestamp> = good(backups).collect();
    begun.sort();
    let ends = slots.iter().skip(1).copied().chain([Timestamp::MAX]);
    let empty = slots.iter().zip(ends).filter(|(slot, end)| {
        let first = begun.partition_point(|at| at < *slot);
        begun.get(first).is_none_or(|at| at >= end) && now.duration_since(**slot) > GRACE
    });
    let empty: Vec<Timestamp> = empty.map(|(slot, _)| *slot).collect();
    let missed = |slot: &Timestamp| Missed { from: *slot, to: None };
    let Some(rules) = rules else { return empty.iter().map(missed).collect() };
    // With the backups that are not there: whichever of them would still be kept is missing.
    let absent = empty.iter().map(|slot| Candidate { id: BackupId::new(*slot), condition: Condition::Good });
    let all: Vec<Candidate> = absent.chain(backups.iter().cloned()).collect();
    let verdicts = decide(&all, rules, now);
    empty.iter().zip(&verdicts).filter(|(_, verdict)| Verdict::stays(verdict)).map(|(slot, _)| missed(slot)).collect()
}

/// Pauses between good backups, and since the newest one, that are longer than usual; the newest first.
pub fn long_pauses(backups: &[Candidate], now: Timestamp) -> Vec<Missed> {
    let mut begun: Vec<Timestamp> = good(backups).collect();
    begun.sort_by(|one, other| other.cmp(one));
    let pauses: Vec<SignedDuration> = begun.windows(2).map(|pair| pair[0].duration_since(pair[1])).collect();
    if pauses.len() < FEWEST {
        return Vec::new();
    }
    let mut newest: Vec<SignedDuration> = pauses.iter().take(NEWEST).copied().collect();
    newest.sort();
    let usual = newest[(newest.len() - 1) / 2];
    let limit = usual + (usual * 3 / 5).max(GRACE);
    let mut missed = Vec::new();
    if now.duration_since(begun[0]) > limit {
        missed.push(Missed { from: begun[0], to: Some(now) });
    }
    for (at, pause) in pauses.iter().enumerate() {
        let thinned = pauses.iter().skip(at).take(THINNED);
        if thinned.len() == THINNED && thinned.clone().all(|pause| *pause > limit) {
            break;
        }
        if *pause > limit {
            missed.push(Missed { from: begun[at + 1], to: Some(begun[at]) });
        }
    }
    missed
}

fn good(backups: &[Candidate]) -> impl Iterator<Item = Timestamp> {
    backups.iter().filter(|backup| backup.condition == Condition::Good).map(|backup| backup.id.created())
}

#[cfg(test)]
mod tests {
    use super::{Missed, long_pauses, missed_slots};
    use crate::archive::BackupId;
    use crate::keep::{Candidate, Condition, Rules};
    use jiff::Timestamp;

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn at(day: u32) -> Timestamp {
        moment(&format!("2026-11-{day:02}T02:30:00Z"))
    }

    fn backups(days: &[u32]) -> Vec<Candidate> {
        days.iter().map(|day| Candidate { id: BackupId::new(at(*day)), condition: Condition::Good }).collect()
    }

    #[test]
    fn a_scheduled_time_without_a_good_backup_is_missed_unless_retention_would_have_removed_it() {
        let slots: Vec<Timestamp> = (1..=20).map(at).collect();
        let mut have = backups(&[1, 8, 14, 15, 17, 18, 20]);
        // That of the 17th is damaged.
        have[4].condition = Condition::Damaged;
        let rules = Rules { daily: 5, weekly: 4, ..Rules::default() };
        let missed = |rules, now| {
            let found = missed_slots(&have, &slots, rules, now);
            found.iter().map(|missed| missed.from.strftime("%d").to_string()).collect::<Vec<_>>()
        };
        let noon = moment("2026-11-20T12:00:00Z");
        assert_eq!(missed(Some(&rules), noon), ["16", "17", "19"]);
        let without: Vec<String> =
            (2..=19).filter(|day| ![8, 14, 15, 18].contains(day)).map(|d| format!("{d:02}")).collect();
        assert_eq!(missed(None, noon), without);
    }

    #[test]
    fn a_run_that_is_just_due_is_not_missed_yet() {
        let slots: Vec<Timestamp> = (18..=20).map(at).collect();
        let have = backups(&[18, 19]);
        assert_eq!(missed_slots(&have, &slots, None, moment("2026-11-20T04:00:00Z")), []);
        assert_eq!(
            missed_slots(&have, &slots, None, moment("2026-11-20T05:00:00Z")),
            [Missed { from: at(20), to: None }]
        );
    }

    #[test]
    fn pauses_are_held_against_the_usual_one_up_to_where_backups_were_thinned_out() {
        let have = backups(&[1, 4, 7, 10, 13, 14, 15, 17, 18, 19, 20]);
        let noon = moment("2026-11-20T12:00:00Z");
        assert_eq!(long_pauses(&have, noon), [Missed { from: at(15), to: Some(at(17)) }]);
        let late = moment("2026-11-22T12:00:00Z");
        assert_eq!(long_pauses(&have, late)[0], Missed { from: at(20), to: Some(late) });
        assert_eq!(long_pauses(&backups(&[1, 10, 20]), late), [], "two pauses say nothing");
        assert_eq!(long_pauses(&[], late), []);
    }
}
