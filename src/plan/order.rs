//! From objects and dependency rows to the ordered table of contents.

use super::facets::follow_parents;
use super::graph::Graph;
use crate::error::{Error, Kind, Result};
use crate::model::{Address, AddressMap, AddressSet, Depend, Item, Object, Opening, Payload, Section};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::ops::Range;

/// An Item in its place: the position in the returned list is the order, `id` is its number in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// From 1, in order, without gaps.
    pub id: i32,
    /// The Item, in its final section.
    pub item: Box<Item>,
    /// The ids of what it needs; all stand before it.
    pub needs: Vec<i32>,
}

/// Orders objects and their facets.
///
/// Errors: [`Kind::Internal`] naming the members of a loop that no member can break by opening.
pub fn plan(objects: Vec<Object>, facets: Vec<Item>, depends: &[Depend]) -> Result<Vec<Planned>> {
    let mut nodes = Nodes::new(objects);
    let detours = Detours::new(depends);
    let (graph, providers) = loop {
        let providers = nodes.providers();
        let graph = nodes.graph(&detours, &providers);
        if nodes.open_loops(&graph)? {
            continue;
        }
        if nodes.settle_sections(&graph) {
            continue;
        }
        break (graph, providers);
    };
    let order = graph.order(|node| nodes.key(node));
    let Nodes { nodes, opened, .. } = nodes;
    // Of ten thousand tables, what could have opened takes as long to free as all that is left to do here.
    std::thread::spawn(move || drop(opened));
    follow_parents(nodes, &graph, &order, facets, &detours, &providers)
}

/// One statement in the making.
pub(super) struct Node {
    pub(super) item: Box<Item>,
    pub(super) section: Section,
    rank: usize,
    /// The index of the object it came from; parts share it.
    object: usize,
    /// For a part: needs the head.
    head: Option<usize>,
}

struct Nodes {
    nodes: Vec<Node>,
    /// How each object opens, taken when it does.
    opened: Vec<Opening>,
    /// The objects that stood in one loop with an object when it opened.
    mates: HashMap<usize, HashSet<usize>>,
}

/// Who provides an address. A head and its last part may both provide it (a shell type and the type): whoever stood in
/// the loop with them needs the head, everything else the part.
#[derive(Clone, Copy)]
pub(super) struct Provider {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Nodes {
    fn new(objects: Vec<Object>) -> Self {
        let mut nodes = Vec::with_capacity(objects.len());
        let mut opened = Vec::with_capacity(objects.len());
        for (index, object) in objects.into_iter().enumerate() {
            let section = object.whole.section;
            nodes.push(Node { item: object.whole, section, rank: object.rank, object: index, head: None });
            opened.push(object.opened);
        }
        let mut nodes = Nodes { nodes, opened, mates: HashMap::new() };
        for node in (0..nodes.nodes.len()).filter(|&node| nodes.needs_itself(node)).collect::<Vec<_>>() {
            nodes.open(node);
        }
        nodes
    }

    /// A loop of one, which the graph does not show.
    fn needs_itself(&self, node: usize) -> bool {
        let item = &self.nodes[node].item;
        item.needs.iter().any(|need| item.provides.contains(need)) && self.can_open(node)
    }

    fn key(&self, node: usize) -> (Section, usize, &Option<String>, &str, u32) {
        let Node { item, section, rank, .. } = &self.nodes[node];
        (*section, *rank, &item.schema, &item.tag, item.address.object.0)
    }

    fn providers(&self) -> AddressMap<Provider> {
        let count = self.nodes.iter().map(|node| node.item.provides.len()).sum();
        let mut providers: AddressMap<Provider> =
            AddressMap::with_capacity_and_hasher(count, BuildHasherDefault::default());
        for (index, node) in self.nodes.iter().enumerate() {
            for address in &node.item.provides {
                // A head stands before its parts.
                let provider = providers.entry(address.whole()).or_insert(Provider { first: index, last: index });
                provider.last = index;
            }
        }
        providers
    }

    /// Which of an address's providers this node needs.
    fn provider_for(&self, node: usize, provider: Provider) -> usize {
        let (needing, needed) = (self.nodes[node].object, self.nodes[provider.first].object);
        let is_mate = || self.mates.get(&needed).is_some_and(|mates| mates.contains(&needing));
        if needing == needed || is_mate() { provider.first } else { provider.last }
    }

