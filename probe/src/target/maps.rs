//! Which files a process has mapped as code, from `/proc/PID/maps` (`proc_pid_maps(5)`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::procfs;

/// A file as the kernel knows it, under whatever names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device, major and minor as the kernel prints them.
    pub device: (u32, u32),
    /// Inode on that device.
    pub inode: u64,
}

/// A file that is mapped as code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Which file.
    pub id: FileId,
    /// Its addresses, as `/proc/PID/map_files` names them.
    pub range: String,
    /// Its name when it was mapped, in the process's own root; it may be another file's by now.
    pub path: String,
}

/// The files that a process has mapped as code, each once.
///
/// # Errors
/// When the process is gone, or is another user's.
pub fn code(pid: u32) -> io::Result<Vec<Mapped>> {
    let text = fs::read(procfs::path(pid, "maps"))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<Mapped> {
    let mut files: Vec<Mapped> = text.lines().filter_map(parse_line).collect();
    files.sort_by_key(|file| file.id);
    files.dedup_by_key(|file| file.id);
    files
}

fn parse_line(line: &str) -> Option<Mapped> {
    let mut fields = line.splitn(6, ' ');
    let range = fields.next()?;
    let is_code = fields.next()?.contains('x');
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next()?.trim_start();
    let is_file = inode != 0 && path.starts_with('/');
    (is_code && is_file).then(|| Mapped {
        id: FileId { device, inode },
        range: range.to_owned(),
        path: path.to_owned(),
    })
}

impl Mapped {
    /// Opens the file and says under which path the kernel finds it: through the mapping itself, which also works for
    /// deleted files, other roots and overlays; or, where that is not allowed, by its name, if it still is that file's.
    ///
    /// # Errors
    /// When neither works.
    pub fn open(&self, pid: u32) -> io::Result<(PathBuf, File)> {
        let mapping = procfs::path(pid, &format!("map_files/{}", self.range));
        let refused = match File::open(&mapping) {
            Ok(file) => return Ok((mapping, file)),
            Err(error) => error,
        };
        let named = procfs::path(pid, &format!("root{}", self.path));
        let file = File::open(&named).map_err(|_| refused)?;
        // The device may be printed in another way (btrfs, overlay): the inode has to do.
        if file.metadata()?.ino() == self.id.inode {
            Ok((named, file))
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "its name is another file's by now"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0-55d1 r--p 00000000 fe:00 100                        /usr/bin/python3.12
55d1-55d2 r-xp 00001000 fe:00 100                        /usr/bin/python3.12
55d4-55d5 r-xp 00004000 fe:00 100                        /usr/bin/python3.12
7f02-7f03 rw-p 00002000 fe:00 102                        /usr/lib/libgnutls.so.30
7f04-7f05 r-xp 00002000 103:1a 103                       /opt/a b/libsqlite3.so.0.8.6 (deleted)
7f06-7f07 r-xp 00000000 00:00 0                          [vdso]
7f08-7f09 rwxp 00000000 00:00 0
7f0a-7f0b r-xp 00000000 00:05 12                         anon_inode:[x]
";

    /// Code only, files only, each once.
    #[test]
    fn mapped_code() {
        let files = parse(MAPS);
        let seen: Vec<_> = files.iter().map(|file| (file.id.inode, file.range.as_str())).collect();
        assert_eq!(seen, [(100, "55d1-55d2"), (103, "7f04-7f05")]);
        assert_eq!(files[1].path, "/opt/a b/libsqlite3.so.0.8.6 (deleted)");
        assert_eq!(files[1].id.device, (0x103, 0x1a));
        assert!(parse("").is_empty() && parse("x\ny z\n").is_empty());
    }

    /// This program finds itself, and opens what it found.
    #[test]
    fn this_process() {
        let pid = std::process::id();
        let exe = fs::metadata("/proc/self/exe").unwrap();
        let files = code(pid).unwrap();
        let own = files.iter().find(|file| file.id.inode == exe.ino()).unwrap();
        let (_, file) = own.open(pid).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), exe.ino());
    }
}
