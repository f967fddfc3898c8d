//! Tells when the root processes are gone, without polling where the kernel has pidfds (5.3 and later).

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Root;

/// How often a root is looked at on kernels without pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Watches root processes for their end.
#[derive(Debug)]
pub struct Alive {
    roots: Vec<(Root, Option<OwnedFd>)>,
}

impl Alive {
    /// Opens a handle to each root. One that has exited since it was found, or whose id another process
    /// bears now, counts as gone.
    pub fn open(roots: &[Root]) -> Self {
        let open = |root: &Root| {
            let fd = pidfd_open(root.pid).ok();
            // Looked at after the open: from here on the handle cannot mean another process.
            root.is_running().then_some((*root, fd))
        };
        Self { roots: roots.iter().filter_map(open).collect() }
    }

    /// None of the roots runs any more.
    pub fn is_over(&self) -> bool {
        !self.roots.iter().any(|(root, _)| root.is_running())
    }

    /// Waits until all roots have exited. Only inside a tokio runtime with I/O and time; may be dropped
    /// and called again.
    ///
    /// # Errors
    /// Where the handles cannot be added to the runtime.
    pub async fn over(&self) -> io::Result<()> {
        for (root, fd) in &self.roots {
            if let Some(fd) = fd {
                // A pidfd is readable once the whole thread group has exited (`pidfd_open(2)`).
                // SAFETY: `fd` is borrowed from `self` for longer than the registration, which ends with this
                // pass of the loop or with the future.
                let fd = unsafe { AsyncFd::register_with_interest(fd.as_fd(), Interest::READABLE)? };
                fd.readable().await?.retain_ready();
            } else {
                while root.is_running() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
        Ok(())
    }
}

/// `pidfd_open(2)`, which neither std nor nix have yet. The descriptor is closed on exec.
fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the call takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::procfs;
    use std::future::poll_fn;
    use std::process::{Child, Command, Stdio};
    use std::task::Poll;

    fn child() -> (Child, Root) {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let start_ticks = procfs::stat(child.id()).unwrap().start_ticks;
        let root = Root { pid: child.id(), start_ticks };
        (child, root)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn over_when_all_are_gone() {
        for drop_pidfds in [false, true] {
            let (mut first, root_first) = child();
            let (mut second, root_second) = child();
            let mut alive = Alive::open(&[root_first, root_second]);
            if drop_pidfds {
                alive.roots.iter_mut().for_each(|(_, fd)| *fd = None);
            }
            assert!(!alive.is_over());
            block_on(async {
                let waiting = async { alive.over().await.unwrap() };
                tokio::pin!(waiting);
                drop(second.stdin.take());
                second.wait().unwrap();
                // One of two is left: still waiting.
                let not_yet = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
                assert!(not_yet.await);
                drop(first.stdin.take());
                waiting.await; // A zombie is gone too.
            });
            assert!(alive.is_over());
            first.wait().unwrap();
            block_on(alive.over()).unwrap();
        }
    }

    #[test]
    fn another_process_with_the_same_id_is_not_ours() {
        let (mut child, root) = child();
        let stale = Root { start_ticks: root.start_ticks.wrapping_sub(1), ..root };
        assert!(Alive::open(&[stale]).is_over());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
