//! Recordings: the decoded events of a run in `recording.jsonl`, so that everything right of them can run again
//! without root. One JSON value per line: the header, the events, at the end the summary.
//!
//! A recording never endangers its run: when it cannot be written any more it stops, and says so at the end.
//! Reading trusts nothing: lines are bounded, errors carry their line, and a file without its end, as a killed
//! run leaves it, is read as far as it goes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::event::{EndedBy, Event, Summary};

/// The recording's name in a run directory.
pub const FILE_NAME: &str = "recording.jsonl";

/// Version of the format.
const SCHEMA: &str = "probe.recording/1";

/// A longer line is no recording, bytes. The summary is the longest: a few hundred KiB in the worst case.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// One write call for some thousand events.
const BUFFER_BYTES: usize = 256 * 1024;

/// What is known when a run begins: all that names it, should it not come to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format; set by [`Writer::create`].
    pub schema: String,
    /// As in [`Summary`], like all that follow.
    pub run_id: String,
    /// Wall clock at `start_ns`, RFC 3339, UTC.
    pub started_at: String,
    /// First moment of the run.
    pub start_ns: u64,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// The process that was asked for.
    pub target_pid: u32,
    /// Its command line, printable, shortened.
    pub target_cmdline: String,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End<S> {
    summary: S,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer {
    /// None after the first error, which is kept.
    state: Result<BufWriter<File>, io::Error>,
}

impl Writer {
    /// Creates the recording in a run directory, where there must be none, and writes its header.
    pub fn create(directory: &Path, header: &Header) -> anyhow::Result<Self> {
        let path = directory.join(FILE_NAME);
        let what = || format!("failed to create recording `{}`", path.display());
        let file = File::create_new(&path).with_context(what)?;
        let mut writer = Self { state: Ok(BufWriter::with_capacity(BUFFER_BYTES, file)) };
        writer.line(&Header { schema: SCHEMA.to_owned(), ..header.clone() });
        Ok(writer)
    }

    /// Adds an event. Does not wait for the disk, and never fails: see [`Self::finish`].
    pub fn event(&mut self, event: &Event) {
        self.line(event);
    }

    /// Adds the summary and closes the file; says here what went wrong on the way.
    pub fn finish(mut self, summary: &Summary) -> anyhow::Result<()> {
        self.line(&End { summary });
        self.state.and_then(|mut file| file.flush()).context("failed to write the recording, it has no end")
    }

    fn line(&mut self, value: &impl Serialize) {
        let Ok(file) = &mut self.state else { return };
        let written = serde_json::to_writer(&mut *file, value)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            // Replacing the buffer tries to flush it once more, which a full disk refuses as well.
            self.state = Err(error);
        }
    }
}

/// Reads a recording: hands each event on, and gives the summary at its end, one made of the header and the
/// events where there is none.
pub fn read(path: &Path, each: impl FnMut(Event)) -> anyhow::Result<Summary> {
    let what = || format!("failed to read recording `{}`", path.display());
    let file = File::open(path).with_context(what)?;
    read_from(BufReader::with_capacity(BUFFER_BYTES, file), each).with_context(what)
}

/// As [`read`], from any source.
pub fn read_from(source: impl BufRead, mut each: impl FnMut(Event)) -> anyhow::Result<Summary> {
    let mut lines = Lines { source, line: Vec::new(), number: 0 };
    let header = lines.next()?.context("it is empty")?;
    let header: Header = serde_json::from_slice(header.bytes).context(
        "line 1: not the header of a recording\nis this a file that `probe attach --record` wrote?",
    )?;
    anyhow::ensure!(
        header.schema == SCHEMA,
        "unknown format `{}`, this probe reads `{SCHEMA}`\nread it with the version of probe that wrote it",
        header.schema.escape_default()
    );
    let mut n_events = 0;
    let mut last_ns = header.start_ns;
    while let Some(Line { bytes, number, is_whole }) = lines.next()? {
        if let Ok(End { summary }) = serde_json::from_slice::<End<Summary>>(bytes) {
            return Ok(summary);
        }
        match serde_json::from_slice::<Event>(bytes) {
            Ok(event) => {
                n_events += 1;
                last_ns = last_ns.max(event.ts_ns());
                each(event);
            }
            // A killed run ends in the middle of a line.
            Err(_) if !is_whole => break,
            Err(error) => return Err(error).with_context(|| format!("line {number}: not an event")),
        }
    }
    Ok(Summary {
        start_ns: header.start_ns,
        end_ns: last_ns,
        started_at: header.started_at,
        run_id: header.run_id,
        host: header.host,
        kernel: header.kernel,
        target_pid: header.target_pid,
        target_cmdline: header.target_cmdline,
        ended_by: EndedBy::Unfinished,
        events: n_events,
        ..Summary::default()
    })
}

/// The lines of a file, bounded in length.
struct Lines<R> {
    source: R,
    line: Vec<u8>,
    number: u64,
}

struct Line<'a> {
    bytes: &'a [u8],
    /// From 1.
    number: u64,
    /// It has its line break.
    is_whole: bool,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> anyhow::Result<Option<Line<'_>>> {
        self.line.clear();
        self.number += 1;
        let number = self.number;
        let length = (&mut self.source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.line)
            .with_context(|| format!("line {number}"))?;
        if length == 0 {
            return Ok(None);
        }
        let is_whole = self.line.ends_with(b"\n");
        let is_cut = !is_whole && length as u64 == MAX_LINE_BYTES;
        anyhow::ensure!(!is_cut, "line {number}: longer than {} MiB", MAX_LINE_BYTES >> 20);
        Ok(Some(Line { bytes: &self.line, number, is_whole }))
    }
}

#[cfg(test)]
mod tests;
