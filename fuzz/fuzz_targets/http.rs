//! Any request to the server, without a socket, answered by the demo model. The first line of the input is method and path, the
//! rest is the body.

#![no_main]

use std::{panic, path::Path, sync::LazyLock, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use libfuzzer_sys::fuzz_target;
use llama_concurrent::{Engine, EngineConfig};
use llama_concurrent_server::{Limits, ServerConfig, routes};
use serde_json::Value;
use tokio::runtime::{self, Runtime};
use tower::ServiceExt;

static SERVER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo.gguf");
    let config = EngineConfig::default().slots(2).n_ctx(128).threads(1).pin(false);
    let engine = Engine::load(model, config).expect("the demo model loads");
    let limits = Limits { timeout: Some(Duration::from_secs(5)), max_generations: 8, ..Limits::default() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let routes = runtime.block_on(async { routes(engine, ServerConfig { limits, ..ServerConfig::default() }) });
    (runtime, routes)
});

fuzz_target!(
    // The fuzzer's hook ends the process at each panic, also at those of libraries, which become errors.
    init: panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |input: &[u8]| {
        let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
        let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
        let Ok(line) = str::from_utf8(line) else { return };
        let (method, path) = line.split_once(' ').unwrap_or(("POST", line));
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let (runtime, routes) = &*SERVER;
        runtime.block_on(async {
            let response = routes.clone().oneshot(request).await.expect("every request is answered");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("the answer has an end");
            assert_ne!(status, 500, "{}", String::from_utf8_lossy(&body));
            if status.as_u16() >= 400 && method != "HEAD" {
                let error: Value = serde_json::from_slice(&body).expect("an error is JSON");
                assert!(error["error"]["message"].is_string(), "{error}");
            }
        });
    }
);
