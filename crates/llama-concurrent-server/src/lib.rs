//! An HTTP server over the engine: the routes of OpenAI and of llama-server, WebSocket, metrics and a page.
//!
//! It is a caller like any other: everything here goes through the public functions of [`llama_concurrent::Engine`], and a
//! request ends when its handle is dropped, which is what a closed connection does.
//!
//! ```no_run
//! use llama_concurrent::{Engine, EngineConfig};
//! use llama_concurrent_server::{ServerConfig, serve};
//! use tokio::net::TcpListener;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::load("models/demo.gguf", EngineConfig::default())?;
//! let listener = TcpListener::bind(("127.0.0.1", 8080)).await?;
//! serve(listener, engine, ServerConfig::default(), async { let _ = tokio::signal::ctrl_c().await; }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! docs/server.md in the repository lists routes, limits and what differs from llama-server.

mod answer;
mod app;
mod attendance;
mod body;
mod clients;
mod config;
mod connections;
mod constraint;
mod error;
mod fields;
mod guard;
mod hosts;
mod known;
mod live;
mod logprobs;
mod metrics;
mod native;
mod openai;
mod page;
mod params;
mod prompt;
mod routes;
mod running;
mod scrape;
mod signals;
mod sse;
mod start;
mod work;
mod ws;

pub use config::{Limits, ServerConfig};
#[doc(hidden)]
pub use connections::routes;
pub use connections::{THREAD_NAME, run, serve};
pub use signals::stop_signal;
