//! A `libnvidia-ml.so` without a GPU, for tests: see `script.rs` for what it plays.
//!
//! Only the functions that probe calls are there; those whose names a test overwrites in a copy of the library are
//! not, as in the library of an older driver. Types come from the bindings to NVIDIA's own header.
#![expect(non_snake_case, reason = "NVML's names")]
#![expect(clippy::missing_safety_doc, reason = "called as nvml.h says, or not at all")]

mod script;

use std::ffi::{c_char, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlMemory_v2_t, nvmlProcessInfo_t, nvmlProcessUtilizationSample_t, nvmlReturn_t,
    nvmlSample_t, nvmlUtilization_t, nvmlValue_t, nvmlValueType_t,
};
use script::{NOT_FOUND, NOT_SUPPORTED, now_us, script};

const SUCCESS: nvmlReturn_t = 0;
const INSUFFICIENT_SIZE: nvmlReturn_t = 7;
/// Handles of instances are those of their GPUs plus so many for each.
const INSTANCE: usize = 1000;

/// A handle is the index plus 1.
fn gpu_of(device: nvmlDevice_t) -> usize {
    (device.addr() - 1) % INSTANCE
}

fn instance_of(device: nvmlDevice_t) -> Option<usize> {
    ((device.addr() - 1) / INSTANCE).checked_sub(1)
}

/// Writes an answer where the caller wants it.
///
/// # Safety
/// `to` is valid for writes.
unsafe fn give<T: TryFrom<u64>>(to: *mut T, answer: Result<u64, u32>) -> nvmlReturn_t {
    match answer.map(T::try_from) {
        Ok(Ok(value)) => {
            // SAFETY: as this function's.
            unsafe { to.write(value) };
            SUCCESS
        }
        Ok(Err(_)) => NOT_SUPPORTED,
        Err(code) => code,
    }
}

/// # Safety
/// `to` is valid for `length` bytes.
unsafe fn give_text(to: *mut c_char, length: c_uint, text: Option<&str>) -> nvmlReturn_t {
    let Some(text) = text.filter(|text| text.len() < length as usize) else { return NOT_SUPPORTED };
    // SAFETY: the text and its NUL fit, as was just looked at.
    unsafe {
        to.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        to.add(text.len()).write(0);
    }
    SUCCESS
}

/// Functions that give one number, by an argument where there is one.
macro_rules! numbers {
    ($($name:ident($($argument:ident)?) -> $type:ty;)+) => {$(
        /// See nvml.h.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t $(, $argument: c_uint)?, to: *mut $type) -> nvmlReturn_t {
            let name = [stringify!($name).to_owned(), $(format!(".{}", $argument))?].concat();
            // SAFETY: the caller's promise, see nvml.h.
            unsafe { give(to, script().answer(Some(gpu_of(device)), &name)) }
        }
    )+};
}

