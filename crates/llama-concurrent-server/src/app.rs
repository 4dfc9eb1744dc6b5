//! The state shared by all requests.

use std::{net::IpAddr, sync::Arc, time::Duration};

use llama_concurrent::{Engine, SlotStats};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    answer,
    clients::Clients,
    config::ServerConfig,
    connection_state::Idle,
    error::{ApiError, ApiResult},
    hosts::Hosts,
    in_flight::{InFlightRequest, InFlightRequests},
    metrics::Metrics,
    responses::Store,
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
    body_room: Arc<Semaphore>,
    pub(crate) lanes: Lanes,
    pub(crate) hosts: Hosts,
    /// Responses that later requests go on from.
    pub(crate) responses: Arc<Store>,
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
        let limits = &config.limits;
        let responses = Arc::new(Store::new(limits.max_stored_responses, limits.max_stored_bytes));
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
            responses,
            idle: Arc::default(),
            started: answer::now(),
            stopping,
        })
    }

    /// Room for so many bytes that a request keeps in memory; as for a body, at most for the largest.
    pub(crate) fn room(&self, bytes: usize) -> ApiResult<OwnedSemaphorePermit> {
        let kib = (bytes.min(self.config.limits.max_body_bytes) >> 10) as u32 + 1;
        self.body_room.clone().try_acquire_many_owned(kib).map_err(|_| {
            ApiError::unavailable("too many large requests are being read").with_retry(Duration::from_secs(1))
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
