//! The least an IAM user or role has to be allowed for each kind of work with a store.
//!
//! Facts: Amazon S3 user guide, "Actions, resources, and condition keys for Amazon S3". A question for an object that is
//! not there is answered with 404 instead of 403 only to those who may list the bucket.

use crate::store::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The action behind every listing.
const LIST: &str = "s3:ListBucket";

/// Who a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes backups, and can neither read nor delete any.
    Writer,
    /// Removes what no rule keeps, and reads nothing but manifests; can check too.
    Pruner,
    /// Restores, verifies, checks and thaws, and changes nothing.
    Restorer,
}

/// The policy as JSON.
pub fn policy(role: Role, bucket: &str, prefix: &str, kms_key: Option<&str>) -> Value {
    let arn = format!("arn:aws:s3:::{bucket}");
    let all = format!("{arn}/{prefix}*");
    let manifests = format!("{arn}/{prefix}*/manifest.json");
    let below =
        if prefix.is_empty() { json!({}) } else { json!({"StringLike": {"s3:prefix": [format!("{prefix}*")]}}) };
    let allow = |sid: &str, actions: &[&str], resource: &str| json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource});
    let mut list = allow("FindBackups", &["s3:ListBucket"], &arn);
    if !prefix.is_empty() {
        list["Condition"] = below;
    }
    let mut statements = vec![list];
    match role {
        Role::Writer => {
            statements.push(allow("WriteBackups", &["s3:PutObject", "s3:AbortMultipartUpload"], &all));
            // A manifest is written only where there is none, which asks for it first.
            statements.push(allow("AskForManifests", &["s3:GetObject"], &manifests));
            statements.push(allow("FindUnfinishedUploads", &["s3:ListBucketMultipartUploads"], &arn));
        }
        Role::Pruner => {
            statements.push(allow("ReadManifests", &["s3:GetObject"], &manifests));
            statements.push(allow("RemoveBackups", &["s3:DeleteObject", "s3:AbortMultipartUpload"], &all));
            let ask = [
                "s3:ListBucketMultipartUploads",
                "s3:GetBucketVersioning",
                "s3:GetLifecycleConfiguration",
                "s3:GetBucketObjectLockConfiguration",
            ];
            statements.push(allow("AskWhatDeletingMeans", &ask, &arn));
        }
        Role::Restorer => {
            statements.push(allow("ReadBackups", &["s3:GetObject", "s3:RestoreObject"], &all));
            // Checks and reports look for them.
            statements.push(allow("FindUnfinishedUploads", &["s3:ListBucketMultipartUploads"], &arn));
        }
    }
    if let Some(key) = kms_key {
        // Parts of an upload are read back by S3 itself, which is why a writer has to decrypt.
        let actions: &[&str] =
            if role == Role::Writer { &["kms:GenerateDataKey", "kms:Decrypt"] } else { &["kms:Decrypt"] };
        statements.push(allow("UseTheKey", actions, key));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// The policy that allows what was asked of a bucket, and nothing else; `None` where nothing was.
pub fn used(requests: &BTreeSet<Request>, bucket: &str, kms_key: Option<&str>) -> Option<Value> {
    let arn = format!("arn:aws:s3:::{bucket}");
    let (mut on, mut listed): (BTreeMap<&str, BTreeSet<String>>, BTreeSet<&str>) = Default::default();
    for request in requests.iter().filter(|request| request.bucket == bucket) {
        if request.action == LIST {
            listed.insert(&request.keys);
        } else {
            let resource = if request.keys.is_empty() { arn.clone() } else { format!("{arn}/{}", request.keys) };
            on.entry(&request.action).or_default().insert(resource);
        }
    }
    // What is allowed for the same things stands in one statement.
    let mut together: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
    for (action, resources) in &on {
        let resources: BTreeSet<&str> = resources.iter().map(String::as_str).collect();
        together.entry(widest(&resources)).or_default().push(action);
    }
    let mut statements = Vec::new();
    if !listed.is_empty() {
        let mut list = json!({"Effect": "Allow", "Action": [LIST], "Resource": arn});
        // A question for the bucket itself, or a listing of all of it, has no prefix.
        if !listed.contains("") {
            list["Condition"] = json!({"StringLike": {"s3:prefix": widest(&listed)}});
        }
        statements.push(list);
    }
    let allow = |(resources, actions)| json!({"Effect": "Allow", "Action": actions, "Resource": resources});
    statements.extend(together.into_iter().map(allow));
    if statements.is_empty() {
        return None;
    }
    if let Some(key) = kms_key {
        let writes = on.contains_key("s3:PutObject");
        // Parts of an upload are read back by S3 itself, which is why a writer has to decrypt.
        let actions: &[&str] = if writes { &["kms:GenerateDataKey", "kms:Decrypt"] } else { &["kms:Decrypt"] };
        statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": key}));
    }
    Some(json!({"Version": "2012-10-17", "Statement": statements}))
}

/// The patterns that no other one covers.
fn widest(patterns: &BTreeSet<&str>) -> BTreeSet<String> {
    let is_covered = |narrow: &&&str| {
        let covers = |wide: &&str| wide != *narrow && wide.strip_suffix('*').is_some_and(|s| narrow.starts_with(s));
        patterns.iter().any(covers)
    };
    patterns.iter().filter(|pattern| !is_covered(pattern)).map(|pattern| (*pattern).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Request, Role, policy, used};
    use serde_json::json;
    use std::collections::BTreeSet;

    fn actions(role: Role) -> Vec<String> {
        let policy = policy(role, "b", "db/", Some("arn:aws:kms:x:1:key/k"));
        let statements = policy["Statement"].as_array().expect("statements").clone();
        let of = |statement: &serde_json::Value| statement["Action"].as_array().expect("actions").clone();
        statements.iter().flat_map(of).map(|action| action.as_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn a_writer_cannot_delete_and_nobody_but_a_pruner_can() {
        let may = |role, action: &str| actions(role).iter().any(|allowed| allowed == action);
        assert!(!may(Role::Writer, "s3:DeleteObject") && !may(Role::Restorer, "s3:DeleteObject"));
        assert!(may(Role::Pruner, "s3:DeleteObject") && !may(Role::Pruner, "s3:PutObject"));
        assert!(!may(Role::Restorer, "s3:PutObject") && may(Role::Restorer, "s3:RestoreObject"));
        assert!(may(Role::Writer, "kms:GenerateDataKey") && !may(Role::Restorer, "kms:GenerateDataKey"));
        let all = [Role::Writer, Role::Pruner, Role::Restorer].map(actions).concat();
        assert!(all.iter().all(|action| !action.contains('*')), "{all:?}");
    }

    #[test]
    fn a_policy_reaches_no_further_than_the_prefix() {
        let text = policy(Role::Writer, "b", "db/", None).to_string();
        assert!(text.contains("arn:aws:s3:::b/db/*\"") && !text.contains("arn:aws:s3:::b/*"), "{text}");
        let whole = policy(Role::Restorer, "b", "", None);
        assert_eq!(whole["Statement"][0].get("Condition"), None);
    }

    #[test]
    fn what_was_used_is_allowed_in_the_fewest_words_and_nothing_else() {
        let lines = [
            "s3:ListBucket b db/",
            "s3:ListBucket b db/shop/*",
            "s3:ListBucket b db/shop/*/manifest.json",
            "s3:PutObject b db/shop/*",
            "s3:PutObject b db/shop/*/manifest.json",
            "s3:AbortMultipartUpload b db/shop/*",
            "s3:GetObject b db/shop/*/manifest.json",
            "s3:GetBucketVersioning b ",
            "s3:DeleteObject other db/shop/*",
        ];
        let requests: BTreeSet<Request> = lines.iter().map(|line| line.parse().expect("a request")).collect();
        let policy = used(&requests, "b", None).expect("a policy");
        assert_eq!(
            policy["Statement"],
            json!([
                { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::b",
                  "Condition": {"StringLike": {"s3:prefix": ["db/", "db/shop/*"]}} },
                { "Effect": "Allow", "Action": ["s3:GetBucketVersioning"], "Resource": ["arn:aws:s3:::b"] },
                { "Effect": "Allow", "Action": ["s3:AbortMultipartUpload", "s3:PutObject"],
                  "Resource": ["arn:aws:s3:::b/db/shop/*"] },
                { "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/db/shop/*/manifest.json"] },
            ])
        );
        assert_eq!(used(&requests, "unknown", None), None);
        let other = used(&requests, "other", Some("arn:aws:kms:x:1:key/k")).expect("a policy");
        assert_eq!(other["Statement"][1]["Action"], json!(["kms:Decrypt"]));
    }
}
