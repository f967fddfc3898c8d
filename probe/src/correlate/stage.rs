//! From written files, requests and markers to the stages of documents.

mod doc;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Finding;
use crate::event::{ConnId, Event, FileWritten, Marker, Placed, Request, Response, Sample};
use crate::profile::{Profile, StageBy, StageMatch};
use doc::{Activity, Doc};
pub use doc::{Began, StageRun};

/// Documents that are followed; beyond, new ones are only counted.
const MAX_DOCS: usize = 50_000;
/// Stages that are told apart; beyond, new names count as [`OTHER`].
const MAX_STAGES: usize = 120;
/// Name of the stages beyond [`MAX_STAGES`].
const OTHER: &str = "other";
/// Edits that have been answered and may still explain a file.
const MAX_EDITS: usize = 256;
/// A document goes on by a resume request only if it had rested this long, nanoseconds: else it was on its way anyway.
const RESTED_NS: u64 = 500_000_000;
/// Names that matched no rule and are kept for advice.
const MAX_NEAR: usize = 8;
/// Temporary files that are followed until they are put in place.
const MAX_TEMPORARY: usize = 16_384;

/// A checkpoint file was written, or should have been.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointWrite {
    /// The rule.
    pub rule: usize,
    /// The file with its times.
    pub file: FileWritten,
    /// An edit by a request, no stage.
    pub is_edit: bool,
    /// It never came to its name.
    pub is_lost: bool,
}

/// Where a document stood at the end of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocEnd {
    /// The document.
    pub doc: String,
    /// All stages are done.
    pub is_complete: bool,
    /// It was seen from its beginning.
    pub is_begun: bool,
    /// It went on after an interruption.
    pub is_resumed: bool,
    /// The last stage that it finished.
    pub last: Option<String>,
    /// Since when nothing of it was seen.
    pub since_ns: u64,
    /// First sight to the last stage's end.
    pub took_ns: Option<u64>,
}

/// State over all documents.
#[derive(Debug)]
pub struct StageTracker {
    profile: Arc<Profile>,
    docs: FxHashMap<String, Doc>,
    /// Names of the stages, in the order in which they were first seen.
    stages: Vec<String>,
    indexes: Vec<Option<u32>>,
    /// Number of the present document of rules that name none.
    unnamed: u64,
    edits: FxHashMap<ConnId, (u32, u64)>,
    edited: VecDeque<(u32, u64, u64)>,
    requests: FxHashMap<ConnId, VecDeque<(StageMatch, u64)>>,
    resumes: VecDeque<u64>,
    temporary: FxHashMap<String, FileWritten>,
    near: Vec<String>,
    n_matched: u64,
    n_dropped: u64,
}

