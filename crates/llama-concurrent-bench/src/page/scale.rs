//! Maps values to positions on a chart, and selects the round values that label an axis.

/// One direction of a chart: maps values from `min` to `max` to positions from `from` to `to`.
#[derive(Clone, Debug)]
pub struct Scale {
    min: f64,
    max: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// From 0 to a round value that is not less than `max`.
    pub fn linear(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = step(max);
        Self { min: 0.0, max: (max / step).ceil() * step, from: 0.0, to: 1.0, log: false }
    }

    /// From 0 to exactly `max`: for time, which has an end.
    pub fn until(max: f64) -> Self {
        Self { max: if max > 0.0 { max } else { 1.0 }, ..Self::linear(1.0) }
    }

    /// A logarithmic scale that covers all values above 0; others are at its lower end.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (min, max) = (min.min(value), max.max(value));
        }
        if max == 0.0 {
            (min, max) = (1.0, 10.0);
        }
        // At least a factor of five, so that equal values don't fill the chart.
        let (min, max) = (ladder_below(min), ladder_above(max).max(min * 5.0));
        Self { min, max, from: 0.0, to: 1.0, log: true }
    }

    /// A logarithmic scale with margins on both sides of the values, which are above 0.
    pub fn around(values: impl Iterator<Item = f64>) -> Self {
        let (min, max) = values.fold((f64::INFINITY, 1.0_f64), |(min, max), value| (min.min(value), max.max(value)));
        Self { min: min.min(max) / 1.2, max: max * 1.2, from: 0.0, to: 1.0, log: true }
    }

    /// The same scale between two positions.
    pub fn between(self, from: f64, to: f64) -> Self {
        Self { from, to, ..self }
    }

    /// The position of a value, clamped to the ends.
    pub fn at(&self, value: f64) -> f64 {
        let fraction = if self.log {
            (value.max(self.min) / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        self.from + fraction.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// About five round values.
    pub fn ticks(&self) -> Vec<f64> {
        if self.log {
            return self.log_ticks();
        }
        let step = step(self.max);
        (0..).map(|i| f64::from(i) * step).take_while(|tick| *tick <= self.max * (1.0 + 1e-9)).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.max / self.min).log10();
        let steps: &[f64] = if decades <= 1.75 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = self.min.log10().floor() as i32;
        (first..=first + decades.ceil() as i32 + 1)
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(|tick| (self.min * 0.999..=self.max * 1.001).contains(tick))
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that about five of them make up `max`.
fn step(max: f64) -> f64 {
    let rough = max / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough)
}

fn ladder_below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].map(|step| step * power).into_iter().find(|step| *step <= value * 1.001).unwrap_or(power)
}

fn ladder_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= value * 0.999).unwrap_or(value)
}

/// A number in its shortest form.
pub fn number(value: f64) -> String {
    let digits = if value == 0.0 || value.abs() >= 10.0 { 0 } else { (1.0 - value.abs().log10().floor()) as usize };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Milliseconds in the unit that suits them.
pub fn duration(ms: f64) -> String {
    match ms {
        ms if ms >= 1e3 => format!("{} s", number(ms / 1e3)),
        ms if ms >= 1.0 => format!("{} ms", number(ms)),
        ms => format!("{} µs", number(ms * 1e3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_values_at_even_places() {
        let scale = Scale::linear(43.0).between(100.0, 0.0);
        assert_eq!(scale.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!((scale.at(0.0), scale.at(25.0), scale.at(60.0)), (100.0, 50.0, 0.0));
        let scale = Scale::log([3.0, 700.0].into_iter()).between(0.0, 1.0);
        assert_eq!(scale.ticks().iter().map(|tick| tick.round()).collect::<Vec<_>>(), [10.0, 100.0, 1000.0]);
        assert!(scale.at(0.0) == 0.0 && scale.at(1000.0) == 1.0 && scale.at(30.0) < 0.5);
    }

    #[test]
    fn nothing_and_one_value_make_an_axis_too() {
        assert!(Scale::linear(0.0).ticks().len() > 1);
        assert!(Scale::log([].into_iter()).ticks().len() > 1);
        assert!(Scale::log([20.0].into_iter()).ticks().len() > 1);
    }

    #[test]
    fn labels_are_short_and_have_their_unit() {
        let labels = [0.05, 0.5, 1.0, 20.0, 1500.0, 100_000.0].map(duration);
        assert_eq!(labels, ["50 µs", "500 µs", "1 ms", "20 ms", "1.5 s", "100 s"]);
        assert_eq!([0.0, 0.25, 2.5, 40.0].map(number), ["0", "0.25", "2.5", "40"]);
    }
}
