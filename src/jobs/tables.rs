//! The tables of `pgstow.toml` as they are written, before anything is looked up or checked.
//!
//! The JSON schema that is published is generated from these types, their comments included.

mod list;
mod notify;
mod over;

pub(super) use notify::{EmailTable, FormatWord, MomentWord, NotifyTable, PingTable, SecurityWord, WebhookTable};

use super::expand::SecretText;
#[cfg(test)]
use list::OneOrMany;
use list::one_or_many;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Backup jobs of pgstow.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileTable {
    /// What every job says unless it says otherwise.
    pub(super) defaults: JobTable,
    /// The jobs by name.
    pub(super) job: BTreeMap<String, JobTable>,
    /// Stores by name, for jobs that need more than a URL to reach them.
    pub(super) store: BTreeMap<String, StoreTable>,
    /// Who is told how jobs went.
    pub(super) notify: NotifyTable,
}

/// One job. Text may hold `${NAME}`, which is replaced by that environment variable; `$$` is one dollar sign.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct JobTable {
    /// The database: a libpq URI, a keyword string or a bare name. The PG* variables fill in what it leaves open.
    pub(super) source: Option<SecretText>,
    /// The password of the source, best as `${NAME}` or `file:/path`.
    pub(super) password: Option<SecretText>,
    /// Where backups go: a URL (`s3://bucket/prefix`, `file:///folder`) or the name of a store below `store`.
    pub(super) store: Option<String>,
    /// Where each new backup is copied to: URLs, or names of stores below `store`; a list, or one.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(test, schemars(with = "OneOrMany"))]
    pub(super) copies: Option<Vec<String>>,
    /// What is dumped; everything, if this is absent.
    pub(super) selection: Option<SelectionTable>,
    /// How many connections read at once, 1 to 256.
    pub(super) connections: Option<u16>,
    /// Compression: zstd[:1-19], gzip[:1-9], lz4 or none.
    pub(super) compress: Option<String>,
    /// Storage class of the data objects, such as `STANDARD_IA`.
    pub(super) storage_class: Option<String>,
    /// Memory to stay within: a number with KiB, MiB or GiB; 256MiB, if this is absent, and more with many connections.
    pub(super) memory: Option<String>,
    /// Tables larger than this are read by several connections at once; 64MiB, if this is absent.
    pub(super) split_above: Option<String>,
    /// Size of the parts of an upload; 8MiB and more for large tables, if this is absent.
    pub(super) part_size: Option<String>,
    /// The most parts that the store takes in one upload; 10000, if this is absent.
    pub(super) max_parts: Option<u32>,
    /// For so long a request to a store that has answered before is tried again; `5m`, if this is absent.
    pub(super) retry_for: Option<String>,
    /// A transfer that stands still for so long is broken off and tried again; `30s`, if this is absent.
    pub(super) stall_timeout: Option<String>,
    /// Wait no longer than this for a lock that somebody else holds, such as `10s`; for ever, if this is absent.
    pub(super) lock_timeout: Option<String>,
    /// Read at most so many bytes of rows a second, such as `20MiB`; no limit, if this is absent.
    pub(super) rate_limit: Option<String>,
    /// Fail rather than hold the snapshot for longer than this, such as `2h`; no limit, if this is absent.
    pub(super) max_snapshot_age: Option<String>,
    /// Fail rather than have others wait for the dump's locks for longer than this, such as `30s`; no limit, if this is absent.
    pub(super) max_blocking: Option<String>,
    /// Leave out, with a warning, kinds of objects that pgstow cannot dump yet.
    pub(super) allow_incomplete: Option<bool>,
    /// Keep the server's roles, tablespaces and privileges on parameters beside the backup; true, if this is absent.
    pub(super) globals: Option<bool>,
    /// Keep the passwords of roles among them; true, if this is absent.
    pub(super) role_passwords: Option<bool>,
    /// Whether a new backup is verified before old ones are removed: `quick` (sizes) or `full` (read again, every byte); not
    /// at all, if this is absent.
    pub(super) verify: Option<VerifyWord>,
    /// Which backups of this database stay in the store after a good run; all, if this is absent.
    pub(super) retention: Option<RetentionTable>,
    /// When its backups are healthy, for `pgstow check JOB`, and when `pgstow schedule` checks them.
    pub(super) check: Option<CheckTable>,
    /// When it runs, for `pgstow schedule`: a cron expression (`30 2 * * *`) or `@daily`, `@hourly`, `@weekly`, `@monthly`.
    pub(super) schedule: Option<String>,
    /// The time zone of the schedule, such as `Europe/Madrid`; the machine's, if this is absent.
    pub(super) timezone: Option<String>,
    /// Start up to so much later than the schedule says, such as `10m`, so that many jobs do not start at once.
    pub(super) jitter: Option<String>,
    /// Run once at the start of `pgstow schedule` when a run was missed since the last backup; true, if this is absent.
    pub(super) catch_up: Option<bool>,
    /// Who is told, by the names below `notify`; all of them, if this is absent, and nobody, if it is empty.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(test, schemars(with = "OneOrMany"))]
    pub(super) notify: Option<Vec<String>>,
}

