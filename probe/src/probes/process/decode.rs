//! Records of the process room as events.

use probe_common::{
    header::Kind,
    process::{ExecRaw, ExitRaw, ForkRaw},
};

use crate::{
    event::{Event, Exec, Exit, Fork},
    probes::wire::{DecodeError, prefix},
};

/// Decodes a record of this room; none for those of others.
pub fn decode(kind: Kind, record: &[u8]) -> Result<Option<Event>, DecodeError> {
    Ok(Some(match kind {
        Kind::Fork => {
            let (raw, _) = prefix::<ForkRaw>(record)?;
            Event::Fork(Fork { ts_ns: raw.header.ts_ns, pid: raw.header.pid, child_pid: raw.child_pid })
        }
        Kind::Exec => {
            let (raw, _) = prefix::<ExecRaw>(record)?;
            Event::Exec(Exec { ts_ns: raw.header.ts_ns, pid: raw.header.pid, comm: printable(&raw.comm) })
        }
        Kind::Exit => {
            let (raw, _) = prefix::<ExitRaw>(record)?;
            Event::Exit(Exit { ts_ns: raw.header.ts_ns, pid: raw.header.pid })
        }
        _ => return Ok(None),
    }))
}

/// A NUL-padded name as printable ASCII: it is the traced program's choice and may hold anything.
fn printable(comm: &[u8]) -> String {
    comm.iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    /// Names end at the NUL and cannot carry control characters to a terminal.
    #[test]
    fn names_are_printable() {
        assert_eq!(printable(b"python3.12\0\0\0\0\0\0"), "python3.12");
        assert_eq!(printable(b"\x1b[31mred\xff\0"), "?[31mred?");
    }
}
