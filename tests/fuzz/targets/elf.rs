//! Any bytes in place of a library: functions are found inside its code, or none.
#![no_main]

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    sync::{LazyLock, Mutex},
};

use libfuzzer_sys::{Corpus, fuzz_target};
use probe::target::elf;

/// A file without a name, used again and again.
static FILE: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("probe-fuzz-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let _gone = std::fs::remove_file(path);
    file.ok().map(Mutex::new)
});

fuzz_target!(|bytes: &[u8]| -> Corpus { check(bytes).map_or(Corpus::Reject, |()| Corpus::Keep) });

fn check(bytes: &[u8]) -> Option<()> {
    let mut file = FILE.as_ref()?.lock().ok()?;
    file.set_len(0).ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    file.write_all(bytes).ok()?;
    for function in elf::functions(&file, &["SSL_read", "SSL_write", "main", "free"]).ok()? {
        assert!(function.name < 4 && function.offset < bytes.len() as u64, "{function:?}");
    }
    Some(())
}
