//! The in-kernel call statistics, summed over CPUs.

use probe_common::socket::{Mode, Op, OpStats, Role, op_index};

use crate::event::{SyscallStats, Took};

/// Sums per-CPU statistics; `read` yields those of one index, one per CPU. Kinds of calls that never
/// happened are left out.
pub fn summarize<E>(mut read: impl FnMut(u32) -> Result<Vec<OpStats>, E>) -> Result<Vec<SyscallStats>, E> {
    let mut all = Vec::new();
    for &op in Op::ALL {
        for &role in Role::ALL {
            for &mode in Mode::ALL {
                let cpus = read(op_index(op as u32, role as u32, mode as u32))?;
                let stats = sum(op, role, mode, &cpus);
                if stats.calls > 0 {
                    all.push(stats);
                }
            }
        }
    }
    Ok(all)
}

fn sum(op: Op, role: Role, mode: Mode, cpus: &[OpStats]) -> SyscallStats {
    let mut took = Took::default();
    for cpu in cpus {
        took.add_cpu(&cpu.took);
    }
    SyscallStats {
        op: match op {
            Op::Accept => "accept",
            Op::Recv => "recv",
            Op::Send => "send",
        }
        .to_owned(),
        role: match role {
            Role::Server => "server",
            Role::Client => "client",
        }
        .to_owned(),
        mode: match mode {
            Mode::Blocking => "blocking",
            Mode::Nonblocking => "nonblocking",
        }
        .to_owned(),
        calls: cpus.iter().map(|cpu| cpu.calls).sum(),
        would_block: cpus.iter().map(|cpu| cpu.would_block).sum(),
        errors: cpus.iter().map(|cpu| cpu.errors).sum(),
        bytes: cpus.iter().map(|cpu| cpu.bytes).sum(),
        took,
    }
}
