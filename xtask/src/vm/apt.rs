//! An apt of its own for packages of other Debian releases: own sources, own lists, nothing installed, the machine's
//! apt untouched. What it downloads is checked by apt itself: a signed release file, and a digest for each file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{exec, paths};

/// The keys of every Debian release.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where Debian is for everyone, and where its old releases go.
const PUBLIC: [&str; 2] = ["http://deb.debian.org/debian", "http://archive.debian.org/debian"];
/// The path under which a Debian mirror usually has the archive.
const ARCHIVE: &str = "/debian";

/// Lists of some suites from one mirror.
pub(super) struct Apt {
    config: PathBuf,
    packages: PathBuf,
}

impl Apt {
    /// Prepares a directory for it; the lists come with [`Apt::update`].
    pub(super) fn new(dir: &Path, mirror: &str, suites: &[&str], arch: &str) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            paths::make_dir(&dir.join(part))?;
        }
        let at = |name: &str| dir.join(name).display().to_string();
        let source = |suite: &&str| format!("deb [signed-by={KEYRING} arch={arch}] {mirror} {suite} main\n");
        write(&dir.join("sources.list"), &suites.iter().map(source).collect::<String>())?;
        // No package is installed: nothing of the machine's state is looked at.
        write(&dir.join("status"), "")?;
        let config = dir.join("apt.conf");
        let text = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            ("APT::Architecture", arch.to_owned()),
            // The user for downloads that apt changes to may not enter a home directory.
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            // The lists of desktop software and of file names, which some machines ask for.
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            ("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled", "false".to_owned()),
        ];
        let lines = text.iter().map(|(key, value)| format!("{key} \"{value}\";\n"));
        let clear = "#clear APT::Architectures;\n".to_owned();
        write(&config, &std::iter::once(clear).chain(lines).collect::<String>())?;
        Ok(Self { config, packages: dir.join("packages") })
    }

    pub(super) fn update(&self, log: &Path) -> Result<()> {
        exec::logged(self.command("apt-get").arg("update"), log)
    }

    /// The versions of a package, newest first.
    pub(super) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = exec::capture(self.command("apt-cache").args(["madison", package]))?;
        let version = |line: &str| line.split('|').nth(1).map(|version| version.trim().to_owned());
        Ok(table.lines().filter_map(version).collect())
    }

    /// The names of the packages that one depends on.
    pub(super) fn depends(&self, package: &str, version: &str) -> Result<Vec<String>> {
        let record =
            exec::capture(self.command("apt-cache").arg("show").arg(format!("{package}={version}")))?;
        Ok(dependencies(&record))
    }

    /// Downloads packages (`name` or `name=version`), and gives the files.
    pub(super) fn download(&self, packages: &[String], log: &Path) -> Result<Vec<PathBuf>> {
        let mut apt = self.command("apt-get");
        // Else what apt says of its progress is for a terminal.
        apt.args(["-q", "download"]).args(packages).current_dir(&self.packages);
        exec::logged(&mut apt, log)?;
        let entries = fs::read_dir(&self.packages)
            .with_context(|| format!("failed to list `{}`", self.packages.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = exec::command(program);
        command.arg("-c").arg(&self.config).env("LC_ALL", "C");
        command
    }
}

/// Where to look for Debian's packages: first where this machine gets its own.
pub(super) fn mirrors() -> Vec<String> {
    let format = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let own = exec::capture(exec::command("apt-get").args(format)).unwrap_or_default();
    let mut mirrors: Vec<String> = Vec::new();
    for uri in own.lines().chain(PUBLIC) {
        let uri = uri.trim().trim_end_matches('/');
        if uri.ends_with(ARCHIVE) && !mirrors.iter().any(|known| known == uri) {
            mirrors.push(uri.to_owned());
        }
    }
    mirrors
}

fn dependencies(record: &str) -> Vec<String> {
    let lists = record.lines().filter_map(|line| line.strip_prefix("Depends: "));
    let words = lists.flat_map(|list| list.split([',', '|']));
    words.filter_map(|word| word.split_whitespace().next().map(str::to_owned)).collect()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dependencies() {
        let record =
            "Package: linux-image-7\nDepends: dracut | initramfs-tools (>= 0.120), linux-base-7 (= 7.3)\n";
        assert_eq!(dependencies(record), ["dracut", "initramfs-tools", "linux-base-7"]);
        assert_eq!(dependencies("Package: a\n"), [] as [&str; 0]);
    }

    #[test]
    fn the_public_mirrors_are_there_for_all() {
        let mirrors = mirrors();
        assert!(PUBLIC.iter().all(|public| mirrors.iter().any(|mirror| mirror == public)), "{mirrors:?}");
    }
}
