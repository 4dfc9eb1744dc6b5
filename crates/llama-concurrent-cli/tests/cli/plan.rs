//! `bench --sim`: predictions for other machines, by hand and calibrated, and their check.

use serde_json::Value;

use crate::{Done, Files, call};

const BY_HAND: [&str; 6] = ["--sim-gmacs", "1:20,16:60,128:70", "--sim-bandwidth", "40", "--scale", "0.2"];

fn bench(args: &[&str], more: &[&str]) -> Done {
    call(&[&["bench"], args, more].concat())
}

fn read(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).expect("written")).expect("JSON")
}

#[test]
fn figures_by_hand_give_a_table_of_strategies_and_placements() {
    let files = Files::new();
    let file = files.path("plan.json");
    let args = ["--sim", "1x4,2x8@90", "--sweep", "5,2", "--requests", "1", "--json", &file];
    let done = bench(&args, &BY_HAND).well();
    assert!(done.out.contains("1 node of 4 cores, 40.0 GB/s each:"), "{}", done.out);
    assert!(done.out.contains("2 nodes of 8 cores, 90.0 GB/s each:"), "{}", done.out);
    assert!(done.out.contains("Calibration: given by hand."), "{}", done.out);
    let plan = read(&file);
    let predictions = plan["predictions"].as_array().expect("a list");
    // Two numbers of users; one placement on one node and three on two; three strategies.
    assert_eq!(predictions.len(), 2 * (1 + 3) * 3);
    for prediction in predictions {
        let users = prediction["users"].as_u64().expect("a number");
        assert!(users == 2 || users == 5);
        assert_eq!(prediction["summary"]["requests"], users);
        assert!(prediction["summary"]["tokens_per_s"].as_f64().is_some_and(|rate| rate > 0.0));
    }
    // Nothing of it depends on this machine.
    assert_eq!(bench(&args, &BY_HAND).well().out, done.out);
}

#[test]
fn a_calibration_is_measured_saved_and_used_again() {
    let files = Files::new();
    let saved = files.path("calibration.json");
    let args = ["strategies", "--sim", "2x4@30", "--sweep", "3", "--threads", "1"];
    let measured = bench(&args, &["--sim-save", &saved]).well();
    let calibration = read(&saved);
    assert!(calibration["source"].as_str().is_some_and(|source| source.contains("demo")), "{calibration}");
    assert_eq!(bench(&args, &["--sim-calibration", &saved]).well().out, measured.out);
    // One figure by hand, the others as saved.
    let other = bench(&args, &["--sim-calibration", &saved, "--sim-remote", "3"]).well();
    assert!(other.out.contains("3.00 times slower"), "{}", other.out);
}

#[test]
fn predictions_are_set_beside_measurements() {
    let files = Files::new();
    let file = files.path("check.json");
    let args = ["--sim-check", "--threads", "1", "--sweep", "1,2", "--repeats", "2", "--json", &file];
    let done = bench(&args, &BY_HAND).well();
    assert!(done.out.contains("predictions of tok/s are within 15 %"), "{}", done.out);
    let lines = read(&file)["lines"].as_array().expect("a list").clone();
    assert_eq!(lines.len(), 2 * 3);
    for line in &lines {
        let both = ["measured", "predicted"].map(|which| line[which].as_array().expect("a list").clone());
        assert_eq!(both.each_ref().map(Vec::len), [2, 2]);
        // The same was asked of both, and both answered all of it.
        for (measured, predicted) in both[0].iter().zip(&both[1]) {
            for figure in ["requests", "failed", "prompt_tokens", "output_tokens"] {
                assert_eq!(measured[figure], predicted[figure], "{figure}");
            }
        }
    }
}

#[test]
fn bad_plans_say_what_is_wrong() {
    let files = Files::new();
    let broken = files.write("broken.json", b"{\"source\": \"a friend\"}");
    for (args, expected) in [
        (&["--sim", "8"][..], "2x16"),
        (&["--sim", "2x16@fast"], "GB/s"),
        (&["chat", "--sim", "2x2", "--target", "http://127.0.0.1:1"], "--target"),
        (&["--sim", "2x2", "--sim-calibration", "/nowhere/at.json"], "/nowhere/at.json"),
        (&["--sim", "2x2", "--sim-calibration", &broken], "no calibration"),
        (&["--sim", "2x2", "--sim-gmacs", "4:1,1:2", "--sim-bandwidth", "9"], "order"),
        (&["--sim", "2x2", "--sim-gmacs", "much"], "ROWS:RATE"),
        (&[], "WORKLOAD"),
    ] {
        let done = bench(args, &[]);
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?}: {}", done.err);
    }
}
