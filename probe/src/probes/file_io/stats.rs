//! The in-kernel statistics of calls on files, with those calls that were counted here because the class of their file
//! was not known in time.

use std::collections::BTreeMap;

use probe_common::{
    file_io::{Class, FileOpStats, Op, file_op_index},
    hist::Durations,
};

use crate::event::{FileStats, Took};

/// Calls that were counted here.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    by_kind: BTreeMap<(Class, Op), FileStats>,
}

impl Counted {
    /// Counts a call. `took_ns` is none where its entry was not seen.
    pub(super) fn add(&mut self, class: Class, op: Op, took_ns: Option<u64>, ret: i64) {
        let stats = self.by_kind.entry((class, op)).or_default();
        stats.calls += 1;
        if ret < 0 {
            stats.errors += 1;
        } else if matches!(op, Op::Read | Op::Write) {
            stats.bytes += ret.unsigned_abs();
        }
        if let Some(took_ns) = took_ns {
            stats.took.add(took_ns);
        }
    }
}

/// Sums the kernel's per-CPU statistics and what was counted here; `read` yields those of one index, one per CPU. Kinds
/// of calls that never happened are left out.
pub fn summarize<E>(
    counted: &Counted,
    mut read: impl FnMut(u32) -> Result<Vec<FileOpStats>, E>,
) -> Result<Vec<FileStats>, E> {
    let mut all = Vec::new();
    for &class in Class::ALL {
        for &op in Op::ALL {
            let mut stats = counted.by_kind.get(&(class, op)).cloned().unwrap_or_default();
            for cpu in read(file_op_index(class as u32, op as u32))? {
                add_cpu(&mut stats, &cpu);
            }
            if stats.calls > 0 {
                class.id().clone_into(&mut stats.class);
                op.id().clone_into(&mut stats.op);
                all.push(stats);
            }
        }
    }
    Ok(all)
}

/// Sums the times for which writes were held back, one per CPU.
pub fn summarize_stalls(cpus: &[Durations]) -> Took {
    let mut sum = Took::default();
    for cpu in cpus {
        sum.add_cpu(cpu);
    }
    sum
}

fn add_cpu(stats: &mut FileStats, cpu: &FileOpStats) {
    stats.calls += cpu.calls;
    stats.errors += cpu.errors;
    stats.bytes += cpu.bytes;
    stats.took.add_cpu(&cpu.took);
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::hist::bucket_of;

    /// What both sides counted stands in one sum; nothing that never happened stands there.
    #[test]
    fn both_sides_are_summed() {
        let mut counted = Counted::default();
        counted.add(Class::Checkpoint, Op::Write, Some(1000), 10);
        counted.add(Class::Checkpoint, Op::Write, None, -28);
        let none = FileOpStats { calls: 0, errors: 0, bytes: 0, took: Durations::NONE };
        let mut cpu = FileOpStats { calls: 2, bytes: 5, ..none };
        cpu.took.record(20, bucket_of(20));
        cpu.took.record(40, bucket_of(40));
        let write = file_op_index(Class::Checkpoint as u32, Op::Write as u32);
        let all = summarize::<()>(&counted, |index| Ok(vec![none, if index == write { cpu } else { none }]))
            .unwrap();
        assert_eq!(all.len(), 1);
        let sum = &all[0];
        assert_eq!((sum.class.as_str(), sum.op.as_str()), ("checkpoint", "write"));
        assert_eq!((sum.calls, sum.errors, sum.bytes, sum.took.sum_ns), (4, 1, 15, 1060));
        assert_eq!((sum.took.min_ns, sum.took.max_ns, sum.took.buckets.len()), (20, 1000, 3));
    }
}
