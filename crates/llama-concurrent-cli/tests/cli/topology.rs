//! `topology`, and the options that it explains.

use super::{call, demo_model};

#[test]
fn this_machine_is_shown_as_a_tree_and_as_json() {
    let text = call(&["topology"]).well().out;
    for part in ["Machine: ", "\nPlan: ", "\nWhy\n", "worker 0"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let model = demo_model();
    let shown = call(&["topology", "--json", "--model", model.to_str().unwrap(), "--slots", "3"]).well().json();
    let [shown] = &shown[..] else { panic!("one line") };
    let workers = shown["plan"]["workers"].as_array().unwrap();
    assert!(!workers.is_empty() && workers.iter().all(|worker| worker["slots"].as_u64().unwrap() >= 1));
    assert_eq!(shown["plan"]["slots"].as_u64().unwrap(), workers.len() as u64 * 3u64.div_ceil(workers.len() as u64));
    assert!(!shown["machine"]["usable_cpus"].as_array().unwrap().is_empty());
}

#[test]
fn a_run_is_where_its_options_say() {
    let shown = call(&["topology", "--json"]).well().json();
    let cpu = shown[0]["machine"]["usable_cpus"][0].to_string();
    let args = ["run", "-p", "A fox", "--max-tokens", "4", "--n-ctx", "128", "--json", "--stats", "--cpus", &cpu];
    let lines = call(&args).well().json();
    let stats = &lines.last().unwrap()["stats"];
    assert_eq!(stats["cpus"].to_string(), format!("[{cpu}]"));
    assert_eq!(stats["per_worker"][0]["cpus"].to_string(), format!("[{cpu}]"));
    assert_ne!(stats["per_worker"][0]["affinity_holds"], false);
    let args = ["run", "-p", "A fox", "--max-tokens", "4", "--n-ctx", "128", "--stats", "--placement", "none"];
    assert!(call(&args).well().out.contains("1 worker"));
}

#[test]
fn bad_wishes_are_refused() {
    for (args, expected) in [
        (&["topology", "--cpus", "60000"][..], &["CPU 60000"][..]),
        (&["topology", "--cpus", "0-"], &["0-3,8"]),
        (&["topology", "--placement", "best"], &["auto, node, l3, none"]),
        (&["topology", "--replicate", "twice"], &["auto, always, never"]),
        (&["topology", "--model", "missing.gguf"], &["missing.gguf"]),
        (&["run", "-p", "A fox", "--nodes", "60000"], &["60000"]),
        (&["run", "-p", "A fox", "--poll", "101"], &["poll"]),
    ] {
        call(args).refused(expected);
    }
}

#[cfg(feature = "hwloc")]
#[test]
fn other_machines_are_planned_for() {
    let spec = "pack:2 [numa(memory=128GB)] l3:1 core:16 pu:2";
    let text = call(&["topology", "--synthetic", spec]).well().out;
    for part in ["2 packages, 2 NUMA nodes, 32 cores with 64 CPUs", "2 workers, 32 threads", "a copy on node 1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let xml = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines/m1.xml");
    let text = call(&["topology", "--xml", xml]).well().out;
    assert!(text.contains("4 performance cores") && text.contains("4 threads on CPUs 4-7"), "{text}");
    call(&["topology", "--synthetic", "core:none"]).refused(&["core:none"]);
    call(&["topology", "--xml", "missing.xml"]).refused(&["missing.xml"]);
    call(&["topology", "--xml", xml, "--nodes", "4"]).refused(&["node 4"]);
}
