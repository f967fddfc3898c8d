//! What is known before the load, as instructions that user space completes; see `probe_common::constants`.

/// The value of a field of [`Constants`](probe_common::constants::Constants), as `u64`.
macro_rules! constant {
    ($($field:tt)+) => {{
        let value: u64;
        // SAFETY: a move into a register, and nothing else.
        unsafe {
            ::core::arch::asm!(
                "{value} = {stand_in}",
                value = out(reg) value,
                stand_in = const ::probe_common::constants::stand_in(
                    ::core::mem::offset_of!(::probe_common::constants::Constants, $($field)+)
                ),
                options(pure, nomem, nostack),
            );
        }
        value
    }};
}
pub(crate) use constant;
