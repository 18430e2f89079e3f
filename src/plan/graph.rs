//! A directed graph over small integers: strongly connected components and a stable topological order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Edges point from a node to what it needs. All lie in one list, for graphs of large databases are made and thrown away in no
/// time that way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Graph {
    /// What the nodes need, node after node, each in order and once.
    needed: Vec<usize>,
    /// Where each node's part of that begins, and the end.
    starts: Vec<usize>,
}

impl Graph {
    /// From pairs of a node and what it needs; that a node needs itself is no edge.
    pub(crate) fn of(nodes: usize, mut edges: Vec<(usize, usize)>) -> Self {
        edges.retain(|(node, needed)| node != needed);
        edges.sort_unstable();
        edges.dedup();
        let mut starts = vec![0; nodes + 1];
        for &(node, _) in &edges {
            starts[node + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Graph { needed: edges.into_iter().map(|(_, needed)| needed).collect(), starts }
    }

    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(crate) fn needs(&self, node: usize) -> &[usize] {
        &self.needed[self.starts[node]..self.starts[node + 1]]
    }

    /// The components with more than one member, by Tarjan's algorithm, with a stack of its own because a chain of
    /// views can be deeper than the thread's stack.
    pub(crate) fn loops(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let count = self.len();
        let mut index = vec![UNSEEN; count];
        let mut low = vec![0; count];
        let mut on_stack = vec![false; count];
        let (mut stack, mut found, mut next_index) = (Vec::new(), Vec::new(), 0);
        let mut calls: Vec<(usize, usize)> = Vec::new();
        for start in 0..count {
            if index[start] != UNSEEN {
                continue;
            }
            calls.push((start, 0));
            while let Some((node, edge)) = calls.pop() {
                if edge == 0 {
                    index[node] = next_index;
                    low[node] = next_index;
                    next_index += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                if let Some(&needed) = self.needs(node).get(edge) {
                    calls.push((node, edge + 1));
                    if index[needed] == UNSEEN {
                        calls.push((needed, 0));
                    } else if on_stack[needed] {
                        low[node] = low[node].min(index[needed]);
                    }
                    continue;
                }
                if let Some(&(parent, _)) = calls.last() {
                    low[parent] = low[parent].min(low[node]);
                }
                if low[node] == index[node] {
                    let mut members = Vec::new();
                    while let Some(member) = stack.pop() {
                        on_stack[member] = false;
                        members.push(member);
                        if member == node {
                            break;
                        }
                    }
                    if members.len() > 1 {
                        members.sort_unstable();
                        found.push(members);
                    }
                }
            }
        }
        found
    }

    /// Nodes so that each comes after what it needs, and otherwise by `key`. The graph must have no loops.
    pub(crate) fn order<K: Ord>(&self, key: impl Fn(usize) -> K) -> Vec<usize> {
        let count = self.len();
        // Keys are compared once, to number the nodes; from then on the numbers are.
        let mut by_key: Vec<usize> = (0..count).collect();
        by_key.sort_unstable_by(|&one, &other| key(one).cmp(&key(other)).then(one.cmp(&other)));
        let mut rank = vec![0; count];
        for (place, &node) in by_key.iter().enumerate() {
            rank[node] = place;
        }
        let mut backwards = Vec::with_capacity(self.needed.len());
        for node in 0..count {
            backwards.extend(self.needs(node).iter().map(|&needed| (needed, node)));
        }
        let needed_by = Graph::of(count, backwards);
        let mut waiting: Vec<usize> = (0..count).map(|node| self.needs(node).len()).collect();
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..count).filter(|&node| waiting[node] == 0).map(|node| Reverse(rank[node])).collect();
        let mut ordered = Vec::with_capacity(count);
        while let Some(Reverse(place)) = ready.pop() {
            let node = by_key[place];
            ordered.push(node);
            for &next in needed_by.needs(node) {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    ready.push(Reverse(rank[next]));
                }
            }
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;
    use proptest::prelude::*;

    #[test]
    fn a_chain_is_no_loop_and_a_ring_is_one() {
        let graph = Graph::of(5, vec![(0, 1), (1, 2), (2, 0), (3, 2), (4, 3)]);
        assert_eq!(graph.loops(), vec![vec![0, 1, 2]]);
    }

    #[test]
    fn a_deep_chain_does_not_exhaust_the_stack() {
        let graph = Graph::of(200_000, (1..200_000).map(|node| (node, node - 1)).collect());
        assert!(graph.loops().is_empty());
        assert_eq!(graph.order(std::cmp::Reverse).first(), Some(&0));
    }

    proptest! {
        #[test]
        fn every_node_comes_after_what_it_needs(edges in proptest::collection::vec((0usize..40, 0usize..40), 0..200)) {
            // Edges from larger to smaller numbers make no loop.
            let graph = Graph::of(40, edges.into_iter().map(|(a, b)| (a.max(b), a.min(b))).collect());
            prop_assert!(graph.loops().is_empty());
            let order = graph.order(|node| (node * 7) % 11);
            prop_assert_eq!(order.len(), 40);
            let mut place = vec![0; 40];
            for (position, &node) in order.iter().enumerate() {
                place[node] = position;
            }
            for node in 0..40 {
                for &needed in graph.needs(node) {
                    prop_assert!(place[needed] < place[node]);
                }
            }
        }
    }
}
