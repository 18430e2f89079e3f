//! Which backups of one database's name are of one server: those of two are kept apart by whatever chooses among backups.

use super::retention::{Candidate, Rules, Verdict, decide};
use crate::archive::manifest::SourceFacts;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Gives each backup the number of its server, in the order in which servers appear.
///
/// The same system identifier is the same server: a standby has its primary's, under another name. Where one of two backups
/// has none, host and port decide. Backups that know no server at all, as those of earlier versions, go with the only server
/// that others know, if there is no other; where there are several, they are a server of their own.
pub fn groups(sources: &[Option<SourceFacts>]) -> Vec<usize> {
    let mut known: Vec<Vec<&SourceFacts>> = Vec::new();
    let mut numbers: Vec<Option<usize>> = Vec::with_capacity(sources.len());
    // Those with an identifier first, so that one without it joins the server that has its host and port.
    let with = sources.iter().flatten().filter(|source| source.system_identifier.is_some());
    let without = sources.iter().flatten().filter(|source| source.system_identifier.is_none());
    for source in with.chain(without) {
        match known.iter_mut().find(|group| group.iter().any(|other| other.is_same_server(source))) {
            Some(group) => group.push(source),
            None => known.push(vec![source]),
        }
    }
    let of = |source: &SourceFacts| known.iter().position(|group| group.contains(&source));
    numbers.extend(sources.iter().map(|source| source.as_ref().and_then(of)));
    let unknown = if known.len() == 1 { 0 } else { known.len() };
    let found: Vec<usize> = numbers.into_iter().map(|number| number.unwrap_or(unknown)).collect();
    let mut order: Vec<usize> = Vec::new();
    let mut renumbered = Vec::with_capacity(found.len());
    for number in found {
        let place = order.iter().position(|seen| *seen == number).unwrap_or_else(|| {
            order.push(number);
            order.len() - 1
        });
        renumbered.push(place);
    }
    renumbered
}

/// Decides over the backups of one database's name, those of each server by themselves; the verdicts are in the order of the
/// backups.
pub fn decide_by_server(backups: &[(Candidate, Option<SourceFacts>)], rules: &Rules, now: Timestamp) -> Vec<Verdict> {
    let sources: Vec<Option<SourceFacts>> = backups.iter().map(|(_, source)| source.clone()).collect();
    let mut by_server: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, group) in groups(&sources).into_iter().enumerate() {
        by_server.entry(group).or_default().push(index);
    }
    let mut verdicts: Vec<(usize, Verdict)> = Vec::with_capacity(backups.len());
    for indexes in by_server.into_values() {
        let candidates: Vec<Candidate> = indexes.iter().map(|index| backups[*index].0.clone()).collect();
        verdicts.extend(indexes.into_iter().zip(decide(&candidates, rules, now)));
    }
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::{SourceFacts, groups};

    fn source(identifier: &str, host: &str) -> SourceFacts {
        let identifier = (!identifier.is_empty()).then(|| identifier.to_owned());
        SourceFacts { system_identifier: identifier, host: host.to_owned(), port: 5432 }
    }

    #[test]
    fn a_server_is_known_by_its_identifier_wherever_it_answers() {
        assert_eq!(groups(&[Some(source("1", "a")), Some(source("2", "a")), Some(source("1", "b"))]), [0, 1, 0]);
    }

    #[test]
    fn without_an_identifier_host_and_port_decide() {
        assert_eq!(
            groups(&[Some(source("", "a")), Some(source("1", "a")), Some(source("", "b")), Some(source("", "b"))]),
            [0, 0, 1, 1]
        );
    }

    #[test]
    fn backups_of_earlier_versions_go_with_the_only_server_or_stand_alone() {
        assert_eq!(groups(&[None, Some(source("1", "a")), None]), [0, 0, 0]);
        assert_eq!(groups(&[None, None]), [0, 0]);
        assert_eq!(groups(&[Some(source("1", "a")), None, Some(source("2", "b"))]), [0, 1, 2]);
    }
}
