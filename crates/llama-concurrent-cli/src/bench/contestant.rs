//! Who is measured.

use std::path::{Path, PathBuf};

use llama_concurrent::EngineConfig;
use llama_concurrent_bench::{EngineTarget, ServerTarget, Target};

use crate::{failure::Failure, model};

/// An engine with its configuration, or a server.
pub struct Contestant {
    pub name: String,
    what: What,
}

enum What {
    Engine(PathBuf, Box<EngineConfig>),
    Server(String),
}

impl Contestant {
    pub fn engine(name: &str, path: &Path, config: EngineConfig) -> Self {
        Self { name: name.into(), what: What::Engine(path.into(), Box::new(config)) }
    }

    pub fn server(name: &str, url: &str) -> Self {
        Self { name: name.into(), what: What::Server(url.into()) }
    }

    /// Whether it computes in this process.
    pub fn is_here(&self) -> bool {
        matches!(self.what, What::Engine(..))
    }

    /// Ready to be asked. An engine is loaded afresh, so that nothing is left of the run before.
    pub fn open(&self) -> Result<Box<dyn Target>, Failure> {
        Ok(match &self.what {
            What::Engine(path, config) => {
                Box::new(EngineTarget::new(&self.name, model::load(path, EngineConfig::clone(config))?))
            }
            What::Server(url) => Box::new(ServerTarget::new(&self.name, url)),
        })
    }
}
