//! Against files that are there anyway: this test's own program, and the C library's idea of its functions.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Never inlined, never removed: a function whose address is known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn probe_elf_test_function(x: u64) -> u64 {
    std::hint::black_box(x).wrapping_mul(3)
}

/// The bytes at the offset are those at the function's address: what the kernel would put a probe on.
#[test]
fn finds_a_function_of_this_program() {
    let function: extern "C" fn(u64) -> u64 = probe_elf_test_function;
    assert_eq!(std::hint::black_box(function)(1), 3);
    let file = File::open("/proc/self/exe").unwrap();
    let found = functions(&file, &["no_such_function_anywhere", "probe_elf_test_function"]).unwrap();
    let [only] = found[..] else { panic!("{found:?}") };
    assert_eq!(only.name, 1);
    let mut in_file = [0; 8];
    file.read_exact_at(&mut in_file, only.offset).unwrap();
    // SAFETY: eight bytes of this program's own code; the function is longer.
    let in_memory = unsafe { std::ptr::read_unaligned(function as *const [u8; 8]) };
    assert_eq!(in_file, in_memory);
}

/// Of a stripped library the exported functions are found, and its undefined ones are not its own.
#[test]
fn finds_exported_functions() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path =
        maps.lines().find_map(|line| line.split(' ').next_back().filter(|path| path.contains("libc.so")));
    let file = File::open(path.expect("this program uses the C library")).unwrap();
    let found = functions(&file, &["malloc", "__tls_get_addr"]).unwrap();
    assert_eq!(found.iter().map(|function| function.name).collect::<Vec<_>>(), [0], "{found:?}");
}

/// What is no ELF, or one that is cut short, has no functions and is no error.
#[test]
fn other_files_have_none() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &own[..2000], &own[..own.len() / 2]] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        assert_eq!(functions(&file, &["main"]).unwrap(), [], "{} bytes", bytes.len());
    }
}

proptest! {
    /// Headers may be anybody's: no panic, whatever stands in them.
    #[test]
    fn damaged_headers(at in 0usize..4096, bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        let mut own = vec![0; 64 * 1024];
        File::open("/proc/self/exe").unwrap().read_exact_at(&mut own, 0).unwrap();
        own[at..at + bytes.len()].copy_from_slice(&bytes);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&own).unwrap();
        let _ = functions(&file, &["main", "read"]);
    }
}
