//! `bench --engines`: several engines of one process, alone and all at once.

use std::{
    io::{Write, stdout},
    path::Path,
    time::Duration,
};

use comfy_table::{Table, presets};
use llama_concurrent_bench::engines::{EnginesSetting, OneOfSeveral, side_by_side};
use serde_json::json;

use super::{BenchArgs, files};
use crate::failure::Failure;

pub fn measure(args: &BenchArgs, engines: usize, path: &Path) -> Result<(), Failure> {
    let streams = args.streams();
    let time = Duration::from_secs_f64(args.seconds);
    let setting = EnginesSetting { engines, streams, time, repeats: args.repeats as usize };
    let lines = super::with_progress(|progress| side_by_side(path, &args.config_for(streams), &setting, progress))?;
    writeln!(stdout(), "{}", table(&lines, &setting))?;
    if let Some(file) = &args.json {
        files::write_json(&json!({"setting": setting, "engines": lines}), file)?;
    }
    Ok(())
}

fn table(lines: &[OneOfSeveral], setting: &EnginesSetting) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "engine",
        "tok/s alone",
        "tok/s together",
        "of an equal share",
        "call alone",
        "together",
        "longest gap",
    ]);
    for (index, line) in lines.iter().enumerate() {
        let share = line.alone.median / lines.len() as f64;
        table.add_row([
            (index + 1).to_string(),
            format!("{:.1} ({:.1} to {:.1})", line.alone.median, line.alone.min, line.alone.max),
            format!("{:.1} ({:.1} to {:.1})", line.together.median, line.together.min, line.together.max),
            format!("{:.0} %", 100.0 * line.together.median / share),
            format!("{:.1} ms", line.call_ms_alone),
            format!("{:.1} ms", line.call_ms_together),
            format!("{:.0} ms", line.longest_gap_ms),
        ]);
    }
    let alone = lines.iter().map(|line| line.alone.median).sum::<f64>() / lines.len() as f64;
    let together: f64 = lines.iter().map(|line| line.together.median).sum();
    format!(
        "{} engines with {} streams each; medians of {} measurements of {:.1} s\n{table}\nAll together {together:.1} tok/s: \
         {:.0} % of one alone.",
        setting.engines,
        setting.streams,
        setting.repeats,
        setting.time.as_secs_f64(),
        100.0 * together / alone
    )
}
