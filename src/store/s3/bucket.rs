//! The bucket itself: what an S3 store says of it, and changing it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types as sdk;
use serde_json::{Value, json};

use crate::error::{Error, Result};

use super::super::bucket::{Answer, BucketState, BucketStep, Deletion, Encryption, LifecycleRule, Lock, LockDefault};
use super::super::failure::{StoreProblem, problem, store_error, store_error_with};
use super::S3Store;
use super::failure::describe_failure;

mod rules;

type Sent<T, E> = std::result::Result<T, SdkError<E, HttpResponse>>;

/// The name of the statement that denies requests without TLS, and the one by which it is found again.
const TLS_STATEMENT: &str = "PgstowTlsOnly";

/// What deleting does in the bucket, below the store's prefix.
pub(super) async fn deletion(store: &S3Store) -> Result<Deletion> {
    match versioning(store).await? {
        Answer::Denied => return Ok(Deletion::Untold),
        Answer::Set(true) => {}
        Answer::Set(false) | Answer::Unset | Answer::Unsupported => return Ok(Deletion::Final),
    }
    let rules = lifecycle(store).await?;
    let covering = rules.set().into_iter().flatten().filter(|rule| rule.covers(&store.place.prefix));
    let kept_days = covering.filter_map(|rule| rule.hidden_days).min();
    Ok(Deletion::Hides { kept_days, locked: lock(store).await?.set().is_some() })
}

impl S3Store {
    /// The key that everything of this store begins with: empty, or ending in a slash.
    pub fn prefix(&self) -> &str {
        &self.place.prefix
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.place.bucket
    }

    /// Whether requests go over TLS.
    pub fn uses_tls(&self) -> bool {
        self.place.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https://"))
    }

    /// How the bucket is set up; `None` when there is none.
    ///
    /// Errors: [`StoreProblem::Denied`] where even its existence is not told.
    pub async fn look_at_bucket(&self) -> Result<Option<BucketState>> {
        let place = &self.place;
        if let Err(error) = place.client().head_bucket().bucket(&place.bucket).send().await {
            let error = describe_failure(&error, "cannot look at the bucket", &self.bucket_name());
            return match problem(&error) {
                Some(StoreProblem::NotFound | StoreProblem::NoBucket) => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(BucketState {
            region: region(self).await?,
            versioning: versioning(self).await?,
            encryption: encryption(self).await?,
            public_access_blocked: public_access_blocked(self).await?,
            tls_only: policy(self).await?.and_then(|policy| Some(denies_without_tls(&policy))),
            lifecycle: lifecycle(self).await?,
            lock: lock(self).await?,
        }))
    }

    /// Makes one change.
    ///
    /// Errors: [`StoreProblem::Unsupported`] where the store lacks the feature, [`StoreProblem::Denied`] where it refuses.
    pub async fn change_bucket(&self, step: &BucketStep) -> Result<()> {
        match step {
            BucketStep::Create { lock } => self.create(*lock).await,
            BucketStep::BlockPublicAccess => self.block_public_access().await,
            BucketStep::Encrypt(encryption) => self.encrypt(encryption).await,
            BucketStep::KeepVersions => self.keep_versions().await,
            BucketStep::Lock(default) => self.lock(*default).await,
            BucketStep::DenyWithoutTls => self.deny_without_tls().await,
            BucketStep::Lifecycle(rule) => rules::replace(self, rule).await,
        }
    }

    fn bucket_name(&self) -> String {
        format!("s3://{}", self.place.bucket)
    }

    /// Turns a failed change into an error that says what could not be done.
    fn changed<T, E>(&self, doing: &str, sent: Sent<T, E>) -> Result<()>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        sent.map(drop).map_err(|error| describe_failure(&error, doing, &self.bucket_name()))
    }

