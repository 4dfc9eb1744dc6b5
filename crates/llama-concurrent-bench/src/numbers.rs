//! Numbers for people and for JSON.

use std::time::Duration;

/// Milliseconds with three decimals, as JSON carries them.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Milliseconds with about three digits: `0.42`, `17.3`, `1250`.
pub fn short_millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 1.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// A rate with about three digits: `4.27`, `13.3`, `1250`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// A large count with about three digits: `950`, `12.3 k`, `4.56 G`.
pub fn short_count(count: f64) -> String {
    match count {
        n if n >= 1e9 => format!("{} G", rate(n / 1e9)),
        n if n >= 1e6 => format!("{} M", rate(n / 1e6)),
        n if n >= 1e3 => format!("{} k", rate(n / 1e3)),
        n => format!("{n:.0}"),
    }
}

/// Bytes in binary units: `1.50 MiB`.
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 8] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let (mut amount, mut units) = (bytes.trunc(), UNITS.iter());
    let mut unit = None;
    while amount >= 1024.0 {
        amount /= 1024.0;
        unit = units.next();
    }
    match unit {
        None => format!("{amount:.0} B"),
        Some(unit) => format!("{amount:.2} {unit}"),
    }
}

/// `1 slot`, `2 slots`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_about_three_digits() {
        assert_eq!([0.0, 1023.0, 1024.0, 1536.0 * 1024.0].map(bytes), ["0 B", "1023 B", "1.00 KiB", "1.50 MiB"]);
        assert_eq!(short_millis(Duration::from_micros(420)), "0.42");
        assert_eq!(short_millis(Duration::from_micros(1_250_400)), "1250");
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!([950.0, 12_345.0, 4.56e9].map(short_count), ["950", "12.3 k", "4.56 G"]);
        assert_eq!((rate(4.269), rate(1249.7)), ("4.27".into(), "1250".into()));
    }
}
