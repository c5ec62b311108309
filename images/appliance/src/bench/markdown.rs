//! Markdown tables whose columns are aligned, for people who read them as they stand.

/// Lines of a table with these headings; every line is equally wide.
pub fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Vec<String> {
    let mut cells = vec![headings.map(str::to_owned)];
    cells.extend(rows);
    // A rule has three dashes at least.
    let widths: [usize; N] = std::array::from_fn(|column| {
        cells.iter().map(|row| row[column].chars().count()).fold(3, usize::max)
    });
    let mut lines: Vec<String> = cells
        .iter()
        .map(|row| {
            let padded: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("| {} |", padded.join(" | "))
        })
        .collect();
    let rule = widths.map(|width| "-".repeat(width));
    lines.insert(1, format!("| {} |", rule.join(" | ")));
    lines
}
