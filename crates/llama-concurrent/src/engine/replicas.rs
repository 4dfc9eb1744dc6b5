//! The copies of the weights that a plan asks for: mostly one, and on machines with several memories one in each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
};

use crossbeam_channel::bounded;
use llama_concurrent_llama::{Model, PackedFile, bind_thread};
use llama_concurrent_topology::{MemoryPolicy, Placement, WeightCopy, WorkerPlan};
use llama_concurrent_types::{EngineConfig, Error, ErrorKind, LoadProgress, Result};

/// A model for each copy of its weights.
pub(super) struct Replicas(Vec<(WeightCopy, Arc<Model>)>);

impl Replicas {
    /// Loads one copy after the other: llama.cpp's complaints are of the process, and the file comes from the system's cache
    /// from the second on.
    pub(super) fn load(
        path: &Path,
        config: &EngineConfig,
        packed: Option<&PackedFile>,
        placement: &Placement,
    ) -> Result<Self> {
        let wanted = placement.copies();
        let n_copies = wanted.len() as f32;
        let load = |(index, copy): (usize, WeightCopy)| {
            let of_all = |callback: LoadProgress| -> LoadProgress {
                Arc::new(move |share| callback((index as f32 + share) / n_copies))
            };
            let config = config.clone().progress(config.progress.clone().map(of_all));
            let progress = config.progress.clone();
            let report = |share: f32| progress.as_ref().is_none_or(|callback| callback(share));
            let cpus_of_users: Vec<usize> =
                users(placement, copy).flat_map(|worker| worker.cpus.iter().copied()).collect();
            let model = match (copy, &placement.shared_weights) {
                (WeightCopy::Shared, MemoryPolicy::System) => Model::load(path, &config, packed),
                (WeightCopy::Shared, memory) => load_on(&[], memory, path, config, packed, report),
                (WeightCopy::OfNode(node), _) => {
                    // What is mapped, packed weights too, lies where it was first read, and is the same for all.
                    let config = config.mmap(false);
                    let model = load_on(&cpus_of_users, &MemoryPolicy::Node(node), path, config, None, report);
                    model.inspect(|model| model.move_to(node))
                }
            };
            Ok((copy, Arc::new(model?)))
        };
        wanted.into_iter().enumerate().map(load).collect::<Result<_>>().map(Self)
    }

    /// One of them, for what is the same in all: vocabulary, template, kernels.
    pub(super) fn first(&self) -> &Arc<Model> {
        &self.0[0].1
    }

    pub(super) fn of(&self, worker: &WorkerPlan) -> Arc<Model> {
        let copy = self.0.iter().find(|(copy, _)| *copy == worker.weights);
        copy.map_or_else(|| self.first().clone(), |(_, model)| model.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives mapped files back, after their weights were repacked.
    pub(super) fn release_files(&self) {
        self.0.iter().for_each(|(_, model)| model.release_file());
    }
}

fn users(placement: &Placement, copy: WeightCopy) -> impl Iterator<Item = &WorkerPlan> {
    placement.workers.iter().filter(move |worker| worker.weights == copy)
}

/// Loads on a thread whose memory is placed; `report` runs on the calling one.
fn load_on(
    cpus: &[usize],
    memory: &MemoryPolicy,
    path: &Path,
    config: EngineConfig,
    packed: Option<&PackedFile>,
    report: impl Fn(f32) -> bool,
) -> Result<Model> {
    let (shares, reported) = bounded(0);
    let (answer, answers) = bounded(1);
    let progress = move |share: f32| shares.send(share).is_ok() && answers.recv().unwrap_or(false);
    let config = config.progress(Arc::new(progress));
    thread::scope(|scope| {
        let loader = thread::Builder::new().name("llama-loader".into()).spawn_scoped(scope, move || {
            bind_thread(cpus, memory);
            // Dropped with the configuration when it is done, which ends the loop below.
            let config = config;
            Model::load(path, &config, packed)
        });
        let loader = loader.map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {e}")))?;
        for share in reported {
            let _ = answer.send(catch_unwind(AssertUnwindSafe(|| report(share))).unwrap_or(false));
        }
        let broken = |_| Error::new(ErrorKind::Internal, "the thread that loads the model panicked");
        loader.join().map_err(broken)?
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use llama_concurrent_topology::{Machine, plan};

    #[test]
    fn each_wanted_copy_is_loaded_and_progress_stays_with_the_caller() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf");
        let mut placement = plan(&Machine::flat([0, 1]), &EngineConfig::default(), None).unwrap();
        let mut worker = placement.workers.remove(0);
        worker.pin = false;
        worker.cpus.clear();
        let mut with = |weights| placement.workers.push(WorkerPlan { weights, ..worker.clone() });
        [WeightCopy::OfNode(0), WeightCopy::Shared, WeightCopy::OfNode(0)].into_iter().for_each(&mut with);

        let seen = Arc::new(Mutex::new(Vec::new()));
        let (written, caller) = (seen.clone(), thread::current().id());
        let progress = move |share: f32| {
            assert_eq!(thread::current().id(), caller);
            written.lock().unwrap().push(share);
            true
        };
        let config = EngineConfig::default().progress(Arc::new(progress));
        let replicas = Replicas::load(Path::new(path), &config, None, &placement).unwrap();
        assert_eq!(replicas.len(), 2);
        let models: Vec<_> = placement.workers.iter().map(|worker| replicas.of(worker)).collect();
        assert!(Arc::ptr_eq(&models[0], &models[2]) && !Arc::ptr_eq(&models[0], &models[1]));
        assert!(models[1].table().piece(5) == models[0].table().piece(5));
        let seen = seen.lock().unwrap();
        assert!(seen.is_sorted() && seen.last() == Some(&1.0), "{seen:?}");

        for stop in [
            Arc::new(|_: f32| false) as llama_concurrent_types::LoadProgress,
            Arc::new(|_: f32| -> bool { panic!("a defect of the caller") }),
        ] {
            let config = EngineConfig::default().progress(stop);
            let error = Replicas::load(Path::new(path), &config, None, &placement).err().unwrap();
            assert_eq!(*error.kind(), ErrorKind::LoadCancelled);
        }
    }
}
