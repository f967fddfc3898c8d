//! How waits end, and the writer's lock of a WAL that a waiting thread got and may give back for nothing.
//!
//! `BEGIN IMMEDIATE` begins to read and then asks for the lock. When somebody wrote in between, SQLite gives the lock back
//! and sleeps on in the same row of delays (`walBeginWriteTransaction`, `sqlite3BtreeBeginTrans`): that is one wait still,
//! and was no transaction. Both are told once the thread does anything else.

use super::blame::{InTheWay, Wait};
use super::hold::Ended;
use super::thread::Thread;
use super::wait::{LATE_NS, WaitEnd, Waiting};
use super::{Blocker, LockBoard, LockFinding, LockWait, Owner, Scope, Span};
use crate::event::SqliteSleep;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Granted {
    wait: Wait,
    /// Since when the thread has the lock.
    since_ns: u64,
    /// When it gave it back, and the transaction that this may have been.
    back: Option<(u64, Option<LockFinding>)>,
}

impl Granted {
    pub(super) const fn new(wait: Wait, since_ns: u64) -> Self {
        Self { wait, since_ns, back: None }
    }

    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        self.wait.waiting.is_over(now_ns)
    }

    /// The thread sleeps on as if it had not got the lock.
    fn was_for_nothing(&self, sleep: &SqliteSleep) -> bool {
        let since_back = self.back.as_ref().and_then(|(ns, _)| sleep.start_ns.checked_sub(*ns));
        since_back.is_some_and(|ns| ns < LATE_NS) && self.wait.waiting.is_next(sleep.requested_ns)
    }
}

impl LockBoard {
    /// A thread gave a lock back; `found` is the transaction that this may have been the end of.
    pub(super) fn given_back(
        &mut self,
        ended: &Ended,
        found: Option<LockFinding>,
        out: &mut Vec<LockFinding>,
    ) {
        let granted = self.thread(ended.hold.owner).granted.as_mut();
        match granted.filter(|granted| granted.since_ns == ended.hold.since_ns) {
            Some(granted) => granted.back = Some((ended.end_ns, found)),
            None => out.extend(found),
        }
    }

    /// A thread sleeps: goes on with its wait if it got the lock for nothing, and is done with it else.
    pub(super) fn resume(&mut self, owner: Owner, sleep: &SqliteSleep, out: &mut Vec<LockFinding>) {
        let thread = self.thread(owner);
        match thread.granted.take_if(|granted| granted.was_for_nothing(sleep)) {
            Some(granted) => thread.wait = Some(granted.wait),
            None => self.settle(owner, out),
        }
    }

    /// A thread has kept the lock that it got: tells of its wait, and of its transaction if that is over.
    pub(super) fn settle(&mut self, owner: Owner, out: &mut Vec<LockFinding>) {
        let Some(granted) = self.thread(owner).granted.take() else { return };
        self.tell(owner, granted.wait, WaitEnd::Got, out);
        out.extend(granted.back.and_then(|(_, found)| found));
    }

    /// The same for all such threads.
    pub(super) fn settle_where(&mut self, which: impl Fn(&Thread) -> bool, out: &mut Vec<LockFinding>) {
        let is_meant = |thread: &Thread| thread.granted.is_some() && which(thread);
        let meant = self.threads.iter().filter(|(_, thread)| is_meant(thread));
        let mut meant: Vec<Owner> = meant.map(|(tid, thread)| Owner { pid: thread.pid, tid: *tid }).collect();
        meant.sort_unstable_by_key(|owner| owner.tid);
        for owner in meant {
            self.settle(owner, out);
        }
    }

    /// Ends the waits of these threads.
    pub(super) fn close_where(
        &mut self,
        which: impl Fn(&Thread) -> bool,
        end: impl Fn(&Waiting) -> WaitEnd,
        out: &mut Vec<LockFinding>,
    ) {
        let mut over: Vec<u32> =
            self.threads.iter().filter(|(_, thread)| which(thread)).map(|(tid, _)| *tid).collect();
        over.sort_unstable();
        for tid in over {
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            let owner = Owner { pid: thread.pid, tid };
            if let Some(wait) = thread.wait.take() {
                let end = end(&wait.waiting);
                self.close(owner, wait, end, out);
            }
        }
    }

