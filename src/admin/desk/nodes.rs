//! Orders about nodes: what there is, who owns it, and what is set aside.

use std::collections::BTreeMap;

use super::Desk;
use crate::admin::answer::{Answer, Owned};
use crate::session::{Listed, Outlet};
use crate::text::shown;
use crate::wire::identity::NodeId;

impl<O: Outlet + Sync> Desk<O> {
    pub(crate) async fn nodes(&self) -> Result<Vec<Listed>, String> {
        self.ask(|session, _| session.nodes()).await
    }

    pub(super) async fn list_nodes(&self, which: String) -> Result<Answer, String> {
        let fits = move |node: &Listed| node.owner == which || node.id.as_str().starts_with(&which);
        let mut nodes = self.nodes().await?;
        nodes.retain(fits);
        let bytes = nodes.iter().map(|node| node.bytes).sum();
        Ok(Answer::Nodes { bytes, nodes })
    }

    pub(super) async fn quarantine(&self, node: &str) -> Result<Answer, String> {
        let id = self.find_node(node, false).await?;
        match self.ask(move |s, now| s.quarantine(id, now)).await? {
            true => Ok(Answer::Quarantined { quarantined: id }),
            false => Err(format!("{id} is gone already")),
        }
    }

    pub(super) async fn release(&self, node: &str) -> Result<Answer, String> {
        let id = self.find_node(node, true).await?;
        match self.ask(move |s, now| s.release(id, now)).await? {
            Ok(()) => Ok(Answer::Released { released: id }),
            Err(error) => Err(format!("{id} {error}")),
        }
    }

    /// The one node whose uuid begins like this, among those that are set aside or those that are
    /// not.
    async fn find_node(&self, which: &str, aside: bool) -> Result<NodeId, String> {
        find_node(&self.nodes().await?, which, aside)
    }

    pub(super) async fn owners(&self) -> Result<Answer, String> {
        let mut owners: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for node in self.nodes().await? {
            let owned = owners.entry(node.owner).or_default();
            owned.0 = owned.0.saturating_add(1);
            owned.1 = owned.1.saturating_add(node.bytes);
        }
        let mut owners: Vec<_> = owners
            .into_iter()
            .map(|(owner, (nodes, bytes))| Owned {
                owner,
                nodes,
                bytes,
            })
            .collect();
        owners.sort_by_key(|owned| std::cmp::Reverse(owned.bytes));
        Ok(Answer::Owners { owners })
    }

    pub(super) async fn give(&self, which: String, owner: String) -> Result<Answer, String> {
        let nodes = self.nodes().await?;
        let mut given: Vec<_> = nodes
            .iter()
            .filter(|node| !node.aside && node.owner == which)
            .map(|node| node.id)
            .collect();
        if given.is_empty() {
            let is_node = |node: &Listed| !node.aside && node.id.as_str().starts_with(&which);
            if !which.is_empty() && !nodes.iter().any(is_node) {
                let which = shown(&which);
                return Err(format!(
                    "{which} owns nothing, and no node's uuid begins with it"
                ));
            }
            given.push(find_node(&nodes, &which, false)?);
        }
        let to = owner.clone();
        let result = self.ask(move |s, now| s.assign(&given, &to, now)).await?;
        Ok(Answer::Given {
            given: result?,
            owner,
        })
    }
}

/// The one node whose uuid begins like this.
fn find_node(all: &[Listed], which: &str, aside: bool) -> Result<NodeId, String> {
    let mut fitting = all
        .iter()
        .filter(|node| node.aside == aside && node.id.as_str().starts_with(which));
    match (which, fitting.next(), fitting.next()) {
        ("", _, _) => Err("which one? Its uuid, or the beginning of it (see nodes)".to_owned()),
        (_, Some(node), None) => Ok(node.id),
        (_, None, _) if aside => Err(format!("no node {} is set aside", shown(which))),
        (_, None, _) => Err(format!("there is no node {}", shown(which))),
        _ => Err(format!("several nodes begin with {}", shown(which))),
    }
}
