//! The tables of open files and of the classes that user space gave to files.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use probe_common::{
    file::FileId,
    file_io::{Class, OpenFile},
    loss::LossCause,
};

use crate::shared::{emit::lose, kern::file};

/// Open files by `struct file *`: a hash map, because duplicates and inherited descriptors of several processes meet
/// here. Least recently used ones make room: what is open for long and never used has nothing to tell.
#[map]
static OPEN_FILES: LruHashMap<u64, OpenFile> = LruHashMap::with_max_entries(16_384, 0);

/// Classes by file, written by user space. Least recently used ones make room; a file without one is asked for again.
#[map]
static FILE_CLASSES: LruHashMap<FileId, u32> = LruHashMap::with_max_entries(65_536, 0);

/// Where a new entry is made: the verifier wants its bytes initialised, and the stack is small.
#[map]
static NEW_FILE: PerCpuArray<OpenFile> = PerCpuArray::with_max_entries(1, 0);

/// Per-CPU part of a file's id.
#[map]
static FILE_IDS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The known entry of an open file, unless it is of another file that stood at this address before.
#[inline(always)]
pub(super) fn get(key: u64, inode: u64) -> Option<*mut OpenFile> {
    let open = OPEN_FILES.get_ptr_mut(key)?;
    // SAFETY: a valid map value; one word is read.
    (unsafe { (*open).inode } == inode).then_some(open)
}

/// Takes up an open file, in place of another at the same address.
#[inline(always)]
pub(super) fn add(key: u64, new: &OpenFile) -> Option<*mut OpenFile> {
    let made = NEW_FILE.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; `sys_exit`'s program, its only user, never runs twice at once on a CPU.
    let made = unsafe { &mut *made };
    *made = *new;
    if OPEN_FILES.insert(key, *made, 0).is_err() {
        lose(LossCause::FileTableFull);
        return None;
    }
    OPEN_FILES.get_ptr_mut(key)
}

/// The entry of a file that was closed just now.
#[inline(always)]
pub(super) fn closed(key: u64) -> Option<*mut OpenFile> {
    OPEN_FILES.get_ptr_mut(key)
}

/// The class that user space gave to a file; 0 for none yet.
#[inline(always)]
pub(super) fn class_of(id: &FileId) -> u32 {
    // SAFETY: a valid map value of four bytes, read at once.
    unsafe { FILE_CLASSES.get(id) }.map_or(Class::Unknown as u32, |class| *class)
}

/// The inode of a regular file with its identity; none for directories, pipes, devices, sockets.
#[inline(always)]
pub(super) fn regular(key: u64) -> Option<u64> {
    let inode = file::inode(key)?;
    (file::kind(inode)? == file::Kind::Regular).then_some(inode)
}

/// A number that no other open file of this run has.
#[inline(always)]
pub(super) fn new_id() -> u64 {
    // SAFETY: helpers without arguments.
    let (cpu, now) = unsafe { (bpf_get_smp_processor_id(), bpf_ktime_get_ns()) };
    let Some(next) = FILE_IDS.get_ptr_mut(0) else { return now };
    // SAFETY: this CPU's slot.
    let next = unsafe { &mut *next };
    *next += 1;
    *next << 16 | u64::from(cpu & 0xffff)
}
