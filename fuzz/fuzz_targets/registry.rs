//! Fuzzes the reading of registry records, and the registry that they build.

#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each program fuzzes one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::registry(bytes);
});
