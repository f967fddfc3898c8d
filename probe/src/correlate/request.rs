//! Pairs requests with responses (to be written).
/// Stateful correlation.
#[derive(Debug, Default)]
pub struct Correlator;
