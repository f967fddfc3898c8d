//! From the ring to the analysis: decode, tap for the recording, hand on.

use std::sync::Arc;

use anyhow::Result;

use super::{
    Finished,
    files::FileMaps,
    load::{Kernel, Lower},
    record,
    streams::Streams,
    tree::Tree,
};
use crate::{
    aggregate::Progress,
    analysis::Analysis,
    event::{Abort, Event, Exec, Exit, FileStats, GivenUp, Gpu, Sample, StepDown, Summary, Took},
    probes::{
        bytes::Direction,
        file_io, gpu, process,
        socket::{self, SocketEvent},
        sqlite, tls,
        wire::{DecodeError, header_of, kind_of},
    },
    profile::Profile,
    slo::Verdict,
    target::procfs,
};

/// The running right half: everything behind the ring.
pub(super) struct Pump {
    streams: Streams,
    /// The connections that are followed.
    sample: Sample,
    /// The kernel does not say when bytes of a Unix-domain socket became readable.
    is_unix_untold: bool,
    files: file_io::Files,
    file_maps: FileMaps,
    gpu: Option<gpu::Sampler>,
    gpu_ended: Option<gpu::Ended>,
    owners: gpu::Owners,
    sqlite: sqlite::Decoder,
    analysis: Analysis,
    recorder: Option<record::Writer>,
    /// Between decoding and analysis; kept for its memory.
    events: Vec<Event>,
    n_records: u64,
    n_undecodable: u64,
}

impl Pump {
    pub(super) fn new(
        profile: Arc<Profile>,
        file_maps: FileMaps,
        recorder: Option<record::Writer>,
        gpu: Option<gpu::Sampler>,
        lower: &[Lower],
    ) -> Self {
        Self {
            streams: Streams::default(),
            sample: Sample::ALL,
            is_unix_untold: lower.iter().any(|lower| lower.rung.program == "socket_ready"),
            sqlite: sqlite::Decoder::default(),
            files: file_io::Files::new(Arc::clone(&profile)),
            file_maps,
            gpu,
            gpu_ended: None,
            owners: gpu::Owners::default(),
            analysis: Analysis::new(profile),
            recorder,
            events: Vec::new(),
            n_records: 0,
            n_undecodable: 0,
        }
    }

    /// Takes everything that is in the ring.
    pub(super) fn drain(&mut self, kernel: &mut Kernel, tree: &mut Tree) {
        kernel.drain(|record| {
            self.n_records += 1;
            if let Err(error) = self.decode(record) {
                self.n_undecodable += 1;
                tracing::debug!(%error, "record not decoded");
            }
            for event in &self.events {
                tree.event(event);
            }
            self.hand_on();
        });
        self.streams.drained(&mut self.events);
        if let Some(gpu) = &self.gpu {
            gpu.drain(&mut self.events);
            self.claim(tree);
        }
        self.sqlite.drained(&mut self.events);
        self.hand_on();
    }

    /// Takes what is known of the run itself.
    pub(super) fn tell<T>(&mut self, tell: impl FnOnce(&mut Vec<Event>) -> T) -> T {
        let told = tell(&mut self.events);
        self.hand_on();
        told
    }

    /// The kernel side sees less from now on. Records of connections that it follows no longer may be on their way.
    pub(super) fn step_down(&mut self, step: StepDown) {
        if let GivenUp::Connections(sample) = step.what {
            self.sample = sample;
            self.streams.keep(sample);
        }
        self.tell(|events| events.push(Event::StepDown(step)));
    }

