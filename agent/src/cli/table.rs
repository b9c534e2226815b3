//! Columns that line up, and numbers and times as people read them.

use std::io::{self, Write};

use crate::text::printable;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under headings. Cells are escaped; an empty cell is a dash, so that columns can be
/// counted by machines too.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let widths = columns.iter().map(|(heading, _)| heading.len()).collect();
        Self {
            columns,
            rows: Vec::new(),
            widths,
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                printable(&cell)
            }
        });
        let mut row: Vec<String> = cells.collect();
        row.resize(self.columns.len(), "-".to_owned());
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    /// Headings, then the rows.
    pub(super) fn print(&mut self, out: &mut impl Write) -> io::Result<()> {
        let headings: Vec<_> = self
            .columns
            .iter()
            .map(|(heading, _)| (*heading).to_owned())
            .collect();
        self.line(out, &headings)?;
        self.print_rows(out)
    }

    /// The rows alone, which are forgotten then; later rows keep at least these widths.
    pub(super) fn print_rows(&mut self, out: &mut impl Write) -> io::Result<()> {
        for row in std::mem::take(&mut self.rows) {
            self.line(out, &row)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut impl Write, cells: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for (((_, align), width), cell) in self.columns.iter().zip(&self.widths).zip(cells) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => {
                    line.push_str(cell);
                    line.push_str(&padding);
                }
                Align::Right => {
                    line.push_str(&padding);
                    line.push_str(cell);
                }
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// The two largest units: `45s`, `3m12s`, `2h05m`, `9d03h`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, seconds / 3_600, seconds / 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// With commas: `1,234,567`.
pub(super) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 peer`, `2 peers`.
pub(super) fn plural(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_cells_stay_in_theirs() {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("ROUTES", Align::Right),
            ("NOTE", Align::Left),
        ]);
        table.row(["tor".into(), "7".into(), String::new()]);
        table.row(["a-long-name".into(), "1234567".into(), "x\ny".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME          ROUTES  NOTE\n\
             tor                7  -\n\
             a-long-name  1234567  x\\ny\n"
        );
    }

    #[test]
    fn times_and_counts_read_well() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (192, "3m12s"),
            (7_500, "2h05m"),
            (788_400, "9d03h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for (number, text) in [
            (0_u64, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}