    async fn create(&self, lock: bool) -> Result<()> {
        let place = &self.place;
        let region = place.client().config().region().map(ToString::to_string).unwrap_or_default();
        // us-east-1 is the one region that may not be named (Amazon S3 API reference, CreateBucket).
        let constraint = (!region.is_empty() && region != "us-east-1").then(|| {
            let constraint = sdk::BucketLocationConstraint::from(region.as_str());
            sdk::CreateBucketConfiguration::builder().location_constraint(constraint).build()
        });
        let request = place.client().create_bucket().bucket(&place.bucket).set_create_bucket_configuration(constraint);
        let sent = request.set_object_lock_enabled_for_bucket(lock.then_some(true)).send().await;
        if let Err(error) = &sent
            && super::failure::code(error) == Some("BucketAlreadyOwnedByYou")
        {
            return Ok(());
        }
        self.changed("cannot create the bucket", sent)
    }

    async fn block_public_access(&self) -> Result<()> {
        let all = sdk::PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let request = self.place.client().put_public_access_block().bucket(&self.place.bucket);
        let sent = request.public_access_block_configuration(all).send().await;
        self.changed("cannot block public access to", sent)
    }

    async fn encrypt(&self, encryption: &Encryption) -> Result<()> {
        let builder = sdk::ServerSideEncryptionByDefault::builder();
        let (builder, is_kms) = match encryption {
            Encryption::S3 => (builder.sse_algorithm(sdk::ServerSideEncryption::Aes256), false),
            Encryption::Kms(key) => {
                (builder.sse_algorithm(sdk::ServerSideEncryption::AwsKms).set_kms_master_key_id(key.clone()), true)
            }
            Encryption::Other(name) => (builder.sse_algorithm(name.as_str().into()), false),
        };
        let default = builder.build().map_err(|error| unsendable(&error))?;
        let rule = sdk::ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default)
            // One request to the key management service for many objects instead of one for each.
            .set_bucket_key_enabled(is_kms.then_some(true))
            .build();
        let configuration = sdk::ServerSideEncryptionConfiguration::builder()
            .rules(rule)
            .build()
            .map_err(|error| unsendable(&error))?;
        let request = self.place.client().put_bucket_encryption().bucket(&self.place.bucket);
        let sent = request.server_side_encryption_configuration(configuration).send().await;
        self.changed("cannot set the encryption of", sent)
    }

    async fn keep_versions(&self) -> Result<()> {
        let enabled = sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Enabled).build();
        let request = self.place.client().put_bucket_versioning().bucket(&self.place.bucket);
        self.changed("cannot switch on versioning of", request.versioning_configuration(enabled).send().await)
    }

    async fn lock(&self, default: LockDefault) -> Result<()> {
        let mode = if default.compliance {
            sdk::ObjectLockRetentionMode::Compliance
        } else {
            sdk::ObjectLockRetentionMode::Governance
        };
        let days = i32::try_from(default.days).unwrap_or(i32::MAX);
        let retention = sdk::DefaultRetention::builder().mode(mode).days(days).build();
        let configuration = sdk::ObjectLockConfiguration::builder()
            .object_lock_enabled(sdk::ObjectLockEnabled::Enabled)
            .rule(sdk::ObjectLockRule::builder().default_retention(retention).build())
            .build();
        let request = self.place.client().put_object_lock_configuration().bucket(&self.place.bucket);
        self.changed("cannot set the Object Lock of", request.object_lock_configuration(configuration).send().await)
    }

    async fn deny_without_tls(&self) -> Result<()> {
        let mut policy = match policy(self).await? {
            Answer::Set(policy) => policy,
            Answer::Unset => json!({"Version": "2012-10-17", "Statement": []}),
            Answer::Unsupported => {
                return Err(
                    store_error(StoreProblem::Unsupported, "the store has no bucket policies").on(self.bucket_name())
                );
            }
            Answer::Denied => {
                return Err(store_error(StoreProblem::Denied, "cannot read the bucket's policy, so cannot add to it")
                    .on(self.bucket_name())
                    .hint("s3:GetBucketPolicy is needed"));
            }
        };
        let arn = format!("arn:aws:s3:::{}", self.place.bucket);
        let statement = json!({
            "Sid": TLS_STATEMENT,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        });
        let mut statements = statements(&policy);
        statements.retain(|old| old["Sid"] != TLS_STATEMENT);
        statements.push(statement);
        policy["Statement"] = Value::Array(statements);
        let request = self.place.client().put_bucket_policy().bucket(&self.place.bucket).policy(policy.to_string());
        self.changed("cannot set the policy of", request.send().await)
    }
}

