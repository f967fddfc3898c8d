//! Stories of locks by hand, and what must come of them.

use probe_common::sqlite::{PENDING_BYTE, RESERVED_BYTE, SHARED_FIRST, SHARED_SIZE, SHM_FIRST, TO_THE_END};
use proptest::prelude::*;

use super::*;
use crate::event::{
    Event, Exit, FileRole, LockChange, Sqlite, SqliteFile, SqliteLock, SqliteSleep, SqliteStatement,
    SqliteText,
};

pub(super) const MS: u64 = 1_000_000;
const DB: u32 = 0;
pub(super) const SHM: u32 = 1;
pub(super) const WRITE: (u64, u64) = (SHM_FIRST, SHM_FIRST);
pub(super) const READ1: (u64, u64) = (SHM_FIRST + 4, SHM_FIRST + 4);
const RESERVED: (u64, u64) = (RESERVED_BYTE, RESERVED_BYTE);
const PENDING: (u64, u64) = (PENDING_BYTE, PENDING_BYTE);
const SHARED: (u64, u64) = (SHARED_FIRST, SHARED_FIRST + SHARED_SIZE - 1);
const WHOLE: (u64, u64) = (0, TO_THE_END);

/// Tells a story: times in milliseconds, threads 10 to 19 are of process 1, 20 to 29 of process 2.
#[derive(Default)]
pub(super) struct Story {
    board: LockBoard,
    out: Vec<LockFinding>,
}

impl Story {
    pub(super) fn new() -> Self {
        let mut story = Self::default();
        for (file, role) in [(DB, FileRole::Database), (SHM, FileRole::Shm)] {
            let database = "/app.db".to_owned();
            story.tell(Sqlite::File(SqliteFile { ts_ns: 0, file, role, database, inode: Some(5) }));
        }
        story.out.clear();
        story
    }

    fn tell(&mut self, what: Sqlite) {
        self.board.event(&Event::Sqlite(what), &mut self.out);
    }

    pub(super) fn lock(
        &mut self,
        ms: u64,
        tid: u32,
        file: u32,
        change: LockChange,
        (start, end): (u64, u64),
    ) {
        let (ts_ns, pid) = (ms * MS, tid / 10);
        self.tell(Sqlite::Lock(SqliteLock {
            ts_ns,
            pid,
            tid,
            file,
            change,
            start,
            end,
            traced: pid == 1,
            older: false,
            comm: None,
            sql: None,
        }));
    }

    pub(super) fn slept(&mut self, ms: u64, tid: u32, requested_ms: u64) {
        self.tell(Sqlite::Sleep(SqliteSleep {
            start_ns: ms * MS,
            end_ns: (ms + requested_ms) * MS,
            pid: tid / 10,
            tid,
            requested_ns: requested_ms * MS,
            sql: None,
        }));
    }

    pub(super) fn executed(
        &mut self,
        (start, end): (u64, u64),
        tid: u32,
        connection: u64,
        sql: u32,
        code: i32,
    ) {
        self.tell(Sqlite::Statement(SqliteStatement {
            start_ns: start * MS,
            end_ns: end * MS,
            busy_ns: (end - start) * MS,
            pid: tid / 10,
            tid,
            sql: Some(sql),
            connection,
            rows: 0,
            code,
        }));
    }

    pub(super) fn finish(mut self, ms: u64) -> Vec<LockFinding> {
        self.board.finish(ms * MS, &mut self.out);
        self.out
    }
}

pub(super) fn waits(findings: &[LockFinding]) -> Vec<&LockWait> {
    let wait = |finding: &'_ LockFinding| matches!(finding, LockFinding::Wait(_));
    let waits = findings.iter().filter(|finding| wait(finding));
    waits
        .filter_map(|finding| if let LockFinding::Wait(wait) = finding { Some(wait) } else { None })
        .collect()
}

fn blocked(wait: &LockWait) -> Vec<(Owner, LockName, u64)> {
    wait.blockers.iter().map(|blocker| (blocker.owner, blocker.lock, blocker.blocked_ns)).collect()
}

