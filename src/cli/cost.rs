//! `pgstow cost`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::Context;
use super::output::{plain, print, print_json};
use super::subject::{Subject, SubjectArgs};
use crate::commands::cost::{CostOptions, CostReport, Stored, cost};
use crate::error::{Error, Kind, Result};
use crate::keep::Rules;
use crate::keep::bucket::check_transitions;
use crate::keep::cost::prices::{BUILT_IN, Prices};
use crate::keep::cost::{Hidden, Monthly, Plan, Reading, STANDARD, Starts};
use crate::store::Deletion;
use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::path::PathBuf;

/// `pgstow cost`.
#[derive(Debug, Args)]
#[command(after_help = "\
A plan is words between spaces: class=STANDARD_IA, transition=30:GLACIER_IR (may be repeated), expire=90, hidden=14 (days that
a bucket with versions keeps what was deleted, or forever), per-day=2, verify=full, and the rules of `pgstow prune`: keep-last,
keep-within, keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly, keep-min. A job's plan is made of its retention,
schedule, class and verification, and of the lifecycle rules and versions of its bucket.")]
pub struct CostArgs {
    /// Whose backups.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// A plan to calculate, such as 'class=STANDARD_IA keep-within=30d' or 'transition=30:GLACIER_IR keep-daily=7
    /// keep-monthly=12 per-day=2'; may be repeated, to compare
    #[arg(long, value_name = "PLAN", value_parser = plan)]
    pub plan: Vec<Plan>,
    /// How large one backup is that the plans are for [default: as large as the newest ones in the store]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub size: Option<u64>,
    /// A table of prices of your own
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Print the table of prices that comes with pgstow, to be changed and given to --prices
    #[arg(long)]
    pub print_prices: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// A plan as `key=value` pairs between spaces or commas.
fn plan(text: &str) -> std::result::Result<Plan, String> {
    let mut plan = Plan {
        name: text.trim().to_owned(),
        class: STANDARD.to_owned(),
        transitions: Vec::new(),
        expire_days: None,
        hidden: Hidden::Gone,
        starts: Starts::per_day(1),
        verify: false,
        rules: Rules::default(),
    };
    for pair in text.split([' ', ',']).filter(|pair| !pair.is_empty()) {
        let unusable = || {
            format!(
                "{pair:?} is no part of a plan; parts are class, transition, expire, hidden, per-day, verify, \
                 keep-last, keep-within, keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly, keep-min"
            )
        };
        let (key, value) = pair.split_once('=').ok_or_else(unusable)?;
        let number = || value.parse::<u32>().map_err(|_| format!("{value:?} in {pair:?} is not a number"));
        match key {
            "class" => plan.class = value.to_ascii_uppercase(),
            "transition" => {
                let (days, class) =
                    value.split_once(':').ok_or_else(|| format!("{pair:?} is not like 30:STANDARD_IA"))?;
                let days = days.parse().map_err(|_| format!("{days:?} in {pair:?} is not a number of days"))?;
                plan.transitions.push((days, class.to_ascii_uppercase()));
            }
            "expire" => plan.expire_days = Some(number()?.max(1)),
            "hidden" if value == "forever" => plan.hidden = Hidden::ForEver,
            "hidden" => plan.hidden = Hidden::Days(number()?),
            "per-day" => match number()? {
                count @ 1..=24 => plan.starts = Starts::per_day(count),
                _ => return Err(format!("{pair:?}: a plan makes 1 to 24 backups a day")),
            },
            "verify" if value == "full" => plan.verify = true,
            "keep-within" => plan.rules.within = Some(value.parse().map_err(|error: Error| error.to_string())?),
            "keep-last" => plan.rules.last = number()?,
            "keep-hourly" => plan.rules.hourly = number()?,
            "keep-daily" => plan.rules.daily = number()?,
            "keep-weekly" => plan.rules.weekly = number()?,
            "keep-monthly" => plan.rules.monthly = number()?,
            "keep-yearly" => plan.rules.yearly = number()?,
            "keep-min" => plan.rules.floor = number()?,
            _ => return Err(unusable()),
        }
    }
    check_transitions(&plan.transitions)
        .map_err(|error| format!("{error}: {}", error.hint_text().unwrap_or_default()))?;
    Ok(plan)
}

impl CostArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        if self.print_prices {
            return print(&[BUILT_IN.trim_end().to_owned()]);
        }
        let prices = match &self.prices {
            None => Prices::built_in(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Error::new(Kind::Usage, "cannot read the price table").on(file.display().to_string()).because(error)
                })?;
                Prices::parse(&text).map_err(|error| error.on(file.display().to_string()))?
            }
        };
        let (store, job) = match self.subject.open().await? {
            Subject::Job(ready) => (ready.store, Some(ready.job)),
            Subject::Store(store) => (store, None),
        };
        let options = CostOptions { store, job, prices: prices.clone(), plans: self.plan.clone(), size: self.size };
        let report = cost(options, context.stop).await?;
        if self.json { print_json(&as_json(&report, &prices)) } else { print(&as_text(&report, &prices)) }
    }
}

/// An amount with as many digits as it takes to tell it from nothing.
fn amount(amount: f64) -> String {
    // A sum of nothing is below nothing.
    let amount = amount.max(0.0);
    if amount == 0.0 || amount >= 0.005 { format!("{amount:.2}") } else { format!("{amount:.5}") }
}

