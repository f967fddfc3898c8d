//! Whether it was SQLite that put a thread to sleep: by the first return address on its stack that lies neither in the C
//! library nor in the dynamic loader.
//!
//! A file is SQLite, or has it inside, when it holds the string that every database begins with. That needs no symbols.
//! Where it has them, the address must lie in SQLite's own function that sleeps: a program that SQLite is linked into also
//! sleeps for reasons of its own.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;

use memchr::memmem::Finder;
use rustc_hash::FxHashMap;

use crate::target::{elf, procfs};

/// The first bytes of a database, with which SQLite compares (the file format's "magic header string").
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Files beyond this are not searched, pieces.
const MAX_PIECES: usize = 1 << 10;
/// Processes whose mappings are kept.
const MAX_PROCESSES: usize = 4096;
/// Mappings of one process that are looked at.
const MAX_MAPPINGS: usize = 1 << 16;
/// A process's mappings are read again after this, doubled each time when nothing is new, nanoseconds.
const REFRESH_NS: u64 = 20_000_000;
/// The doubling ends here, nanoseconds.
const MAX_REFRESH_NS: u64 = 1_000_000_000;

/// The function of SQLite's VFS that sleeps (os_unix.c).
const SLEEPER: &str = "unixSleep";

/// What the code of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Class {
    /// Calls the kernel on behalf of others.
    CLibrary,
    /// With the places in the file of the functions that sleep, where they are known.
    Sqlite(Vec<Range<u64>>),
    Other,
}

/// A mapped file: device as printed, inode.
type MappedFile = (String, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    /// Where in the file it begins.
    offset: u64,
    /// None for memory that is no code of a file.
    code: Option<MappedFile>,
    path: String,
}

#[derive(Debug, Default)]
struct Process {
    /// By address.
    mappings: Vec<Mapping>,
    read_ns: u64,
    again_after_ns: u64,
}

/// Answers of all processes.
#[derive(Debug, Default)]
pub(super) struct Callers {
    processes: FxHashMap<u32, Process>,
    files: FxHashMap<MappedFile, Class>,
}

impl Callers {
    /// Whether a thread with this stack sleeps in SQLite; none where the process can no longer be asked.
    pub(super) fn is_sqlite(&mut self, pid: u32, stack: &[u64], now_ns: u64) -> Option<bool> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            self.processes.clear();
        }
        let process = self.processes.entry(pid).or_default();
        let found = is_in_sqlite(pid, process, stack, &mut self.files);
        let is_due = now_ns >= process.read_ns.saturating_add(process.again_after_ns);
        if found == Some(true) || !is_due {
            return found;
        }
        // It may have loaded a library since, or executed another program.
        let Ok(text) = fs::read(procfs::path(pid, "maps")) else {
            return found;
        };
        let mappings = parse(&String::from_utf8_lossy(&text));
        let same = mappings == process.mappings;
        process.again_after_ns =
            if same { (process.again_after_ns * 2).clamp(REFRESH_NS, MAX_REFRESH_NS) } else { REFRESH_NS };
        process.read_ns = now_ns;
        process.mappings = mappings;
        is_in_sqlite(pid, process, stack, &mut self.files)
    }

    /// A process has ended, or runs another program.
    pub(super) fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }
}

/// A stack without the time that the sleep was asked for, which stands on it as a `struct timespec`. In a program that lies
/// at a fixed place, as Debian's Python does, the 5 ms of a third attempt (0x4c4b40 ns) look like an address of its code.
pub(super) fn without_time<const N: usize>(mut stack: [u64; N], requested_ns: u64) -> [u64; N] {
    for word in stack.iter_mut().filter(|word| **word == requested_ns % 1_000_000_000) {
        *word = 0;
    }
    stack
}

/// Whether it was SQLite that called the C library; none when no word of the stack is code.
fn is_in_sqlite(
    pid: u32,
    process: &Process,
    stack: &[u64],
    files: &mut FxHashMap<MappedFile, Class>,
) -> Option<bool> {
    for &word in stack {
        let at = process.mappings.partition_point(|mapping| mapping.end <= word);
        let Some(mapping) = process.mappings.get(at).filter(|mapping| mapping.start <= word) else {
            continue;
        };
        let Some(file) = &mapping.code else { continue };
        let class = files.entry(file.clone()).or_insert_with(|| classify(pid, mapping));
        match class {
            Class::CLibrary => {}
            Class::Sqlite(sleepers) => {
                let at = word - mapping.start + mapping.offset;
                return Some(sleepers.is_empty() || sleepers.iter().any(|sleeper| sleeper.contains(&at)));
            }
            Class::Other => return Some(false),
        }
    }
    None
}