pub(super) fn transactions(findings: &[LockFinding]) -> Vec<u64> {
    let waited = findings.iter().filter_map(|finding| match finding {
        LockFinding::Transaction { waited_ns, .. } => Some(waited_ns / MS),
        _ => None,
    });
    waited.collect()
}

/// Within a process: the waiter makes no call, and the holder is the thread that was granted the lock.
#[test]
fn threads_of_one_process() {
    let mut story = Story::new();
    story.lock(0, 10, SHM, LockChange::Read, READ1);
    story.lock(0, 10, SHM, LockChange::Write, WRITE);
    story.slept(1, 11, 1);
    story.slept(2, 11, 2);
    story.lock(5, 10, SHM, LockChange::Release, WRITE);
    story.slept(4, 11, 5);
    story.lock(9, 11, SHM, LockChange::Write, WRITE);
    story.lock(12, 11, SHM, LockChange::Release, WRITE);
    let found = story.finish(1000);
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!((wait.lock, wait.scope, wait.end), (LockName::WalWrite, Scope::Threads, WaitEnd::Got));
    assert_eq!((wait.span, wait.attempts), (Span { start_ns: MS, end_ns: 9 * MS }, 3));
    assert_eq!(blocked(wait), [(Owner { pid: 1, tid: 10 }, LockName::WalWrite, 4 * MS)]);
    assert_eq!(wait.overshoot_ns, Some(4 * MS));
    assert_eq!(transactions(&found), [0, 8], "the first transaction did not wait, the second did");
}

/// Between processes the refusal names the lock; a refusal without a sleep is no wait.
#[test]
fn refusals_are_waits_when_a_sleep_follows() {
    let mut story = Story::new();
    story.lock(0, 20, DB, LockChange::Write, RESERVED);
    story.lock(1, 10, DB, LockChange::WriteRefused, RESERVED);
    story.lock(2, 10, DB, LockChange::Release, WHOLE);
    assert!(waits(&story.out).is_empty());
    story.slept(3, 10, 1);
    story.lock(5, 10, DB, LockChange::WriteRefused, RESERVED);
    let found = story.finish(5000);
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!((wait.lock, wait.scope), (LockName::Reserved, Scope::Processes));
    assert_eq!(wait.end, WaitEnd::GaveUp, "refused again, and it slept no more");
    assert_eq!(blocked(wait), [(Owner { pid: 2, tid: 20 }, LockName::Reserved, MS)]);
    assert!(transactions(&found).is_empty());
}

/// A COMMIT in a rollback mode waits for readers, and belongs to its transaction.
#[test]
fn a_commit_waits_for_readers() {
    for reader in [11, 20] {
        let mut story = Story::new();
        story.lock(0, reader, DB, LockChange::Read, SHARED);
        story.lock(1, 10, DB, LockChange::Write, RESERVED);
        // PENDING and its neighbour RESERVED are one range to the kernel.
        story.lock(2, 10, DB, LockChange::Write, (PENDING_BYTE, RESERVED_BYTE));
        if reader == 20 {
            story.lock(2, 10, DB, LockChange::WriteRefused, SHARED);
        }
        story.slept(3, 10, 1);
        story.lock(4, reader, DB, LockChange::Release, SHARED);
        story.lock(5, 10, DB, LockChange::Write, SHARED);
        story.lock(7, 10, DB, LockChange::Read, SHARED);
        story.lock(8, 10, DB, LockChange::Release, (PENDING_BYTE, RESERVED_BYTE));
        let found = story.finish(1000);
        let [wait] = waits(&found)[..] else { panic!("{found:?}") };
        assert_eq!((wait.lock, wait.end), (LockName::Exclusive, WaitEnd::Got));
        assert_eq!(blocked(wait), [(Owner { pid: reader / 10, tid: reader }, LockName::Shared, MS)]);
        assert_eq!(transactions(&found), [1]);
        let exclusive = found.iter().find_map(|finding| match finding {
            LockFinding::Hold { lock: LockName::Exclusive, held_ns, .. } => *held_ns,
            _ => None,
        });
        assert_eq!(exclusive, Some(2 * MS), "it ends where the lock is made a shared one");
    }
}

