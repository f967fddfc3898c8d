//! What an objective can be about: kinds of subjects, what is measured of each, and which value of it counts.
//!
//! Each kind has its table of quantities in a file of its own; [`crate::aggregate`] has the evidence for every one.

mod database;
mod endpoint;
mod gpu;
mod load;
mod outgoing;
mod resource;
mod stage;
mod stat;
mod websocket;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use stat::{Percentile, Stat};

/// A kind of things that are judged, each under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `METHOD /route`.
    Endpoint,
    /// Requests that the target makes: those to a `host:port`, or of one `METHOD host:port /template`.
    Outgoing,
    /// A stage of the documents, by its name.
    Stage,
    /// All documents together: `documents`.
    Pipeline,
    /// The files of a stage rule, by its pattern.
    Checkpoint,
    /// The WebSockets of a `/route`.
    WebSocket,
    /// A SQLite database, by its path.
    Database,
    /// `target`, `machine`, `process NAME PID` or `disk NAME`.
    Resource,
    /// A GPU, by the driver's index.
    Gpu,
    /// The load generator that the run starts: `command`.
    Load,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Endpoint,
        Self::Outgoing,
        Self::Stage,
        Self::Pipeline,
        Self::Checkpoint,
        Self::WebSocket,
        Self::Database,
        Self::Resource,
        Self::Gpu,
        Self::Load,
    ];

    /// The key that names the subject in a profile: `endpoint = "GET /items"`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Outgoing => "outgoing",
            Self::Stage => "stage",
            Self::Pipeline => "pipeline",
            Self::Checkpoint => "checkpoint",
            Self::WebSocket => "websocket",
            Self::Database => "database",
            Self::Resource => "resource",
            Self::Gpu => "gpu",
            Self::Load => "load",
        }
    }

    /// What is measured of each subject.
    pub const fn quantities(self) -> &'static [Quantity] {
        match self {
            Self::Endpoint => endpoint::QUANTITIES,
            Self::Outgoing => outgoing::QUANTITIES,
            Self::Stage => stage::STAGE,
            Self::Pipeline => stage::PIPELINE,
            Self::Checkpoint => stage::CHECKPOINT,
            Self::WebSocket => websocket::QUANTITIES,
            Self::Database => database::QUANTITIES,
            Self::Resource => resource::QUANTITIES,
            Self::Gpu => gpu::QUANTITIES,
            Self::Load => load::QUANTITIES,
        }
    }

    /// Of what is missing when no subject of this kind matches.
    pub const fn unseen(self) -> &'static str {
        match self {
            Self::Endpoint => "no request to this endpoint was seen",
            Self::Outgoing => "no such call of the target was seen",
            Self::Stage => "no end of this stage was seen",
            Self::Pipeline => "no document was seen",
            Self::Checkpoint => "no file of this pattern was seen",
            Self::WebSocket => "no WebSocket was opened on this route",
            Self::Database => "no lock of this SQLite database was seen",
            Self::Resource => "nothing of this name was looked at, or not for long enough",
            Self::Gpu => "no such GPU was read",
            Self::Load => "the run started no load command",
        }
    }

    /// It is seen through connections: those that cannot be decoded leave it in doubt.
    pub const fn is_decoded(self) -> bool {
        match self {
            Self::Endpoint | Self::WebSocket => true,
            // What is in doubt is counted of connections that come in.
            Self::Outgoing
            | Self::Stage
            | Self::Pipeline
            | Self::Checkpoint
            | Self::Database
            | Self::Resource
            | Self::Gpu
            | Self::Load => false,
        }
    }

    /// Its name in reports.
    pub fn subject(self, name: &str) -> String {
        match self {
            Self::Endpoint | Self::Resource => name.to_owned(),
            Self::Outgoing => format!("calls of {name}"),
            Self::Stage => format!("stage {name}"),
            Self::Pipeline => format!("pipeline {name}"),
            Self::Checkpoint => format!("checkpoint {name}"),
            Self::WebSocket => format!("WebSockets of {name}"),
            Self::Database => format!("database {name}"),
            Self::Gpu => format!("GPU {name}"),
            Self::Load => format!("load {name}"),
        }
    }
}

/// Something that is measured of a subject.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// In a profile; durations bear it in the report with `_s` behind it.
    pub name: &'static str,
    /// What it is made of.
    pub shape: Shape,
    /// What a sample of it is, in the singular.
    pub sample: &'static str,
    /// A larger value is the better one.
    pub higher_is_better: bool,
}

impl Quantity {
    /// Its value grows with the number of things that are seen.
    pub const fn is_counted(&self) -> bool {
        matches!(self.shape, Shape::Rate | Shape::Value(Unit::Count))
    }
}

/// What a quantity is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Independent durations: percentiles are estimates with an interval.
    Durations,
    /// A level that was sampled over time, in this unit: its values are facts about the run.
    Levels(Unit),
    /// So many of so many.
    Share,
    /// How many per second of the run.
    Rate,
    /// One number, in this unit.
    Value(Unit),
}

/// Unit of a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
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
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Watts.
    #[serde(rename = "W")]
    Watts,
    /// Joules.
    #[serde(rename = "J")]
    Joules,
    /// Degrees Celsius.
    #[serde(rename = "C")]
    Celsius,
}

/// What an objective is about: `latency.p95`, `error_rate`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Of which kind of subject.
    pub kind: Kind,
    /// What is measured.
    pub quantity: &'static Quantity,
    /// Which value of it; none for those that have one only.
    pub stat: Option<Stat>,
}

impl Metric {
    /// Reads a metric's name.
    pub fn parse(kind: Kind, name: &str) -> Option<Self> {
        Self::all(kind).find(|metric| metric.to_string() == name)
    }

    /// Every metric of a kind.
    pub fn all(kind: Kind) -> impl Iterator<Item = Self> {
        kind.quantities().iter().flat_map(move |quantity| {
            let has_stats = matches!(quantity.shape, Shape::Durations | Shape::Levels(_));
            let stats = has_stats.then(Stat::all).into_iter().flatten().map(Some);
            let whole = (!has_stats).then_some(None);
            stats.chain(whole).map(move |stat| Self { kind, quantity, stat })
        })
    }

    /// The unit of its value.
    pub const fn unit(self) -> Unit {
        match self.quantity.shape {
            Shape::Durations => Unit::Seconds,
            Shape::Share => Unit::Ratio,
            Shape::Rate => Unit::PerSecond,
            Shape::Levels(unit) | Shape::Value(unit) => unit,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.quantity.name)?;
        self.stat.map_or(Ok(()), |stat| write!(f, ".{}", stat.name()))
    }
}

impl PartialEq for Metric {
    /// A quantity's name is unique within its kind.
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.quantity.name, self.stat) == (other.kind, other.quantity.name, other.stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        for kind in Kind::ALL {
            let names: std::collections::BTreeSet<String> =
                Metric::all(kind).map(|metric| metric.to_string()).collect();
            assert_eq!(names.len(), Metric::all(kind).count(), "{kind:?}");
            for metric in Metric::all(kind) {
                assert_eq!(Metric::parse(kind, &metric.to_string()), Some(metric));
            }
        }
        let keys: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.key()).collect();
        assert_eq!(keys.len(), Kind::ALL.len());
        for name in ["latency.p95", "receive_queue.max", "status_4xx_rate", "rate"] {
            assert!(Metric::parse(Kind::Endpoint, name).is_some(), "{name}");
        }
        for name in ["latency.p42", "latency", "rate.p95"] {
            assert_eq!(Metric::parse(Kind::Endpoint, name), None, "{name}");
        }
    }
}
