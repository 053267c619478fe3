//! Tables for people: columns as wide as their contents, and no wider than the terminal.

use std::io::{IsTerminal, Write};

use rustix::termios::tcgetwinsize;

/// What a column keeps of its width, however narrow the terminal is.
const NARROWEST: usize = 8;

const GAP: &str = "  ";

/// How a cell loses what there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Never,
    /// Its end goes.
    End,
    /// Its beginning goes: the last folders of a path say most.
    Beginning,
}

/// The columns of the terminal that `out` is; `None` if it is none, and everything is to be written.
pub fn terminal_width(out: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    let size = out.is_terminal().then(|| tcgetwinsize(out).ok()).flatten()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Writes rows in columns; with a `width`, the widest of those that may be cut give way.
pub fn write<const N: usize>(
    out: &mut impl Write,
    rows: &[[String; N]],
    cuts: [Cut; N],
    width: Option<usize>,
) -> std::io::Result<()> {
    let chars = |text: &String| text.chars().count();
    let mut widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| chars(&row[column])).max().unwrap_or_default());
    if let Some(width) = width {
        fit(&mut widths, cuts, width.saturating_sub(GAP.len() * N.saturating_sub(1)));
    }
    for row in rows {
        let cells = row.iter().zip(widths).zip(cuts);
        let cells: Vec<String> =
            cells.map(|((cell, width), cut)| format!("{:width$}", shortened(cell, width, cut))).collect();
        writeln!(out, "{}", cells.join(GAP).trim_end())?;
    }
    Ok(())
}

/// The same where nothing is cut.
pub fn plain<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> std::io::Result<()> {
    write(out, rows, [Cut::Never; N], None)
}

/// Narrows the widest columns that may be cut until all fit, or none can be narrower.
fn fit<const N: usize>(widths: &mut [usize; N], cuts: [Cut; N], room: usize) {
    while widths.iter().sum::<usize>() > room {
        let may = |column: &usize| cuts[*column] != Cut::Never && widths[*column] > NARROWEST;
        let Some(widest) = (0..N).filter(may).max_by_key(|column| widths[*column]) else { return };
        widths[widest] -= 1;
    }
}

fn shortened(cell: &str, width: usize, cut: Cut) -> String {
    let count = cell.chars().count();
    if count <= width {
        return cell.to_owned();
    }
    match cut {
        Cut::Never => cell.to_owned(),
        Cut::End => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        Cut::Beginning => ['…'].into_iter().chain(cell.chars().skip(count + 1 - width)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: Option<usize>) -> String {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [
            row(["NAME", "SESSION", "PROJECT"]),
            row(["mcp-1", "0123456789abcdef", "/home/me/some/project"]),
        ];
        let mut out = Vec::new();
        write(&mut out, &rows, [Cut::Never, Cut::End, Cut::Beginning], width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        assert_eq!(
            written(None),
            "NAME   SESSION           PROJECT\nmcp-1  0123456789abcdef  /home/me/some/project\n"
        );
        assert_eq!(written(Some(200)), written(None));
    }

    #[test]
    fn the_widest_columns_give_way_and_keep_what_says_most() {
        assert_eq!(written(Some(40)).lines().nth(1), Some("mcp-1  0123456789abcdef  …e/some/project"));
        assert_eq!(written(Some(38)).lines().nth(1), Some("mcp-1  0123456789abcd…  …/some/project"));
        assert_eq!(written(Some(38)).lines().map(|line| line.chars().count()).max(), Some(38));
    }

    #[test]
    fn no_column_vanishes() {
        assert_eq!(written(Some(3)), "NAME   SESSION   PROJECT\nmcp-1  0123456…  …project\n");
    }
}
