//! `bench`: every workload runs, the same load for all, and what fails is told.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use crate::{Done, Files, call};

/// Small: one run, one thread, short texts.
fn bench(args: &[&str]) -> Done {
    let small = ["--threads", "1", "--repeats", "1", "--requests", "2", "--users", "3", "--scale", "0.1"];
    call(&[&["bench"], args, &small].concat())
}

#[test]
fn every_workload_is_answered() {
    for workload in ["chat", "rag", "mixed-stall", "shared-prefix", "offline", "agents"] {
        let done = bench(&[workload]).well();
        assert!(done.out.starts_with(&format!("{workload}: ")), "{}", done.out);
        assert!(done.out.contains("| engine"), "{}", done.out);
        assert!(!done.out.contains("lost"), "{}", done.out);
    }
}

#[test]
fn the_report_holds_every_request() {
    let files = Files::new();
    let file = files.path("report.json");
    bench(&["shared-prefix", "--strategies", "round-robin,batched", "--json", &file]).well();
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("written")).expect("JSON");
    assert_eq!(report["workload"], "shared-prefix");
    let contestants = report["contestants"].as_array().expect("a list");
    assert_eq!(contestants.len(), 2);
    let run = |contestant: usize| &contestants[contestant]["runs"][0];
    for index in 0..2 {
        let records = run(index)["records"].as_array().expect("a list");
        assert_eq!(records.len(), 6);
        assert!(records.iter().all(|record| record["outcome"] == "done"));
        assert_eq!(run(index)["summary"]["output_tokens"], 6 * 6);
        // What the machine does not tell has a reason.
        let usage = &run(index)["usage"];
        assert!(usage["counters"]["instructions"].is_u64() || usage["no_counters"].is_string(), "{usage}");
    }
    // The same was asked of both.
    assert_eq!(run(0)["summary"]["prompt_tokens"], run(1)["summary"]["prompt_tokens"]);
}

#[test]
fn arrivals_and_promises() {
    let done = bench(&["chat", "--rate", "50", "--slo-ttft-ms", "60000", "--slo-itl-ms", "60000"]).well();
    assert!(done.out.contains("6 requests, 50 per second"), "{}", done.out);
}

#[test]
fn a_promise_that_nobody_can_keep() {
    let done = bench(&["chat", "--find-capacity", "--slo-ttft-ms", "0.000001", "--slo-itl-ms", "1"]).well();
    assert!(done.out.contains("Not even the smallest load"), "{}", done.out);
}

#[test]
fn bad_arguments_say_what_is_wrong() {
    for (args, expected) in [
        (&["caht"][..], "mixed-stall"),
        (&["chat", "--rate", "0"], "above 0"),
        (&["chat", "--compare", "server"], "NAME=http://HOST:PORT"),
        (&["chat", "--compare", "http://127.0.0.1:1"], "the name is missing"),
        (&["chat", "--compare", "other=127.0.0.1:1"], "write http://127.0.0.1:1"),
        (&["chat", "--compare", "engine=http://127.0.0.1:1"], "two systems are called 'engine'"),
        (&["chat", "--target", "foo"], "no address of a server; write http://HOST:PORT"),
        (&["chat", "--target", "https://127.0.0.1:1"], "give its http://127.0.0.1:1"),
        (&["chat", "--slo-ttft-ms", "5"], "--slo-itl-ms"),
        (&["chat", "--strategies", "fast"], "round-robin"),
        (&["chat", "--users", "0"], "0"),
        (&["chat", "--scale", "1e9"], "at most 1000"),
        (&["chat", "--json", "/no/such/folder/report.json"], "a folder that exists"),
        (&["chat", "--html", "/"], "cannot write /"),
        (&["chat", "--sweep", "1,2"], "strategies"),
        (&["strategies", "--users", "2"], "--sweep"),
        (&["strategies", "--sweep", "1,none"], "none"),
    ] {
        let done = call(&[&["bench"], args].concat());
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?}: {}", done.err);
    }
}

#[test]
fn a_server_that_is_not_there_or_fails() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let done = bench(&["chat", "--target", &format!("http://{closed}")]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("cannot measure server") && done.err.contains(&closed.to_string()), "{}", done.err);
    assert!(done.err.contains("the connection was refused"), "{}", done.err);

    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let _ = socket.read(&mut [0; 65536]);
            let _ = socket.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmoon");
        }
    });
    let done = bench(&["chat", "--compare", &format!("other=http://{address}")]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("500") && done.err.contains("moon"), "{}", done.err);
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("there on Linux");
    let args =
        ["bench", "chat", "--threads", "1", "--users", "1", "--repeats", "1", "--requests", "1", "--scale", "0.1"];
    let done = Done::new(crate::command(&args).stdout(full).output().expect("the program starts"));
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("cannot write the output"), "{}", done.err);
}

#[test]
fn the_page_is_whole_by_itself() {
    let files = Files::new();
    let file = files.path("report.html");
    bench(&["mixed-stall", "--strategies", "round-robin,batched", "--html", &file]).well();
    let page = std::fs::read_to_string(&file).expect("written");
    // Nothing is fetched, and nothing runs.
    for fetched in ["src=", "href=", "url(", "@import", "<script", "http:", "https:"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    // Three curves, and for each strategy a timeline and its gaps, with every request in it.
    assert_eq!(page.matches("<figure>").count(), 3 + 2 + 2);
    // The steady ones go on until the visitor is done.
    assert!(page.matches("tokens of prompt, first token after").count() >= 2 * 6);
    assert!(page.contains("batched, steady") && page.contains("round-robin, visitor"));
    assert!(!page.contains("NaN") && !page.contains("Minf") && !page.contains("=\"inf"));
    assert_eq!(page.matches("<path").count(), page.matches("</path>").count());
}

#[test]
fn a_sweep_is_a_table_of_users_by_strategy() {
    let files = Files::new();
    let (json, html) = (files.path("sweep.json"), files.path("sweep.html"));
    let args = ["bench", "strategies", "--sweep", "3,1", "--repeats", "2", "--threads", "1", "--scale", "0.2"];
    let done = call(&[&args[..], &["--json", &json, "--html", &html]].concat()).well();
    assert!(
        done.out.contains("| users | ") && done.out.contains("sequential |") && done.out.contains("batched |"),
        "{}",
        done.out
    );
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("JSON");
    assert_eq!(report["load"]["users"], serde_json::json!([1, 3]));
    for (point, users) in report["points"].as_array().expect("a list").iter().zip([1, 3]) {
        assert_eq!(point["users"], users);
        let contestants = point["contestants"].as_array().expect("a list");
        let names: Vec<_> = contestants.iter().filter_map(|contestant| contestant["name"].as_str()).collect();
        assert_eq!(names, ["sequential", "round-robin", "batched"]);
        for run in contestants.iter().flat_map(|contestant| contestant["runs"].as_array().expect("runs")) {
            assert_eq!(run["records"].as_array().map(Vec::len), Some(users));
            assert_eq!(run["summary"]["output_tokens"], users * 13);
        }
    }
    let page = std::fs::read_to_string(html).expect("written");
    assert!(page.contains("users at once") && page.contains("Latencies, 3 users"));
}