    /// Ends a wait.
    pub(super) fn close(&mut self, waiter: Owner, wait: Wait, end: WaitEnd, out: &mut Vec<LockFinding>) {
        let awaited = wait.waiting.awaited;
        if let Some(transaction) = self.transactions.get_mut(&(awaited.database, waiter.pid))
            && self.databases[awaited.database].holds.is_writing(waiter)
        {
            // At its COMMIT.
            transaction.waited_ns = transaction.waited_ns.saturating_add(wait.waiting.span.ns());
        }
        self.tell(waiter, wait, end, out);
    }

    /// Tells of a wait that is over.
    pub(super) fn tell(&self, waiter: Owner, wait: Wait, end: WaitEnd, out: &mut Vec<LockFinding>) {
        let Wait { waiting, sql, blockers, covered_ns } = wait;
        let awaited = waiting.awaited;
        out.push(LockFinding::Wait(LockWait {
            database: awaited.database,
            waiter,
            lock: awaited.name(),
            sql: self.statements.text(sql),
            scope: if awaited.was_refused { Scope::Processes } else { Scope::Threads },
            span: waiting.span,
            attempts: waiting.attempts,
            end,
            overshoot_ns: (covered_ns > 0).then(|| waiting.span.ns().saturating_sub(covered_ns)),
            blockers: blockers
                .into_iter()
                .map(|((owner, slot, is_write, since_ns), InTheWay { traced, blocked_ns, until_ns })| {
                    let sql = self.databases[awaited.database].holds.sql(slot, owner, since_ns);
                    let sql = self.statements.text(sql);
                    // One that is older than our view of it was found late.
                    let held = Span { start_ns: since_ns.min(until_ns), end_ns: until_ns };
                    Blocker { owner, lock: slot.name(is_write), traced, blocked_ns, held, sql }
                })
                .collect(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, READ1, SHM, Story, WRITE, transactions, waits};
    use super::*;
    use crate::event::LockChange;

    /// Refused again and no sleep after that is a timeout, unless the statement succeeds: it can do without the lock, as who
    /// wanted to rebuild the index of a WAL while another one did.
    #[test]
    fn a_statement_that_succeeds_did_not_give_up() {
        for (code, end) in [(101, WaitEnd::Got), (5, WaitEnd::GaveUp), (8, WaitEnd::GaveUp)] {
            let mut story = Story::new();
            story.lock(0, 20, SHM, LockChange::Write, WRITE);
            story.lock(1, 10, SHM, LockChange::WriteRefused, WRITE);
            story.slept(1, 10, 1);
            story.lock(2, 10, SHM, LockChange::WriteRefused, WRITE);
            story.lock(3, 10, SHM, LockChange::Read, READ1);
            story.executed((1, 4), 10, 7, 3, code);
            let found = story.finish(5000);
            let [wait] = waits(&found)[..] else { panic!("{found:?}") };
            assert_eq!(wait.end, end, "{code}");
        }
    }

    /// A writer's lock that is given back at once, because somebody wrote after the reading began, ends neither the wait nor a
    /// transaction; one that is given back before another wait begins does.
    #[test]
    fn a_lock_that_was_for_nothing() {
        for (next_ms, spans, waited) in
            [(2, &[(1, 5)][..], &[4][..]), (1, &[(1, 2), (3, 4)][..], &[1, 1][..])]
        {
            let mut story = Story::new();
            story.lock(0, 10, SHM, LockChange::Read, READ1);
            story.lock(0, 20, SHM, LockChange::Write, WRITE);
            story.lock(1, 10, SHM, LockChange::WriteRefused, WRITE);
            story.slept(1, 10, 1);
            story.lock(2, 20, SHM, LockChange::Release, WRITE);
            story.lock(3, 10, SHM, LockChange::Write, WRITE);
            story.lock(3, 10, SHM, LockChange::Release, WRITE);
            story.lock(3, 20, SHM, LockChange::Write, WRITE);
            story.slept(3, 10, next_ms);
            story.lock(4, 20, SHM, LockChange::Release, WRITE);
            story.lock(6, 10, SHM, LockChange::Write, WRITE);
            story.executed((1, 6), 10, 7, 3, 101);
            story.lock(9, 10, SHM, LockChange::Release, WRITE);
            let found = story.finish(5000);
            let got: Vec<_> = waits(&found).iter().map(|wait| (wait.span, wait.end)).collect();
            let span = |(from, to): &(u64, u64)| Span { start_ns: from * MS, end_ns: to * MS };
            let expected: Vec<_> = spans.iter().map(|ms| (span(ms), WaitEnd::Got)).collect();
            assert_eq!((got, transactions(&found)), (expected, waited.to_vec()), "{next_ms}");
        }
    }
}
