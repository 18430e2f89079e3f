//! Questions to the catalogs, valid SQL for the newest server, with what older servers answer beside the line that differs.

use super::ServerVersion;

/// One set-based question. Its text is SQL for the newest server that pgstow knows.
///
/// A line may end in `-- <N: replacement`: on a server older than major N the replacement stands there instead of the
/// whole line (an empty replacement drops the line). Several may follow one another; the one with the smallest N that
/// applies wins. The shape of the rows is the same on every server, so that nothing behind the question sees a version.
///
/// ```
/// use pgstow::model::{Question, ServerVersion};
/// let question = Question("SELECT a.attcompression AS compression -- <14: SELECT '' AS compression\nFROM pg_attribute a");
/// assert_eq!(question.for_server(ServerVersion(130_023)), "SELECT '' AS compression\nFROM pg_attribute a");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Question(pub &'static str);

impl Question {
    /// The text for this server.
    pub fn for_server(self, version: ServerVersion) -> String {
        let mut lines = Vec::new();
        for line in self.0.lines() {
            let mut pieces = line.split("-- <");
            let newest = pieces.next().unwrap_or_default().trim_end();
            let mut chosen: Option<(u32, &str)> = None;
            for piece in pieces {
                let Some((bound, replacement)) = piece.split_once(':') else { continue };
                let Ok(bound) = bound.trim().parse::<u32>() else { continue };
                if version.major() < bound && chosen.is_none_or(|(smallest, _)| bound < smallest) {
                    chosen = Some((bound, replacement.trim()));
                }
            }
            let text = chosen.map_or(newest, |(_, replacement)| replacement);
            if !text.trim().is_empty() {
                lines.push(text);
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, ServerVersion};

    #[test]
    fn the_smallest_bound_that_applies_wins() {
        let question = Question("a -- <18: b -- <15: c\nd -- <14:\ne");
        assert_eq!(question.for_server(ServerVersion(180_000)), "a\nd\ne");
        assert_eq!(question.for_server(ServerVersion(170_000)), "b\nd\ne");
        assert_eq!(question.for_server(ServerVersion(140_000)), "c\nd\ne");
        assert_eq!(question.for_server(ServerVersion(130_000)), "c\ne");
    }
}
