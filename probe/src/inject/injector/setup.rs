//! The first half of an injector's life: everything that it puts on the device, noted in the journal before it is done.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::super::classifier::{self, Classifier, Role};
use super::super::encode;
use super::super::journal::{self, Change, Saved};
use super::super::mirror;
use super::super::netns::ROOT_PARENT;
use super::super::plan::{self, Class, Hook, ROOT};
use super::{Injector, measure, refuse};

/// Disciplines that list classes of their own making, which come back with them.
const OWN_CLASSES: [&str; 4] = ["tbf", "fq_codel", "sfq", "cake"];

impl Injector {
    pub(super) fn carry_out(&mut self, netns: u64) -> Result<()> {
        self.describe(netns)?;
        let replaced = self.foreign_root()?;
        self.start_guard()?;
        let fastest = measure::fastest(self);
        self.measured.before(&self.place, fastest)?;
        if !self.plan.classes.is_empty() {
            self.note(Change::Root { replaced: replaced.clone() })?;
            if let Some(saved) = &replaced {
                self.netlink.delete_qdisc(self.device.index, ROOT_PARENT, saved.handle)?;
            }
            if let Err(error) =
                self.netlink.add_qdisc(self.device.index, ROOT_PARENT, ROOT, "htb", Some(encode::htb()))
            {
                return Err(error.context(format!("failed to take over the root of `{}`", self.device.name)));
            }
        }
        if let Some(new) = self.plan.mtu {
            self.note(Change::Mtu { old: self.device.mtu, new })?;
            self.netlink.set_mtu(self.device.index, new)?;
        }
        if self.plan.classes.iter().any(|class| class.hook == Hook::Ingress) {
            self.stand_between()?;
        }
        for (number, class) in self.plan.classes.clone().iter().enumerate() {
            self.build(class, number)?;
        }
        // Last: until a classifier is there, no packet meets a class.
        self.start = Instant::now();
        let life = self.life();
        if self.plan.classes.iter().any(|class| class.hook == Hook::Egress) {
            let name = self.device.name.clone();
            self.make_room(&name, self.device.index, mirror::CLSACT_EGRESS)?;
            self.egress = Some(Classifier::attach(&name, Role::Classify, &self.plan.egress, life)?);
        }
        if let Some(between) = self.between.clone() {
            if !classifier::has_links() {
                // The device itself is ours, and goes with all that is on it.
                self.netlink.add_qdisc(
                    between.index,
                    mirror::CLSACT,
                    mirror::CLSACT_HANDLE,
                    "clsact",
                    None,
                )?;
            }
            self.ingress = Some(Classifier::attach(&between.name, Role::Classify, &self.plan.ingress, life)?);
        }
        if !self.plan.drops.is_empty() {
            let name = self.device.name.clone();
            self.make_room(&name, self.device.index, mirror::CLSACT_INGRESS)?;
            self.drops = Some(Classifier::attach(&name, Role::Drop, &self.plan.drops, life)?);
        }
        Ok(())
    }

    /// Who it is and what it does, for `show` and for who sweeps.
    fn describe(&mut self, netns: u64) -> Result<()> {
        let what = self
            .request
            .targets
            .iter()
            .map(|target| format!("{} on {}", target.condition.name, target.scope))
            .collect();
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.entry = journal::Entry {
            pid: std::process::id(),
            netns,
            index: self.device.index,
            device: self.device.name.clone(),
            what,
            changes: Vec::new(),
        };
        journal.save()
    }

