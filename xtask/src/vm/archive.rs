//! Writes the archive format of an initial file system (cpio, "newc"; Documentation/driver-api/early-userspace/
//! buffer-format.rst), of directories and small files.

/// An archive in memory.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    n_entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// What the format pads names and contents to.
const ALIGN: usize = 4;

impl Archive {
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// A file that may be executed.
    pub(super) fn file(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, PROGRAM, contents);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.n_entries += 1;
        let inode = self.n_entries;
        // Inode, mode, uid, gid, links, time, size, device and its minor, special device and its minor, length of
        // the name with its NUL, checksum.
        let n_links = 1 + u32::from(mode == DIRECTORY);
        let (size, n_name) = (contents.len(), path.len() + 1);
        self.bytes.extend(format!("070701{inode:08X}{mode:08X}{:08X}{:08X}{n_links:08X}", 0, 0).bytes());
        self.bytes
            .extend(format!("{:08X}{size:08X}{0:08X}{0:08X}{0:08X}{0:08X}{n_name:08X}{0:08X}", 0).bytes());
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header has 13 numbers of 8 digits after its 6 of magic; what follows is aligned.
    #[test]
    fn entries_have_their_shape() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/a", b"12345");
        let bytes = archive.finish();
        let header = |at: usize| String::from_utf8(bytes[at..at + 110].to_vec()).unwrap();
        assert_eq!(&header(0)[..22], "07070100000001000041ED");
        assert_eq!(&bytes[110..114], b"bin\0");
        // 110 and 4 bytes, padded to 116.
        assert_eq!(&header(116)[54..62], "00000005");
        assert_eq!(&bytes[116 + 110..116 + 116], b"bin/a\0");
        assert_eq!(&bytes[232..240], b"12345\0\0\0");
        assert_eq!(&bytes[240 + 110..240 + 121], b"TRAILER!!!\0");
        assert_eq!(bytes.len() % ALIGN, 0);
    }
}
