//! The least an IAM user or role has to be allowed for each kind of work with a store.
//!
//! Facts: Amazon S3 user guide, "Actions, resources, and condition keys for Amazon S3". A question for an object that is
//! not there is answered with 404 instead of 403 only to those who may list the bucket.

use serde_json::{Value, json};

/// Who a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes backups, and can neither read nor delete any.
    Writer,
    /// Removes what no rule keeps, and reads nothing but manifests; can check too.
    Pruner,
    /// Restores, verifies and thaws, and changes nothing.
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

#[cfg(test)]
mod tests {
    use super::{Role, policy};

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
}