fn as_text(report: &CostReport, prices: &Prices) -> Vec<String> {
    let mut lines = vec![format!("stored now, {} a month", prices.currency)];
    for Stored { class, objects, bytes, monthly } in &report.stored {
        let bytes = HumanBytes(*bytes).to_string();
        lines.push(format!("  {:<20}  {objects:>9} objects  {bytes:>11}  {:>12}", plain(class), amount(*monthly)));
    }
    let all: f64 = report.stored.iter().map(|stored| stored.monthly).sum();
    lines.push(format!("  {:<20}  {:>42}", "together", amount(all)));
    if let Deletion::Hides { .. } = report.deletion {
        lines.push(
            "  the bucket keeps versions: what was deleted or overwritten costs too, and is not counted".to_owned(),
        );
    }
    if !report.readings.is_empty() {
        lines.push("to restore the newest backup, once".to_owned());
    }
    for (place, reading) in &report.readings {
        lines.push(format!("  {}: {}", plain(&place.database), reading_in_words(reading)));
    }
    if let Some((bytes, objects)) = report.planned_for {
        lines.push(format!(
            "plans for a backup of {} in {objects} objects, a month in their steady state",
            HumanBytes(bytes)
        ));
        let names =
            ["together", "storage", "requests", "verifying", "moves", "too early", "backups", "stored", "to first"];
        lines.push(row(&names.map(str::to_owned), "plan"));
    }
    let first = report.plans.first().map_or(0.0, |(_, monthly)| monthly.total());
    lines.extend(report.plans.iter().map(|(plan, monthly)| plan_in_words(plan, monthly, first)));
    lines.extend(report.notes.iter().map(|note| format!("note: {}", plain(note))));
    lines.push(format!(
        "prices of {} from {}; your region and contract may differ: --prices",
        prices.date, prices.source
    ));
    lines
}

fn reading_in_words(reading: &Reading) -> String {
    let out = |taken: f64| {
        format!(
            "{}, out of AWS {}",
            amount(taken + reading.requests),
            amount(taken + reading.requests + reading.transfer)
        )
    };
    if reading.ways.is_empty() {
        return format!("in the same region {}", out(0.0));
    }
    let ways = reading.ways.iter().map(|(name, taken)| format!("{name}: in the same region {}", out(*taken)));
    let ways = ways.collect::<Vec<_>>().join("; ");
    if reading.copies_a_day == 0.0 {
        return ways;
    }
    format!("{ways}; for each day that the thawed copies stay {}", amount(reading.copies_a_day))
}

/// One line of the table of plans.
fn row(cells: &[String; 9], plan: &str) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    format!("  {}  {plan}", cells.join("  "))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people")]
fn plan_in_words(plan: &Plan, monthly: &Monthly, first: f64) -> String {
    let growing = monthly.growing.map_or(String::new(), |days| match days / 365 {
        1 => " (after a year, and still growing)".to_owned(),
        years => format!(" (after {years} years, and still growing)"),
    });
    let ratio = if first > 0.0 { format!("{:.0}%", monthly.total() / first * 100.0) } else { "-".to_owned() };
    let cells = [
        amount(monthly.total()),
        amount(monthly.storage),
        amount(monthly.requests),
        amount(monthly.verifying),
        amount(monthly.transitions),
        amount(monthly.early),
        format!("{:.1}", monthly.backups),
        HumanBytes(monthly.bytes as u64).to_string(),
        ratio,
    ];
    row(&cells, &(plain(&plan.name) + &growing))
}

fn as_json(report: &CostReport, prices: &Prices) -> Value {
    json!({
        "currency": prices.currency,
        "prices": { "date": prices.date, "source": prices.source },
        "stored": report.stored.iter().map(|stored| json!({
            "class": stored.class, "objects": stored.objects, "bytes": stored.bytes, "monthly": stored.monthly,
        })).collect::<Vec<_>>(),
        "restore": report.readings.iter().map(|(place, reading)| json!({
            "database": place.database,
            "backup": place.id,
            "ways": reading.ways.iter().map(|(name, taken)| json!({"name": name, "amount": taken})).collect::<Vec<_>>(),
            "requests": reading.requests,
            "copies_a_day": reading.copies_a_day,
            "transfer": reading.transfer,
        })).collect::<Vec<_>>(),
        "plans": report.plans.iter().map(|(plan, monthly)| json!({
            "plan": plan.name,
            "monthly": monthly.total(),
            "storage": monthly.storage,
            "requests": monthly.requests,
            "verifying": monthly.verifying,
            "transitions": monthly.transitions,
            "too_early": monthly.early,
            "backups": monthly.backups,
            "bytes": monthly.bytes,
            "growing_after_days": monthly.growing,
        })).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::{Hidden, plan};

    #[test]
    fn a_plan_is_read_from_pairs() {
        let text =
            "class=standard_ia, transition=60:GLACIER_IR keep-daily=7 keep-within=30d per-day=2 expire=90 hidden=3";
        let read = plan(text).expect("a plan");
        assert_eq!((read.class.as_str(), read.expire_days, read.rules.daily), ("STANDARD_IA", Some(90), 7));
        assert_eq!((read.hidden, read.verify), (Hidden::Days(3), false));
        assert_eq!(read.transitions, [(60, "GLACIER_IR".to_owned())]);
        assert_eq!(
            plan("hidden=forever verify=full").map(|plan| (plan.hidden, plan.verify)),
            Ok((Hidden::ForEver, true))
        );
        for bad in ["keep", "keep-daily=x", "color=red", "transition=30", "keep-within=soon", "per-day=0", "verify=no"]
        {
            plan(bad).expect_err(bad);
        }
        assert!(plan("transition=7:STANDARD_IA").expect_err("too early").contains("30 days old"));
    }
}
