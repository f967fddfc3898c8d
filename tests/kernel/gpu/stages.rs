//! What the GPU did while stages ran, and for how much energy documents were made, in two phases.

use std::{
    fs,
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    fake_gpu::{FakeGpu, gpu},
    probe::binary,
    wait,
};
use serde_json::{Value, json};

use super::{join::settled, same};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, stages_and_documents_in_phases);
}

const PROFILE: &str = "name = 'stages'\n[stages]\norder = ['ocr', 'wait', 'layout']\nbegins = 'in/{doc}.pdf'\n\
                       [[stage]]\nfile = 'cp/{doc}-{index}_{stage}.json'\n\
                       [[objective]]\nid = 'energy'\ngpu = '0'\nmetric = 'energy_per_document'\ntarget = '1J'\nlimit = '1000kJ'\n";

/// A shell that writes each file whose name it is told.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    folder: tempfile::TempDir,
}

impl Shell {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["in", "cp"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "while read -r name; do echo text > \"$name.new\"; echo > \"$name\"; done"]);
        let mut child = command.current_dir(&folder).stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        Ok(Self { child, stdin, folder })
    }

    fn write(&mut self, name: &str) -> Result<()> {
        writeln!(self.stdin, "{name}")?;
        let path = self.folder.path().join(name);
        wait::until("a file", wait::SOON, || Ok(path.exists().then_some(())))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// One document in each of two phases; the GPU is idle all through `ocr` and busy all through `layout`. The energy of
/// both phases is all that the counter grew by, each divided by its one document.
fn stages_and_documents_in_phases() -> Result<()> {
    let mut shell = Shell::start()?;
    let switch = shell.folder.path().join("busy");
    let mut gpu = gpu();
    gpu["busy"] = json!({ "period_ms": 10, "while": switch });
    let counter: Vec<u64> = (0..100_000).map(|n| 9_000_000 + n * 125).collect();
    gpu["steps"]["nvmlDeviceGetTotalEnergyConsumption"] = json!(counter);
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let probe = fake.attach_with(shell.child.id(), PROFILE, &["--record"])?;
    for (doc, phase) in [("a", "first"), ("b", "second")] {
        let marked = Command::new(binary()?).args(["mark", phase, "--run"]).arg(probe.run_dir()).status()?;
        ensure!(marked.success(), "mark `{phase}`: {marked}");
        settled(&fake, 0)?;
        shell.write(&format!("in/{doc}.pdf"))?;
        settled(&fake, 0)?;
        shell.write(&format!("cp/{doc}-01_ocr.json"))?;
        settled(&fake, 0)?;
        fs::write(&switch, "")?;
        settled(&fake, 100)?;
        shell.write(&format!("cp/{doc}-02_wait.json"))?;
        settled(&fake, 100)?;
        shell.write(&format!("cp/{doc}-03_layout.json"))?;
        settled(&fake, 100)?;
        fs::remove_file(&switch)?;
    }
    let report = probe.finish()?.report;
    let gpus: Vec<Value> = report.at("/gpu")?;
    let phases: Vec<Option<&str>> = gpus.iter().map(|gpu| gpu["phase"].as_str()).collect();
    // From the attach to the first mark nothing happened, so that it is no phase.
    ensure!(phases == [Some("first"), Some("second")], "{phases:?}");
    let mut energy = 0.0;
    for gpu in &gpus {
        let stages = gpu["stages"].as_array().context("no stages")?;
        let names: Vec<Option<&str>> = stages.iter().map(|stage| stage["stage"].as_str()).collect();
        ensure!(names == [Some("ocr"), Some("wait"), Some("layout")], "{stages:?}");
        for (stage, busy) in [(&stages[0], 0.0), (&stages[2], 1.0)] {
            ensure!(stage["documents"] == 1 && stage["memory_bytes"] == 200u64 << 20, "{stage}");
            same("busy", stage["util"].as_f64(), busy).with_context(|| stage.to_string())?;
            ensure!(stage["covered_s"].as_f64() > Some(0.1), "{stage}");
        }
        let of_phase = gpu["energy_j"].as_f64().context("no energy")?;
        same("energy per document", gpu["energy_per_document_j"].as_f64(), of_phase)?;
        energy += of_phase;
    }
    let stages: Vec<Value> = report.at("/stages")?;
    for (stage, gpu) in stages.iter().zip(gpus.iter().filter_map(|gpu| gpu["stages"].as_array()).flatten()) {
        let (took, covered) = (stage["time_s"]["max"].as_f64(), gpu["covered_s"].as_f64());
        let (took, covered) = took.zip(covered).context("no times")?;
        ensure!((took - covered).abs() < 0.001 * took + 1e-3, "{stage} is not {gpu}");
    }
    let judged: Vec<Value> = report.at("/objectives")?;
    ensure!(judged.len() == 2 && judged.iter().all(|one| one["samples"] == 1), "{judged:?}");
    // What lies before the first mark, and behind the last reading, is not of the two.
    let told = fake.answers(0, "nvmlDeviceGetTotalEnergyConsumption")?;
    let all = (told[told.len() - 1] - told[0]) as f64 / 1e3;
    ensure!(energy <= all && energy > all * 0.5, "{energy} J of {all} J");
    Ok(())
}