numbers! {
    nvmlDeviceGetPowerUsage() -> c_uint;
    nvmlDeviceGetTotalEnergyConsumption() -> c_ulonglong;
    nvmlDeviceGetCurrentClocksThrottleReasons() -> c_ulonglong;
    nvmlDeviceGetEnforcedPowerLimit() -> c_uint;
    nvmlDeviceGetTemperature(sensor) -> c_uint;
    nvmlDeviceGetTemperatureThreshold(which) -> c_uint;
    nvmlDeviceGetClockInfo(clock) -> c_uint;
    nvmlDeviceGetPcieThroughput(direction) -> c_uint;
    nvmlDeviceGetPcieReplayCounter() -> c_uint;
    nvmlDeviceGetMaxMigDeviceCount() -> c_uint;
    nvmlDeviceGetNvLinkState(link) -> c_uint;
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    script().answer(None, "nvmlInit_v2").err().unwrap_or(SUCCESS)
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    script().log("- nvmlShutdown");
    SUCCESS
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give_text(to, length, script().value["driver"].as_str()) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> nvmlReturn_t {
    let count = script().value["gpus"].as_array().map_or(0, Vec::len) as u64;
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(to, Ok(count)) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut nvmlDevice_t) -> nvmlReturn_t {
    let gpu = index as usize;
    if let Some(code) = script().value["gpus"][gpu]["handle_error"].as_u64() {
        return nvmlReturn_t::try_from(code).unwrap_or(NOT_FOUND);
    }
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { to.write(std::ptr::without_provenance_mut(gpu + 1)) };
    SUCCESS
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(
    device: nvmlDevice_t,
    to: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    let gpu = &script().value["gpus"][gpu_of(device)];
    let place = instance_of(device).map_or(gpu, |instance| &gpu["instances"][instance]);
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give_text(to, length, place["uuid"].as_str()) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    device: nvmlDevice_t,
    to: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give_text(to, length, script().value["gpus"][gpu_of(device)]["name"].as_str()) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    to: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    let gpu = &script().value["gpus"][gpu_of(device)];
    let (used, total) = match instance_of(device) {
        Some(instance) => {
            let instance = &gpu["instances"][instance];
            (instance["used"].as_u64().ok_or(NOT_FOUND), instance["total"].as_u64())
        }
        None => (
            script().answer(Some(gpu_of(device)), "nvmlDeviceGetMemoryInfo_v2"),
            gpu["memory_total"].as_u64(),
        ),
    };
    match (used, total) {
        (Ok(used), Some(total)) => {
            let version = 0;
            let memory = nvmlMemory_v2_t { version, total, reserved: 0, free: total - used, used };
            // SAFETY: the caller's promise, see nvml.h.
            unsafe { to.write(memory) };
            SUCCESS
        }
        (Err(code), _) => code,
        (_, None) => NOT_SUPPORTED,
    }
}

/// See nvml.h; the script's number is the GPU's percentage, the memory's is half of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    device: nvmlDevice_t,
    to: *mut nvmlUtilization_t,
) -> nvmlReturn_t {
    match script().answer(Some(gpu_of(device)), "nvmlDeviceGetUtilizationRates") {
        Ok(percent) => {
            let gpu = c_uint::try_from(percent).unwrap_or(0);
            // SAFETY: the caller's promise, see nvml.h.
            unsafe { to.write(nvmlUtilization_t { gpu, memory: gpu / 2 }) };
            SUCCESS
        }
        Err(code) => code,
    }
}

/// See nvml.h; of utilisation only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSamples(
    device: nvmlDevice_t,
    _type: c_uint,
    last_us: c_ulonglong,
    value_type: *mut nvmlValueType_t,
    count: *mut c_uint,
    to: *mut nvmlSample_t,
) -> nvmlReturn_t {
    let gpu = gpu_of(device);
    if let Err(code) = script().answer(Some(gpu), "nvmlDeviceGetSamples")
        && code != NOT_SUPPORTED
    {
        return code;
    }
    let samples = match script().samples(gpu, last_us) {
        Ok(samples) => samples,
        Err(code) => return code,
    };
    // SAFETY: the caller's promise, see nvml.h: `count` entries at `to`, or none where `to` is null.
    unsafe {
        value_type.write(1);
        let room = if to.is_null() { 0 } else { count.read() as usize };
        count.write(
            c_uint::try_from(if to.is_null() { samples.len() } else { samples.len().min(room) }).unwrap_or(0),
        );
        for (index, &(timeStamp, percent)) in samples.iter().take(room).enumerate() {
            to.add(index).write(nvmlSample_t { timeStamp, sampleValue: nvmlValue_t { uiVal: percent } });
            script().log(&format!("{gpu} sample {percent} at {timeStamp}"));
        }
    }
    SUCCESS
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEncoderUtilization(
    device: nvmlDevice_t,
    to: *mut c_uint,
    _period_us: *mut c_uint,
) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(to, script().answer(Some(gpu_of(device)), "nvmlDeviceGetEncoderUtilization")) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetDecoderUtilization(
    device: nvmlDevice_t,
    to: *mut c_uint,
    _period_us: *mut c_uint,
) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(to, script().answer(Some(gpu_of(device)), "nvmlDeviceGetDecoderUtilization")) }
}

