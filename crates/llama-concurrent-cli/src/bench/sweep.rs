//! A list of numbers of users, each with every strategy.

use std::path::Path;

use llama_concurrent_bench::{
    Load, Setting,
    report::{Point, Sweep},
};

use super::{BenchArgs, contestants, runs};
use crate::failure::Failure;

/// The numbers for which DESIGN.md and others tell what batching brings.
const USERS: [u32; 7] = [1, 2, 4, 8, 16, 20, 32];

/// Plays it: the repeats outside and the contestants inside, so that what changes on the machine does so for all.
pub fn play<'a>(args: &BenchArgs, path: &Path, setting: &'a Setting) -> Result<Sweep<'a>, Failure> {
    let mut users: Vec<usize> =
        if args.sweep.is_empty() { &USERS[..] } else { &args.sweep[..] }.iter().map(|&users| users as usize).collect();
    users.sort_unstable();
    users.dedup();
    let fields: Vec<_> = users.iter().map(|&users| contestants(args, path, users)).collect::<Result<_, _>>()?;
    let mut points: Vec<Point> =
        users.iter().zip(&fields).map(|(&users, field)| Point { users, results: runs::none_yet(field) }).collect();
    for repeat in 0..args.repeats as usize {
        for (point, field) in points.iter_mut().zip(&fields) {
            let load = Load { users: point.users, ..setting.load.repeated(repeat) };
            let what = format!("{} users, run {} of {}", point.users, repeat + 1, args.repeats);
            runs::turn(field, setting, &load, &what, &mut point.results)?;
        }
    }
    Ok(Sweep { setting, points })
}
