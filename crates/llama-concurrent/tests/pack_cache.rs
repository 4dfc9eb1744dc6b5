//! Packed weights kept between loads of the engine: what is computed with them, and how loading and stopping go.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use llama_concurrent::{Engine, EngineConfig, ErrorKind, PackCache, SamplingParams};
use llama_concurrent_gguf_synth::{self as synth, Shape, SynthOptions};
use tempfile::TempDir;

fn demo_copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("demo.gguf");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf"), &path).expect("copied");
    (folder, path)
}

fn config(pack_cache: Option<PackCache>) -> EngineConfig {
    EngineConfig::default().pack_cache(pack_cache).slots(2).n_ctx(128).threads(1)
}

fn kept() -> EngineConfig {
    config(Some(PackCache::BesideModel))
}

fn text(engine: &Engine) -> String {
    let params = SamplingParams::default().max_tokens(24).ignore_eos(true);
    engine.generate("Once upon a time", params).expect("generated").text
}

/// False where the CPU has no kernels, which the library then warns of.
fn has_kernels(engine: &Engine) -> bool {
    let has = engine.stats().kernels != "off";
    if !has {
        eprintln!("SKIPPED: keeping packed weights, which needs kernels that this CPU has none for");
        assert!(engine.warnings().iter().any(|warning| warning.contains("pack_cache")));
    }
    has
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn later_loads_write_the_same_with_the_weights_of_the_first() {
    let (folder, model) = demo_copy();
    let plain = Engine::load(&model, config(None)).expect("loads");
    assert_eq!(plain.stats().pack_cache, "off");
    let first = Engine::load(&model, kept()).expect("loads");
    if !has_kernels(&first) {
        return;
    }
    let second = Engine::load(&model, kept()).expect("loads");
    assert_eq!((first.stats().pack_cache, second.stats().pack_cache), ("written", "mapped"));
    assert_eq!(names(&folder), ["demo.gguf", "demo.gguf.packed"]);
    assert_eq!((text(&first), text(&second)), (text(&plain), text(&plain)));
    assert_eq!(second.stats().memory.repack_bytes, plain.stats().memory.repack_bytes);
    assert!(second.warnings().is_empty(), "{:?}", second.warnings());
}

#[test]
fn a_model_that_was_replaced_is_never_served_from_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model.gguf");
    let write = |seed| {
        let options = SynthOptions { seed, n_layer: Some(1), ..SynthOptions::new(Shape::SMOLLM_135M) };
        // Into the same file, as a download over it would.
        let other = folder.path().join("new.gguf");
        synth::write(&options, &other, &mut |_, _| ()).expect("written");
        fs::write(&model, fs::read(&other).expect("read")).expect("written");
        fs::remove_file(other).expect("removed");
    };
    write(1);
    let old = Engine::load(&model, kept()).expect("loads");
    if !has_kernels(&old) {
        return;
    }
    let time = fs::metadata(&model).and_then(|facts| facts.modified()).expect("a time");
    let before = text(&old);
    drop(old);
    write(2);
    // Even with the time of the old one.
    fs::File::options().write(true).open(&model).and_then(|file| file.set_modified(time)).expect("set");
    let new = Engine::load(&model, kept()).expect("loads");
    assert_eq!(new.stats().pack_cache, "written");
    let expected = text(&Engine::load(&model, config(None)).expect("loads"));
    assert_eq!(text(&new), expected);
    assert_ne!(before, expected);
}

#[test]
fn what_cannot_be_kept_is_a_warning() {
    let (folder, model) = demo_copy();
    let missing = PackCache::Folder(folder.path().join("missing"));
    let engine = Engine::load(&model, config(Some(missing))).expect("loads");
    if !has_kernels(&engine) {
        return;
    }
    assert_eq!(engine.stats().pack_cache, "off");
    assert!(engine.warnings()[0].contains("missing"), "{:?}", engine.warnings());
    let expected = text(&engine);

    let packs = folder.path().join("packs");
    fs::create_dir(&packs).expect("made");
    let place = || config(Some(PackCache::Folder(packs.clone())));
    assert_eq!(Engine::load(&model, place()).expect("loads").stats().pack_cache, "written");
    let file = fs::read_dir(&packs).expect("a folder").next().expect("a file").expect("a file").path();
    let bytes = fs::read(&file).expect("read");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
    let engine = Engine::load(&model, place()).expect("loads");
    assert!(engine.warnings()[0].contains("cut short"), "{:?}", engine.warnings());
    assert_eq!((engine.stats().pack_cache, text(&engine)), ("written", expected));

    let engine = Engine::load(&model, place().kernels(false)).expect("loads");
    assert!(engine.warnings()[0].contains("kernels are off"), "{:?}", engine.warnings());
}

/// Loads with a progress callback that says stop once this share is told; all shares that were told.
fn load_until(model: &Path, config: EngineConfig, stop: f32) -> (Result<Engine, ErrorKind>, Vec<f32>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let shares = told.clone();
    let progress: llama_concurrent::LoadProgress = Arc::new(move |share| {
        shares.lock().expect("not poisoned").push(share);
        share < stop
    });
    let engine = Engine::load(model, config.progress(progress));
    let told = told.lock().expect("not poisoned").clone();
    (engine.map_err(|error| error.kind().clone()), told)
}

#[test]
fn progress_goes_through_packing_and_writing_and_stops_both() {
    let (folder, model) = demo_copy();
    for kept_at in [None, Some(PackCache::BesideModel)] {
        for stop in [0.0, 0.3, 0.49, 0.5] {
            let (engine, told) = load_until(&model, config(kept_at.clone()), stop);
            assert_eq!(engine.err(), Some(ErrorKind::LoadCancelled), "at {stop}");
            assert!(told.iter().rev().skip(1).all(|share| *share < stop), "nothing follows the stop");
            assert_eq!(names(&folder), ["demo.gguf"], "stopped at {stop}");
        }
    }
    let (engine, told) = load_until(&model, kept(), 2.0);
    let engine = engine.expect("loads");
    // Packing is told weight by weight.
    assert!(told.len() > 20 && told.is_sorted() && told.last() == Some(&1.0), "{told:?}");
    if has_kernels(&engine) {
        let (engine, told) = load_until(&model, kept(), 2.0);
        assert_eq!(engine.expect("loads").stats().pack_cache, "mapped");
        assert!(told.is_sorted() && told.last() == Some(&1.0), "{told:?}");
    }
}
