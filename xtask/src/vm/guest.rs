//! What a guest starts from: an archive with its first process, the modules that this needs, and its job.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::fetch::Kernel;

/// The first process.
const INIT: &str = include_str!("init.sh");
/// What a guest's environment takes over from the caller's, and what begins like this.
const PASSED: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "TERM", "CI", "XDG_CACHE_HOME"];
const PASSED_PREFIXES: [&str; 4] = ["PROBE_", "RUST", "CARGO_HOME", "CARGO_TERM"];
/// Open files: as containers have it; a kernel's own default is 1024.
const MAX_FILES: u32 = 65_536;

/// The archive for a command that runs in `dir`.
pub(crate) fn archive(kernel: &Kernel, dir: &Path, command: &[String]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "guest", "host", "job", "layer", "modules", "proc"] {
        archive.directory(dir);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &read(&kernel.busybox())?);
    for module in kernel.first_modules()? {
        let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.file(&format!("modules/{name}"), &read(&module)?);
    }
    let modules = format!("MODULES={}\n", quoted(kernel.modules().as_os_str()));
    archive.file("job/modules", modules.as_bytes());
    archive.file("job/run", job(dir, command).as_bytes());
    Ok(archive.finish())
}

/// Runs the command with its output on the lines to the host, says how it ended, and turns the machine off.
fn job(dir: &Path, command: &[String]) -> String {
    let mut script = format!(
        "b=/run/vm/busybox\n\
         port() {{ for p in /sys/class/virtio-ports/*; do\n\
         \x20   [ \"$($b cat $p/name)\" = $1 ] && $b echo /dev/${{p##*/}}\n\
         done; }}\n\
         ulimit -n {MAX_FILES}\n\
         out=$(port out); err=$(port err); end=$(port end)\n\
         export TMPDIR=/run/tmp\n"
    );
    let passed =
        |name: &str| PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    for (name, value) in std::env::vars_os() {
        if name.to_str().is_some_and(passed) {
            let _ = writeln!(script, "export {}={}", name.to_string_lossy(), quoted(&value));
        }
    }
    let words: Vec<String> = command.iter().map(|word| quoted(word.as_ref())).collect();
    let _ = write!(
        script,
        "cd {} && $b setsid $b env {} </dev/null >$out 2>$err\n\
         $b echo $? >$end\n\
         $b poweroff -f\n",
        quoted(dir.as_os_str()),
        words.join(" ")
    );
    script
}

/// A word that a shell takes for what it is.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_words() {
        let command = ["sh", "-c", "echo 'a b'; exit 3"].map(str::to_owned);
        let script = job(Path::new("/a dir"), &command);
        assert!(script.contains(r"cd '/a dir' && "), "{script}");
        assert!(script.contains(r"'sh' '-c' 'echo '\''a b'\''; exit 3' </dev/null"), "{script}");
    }
}
