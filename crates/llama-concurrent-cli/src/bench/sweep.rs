//! A sweep over numbers of users, with every strategy.

use std::path::Path;

use llama_concurrent_bench::{
    Load, Setting,
    report::{Point, Sweep},
};

use super::{BenchArgs, runs, systems};
use crate::failure::Failure;

/// The numbers of users used in DESIGN.md for the gain of batching.
const USERS: [u32; 7] = [1, 2, 4, 8, 16, 20, 32];

/// Runs it, with the repeats outside and the systems inside, so that changes of the machine affect all systems.
pub fn play<'a>(args: &BenchArgs, path: &Path, setting: &'a Setting) -> Result<Sweep<'a>, Failure> {
    let mut users: Vec<usize> =
        if args.sweep.is_empty() { &USERS[..] } else { &args.sweep[..] }.iter().map(|&users| users as usize).collect();
    users.sort_unstable();
    users.dedup();
    let fields: Vec<_> = users.iter().map(|&users| systems(args, path, users)).collect::<Result<_, _>>()?;
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
