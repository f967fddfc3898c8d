//! Paths as applications give them, made into those that the kernel side tells: absolute, without `.` and `..`, and
//! without symbolic links where the directory can still be looked at.

use std::{collections::HashMap, fs, path::Path};

/// Directories of which the true name is remembered.
const MAX_FOLDERS: usize = 4096;

/// True names of directories, by the names that were given.
#[derive(Debug, Default)]
pub(super) struct Folders {
    known: HashMap<String, String>,
}

impl Folders {
    /// The path of a file in its directory's true name; the file itself may be a link, and stays one.
    pub(super) fn true_name(&mut self, pid: u32, path: &str) -> String {
        let Some((folder, name)) = path.rsplit_once('/') else { return path.to_owned() };
        if let Some(known) = self.known.get(folder) {
            return format!("{known}/{name}");
        }
        // Only where the process sees the same tree as we do: elsewhere our names are not its names.
        let is_ours = fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root == Path::new("/"));
        let found = if is_ours { fs::canonicalize(format!("/proc/{pid}/root{folder}/")).ok() } else { None };
        let Some(found) = found.and_then(|found| found.to_str().map(str::to_owned)) else {
            return path.to_owned();
        };
        let found = if found == "/" { String::new() } else { found };
        if self.known.len() >= MAX_FOLDERS {
            self.known.clear();
        }
        let whole = format!("{found}/{name}");
        self.known.insert(folder.to_owned(), found);
        whole
    }
}

/// Joins a directory and what was given below it; resolves `.` and `..` by the names alone.
pub(super) fn join(folder: &str, given: &str) -> String {
    let whole = if given.starts_with('/') { given.to_owned() } else { format!("{folder}/{given}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let front = if whole.starts_with('/') { "/" } else { "" };
    format!("{front}{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_joined() {
        for (folder, given, expected) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "../c/./d", "/a/c/d"),
            ("/a/b", "/c//d/", "/c/d"),
            ("/", "../../c", "/c"),
            ("…/x", "c", "…/x/c"),
        ] {
            assert_eq!(join(folder, given), expected);
        }
    }

    #[test]
    fn links_are_followed() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, home.path().join("link")).unwrap();
        let given = home.path().join("link/x").to_str().unwrap().to_owned();
        let name = Folders::default().true_name(std::process::id(), &given);
        assert_eq!(name, real.join("x").to_str().unwrap());
    }

    proptest! {
        #[test]
        fn joined_paths_are_plain(folder in "(/[a-z.]{0,3}){0,4}", given in "[a-z./]{0,12}") {
            let path = join(&folder, &given);
            prop_assert!(path.split('/').skip(1).all(|name| !name.is_empty() && name != "." && name != ".." || path == "/"), "{path}");
        }
    }
}
