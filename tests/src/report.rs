//! `report.json`, read through the names of its schema: what a test asks for must be there.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{counts, load::Sums};

/// A whole report.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

/// A latency distribution, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Dist {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl Dist {
    /// Mean times count.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.mean.unwrap_or_default() * self.count as f64
    }

    /// The largest, where there is one.
    pub fn largest(&self) -> Result<f64> {
        self.max.context("a distribution without samples")
    }

    /// The smallest, where there is one.
    pub fn smallest(&self) -> Result<f64> {
        self.min.context("a distribution without samples")
    }
}

/// Where an endpoint's latency went.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Breakdown {
    /// Before accept.
    pub accept_queue_s: Dist,
    /// Before the first read.
    pub receive_queue_s: Dist,
    /// First read to last read.
    pub read_s: Dist,
    /// Last read to first send.
    pub app_s: Dist,
    /// First send to last send.
    pub write_s: Dist,
}

impl Breakdown {
    /// The parts in the order of time.
    #[must_use]
    pub const fn parts(&self) -> [Dist; 5] {
        [self.accept_queue_s, self.receive_queue_s, self.read_s, self.app_s, self.write_s]
    }
}

/// An endpoint's line.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// `GET /items/{id}`
    pub endpoint: String,
    /// Answered in full.
    pub requests: u64,
    /// Of these with a 5xx status.
    pub errors: u64,
    /// The connection ended before the response did.
    pub aborted: u64,
    /// The run ended before the response did.
    pub in_flight: u64,
    /// Counted, but their start was not seen.
    pub untimed: u64,
    /// Responses by status class.
    pub statuses: std::collections::BTreeMap<String, u64>,
    /// Request latency.
    pub latency_s: Dist,
    /// Its parts.
    pub breakdown: Breakdown,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of responses.
    pub bytes_out: u64,
}

/// A line of what the target asked of others.
#[derive(Clone, Debug, Deserialize)]
pub struct Outgoing {
    /// `GET 127.0.0.1:80 /items/{id}`
    pub endpoint: String,
    /// Answered in full.
    pub requests: u64,
    /// Of these with a 5xx status.
    pub errors: u64,
    /// The connection ended before the answer did.
    pub aborted: u64,
    /// The run ended before the answer did.
    pub in_flight: u64,
    /// First byte sent to last byte read.
    pub latency_s: Dist,
    /// Bytes of requests.
    pub bytes_out: u64,
    /// Bytes of answers.
    pub bytes_in: u64,
}

/// The line of the WebSockets of a route.
#[derive(Clone, Debug, Deserialize)]
pub struct WebSocket {
    /// `/ws`
    pub route: String,
    /// Opened.
    pub connections: u64,
    /// Of these in the place of others that had vanished.
    pub reconnects: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients.
    pub messages_out: u64,
    /// Payload from clients.
    pub bytes_in: u64,
    /// Payload to clients.
    pub bytes_out: u64,
    /// Sent to acknowledged.
    pub delivery_s: Dist,
    /// Ping to pong.
    pub ping_rtt_s: Dist,
    /// A client's message to the server's next.
    pub reply_s: Dist,
}

/// A listener's line.
#[derive(Clone, Debug, Deserialize)]
pub struct Listener {
    /// Its address.
    pub addr: Option<String>,
    /// Its port.
    pub port: u16,
    /// Connections accepted.
    pub accepted: u64,
    /// ESTABLISHED to accept.
    pub queue_wait_s: Dist,
    /// Handshakes that the kernel dropped for want of room.
    pub overflows: Option<u64>,
    /// Most connections that waited at once.
    pub backlog_max: u64,
    /// Ended before they were accepted.
    pub abandoned: u64,
}

/// A kind of call.
#[derive(Clone, Debug, Deserialize)]
pub struct Syscall {
    /// accept, recv or send.
    pub op: String,
    /// server or client.
    pub role: String,
    /// blocking, nonblocking or unknown.
    pub mode: String,
    /// Calls that returned.
    pub calls: u64,
    /// Of these with EAGAIN.
    pub would_block: u64,
    /// Of these failed otherwise.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
}

impl Report {
    /// Everything at a JSON pointer.
    pub fn at<T: for<'de> Deserialize<'de>>(&self, pointer: &str) -> Result<T> {
        let value = self.0.pointer(pointer).with_context(|| format!("the report has no `{pointer}`"))?;
        T::deserialize(value).with_context(|| format!("failed to read `{pointer}` of the report: {value}"))
    }

