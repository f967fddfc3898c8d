//! Locks that are older than our view of a file, from `/proc/locks` (`proc_locks(5)`).

use probe_common::{file::FileId, sqlite::TO_THE_END};

use crate::event::LockChange;

/// A lock that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The process, in our pid namespace.
    pub(super) pid: u32,
    /// Shared or exclusive.
    pub(super) change: LockChange,
    /// First byte.
    pub(super) start: u64,
    /// Last byte.
    pub(super) end: u64,
}

/// The byte-range locks on a file in the text of `/proc/locks`.
pub(super) fn on(file: FileId, locks: &str) -> Vec<Held> {
    locks
        .lines()
        .filter_map(parse_line)
        .filter(|(place, _)| *place == (file.dev, file.ino))
        .map(|(_, held)| held)
        .take(MAX)
        .collect()
}

/// More holders of one file are not of interest.
const MAX: usize = 1024;

/// `1: POSIX  ADVISORY  WRITE 1122 fe:00:1234 120 120`; waiting ones have `->` behind the number.
fn parse_line(line: &str) -> Option<((u32, u64), Held)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if fields.next()? != "POSIX" {
        return None;
    }
    let change = match fields.nth(1)? {
        "READ" => LockChange::Read,
        "WRITE" => LockChange::Write,
        _ => return None,
    };
    let pid = fields.next()?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let major = u32::from_str_radix(place.next()?, 16).ok()?;
    let minor = u32::from_str_radix(place.next()?, 16).ok()?;
    let ino = place.next()?.parse().ok()?;
    let start = fields.next()?.parse().ok()?;
    let end = match fields.next()? {
        "EOF" => TO_THE_END,
        end => end.parse().ok()?,
    };
    let dev = major.checked_shl(20)?.checked_add(minor)?;
    Some(((dev, ino), Held { pid, change, start, end }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 1122 fe:00:77 120 120
2: POSIX  ADVISORY  READ  1123 fe:00:77 128 128
2: -> POSIX  ADVISORY  WRITE 1124 fe:00:77 128 128
3: FLOCK  ADVISORY  WRITE 9 fe:00:77 0 EOF
4: POSIX  ADVISORY  READ  1125 103:01:78 0 EOF
";

    #[test]
    fn locks_of_a_file() {
        let key = |dev, ino| FileId { dev, ino, generation: 5 };
        let found = on(key(0xfe << 20, 77), LOCKS);
        assert_eq!(
            found,
            [
                Held { pid: 1122, change: LockChange::Write, start: 120, end: 120 },
                Held { pid: 1123, change: LockChange::Read, start: 128, end: 128 },
            ]
        );
        let [whole] = on(key(0x103 << 20 | 1, 78), LOCKS)[..] else { panic!("one lock") };
        assert_eq!((whole.pid, whole.start, whole.end), (1125, 0, TO_THE_END));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "([0-9]{1,2}: (-> )?POSIX  ADVISORY  (READ|WRITE) [0-9-]{1,12} [0-9a-f:]{0,30} [0-9]{0,25} ([0-9]{0,25}|EOF)\n|[ -~]{0,40}\n){0,5}") {
            on(FileId::default(), &text);
        }
    }
}
