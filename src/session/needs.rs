//! Nodes in an order in which each follows those it needs, as clients have to get them.
//!
//! Used where nodes wait to be sent: in a user's backlog (`behind`) and in the outboxes of the ports.

use crate::wire::identity::{NodeId, NodeSet};

/// A way through what waits, from one node to all it needs. Each need is looked at once, however many
/// there are: users choose them.
#[derive(Debug, Default)]
pub(crate) struct NeedsFirst {
    /// Nodes whose needs are being gone through, and how many of those have been looked at.
    path: Vec<(NodeId, usize)>,
    /// Who has been on the path: nodes may need each other.
    seen: NodeSet,
}

impl NeedsFirst {
    /// Begins with a node. To be called when everything before it is [done](Self::is_done).
    pub(crate) fn start(&mut self, node: NodeId) {
        self.seen.insert(node);
        self.path.push((node, 0));
    }

    /// The next node to be sent, something that waits and is needed first or the one it began with. `None`
    /// if that was the last.
    pub(crate) fn next<'a>(
        &mut self,
        needs: impl Fn(NodeId) -> &'a [NodeId],
        mut waits: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        while let Some((node, looked_at)) = self.path.last_mut() {
            let Some(need) = needs(*node).get(*looked_at).copied() else {
                break;
            };
            *looked_at += 1;
            if waits(need) && self.seen.insert(need) {
                self.path.push((need, 0));
            }
        }
        self.path.pop().map(|(node, _)| node)
    }

    /// Whether what it began with has been given out.
    pub(crate) fn is_done(&self) -> bool {
        self.path.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn id(n: usize) -> NodeId {
        NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
    }

    /// The order in which the nodes of `first` come, and how many needs were looked at.
    fn order(first: &[usize], needs: &[Vec<usize>], waits: &[bool]) -> (Vec<usize>, usize) {
        let ids: Vec<Vec<_>> = needs
            .iter()
            .map(|needs| needs.iter().map(|n| id(*n)).collect())
            .collect();
        let number = |node| (0..needs.len()).find(|n| id(*n) == node).unwrap();
        let looked_at = Cell::new(0);
        let mut given = vec![false; needs.len()];
        let mut order = Vec::new();
        let mut walk = NeedsFirst::default();
        loop {
            if walk.is_done() {
                let Some(next) = first.iter().find(|n| !given[**n]) else {
                    return (order, looked_at.get());
                };
                walk.start(id(*next));
            }
            let node = walk.next(
                |node| &ids[number(node)],
                |node| {
                    looked_at.set(looked_at.get() + 1);
                    waits[number(node)] && !given[number(node)]
                },
            );
            let node = number(node.unwrap());
            given[node] = true;
            order.push(node);
        }
    }

    #[test]
    fn each_node_follows_what_it_needs() {
        let needs = [vec![1, 2], vec![3], vec![3, 4], vec![], vec![]];
        let waits = [true; 5];
        assert_eq!(order(&[0], &needs, &waits).0, [3, 1, 4, 2, 0]);
        assert_eq!(order(&[3, 2, 0], &needs, &waits).0, [3, 4, 2, 1, 0]);
        // What does not wait is there already, and so is what it needs.
        let waits = [true, false, true, true, true];
        assert_eq!(order(&[0], &needs, &waits).0, [3, 4, 2, 0]);
    }

    #[test]
    fn nodes_that_need_each_other_come_once() {
        let needs = [vec![0, 1], vec![2], vec![0, 1]];
        assert_eq!(order(&[0, 1, 2], &needs, &[true; 3]).0, [2, 1, 0]);
    }

    #[test]
    fn each_need_is_looked_at_once() {
        const MANY: usize = 200;
        let mut needs = vec![Vec::new(); MANY];
        needs[0] = (1..MANY).collect();
        needs[1] = (2..MANY).collect();
        let (order, looked_at) = order(&[0], &needs, &[true; MANY]);
        assert_eq!(order.len(), MANY);
        assert_eq!(looked_at, 2 * MANY - 3);
    }
}