/// Where the bucket is.
async fn region(store: &S3Store) -> Result<Answer<String>> {
    let place = &store.place;
    let sent = place.client().get_bucket_location().bucket(&place.bucket).send().await;
    let answer = answered(store, "cannot ask for the region of", sent)?;
    // An empty answer is us-east-1 (Amazon S3 API reference, GetBucketLocation).
    let region = |name: Option<&str>| name.filter(|name| !name.is_empty()).unwrap_or("us-east-1").to_owned();
    Ok(answer.and_then(|answer| Some(region(answer.location_constraint().map(sdk::BucketLocationConstraint::as_str)))))
}

/// Whether the bucket keeps versions.
async fn versioning(store: &S3Store) -> Result<Answer<bool>> {
    let place = &store.place;
    let sent = place.client().get_bucket_versioning().bucket(&place.bucket).send().await;
    let answer = answered(store, "cannot ask for the versioning of", sent)?;
    Ok(answer.and_then(|answer| answer.status.map(|status| status == sdk::BucketVersioningStatus::Enabled)))
}

async fn encryption(store: &S3Store) -> Result<Answer<Encryption>> {
    let place = &store.place;
    let sent = place.client().get_bucket_encryption().bucket(&place.bucket).send().await;
    let answer = answered(store, "cannot ask for the encryption of", sent)?;
    Ok(answer.and_then(|answer| {
        let configuration = answer.server_side_encryption_configuration?;
        let default = configuration.rules().first()?.apply_server_side_encryption_by_default()?;
        Some(match default.sse_algorithm() {
            sdk::ServerSideEncryption::Aes256 => Encryption::S3,
            sdk::ServerSideEncryption::AwsKms => Encryption::Kms(default.kms_master_key_id().map(str::to_owned)),
            other => Encryption::Other(other.as_str().to_owned()),
        })
    }))
}

async fn public_access_blocked(store: &S3Store) -> Result<Answer<bool>> {
    let place = &store.place;
    let sent = place.client().get_public_access_block().bucket(&place.bucket).send().await;
    let answer = answered(store, "cannot ask for the public access to", sent)?;
    Ok(answer.and_then(|answer| {
        let block = answer.public_access_block_configuration?;
        let switches = [
            block.block_public_acls(),
            block.ignore_public_acls(),
            block.block_public_policy(),
            block.restrict_public_buckets(),
        ];
        Some(switches.iter().all(|switch| *switch == Some(true)))
    }))
}

async fn policy(store: &S3Store) -> Result<Answer<Value>> {
    let place = &store.place;
    let sent = place.client().get_bucket_policy().bucket(&place.bucket).send().await;
    match answered(store, "cannot ask for the policy of", sent)?.and_then(|answer| answer.policy) {
        Answer::Set(text) => serde_json::from_str(&text).map(Answer::Set).map_err(|error| {
            store_error_with(StoreProblem::Other, "the bucket's policy makes no sense", &error.to_string())
                .on(store.bucket_name())
        }),
        other => Ok(other.and_then(|_| None)),
    }
}

/// A policy's statements; a single one may stand without a list around it.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// Whether some statement denies everybody everything without TLS, whoever wrote it.
fn denies_without_tls(policy: &Value) -> bool {
    statements(policy).iter().any(|statement| {
        let secure = &statement["Condition"]["Bool"]["aws:SecureTransport"];
        let everybody = statement["Principal"] == "*" || statement["Principal"]["AWS"] == "*";
        let says = |field: &str, word: &str| {
            statement[field] == word
                || statement[field].as_array().is_some_and(|list| list.iter().any(|one| one == word))
        };
        statement["Effect"] == "Deny"
            && everybody
            && says("Action", "s3:*")
            && (secure == "false" || secure == &Value::Bool(false) || secure == &json!(["false"]))
    })
}

