//! Sends mutated requests to a running server, millions if wanted, and says whether it lived through them.
//!
//!     llama-concurrent serve --port 8080 --n-ctx 128 --slots 4 -n 4 --max-generations 4 --timeout 5 &
//!     cargo run --release -p llama-concurrent-server --example hostile -- 127.0.0.1:8080 2000000 [seed] [pid of the server]
//!
//! Requests of all routes, HTTP and WebSocket, are changed in their JSON, their bytes, their heads or their frames, and sent over
//! connections that are kept. `/health` is asked all along. Requests that get no answer in time are printed.

mod mutate;
mod storm;

use std::{fs, net::SocketAddr, time::Instant};

use storm::{Report, storm};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().ok_or("give the address of a server, such as 127.0.0.1:8080")?.parse()?;
    let count: usize = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let seed: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let pid: Option<u32> = args.next().map(|text| text.parse()).transpose()?;
    let begin = Instant::now();
    let mut whole = Report::default();
    println!("requests, seconds, memory of the server in MiB, worst /health in ms so far");
    println!("0, 0, {}, 0", memory(pid));
    let parts = 20;
    for part in 0..parts {
        whole.add(storm(address, count / parts, seed + part as u64));
        let worst = whole.health_worst.as_millis();
        println!("{}, {}, {}, {worst}", whole.requests, begin.elapsed().as_secs(), memory(pid));
        if whole.unreachable > 0 {
            break;
        }
    }
    println!("{whole}");
    if whole.unreachable > 0 || !whole.hangs.is_empty() {
        return Err("the server did not live through it".into());
    }
    Ok(())
}

fn memory(pid: Option<u32>) -> String {
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let resident = status.and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.to_owned();
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    resident.map_or("-".into(), |kib| (kib >> 10).to_string())
}
