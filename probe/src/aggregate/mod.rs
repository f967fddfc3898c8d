//! From single findings to numbers per endpoint and per listener: counts and distributions. Pure.
//!
//! Nothing is judged here. Bounded in memory by the number of endpoints, whatever the length of the run.

mod abort;
mod blame;
mod database;
mod drift;
mod durations;
mod endpoint;
mod evidence;
mod gpu;
mod load;
mod lock_waits;
mod outgoing;
mod phases;
mod progress;
mod resources;
mod saved;
mod series;
mod stage;
mod stats;
mod websocket;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use abort::AbortWatch;
pub use blame::{BlameStats, Deed, Sum, WalStats, Whose};
pub use database::{DatabaseStats, Databases, HoldStats, WaitStats};
pub use drift::Drift;
pub use durations::{Durations, Resolution};
pub use endpoint::{MAX_FOLDED, OTHER};
pub use evidence::{Evidence, Subject};
pub use gpu::{GpuStats, Gpus, InstanceStats, OverlapStats, ProcessStats, Spread};
pub use lock_waits::{LockWaits, LockWindow};
pub use outgoing::Outgoing;
pub use phases::{Part, Phases, SavedPhases};
pub use progress::Progress;
pub use resources::{History, Moment, ResourceStats, Usage};
pub use saved::Saved;
pub use series::{Series, Window};
pub use stage::{CheckpointStats, PipelineStats, SlowCalls, StageStats, StageTable};
pub use stats::{EndpointStats, ListenerStats};
pub use websocket::WebSocketStats;

use crate::correlate::lock::LockFinding;
use crate::correlate::work::{Did, For, Work};
use crate::correlate::{Exchange, Finding};
use crate::event::{Ending, Load};
use crate::profile::{Kind, Profile};
use endpoint::EndpointTable;
use progress::RecentRate;

/// All numbers of a run.
#[derive(Clone, Debug)]
pub struct Aggregate {
    table: EndpointTable,
    endpoints: Vec<EndpointStats>,
    overall: EndpointStats,
    listeners: BTreeMap<u16, ListenerStats>,
    stages: StageTable,
    unix_listeners: BTreeMap<String, ListenerStats>,
    outgoing: Outgoing,
    /// By endpoint of the handshake.
    websockets: BTreeMap<usize, WebSocketStats>,
    recent: RecentRate,
    gpus: Gpus,
    resources: ResourceStats,
    load: load::LoadStats,
    /// Of all together, then of the first endpoints; none where no plots are made of it.
    series: Option<Vec<Series>>,
    /// What was seen of SQLite databases.
    pub databases: Databases,
    /// When threads waited for their locks.
    pub lock_waits: LockWaits,
}

/// Endpoints whose numbers over time are kept; a window takes up to a KiB, and there are 120 of each.
const MAX_SERIES: usize = 50;

impl Aggregate {
    /// Nothing counted yet; endpoints will be named by the profile's routes.
    pub fn new(profile: &Profile) -> Self {
        Self {
            table: EndpointTable::new(profile),
            endpoints: Vec::new(),
            overall: EndpointStats::default(),
            listeners: BTreeMap::new(),
            stages: StageTable::new(profile),
            unix_listeners: BTreeMap::new(),
            outgoing: Outgoing::new(profile),
            websockets: BTreeMap::new(),
            recent: RecentRate::default(),
            gpus: Gpus::new(),
            resources: ResourceStats::default(),
            load: load::LoadStats::default(),
            series: None,
            databases: Databases::default(),
            lock_waits: LockWaits::default(),
        }
    }

    /// As [`Self::new`], for a part of a run that follows what `before` has counted: GPUs and processes are the same
    /// ones, and their counters go on. Databases keep their numbers.
    pub fn after(profile: &Profile, before: &Self, from_ns: u64) -> Self {
        Self {
            gpus: before.gpus.after(from_ns),
            resources: before.resources.after(),
            databases: before.databases.fresh(),
            ..Self::new(profile)
        }
    }

    /// The next part of the run begins: what GPUs tell of the time behind that moment is of that part.
    pub(super) fn close(&mut self, until_ns: u64) {
        self.gpus.close(until_ns);
    }

    /// A load command ended.
    pub(super) fn add_load(&mut self, load: &Load) {
        self.load.add(load);
    }

    /// Keeps numbers over time too.
    #[must_use]
    pub fn with_series(self) -> Self {
        Self { series: Some(Vec::new()), resources: self.resources.with_history(), ..self }
    }

