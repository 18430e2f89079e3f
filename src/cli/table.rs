//! Tables and times in words, for terminals.

/// How a column is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lines of columns with two spaces between them, as wide as what stands in them; the head first.
pub(super) fn table(head: &[(&str, Side)], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize, name: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(name.len())
    };
    let widths: Vec<usize> = head.iter().enumerate().map(|(column, (name, _))| width(column, name)).collect();
    let line = |cells: &[String]| {
        let cell = |((cell, (_, side)), width): ((&String, &(&str, Side)), &usize)| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = cells.iter().zip(head).zip(&widths).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let names: Vec<String> = head.iter().map(|(name, _)| (*name).to_owned()).collect();
    [line(&names)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// A length of time in its two largest units: `4s`, `12m 5s`, `3h 20m`, `5d 3h`.
pub(super) fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..0 => "in the future".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// `1 backup`, `2 backups`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", indicatif::HumanCount(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{Side, counted, span, table};

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them_and_lines_end_with_text() {
        let rows =
            [vec!["a".to_owned(), "1".to_owned(), String::new()], vec!["bcd".into(), "1,000".into(), "x".into()]];
        let lines = table(&[("n", Side::Left), ("rows", Side::Right), ("why", Side::Left)], &rows);
        assert_eq!(lines, ["n     rows  why", "a        1", "bcd  1,000  x"]);
    }

    #[test]
    fn times_are_told_in_two_units_and_one_thing_is_no_plural() {
        let spans = [4, 725, 12_000, 442_800, -1].map(span);
        assert_eq!(spans, ["4s", "12m 5s", "3h 20m", "5d 3h", "in the future"]);
        assert_eq!([0, 1, 1234].map(|count| counted(count, "row", "rows")), ["0 rows", "1 row", "1,234 rows"]);
    }
}
