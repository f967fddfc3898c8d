//! Questions about requests of block devices, in the kernel's own structs.

use super::read;

/// What a request says of itself.
pub(crate) struct Request {
    /// It was made, nanoseconds; 0 where the device keeps no statistics.
    pub(crate) start_ns: u64,
    /// What is to be done, and how.
    pub(crate) flags: u32,
    /// Bytes that are not done yet.
    pub(crate) left: u32,
    /// Its disk: major << 20 | minor.
    pub(crate) device: u32,
}

/// The request at this address.
#[inline(always)]
pub(crate) fn request(at: u64) -> Option<Request> {
    let disk: u64 = if offset!(queue_disk) == 0 {
        read(at + offset!(request_disk))?
    } else {
        let queue: u64 = read(at + offset!(request_queue))?;
        read(queue + offset!(queue_disk))?
    };
    let major: u32 = read(disk + offset!(disk_major))?;
    let minor: u32 = read(disk + offset!(disk_first_minor))?;
    Some(Request {
        start_ns: read(at + offset!(request_start))?,
        flags: read(at + offset!(request_flags))?,
        left: read(at + offset!(request_bytes))?,
        device: major << 20 | minor,
    })
}
