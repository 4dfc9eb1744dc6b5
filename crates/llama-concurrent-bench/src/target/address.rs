//! The address of a server.

use std::str::FromStr;

use ureq::http::Uri;

/// The address of a server: `http://host:port`, with the path of a route or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Without a slash at its end.
    url: String,
    has_path: bool,
}

impl FromStr for ServerAddress {
    type Err = String;

    /// Fails with a message that says what is wrong and what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write http://HOST:PORT, with the path of a route if it has one of its own";
        let url = match text.trim() {
            scheme if scheme.ends_with("://") => scheme,
            text => text.trim_end_matches('/'),
        };
        match url.split_once("://") {
            Some(("http", _)) => {}
            Some(("https", rest)) => {
                return Err(format!(
                    "https is not spoken here, and would be measured along with the server; give its http://{rest}"
                ));
            }
            Some((other, _)) => return Err(format!("{other}:// is not spoken here; {wanted}")),
            // A common mistake: http:// is missing.
            None if url.contains(':') && url.parse::<Uri>().is_ok() => {
                return Err(format!("it has no http:// in front; write http://{url}"));
            }
            None => return Err(format!("it is no address of a server; {wanted}")),
        }
        let uri: Uri = url.parse().map_err(|error| format!("it is no address of a server ({error}); {wanted}"))?;
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(format!("it names no host; {wanted}"));
        }
        let address = uri.port_u16().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        if uri.authority().is_none_or(|authority| authority.as_str() != address) {
            return Err(format!("its middle is no host with a port of 0 to 65535; {wanted}"));
        }
        Ok(Self { has_path: uri.path() != "/", url: url.to_owned() })
    }
}

impl ServerAddress {
    /// The routes to try, most likely first.
    pub(super) fn routes(&self) -> Vec<String> {
        match self.has_path {
            true => vec![self.url.clone()],
            false => ["/completion", "/v1/completions"].map(|path| format!("{}{path}", self.url)).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_those_that_were_given_or_the_usual_ones() {
        let routes = |text: &str| text.parse::<ServerAddress>().expect("an address").routes();
        assert_eq!(routes("http://a:1/"), ["http://a:1/completion", "http://a:1/v1/completions"]);
        assert_eq!(routes("http://[::1]:8080"), ["http://[::1]:8080/completion", "http://[::1]:8080/v1/completions"]);
        assert_eq!(routes("http://a/api/v1/completions"), ["http://a/api/v1/completions"]);
    }

    #[test]
    fn what_is_no_address_is_told_what_to_write() {
        for (text, expected) in [
            ("foo", "no address of a server; write http://HOST:PORT"),
            ("", "no address"),
            ("localhost:8080", "write http://localhost:8080"),
            ("127.0.0.1:8080", "write http://127.0.0.1:8080"),
            ("https://a:1/v1/completions", "give its http://a:1/v1/completions"),
            ("ftp://a", "ftp:// is not spoken"),
            ("http://", "no address"),
            ("http://:80", "no host"),
            ("http://a:", "no host with a port"),
            ("http://a:99999", "no host with a port of 0 to 65535"),
            ("http://a b", "no address"),
            ("http://me@a", "no host with a port"),
        ] {
            let error = text.parse::<ServerAddress>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
