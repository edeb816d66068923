//! Fuzzes the reading of other leaves in map paths, and the paths themselves.

#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each program fuzzes one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::map_path(bytes);
});
