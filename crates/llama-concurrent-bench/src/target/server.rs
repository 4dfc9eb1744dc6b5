//! A server that speaks llama-server's `/completion` or OpenAI's `/v1/completions`.

use std::{
    io::{self, BufRead, BufReader},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use ureq::{Agent, http::StatusCode};

use super::{Observer, ServerAddress, Target};
use crate::{record::Outcome, script::RequestSpec, usage::thread_time};

/// A long prompt on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A host that answers at all does so sooner.
const CONNECT: Duration = Duration::from_secs(10);

/// A server. Each request has a thread and a connection of its own.
pub struct ServerTarget {
    name: String,
    url: String,
    openai: bool,
    agent: Agent,
}

impl ServerTarget {
    /// Finds the route at an address: without a path, llama-server's and then OpenAI's.
    ///
    /// # Errors
    /// A message that says what was tried and what to do.
    pub fn open(name: impl Into<String>, address: &ServerAddress) -> Result<Self, String> {
        let name = name.into();
        let agent: Agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // A server may close an idle connection just when it is taken again.
            .max_idle_connections(0)
            .build()
            .into();
        let mut tried = Vec::new();
        for url in address.routes() {
            let target = Self { name: name.clone(), openai: url.contains("/v1/"), url, agent: agent.clone() };
            match target.ask_briefly() {
                Ok(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => {
                    tried.push(target.url)
                }
                // Other errors are reported by the first request of a run, with the server's message.
                Ok(_) => return Ok(target),
                Err(error) => return Err(format!("{}: {}", target.url, unreachable(&error))),
            }
        }
        Err(format!(
            "a server is there, but it has no route {}; give the address with the path of its route for completions, OpenAI's \
             or llama-server's",
            tried.join(" and no ")
        ))
    }

    /// Requests one token and ignores the response.
    fn ask_briefly(&self) -> Result<StatusCode, ureq::Error> {
        let request = RequestSpec { prompt: "A".into(), max_tokens: 1, batch: false };
        Ok(self.agent.post(&self.url).send_json(self.body(&request))?.status())
    }

    fn body(&self, request: &RequestSpec) -> Value {
        if self.openai {
            json!({
                "prompt": request.prompt, "max_tokens": request.max_tokens, "temperature": 0, "ignore_eos": true,
                "stream": true, "stream_options": {"include_usage": true},
            })
        } else {
            json!({
                "prompt": request.prompt, "n_predict": request.max_tokens, "temperature": 0, "ignore_eos": true,
                "cache_prompt": true, "stream": true,
            })
        }
    }
}

impl Target for ServerTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, request: &RequestSpec, mut observer: Observer) {
        let (agent, url, body) = (self.agent.clone(), self.url.clone(), self.body(request));
        let talk = move || {
            let outcome = run(&agent, &url, &body, &mut observer);
            observer.spent(thread_time().unwrap_or_default());
            observer.end(outcome);
        };
        // If the thread cannot be started, the observer is dropped, which records a failure.
        let _ = thread::Builder::new().name("bench-request".into()).spawn(talk);
    }
}

/// Why there was no response, and what to do.
fn unreachable(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "this host is not known; check its spelling".into(),
        ureq::Error::Timeout(_) => {
            format!("no answer ({error}); check host and port, and whether a firewall is between")
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "the connection was refused; start the server, or check host and port".into()
        }
        ureq::Error::Io(error) => format!("{error}; check host and port"),
        other => format!("what answers there is no HTTP server ({other}); check host and port"),
    }
}

fn run(agent: &Agent, url: &str, body: &Value, observer: &mut Observer) -> Outcome {
    let response = match agent.post(url).send_json(body) {
        Ok(response) => response,
        Err(error) => return Outcome::Failed(format!("{url}: {error}")),
    };
    match response.status() {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => return Outcome::Overloaded,
        status => {
            let text = response.into_body().read_to_string().unwrap_or_default();
            return Outcome::Failed(format!("{url}: {status}: {}", text.trim()));
        }
    }
    let mut failure = None;
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        match line {
            Ok(line) => {
                let Some(data) = line.strip_prefix("data:") else { continue };
                if let Some(Err(error)) = serde_json::from_str::<Value>(data).ok().map(|event| note(&event, observer)) {
                    failure = Some(error);
                }
            }
            Err(error) => failure = Some(error.to_string()),
        }
    }
    failure.map_or(Outcome::Done, Outcome::Failed)
}

