//! Tables of text.

use comfy_table::{CellAlignment, Table, presets};

/// Explains how a figure of several runs is summarised.
pub(super) fn medians(runs: usize) -> String {
    match runs {
        1 => "one run".into(),
        _ => format!("medians of {runs} runs, the least and the most in brackets"),
    }
}

/// A table in Markdown, its first column of names.
pub(super) fn markdown<'a>(header: impl IntoIterator<Item = &'a str>, rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).force_no_tty();
    table.set_header(header).add_rows(rows);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
