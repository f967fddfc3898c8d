//! What an objective can be about: the metrics by name, with their unit and the direction that is good.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A duration that is measured per exchange; names and meaning as in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Request latency of answered requests (status below 500).
    Latency,
    /// Request latency of failed requests (5xx).
    FailedLatency,
    /// Waited for the application to accept the connection.
    AcceptQueue,
    /// Waited in the socket for the application to read.
    ReceiveQueue,
    /// Reading the request.
    Read,
    /// In the application.
    App,
    /// Writing the response.
    Write,
    /// From the last byte sent to its acknowledgement.
    Delivery,
}

impl Measure {
    /// All, in the order of time.
    pub const ALL: [Self; 8] = [
        Self::Latency,
        Self::FailedLatency,
        Self::AcceptQueue,
        Self::ReceiveQueue,
        Self::Read,
        Self::App,
        Self::Write,
        Self::Delivery,
    ];

    /// Its name in a profile; with `_s` behind it, its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FailedLatency => "failed_latency",
            Self::AcceptQueue => "accept_queue",
            Self::ReceiveQueue => "receive_queue",
            Self::Read => "read",
            Self::App => "app",
            Self::Write => "write",
            Self::Delivery => "delivery",
        }
    }
}

/// A percentile, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile(u16);

impl Percentile {
    /// The median.
    pub const P50: Self = Self(500);
    /// 90 %.
    pub const P90: Self = Self(900);
    /// 95 %.
    pub const P95: Self = Self(950);
    /// 99 %.
    pub const P99: Self = Self(990);
    /// 99.9 %.
    pub const P999: Self = Self(999);

    /// As a share, above 0 and below 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// The rank (1 is the smallest) of this percentile among `count` values, by nearest rank.
    /// Integers, because `0.95 * 20` is not 19 in floating point.
    pub fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.0)).div_ceil(1000);
        u64::try_from(rank).unwrap_or(u64::MAX)
    }
}

/// Which value of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// A percentile by nearest rank.
    Percentile(Percentile),
    /// The arithmetic mean.
    Mean,
    /// The longest.
    Max,
    /// The shortest.
    Min,
}

impl Stat {
    const ALL: [(&'static str, Self); 8] = [
        ("p50", Self::Percentile(Percentile::P50)),
        ("p90", Self::Percentile(Percentile::P90)),
        ("p95", Self::Percentile(Percentile::P95)),
        ("p99", Self::Percentile(Percentile::P99)),
        ("p999", Self::Percentile(Percentile::P999)),
        ("mean", Self::Mean),
        ("max", Self::Max),
        ("min", Self::Min),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, stat)| *stat == self).map_or("", |(name, _)| name)
    }
}

/// A share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Answers with 5xx among all answers.
    Errors,
    /// Answers with 4xx among all answers.
    ClientErrors,
    /// Requests whose connection ended before a full answer, among those that were answered or so ended.
    Aborted,
    /// Answers below 500 among all requests that were answered or aborted. What an application refuses
    /// with 4xx (a corrupt upload, an edit conflict) it has served well.
    Success,
}

impl Share {
    const ALL: [(&'static str, Self); 4] = [
        ("error_rate", Self::Errors),
        ("status_4xx_rate", Self::ClientErrors),
        ("aborted_rate", Self::Aborted),
        ("success_rate", Self::Success),
    ];
}

/// What an objective is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A value of a distribution of durations, in seconds.
    Duration(Measure, Stat),
    /// A share of requests, 0 to 1.
    Share(Share),
    /// Answers per second of the run.
    Rate,
    /// Answers.
    Requests,
}

/// Unit of a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// A share, 0 to 1.
    #[serde(rename = "ratio")]
    Ratio,
    /// Per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// A number of things.
    #[serde(rename = "count")]
    Count,
}

impl Metric {
    /// Reads a metric's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|metric| metric.to_string() == name)
    }

    /// Every metric there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let durations = Measure::ALL
            .into_iter()
            .flat_map(|measure| Stat::ALL.into_iter().map(move |(_, stat)| Self::Duration(measure, stat)));
        let shares = Share::ALL.into_iter().map(|(_, share)| Self::Share(share));
        durations.chain(shares).chain([Self::Rate, Self::Requests])
    }

    /// The unit of its value.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Duration(..) => Unit::Seconds,
            Self::Share(_) => Unit::Ratio,
            Self::Rate => Unit::PerSecond,
            Self::Requests => Unit::Count,
        }
    }

    /// A larger value is the better one.
    pub const fn higher_is_better(self) -> bool {
        matches!(self, Self::Share(Share::Success) | Self::Rate | Self::Requests)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(measure, stat) => write!(f, "{}.{}", measure.name(), stat.name()),
            Self::Share(share) => {
                f.write_str(Share::ALL.iter().find(|(_, other)| other == share).map_or("", |(name, _)| name))
            }
            Self::Rate => f.write_str("rate"),
            Self::Requests => f.write_str("requests"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> =
            Metric::all().map(|metric| metric.to_string()).collect();
        assert_eq!(names.len(), Metric::all().count());
        assert!(names.contains("latency.p95") && names.contains("receive_queue.max"));
        assert!(names.contains("status_4xx_rate") && names.contains("rate"));
        for metric in Metric::all() {
            assert_eq!(Metric::parse(&metric.to_string()), Some(metric));
        }
        assert_eq!(Metric::parse("latency.p42"), None);
    }

    #[test]
    fn ranks_are_nearest_ranks() {
        for (percentile, count, rank) in [
            (Percentile::P50, 1, 1),
            (Percentile::P50, 4, 2),
            (Percentile::P95, 19, 19),
            (Percentile::P95, 20, 19),
            (Percentile::P95, 100, 95),
            (Percentile::P99, 100, 99),
            (Percentile::P99, 101, 100),
            (Percentile::P999, 1000, 999),
            (Percentile::P95, 0, 0),
        ] {
            assert_eq!(percentile.rank(count), rank, "{percentile:?} of {count}");
        }
    }
}
