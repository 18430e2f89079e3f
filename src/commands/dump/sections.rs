//! `--section`: the part of the plan that belongs to the sections asked for.

use crate::model::Section;
use crate::plan::Planned;

/// Keeps what belongs to these sections; none means all. What stands beside something belongs to that one's section, and
/// large objects are data, although the archive's older versions have them made before.
pub(super) fn keep(planned: &mut Vec<Planned>, wanted: &[Section]) {
    if wanted.is_empty() {
        return;
    }
    let mut current = Section::PreData;
    planned.retain(|entry| {
        let item = &entry.item;
        current = match item.section {
            Section::None => current,
            _ if item.desc == "BLOB" => Section::Data,
            section => section,
        };
        // The database itself is in every archive, and restored only when a restore is asked to create it.
        matches!(item.desc, "DATABASE" | "DATABASE PROPERTIES") || wanted.contains(&current)
    });
}

/// A section's name, as on the command line.
pub(crate) fn word(section: Section) -> &'static str {
    match section {
        Section::None => "none",
        Section::PreData => "pre-data",
        Section::Data => "data",
        Section::PostData => "post-data",
    }
}

#[cfg(test)]
mod tests {
    use super::keep;
    use crate::model::{Address, Item, Section};
    use crate::plan::Planned;

    fn check(wanted: &[Section], expected: &[&str]) {
        let entries = [
            ("DATABASE", Section::PreData),
            ("TABLE", Section::PreData),
            ("COMMENT", Section::None),
            ("BLOB", Section::PreData),
            ("ACL", Section::None),
            ("VIEW", Section::PreData),
            ("TABLE DATA", Section::Data),
            ("INDEX", Section::PostData),
            ("COMMENT", Section::None),
        ];
        let mut id = 0;
        let mut planned: Vec<Planned> = entries
            .map(|(desc, section)| {
                id += 1;
                Planned {
                    id,
                    item: Box::new(Item { section, ..Item::new(desc, Address::default(), None, "x") }),
                    needs: vec![],
                }
            })
            .into();
        keep(&mut planned, wanted);
        assert_eq!(planned.iter().map(|entry| entry.item.desc).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_stands_beside_something_belongs_to_its_section() {
        check(&[Section::PreData], &["DATABASE", "TABLE", "COMMENT", "VIEW"]);
        check(&[Section::Data], &["DATABASE", "BLOB", "ACL", "TABLE DATA"]);
        check(&[Section::PostData], &["DATABASE", "INDEX", "COMMENT"]);
    }

    #[test]
    fn the_sections_together_are_everything_and_so_is_none() {
        let all = ["DATABASE", "TABLE", "COMMENT", "BLOB", "ACL", "VIEW", "TABLE DATA", "INDEX", "COMMENT"];
        check(&[Section::PreData, Section::Data, Section::PostData], &all);
        check(&[], &all);
    }
}
