//! The numbers of the requests that the tree made: by whom it asked, and for what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::endpoint::EndpointTable;
use super::evidence::{Evidence, Subject};
use super::stats::EndpointStats;
use crate::correlate::Exchange;
use crate::event::NotConnected;
use crate::profile::{Metric, Profile};

/// Outgoing requests, by `METHOD host:port /template`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    table: EndpointTable,
    endpoints: Vec<Calls>,
    /// Those of a host together, by `host:port`.
    hosts: BTreeMap<String, Calls>,
    max_hosts: usize,
}

/// What [`Outgoing`] holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedOutgoing {
    endpoints: BTreeMap<String, EndpointStats>,
    hosts: BTreeMap<String, EndpointStats>,
    folded: BTreeSet<u64>,
}

/// The numbers of some of them, for objectives.
#[derive(Clone, Debug, Default)]
struct Calls(EndpointStats);

impl Outgoing {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            table: EndpointTable::unrouted(profile.max_endpoints),
            endpoints: Vec::new(),
            hosts: BTreeMap::new(),
            max_hosts: profile.max_endpoints,
        }
    }

    pub(super) fn add(&mut self, host: &str, exchange: &Exchange) {
        let index = self.table.index_at(Some(host), &exchange.method, &exchange.path);
        self.endpoint_at(index).add(exchange);
        if let Some(host) = self.host(host) {
            host.add(exchange);
        }
    }

    /// A call that did not even get a connection; it stands among those that were broken off.
    pub(super) fn add_unconnected(&mut self, to: &str, why: NotConnected) {
        let index = self.table.index_as(&format!("connect {to} ({})", why.text()));
        self.endpoint_at(index).aborted += 1;
        if let Some(host) = self.host(to) {
            host.aborted += 1;
        }
    }

    fn endpoint_at(&mut self, index: usize) -> &mut EndpointStats {
        if index >= self.endpoints.len() {
            self.endpoints.resize_with(index + 1, Calls::default);
        }
        &mut self.endpoints[index].0
    }

    /// None for a new one past the bound.
    fn host(&mut self, host: &str) -> Option<&mut EndpointStats> {
        if !self.hosts.contains_key(host) {
            if self.hosts.len() >= self.max_hosts {
                return None;
            }
            self.hosts.insert(host.to_owned(), Calls::default());
        }
        self.hosts.get_mut(host).map(|calls| &mut calls.0)
    }

    /// Its numbers.
    pub(super) fn save(&self) -> SavedOutgoing {
        let own = |(name, stats): (&str, &EndpointStats)| (name.to_owned(), stats.clone());
        SavedOutgoing {
            endpoints: self.endpoints().into_iter().map(own).collect(),
            hosts: self.hosts.iter().map(|(host, Calls(stats))| (host.clone(), stats.clone())).collect(),
            folded: self.table.folded().collect(),
        }
    }

    /// Adds the numbers of another run.
    pub(super) fn add_saved(&mut self, saved: &SavedOutgoing) {
        for (name, stats) in &saved.endpoints {
            let index = self.table.index_of_name(name);
            self.endpoint_at(index).merge(stats);
        }
        for (host, stats) in &saved.hosts {
            if let Some(own) = self.host(host) {
                own.merge(stats);
            }
        }
        self.table.fold(&saved.folded);
    }

    /// Each endpoint with its name, by name.
    pub fn endpoints(&self) -> Vec<(&str, &EndpointStats)> {
        self.named().into_iter().map(|(name, Calls(stats))| (name, stats)).collect()
    }

    /// What objectives can be about: each host, and each endpoint, by name.
    pub(super) fn subjects(&self) -> Vec<(&str, &dyn Subject)> {
        let hosts = self.hosts.iter().map(|(host, calls)| (host.as_str(), calls));
        hosts.chain(self.named()).map(|(name, calls)| (name, calls as _)).collect()
    }

    fn named(&self) -> Vec<(&str, &Calls)> {
        let names = (0..self.endpoints.len()).map(|index| self.table.name(index));
        let mut endpoints: Vec<_> = names.zip(&self.endpoints).collect();
        endpoints.sort_unstable_by_key(|(name, _)| *name);
        endpoints
    }

    /// How many distinct endpoints are counted together as [`super::OTHER`], up to [`super::MAX_FOLDED`].
    pub fn n_folded(&self) -> usize {
        self.table.n_folded()
    }
}

impl Subject for Calls {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let Self(stats) = self;
        let asked = stats.requests + stats.aborted;
        let share = |part, whole| Some(Evidence::Share { part, whole });
        let durations = match metric.quantity.name {
            "latency" => &stats.latency,
            "failed_latency" => &stats.failed_latency,
            // Seen from the side that asks.
            "send" => &stats.read,
            "wait" => &stats.app,
            "receive" => &stats.write,
            "error_rate" => return share(stats.errors + stats.aborted, asked),
            "aborted_rate" => return share(stats.aborted, asked),
            "success_rate" => return share(stats.requests - stats.errors, asked),
            "rate" | "requests" => {
                return Some(Evidence::Count { count: stats.requests, samples: asked });
            }
            _ => return None,
        };
        Some(Evidence::Durations { durations, untimed: stats.untimed })
    }
}
