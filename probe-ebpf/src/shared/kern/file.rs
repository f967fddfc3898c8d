//! Questions about open files, their inodes and the tree of names, in the kernel's own structs.

use aya_ebpf::helpers::bpf_get_current_task;
use probe_common::file::FileId;

use super::read;

/// An open file: the address of its `struct file`; none when the current task has no such descriptor.
#[inline(always)]
pub(crate) fn of_fd(fd: u64) -> Option<u64> {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task + offset!(task_files))?;
    let fdt: u64 = read(files + offset!(files_fdt))?;
    let table: u64 = read(fdt + offset!(fdt_fd))?;
    let file: u64 = read(table + (fd & 0xffff_ffff) * 8)?;
    (file != 0).then_some(file)
}

/// The flags with which a file was opened, less those that are only for the opening.
#[inline(always)]
pub(crate) fn open_flags(file: u64) -> Option<u32> {
    read(file + offset!(file_flags))
}

/// The `struct inode` of an open file.
#[inline(always)]
pub(crate) fn inode(file: u64) -> Option<u64> {
    read(file + offset!(file_inode))
}

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Socket,
    /// A pipe, a device, a directory, an event descriptor.
    Other,
}

/// See [`Kind`].
#[inline(always)]
pub(crate) fn kind(inode: u64) -> Option<Kind> {
    /// `S_IFMT`, `S_IFREG`, `S_IFSOCK` (include/uapi/linux/stat.h).
    const TYPE: u16 = 0o170_000;
    const REGULAR: u16 = 0o100_000;
    const SOCKET: u16 = 0o140_000;
    let mode: u16 = read(inode + offset!(inode_mode))?;
    Some(match mode & TYPE {
        REGULAR => Kind::Regular,
        SOCKET => Kind::Socket,
        _ => Kind::Other,
    })
}

/// What a descriptor of the current task is.
#[inline(always)]
pub(crate) fn kind_of_fd(fd: u64) -> Option<Kind> {
    kind(inode(of_fd(fd)?)?)
}

/// What an inode is told from others by.
#[inline(always)]
pub(crate) fn id(inode: u64) -> Option<FileId> {
    let sb: u64 = read(inode + offset!(inode_sb))?;
    Some(FileId {
        ino: read(inode + offset!(inode_number))?,
        dev: read(sb + offset!(sb_dev))?,
        generation: read(inode + offset!(inode_generation))?,
    })
}

/// Names that an inode has: 0 for an unnamed or deleted file.
#[inline(always)]
pub(crate) fn links(inode: u64) -> Option<u32> {
    read(inode + offset!(inode_nlink))
}

/// A place in the tree of names: `struct path`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    vfsmount: u64,
    pub(crate) dentry: u64,
}

/// Where a file was opened.
#[inline(always)]
pub(crate) fn place(file: u64) -> Option<Place> {
    place_at(file + offset!(file_path))
}

/// The working directory of the current task.
#[inline(always)]
pub(crate) fn working_directory() -> Option<Place> {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let fs: u64 = read(task + offset!(task_fs))?;
    place_at(fs + offset!(fs_pwd))
}

#[inline(always)]
fn place_at(path: u64) -> Option<Place> {
    Some(Place { vfsmount: read(path + offset!(path_mnt))?, dentry: read(path + offset!(path_dentry))? })
}

/// The id of a place's mount, as `/proc/PID/mountinfo` has it, and the `struct dentry` of the mount's root.
#[inline(always)]
pub(crate) fn mount(place: Place) -> Option<(u32, u64)> {
    let mount = place.vfsmount - offset!(mount_vfsmount);
    Some((read(mount + offset!(mount_id))?, read(place.vfsmount + offset!(vfsmount_root))?))
}

/// The directory in which a name stands; a root stands in itself.
#[inline(always)]
pub(crate) fn parent(dentry: u64) -> Option<u64> {
    read(dentry + offset!(dentry_parent))
}

/// Address of a name's characters, which end with a NUL.
#[inline(always)]
pub(crate) fn name(dentry: u64) -> Option<u64> {
    read(dentry + offset!(dentry_name) + offset!(qstr_name))
}
