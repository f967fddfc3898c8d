//! Wire types between the kernel side and the user side: plain `repr(C)` data, no logic with state but for [`turns`].
//!
//! In reading order: [`header`] starts every ring record, [`process`], [`socket`], [`sqlite`], [`tls`] and [`file_io`] are the
//! rooms, [`hist`] is the bucket arithmetic of in-kernel histograms, [`loss`] names every way an event can be lost, [`turns`]
//! keeps two programs on one hook apart, [`file`] names files, [`rooms`] says which rooms are on, [`rungs`] what the kernel side
//! has to do without, [`kern`] carries the kernel's struct offsets down.
#![no_std]

pub mod block;
pub mod constants;
pub mod file;
pub mod file_io;
pub mod header;
pub mod hist;
pub mod inject;
pub mod kern;
pub mod kfunc;
pub mod loss;
pub mod process;
pub mod rooms;
pub mod rungs;
pub mod socket;
pub mod sqlite;
pub mod tls;
pub mod turns;
