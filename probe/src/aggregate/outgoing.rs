//! The numbers of the requests that the tree made: by whom it asked, and for what.

use super::endpoint::EndpointTable;
use super::stats::EndpointStats;
use crate::correlate::Exchange;
use crate::profile::Profile;

/// Outgoing requests, by `METHOD host:port /template`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    table: EndpointTable,
    endpoints: Vec<EndpointStats>,
}

impl Outgoing {
    pub(super) fn new(profile: &Profile) -> Self {
        Self { table: EndpointTable::unrouted(profile.max_endpoints), endpoints: Vec::new() }
    }

    pub(super) fn add(&mut self, host: &str, exchange: &Exchange) {
        let index = self.table.index_at(Some(host), &exchange.method, &exchange.path);
        if index >= self.endpoints.len() {
            self.endpoints.resize_with(index + 1, EndpointStats::default);
        }
        self.endpoints[index].add(exchange);
    }

    /// Each endpoint with its name, by name.
    pub fn endpoints(&self) -> Vec<(&str, &EndpointStats)> {
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
