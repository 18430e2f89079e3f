//! Questions to the catalogs, valid SQL for the newest server, with what older servers answer beside the line that differs.

use super::ServerVersion;

/// One set-based question. Its text is SQL for the newest server that pgstow knows.
///
/// A line may end in `-- <N: replacement`: on a server older than major N the replacement stands there instead of the
/// whole line (an empty replacement drops the line). Several may follow one another; the one with the smallest N that
/// applies wins. In the same way `-- !word: replacement` stands where a dump was asked to leave out what the word means
/// (the words of `--no-tablespaces` and its like), whatever the server. The shape of the rows is the same on every server, so that nothing behind the question sees a version.
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
        self.for_server_without(version, &[])
    }

    /// The text for this server, without what these words mean.
    pub fn for_server_without(self, version: ServerVersion, without: &[&str]) -> String {
        let lines = self.0.lines().map(|line| alternative(line, version, without));
        lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// What stands instead of a line, or the line without its alternatives.
fn alternative<'l>(line: &'l str, version: ServerVersion, without: &[&str]) -> &'l str {
    let starts: Vec<usize> =
        line.match_indices("-- ").map(|(at, _)| at).filter(|&at| line[at + 3..].starts_with(['<', '!'])).collect();
    let mut chosen: Option<(u32, &str)> = None;
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(line.len());
        let Some((condition, replacement)) = line[start + 3..end].split_once(':') else { continue };
        let bound = match condition.strip_prefix('!') {
            // Before all versions: what is not wanted is not asked for anywhere.
            Some(word) => without.contains(&word.trim()).then_some(0),
            None => condition[1..].trim().parse::<u32>().ok().filter(|&bound| version.major() < bound),
        };
        if let Some(bound) = bound.filter(|&bound| chosen.is_none_or(|(smallest, _)| bound < smallest)) {
            chosen = Some((bound, replacement.trim()));
        }
    }
    let newest = starts.first().map_or(line, |&start| &line[..start]);
    chosen.map_or(newest.trim_end(), |(_, replacement)| replacement)
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

    #[test]
    fn what_is_left_out_is_asked_for_on_no_server() {
        let question = Question("a -- <18: b -- !tablespaces: c\nd -- !owner: e");
        let without = |version, words: &[&str]| question.for_server_without(ServerVersion(version), words);
        assert_eq!(without(180_000, &[]), "a\nd");
        assert_eq!(without(170_000, &["owner"]), "b\ne");
        assert_eq!(without(170_000, &["tablespaces"]), "c\nd");
        assert_eq!(without(180_000, &["tablespaces", "owner"]), "c\ne");
    }
}
