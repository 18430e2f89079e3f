//! Comments, privileges and labels on what no kind describes: they come along, or the dump says that they are left out.

use super::FacetRows;
use super::chosen::Chosen;
use super::selection::Without;
use crate::error::Result;
use crate::facets::part::{self, Part};
use crate::facets::{Subjects, comment, label, privilege};
use crate::model::{Address, AddressSet, Item, Object, class};
use crate::postgres::Session;

/// The words for the facets in reports.
pub(super) const COMMENT: &str = "comment";
pub(super) const LABEL: &str = "security label";
pub(super) const PRIVILEGES: &str = "privileges";

/// So many are asked about with one question.
const ASKED_AT_ONCE: usize = 1000;

const REASON: &str = "no entry of a dump stands for what it is about";

/// Facets whose object is none of those that kinds describe.
pub(super) struct Homeless<'a> {
    pub(super) session: &'a Session,
    pub(super) found: &'a FacetRows,
    /// Each with the word for its facet.
    pub(super) all: Vec<(&'static str, Address)>,
    pub(super) chosen: &'a Chosen,
}

impl Homeless<'_> {
    /// The items of those whose object is made along with something that is dumped, and has its name again then; and what is
    /// left out, each with the reason. What was not selected is neither.
    pub(super) async fn find(
        self,
        objects: &[Object],
        unwanted: Vec<Object>,
    ) -> Result<(Vec<Item>, Vec<(String, String)>)> {
        let nothing = (Vec::new(), Vec::new());
        if self.all.is_empty() || !self.chosen.definitions() {
            return Ok(nothing);
        }
        let unwanted = Unwanted::of(&unwanted);
        let privileges = self.found.privileges.iter();
        let of_system: AddressSet = privileges.filter(|row| row.is_of_system()).map(privilege::Row::address).collect();
        let without_subscriptions = self.chosen.without(Without::Subscriptions);
        let is_lost = |(word, address): &(&str, Address)| {
            !(unwanted.has(*address)
                || *word == PRIVILEGES && of_system.contains(address)
                || without_subscriptions && address.class == class::SUBSCRIPTION)
        };
        let lost: Vec<(&str, Address)> = self.all.iter().copied().filter(is_lost).collect();
        if lost.is_empty() {
            return Ok(nothing);
        }
        let mut addresses: Vec<Address> = lost.iter().map(|(_, address)| *address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut rows: Vec<part::Row> = Vec::new();
        for some in addresses.chunks(ASKED_AT_ONCE) {
            rows.extend(self.session.question(&part::question(some, self.session.version())).await?);
        }
        let provided: AddressSet =
            objects.iter().flat_map(|object| object.whole.provides.iter().map(|address| address.whole())).collect();
        let (mut parts, mut left_out): (Vec<Part>, Vec<(String, String)>) = Default::default();
        for row in &rows {
            if row.origin().is_some_and(|origin| provided.contains(&origin)) {
                parts.extend(row.part());
                continue;
            }
            let extension = row.holders().find(|holder| holder.class == class::EXTENSION);
            // What is selected in a schema is told by its table, type or function.
            let mut holders = row.holders().filter(|holder| holder.class != class::SCHEMA);
            let is_near = holders.clone().any(|holder| provided.contains(&holder));
            let is_far = holders.any(|holder| unwanted.has(holder));
            let is_said = match extension {
                // It comes with its extension.
                Some(extension) => self.chosen.extension(extension.object),
                // What makes it was not selected, or else it is selected with what it came with.
                None => row.origin().is_none() && !is_far && (is_near || self.chosen.everything()),
            };
            let words = lost.iter().filter(|(_, address)| *address == row.address()).map(|(word, _)| *word);
            for word in words.filter(|word| is_said && !(extension.is_some() && *word == COMMENT)) {
                left_out.push((format!("{word} on {}", row.description()), REASON.to_owned()));
            }
        }
        let subjects = Subjects::of_parts(&parts);
        let is_part = |address: Address| subjects.find(address).is_some();
        let FacetRows { comments, labels, .. } = self.found;
        let comments: Vec<comment::Row> = comments.iter().filter(|row| is_part(row.address())).cloned().collect();
        let labels: Vec<label::Row> = labels.iter().filter(|row| is_part(row.address())).cloned().collect();
        let mut items = Vec::new();
        if !self.chosen.without(Without::Comments) {
            items.extend(comment::items(&comments, &subjects).items);
        }
        if !self.chosen.without(Without::SecurityLabels) {
            items.extend(label::items(&labels, &subjects).items);
        }
        Ok((items, left_out))
    }
}

/// What was not selected.
struct Unwanted(AddressSet);

impl Unwanted {
    fn of(objects: &[Object]) -> Self {
        let targets = objects.iter().flat_map(|object| &object.targets).flat_map(|target| {
            let relation = target.columns.as_ref().map(|columns| Address::new(class::RELATION, columns.relation));
            std::iter::once(target.address).chain(relation)
        });
        let provided = objects.iter().flat_map(|object| object.whole.provides.iter().copied());
        Unwanted(targets.chain(provided).map(Address::whole).collect())
    }

    /// Whether it is one of them, or a column of one.
    fn has(&self, address: Address) -> bool {
        self.0.contains(&address.whole())
    }
}
