//! The file room: regular files of the tree, by class, and those that could be checkpoints one by one.
//!
//! The kernel side knows open files and says names where they change; [`Files`] joins the two, decides once what each
//! file is for, and tells the kernel side, so that the calls on it are counted in the kernel from then on.

mod decode;
mod files;
mod known;
mod marker;
mod names;
mod stats;

pub use decode::{FileEvent, decode};
pub use files::{Files, Kernel};
pub use stats::{Counted, summarize, summarize_stalls};

use probe_common::rooms::Rooms;

use super::{Hook, Spec};

/// The room's kernel program, which `fdio_exit` hands on to.
pub const TAIL: &str = "file_io_returned";

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "file_io",
    summary: "regular files: calls by class of file, checkpoint files one by one, stage markers",
    room: Rooms::FILE_IO,
    needs: Rooms::NONE,
    // All else that it needs passes a system call: those hooks are of `fdio`.
    hooks: &[Hook {
        program: "file_io_stalled",
        again: None,
        tracepoint: "balance_dirty_pages",
        perf: Some("writeback"),
        since: "3.2",
        purpose: "for how long writes were held back because too much was dirty",
    }],
    functions: &[],
};
