//! Every format on every level of this machine, compared with double precision.

use crate::{
    IsaLevel,
    dispatch::{PACKINGS, Packing},
    format::ROWS,
    matrix::{Weights, error, noise},
};

fn levels() -> impl Iterator<Item = IsaLevel> {
    IsaLevel::ALL.into_iter().filter(|level| level.is_available())
}

/// An inner dimension that is an odd number of the format's units.
fn odd_k(packing: &Packing) -> usize {
    if packing.blocks == 1 { 32 * 41 } else { 256 * 5 }
}

#[test]
fn products_are_right_for_every_number_of_columns() {
    for packing in &PACKINGS {
        let k = odd_k(packing);
        let weights = Weights::quantise(packing, k, &noise((3 * ROWS + 5) * k, 7));
        let x = noise(33 * k, 8);
        let (exact, near) = (weights.exactly(&weights.quantised(&x)), weights.exactly(&x));
        for level in levels() {
            let single: Vec<f32> = x.chunks_exact(k).flat_map(|x| weights.multiply(level, x)).collect();
            for columns in 1..=33 {
                let result = weights.multiply(level, &x[..columns * k]);
                let floats = || result.iter().copied().map(f64::from);
                let size = result.len();
                let tight = error(floats(), &exact[..size]);
                let loose = error(floats(), &near[..size]);
                assert!(tight < 2e-6, "{} {level} {columns}: {tight:e}", packing.name);
                assert!(loose < 0.02, "{} {level} {columns}: {loose:e}", packing.name);
                let same = result.iter().zip(&single).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(
                    same,
                    "{} {level}: the result of a column depends on the other {columns} columns",
                    packing.name
                );
            }
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    // The largest weights and activations of one sign, for the largest possible 16-bit sums.
    for packing in &PACKINGS {
        for sign in [1.0, -1.0] {
            let k = 512;
            let mut values = vec![sign; ROWS * k];
            for (i, value) in values.iter_mut().enumerate() {
                if i % 32 == 5 {
                    *value = -sign * 1.1;
                }
            }
            let weights = Weights::quantise(packing, k, &values);
            for x in [vec![1.0f32; k], vec![-1.0; k]] {
                let exact = weights.exactly(&weights.quantised(&x));
                for level in levels() {
                    let error = error(weights.multiply(level, &x).into_iter().map(f64::from), &exact);
                    assert!(error < 2e-6, "{} {level}: {error:e}", packing.name);
                }
            }
        }
    }
}

#[test]
fn zeros_and_tiny_values_stay_what_they_are() {
    for packing in &PACKINGS {
        let k = 256;
        let weights = Weights::quantise(packing, k, &noise(ROWS * k, 3));
        let tiny: Vec<f32> = noise(k, 4).into_iter().map(|v| v * 1e-30).collect();
        for level in levels() {
            assert!(weights.multiply(level, &vec![0.0; k]).iter().all(|v| *v == 0.0), "{} {level}", packing.name);
            let error = error(weights.multiply(level, &tiny).into_iter().map(f64::from), &weights.exactly(&tiny));
            assert!(error < 0.02, "{} {level}: {error:e}", packing.name);
            let mut broken = tiny.clone();
            broken[7] = f32::NAN;
            assert!(weights.multiply(level, &broken).iter().all(|v| v.is_nan()), "{} {level}", packing.name);
        }
    }
}
