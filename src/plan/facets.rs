//! The last step of a plan: facets take their place behind their parents, and everything gets its number.

use super::graph::Graph;
use super::order::{Detours, Node, Planned, Provider};
use crate::error::{Error, Kind, Result};
use crate::model::{AddressMap, AddressSet, Item, Section};

/// Numbers the nodes in `order` and puts each facet right behind the last node that provides a need of it. A facet of
/// something that is not dumped itself (a member of an extension whose privileges were changed) follows the last of the
/// nodes that its object comes from.
///
/// Facets may provide addresses of their own for later facets of the same parent (a column's privileges come after the
/// table's).
///
/// Errors: [`Kind::Internal`] for a facet whose parent is not there, for it would be lost.
pub(super) fn follow_parents(
    nodes: Vec<Node>,
    graph: &Graph,
    order: &[usize],
    facets: Vec<Item>,
    detours: &Detours,
    provider: &AddressMap<Provider>,
) -> Result<Vec<Planned>> {
    let mut place = vec![0; nodes.len()];
    for (position, &node) in order.iter().enumerate() {
        place[node] = position;
    }
    let mut planned: Vec<Planned> = Vec::with_capacity(nodes.len() + facets.len());
    // By their places: a list of one Item has room for four.
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (number, facet) in facets.iter().enumerate() {
        let direct = facet.needs.iter().filter_map(|need| provider.get(&need.whole()).map(|found| found.last));
        let direct = direct.max_by_key(|&node| place[node]);
        let parent = direct.or_else(|| {
            let mut reached = Vec::new();
            for need in &facet.needs {
                detours.reach(need.whole(), provider, &AddressSet::default(), |found| reached.push(found.last));
            }
            reached.into_iter().max_by_key(|&node| place[node])
        });
        let Some(parent) = parent else {
            return Err(Error::new(Kind::Internal, "nothing in the dump provides what this is about").on(facet.label()));
        };
        followers[parent].push(number);
    }
    let mut facets: Vec<Option<Item>> = facets.into_iter().map(Some).collect();
    let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut ids: Vec<Option<i32>> = vec![None; slots.len()];
    let mut by_facet: AddressMap<i32> = AddressMap::default();
    for &index in order {
        let Some(node) = slots[index].take() else { continue };
        let id = next_id(&planned);
        ids[index] = Some(id);
        let mut item = node.item;
        // Rows among definitions are data all the same.
        item.section = node.section.max(if item.early { item.section } else { Section::None });
        let needs = graph.needs(index).iter().filter_map(|&needed| ids[needed]).collect();
        planned.push(Planned { id, item, needs });
        for number in std::mem::take(&mut followers[index]) {
            let Some(facet) = facets[number].take() else { continue };
            let facet_id = next_id(&planned);
            let mut needs = vec![id];
            needs.extend(facet.needs.iter().filter_map(|need| by_facet.get(need).copied()));
            by_facet.extend(facet.provides.iter().map(|provided| (*provided, facet_id)));
            planned.push(Planned { id: facet_id, item: Box::new(facet), needs });
        }
    }
    Ok(planned)
}

fn next_id(planned: &[Planned]) -> i32 {
    i32::try_from(planned.len() + 1).unwrap_or(i32::MAX)
}
