//! Some thousand mutated requests; `cargo run --example hostile` sends millions.

#[path = "../../examples/hostile/mutate.rs"]
mod mutate;
#[path = "../../examples/hostile/storm.rs"]
mod storm;

use llama_concurrent_server::{Limits, ServerConfig};

use super::{engine_config, start_with};

#[test]
fn mutated_requests_are_answered_and_end_nothing() {
    let engine = engine_config(4).n_ctx(128);
    let defaults = ServerConfig::default().defaults.max_tokens(4);
    let limits = Limits { max_generations: 4, ..Limits::default() };
    let server = start_with(engine, ServerConfig { defaults, limits, ..ServerConfig::default() });
    let report = storm::storm(server.address, 4000, 1);
    assert!(report.hangs.is_empty() && report.unreachable == 0, "{report}");
    assert!(report.health > 0 && report.statuses.contains_key(&200) && report.statuses.contains_key(&400), "{report}");
    // Also those whose clients did not wait.
    server.until_idle();
    assert_eq!(server.get("/health").0, 200);
}
