//! Calls that change names: rename, link, unlink. They say names, not files; user space joins the two.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user_str, macros::map, maps::PerCpuArray,
    programs::RawTracePointContext,
};
use probe_common::{
    file::{PathHead, PathRaw},
    file_io::{GIVEN_BYTES, NameRaw, Op},
    header::Kind,
    loss::LossCause,
};

use crate::{
    process,
    shared::{
        emit::{emit, lose},
        fdio::Call,
        kern::file,
        path,
    },
};

/// Where a record is put together: too big for the stack. `sys_exit`'s program never runs twice at once on a CPU.
#[map]
static NAME_SCRATCH: PerCpuArray<NameRaw> = PerCpuArray::with_max_entries(1, 0);

/// What such a call was given: addresses of paths, and the directory descriptors where relative ones begin.
pub(super) struct Names {
    pub(super) old: u64,
    pub(super) old_dir: u64,
    /// 0 for none.
    pub(super) new: u64,
    pub(super) new_dir: u64,
}

/// A call that changes a name, at its return.
#[inline(always)]
pub(super) fn change(ctx: &RawTracePointContext, call: &Call, op: Op, names: &Names) -> Option<i32> {
    call.add_io();
    let raw = NAME_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; see `NAME_SCRATCH`.
    let raw = unsafe { &mut *raw };
    raw.header = process::header(ctx, Kind::FileName, call.ts_ns);
    raw.enter_ns = call.enter_ns;
    raw.io_ns = call.io_ns();
    raw.ret = call.ret;
    raw.op = op as u32;
    let old = given(names.old, &mut raw.old);
    let new = if names.new == 0 { 0 } else { given(names.new, &mut raw.new) };
    raw.given_len = old | new << 16;
    directory(raw.old[0], names.old_dir, &mut raw.old_dir);
    if new > 0 {
        directory(raw.new[0], names.new_dir, &mut raw.new_dir);
    }
    emit(raw);
    Some(0)
}

/// Copies a path of the application; returns its length.
#[inline(always)]
fn given(from: u64, into: &mut [u8; GIVEN_BYTES]) -> u32 {
    // SAFETY: the helper writes at most the array, and checks the source.
    let length =
        unsafe { bpf_probe_read_user_str(into.as_mut_ptr().cast(), GIVEN_BYTES as u32, from as *const _) };
    if length <= 0 {
        lose(LossCause::UserReadFault);
        return 0;
    }
    // The NUL counts.
    length.cast_unsigned() as u32 - 1
}

/// Where a relative path begins; nothing for an absolute one.
#[inline(always)]
fn directory(first: u8, descriptor: u64, into: &mut PathRaw) {
    /// include/uapi/linux/fcntl.h
    const AT_FDCWD: i32 = -100;
    into.head = PathHead::default();
    if first == b'/' {
        return;
    }
    let place = if descriptor as i32 == AT_FDCWD {
        file::working_directory()
    } else {
        file::of_fd(descriptor).and_then(file::place)
    };
    if !place.is_some_and(|place| path::names(place, into)) {
        into.head = PathHead::default();
        lose(LossCause::KernelReadFault);
    }
}
