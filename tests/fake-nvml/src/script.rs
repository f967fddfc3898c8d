//! The script: what each function answers, call by call, and the log of what it did answer.
//!
//! `FAKE_NVML` names a JSON file:
//!
//! ```json
//! { "log": "/path", "driver": "580.1", "steps": { "nvmlInit_v2": [0] },
//!   "gpus": [ { "uuid": "GPU-0", "name": "Fake", "memory_total": 1000,
//!               "steps": { "nvmlDeviceGetPowerUsage": [1000, {"error": 3}, {"hang": true}] },
//!               "busy": { "period_ms": 20, "percents": [0, 100] },
//!               "processes": [ { "pid": 1, "memory": 5, "sm": 30 } ],
//!               "instances": [ { "used": 1, "total": 2 } ] } ] }
//! ```
//!
//! The n-th call gets the n-th step, later ones the last. A function that the script does not name is not supported.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// NVML's codes that the script itself needs.
pub(crate) const NOT_SUPPORTED: u32 = 3;
pub(crate) const NOT_FOUND: u32 = 6;
const UNKNOWN: u32 = 999;
/// As many as a driver keeps.
const BUFFER: usize = 100;

/// See the head of this file.
pub(crate) struct Script {
    pub(crate) value: Value,
    state: Mutex<State>,
}

struct State {
    calls: HashMap<String, usize>,
    log: Option<File>,
    began_us: u64,
    /// By GPU: samples so far, and the newest of them.
    samples: HashMap<usize, (u64, Vec<(u64, u32)>)>,
}

static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    let text = std::env::var("FAKE_NVML")
        .and_then(|path| std::fs::read_to_string(path).map_err(|_| std::env::VarError::NotPresent));
    let value: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or(Value::Null);
    let log =
        value["log"].as_str().and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
    Script {
        value,
        state: Mutex::new(State { calls: HashMap::new(), log, began_us: now_us(), samples: HashMap::new() }),
    }
});

/// The script of this process.
pub(crate) fn script() -> &'static Script {
    &SCRIPT
}

/// Microseconds since 1970, as drivers stamp their samples.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl Script {
    /// The answer to the next call of a function; `gpu` is none for those of the whole driver, `name` may end in
    /// `.selector`.
    pub(crate) fn answer(&self, gpu: Option<usize>, name: &str) -> Result<u64, u32> {
        let place = gpu.map_or(&self.value, |gpu| &self.value["gpus"][gpu]);
        let steps = place["steps"][name].as_array().filter(|steps| !steps.is_empty()).ok_or(NOT_SUPPORTED)?;
        let key = format!("{} {name}", gpu.map_or_else(|| "-".to_owned(), |gpu| gpu.to_string()));
        let step = {
            let mut state = self.state();
            let n_calls = state.calls.entry(key.clone()).or_default();
            let step = &steps[(*n_calls).min(steps.len() - 1)];
            *n_calls += 1;
            step
        };
        if step["hang"] == true {
            self.log(&format!("{key} hangs"));
            loop {
                // sleep: a driver that never returns is what is played here.
                std::thread::sleep(Duration::from_hours(1));
            }
        }
        if let Some(code) = step["error"].as_u64() {
            self.log(&format!("{key} error {code}"));
            return Err(u32::try_from(code).unwrap_or(UNKNOWN));
        }
        let value = step.as_u64().ok_or(UNKNOWN)?;
        self.log(&format!("{key} {value}"));
        Ok(value)
    }

    /// The driver's samples that are younger than `last_us`.
    pub(crate) fn samples(&self, gpu: usize, last_us: u64) -> Result<Vec<(u64, u32)>, u32> {
        let busy = &self.value["gpus"][gpu]["busy"];
        let period_us = busy["period_ms"].as_u64().ok_or(NOT_SUPPORTED)? * 1000;
        let mut state = self.state();
        let began_us = state.began_us;
        let n_due = (now_us() - began_us) / period_us;
        let (n, buffer) = state.samples.entry(gpu).or_default();
        let is_there = busy["while"].as_str().map(|path| std::path::Path::new(path).exists());
        while *n < n_due {
            *n += 1;
            let percent = match (is_there, busy["percents"].as_array().filter(|all| !all.is_empty())) {
                (Some(is_there), _) => {
                    if is_there {
                        100
                    } else {
                        0
                    }
                }
                (None, Some(all)) => {
                    let index = usize::try_from(*n - 1).unwrap_or(0) % all.len();
                    all[index].as_u64().and_then(|percent| u32::try_from(percent).ok()).unwrap_or(0)
                }
                (None, None) => 0,
            };
            buffer.push((began_us + *n * period_us, percent));
            if buffer.len() > BUFFER {
                buffer.remove(0);
            }
        }
        let new: Vec<_> = buffer.iter().copied().filter(|(at_us, _)| *at_us > last_us).collect();
        if new.is_empty() { Err(NOT_FOUND) } else { Ok(new) }
    }

    /// A line of the log.
    pub(crate) fn log(&self, line: &str) {
        if let Some(log) = &mut self.state().log {
            // A test that cannot read the log fails by that.
            let _ = log.write_all(format!("{line}\n").as_bytes());
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
