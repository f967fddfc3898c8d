//! The half of a connection that leads back from the server: response heads and bodies, out of the server's writes or
//! the client's reads.

use super::{
    conn::{Conn, MAX_HEAD, Outbound, moved_ns, spans},
    decoder::Why,
    framing::{Body, Progress, Span},
    head::{self, Parsed},
};
use crate::{event::Event, probes::bytes::Bytes};

impl Conn {
    /// Bytes of responses were written by the server, or read by the client. True when the connection leaves HTTP with
    /// them (status 101, or a tunnel).
    pub(super) fn response_bytes(&mut self, write: &Bytes<'_>, out: &mut Vec<Event>) -> Result<bool, Why> {
        let (first_ns, sent_ns) = moved_ns(write);
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
                            Progress::Ended(taken) | Progress::Broken(taken) => taken,
                        };
                        if taken > 0 {
                            oldest.bytes_out += taken;
                            oldest.last_send_ns = sent_ns;
                        }
                        if let Progress::Broken(_) = progress {
                            return Err(Why::Garbled);
                        }
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
                                oldest.first_send_ns.get_or_insert(first_ns);
                                oldest.last_send_ns = sent_ns;
                                break;
                            }
                            Parsed::Head(head) => {
                                span = span.after((head.len - before.min(head.len)) as u64);
                                held.clear();
                                if head.status < 200 && head.status != 101 {
                                    // Interim (RFC 9110, 15.2): not the response, but bytes of it.
                                    oldest.first_send_ns = None;
                                    oldest.bytes_out += head.len as u64;
                                    continue;
                                }
                                oldest.first_send_ns.get_or_insert(first_ns);
                                oldest.last_send_ns = sent_ns;
                                oldest.status = head.status;
                                oldest.bytes_out += head.len as u64;
                                let body = Body::new(head.body);
                                // RFC 9110, 9.3.6: behind its head a tunnel begins.
                                let is_tunnel = oldest.request.method == "CONNECT" && head.status < 300;
                                if head.status == 101 || is_tunnel {
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