    /// Says of the processes on a GPU which ones are the target's.
    fn claim(&mut self, tree: &Tree) {
        let exists = |pid| procfs::stat(pid).is_ok();
        for event in &mut self.events {
            let Event::Gpu(Gpu::Slow(slow)) = event else { continue };
            for process in &mut slow.processes {
                let owner = self.owners.find(process.pid, tree.live(), exists, gpu::inner_pid);
                process.is_traced = owner.is_some();
                process.pid = owner.unwrap_or(process.pid);
            }
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self, end_ns: u64, tree: &Tree) {
        self.streams.finish(end_ns, &mut self.events);
        self.files.finish(end_ns, &self.file_maps, &mut self.events);
        self.gpu_ended = self.gpu.take().map(|gpu| gpu.end(&mut self.events));
        self.claim(tree);
        self.hand_on();
    }

    /// What looking at GPUs left, at the end of a run that did.
    pub(super) const fn gpu(&self) -> Option<&gpu::Ended> {
        self.gpu_ended.as_ref()
    }

    /// The report, and what went wrong.
    pub(super) fn finish(self, summary: &Summary) -> Finished {
        let mut warnings = Vec::new();
        if let Some(recorder) = self.recorder
            && let Err(error) = recorder.finish(summary)
        {
            warnings.push(format!("the recording is incomplete: {error:#}"));
        }
        let (report, numbers) = self.analysis.finish_with_numbers(summary);
        Finished { report, numbers, warnings }
    }

    pub(super) fn progress(&self, now_ns: u64) -> Progress {
        self.analysis.progress(now_ns)
    }

    /// A rule that ends the run now.
    pub(super) fn abort_due(&mut self, now_ns: u64) -> Option<Abort> {
        self.analysis.abort_due(now_ns)
    }

    /// The verdicts if the phase at hand ended now.
    pub(super) fn verdicts_so_far(&self, now_ns: u64) -> Vec<Verdict> {
        self.analysis.verdicts_so_far(now_ns)
    }

    /// Processes that used databases and of which no statement was seen.
    pub(super) fn n_without_statements(&self) -> usize {
        self.sqlite.n_without_statements()
    }

    pub(super) const fn n_records(&self) -> u64 {
        self.n_records
    }

    pub(super) const fn n_undecodable(&self) -> u64 {
        self.n_undecodable
    }

    /// What was and was not understood.
    pub(super) const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Statistics of the calls on files.
    pub(super) fn file_stats(&self) -> Result<Vec<FileStats>> {
        self.file_maps.stats(self.files.counted())
    }

    /// For how long writes were held back because too much was dirty.
    pub(super) fn write_stalls(&self) -> Result<Took> {
        self.file_maps.stalls()
    }

    /// Calls that change names, given paths that are too long to be followed.
    pub(super) const fn n_cut_names(&self) -> u64 {
        self.files.n_cut_names()
    }

    /// Devices on which files were written.
    pub(super) fn devices(&self) -> impl Iterator<Item = u32> {
        self.files.devices()
    }

    fn decode(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        let kind = kind_of(record)?;
        if let Some(event) = process::decode(kind, record)? {
            if let Event::Exec(Exec { pid, .. }) | Event::Exit(Exit { pid, .. }) = event {
                self.sqlite.forget(pid);
            }
            if let Event::Exit(Exit { pid, ts_ns }) = event {
                self.files.ended(pid, ts_ns, &self.file_maps, &mut self.events);
            }
            self.events.push(event);
        } else if let Some(event) = file_io::decode(kind, record)? {
            self.files.event(event, &mut self.file_maps, &mut self.events);
        } else if self.sqlite.decode(kind, record, &mut self.events)? {
            // All there is to it is in the events.
        } else if let Some(event) = socket::decode(kind, record)? {
            if event.conn().is_some_and(|conn| !self.sample.has(conn)) {
                return Ok(());
            }
            match event {
                SocketEvent::Bytes(mut bytes) => {
                    if self.is_unix_untold && bytes.port == 0 && bytes.direction == Direction::In {
                        bytes.arrival_ns = Some(bytes.exit_ns);
                    }
                    self.streams.bytes(&bytes, &mut self.events);
                }
                SocketEvent::Acked { conn, seq, ts_ns } => {
                    self.streams.acked(conn, seq, ts_ns, &mut self.events);
                }
                // Comes back once its last call has been seen.
                SocketEvent::Event(Event::Closed(closed)) => self.streams.closed(closed),
                SocketEvent::Peer(peer) => {
                    let ts_ns = header_of(record)?.ts_ns;
                    self.streams.peer(ts_ns, peer, &mut self.events);
                }
                SocketEvent::Event(mut event) => {
                    match &mut event {
                        Event::Accepted(accepted) => self.streams.accepted(accepted, &mut self.events),
                        Event::Unconnected(unconnected) => self.streams.unconnected(unconnected),
                        _ => {}
                    }
                    self.events.push(event);
                }
            }
        } else if let Some(plain) = tls::decode(kind, record)? {
            self.streams.plain(&plain, &mut self.events);
        }
        Ok(())
    }

    fn hand_on(&mut self) {
        for event in self.events.drain(..) {
            if let Some(recorder) = &mut self.recorder {
                recorder.event(&event);
            }
            self.analysis.event(&event);
        }
    }
}
