//! What `probe doctor` says of the GPUs: one look, on a thread of its own, for a driver may hang.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nvml_wrapper::error::NvmlError;

use super::look::Watched;
use super::sampler::{NO_GPU, Shared, absence, open};
use crate::event::{BlindSpot, GpuDevice};

/// A driver without persistence mode takes a few seconds to wake its GPUs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A GPU that answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurveyedGpu {
    /// What it is.
    pub device: GpuDevice,
    /// Processes on it.
    pub n_processes: usize,
}

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Those that answer.
    pub gpus: Vec<SurveyedGpu>,
    /// Why there is none to watch, and what helps.
    pub absence: Option<(String, String)>,
    /// What they do not tell.
    pub gaps: Vec<BlindSpot>,
}

/// Asks the driver once for everything that a run asks for.
pub fn survey(library: Option<PathBuf>) -> Survey {
    let (sender, receiver) = channel();
    // A thread that cannot be had, or that dies, drops the sender: the same as no answer.
    let _detached =
        thread::Builder::new().name("gpu".to_owned()).spawn(move || sender.send(ask(library.as_deref())));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Survey {
        absence: Some((
            format!("the NVIDIA driver did not answer within {} s", PATIENCE.as_secs()),
            "look at `nvidia-smi` and the kernel's log (`Xid`)".to_owned(),
        )),
        ..Survey::default()
    })
}

fn ask(library: Option<&Path>) -> Survey {
    let absent = |error: &NvmlError| {
        let (why, remedy) = absence(error);
        Survey { absence: Some((why, remedy.to_owned())), ..Survey::default() }
    };
    let nvml = match open(library) {
        Ok(nvml) => nvml,
        Err(error) => return absent(&error),
    };
    let count = match nvml.device_count() {
        Ok(0) => {
            let (why, remedy) = NO_GPU;
            return Survey { absence: Some((why.to_owned(), remedy.to_owned())), ..Survey::default() };
        }
        Ok(count) => count,
        Err(error) => return absent(&error),
    };
    let shared = Arc::new(Shared::default());
    let driver = nvml.sys_driver_version().ok();
    let mut gpus = Vec::new();
    for gpu in 0..count {
        let device = match nvml.device_by_index(gpu) {
            Ok(device) => device,
            Err(error) => {
                shared.gaps(|gaps| gaps.refused(gpu, &error));
                continue;
            }
        };
        let mut watched = Watched::new(gpu, device, Arc::clone(&shared));
        let device = watched.describe(driver.clone());
        let _figures = (watched.look(), watched.counters());
        let n_processes = watched.slow(false).processes.len();
        if watched.lost().is_none() {
            gpus.push(SurveyedGpu { device, n_processes });
        }
    }
    Survey { gpus, absence: None, gaps: shared.blind_spots() }
}
