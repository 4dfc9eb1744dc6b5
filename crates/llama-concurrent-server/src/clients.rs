//! Clients, and their limits on concurrent generations and requests per minute.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use subtle::ConstantTimeEq;

use crate::{
    config::Limits,
    error::{ApiError, ApiResult},
};

/// Number of tracked clients above which those without recent requests are dropped.
const TRACKED: usize = 1024;

/// A client: an API key or, without keys, an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Key(usize),
    Address(IpAddr),
}

/// The index of a key. All keys are compared in constant time.
pub(crate) fn key_index(keys: &[String], shown: &str) -> Option<usize> {
    let mut found = None;
    for (index, key) in keys.iter().enumerate() {
        // The length is not secret.
        if bool::from(key.as_bytes().ct_eq(shown.as_bytes())) {
            found = Some(index);
        }
    }
    found
}

/// The usage of each client.
pub(crate) struct Clients {
    rate: Option<RateLimiter<Client, DefaultKeyedStateStore<Client>, DefaultClock>>,
    most: Option<NonZeroUsize>,
    busy: Arc<Mutex<HashMap<Client, usize>>>,
}

impl Clients {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            rate: limits.requests_per_minute.map(|rate| RateLimiter::keyed(Quota::per_minute(rate))),
            most: limits.max_per_client.and_then(NonZeroUsize::new),
            busy: Arc::default(),
        }
    }

    /// Counts a request of a client against its rate.
    pub(crate) fn request(&self, client: Client) -> ApiResult<()> {
        let Some(rate) = &self.rate else { return Ok(()) };
        if rate.len() > TRACKED {
            rate.retain_recent();
        }
        rate.check_key(&client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now()).max(Duration::from_millis(1));
            ApiError::too_many("too many requests per minute; see Retry-After for when the next one is served", wait)
        })
    }

    /// Acquires permits for `n` generations of a client.
    pub(crate) fn permits(&self, client: Client, n: usize) -> ApiResult<Vec<Option<Permit>>> {
        let Some(most) = self.most else { return Ok((0..n).map(|_| None).collect()) };
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let used = busy.get(&client).copied().unwrap_or(0);
        if used + n > most.get() {
            let message = format!("{used} generations of this client are running and {n} more would exceed its {most}");
            return Err(ApiError::too_many(message, Duration::from_secs(1)));
        }
        busy.insert(client, used + n);
        Ok((0..n).map(|_| Some(Permit { client, busy: self.busy.clone() })).collect())
    }
}

/// A permit for one generation of a client, released when dropped.
pub(crate) struct Permit {
    client: Client,
    busy: Arc<Mutex<HashMap<Client, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match busy.get_mut(&self.client) {
            Some(used) if *used > 1 => *used -= 1,
            _ => drop(busy.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_open() {
        let keys = ["secret-1".to_owned(), "secret-2".to_owned()];
        assert_eq!(key_index(&keys, "secret-2"), Some(1));
        for wrong in ["", "secret", "secret-3", "secret-1 ", "SECRET-1"] {
            assert_eq!(key_index(&keys, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn places_come_back() {
        let clients = Clients::new(&Limits { max_per_client: Some(2), ..Limits::default() });
        let taken = clients.permits(Client::Key(0), 2).unwrap();
        assert!(clients.permits(Client::Key(0), 1).is_err());
        assert!(clients.permits(Client::Key(1), 1).is_ok(), "each client has its own");
        drop(taken);
        assert!(clients.permits(Client::Key(0), 2).is_ok());
        assert!(clients.busy.lock().unwrap().is_empty(), "no client is tracked");
    }

    #[test]
    fn a_rate_is_of_one_client() {
        let clients = Clients::new(&Limits { requests_per_minute: 2.try_into().ok(), ..Limits::default() });
        let address = |last| Client::Address([127, 0, 0, last].into());
        (0..2).for_each(|_| clients.request(address(1)).unwrap());
        assert_eq!(clients.request(address(1)).unwrap_err().status.as_u16(), 429);
        clients.request(address(2)).unwrap();
    }
}