/// See nvml.h; the mode to come is the present one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    _pending: *mut c_uint,
) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(current, script().answer(Some(gpu_of(device)), "nvmlDeviceGetMigMode")) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nvmlDevice_t,
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    let index = index as usize;
    if script().value["gpus"][gpu_of(device)]["instances"][index].is_null() {
        return NOT_FOUND;
    }
    let handle = device.addr() + INSTANCE * (index + 1);
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { to.write(std::ptr::without_provenance_mut(handle)) };
    SUCCESS
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nvmlDevice_t,
    kind: c_uint,
    _counter: c_uint,
    to: *mut c_ulonglong,
) -> nvmlReturn_t {
    let name = format!("nvmlDeviceGetTotalEccErrors.{kind}");
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(to, script().answer(Some(gpu_of(device)), &name)) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetNvLinkErrorCounter(
    device: nvmlDevice_t,
    link: c_uint,
    counter: c_uint,
    to: *mut c_ulonglong,
) -> nvmlReturn_t {
    let name = format!("nvmlDeviceGetNvLinkErrorCounter.{link}.{counter}");
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { give(to, script().answer(Some(gpu_of(device)), &name)) }
}

/// See nvml.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    to: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let gpu = &script().value["gpus"][gpu_of(device)];
    let Some(processes) = gpu["processes"].as_array() else { return NOT_SUPPORTED };
    // SAFETY: the caller's promise, see nvml.h: `count` entries at `to`.
    unsafe {
        let room = count.read() as usize;
        count.write(c_uint::try_from(processes.len()).unwrap_or(0));
        if room < processes.len() {
            return INSUFFICIENT_SIZE;
        }
        for (index, process) in processes.iter().enumerate() {
            let id = |name: &str| process[name].as_u64().and_then(|id| c_uint::try_from(id).ok());
            to.add(index).write(nvmlProcessInfo_t {
                pid: id("pid").unwrap_or(0),
                usedGpuMemory: process["memory"].as_u64().unwrap_or(0),
                gpuInstanceId: id("instance").unwrap_or(c_uint::MAX),
                computeInstanceId: c_uint::MAX,
            });
        }
    }
    SUCCESS
}

/// See nvml.h; nothing draws on this GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    _device: nvmlDevice_t,
    count: *mut c_uint,
    _to: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    // SAFETY: the caller's promise, see nvml.h.
    unsafe { count.write(0) };
    SUCCESS
}

/// See nvml.h; each process that has an `sm` in the script had it all the time, and where none has nothing ran.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nvmlDevice_t,
    to: *mut nvmlProcessUtilizationSample_t,
    count: *mut c_uint,
    _last_us: c_ulonglong,
) -> nvmlReturn_t {
    let gpu = &script().value["gpus"][gpu_of(device)];
    let processes = gpu["processes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let used = processes.iter().filter(|process| process["sm"].is_u64());
    let used: Vec<_> = used.collect();
    if used.is_empty() {
        return NOT_FOUND;
    }
    // SAFETY: the caller's promise, see nvml.h: `count` entries at `to`, or none where `to` is null.
    unsafe {
        let room = if to.is_null() { 0 } else { count.read() as usize };
        count.write(c_uint::try_from(used.len()).unwrap_or(0));
        if room < used.len() {
            return INSUFFICIENT_SIZE;
        }
        for (index, process) in used.into_iter().enumerate() {
            let number =
                |name: &str| process[name].as_u64().and_then(|n| c_uint::try_from(n).ok()).unwrap_or(0);
            to.add(index).write(nvmlProcessUtilizationSample_t {
                pid: number("pid"),
                timeStamp: now_us(),
                smUtil: number("sm"),
                memUtil: 0,
                encUtil: 0,
                decUtil: 0,
            });
        }
    }
    SUCCESS
}
