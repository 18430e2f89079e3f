//! `restore --verify`: what the target holds now, read back in the server's own COPY stream, against the manifest.

use super::Words;
use super::choose::Plan;
use super::generated::{Generated, GeneratedColumns, generated_columns};
use crate::commands::source::Source;
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::model::literal;
use crate::postgres::{ConnectionSettings, Purpose, Session};
use crate::stream::rows::{RowsDigest, RowsDigester};
use futures::StreamExt;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many tables were compared.
    pub tables: u64,
    /// How many were not, because an extension may have filled them with rows of its own.
    pub of_extensions: u64,
    /// A line for every table that is not as it was dumped, in the order of the backup.
    pub differences: Vec<String>,
}

/// A table as the manifest promises it.
struct Promise {
    place: usize,
    label: String,
    copy_out: String,
    rows: u64,
    /// Absent in the earliest backups.
    digest: Option<String>,
    /// The tables of the backup that it is about, by their entries.
    tables: HashSet<String>,
    /// The columns of those that the archive has no values of.
    generated: Vec<Generated>,
    weight: u64,
}

/// What the definition of such table data begins with.
const THROUGH_ROOT: &str = "-- load via partition root ";

impl Promise {
    /// Takes what else is promised of the same rows' place.
    fn take(&mut self, label: String, rows: u64, digest: Option<&str>) {
        let sum = |digest: Option<&str>, rows| digest.and_then(|digest| RowsDigest::of(rows, digest));
        let both = sum(self.digest.as_deref(), self.rows).zip(sum(digest, rows));
        self.digest = both.map(|(mut one, other)| {
            one.add(other);
            one.to_string()
        });
        self.rows += rows;
        self.tables.insert(label);
    }
}

/// Reads every table that was restored, several at a time, and compares its number of rows and their digest, and computes generated
/// columns again.
pub(super) async fn compare(
    plan: &Plan,
    source: &Source,
    connection: &ConnectionSettings,
    words: &Words,
    jobs: usize,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Comparison> {
    let first = stop.unless(connect(connection, words)).await?;
    let columns = stop.unless(generated_columns(&first)).await?;
    let mut promises = promises(plan, source, columns)?;
    let compared = promises.iter().map(|promise| promise.tables.len() as u64).sum();
    let mut comparison =
        Comparison { tables: compared, of_extensions: plan.table_count() - compared, differences: Vec::new() };
    // Longest first, so that no worker is left alone with a large table at the end.
    promises.sort_by_key(|promise| std::cmp::Reverse(promise.weight));
    let workers = jobs.max(1).min(promises.len());
    let queue = Arc::new(Mutex::new(VecDeque::from(promises)));
    let mut tasks: JoinSet<Result<Vec<(usize, String)>>> = JoinSet::new();
    let mut first = Some(first);
    for _ in 0..workers {
        let session = match first.take() {
            Some(session) => session,
            None => stop.unless(connect(connection, words)).await?,
        };
        let (queue, progress, stop) = (Arc::clone(&queue), Arc::clone(progress), stop.clone());
        tasks.spawn(async move {
            let outcome = stop.unless(work(&session, &queue, &progress)).await;
            if outcome.is_err() {
                // A COPY that nobody reads any more would go on in the server.
                let _best_effort = session.canceller().cancel().await;
            }
            outcome
        });
    }
    let mut found = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|panic| {
            Err(Error::new(Kind::Internal, "a worker of the comparison ended unexpectedly").because(panic))
        });
        found.extend(ended?);
    }
    found.sort();
    comparison.differences = found.into_iter().map(|(_, difference)| difference).collect();
    Ok(comparison)
}

fn promises(plan: &Plan, source: &Source, mut columns: GeneratedColumns) -> Result<Vec<Promise>> {
    let manifest = source.manifest.as_ref().ok_or_else(nothing_to_compare_with)?;
    let of_entry: HashMap<i32, _> = manifest.tables.iter().map(|table| (table.toc_id, table)).collect();
    let definitions: HashSet<i32> =
        source.toc.entries.iter().filter(|entry| entry.desc == "TABLE").map(|entry| entry.id).collect();
    let mut promises: Vec<Promise> = Vec::new();
    let mut together: HashMap<&str, usize> = HashMap::new();
    for (place, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.data.is_some()) {
        let Some(promised) = of_entry.get(&step.entry.id) else { continue };
        // A table that comes with an extension has no definition of its own here, and perhaps only some of its rows.
        if !step.entry.needs.iter().any(|need| definitions.contains(need)) {
            continue;
        }
        let copy = step.entry.copy.as_deref().unwrap_or_default();
        // A further segment finds them taken.
        let table = (step.entry.schema.clone().unwrap_or_default(), step.entry.tag.clone());
        let generated = columns.remove(&table);
        // The segments of one table, and partitions whose rows are loaded through their root, are found in one place.
        if let Some(first) = together.get(copy).and_then(|&first| promises.get_mut(first)) {
            first.take(step.label(), promised.rows, promised.rows_digest.as_deref());
            first.generated.extend(generated);
            continue;
        }
        let through_root = step.entry.create.as_deref().is_some_and(|words| words.starts_with(THROUGH_ROOT));
        let Some(copy_out) = copy_out(copy, through_root) else {
            return Err(Error::new(
                Kind::Archive,
                "the COPY statement of this table is none that can be turned around",
            )
            .on(step.label()));
        };
        together.insert(copy, promises.len());
        promises.push(Promise {
            place,
            label: step.label(),
            copy_out,
            rows: promised.rows,
            digest: promised.rows_digest.clone(),
            tables: [step.label()].into(),
            generated: generated.into_iter().collect(),
            weight: promised.raw_bytes,
        });
    }
    Ok(promises)
}

