//! The performance of a core and a memory, measured or given.

use serde::{Deserialize, Serialize};

/// Rates of one core and one memory with a model's format and kernels. They apply to other models of the same format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// A description of where the figures come from.
    pub source: String,
    /// The number of threads used to measure the node's bandwidth.
    pub cores: usize,
    /// The rates of one core in decode calls.
    pub decode: Rates,
    /// The rates of one core in prefill calls.
    pub prefill: Rates,
    /// GB/s that one core reads from memory.
    pub core_bandwidth: f64,
    /// GB/s that all cores of a node read from its memory.
    pub node_bandwidth: f64,
    /// The fraction by which each doubling of threads slows each of them down.
    pub loss_per_doubling: f64,
    /// Microseconds of a barrier of two threads.
    pub barrier_us: f64,
    /// Microseconds to sample a token on one thread, while the others wait.
    #[serde(rename = "choice_us")]
    pub sampling_us: f64,
    /// How many times slower reads from another node's memory are. It cannot be measured on one node.
    pub remote: f64,
}

/// Arithmetic of one core in GMAC/s, 1e9 multiplications of a weight with an activation per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// With weights: pairs of the rows of a call and the rate, in ascending order.
    pub weights: Vec<(usize, f64)>,
    /// With keys and values.
    pub attention: f64,
}

/// Typical for two sockets; it is not measured.
pub(super) const REMOTE: f64 = 2.0;

impl Rates {
    /// Rows per GMAC/s: the time of `rows` rows up to a factor. Linear between the points; outside them, with the rate of the
    /// nearest point.
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
    /// A calibration from given figures: GMAC/s of one core by rows of a call, and GB/s of a node. The rest is as on the
    /// machine of DESIGN.md.
    ///
    /// # Errors
    /// A message that says which figure is invalid.
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
            sampling_us: 10.0,
            remote: REMOTE,
        };
        given.check().map(|()| given)
    }

    /// Parses JSON as written by [`serde_json`].
    ///
    /// # Errors
    /// A message that says what is invalid.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text).map_err(|error| format!("this is no calibration: {error}"))?;
        read.check()?;
        Ok(read)
    }

    /// Replaces the rates of one core with weights, in decode and prefill calls alike.
    ///
    /// # Errors
    /// A message that says which point is invalid.
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
            ("choice_us", self.sampling_us),
        ];
        match least_0.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            Some((what, value)) => Err(format!("{what} is {value}, but must be at least 0")),
            None => Ok(()),
        }
    }
}
