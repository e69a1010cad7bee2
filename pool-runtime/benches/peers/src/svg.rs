//! A chart with two logarithmic axes, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 56.0;
const COLOURS: [&str; 5] = ["#c0392b", "#2166ac", "#1b7837", "#8856a7", "#7f6000"];

/// A line with its name and its points.
pub(crate) type Series = (String, Vec<(f64, f64)>);

/// All values must be above zero.
pub(crate) fn chart(title: &str, x: &str, y: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|(_, points)| points);
    let (x_low, x_high) = decades(points().map(|p| p.0));
    let (y_low, y_high) = decades(points().map(|p| p.1));
    let right = WIDTH - RIGHT;
    let floor = HEIGHT - BOTTOM;
    let at_x = |v: f64| LEFT + (v.log10() - x_low) / (x_high - x_low) * (right - LEFT);
    let at_y = |v: f64| floor - (v.log10() - y_low) / (y_high - y_low) * (floor - TOP);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{title}</text>\n"
    );
    for decade in x_low as i32..=x_high as i32 {
        let at = at_x(10f64.powi(decade));
        line(&mut out, (at, TOP), (at, floor));
        text(&mut out, at, floor + 18.0, "middle", &label(decade));
    }
    for decade in y_low as i32..=y_high as i32 {
        let at = at_y(10f64.powi(decade));
        line(&mut out, (LEFT, at), (right, at));
        text(&mut out, LEFT - 8.0, at + 4.0, "end", &label(decade));
    }
    text(&mut out, (LEFT + right) / 2.0, HEIGHT - 14.0, "middle", x);
    let middle = (TOP + floor) / 2.0;
    let _ = writeln!(
        out,
        "<text transform=\"translate(20 {middle:.0}) rotate(-90)\" text-anchor=\"middle\">{y}</text>"
    );
    for (n, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let at: Vec<_> = points.iter().map(|p| (at_x(p.0), at_y(p.1))).collect();
        let path: Vec<_> = at.iter().map(|p| format!("{:.1},{:.1}", p.0, p.1)).collect();
        let path = path.join(" ");
        let _ = writeln!(
            out,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        for (x, y) in at {
            let _ =
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let y = TOP + 14.0 + 22.0 * n as f64;
        let x = right + 14.0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"18\" height=\"4\" fill=\"{colour}\"/>",
            y - 6.0
        );
        text(&mut out, x + 24.0, y, "start", name);
    }
    out.push_str("</svg>\n");
    out
}

/// The whole decades around all values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let logs: Vec<f64> = values.map(f64::log10).collect();
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    (low, high.max(low + 1.0))
}

/// 10 to this power, as it is read.
fn label(decade: i32) -> String {
    match decade {
        6.. => format!("{} M", 10i64.pow(decade as u32 - 6)),
        3..=5 => format!("{} k", 10i64.pow(decade as u32 - 3)),
        _ => format!("{}", 10f64.powi(decade)),
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