    fn note(&mut self, change: Change) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.note(change))
    }

    /// The root that somebody set; refused, or to be replaced where that is asked for and can be undone.
    fn foreign_root(&mut self) -> Result<Option<Saved>> {
        let qdiscs = self.netlink.qdiscs(self.device.index)?;
        let Some(root) = qdiscs.iter().find(|tc| tc.parent == ROOT_PARENT && tc.handle != 0) else {
            return Ok(None);
        };
        let shown = format!("`{}` {:x}:", root.kind, root.handle >> 16);
        if !self.request.replace_root {
            return refuse(format!(
                "`{}` has the root queueing discipline {shown} that somebody set: take it away, or use --replace-root, \
                 which puts it back afterwards",
                self.device.name
            ));
        }
        let has_children = qdiscs
            .iter()
            .any(|tc| tc.parent != ROOT_PARENT && tc.handle != mirror::CLSACT_HANDLE && tc.handle != 0);
        let has_classes = !self.netlink.classes(self.device.index)?.is_empty();
        if has_children || has_classes && !OWN_CLASSES.contains(&root.kind.as_str()) {
            return refuse(format!(
                "the root queueing discipline {shown} has classes, which could not be put back as they were"
            ));
        }
        if root.kind == "netem" {
            return refuse(
                "the root queueing discipline is a netem, whose distribution could not be put back"
                    .to_owned(),
            );
        }
        Ok(Some(Saved { kind: root.kind.clone(), handle: root.handle, options: root.options.clone() }))
    }

    /// A process of its own that waits for our end, and sweeps.
    fn start_guard(&mut self) -> Result<()> {
        let (Some(program), Some(journal)) = (&self.request.guard, &self.journal) else { return Ok(()) };
        let child = Command::new(program)
            .args(["net", "guard", "--journal"])
            .arg(journal.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("failed to start the guard that cleans up after a crash")?;
        self.guard = Some(child);
        Ok(())
    }

    /// Kernels without tcx hold programs in a clsact.
    fn make_room(&mut self, name: &str, index: u32, parent: u32) -> Result<()> {
        if classifier::has_links() {
            return Ok(());
        }
        self.add_clsact(index).with_context(|| format!("failed to make room for a program on `{name}`"))?;
        self.note(Change::Filters { parent })
    }

    fn add_clsact(&mut self, index: u32) -> Result<()> {
        let has_one = self.netlink.qdiscs(index)?.iter().any(|tc| tc.handle == mirror::CLSACT_HANDLE);
        if has_one {
            return Ok(());
        }
        self.note(Change::Clsact)?;
        self.netlink.add_qdisc(index, mirror::CLSACT, mirror::CLSACT_HANDLE, "clsact", None)
    }

    /// The device between, and the filter that leads there.
    fn stand_between(&mut self) -> Result<()> {
        let name = format!("probe-ifb{}", self.device.index);
        self.note(Change::Between { name: name.clone() })?;
        self.netlink.add_ifb(&name)?;
        let found = self.netlink.devices()?.into_iter().find(|device| device.name == name);
        let between = found.with_context(|| format!("failed to find the device `{name}`"))?;
        self.netlink.add_qdisc(between.index, ROOT_PARENT, ROOT, "htb", Some(encode::htb()))?;
        self.add_clsact(self.device.index)?;
        self.note(Change::Filters { parent: mirror::CLSACT_INGRESS })?;
        mirror::add(&mut self.netlink, self.device.index, between.index)?;
        self.between = Some(between);
        Ok(())
    }

    pub(super) fn index_of(&self, class: &Class) -> u32 {
        match (class.hook, &self.between) {
            (Hook::Ingress, Some(between)) => between.index,
            _ => self.device.index,
        }
    }

    fn build(&mut self, class: &Class, number: usize) -> Result<()> {
        let index = self.index_of(class);
        let link = self.links[number].clone();
        self.netlink.set_class(index, ROOT, class.id, "htb", encode::htb_class(plan::shape(&link)), true)?;
        let mut parent = class.id;
        if let Some(max_packet) = class.slice {
            // Its own queue is never used: what is below takes each packet at once.
            self.netlink.add_qdisc(
                index,
                parent,
                class.tbf(),
                "tbf",
                Some(encode::tbf(max_packet, u32::MAX >> 1)),
            )?;
            parent = class.tbf() | 1;
        }
        if class.has_netem {
            let options = encode::netem(&link, class.limit, Some(self.seeds[number]), false);
            self.netlink.add_qdisc(index, parent, class.netem(), "netem", Some(options))?;
            parent = class.netem() | 1;
        }
        self.netlink.add_qdisc(index, parent, class.fifo(), "pfifo", Some(encode::pfifo(class.queue)))
    }
}
