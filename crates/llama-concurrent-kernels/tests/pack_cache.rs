//! Packed weights in a file: used when they are those of the model, and made anew whenever anything is wrong.

#![allow(unsafe_code)] // It calls ggml itself.
#![cfg(target_arch = "x86_64")]

mod common;

use common::{Loaded, load, noise, reads_ahead, weights};
use llama_concurrent_kernels::cache::{Model, Outcome, PackCache};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Barrier,
    time::{Duration, SystemTime},
};

const MODEL: Model = Model { identity: 1, stamp: Some(7) };

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("model.gguf.packed")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// What a load without a file computes.
fn plainly(files: &[Vec<u8>]) -> Vec<u32> {
    Loaded::new(files).products()
}

#[test]
fn the_second_load_maps_what_the_first_has_written() {
    let (folder, model) = (Folder::new(), weights(1));
    let (outcome, warning, first) = load(&folder.file(), MODEL, &model);
    assert_eq!((outcome, warning), (Ok(Outcome::Written), None));
    let (outcome, warning, second) = load(&folder.file(), MODEL, &model);
    assert_eq!((outcome, warning), (Ok(Outcome::Mapped), None));
    let expected = plainly(&model);
    assert_eq!((first.products(), second.products()), (expected.clone(), expected.clone()));
    assert_eq!(folder.names(), ["model.gguf.packed"]);
    // Who has mapped it keeps it.
    fs::remove_file(folder.file()).expect("removed");
    assert_eq!(second.products(), expected);
}

#[test]
fn a_model_that_nobody_wrote_to_is_not_read() {
    let (folder, model) = (Folder::new(), weights(1));
    drop(load(&folder.file(), MODEL, &model));
    // Where weights should be read, there are others: that is not noticed.
    let (outcome, _, loaded) = load(&folder.file(), MODEL, &weights(2));
    assert_eq!((outcome, loaded.products()), (Ok(Outcome::Mapped), plainly(&model)));

    let session = |model| {
        let cache = PackCache::begin(&folder.file(), model);
        (cache.is_found(), reads_ahead())
    };
    let machine = reads_ahead();
    assert_eq!(session(MODEL), (true, false));
    assert_eq!(session(Model { stamp: Some(8), ..MODEL }), (true, machine));
    assert_eq!(session(Model { stamp: None, ..MODEL }), (true, machine));
    assert_eq!(session(Model { identity: 2, ..MODEL }), (false, machine));
    assert_eq!(reads_ahead(), machine, "only while a session lives");
}

#[test]
fn a_model_that_somebody_wrote_to_is_compared() {
    for stamp in [Some(8), None] {
        let folder = Folder::new();
        let (old, mut new) = (weights(1), weights(1));
        drop(load(&folder.file(), MODEL, &old));
        // A single bit of one weight.
        *new[1].last_mut().expect("weights") ^= 1;
        let touched = Model { stamp, ..MODEL };
        let (outcome, warning, loaded) = load(&folder.file(), touched, &new);
        assert_eq!((outcome, warning), (Ok(Outcome::Written), None));
        assert_eq!(loaded.products(), plainly(&new));
        assert_ne!(plainly(&new), plainly(&old));
        let (outcome, _, loaded) = load(&folder.file(), touched, &new);
        assert_eq!((outcome, loaded.products()), (Ok(Outcome::Mapped), plainly(&new)));
    }
}

#[test]
fn what_was_compared_once_is_known_the_next_time() {
    let (folder, model) = (Folder::new(), weights(1));
    drop(load(&folder.file(), MODEL, &model));
    let touched = Model { stamp: Some(8), ..MODEL };
    assert_eq!(load(&folder.file(), touched, &model).0, Ok(Outcome::Mapped));
    let (outcome, _, loaded) = load(&folder.file(), touched, &weights(2));
    assert_eq!((outcome, loaded.products()), (Ok(Outcome::Mapped), plainly(&model)));
}

