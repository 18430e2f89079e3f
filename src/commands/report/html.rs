//! The page.

use super::chart::{bars, calendar};
use super::{BackupLine, DatabaseReport, Report, ago};
use crate::commands::cost::Stored;
use crate::model::turns;
use indicatif::{HumanBytes, HumanCount};

/// So many failures of one sort are named.
const NAMED: usize = 20;

/// So many of a database's newest backups are shown at once; the older ones can be opened.
const SHOWN: usize = 10;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5c6878; --line: #d8dee6; --back: #fff; --bar: #3d74c9; --good: #2f8a52; --light: #8cc9a3; --bad: #c0392b; --gap: #efb3ab; --soft: #eef1f5 }
@media (prefers-color-scheme: dark) { :root { --ink: #dde3ea; --dim: #97a3b2; --line: #38424f; --back: #171c22; --bar: #6c9ee8; --good: #55b87a; --light: #2f6b47; --bad: #ee8473; --gap: #6e332b; --soft: #232b34 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line) } h3 { font-size: 0.95rem; margin: 1rem 0 0.3rem; color: var(--dim) }
p.dim, td.dim { color: var(--dim) } .bad { color: var(--bad); font-weight: 600 } .good { color: var(--good); font-weight: 600 } a { color: inherit }
table { border-collapse: collapse; width: 100% } th { text-align: left; color: var(--dim); font-weight: 500 } th, td { padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap } .n { text-align: right; font-variant-numeric: tabular-nums }
td.name { white-space: normal; min-width: 9rem } td.remarks { white-space: normal; color: var(--dim) } tr:has(+ tr > .remarks) td { border-bottom: 0 } th:last-child, td:last-child { padding-right: 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 2rem } .wide { overflow-x: auto }
svg { display: block; width: 100%; height: auto } svg text { font-size: 9px; fill: var(--dim) } svg rect { fill: var(--bar) } svg line { stroke: var(--line) }
.axis, .legend { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; margin: 0.2rem 0; font-size: 0.8rem; color: var(--dim) } .legend { justify-content: flex-start } .legend span { display: flex; align-items: center; gap: 0.35rem } .legend svg { width: 0.8rem }
.calendar { max-width: 40rem } svg .before { fill: var(--soft) } svg .none { fill: var(--gap) } svg .broken { fill: var(--bad) } svg .one { fill: var(--light) } svg .more { fill: var(--good) }
code { font-family: ui-monospace, monospace; font-size: 0.9em } ul { margin: 0.3rem 0 } td ul { padding-left: 1.2rem } summary { cursor: pointer; padding: 0.3rem 0; color: var(--dim) }
";

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Backups in {store}</title><style>{STYLE}</style></head><body>\n\
         <h1>Backups in <code>{store}</code></h1>\n<p class=\"dim\">{}, by pgstow {}</p>\n",
        report.made_at.strftime("%Y-%m-%d %H:%M UTC"),
        env!("CARGO_PKG_VERSION"),
        store = escape(&report.store),
    );
    if report.databases.is_empty() {
        page += "<p class=\"bad\">There are no backups.</p>\n";
    } else {
        page += &verdict(report);
        page += &overview(report);
    }
    if !report.unfinished.is_empty() {
        page += "<h2>Not finished</h2>\n<p>Folders without a manifest are no backups: their dumps run now, or were killed.</p>\n<ul>";
        page +=
            &report.unfinished.iter().map(|name| format!("<li><code>{}</code></li>", escape(name))).collect::<String>();
        page += "</ul>\n";
    }
    for (number, database) in report.databases.iter().enumerate() {
        page += &section(number, database, report);
    }
    page += &cost(report);
    page + "</body></html>\n"
}

/// Whether anybody has to do anything, in one sentence.
fn verdict(report: &Report) -> String {
    let ill: Vec<String> = report
        .databases
        .iter()
        .filter(|database| database.newest().is_none() || !database.failures(0).is_empty())
        .map(|database| escape(&database.name))
        .collect();
    let all = report.databases.len();
    if ill.is_empty() {
        let whose = if all == 1 { "The database has".to_owned() } else { format!("All {all} databases have") };
        return format!("<p class=\"good\">{whose} a good backup, and nothing failed.</p>\n");
    }
    let verb = if ill.len() == 1 { "needs" } else { "need" };
    format!("<p class=\"bad\">{} of {all} {verb} a look: {}</p>\n", ill.len(), ill.join(", "))
}

