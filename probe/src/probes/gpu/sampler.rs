//! The thread that asks the driver, and its handle.
//!
//! The run never waits for the thread: it takes what has come, and at its end gives it a moment to finish. A call
//! that does not return by then is named, and its thread is left to the end of the process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use super::fault::{Fault, fault, words};
use super::gaps::Gaps;
use super::look::Watched;
use super::times::Now;
use crate::event::{BlindSpot, Event, Gpu, GpuLost};

/// Slow figures are read this much less often than quick ones, and at most once a second.
const SLOW_EVERY: Duration = Duration::from_secs(1);
/// Counters that hardly ever move.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);
/// How long the end of a run waits for the last look.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Events between two drains of the engine (10 ms): more than a hundred GPUs make. A full queue makes the thread wait.
const QUEUE: usize = 1024;
/// The library's usual name, for messages; the wrapper has it too but keeps it for itself.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// A driver without a GPU, and what helps.
pub(super) const NO_GPU: (&str, &str) =
    ("the NVIDIA driver finds no GPU", "none needed without a GPU (`--skip gpu` leaves this line out)");

/// How to sample.
#[derive(Clone, Debug)]
pub struct Config {
    /// Between two looks.
    pub interval: Duration,
    /// The driver's library; none for the usual one.
    pub library: Option<PathBuf>,
}

