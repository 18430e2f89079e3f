//! Where the lifecycle rules of a bucket collide with what a job keeps there, and in which class.

use super::Rules;
use super::bucket::check_transitions;
use crate::store::LifecycleRule;
use jiff::{SignedDuration, Timestamp};

const DAY: i64 = 86_400;

/// How a job's backups are made and kept.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The class that data is uploaded in.
    pub class: String,
    /// From one backup to the next.
    pub every: SignedDuration,
    /// Which stay; all, if this is absent.
    pub rules: Option<Rules>,
}

/// Something that does not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// Backups are lost, or cannot be used; otherwise something costs more than it should.
    pub severe: bool,
    /// What, for people.
    pub says: String,
    /// What to do about it.
    pub todo: String,
}

/// Where rules collide with what is kept below a folder. `now` is for rules that know the calendar.
pub fn collisions(rules: &[LifecycleRule], folder: &str, keeping: Option<&Keeping>, now: Timestamp) -> Vec<Collision> {
    let mut found = Vec::new();
    let longest = keeping.and_then(|keeping| {
        let seconds = keeping.rules.as_ref()?.longest(keeping.every.as_secs().max(1), now);
        Some(seconds.div_euclid(DAY) + i64::from(seconds % DAY > 0))
    });
    for rule in rules.iter().filter(|rule| rule.touches(folder)) {
        found.extend(rule.expire_days.map(|days| expiry(rule, days, keeping, longest)));
        found.extend(transitions(rule, longest));
    }
    if !rules.iter().any(|rule| rule.covers(folder) && rule.abort_days.is_some()) {
        found.push(Collision {
            severe: false,
            says: "no lifecycle rule aborts uploads that were never completed: their parts cost, and no listing shows them"
                .to_owned(),
            todo: "let the bucket abort them after a few days: `pgstow bucket init --abort-days 7`".to_owned(),
        });
    }
    if let (Some(keeping), Some(longest)) = (keeping, longest)
        && longest < minimum_days(&keeping.class)
    {
        let (class, minimum) = (&keeping.class, minimum_days(&keeping.class));
        found.push(Collision {
            severe: false,
            says: format!(
                "{class} bills {minimum} days at least, and the retention keeps nothing for more than {longest}"
            ),
            todo: "keep backups for longer, or upload them to STANDARD; `pgstow cost` compares the two".to_owned(),
        });
    }
    found.sort_by_key(|collision| !collision.severe);
    found
}

fn expiry(rule: &LifecycleRule, days: u32, keeping: Option<&Keeping>, longest: Option<i64>) -> Collision {
    let what = if rule.narrowed { "some objects" } else { "backups" };
    let says = format!("the lifecycle rule {:?} removes {what} after {days} days", rule.id);
    let retention = keeping.and_then(|keeping| keeping.rules.as_ref());
    match (retention, longest) {
        (Some(rules), Some(longest)) if i64::from(days) < longest => Collision {
            severe: true,
            says: format!("{says}, and the retention ({rules}) wants some for up to {longest}"),
            todo:
                "leave removing to `pgstow prune`, which never removes the newest good backup: take the expiry out of \
                   the rule, or let it come later"
                    .to_owned(),
        },
        _ => Collision {
            severe: rule.narrowed,
            says: format!("{says}, the newest too when no newer one is made"),
            todo: "leave removing to `pgstow prune` (a job's retention), which keeps the newest good backup".to_owned(),
        },
    }
}

fn transitions(rule: &LifecycleRule, longest: Option<i64>) -> Vec<Collision> {
    let mut found = Vec::new();
    for (days, class) in &rule.transitions {
        if matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE") {
            found.push(Collision {
                severe: true,
                says: format!(
                    "the lifecycle rule {:?} freezes manifests in {class} after {days} days: such backups can neither \
                     be listed nor restored",
                    rule.id
                ),
                todo: format!(
                    "take the transition out of the rule, and upload the data as {class}: manifests stay readable"
                ),
            });
            continue;
        }
        let stay = longest.map(|longest| longest - i64::from(*days));
        let minimum = minimum_days(class);
        if let Some(stay) = stay.filter(|stay| *stay < minimum) {
            let words = if stay <= 0 {
                "when the retention has removed every backup".to_owned()
            } else {
                format!("{stay} days before the retention removes the last of them, and that class bills {minimum}")
            };
            found.push(Collision {
                severe: false,
                says: format!("the lifecycle rule {:?} moves backups to {class} after {days} days, {words}", rule.id),
                todo: "move them earlier, keep them longer, or leave them where they are; `pgstow cost` compares"
                    .to_owned(),
            });
        }
    }
    let mut readable = rule.transitions.clone();
    readable.retain(|(_, class)| !matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE"));
    if let Err(error) = check_transitions(&readable) {
        let todo = error.hint_text().unwrap_or("`pgstow bucket init` writes rules that AWS takes").to_owned();
        let says = format!("the lifecycle rule {:?}: {error}", rule.id);
        found.push(Collision { severe: false, says, todo });
    }
    found
}

