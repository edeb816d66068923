//! The clock of this machine.
//!
//! In scope: Unix seconds. Out of scope: any order; no order comes from a clock. Trust: what it says is informative, or its
//! users say by how much it may be wrong.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds; 0 where the clock stands before 1970.
pub(crate) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
