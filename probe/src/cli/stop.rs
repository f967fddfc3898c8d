//! Ctrl-C: the first asks the run to end with a report, the second ends the process at once.
//!
//! The second one must also work while the report is being written or the run is stuck, so the signals
//! are taken by a thread of their own and not by the run's event loop. Ending the process detaches
//! everything: the kernel drops programs, maps and perf events with their last file descriptor.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

/// Exit code after a second signal: as a shell reports a command ended by SIGINT.
const CODE_SECOND_SIGNAL: i32 = 130;

/// Becomes readable, and stays so, when the user asked for the end. Also a request from before anyone
/// waits for it is kept.
#[derive(Debug)]
pub struct Stop {
    asked: UnixStream,
}

impl Stop {
    /// Takes over SIGINT, SIGTERM and SIGHUP. To be called before other threads are started, because
    /// they inherit the signal mask.
    pub fn install() -> io::Result<Self> {
        let (asked, mut ask) = UnixStream::pair()?;
        asked.set_nonblocking(true)?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        // Under nohup the hangup is ignored, but a signal that is ignored and blocked would still be waited for.
        if !is_ignored(Signal::SIGHUP) {
            signals.add(Signal::SIGHUP);
        }
        signals.thread_block()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.wait().is_err() {
                return;
            }
            tracing::info!("ending the run, again to end at once without a report");
            // Cannot fail while `asked` lives, and nobody waits when it does not.
            let _ = ask.write_all(b"s");
            if signals.wait().is_ok() {
                std::process::exit(CODE_SECOND_SIGNAL);
            }
        })?;
        Ok(Self { asked })
    }

    /// The user asked for the end.
    pub fn is_asked(&self) -> bool {
        let mut asked = [PollFd::new(self.asked.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|n_ready| n_ready > 0)
    }

    /// Waits for the request, or for so long.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = PollTimeout::try_from(limit.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        let mut asked = [PollFd::new(self.asked.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, limit)?;
        Ok(())
    }

    /// Waits for the request; only inside a tokio runtime with I/O.
    pub async fn asked(&self) -> io::Result<()> {
        // The byte is never read, so it is seen by everyone who asks.
        tokio::net::UnixStream::from_std(self.asked.try_clone()?)?.readable().await
    }
}

/// As `SigIgn` of `/proc/self/status` says: bit n-1 for signal n.
fn is_ignored(signal: Signal) -> bool {
    let ignored = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| u64::from_str_radix(crate::target::status_field(&status, "SigIgn")?, 16).ok());
    ignored.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}