/// Records one event of the stream. Returns an error that the server reports.
fn note(event: &Value, observer: &mut Observer) -> Result<(), String> {
    if let Some(error) = event.get("error") {
        return Err(error.to_string());
    }
    let text = event["content"].as_str().or_else(|| event["choices"][0]["text"].as_str());
    if text.is_some_and(|text| !text.is_empty()) {
        observer.piece();
    }
    let count = |value: &Value| value.as_u64().unwrap_or(0) as usize;
    if let Some(timings) = event.get("timings").filter(|_| event["stop"] == true) {
        let (computed, cached) = (count(&timings["prompt_n"]), count(&timings["cache_n"]));
        observer.tokens(computed + cached, cached, count(&timings["predicted_n"]));
        observer.drafts(count(&timings["draft_n"]), count(&timings["draft_n_accepted"]));
    } else if let Some(usage) = event.get("usage").filter(|usage| !usage.is_null()) {
        let cached = count(&usage["prompt_tokens_details"]["cached_tokens"]);
        observer.tokens(count(&usage["prompt_tokens"]), cached, count(&usage["completion_tokens"]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;
    use crate::{Script, Turn, play};

    /// Serves one connection after the other with a fixed answer.
    fn serve(answer: &'static str, connections: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for _ in 0..connections {
                let Ok((mut socket, _)) = listener.accept() else { return };
                let mut buffer = [0; 4096];
                let mut seen = Vec::new();
                while !String::from_utf8_lossy(&seen).contains("\"stream\"") {
                    let n = socket.read(&mut buffer).unwrap_or(0);
                    if n == 0 {
                        break;
                    }
                    seen.extend_from_slice(&buffer[..n]);
                }
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}")
    }

    /// Past the look for the route, to which the server gives its answer as well.
    fn open(url: &str) -> ServerTarget {
        ServerTarget::open("server", &url.parse().expect("an address")).expect("a route")
    }

    fn send(target: &ServerTarget) -> crate::Record {
        let request = RequestSpec { prompt: "A fox".into(), max_tokens: 2, batch: false };
        let turns = vec![Turn { think: Duration::ZERO, request }];
        let script = Script { kind: "user", arrival: Duration::ZERO, turns, background: false };
        play(&[script], target, |_| true).records.remove(0)
    }

    #[test]
    fn streams_of_llama_server_are_read() {
        let url = serve(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
             data: {\"content\":\" and\",\"stop\":false}\n\ndata: {\"content\":\" a\",\"stop\":false}\n\n\
             data: {\"content\":\"\",\"stop\":true,\"timings\":{\"prompt_n\":2,\"cache_n\":1,\"predicted_n\":2}}\n\n",
            2,
        );
        let record = send(&open(&url));
        assert_eq!((record.outcome, record.pieces.len()), (Outcome::Done, 2));
        assert_eq!((record.n_prompt_tokens, record.n_cached_tokens, record.n_output_tokens), (3, 1, 2));
    }

    #[test]
    fn streams_of_openai_are_read() {
        let url = serve(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
             data: {\"choices\":[{\"text\":\" and\"}]}\n\ndata: {\"choices\":[{\"text\":\" a\"}],\"usage\":null}\n\n\
             data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
            2,
        );
        let record = send(&open(&format!("{url}/v1/completions")));
        assert_eq!((record.outcome, record.pieces.len()), (Outcome::Done, 2));
        assert_eq!((record.n_prompt_tokens, record.n_output_tokens), (3, 2));
    }

    #[test]
    fn refusals_and_errors_are_recorded() {
        let answers = [
            ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "overloaded"),
            ("HTTP/1.1 400 Bad\r\nContent-Length: 7\r\nConnection: close\r\n\r\nno such", "no such"),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: {\"error\":{\"message\":\"lost\"}}\n\n", "lost"),
        ];
        for (answer, expected) in answers {
            let record = send(&open(&serve(answer, 2)));
            match record.outcome {
                Outcome::Overloaded => assert_eq!(expected, "overloaded"),
                Outcome::Failed(message) => assert!(message.contains(expected), "{message}"),
                Outcome::Done => panic!("{expected}"),
            }
        }
    }

    fn refusal(url: &str) -> String {
        ServerTarget::open("server", &url.parse().expect("an address")).err().expect("nothing to measure")
    }

    #[test]
    fn without_a_path_both_routes_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for status in ["404 Not Found", "200 OK", "501 Not That", "405 Not That", "404 Not Found"] {
                let Ok((mut socket, _)) = listener.accept() else { return };
                let _ = socket.read(&mut [0; 4096]);
                let _ = write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        assert!(open(&format!("http://{address}")).openai, "the second is there");
        let both = refusal(&format!("http://{address}/"));
        assert!(both.contains(&format!("no route http://{address}/completion and no http://{address}/v1/")), "{both}");
        let given = refusal(&format!("http://{address}/api/v1/completions"));
        assert!(given.contains("/api/v1/completions;") && given.contains("give the address with the path"), "{given}");
    }

    #[test]
    fn who_does_not_answer_is_told_with_what_to_do() {
        let closed = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let message = refusal(&format!("http://{closed}"));
        assert!(message.contains(&closed.to_string()) && message.contains("start the server"), "{message}");
        // No HTTP, and nothing at all.
        for answer in ["SSH-2.0-OpenSSH_9.2\r\n", ""] {
            let message = refusal(&serve(answer, 1));
            assert!(message.contains("check host and port"), "{message}");
        }
    }
}
