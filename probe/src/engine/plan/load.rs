//! One load command: started in a process group of its own, watched, and never left behind.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command as StdCommand, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, SysconfVar, sysconf},
};
use tokio::{
    process::{Child, Command},
    time::{Duration, Instant, timeout},
};

use crate::{event::LoadOutcome, profile::PhasePlan, target::procfs};

/// After SIGINT, which load generators take for "end well", and before SIGKILL.
const END_WELL: Duration = Duration::from_secs(5);

/// A load command that runs.
#[derive(Debug)]
pub(super) struct LoadRun {
    child: Child,
    group: Pid,
    /// How it will have ended, when we ended it.
    ending: Option<LoadOutcome>,
    grace_ends: Option<Instant>,
    /// CPU ticks of each thread of its tree when last looked at.
    ticks: HashMap<u32, u64>,
    looked_at: Instant,
    busiest_thread: Option<f64>,
}

impl LoadRun {
    /// Starts a command with its output in a file of the run directory.
    pub(super) fn start(words: &[String], out: &Path, number: usize, phase: &str) -> Result<Self> {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name = format!("load-{}-{}.log", number + 1, phase.chars().map(safe).collect::<String>());
        let path = out.join(name);
        let log = File::create(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
        let log_too = log.try_clone().context("failed to share the load's log")?;
        let Some((program, arguments)) = words.split_first() else {
            bail!("failed to start a load without a command")
        };
        let mut command = StdCommand::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(log_too).process_group(0);
        // SAFETY: prctl(2) is async-signal-safe, and nothing else runs between fork and exec.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
        }
        let child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start the load command `{program}`"))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("the load command has no id")?;
        Ok(Self {
            child,
            group: Pid::from_raw(pid),
            ending: None,
            grace_ends: None,
            ticks: HashMap::new(),
            looked_at: Instant::now(),
            busiest_thread: None,
        })
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> LoadOutcome {
        let status = self.child.wait().await;
        // What it left behind in its group is not left behind.
        let _ = killpg(self.group, Signal::SIGKILL);
        if let Some(ending) = self.ending {
            return ending;
        }
        match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => LoadOutcome::Failed { code },
                (None, signal) => LoadOutcome::Killed { signal: signal.unwrap_or_default() },
            },
            Err(_) => LoadOutcome::Failed { code: -1 },
        }
    }

    /// Its phase is over, or the time that it has had since: when to look again.
    pub(super) fn overrun(&mut self, grace: Duration) -> Instant {
        let now = Instant::now();
        match (self.grace_ends, self.ending) {
            (None, _) => *self.grace_ends.insert(now + grace),
            (Some(_), None) => {
                self.ending = Some(LoadOutcome::Overran);
                let _ = killpg(self.group, Signal::SIGINT);
                now + END_WELL
            }
            (Some(_), Some(_)) => {
                let _ = killpg(self.group, Signal::SIGKILL);
                now + END_WELL
            }
        }
    }

    /// Ends it now.
    pub(super) async fn stop(&mut self) {
        let _ = killpg(self.group, Signal::SIGINT);
        if timeout(END_WELL, self.child.wait()).await.is_err() {
            let _ = killpg(self.group, Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
        let _ = killpg(self.group, Signal::SIGKILL);
    }

    /// The most that one of its threads used of a core from one look to the next.
    pub(super) const fn busiest_thread(&self) -> Option<f64> {
        self.busiest_thread
    }

    /// Looks at the CPU time of all its threads.
    pub(super) fn second(&mut self) {
        let Ok(root) = u32::try_from(self.group.as_raw()) else { return };
        let per_s = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok());
        let Some(per_s) = per_s.filter(|ticks| *ticks > 0) else { return };
        let passed_s = self.looked_at.elapsed().as_secs_f64();
        self.looked_at = Instant::now();
        let mut now = HashMap::new();
        for pid in procfs::tree(&[root], &procfs::all_processes()) {
            for thread in procfs::threads(pid) {
                if let Some(before) = self.ticks.get(&thread.pid)
                    && passed_s > 0.5
                {
                    let used = thread.cpu_ticks.saturating_sub(*before) as f64 / f64::from(per_s) / passed_s;
                    self.busiest_thread = Some(self.busiest_thread.unwrap_or_default().max(used.min(1.0)));
                }
                now.insert(thread.pid, thread.cpu_ticks);
            }
        }
        self.ticks = now;
    }
}

impl Drop for LoadRun {
    /// However the run ends, its load ends with it.
    fn drop(&mut self) {
        if self.child.id().is_some() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

/// The words of a load command for a phase: `{users}` and the like are replaced. An error names what is not known.
pub fn words_of(command: &[String], phase: &PhasePlan, host: &str) -> Result<Vec<String>, String> {
    let seconds = phase.duration.as_secs();
    let mut known: BTreeMap<&str, String> =
        phase.vars.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    known.insert("phase", phase.name.clone());
    known.insert("duration", format!("{seconds}s"));
    known.insert("seconds", seconds.to_string());
    known.insert("host", host.to_owned());
    command.iter().map(|word| fill(word, &known)).collect()
}

/// `{name}` is replaced; braces around anything else, as in JSON, stay.
fn fill(word: &str, known: &BTreeMap<&str, String>) -> Result<String, String> {
    let mut filled = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name = from[1..].split('}').next().unwrap_or_default();
        let is_name = !name.is_empty()
            && from.len() > name.len() + 1
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            filled.push('{');
            rest = &from[1..];
            continue;
        }
        filled.push_str(known.get(name).ok_or_else(|| name.to_owned())?);
        rest = &from[name.len() + 2..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether the program of a command can be started.
pub fn check_command(words: &[String]) -> Result<(), String> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    which::which(program).map(|_| ()).map_err(|error| format!("load command `{program}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phase() -> PhasePlan {
        PhasePlan {
            name: "peak".to_owned(),
            duration: Duration::from_secs(90),
            judged: true,
            net: Vec::new(),
            load: None,
            vars: BTreeMap::from([("users".to_owned(), "50".to_owned())]),
        }
    }

    #[test]
    fn names_are_filled_in_and_nothing_else() {
        let words = |word: &str| {
            words_of(&[word.to_owned()], &phase(), "http://h:1").map(|mut words| words.remove(0))
        };
        for (word, expected) in [
            ("-u={users}", Ok("-u=50")),
            ("{host}/x", Ok("http://h:1/x")),
            ("{duration}{seconds}{phase}", Ok("90s90peak")),
            ("{\"a\": {users}}", Ok("{\"a\": 50}")),
            ("{}", Ok("{}")),
            ("{users", Ok("{users")),
            ("é{users}é", Ok("é50é")),
            ("{user}", Err("user")),
        ] {
            assert_eq!(words(word), expected.map(str::to_owned).map_err(str::to_owned), "{word}");
        }
    }

    #[test]
    fn a_command_that_is_not_there_is_told() {
        assert!(check_command(&["true".to_owned()]).is_ok());
        assert!(
            check_command(&["no-such-load-generator".to_owned()])
                .unwrap_err()
                .contains("no-such-load-generator")
        );
        assert!(check_command(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_word_can_be_filled(word in "[{}a-z\" é]{0,20}") {
            let _ = words_of(&[word], &phase(), "h");
        }
    }
}
