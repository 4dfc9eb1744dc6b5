//! What a core and a memory can do, as measured or as given.

use serde::{Deserialize, Serialize};

/// Rates of one core and one memory with a model's format and kernels. They serve for other models of the same format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where the figures come from, in words.
    pub source: String,
    /// Threads that the node's bandwidth was measured with.
    pub cores: usize,
    /// Of one core, in decode calls.
    pub decode: Rates,
    /// Of one core, in prefill calls.
    pub prefill: Rates,
    /// GB/s that one core reads from memory.
    pub core_bandwidth: f64,
    /// GB/s that all cores of a node read from its memory.
    pub node_bandwidth: f64,
    /// Share by which each doubling of threads makes the work of each longer.
    pub loss_per_doubling: f64,
    /// Microseconds until two threads have met at a barrier.
    pub barrier_us: f64,
    /// Microseconds of one thread alone for each token that is chosen, while the others wait.
    pub choice_us: f64,
    /// How many times longer it takes to read from the memory of another node. It cannot be measured on one node.
    pub remote: f64,
}

/// Arithmetic of one core in GMAC/s, 1e9 multiplications of a weight with an activation per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// With weights: rows of a call, and the rate with so many. Ascending.
    pub weights: Vec<(usize, f64)>,
    /// With keys and values.
    pub attention: f64,
}

/// Typical for two sockets; nothing here can measure it.
pub(super) const REMOTE: f64 = 2.0;

impl Rates {
    /// Rows per GMAC/s: the time that so many rows take, but for a factor. A line between the points, and the rate of the
    /// last point, or the first, outside of them.
    pub(super) fn time(&self, rows: f64) -> f64 {
        let times = || self.weights.iter().map(|&(rows, rate)| (rows as f64, rows as f64 / rate));
        let after = times().find(|&(at, _)| at >= rows);
        let before = times().take_while(|&(at, _)| at < rows).last();
        match (before, after) {
            (Some((r0, t0)), Some((r1, t1))) => t0 + (t1 - t0) * (rows - r0) / (r1 - r0),
            (Some((at, time)), None) | (None, Some((at, time))) => time * rows / at,
            (None, None) => f64::INFINITY,
        }
    }
}

impl Calibration {
    /// Of figures that were given by hand: GMAC/s of one core by rows of a call, and GB/s of a node. The rest is as on the
    /// machine of DESIGN.md.
    ///
    /// # Errors
    /// What is wrong with the figures, in words.
    pub fn by_hand(points: &[(usize, f64)], node_bandwidth: f64) -> Result<Self, String> {
        let rates = Rates { weights: points.to_vec(), attention: 10.0 };
        let given = Self {
            source: "given by hand".into(),
            cores: 1,
            decode: rates.clone(),
            prefill: rates,
            core_bandwidth: node_bandwidth.min(20.0),
            node_bandwidth,
            loss_per_doubling: 0.03,
            barrier_us: 0.2,
            choice_us: 10.0,
            remote: REMOTE,
        };
        given.check().map(|()| given)
    }

    /// Reads what [`serde_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text).map_err(|error| format!("this is no calibration: {error}"))?;
        read.check()?;
        Ok(read)
    }

    /// Replaces the rates of one core with weights, in decode and prefill calls alike.
    ///
    /// # Errors
    /// What is wrong with the points, in words.
    pub fn set_rates(&mut self, points: &[(usize, f64)]) -> Result<(), String> {
        self.decode.weights = points.to_vec();
        self.prefill.weights = points.to_vec();
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let above_0 = |what: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(format!("{what} is {value}, but must be above 0")),
        };
        for (what, rates) in [("decode", &self.decode), ("prefill", &self.prefill)] {
            if rates.weights.is_empty() || rates.weights[0].0 == 0 {
                return Err(format!("{what} needs at least one point of 1 or more rows"));
            }
            if !rates.weights.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(format!("the points of {what} must stand in the order of their rows, each number once"));
            }
            rates.weights.iter().try_for_each(|&(rows, rate)| above_0(&format!("{what} with {rows} rows"), rate))?;
            above_0(&format!("the attention of {what}"), rates.attention)?;
        }
        above_0("core_bandwidth", self.core_bandwidth)?;
        above_0("node_bandwidth", self.node_bandwidth)?;
        above_0("cores", self.cores as f64)?;
        above_0("remote", self.remote)?;
        let least_0 = [
            ("loss_per_doubling", self.loss_per_doubling),
            ("barrier_us", self.barrier_us),
            ("choice_us", self.choice_us),
        ];
        match least_0.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            Some((what, value)) => Err(format!("{what} is {value}, but must be at least 0")),
            None => Ok(()),
        }
    }
}
