//! Requests that an application has or had: which of them a thread can have worked for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::lock::{Owner, Span};
use super::For;
use crate::event::{Closed, ConnId, Request, Response};

/// Requests in flight that are followed.
const MAX_IN_FLIGHT: usize = 1 << 14;
/// Requests that are over and may still be asked for.
const MAX_OVER: usize = 1 << 13;
/// Threads that read requests.
const MAX_READERS: usize = 1 << 14;
/// More targets than this are not told.
const MAX_TARGETS: usize = 64;
/// Ends are told this much out of their order at most, nanoseconds.
const DISORDER_NS: u64 = 1_000_000_000;

/// Method and path of a request.
pub type Target = Arc<(String, String)>;

#[derive(Clone, Debug)]
struct Known {
    number: u64,
    pid: u32,
    reader: u32,
    target: Target,
    from_ns: u64,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last_number: u64,
    in_flight: FxHashMap<ConnId, VecDeque<Known>>,
    n_in_flight: usize,
    /// With their ends, nearly in the order of these.
    over: VecDeque<(Known, u64)>,
    readers: FxHashSet<u32>,
    /// Only some requests are seen: a thread can always have worked for one of the others.
    is_blind: bool,
}

impl Requests {
    /// From now on only some requests are seen.
    pub(super) fn give_up(&mut self) {
        *self = Self { is_blind: true, last_number: self.last_number, ..Self::default() };
    }

    pub(super) fn request(&mut self, request: &Request) {
        if self.is_blind || request.outgoing.is_some() || self.n_in_flight >= MAX_IN_FLIGHT {
            return;
        }
        if request.tid != 0 && self.readers.len() < MAX_READERS {
            self.readers.insert(request.tid);
        }
        self.last_number += 1;
        self.n_in_flight += 1;
        self.in_flight.entry(request.conn).or_default().push_back(Known {
            number: self.last_number,
            pid: request.pid,
            reader: request.tid,
            target: Arc::new((request.method.clone(), request.path.clone())),
            from_ns: request.first_read_ns,
        });
    }

    pub(super) fn response(&mut self, response: &Response) {
        let Some(waiting) = self.in_flight.get_mut(&response.conn) else { return };
        let Some(known) = waiting.pop_front() else { return };
        self.n_in_flight -= 1;
        if waiting.is_empty() {
            self.in_flight.remove(&response.conn);
        }
        self.is_over(known, response.last_send_ns);
    }

    pub(super) fn closed(&mut self, closed: &Closed) {
        for known in self.in_flight.remove(&closed.conn).unwrap_or_default() {
            self.n_in_flight -= 1;
            self.is_over(known, closed.ts_ns);
        }
    }

    fn is_over(&mut self, known: Known, end_ns: u64) {
        if self.over.len() >= MAX_OVER {
            self.over.pop_front();
        }
        self.over.push_back((known, end_ns));
    }

    /// The requests that this thread can have worked for all the time.
    pub(super) fn within(&self, owner: Owner, span: Span) -> For {
        if self.is_blind {
            return For::Nobody;
        }
        let by_reader = self.readers.contains(&owner.tid);
        let is_possible = |known: &&Known| {
            known.pid == owner.pid
                && known.from_ns <= span.start_ns
                && (!by_reader || known.reader == owner.tid)
        };
        let over = self
            .over
            .iter()
            .rev()
            .take_while(|(_, end_ns)| end_ns.saturating_add(DISORDER_NS) >= span.end_ns)
            .filter(|(_, end_ns)| *end_ns >= span.end_ns)
            .map(|(known, _)| known);
        let mut numbers = BTreeSet::new();
        let mut targets: Vec<Target> = Vec::new();
        for known in self.in_flight.values().flatten().chain(over).filter(is_possible) {
            numbers.insert(known.number);
            if targets.len() <= MAX_TARGETS && !targets.contains(&known.target) {
                targets.push(Arc::clone(&known.target));
            }
        }
        if targets.is_empty() {
            return For::Nobody;
        }
        if targets.len() > MAX_TARGETS {
            targets.clear();
        }
        // Whatever the order of a hash map.
        targets.sort();
        let only = numbers.first().copied().filter(|_| numbers.len() == 1);
        For::Requests { targets, only, by_reader }
    }
}
