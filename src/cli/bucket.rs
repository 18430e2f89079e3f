//! `pgstow bucket`: arguments, options, report.

use super::Context;
use super::output::{plain, print, print_json};
use super::requests;
use super::store::ToArgs;
use crate::commands::bucket::{BucketReport, Outcome, check, init, refused, unhealthy};
use crate::error::{Error, Kind, Result};
use crate::keep::bucket::{Aspect, Wish};
use crate::keep::policy::{Role, policy, used};
use crate::store::{Encryption, LifecycleRule, LockDefault, S3Store, StoreUrl};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// `pgstow bucket`.
#[derive(Debug, Args)]
pub struct BucketArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub verb: BucketVerb,
}

/// What to do with a bucket.
#[derive(Debug, Subcommand)]
pub enum BucketVerb {
    /// Create the bucket and set it up for backups; without --yes only says what it would do
    Init(InitArgs),
    /// Compare the bucket with how it should be, and name its risks
    Check(CheckArgs),
    /// Print the least IAM policy for a kind of work
    Policy(PolicyArgs),
}

/// `pgstow bucket init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The bucket, and the prefix that lifecycle rules are for.
    #[command(flatten)]
    pub store: ToArgs,
    /// How it should be.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `pgstow bucket check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The bucket, and the prefix that lifecycle rules are for.
    #[command(flatten)]
    pub store: ToArgs,
    /// How it should be.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// How a bucket should be.
#[derive(Debug, Args)]
pub struct WishArgs {
    /// Do not keep versions of what is overwritten or deleted
    #[arg(long)]
    pub no_versioning: bool,
    /// Encrypt by this key of KMS (its ARN or alias), or `aws/s3` for the account's own [default: by keys that S3 manages]
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// Do not demand TLS by a policy
    #[arg(long)]
    pub no_tls_policy: bool,
    /// Move objects to another class when they are so many days old; may be repeated
    #[arg(long, value_name = "DAYS:CLASS", value_parser = transition)]
    pub transition: Vec<(u32, String)>,
    /// Let objects expire when they are so many days old, whatever prune would keep
    #[arg(long, value_name = "DAYS")]
    pub expire: Option<u32>,
    /// How many days versions are kept that were overwritten or deleted
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub hidden_days: u32,
    /// After how many days uploads that were never completed are aborted
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub abort_days: u32,
    /// Lock new objects: governance:DAYS, which those with a special right can undo, or compliance:DAYS, which nobody can
    #[arg(long, value_name = "MODE:DAYS", value_parser = lock)]
    pub lock: Option<LockDefault>,
}

/// `pgstow bucket policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// The kind of work.
    #[arg(value_enum)]
    pub role: RoleName,
    /// The store.
    #[command(flatten)]
    pub store: ToArgs,
    /// The ARN of the key of KMS that the bucket encrypts by
    #[arg(long, value_name = "ARN")]
    pub kms_key: Option<String>,
    /// For `used`: the file that runs with --note-requests left
    #[arg(long, value_name = "FILE", required_if_eq("role", "used"))]
    pub requests: Option<PathBuf>,
}

/// Kinds of work.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Makes backups; can neither read nor delete any.
    Writer,
    /// Removes what no rule keeps; can check too.
    Pruner,
    /// Restores, verifies, checks and thaws.
    Restorer,
    /// What real runs used, as they noted it with --note-requests, and nothing else.
    Used,
}

fn transition(text: &str) -> std::result::Result<(u32, String), String> {
    let parsed = text.split_once(':').and_then(|(days, class)| Some((days.parse().ok()?, class.to_ascii_uppercase())));
    parsed.ok_or_else(|| format!("{text:?} is not like 30:STANDARD_IA"))
}

fn lock(text: &str) -> std::result::Result<LockDefault, String> {
    let parsed = text.split_once(':').and_then(|(mode, days)| {
        let compliance = match mode.to_ascii_lowercase().as_str() {
            "compliance" => true,
            "governance" => false,
            _ => return None,
        };
        Some(LockDefault { compliance, days: days.parse().ok()? })
    });
    parsed.ok_or_else(|| format!("{text:?} is not like governance:14 or compliance:14"))
}

impl BucketArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        match &self.verb {
            BucketVerb::Init(verb) => verb.run(context).await,
            BucketVerb::Check(verb) => verb.run(context).await,
            BucketVerb::Policy(verb) => verb.run(),
        }
    }
}

