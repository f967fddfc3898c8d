//! What the programs cost the verifier: each has a bound, recorded with what was measured in `tests/budgets.json`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use probe::engine::{Kernel, LoadConfig, Verified};
use serde::Deserialize;

use probe_tests::say::say;

use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, every_program_is_accepted);
}

/// `tests/budgets.json`; its measurements are written by `cargo xtask test --kernels`.
#[derive(Deserialize)]
struct Budgets {
    /// Instructions that the verifier may look at, for programs that are not named.
    bound: u32,
    /// Others.
    bounds: BTreeMap<String, u32>,
}

/// Every program of the object is accepted, after at most as many instructions as it is allowed. Kernels before 5.16
/// do not tell how many it took: there the acceptance is all.
fn every_program_is_accepted() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.json");
    let text = std::fs::read_to_string(&path).context("failed to read `budgets.json`")?;
    let budgets: Budgets = serde_json::from_str(&text).context("failed to parse `budgets.json`")?;
    let programs = Kernel::verify_all(&LoadConfig {
        btf: Path::new("/sys/kernel/btf/vmlinux"),
        ring_bytes: 64 << 10,
        follow_children: true,
        rooms: probe::probes::every_room(),
        without: &[],
    })?;
    ensure!(!programs.is_empty(), "the object holds no program");
    let mut wrong = Vec::new();
    for Verified { program, result } in programs {
        match result {
            Ok(Some(n)) => {
                say(&format!("verified {program} {n}"));
                let bound = budgets.bounds.get(&program).copied().unwrap_or(budgets.bound);
                if n > bound {
                    wrong.push(format!("{program}: {n} instructions, at most {bound} are allowed"));
                }
            }
            Ok(None) => say(&format!("verified {program} -")),
            Err(error) => wrong.push(format!("{program}: {error}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
