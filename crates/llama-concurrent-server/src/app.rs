//! What all requests share.

use std::{net::IpAddr, sync::Arc};

use llama_concurrent::{Engine, SlotStats};
use tokio::sync::{Semaphore, watch};

use crate::{
    answer,
    attendance::Idle,
    clients::Clients,
    config::ServerConfig,
    hosts::Hosts,
    live::{Live, Registry},
    metrics::Metrics,
    work::Lanes,
};

/// So many bodies of the largest size may be read at the same time, or more smaller ones.
pub(crate) const LARGE_BODIES: usize = 32;

pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) config: ServerConfig,
    pub(crate) live: Registry,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    /// KiB of bodies that may be read at the same time.
    pub(crate) body_room: Arc<Semaphore>,
    pub(crate) lanes: Lanes,
    pub(crate) hosts: Hosts,
    /// Connections that may be closed where there are too many.
    pub(crate) idle: Arc<Idle>,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// Whether the server is to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// `bound` is the address that the server listens on.
    pub(crate) fn new(engine: Engine, config: ServerConfig, bound: IpAddr) -> Arc<Self> {
        let clients = Clients::new(&config.limits);
        let kib = (config.limits.max_body_bytes >> 10).saturating_add(1).saturating_mul(LARGE_BODIES);
        let body_room = Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS)));
        let hosts = Hosts::new(&config, bound);
        let (live, metrics, stopping) = (Registry::default(), Metrics::new(), watch::Sender::new(false));
        Arc::new(Self {
            engine,
            config,
            live,
            clients,
            metrics,
            body_room,
            lanes: Lanes::new(),
            hosts,
            idle: Arc::default(),
            started: answer::now(),
            stopping,
        })
    }

    /// Waits until the server is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|&stopping| stopping).await;
    }

    /// The slots of this moment, and whose they are.
    pub(crate) fn slots(&self) -> (Vec<SlotStats>, Vec<Option<Arc<Live>>>) {
        let slots = self.engine.slots();
        let seated = self.live.seated(&slots);
        (slots, seated)
    }
}