impl WishArgs {
    fn wish(&self, store: &S3Store, region: Option<&str>) -> Wish {
        let prefix = store.prefix().to_owned();
        let id =
            if prefix.is_empty() { "pgstow".to_owned() } else { format!("pgstow {}", prefix.trim_end_matches('/')) };
        Wish {
            region: region.map(str::to_owned),
            versioning: !self.no_versioning,
            encryption: match self.kms_key.as_deref() {
                None => Encryption::S3,
                Some("aws/s3") => Encryption::Kms(None),
                Some(key) => Encryption::Kms(Some(key.to_owned())),
            },
            // A store that is reached without TLS would lock us out.
            tls_only: !self.no_tls_policy && store.uses_tls(),
            lock: self.lock,
            lifecycle: LifecycleRule {
                id,
                prefix,
                enabled: true,
                narrowed: false,
                transitions: self.transition.clone(),
                expire_days: self.expire,
                hidden_days: (!self.no_versioning).then_some(self.hidden_days),
                abort_days: Some(self.abort_days),
            },
        }
    }
}

impl InitArgs {
    async fn run(&self, context: Context) -> Result<()> {
        let store = self.store.open_s3().await?;
        let wish = self.wish.wish(&store, self.store.reach.region.as_deref());
        let report = init(&store, &wish, !self.yes, &context.stop).await?;
        if self.json {
            print_json(&as_json(&report))?;
        } else {
            let mut lines = as_text(&report);
            let differs = report.aspects.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Differs)).count();
            if differs > 0 {
                let aspects = if differs == 1 { "aspect" } else { "aspects" };
                lines.push(format!("would change {differs} {aspects}; nothing was done: add --yes to do it"));
            }
            print(&lines)?;
        }
        refused(&report).map_or(Ok(()), Err)
    }
}

impl CheckArgs {
    async fn run(&self, context: Context) -> Result<()> {
        let store = self.store.open_s3().await?;
        let wish = self.wish.wish(&store, self.store.reach.region.as_deref());
        let report = check(&store, &wish, &context.stop).await?;
        if self.json {
            print_json(&as_json(&report))?;
        } else {
            print(&as_text(&report))?;
        }
        unhealthy(&report).map_or(Ok(()), Err)
    }
}

impl PolicyArgs {
    fn run(&self) -> Result<()> {
        let StoreUrl::S3 { bucket, prefix } = self.store.to.parse()? else {
            return Err(Error::new(Kind::Usage, "a folder has no policy").hint("give a store like s3://bucket/prefix"));
        };
        let key = self.kms_key.as_deref();
        let role = match self.role {
            RoleName::Used => return self.used(&bucket, key),
            RoleName::Writer => Role::Writer,
            RoleName::Pruner => Role::Pruner,
            RoleName::Restorer => Role::Restorer,
        };
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
        print_json(&policy(role, &bucket, &prefix, key))
    }

    fn used(&self, bucket: &str, key: Option<&str>) -> Result<()> {
        let noted = requests::read(self.requests.as_deref().unwrap_or(Path::new("")))?;
        let Some(policy) = used(&noted, bucket, key) else {
            return Err(Error::new(Kind::Usage, "no request to this bucket was noted").on(bucket.to_owned()));
        };
        print_json(&policy)
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "ok",
        Outcome::Differs => "differs",
        Outcome::Changed => "changed",
        Outcome::NotOffered => "not offered",
        Outcome::Refused(_) => "refused",
    }
}

fn as_text(report: &BucketReport) -> Vec<String> {
    let line = |(aspect, outcome): &(Aspect, Outcome)| {
        let change = match outcome {
            Outcome::Good => aspect.is.clone(),
            Outcome::NotOffered => format!("{} was wanted; the store does not have it", aspect.wanted),
            Outcome::Refused(error) => format!("{}: {error}", aspect.wanted),
            _ => format!("{} -> {}", aspect.is, aspect.wanted),
        };
        format!("{:<11}  {:<19}  {}", word(outcome), aspect.name, plain(&change))
    };
    let risks = report.risks.iter().map(|risk| format!("risk: {}", plain(risk)));
    report.aspects.iter().map(line).chain(risks).collect()
}

fn as_json(report: &BucketReport) -> Value {
    let aspect = |(aspect, outcome): &(Aspect, Outcome)| {
        let error = match outcome {
            Outcome::Refused(error) => Some(error.to_string()),
            _ => None,
        };
        json!({
            "aspect": aspect.name,
            "is": aspect.is,
            "wanted": aspect.wanted,
            "outcome": word(outcome),
            "error": error,
        })
    };
    json!({ "aspects": report.aspects.iter().map(aspect).collect::<Vec<_>>(), "risks": report.risks })
}
