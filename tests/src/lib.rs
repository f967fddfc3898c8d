//! The harness of the black-box and kernel tests: real servers, real clients, and oracles that do not
//! share a line with probe.
//!
//! In reading order: [`server`], [`plain`] and [`client`] make traffic (with [`http`] to tell where a response ends,
//! and [`load`] for much of it; [`locks`] for databases), [`probe`] runs the program and reads its report (through [`report`]),
//! [`capture`] (with [`wire`]), [`strace`] and [`host`] say what really happened, [`stats`] compares, [`skip`] decides
//! which trials can run here, [`say`] shows figures.

pub mod capture;
pub mod client;
pub mod counts;
pub mod fake_gpu;
pub mod host;
pub mod http;
pub mod load;
pub mod locks;
pub mod plain;
pub mod probe;
pub mod report;
pub mod say;
pub mod server;
pub mod servers;
pub mod skip;
pub mod stats;
pub mod strace;
pub mod wait;
pub mod websocket;
pub mod wire;