    fn graph(&self, detours: &Detours, providers: &AddressMap<Provider>) -> Graph {
        let mut edges = Vec::with_capacity(4 * self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let ignores: AddressSet = node.item.ignores.iter().map(|address| address.whole()).collect();
            for from in &node.item.provides {
                detours.reach(from.whole(), providers, &ignores, |needed| {
                    edges.push((index, self.provider_for(index, needed)));
                });
            }
            for need in &node.item.needs {
                let need = need.whole();
                match providers.get(&need) {
                    Some(&needed) => edges.push((index, self.provider_for(index, needed))),
                    None => detours.reach(need, providers, &ignores, |needed| {
                        edges.push((index, self.provider_for(index, needed)));
                    }),
                }
            }
            edges.extend(node.head.map(|head| (index, head)));
        }
        let refreshes = self.refreshes(providers);
        if refreshes.is_empty() {
            return Graph::of(self.nodes.len(), edges);
        }
        let graph = Graph::of(self.nodes.len(), edges.clone());
        edges.extend(edges_between_refreshes(&refreshes, &graph));
        Graph::of(self.nodes.len(), edges)
    }

    /// The refreshes, by what they refresh.
    fn refreshes(&self, providers: &AddressMap<Provider>) -> HashMap<usize, usize> {
        let mut refreshes = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.item.payload == Payload::Refresh) {
            let parents = node.item.needs.iter().filter_map(|need| providers.get(&need.whole()));
            refreshes.extend(parents.map(|parent| (parent.last, index)));
        }
        refreshes
    }

    /// Opens every member of a loop that can open; true when something did.
    fn open_loops(&mut self, graph: &Graph) -> Result<bool> {
        let mut progress = false;
        for members in graph.loops() {
            let openable: Vec<usize> = members.iter().copied().filter(|&node| self.can_open(node)).collect();
            if openable.is_empty() {
                let names: Vec<String> = members.iter().map(|&node| self.nodes[node].item.label()).collect();
                return Err(Error::new(Kind::Internal, "these objects depend on one another, and none can be split")
                    .on(names.join(", "))
                    .hint("please report this with the definitions of the objects named"));
            }
            let mates: HashSet<usize> = members.iter().map(|&node| self.nodes[node].object).collect();
            for node in openable {
                self.open(node);
                self.mates.insert(self.nodes[node].object, mates.clone());
                progress = true;
            }
        }
        Ok(progress)
    }

    fn can_open(&self, node: usize) -> bool {
        let Node { object, head, .. } = self.nodes[node];
        head.is_none() && self.opened[object].is_possible()
    }

    fn open(&mut self, node: usize) {
        let object = self.nodes[node].object;
        let rank = self.nodes[node].rank;
        let mut items = std::mem::take(&mut self.opened[object]).items().into_iter();
        if let Some(head) = items.next() {
            self.nodes[node].section = head.section;
            *self.nodes[node].item = head;
        }
        for part in items {
            self.nodes.push(Node { section: part.section, item: Box::new(part), rank, object, head: Some(node) });
        }
    }

    /// Moves every node to the latest section of what it needs. A node that would move and can open opens instead;
    /// true when one did, for then the graph has changed.
    fn settle_sections(&mut self, graph: &Graph) -> bool {
        let own = |item: &Item| if item.early { Section::PreData } else { item.section };
        let mut settled: Vec<Section> = self.nodes.iter().map(|node| own(&node.item)).collect();
        let mut opening = Vec::new();
        for node in graph.order(|node| node) {
            let latest = graph.needs(node).iter().map(|&needed| settled[needed]).max();
            if let Some(latest) = latest.filter(|&latest| latest > settled[node]) {
                if self.can_open(node) {
                    opening.push(node);
                } else {
                    settled[node] = latest;
                }
            }
        }
        for &node in &opening {
            self.open(node);
        }
        if opening.is_empty() {
            for (node, section) in self.nodes.iter_mut().zip(settled) {
                node.section = section;
            }
        }
        !opening.is_empty()
    }
}

