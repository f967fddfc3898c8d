//! By how much a run may be worse than those before it.

use super::metric::{Kind, Metric};
use super::pattern::Pattern;

/// One rule of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// Unique among the rules.
    pub id: String,
    /// What is compared, each on its own; none for all requests together.
    pub subject: Option<Pattern>,
    /// Which value is compared.
    pub metric: Metric,
    /// Worse by this share of the baseline is still none.
    pub worse_by: f64,
    /// Worse by this much is none, however small the baseline; in the metric's unit.
    pub floor: f64,
}

impl Regression {
    /// The rules of a profile that has none of its own: those of the load-test readiness audit. A difference of 5 ms is
    /// none that a user sees, and one that two runs of the same code have.
    pub(super) fn defaults() -> Vec<Self> {
        [("p95-regression", "latency.p95", 0.2, 0.005), ("throughput-regression", "rate", 0.15, 0.0)]
            .into_iter()
            .filter_map(|(id, metric, worse_by, floor)| {
                let metric = Metric::parse(Kind::Endpoint, metric)?;
                Some(Self { id: id.to_owned(), subject: None, metric, worse_by, floor })
            })
            .collect()
    }
}
