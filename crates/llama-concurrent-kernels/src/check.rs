//! The self-check at installation: a small product in each format must be correct on this machine.

use crate::{
    IsaLevel,
    dispatch::PACKINGS,
    format::ROWS,
    matrix::{Weights, error, noise},
};

/// Above the rounding error of single precision, and far below the error of a wrong instruction.
const TOLERANCE: f64 = 1e-5;

/// Numbers of columns that cover tiles of one column, of a few, and several tiles.
const COLUMNS: [usize; 3] = [1, 7, 17];

/// The first fault found in a level's kernels.
pub(crate) fn find_fault(level: IsaLevel) -> Option<String> {
    PACKINGS.iter().find_map(|packing| {
        let k = 512;
        let weights = Weights::quantise(packing, k, &noise(2 * ROWS * k, 1));
        COLUMNS.into_iter().find_map(|columns| {
            let x = noise(columns * k, 2);
            let result = weights.multiply(level, &x).into_iter().map(f64::from);
            let error = error(result, &weights.exactly(&weights.quantised(&x)));
            // Not "greater than": a NaN is a fault as well.
            let right = error < TOLERANCE;
            (!right).then(|| format!("{} times {columns} columns is wrong by {error:.1e} of its size", packing.name))
        })
    })
}
