//! Charts as SVG: no script, no style of their own, so that the strictest content policy holds.
//! Colours are classes of the pages' style sheet; a table with the same numbers stands beside each.

use maud::{Markup, html};

/// Width of a chart, in its own units.
const WIDTH: u32 = 720;
/// Height.
const HEIGHT: u32 = 220;
/// Room for the scale at the left.
const LEFT: u32 = 64;
/// Room for the days at the bottom.
const BOTTOM: u32 = 24;
/// Room at the top.
const TOP: u32 = 10;
/// Distinct colours of the style sheet; further series share the last.
const COLOURS: usize = 8;

/// Columns, one per label, with a part per series stacked on each other.
pub struct Columns<'a> {
    /// Unique among the charts of a page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// In a sentence, for those who do not see it.
    pub about: &'a str,
    /// Labels of the columns.
    pub labels: Vec<String>,
    /// Names of the series.
    pub series: Vec<String>,
    /// Values: `values[column][series]`.
    pub values: Vec<Vec<u128>>,
    /// How a value looks.
    pub write: fn(u128) -> String,
}

/// The least round number that is at least `most`: 1, 2, 2.5 or 5 times a power of ten.
fn ceiling(most: u128) -> u128 {
    let mut power: u128 = 1;
    while let Some(next) = power.checked_mul(10).filter(|next| *next <= most) {
        power = next;
    }
    let times = |by| power.saturating_mul(by);
    let steps = [power, times(2), times(5) / 2, times(5)];
    let fitting = steps.into_iter().find(|step| *step >= most && *step > 0);
    fitting.unwrap_or_else(|| power.saturating_mul(10)).max(1)
}

/// `value` of `whole` on a line of `length`, without ever leaving integers.
fn part(value: u128, whole: u128, length: u32) -> u32 {
    // Shifted down first, so that the product fits.
    let shift = 96u32.saturating_sub(whole.leading_zeros().min(96));
    let (value, whole) = (value >> shift, (whole >> shift).max(1));
    u32::try_from(value * u128::from(length) / whole).unwrap_or(length).min(length)
}

impl Columns<'_> {
    /// The drawing; nothing where there is nothing to draw.
    pub fn render(&self) -> Markup {
        let sum =
            |parts: &Vec<u128>| parts.iter().fold(0u128, |sum, part| sum.saturating_add(*part));
        let sums = self.values.iter().map(sum);
        let most = sums.max().unwrap_or(0);
        if most == 0 {
            return html! { p.empty { "Nothing was used on these days." } };
        }
        let (top, plot) = (ceiling(most), HEIGHT - TOP - BOTTOM);
        let slot = f64::from(WIDTH - LEFT) / self.labels.len().max(1) as f64;
        let (title, about) = (format!("{}-title", self.id), format!("{}-about", self.id));
        html! {
            figure.chart {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
                    aria-labelledby={ (title) " " (about) } {
                    title id=(title) { (self.title) }
                    desc id=(about) { (self.about) }
                    (self.scale(top, plot))
                    @for (at, parts) in self.values.iter().enumerate() {
                        (self.column(at, parts, top, plot, slot))
                    }
                    (self.days(slot))
                }
                figcaption.legend {
                    @for (at, name) in self.series.iter().enumerate() {
                        span { i class={ "key s" (at.min(COLOURS - 1)) } {} (name) }
                    }
                }
            }
        }
    }

    fn scale(&self, top: u128, plot: u32) -> Markup {
        html! {
            @for step in 0..=4u32 {
                @let y = TOP + plot - plot * step / 4;
                line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                @if step % 2 == 0 {
                    text.scale x=(LEFT - 8) y=(y + 4) text-anchor="end" {
                        ((self.write)(top / 4 * u128::from(step) + top % 4 * u128::from(step) / 4))
                    }
                }
            }
        }
    }

    fn column(&self, at: usize, parts: &[u128], top: u128, plot: u32, slot: f64) -> Markup {
        let width = (slot * 0.72).clamp(1.0, 48.0);
        let x = f64::from(LEFT) + slot * at as f64 + (slot - width) / 2.0;
        let mut below = 0u128;
        let mut bars = Vec::new();
        for (series, value) in parts.iter().enumerate().filter(|(_, value)| **value > 0) {
            let from = part(below, top, plot);
            below = below.saturating_add(*value);
            let to = part(below, top, plot).max(from + 1).min(plot);
            bars.push((series.min(COLOURS - 1), TOP + plot - to, to - from, series, *value));
        }
        let label = self.labels.get(at).map_or("", String::as_str);
        html! {
            @for (colour, y, height, series, value) in bars {
                rect class={ "s" (colour) } x=(format!("{x:.1}")) y=(y) width=(format!("{width:.1}"))
                    height=(height) rx="1.5" {
                    title {
                        (label) ": " (self.series.get(series).map_or("", String::as_str)) ", "
                        ((self.write)(value))
                    }
                }
            }
        }
    }

    /// Some of the labels: as many as stand side by side.
    fn days(&self, slot: f64) -> Markup {
        let every = (84.0 / slot).ceil().max(1.0) as usize;
        html! {
            @for (at, label) in self.labels.iter().enumerate().filter(|(at, _)| at % every == 0) {
                @let x = f64::from(LEFT) + slot * (at as f64 + 0.5);
                text.scale x=(format!("{x:.1}")) y=(HEIGHT - 7) text-anchor="middle" { (label) }
            }
        }
    }
}

