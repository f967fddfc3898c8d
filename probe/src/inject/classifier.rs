//! The kernel program that decides which packets are touched: loaded, given its rules, attached, kept alive.

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray},
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        links::Link as _,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
    },
};
use nix::time::{ClockId, clock_gettime};
use probe_common::inject::{Control, RuleCount};
use std::time::Duration;

use super::mirror;
use super::plan::OwnedRule;

/// The classifier, compiled by build.rs; empty when it was built with `PROBE_SKIP_EBPF=1`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-inject"));

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends packets that leave to their class.
    Classify,
    /// Drops packets that come in.
    Drop,
}

impl Role {
    const fn program(self) -> &'static str {
        match self {
            Self::Classify => "inject_egress",
            Self::Drop => "inject_ingress",
        }
    }

    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::Classify => TcAttachType::Egress,
            Self::Drop => TcAttachType::Ingress,
        }
    }
}

/// What ends the impairment when this process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadMan {
    /// The kernel detaches the program at once (tcx, 6.6 and later).
    Link,
    /// The program stops by itself when nobody moves its deadline.
    Deadline,
}

/// A loaded and attached program. Dropping it detaches it.
pub struct Classifier {
    ebpf: Ebpf,
    link: Option<SchedClassifierLink>,
    control: Array<MapData, Control>,
    counts: PerCpuArray<MapData, RuleCount>,
    n_rules: u32,
    dead_man: DeadMan,
}

/// The kernel can hold programs on devices through links.
pub fn has_links() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Egress).is_ok()
}

impl Classifier {
    /// Loads a program with its rules and attaches it to a device of the calling thread's namespace. Without tcx the
    /// device must have a clsact.
    pub fn attach(device: &str, role: Role, rules: &[OwnedRule], lifetime: Duration) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!("failed to load the classifier: this binary was built without it (PROBE_SKIP_EBPF)");
        }
        let mut ebpf = EbpfLoader::new().btf(None).load(OBJECT).context("failed to load the classifier")?;
        let mut table: Array<MapData, probe_common::inject::Rule> = take(&mut ebpf, "RULES")?;
        for (index, owned) in (0..).zip(rules) {
            table.set(index, owned.rule, 0).context("failed to write a rule")?;
        }
        let mut classifier = Self {
            control: take(&mut ebpf, "CONTROL")?,
            counts: take(&mut ebpf, "COUNTS")?,
            n_rules: u32::try_from(rules.len()).unwrap_or(0),
            link: None,
            dead_man: DeadMan::Link,
            ebpf,
        };
        classifier.live_for(lifetime)?;
        let program: &mut SchedClassifier = classifier
            .ebpf
            .program_mut(role.program())
            .ok_or_else(|| anyhow!("failed to find the program `{}`", role.program()))?
            .try_into()?;
        program
            .load()
            .with_context(|| format!("failed to load `{}`: the kernel refuses it", role.program()))?;
        let options = if has_links() {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            classifier.dead_man = DeadMan::Deadline;
            let priority = u16::try_from(mirror::PRIORITY).unwrap_or(u16::MAX);
            // Before the filter that redirects, which would take the packet away.
            TcAttachOptions::Netlink(NlOptions { priority: priority - 1, ..NlOptions::default() })
        };
        let id = program
            .attach_with_options(device, role.attach_type(), options)
            .with_context(|| format!("failed to attach the classifier to `{device}`"))?;
        classifier.link = Some(program.take_link(id)?);
        Ok(classifier)
    }

    /// What ends the impairment when this process dies.
    pub fn dead_man(&self) -> DeadMan {
        self.dead_man
    }

    /// Moves the deadline.
    pub fn live_for(&mut self, lifetime: Duration) -> Result<()> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("failed to read the clock")?;
        let deadline = Duration::from(now) + lifetime;
        let control = Control {
            deadline_ns: u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX),
            n_rules: self.n_rules,
            pad: 0,
        };
        self.control.set(0, control, 0).context("failed to move the classifier's deadline")
    }

    /// What each rule has matched so far.
    pub fn counts(&self) -> Result<Vec<RuleCount>> {
        let sum = |index| -> Result<RuleCount> {
            let mut sum = RuleCount::default();
            for cpu in self.counts.get(&index, 0).context("failed to read the classifier's counters")?.iter()
            {
                sum.packets += cpu.packets;
                sum.bytes += cpu.bytes;
                sum.dropped += cpu.dropped;
            }
            Ok(sum)
        };
        (0..self.n_rules).map(sum).collect()
    }

    /// Detaches it; packets that come now are clean.
    pub fn detach(mut self) -> Result<()> {
        self.live_for(Duration::ZERO)?;
        match self.link.take() {
            Some(link) => link.detach().context("failed to detach the classifier"),
            None => Ok(()),
        }
    }
}

/// Takes a map out of the object under its type.
fn take<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M> {
    let map = ebpf.take_map(name).ok_or_else(|| anyhow!("the classifier has no map `{name}`"))?;
    M::try_from(map).with_context(|| format!("failed to open the classifier's map `{name}`"))
}
