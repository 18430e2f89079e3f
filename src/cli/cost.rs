//! `pgstow cost`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::Context;
use super::output::{plain, print, print_json};
use super::store::StoreArgs;
use crate::commands::cost::{CostOptions, CostReport, Stored, cost};
use crate::error::{Error, Kind, Result};
use crate::keep::Rules;
use crate::keep::bucket::check_transitions;
use crate::keep::cost::prices::{BUILT_IN, Prices};
use crate::keep::cost::{Monthly, Plan, Reading};
use crate::store::Deletion;
use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::path::PathBuf;

/// `pgstow cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE", required_unless_present = "print_prices")]
    pub from: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
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
        class: "STANDARD".to_owned(),
        transitions: Vec::new(),
        per_day: 1,
        rules: Rules::default(),
    };
    for pair in text.split([' ', ',']).filter(|pair| !pair.is_empty()) {
        let unusable = || {
            format!(
                "{pair:?} is no part of a plan; parts are class, transition, per-day, keep-last, keep-within, \
                 keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly, keep-min"
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
            "per-day" => plan.per_day = number()?,
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
        let (false, Some(from)) = (self.print_prices, &self.from) else {
            return print(&[BUILT_IN.trim_end().to_owned()]);
        };
        let prices = match &self.prices {
            None => Prices::built_in(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Error::new(Kind::Usage, "cannot read the price table").on(file.display().to_string()).because(error)
                })?;
                Prices::parse(&text).map_err(|error| error.on(file.display().to_string()))?
            }
        };
        let options = CostOptions {
            store: self.reach.open(from).await?,
            prices: prices.clone(),
            plans: self.plan.clone(),
            size: self.size,
        };
        let report = cost(options, context.stop).await?;
        if self.json { print_json(&as_json(&report, &prices)) } else { print(&as_text(&report, &prices)) }
    }
}

/// An amount with as many digits as it takes to tell it from nothing.
fn amount(amount: f64) -> String {
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
        lines.push(format!("plans for a backup of {} in {objects} objects, a month", HumanBytes(bytes)));
        lines.push(format!(
            "  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>7}  {:>11}  plan",
            "together", "storage", "requests", "moves", "too early", "backups", "stored"
        ));
    }
    for (plan, monthly) in &report.plans {
        lines.push(plan_in_words(plan, monthly));
    }
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
    ways.collect::<Vec<_>>().join("; ")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people")]
fn plan_in_words(plan: &Plan, monthly: &Monthly) -> String {
    let growing = if monthly.growing { " (still growing after four years)" } else { "" };
    format!(
        "  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>7.1}  {:>11}  {}{growing}",
        amount(monthly.total()),
        amount(monthly.storage),
        amount(monthly.requests),
        amount(monthly.transitions),
        amount(monthly.early),
        monthly.backups,
        HumanBytes(monthly.bytes as u64).to_string(),
        plain(&plan.name)
    )
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
            "transfer": reading.transfer,
        })).collect::<Vec<_>>(),
        "plans": report.plans.iter().map(|(plan, monthly)| json!({
            "plan": plan.name,
            "monthly": monthly.total(),
            "storage": monthly.storage,
            "requests": monthly.requests,
            "transitions": monthly.transitions,
            "too_early": monthly.early,
            "backups": monthly.backups,
            "growing": monthly.growing,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn a_plan_is_read_from_pairs() {
        let read =
            plan("class=standard_ia, transition=60:GLACIER_IR keep-daily=7 keep-within=30d per-day=2").expect("a plan");
        assert_eq!((read.class.as_str(), read.per_day, read.rules.daily), ("STANDARD_IA", 2, 7));
        assert_eq!(read.transitions, [(60, "GLACIER_IR".to_owned())]);
        for bad in ["keep", "keep-daily=x", "color=red", "transition=30", "keep-within=soon"] {
            plan(bad).expect_err(bad);
        }
        assert!(plan("transition=7:STANDARD_IA").expect_err("too early").contains("30 days old"));
    }
}
