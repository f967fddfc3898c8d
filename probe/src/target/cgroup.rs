//! `--cgroup`: the processes of a control group and the groups below it (cgroups(7)).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::cli::Refusal;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// All processes of a group, ascending; each is a root of its own, since parents may be outside.
pub(super) fn roots(path: &Path) -> Result<Vec<u32>, Refusal> {
    let remedy = "`cat /proc/PID/cgroup` shows the group of a process; it stands under /sys/fs/cgroup";
    let candidates = candidates(path);
    let Some(group) = candidates.iter().find(|path| path.join("cgroup.procs").is_file()) else {
        return Err(Refusal::unable(format!("no control group `{}`", path.display()), remedy));
    };
    let mut pids = BTreeSet::new();
    collect(group, &mut pids).map_err(|error| {
        Refusal::unable(format!("failed to read control group `{}`: {error}", group.display()), remedy)
    })?;
    if pids.is_empty() {
        return Err(Refusal::unable(
            format!("control group `{}` has no processes", group.display()),
            "start the service first",
        ));
    }
    Ok(pids.into_iter().collect())
}

/// The path itself, and below the mount of cgroup v2 (and its place in the hybrid layout), however it was
/// written: `/proc/PID/cgroup` gives it with a leading slash.
fn candidates(path: &Path) -> Vec<PathBuf> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let below = [Path::new(MOUNT).join(relative), Path::new(MOUNT).join("unified").join(relative)];
    let itself = path.starts_with(MOUNT).then(|| path.to_owned());
    itself.into_iter().chain(below).collect()
}

fn collect(group: &Path, pids: &mut BTreeSet<u32>) -> io::Result<()> {
    let text = fs::read_to_string(group.join("cgroup.procs"))?;
    // 0 stands for a process of an outer pid namespace.
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|&pid| pid != 0));
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match collect(&entry.path(), pids) {
                // The group was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_a_group() {
        let v2 = Path::new("/sys/fs/cgroup/system.slice/app.service");
        for path in [
            "system.slice/app.service",
            "/system.slice/app.service",
            "/sys/fs/cgroup/system.slice/app.service",
        ] {
            assert!(candidates(Path::new(path)).contains(&v2.to_owned()), "{path}");
        }
    }

    #[test]
    fn groups_are_read_with_those_below() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("a")).unwrap();
        fs::write(top.path().join("cgroup.procs"), "3\n0\n").unwrap();
        fs::write(top.path().join("a/cgroup.procs"), "1\n3\n").unwrap();
        let mut pids = BTreeSet::new();
        collect(top.path(), &mut pids).unwrap();
        assert_eq!(pids, BTreeSet::from([1, 3]));
    }

    #[test]
    fn a_group_that_is_not_there() {
        let refusal = roots(Path::new("no/such/group")).unwrap_err();
        assert!(refusal.to_string().contains("no control group `no/such/group`"));
    }
}