/// How much of a whole is in which part, as a bar: parts in `parts`, the rest is empty.
pub fn share(parts: &[(&str, u128, &str)], whole: u128) -> Markup {
    let about: Vec<String> = parts
        .iter()
        .map(|(name, value, _)| format!("{name} {} %", value * 100 / whole.max(1)))
        .collect();
    let mut x = 0u32;
    html! {
        svg.share viewBox="0 0 200 8" preserveAspectRatio="none" role="img" aria-label=(about.join(", ")) {
            rect.rest x="0" y="0" width="200" height="8" rx="4" {}
            @for (_, value, class) in parts {
                @let width = part(*value, whole, 200).min(200 - x);
                @if width > 0 { rect class=(class) x=(x) y="0" width=(width) height="8" rx="4" {} }
                @let () = x += width;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<Vec<u128>>) -> String {
        Columns {
            id: "c",
            title: "T",
            about: "A",
            labels: values.iter().map(|_| "<day>".to_owned()).collect(),
            series: vec!["one".into(), "two".into()],
            values,
            write: |value| value.to_string(),
        }
        .render()
        .into_string()
    }

    #[test]
    fn a_chart_says_what_it_shows_and_carries_no_style_or_script() {
        let text = chart(vec![vec![1, 2], vec![0, 5]]);
        assert!(text.contains("role=\"img\"") && text.contains("<title id=\"c-title\">T</title>"));
        assert!(text.contains("<desc id=\"c-about\">A</desc>"));
        assert!(!text.contains("style=") && !text.contains("<script") && !text.contains("<day>"));
        assert_eq!(text.matches("<rect").count(), 3, "no bar for nothing");
        assert!(!chart(vec![vec![0, 0]]).contains("<svg"));
        assert!(!chart(vec![]).contains("<svg"));
    }

    #[test]
    fn scales_are_round_and_never_overflow() {
        assert_eq!([0, 1, 3, 9, 21, 26, 51, 100].map(ceiling), [1, 1, 5, 10, 25, 50, 100, 100]);
        assert!(ceiling(u128::MAX) > 0);
        assert_eq!(part(u128::MAX, u128::MAX, 200), 200);
        assert_eq!(part(u128::MAX / 2, u128::MAX, 200), 99);
        assert_eq!(part(5, 10, 200), 100);
        assert_eq!(part(50, 10, 200), 200);
        chart(vec![vec![u128::MAX / 4, u128::MAX / 4]]);
    }

    #[test]
    fn a_share_is_never_wider_than_the_whole() {
        let text = share(&[("spent", 9, "s0"), ("held", 9, "s1")], 10).into_string();
        assert!(text.contains("width=\"180\"") && text.contains("width=\"20\""), "{text}");
    }
}
