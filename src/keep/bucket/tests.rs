//! What is refused, what is changed, and what is risky.

use super::{Verdict, Wish, plan, risks, validate};
use crate::error::Kind;
use crate::store::{Answer, BucketState, BucketStep, Encryption, LifecycleRule, Lock, LockDefault};

fn wish() -> Wish {
    Wish {
        region: None,
        versioning: true,
        encryption: Encryption::S3,
        tls_only: true,
        lock: None,
        lifecycle: LifecycleRule {
            id: "pgstow".to_owned(),
            enabled: true,
            hidden_days: Some(30),
            abort_days: Some(7),
            ..LifecycleRule::default()
        },
    }
}

fn moving(transitions: &[(u32, &str)], expire_days: Option<u32>) -> Wish {
    let transitions = transitions.iter().map(|(days, class)| (*days, (*class).to_owned())).collect();
    Wish { lifecycle: LifecycleRule { transitions, expire_days, ..wish().lifecycle }, ..wish() }
}

/// A bucket that is as the wish wants it.
fn fulfilled(wish: &Wish) -> BucketState {
    BucketState {
        region: Answer::Set("eu-central-1".to_owned()),
        versioning: Answer::Set(true),
        encryption: Answer::Set(wish.encryption.clone()),
        public_access_blocked: Answer::Set(true),
        tls_only: Answer::Set(true),
        lifecycle: Answer::Set(vec![wish.lifecycle.clone()]),
        lock: wish.lock.map_or(Answer::Unset, |default| Answer::Set(Lock { default: Some(default) })),
    }
}

fn changes(state: Option<&BucketState>, wish: &Wish) -> Vec<BucketStep> {
    let aspects = plan(state, wish).expect("a plan");
    aspects
        .into_iter()
        .filter_map(|aspect| match aspect.verdict {
            Verdict::Change(step) => Some(step),
            _ => None,
        })
        .collect()
}

#[test]
fn what_aws_would_refuse_is_refused_with_the_way_out() {
    for (case, hint) in [
        (moving(&[(7, "STANDARD_IA")], None), "--storage-class STANDARD_IA"),
        (moving(&[(29, "ONEZONE_IA")], None), "--storage-class ONEZONE_IA"),
        (moving(&[(90, "DEEP_ARCHIVE")], None), "--storage-class DEEP_ARCHIVE"),
        (moving(&[(30, "STANDARD_IA"), (59, "GLACIER_IR")], None), "enough days"),
        (moving(&[(60, "GLACIER_IR"), (30, "STANDARD_IA")], None), "order"),
        (moving(&[(30, "STANDARD_IA")], Some(30)), "later"),
        (moving(&[(30, "CHEAP")], None), "GLACIER_IR"),
        (moving(&[], Some(0)), "1 day"),
        (
            Wish { versioning: false, lock: Some(LockDefault { compliance: false, days: 7 }), ..wish() },
            "--no-versioning",
        ),
        (Wish { lock: Some(LockDefault { compliance: true, days: 0 }), ..wish() }, "1 day"),
    ] {
        let error = validate(&case).expect_err(hint);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(
            error.hint_text().is_some_and(|text| text.contains(hint)),
            "{hint:?}: {error:?} {:?}",
            error.hint_text()
        );
    }
    validate(&moving(&[(0, "INTELLIGENT_TIERING")], None)).expect("at once");
    validate(&moving(&[(30, "STANDARD_IA"), (60, "GLACIER_IR")], Some(61))).expect("in order");
}

#[test]
fn a_bucket_that_is_not_there_is_made_and_set_up_in_an_order_that_works() {
    let wish = Wish { lock: Some(LockDefault { compliance: false, days: 14 }), ..wish() };
    let steps = changes(None, &wish);
    assert_eq!(steps[0], BucketStep::Create { lock: true });
    let at = |wanted: &BucketStep| steps.iter().position(|step| step == wanted).expect("a step");
    assert!(at(&BucketStep::KeepVersions) < at(&BucketStep::Lock(wish.lock.expect("a lock"))));
    assert_eq!(steps.len(), 7);
}

#[test]
fn a_bucket_that_is_as_it_should_be_is_left_alone() {
    for wish in [wish(), Wish { lock: Some(LockDefault { compliance: true, days: 14 }), ..wish() }] {
        assert_eq!(changes(Some(&fulfilled(&wish)), &wish), []);
    }
}

#[test]
fn only_what_differs_is_changed_and_what_is_not_offered_is_told_apart_from_what_is_refused() {
    let mut state = fulfilled(&wish());
    state.versioning = Answer::Set(false);
    state.encryption = Answer::Unsupported;
    state.tls_only = Answer::Denied;
    state.lifecycle = Answer::Set(vec![LifecycleRule { abort_days: Some(3), ..wish().lifecycle }]);
    let expected = [BucketStep::KeepVersions, BucketStep::DenyWithoutTls, BucketStep::Lifecycle(wish().lifecycle)];
    assert_eq!(changes(Some(&state), &wish()), expected);
    let aspects = plan(Some(&state), &wish()).expect("a plan");
    let of = |name: &str| aspects.iter().find(|aspect| aspect.name == name).expect("an aspect").clone();
    assert_eq!(of("encryption").verdict, Verdict::NotOffered);
    assert!(of("encryption").is.contains("not offered") && of("TLS-only policy").is.contains("may not ask"));
}

#[test]
fn a_bucket_in_another_region_is_no_plan() {
    let elsewhere = Wish { region: Some("us-west-2".to_owned()), ..wish() };
    let error = plan(Some(&fulfilled(&wish())), &elsewhere).expect_err("elsewhere");
    assert!(error.to_string().contains("eu-central-1"));
}

#[test]
fn risks_are_named() {
    assert_eq!(risks(&fulfilled(&wish()), "db/", &wish()), Vec::<String>::new());
    let foreign = |prefix: &str| LifecycleRule {
        id: "theirs".to_owned(),
        prefix: prefix.to_owned(),
        enabled: true,
        expire_days: Some(90),
        transitions: vec![(30, "GLACIER".to_owned())],
        ..LifecycleRule::default()
    };
    let mut state = fulfilled(&wish());
    state.lifecycle = Answer::Set(vec![wish().lifecycle, foreign("db/shop"), foreign("logs/")]);
    let found = risks(&state, "db/", &wish());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("expires") && found[1].contains("GLACIER"));
    state.versioning = Answer::Set(false);
    state.lifecycle = Answer::Unset;
    let found = risks(&state, "db/", &wish());
    assert!(found.len() == 2 && found[0].contains("no versions") && found[1].contains("never completed"), "{found:?}");
}
