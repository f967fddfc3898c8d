//! What an error of the driver means for what comes after it.

use nvml_wrapper::error::NvmlError;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is nothing to tell: no error at all.
    Nothing,
    /// This figure will never come from this GPU.
    Figure,
    /// This GPU will never answer again.
    Gpu,
    /// The driver will never answer again.
    Driver,
    /// It may work the next time.
    Passing,
}

pub(super) const fn fault(error: &NvmlError) -> Fault {
    use NvmlError as E;
    match error {
        E::NotFound => Fault::Nothing,
        E::NotSupported
        | E::NoPermission
        | E::FailedToLoadSymbol(_)
        | E::FunctionNotFound
        | E::OperatingSystem
        | E::InvalidArg
        | E::UnexpectedVariant(_)
        | E::Utf8Error(_) => Fault::Figure,
        E::GpuLost | E::ResetRequired => Fault::Gpu,
        E::Uninitialized | E::DriverNotLoaded | E::LibRmVersionMismatch => Fault::Driver,
        _ => Fault::Passing,
    }
}

/// The driver's words for an error, without the address of a symbol or the text of the dynamic linker.
pub(super) fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => {
            "this driver does not have the function".to_owned()
        }
        // Its own text has only "a libloading error occurred".
        NvmlError::LibloadingError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What helps.
pub(super) const fn remedy(error: &NvmlError) -> &'static str {
    use NvmlError as E;
    match error {
        E::NotSupported => "none: this GPU, or the way it is shared, does not offer it",
        E::NoPermission | E::OperatingSystem => {
            "run probe as root, outside of a container that hides the device"
        }
        E::FailedToLoadSymbol(_) | E::FunctionNotFound => "a newer driver",
        E::GpuLost | E::ResetRequired => "look for `Xid` in the kernel's log, and reset the GPU",
        E::DriverNotLoaded | E::LibRmVersionMismatch => {
            "load the driver that fits its library (reboot after an update)"
        }
        _ => "look at `nvidia-smi` and the kernel's log",
    }
}
