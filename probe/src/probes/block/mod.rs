//! The block room: requests of the block devices below the target's files, whoever asked for them.
//!
//! The kernel side counts and times in histograms; [`summarize`] adds up what its processors have.

use probe_common::{
    block::{RequestKind, RequestStats, request_index},
    rooms::Rooms,
};

use super::{Hook, Spec};
use crate::event::DiskRequests;

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "block",
    summary: "requests of block devices, of the whole machine: time in the queue and until their end",
    room: Rooms::BLOCK,
    needs: Rooms::NONE,
    hooks: &[
        Hook {
            program: "block_complete",
            again: None,
            tracepoint: "block_rq_complete",
            perf: None,
            since: "2.6.32",
            purpose: "how long requests of block devices take",
        },
        Hook {
            program: "block_issue",
            again: None,
            tracepoint: "block_rq_issue",
            perf: None,
            since: "2.6.32",
            purpose: "how long of that they were queued, on 5.11 and later",
        },
    ],
    functions: &[],
};

/// Sums what the processors counted of the device in a slot; `read` yields the statistics of one index, one per CPU.
/// Kinds that never happened are left out.
pub fn summarize<E>(
    slot: u32,
    mut read: impl FnMut(u32) -> Result<Vec<RequestStats>, E>,
) -> Result<Vec<DiskRequests>, E> {
    let mut all = Vec::new();
    for &kind in RequestKind::ALL {
        let mut sum = DiskRequests { op: kind.id().to_owned(), ..DiskRequests::default() };
        for cpu in read(request_index(slot, kind))? {
            sum.requests += cpu.requests;
            sum.errors += cpu.errors;
            sum.bytes += cpu.bytes;
            sum.took.add_cpu(&cpu.took);
            sum.queued.add_cpu(&cpu.queued);
        }
        if sum.requests > 0 {
            all.push(sum);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::hist::{Durations, bucket_of};

    #[test]
    fn processors_are_summed() {
        let none =
            RequestStats { requests: 0, errors: 0, bytes: 0, took: Durations::NONE, queued: Durations::NONE };
        let mut cpu = RequestStats { requests: 2, errors: 1, bytes: 4096, ..none };
        cpu.took.record(3000, bucket_of(3000));
        cpu.queued.record(1000, bucket_of(1000));
        let write = request_index(3, RequestKind::Write);
        let all =
            summarize::<()>(3, |index| Ok(vec![none, if index == write { cpu } else { none }, cpu])).unwrap();
        assert_eq!(all.len(), RequestKind::ALL.len());
        let sum = all.iter().find(|sum| sum.op == "write").unwrap();
        assert_eq!(
            (sum.requests, sum.errors, sum.bytes, sum.took.sum_ns, sum.queued.sum_ns),
            (4, 2, 8192, 6000, 2000)
        );
        assert_eq!(summarize::<()>(0, |_| Ok(vec![none])), Ok(Vec::new()));
    }
}