/// The running sampler.
#[derive(Debug)]
pub struct Sampler {
    events: Receiver<Gpu>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a sampler leaves.
#[derive(Debug)]
pub struct Ended {
    /// What it could not see; each cause once.
    pub blind_spots: Vec<BlindSpot>,
    /// CPU time of its thread; none where it never looked at a GPU.
    pub cpu_ns: Option<u64>,
}

impl Sampler {
    /// Starts it. Whether there is a GPU at all is found out on its own thread: a driver may take seconds to wake up.
    pub fn start(config: Config) -> Self {
        let (sender, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let spawned =
            thread::Builder::new().name("gpu".to_owned()).spawn(move || watch(&config, &theirs, sender));
        if let Err(error) = &spawned {
            shared
                .gaps(|gaps| gaps.nothing(format!("no thread for it: {error}"), "raise the limit of tasks"));
        }
        Self { events, shared, thread: spawned.ok() }
    }

    /// Takes what has come since the last call.
    pub fn drain(&self, events: &mut Vec<Event>) {
        events.extend(self.events.try_iter().map(Event::Gpu));
    }

    /// Asks for a last look and takes it, unless it takes too long.
    pub fn end(self, events: &mut Vec<Event>) -> Ended {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        let deadline = Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        // Until the thread has ended, or the time is over.
        while let Ok(event) = self.events.recv_timeout(left()) {
            events.push(Event::Gpu(event));
        }
        let notes = self.shared.notes();
        let mut blind_spots = notes.gaps.blind_spots();
        if self.thread.is_some() && !notes.is_over {
            blind_spots.push(stuck(notes.call));
        }
        Ended { blind_spots, cpu_ns: notes.cpu_ns }
    }
}

/// The thread had not come to its end in time.
fn stuck(call: Option<(&'static str, u64)>) -> BlindSpot {
    let (what, why) = match call {
        Some((call, since_ns)) => {
            let stuck_s = Now::read().monotonic_ns.saturating_sub(since_ns) as f64 / 1e9;
            (
                format!("the GPU in the last {stuck_s:.1} s"),
                format!("its driver has not returned from {call} since"),
            )
        }
        None => {
            ("the end of what the GPU did".to_owned(), "its thread had no time for a last look".to_owned())
        }
    };
    BlindSpot { what, why, remedy: "look at `nvidia-smi` and the kernel's log (`Xid`)".to_owned() }
}

/// Between the thread and its handle.
#[derive(Debug, Default)]
pub(super) struct Shared {
    stop: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    gaps: Gaps,
    /// The call in which the thread is now, and since when.
    call: Option<(&'static str, u64)>,
    cpu_ns: Option<u64>,
    /// The thread has said all that it has to say.
    is_over: bool,
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while it holds the lock, and what it guards is whole at any moment.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn blind_spots(&self) -> Vec<BlindSpot> {
        self.notes().gaps.blind_spots()
    }

    pub(super) fn gaps(&self, note: impl FnOnce(&mut Gaps)) {
        note(&mut self.notes().gaps);
    }

    /// Makes a call of the driver known while it lasts.
    pub(super) fn during<T>(&self, call: &'static str, run: impl FnOnce() -> T) -> T {
        self.notes().call = Some((call, Now::read().monotonic_ns));
        let result = run();
        self.notes().call = None;
        result
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The thread.
fn watch(config: &Config, shared: &Arc<Shared>, events: SyncSender<Gpu>) {
    let driver = shared.during("nvmlInit_v2", || open(config.library.as_deref()));
    match &driver {
        Ok(nvml) => watch_gpus(nvml, config, shared, &events),
        Err(error) => {
            let (why, remedy) = absence(error);
            shared.gaps(|gaps| gaps.nothing(why, remedy));
        }
    }
    // The run waits for this, and not for the driver to close down.
    shared.notes().is_over = true;
    drop(events);
}

pub(super) fn open(library: Option<&std::path::Path>) -> Result<Nvml, NvmlError> {
    let mut builder = Nvml::builder();
    if let Some(library) = library {
        builder.lib_path(library.as_os_str());
    }
    builder.init()
}

/// Why there is no driver to ask, and what helps.
pub(super) fn absence(error: &NvmlError) -> (String, &'static str) {
    const NONE_NEEDED: &str =
        "none needed without an NVIDIA GPU (`--skip gpu` leaves this line out); else install its driver";
    match error {
        NvmlError::LibloadingError(error) => {
            let text = error.to_string();
            if text.contains("No such file") {
                (format!("there is no NVIDIA driver here ({LIBRARY} is not installed)"), NONE_NEEDED)
            } else {
                (format!("the library of the NVIDIA driver cannot be loaded: {text}"), NONE_NEEDED)
            }
        }
        NvmlError::DriverNotLoaded => ("the NVIDIA driver is not loaded".to_owned(), NONE_NEEDED),
        other => (format!("the NVIDIA driver says: {}", words(other)), super::fault::remedy(other)),
    }
}

fn watch_gpus(nvml: &Nvml, config: &Config, shared: &Arc<Shared>, events: &SyncSender<Gpu>) {
    let mut gpus = match find_gpus(nvml, shared) {
        Ok(gpus) => gpus,
        Err(error) => return shared.gaps(|gaps| gaps.driver(&error)),
    };
    let driver = shared.during("nvmlSystemGetDriverVersion", || nvml.sys_driver_version()).ok();
    let send = |event| events.send(event).is_ok();
    for gpu in &mut gpus {
        let device = gpu.describe(driver.clone());
        if gpu.lost().is_none() {
            send(Gpu::Device(device));
        }
    }
    let mut next = Schedule::now(config.interval);
    while !gpus.is_empty() {
        // Asked first, so that the look after it is the last one.
        let is_last = shared.is_stopped();
        let (is_slow, is_counters) = if is_last { (true, true) } else { next.due() };
        for gpu in &mut gpus {
            let began = Instant::now();
            let mut look = gpu.look();
            if is_slow {
                let slow = gpu.slow(is_last);
                send(Gpu::Slow(slow));
            }
            if is_counters {
                let counters = gpu.counters();
                send(Gpu::Counters(counters));
            }
            look.took_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            send(Gpu::Look(look));
        }
        for gpu in &gpus {
            if let Some(error) = gpu.lost() {
                let why = words(error);
                send(Gpu::Lost(GpuLost { ts_ns: Now::read().monotonic_ns, gpu: gpu.gpu(), why }));
            }
        }
        gpus.retain(|gpu| gpu.lost().is_none());
        shared.notes().cpu_ns = Some(Now::own_cpu_ns());
        if is_last {
            break;
        }
        next.wait(shared);
    }
}

fn find_gpus<'n>(nvml: &'n Nvml, shared: &Arc<Shared>) -> Result<Vec<Watched<'n>>, NvmlError> {
    let count = shared.during("nvmlDeviceGetCount_v2", || nvml.device_count())?;
    if count == 0 {
        let (why, remedy) = NO_GPU;
        shared.gaps(|gaps| gaps.nothing(why.to_owned(), remedy));
    }
    let mut gpus = Vec::new();
    for gpu in 0..count {
        match shared.during("nvmlDeviceGetHandleByIndex_v2", || nvml.device_by_index(gpu)) {
            Ok(device) => gpus.push(Watched::new(gpu, device, Arc::clone(shared))),
            Err(error) if fault(&error) == Fault::Driver => return Err(error),
            Err(error) => shared.gaps(|gaps| gaps.refused(gpu, &error)),
        }
    }
    Ok(gpus)
}

/// When what is due.
struct Schedule {
    interval: Duration,
    look: Instant,
    slow: Instant,
    counters: Instant,
}

impl Schedule {
    fn now(interval: Duration) -> Self {
        let now = Instant::now();
        Self { interval, look: now, slow: now, counters: now }
    }

    /// Whether slow figures and counters are due with this look.
    fn due(&mut self) -> (bool, bool) {
        let now = Instant::now();
        let (is_slow, is_counters) = (now >= self.slow, now >= self.counters);
        if is_slow {
            self.slow = now + SLOW_EVERY.max(self.interval);
        }
        if is_counters {
            self.counters = now + COUNTERS_EVERY.max(self.interval);
        }
        (is_slow, is_counters)
    }

    /// Until the next look, or until the end of the run. A look that took longer than the interval is followed by the
    /// next one in its place of the sequence, never by two at once.
    fn wait(&mut self, shared: &Shared) {
        let now = Instant::now();
        while self.look <= now {
            self.look += self.interval;
        }
        loop {
            let left = self.look.saturating_duration_since(Instant::now());
            if left.is_zero() || shared.is_stopped() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}
