//! The outbound half of a connection: response heads and bodies out of writes.

use super::{
    conn::{Conn, MAX_HEAD, Outbound, spans},
    decoder::Why,
    framing::{Body, Progress, Span},
    head::{self, Parsed},
};
use crate::{event::Event, probes::bytes::Bytes};

/// A small write is copied to the kernel in microseconds, while its return can be delayed by whoever it
/// wakes (measured on loopback, where the receiver runs inside the call). So the entry of the call is the
/// better time of its last byte, up to this size (one segmentation-offload packet).
const SMALL_WRITE: u64 = 64 * 1024;

impl Conn {
    /// The application wrote bytes. True when the connection leaves HTTP with them (status 101).
    pub(super) fn write(&mut self, write: &Bytes<'_>, out: &mut Vec<Event>) -> Result<bool, Why> {
        let sent_ns = match write.enter_ns {
            Some(enter_ns) if write.nonblocking && write.bytes <= SMALL_WRITE => enter_ns,
            _ => write.exit_ns,
        };
        if let Some(unknown) = &mut self.unknown_bytes {
            *unknown += write.bytes;
        }
        for mut span in spans(write) {
            while span.len() > 0 {
                // An answer to a request from before the attach, or to none.
                let Some(oldest) = self.pending.front_mut() else { return Ok(false) };
                match &mut self.outbound {
                    Outbound::Body(body) => {
                        let progress = body.take(span);
                        let taken = match progress {
                            Progress::More => span.len(),
                            Progress::Ended(taken) => taken,
                            Progress::Broken => return Err(Why::Garbled),
                        };
                        oldest.bytes_out += taken;
                        oldest.last_send_ns = sent_ns;
                        if progress == Progress::More {
                            break;
                        }
                        self.response_sent(out);
                        span = span.after(taken);
                    }
                    Outbound::Head(held) => {
                        let Span::Seen(bytes) = span else { return Err(Why::Garbled) };
                        let before = held.len();
                        if before > 0 {
                            held.extend_from_slice(bytes);
                        }
                        // Nearly always the whole head lies in one write: parse it where it is.
                        let head_bytes = if before > 0 { &held[..] } else { bytes };
                        match head::response(head_bytes, oldest.request.method == "HEAD") {
                            Parsed::Invalid => return Err(Why::of(head_bytes)),
                            Parsed::Partial if head_bytes.len() > MAX_HEAD => return Err(Why::Garbled),
                            Parsed::Partial => {
                                if before == 0 {
                                    held.extend_from_slice(bytes);
                                }
                                oldest.first_send_ns.get_or_insert(write.enter_ns.unwrap_or(write.exit_ns));
                                oldest.last_send_ns = sent_ns;
                                break;
                            }
                            Parsed::Head(head) => {
                                span = span.after((head.len - before.min(head.len)) as u64);
                                held.clear();
                                if head.status < 200 && head.status != 101 {
                                    // Interim (RFC 9110, 15.2): not the response.
                                    oldest.first_send_ns = None;
                                    continue;
                                }
                                oldest.first_send_ns.get_or_insert(write.enter_ns.unwrap_or(write.exit_ns));
                                oldest.last_send_ns = sent_ns;
                                oldest.status = head.status;
                                oldest.bytes_out += head.len as u64;
                                let body = Body::new(head.body);
                                if head.status == 101 {
                                    self.response_sent(out);
                                    return Ok(true);
                                }
                                if body.is_empty() {
                                    self.response_sent(out);
                                } else {
                                    self.outbound = Outbound::Body(body);
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(false)
    }
}