    /// Counts one finding. On the path of every request: allocates for new endpoints only.
    pub fn add(&mut self, finding: &Finding) {
        match finding {
            Finding::Exchange(exchange) => match &exchange.outgoing {
                None => self.add_exchange(exchange),
                Some(host) => self.outgoing.add(host, exchange),
            },
            Finding::Accept { port, path, queue_wait_ns, backlog } => {
                let listener = match path {
                    Some(path) => self.unix_listeners.entry(path.clone()).or_default(),
                    None => self.listeners.entry(*port).or_default(),
                };
                listener.add(*queue_wait_ns, *backlog);
            }
            Finding::Abandoned { port } => self.listeners.entry(*port).or_default().abandoned += 1,
            Finding::Unconnected { to, why } => self.outgoing.add_unconnected(to, *why),
            Finding::WebSocket(path, seen) => {
                let index = self.table.index_of("GET", path);
                self.websockets.entry(index).or_default().add(seen);
            }
            Finding::Lock(finding) => {
                if let LockFinding::Wait(wait) = finding {
                    self.lock_waits.add(wait.span.start_ns, wait.span.end_ns);
                }
                self.databases.add(finding);
            }
            Finding::Work(work) => self.add_work(work),
            Finding::Delivery { method, path, delivery_ns } => {
                self.endpoint(method, path).delivery.record(*delivery_ns);
                self.overall.delivery.record(*delivery_ns);
            }
            Finding::Stage(run) => {
                self.stages.add_run(run);
                if let Some((began_ns, _)) = run.began {
                    self.gpus.in_stage(&run.stage, (began_ns, run.end_ns));
                }
            }
            Finding::Checkpoint(write) => self.stages.add_checkpoint(write),
            Finding::SlowCall(call) => self.stages.add_slow(call),
            Finding::Document(end) => {
                if end.is_complete {
                    self.gpus.document();
                }
                self.stages.add_document(end);
            }
            Finding::Stages { order, near, dropped } => self.stages.end(order, near, *dropped),
            Finding::Gpu(gpu) => {
                self.gpus.add(gpu);
                self.take_stages_of_gpus();
            }
            Finding::Resources(look) => self.resources.add(look),
        }
    }

    fn add_exchange(&mut self, exchange: &Exchange) {
        let index = self.table.index_of(&exchange.method, &exchange.path);
        self.endpoint_at(index).add(exchange);
        self.overall.add(exchange);
        self.databases.add_request();
        if let (Some(timing), Ending::Complete) = (&exchange.timing, exchange.ending) {
            self.gpus.in_app(index, timing.in_app(exchange.end_ns));
        }
        for index in [None, Some(index)] {
            if let Some(series) = self.series_at(index) {
                series.add(exchange);
            }
        }
        if exchange.ending == Ending::Complete {
            self.recent.add(exchange.end_ns);
        }
    }

    fn add_work(&mut self, work: &Work) {
        let whose = match &work.whose {
            For::Stage { name, index, is_whole } => {
                if *is_whole && work.did == Did::Waited {
                    self.stages.add_lock_wait(name, work.ns);
                }
                Whose::Stage { name: Arc::from(name.as_str()), index: *index }
            }
            For::Requests { targets, by_reader, .. } => {
                let mut named = targets.iter().map(|target| self.table.index_of(&target.0, &target.1));
                match named.next() {
                    Some(first) if named.all(|next| next == first) => {
                        Whose::Endpoint { name: Arc::from(self.table.name(first)), by_reader: *by_reader }
                    }
                    _ => Whose::Unknown,
                }
            }
            For::Nobody => Whose::Unknown,
        };
        self.databases.add_work(work, whose);
    }

    fn endpoint(&mut self, method: &str, path: &str) -> &mut EndpointStats {
        let index = self.table.index_of(method, path);
        self.endpoint_at(index)
    }

    fn endpoint_at(&mut self, index: usize) -> &mut EndpointStats {
        if index >= self.endpoints.len() {
            self.endpoints.resize_with(index + 1, EndpointStats::default);
        }
        &mut self.endpoints[index]
    }

    /// The numbers over time of an endpoint, or of all together; none past the bound.
    fn series_at(&mut self, endpoint: Option<usize>) -> Option<&mut Series> {
        let place = endpoint.map_or(0, |index| index + 1);
        let series = self.series.as_mut().filter(|_| place <= MAX_SERIES)?;
        if place >= series.len() {
            series.resize_with(place + 1, Series::default);
        }
        series.get_mut(place)
    }

