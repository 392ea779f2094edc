//! Plots of a report, as SVG.

use plotters::prelude::*;

const SIZE: (u32, u32) = (460, 300);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 90, 160), RGBColor(200, 80, 30), RGBColor(40, 130, 70), RGBColor(130, 70, 150)];
const FONT: &str = "sans-serif";

/// Lines over a common pair of axes, both from 0.
pub(super) struct Plot<'a> {
    pub title: &'a str,
    pub x: Axis<'a>,
    pub y: Axis<'a>,
    pub lines: Vec<Line<'a>>,
}

pub(super) struct Axis<'a> {
    pub label: &'a str,
    pub max: f64,
}

pub(super) struct Line<'a> {
    pub name: &'a str,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Plot<'_> {
    /// # Errors
    /// From the plotting library.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin(8)
                .caption(self.title, (FONT, 15))
                .x_label_area_size(36)
                .y_label_area_size(44)
                .build_cartesian_2d(0.0..self.x.max, 0.0..self.y.max)
                .map_err(told)?;
            chart
                .configure_mesh()
                .x_desc(self.x.label)
                .y_desc(self.y.label)
                .light_line_style(TRANSPARENT)
                .label_style((FONT, 12))
                .draw()
                .map_err(told)?;
            for (line, colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
                let style = colour.stroke_width(2);
                let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style)).map_err(told)?;
                drawn.label(line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
            }
            if self.lines.len() > 1 {
                let mut labels = chart.configure_series_labels();
                labels.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).label_font((FONT, 12));
                labels.draw().map_err(told)?;
            }
            area.present().map_err(told)?;
        }
        Ok(svg)
    }
}

fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("the plot cannot be drawn: {error}")
}

/// Of measured values: the share of them up to each.
pub(super) fn shares_up_to(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    values.into_iter().enumerate().map(|(at, value)| (value, (at + 1) as f64 / count)).collect()
}

/// The right end of an axis for these values.
pub(super) fn end_of(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max).max(1.0) * 1.05
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_lines_and_their_names() {
        let line = |name, points| Line { name, points };
        let lines = vec![line("found", vec![(0.0, 0.2), (1.0, 0.8)]), line("<missed>", vec![(0.0, 0.8), (1.0, 0.2)])];
        let axis = |label| Axis { label, max: 1.0 };
        let svg = Plot { title: "Questions", x: axis("limit"), y: axis("share"), lines }.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("#1F5AA0") && svg.contains("#C8501E"), "{svg}");
        assert!(svg.contains("Questions") && svg.contains("&lt;missed&gt;"), "{svg}");
    }

    #[test]
    fn shares_grow_to_one() {
        assert_eq!(shares_up_to(vec![30.0, 10.0]), [(10.0, 0.5), (30.0, 1.0)]);
        assert!(shares_up_to(Vec::new()).is_empty());
    }
}
