//! Paths as the kernel side hands them up: names from the leaf to the root of a mount.

use std::fmt::Write as _;

use probe_common::file::{PATH_CUT, PATH_DETACHED, PathHead};

use super::wire::DecodeError;

/// A path below the root of its mount, printable: bytes that are no UTF-8, and backslashes, stand as `\xff`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountPath {
    /// Id of the mount, as in `/proc/PID/mountinfo`.
    pub mount: u32,
    /// `a/b/c`, without a slash at its front; empty for the root itself.
    pub names: String,
    /// Names next to the root are missing.
    pub is_cut: bool,
    /// It hangs on no mount: an unnamed file, or one of a deleted directory.
    pub is_detached: bool,
}

/// Decodes a path and what follows it.
pub fn decode(head: PathHead, bytes: &[u8]) -> Result<(MountPath, &[u8]), DecodeError> {
    let (names, rest) =
        bytes.split_at_checked(usize::from(head.len)).ok_or(DecodeError::Short(bytes.len()))?;
    let mut leaf_first: Vec<String> =
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(printable).collect();
    leaf_first.reverse();
    let path = MountPath {
        mount: head.mount,
        names: leaf_first.join("/"),
        is_cut: head.flags & PATH_CUT != 0,
        is_detached: head.flags & PATH_DETACHED != 0,
    };
    Ok((path, rest))
}

/// Any bytes as text, different bytes as different text.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' { text.push_str("\\x5c") } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(len: usize, flags: u16) -> PathHead {
        PathHead { mount: 7, len: u16::try_from(len).unwrap(), flags }
    }

    #[test]
    fn names_are_turned_round() {
        let bytes = b"02_ocr.json\0doc\0checkpoints\0rest";
        let (path, rest) = decode(head(28, 0), bytes).unwrap();
        assert_eq!((path.names.as_str(), path.mount), ("checkpoints/doc/02_ocr.json", 7));
        assert_eq!(rest, b"rest");
        let (cut, _) = decode(head(12, PATH_CUT), bytes).unwrap();
        assert_eq!((cut.names.as_str(), cut.is_cut, cut.is_detached), ("02_ocr.json", true, false));
        assert!(decode(head(33, 0), bytes).is_err());
    }

    #[test]
    fn other_bytes_stay_apart() {
        assert_eq!(printable(b"a\xff\\xff"), "a\\xff\\x5cxff");
        assert_eq!(printable("größe\n".as_bytes()), "größe\n");
    }

    proptest! {
        /// Whatever the kernel side may send, this neither panics nor invents names.
        #[test]
        fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 0..600), len in 0usize..700, flags: u16) {
            match decode(head(len, flags), &bytes) {
                Ok((path, rest)) => {
                    prop_assert_eq!(rest.len(), bytes.len() - len);
                    prop_assert!(!path.names.contains('\0'));
                }
                Err(error) => prop_assert_eq!(error, DecodeError::Short(bytes.len())),
            }
        }

        #[test]
        fn text_keeps_bytes_apart(a in prop::collection::vec(any::<u8>(), 0..9), b in prop::collection::vec(any::<u8>(), 0..9)) {
            prop_assert_eq!(printable(&a) == printable(&b), a == b);
        }
    }
}