fn overview(report: &Report) -> String {
    let number = |count: usize| match count {
        0 => String::new(),
        count => format!("<span class=\"bad\">{count}</span>"),
    };
    let mut rows = String::new();
    for (place, database) in report.databases.iter().enumerate() {
        let failures = number(database.failures(usize::MAX).len());
        let name = format!("<td class=\"name\"><a href=\"#d{place}\">{}</a></td>", escape(&database.name));
        let Some(newest) = database.newest() else {
            rows += &format!(
                "<tr>{name}<td class=\"bad\" colspan=\"7\">no good backup</td><td class=\"n\">{failures}</td></tr>\n"
            );
            continue;
        };
        rows += &format!(
            "<tr>{name}<td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{failures}</td></tr>\n",
            newest.begun.strftime("%Y-%m-%d %H:%M UTC"),
            ago(newest.begun, report.made_at),
            HumanBytes(newest.stored_bytes),
            duration(newest.seconds),
            database.backups.len(),
            HumanBytes(database.stored_bytes()),
            number(newest.remarks.len()),
        );
    }
    format!(
        "<div class=\"wide\"><table><tr><th>database</th><th>newest good backup</th><th></th><th class=\"n\">size</th>\
         <th class=\"n\">took</th><th class=\"n\">backups</th><th class=\"n\">together</th><th class=\"n\">remarks</th>\
         <th class=\"n\">failures</th></tr>\n\
         {rows}</table></div>\n"
    )
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn section(number: usize, database: &DatabaseReport, report: &Report) -> String {
    let size = bars("Size in the store", &database.backups, |backup| backup.stored_bytes as f64, bytes);
    let time = bars("Duration", &database.backups, |backup| backup.seconds, duration);
    format!(
        "<h2 id=\"d{number}\">{}</h2>\n{}<h3>Days with a backup, the last half year</h3>{}\n\
         <div class=\"charts\">{size}{time}</div>\n{}",
        escape(&database.name),
        checks(database),
        calendar(database, report.made_at),
        backups(&database.backups),
    )
}

/// The newest backups, and the older ones folded away.
fn backups(backups: &[BackupLine]) -> String {
    let table = |backups: &[BackupLine]| {
        format!(
            "<div class=\"wide\"><table><tr><th>backup</th><th>begun (UTC)</th><th class=\"n\">took</th>\
             <th class=\"n\">tables</th><th class=\"n\">rows</th><th class=\"n\">size</th><th class=\"n\">server</th></tr>\n\
             {}</table></div>\n",
            backups.iter().map(row).collect::<String>()
        )
    };
    let (shown, older) = backups.split_at(backups.len().min(SHOWN));
    let shown = if shown.is_empty() { String::new() } else { table(shown) };
    if older.is_empty() {
        return shown;
    }
    format!("{shown}<details><summary>{} older ones</summary>{}</details>\n", older.len(), table(older))
}

/// What checks found. A run that fails removes what it wrote, so its absence is all there is to tell of it.
fn checks(database: &DatabaseReport) -> String {
    let lines = database.failures(NAMED);
    if lines.is_empty() {
        return "<h3>Checks</h3>\n<p>Nothing failed, as far as the store knows: every backup has all of its objects, each of \
                its size, and none is missing.</p>\n"
            .to_owned();
    }
    let lines: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    format!(
        "<h3>Checks: what did not go well</h3>\n<ul class=\"bad\">{lines}</ul>\n<p class=\"dim\">A run that fails removes \
         what it wrote; it shows here as a time without a backup.</p>\n"
    )
}

/// What is stored costs, by class.
fn cost(report: &Report) -> String {
    if report.stored.is_empty() {
        return String::new();
    }
    let row = |stored: &Stored| {
        format!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.2}</td></tr>\n",
            escape(&stored.class),
            HumanCount(stored.objects),
            HumanBytes(stored.bytes),
            stored.monthly
        )
    };
    let rows: String = report.stored.iter().map(row).collect();
    format!(
        "<h2>What is stored costs a month</h2>\n<div class=\"wide\"><table><tr><th>class</th><th class=\"n\">objects</th><th class=\"n\">size</th>\
         <th class=\"n\">a month</th></tr>\n{rows}</table></div>\n<p class=\"dim\">{}; your region and contract may differ: \
         <code>pgstow cost --prices</code></p>\n",
        escape(&report.prices)
    )
}

