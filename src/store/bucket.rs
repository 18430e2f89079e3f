//! What a bucket is and does beside holding objects, as far as backups care.

use std::fmt;

/// What a store says of one of its features. A store that lacks a feature is something else than one that refuses to
/// talk about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is set, to this.
    Set(T),
    /// The store has the feature, and it is not set.
    Unset,
    /// The store does not have it.
    Unsupported,
    /// These credentials may not ask.
    Denied,
}

impl<T> Answer<T> {
    /// What is set, if anything is.
    pub fn set(&self) -> Option<&T> {
        match self {
            Answer::Set(value) => Some(value),
            _ => None,
        }
    }

    /// The answer with something else in it; what becomes `None` is not set.
    #[must_use]
    pub fn and_then<U>(self, change: impl FnOnce(T) -> Option<U>) -> Answer<U> {
        match self {
            Answer::Set(value) => change(value).map_or(Answer::Unset, Answer::Set),
            Answer::Unset => Answer::Unset,
            Answer::Unsupported => Answer::Unsupported,
            Answer::Denied => Answer::Denied,
        }
    }
}

/// What deleting an object does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The object is gone, and with it what it costs.
    Final,
    /// The bucket keeps versions: the object is hidden, its bytes stay and cost.
    Hides {
        /// How many days a lifecycle rule keeps hidden versions; `None`: forever.
        kept_days: Option<u32>,
        /// Object Lock is on: a version under retention outlives every rule, and some stores refuse to hide it.
        locked: bool,
    },
    /// The store does not tell these credentials.
    Untold,
}

/// How a bucket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketState {
    /// Where it is.
    pub region: Answer<String>,
    /// Whether it keeps versions.
    pub versioning: Answer<bool>,
    /// How objects are encrypted that do not say it themselves.
    pub encryption: Answer<Encryption>,
    /// Whether all four switches against public access are on.
    pub public_access_blocked: Answer<bool>,
    /// Whether its policy denies requests without TLS.
    pub tls_only: Answer<bool>,
    /// What happens to objects as they age.
    pub lifecycle: Answer<Vec<LifecycleRule>>,
    /// Whether versions can be locked, and are by default.
    pub lock: Answer<Lock>,
}

/// Encryption at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// By keys that S3 manages (SSE-S3, `AES256`).
    S3,
    /// By a key of the key management service; `None` is the account's own for S3.
    Kms(Option<String>),
    /// Something else, by S3's name.
    Other(String),
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encryption::S3 => f.write_str("SSE-S3"),
            Encryption::Kms(Some(key)) => write!(f, "SSE-KMS with {key}"),
            Encryption::Kms(None) => f.write_str("SSE-KMS with the account's key"),
            Encryption::Other(name) => f.write_str(name),
        }
    }
}

/// Object Lock of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// What a new version is locked by.
    pub default: Option<LockDefault>,
}

/// How long, and against whom, a new version is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockDefault {
    /// `true`: nobody at all can shorten it (COMPLIANCE). `false`: those with a special right can (GOVERNANCE).
    pub compliance: bool,
    /// Days.
    pub days: u32,
}

impl fmt::Display for LockDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} days", if self.compliance { "COMPLIANCE" } else { "GOVERNANCE" }, self.days)
    }
}

/// A lifecycle rule, as far as it is understood here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// The start of the keys it is for; empty: all.
    pub prefix: String,
    /// Whether it is on.
    pub enabled: bool,
    /// It is for some of these objects only, by tags or sizes, or says more than is understood here.
    pub narrowed: bool,
    /// After how many days which class.
    pub transitions: Vec<(u32, String)>,
    /// After how many days objects expire.
    pub expire_days: Option<u32>,
    /// After how many days hidden versions go.
    pub hidden_days: Option<u32>,
    /// After how many days uploads that were not completed are aborted.
    pub abort_days: Option<u32>,
}

impl LifecycleRule {
    /// Whether it acts on everything below a prefix.
    pub fn covers(&self, prefix: &str) -> bool {
        self.enabled && !self.narrowed && prefix.starts_with(&self.prefix)
    }

    /// The same without what needs versions.
    #[must_use]
    pub fn versionless(&self) -> LifecycleRule {
        LifecycleRule { hidden_days: None, ..self.clone() }
    }

    /// The rule as it acts below a prefix, its own prefix relative to that; `None` where it does not.
    #[must_use]
    pub fn below(self, prefix: &str) -> Option<LifecycleRule> {
        let relative = match self.prefix.strip_prefix(prefix) {
            Some(rest) => rest.to_owned(),
            None if prefix.starts_with(&self.prefix) => String::new(),
            None => return None,
        };
        self.enabled.then_some(LifecycleRule { prefix: relative, ..self })
    }

    /// Whether it acts on anything below a prefix.
    pub fn touches(&self, prefix: &str) -> bool {
        self.enabled && (prefix.starts_with(&self.prefix) || self.prefix.starts_with(prefix))
    }
}

impl fmt::Display for LifecycleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> =
            self.transitions.iter().map(|(days, class)| format!("{class} after {days} days")).collect();
        words.extend(self.expire_days.map(|days| format!("expire after {days} days")));
        words.extend(self.hidden_days.map(|days| format!("hidden versions go after {days} days")));
        words.extend(self.abort_days.map(|days| format!("uploads are aborted after {days} days")));
        f.write_str(&words.join(", "))
    }
}

/// One change of a bucket. Each may be made again, and is then none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketStep {
    /// Make it, in the region the store is reached in.
    Create {
        /// With Object Lock, which AWS needs to know from the beginning on older accounts.
        lock: bool,
    },
    /// Switch on all four switches against public access.
    BlockPublicAccess,
    /// Encrypt what does not say how it is encrypted.
    Encrypt(Encryption),
    /// Keep versions.
    KeepVersions,
    /// Lock new versions.
    Lock(LockDefault),
    /// Add the statement that denies requests without TLS to the policy; its other statements stay.
    DenyWithoutTls,
    /// Put this rule in the place of the one with its id; all other rules stay.
    Lifecycle(LifecycleRule),
}

#[cfg(test)]
mod tests {
    use super::LifecycleRule;

    #[test]
    fn a_rule_is_seen_from_below_a_prefix() {
        let rule = |prefix: &str| LifecycleRule { prefix: prefix.into(), enabled: true, ..LifecycleRule::default() };
        let seen = |prefix: &str| rule(prefix).below("db/").map(|rule| rule.prefix);
        assert_eq!(
            ["", "d", "db/", "db/shop/"].map(&seen),
            [Some(String::new()), Some(String::new()), Some(String::new()), Some("shop/".to_owned())]
        );
        assert_eq!(["other/", "db2/"].map(&seen), [None, None]);
        assert_eq!(LifecycleRule { enabled: false, ..rule("") }.below("db/"), None);
    }
}
