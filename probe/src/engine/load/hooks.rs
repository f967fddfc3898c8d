//! Hooks: each attached where the kernel takes it, else on the rung below it.

use anyhow::{Context as _, Result, bail};
use aya::programs::{Program, RawTracePoint};

use super::{Kernel, Known, LoadConfig, Lower, verifier_says};
use crate::{
    engine::tracepoints::{self, Tracepoints},
    probes::{
        self, Hook,
        rungs::{self, RAW_TRACEPOINTS},
    },
};

/// How attaching one hook went, for `probe doctor`.
#[derive(Debug)]
pub struct HookResult {
    /// The room that owns it.
    pub probe: &'static str,
    /// The hook.
    pub hook: &'static Hook,
    /// Its answer to the perf tracepoint, where that is the better one.
    pub by_perf: Option<Result<(), String>>,
    /// The kernel's answer, to the raw tracepoint where perf's is refused.
    pub result: Result<(), String>,
}

/// What the verifier made of one program.
#[derive(Debug)]
pub struct Verified {
    /// Its name in the object.
    pub program: String,
    /// Instructions that it looked at (none where the kernel does not tell, before 5.16), or what it refused.
    pub result: Result<Option<u32>, String>,
}

impl Kernel {
    /// Loads the object and attaches every hook of every room that is on, the process room first, so that no fork is
    /// missed. Where a hook that has a rung below it fails, all begins anew on that rung.
    pub fn attached(config: &LoadConfig<'_>) -> Result<(Self, Vec<Lower>)> {
        let mut lower: Vec<Lower> = Vec::new();
        let known = Known::of(config)?;
        loop {
            let mut kernel = Self::load_knowing(&known, config, &lower)?;
            let found = kernel.attach(config.without, &lower)?;
            if found.is_empty() {
                return Ok((kernel, lower));
            }
            lower.extend(found);
        }
    }

    /// Attaches all but what is lower already; gives what must be.
    fn attach(&mut self, without: &[String], lower: &[Lower]) -> Result<Vec<Lower>> {
        let mut found = Vec::new();
        let on_raw = |error: anyhow::Error| vec![Lower { rung: &RAW_TRACEPOINTS, why: format!("{error:#}") }];
        match self.load_tails() {
            Err(error) if self.tracepoints == Tracepoints::Perf => return Ok(on_raw(error)),
            loaded => loaded?,
        }
        for (spec, hook) in probes::hooks(self.rooms) {
            let rung = rungs::below(hook.program);
            if lower.iter().any(|lower| Some(lower.rung) == rung) {
                continue;
            }
            let by_perf = self.tracepoints.has(hook) && !is_left_out(hook, without);
            match (self.attach_one(hook, without), rung) {
                (Ok(()), _) => {}
                // It would be the same with the other ones.
                (Err(error), _) if by_perf => return Ok(on_raw(error)),
                (Err(error), Some(rung)) => found.push(Lower { rung, why: format!("{error:#}") }),
                (Err(error), None) => {
                    return Err(error.context(format!(
                        "failed to attach `{}` of the {} probe to the raw tracepoint `{}`; see `probe doctor`",
                        hook.program, spec.id, hook.tracepoint
                    )));
                }
            }
        }
        Ok(found)
    }

    /// Loads the programs that others hand on to, before those are attached.
    fn load_tails(&mut self) -> Result<()> {
        for tail in probes::tails(self.rooms) {
            let program = self.ebpf.program_mut(tail).context("the object has no such program")?;
            load(program).with_context(|| format!("failed to load `{tail}`"))?;
            self.tails.set(0, program.fd()?, 0).with_context(|| format!("failed to hand on to `{tail}`"))?;
        }
        Ok(())
    }

    fn attach_one(&mut self, hook: &Hook, without: &[String]) -> Result<()> {
        if is_left_out(hook, without) {
            bail!("left out by --force-rung");
        }
        let interrupted = hook.again.is_some() && without.iter().any(|forced| forced == rungs::INTERRUPTED);
        let first = (!interrupted).then_some(hook.program);
        let programs = || first.into_iter().chain(hook.again);
        // All of them before the first is attached, so that little comes between the two.
        for name in programs() {
            load(self.program(name)?)?;
        }
        // The kernel calls them in the order in which they are attached.
        for name in programs() {
            if self.tracepoints.has(hook) {
                tracepoints::attach(self.program(name)?, hook)?;
            } else {
                let program: &mut RawTracePoint = self.program(name)?.try_into()?;
                program.attach(hook.tracepoint)?;
            }
        }
        if hook.again.is_some() {
            self.begin_turns()?;
        }
        Ok(())
    }

    fn program(&mut self, name: &str) -> Result<&mut Program> {
        self.ebpf.program_mut(name).context("the object has no such program")
    }

    /// Loads and attaches each hook on its own, and detaches them again.
    pub fn try_hooks(config: &LoadConfig<'_>) -> Result<Vec<HookResult>> {
        let known = Known::of(config)?;
        let mut kernel = Self::load_knowing(&known, config, &[])?;
        let mut on_raw = None;
        let mut results = Vec::new();
        for (spec, hook) in probes::hooks(config.rooms) {
            let mut result = kernel.attach_one(hook, config.without).map_err(|error| format!("{error:#}"));
            let mut by_perf = None;
            if kernel.tracepoints.has(hook) && !is_left_out(hook, config.without) {
                by_perf = Some(result.clone());
                if let Err(why) = &result {
                    let lower = Lower { rung: &RAW_TRACEPOINTS, why: why.clone() };
                    let kernel = match &mut on_raw {
                        Some(kernel) => kernel,
                        none => none.insert(Self::load_knowing(&known, config, &[lower])?),
                    };
                    result = kernel.attach_one(hook, config.without).map_err(|error| format!("{error:#}"));
                }
            }
            results.push(HookResult { probe: spec.id, hook, by_perf, result });
        }
        Ok(results)
    }

    /// Hands every program of the object to the verifier, those included that only some targets need. None is attached.
    pub fn verify_all(config: &LoadConfig<'_>) -> Result<Vec<Verified>> {
        let mut kernel = Self::load(config)?;
        let verify = |program: &mut Program| -> Result<Option<u32>> {
            load(program)?;
            Ok(program.info()?.verified_instruction_count())
        };
        let programs = kernel.ebpf.programs_mut().map(|(name, program)| Verified {
            program: name.to_owned(),
            result: verify(program).map_err(|error| format!("{error:#}")),
        });
        Ok(programs.collect())
    }
}

/// Whether `--force-rung` takes the program of this hook for refused.
fn is_left_out(hook: &Hook, without: &[String]) -> bool {
    without.iter().any(|program| program == hook.program)
}

/// Hands a program to the verifier.
fn load(program: &mut Program) -> Result<()> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        Program::UProbe(program) => program.load(),
        other => bail!("no room loads programs of the type {:?}", other.prog_type()),
    }
    .map_err(verifier_says)
}
