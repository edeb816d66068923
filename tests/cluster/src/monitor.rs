//! Questions to a node's monitor.
//!
//! In scope: one HTTP request, its answer as JSON. Out of scope: what the answer means. Trust: the node is ours.

use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(2);

/// What the monitor at `base` answers to `path`; an error if it does not answer, or says that something is wrong.
pub(crate) fn get(base: &str, path: &str) -> Result<Value, ureq::Error> {
    // No proxy: the monitor is on the loopback interface whatever the environment says.
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    agent.get(format!("{base}{path}")).call()?.body_mut().read_json()
}
