//! One document on its way through the stages.

use std::collections::VecDeque;

use super::DocEnd;
use crate::event::FileWritten;

/// Signs of life that are remembered between two stages.
const MAX_ACTIVITIES: usize = 16;

/// By what a stage began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// The application said so.
    Marker,
    /// The checkpoint before it was in place.
    Checkpoint,
    /// The document came in.
    Document,
    /// The request that is the stage arrived.
    Request,
}

/// One stage of one document, from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct StageRun {
    /// The stage.
    pub stage: String,
    /// Its number.
    pub index: Option<u32>,
    /// The document.
    pub doc: String,
    /// The process that ended it.
    pub pid: u32,
    /// The thread that ended it; 0 for unknown.
    pub tid: u32,
    /// Its beginning; none when that was not seen: such a stage is counted but never timed.
    pub began: Option<(u64, Began)>,
    /// Its end.
    pub end_ns: u64,
    /// From the end of the stage before to the first activity on the document.
    pub transition_ns: Option<u64>,
    /// Time in calls on files of the thread that ended it, where it was the same all the time.
    pub io_ns: Option<u64>,
    /// The document had this stage before.
    pub is_again: bool,
    /// The opening of its checkpoint; 0 for none.
    pub file: u64,
}

/// A sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    pub(super) ts_ns: u64,
    pub(super) tid: u32,
    /// Time of the thread in calls on files so far.
    pub(super) io_ns: u64,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Doc {
    /// It came in.
    began_ns: Option<u64>,
    first_ns: Option<u64>,
    /// Stages that are done, by their ids.
    done: u128,
    /// Openings of the file that is written again after each stage.
    n_versions: usize,
    /// The last stage: its end may still move, when its checkpoint is written to once more.
    pub(super) run: Option<StageRun>,
    last: Option<(usize, u64, u32)>,
    activities: VecDeque<Activity>,
    marker: Option<(usize, Activity)>,
    /// This stage's end was told by a marker; its checkpoint may follow.
    ended_by_marker: Option<usize>,
    is_resumed: bool,
}

impl Doc {
    pub(super) const fn has(&self, stage: usize) -> bool {
        self.done & 1 << stage != 0
    }

    pub(super) fn begins(&mut self, ts_ns: u64) {
        self.began_ns = Some(ts_ns);
        self.first_ns.get_or_insert(ts_ns);
    }

    pub(super) fn active(&mut self, activity: Activity) {
        self.first_ns.get_or_insert(activity.ts_ns);
        if self.activities.len() < MAX_ACTIVITIES {
            self.activities.push_back(activity);
        }
    }

    /// How many versions of its one file there were before this opening.
    pub(super) fn versions(&self, file: u64) -> usize {
        let is_same = self.run.as_ref().is_some_and(|run| run.file == file);
        self.n_versions - usize::from(is_same)
    }

    pub(super) const fn n_versions(&self) -> usize {
        self.n_versions
    }

    /// Whether what begins now is a resumed document; the request that did it, where there was one.
    pub(super) fn resume(&mut self, began_ns: u64, resumes: &[u64], rested_ns: u64, pid: u32) -> Option<u64> {
        let (_, last_ns, last_pid) = self.last.filter(|(_, last_ns, _)| began_ns > *last_ns)?;
        let by = resumes
            .iter()
            .copied()
            .find(|resume| *resume <= began_ns && *resume >= last_ns.saturating_add(rested_ns));
        if by.is_some() || last_pid != pid {
            self.is_resumed = true;
        }
        by
    }

    pub(super) fn marker_begins(&mut self, stage: usize, activity: Activity) {
        self.first_ns.get_or_insert(activity.ts_ns);
        self.active(activity);
        self.marker = Some((stage, activity));
    }

    pub(super) fn marker_ends(
        &mut self,
        stage: usize,
        name: &str,
        doc: &str,
        end: Activity,
        pid: u32,
    ) -> Option<StageRun> {
        let (_, begin) = self.marker.take_if(|(begun, _)| *begun == stage)?;
        let io_ns = (begin.tid == end.tid).then(|| end.io_ns.saturating_sub(begin.io_ns));
        let began = Some((begin.ts_ns, Began::Marker));
        self.ended_by_marker = Some(stage);
        self.done(
            stage,
            StageRun {
                stage: name.to_owned(),
                index: None,
                doc: doc.to_owned(),
                pid,
                tid: end.tid,
                began,
                end_ns: end.ts_ns,
                transition_ns: None,
                io_ns,
                is_again: false,
                file: 0,
            },
        )
    }

    pub(super) fn request_done(
        &mut self,
        stage: usize,
        name: &str,
        index: Option<u32>,
        doc: &str,
        began_ns: u64,
        end_ns: u64,
    ) -> Option<StageRun> {
        self.active(Activity { ts_ns: began_ns, tid: 0, io_ns: 0 });
        self.done(
            stage,
            StageRun {
                stage: name.to_owned(),
                index,
                doc: doc.to_owned(),
                pid: 0,
                tid: 0,
                began: Some((began_ns, Began::Request)),
                end_ns,
                transition_ns: None,
                io_ns: None,
                is_again: false,
                file: 0,
            },
        )
    }

