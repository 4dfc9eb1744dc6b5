//! Host names that requests may use, as a protection against DNS rebinding.
//!
//! If the name of an open page, `evil.example`, is changed to resolve to 127.0.0.1, the browser regards the server as the same
//! origin as the page: only the `Host` header shows the difference. Addresses cannot be rebound, nor can names that are not
//! in public DNS. If a key is required, such a page does not have it, and any name is allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, StatusCode, Uri, Version, header};

use crate::{
    config::ServerConfig,
    error::{ApiError, ApiResult},
};

pub(crate) struct Hosts {
    any: bool,
    /// In lower case.
    named: Vec<String>,
    /// The server listens on loopback only, so network names are not accepted.
    loopback: bool,
}

impl Hosts {
    pub(crate) fn new(config: &ServerConfig, bound: IpAddr) -> Self {
        let named: Vec<String> = config.allowed_hosts.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let any = !config.api_keys.is_empty() || named.iter().any(|name| name == "*");
        Self { any, named, loopback: bound.to_canonical().is_loopback() }
    }

    /// Checks the host name of a request.
    pub(crate) fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> ApiResult<()> {
        let mut given = headers.get_all(header::HOST).iter();
        let host = given.next();
        if given.next().is_some() {
            return Err(ApiError::bad_request("the request has several Host headers"));
        }
        if host.is_none() && version == Version::HTTP_11 {
            return Err(ApiError::bad_request("the request has no Host header"));
        }
        // In a request to a proxy, the address takes precedence.
        let names = [uri.authority().map(|authority| authority.as_str()), host.map(|host| host.to_str().unwrap_or(""))];
        for authority in names.into_iter().flatten() {
            if !self.any && !self.is_known(authority) {
                let message = format!(
                    "this server is not known as '{authority}'; call it by its address, or start it with \
                     --allowed-hosts {} (or with an API key)",
                    name(authority)
                );
                return Err(ApiError::new(StatusCode::FORBIDDEN, "permission_error", message));
            }
        }
        Ok(())
    }

    fn is_known(&self, authority: &str) -> bool {
        let name = name(authority).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_address = name.parse::<Ipv4Addr>().is_ok()
            || name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'))
                .is_some_and(|name| name.parse::<Ipv6Addr>().is_ok());
        let is_local = name == "localhost" || name.ends_with(".localhost");
        // Names of machines or containers, and suffixes that are not in public DNS.
        let is_private = !name.is_empty()
            && (!name.contains('.') || [".local", ".internal"].iter().any(|suffix| name.ends_with(suffix)));
        is_address || is_local || (!self.loopback && is_private) || self.named.iter().any(|known| known == name)
    }
}

/// A host without its port.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str, named: &[&str], keys: &[&str]) -> Hosts {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let config = ServerConfig { allowed_hosts: texts(named), api_keys: texts(keys), ..ServerConfig::default() };
        Hosts::new(&config, bound.parse().unwrap())
    }

    fn status(hosts: &Hosts, given: &[&str]) -> u16 {
        let headers = given.iter().map(|host| (header::HOST, host.parse().unwrap())).collect();
        let checked = hosts.check(Version::HTTP_11, &Uri::from_static("/props"), &headers);
        checked.map_or_else(|error| error.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_that_nobody_can_rebind_are_known() {
        let local = hosts("127.0.0.1", &["Chat.Example.org"], &[]);
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1",
            "127.9.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.168.1.5:80",
            "chat.example.org",
            "chat.example.org:443",
        ] {
            assert_eq!(status(&local, &[good]), 200, "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8080",
            "x",
            "box.local",
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "::1",
            "evil.example:8080@localhost",
            "localhost:80:80",
        ] {
            assert_eq!(status(&local, &[bad]), 403, "{bad}");
        }
        let wide = hosts("0.0.0.0", &[], &[]);
        for good in ["box", "llama:8080", "box.local", "llama.default.svc.cluster.local:80", "10.0.0.7", "localhost"] {
            assert_eq!(status(&wide, &[good]), 200, "{good}");
        }
        assert_eq!(status(&wide, &["evil.example"]), 403);
        assert_eq!(status(&hosts("::", &["*"], &[]), &["evil.example"]), 200);
        assert_eq!(status(&hosts("127.0.0.1", &[], &["key"]), &["chat.example"]), 200, "its page knows no key");
    }

    #[test]
    fn one_name_is_given_and_no_more() {
        let local = hosts("127.0.0.1", &[], &[]);
        assert_eq!(status(&local, &[]), 400);
        assert_eq!(status(&local, &["localhost", "localhost"]), 400);
        let none = HeaderMap::new();
        assert!(local.check(Version::HTTP_10, &Uri::from_static("/"), &none).is_ok());
        let elsewhere = Uri::from_static("http://evil.example/props");
        assert!(local.check(Version::HTTP_10, &elsewhere, &none).is_err());
    }
}
