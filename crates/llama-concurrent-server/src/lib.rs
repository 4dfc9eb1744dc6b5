//! An HTTP server over the engine: the routes of OpenAI, Anthropic, llama-server and Ollama, WebSocket, metrics and a page.
//!
//! It uses only the public functions of [`llama_concurrent::Engine`]. A request is cancelled when its handle is dropped,
//! which is what happens when its connection closes.
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

mod active_generation;
mod answer;
mod anthropic;
mod app;
mod body;
mod chat;
mod clients;
mod config;
mod connection_state;
mod connections;
mod constraint;
mod error;
mod fields;
mod guard;
mod hosts;
mod in_flight;
mod infill;
mod logprobs;
mod metrics;
mod native;
mod ollama;
mod openai;
mod page;
mod params;
mod progress;
mod prompt;
mod rerank;
mod responses;
mod routes;
mod scrape;
mod signals;
mod sse;
mod start;
mod unsupported_fields;
mod work;
mod ws;

pub use config::{Limits, ServerConfig};
#[doc(hidden)]
pub use connections::routes;
pub use connections::{THREAD_NAME, run, serve};
pub use signals::stop_signal;
