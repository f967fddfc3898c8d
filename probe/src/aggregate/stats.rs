//! The numbers of one endpoint and of one listener.

use serde::{Deserialize, Serialize};

use super::durations::{Durations, Resolution};
use super::evidence::{Evidence, Subject};
use crate::correlate::{Exchange, Timing};
use crate::event::Ending;
use crate::profile::Metric;

/// The numbers of one endpoint, or of all together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointStats {
    /// Answers that were sent to their end, with any status.
    pub requests: u64,
    /// Of these, with 5xx.
    pub errors: u64,
    /// Requests whose connection ended before a full answer.
    pub aborted: u64,
    /// Requests that were open when the run ended.
    pub in_flight: u64,
    /// Answers whose request's arrival was not seen: counted, in no distribution.
    pub untimed: u64,
    /// Answers by class of status, 1xx to 5xx; the first place is for what is none of them.
    pub statuses: [u64; 6],
    /// Bytes of requests, head and body.
    pub bytes_in: u64,
    /// Bytes of responses, head and body.
    pub bytes_out: u64,
    /// Latency of answers below 500.
    pub latency: Durations,
    /// Latency of answers with 5xx: failures are often quick, and would flatter the others.
    pub failed_latency: Durations,
    /// The parts of `latency`, each with as many values: they add up.
    pub accept_queue: Durations,
    /// See `accept_queue`.
    pub receive_queue: Durations,
    /// See `accept_queue`.
    pub read: Durations,
    /// See `accept_queue`.
    pub app: Durations,
    /// See `accept_queue`.
    pub write: Durations,
    /// From the last byte sent to its acknowledgement, where that was seen.
    pub delivery: Durations,
}

impl Default for EndpointStats {
    fn default() -> Self {
        let part = || Durations::new(Resolution::Coarse);
        Self {
            requests: 0,
            errors: 0,
            aborted: 0,
            in_flight: 0,
            untimed: 0,
            statuses: [0; 6],
            bytes_in: 0,
            bytes_out: 0,
            latency: Durations::new(Resolution::Fine),
            failed_latency: part(),
            accept_queue: part(),
            receive_queue: part(),
            read: part(),
            app: part(),
            write: part(),
            delivery: part(),
        }
    }
}

impl EndpointStats {
    /// Counts one exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        self.bytes_in = self.bytes_in.saturating_add(exchange.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(exchange.bytes_out);
        match exchange.ending {
            Ending::Complete => self.add_answer(exchange),
            Ending::Aborted => self.aborted += 1,
            Ending::InFlight => self.in_flight += 1,
        }
    }

    /// Nothing was counted.
    pub(super) const fn is_empty(&self) -> bool {
        self.requests + self.aborted + self.in_flight + self.delivery.count() == 0
    }

    /// Adds the numbers of the same endpoint from elsewhere.
    pub fn merge(&mut self, other: &Self) {
        let counts = [
            (&mut self.requests, other.requests),
            (&mut self.errors, other.errors),
            (&mut self.aborted, other.aborted),
            (&mut self.in_flight, other.in_flight),
            (&mut self.untimed, other.untimed),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
        ];
        let statuses = self.statuses.iter_mut().zip(other.statuses);
        for (own, other) in counts.into_iter().chain(statuses) {
            *own = own.saturating_add(other);
        }
        let parts = [
            (&mut self.latency, &other.latency),
            (&mut self.failed_latency, &other.failed_latency),
            (&mut self.accept_queue, &other.accept_queue),
            (&mut self.receive_queue, &other.receive_queue),
            (&mut self.read, &other.read),
            (&mut self.app, &other.app),
            (&mut self.write, &other.write),
            (&mut self.delivery, &other.delivery),
        ];
        for (own, other) in parts {
            own.merge(other);
        }
    }

    fn add_answer(&mut self, exchange: &Exchange) {
        let class = usize::from(exchange.status / 100);
        let class = if class < self.statuses.len() { class } else { 0 };
        self.requests += 1;
        self.statuses[class] += 1;
        let is_error = class == 5;
        self.errors += u64::from(is_error);
        match exchange.timing {
            None => self.untimed += 1,
            Some(timing) if is_error => self.failed_latency.record(timing.latency_ns()),
            Some(timing) => self.add_timing(timing),
        }
    }

    fn add_timing(&mut self, timing: Timing) {
        self.latency.record(timing.latency_ns());
        self.accept_queue.record(timing.accept_queue_ns);
        self.receive_queue.record(timing.receive_queue_ns);
        self.read.record(timing.read_ns);
        self.app.record(timing.app_ns);
        self.write.record(timing.write_ns);
    }
}

impl Subject for EndpointStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let share = |part, whole| Some(Evidence::Share { part, whole });
        let durations = match metric.quantity.name {
            "latency" => &self.latency,
            "failed_latency" => &self.failed_latency,
            "accept_queue" => &self.accept_queue,
            "receive_queue" => &self.receive_queue,
            "read" => &self.read,
            "app" => &self.app,
            "write" => &self.write,
            // Whether a response was delivered is known of some only, and no statement about the others.
            "delivery" => return Some(Evidence::Durations { durations: &self.delivery, untimed: 0 }),
            "error_rate" => return share(self.errors, self.requests),
            "status_4xx_rate" => return share(self.statuses[4], self.requests),
            "aborted_rate" => return share(self.aborted, self.requests + self.aborted),
            "success_rate" => return share(self.requests - self.errors, self.requests + self.aborted),
            "rate" | "requests" => {
                return Some(Evidence::Count { count: self.requests, samples: self.requests + self.aborted });
            }
            _ => return None,
        };
        Some(Evidence::Durations { durations, untimed: self.untimed })
    }
}

/// The numbers of the listeners of one port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerStats {
    /// Connections that were accepted.
    pub accepted: u64,
    /// From ESTABLISHED to the return of accept, where the first was seen.
    pub queue_wait: Durations,
    /// Most connections found in the queue by an accept call.
    pub backlog_max: u32,
    /// Connections that ended before they were accepted.
    pub abandoned: u64,
}

impl Default for ListenerStats {
    fn default() -> Self {
        Self { accepted: 0, queue_wait: Durations::new(Resolution::Coarse), backlog_max: 0, abandoned: 0 }
    }
}

impl ListenerStats {
    /// Adds the numbers of the same port from elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.abandoned = self.abandoned.saturating_add(other.abandoned);
        self.backlog_max = self.backlog_max.max(other.backlog_max);
        self.queue_wait.merge(&other.queue_wait);
    }

    pub(super) fn add(&mut self, queue_wait_ns: Option<u64>, backlog: u32) {
        self.accepted += 1;
        self.backlog_max = self.backlog_max.max(backlog);
        if let Some(wait_ns) = queue_wait_ns {
            self.queue_wait.record(wait_ns);
        }
    }
}