/// A refresh comes after the refreshes of everything that its parent is built on, directly or through others.
fn edges_between_refreshes(refreshes: &HashMap<usize, usize>, graph: &Graph) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for (&parent, &refresh) in refreshes {
        let (mut seen, mut stack) = (HashSet::from([parent]), vec![parent]);
        while let Some(node) = stack.pop() {
            for &needed in graph.needs(node) {
                if needed != refresh && seen.insert(needed) {
                    stack.push(needed);
                }
            }
        }
        edges.extend(seen.iter().filter_map(|reached| refreshes.get(reached)).map(|&earlier| (refresh, earlier)));
    }
    edges
}

/// Dependency rows by their dependent, for following those that lead through things that are not dumped.
pub(super) struct Detours {
    /// Dependents with what they depend on, sorted.
    rows: Vec<(Address, Address)>,
    /// Where the rows of a dependent are.
    places: AddressMap<Range<usize>>,
}

impl Detours {
    fn new(depends: &[Depend]) -> Self {
        let mut rows: Vec<(Address, Address)> =
            depends.iter().map(|depend| (depend.from.whole(), depend.to.whole())).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut places = AddressMap::with_capacity_and_hasher(rows.len() / 2, BuildHasherDefault::default());
        let mut begin = 0;
        for same in rows.chunk_by(|(one, _), (other, _)| one == other) {
            places.insert(same[0].0, begin..begin + same.len());
            begin += same.len();
        }
        Detours { rows, places }
    }