fn row(backup: &BackupLine) -> String {
    let remarks: String = backup.remarks.iter().map(|remark| format!("<li>{}</li>", escape(remark))).collect();
    let remarks = if remarks.is_empty() {
        String::new()
    } else {
        format!("<tr><td class=\"remarks\" colspan=\"7\"><ul>{remarks}</ul></td></tr>\n")
    };
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n{remarks}",
        backup.id,
        backup.begun.strftime("%Y-%m-%d %H:%M"),
        duration(backup.seconds),
        HumanCount(backup.tables),
        HumanCount(backup.rows),
        HumanBytes(backup.stored_bytes),
        escape(&backup.server),
    )
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was whole bytes before")]
fn bytes(count: f64) -> String {
    HumanBytes(count as u64).to_string()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people")]
fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// Text from a database within a page.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c if c.is_control() || turns(c) => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::{BackupLine, DatabaseReport, Report};
    use super::page;
    use crate::keep::health::{Finding, Severity};
    use crate::keep::missed::Missed;
    use jiff::Timestamp;

    fn at(day: u32) -> Timestamp {
        format!("2026-11-{day:02}T02:30:00Z").parse().expect("a moment")
    }

    fn backup(day: u32, stored_bytes: u64, remarks: &[&str]) -> BackupLine {
        BackupLine {
            id: format!("202611{day:02}T023000Z-4f7a2c"),
            begun: format!("2026-11-{day:02}T02:30:00Z").parse().expect("a moment"),
            seconds: 75.0,
            tables: 3,
            rows: 1000,
            stored_bytes,
            server: "18.4".into(),
            remarks: remarks.iter().map(|remark| (*remark).to_owned()).collect(),
        }
    }

    #[test]
    fn a_page_escapes_what_comes_from_databases_and_fetches_nothing() {
        let report = Report {
            store: "s3://acme/<x>".into(),
            made_at: "2026-11-24T12:00:00Z".parse().expect("a moment"),
            databases: vec![DatabaseReport {
                name: "a<script>alert('x')</script>\u{202e}z".into(),
                backups: vec![backup(24, 2048, &["left out: table \"<b>\" & more"]), backup(22, 1024, &[])],
                broken: vec![("20261120T023000Z-4f7a2c".into(), "<b> is missing".into())],
                missed: vec![Missed { from: at(22), to: Some(at(24)) }, Missed { from: at(19), to: None }],
                findings: vec![Finding {
                    severity: Severity::Warning,
                    rule: "tables-missing",
                    message: "<b> is gone".into(),
                }],
            }],
            unfinished: vec!["a/<i>".into()],
            stored: Vec::new(),
            prices: String::new(),
        };
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"), "{page}");
        assert!(!page.contains("src=") && !page.contains("http://") && !page.contains("https://"), "{page}");
        assert!(page.contains("left out: table &quot;&lt;b&gt;&quot; &amp; more"), "{page}");
        assert!(page.contains("9 h 30 min ago"), "{page}");
        assert!(!page.contains('\u{202e}'), "a name turns what follows it: {page}");
        assert!(page.contains("<p class=\"bad\">1 of 1 needs a look: a&lt;script&gt;"), "{page}");
        for said in [
            "<li>warning: &lt;b&gt; is gone</li>",
            "<li>backup 20261120T023000Z-4f7a2c is broken: &lt;b&gt; is missing</li>",
            "<li>no backup between 2026-11-22 02:30 UTC and 2026-11-24 02:30 UTC (2 d 0 h)</li>",
            "<li>the run of 2026-11-19 02:30 UTC left no backup</li>",
        ] {
            assert!(page.contains(said), "{said} in {page}");
        }
        for (day, class) in [(19, "none"), (20, "broken"), (21, "before"), (22, "one"), (23, "none"), (24, "one")] {
            let square = page
                .split("<rect ")
                .find(|square| square.contains(&format!("<title>2026-11-{day}: ")))
                .expect("a square");
            assert!(square.starts_with(&format!("class=\"{class}\"")), "{square}");
        }
    }
}
