//! Files that are opened, or met open.

use aya_ebpf::{EbpfContext as _, macros::map, maps::PerCpuArray, programs::RawTracePointContext};
use probe_common::{
    file::PathHead,
    file_io::{Class, FILE_OLDER, O_ACCMODE, OpenFile, OpenRaw},
    header::Kind,
    loss::LossCause,
};

use super::table;
use crate::{
    process,
    shared::{
        emit::{emit_bytes, lose},
        fdio::Call,
        kern::file,
        path,
    },
};

/// Where a record is put together: too big for the stack. `sys_exit`'s program never runs twice at once on a CPU.
#[map]
static OPEN_SCRATCH: PerCpuArray<OpenRaw> = PerCpuArray::with_max_entries(1, 0);

/// The entry of the regular file `key`. One that was opened just now (`opened`: the flags of the call), or that was open
/// before the run, is taken up.
#[inline(always)]
pub(super) fn entry(
    ctx: &RawTracePointContext,
    call: &Call,
    key: u64,
    opened: Option<u32>,
) -> Option<*mut OpenFile> {
    let inode = table::regular(key)?;
    if opened.is_none()
        && let Some(open) = table::get(key, inode)
    {
        // SAFETY: a valid map value; threads that share the file write the same class.
        let found = unsafe { &mut *open };
        if found.class == Class::Unknown as u32 {
            found.class = table::class_of(&found.file);
        }
        return Some(open);
    }
    take_up(ctx, call, key, inode, opened)
}

/// Makes an entry, and tells user space of files of which the name matters, or is not known.
#[inline(always)]
fn take_up(
    ctx: &RawTracePointContext,
    call: &Call,
    key: u64,
    inode: u64,
    opened: Option<u32>,
) -> Option<*mut OpenFile> {
    let id = file::id(inode)?;
    let class = table::class_of(&id);
    let (open_flags, flags) = match opened {
        Some(open_flags) => (open_flags, 0),
        None => (file::open_flags(key)?, FILE_OLDER),
    };
    let open = OpenFile {
        id: table::new_id(),
        inode,
        file: id,
        pid: ctx.tgid(),
        opener: ctx.tgid(),
        class,
        open_flags,
        flags,
        opened_ns: if opened.is_some() { call.enter_ns } else { 0 },
        open_ns: if opened.is_some() { call.took_ns() } else { 0 },
        ..OpenFile::default()
    };
    let entry = table::add(key, &open)?;
    if Class::is_summed_only(class) || (class == Class::Other as u32 && open_flags & O_ACCMODE == 0) {
        return Some(entry);
    }
    let raw = OPEN_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; see `OPEN_SCRATCH`.
    let raw = unsafe { &mut *raw };
    raw.header = process::header(ctx, Kind::FileOpen, call.ts_ns);
    raw.enter_ns = call.enter_ns;
    raw.io_ns = call.io_ns();
    raw.key = key;
    raw.id = open.id;
    raw.file = id;
    raw.open_flags = open_flags;
    raw.flags = flags;
    raw.class = class;
    raw.links = file::links(inode)?;
    if !path::names(file::place(key)?, &mut raw.path) {
        lose(LossCause::KernelReadFault);
        raw.path.head = PathHead::default();
    }
    let len = size_of::<OpenRaw>() - raw.path.names.len() + usize::from(raw.path.head.len);
    let len = len.min(size_of::<OpenRaw>());
    // SAFETY: `len` is within the record, whose bytes are all initialised (map memory starts zeroed).
    emit_bytes(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(raw).cast::<u8>(), len) });
    Some(entry)
}
