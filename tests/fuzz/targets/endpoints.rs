//! Any paths: endpoints stay bounded, printable and without queries, and every request is counted once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::{
    aggregate::Aggregate,
    correlate::{Exchange, Finding, Timing},
    event::Ending,
    profile::Profile,
};

const PROFILE: &str = "name = 'fuzz'\nroutes = ['GET /items/{id}', '/files/{rest}', 'POST /a/{b}/c']\n[endpoints]\nmax = 8\n";

fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::parse("fuzz", PROFILE) else { panic!("the profile is wrong") };
    let mut aggregate = Aggregate::new(&profile);
    let mut n_requests = 0;
    for line in text.lines().take(64) {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        n_requests += 1;
        aggregate.add(&Finding::Exchange(Exchange {
            outgoing: None,
            method: method.to_owned(),
            path: path.to_owned(),
            pid: 1,
            status: 200,
            ending: Ending::Complete,
            end_ns: 1,
            timing: Some(Timing::default()),
            bytes_in: 1,
            bytes_out: 1,
        }));
    }
    let endpoints = aggregate.endpoints();
    // The routes, the bound, and `other`.
    assert!(endpoints.len() <= 3 * 10 + 8 + 1, "{} endpoints", endpoints.len());
    assert_eq!(endpoints.iter().map(|(_, stats)| stats.requests).sum::<u64>(), n_requests);
});