/// A class bills so many days at least (Amazon S3 user guide, "Comparing the Amazon S3 storage classes").
fn minimum_days(class: &str) -> i64 {
    match class {
        "STANDARD_IA" | "ONEZONE_IA" => 30,
        "GLACIER_IR" | "GLACIER" => 90,
        "DEEP_ARCHIVE" => 180,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Collision, Keeping, collisions};
    use crate::keep::{Age, Rules};
    use crate::store::LifecycleRule;
    use jiff::SignedDuration;

    fn rule(transitions: &[(u32, &str)], expire_days: Option<u32>) -> LifecycleRule {
        LifecycleRule {
            id: "r".into(),
            enabled: true,
            transitions: transitions.iter().map(|(days, class)| (*days, (*class).to_owned())).collect(),
            expire_days,
            abort_days: Some(7),
            ..LifecycleRule::default()
        }
    }

    fn found(rules: &[LifecycleRule], class: &str, kept: Option<Rules>) -> Vec<Collision> {
        let keeping = Keeping { class: class.into(), every: SignedDuration::from_hours(24), rules: kept };
        collisions(rules, "shop/", Some(&keeping), "2026-11-24T12:00:00Z".parse().expect("a moment"))
    }

    /// Whether it is severe, and the first words that tell collisions apart.
    fn told(rules: &[LifecycleRule], class: &str, kept: impl Into<Option<Rules>>) -> Vec<(bool, String)> {
        found(rules, class, kept.into()).into_iter().map(|one| (one.severe, one.says)).collect()
    }

    fn within(days: i32) -> Rules {
        Rules { within: Some(Age::days(days)), ..Rules::default() }
    }

    #[test]
    fn an_expiry_before_the_rules_are_done_is_severe_and_a_later_one_still_threatens_the_newest() {
        let yearly = Rules { daily: 7, yearly: 3, ..Rules::default() };
        let early = told(&[rule(&[], Some(90))], "STANDARD", yearly);
        assert!(
            early[0].0 && early[0].1.contains("after 90 days, and the retention (keep 7 daily, 3 yearly"),
            "{early:?}"
        );
        for kept in [Some(within(30)), None] {
            let late = told(&[rule(&[], Some(90))], "STANDARD", kept);
            assert!(!late[0].0 && late[0].1.ends_with("the newest too when no newer one is made"), "{late:?}");
        }
    }

    #[test]
    fn moves_that_freeze_or_do_not_pay_or_that_aws_refuses_are_named() {
        let frozen = told(&[rule(&[(60, "GLACIER")], None)], "STANDARD", within(400));
        assert!(frozen[0].0 && frozen[0].1.contains("freezes manifests in GLACIER"), "{frozen:?}");
        let late = told(&[rule(&[(30, "STANDARD_IA")], None)], "STANDARD", within(30));
        assert!(!late[0].0 && late[0].1.contains("1 days before the retention removes the last"), "{late:?}");
        let never = told(&[rule(&[(60, "STANDARD_IA")], None)], "STANDARD", within(30));
        assert!(never[0].1.ends_with("when the retention has removed every backup"), "{never:?}");
        let early = told(&[rule(&[(7, "STANDARD_IA")], None)], "STANDARD", within(400));
        assert!(early[0].1.contains("only when they are 30 days old, not 7"), "{early:?}");
        assert_eq!(told(&[rule(&[(30, "STANDARD_IA")], None)], "STANDARD", within(90)), []);
    }

    #[test]
    fn a_class_that_bills_longer_than_backups_stay_is_named_and_so_is_what_nobody_aborts() {
        let short = told(&[rule(&[], None)], "STANDARD_IA", within(7));
        assert_eq!(short[0].1, "STANDARD_IA bills 30 days at least, and the retention keeps nothing for more than 8");
        assert_eq!(told(&[rule(&[], None)], "STANDARD_IA", within(30)), []);
        let elsewhere = LifecycleRule { prefix: "other/".into(), ..rule(&[(7, "GLACIER")], Some(1)) };
        let found = told(&[elsewhere], "STANDARD", within(30));
        assert!(found.len() == 1 && found[0].1.starts_with("no lifecycle rule aborts"), "{found:?}");
    }
}