impl StageTracker {
    /// Nothing seen yet.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            docs: FxHashMap::default(),
            stages: Vec::new(),
            indexes: Vec::new(),
            unnamed: 0,
            edits: FxHashMap::default(),
            edited: VecDeque::new(),
            requests: FxHashMap::default(),
            resumes: VecDeque::new(),
            temporary: FxHashMap::default(),
            near: Vec::new(),
            n_matched: 0,
            n_dropped: 0,
        }
    }

    /// Takes an event; what follows from it is appended to `out`.
    pub fn event(&mut self, event: &Event, out: &mut Vec<Finding>) {
        match event {
            Event::FileWritten(file) => self.written(file, out),
            Event::FileRead(read) => {
                let activity = Activity { ts_ns: read.ts_ns, tid: read.tid, io_ns: read.io_ns };
                if let Some(doc) = self.document_of(&read.path).and_then(|doc| self.docs.get_mut(&doc)) {
                    doc.active(activity);
                }
            }
            Event::FileRemoved(removed) => {
                if let Some(mut file) = self.temporary.remove(&removed.path) {
                    file.ts_ns = removed.ts_ns;
                    self.lost(file, out);
                }
            }
            Event::SlowCall(call) => out.push(Finding::SlowCall(Box::new(call.clone()))),
            Event::Marker(marker) => self.marker(marker, out),
            Event::StepDown(step) => self.keep(step.sample()),
            Event::Request(request) => self.request(request),
            Event::Response(response) => self.response(response, out),
            _ => {}
        }
    }

    /// Ends the run.
    pub fn finish(&mut self, out: &mut Vec<Finding>) {
        let mut temporary: Vec<_> = std::mem::take(&mut self.temporary).into_values().collect();
        temporary.sort_by_key(|file| file.file);
        for file in temporary {
            self.lost(file, out);
        }
        out.push(Finding::Stages {
            order: self.stages(),
            near: self.near().to_vec(),
            dropped: self.n_dropped,
        });
        let last = self.last_stage();
        let mut docs: Vec<_> = std::mem::take(&mut self.docs).into_iter().collect();
        docs.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, mut doc) in docs {
            out.extend(doc.run.take().map(|run| Finding::Stage(Box::new(run))));
            out.push(Finding::Document(doc.end(name, last, &self.stages)));
        }
    }

    /// Stages in their order: by the profile, else by number, else as they were seen; each with its number.
    fn stages(&self) -> Vec<(String, Option<u32>)> {
        let rules = &self.profile.stages;
        let mut stages: Vec<(usize, String, Option<u32>)> = self
            .stages
            .iter()
            .zip(&self.indexes)
            .enumerate()
            .map(|(at, (name, index))| (at, name.clone(), *index))
            .collect();
        stages.sort_by_key(|(at, name, index)| {
            (rules.place(name).unwrap_or(usize::MAX), index.unwrap_or(u32::MAX), *at)
        });
        stages.into_iter().map(|(_, name, index)| (name, index)).collect()
    }

    /// Files that matched no rule, where none did at all.
    fn near(&self) -> &[String] {
        if self.n_matched == 0 { &self.near } else { &[] }
    }

    /// The stage that ends a document; none when nothing tells an order.
    fn last_stage(&self) -> Option<usize> {
        let id = |name: &str| self.stages.iter().position(|known| known == name);
        if let Some(last) = self.profile.stages.order.last() {
            return Some(id(last).unwrap_or(usize::MAX));
        }
        self.stages().last().and_then(|(name, _)| id(name))
    }

    fn document_of(&self, path: &str) -> Option<String> {
        let rules = &self.profile.stages;
        let begun = || rules.begins.as_ref().and_then(|begins| begins.document(path));
        rules.file(path).and_then(|found| found.doc).or_else(begun)
    }

    fn stage_id(&mut self, name: &str, index: Option<u32>) -> usize {
        let known = self.stages.iter().position(|known| known == name);
        let id = known.unwrap_or_else(|| {
            let name = if self.stages.len() < MAX_STAGES { name } else { OTHER };
            if let Some(other) = self.stages.iter().position(|known| known == name) {
                return other;
            }
            self.stages.push(name.to_owned());
            self.indexes.push(None);
            self.stages.len() - 1
        });
        if index.is_some() {
            self.indexes[id] = index;
        }
        id
    }

    fn doc(&mut self, name: &str) -> Option<&mut Doc> {
        if !self.docs.contains_key(name) && self.docs.len() >= MAX_DOCS {
            self.n_dropped += 1;
            return None;
        }
        Some(self.docs.entry(name.to_owned()).or_default())
    }

    fn written(&mut self, file: &FileWritten, out: &mut Vec<Finding>) {
        let is_placed = !matches!(file.placed, Placed::Open | Placed::Failed | Placed::Removed);
        if let Some(was) = file.was.as_ref().filter(|_| is_placed) {
            self.temporary.remove(was);
        }
        let rules = Arc::clone(&self.profile);
        let rules = &rules.stages;
        if let Some(found) = rules.file(&file.path) {
            self.n_matched += 1;
            if is_placed {
                self.placed(&found, file, out);
            } else {
                let write =
                    CheckpointWrite { rule: found.rule, file: file.clone(), is_edit: false, is_lost: true };
                out.push(Finding::Checkpoint(Box::new(write)));
            }
            return;
        }
        if is_placed && let Some(doc) = rules.begins.as_ref().and_then(|begins| begins.document(&file.path)) {
            if let Some(doc) = self.doc(&doc) {
                doc.begins(file.ts_ns);
            }
            return;
        }
        if rules.is_beside(&file.path) {
            if self.temporary.len() < MAX_TEMPORARY {
                self.temporary.insert(file.path.clone(), file.clone());
            }
        } else if self.near.len() < MAX_NEAR && !rules.is_guess && !file.path.starts_with('…') {
            self.near.push(file.path.clone());
        }
    }

    /// A file that was to become a checkpoint, and did not.
    fn lost(&mut self, file: FileWritten, out: &mut Vec<Finding>) {
        let rules = &self.profile.stages;
        let beside = |rule: &crate::profile::StageRule| match &rule.by {
            StageBy::File(pattern) => pattern.is_beside(&file.path),
            StageBy::Endpoint { .. } => false,
        };
        let Some(rule) = rules.rules.iter().position(beside) else { return };
        out.push(Finding::Checkpoint(Box::new(CheckpointWrite {
            rule,
            file,
            is_edit: false,
            is_lost: true,
        })));
    }

    fn placed(&mut self, found: &StageMatch, file: &FileWritten, out: &mut Vec<Finding>) {
        let name = self.document_name(found);
        let is_known = |doc: &Doc, stage: Option<usize>| stage.is_none_or(|stage| doc.has(stage));
        let stage = found.stage.clone().or_else(|| found.index.map(|index| format!("stage {index}")));
        let is_edit = {
            let stage =
                stage.as_deref().and_then(|stage| self.stages.iter().position(|known| known == stage));
            self.is_in_edit(file) && self.docs.get(&name).is_some_and(|doc| is_known(doc, stage))
        };
        let write = CheckpointWrite { rule: found.rule, file: file.clone(), is_edit, is_lost: false };
        if is_edit {
            out.push(Finding::Checkpoint(Box::new(write)));
            return;
        }
        // One file that is written again after each stage: the order tells which one it is.
        let (stage, index) = stage.map_or_else(
            || {
                let nth = self.docs.get(&name).map_or(0, |doc| doc.versions(file.file));
                let known = self.profile.stages.order.get(nth).cloned();
                let number = u32::try_from(nth + 1).ok();
                (known.unwrap_or_else(|| format!("stage {}", nth + 1)), number)
            },
            |stage| (stage, found.index),
        );
        let id = self.stage_id(&stage, index);
        let resumes: Vec<u64> = self.resumes.iter().copied().collect();
        let Some(doc) = self.doc(&name) else { return };
        let began = file.opened_ns.unwrap_or(file.ts_ns);
        let resume = doc.resume(began, &resumes, RESTED_NS, file.pid);
        let finished = doc.stage_done(id, &stage, index, &name, file);
        out.extend(finished.map(|run| Finding::Stage(Box::new(run))));
        if let Some(at) = resume {
            self.resumes.retain(|resume| *resume != at);
        }
        out.push(Finding::Checkpoint(Box::new(write)));
    }

    /// The document, or for rules that name none the present one: a stage that it has already begins the next.
    fn document_name(&mut self, found: &StageMatch) -> String {
        if let Some(doc) = &found.doc {
            return doc.clone();
        }
        let name = |n: u64| format!("#{}", n + 1);
        let stage =
            found.stage.as_deref().and_then(|stage| self.stages.iter().position(|known| known == stage));
        let present = self.docs.get(&name(self.unnamed));
        let is_next = match (present, stage) {
            (Some(doc), Some(stage)) => doc.has(stage),
            (Some(doc), None) => {
                let n = self.profile.stages.order.len();
                n > 0 && doc.n_versions() >= n
            }
            (None, _) => false,
        };
        self.unnamed += u64::from(is_next);
        name(self.unnamed)
    }

    fn is_in_edit(&self, file: &FileWritten) -> bool {
        let began = file.opened_ns.unwrap_or(file.ts_ns);
        self.edits.values().any(|(pid, since)| *pid == file.pid && *since <= file.ts_ns)
            || self
                .edited
                .iter()
                .any(|(pid, since, until)| *pid == file.pid && *since <= began && file.ts_ns <= *until)
    }

    fn marker(&mut self, marker: &Marker, out: &mut Vec<Finding>) {
        self.n_matched += 1;
        let found = StageMatch {
            rule: usize::MAX,
            doc: (!marker.doc.is_empty()).then(|| marker.doc.clone()),
            stage: Some(marker.stage.clone()),
            index: None,
        };
        let name = if marker.is_begin || found.doc.is_some() {
            self.document_name(&found)
        } else {
            format!("#{}", self.unnamed + 1)
        };
        let id = self.stage_id(&marker.stage, None);
        let Some(doc) = self.doc(&name) else { return };
        let activity = Activity { ts_ns: marker.ts_ns, tid: marker.tid, io_ns: marker.io_ns };
        if marker.is_begin {
            doc.marker_begins(id, activity);
        } else {
            let finished = doc.marker_ends(id, &marker.stage, &name, activity, marker.pid);
            out.extend(finished.map(|run| Finding::Stage(Box::new(run))));
        }
    }

    /// Forgets the requests on all other connections: their ends are not seen.
    fn keep(&mut self, sample: Sample) {
        self.requests.retain(|conn, _| sample.has(*conn));
        self.edits.retain(|conn, _| sample.has(*conn));
    }

    fn request(&mut self, request: &Request) {
        let rules = &self.profile.stages;
        let began = request.arrival_ns.unwrap_or(request.first_read_ns);
        if rules.edits.iter().any(|route| route.matches(&request.method, &request.path)) {
            self.edits.insert(request.conn, (request.pid, request.first_read_ns));
        }
        if rules.resumes.iter().any(|route| route.matches(&request.method, &request.path)) {
            self.resumes.push_back(request.first_read_ns);
            if self.resumes.len() > MAX_EDITS {
                self.resumes.pop_front();
            }
        }
        if let Some(found) = rules.request(&request.method, &request.path) {
            self.requests.entry(request.conn).or_default().push_back((found, began));
        } else if let Some(waiting) = self.requests.get_mut(&request.conn) {
            // Keeps its place, so that responses meet their own requests.
            waiting.push_back((StageMatch { rule: usize::MAX, doc: None, stage: None, index: None }, began));
        }
    }

    fn response(&mut self, response: &Response, out: &mut Vec<Finding>) {
        if let Some((pid, since)) = self.edits.remove(&response.conn) {
            self.edited.push_back((pid, since, response.last_send_ns));
            if self.edited.len() > MAX_EDITS {
                self.edited.pop_front();
            }
        }
        let Some(waiting) = self.requests.get_mut(&response.conn) else { return };
        let Some((found, began_ns)) = waiting.pop_front() else { return };
        if waiting.is_empty() {
            self.requests.remove(&response.conn);
        }
        let is_done = response.ending == crate::event::Ending::Complete && response.status < 400;
        let Some(stage) = found.stage.clone().filter(|_| is_done) else { return };
        self.n_matched += 1;
        let name = self.document_name(&found);
        let id = self.stage_id(&stage, found.index);
        let Some(doc) = self.doc(&name) else { return };
        let finished = doc.request_done(id, &stage, found.index, &name, began_ns, response.last_send_ns);
        out.extend(finished.map(|run| Finding::Stage(Box::new(run))));
    }
}

#[cfg(test)]
mod tests;
