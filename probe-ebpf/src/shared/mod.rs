//! What the rooms share: emitting with loss counting, kernel structs, system-call arguments.

pub(crate) mod bounds;
pub(crate) mod constants;
pub(crate) mod emit;
pub(crate) mod fdio;
pub(crate) mod kern;
pub(crate) mod kfunc;
pub(crate) mod log;
pub(crate) mod path;
pub(crate) mod regs;
pub(crate) mod rooms;
pub(crate) mod rungs;
pub(crate) mod tracepoint;
