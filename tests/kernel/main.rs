//! Kernel tests (being written).
fn main() {}
