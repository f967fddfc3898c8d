//! What the sample pipeline pays for a document: uploads, their lists, and all stages up to the last checkpoint.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    probe::Probe,
    server::{Server, python},
    servers,
};

use crate::{figure::Figure, requests::cpu_ns};

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
        self.upload_ms.push(upload(server)? * 1e3);
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
    let (mut off, mut on) = (Values::default(), Values::default());
    for _ in 0..rounds {
        off.measure(&server)?;
        let probe = Probe::attach_with(server.pid(), PROFILE, &[])?;
        on.measure(&server)?;
        probe.finish()?;
    }
    let figures = [
        Figure::pairs("CPU per document", "ms", &off.cpu_ms, &on.cpu_ms),
        Figure::pairs("upload, p50", "ms", &off.upload_ms, &on.upload_ms),
    ];
    Ok(figures.map(|figure| Figure { part: "documents".to_owned(), ..figure }).into())
}

/// Seconds of the middle upload, by the client's clock.
fn upload(server: &Server) -> Result<f64> {
    let tests = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(python()?)
        .arg(format!("{tests}/net/pipeline_load.py"))
        .arg(format!("{tests}/targets"))
        .arg(format!("http://{}", server.addr()))
        .arg(DOCUMENTS.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start the pipeline's load")?;
    ensure!(output.status.success(), "the pipeline's load ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let took = text.lines().find_map(|line| line.strip_prefix("upload "));
    took.with_context(|| format!("the load said {text}"))?.parse().context("no number")
}
