//! Plain server (being written).
fn main() {}
