//! Pictures as SVG: bars over time, and a calendar. What is written beside them is small text in the picture's own units,
//! or stands around it, so that it can be read on a telephone too.

use super::{BackupLine, DatabaseReport};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};

/// So many of the newest backups become bars.
const BARS: usize = 60;
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;
/// So many weeks stand in the calendar.
const WEEKS: i64 = 26;
const CELL: i64 = 13;
/// Room for the names of days and months.
const LEFT: i64 = 24;
const TOP: i64 = 12;
/// The names that stand beside the calendar: the row, and the name of its day.
const DAYS: [(i64, &str); 3] = [(0, "Mon"), (3, "Thu"), (6, "Sun")];

/// One bar a backup, the oldest on the left, under a heading that says how high the highest is. `show` writes a value for
/// people; nothing of it may need escaping.
pub(super) fn bars(
    heading: &str,
    backups: &[BackupLine],
    value: fn(&BackupLine) -> f64,
    show: fn(f64) -> String,
) -> String {
    let shown: Vec<&BackupLine> = backups.iter().take(BARS).rev().collect();
    let (Some(oldest), Some(newest)) = (shown.first(), shown.last()) else { return String::new() };
    let largest = shown.iter().map(|backup| value(backup)).fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "there are at most 60")]
    let step = WIDTH / shown.len() as f64;
    // Few backups make no walls.
    let width = (step * 0.8).min(24.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{heading}, a bar each\">");
    let mut x = 0.0;
    for backup in &shown {
        let height = if largest > 0.0 { (value(backup) / largest * (HEIGHT - 2.0)).max(1.0) } else { 1.0 };
        svg += &format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{} {}</title></rect>",
            HEIGHT - height,
            backup.id,
            show(value(backup))
        );
        x += step;
    }
    svg += &format!("<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/></svg>");
    let day = |backup: &BackupLine| backup.begun.strftime("%Y-%m-%d").to_string();
    format!(
        "<div><h3>{heading}, at most {}</h3>{svg}<p class=\"axis\"><span>{}</span><span>{}</span></p></div>",
        show(largest),
        day(oldest),
        day(newest)
    )
}

/// What a day of the calendar was.
struct Days {
    counts: HashMap<Date, u32>,
    broken: HashSet<Date>,
    missed: Vec<(Date, Option<Date>)>,
}

impl Days {
    fn of(database: &DatabaseReport) -> Days {
        let mut counts = HashMap::new();
        for backup in &database.backups {
            *counts.entry(day(backup.begun)).or_default() += 1;
        }
        let broken = database.broken.iter().filter_map(|(id, _)| id.parse::<crate::archive::BackupId>().ok());
        Days {
            counts,
            broken: broken.map(|id| day(id.created())).collect(),
            missed: database.missed.iter().map(|missed| (day(missed.from), missed.to.map(day))).collect(),
        }
    }

    /// The class and the words of a day. One without a backup is red where one is missed; on others retention may have
    /// removed what was there.
    fn look(&self, date: Date) -> (&'static str, String) {
        let count = self.counts.get(&date).copied().unwrap_or(0);
        let missed = self.missed.iter().any(|(from, to)| match to {
            None => *from == date,
            Some(to) => *from < date && date <= *to,
        });
        let broken = if self.broken.contains(&date) { ", one that is broken" } else { "" };
        let class = match count {
            _ if !broken.is_empty() => "broken",
            0 if missed => "none",
            0 => "before",
            1 => "one",
            _ => "more",
        };
        let good = if count == 1 { "1 good backup".to_owned() } else { format!("{count} good backups") };
        (class, format!("{date}: {good}{broken}{}", if class == "none" { ", one is missing" } else { "" }))
    }
}

fn day(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// One square a day of the last half year, by weeks (columns, the newest on the right) and days (rows, Monday first): how
/// many backups were begun on it, in UTC.
pub(super) fn calendar(database: &DatabaseReport, now: Timestamp) -> String {
    let days = Days::of(database);
    let today = i64::from(day(now).weekday().to_monday_zero_offset());
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" class=\"calendar\" role=\"img\" aria-label=\"calendar of backups\">",
        LEFT + WEEKS * CELL,
        TOP + 7 * CELL
    );
    for (row, name) in DAYS {
        svg += &format!("<text x=\"0\" y=\"{}\">{name}</text>", TOP + row * CELL + 9);
    }
    for back in (0..WEEKS * 7 - (6 - today)).rev() {
        let Ok(at) = now.checked_sub(SignedDuration::from_hours(24 * back)) else { continue };
        // Days before today are counted back from today's place in the last column.
        let place = (WEEKS - 1) * 7 + today - back;
        let (x, y) = (LEFT + place / 7 * CELL, TOP + place % 7 * CELL);
        let date = day(at);
        // A month is named over the first week that begins in it; in the last column there is no room.
        if place % 7 == 0 && date.day() <= 7 && place / 7 < WEEKS - 1 {
            svg += &format!("<text x=\"{x}\" y=\"9\">{}</text>", at.strftime("%b"));
        }
        let (class, words) = days.look(date);
        let side = CELL - 2;
        svg += &format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\"><title>{words}</title></rect>"
        );
    }
    let mark = |class: &str, words: &str| {
        format!(
            "<span><svg viewBox=\"0 0 11 11\"><rect class=\"{class}\" width=\"11\" height=\"11\"/></svg>{words}</span>"
        )
    };
    let legend = [
        ("one", "one backup"),
        ("more", "several"),
        ("none", "one is missing"),
        ("broken", "one is broken"),
        ("before", "nothing known"),
    ];
    let legend: String = legend.into_iter().map(|(class, words)| mark(class, words)).collect();
    format!("{svg}</svg><p class=\"legend\">{legend}</p>")
}
