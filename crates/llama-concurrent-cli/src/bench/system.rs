//! Who is measured.

use std::path::{Path, PathBuf};

use llama_concurrent::EngineConfig;
use llama_concurrent_bench::{EngineTarget, ServerAddress, ServerTarget, Target};

use crate::{failure::Failure, model};

/// An engine with its configuration, or a server.
pub struct Contestant {
    pub name: String,
    what: What,
}

enum What {
    Engine(PathBuf, Box<EngineConfig>),
    Server(ServerAddress),
}

impl Contestant {
    pub fn engine(name: &str, path: &Path, config: EngineConfig) -> Self {
        Self { name: name.into(), what: What::Engine(path.into(), Box::new(config)) }
    }

    pub fn server(name: &str, address: &ServerAddress) -> Self {
        Self { name: name.into(), what: What::Server(address.clone()) }
    }

    /// Whether it computes in this process.
    pub fn is_here(&self) -> bool {
        matches!(self.what, What::Engine(..))
    }

    /// Whether a server is there, before others take their time; an engine is found out about when it is loaded.
    pub fn look_for(&self) -> Result<(), Failure> {
        if self.is_here() { Ok(()) } else { self.open().map(drop) }
    }

    /// Ready to be asked. An engine is loaded afresh, so that nothing is left of the run before.
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