#[test]
fn a_file_of_another_model_is_replaced() {
    let (folder, model) = (Folder::new(), weights(2));
    drop(load(&folder.file(), MODEL, &weights(1)));
    let other = Model { identity: 2, ..MODEL };
    let (outcome, warning, loaded) = load(&folder.file(), other, &model);
    assert_eq!((outcome, loaded.products()), (Ok(Outcome::Written), plainly(&model)));
    assert!(warning.expect("message").contains("another model"));
    assert_eq!(load(&folder.file(), other, &model).0, Ok(Outcome::Mapped));
}

/// Damages a good file, and loads; whether there was a warning before.
fn after(damage: impl FnOnce(&mut Vec<u8>)) -> (Result<Outcome, String>, String) {
    let (folder, model) = (Folder::new(), weights(1));
    drop(load(&folder.file(), MODEL, &model));
    let mut bytes = fs::read(folder.file()).expect("written");
    damage(&mut bytes);
    fs::write(folder.file(), bytes).expect("damaged");
    let (outcome, warning, loaded) = load(&folder.file(), MODEL, &model);
    assert_eq!(loaded.products(), plainly(&model));
    if outcome.is_ok() {
        assert_eq!(load(&folder.file(), MODEL, &model).0, Ok(Outcome::Mapped), "the next load is well");
    }
    (outcome, warning.unwrap_or_default())
}

#[test]
fn damaged_files_are_made_anew() {
    let whole = {
        let folder = Folder::new();
        drop(load(&folder.file(), MODEL, &weights(1)));
        fs::metadata(folder.file()).expect("written").len() as usize
    };
    for len in [0, 39, 41, 70_000, whole - 1] {
        let (outcome, warning) = after(|bytes| bytes.truncate(len));
        assert_eq!(outcome, Ok(Outcome::Written), "{len} bytes");
        assert!(warning.contains("cut short"), "{len} bytes: {warning}");
    }
    assert!(after(|bytes| bytes.push(0)).1.contains("cut short"), "a wrong length");
    let (outcome, warning) = after(|bytes| bytes[8] += 1);
    assert_eq!(outcome, Ok(Outcome::Written));
    assert!(warning.contains("version"), "{warning}");
    for at in [15, 16, 300] {
        let (outcome, warning) = after(|bytes| bytes[at] ^= 0x40);
        assert_eq!(outcome, Ok(Outcome::Written), "byte {at}");
        assert!(!warning.is_empty(), "byte {at}");
    }
    // In the weights themselves.
    for at in [whole - 1, 1 << 16] {
        assert_eq!(after(|bytes| bytes[at] ^= 0x10), (Ok(Outcome::Repaired), String::new()), "byte {at} of {whole}");
    }
    let zeros = after(|bytes| bytes[1 << 16..].fill(0));
    assert_eq!(zeros, (Ok(Outcome::Repaired), String::new()));
}