    /// A checkpoint is in place. Gives the stage before, which can change no more.
    pub(super) fn stage_done(
        &mut self,
        stage: usize,
        name: &str,
        index: Option<u32>,
        doc: &str,
        file: &FileWritten,
    ) -> Option<StageRun> {
        if let Some(run) = self.run.as_mut().filter(|run| run.file == file.file) {
            // The same opening once more: written to after it was closed somewhere else.
            run.end_ns = run.end_ns.max(file.ts_ns);
            self.last = Some((stage, run.end_ns, file.pid));
            return None;
        }
        if self.ended_by_marker.take_if(|ended| *ended == stage).is_some() {
            if let Some(run) = &mut self.run {
                run.index = index;
                run.file = file.file;
            }
            return None;
        }
        self.n_versions += 1;
        let opened =
            Activity { ts_ns: file.opened_ns.unwrap_or(file.ts_ns), tid: file.tid, io_ns: file.io_ns };
        let marker = self.marker.filter(|(begun, _)| *begun == stage).map(|(_, begin)| begin);
        let began = marker
            .map(|begin| (begin.ts_ns, Began::Marker))
            .or_else(|| self.last.map(|(_, end_ns, _)| (end_ns, Began::Checkpoint)))
            .or_else(|| self.began_ns.map(|began_ns| (began_ns, Began::Document)));
        // The time in files of this thread since it first touched the document in this stage.
        let begin = marker.or_else(|| {
            let since = began.map_or(0, |(began_ns, _)| began_ns);
            self.activities.iter().find(|seen| seen.tid == file.tid && seen.ts_ns >= since).copied()
        });
        let own_ns = file.open_ns + file.write_ns + file.sync_ns + file.close_ns + file.rename_ns;
        let io_ns = match begin
            .filter(|begin| begin.tid == file.tid && file.io_ns >= begin.io_ns && file.io_ns > 0)
        {
            Some(begin) => file.io_ns - begin.io_ns,
            None => own_ns,
        };
        self.active(opened);
        self.done(
            stage,
            StageRun {
                stage: name.to_owned(),
                index,
                doc: doc.to_owned(),
                pid: file.pid,
                tid: file.tid,
                began,
                end_ns: file.ts_ns,
                transition_ns: None,
                io_ns: Some(io_ns),
                is_again: false,
                file: file.file,
            },
        )
    }

    fn done(&mut self, stage: usize, mut run: StageRun) -> Option<StageRun> {
        if let Some((_, last_ns, _)) = self.last {
            // Views of a finished checkpoint come from other threads than the stage itself.
            let mut after: Vec<u64> = self
                .activities
                .iter()
                .filter(|seen| {
                    seen.ts_ns >= last_ns && (seen.tid == run.tid || seen.tid == 0 || run.tid == 0)
                })
                .map(|seen| seen.ts_ns)
                .collect();
            after.extend(
                self.marker.filter(|(_, begin)| begin.ts_ns >= last_ns).map(|(_, begin)| begin.ts_ns),
            );
            after.extend(run.began.filter(|(_, by)| *by == Began::Marker).map(|(began_ns, _)| began_ns));
            run.transition_ns = after.into_iter().min().and_then(|first| first.checked_sub(last_ns));
        }
        run.is_again = self.has(stage);
        self.first_ns.get_or_insert(run.began.map_or(run.end_ns, |(began_ns, _)| began_ns));
        self.done |= 1 << stage;
        self.last = Some((stage, run.end_ns, run.pid));
        self.activities.clear();
        if self.marker.is_some_and(|(begun, _)| begun == stage) && run.file != 0 {
            self.marker = None;
        }
        self.run.replace(run)
    }

    /// Where it stands at the end.
    pub(super) fn end(&self, doc: String, last_stage: Option<usize>, stages: &[String]) -> DocEnd {
        let is_complete = last_stage.is_some_and(|stage| stage < 128 && self.has(stage));
        let last = self.last.map(|(stage, _, _)| stage);
        let end_ns = self.last.map(|(_, end_ns, _)| end_ns);
        DocEnd {
            doc,
            is_complete,
            is_begun: self.began_ns.is_some(),
            is_resumed: self.is_resumed,
            last: last.and_then(|stage| stages.get(stage)).cloned(),
            since_ns: self.activities.back().map(|seen| seen.ts_ns).or(end_ns).or(self.first_ns).unwrap_or(0),
            took_ns: match (is_complete, self.began_ns, end_ns) {
                (true, Some(began_ns), Some(end_ns)) => end_ns.checked_sub(began_ns),
                _ => None,
            },
        }
    }
}
