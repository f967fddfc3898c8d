//! What the sample pipeline pays for a document: uploads, their lists, and all stages up to the last checkpoint;
//! and what attaching to it takes, whose process has all that the rooms look for.

use anyhow::Result;
use probe_tests::{probe::Probe, server::Server, servers};

use crate::{
    figure::Figure,
    requests::{health, memory},
    window::cpu_ns,
};

/// Uploaded one after the other, and the same ones each time.
const DOCUMENTS: u32 = 6;
const PROFILE: &str = "name = \"bench\"\nroutes = ['POST /upload', 'GET /documents']\n[[stage]]\nfile = \"checkpoints/{doc}/{index}_{stage}.json\"\n";

#[derive(Default)]
struct Values {
    cpu_ms: Vec<f64>,
    upload_ms: Vec<f64>,
}

impl Values {
    fn measure(&mut self, server: &Server) -> Result<()> {
        let before = cpu_ns(server.pid())?;
        self.upload_ms.push(servers::upload(server, DOCUMENTS)? * 1e3);
        server.settle()?;
        self.cpu_ms.push((cpu_ns(server.pid())? - before) / 1e6 / f64::from(DOCUMENTS));
        Ok(())
    }
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let server = servers::docpipeline(folder.path())?;
    // Warms up.
    Values::default().measure(&server)?;
    let (mut off, mut on, mut reports) = (Values::default(), Values::default(), Vec::new());
    for _ in 0..rounds {
        off.measure(&server)?;
        let probe = Probe::attach_with(server.pid(), PROFILE, &[])?;
        on.measure(&server)?;
        reports.push(probe.finish()?.report);
    }
    let figures = [
        Figure::pairs("CPU per document", "ms", &off.cpu_ms, &on.cpu_ms),
        Figure::pairs("upload, p50", "ms", &off.upload_ms, &on.upload_ms),
        health("attach", "ms", &reports, "attach_s", 1e3).within(500.0),
        memory("memory", &reports),
    ];
    Ok(figures.map(|figure| Figure { part: "documents".to_owned(), ..figure }).into())
}
