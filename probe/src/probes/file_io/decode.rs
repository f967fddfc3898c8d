//! Records of the file room as typed values.

use probe_common::{
    file_io::{CallRaw, Class, CloseRaw, FILE_OLDER, GIVEN_BYTES, MarkerRaw, NameRaw, Op, OpenFile, OpenRaw},
    header::Kind,
};
use zerocopy::FromBytes as _;

use crate::probes::{
    path::{self, MountPath, printable},
    wire::{DecodeError, prefix, stamp},
};

/// Who did it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Entry of the call; its return where that was not seen.
    pub enter_ns: u64,
    /// Return of the call.
    pub ts_ns: u64,
    /// Time of the thread in calls on files so far.
    pub io_ns: u64,
}

/// A record of this room.
#[derive(Clone, Debug, PartialEq)]
pub enum FileEvent {
    /// A file was opened, or met open.
    Opened {
        /// By whom.
        by: By,
        /// Key of the kernel's table.
        key: u64,
        /// What is known of it.
        open: Box<OpenFile>,
        /// Names that the file has.
        links: u32,
        /// Its name.
        path: MountPath,
    },
    /// A call on a file of unknown class, or a slow one.
    Called {
        /// By whom.
        by: By,
        /// The opening.
        id: u64,
        /// What.
        op: Op,
        /// The class that the kernel side knows.
        class: Class,
        /// What it returned.
        ret: i64,
    },
    /// Its writer closed it.
    Closed {
        /// By whom.
        by: By,
        /// What it was used for.
        open: Box<OpenFile>,
    },
    /// A name changed.
    Named {
        /// By whom.
        by: By,
        /// What.
        op: Op,
        /// 0, or an `errno` below it.
        ret: i64,
        /// What the application gave, and where it begins when it is relative.
        old: (String, MountPath),
        /// The same; empty for unlink.
        new: (String, MountPath),
    },
    /// A write that begins like a marker.
    Marked {
        /// By whom.
        by: By,
        /// Its first bytes.
        text: String,
    },
}

/// Decodes a record of this room; none for those of others.
pub fn decode(kind: Kind, record: &[u8]) -> Result<Option<FileEvent>, DecodeError> {
    Ok(Some(match kind {
        Kind::FileOpen => opened(record)?,
        Kind::FileCall => {
            let (raw, _) = prefix::<CallRaw>(record)?;
            FileEvent::Called {
                by: by(raw.header, raw.enter_ns, 0),
                id: raw.id,
                op: *Op::ALL.get(raw.op as usize).ok_or(DecodeError::Kind(raw.op))?,
                class: class(raw.class),
                ret: raw.ret.cast_signed(),
            }
        }
        Kind::FileClose => {
            let (raw, _) = prefix::<CloseRaw>(record)?;
            FileEvent::Closed { by: by(raw.header, raw.enter_ns, raw.io_ns), open: Box::new(raw.open) }
        }
        Kind::FileName => {
            let (raw, _) = prefix::<NameRaw>(record)?;
            let (old_len, new_len) = (raw.given_len & 0xffff, raw.given_len >> 16);
            FileEvent::Named {
                by: by(raw.header, raw.enter_ns, raw.io_ns),
                op: *Op::ALL.get(raw.op as usize).ok_or(DecodeError::Kind(raw.op))?,
                ret: raw.ret,
                old: (given(&raw.old, old_len), path::decode(raw.old_dir.head, &raw.old_dir.names)?.0),
                new: (given(&raw.new, new_len), path::decode(raw.new_dir.head, &raw.new_dir.names)?.0),
            }
        }
        Kind::Marker => {
            let head = size_of::<MarkerRaw>() - probe_common::file_io::MARKER_BYTES;
            let short = DecodeError::Short(record.len());
            let (fixed, bytes) = record.split_at_checked(head).ok_or(short)?;
            let (header, rest) = prefix(fixed)?;
            let ([io_ns, len], _) = <[u64; 2]>::read_from_prefix(rest).map_err(|_| short)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let text = printable(bytes.get(..len).ok_or(short)?);
            FileEvent::Marked { by: by(header, 0, io_ns), text }
        }
        _ => return Ok(None),
    }))
}

fn opened(record: &[u8]) -> Result<FileEvent, DecodeError> {
    // The record ends behind the last name, before the fixed size of its type.
    let mut whole = vec![0; size_of::<OpenRaw>()];
    let least = size_of::<OpenRaw>() - probe_common::file::NAMES_BYTES;
    if record.len() < least {
        return Err(DecodeError::Short(record.len()));
    }
    let len = record.len().min(whole.len());
    whole[..len].copy_from_slice(&record[..len]);
    let (raw, _) = prefix::<OpenRaw>(&whole)?;
    let (path, _) = path::decode(raw.path.head, &raw.path.names)?;
    let is_older = raw.flags & FILE_OLDER != 0;
    Ok(FileEvent::Opened {
        by: by(raw.header, raw.enter_ns, raw.io_ns),
        key: raw.key,
        open: Box::new(OpenFile {
            id: raw.id,
            file: raw.file,
            pid: raw.header.pid,
            class: raw.class,
            open_flags: raw.open_flags,
            flags: raw.flags,
            opened_ns: if is_older { 0 } else { raw.enter_ns },
            open_ns: if is_older { 0 } else { took(raw.header.ts_ns, raw.enter_ns) },
            ..OpenFile::default()
        }),
        links: raw.links,
        path,
    })
}

fn by(header: probe_common::header::Header, enter_ns: u64, io_ns: u64) -> By {
    By {
        pid: header.pid,
        tid: header.tid,
        enter_ns: stamp(enter_ns).unwrap_or(header.ts_ns),
        ts_ns: header.ts_ns,
        io_ns,
    }
}

fn took(ts_ns: u64, enter_ns: u64) -> u64 {
    stamp(enter_ns).map_or(0, |enter_ns| ts_ns.saturating_sub(enter_ns))
}

fn class(wire: u32) -> Class {
    Class::ALL.get(wire as usize).copied().unwrap_or(Class::Unknown)
}

/// The application's path; one that was cut ends with `…`, so that it is nobody's name.
fn given(bytes: &[u8; GIVEN_BYTES], len: u32) -> String {
    let text = printable(bytes.get(..len as usize).unwrap_or_default());
    if len as usize >= GIVEN_BYTES - 1 { text + "…" } else { text }
}
