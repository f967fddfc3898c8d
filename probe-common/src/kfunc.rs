//! Calls of the kernel's own functions (kfuncs) in the object. Which number such a function bears is known of the running
//! kernel alone, so the object holds these words in place of the calls, and user space puts an instruction there before it
//! loads the object.

/// A function that the programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kfunc {
    /// Its name in the kernel's types.
    pub name: &'static str,
    /// What stands in the object: an instruction of eight bytes, read as one number.
    pub word: u64,
    /// What to put there where the function is not to be called.
    pub without: u64,
}

/// `call` of a kernel function: `BPF_JMP | BPF_CALL` with `BPF_PSEUDO_KFUNC_CALL` (include/uapi/linux/bpf.h). The number is
/// in the upper half.
const CALL: u64 = 0x2085;
/// `r0 = r1`: what was given is returned.
const GIVE_BACK: u64 = 0x10bf;
/// A jump to the next instruction.
const GO_ON: u64 = 0x05;

/// Makes an address readable by plain instructions, which give 0 where there is nothing to read (6.2; of no type, which is
/// what the programs ask for, 6.17).
pub const READABLE: Kfunc = Kfunc { name: "bpf_rdonly_cast", word: call(0x6b66_0001), without: GIVE_BACK };
/// From here on nobody else gets this processor (6.10).
pub const PREEMPT_DISABLE: Kfunc =
    Kfunc { name: "bpf_preempt_disable", word: call(0x6b66_0002), without: GO_ON };
/// The end of that (6.10).
pub const PREEMPT_ENABLE: Kfunc =
    Kfunc { name: "bpf_preempt_enable", word: call(0x6b66_0003), without: GO_ON };

/// All of them.
pub const ALL: [Kfunc; 3] = [READABLE, PREEMPT_DISABLE, PREEMPT_ENABLE];

/// The instruction that calls the function of this number.
#[must_use]
pub const fn call(number: u32) -> u64 {
    CALL | (number as u64) << 32
}
