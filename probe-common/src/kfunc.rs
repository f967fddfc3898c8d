//! The call of a function of the kernel's own (kfunc) in the object. Which number it bears is known of the running kernel
//! alone, so the object holds a word in place of each call, and user space puts an instruction there before it loads the
//! object.

/// Makes an address readable by plain instructions, which give 0 where there is nothing to read (6.2; of no type, which is
/// what the programs ask for, 6.17).
pub const READABLE: &str = "bpf_rdonly_cast";

/// What stands in the object: an instruction of eight bytes, read as one number.
pub const WORD: u64 = call(0x6b66_0001);

/// What to put there where the function is not to be called, `r0 = r1`: what was given is returned.
pub const GIVE_BACK: u64 = 0x10bf;

/// The instruction that calls the function of this number: `BPF_JMP | BPF_CALL` with `BPF_PSEUDO_KFUNC_CALL`
/// (include/uapi/linux/bpf.h), the number in the upper half.
#[must_use]
pub const fn call(number: u32) -> u64 {
    0x2085 | (number as u64) << 32
}