/// Rebuilding the WAL's index takes the writer's lock, too; that is no transaction.
#[test]
fn a_recovery_is_no_transaction() {
    let mut story = Story::new();
    story.lock(0, 10, SHM, LockChange::Write, WRITE);
    story.lock(1, 10, SHM, LockChange::Write, (121, 122));
    story.lock(2, 10, SHM, LockChange::Release, (121, 122));
    story.lock(3, 10, SHM, LockChange::Release, WRITE);
    // So does looking whether somebody else has done so meanwhile.
    story.lock(4, 11, SHM, LockChange::Write, WRITE);
    story.lock(5, 11, SHM, LockChange::Release, WRITE);
    let found = story.finish(10);
    assert!(transactions(&found).is_empty(), "{found:?}");
    assert!(!found.iter().any(|finding| matches!(finding, LockFinding::Checkpoint { .. })), "{found:?}");
}

/// A lock that was there before us holds others up from the first moment, but for an unknown time.
#[test]
fn older_locks_have_no_begin() {
    let mut story = Story::new();
    story.tell(Sqlite::Lock(SqliteLock {
        ts_ns: 50 * MS,
        pid: 2,
        tid: 2,
        file: SHM,
        change: LockChange::Write,
        start: SHM_FIRST,
        end: SHM_FIRST,
        traced: false,
        older: true,
        comm: Some("shell".to_owned()),
        sql: None,
    }));
    story.lock(1, 10, SHM, LockChange::WriteRefused, WRITE);
    story.slept(2, 10, 1);
    story.lock(60, 20, SHM, LockChange::Release, WRITE);
    let found = story.finish(5000);
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!(blocked(wait), [(Owner { pid: 2, tid: 2 }, LockName::WalWrite, MS)]);
    let held = found.iter().find_map(|finding| match finding {
        LockFinding::Hold { held_ns, .. } => Some(*held_ns),
        _ => None,
    });
    assert_eq!(held, Some(None));
}

/// What is under way at the end was not over; the end of a process ends its waits.
#[test]
fn ends_cut_waits_short() {
    let story = || {
        let mut story = Story::new();
        story.lock(0, 12, SHM, LockChange::Write, WRITE);
        story.slept(1, 10, 1);
        story
    };
    let found = story().finish(40);
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!((wait.end, wait.span.ns()), (WaitEnd::Open, 39 * MS));
    assert_eq!(blocked(wait), [(Owner { pid: 1, tid: 12 }, LockName::WalWrite, 39 * MS)]);
    let mut killed = story();
    killed.board.event(&Event::Exit(Exit { ts_ns: 3 * MS, pid: 1 }), &mut killed.out);
    let found = killed.finish(5000);
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!((wait.end, wait.span.ns()), (WaitEnd::Open, MS));
    let found = story().finish(5000);
    assert_eq!(waits(&found)[0].end, WaitEnd::GaveUp, "it would have been seen to get the lock");
}

/// A file of the same name that is not the same file is another database; its `-shm` belongs to the newest.
#[test]
fn replaced_files_are_other_databases() {
    let mut story = Story::new();
    let file = |file, role| {
        Sqlite::File(SqliteFile {
            ts_ns: 0,
            file,
            role,
            database: "/app.db".to_owned(),
            inode: Some(u64::from(file)),
        })
    };
    story.tell(file(2, FileRole::Database));
    story.tell(Sqlite::File(SqliteFile {
        ts_ns: 0,
        file: 3,
        role: FileRole::Shm,
        database: "/app.db".to_owned(),
        inode: None,
    }));
    for (tid, shm) in [(10, SHM), (11, 3)] {
        story.lock(1, tid, shm, LockChange::Read, READ1);
        story.lock(1, tid, shm, LockChange::Write, WRITE);
        story.lock(2, tid, shm, LockChange::Release, WRITE);
    }
    let databases: Vec<DatabaseId> = story
        .finish(10)
        .iter()
        .filter_map(|finding| match finding {
            LockFinding::Transaction { database, .. } => Some(*database),
            _ => None,
        })
        .collect();
    assert_eq!(databases, [0, 1]);
}