/// The error of an archive that promises nothing.
pub(super) fn nothing_to_compare_with() -> Error {
    Error::new(Kind::Usage, "this archive does not say how many rows its tables have, nor which")
        .hint("only a backup of pgstow with its manifest can be compared; restore without --verify")
}

/// `COPY s.t (a, b) FROM stdin;` turned around. A partitioned table takes rows but gives them to a query only.
fn copy_out(copy_in: &str, partitioned: bool) -> Option<String> {
    let table = copy_in.trim_end().strip_suffix(';')?.trim_end().strip_suffix("FROM stdin")?;
    if !partitioned {
        return Some(format!("{table}TO STDOUT"));
    }
    let mut quoted = false;
    let columns = table.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    })?;
    let (name, columns) = table.split_at(columns);
    let columns = columns.trim_end().strip_prefix('(')?.strip_suffix(')')?;
    Some(format!("COPY (SELECT {columns} FROM {}) TO STDOUT", name.strip_prefix("COPY ")?.trim_end()))
}

/// A session that prints values as a dump does.
async fn connect(connection: &ConnectionSettings, words: &Words) -> Result<Session> {
    let session = Session::connect(connection, "pgstow restore: verifying", Purpose::Reads).await?;
    session.execute(&format!("SET client_encoding = {}", literal(words.encoding))).await?;
    Ok(session)
}

async fn work(
    session: &Session,
    queue: &Mutex<VecDeque<Promise>>,
    progress: &Progress,
) -> Result<Vec<(usize, String)>> {
    let mut differences = Vec::new();
    loop {
        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some(promise) = next else { return Ok(differences) };
        let difference = differs(session, &promise, progress).await.map_err(|error| error.on(promise.label.clone()))?;
        differences.extend(difference.map(|difference| (promise.place, format!("{}: {difference}", promise.label))));
    }
}

async fn differs(session: &Session, promise: &Promise, progress: &Progress) -> Result<Option<String>> {
    let mut digester = RowsDigester::new();
    let mut rows = session.copy_out(&promise.copy_out).await?;
    while let Some(row) = rows.next().await {
        let row = row?;
        progress.moved_raw(row.len() as u64);
        digester.push(&row);
    }
    let found = digester.finish()?;
    if found.rows() != promise.rows {
        return Ok(Some(format!("{} rows, the backup has {}", found.rows(), promise.rows)));
    }
    if promise.digest.as_ref().is_some_and(|digest| *digest != found.to_string()) {
        return Ok(Some(format!("as many rows as the backup ({}), but not the same ones", promise.rows)));
    }
    for generated in &promise.generated {
        if let Some(difference) = generated.differ(session).await? {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

/// The error of a target that is not what the backup says, for after the report was printed. `majors`: of the source
/// and of the target.
pub(super) fn difference(comparison: &Comparison, database: &str, (source, target): (u32, u32)) -> Option<Error> {
    let count = comparison.differences.len();
    if count == 0 {
        return None;
    }
    let hint = if source == target {
        "a trigger or a rule may have changed them, somebody may write to the target, or it had rows before".to_owned()
    } else {
        format!(
            "the source was PostgreSQL {source} and the target is {target}, which may write the values of some types \
             differently; then the rows are the same although their text is not. Otherwise a trigger or a rule may have \
             changed them, somebody may write to the target, or it had rows before"
        )
    };
    let message = format!("{count} of {} tables differ from the backup; see above", comparison.tables);
    Some(Error::new(Kind::Archive, message).on(format!("database {database}")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::copy_out;

    #[test]
    fn a_copy_statement_is_turned_around_whatever_its_columns_are_called() {
        let copy = "COPY s.\"a FROM stdin;\" (id, \" FROM stdin;\") FROM stdin;\n";
        let expected = "COPY s.\"a FROM stdin;\" (id, \" FROM stdin;\") TO STDOUT";
        assert_eq!(copy_out(copy, false).as_deref(), Some(expected));
        let query = "COPY (SELECT id, \" FROM stdin;\" FROM s.\"a FROM stdin;\") TO STDOUT";
        assert_eq!(copy_out(copy, true).as_deref(), Some(query));
        assert_eq!(copy_out("COPY s.t FROM stdin;\n", false).as_deref(), Some("COPY s.t TO STDOUT"));
        assert_eq!(copy_out("SELECT 1;", false), None);
    }
}
