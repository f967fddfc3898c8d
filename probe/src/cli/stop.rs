//! Ctrl-C: the first asks the run to end with a report, the second ends the process at once.
//!
//! The second one must also work while the report is being written or the run is stuck, so the signals
//! are taken by a thread of their own and not by the run's event loop. Ending the process detaches
//! everything: the kernel drops programs, maps and perf events with their last file descriptor.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;

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
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
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
        nix::poll::poll(
            &mut [nix::poll::PollFd::new(self.asked.as_fd(), nix::poll::PollFlags::POLLIN)],
            nix::poll::PollTimeout::ZERO,
        )
        .is_ok_and(|ready| ready > 0)
    }

    /// Waits for the request; only inside a tokio runtime with I/O.
    pub async fn asked(&self) -> io::Result<()> {
        tokio::io::unix::AsyncFd::new(self.asked.as_fd())?.readable().await.map(|_| ())
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }
}
