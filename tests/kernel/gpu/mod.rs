//! GPUs: a driver that plays a script, so that each case is exact; and a real one where there is one.

mod faults;
mod join;
mod real;
mod stages;
mod values;

use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use probe_tests::report::Report;
use serde_json::Value;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    values::add_to(suite);
    faults::add_to(suite);
    join::add_to(suite);
    stages::add_to(suite);
    real::add_to(suite);
}

/// A process that does nothing: what is watched here is the GPU.
struct Idle(Child);

impl Idle {
    fn start() -> Result<Self> {
        Ok(Self(Command::new("sleep").arg("1000").spawn().context("failed to start `sleep`")?))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Gone already, or nobody's any more.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// The blind spots that speak of GPUs: what is not seen, and why.
fn blind_spots(report: &Report) -> Result<Vec<(String, String)>> {
    let spots: Vec<Value> = report.at("/health/blind_spots")?;
    let text = |spot: &Value, key: &str| spot[key].as_str().unwrap_or_default().to_owned();
    let all = spots.iter().map(|spot| (text(spot, "what"), text(spot, "why")));
    Ok(all.filter(|(what, _)| what.contains("GPU")).collect())
}

/// Fails where two numbers are not the same but for rounding.
fn same(what: &str, got: Option<f64>, expected: f64) -> Result<()> {
    let got = got.with_context(|| format!("{what}: the report has none"))?;
    ensure!((got - expected).abs() <= expected.abs() * 1e-9, "{what}: {got}, the driver said {expected}");
    Ok(())
}
