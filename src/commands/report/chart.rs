//! Pictures as SVG: bars over time, and a calendar.

use super::BackupLine;
use crate::keep::missed::Missed;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// So many of the newest backups become bars.
const BARS: usize = 60;
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 110.0;
/// So many weeks stand in the calendar.
const WEEKS: i64 = 26;
const CELL: i64 = 13;

/// One bar a backup, the oldest on the left. `show` writes a value for people; nothing of it may need escaping.
pub(super) fn bars(backups: &[BackupLine], value: fn(&BackupLine) -> f64, show: fn(f64) -> String) -> String {
    let shown: Vec<&BackupLine> = backups.iter().take(BARS).rev().collect();
    let largest = shown.iter().map(|backup| value(backup)).fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "there are at most 60")]
    let step = WIDTH / shown.len().max(1) as f64;
    // Few backups make no walls.
    let width = (step * 0.8).min(24.0);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><text x=\"0\" y=\"11\">{}</text>",
        HEIGHT + 16.0,
        show(largest)
    );
    let mut x = 0.0;
    for backup in shown {
        let height = if largest > 0.0 { (value(backup) / largest * (HEIGHT - 20.0)).max(1.0) } else { 1.0 };
        svg += &format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{} {}</title></rect>",
            HEIGHT - height,
            backup.id,
            show(value(backup))
        );
        x += step;
    }
    svg + &format!("<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/></svg>")
}

/// One square a day of the last half year, by weeks (columns, the newest on the right) and days (rows, Monday first): how
/// many backups were begun on it, in UTC.
///
/// A day without a backup is red where one is missed; on others retention may have removed what was there.
pub(super) fn calendar(backups: &[BackupLine], missed: &[Missed], now: Timestamp) -> String {
    let day = |at: Timestamp| at.to_zoned_datetime(TimeZone::UTC).date();
    let is_missed = |date| {
        missed.iter().any(|missed| match missed.to {
            None => day(missed.from) == date,
            Some(to) => day(missed.from) < date && date <= day(to),
        })
    };
    let mut counts: HashMap<_, u32> = HashMap::new();
    for backup in backups {
        *counts.entry(day(backup.begun)).or_default() += 1;
    }
    let today = i64::from(day(now).weekday().to_monday_zero_offset());
    let mut svg = format!("<svg viewBox=\"0 0 {} {}\" class=\"calendar\" role=\"img\">", WEEKS * CELL, 7 * CELL);
    for back in (0..WEEKS * 7 - (6 - today)).rev() {
        let Ok(at) = now.checked_sub(SignedDuration::from_hours(24 * back)) else { continue };
        // Days before today are counted back from today's place in the last column.
        let place = (WEEKS - 1) * 7 + today - back;
        let date = day(at);
        let count = counts.get(&date).copied().unwrap_or(0);
        let class = match count {
            0 if is_missed(date) => "none",
            0 => "before",
            1 => "one",
            _ => "more",
        };
        svg += &format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{date}: {count}</title></rect>",
            place / 7 * CELL,
            place % 7 * CELL,
            CELL - 2,
            CELL - 2
        );
    }
    svg + "</svg>"
}
