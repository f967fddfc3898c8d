//! Names of files: a bounded walk from an entry of the tree of names up to the root of its mount.
//!
//! The kernel has a helper for this, but not for programs of raw tracepoints. User space puts the mount point in front
//! (see `probe/src/target/mounts.rs`); the walk itself needs no path of the application's, so relative names,
//! directory descriptors, chdir, chroot and renamed directories are all the same to it.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use probe_common::file::{MAX_COMPONENTS, NAME_BYTES, NAMES_START_BELOW, PATH_CUT, PATH_DETACHED, PathRaw};

use super::{
    bounds::opaque,
    kern::file::{self, Place},
};

/// Writes the names of a place, leaf first; false when the kernel's structs could not be read.
///
/// The names are read without locks: a directory that is renamed meanwhile can leave a mixed path, never a fault.
#[inline(always)]
pub(crate) fn names(place: Place, into: &mut PathRaw) -> bool {
    into.head.len = 0;
    into.head.flags = PATH_CUT;
    let Some((mount, root)) = file::mount(place) else { return false };
    into.head.mount = mount;
    let mut dentry = place.dentry;
    let mut at = 0;
    for _ in 0..MAX_COMPONENTS {
        if dentry == root {
            into.head.flags = 0;
            break;
        }
        let (Some(parent), Some(name)) = (file::parent(dentry), file::name(dentry)) else { return false };
        if parent == dentry {
            into.head.flags = PATH_DETACHED;
            break;
        }
        // One check for the verifier, whatever the names before were long.
        let start = opaque(at);
        if start >= NAMES_START_BELOW {
            break;
        }
        // SAFETY: a name of NAME_BYTES that starts below NAMES_START_BELOW ends within the buffer; the helper checks
        // the source.
        let length = unsafe {
            bpf_probe_read_kernel_str(
                into.names.as_mut_ptr().add(start).cast(),
                NAME_BYTES as u32,
                name as *const _,
            )
        };
        if length <= 0 {
            return false;
        }
        at = start + length.cast_unsigned() as usize;
        dentry = parent;
    }
    into.head.len = at as u16;
    true
}
