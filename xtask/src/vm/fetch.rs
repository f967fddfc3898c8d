//! Brings a kernel of another Debian release into the cache: image, modules, and the one program of the guest's first
//! steps. A kernel that is there is complete: it is made beside its place and moved there at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use super::apt::{self, Apt};
use super::catalog::Line;
use super::processor::Processor;
use crate::setup::Board;
use crate::{exec, paths};

/// What the guest needs before it sees the host's files: the bus, the file system, a layer over it, the lines back.
const FIRST_MODULES: [&str; 5] = ["virtio_pci", "9p", "9pnet_virtio", "virtio_console", "overlay"];

/// A kernel in the cache.
pub(crate) struct Kernel {
    dir: PathBuf,
    /// What `uname -r` will say.
    pub(crate) release: String,
    pub(super) processor: Processor,
}

impl Kernel {
    fn open(dir: PathBuf, processor: Processor) -> Option<Self> {
        let release = fs::read_to_string(dir.join("release")).ok()?;
        Some(Self { dir, release, processor })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.dir.join("busybox")
    }

    /// The directory that is `/lib/modules` in the guest.
    pub(super) fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules")
    }

    /// The modules of [`FIRST_MODULES`] and what they need, in the order of their loading.
    pub(super) fn first_modules(&self) -> Result<Vec<PathBuf>> {
        let mut files = list(&self.dir.join("first"))?;
        files.sort();
        Ok(files)
    }
}

/// Where the kernels are.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(paths::cache()?.join("kernels"))
}

/// The kernel of a line, fetched if it is not there.
pub(super) fn ensure(board: &Board, line: Line, processor: Processor) -> Result<Kernel> {
    let dir = cache()?.join(processor.name()).join(line.name);
    if let Some(kernel) = Kernel::open(dir.clone(), processor) {
        return Ok(kernel);
    }
    let parent = dir.with_file_name("");
    paths::make_dir(&parent)?;
    // Another xtask may be at the same.
    let file = fs::File::create(parent.join("lock")).context("failed to create a lock")?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    let _lock = lock.context("failed to lock the cache of kernels")?;
    if let Some(kernel) = Kernel::open(dir.clone(), processor) {
        return Ok(kernel);
    }
    let work = parent.join(format!("{}.partial", line.name));
    board.step(&format!("kernel {} for {}", line.name, processor.name()), |log| {
        remove(&work)?;
        paths::make_dir(&work)?;
        fetch(line, processor, &work, log)?;
        fs::rename(&work, &dir).with_context(|| format!("failed to move `{}`", work.display()))
    })?;
    Kernel::open(dir, processor).context("failed to find the kernel that was just fetched")
}

fn fetch(line: Line, processor: Processor, dir: &Path, log: &Path) -> Result<()> {
    let temporary = dir.join("apt");
    let mut failures = Vec::new();
    for mirror in apt::mirrors() {
        match download(line, processor, &mirror, &temporary, log) {
            Ok(packages) => {
                let result = unpack(dir, &packages, log);
                remove(&temporary)?;
                return result;
            }
            Err(error) => failures.push(format!("{mirror}: {error:#}")),
        }
        remove(&temporary)?;
        crate::stop::check()?;
    }
    bail!("failed to find Linux {} on a mirror of Debian\n{}", line.name, failures.join("\n"))
}

fn download(line: Line, processor: Processor, mirror: &str, dir: &Path, log: &Path) -> Result<Vec<PathBuf>> {
    let arch = processor.name();
    let apt = Apt::new(dir, mirror, line.suites, arch)?;
    apt.update(log)?;
    let newest = format!("linux-image-{arch}");
    let version = apt.versions(&newest)?.into_iter().find(|version| line.has(version));
    let version = version.with_context(|| format!("no package `{newest}` of this line"))?;
    let image = apt.depends(&newest, &version)?.into_iter().find(|name| is_part(name, "image"));
    let image = image.with_context(|| format!("`{newest}` names no image"))?;
    // Newer ones are in parts, of which the image is an empty shell.
    let parts = apt.depends(&image, &version)?.into_iter();
    let parts = parts.filter(|name| ["base", "binary", "modules"].iter().any(|part| is_part(name, part)));
    let mut packages: Vec<String> = parts.chain([image]).map(|name| format!("{name}={version}")).collect();
    packages.push("busybox-static".to_owned());
    apt.download(&packages, log)
}

