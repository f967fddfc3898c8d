//! Takes back what a journal tells of, and nothing else: each change is looked at first, and left alone where it is no
//! longer ours. Can be done any number of times.

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use super::journal::{Change, Journal, Saved};
use super::mirror::{CLSACT, CLSACT_EGRESS, CLSACT_HANDLE, CLSACT_INGRESS, FILTER_INFO};
use super::netlink::{self, Netlink};
use super::netns::ROOT_PARENT;
use super::plan::ROOT;

/// Undoes all changes, the last one first. Goes on after a failure, and tells the first one at the end; then the journal
/// stays.
pub fn undo(netlink: &mut Netlink, mut journal: Journal) -> Result<()> {
    let index = journal.entry.index;
    let is_there =
        netlink.devices()?.iter().any(|device| device.index == index && device.name == journal.entry.device);
    let mut failure = None;
    while let Some(change) = journal.entry.changes.pop() {
        // With its device everything on it is gone; what lies beside it is not.
        if !is_there && !matches!(change, Change::Between { .. }) {
            continue;
        }
        if let Err(error) = undo_one(netlink, index, &change) {
            failure.get_or_insert((change, error));
        }
    }
    match failure {
        None => journal.remove(),
        Some((change, error)) => {
            journal.entry.changes.push(change);
            journal.save()?;
            Err(error)
        }
    }
}

fn undo_one(netlink: &mut Netlink, index: u32, change: &Change) -> Result<()> {
    match change {
        Change::Root { replaced } => {
            remove_root(netlink, index)?;
            replaced.as_ref().map_or(Ok(()), |saved| restore(netlink, index, saved))
        }
        Change::Mtu { old, new } => {
            let now =
                netlink.devices()?.into_iter().find(|device| device.index == index).map(|device| device.mtu);
            // Somebody else has set it since: theirs to keep.
            if now == Some(*new) { netlink.set_mtu(index, *old) } else { Ok(()) }
        }
        Change::Filters { parent } => {
            for info in [FILTER_INFO, FILTER_INFO - (1 << 16)] {
                gone_is_fine(netlink.delete_filters(index, *parent, info))?;
            }
            Ok(())
        }
        Change::Clsact => {
            let n_filters = netlink.count_filters(index, CLSACT_INGRESS).unwrap_or(0)
                + netlink.count_filters(index, CLSACT_EGRESS).unwrap_or(0);
            // Somebody else uses it by now.
            if n_filters > 0 {
                return Ok(());
            }
            gone_is_fine(netlink.delete_qdisc(index, CLSACT, CLSACT_HANDLE))
        }
        Change::Between { name } => {
            let found = netlink.devices()?.into_iter().find(|device| device.name == *name);
            found.map_or(Ok(()), |device| gone_is_fine(netlink.delete_link(device.index)))
        }
    }
}

/// Takes our root away, if there is one.
pub fn remove_root(netlink: &mut Netlink, index: u32) -> Result<()> {
    if has_our_root(netlink, index)? {
        gone_is_fine(netlink.delete_qdisc(index, ROOT_PARENT, ROOT))?;
    }
    Ok(())
}

/// The device's root is ours, by its handle and kind.
pub fn has_our_root(netlink: &mut Netlink, index: u32) -> Result<bool> {
    let qdiscs = netlink.qdiscs(index)?;
    Ok(qdiscs.iter().any(|tc| tc.parent == ROOT_PARENT && tc.handle == ROOT && tc.kind == "htb"))
}

/// Puts back what the user had, where nobody has put anything else since, and looks whether it is the same.
fn restore(netlink: &mut Netlink, index: u32, saved: &Saved) -> Result<()> {
    let root = |netlink: &mut Netlink| -> Result<_> {
        Ok(netlink.qdiscs(index)?.into_iter().find(|tc| tc.parent == ROOT_PARENT && tc.handle != 0))
    };
    if root(netlink)?.is_none() {
        netlink
            .add_qdisc(index, ROOT_PARENT, saved.handle, &saved.kind, saved.options.clone())
            .with_context(|| format!("failed to put back the queueing discipline `{}`", saved.kind))?;
    }
    let now = root(netlink)?;
    let is_same = now
        .is_some_and(|tc| tc.kind == saved.kind && tc.handle == saved.handle && tc.options == saved.options);
    if !is_same {
        tracing::warn!(kind = %saved.kind, "the queueing discipline that was put back is not the same as before");
    }
    Ok(())
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    let gone = [Errno::ENOENT, Errno::EINVAL, Errno::ENODEV].map(|errno| errno as i32);
    match result {
        Err(error) if netlink::errno_of(&error).is_some_and(|errno| gone.contains(&errno)) => Ok(()),
        result => result,
    }
}
