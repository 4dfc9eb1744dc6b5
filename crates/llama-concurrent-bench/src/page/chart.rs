//! A chart with two axes as SVG. Colours are CSS classes, so that the page can have a light and a dark style.
//!
//! Each system has its own style: a colour that is distinct for colour-blind readers, a dash pattern, and a marker shape.
//! The colours are in `style.css`.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::scale::Scale;

/// Number of styles; after that they repeat.
const STYLES: usize = 6;

/// The width of a chart on its own row. Charts are shown at about their size, so that all texts have the same size.
pub const WIDE: f64 = 1200.0;

const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;

/// The empty chart.
pub struct Chart {
    pub width: f64,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
}

/// One axis.
pub struct Axis {
    /// What is shown, with its unit.
    pub name: String,
    pub scale: Scale,
    /// Values that are named, and how.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    pub fn new(name: &str, scale: Scale, label: fn(f64) -> String) -> Self {
        let ticks = scale.ticks().into_iter().map(|tick| (tick, label(tick))).collect();
        Self { name: name.into(), scale, ticks }
    }
}

impl Chart {
    pub fn new(width: f64, height: f64, mut x: Axis, mut y: Axis) -> Self {
        x.scale = x.scale.between(LEFT, width - RIGHT);
        y.scale = y.scale.between(height - BOTTOM, TOP);
        Self { width, height, x, y }
    }

    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x.scale.at(x), self.y.scale.at(y))
    }

    /// Draws the axes, and the content between them. `about` is the text alternative.
    pub fn draw(&self, about: &str, inside: &Markup) -> Markup {
        let (right, bottom) = (self.width - RIGHT, self.height - BOTTOM);
        html! {
            svg viewBox=(format!("0 0 {} {}", self.width, self.height)) role="img" aria-label=(about) {
                @for (value, label) in &self.x.ticks {
                    @let x = place(self.x.scale.at(*value));
                    path class="grid" d=(format!("M{x} {TOP}V{bottom}")) {}
                    text x=(x) y=(bottom + 16.0) text-anchor="middle" { (label) }
                }
                @for (value, label) in &self.y.ticks {
                    @let y = self.y.scale.at(*value);
                    path class="grid" d=(format!("M{LEFT} {}H{right}", place(y))) {}
                    text x=(LEFT - 6.0) y=(place(y + 4.0)) text-anchor="end" { (label) }
                }
                path class="axis" d=(format!("M{LEFT} {TOP}V{bottom}H{right}")) {}
                text class="name" x=((LEFT + right) / 2.0) y=(self.height - 8.0) text-anchor="middle" { (self.x.name) }
                text class="name" text-anchor="middle"
                    transform=(format!("translate(11 {}) rotate(-90)", (TOP + bottom) / 2.0)) { (self.y.name) }
                (inside)
            }
        }
    }
}

/// The CSS class of the n-th system.
pub fn style(index: usize) -> String {
    format!("s{}", index % STYLES)
}

/// A line through points of the picture.
pub fn line(index: usize, points: &[(f64, f64)]) -> Markup {
    html! { path class=(format!("line {}", style(index))) d=(path_through(points)) {} }
}

/// From the least to the most.
pub fn whisker(index: usize, (x, low): (f64, f64), (_, high): (f64, f64)) -> Markup {
    html! { path class=(format!("whisker {}", style(index))) d=(format!("M{} {}V{}", place(x), place(low), place(high))) {} }
}

fn path_through(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, place(*x), place(*y));
    }
    path
}

/// Rounds to a tenth of a unit, which is fine enough.
pub fn place(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The marker of the n-th system, in its own shape, with a tooltip.
pub fn marker(index: usize, (x, y): (f64, f64), tip: &str) -> Markup {
    let shape = match index % STYLES {
        0 => "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
        1 => "M-3.6-3.6H3.6V3.6H-3.6Z",
        2 => "M0-4.8L4.6 3.6H-4.6Z",
        3 => "M0-5L5 0L0 5L-5 0Z",
        4 => "M0 4.8L4.6-3.6H-4.6Z",
        _ => "M-4-1.4H-1.4V-4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4Z",
    };
    html! {
        path class=(format!("marker {}", style(index))) d=(shape)
            transform=(format!("translate({} {})", place(x), place(y))) {
            @if !tip.is_empty() { title { (tip) } }
        }
    }
}

/// A piece of line with the marker, and the name.
pub fn legend<'a>(names: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        p class="legend" {
            @for (index, name) in names.enumerate() {
                span {
                    svg class="key" viewBox="0 0 44 12" aria-hidden="true" {
                        (line(index, &[(1.0, 6.0), (43.0, 6.0)])) (marker(index, (22.0, 6.0), ""))
                    }
                    (name)
                }
            }
        }
    }
}

/// A chart with a caption below it.
pub fn figure(chart: Markup, title: &str, note: &str) -> Markup {
    html! {
        figure {
            h3 { (title) }
            div class="scroll" { (chart) }
            @if !note.is_empty() { figcaption { (note) } }
        }
    }
}

/// Several pieces one after the other.
pub fn all(pieces: impl Iterator<Item = Markup>) -> Markup {
    PreEscaped(pieces.map(PreEscaped::into_string).collect())
}