/// The lifecycle rules of the bucket.
async fn lifecycle(store: &S3Store) -> Result<Answer<Vec<LifecycleRule>>> {
    Ok(rules::raw(store).await?.and_then(|raw| Some(raw.iter().map(rules::understood).collect())))
}

/// The rules that act on the store's objects, their prefixes relative to it.
pub(super) async fn lifecycle_below(store: &S3Store) -> Result<Answer<Vec<LifecycleRule>>> {
    let rules = lifecycle(store).await?;
    Ok(rules.and_then(|rules| Some(rules.into_iter().filter_map(|rule| rule.below(&store.place.prefix)).collect())))
}

/// Whether Object Lock is on.
async fn lock(store: &S3Store) -> Result<Answer<Lock>> {
    let place = &store.place;
    let sent = place.client().get_object_lock_configuration().bucket(&place.bucket).send().await;
    let answer = answered(store, "cannot ask for the Object Lock of", sent)?;
    Ok(answer.and_then(|answer| {
        let lock = answer.object_lock_configuration?;
        let default = lock.rule().and_then(|rule| rule.default_retention()).and_then(|retention| {
            let years = retention.years().map(|years| years.saturating_mul(365));
            Some(LockDefault {
                compliance: retention.mode()? == &sdk::ObjectLockRetentionMode::Compliance,
                days: u32::try_from(retention.days().or(years)?).ok()?,
            })
        });
        (lock.object_lock_enabled() == Some(&sdk::ObjectLockEnabled::Enabled)).then_some(Lock { default })
    }))
}

/// Tells what is not set, not offered and not allowed apart from what failed.
fn answered<T, E>(store: &S3Store, doing: &str, sent: Sent<T, E>) -> Result<Answer<T>>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let error = match sent {
        Ok(answer) => return Ok(Answer::Set(answer)),
        Err(error) => error,
    };
    let was_answered = error.raw_response().is_some();
    let error = describe_failure(&error, doing, &store.bucket_name());
    match problem(&error) {
        Some(StoreProblem::NotFound) => Ok(Answer::Unset),
        Some(StoreProblem::Unsupported) => Ok(Answer::Unsupported),
        Some(StoreProblem::Denied) if was_answered => Ok(Answer::Denied),
        _ => Err(error),
    }
}

fn unsendable(error: &(dyn std::error::Error + 'static)) -> Error {
    store_error_with(StoreProblem::Other, "cannot set up the bucket", &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::denies_without_tls;
    use serde_json::{Value, json};

    #[test]
    fn a_statement_that_denies_all_without_tls_is_found_however_it_is_written() {
        let statement = |action: Value, principal: Value, condition: Value| json!({"Effect": "Deny", "Action": action, "Principal": principal, "Condition": condition, "Resource": "*"});
        let no_tls = json!({"Bool": {"aws:SecureTransport": "false"}});
        for policy in [
            json!({"Statement": [statement(json!("s3:*"), json!("*"), no_tls.clone())]}),
            json!({"Statement": statement(json!(["s3:*"]), json!({"AWS": "*"}), no_tls.clone())}),
        ] {
            assert!(denies_without_tls(&policy), "{policy}");
        }
        for policy in [
            json!({}),
            json!({"Statement": [statement(json!("s3:GetObject"), json!("*"), no_tls.clone())]}),
            json!({"Statement": [statement(json!("s3:*"), json!({"AWS": "arn:aws:iam::1:root"}), no_tls)]}),
            json!({"Statement": [statement(json!("s3:*"), json!("*"), json!({}))]}),
        ] {
            assert!(!denies_without_tls(&policy), "{policy}");
        }
    }
}
