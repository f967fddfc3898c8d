//! The sample pipeline under a condition: its uploads and deliveries take longer by what the condition must add, by the
//! client's own clock and by the report.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{probe::Probe, server::python, servers, wait};
use serde_json::Value;

use crate::{Suite, bench::look};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("pipeline::under_a_narrow_link", narrow);
    suite.add_netem("pipeline::under_poor", poor);
}

/// Documents of each phase, and how often each is looked at.
const UPLOADS: u32 = 6;
/// No document of the corpus is smaller, bytes.
const DOCUMENT: f64 = 90_000.0;

/// What both phases say of one thing, seconds.
#[derive(Debug)]
struct Pair {
    clean: f64,
    under: f64,
}

struct Played {
    condition: Value,
    /// By the client's clock: the middle upload.
    by_client: Pair,
    /// By the report: medians.
    upload: Pair,
    delivery: Pair,
}

/// Plays a clean phase and one under a condition.
fn play(net: &str) -> Result<Played> {
    let before = look("lo")?;
    // In the namespace of the test.
    let kept = tempfile::tempdir()?;
    let pipeline = servers::docpipeline(kept.path())?;
    let (python, folder) = (python()?, env!("CARGO_MANIFEST_DIR"));
    let profile = format!(
        "name = 'pipeline'\nroutes = ['POST /upload', 'GET /documents']\n\
         [load]\ncommand = ['{}', '{folder}/net/pipeline_load.py', '{folder}/targets', '{{host}}', '{UPLOADS}']\n\
         [[phase]]\nname = 'clean'\nduration = '300s'\n\
         [[phase]]\nname = 'under'\nduration = '300s'\nnet = '{net}'\n",
        python.display()
    );
    let outcome = Probe::play(pipeline.pid(), &profile, &[])?.outcome(2 * wait::SOON)?;
    ensure!(look("lo")? == before, "{before}\nbecame\n{}", look("lo")?);
    let endpoints: Vec<Value> = outcome.report.at("/endpoints")?;
    let of = |phase: &str, endpoint: &str, pointer: &str| -> Result<f64> {
        let found = endpoints.iter().find(|found| found["phase"] == phase && found["endpoint"] == endpoint);
        let found = found.with_context(|| format!("no {endpoint} in {phase}: {}", outcome.stdout))?;
        ensure!(endpoint != "POST /upload" || found["requests"] == UPLOADS, "{found:#}");
        found.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}: {found:#}"))
    };
    let pair = |endpoint: &str, pointer: &str| -> Result<Pair> {
        Ok(Pair { clean: of("clean", endpoint, pointer)?, under: of("under", endpoint, pointer)? })
    };
    let logged = |name: &str| -> Result<f64> {
        let text = fs::read_to_string(outcome.run_dir().join(name))?;
        let took = text.lines().find_map(|line| line.strip_prefix("upload "));
        took.with_context(|| format!("the load said {text}"))?.parse().context("no number")
    };
    let played = Played {
        condition: outcome.report.at("/conditions/0")?,
        by_client: Pair { clean: logged("load-1-clean.log")?, under: logged("load-2-under.log")? },
        upload: pair("POST /upload", "/latency_s/p50")?,
        delivery: pair("GET /documents", "/delivery_s/p50")?,
    };
    ensure!(played.condition["is_proved"] == true, "{:#} {}", played.condition, outcome.stderr);
    Ok(played)
}

/// An upload cannot be faster than its document at the link's rate.
fn narrow() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("narrow.toml");
    fs::write(&path, "name = \"narrow\"\n[up]\nrate = \"2mbit\"\n[down]\nrate = \"1mbit\"\n")?;
    let played = play(path.to_str().context("not UTF-8")?)?;
    let least = DOCUMENT / 250_000.0;
    for pair in [&played.by_client, &played.upload] {
        ensure!(pair.under >= 0.9 * least && pair.under > pair.clean, "{pair:?}, at least {least} s");
    }
    Ok(())
}

/// 200 ms there and back: no upload without one more round trip, and no delivery below one.
fn poor() -> Result<()> {
    let played = play("poor")?;
    ensure!(played.delivery.under >= 0.195 && played.delivery.clean < 0.1, "{:?}", played.delivery);
    for pair in [&played.by_client, &played.upload] {
        ensure!(pair.under >= pair.clean + 0.19, "{pair:?}");
    }
    Ok(())
}
