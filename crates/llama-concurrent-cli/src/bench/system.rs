//! The system under test.

use std::path::{Path, PathBuf};

use llama_concurrent::EngineConfig;
use llama_concurrent_bench::{EngineTarget, ServerAddress, ServerTarget, Target};

use crate::{failure::Failure, model};

/// A system under test: an engine with its configuration, or a server.
pub struct System {
    pub name: String,
    what: What,
}

enum What {
    Engine(PathBuf, Box<EngineConfig>),
    Server(ServerAddress),
}

impl System {
    pub fn engine(name: &str, path: &Path, config: EngineConfig) -> Self {
        Self { name: name.into(), what: What::Engine(path.into(), Box::new(config)) }
    }

    pub fn server(name: &str, address: &ServerAddress) -> Self {
        Self { name: name.into(), what: What::Server(address.clone()) }
    }

    /// Whether it runs in this process.
    pub fn is_here(&self) -> bool {
        matches!(self.what, What::Engine(..))
    }

    /// Checks that a server is reachable before the measurements start; an engine is checked when it is loaded.
    pub fn look_for(&self) -> Result<(), Failure> {
        if self.is_here() { Ok(()) } else { self.open().map(drop) }
    }

    /// Opens it for requests. An engine is loaded afresh, so that no state is left of the previous run.
    pub fn open(&self) -> Result<Box<dyn Target>, Failure> {
        Ok(match &self.what {
            What::Engine(path, config) => {
                Box::new(EngineTarget::new(&self.name, model::load(path, EngineConfig::clone(config))?))
            }
            What::Server(address) => {
                let opened = ServerTarget::open(&self.name, address);
                Box::new(opened.map_err(|why| Failure::Failed(format!("cannot measure {}: {why}", self.name)))?)
            }
        })
    }
}