    /// Every endpoint.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.at("/endpoints")
    }

    /// The endpoint with this name; it must be there once.
    pub fn endpoint(&self, name: &str) -> Result<Endpoint> {
        let all = self.endpoints()?;
        let names: Vec<&str> = all.iter().map(|found| found.endpoint.as_str()).collect();
        let mut found: Vec<&Endpoint> = all.iter().filter(|found| found.endpoint == name).collect();
        ensure!(
            found.len() == 1,
            "`{name}` stands {} times in the report, which names {names:?}",
            found.len()
        );
        found.pop().cloned().context("counted just now")
    }

    /// The outgoing calls of this kind; they must be there once.
    pub fn outgoing(&self, name: &str) -> Result<Outgoing> {
        let all: Vec<Outgoing> = self.at("/outgoing")?;
        let names: Vec<String> = all.iter().map(|found| found.endpoint.clone()).collect();
        all.into_iter()
            .find(|found| found.endpoint == name)
            .with_context(|| format!("`{name}` is not in the report, which names {names:?}"))
    }

    /// The Unix-domain listener with this path.
    pub fn unix_listener(&self, path: &Path) -> Result<Listener> {
        let all: Vec<Listener> = self.at("/accept/listeners")?;
        let name = format!("unix:{}", path.display());
        let found = all.iter().find(|found| found.addr.as_deref() == Some(&name));
        found.cloned().with_context(|| format!("no listener is named `{name}`: {all:?}"))
    }

    /// What the report says it did not see.
    pub fn blind_spots(&self) -> Result<Vec<String>> {
        let spots: Vec<Value> = self.at("/health/blind_spots")?;
        Ok(spots.iter().filter_map(|spot| spot["what"].as_str().map(str::to_owned)).collect())
    }

    /// The WebSockets of a route; an error when there is no such line.
    pub fn websocket(&self, route: &str) -> Result<WebSocket> {
        let all: Vec<WebSocket> = self.at("/websockets")?;
        let found = all.iter().find(|found| found.route == route).cloned();
        found.with_context(|| format!("no WebSockets of `{route}` in {all:?}"))
    }

    /// The listener on this port; it must be there once.
    pub fn listener(&self, port: u16) -> Result<Listener> {
        let all: Vec<Listener> = self.at("/accept/listeners")?;
        let mut found: Vec<&Listener> = all.iter().filter(|found| found.port == port).collect();
        ensure!(found.len() == 1, "port {port} stands {} times among the listeners", found.len());
        found.pop().cloned().context("counted just now")
    }

    /// The calls of an op on connections of the tree's own listeners, every mode in one sum.
    pub fn server_calls(&self, op: &str) -> Result<Syscall> {
        let all: Vec<Syscall> = self.at("/syscalls")?;
        let mut sum = Syscall {
            op: op.into(),
            role: "server".into(),
            mode: "any".into(),
            calls: 0,
            would_block: 0,
            errors: 0,
            bytes: 0,
        };
        for found in all.iter().filter(|found| found.op == op && found.role == "server") {
            sum.calls += found.calls;
            sum.would_block += found.would_block;
            sum.errors += found.errors;
            sum.bytes += found.bytes;
        }
        Ok(sum)
    }

    /// Runs of programs that the kernel left out because the same one was under way on that processor.
    pub fn n_recursions(&self) -> Result<u64> {
        let causes: Value = self.at("/health/lost_by_cause")?;
        let recursions = causes.as_object().into_iter().flatten();
        let recursions = recursions.filter(|(cause, _)| cause.starts_with("recursion of "));
        Ok(recursions.filter_map(|(_, count)| count.as_u64()).sum())
    }

    /// Fails when anything was lost. On the ladder a program that was interrupted by itself is no failure as such: that is
    /// more frequent the slower the machine, and what was brought to another process counts as well. If it was the
    /// target's, the counts are wrong.
    pub fn nothing_lost(&self) -> Result<()> {
        let mut lost: u64 = self.at("/health/lost")?;
        let causes: Value = self.at("/health/lost_by_cause")?;
        if std::env::var_os("PROBE_TEST_LADDER").is_some() {
            lost -= self.n_recursions()?;
        }
        ensure!(lost == 0, "{lost} events were lost: {causes}");
        Ok(())
    }

    /// Fails where the report's sums are not exactly those that the client made, or where it names an
    /// endpoint that the client never asked for.
    pub fn matches_exactly(&self, sums: &std::collections::BTreeMap<String, Sums>) -> Result<()> {
        self.nothing_lost()?;
        let mut wrong = Vec::new();
        for endpoint in self.endpoints()? {
            let got = Sums {
                requests: endpoint.requests,
                statuses: endpoint.statuses.into_iter().filter(|(_, count)| *count > 0).collect(),
                sent: endpoint.bytes_in,
                received: endpoint.bytes_out,
            };
            let expected = sums.get(&endpoint.endpoint).cloned().unwrap_or_default();
            if got != expected || endpoint.aborted != 0 || endpoint.in_flight != 0 {
                wrong.push(format!(
                    "{}: the client has {expected:?}, the report {got:?} with {} aborted, {} in flight",
                    endpoint.endpoint, endpoint.aborted, endpoint.in_flight
                ));
            }
        }
        for name in sums.keys() {
            if let Err(error) = self.endpoint(name) {
                wrong.push(error.to_string());
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        for (name, sum) in sums {
            counts::count(&format!("{name} requests"), sum.requests);
            counts::count(&format!("{name} bytes"), sum.sent + sum.received);
        }
        Ok(())
    }
}
