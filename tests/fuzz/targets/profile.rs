//! Any text in place of a profile: it is read, or every mistake is told with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::profile::Profile;

fuzz_target!(|text: &str| {
    if let Err(errors) = Profile::parse("fuzz.toml", text) {
        assert!(errors.to_string().contains("fuzz.toml"), "{errors}");
    }
});
