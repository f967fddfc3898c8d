//! What objectives about a GPU are judged by.

use super::stats::GpuStats;
use crate::aggregate::evidence::{Evidence, Subject};
use crate::profile::{Metric, Stat};

impl Subject for GpuStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        if self.lost_ns.is_some() {
            return Some(Evidence::Doubtful("the GPU stopped answering"));
        }
        let value = |value: Option<f64>, samples: u64| Some(Evidence::Value { value, samples });
        let spread = match metric.quantity.name {
            "util" => &self.util,
            "memory_util" => &self.memory_util,
            "memory_bytes" => &self.memory,
            "power" => &self.power,
            "temperature" => &self.temperature,
            "memory" => {
                let total = self.device.as_ref().and_then(|device| device.memory_total_bytes);
                let used = self.memory.stat(metric.stat?);
                let share =
                    used.zip(total.filter(|total| *total > 0)).map(|(used, total)| used / total as f64);
                return value(share, self.memory.count());
            }
            "idle" => return value(self.util.stat(Stat::Mean).map(|busy| 1.0 - busy), self.util.count()),
            "throttled" => return value(self.slowdown_ratio(), self.util.count()),
            "energy_per_document" => return value(self.energy_per_document_j(), self.documents),
            "ecc_uncorrected" => return Some(self.count(self.grown(|counters| counters.ecc_uncorrected))),
            "nvlink_errors" => return Some(self.count(self.grown(|counters| counters.nvlink_errors))),
            _ => return None,
        };
        value(spread.stat(metric.stat?), spread.count())
    }
}

impl GpuStats {
    /// Of something that hardly ever happens.
    fn count(&self, count: Option<u64>) -> Evidence<'_> {
        Evidence::Value { value: count.map(|count| count as f64), samples: self.util.count() }
    }
}