/// A statement belongs to the database that its connection turns out to lead to; what failed without a wait is told
/// apart, and a lock was held for the statement that took longest.
#[test]
fn statements_find_their_database() {
    const BUSY: i32 = 5;
    const DONE: i32 = 101;
    let mut story = Story::new();
    for (sql, text) in [(0, "BEGIN"), (1, "UPDATE t SET x = ?"), (2, "SELECT ?"), (3, "COMMIT")] {
        story.tell(Sqlite::Text(SqliteText { ts_ns: 0, sql, text: text.to_owned() }));
    }
    // Nobody knows yet where connection 7 leads.
    story.executed((1, 2), 10, 7, 2, DONE);
    assert!(story.out.is_empty(), "{:?}", story.out);
    story.lock(3, 10, SHM, LockChange::Read, READ1);
    story.lock(3, 10, SHM, LockChange::Write, WRITE);
    story.executed((3, 4), 10, 7, 0, DONE);
    story.executed((4, 9), 10, 7, 1, DONE);
    story.executed((9, 10), 10, 7, 2, DONE);
    // Another connection waits and gives up, and fails at once the next time.
    story.slept(5, 11, 1);
    story.slept(7, 11, 2);
    story.executed((5, 10), 11, 8, 0, BUSY);
    story.executed((11, 12), 11, 8, 1, BUSY);
    story.lock(13, 10, SHM, LockChange::Release, WRITE);
    story.executed((12, 14), 10, 7, 3, DONE);
    let found = story.finish(20);
    let told: Vec<_> = found
        .iter()
        .filter_map(|finding| match finding {
            LockFinding::Statement { database, sql, is_busy_at_once, .. } => {
                Some((*database, sql.as_deref()?, *is_busy_at_once))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (0, "SELECT ?", false),
        (0, "BEGIN", false),
        (0, "UPDATE t SET x = ?", false),
        (0, "SELECT ?", false),
        (0, "COMMIT", false),
        (1, "BEGIN", false),
        (1, "UPDATE t SET x = ?", true),
    ];
    assert_eq!(told, expected, "nothing says where connection 8 leads: that is a database of its own");
    let [wait] = waits(&found)[..] else { panic!("{found:?}") };
    assert_eq!(wait.end, WaitEnd::GaveUp);
    assert_eq!(wait.blockers[0].sql.as_deref(), Some("UPDATE t SET x = ?"));
}

fn any_change() -> impl Strategy<Value = LockChange> {
    prop_oneof![
        Just(LockChange::Read),
        Just(LockChange::Write),
        Just(LockChange::Release),
        Just(LockChange::ReadRefused),
        Just(LockChange::WriteRefused),
    ]
}

proptest! {
    /// Whatever comes: no wait is longer than its holders and its overshoot together allow, nothing panics.
    #[test]
    fn any_story_ends(
        events in prop::collection::vec(
            (0u64..2000, 9u32..23, 0u32..3, any_change(), 0usize..6, 0u64..120, any::<bool>()),
            0..200,
        ),
    ) {
        let mut story = Story::new();
        for (ms, tid, file, change, range, requested, is_sleep) in events {
            if is_sleep {
                story.slept(ms, tid, requested);
            } else {
                let range = [WRITE, RESERVED, PENDING, SHARED, WHOLE, (121, 127)][range];
                story.lock(ms, tid, file, change, range);
            }
        }
        for wait in waits(&story.finish(2000)) {
            prop_assert!(wait.overshoot_ns.is_none_or(|ns| ns <= wait.span.ns()));
        }
    }
}
