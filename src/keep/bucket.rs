//! How a bucket for backups should be set up, what stands between that and how it is, and what is risky about it.
//!
//! Always true here: what AWS would refuse, and what would make backups unreadable, is refused before anything is
//! changed, with the reason. Nothing is ever switched off or loosened.

use crate::error::{Error, Kind, Result};
use crate::store::{Answer, BucketState, BucketStep, Encryption, LifecycleRule, LockDefault};
use std::fmt::Display;

/// Days that an object must have lain in S3 before a rule may move it to an infrequent access class, and in such a class
/// before a rule may move it on (Amazon S3 user guide, "Transitioning objects using Amazon S3 Lifecycle").
const INFREQUENT_DAYS: u32 = 30;

/// How a bucket should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where; `None` where the user does not mind.
    pub region: Option<String>,
    /// Whether it keeps versions.
    pub versioning: bool,
    /// How it encrypts.
    pub encryption: Encryption,
    /// Whether its policy denies requests without TLS.
    pub tls_only: bool,
    /// How new versions are locked.
    pub lock: Option<LockDefault>,
    /// What happens to what lies below the store's prefix as it ages; its id and prefix included.
    pub lifecycle: LifecycleRule,
}

/// One aspect of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aspect {
    /// Its name, such as `versioning`.
    pub name: &'static str,
    /// How it is, in words.
    pub is: String,
    /// How it should be, in words.
    pub wanted: String,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from how an aspect is and should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// This would make it so.
    Change(BucketStep),
    /// The store does not have it.
    NotOffered,
}

/// Refuses a wish that AWS would refuse, or that would make backups unreadable.
pub fn validate(wish: &Wish) -> Result<()> {
    let rule = &wish.lifecycle;
    check_transitions(&rule.transitions)?;
    if let (Some(expire), Some((days, class))) = (rule.expire_days, rule.transitions.last())
        && expire <= *days
    {
        return refuse(
            format!("objects would expire after {expire} days, before they move to {class} after {days}"),
            "let them expire later, or leave out the transition",
        );
    }
    if [rule.expire_days, rule.hidden_days, rule.abort_days].contains(&Some(0)) {
        return refuse("a lifecycle rule counts days from 1".to_owned(), "give 1 day or more");
    }
    if wish.lock.is_some() && !wish.versioning {
        return refuse(
            "Object Lock locks versions, so the bucket has to keep them".to_owned(),
            "leave out --no-versioning",
        );
    }
    if wish.lock.is_some_and(|lock| lock.days == 0) {
        return refuse("a lock of no days is none".to_owned(), "give 1 day or more");
    }
    Ok(())
}

fn refuse(message: String, hint: &str) -> Result<()> {
    Err(Error::new(Kind::Usage, message).hint(hint))
}

/// Refuses moves from class to class that AWS would refuse, or that would freeze manifests.
pub fn check_transitions(transitions: &[(u32, String)]) -> Result<()> {
    let mut before: Option<(u32, &str)> = None;
    for (days, class) in transitions {
        match class.as_str() {
            "STANDARD_IA" | "ONEZONE_IA" if *days < INFREQUENT_DAYS => {
                return refuse(
                    format!("AWS moves objects to {class} only when they are {INFREQUENT_DAYS} days old, not {days}"),
                    &format!("upload them as {class} instead: `pgstow dump --storage-class {class}`"),
                );
            }
            "GLACIER" | "DEEP_ARCHIVE" => {
                return refuse(
                    format!(
                        "a lifecycle rule to {class} would freeze manifests too, and then no backup could be listed"
                    ),
                    &format!(
                        "upload the data as {class} instead, manifests stay readable: `pgstow dump --storage-class {class}`"
                    ),
                );
            }
            "STANDARD_IA" | "ONEZONE_IA" | "INTELLIGENT_TIERING" | "GLACIER_IR" => {}
            _ => {
                return refuse(
                    format!("no lifecycle rule moves objects to {class}"),
                    "classes are STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING and GLACIER_IR",
                );
            }
        }
        if let Some((earlier, earlier_class)) = before {
            let stay = if earlier_class.ends_with("_IA") { INFREQUENT_DAYS } else { 1 };
            if *days < earlier.saturating_add(stay) {
                return refuse(
                    format!("objects must lie in {earlier_class} for {stay} days before they move on to {class}"),
                    "give transitions in their order, with enough days between them",
                );
            }
        }
        before = Some((*days, class));
    }
    Ok(())
}

