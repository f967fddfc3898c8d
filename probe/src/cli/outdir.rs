//! The run directory: checked and made before the run, so that a typo costs no run, and taken away again
//! when the run came to nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Refusal;

/// Where runs go that name no directory.
pub(super) const DEFAULT_PARENT: &str = "runs";
/// Directories of one second and one target that are tried.
const DEFAULT_TRIES: u32 = 100;

/// A run directory, empty until the run is over.
#[derive(Debug)]
pub struct OutDir {
    path: PathBuf,
    /// Directories that were made for it, outermost first; to be removed when nothing came of the run.
    made: Vec<PathBuf>,
}

impl OutDir {
    /// Checks without changing anything that a directory is new or empty.
    ///
    /// # Errors
    /// A usage error when it is neither.
    pub fn check(path: &Path) -> Result<(), Refusal> {
        match fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(Refusal::usage(
                    format!("output directory `{}` already exists and is not empty", path.display()),
                    "name another with --out, or remove it; probe never overwrites a run",
                )),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(Refusal::usage(
                format!("output directory `{}` is or goes through a file", path.display()),
                "name a directory with --out",
            )),
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Makes the directory and tries to write into it.
    ///
    /// # Errors
    /// Where that does not work.
    pub fn create(path: &Path) -> Result<Self, Refusal> {
        Self::check(path)?;
        let mut out = Self { path: path.to_owned(), made: Vec::new() };
        // On an error, dropping `out` removes what was made.
        out.make().map_err(|error| unwritable(path, &error))?;
        Ok(out)
    }

    /// Makes `runs/<time>-<pid>` under the current directory.
    pub fn create_default(pid: u32) -> Result<Self, Refusal> {
        let stamp = stamp(SystemTime::now());
        let name = |n: u32| if n == 1 { format!("{stamp}-{pid}") } else { format!("{stamp}-{pid}-{n}") };
        let free =
            (1..=DEFAULT_TRIES).map(|n| Path::new(DEFAULT_PARENT).join(name(n))).find(|path| !path.exists());
        Self::create(&free.unwrap_or_else(|| Path::new(DEFAULT_PARENT).join(name(1))))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run has results: the directory stays.
    pub fn keep(&mut self) {
        self.made.clear();
    }

    fn make(&mut self) -> io::Result<()> {
        let missing: Vec<&Path> =
            self.path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        for path in missing.into_iter().rev() {
            fs::create_dir(path)?;
            self.made.push(path.to_owned());
        }
        // Also a directory of ours may refuse files: a full disk has no inodes left, a mount may be read-only.
        let probe = self.path.join(".probe-can-write");
        File::create_new(&probe)?;
        fs::remove_file(&probe)
    }
}

impl Drop for OutDir {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // Fails when something is inside, and then it shall stay.
            let _ = fs::remove_dir(path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::usage(
        format!("failed to write to output directory `{}`: {error}", path.display()),
        "name a directory that can be written with --out",
    )
}

/// UTC, as `20261123T090000Z`: sorts by time and needs no quoting.
fn stamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day is the year's last.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_827_696, "20000229T123456Z"),
            (1_735_689_599, "20241231T235959Z"),
            (1_795_424_400, "20261123T090000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn what_was_made_is_taken_away_unless_kept() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("a/b/c");
        drop(OutDir::create(&path).unwrap());
        assert!(!top.path().join("a").exists());
        let mut out = OutDir::create(&path).unwrap();
        out.keep();
        drop(out);
        assert!(path.is_dir());
        // An empty directory of the user's own stays, too.
        drop(OutDir::create(&path).unwrap());
        assert!(path.is_dir());
    }

    #[test]
    fn results_are_never_taken_away() {
        let top = tempfile::tempdir().unwrap();
        let out = OutDir::create(&top.path().join("a")).unwrap();
        fs::write(out.path().join("events.jsonl"), "x").unwrap();
        drop(out);
        assert!(top.path().join("a/events.jsonl").exists());
    }

    #[test]
    fn refuses_before_anything_is_made() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("file"), "x").unwrap();
        for (path, words) in [
            (top.path().to_owned(), "already exists and is not empty"),
            (top.path().join("file"), "is or goes through a file"),
            (top.path().join("file/run"), "is or goes through a file"),
            ("/proc/run".into(), "failed to write to output directory `/proc/run`"),
        ] {
            let refusal = OutDir::create(&path).unwrap_err();
            assert!(refusal.is_usage && refusal.to_string().contains(words), "{refusal}");
        }
    }
}
