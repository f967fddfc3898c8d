//! Frames of one direction (RFC 6455, 5): walks headers and payloads over calls, also where payload was not captured.

/// Longest frame that is believed; a header that says more is a lie or no header.
const MAX_PAYLOAD: u64 = 1 << 40;
/// Longest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// Longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The first byte of a message.
    Began,
    /// The last byte of a message, whose frames carried so much payload.
    Message(u64),
    /// A control frame, with its payload where that was captured.
    Control(u8, Option<Vec<u8>>),
}

/// These are no frames, or it cannot be told any more where one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Where a direction stands.
#[derive(Debug)]
pub(super) struct Frames {
    /// What the peer of this direction must do.
    is_masked: bool,
    state: State,
    /// Payload so far of a message that goes on.
    message: Option<u64>,
}

#[derive(Debug)]
enum State {
    Header(Vec<u8>),
    Payload { left: u64, opcode: u8, is_final: bool, mask: [u8; 4], control: Option<Vec<u8>> },
}

impl Frames {
    /// Clients mask what they send, servers do not (RFC 6455, 5.1).
    pub(super) const fn new(is_masked: bool) -> Self {
        Self { is_masked, state: State::Header(Vec::new()), message: None }
    }

    /// Takes bytes that were captured. `found` gets what ends or begins in them, with how many of them lie behind it.
    pub(super) fn seen(
        &mut self,
        mut bytes: &[u8],
        found: &mut impl FnMut(Found, u64),
    ) -> Result<(), Broken> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Header(header) => {
                    header.push(first);
                    let is_first = header.len() == 1;
                    let whole = needed(header);
                    bytes = rest;
                    if is_first {
                        self.check(first)?;
                        if matches!(first & 0x0f, 1 | 2) {
                            found(Found::Began, rest.len() as u64);
                        }
                    }
                    if whole {
                        self.begin(rest.len() as u64, found)?;
                    }
                }
                State::Payload { left, control, .. } => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    if let Some(control) = control {
                        control.extend_from_slice(&bytes[..n]);
                    }
                    *left -= n as u64;
                    bytes = &bytes[n..];
                    self.end(bytes.len() as u64, found);
                }
            }
        }
        Ok(())
    }

    /// Takes bytes that were only counted.
    pub(super) fn gap(&mut self, mut n: u64, found: &mut impl FnMut(Found, u64)) -> Result<(), Broken> {
        while n > 0 {
            let State::Payload { left, control, .. } = &mut self.state else { return Err(Broken) };
            *control = None;
            let taken = n.min(*left);
            *left -= taken;
            n -= taken;
            self.end(n, found);
        }
        Ok(())
    }

    /// What the first byte of a header may say where the stream stands.
    fn check(&self, first: u8) -> Result<(), Broken> {
        let opcode = first & 0x0f;
        let is_control = opcode >= CLOSE;
        let is_final = first & 0x80 != 0;
        // The first reserved bit is compression's; no extension uses the others.
        let is_reserved = first & 0x30 != 0 || matches!(opcode, 3..=7 | 11..);
        let is_out_of_place = match opcode {
            0 => self.message.is_none(),
            1 | 2 => self.message.is_some(),
            _ => !is_final,
        };
        if is_reserved || is_out_of_place || is_control && first & 0x40 != 0 { Err(Broken) } else { Ok(()) }
    }

    /// A header is whole.
    fn begin(&mut self, behind: u64, found: &mut impl FnMut(Found, u64)) -> Result<(), Broken> {
        let State::Header(header) = &self.state else { return Ok(()) };
        let (first, second) = (header[0], header[1]);
        let opcode = first & 0x0f;
        let is_masked = second & 0x80 != 0;
        let length = second & 0x7f;
        let n_length = extended(length);
        let mut left = u64::from(length);
        if n_length > 0 {
            left = header[2..2 + n_length].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
        let mut mask = [0; 4];
        if is_masked {
            mask.copy_from_slice(&header[2 + n_length..]);
        }
        let is_control = opcode >= CLOSE;
        if is_masked != self.is_masked || left > MAX_PAYLOAD || is_control && left > MAX_CONTROL as u64 {
            return Err(Broken);
        }
        if !is_control {
            let message = self.message.get_or_insert(0);
            *message = message.saturating_add(left);
        }
        let control = is_control.then(Vec::new);
        self.state = State::Payload { left, opcode, is_final: first & 0x80 != 0, mask, control };
        self.end(behind, found);
        Ok(())
    }

    /// Ends the frame if its payload is over.
    fn end(&mut self, behind: u64, found: &mut impl FnMut(Found, u64)) {
        let State::Payload { left: 0, opcode, is_final, mask, control } = &mut self.state else { return };
        let (opcode, is_final, mask, control) = (*opcode, *is_final, *mask, control.take());
        self.state = State::Header(Vec::new());
        if opcode >= CLOSE {
            let payload = control
                .map(|bytes| bytes.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect());
            found(Found::Control(opcode, payload), behind);
        } else if is_final && let Some(bytes) = self.message.take() {
            found(Found::Message(bytes), behind);
        }
    }
}

/// Bytes of length behind the first two.
const fn extended(length: u8) -> usize {
    match length {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// A header is whole.
fn needed(header: &[u8]) -> bool {
    let Some(second) = header.get(1) else { return false };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    header.len() >= (2 + extended(second & 0x7f) + mask).min(MAX_HEADER)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
