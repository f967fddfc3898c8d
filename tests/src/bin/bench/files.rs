//! Nanoseconds per file that a pipeline works with: a checkpoint put in place, and a file that is none.

use std::{
    fs::{self, File},
    io::Write as _,
};

use anyhow::{Result, bail};
use probe_tests::probe::Probe;

use crate::{
    figure::Figure,
    repeat::{Repeat, timed},
};

/// Files between two readings of the clock.
const FILES: u32 = 2_500;
const BYTES: usize = 64 << 10;
/// Which files are checkpoints.
const PROFILE: &str = "name = \"bench\"\n[[stage]]\nfile = \"checkpoints/{doc}/{index}_{stage}.json\"\n";

const KINDS: [(&str, &str); 2] =
    [("checkpoint", "checkpoint of 64 KiB, renamed"), ("read", "file of 64 KiB, read")];

/// The child's side.
pub(crate) fn make(kind: &str) -> Result<()> {
    // In memory: a disk is not what is measured.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let place = folder.path().join("checkpoints/7");
    fs::create_dir_all(&place)?;
    let (temporary, there) = (place.join("new.tmp"), place.join("1_ocr.json"));
    let bytes = vec![b'x'; BYTES];
    let put = || -> Result<()> {
        File::create(&temporary)?.write_all(&bytes)?;
        Ok(fs::rename(&temporary, &there)?)
    };
    put()?;
    match kind {
        "checkpoint" => timed(FILES, put),
        "read" => timed(FILES, || Ok(fs::read(&there).map(drop)?)),
        _ => bail!("unknown kind of file `{kind}`"),
    }
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (kind, name) in KINDS {
        let (mut off, mut on) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut child = Repeat::start(&format!("files/{kind}"))?;
            off.push(child.turn_ns()?);
            let probe = Probe::attach_with(child.pid(), PROFILE, &[])?;
            on.push(child.turn_ns()?);
            probe.finish()?;
        }
        figures.push(Figure { part: "files".to_owned(), ..Figure::pairs(name, "ns", &off, &on) });
    }
    Ok(figures)
}
