//! A table of path prefixes: which of them does a path begin with?
//!
//! The prefixes stand in byte order, each linked to the longest other one that it begins with itself.
//! Every prefix of a path that is in the table is then on the chain of the greatest entry that is not
//! greater than the path: one binary search and a few steps, however many routes there are.

use std::collections::BTreeMap;
use std::iter;

const NONE: u32 = u32::MAX;

/// Where a candidate stands: its host pattern and its rank among all candidates (0 is the strongest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) host: u32,
    pub(super) rank: u32,
}

/// One prefix and the candidates it leads to, ordered by host pattern, then by rank.
pub(super) struct Node {
    start: usize,
    len: usize,
    parent: u32,
    slots: Box<[Slot]>,
}

impl Node {
    /// The length of the prefix in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The ranks of the candidates with that host pattern, the strongest first.
    pub(super) fn ranks(&self, host: u32) -> impl Iterator<Item = u32> + '_ {
        let at = self.slots.partition_point(|slot| slot.host < host);
        let rest = self.slots.get(at..).unwrap_or_default();
        rest.iter().take_while(move |slot| slot.host == host).map(|slot| slot.rank)
    }
}

/// The table. The texts lie in one piece of memory, which the search runs through.
#[derive(Default)]
pub(super) struct Prefixes {
    text: Vec<u8>,
    nodes: Vec<Node>,
}

impl Prefixes {
    /// The table of these prefixes with their candidates.
    pub(super) fn new(prefixes: BTreeMap<Vec<u8>, Vec<Slot>>) -> Self {
        let mut table = Self::default();
        let mut open: Vec<u32> = Vec::new();
        for (index, (prefix, mut slots)) in (0..).zip(prefixes) {
            slots.sort_unstable();
            slots.dedup();
            while open.pop_if(|at| !prefix.starts_with(table.text_of(*at))).is_some() {}
            table.nodes.push(Node {
                start: table.text.len(),
                len: prefix.len(),
                parent: open.last().copied().unwrap_or(NONE),
                slots: slots.into(),
            });
            table.text.extend_from_slice(&prefix);
            open.push(index);
        }
        table
    }

    /// The prefixes of `path`, the longest first.
    pub(super) fn of<'t>(&'t self, path: &[u8]) -> impl Iterator<Item = &'t Node> + Clone + use<'t> {
        let after = self.nodes.partition_point(|node| self.bytes(node) <= path);
        let below = after.checked_sub(1).and_then(|at| self.nodes.get(at));
        let common = below.map_or(0, |node| common_len(self.bytes(node), path));
        self.chain(below).skip_while(move |node| node.len > common)
    }

    fn chain<'t>(&'t self, from: Option<&'t Node>) -> impl Iterator<Item = &'t Node> + Clone + use<'t> {
        iter::successors(from, |node| self.nodes.get(node.parent as usize))
    }

    fn bytes(&self, node: &Node) -> &[u8] {
        self.text.get(node.start..node.start + node.len).unwrap_or_default()
    }

    fn text_of(&self, index: u32) -> &[u8] {
        self.nodes.get(index as usize).map(|node| self.bytes(node)).unwrap_or_default()
    }
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(prefixes: &[&str]) -> Prefixes {
        Prefixes::new(prefixes.iter().map(|text| (text.as_bytes().to_vec(), Vec::new())).collect())
    }

    fn found(table: &Prefixes, path: &str) -> Vec<usize> {
        table.of(path.as_bytes()).map(Node::len).collect()
    }

    #[test]
    fn prefixes_come_longest_first() {
        let table = table(&["", "/", "/a", "/a/b", "/a/b/c/d", "/ab", "/b"]);
        assert_eq!(found(&table, "/a/b/c"), [4, 2, 1, 0]);
        assert_eq!(found(&table, "/abc"), [3, 2, 1, 0]);
        assert_eq!(found(&table, "*"), [0]);
        assert_eq!(found(&Prefixes::default(), "/a"), [0; 0]);
    }

    #[test]
    fn candidates_come_by_host_and_rank() {
        let slots = [(1, 9), (0, 4), (1, 2), (1, 9), (3, 1)];
        let slots = slots.map(|(host, rank)| Slot { host, rank }).to_vec();
        let table = Prefixes::new(BTreeMap::from([(b"/".to_vec(), slots)]));
        let node = table.of(b"/x").next().expect("found");
        let ranks = |host| node.ranks(host).collect::<Vec<_>>();
        assert_eq!([ranks(0), ranks(1), ranks(2), ranks(3)], [vec![4], vec![2, 9], vec![], vec![1]]);
    }

    proptest! {
        #[test]
        fn the_search_finds_what_a_scan_finds(
            prefixes in prop::collection::btree_set("[ab/]{0,6}", 0..20),
            path in "[ab/]{0,8}",
        ) {
            let all: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let mut scan: Vec<usize> =
                all.iter().filter(|prefix| path.starts_with(**prefix)).map(|prefix| prefix.len()).collect();
            scan.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(found(&table(&all), &path), scan);
        }
    }
}
