//! A directed graph over small integers: strongly connected components and a stable topological order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Edges point from a node to what it needs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Graph {
    needs: Vec<Vec<usize>>,
}

impl Graph {
    pub(crate) fn new(nodes: usize) -> Self {
        Graph { needs: vec![Vec::new(); nodes] }
    }

    pub(crate) fn add(&mut self, node: usize, needed: usize) {
        if node != needed {
            self.needs[node].push(needed);
        }
    }

    /// Sorts each node's edges and drops repetitions.
    pub(crate) fn tidy(&mut self) {
        for needs in &mut self.needs {
            needs.sort_unstable();
            needs.dedup();
        }
    }

    pub(crate) fn needs(&self, node: usize) -> &[usize] {
        &self.needs[node]
    }

    /// The components with more than one member, by Tarjan's algorithm, with a stack of its own because a chain of
    /// views can be deeper than the thread's stack.
    pub(crate) fn loops(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let count = self.needs.len();
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
                if let Some(&needed) = self.needs[node].get(edge) {
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
        let count = self.needs.len();
        let mut waiting: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut needed_by = vec![Vec::new(); count];
        for (node, needs) in self.needs.iter().enumerate() {
            for &needed in needs {
                needed_by[needed].push(node);
            }
        }
        let mut ready: BinaryHeap<Reverse<(K, usize)>> =
            (0..count).filter(|&node| waiting[node] == 0).map(|node| Reverse((key(node), node))).collect();
        let mut ordered = Vec::with_capacity(count);
        while let Some(Reverse((_, node))) = ready.pop() {
            ordered.push(node);
            for &next in &needed_by[node] {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    ready.push(Reverse((key(next), next)));
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
        let mut graph = Graph::new(5);
        for (node, needed) in [(0, 1), (1, 2), (2, 0), (3, 2), (4, 3)] {
            graph.add(node, needed);
        }
        assert_eq!(graph.loops(), vec![vec![0, 1, 2]]);
    }

    #[test]
    fn a_deep_chain_does_not_exhaust_the_stack() {
        let mut graph = Graph::new(200_000);
        for node in 1..200_000 {
            graph.add(node, node - 1);
        }
        assert!(graph.loops().is_empty());
        assert_eq!(graph.order(std::cmp::Reverse).first(), Some(&0));
    }

    proptest! {
        #[test]
        fn every_node_comes_after_what_it_needs(edges in proptest::collection::vec((0usize..40, 0usize..40), 0..200)) {
            let mut graph = Graph::new(40);
            for (a, b) in edges {
                // Edges from larger to smaller numbers make no loop.
                graph.add(a.max(b), a.min(b));
            }
            graph.tidy();
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
