//! The table as bars: to the left of the floor what costs less, to the right what costs more.

use std::fmt::Write;

use super::{
    FLOOR, NO_LAYER,
    table::{Row, Table, figures},
};

pub(super) fn draw(table: &Table) -> String {
    let bars = |column: usize| {
        let drawn = table
            .rows
            .iter()
            .filter(|row| ![FLOOR, NO_LAYER].contains(&row.name));
        drawn.filter_map(move |row| Some((row, row.ratios[column]?)))
    };
    let panels = 0..table.columns.len();
    let rows: usize = panels.clone().map(|column| bars(column).count()).sum();
    let height = TOP + table.columns.len() * PANEL + rows * ROW + BOTTOM;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">Time of a request with a good token, times the floor</title>
<style>{STYLE}</style>
<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>
<text class="head" x="16" y="28">Time of a request with a good token, times the floor</text>
<text class="dim" x="16" y="46">The floor is the work that no check can avoid. Logarithmic; further to the left is better.</text>
"#
    );
    let mut y = TOP;
    for column in panels {
        y += PANEL;
        let _ = writeln!(
            svg,
            r#"<text class="name" x="16" y="{}">{}</text>"#,
            y - 8,
            table.columns[column]
        );
        let start = y;
        for (row, ratio) in bars(column) {
            bar(&mut svg, row, ratio, y);
            y += ROW;
        }
        for tick in TICKS {
            let (x, class) = (place(tick), if tick == 1.0 { "floor" } else { "tick" });
            let _ = writeln!(
                svg,
                r#"<line class="{class}" x1="{x:.1}" x2="{x:.1}" y1="{start}" y2="{y}"/>"#
            );
        }
    }
    for tick in TICKS {
        let name = if tick == 1.0 {
            "floor".into()
        } else {
            format!("{tick}")
        };
        let _ = writeln!(
            svg,
            r#"<text class="dim" text-anchor="middle" x="{:.1}" y="{}">{name}</text>"#,
            place(tick),
            y + 18
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, row: &Row, ratio: f64, y: usize) {
    let (from, to) = (place(ratio.min(1.0)), place(ratio.max(1.0)));
    // So that a ratio of 1 is seen.
    let width = (to - from).max(2.0);
    let class = if row.name.starts_with("**") {
        "ours"
    } else {
        "peer"
    };
    let name = row.name.replace(['*', '`'], "");
    let text = y + ROW - 5;
    let _ = writeln!(
        svg,
        r#"<text class="{class}" x="28" y="{text}">{name}</text>
<rect class="{class}" x="{from:.1}" y="{}" width="{width:.1}" height="{}" rx="2"/>
<text class="{class}" text-anchor="end" x="{}" y="{text}">{}</text>"#,
        y + 3,
        ROW - 6,
        WIDTH - 16,
        figures(ratio),
    );
}

/// Where a ratio is, from left to right.
fn place(ratio: f64) -> f64 {
    let (low, high) = (TICKS[0].log10(), LAST.log10());
    let part = (ratio.clamp(TICKS[0], LAST).log10() - low) / (high - low);
    LEFT + part * (RIGHT - LEFT)
}

const WIDTH: usize = 800;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 730.0;
const TOP: usize = 50;
const PANEL: usize = 32;
const ROW: usize = 19;
const BOTTOM: usize = 32;
const TICKS: [f64; 8] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const LAST: f64 = 14.0;
const STYLE: &str = "
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#24292f}
text.head{font-size:16px;font-weight:600}
text.name{font-weight:600}
text.dim{font-size:12px;fill:#57606a}
text.ours{font-weight:600;fill:#0969da}
rect.ground{fill:#f6f8fa}
rect.ours{fill:#0969da}
rect.peer{fill:#8c959f}
line.tick{stroke:#24292f;stroke-opacity:.12}
line.floor{stroke:#24292f;stroke-opacity:.6}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
text.dim{fill:#9198a1}
text.ours{fill:#58a6ff}
rect.ground{fill:#161b22}
rect.ours{fill:#58a6ff}
rect.peer{fill:#6e7681}
line.tick,line.floor{stroke:#e6edf3}
}
";