#[test]
fn noise_in_the_file_is_survived() {
    for seed in 0..15u64 {
        let numbers = noise(8, seed);
        let (outcome, _) = after(|bytes| {
            for number in &numbers {
                // Half of the places in the beginning and the table; the rest anywhere. Not in the name of the format.
                let end = if *number < 0.0 { 700 } else { bytes.len() - 8 };
                let at = 8 + (f64::from(number.abs()) * (end - 8) as f64) as usize;
                bytes[at] = bytes[at].wrapping_add((number * 1000.0) as i32 as u8);
            }
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let model = weights(1);
    let (outcome, warning) = after(|bytes| bytes[0] ^= 1);
    assert!(outcome.expect_err("not replaced").contains("remove it"));
    assert!(warning.contains("does not hold packed weights"), "{warning}");

    let folder = Folder::new();
    fs::create_dir(folder.file()).expect("a folder");
    let (outcome, warning, loaded) = load(&folder.file(), MODEL, &model);
    assert!(outcome.is_err() && warning.expect("message").contains("no file"));
    assert_eq!(loaded.products(), plainly(&model));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_no_fault_of_the_model() {
    let model = weights(1);
    for path in ["/no/such/folder/model.packed", "/proc/model.packed"] {
        let (outcome, warning, loaded) = load(Path::new(path), MODEL, &model);
        let message = outcome.expect_err("no file");
        assert!(message.contains(path) && message.contains("name a folder"), "{message}");
        assert_eq!(warning, None);
        assert_eq!(loaded.products(), plainly(&model));
    }
}

#[test]
fn two_that_start_at_once_both_write_whole_files() {
    let (folder, model, start) = (Folder::new(), weights(1), Barrier::new(4));
    let expected = plainly(&model);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let cache = PackCache::begin(&folder.file(), MODEL);
                    // All have looked for the file before anybody writes it.
                    start.wait();
                    let loaded = Loaded::new(&model);
                    let outcome = cache.finish(&mut |_| true).expect("a folder to write to");
                    assert!(matches!(outcome, Outcome::Written | Outcome::Mapped));
                    assert_eq!(loaded.products(), expected);
                    if start.wait().is_leader() {
                        assert_eq!(load(&folder.file(), MODEL, &model).0, Ok(Outcome::Mapped));
                        fs::remove_file(folder.file()).expect("removed");
                    }
                    start.wait();
                }
            });
        }
    });
    assert!(folder.names().is_empty());
}

#[test]
fn writing_can_be_stopped_and_leaves_nothing() {
    let (folder, model) = (Folder::new(), weights(1));
    let cache = PackCache::begin(&folder.file(), MODEL);
    let loaded = Loaded::new(&model);
    assert_eq!(cache.finish(&mut |_| false), Ok(Outcome::Stopped));
    assert_eq!(loaded.products(), plainly(&model));
    assert!(folder.names().is_empty());
    // A load that failed: nobody finishes.
    let cache = PackCache::begin(&folder.file(), MODEL);
    let loaded = Loaded::new(&model);
    drop(cache);
    assert_eq!(loaded.products(), plainly(&model));
    assert!(folder.names().is_empty());
    // No weights at all.
    assert_eq!(PackCache::begin(&folder.file(), MODEL).finish(&mut |_| true), Ok(Outcome::Nothing));
    assert!(folder.names().is_empty());
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let (folder, model) = (Folder::new(), weights(1));
    let begun = |name: &str, age: Duration| {
        let path = folder.0.path().join(name);
        let file = File::create(&path).expect("created");
        file.set_modified(SystemTime::now() - age).expect("dated");
        (path, file)
    };
    let long_ago = Duration::from_secs(3600);
    let (dead, _) = begun(".model.gguf.packed.abc123.part", long_ago);
    let (other, _) = begun(".x.packed.1.part", long_ago);
    let (young, _) = begun(".model.gguf.packed.ghi789.part", Duration::ZERO);
    let (living, writer) = begun(".model.gguf.packed.def456.part", long_ago);
    writer.lock().expect("locked");
    assert_eq!(load(&folder.file(), MODEL, &model).0, Ok(Outcome::Written));
    assert!(!dead.exists() && living.exists() && young.exists() && other.exists());
}

#[test]
fn identity_is_of_the_headers_and_stamps_of_everything() {
    let folder = Folder::new();
    let paths = ["a", "b"].map(|name| folder.0.path().join(name));
    let of = || Model::of_files(paths.iter().map(|path| (path.as_path(), 4))).expect("read");
    paths.iter().for_each(|path| fs::write(path, "headweights").expect("written"));
    let first = of();
    assert_eq!(first.stamp, None, "what was written just now may be written to unnoticed");
    fs::write(&paths[1], "headWEIGHTS").expect("written");
    assert_eq!(of().identity, first.identity);
    fs::write(&paths[1], "HEADweights").expect("written");
    assert_ne!(of().identity, first.identity);
    fs::write(&paths[1], "headweights and more").expect("written");
    assert_ne!(of().identity, first.identity);
    assert!(Model::of_files([(Path::new("/no/such/model"), 4)]).is_err());
}