/// What stands between a bucket and the wish, in the order in which it has to be changed.
///
/// Errors: [`Kind::Usage`] for a bucket that lies elsewhere, for buckets do not move.
pub fn plan(state: Option<&BucketState>, wish: &Wish) -> Result<Vec<Aspect>> {
    let mut aspects = Vec::new();
    let locked = wish.lock.is_some();
    aspects.push(match state {
        None => Aspect {
            name: "bucket",
            is: "does not exist".to_owned(),
            wanted: wish.region.as_ref().map_or("exists".to_owned(), |region| format!("in {region}")),
            verdict: Verdict::Change(BucketStep::Create { lock: locked }),
        },
        Some(state) => existing(state, wish)?,
    });
    let on = || "on".to_owned();
    let switch = |answer: &Answer<bool>| in_words(answer, |on| (if *on { "on" } else { "off" }).to_owned());
    let unset = state.is_none();
    let is_on = |answer: Option<&Answer<bool>>| answer.and_then(Answer::set) == Some(&true);
    let mut aspect = |name, is: Option<(String, bool)>, wanted: String, good: bool, step: BucketStep| {
        let (is, offered) = is.unwrap_or(("not set".to_owned(), true));
        let verdict = match (good, offered || unset) {
            (true, _) => Verdict::Good,
            (false, true) => Verdict::Change(step),
            (false, false) => Verdict::NotOffered,
        };
        aspects.push(Aspect { name, is, wanted, verdict });
    };
    let blocked = state.map(|state| &state.public_access_blocked);
    aspect("public access block", blocked.map(switch), on(), is_on(blocked), BucketStep::BlockPublicAccess);
    let encryption = state.map(|state| &state.encryption);
    aspect(
        "encryption",
        encryption.map(|answer| in_words(answer, ToString::to_string)),
        wish.encryption.to_string(),
        encryption.and_then(Answer::set) == Some(&wish.encryption),
        BucketStep::Encrypt(wish.encryption.clone()),
    );
    if wish.versioning {
        let versioning = state.map(|state| &state.versioning);
        aspect("versioning", versioning.map(switch), on(), is_on(versioning), BucketStep::KeepVersions);
    }
    if let Some(default) = wish.lock {
        let lock = state.map(|state| &state.lock);
        let words =
            |lock: &crate::store::Lock| lock.default.map_or("on, without a default".to_owned(), |d| d.to_string());
        let good = lock.and_then(Answer::set).is_some_and(|lock| lock.default == Some(default));
        let is = lock.map(|answer| in_words(answer, words));
        aspect("object lock", is, default.to_string(), good, BucketStep::Lock(default));
    }
    if wish.tls_only {
        let tls = state.map(|state| &state.tls_only);
        aspect("TLS-only policy", tls.map(switch), on(), is_on(tls), BucketStep::DenyWithoutTls);
    }
    let rules = state.map(|state| &state.lifecycle);
    let ours = |rules: &Vec<LifecycleRule>| {
        rules.iter().find(|rule| rule.id == wish.lifecycle.id).map_or("not set".to_owned(), ToString::to_string)
    };
    aspect(
        "lifecycle",
        rules.map(|answer| in_words(answer, ours)),
        wish.lifecycle.to_string(),
        rules.and_then(Answer::set).is_some_and(|rules| {
            // Where there are no versions none are hidden, and such stores take no rule for them.
            let versionless =
                !is_on(state.map(|state| &state.versioning)) && rules.contains(&wish.lifecycle.versionless());
            versionless || rules.contains(&wish.lifecycle)
        }),
        BucketStep::Lifecycle(wish.lifecycle.clone()),
    );
    Ok(aspects)
}

fn existing(state: &BucketState, wish: &Wish) -> Result<Aspect> {
    let (is, _) = in_words(&state.region, |region| format!("in {region}"));
    if let (Some(wanted), Some(region)) = (&wish.region, state.region.set())
        && wanted != region
    {
        return Err(Error::new(
            Kind::Usage,
            format!("the bucket lies in {region}, and buckets do not move to {wanted}"),
        )
        .hint("use its region, or choose another name for a new bucket"));
    }
    Ok(Aspect { name: "bucket", is, wanted: "exists".to_owned(), verdict: Verdict::Good })
}

/// An answer in words, and whether the store offers what was asked for.
fn in_words<T>(answer: &Answer<T>, words: impl Fn(&T) -> String) -> (String, bool) {
    match answer {
        Answer::Set(value) => (words(value), true),
        Answer::Unset => ("not set".to_owned(), true),
        Answer::Unsupported => ("not offered by this store".to_owned(), false),
        Answer::Denied => ("these credentials may not ask".to_owned(), true),
    }
}

/// What is risky about a bucket, for backups below this prefix, whatever was wished; only a key of KMS that was wished for is
/// no risk.
pub fn risks(state: &BucketState, prefix: &str, wish: &Wish) -> Vec<String> {
    let mut risks = Vec::new();
    let mut risk = |words: &dyn Display| risks.push(words.to_string());
    let keeps_versions = state.versioning.set() == Some(&true);
    if !keeps_versions && state.versioning != Answer::Denied {
        risk(
            &"the bucket keeps no versions: whoever may delete or overwrite objects can destroy every backup for good",
        );
    }
    let rules: Vec<&LifecycleRule> = state.lifecycle.set().into_iter().flatten().collect();
    for rule in rules.iter().filter(|rule| rule.touches(prefix)) {
        if let Some(days) = rule.expire_days {
            risk(&format!(
                "the lifecycle rule {:?} expires objects after {days} days, the newest backup too when no newer one is \
                 made; `pgstow prune` would keep it",
                rule.id
            ));
        }
        for (_, class) in
            rule.transitions.iter().filter(|(_, class)| matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE"))
        {
            risk(&format!(
                "the lifecycle rule {:?} moves objects to {class}, manifests too: such backups can neither be listed nor \
                 restored until they are thawed",
                rule.id
            ));
        }
    }
    let covered = |days: fn(&LifecycleRule) -> Option<u32>| rules.iter().any(|r| r.covers(prefix) && days(r).is_some());
    if matches!(state.lifecycle, Answer::Set(_) | Answer::Unset) {
        if !covered(|rule| rule.abort_days) {
            risk(
                &"no lifecycle rule aborts uploads that were never completed: their parts cost and no listing shows them",
            );
        }
        if keeps_versions && !covered(|rule| rule.hidden_days) {
            risk(&"no lifecycle rule removes hidden versions: what prune deletes goes on costing");
        }
    }
    if matches!(state.encryption.set(), Some(Encryption::Kms(_))) && !matches!(wish.encryption, Encryption::Kms(_)) {
        risk(&"backups are encrypted by a key of KMS: without the right to use that key nobody can restore");
    }
    risks
}

#[cfg(test)]
mod tests;