/// Whether a package is the named part of one kernel: `linux-image-6.1.0-50-amd64`, not `linux-image-amd64`.
fn is_part(package: &str, part: &str) -> bool {
    let version = package.strip_prefix("linux-").and_then(|name| name.strip_prefix(part));
    version.and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest.starts_with(char::is_numeric))
}

/// Takes the packages apart into the shape that [`Kernel`] has.
fn unpack(dir: &Path, packages: &[PathBuf], log: &Path) -> Result<()> {
    let all = dir.join("all");
    for package in packages {
        exec::logged(exec::command("dpkg-deb").arg("-x").arg(package).arg(&all), log)?;
    }
    // Older releases keep /lib apart from /usr/lib.
    let roots = ["usr/lib/modules", "lib/modules"].map(|place| all.join(place));
    let root = roots.iter().find(|root| root.is_dir()).context("failed to find modules in the packages")?;
    let release = list(root)?.pop().context("failed to find a release in the packages")?;
    let name = release.file_name().context("failed to name the release")?.to_string_lossy().into_owned();
    let images = [all.join(format!("boot/vmlinuz-{name}")), release.join("vmlinuz")];
    let image = images.iter().find(|file| file.is_file()).context("failed to find the image")?;
    let busyboxes = ["bin/busybox", "usr/bin/busybox"].map(|place| all.join(place));
    let busybox = busyboxes.iter().find(|file| file.is_file()).context("failed to find busybox")?;

    paths::make_dir(&dir.join("lib"))?;
    for (from, to) in [(image, "vmlinuz"), (busybox, "busybox"), (root, "lib/modules")] {
        fs::rename(from, dir.join(to)).with_context(|| format!("failed to move `{}`", from.display()))?;
    }
    remove(&all)?;
    exec::logged(tool("depmod").arg("-b").arg(dir).arg(&name), log)?;
    first_modules(dir, &name)?;
    // Last: what has it is complete.
    fs::write(dir.join("release"), name).context("failed to write the release")
}

/// Copies what [`Kernel::first_modules`] gives, uncompressed, numbered in the order of loading.
fn first_modules(dir: &Path, release: &str) -> Result<()> {
    let first = dir.join("first");
    paths::make_dir(&first)?;
    let mut known: Vec<String> = Vec::new();
    for module in FIRST_MODULES {
        let mut modprobe = tool("modprobe");
        modprobe.arg("-d").arg(dir).args(["-S", release, "--show-depends", module]);
        // Builtin modules have lines of another kind.
        let answer = exec::capture(&mut modprobe)?;
        for file in answer.lines().filter_map(|line| line.strip_prefix("insmod ")).map(str::trim) {
            if known.iter().any(|known| known == file) {
                continue;
            }
            let to = first.join(format!("{:02}.ko", known.len()));
            known.push(file.to_owned());
            if Path::new(file).extension().is_some_and(|kind| kind == "xz") {
                let out =
                    fs::File::create(&to).with_context(|| format!("failed to create `{}`", to.display()))?;
                exec::exec(exec::command("xz").args(["-dc", file]).stdout(out))?;
            } else {
                fs::copy(file, &to).with_context(|| format!("failed to copy `{file}`"))?;
            }
        }
    }
    Ok(())
}

/// A program that Debian keeps out of a plain user's PATH.
fn tool(name: &str) -> std::process::Command {
    exec::command(paths::find_program(name).unwrap_or_else(|| name.into()))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("failed to list `{}`", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_parts_from_the_newest() {
        assert!(is_part("linux-image-6.1.0-50-amd64", "image"));
        assert!(is_part("linux-binary-7.3.4+deb13-amd64", "binary"));
        assert!(!is_part("linux-image-amd64", "image"));
        assert!(!is_part("linux-base", "base"));
    }
}
