//! Charts as SVG, with a text for those who do not see them.

use maud::{Markup, html};

/// A bar, with what its parts are called by the style sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) value: f64,
    pub(super) class: &'static str,
}

/// A bar of parts, as long as their sum is beside `whole`; `said` is what it shows.
pub(super) fn bar(parts: &[Part], whole: f64, said: &str) -> Markup {
    let mut from = 0.0;
    let rects: Vec<(f64, f64, &str)> = parts
        .iter()
        .map(|part| {
            let share = if whole > 0.0 { (part.value / whole * 100.0).clamp(0.0, 100.0 - from) } else { 0.0 };
            let rect = (from, share, part.class);
            from += share;
            rect
        })
        .collect();
    html! {
        svg class="bar" role="img" aria-label=(said) viewBox="0 0 100 10" preserveAspectRatio="none" {
            rect class="ground" width="100" height="10" {}
            @for (x, width, class) in rects {
                rect class=(class) x=(format!("{x:.2}")) width=(format!("{width:.2}")) height="10" {}
            }
        }
    }
}

/// Of a time, how long it took (milliseconds), in a row of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) median: f64,
    /// The 95th percentile.
    pub(super) high: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let at = |percent| mcp_berth::human::percentile(&times, percent);
        Some(Self { count: times.len(), median: at(50)?, high: at(95)? })
    }
}

/// A bar from nothing to the median, and a paler one up to the 95th percentile.
pub(super) fn spread(spread: Spread, longest: f64) -> Markup {
    let Spread { median, high, .. } = spread;
    let parts =
        [Part { value: median, class: "first" }, Part { value: (high - median).max(0.0), class: "second" }];
    let said = format!("median {}, 95th percentile {}", milliseconds(median), milliseconds(high));
    bar(&parts, longest, &said)
}

pub(super) fn milliseconds(time: f64) -> String {
    mcp_berth::history::show::took(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_never_longer_than_its_ground() {
        let parts = [Part { value: 30.0, class: "first" }, Part { value: 500.0, class: "second" }];
        let text = bar(&parts, 100.0, "a \"quoted\" <text>").into_string();
        assert!(text.contains(r#"class="first" x="0.00" width="30.00""#), "{text}");
        assert!(text.contains(r#"class="second" x="30.00" width="70.00""#), "{text}");
        assert!(text.contains("a &quot;quoted&quot; &lt;text&gt;"), "{text}");
        let none = bar(&parts, 0.0, "").into_string();
        assert!(none.contains(r#"width="0.00""#) && !none.contains("NaN"), "{none}");
    }

    #[test]
    fn a_spread_is_of_something() {
        assert_eq!(Spread::of(Vec::new()), None);
        let spread = Spread::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((spread.count, spread.median, spread.high), (100, 50.0, 95.0));
        let text = super::spread(spread, 100.0).into_string();
        assert!(text.contains(r#"x="50.00" width="45.00""#), "{text}");
    }
}