    /// Calls `found` with every provider that `from` depends on, through unprovided addresses if need be.
    pub(super) fn reach(
        &self,
        from: Address,
        providers: &AddressMap<Provider>,
        ignores: &AddressSet,
        mut found: impl FnMut(Provider),
    ) {
        // Nearly all that anything depends on is provided, and then neither of these is ever filled.
        let (mut seen, mut stack) = (AddressSet::default(), Vec::new());
        let mut next = Some(from);
        while let Some(address) = next {
            let rows = self.places.get(&address).map_or(&[][..], |place| &self.rows[place.clone()]);
            for &(_, needed) in rows {
                if needed == from || ignores.contains(&needed) {
                    continue;
                }
                match providers.get(&needed) {
                    Some(&provider) => found(provider),
                    None if seen.insert(needed) => stack.push(needed),
                    None => {}
                }
            }
            next = stack.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::model::{Address, Belongs, Depend, Item, Object, Oid, Payload, Section};

    fn address(number: u32) -> Address {
        Address::new(Oid(1), Oid(number))
    }

    fn item(number: u32, tag: &str) -> Item {
        Item::new("THING", address(number), Some("public"), tag)
    }

    fn object(number: u32, tag: &str) -> Object {
        Object::simple(item(number, tag), Belongs::default())
    }

    fn depend(from: u32, to: u32) -> Depend {
        Depend { from: address(from), to: address(to) }
    }

    fn tags(objects: Vec<Object>, facets: Vec<Item>, depends: &[Depend]) -> Vec<String> {
        let planned = plan(objects, facets, depends).expect("a plan");
        for (position, entry) in planned.iter().enumerate() {
            assert_eq!(usize::try_from(entry.id).expect("positive"), position + 1);
            assert!(entry.needs.iter().all(|&needed| needed < entry.id), "needs stand before");
        }
        planned.into_iter().map(|entry| entry.item.tag).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_names_break_ties() {
        let objects = vec![object(1, "b"), object(2, "a"), object(3, "c")];
        assert_eq!(tags(objects, vec![], &[depend(2, 3)]), ["b", "c", "a"]);
    }

    #[test]
    fn an_edge_through_something_that_is_not_dumped_still_counts() {
        let objects = vec![object(1, "a"), object(2, "b")];
        assert_eq!(tags(objects, vec![], &[depend(1, 77), depend(77, 78), depend(78, 2)]), ["b", "a"]);
    }

    #[test]
    fn a_loop_opens_where_it_can() {
        let mut table = object(1, "table");
        table.whole.provides.push(address(10));
        let mut default = item(10, "table default");
        default.provides = vec![address(10)];
        table.opened = vec![item(1, "table head"), default].into();
        let objects = vec![table, object(2, "function")];
        let order = tags(objects, vec![], &[depend(10, 2), depend(2, 1)]);
        assert_eq!(order, ["table head", "function", "table default"]);
    }

    #[test]
    fn what_needs_itself_opens() {
        let mut view = object(1, "view");
        view.whole.provides.push(address(10));
        view.whole.needs.push(address(10));
        let mut query = item(10, "view query");
        query.provides = vec![address(10)];
        view.opened = vec![item(1, "view stub"), query].into();
        assert_eq!(
            tags(vec![view, object(2, "a reader")], vec![], &[depend(10, 1), depend(2, 1)]),
            ["view stub", "a reader", "view query"]
        );
        let mut lonely = object(1, "it cannot open");
        lonely.whole.needs.push(address(1));
        assert_eq!(tags(vec![lonely], vec![], &[]), ["it cannot open"]);
    }

    #[test]
    fn a_loop_that_cannot_open_names_its_members() {
        let error =
            plan(vec![object(1, "a"), object(2, "b")], vec![], &[depend(1, 2), depend(2, 1)]).expect_err("a loop");
        assert_eq!(error.object(), Some("thing public.a, thing public.b"));
    }

    #[test]
    fn an_item_moves_to_the_section_of_what_it_needs_and_opens_first_if_it_can() {
        let mut key = object(1, "key");
        key.whole.section = Section::PostData;
        let mut view = object(2, "view");
        view.whole.provides.push(address(20));
        let mut body = item(20, "view body");
        body.provides = vec![address(20)];
        view.opened = vec![item(2, "view stub"), body].into();
        let objects = vec![key, view, object(3, "user of the view"), object(4, "plain")];
        let planned = plan(objects, vec![], &[depend(20, 1), depend(3, 2), depend(4, 1)]).expect("a plan");
        let sections: Vec<(&str, Section)> = planned.iter().map(|p| (p.item.tag.as_str(), p.item.section)).collect();
        assert_eq!(
            sections,
            [
                ("view stub", Section::PreData),
                ("user of the view", Section::PreData),
                ("key", Section::PostData),
                ("plain", Section::PostData),
                ("view body", Section::PostData),
            ]
        );
    }

    #[test]
    fn early_rows_stand_among_definitions_and_stay_data_and_what_they_need_may_hold_them_back() {
        let rows = |number: u32, tag: &str, need: u32| {
            let mut rows = object(number, tag);
            (rows.whole.section, rows.whole.early, rows.whole.needs) = (Section::Data, true, vec![address(need)]);
            rows
        };
        let mut late = object(4, "late rows");
        late.whole.section = Section::Data;
        let mut table = object(5, "table");
        table.rank = 1;
        let objects =
            vec![table, late, rows(2, "rows", 1), rows(3, "rows behind late ones", 4), object(1, "extension")];
        let planned = plan(objects, vec![], &[]).expect("a plan");
        let found: Vec<(&str, Section)> = planned.iter().map(|p| (p.item.tag.as_str(), p.item.section)).collect();
        assert_eq!(
            found,
            [
                ("extension", Section::PreData),
                ("rows", Section::Data),
                ("table", Section::PreData),
                ("late rows", Section::Data),
                ("rows behind late ones", Section::Data),
            ]
        );
    }

    #[test]
    fn a_refresh_waits_for_the_refreshes_below_it() {
        let refresh = |of: u32, tag: &str| {
            let mut object = Object::simple(item(0, tag), Belongs::default());
            object.whole.provides.clear();
            object.whole.needs = vec![address(of)];
            object.whole.payload = Payload::Refresh;
            object.whole.section = Section::PostData;
            object
        };
        let objects =
            vec![object(1, "mv top"), object(2, "view"), object(3, "mv base"), refresh(1, "a"), refresh(3, "b")];
        let order = tags(objects, vec![], &[depend(1, 2), depend(2, 3)]);
        assert_eq!(order, ["mv base", "view", "mv top", "b", "a"]);
    }

    #[test]
    fn a_facet_follows_its_parent_at_once() {
        let facet = |tag: &str, of: u32| {
            let mut item = Item::new("COMMENT", Address::default(), None, tag);
            item.section = Section::None;
            item.needs = vec![address(of)];
            item
        };
        let order = tags(vec![object(1, "a"), object(2, "b")], vec![facet("on b", 2), facet("on a", 1)], &[]);
        assert_eq!(order, ["a", "on a", "b", "on b"]);
    }
}
