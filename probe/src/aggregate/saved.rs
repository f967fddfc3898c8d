//! All numbers of a run as plain data, and back: runs and hosts are put together without losing a percentile.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::load::LoadStats;
use super::outgoing::SavedOutgoing;
use super::stage::SavedStages;
use super::{Aggregate, EndpointStats, ListenerStats, ResourceStats, Series, WebSocketStats};

/// What an [`Aggregate`] holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    endpoints: BTreeMap<String, EndpointStats>,
    overall: EndpointStats,
    listeners: BTreeMap<u16, ListenerStats>,
    #[serde(default)]
    unix_listeners: BTreeMap<String, ListenerStats>,
    #[serde(default)]
    outgoing: SavedOutgoing,
    /// By endpoint of the handshake.
    #[serde(default)]
    websockets: BTreeMap<String, WebSocketStats>,
    #[serde(default)]
    stages: SavedStages,
    #[serde(default)]
    resources: ResourceStats,
    #[serde(default)]
    load: LoadStats,
    /// Hashes of the names that were counted together.
    #[serde(default)]
    folded: BTreeSet<u64>,
    /// By endpoint; all together under the empty name.
    #[serde(default)]
    series: BTreeMap<String, Series>,
}

impl Aggregate {
    /// Its numbers.
    pub fn save(&self) -> Saved {
        let own = |(name, stats): (&str, &EndpointStats)| (name.to_owned(), stats.clone());
        let series =
            |(name, series): (Option<&str>, &Series)| (name.unwrap_or_default().to_owned(), series.clone());
        Saved {
            endpoints: self.endpoints().into_iter().map(own).collect(),
            overall: self.overall.clone(),
            listeners: self.listeners.clone(),
            unix_listeners: self.unix_listeners.clone(),
            outgoing: self.outgoing.save(),
            websockets: self
                .websockets
                .iter()
                .map(|(index, stats)| (self.table.name(*index).to_owned(), stats.clone()))
                .collect(),
            stages: self.stages.save(),
            resources: self.resources.clone(),
            load: self.load,
            folded: self.table.folded().collect(),
            series: self.series().map(series).collect(),
        }
    }

    /// Adds the numbers of another run, whose clock is so far behind ours.
    pub fn add_saved(&mut self, saved: &Saved, shift_ns: i64) {
        for (name, stats) in &saved.endpoints {
            let index = self.table.index_of_name(name);
            self.endpoint_at(index).merge(stats);
        }
        self.overall.merge(&saved.overall);
        for (port, stats) in &saved.listeners {
            self.listeners.entry(*port).or_default().merge(stats);
        }
        for (path, stats) in &saved.unix_listeners {
            self.unix_listeners.entry(path.clone()).or_default().merge(stats);
        }
        self.outgoing.add_saved(&saved.outgoing);
        for (name, stats) in &saved.websockets {
            let index = self.table.index_of_name(name);
            self.websockets.entry(index).or_default().merge(stats);
        }
        self.stages.add_saved(&saved.stages, shift_ns);
        self.resources.merge(&saved.resources, shift_ns);
        self.load.merge(&saved.load);
        self.table.fold(&saved.folded);
        for (name, series) in &saved.series {
            let index = (!name.is_empty()).then(|| self.table.index_of_name(name));
            if let Some(own) = self.series_at(index) {
                own.merge(series, shift_ns);
            }
        }
    }
}
