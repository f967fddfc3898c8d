//! From numbers to verdicts: each objective of the profile against what was measured. Pure.
//!
//! | metric                     | judged when                                                                |
//! |----------------------------|----------------------------------------------------------------------------|
//! | percentile of a duration   | an order-statistic interval exists: 6 values for p50, 36 for p90, 72 for p95, 368 for p99, 3688 for p999 |
//! | mean of a duration         | 30 values; the interval is the estimate ± 1.96 standard errors             |
//! | max, min of a duration     | one value: a fact about the run, not an estimate                           |
//! | share of requests          | enough that not one bad outcome would prove the limit (368 for 1 %, 72 for 5 %); before that only a fail that its interval proves |
//! | rate, requests             | one request: a fact about the run                                          |
//!
//! Objectives are judged in each judged phase that they bind to. An objective is inconclusive, with the reason, when there is no data or too little, when the recording has no
//! end, when the phase's load failed or was saturated, when more than 0.1 % of all events were lost, and when more than 0.1 % of a latency's requests could
//! not be timed, unless those could not change the verdict wherever they would have fallen.

mod binomial;
mod judge;
mod verdict;

pub use binomial::samples_for_percentile;
pub use judge::{Confidence, Judgement, judge, overall, unbound};
pub use verdict::Verdict;
