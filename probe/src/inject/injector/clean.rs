//! What echoes meet beside all classes, before a condition and after it: the paired control of its proof.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::ping::{self, Series};
use super::super::plan::{Place, RATE_ECHO_PAYLOAD};

/// Echoes for the round trip.
const ECHOES: u16 = 21;
const PAYLOAD: usize = 24;
/// How long a link is filled.
const FILL: Duration = Duration::from_millis(250);
/// Echoes that fill it, at most.
const MAX_FILL: u32 = 3000;

/// What is measured beside all classes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clean {
    /// The lower tenth.
    pub(super) round_trip: Option<Duration>,
    /// Share of echoes.
    pub(super) lost: Option<f64>,
    /// Of echoes at twice the rate that is asked for: bytes per second.
    pub(super) rate: Option<f64>,
}

impl Clean {
    /// Measures with an identifier that no rule knows; `fastest` is the fastest rate that is asked for, where there is
    /// one that our echoes can fill.
    pub(super) fn measure(to: Option<IpAddr>, place: &Place, fastest: Option<u64>) -> Result<Self> {
        let Some(to) = to else { return Ok(Self::default()) };
        let small = Series {
            to,
            id: place.echo_id.wrapping_sub(1),
            count: ECHOES,
            every: Duration::from_millis(5),
            payload: PAYLOAD,
            patience: Duration::from_secs(1),
        };
        let outcome = ping::run(&small).context("failed to measure the clean round trip")?;
        let mut clean = Self {
            round_trip: outcome.undisturbed(),
            lost: (outcome.sent > 0).then(|| outcome.lost() as f64 / outcome.sent as f64),
            rate: None,
        };
        let (Some(fastest), Some(_)) = (fastest, clean.round_trip) else { return Ok(clean) };
        let overhead = if to.is_ipv6() { ping::OVERHEAD_V6 } else { ping::OVERHEAD_V4 };
        let frame = RATE_ECHO_PAYLOAD + overhead;
        let every = Duration::from_secs_f64(frame as f64 / (2.0 * fastest as f64));
        let wanted = u32::try_from(FILL.as_nanos() / every.as_nanos().max(1)).unwrap_or(MAX_FILL);
        let count = u16::try_from(wanted.clamp(u32::from(ECHOES), MAX_FILL)).unwrap_or(ECHOES);
        let large = Series { count, every, payload: RATE_ECHO_PAYLOAD, ..small };
        let outcome = ping::run(&large).context("failed to measure the clean rate")?;
        if let (Some(first), Some(last)) = (outcome.answers.first(), outcome.answers.last())
            && last.at > first.at
        {
            let passed = (outcome.answers.len() - 1) * frame;
            clean.rate = Some(passed as f64 / last.at.saturating_sub(first.at).as_secs_f64());
        }
        Ok(clean)
    }
}
