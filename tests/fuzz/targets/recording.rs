//! Any bytes in place of a recording: it becomes a report, or an error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use probe::{analysis::Analysis, engine::record, profile::Profile, report::Report};

fuzz_target!(|bytes: &[u8]| {
    let Ok(profile) = Profile::builtin() else { panic!("the profile is wrong") };
    let mut analysis = Analysis::new(Arc::new(profile));
    let Ok(summary) = record::read_from(bytes, |event| analysis.event(&event)) else { return };
    let _report: Report = analysis.finish(&summary);
});