fn classify(pid: u32, mapping: &Mapping) -> Class {
    let name = mapping.path.rsplit('/').next().unwrap_or_default();
    // glibc, its older split-off thread library, the loaders, musl.
    if ["libc.", "libc-", "libpthread", "ld-", "ld."].iter().any(|start| name.starts_with(start)) {
        return Class::CLibrary;
    }
    // Through the mapping itself: that also works for deleted files, other roots and overlays.
    let file = procfs::path(pid, &format!("map_files/{:x}-{:x}", mapping.start, mapping.end));
    let file = File::open(file).or_else(|_| File::open(procfs::path(pid, &format!("root{}", mapping.path))));
    match file.and_then(|file| Ok((has_magic(&file)?, file))) {
        Ok((true, file)) => {
            let found = elf::functions(&file, &[SLEEPER]).unwrap_or_default();
            let range = |found: &elf::Function| found.offset..found.offset.saturating_add(found.size.max(1));
            Class::Sqlite(found.iter().map(range).collect())
        }
        Ok((false, _)) | Err(_) => Class::Other,
    }
}

fn has_magic(mut file: &File) -> io::Result<bool> {
    let finder = Finder::new(MAGIC);
    let mut buffer = vec![0; PIECE];
    let mut kept = 0;
    for _ in 0..MAX_PIECES {
        let n = file.read(&mut buffer[kept..])?;
        if finder.find(&buffer[..kept + n]).is_some() {
            return Ok(true);
        }
        if n == 0 {
            return Ok(false);
        }
        // The string may lie across two pieces.
        let end = kept + n;
        let overlap = end.min(MAGIC.len() - 1);
        buffer.copy_within(end - overlap..end, 0);
        kept = overlap;
    }
    Ok(false)
}

/// Parses `/proc/PID/maps` (`proc_pid_maps(5)`), which is in the order of addresses.
fn parse(text: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = text.lines().filter_map(parse_line).take(MAX_MAPPINGS).collect();
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

fn parse_line(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let is_code = fields.next()?.contains('x');
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let device = fields.next()?;
    let inode: u64 = fields.next()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_start().to_owned();
    let code = (is_code && inode != 0).then(|| (device.to_owned(), inode));
    Some(Mapping { start, end, offset, code, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAPS: &str = "\
1000-2000 r-xp 00000000 fe:00 10   /usr/lib/libc.so.6
3000-4000 r-xp 00000000 fe:00 11   /usr/lib/a b/libsqlite3.so.0 (deleted)
5000-6000 r-xp 00000000 fe:00 12   /usr/bin/python3
6000-7000 r-xp 00002000 fe:00 13   /opt/service
7000-8000 rw-p 00000000 00:00 0    [heap]
";

    fn asked(stack: &[u64]) -> Option<bool> {
        let process = Process { mappings: parse(MAPS), ..Process::default() };
        let file = |inode| ("fe:00".to_owned(), inode);
        let mut files = FxHashMap::default();
        let sleeper = 0x2100..0x2180;
        files.extend([(file(10), Class::CLibrary), (file(11), Class::Sqlite(Vec::new()))]);
        files.extend([(file(12), Class::Other), (file(13), Class::Sqlite(vec![sleeper]))]);
        is_in_sqlite(1, &process, stack, &mut files)
    }

    #[test]
    fn the_callers_caller_decides() {
        assert_eq!(asked(&[0, 0x7010, 0x1100, 0x1200, 0x3500, 0x5100]), Some(true));
        assert_eq!(asked(&[0x1100, 0x5100, 0x3500]), Some(false));
        // Where it is known which part of the file sleeps for SQLite, the rest does not.
        assert_eq!(asked(&[0x1100, 0x6170]), Some(true));
        assert_eq!(asked(&[0x1100, 0x6180]), Some(false));
        assert_eq!(asked(&[0x1100, 0x2000, 0x7000, 0x4fff]), None);
        assert_eq!(asked(&[]), None);
    }

    /// The time on the stack is no address, wherever the program lies.
    #[test]
    fn a_time_is_no_caller() {
        let stack = [0, 0x1100, 0x5100, 0x3500];
        assert_eq!(asked(&stack), Some(false));
        assert_eq!(asked(&without_time(stack, 0x5100)), Some(true));
        assert_eq!(asked(&without_time(stack, 3_000_000_000 + 0x5100)), Some(true));
        assert_eq!(asked(&without_time(stack, 0x5101)), Some(false));
    }

    /// A program that holds the string is SQLite, wherever in the file it lies; one that is gone cannot be asked.
    #[test]
    fn files_are_searched() {
        for at in [0, PIECE - 8, PIECE, 2 * PIECE + 5] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("program");
            let mut bytes = vec![1; at];
            fs::write(&path, &bytes).unwrap();
            assert!(!has_magic(&File::open(&path).unwrap()).unwrap());
            bytes.extend(MAGIC);
            bytes.extend([2; 100]);
            fs::write(&path, &bytes).unwrap();
            assert!(has_magic(&File::open(&path).unwrap()).unwrap(), "{at}");
        }
        assert_eq!(Callers::default().is_sqlite(u32::MAX, &[1, 2, 3], 5), None);
    }

    proptest! {
        #[test]
        fn any_maps_are_taken(text in "([0-9a-f]{0,20}-[0-9a-f]{0,20} [rwxp-]{0,4} [0-9]{0,3} [0-9:]{0,5} [0-9]{0,3} [ -~]{0,9}\n|[ -~]{0,40}\n){0,5}", word: u64) {
            let process = Process { mappings: parse(&text), ..Process::default() };
            is_in_sqlite(u32::MAX, &process, &[word], &mut FxHashMap::default());
        }
    }
}