    /// The numbers over time: all together, then each endpoint with its name, by name.
    pub fn series(&self) -> impl Iterator<Item = (Option<&str>, &Series)> {
        let (overall, each) = self.series.as_deref().and_then(<[Series]>::split_first).unzip();
        let mut each: Vec<_> = each
            .into_iter()
            .flatten()
            .enumerate()
            // What has a name only, as the route of WebSockets can, has no numbers over time.
            .filter(|(_, series)| series.windows().next().is_some())
            .map(|(index, series)| (Some(self.table.name(index)), series))
            .collect();
        each.sort_unstable_by_key(|(name, _)| *name);
        overall.map(|overall| (None, overall)).into_iter().chain(each)
    }

    /// Each endpoint with its name, by name.
    pub fn endpoints(&self) -> Vec<(&str, &EndpointStats)> {
        // What has a name only, as the route of WebSockets can, is none.
        let seen = self.endpoints.iter().enumerate().filter(|(_, stats)| !stats.is_empty());
        let mut endpoints: Vec<_> = seen.map(|(index, stats)| (self.table.name(index), stats)).collect();
        endpoints.sort_unstable_by_key(|(name, _)| *name);
        endpoints
    }

    /// The WebSockets of each route, by its path.
    pub fn websockets(&self) -> Vec<(&str, &WebSocketStats)> {
        let path = |index| self.table.name(index).trim_start_matches("GET ");
        let mut routes: Vec<_> = self.websockets.iter().map(|(index, stats)| (path(*index), stats)).collect();
        routes.sort_unstable_by_key(|(path, _)| *path);
        routes
    }

    /// All endpoints together.
    pub const fn overall(&self) -> &EndpointStats {
        &self.overall
    }

    /// Everything of a kind that was seen, by name.
    pub fn subjects(&self, kind: Kind) -> Vec<(Cow<'_, str>, &dyn Subject)> {
        let named: Vec<(&str, &dyn Subject)> = match kind {
            Kind::Endpoint => self.endpoints().into_iter().map(|(name, stats)| (name, stats as _)).collect(),
            Kind::Stage => {
                self.stages.stages().into_iter().map(|(name, _, stats)| (name, stats as _)).collect()
            }
            Kind::Outgoing => self.outgoing.subjects(),
            Kind::Pipeline => self.stages.pipeline_subject().into_iter().collect(),
            Kind::Checkpoint => self.stages.named_checkpoints(),
            Kind::WebSocket => {
                self.websockets().into_iter().map(|(path, stats)| (path, stats as _)).collect()
            }
            Kind::Database => self.databases.used().map(|stats| (stats.path.as_str(), stats as _)).collect(),
            Kind::Resource => {
                let subjects = self.resources.subjects().into_iter();
                return subjects.map(|(name, subject)| (Cow::Owned(name), subject)).collect();
            }
            Kind::Load => self.load.subject().into_iter().collect(),
            Kind::Gpu => self.gpus.each().map(|(_, name, stats)| (name, stats as _)).collect(),
        };
        named.into_iter().map(|(name, subject)| (Cow::Borrowed(name), subject)).collect()
    }

    /// What was accepted, by port.
    pub const fn listeners(&self) -> &BTreeMap<u16, ListenerStats> {
        &self.listeners
    }

    /// Stages, checkpoints and documents.
    pub const fn stages(&self) -> &StageTable {
        &self.stages
    }

    /// What was read of GPUs.
    pub const fn gpus(&self) -> &Gpus {
        &self.gpus
    }

    /// What the target and the machine used.
    pub const fn resources(&self) -> &ResourceStats {
        &self.resources
    }

    /// What a GPU did while requests were in the application, by the endpoint's name.
    pub fn while_in_app<'a>(&'a self, gpu: &'a GpuStats) -> Vec<(&'a str, &'a OverlapStats)> {
        let mut named: Vec<_> =
            gpu.endpoints().map(|(index, overlap)| (self.table.name(index), overlap)).collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        named
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.gpus.finish();
        self.take_stages_of_gpus();
        self.stages.finish(self.databases.used().next().is_some());
    }

    fn take_stages_of_gpus(&mut self) {
        for joined in self.gpus.stages() {
            self.stages.add_gpu(&joined.stage, joined.gpu, joined.overlap);
        }
    }

    /// What was accepted by Unix-domain listeners, by path.
    pub const fn unix_listeners(&self) -> &BTreeMap<String, ListenerStats> {
        &self.unix_listeners
    }

    /// The requests that the tree made.
    pub const fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// How many distinct endpoints are counted together as [`OTHER`]; [`MAX_FOLDED`] means that many or more.
    pub fn n_folded_endpoints(&self) -> usize {
        self.table.n_folded()
    }

    /// Where the run stands, at this moment of `CLOCK_MONOTONIC`.
    pub fn progress(&self, now_ns: u64) -> Progress {
        Progress::new(&self.overall, &self.recent, now_ns)
    }
}

#[cfg(test)]
mod tests;
