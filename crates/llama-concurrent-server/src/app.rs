//! The state shared by all requests.

use std::{net::IpAddr, sync::Arc};

use llama_concurrent::{Engine, SlotStats};
use tokio::sync::{Semaphore, watch};

use crate::{
    answer,
    clients::Clients,
    config::ServerConfig,
    connection_state::Idle,
    hosts::Hosts,
    in_flight::{InFlightRequest, InFlightRequests},
    metrics::Metrics,
    work::Lanes,
};

/// So many bodies of the largest size may be read at the same time, or more smaller ones.
pub(crate) const LARGE_BODIES: usize = 32;

pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) config: ServerConfig,
    pub(crate) in_flight: InFlightRequests,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    /// KiB of bodies that may be in memory at the same time.
    pub(crate) body_room: Arc<Semaphore>,
    pub(crate) lanes: Lanes,
    pub(crate) hosts: Hosts,
    /// Idle connections, which may be closed if there are too many.
    pub(crate) idle: Arc<Idle>,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// Whether the server is stopping.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// `bound` is the address that the server listens on.
    pub(crate) fn new(engine: Engine, config: ServerConfig, bound: IpAddr) -> Arc<Self> {
        let clients = Clients::new(&config.limits);
        let kib = (config.limits.max_body_bytes >> 10).saturating_add(1).saturating_mul(LARGE_BODIES);
        let body_room = Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS)));
        let hosts = Hosts::new(&config, bound);
        let (in_flight, metrics, stopping) = (InFlightRequests::default(), Metrics::new(), watch::Sender::new(false));
        Arc::new(Self {
            engine,
            config,
            in_flight,
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

    /// Waits until the server stops.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|&stopping| stopping).await;
    }

    /// The current slots, and the request in each.
    pub(crate) fn slots(&self) -> (Vec<SlotStats>, Vec<Option<Arc<InFlightRequest>>>) {
        let slots = self.engine.slots();
        let assigned = self.in_flight.assigned(&slots);
        (slots, assigned)
    }
}
