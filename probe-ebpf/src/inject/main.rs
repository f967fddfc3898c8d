//! The classifier of injected network conditions: an object of its own, which only the injector loads.
//!
//! At egress it sends packets to a class by writing `skb->priority`; the queueing discipline does the rest. Where no
//! program is attached, no packet reaches such a class: the kernel drops the link with the process that holds it, so
//! traffic is clean at once, however that process ends. On kernels whose filters outlive their process the deadline,
//! which the injector keeps moving, does the same a little later.
//!
//! At ingress it drops packets at random, for kernels without sch_netem: a drop at egress would be taken by the sender
//! for local congestion, not for loss.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_pass_by_value,
        clippy::cast_possible_truncation,
        reason = "the program attributes call their function with the context by value; numbers are bounded where \
                  they are made"
    )
)]

#[cfg(target_arch = "bpf")]
mod classify;
#[cfg(target_arch = "bpf")]
mod packet;

/// The helpers that it calls are for GPL-compatible programs only.
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
