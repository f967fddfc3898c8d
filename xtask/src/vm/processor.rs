//! The processors that can be emulated, and what differs between them: Debian's name, QEMU's program and machine.

/// A processor and the machine around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    Amd64,
    Arm64,
}

impl Processor {
    /// This machine's, whose programs a guest can run.
    pub(crate) const OWN: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// In Debian's words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    pub(super) const fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The package that QEMU comes in.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86",
            Self::Arm64 => "qemu-system-arm",
        }
    }

    /// Options of QEMU for the board and the processor's model.
    pub(super) const fn machine(self) -> [&'static str; 4] {
        match self {
            Self::Amd64 => ["-M", "q35", "-cpu", "max"],
            // A model that is on servers: the emulation's greatest one signs pointers, which takes most of its time.
            Self::Arm64 => ["-M", "virt", "-cpu", "cortex-a76"],
        }
    }

    /// Options of the kernel for its console and its clock.
    pub(super) const fn boot(self) -> &'static str {
        match self {
            // The timer's rate is known, that of the processor's own clock would be measured, and on a busy host was
            // seen five times too fast.
            Self::Amd64 => "console=ttyS0 tsc=unstable clocksource=hpet",
            Self::Arm64 => "console=ttyAMA0",
        }
    }
}