/// What is dumped, in psql's patterns.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct SelectionTable {
    /// Dump only these schemas.
    pub(super) schemas: Vec<String>,
    /// Do not dump these schemas.
    pub(super) exclude_schemas: Vec<String>,
    /// Dump only these tables.
    pub(super) tables: Vec<String>,
    /// The same, with what inherits from them and with their partitions.
    pub(super) tables_and_children: Vec<String>,
    /// Do not dump these tables.
    pub(super) exclude_tables: Vec<String>,
    /// The same, with what inherits from them and with their partitions.
    pub(super) exclude_tables_and_children: Vec<String>,
    /// Dump these tables without their rows.
    pub(super) exclude_table_data: Vec<String>,
    /// The same, with what inherits from them and with their partitions.
    pub(super) exclude_table_data_and_children: Vec<String>,
    /// Dump the rows of foreign tables of these servers, too.
    pub(super) foreign_data: Vec<String>,
    /// Dump only these extensions.
    pub(super) extensions: Vec<String>,
    /// Do not dump these extensions.
    pub(super) exclude_extensions: Vec<String>,
    /// Files of what to include and exclude, in `pg_dump`'s format.
    pub(super) filters: Vec<String>,
    /// Every pattern of what to dump must match something.
    pub(super) strict_names: bool,
    /// Dump only these sections: `pre-data`, `data`, `post-data`.
    pub(super) sections: Vec<String>,
    /// Whether large objects are dumped; unless schemas, tables or extensions are chosen, if this is absent.
    pub(super) large_objects: Option<bool>,
    /// What to leave out whatever its name: `comments`, `policies`, `privileges`, `publications`, `security-labels`,
    /// `subscriptions`, `owner`, `tablespaces`, `table-access-method`, `toast-compression`, `unlogged-table-data`.
    pub(super) without: Vec<String>,
    /// Definitions only, no rows.
    pub(super) schema_only: bool,
    /// Rows only, no definitions.
    pub(super) data_only: bool,
    /// No definitions.
    pub(super) no_schema: bool,
    /// No rows.
    pub(super) no_data: bool,
    /// What the planner knows, too.
    pub(super) statistics: bool,
    /// What the planner knows, and nothing else.
    pub(super) statistics_only: bool,
}

/// Which backups stay: each that one of these rules wants. Hours, days and the rest begin in the job's time zone.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionTable {
    /// The newest so many.
    pub(super) keep_last: u32,
    /// All that are not this much older than the newest: `36h`, `30d`, `6mo`.
    pub(super) keep_within: Option<String>,
    /// The newest of each of the last so many hours that have a backup.
    pub(super) keep_hourly: u32,
    /// The same by days.
    pub(super) keep_daily: u32,
    /// The same by weeks, which begin on Monday.
    pub(super) keep_weekly: u32,
    /// The same by months.
    pub(super) keep_monthly: u32,
    /// The same by years.
    pub(super) keep_yearly: u32,
    /// Never fewer good ones than so many, whatever the other rules say; the newest good one stays always.
    pub(super) keep_min: Option<u32>,
}

/// When backups are healthy, and when that is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct CheckTable {
    /// How old the newest good backup may be, such as `26h` or `8d`; if this is absent, two hours more than the longest
    /// pause in the job's schedule, and 26 hours without one.
    pub(super) max_age: Option<String>,
    /// How large the newest backup has to be in the store, such as `500M` or `2G`.
    pub(super) min_size: Option<String>,
    /// By how many percent the newest backup may be smaller than the one before, before compression; 50, if this is
    /// absent.
    pub(super) max_shrink: Option<u8>,
    /// How closely the newest backup is looked at: `quick` (sizes) or `full` (every byte); quick, if this is absent.
    pub(super) verify: Option<VerifyWord>,
    /// When `pgstow schedule` checks, in the job's time zone: a cron expression, or `@hourly` and its like; never, if this is
    /// absent.
    pub(super) schedule: Option<String>,
    /// Who is told what was found, by the names below `notify`; whom the job tells, if this is absent.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(test, schemars(with = "OneOrMany"))]
    pub(super) notify: Option<Vec<String>>,
}

/// A store and how to reach it. What is absent comes from the standard AWS environment and files.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct StoreTable {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub(super) url: String,
    /// Endpoint of an S3-compatible store.
    pub(super) endpoint: Option<String>,
    /// Region of the bucket.
    pub(super) region: Option<String>,
    /// Whether the bucket stands in the path instead of the host name.
    pub(super) path_style: Option<bool>,
    /// The access key; together with `secret_access_key`.
    pub(super) access_key_id: Option<SecretText>,
    /// The secret key, best as `${NAME}` or `file:/path`.
    pub(super) secret_access_key: Option<SecretText>,
    /// A profile of the AWS files, whose credentials come before those of the environment.
    pub(super) profile: Option<String>,
    /// Storage class in this store, instead of the job's.
    pub(super) storage_class: Option<String>,
    /// Which backups of a job stay in this store, instead of what the job says.
    pub(super) retention: Option<RetentionTable>,
}

/// How a new backup is verified.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum VerifyWord {
    /// The sizes of its objects.
    Quick,
    /// Every byte of them.
    Full,
}
