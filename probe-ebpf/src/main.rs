//! Kernel side of `probe`: one object, one room per file, every hook in exactly one place.
//!
//! | file | hooks |
//! |---|---|
//! | `process` | `sched_process_fork`, `sched_process_exec`, `sched_process_exit` |
//! | `shared/fdio` | `sys_enter`, `sys_exit`: tells socket calls from the rest and hands them to the rooms |
//! | `file_io` | `balance_dirty_pages`; `fdio` hands it the calls on regular files |
//! | `block` | `block_rq_issue`, `block_rq_complete` |
//! | `sqlite` | `posix_lock_inode` |
//! | `socket` | `inet_sock_set_state`, `tcp_probe`, `tcp_rcv_space_adjust` |
//! | `tls` | functions of TLS libraries |
//!
//! Hooks are raw tracepoints (kernel 4.17) or functions of the target, so nothing here needs kprobes, fentry or tracefs. Each program
//! is a thin shell around a `try_` body; an error means "not ours" or is a counted loss.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_pass_by_value,
        clippy::cast_possible_truncation,
        reason = "the program attributes call their function with the context by value; pointers have 64 bits on \
                  this target, and lengths and counts are bounded where they are made"
    )
)]

#[cfg(target_arch = "bpf")]
mod block;
#[cfg(target_arch = "bpf")]
mod file_io;
#[cfg(target_arch = "bpf")]
mod process;
#[cfg(target_arch = "bpf")]
mod shared;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod sqlite;
#[cfg(target_arch = "bpf")]
mod tls;

/// The helpers that read kernel memory are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Unreachable: the verifier refuses programs with a reachable loop like this one.
    loop {}
}

/// On the host this is an empty program, so that `cargo check --workspace` sees the package.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
